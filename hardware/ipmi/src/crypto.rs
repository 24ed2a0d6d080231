//! The algorithms of RMCP+ (IPMI 2.0, 13.28 to 13.33) and of IPMI 1.5 (22.17), and the generator of a
//! session's random bytes.

use aes::Aes128;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use md5::{Digest, Md5};
use ring::hmac;

/// Bytes of an AES block, and of an initialisation vector.
pub(crate) const BLOCK: usize = 16;
/// Longest digest, bytes.
const DIGEST_MAX: usize = 32;

/// Authentication, integrity and confidentiality of a session. Suite 0 (nothing), suites without encryption
/// and those with RC4 are left out on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// Suite 3: RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Sha1,
    /// Suite 17: RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Sha256,
}

impl Suite {
    /// The suite's number (IPMI 2.0, table 22-20).
    pub fn id(self) -> u8 {
        match self {
            Self::Sha1 => 3,
            Self::Sha256 => 17,
        }
    }

    /// Numbers of the authentication, integrity and confidentiality algorithms (tables 13-17 to 13-19).
    pub fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Sha1 => [1, 1, 1],
            Self::Sha256 => [3, 4, 1],
        }
    }

    /// Length of a key exchange code of RAKP 2 and 3, bytes.
    pub(crate) fn code_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Length of a truncated code, at the end of packets and in RAKP 4, bytes.
    pub(crate) fn trailer_bytes(self) -> usize {
        match self {
            Self::Sha1 => 12,
            Self::Sha256 => 16,
        }
    }

    /// The keyed hash of the parts, one after the other.
    pub(crate) fn mac(self, key: &[u8], parts: &[&[u8]]) -> Code {
        match self {
            Self::Sha1 => mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, parts),
            Self::Sha256 => mac(hmac::HMAC_SHA256, key, parts),
        }
    }
}

/// A keyed hash. It does not print: from the code of RAKP 2 a password can be guessed.
#[derive(Clone)]
pub(crate) struct Code {
    bytes: [u8; DIGEST_MAX],
    length: usize,
}

impl Code {
    /// The first bytes, all if it has fewer.
    pub(crate) fn first(&self, count: usize) -> &[u8] {
        self.bytes.get(..count.min(self.length)).unwrap_or_default()
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.first(self.length)
    }
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], parts: &[&[u8]]) -> Code {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    let mut code = Code { bytes: [0; DIGEST_MAX], length: tag.as_ref().len().min(DIGEST_MAX) };
    code.bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    code
}

/// The keys of an RMCP+ session.
#[derive(Clone)]
pub(crate) struct Keys {
    suite: Suite,
    /// The session integrity key, for RAKP 4.
    session: Code,
    integrity: Code,
    encryption: [u8; BLOCK],
}

impl Keys {
    /// Makes the keys (IPMI 2.0, 13.31 and 13.32). `base` is Kg or the password, `parts` the random numbers,
    /// role and user name of the exchange.
    pub(crate) fn derive(suite: Suite, base: &[u8], parts: &[&[u8]]) -> Self {
        let session = suite.mac(base, parts);
        let integrity = suite.mac(session.bytes(), &[&[1; 20]]);
        let second = suite.mac(session.bytes(), &[&[2; 20]]);
        let mut encryption = [0; BLOCK];
        encryption.iter_mut().zip(second.bytes()).for_each(|(to, from)| *to = *from);
        Self { suite, session, integrity, encryption }
    }

    /// Bytes of the code at the end of a packet.
    pub(crate) fn trailer_bytes(&self) -> usize {
        self.suite.trailer_bytes()
    }

    /// The code at the end of a packet with these bytes.
    pub(crate) fn trailer(&self, packet: &[u8]) -> Code {
        self.suite.mac(self.integrity.bytes(), &[packet])
    }

    /// The code of RAKP 4.
    pub(crate) fn rakp4(&self, parts: &[&[u8]]) -> Code {
        self.suite.mac(self.session.bytes(), parts)
    }

    /// Appends vector and encrypted payload with its padding (IPMI 2.0, 13.29).
    pub(crate) fn encrypt(&self, iv: [u8; BLOCK], payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&iv);
        let start = out.len();
        out.extend_from_slice(payload);
        let padding = (BLOCK - (payload.len() + 1) % BLOCK) % BLOCK;
        out.extend((1..=padding).map(|n| n.to_le_bytes()[0]));
        out.push(padding.to_le_bytes()[0]);
        let mut cipher = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        for chunk in out.get_mut(start..).unwrap_or_default().chunks_exact_mut(BLOCK) {
            if let Ok(block) = chunk.try_into() {
                cipher.encrypt_block(block);
            }
        }
    }

    /// The payload inside of vector and encrypted bytes. `None` if it has no such form.
    pub(crate) fn decrypt(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (iv, encrypted) = bytes.split_first_chunk::<BLOCK>()?;
        if encrypted.is_empty() || !encrypted.len().is_multiple_of(BLOCK) {
            return None;
        }
        let mut plain = encrypted.to_vec();
        let mut cipher = cbc::Decryptor::<Aes128>::new(&self.encryption.into(), &(*iv).into());
        for chunk in plain.chunks_exact_mut(BLOCK) {
            cipher.decrypt_block(chunk.try_into().ok()?);
        }
        // The padding's content is not checked: some BMCs fill it with zeros, and the packet's code has
        // proved who wrote it.
        let padding = usize::from(*plain.last()?);
        let length = plain.len().checked_sub(1 + padding)?;
        (padding < BLOCK).then(|| plain.truncate(length))?;
        Some(plain)
    }
}

/// The code of an IPMI 1.5 packet with MD5 (IPMI 2.0, 22.17.1).
pub(crate) fn md5_code(password: &[u8; 16], session: u32, message: &[u8], sequence: u32) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in [&password[..], &session.to_le_bytes(), message, &sequence.to_le_bytes(), &password[..]] {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Random bytes that a caller hands in for one session, fresh each time.
#[derive(Clone)]
pub struct Seed(pub [u8; 32]);

/// The random bytes of a session: HMAC-SHA256 of a counter under the seed.
pub(crate) struct Random {
    seed: Seed,
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next sixteen bytes.
    pub(crate) fn block(&mut self) -> [u8; BLOCK] {
        self.counter = self.counter.wrapping_add(1);
        let code = Suite::Sha256.mac(&self.seed.0, &[&self.counter.to_le_bytes()]);
        let mut block = [0; BLOCK];
        block.iter_mut().zip(code.bytes()).for_each(|(to, from)| *to = *from);
        block
    }

    /// A number that is not 0.
    pub(crate) fn nonzero(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.block();
        u32::from_le_bytes([a, b, c, d]).max(1)
    }

    /// A number below `end`, 0 if that is 0.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.nonzero().checked_rem(end).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 2202 case 2, RFC 4231 case 2.
    #[test]
    fn keyed_hashes() {
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert_eq!(hex(Suite::Sha1.mac(b"Jefe", &parts).bytes()), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(
            hex(Suite::Sha256.mac(b"Jefe", &parts).bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    /// Encrypted data of any length is read back; NIST SP 800-38A F.2.1 for the first block.
    #[test]
    fn encryption() {
        let mut keys = Keys::derive(Suite::Sha256, b"key", &[b"x"]);
        for length in 0..50_u8 {
            let payload: Vec<u8> = (0..length).collect();
            let mut out = Vec::new();
            keys.encrypt([7; 16], &payload, &mut out);
            assert!(out.len().is_multiple_of(16) && out.len() > payload.len() + 16);
            assert_eq!(keys.decrypt(&out).as_ref(), Some(&payload));
            assert_eq!(keys.decrypt(out.get(..out.len() - 1).unwrap()), None);
        }
        keys.encryption = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let plain = 0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128.to_be_bytes();
        let mut out = Vec::new();
        keys.encrypt(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes(), &plain, &mut out);
        assert_eq!(hex(&out[16..32]), "7649abac8119b246cee98e9b12e9197d");
    }

    #[test]
    fn random_bytes_differ() {
        let mut random = Random::new(Seed([1; 32]));
        assert_ne!(random.block(), random.block());
        assert_ne!(Random::new(Seed([2; 32])).block(), Random::new(Seed([1; 32])).block());
        assert_eq!(random.below(0), 0);
        assert!((0..100).all(|_| random.below(3) < 3));
    }
}
