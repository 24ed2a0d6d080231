//! The special paths of a node, which of them is below which, and who puts each into the root.

use dawn_wire::list::Entry;
use std::collections::HashMap;
use std::ops::Deref;

/// Places that are mounted over during the hand-over: content there has no effect.
const VOLATILE: [&str; 4] = ["/run", "/dev", "/proc", "/sys"];
/// What every root needs besides the listed paths: directories to move mounts to …
pub const NEEDED_DIRS: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/.statelite"];
/// … and files that are bind mounted because every node has its own.
pub const NEEDED_FILES: [&str; 3] = ["/etc/hostname", "/etc/resolv.conf", "/etc/machine-id"];

/// The special paths of a node, each with the nearest one above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    entries: Vec<Entry>,
    above: Vec<Option<usize>>,
}

/// Who puts an entry into the root, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The node, at its path.
    ByNode,
    /// The server, at its path.
    InPlace,
    /// The server, below [`dawn_wire::image::LIVE`]: the node mounts something over its path, and brings the
    /// entry into its place.
    Aside,
    /// It is part of the served entry of this number, which is above it.
    Within(usize),
}

impl Paths {
    /// Finds what is above each entry. Their order stays; no path may be there twice.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let numbers: HashMap<&str, usize> =
            entries.iter().enumerate().map(|(number, entry)| (entry.path.as_str(), number)).collect();
        let nearest = |entry: &Entry| directories(&entry.path).find_map(|dir| numbers.get(dir).copied());
        let above = entries.iter().map(nearest).collect();
        Self { entries, above }
    }

    /// The nearest listed directory above the entry of that number.
    #[must_use]
    pub fn parent(&self, number: usize) -> Option<&Entry> {
        self.entries.get(self.above.get(number).copied().flatten()?)
    }

    /// Who puts the entry of that number into the root.
    #[must_use]
    pub fn shown(&self, number: usize) -> Shown {
        let served = self.entries.get(number).is_some_and(|entry| entry.served);
        let above = self.above.get(number).copied().flatten();
        match (served, above, self.parent(number)) {
            (false, ..) => Shown::ByNode,
            (true, Some(above), Some(parent)) if parent.served => Shown::Within(above),
            (true, _, Some(_)) => Shown::Aside,
            (true, _, None) => Shown::InPlace,
        }
    }

    /// Numbers of the entries in the order in which they are put in place: those below another one come last.
    pub fn order(&self) -> impl Iterator<Item = usize> {
        let is_parent = |number: &usize| self.parent(*number).is_none();
        let all = 0..self.entries.len();
        all.clone().filter(is_parent).chain(all.filter(move |number| !is_parent(number)))
    }

    /// Entries directly below a directory.
    pub fn directly_below(&self, dir: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| directories(&entry.path).next() == Some(dir))
    }

    /// What every root needs and an image lacks: directories, then files that are not listed. `is_there`
    /// looks into the image.
    pub fn lacking(&self, is_there: &mut dyn FnMut(&str) -> bool) -> Vec<(&'static str, bool)> {
        let dirs = NEEDED_DIRS.map(|dir| (dir, true)).into_iter();
        let files = NEEDED_FILES.map(|file| (file, false)).into_iter();
        let files = files.filter(|(file, _)| !self.entries.iter().any(|entry| entry.path == *file));
        dirs.chain(files).filter(|(path, _)| !is_there(path)).collect()
    }
}

impl Deref for Paths {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// The directories above a path, the nearest first; the root is not among them.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(directory(path), |dir| directory(dir))
}

fn directory(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(dir, _)| dir).filter(|dir| !dir.is_empty())
}

/// Whether `path` is below `dir`; a slash at the end makes no difference.
#[must_use]
pub fn is_below(path: &str, dir: &str) -> bool {
    let rest = path.strip_prefix(dir.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// Whether content at `path` has no effect, because the node has memory there.
#[must_use]
pub fn is_volatile(path: &str) -> bool {
    VOLATILE.contains(&path) || is_below_volatile(path)
}

/// Whether `path` is below such a place.
#[must_use]
pub fn is_below_volatile(path: &str) -> bool {
    VOLATILE.iter().any(|dir| is_below(path, dir))
}

/// Target of the link at `real`, which leads to the files of the node: `/etc/foo/bar` →
/// `../../.statelite/tmpfs/etc/foo/bar`, one step up per directory that the link is in.
#[must_use]
pub fn link_to_memory(real: &str, path: &str) -> String {
    let ups = real.matches('/').count().saturating_sub(1);
    format!("{}.statelite/tmpfs{path}", "../".repeat(ups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_wire::LiteOption;

    #[test]
    fn what_is_above_and_who_shows_it() {
        let entry = |option, path, served| Entry::new(option, path, served).unwrap();
        let paths = Paths::new(vec![
            entry(LiteOption::Ro, "/var/lib/fixed", true),
            entry(LiteOption::Tmpfs, "/var/", false),
            entry(LiteOption::Persistent, "/var/lib/kept/", true),
            entry(LiteOption::Persistent, "/var/lib/kept/a/b", true),
            entry(LiteOption::Ro, "/variable", true),
        ]);
        let above: Vec<Option<&str>> =
            (0..paths.len()).map(|number| paths.parent(number).map(|entry| entry.path.as_str())).collect();
        assert_eq!(above, [Some("/var"), None, Some("/var"), Some("/var/lib/kept"), None]);
        let shown: Vec<Shown> = (0..paths.len()).map(|number| paths.shown(number)).collect();
        assert_eq!(shown, [Shown::Aside, Shown::ByNode, Shown::Aside, Shown::Within(2), Shown::InPlace]);
        assert_eq!(paths.order().collect::<Vec<_>>(), [1, 4, 0, 2, 3]);
        assert_eq!(paths.directly_below("/var").count(), 0);
        assert_eq!(paths.directly_below("/var/lib").count(), 2);
    }

    #[test]
    fn what_lies_below() {
        for (path, dir, expected) in [
            ("/a/b", "/a", true),
            ("/a/b/", "/a/", true),
            ("/a", "/a", false),
            ("/a/", "/a", false),
            ("/ab", "/a", false),
            ("/a", "/", true),
        ] {
            assert_eq!(is_below(path, dir), expected, "{path} {dir}");
        }
        assert!(is_volatile("/run") && is_volatile("/run/x") && !is_volatile("/runner"));
    }

    #[test]
    fn links_lead_to_the_files_of_the_node() {
        assert_eq!(link_to_memory("/etc/foo/bar", "/etc/foo/bar"), "../../.statelite/tmpfs/etc/foo/bar");
        assert_eq!(link_to_memory("/root", "/root"), ".statelite/tmpfs/root");
    }
}
