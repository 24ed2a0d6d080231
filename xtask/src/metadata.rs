//! What `cargo metadata` says about the workspace and the crates it is built from.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::shell;

/// The metadata; `words` select what of it: `--no-deps` for the workspace alone.
pub(crate) fn read(words: &[&str]) -> Result<Value> {
    let args = [&["metadata", "--format-version", "1"], words].concat();
    let output = shell::cargo(&args).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start `cargo metadata`")?;
    ensure!(output.status.success(), "`cargo metadata` failed");
    serde_json::from_slice(&output.stdout).context("`cargo metadata` is not JSON")
}

/// The packages.
pub(crate) fn packages(metadata: &Value) -> Result<Vec<&Value>> {
    let packages = metadata.get("packages").and_then(Value::as_array);
    Ok(packages.context("`cargo metadata` lists no packages")?.iter().collect())
}

/// A text of a JSON object.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// A list of a JSON object, empty if there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
