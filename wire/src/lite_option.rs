//! How a path becomes the node's own: the options of a statelite list.
//!
//! A list holds one spelling of each. The many spellings of a `litefile` row are read by `dawn-cluster`.

use std::fmt;

/// How a path becomes the node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LiteOption {
    /// A copy in RAM, mounted over the path; gone after a reboot.
    Tmpfs,
    /// A copy in RAM, reached by a symbolic link in the image.
    Link,
    /// In the node's store, kept over reboots.
    Persistent,
    /// In the node's store, through links.
    LinkPersistent,
    /// On the node's own disk.
    Localdisk,
    /// The version of a tree, in place, read-only.
    Ro,
    /// The version of a tree, read-only, through links.
    LinkRo,
    /// All versions of all trees, one after the other, in RAM.
    Con,
    /// The same, through links.
    LinkCon,
    /// Joined once, then kept in the node's store.
    ConPersistent,
}

impl LiteOption {
    /// All of them, with their spellings.
    const SPELLINGS: [(&'static str, Self); 10] = [
        ("tmpfs", Self::Tmpfs),
        ("link", Self::Link),
        ("persistent", Self::Persistent),
        ("link,persistent", Self::LinkPersistent),
        ("localdisk", Self::Localdisk),
        ("ro", Self::Ro),
        ("link,ro", Self::LinkRo),
        ("con", Self::Con),
        ("link,con", Self::LinkCon),
        ("con,persistent", Self::ConPersistent),
    ];

    /// The option that a list spells so.
    #[must_use]
    pub fn spelled(text: &str) -> Option<Self> {
        Self::SPELLINGS.iter().find(|(spelling, _)| *spelling == text).map(|(_, option)| *option)
    }

    /// The spelling that lists and `liteimg` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::SPELLINGS.iter().find(|(_, option)| *option == self).map_or("", |(spelling, _)| spelling)
    }

    /// Whether the image holds a symbolic link at the path.
    #[must_use]
    pub fn is_link(self) -> bool {
        matches!(self, Self::Link | Self::LinkPersistent | Self::LinkRo | Self::LinkCon)
    }

    /// Whether the path survives a reboot.
    #[must_use]
    pub fn is_persistent(self) -> bool {
        matches!(self, Self::Persistent | Self::LinkPersistent | Self::ConPersistent)
    }

    /// Whether the files of all trees are joined.
    #[must_use]
    pub fn is_con(self) -> bool {
        matches!(self, Self::Con | Self::LinkCon | Self::ConPersistent)
    }

    /// Whether the path is read-only for the node: its programs read it in place.
    #[must_use]
    pub fn is_ro(self) -> bool {
        matches!(self, Self::Ro | Self::LinkRo)
    }
}

impl fmt::Display for LiteOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::LiteOption;

    #[test]
    fn every_option_has_one_spelling() {
        for (spelling, option) in LiteOption::SPELLINGS {
            assert_eq!((LiteOption::spelled(spelling), option.as_str()), (Some(option), spelling));
        }
        assert_eq!(LiteOption::spelled("rw"), None);
    }
}
