//! The crates inside the executable and inside `/init` that it carries, as `cargo metadata` and `Cargo.lock`
//! know them. What is used to build only is not in the list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use dawn_qemu::paths;
use serde_json::Value;

use crate::metadata::{self, list, packages, text};

/// The programs that are shipped.
const ROOTS: [&str; 2] = ["dawn", "initrd-init"];

/// A crate.
pub(super) struct Component {
    /// Name on crates.io, or in the workspace.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression; empty if it names none.
    pub license: String,
    /// Where its sources are developed.
    pub repository: Option<String>,
    /// SHA-256 of its archive; none for crates of the workspace.
    pub checksum: Option<String>,
    /// Where its sources are.
    pub directory: PathBuf,
}

/// All of them, sorted by name and version.
pub(super) fn of_executable() -> Result<Vec<Component>> {
    let metadata = metadata::read(&["--locked", "--filter-platform", paths::TARGET])?;
    let wanted = reachable(&metadata)?;
    let checksums = checksums()?;
    let mut components = Vec::new();
    for package in packages(&metadata)? {
        if text(package, "id").is_some_and(|id| wanted.contains(id)) {
            components.push(component(package, &checksums)?);
        }
    }
    components.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(components)
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Result<Component> {
    let of = |key: &str| text(package, key).unwrap_or_default().to_owned();
    let (name, version) = (of("name"), of("version"));
    let directory =
        PathBuf::from(of("manifest_path")).parent().context("a manifest lies nowhere")?.to_owned();
    let checksum = checksums.get(&(name.clone(), version.clone())).cloned();
    let repository = text(package, "repository").map(str::to_owned);
    Ok(Component { license: of("license"), repository, checksum, directory, name, version })
}

/// Ids of the roots and of everything that they link, directly or not.
fn reachable(metadata: &Value) -> Result<BTreeSet<&str>> {
    let resolve = metadata.get("resolve").context("`cargo metadata` resolves nothing")?;
    let nodes: BTreeMap<&str, &Value> =
        list(resolve, "nodes").filter_map(|node| Some((text(node, "id")?, node))).collect();
    let is_root = |package: &&Value| text(package, "name").is_some_and(|name| ROOTS.contains(&name));
    let mut waiting: Vec<&str> =
        packages(metadata)?.into_iter().filter(is_root).filter_map(|package| text(package, "id")).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            let links =
                nodes.get(id).into_iter().flat_map(|node| list(node, "deps")).filter(|dep| is_linked(dep));
            waiting.extend(links.filter_map(|dep| text(dep, "pkg")));
        }
    }
    Ok(found)
}

/// A dependency that is neither for tests nor for build scripts only.
fn is_linked(dependency: &Value) -> bool {
    list(dependency, "dep_kinds").any(|kind| text(kind, "kind").is_none())
}

/// Digests of the archives, from `Cargo.lock`.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let path = paths::workspace().join("Cargo.lock");
    let lock = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let value = |entry: &str, key: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let entries = lock.split("[[package]]").filter_map(|entry| {
        Some(((value(entry, "name")?, value(entry, "version")?), value(entry, "checksum")?))
    });
    Ok(entries.collect())
}
