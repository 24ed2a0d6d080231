//! The private keys that a user shows to hosts.
//!
//! Keys are those that `ssh` looks for by default. One with a passphrase is left out here: the program `ssh`
//! asks an agent for it.

use russh::keys::{Algorithm, PrivateKey, load_secret_key};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of a directory that hold keys, in the order in which they are shown: fastest first.
const FILES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Keys of one user.
#[derive(Debug, Default)]
pub struct Identity {
    /// Where the keys are; the program `ssh` is given these files.
    pub files: Vec<PathBuf>,
    pub(crate) keys: Vec<Arc<PrivateKey>>,
}

impl Identity {
    /// The keys of a directory such as `~/.ssh`. A file that cannot be read or has a passphrase is left out.
    pub fn of_directory(directory: &Path) -> Self {
        let mut identity = Self::default();
        for path in FILES.iter().map(|file| directory.join(file)) {
            if let Ok(key) = load_secret_key(&path, None) {
                identity.keys.push(Arc::new(key));
                identity.files.push(path);
            }
        }
        identity
    }

    /// Whether there is no key that can be used here.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Whether the key signs as RSA, so that a hash has to be chosen.
pub(crate) fn is_rsa(key: &PrivateKey) -> bool {
    matches!(key.algorithm(), Algorithm::Rsa { .. })
}
