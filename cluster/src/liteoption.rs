//! The `litefile.options` column: what it may say, and what it means.

use crate::names::excerpt;
use std::fmt;
use std::str::FromStr;

/// How a path becomes the node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LiteOption {
    /// `tmpfs` (`rw`, `tempfs`): a copy in RAM, gone after a reboot.
    Tmpfs,
    /// `link` (`tmpfs,rw`, empty): a copy in RAM, reached by a symbolic link in the image.
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
    "{reason}; the valid options are: tmpfs persistent localdisk rw ro con link tmpfs,rw link,ro link,persistent link,con con,persistent"
)]
pub struct OptionError {
    /// Which word is none, or which do not go together.
    pub reason: String,
}

/// The words of all options; `tempfs` is an old spelling.
const WORDS: [&str; 8] = ["tmpfs", "tempfs", "rw", "persistent", "localdisk", "ro", "con", "link"];

impl FromStr for LiteOption {
    type Err = OptionError;

    /// Words in any order, with blanks around them.
    fn from_str(text: &str) -> Result<Self, OptionError> {
        let text = text.trim();
        let mut words: Vec<&str> = text.split(',').map(str::trim).collect();
        if let Some(word) = words.iter().find(|word| !text.is_empty() && !WORDS.contains(word)) {
            return Err(OptionError { reason: format!("'{}' is not an option", excerpt(word)) });
        }
        words.sort_unstable();
        match words.as_slice() {
            [""] | ["link"] | ["rw", "tmpfs" | "tempfs"] => Ok(Self::Link),
            ["tmpfs" | "tempfs" | "rw"] => Ok(Self::Tmpfs),
            ["persistent"] => Ok(Self::Persistent),
            ["link", "persistent"] => Ok(Self::LinkPersistent),
            ["localdisk"] => Ok(Self::Localdisk),
            ["ro"] => Ok(Self::Ro),
            ["link", "ro"] => Ok(Self::LinkRo),
            ["con"] => Ok(Self::Con),
            ["con", "link"] => Ok(Self::LinkCon),
            ["con", "persistent"] => Ok(Self::ConPersistent),
            words => Err(OptionError { reason: format!("'{}' do not go together", words.join("' and '")) }),
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
    fn other_spellings_and_reasons() {
        use LiteOption::*;
        for (text, option) in [
            ("", Ok(Link)),
            ("tmpfs,rw", Ok(Link)),
            ("rw,tempfs", Ok(Link)),
            ("tempfs", Ok(Tmpfs)),
            ("rw", Ok(Tmpfs)),
            ("link, persistent", Ok(LinkPersistent)),
            ("persistent,con", Ok(ConPersistent)),
            ("con,ro", Err("'con' and 'ro' do not go together")),
            ("link,tmpfs", Err("'link' and 'tmpfs' do not go together")),
            ("localdisk,persistent", Err("'localdisk' and 'persistent' do not go together")),
            ("ro,", Err("'' is not an option")),
            ("links", Err("'links' is not an option")),
        ] {
            let got = text.parse::<LiteOption>().map_err(|error| error.reason);
            assert_eq!(got, option.map_err(str::to_owned), "{text}");
        }
    }
}
