//! Who may fetch files of the install directory by HTTP or TFTP, which both know a client only by its
//! address.
//!
//! Answers for installers (`autoinst/<node>`) hold passwords and are for their node. An administrator's
//! templates and lists (`custom`) are read by commands on the server, and by no node. Everything else is for
//! everybody; its permission bits still count.

use dawn_cluster::Snapshot;
use std::path::{Component, Path};

/// Who may fetch a file, besides this machine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every client.
    Everybody,
    /// The node of this name.
    Node(String),
    /// No other machine.
    ThisMachine,
}

/// The audience of `inside`, a path relative to the install directory.
///
/// A file of `autoinst` belongs to the node whose name is its own or comes before a dot in it (`cn1`,
/// `cn1.post`), the longest that fits; a directory, with all that is in it, likewise.
#[must_use]
pub(crate) fn of(snapshot: &Snapshot, inside: &Path) -> Audience {
    let mut parts = inside.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    match parts.next().as_deref() {
        Some("custom") => Audience::ThisMachine,
        Some("autoinst") => {
            let owner = parts.next().and_then(|name| owner(snapshot, &name));
            owner.map_or(Audience::ThisMachine, Audience::Node)
        }
        _ => Audience::Everybody,
    }
}

fn owner(snapshot: &Snapshot, name: &str) -> Option<String> {
    let mut stem = name;
    while !snapshot.has_node(stem) {
        stem = stem.rsplit_once('.')?.0;
    }
    Some(stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_their_nodes_and_lists_are_the_servers() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn1"), ("groups", "all")][..]),
            ("nodelist", &[("node", "cn1.post"), ("groups", "all")]),
        ]);
        let node = |name: &str| Audience::Node(name.to_owned());
        for (inside, expected) in [
            ("", Audience::Everybody),
            ("repo/autoinst/cn1", Audience::Everybody),
            ("postscripts/custom/x.sh", Audience::Everybody),
            ("autoinst", Audience::ThisMachine),
            ("autoinst/cn1", node("cn1")),
            ("autoinst/cn1.pre", node("cn1")),
            ("autoinst/cn1.post", node("cn1.post")),
            ("autoinst/cn1/user-data", node("cn1")),
            ("autoinst/cn10", Audience::ThisMachine),
            ("autoinst/other", Audience::ThisMachine),
            ("autoinst/.", Audience::ThisMachine),
            ("custom", Audience::ThisMachine),
            ("custom/install/debian/compute.tmpl", Audience::ThisMachine),
        ] {
            assert_eq!(of(&snapshot, Path::new(inside)), expected, "{inside}");
        }
    }
}
