//! The license texts of the crates inside the executable, which their licenses want to go along.
//!
//! The same text is printed once, after the names of all that have it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

use super::components::Component;

/// Beginnings of the names of files with licenses and notices.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// All texts.
pub(super) fn collect(components: &[Component]) -> Result<String> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let foreign = || components.iter().filter(|component| component.checksum.is_some());
    for component in foreign() {
        for text in texts(component)? {
            let owner = format!("{} {}", component.name, component.version);
            let owners = owners.entry(text).or_default();
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
    }
    let mut all =
        String::from("Dawn contains the following libraries, each under the license in the same line.\n\n");
    for Component { name, version, license, .. } in foreign() {
        all.push_str(&format!("{name} {version}: {license}\n"));
    }
    for (text, owners) in owners {
        all.push_str(&format!("\n{}\n{}\n\n{}\n", "=".repeat(78), owners.join(", "), text.trim_end()));
    }
    Ok(all)
}

fn texts(component: &Component) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for name in super::files(&component.directory)? {
        let path = component.directory.join(&name);
        if path.is_file() && NAMES.iter().any(|start| name.to_uppercase().starts_with(start)) {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}
