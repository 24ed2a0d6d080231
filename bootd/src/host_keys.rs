//! Host keys that the daemon gives to its nodes, and by which it knows them again.
//!
//! They are in `hostkeys` of the data directory: one set for all nodes, and in `hostkeys/NODE` a node's own,
//! kind by kind.

use dawn_remote::host_keys::HostKeys;
use dawn_serving::bounded_read;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Kinds of keys that nodes may have.
const KINDS: [&str; 4] = ["ed25519", "ecdsa", "rsa", "dsa"];
/// Bytes of a key file.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// The directory of the keys.
pub fn directory(data: &Path) -> PathBuf {
    data.join("hostkeys")
}

/// The private key of a kind (`rsa`, `ed25519` …) that the node has: its own, else that of all nodes.
pub fn private_key(data: &Path, node: &str, kind: &str) -> Option<String> {
    let (directory, file) = (directory(data), format!("ssh_host_{kind}_key"));
    read_key(&directory.join(node).join(&file)).or_else(|| read_key(&directory.join(&file)))
}

/// What nodes show that have their keys from here.
pub struct Issued {
    directory: Option<PathBuf>,
    shared: Arc<HostKeys>,
}

impl Issued {
    /// Reads the keys of all nodes from a data directory.
    pub fn new(data: Option<&Path>) -> Self {
        let directory = data.map(directory);
        let shared = directory.as_deref().map(keys_of).unwrap_or_default();
        Self { directory, shared: Arc::new(combined(shared)) }
    }

    /// The keys of a node.
    pub fn of(&self, node: &str) -> Arc<HostKeys> {
        let Some(directory) = &self.directory else { return Arc::clone(&self.shared) };
        let own = directory.join(node);
        if !own.is_dir() {
            return Arc::clone(&self.shared);
        }
        // Kind by kind, as the node was given them.
        let mut keys = keys_of(directory);
        keys.extend(keys_of(&own));
        Arc::new(combined(keys))
    }
}

/// The public keys of a directory by kind. They come from the private ones: a public file next
/// to them could belong to another key.
fn keys_of(directory: &Path) -> BTreeMap<&'static str, HostKeys> {
    let key = |kind: &&'static str| {
        let path = directory.join(format!("ssh_host_{kind}_key"));
        let mut keys = HostKeys::default();
        (path.exists() && keys.add_private(&read_key(&path)?)).then_some((*kind, keys))
    };
    KINDS.iter().filter_map(key).collect()
}

fn combined(kinds: BTreeMap<&'static str, HostKeys>) -> HostKeys {
    let mut all = HostKeys::default();
    kinds.values().for_each(|keys| all.extend(keys));
    all
}

/// The text of a key file. The log says why there is none.
pub fn read_key(path: &Path) -> Option<String> {
    match bounded_read::read_text(path, KEY_BYTES_MAX) {
        Ok(text) => Some(text.trim_end().to_owned()),
        Err(why) => {
            tracing::debug!(path = %path.display(), %why, "a key was not read");
            None
        }
    }
}
