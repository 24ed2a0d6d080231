//! Licences of all crates, crates that are there in several versions, and the oldest compiler that builds
//! them.
//!
//! `cargo deny` does this and more, but has to be compiled itself, which takes longer than all other checks
//! together; advisories need a database that is not in the crate registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use dawn_qemu::paths;

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

/// Crates that are there in several versions, because crates we use do not agree on one, and in how many. Not
/// more may come.
const IN_SEVERAL_VERSIONS: &[(&str, usize)] = &[
    ("base64", 2),
    ("block-buffer", 2),
    ("cpufeatures", 2),
    ("crypto-common", 2),
    ("digest", 2),
    ("fallible-iterator", 2),
    ("foldhash", 2),
    ("generic-array", 2),
    ("getrandom", 3),
    ("hashbrown", 2),
    ("num-bigint", 2),
    ("pem", 2),
    ("r-efi", 2),
    ("sha1", 2),
    ("sha2", 2),
    ("socket2", 2),
    ("syn", 2),
    ("synstructure", 2),
    ("wasi", 2),
    ("windows-sys", 2),
];

/// All three checks.
pub(super) fn check() -> Result<Count> {
    let metadata = metadata::read(&[])?;
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut refused, mut newer) = (Vec::new(), Vec::new());
    let oldest = oldest_compiler()?;
    for package in packages(&metadata)? {
        let name = text(package, "name").unwrap_or_default();
        let licence = text(package, "license").unwrap_or_default();
        versions.entry(name).or_default().insert(text(package, "version").unwrap_or_default());
        if !is_allowed(licence) {
            refused.push(format!("{name}: {licence:?} is not on the list"));
        }
        let needed = text(package, "rust_version").unwrap_or_default();
        if version(needed) > oldest {
            newer.push(format!(
                "{name} needs Rust {needed}: raise rust-version in Cargo.toml, or take an older one"
            ));
        }
    }
    let several: BTreeMap<&str, usize> =
        versions.into_iter().map(|(name, versions)| (name, versions.len())).filter(|(_, n)| *n > 1).collect();
    let checks = outcome("licences", &refused).plus(outcome("versions", &other_versions(&several)));
    Ok(checks.plus(outcome("minimum Rust version", &newer)))
}

/// What differs from the list of [`IN_SEVERAL_VERSIONS`].
fn other_versions(several: &BTreeMap<&str, usize>) -> Vec<String> {
    let listed: BTreeMap<&str, usize> = IN_SEVERAL_VERSIONS.iter().copied().collect();
    let count = |counts: &BTreeMap<&str, usize>, name: &str| counts.get(name).copied().unwrap_or(1);
    let names: BTreeSet<&str> = several.keys().chain(listed.keys()).copied().collect();
    let differ = names.into_iter().filter(|name| count(several, name) != count(&listed, name));
    differ
        .map(|name| {
            let (here, there) = (count(several, name), count(&listed, name));
            format!("{name} is there in {here} versions, and xtask/src/tidy/dependencies.rs says {there}")
        })
        .collect()
}

/// `rust-version` of the workspace: what clippy's `incompatible_msrv` holds our own code to.
fn oldest_compiler() -> Result<Vec<u32>> {
    let manifest = fs::read_to_string(paths::workspace().join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    Ok(version(line.context("Cargo.toml has no rust-version")?.trim_matches('"')))
}

/// The numbers of a version; none for no text.
fn version(text: &str) -> Vec<u32> {
    text.split('.').filter_map(|number| number.parse().ok()).collect()
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
    use super::{is_allowed, version};

    #[test]
    fn versions() {
        assert!(version("1.100") > version("1.95"));
        assert!(version("1.95.1") > version("1.95"));
        assert!(version("") < version("1.95"));
    }

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
