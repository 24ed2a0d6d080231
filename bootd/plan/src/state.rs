//! The boot state of a node: `chain.currstate`, read and written as text.
//!
//! The text is part of the interface (`nodeset <node> stat` prints it, scripts compare it):
//! `netboot debian12-x86_64-compute`, `boot`, `runcmd=bmcsetup`. See the nodeset section of
//! docs/compatibility.md for the states that are read but cannot be served yet.

use crate::ondiscover;
use dawn_cluster::{Snapshot, col};
use std::fmt;

/// What the node is to do at its next network boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootState {
    /// Root in RAM from a packed image.
    Netboot(Distribution),
    /// Root over NFS with the node's own files over it.
    Statelite(Distribution),
    /// Installer of a distribution.
    Install(Distribution),
    /// The local disk.
    Boot,
    /// Nothing: the node gets no boot files.
    Offline,
    /// A task of the discovery system: `discover`, `shell`, `standby`, `reboot`, `shutdown`, `runcmd=…`,
    /// `runimage=…`, `ondiscover=…`.
    Task(String),
}

/// `<os>-<arch>-<profile>`, kept as one text: os and profile may contain dashes themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution(String);

impl Distribution {
    /// Joins the three parts.
    #[must_use]
    pub fn new(os: &str, arch: &str, profile: &str) -> Self {
        Self(format!("{os}-{arch}-{profile}"))
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How tasks with an argument begin.
const TASKS: [&str; 3] = ["runcmd=", "runimage=", "ondiscover="];

impl BootState {
    /// The present state of a node.
    #[must_use]
    pub fn of(snapshot: &Snapshot, node: &str) -> Option<Self> {
        Self::parse(&snapshot.attr(node, col::chain::CURRSTATE)?)
    }

    /// Reads the text of `chain.currstate`. `None` for an empty or unknown text, and for one with anything
    /// but printable ASCII or with a backslash, which would join the next line: the text is the comment line
    /// of every boot file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.chars().all(|c| c == ' ' || (c.is_ascii_graphic() && c != '\\')) {
            return None;
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let distribution = || Distribution(rest.trim().to_owned());
        match word {
            "netboot" => Some(Self::Netboot(distribution())),
            "statelite" => Some(Self::Statelite(distribution())),
            "install" => Some(Self::Install(distribution())),
            "boot" => Some(Self::Boot),
            "offline" => Some(Self::Offline),
            "shell" | "standby" | "shutdown" | "discover" | "reboot" => Some(Self::Task(word.to_owned())),
            _ if TASKS.iter().any(|task| text.starts_with(task)) => Some(Self::Task(text.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for BootState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netboot(distribution) => write!(f, "netboot {distribution}"),
            Self::Statelite(distribution) => write!(f, "statelite {distribution}"),
            Self::Install(distribution) => write!(f, "install {distribution}"),
            Self::Boot => f.write_str("boot"),
            Self::Offline => f.write_str("offline"),
            Self::Task(text) => f.write_str(ondiscover::shown(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_as_written() {
        for text in [
            "netboot debian12-x86_64-compute",
            "statelite rhels9.4-x86_64-big-memory",
            "install rhels9.4-x86_64-compute",
            "boot",
            "offline",
            "shell",
            "runcmd=bmcsetup -v",
        ] {
            assert_eq!(BootState::parse(text).map(|state| state.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn an_unknown_word_is_no_state() {
        for text in ["", "  ", "bogus", "runcmd", "netboot a\nb", "netboot a\\", "netboot ä"] {
            assert_eq!(BootState::parse(text), None);
        }
    }
}
