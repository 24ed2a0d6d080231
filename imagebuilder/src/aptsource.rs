//! Where packages come from: the machine's own apt sources, or the `pkgdir` of an image.
//!
//! Both formats of apt are read: one-line `.list` files and `.sources` files (deb822). Of the machine's
//! sources only those of the wanted release are taken (suite `bookworm`, `bookworm-updates`, …): a third
//! party's repository on the management node is not a reason to have it in every node. When the machine runs
//! another release of the same distribution, its mirrors are used with the suite names exchanged.

use std::fs;
use std::path::{Path, PathBuf};

/// A source of packages that apt can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where the repository is.
    pub uri: String,
    /// Suite (`bookworm-updates`), or a path ending in `/` for a flat repository.
    pub suite: String,
    /// Components (`main`).
    pub components: Vec<String>,
    /// Key ring that signs it (`signed-by`).
    pub signed_by: Option<String>,
    /// Take it unsigned (local directories).
    pub trusted: bool,
}

impl Source {
    /// The source as a line of `sources.list`.
    pub fn line(&self) -> String {
        let mut options = Vec::new();
        if self.trusted {
            options.push("trusted=yes".to_owned());
        }
        options.extend(self.signed_by.iter().map(|key| format!("signed-by={key}")));
        let options = if options.is_empty() { String::new() } else { format!("[{}] ", options.join(" ")) };
        format!("deb {options}{} {} {}", self.uri, self.suite, self.components.join(" "))
            .trim_end()
            .to_owned()
    }
}

/// The Debian or Ubuntu code name of an `osvers`.
pub fn codename(osvers: &str) -> Option<&'static str> {
    const NAMES: &[(&str, &str)] = &[
        ("debian10", "buster"),
        ("debian11", "bullseye"),
        ("debian12", "bookworm"),
        ("debian13", "trixie"),
        ("debian14", "forky"),
        ("ubuntu20.04", "focal"),
        ("ubuntu22.04", "jammy"),
        ("ubuntu24.04", "noble"),
    ];
    // A point release (debian12.5, ubuntu22.04.3) belongs to its release.
    let belongs = |release: &str| {
        osvers.strip_prefix(release).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    NAMES.iter().find(|(release, _)| belongs(release)).map(|(_, name)| *name)
}

/// The machine's sources for `suite`. `own` is the code name of the machine's release.
pub fn of_machine(etc_apt: &Path, suite: &str, own: Option<&str>) -> Vec<Source> {
    let all: Vec<Source> = source_files(etc_apt)
        .iter()
        .filter_map(|path| Some((path, fs::read_to_string(path).ok()?)))
        .flat_map(|(path, text)| match path.extension().is_some_and(|e| e == "sources") {
            true => parse_deb822(&text),
            false => text.lines().filter_map(parse_line).collect(),
        })
        .collect();
    let mine = of_release(&all, suite, suite);
    match own {
        Some(own) if mine.is_empty() => of_release(&all, own, suite),
        _ => mine,
    }
}

/// Sources of release `from`, renamed to release `to`.
fn of_release(all: &[Source], from: &str, to: &str) -> Vec<Source> {
    let mut found: Vec<Source> = Vec::new();
    for source in all {
        let Some(rest) = source.suite.strip_prefix(from) else { continue };
        if !(rest.is_empty() || rest.starts_with(['-', '/'])) {
            continue;
        }
        let source = Source { suite: format!("{to}{rest}"), ..source.clone() };
        if !found.contains(&source) {
            found.push(source);
        }
    }
    found
}

/// A source from one element of `pkgdir` or `otherpkgdir`: a directory, a URL, or a whole `deb …` line.
pub fn from_pkgdir(element: &str, suite: &str) -> Option<Source> {
    let element = element.trim();
    if element.starts_with("deb ") {
        return parse_line(element);
    }
    if ["http://", "https://", "ftp://"].iter().any(|scheme| element.starts_with(scheme)) {
        return Some(Source {
            uri: element.to_owned(),
            suite: suite.to_owned(),
            components: vec!["main".to_owned()],
            signed_by: None,
            trusted: false,
        });
    }
    let dir = Path::new(element);
    if !dir.is_absolute() {
        return None;
    }
    // A mirror has `dists`; a plain directory has its Packages file in itself. `copy:` because apt works in
    // the new root, where the directory does not exist.
    let (suite, components) = match dir.join("dists").is_dir() {
        true => (suite.to_owned(), vec!["main".to_owned()]),
        false => ("./".to_owned(), Vec::new()),
    };
    Some(Source { uri: format!("copy://{element}"), suite, components, signed_by: None, trusted: true })
}

/// Settings of the machine's apt that a build needs too: proxies, date checks. As `apt.conf` lines.
pub fn settings(apt_config_dump: &str) -> Vec<String> {
    const WANTED: [&str; 5] =
        ["Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::Force"];
    apt_config_dump
        .lines()
        .filter(|line| WANTED.iter().any(|start| line.starts_with(start)))
        .filter(|line| line.ends_with("\";") && !line.ends_with("\"\";") && !line.contains(['\'', '`', '$']))
        .map(str::to_owned)
        .collect()
}

/// Feeds a text to both readers of source files.
pub(crate) fn fuzz_sources(text: &str) {
    for source in text.lines().filter_map(parse_line).chain(parse_deb822(text)) {
        assert!(!source.line().contains('\n'));
    }
}

fn source_files(etc_apt: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(etc_apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "list" || e == "sources"))
        .collect();
    files.sort();
    files.insert(0, etc_apt.join("sources.list"));
    files
}

/// A line of `sources.list`; `None` for comments, `deb-src` and what is not a source.
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut rest = line.strip_prefix("deb ")?.trim_start();
    let mut source = Source {
        uri: String::new(),
        suite: String::new(),
        components: Vec::new(),
        signed_by: None,
        trusted: false,
    };
    if let Some((options, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        for option in options.split_whitespace() {
            match option.split_once('=') {
                Some(("signed-by", key)) => source.signed_by = Some(key.to_owned()),
                Some(("trusted", "yes")) => source.trusted = true,
                _ => {}
            }
        }
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uri = words.next()?;
    source.suite = words.next()?;
    source.components = words.collect();
    Some(source)
}

fn parse_deb822(text: &str) -> Vec<Source> {
    let mut all = Vec::new();
    for stanza in stanzas(text) {
        let field = |name: &str| -> Vec<String> {
            let value = stanza.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            value.into_iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
        };
        let off = field("Enabled").first().is_some_and(|value| value.eq_ignore_ascii_case("no"));
        if off || !field("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        // A key may also be in the file itself; apt in the new root would not find that one by path.
        let signed_by = field("Signed-By").into_iter().next().filter(|key| key.starts_with('/'));
        for uri in field("URIs") {
            for suite in field("Suites") {
                all.push(Source {
                    uri: uri.clone(),
                    suite,
                    components: field("Components"),
                    signed_by: signed_by.clone(),
                    trusted: field("Trusted").first().is_some_and(|value| value == "yes"),
                });
            }
        }
    }
    all
}

/// Fields of every paragraph of a deb822 file; continuation lines are joined with a blank.
fn stanzas(text: &str) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            all.push(Vec::new());
        } else if let Some(stanza) = all.last_mut() {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = stanza.last_mut() {
                    let value: &mut String = value;
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((key, value)) = line.split_once(':') {
                stanza.push((key.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)], suite: &str, own: Option<&str>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        of_machine(dir.path(), suite, own).iter().map(Source::line).collect()
    }

    const DEB822: &str = "Types: deb deb-src\nURIs: http://deb.debian.org/debian\n\
        Suites: bookworm\n bookworm-updates\nComponents: main contrib\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        # off\nEnabled: no\nTypes: deb\nURIs: http://x/\nSuites: bookworm\n";

    #[test]
    fn both_formats_and_only_the_wanted_release() {
        let one_line = "deb http://a/debian bookworm main # c\n#deb http://no bookworm main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://b bookworm-security main\n\
            deb-src http://a/debian bookworm main\ndeb http://third cloud-sdk-bookworm main\n";
        let found =
            machine(&[("sources.list", one_line), ("sources.list.d/d.sources", DEB822)], "bookworm", None);
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            found,
            [
                "deb http://a/debian bookworm main".to_owned(),
                "deb [signed-by=/k.gpg] http://b bookworm-security main".to_owned(),
                format!("deb {key} http://deb.debian.org/debian bookworm main contrib"),
                format!("deb {key} http://deb.debian.org/debian bookworm-updates main contrib"),
            ]
        );
    }

    #[test]
    fn another_release_uses_the_same_mirrors() {
        let found = machine(&[("sources.list", "deb http://a bookworm main\n")], "trixie", Some("bookworm"));
        assert_eq!(found, ["deb http://a trixie main"]);
        assert!(machine(&[], "trixie", Some("bookworm")).is_empty());
    }

    #[test]
    fn pkgdir_elements() {
        let line = |element: &str| from_pkgdir(element, "bookworm").map(|source| source.line());
        assert_eq!(line("http://m/debian").as_deref(), Some("deb http://m/debian bookworm main"));
        assert_eq!(line("/nonexistent").as_deref(), Some("deb [trusted=yes] copy:///nonexistent ./"));
        assert_eq!(line("deb http://m s a b").as_deref(), Some("deb http://m s a b"));
        assert_eq!(line("relative"), None);
    }

    #[test]
    fn names_of_releases() {
        for (osvers, name) in [
            ("debian12", Some("bookworm")),
            ("debian12.5", Some("bookworm")),
            ("debian120", None),
            ("ubuntu22.04.3", Some("jammy")),
            ("rhels9.2", None),
        ] {
            assert_eq!(codename(osvers), name, "{osvers}");
        }
    }

    #[test]
    fn proxies_are_taken_over() {
        let dump = "APT \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p:3128\";\n\
                    Acquire::Languages \"none\";\nAcquire::Check-Date \"false\";\nAcquire::https::x \"`id`\";\n";
        assert_eq!(
            settings(dump),
            ["Acquire::http::Proxy \"http://p:3128\";", "Acquire::Check-Date \"false\";"]
        );
    }
}
