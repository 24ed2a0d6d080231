//! The security model of SNMPv3 with users (RFC 3414): keys, digests, encryption. HMAC-SHA-2 is RFC 7860, AES
//! is RFC 3826.
//!
//! MD5, SHA-1 and DES are here because switches have nothing else. A password becomes a key once (a
//! megabyte is digested for it), and the key a key of one engine when that engine is known.

use std::str::FromStr;

use aes::Aes128;
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use dawn_wire::Secret;
use des::Des;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

/// Bytes that a password is repeated to (RFC 3414 §A.2).
const STRETCHED_BYTES: usize = 1 << 20;
/// A block of DES, bytes.
const DES_BLOCK_BYTES: usize = 8;
/// Bytes of key that DES takes: its key, and what its start value is made of.
const DES_KEY_BYTES: usize = 16;

/// How messages are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// HMAC-MD5-96.
    Md5,
    /// HMAC-SHA-96.
    Sha1,
    /// HMAC-192-SHA-256.
    Sha256,
    /// HMAC-384-SHA-512.
    Sha512,
}

/// How messages are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// CBC-DES.
    Des,
    /// CFB128-AES-128.
    Aes128,
}

/// A protocol that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// For authentication.
    #[error("it is not one of md5, sha, sha256, sha512")]
    Authentication,
    /// For privacy.
    #[error("it is not one of des, aes")]
    Privacy,
}

impl FromStr for Authentication {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        match text.to_ascii_lowercase().replace('-', "").as_str() {
            "md5" => Ok(Self::Md5),
            "sha" | "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(ProtocolError::Authentication),
        }
    }
}

impl FromStr for Privacy {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        match text.to_ascii_lowercase().replace('-', "").as_str() {
            "des" => Ok(Self::Des),
            "aes" | "aes128" => Ok(Self::Aes128),
            _ => Err(ProtocolError::Privacy),
        }
    }
}

/// A key.
pub type Key = Secret<Vec<u8>>;

impl Authentication {
    /// Bytes of a digest in a message.
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Md5 | Self::Sha1 => 12,
            Self::Sha256 => 24,
            Self::Sha512 => 48,
        }
    }

    fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Self::Md5 => {
                let mut context = Md5::new();
                parts.iter().for_each(|part| context.update(part));
                return context.finalize().to_vec();
            }
            Self::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha512 => &ring::digest::SHA512,
        };
        let mut context = ring::digest::Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    /// The key of a password (RFC 3414 §A.2), before it belongs to an engine. Takes milliseconds.
    pub fn password_key(self, password: &str) -> Key {
        let stretched: Vec<u8> = password.bytes().cycle().take(STRETCHED_BYTES).collect();
        Key::new(self.hash(&[&stretched]))
    }

    /// The key for one engine (RFC 3414 §2.6).
    pub fn localized(self, key: &Key, engine: &[u8]) -> Key {
        Key::new(self.hash(&[key.reveal(), engine, key.reveal()]))
    }

    /// The digest of a message in which the field for it is zeros.
    pub fn digest(self, key: &Key, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Md5 => {
                let mut context = md5_hmac(key);
                context.update(message);
                return shortened(&context.finalize().into_bytes(), self.digest_bytes());
            }
            Self::Sha1 => ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => ring::hmac::HMAC_SHA256,
            Self::Sha512 => ring::hmac::HMAC_SHA512,
        };
        let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, key.reveal()), message);
        shortened(tag.as_ref(), self.digest_bytes())
    }
}

/// HMAC takes a key of any length; a block is padded with zeros, which changes nothing (RFC 2104 §2).
fn md5_hmac(key: &Key) -> Hmac<Md5> {
    let mut block = [0; 64];
    block.iter_mut().zip(key.reveal()).for_each(|(to, from)| *to = *from);
    Hmac::new(&Array(block))
}

fn shortened(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().take(length).copied().collect()
}

/// What encryption depends on besides the key: the engine's boots and seconds, and a number that is never
/// used again with the key.
#[derive(Clone, Copy, Debug)]
pub struct Nonce {
    /// `msgAuthoritativeEngineBoots`.
    pub boots: u32,
    /// `msgAuthoritativeEngineTime`, seconds.
    pub time_s: u32,
    /// `msgPrivacyParameters`.
    pub salt: [u8; 8],
}

impl Privacy {
    /// The salt for the `count`th message of an engine's `boots`: AES takes a number of 64 bits (RFC 3826
    /// §3.1.2.1), DES the boots and one of 32 bits (RFC 3414 §8.1.1.1).
    pub fn salt(self, boots: u32, count: u64) -> [u8; 8] {
        match self {
            Self::Aes128 => count.to_be_bytes(),
            Self::Des => ((u64::from(boots) << 32) | (count & 0xffff_ffff)).to_be_bytes(),
        }
    }

    /// Encrypts. `None` if the key is too short, which no key of [`Authentication::localized`] is.
    pub fn encrypted(self, key: &Key, nonce: Nonce, plain: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = plain.to_vec();
        match self {
            Self::Aes128 => {
                let key: &[u8; 16] = key.reveal().first_chunk()?;
                cfb_mode::Encryptor::<Aes128>::new(&Array(*key), &Array(nonce.aes_start()))
                    .encrypt(&mut bytes);
            }
            Self::Des => {
                let (key, start) = des_key(key, nonce)?;
                bytes.resize(plain.len().next_multiple_of(DES_BLOCK_BYTES), 0);
                let mut cipher = cbc::Encryptor::<Des>::new(&Array(key), &Array(start));
                for block in bytes.as_chunks_mut::<DES_BLOCK_BYTES>().0 {
                    cipher.encrypt_block((&mut *block).into());
                }
            }
        }
        Some(bytes)
    }

    /// Decrypts. What comes out may be followed by padding. `None` if it is not a whole number of blocks.
    pub fn decrypted(self, key: &Key, nonce: Nonce, secret: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = secret.to_vec();
        match self {
            Self::Aes128 => {
                let key: &[u8; 16] = key.reveal().first_chunk()?;
                cfb_mode::Decryptor::<Aes128>::new(&Array(*key), &Array(nonce.aes_start()))
                    .decrypt(&mut bytes);
            }
            Self::Des => {
                let (key, start) = des_key(key, nonce)?;
                let mut cipher = cbc::Decryptor::<Des>::new(&Array(key), &Array(start));
                let (blocks, rest) = bytes.as_chunks_mut::<DES_BLOCK_BYTES>();
                if !rest.is_empty() {
                    return None;
                }
                for block in blocks {
                    cipher.decrypt_block((&mut *block).into());
                }
            }
        }
        Some(bytes)
    }
}

impl Nonce {
    fn aes_start(self) -> [u8; 16] {
        let head = (u64::from(self.boots) << 32) | u64::from(self.time_s);
        ((u128::from(head) << 64) | u128::from(u64::from_be_bytes(self.salt))).to_be_bytes()
    }
}

/// The key of DES, and its start value: the key's second half and the salt (RFC 3414 §8.1.1.1).
fn des_key(key: &Key, nonce: Nonce) -> Option<([u8; 8], [u8; 8])> {
    let both: &[u8; DES_KEY_BYTES] = key.reveal().first_chunk()?;
    let (key, start): (&[u8; 8], &[u8; 8]) = (both.first_chunk()?, both.last_chunk()?);
    let start = u64::from_be_bytes(*start) ^ u64::from_be_bytes(nonce.salt);
    Some((*key, start.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The examples of RFC 3414 §A.3.
    #[test]
    fn keys_of_the_rfc() {
        for (protocol, key, localized) in [
            (Authentication::Md5, "9faf3283884e92834ebc9847d8edd963", "526f5eed9fcce26f8964c2930787d82b"),
            (
                Authentication::Sha1,
                "9fb5cc0381497b3793528939ff788d5d79145211",
                "6695febc9288e36282235fc7151f128497b38f3f",
            ),
        ] {
            let found = protocol.password_key("maplesyrup");
            assert_eq!(hex(found.reveal()), key);
            assert_eq!(hex(protocol.localized(&found, &ENGINE).reveal()), localized);
        }
    }

    #[test]
    fn digests() {
        let key = Key::new(vec![0x0b; 16]);
        for (protocol, expect) in [
            // RFC 2202, test case 1 of HMAC-MD5; HMAC-SHA-1 of the same key and text.
            (Authentication::Md5, "9294727a3638bb1c13f48ef8"),
            (Authentication::Sha1, "675b0b3a1b4ddf4e124872da"),
        ] {
            assert_eq!(hex(&protocol.digest(&key, b"Hi There")), expect);
        }
    }

    #[test]
    fn encryption_round_trips() {
        let nonce = Nonce { boots: 7, time_s: 1000, salt: [1, 2, 3, 4, 5, 6, 7, 8] };
        let key = Authentication::Md5.password_key("maplesyrup");
        for privacy in [Privacy::Des, Privacy::Aes128] {
            for length in [0, 1, 8, 17, 300] {
                let plain = vec![0x5a; length];
                let secret = privacy.encrypted(&key, nonce, &plain).unwrap();
                assert!(length == 0 || secret[..length] != plain[..]);
                let back = privacy.decrypted(&key, nonce, &secret).unwrap();
                assert_eq!(back[..length], plain[..], "{privacy:?} {length}");
            }
        }
        assert_eq!(Privacy::Des.decrypted(&key, nonce, &[1; 7]), None);
    }

    #[test]
    fn names_of_protocols() {
        assert_eq!("SHA-256".parse(), Ok(Authentication::Sha256));
        assert_eq!("sha".parse(), Ok(Authentication::Sha1));
        assert_eq!("AES".parse(), Ok(Privacy::Aes128));
        assert_eq!("rot13".parse::<Privacy>(), Err(ProtocolError::Privacy));
        assert_eq!(format!("{:?}", Key::new(vec![1])), "********");
    }
}
