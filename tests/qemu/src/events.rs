//! Boot events as the daemon lists them: `dawn events NODE --json`.

use anyhow::{Context, Result};
use serde::Deserialize;

/// One thing a node did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BootEvent {
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// The node's name.
    #[serde(default)]
    pub node: String,
    /// What it did: `discover`, `offer`, `loader`, `script`, `kernel`, `initrd`, `root`, `init`, `booted`, …
    pub step: String,
    /// Bytes that were moved; 0 if it does not apply.
    #[serde(default)]
    pub bytes: u64,
    /// How long it took, in milliseconds; 0 if it does not apply.
    #[serde(default)]
    pub duration_ms: u64,
    /// The file, the address, the reason.
    #[serde(default)]
    pub detail: String,
}

/// Parses the command's output.
pub fn parse(json: &str) -> Result<Vec<BootEvent>> {
    serde_json::from_str(json).with_context(|| format!("not a list of events: {json}"))
}
