//! Tokens in the kernel lines of installers: a second proof, besides the address, that the machine which asks
//! for an answer file has read the node's boot file.
//!
//! A token is the minute in which the boot file was rendered, and a keyed hash of that and of the node's name
//! (SipHash-2-4, 128 bits, with a key that only the daemon has). So nothing is stored for a token, and it
//! survives a restart of the daemon. That each counts for one installation is the daemon's to see.

use dawn_wire::Secret;
use dawn_wire::secret::equal;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// How long after the boot file the answer file may be asked for: loading an installer over a slow network,
/// and its own start, take minutes.
pub const TOKEN_AGE_MINUTES_MAX: u64 = 60;
/// Bytes of a token that are looked at.
const TOKEN_BYTES_MAX: usize = 64;
/// Replaces a token where the text is not for the node.
const MASK: &str = "xxxxxxxx";

/// The key.
#[derive(Debug)]
pub struct TokenKey(Secret<[u8; 16]>);

/// What tokens are made with: the key, and the time as seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// The key.
    pub key: &'a TokenKey,
    /// Now.
    pub now_s: u64,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("the request has no token; only the kernel line of the node's boot file has it")]
    Missing,
    /// It was not made for this node, or with another key.
    #[error("the token is not one for this node")]
    Wrong,
    /// It is from an earlier boot.
    #[error("the token is older than {TOKEN_AGE_MINUTES_MAX} minutes; boot the node again")]
    Old,
}

impl TokenKey {
    /// Takes the key over.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Secret::new(bytes))
    }

    fn token(&self, node: &str, minute: u64) -> String {
        let mut hasher = SipHasher24::new_with_key(self.0.reveal());
        hasher.write(b"install ");
        hasher.write_u64(minute);
        hasher.write(node.as_bytes());
        format!("{minute:x}-{:032x}", hasher.finish128().as_u128())
    }
}

impl Proof<'_> {
    /// The token of a node that boots now.
    fn token(&self, node: &str) -> String {
        self.key.token(node, self.now_s / 60)
    }

    /// Looks at a token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check(&self, node: &str, token: &str) -> Result<(), TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Wrong);
        }
        let minute = token.split('-').next().and_then(|text| u64::from_str_radix(text, 16).ok());
        let minute = minute.ok_or(TokenError::Wrong)?;
        if !equal(self.key.token(node, minute).as_bytes(), token.as_bytes()) {
            return Err(TokenError::Wrong);
        }
        let age = (self.now_s / 60).checked_sub(minute);
        // A clock that was set back makes tokens of the future; theirs is the wait of one more boot.
        age.filter(|age| *age <= TOKEN_AGE_MINUTES_MAX).map(|_| ()).ok_or(TokenError::Old)
    }
}

/// The token of a node, or the mask that replaces it.
pub(crate) fn token_or_mask(proof: Option<Proof<'_>>, node: &str) -> String {
    proof.map_or_else(|| MASK.to_owned(), |proof| proof.token(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_node_and_some_time() {
        let (key, other) = (TokenKey::new([7; 16]), TokenKey::new([8; 16]));
        let at = |now_s| Proof { key: &key, now_s };
        let boot_s = 1_800_000_000;
        let token = at(boot_s).token("cn1");
        assert_eq!(at(boot_s).check("cn1", &token), Ok(()));
        assert_eq!(at(boot_s + 60 * TOKEN_AGE_MINUTES_MAX).check("cn1", &token), Ok(()));
        for (proof, node, token, expected) in [
            (at(boot_s), "cn2", token.as_str(), TokenError::Wrong),
            (at(boot_s), "cn1", "", TokenError::Missing),
            (at(boot_s), "cn1", "-", TokenError::Wrong),
            (at(boot_s), "cn1", &token[1..], TokenError::Wrong),
            (at(boot_s), "cn1", &token.to_uppercase(), TokenError::Wrong),
            (at(boot_s), "cn1", &format!("{token}0"), TokenError::Wrong),
            (at(boot_s), "cn1", &"f".repeat(1000), TokenError::Wrong),
            (at(boot_s - 60), "cn1", &token, TokenError::Old),
            (at(boot_s + 61 * 60), "cn1", &token, TokenError::Old),
            (Proof { key: &other, now_s: boot_s }, "cn1", &token, TokenError::Wrong),
        ] {
            assert_eq!(proof.check(node, token), Err(expected), "{node} {token}");
        }
        assert!(!format!("{:?}", at(boot_s)).contains('7'), "the key does not print");
    }
}
