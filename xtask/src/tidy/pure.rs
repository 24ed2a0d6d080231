//! Pure code: what decides, and the cores of the engines, touch no disk, no socket, no clock and no process.
//! They get all of that as data, so that tests and the simulator hold every input in their hands.

use anyhow::Result;

use super::{code, outcome};
use crate::suite::Count;

/// Directories of pure code, each with the files and folders in it that are not: an engine's shell, which
/// waits for packets and keeps files.
const PURE: [(&str, &[&str]); 11] = [
    ("bootd/plan/src/", &[]),
    ("deploy/src/", &[]),
    ("discovery/src/", &[]),
    ("statelite/src/resolve/", &[]),
    ("wire/src/", &[]),
    ("bootd/dhcp/src/", &["lease/journal.rs", "probe.rs", "shell/"]),
    ("bootd/dns/src/", &["shell/"]),
    ("bootd/ndp/src/", &["link.rs", "serve.rs"]),
    ("bootd/tftp/src/", &["net.rs", "serve.rs"]),
    ("discovery/snmp/src/", &["agent.rs"]),
    ("hardware/ipmi/src/", &["client.rs", "net.rs"]),
];

/// What pure code does not name.
const OUTSIDE: [&str; 14] = [
    "std::fs",
    "fs::",
    "File::",
    "SystemTime::now",
    "Instant::now",
    ".elapsed()",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::process",
    "std::env",
    "std::thread",
    "rustix::",
    "tokio::",
];

/// The check.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    code::each_line(&mut |file, number, line| {
        if is_pure(file) {
            let named = OUTSIDE.iter().filter(|outside| names(line, outside));
            wrong.extend(named.map(|outside| format!("{file}:{number}: pure code does not use {outside}")));
        }
    })?;
    Ok(outcome("pure code", &wrong))
}

fn is_pure(file: &str) -> bool {
    PURE.iter().any(|(directory, shells)| {
        file.strip_prefix(directory)
            .is_some_and(|inside| !shells.iter().any(|shell| inside.starts_with(shell)))
    })
}

/// Whether the line names it, as a word of its own.
fn names(line: &str, outside: &str) -> bool {
    line.match_indices(outside).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        outside.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::{OUTSIDE, is_pure, names};

    #[test]
    fn which_code_is_pure() {
        for pure in ["bootd/plan/src/view/mod.rs", "bootd/dhcp/src/lease/table.rs", "wire/src/list.rs"] {
            assert!(is_pure(pure), "{pure}");
        }
        for other in ["bootd/src/hooks.rs", "bootd/dhcp/src/lease/journal.rs", "bootd/dns/src/shell/udp.rs"] {
            assert!(!is_pure(other), "{other}");
        }
    }

    #[test]
    fn what_pure_code_does_not_name() {
        let found = |line: &str| OUTSIDE.iter().any(|outside| names(line, outside));
        for line in
            ["use std::fs;", "let text = fs::read(path)?;", "let now = Instant::now();", "rustix::fs::open()"]
        {
            assert!(found(line), "{line}");
        }
        for line in ["use crate::conffs::read;", "let now: Instant = time;", "MyFile::new()"] {
            assert!(!found(line), "{line}");
        }
    }
}
