//! The known keys of a host.
//!
//! Two sources: the host keys that the daemon gives to its nodes, and the lines of known_hosts files
//! (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). A host without a known key, and a host that shows another key,
//! are refused; no key is recorded automatically. Missing on purpose: patterns with `*`, `?` and `!` and the
//! marker `@cert-authority`. A key marked `@revoked` is never accepted.

use dawn_serving::bounded_read::{self, Rights};
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey};
use std::path::Path;

/// The keys of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostKeys {
    keys: Vec<PublicKey>,
}

impl HostKeys {
    /// Adds the key of a line such as the content of `ssh_host_rsa_key.pub`. False: it is not a key.
    pub fn add_line(&mut self, line: &str) -> bool {
        let Ok(key) = PublicKey::from_openssh(line.trim()) else { return false };
        self.add(key);
        true
    }

    /// Adds the public half of a private host key. False: it is not a key without a passphrase.
    pub fn add_private(&mut self, text: &str) -> bool {
        let Ok(key) = PrivateKey::from_openssh(text) else { return false };
        self.add(key.public_key().clone());
        true
    }

    fn add(&mut self, key: PublicKey) {
        if !self.keys.iter().any(|known| known.key_data() == key.key_data()) {
            self.keys.push(key);
        }
    }

    /// Adds all keys of another.
    pub fn extend(&mut self, other: &HostKeys) {
        other.keys.iter().for_each(|key| self.add(key.clone()));
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the host may show this key.
    pub(crate) fn accepts(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key_data() == key.key_data())
    }

    /// Lines of a known_hosts file for a host of these names (comma separated).
    pub fn lines(&self, names: &str) -> Vec<String> {
        let line = |key: &PublicKey| {
            let text = key.to_openssh().ok()?;
            let mut words = text.split(' ');
            Some(format!("{names} {} {}", words.next()?, words.next()?))
        };
        self.keys.iter().filter_map(line).collect()
    }

    /// Kinds of keys to ask the host for: those that are known. OpenSSH does the same, so that a host with
    /// several keys shows one that can be checked.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let wanted = |algorithm: &Algorithm| {
            self.keys.iter().any(|key| match (key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (known, asked) => known == *asked,
            })
        };
        ALGORITHMS.iter().filter(|algorithm| wanted(algorithm)).cloned().collect()
    }
}

/// Kinds of host keys, best first. RSA with SHA-1 is not among them.
pub(crate) const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Bytes of a known_hosts file that are read.
pub const KNOWN_HOSTS_BYTES_MAX: u64 = 64 << 20;

/// A known_hosts file, read once for many hosts.
#[derive(Debug, Default)]
pub struct KnownHosts {
    plain: std::collections::HashMap<String, HostKeys>,
    hashed: Vec<(Vec<u8>, [u8; 20], PublicKey)>,
    revoked: HostKeys,
}

impl KnownHosts {
    /// Reads a text. Lines that cannot be read are left out, as ssh does.
    pub fn read(text: &str) -> Self {
        let mut known = Self::default();
        text.lines().for_each(|line| known.read_line(line));
        known
    }

    /// Reads a file; one that is missing or too long is an empty one.
    pub fn of_file(path: &Path) -> Self {
        let bytes = bounded_read::read(path, KNOWN_HOSTS_BYTES_MAX, Rights::Daemon).unwrap_or_default();
        Self::read(&String::from_utf8_lossy(&bytes))
    }

    fn read_line(&mut self, line: &str) {
        let mut line = line.trim();
        let is_revoked = match line.strip_prefix("@revoked") {
            Some(rest) => {
                line = rest.trim_start();
                true
            }
            None => false,
        };
        if line.starts_with(['#', '@']) {
            return;
        }
        let Some((names, key)) = line.split_once([' ', '\t']) else { return };
        let Ok(key) = PublicKey::from_openssh(key.trim()) else { return };
        if is_revoked {
            return self.revoked.add(key);
        }
        for name in names.split(',') {
            match hashed(name) {
                Some((salt, hash)) => self.hashed.push((salt, hash, key.clone())),
                None => self.plain.entry(name.to_ascii_lowercase()).or_default().add(key.clone()),
            }
        }
    }

    /// The known keys of a host under any of its names; `port` other than 22 is part of a name.
    pub fn of(&self, names: &[&str], port: u16) -> HostKeys {
        let mut found = HostKeys::default();
        for name in names {
            let name = match port {
                crate::names::PORT_DEFAULT => name.to_ascii_lowercase(),
                _ => format!("[{}]:{port}", name.to_ascii_lowercase()),
            };
            if let Some(keys) = self.plain.get(&name) {
                found.extend(keys);
            }
            let hashed = self.hashed.iter().filter(|(salt, hash, _)| is_hash_of(&name, salt, hash));
            hashed.for_each(|(_, _, key)| found.add(key.clone()));
        }
        found.keys.retain(|key| !self.revoked.accepts(key));
        found
    }
}

/// Salt and hash of a name such as `|1|salt|hash`.
fn hashed(name: &str) -> Option<(Vec<u8>, [u8; 20])> {
    match name.parse().ok()? {
        HostPatterns::HashedName { salt, hash } => Some((salt, hash)),
        HostPatterns::Patterns(_) => None,
    }
}

fn is_hash_of(name: &str, salt: &[u8], hash: &[u8]) -> bool {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    ring::hmac::verify(&key, name.as_bytes(), hash).is_ok()
}

/// A known_hosts text without the lines of hosts of these names, in lower case. A line that names other hosts
/// as well loses these names only.
pub fn without(text: &str, names: &std::collections::HashSet<String>) -> String {
    let mut rest = String::with_capacity(text.len());
    for line in text.lines() {
        let is_entry = !line.trim_start().starts_with(['#', '@']);
        let Some((hosts, key)) = line.split_once([' ', '\t']).filter(|_| is_entry) else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let is_gone = |host: &&str| {
            names.contains(&host.to_ascii_lowercase())
                || hashed(host)
                    .is_some_and(|(salt, hash)| names.iter().any(|name| is_hash_of(name, &salt, &hash)))
        };
        let left: Vec<&str> = hosts.split(',').filter(|host| !is_gone(host)).collect();
        if !left.is_empty() {
            rest.push_str(&format!("{} {key}\n", left.join(",")));
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPj0YxYVRRkSyd6dqGyGZNqVcg4uJpGoxgPDXPnZ/i+9";

    #[test]
    fn hosts_are_found_by_each_of_their_names() {
        let known = KnownHosts::read(&format!(
            "# a comment\nn1,10.0.0.1 {KEY} words\n[n1]:2222 {KEY}\n@cert-authority * {KEY}\n\
             |1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|2qeN9lFiYkFNlMV1GlcRqBYELjk= {KEY}\nbroken\nn9 ssh-rsa x\n"
        ));
        for (name, port, found) in [
            ("n1", 22, true),
            ("N1", 22, true),
            ("10.0.0.1", 22, true),
            ("n1", 2222, true),
            ("n2", 22, false),
            ("n9", 22, false),
        ] {
            assert_eq!(!known.of(&[name], port).is_empty(), found, "{name} {port}");
        }
        let revoked = KnownHosts::read(&format!("n1 {KEY}\n@revoked * {KEY}\n"));
        assert!(revoked.of(&["n1"], 22).is_empty());
    }

    #[test]
    fn lines_of_hosts_go_and_others_stay() {
        let text = format!("# c\nn1,n1.d,10.0.0.1 {KEY}\nn2,shared {KEY}\n@revoked n1 {KEY}\n");
        let gone = ["n1", "n1.d", "10.0.0.1", "n2"].map(str::to_owned).into();
        assert_eq!(without(&text, &gone), format!("# c\nshared {KEY}\n@revoked n1 {KEY}\n"));
    }
}
