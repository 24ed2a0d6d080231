//! The list of what is inside the executable: CycloneDX 1.5 in JSON.
//!
//! Loaders that `dawn init` copies from the machine (iPXE, shim) are not part of it, as they are not shipped.

use std::process::Command;

use anyhow::{Context, Result};
use dawn_qemu::process::run;
use serde_json::{Value, json};

use super::VERSION;
use super::components::Component;

/// The list as text.
pub(super) fn render(components: &[Component], epoch: u64) -> Result<String> {
    let time = run(Command::new("date").args(["-u", "-d", &format!("@{epoch}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    let list = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.trim(),
            "component": {
                "type": "application",
                "name": "dawn",
                "version": VERSION,
                "licenses": [{ "expression": "Apache-2.0" }],
            },
        },
        "components": components.iter().map(entry).collect::<Vec<Value>>(),
    });
    let mut text = serde_json::to_string_pretty(&list).context("cannot write the list of components")?;
    text.push('\n');
    Ok(text)
}

fn entry(component: &Component) -> Value {
    let Component { name, version, license, repository, checksum, .. } = component;
    let mut entry = json!({ "type": "library", "name": name, "version": version });
    let mut add =
        |key: &str, value: Value| entry.as_object_mut().map(|map| map.insert(key.to_owned(), value));
    if checksum.is_some() {
        add("purl", json!(format!("pkg:cargo/{name}@{version}")));
    }
    if !license.is_empty() {
        add("licenses", json!([{ "expression": license.replace('/', " OR ") }]));
    }
    if let Some(checksum) = checksum {
        add("hashes", json!([{ "alg": "SHA-256", "content": checksum }]));
    }
    if let Some(repository) = repository {
        add("externalReferences", json!([{ "type": "vcs", "url": repository }]));
    }
    entry
}
