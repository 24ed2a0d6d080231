//! Licences of all crates, and crates that are there in several versions.
//!
//! `cargo deny` does this and more, but has to be compiled itself, which takes longer than all other checks
//! together; advisories need a database that is not in the crate registry.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::outcome;
use crate::metadata::{self, packages, text};
use crate::suite::Count;

/// Licences that may be linked into an Apache-2.0 program.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are there in several versions, because crates we use do not agree on one. Not more may come.
const IN_SEVERAL_VERSIONS: &[&str] = &[
    "base64",
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "fallible-iterator",
    "foldhash",
    "generic-array",
    "getrandom",
    "hashbrown",
    "num-bigint",
    "pem",
    "r-efi",
    "sha1",
    "sha2",
    "socket2",
    "syn",
    "synstructure",
    "wasi",
    "windows-sys",
];

/// Both checks.
pub fn check() -> Result<Count> {
    let metadata = metadata::read(&[])?;
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut refused = Vec::new();
    for package in packages(&metadata)? {
        let name = text(package, "name").unwrap_or_default();
        let licence = text(package, "license").unwrap_or_default();
        versions.entry(name).or_default().insert(text(package, "version").unwrap_or_default());
        if !is_allowed(licence) {
            refused.push(format!("{name}: {licence:?} is not on the list"));
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    let several: BTreeSet<&str> = versions.into_keys().collect();
    let listed: BTreeSet<&str> = IN_SEVERAL_VERSIONS.iter().copied().collect();
    let new = several.difference(&listed).map(|name| format!("{name} is there in several versions"));
    let gone =
        listed.difference(&several).map(|name| format!("{name} has one version now; take it off the list"));
    let wrong: Vec<String> = new.chain(gone).collect();
    Ok(outcome("licences", &refused).plus(outcome("versions", &wrong)))
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is an old way to write OR;
/// parentheses are read for `(… OR …) AND …`, the one form in use.
fn is_allowed(expression: &str) -> bool {
    let all = expression.split(" AND ").map(|part| part.trim().trim_matches(['(', ')']));
    let any = |part: &str| {
        part.split(" OR ").flat_map(|part| part.split('/')).any(|name| LICENCES.contains(&name.trim()))
    };
    !expression.is_empty() && all.into_iter().all(any)
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-2.0) AND GPL-3.0"] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}
