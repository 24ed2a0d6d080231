//! Paths that the units of an image write to and that no entry makes writable: services fail on a node that
//! lacks them.
//!
//! From the image's tree: `StateDirectory=`, `CacheDirectory=`, `LogsDirectory=` and `PrivateTmp=` of its
//! services and their drop-ins (systemd.exec(5)), directories of `tmpfiles.d` (tmpfiles.d(5)) that the image
//! does not have yet, and what every system writes to. `RuntimeDirectory=` is in `/run`, which is memory
//! anyway. The files are read as text: no link is followed, and unreadable files are ignored. Generators
//! are not looked at.

use crate::entry::LiteFile;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Unit files of one tree that are read at most.
const UNITS_MAX: usize = 4096;
/// Bytes of one unit file that are read.
const UNIT_BYTES_MAX: u64 = 64 << 10;
/// Directories of units, below the root.
const UNIT_DIRS: [&str; 3] = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];
/// Directories of descriptions of temporary files, below the root.
const TMPFILES_DIRS: [&str; 2] = ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"];
/// Directories that are memory on every node.
const IN_MEMORY: [&str; 4] = ["/run/", "/dev/", "/proc/", "/sys/"];
/// What every system writes to.
const ALWAYS: [&str; 3] = ["/tmp/", "/var/tmp/", "/var/log/"];
/// Where the directories of a setting are.
const SETTINGS: [(&str, &str); 3] =
    [("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log")];

/// A directory that must be writable, and who needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// With a slash at the end.
    pub path: String,
    /// A unit, a file of `tmpfiles.d`, or `every system`.
    pub by: String,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "litefile: {} of {} is not writable on the node: no entry covers it", self.path, self.by)
    }
}

/// What the tree at `rootimg`, of a statelite image, needs and `files` do not make writable, by path.
#[must_use]
pub fn missing(rootimg: &Path, files: &[LiteFile]) -> Vec<Need> {
    let writable = |path: &str| {
        files.iter().any(|file| {
            let is_writable = file.option.as_ref().is_ok_and(|option| !option.is_ro());
            is_writable && file.is_dir() && path.starts_with(&*file.path)
        })
    };
    let needs = needs(rootimg).into_iter().filter(|(path, _)| !writable(path));
    needs.map(|(path, by)| Need { path, by }).collect()
}

/// Every path, with the first that needs it.
fn needs(rootimg: &Path) -> BTreeMap<String, String> {
    if !rootimg.is_dir() {
        return BTreeMap::new();
    }
    let mut needs: BTreeMap<String, String> =
        ALWAYS.iter().map(|path| ((*path).to_owned(), "every system".to_owned())).collect();
    let Ok(top) = rootimg.canonicalize() else { return needs };
    let mut add = |paths: Vec<String>, by: &str| {
        for path in paths {
            needs.entry(path).or_insert_with(|| by.to_owned());
        }
    };
    for dir in UNIT_DIRS.map(|dir| top.join(dir)) {
        for path in names(&top, &dir, "service") {
            add(of_unit(&read(&path)), &name_of(&path));
        }
        for drop_ins in names(&top, &dir, "d") {
            let unit = name_of(&drop_ins).trim_end_matches(".d").to_owned();
            if unit.ends_with(".service") {
                names(&top, &drop_ins, "conf").iter().for_each(|path| add(of_unit(&read(path)), &unit));
            }
        }
    }
    for dir in TMPFILES_DIRS.map(|dir| top.join(dir)) {
        for path in names(&top, &dir, "conf") {
            let mut paths = of_tmpfiles(&read(&path));
            paths.retain(|path| fs::symlink_metadata(top.join(path.trim_matches('/'))).is_err());
            add(paths, &name_of(&path));
        }
    }
    needs
}

/// What a directory of the tree at `top` holds with that ending, sorted. Links may lead elsewhere in the
/// image (`lib` of merged-usr systems), but not out of it.
fn names(top: &Path, dir: &Path, ending: &str) -> Vec<PathBuf> {
    if !dir.canonicalize().is_ok_and(|real| real.starts_with(top)) {
        return Vec::new();
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(UNITS_MAX);
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == ending));
    names.sort();
    names
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    // A link of the image could lead to anything of this machine, and a FIFO would wait.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut bytes = Vec::new();
    let _ = file.and_then(|file| file.take(UNIT_BYTES_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The directories that one unit writes to. Names with specifiers (`%i`) are those of instances and left out.
fn of_unit(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
        let (key, value) = (key.trim(), value.trim());
        if let Some((_, base)) = SETTINGS.iter().find(|(setting, _)| *setting == key) {
            let names = value.split_whitespace().filter_map(|name| name.split(':').next());
            let plain = |name: &&str| {
                !name.is_empty() && !name.contains(['%', '"']) && !name.split('/').any(|part| part == "..")
            };
            all.extend(names.filter(plain).map(|name| format!("{base}/{}/", name.trim_matches('/'))));
        }
        if key == "PrivateTmp" && matches!(value, "yes" | "true" | "1" | "on") {
            all.extend(["/tmp/".to_owned(), "/var/tmp/".to_owned()]);
        }
    }
    all
}

/// The directories that a file of `tmpfiles.d` makes. Specifiers (`%m`) have values that only the node knows.
fn of_tmpfiles(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (kind, path) = (words.next()?, words.next()?.trim_matches('"'));
        let makes = kind.starts_with(['d', 'D', 'v', 'q', 'Q']);
        let plain = path.starts_with('/')
            && !path.contains(['%', '"', '\\'])
            && !path.split('/').any(|part| matches!(part, "." | ".."));
        let path = format!("/{}/", path.trim_matches('/'));
        let in_memory = IN_MEMORY.iter().any(|dir| path.starts_with(dir));
        (makes && plain && path != "//" && !in_memory).then_some(path)
    };
    text.lines().filter_map(line).collect()
}

/// The entry for fuzzers: what is read from any unit or file of `tmpfiles.d` is a plain path of a directory.
///
/// # Panics
/// When it is not.
pub fn fuzz_needs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for path in of_unit(&text).into_iter().chain(of_tmpfiles(&text)) {
        assert!(path.starts_with('/') && path.ends_with('/') && path != "/", "{path:?} of {text:?}");
        assert!(!path.split('/').any(|part| part == ".."), "{path:?} of {text:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::Snapshot;

    fn missing_with(rows: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path().join("usr/lib/systemd/system");
        fs::create_dir_all(&units).unwrap();
        let chrony = "[Service]\nPrivateTmp=yes\nStateDirectory = chrony\nLogsDirectory=chrony:old\n";
        fs::write(units.join("chrony.service"), chrony).unwrap();
        fs::write(
            units.join("app@.service"),
            "StateDirectory=app/%i /../x\nCacheDirectory=app private/app\n",
        )
        .unwrap();
        fs::write(units.join("x.timer"), "StateDirectory=x\n").unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", units.join("link.service")).unwrap();
        fs::create_dir(units.join("chrony.service.d")).unwrap();
        fs::write(units.join("chrony.service.d/own.conf"), "[Service]\nCacheDirectory=chrony\n").unwrap();
        let tmpfiles = dir.path().join("usr/lib/tmpfiles.d");
        fs::create_dir(&tmpfiles).unwrap();
        let text = "# d /no\nd /var/lib/made 0755 root root -\nd! /var/there\nd /run/x\nf /var/f\nD \"/srv/q\"\nd /a/%m\n";
        fs::write(tmpfiles.join("own.conf"), text).unwrap();
        fs::create_dir_all(dir.path().join("var/there")).unwrap();
        let cells: Vec<_> = rows
            .iter()
            .map(|(file, options)| [("image", "img"), ("file", *file), ("options", *options)])
            .collect();
        let snapshot = Snapshot::from_rows(cells.iter().map(|row| ("litefile", row.as_slice())));
        let files = crate::files_of_image(&snapshot, "img");
        missing(dir.path(), &files).into_iter().map(|need| format!("{} {}", need.path, need.by)).collect()
    }

    #[test]
    fn what_units_need_and_no_entry_covers_is_named() {
        let all = [
            "/srv/q/ own.conf",
            "/tmp/ every system",
            "/var/cache/app/ app@.service",
            "/var/cache/chrony/ chrony.service",
            "/var/cache/private/app/ app@.service",
            "/var/lib/chrony/ chrony.service",
            "/var/lib/made/ own.conf",
            "/var/log/ every system",
            "/var/log/chrony/ chrony.service",
            "/var/tmp/ every system",
        ];
        assert_eq!(missing_with(&[("/root/", "tmpfs"), ("/var/lib/", "ro")]), all);
        assert_eq!(missing_with(&[]), all, "an image without a row");
        let rest = missing_with(&[
            ("/tmp/", "tmpfs"),
            ("/var/cache/", "link"),
            ("/var/lib/", "persistent"),
            ("/var/log/", ""),
        ]);
        assert_eq!(rest, ["/srv/q/ own.conf", "/var/tmp/ every system"]);
        let none = missing_with(&[("/tmp/", "rw"), ("/var/", "localdisk"), ("/srv/", "persistent")]);
        assert_eq!(none, Vec::<String>::new());
    }

    #[test]
    fn a_tree_that_is_not_there_needs_nothing() {
        let snapshot =
            Snapshot::from_rows([("litefile", &[("image", ""), ("file", "/a/")] as &[(&str, &str)])]);
        assert_eq!(missing(Path::new("/nonexistent"), &crate::files_of_image(&snapshot, "x")), []);
    }
}
