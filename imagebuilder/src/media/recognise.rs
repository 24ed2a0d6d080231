//! Which system an installation medium holds, by the small files that its maker put on it.
//!
//! Nothing is read here but through [`Files`], so that tests can say what a medium says.

/// The files of a medium, as far as recognising it needs them.
pub(super) trait Files {
    /// The text of a small file; `None` if it is not there or not a text.
    fn text(&self, path: &str) -> Option<String>;
    /// Whether there is a file or directory of this name.
    fn has(&self, path: &str) -> bool;
}

/// What a medium is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// Distribution and release, as `osimage.osvers` has it: `rocky9.3`.
    pub name: String,
    /// Architecture as tables have it: `x86_64`.
    pub arch: String,
    /// Number of the disc, where the distribution counts them.
    pub disc: Option<String>,
    /// Which distributions these are.
    pub family: Family,
}

/// Distributions whose media are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Red Hat Enterprise Linux and its clones, and Fedora.
    EnterpriseLinux,
    /// SUSE Linux Enterprise and openSUSE Leap.
    Suse,
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// ALT: recognised by the name that the administrator gives.
    Alt,
}

impl Family {
    /// What the names of its releases begin with.
    #[must_use]
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::EnterpriseLinux => &["centos", "alma", "rocky", "fedora", "SL", "ol", "rh"],
            Self::Suse => &["sle", "leap", "opensuse"],
            Self::Debian => &["debian"],
            Self::Ubuntu => &["ubuntu"],
            Self::Alt => &["alt"],
        }
    }
}

/// Reads what a medium says about itself; `name` and `arch` are what the administrator said. `None` if the
/// medium is of no distribution that is known.
pub(super) fn recognise(files: &dyn Files, name: Option<&str>, arch: Option<&str>) -> Option<Medium> {
    let found = enterprise_linux(files)
        .or_else(|| suse(files))
        .or_else(|| debian(files))
        .or_else(|| alt(name, arch))?;
    Some(Medium { arch: of_tables(&found.arch), ..found })
}

/// The words of tables for what media call an architecture.
pub(super) fn of_tables(arch: &str) -> String {
    let of_pc = |arch: &str| arch.len() == 4 && arch.starts_with('i') && arch.ends_with("86");
    match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "ppc" => "ppc64",
        "ppc64el" => "ppc64le",
        arch if of_pc(arch) => "x86",
        arch => arch,
    }
    .to_owned()
}

fn enterprise_linux(files: &dyn Files) -> Option<Medium> {
    let info = files.text(".discinfo")?;
    let mut lines = info.lines().map(str::trim);
    let (_, description, arch) = (lines.next()?, lines.next()?, lines.next().unwrap_or_default());
    let disc = lines.next().filter(|disc| !disc.is_empty()).map(str::to_owned);
    let tree = files.text(".treeinfo").unwrap_or_default();
    let name = name_of(description, &tree)?;
    Some(Medium { name, arch: arch.to_owned(), disc, family: Family::EnterpriseLinux })
}

/// `Rocky Linux 9.3` → `rocky9.3`; a description that is a number is a release of what `.treeinfo` names.
fn name_of(description: &str, tree: &str) -> Option<String> {
    let words: Vec<&str> = description.split_whitespace().collect();
    let version = words.iter().rev().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let is_version = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let family = match is_version(description) {
        true => value(tree, "family").unwrap_or_default(),
        false => description.to_owned(),
    };
    let begins = |begin: &str| family.starts_with(begin);
    let short = version.strip_suffix(".0").filter(|short| short.contains('.')).unwrap_or(version);
    Some(match () {
        () if begins("CentOS Stream") => format!("centos-stream{version}"),
        () if begins("CentOS") => format!("centos{version}"),
        () if begins("Rocky") => format!("rocky{version}"),
        () if begins("Alma") => format!("alma{version}"),
        () if begins("Fedora") => format!("fedora{version}"),
        () if begins("Scientific") => format!("SL{version}"),
        () if begins("Oracle") || begins("OL-") => format!("ol{short}"),
        () if begins("Red Hat Enterprise Linux") => match value(tree, "variant").as_deref() {
            Some("ComputeNode") => format!("rhelhpc{short}"),
            _ => format!("rhels{short}"),
        },
        () => return None,
    })
}

/// The first value of a key in a file of `key = value` lines.
fn value(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, _)| *name == key)
        .map(|(_, v)| v.to_owned())
}

fn suse(files: &dyn Files) -> Option<Medium> {
    new_suse(files).or_else(|| old_suse(files))
}

/// SLE 15 and Leap 15: `media.1/media` names product, version and architecture.
fn new_suse(files: &dyn Files) -> Option<Medium> {
    let media = files.text("media.1/media")?;
    let product =
        media.lines().find(|line| line.starts_with("SLE-15") || line.starts_with("openSUSE-Leap-15"))?;
    let arch = product.split(['-', ' ']).find(|word| is_arch(word))?.to_owned();
    let (name, disc) = match product.strip_prefix("openSUSE-Leap-") {
        Some(rest) => (format!("leap{}", rest.split('-').next()?), "1"),
        None => {
            let service_pack = product.split('-').find_map(|word| word.strip_prefix("SP"));
            let name = service_pack.map_or("sle15".to_owned(), |number| format!("sle15.{number}"));
            (name, if product.contains("Packages") { "2" } else { "1" })
        }
    };
    Some(Medium { name, arch, disc: Some(disc.into()), family: Family::Suse })
}

/// SLES 12 and before: `content`, and a directory `media.N` for disc N.
fn old_suse(files: &dyn Files) -> Option<Medium> {
    let content = files.text("content")?;
    let line =
        |key: &str| content.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim);
    let distro = line("DISTRO").or(line("LABEL"))?;
    if !distro.to_ascii_lowercase().contains("sles") && !distro.contains("SUSE Linux Enterprise Server") {
        return None;
    }
    let words = [line("DEFAULTBASE"), line("BASEARCHS"), line("REPOID")].into_iter().flatten();
    let arch = words.flat_map(|text| text.split([' ', '/'])).find(|word| is_arch(word))?.to_owned();
    let version = line("VERSION").or_else(|| distro.rsplit(':').next())?;
    let mut numbers =
        version.split(['.', '-', ' ']).filter(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    let (major, service_pack) = (numbers.next()?, numbers.next());
    let name = service_pack.map_or_else(|| format!("sles{major}"), |number| format!("sles{major}.{number}"));
    let disc = (1..=9).find(|disc| files.has(&format!("media.{disc}"))).unwrap_or(1);
    Some(Medium { name, arch, disc: Some(disc.to_string()), family: Family::Suse })
}

fn is_arch(word: &str) -> bool {
    ["x86_64", "i586", "i686", "ppc64", "ppc64le", "s390x", "aarch64"].contains(&word)
}

/// Debian and Ubuntu: `.disk/info`, as in `Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST …`
/// and `Ubuntu-Server 24.04.1 LTS "Noble Numbat" - Release amd64 (20240827)`.
fn debian(files: &dyn Files) -> Option<Medium> {
    let info = files.text(".disk/info")?;
    let (before, after) = info.split_once(" - ")?;
    let words: Vec<&str> = before.split_whitespace().collect();
    let version = words.iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let arch = after
        .split_whitespace()
        .find(|word| ["amd64", "i386", "arm64", "ppc64el", "s390x", "armhf", "riscv64"].contains(word))?;
    let (name, family) = match words.first()? {
        word if word.starts_with("Debian") => (format!("debian{version}"), Family::Debian),
        word if word.starts_with("Ubuntu") => (format!("ubuntu{version}"), Family::Ubuntu),
        _ => return None,
    };
    Some(Medium { name, arch: (*arch).to_owned(), disc: None, family })
}

/// ALT's media say nothing that xCAT could read: both words are given.
fn alt(name: Option<&str>, arch: Option<&str>) -> Option<Medium> {
    let name = name.filter(|name| name.starts_with("alt"))?;
    Some(Medium { name: name.to_owned(), arch: arch?.to_owned(), disc: None, family: Family::Alt })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Says(HashMap<&'static str, &'static str>);

    impl Files for Says {
        fn text(&self, path: &str) -> Option<String> {
            self.0.get(path).map(|text| (*text).to_owned())
        }

        fn has(&self, path: &str) -> bool {
            self.0.keys().any(|key| key.starts_with(path))
        }
    }

    #[track_caller]
    fn check(files: &[(&'static str, &'static str)], expected: &str) {
        let found = recognise(&Says(files.iter().copied().collect()), None, None);
        let found = found.map_or("none".to_owned(), |medium| {
            format!("{} {} {}", medium.name, medium.arch, medium.disc.as_deref().unwrap_or("-"))
        });
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn enterprise_linux_and_fedora() {
        let el = |description: &'static str, tree: &'static str, expected: &str| {
            let info: &'static str = format!("1.5\n{description}\nx86_64\n1\n").leak();
            check(&[(".discinfo", info), (".treeinfo", tree)], expected);
        };
        el("Rocky Linux 9.3", "", "rocky9.3 x86_64 1");
        el("AlmaLinux 8.10", "", "alma8.10 x86_64 1");
        el("CentOS Linux 7", "", "centos7 x86_64 1");
        el("CentOS Stream 9", "", "centos-stream9 x86_64 1");
        el("Red Hat Enterprise Linux 9.4.0", "", "rhels9.4 x86_64 1");
        el("Red Hat Enterprise Linux 7.6", "[general]\nvariant = ComputeNode\n", "rhelhpc7.6 x86_64 1");
        el("Oracle Linux 8.9.0", "", "ol8.9 x86_64 1");
        el("OL-7.9 Server.x86_64", "", "none");
        el("Fedora 40", "", "fedora40 x86_64 1");
        el("9.4", "[general]\nfamily = Rocky Linux\n", "rocky9.4 x86_64 1");
        el("9.4", "[general]\nfamily = Nobody's Linux\n", "none");
        el("", "", "none");
        check(&[(".discinfo", "1\nRocky Linux 9\nppc\n")], "rocky9 ppc64 -");
        check(&[(".discinfo", "")], "none");
    }

    #[test]
    fn suse() {
        let media = |line: &'static str, expected: &str| {
            check(&[("media.1/media", format!("SUSE - x\n{line}\n1\n").leak())], expected);
        };
        media("SLE-15-SP5-Installer-DVD-x86_64-Build1-Media1", "sle15.5 x86_64 1");
        media("SLE-15-SP1-Packages-DVD-ppc64le-Build1-Media1", "sle15.1 ppc64le 2");
        media("SLE-15-Installer-DVD-x86_64-Build1-Media1", "sle15 x86_64 1");
        media("openSUSE-Leap-15.6-DVD-x86_64-Build1-Media", "leap15.6 x86_64 1");
        media("openSUSE-Tumbleweed", "none");
        let old = "CONTENTSTYLE 11\nDISTRO cpe:/o:suse:sles:12:sp5,SUSE Linux Enterprise Server 12 SP5\nVERSION 12.5\n\
                   REPOID obsproduct://build.suse.de/SUSE:SLE-12-SP5:GA/SLES/12.5/DVD/x86_64\n";
        check(&[("content", old), ("media.2/media", "")], "sles12.5 x86_64 2");
        check(&[("content", "LABEL Something\nVERSION 1\nBASEARCHS x86_64\n")], "none");
    }

    #[test]
    fn debian_and_ubuntu() {
        let info = |info: &'static str, expected: &str| check(&[(".disk/info", info)], expected);
        info(
            "Debian GNU/Linux 12.5.0 \"Bookworm\" - Official amd64 NETINST with firmware 20240210-11:27",
            "debian12.5.0 x86_64 -",
        );
        info(
            "Ubuntu-Server 24.04.1 LTS \"Noble Numbat\" - Release amd64 (20240827)",
            "ubuntu24.04.1 x86_64 -",
        );
        info("Ubuntu 20.10 \"Groovy Gorilla\" - Release arm64 (20201022)", "ubuntu20.10 aarch64 -");
        info("Mint 21 - Release amd64", "none");
        info("Debian GNU/Linux - Official", "none");
        info("", "none");
    }

    #[test]
    fn alt_by_name() {
        let nothing = Says(HashMap::new());
        let medium = recognise(&nothing, Some("alt10"), Some("i586")).unwrap();
        assert_eq!((medium.name.as_str(), medium.arch.as_str()), ("alt10", "x86"));
        assert_eq!(recognise(&nothing, Some("alt10"), None), None);
        assert_eq!(recognise(&nothing, Some("mine"), Some("x86_64")), None);
    }
}
