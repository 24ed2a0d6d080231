//! The `litefile.options` column: what it may say, and what it means.

use std::fmt;
use std::str::FromStr;

/// How a path becomes the node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LiteOption {
    /// `tmpfs` (`rw`, `tmpfs,rw`, `tempfs`, empty): a copy in RAM, gone after a reboot.
    Tmpfs,
    /// `link`: a copy in RAM, reached by a symbolic link in the image.
    Link,
    /// `persistent`: in the node's store, kept over reboots.
    Persistent,
    /// `link,persistent`.
    LinkPersistent,
    /// `localdisk`: on the node's own disk.
    Localdisk,
    /// `ro`: the version of a tree, in place, read-only.
    Ro,
    /// `link,ro`.
    LinkRo,
    /// `con`: all versions of all trees, one after the other.
    Con,
    /// `link,con`.
    LinkCon,
    /// `con,persistent`: joined once, then kept in the node's store.
    ConPersistent,
}

impl LiteOption {
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

    /// Whether the path is read-only for the node.
    #[must_use]
    pub fn is_ro(self) -> bool {
        matches!(self, Self::Ro | Self::LinkRo)
    }

    /// The spelling that nodes and `liteimg` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Link => "link",
            Self::Persistent => "persistent",
            Self::LinkPersistent => "link,persistent",
            Self::Localdisk => "localdisk",
            Self::Ro => "ro",
            Self::LinkRo => "link,ro",
            Self::Con => "con",
            Self::LinkCon => "link,con",
            Self::ConPersistent => "con,persistent",
        }
    }
}

/// The text is none of the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid option '{0}'; the valid options are: tmpfs persistent localdisk rw ro con link tmpfs,rw link,ro link,persistent link,con"
)]
pub struct OptionError(pub String);

impl FromStr for LiteOption {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        match compact.as_str() {
            "" | "tmpfs" | "tempfs" | "rw" | "tmpfs,rw" | "tempfs,rw" | "rw,tmpfs" => Ok(Self::Tmpfs),
            "link" | "link,tmpfs" | "tmpfs,link" | "link,tmpfs,rw" => Ok(Self::Link),
            "persistent" | "persistent,rw" => Ok(Self::Persistent),
            "link,persistent" | "persistent,link" => Ok(Self::LinkPersistent),
            "localdisk" => Ok(Self::Localdisk),
            "ro" => Ok(Self::Ro),
            "link,ro" | "ro,link" => Ok(Self::LinkRo),
            "con" => Ok(Self::Con),
            "link,con" | "con,link" => Ok(Self::LinkCon),
            "con,persistent" | "persistent,con" => Ok(Self::ConPersistent),
            _ => Err(OptionError(text.to_owned())),
        }
    }
}

impl fmt::Display for LiteOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_spelling_reads_back() {
        use LiteOption::*;
        for option in
            [Tmpfs, Link, Persistent, LinkPersistent, Localdisk, Ro, LinkRo, Con, LinkCon, ConPersistent]
        {
            assert_eq!(option.as_str().parse(), Ok(option));
        }
    }

    #[test]
    fn other_spellings_and_nonsense() {
        for (text, option) in [
            ("", Some(LiteOption::Tmpfs)),
            ("tmpfs,rw", Some(LiteOption::Tmpfs)),
            ("tempfs", Some(LiteOption::Tmpfs)),
            ("rw", Some(LiteOption::Tmpfs)),
            ("link, persistent", Some(LiteOption::LinkPersistent)),
            ("persistent,con", Some(LiteOption::ConPersistent)),
            ("ro,con", None),
            ("links", None),
        ] {
            assert_eq!(text.parse::<LiteOption>().ok(), option, "{text}");
        }
    }
}
