//! The other end: an agent's side of a message, as far as tests need it.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use dawn_snmp::ber::Reader;
use dawn_snmp::message::{AUTHENTICATED, Body};
use dawn_snmp::message::{ENCRYPTED, Message, Scoped, Secured, write_community};
use dawn_snmp::pdu::Pdu;
use dawn_snmp::usm::{Key, Nonce};
use dawn_snmp::{Authentication, Privacy};

/// An engine of SNMPv3 with one user.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub id: Vec<u8>,
    pub user: String,
    pub authentication: Option<(Authentication, Key)>,
    pub privacy: Option<(Privacy, Key)>,
    pub salt: u64,
}

/// Made once, because it takes a while.
fn password_key(protocol: Authentication, password: &str) -> Key {
    static KEYS: Mutex<Vec<(Authentication, String, Key)>> = Mutex::new(Vec::new());
    let mut keys = KEYS.lock().unwrap();
    if let Some((.., key)) = keys.iter().find(|(p, word, _)| *p == protocol && word == password) {
        return key.clone();
    }
    let key = protocol.password_key(password);
    keys.push((protocol, password.to_owned(), key.clone()));
    key
}

/// What is around a PDU.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub msg_id: i32,
    pub flags: u8,
    pub boots: u32,
    pub time_s: u32,
    pub context: Vec<u8>,
}

impl Engine {
    pub(crate) fn new(
        id: &[u8],
        user: &str,
        authentication: Option<(Authentication, &str)>,
        privacy: Option<(Privacy, &str)>,
    ) -> Self {
        let key =
            |protocol: Authentication, password| protocol.localized(&password_key(protocol, password), id);
        let privacy = privacy.zip(authentication).map(|((p, password), (a, _))| (p, key(a, password)));
        let authentication = authentication.map(|(a, password)| (a, key(a, password)));
        Self { id: id.to_vec(), user: user.to_owned(), authentication, privacy, salt: 0 }
    }

    /// Seals what the agent says.
    pub(crate) fn seal(&mut self, around: &Around, pdu: Pdu) -> Vec<u8> {
        let scoped = Scoped { engine: self.id.clone(), context: around.context.clone(), pdu };
        let mut message = Secured {
            msg_id: around.msg_id,
            flags: around.flags,
            engine: self.id.clone(),
            boots: around.boots,
            time_s: around.time_s,
            user: self.user.clone().into_bytes(),
            body: Body::Plain(scoped.clone()),
            ..Secured::blank()
        };
        if let (Some((privacy, key)), true) = (&self.privacy, around.flags & ENCRYPTED != 0) {
            self.salt += 1;
            let nonce = Nonce {
                boots: around.boots,
                time_s: around.time_s,
                salt: privacy.salt(around.boots, self.salt),
            };
            let mut plain = Vec::new();
            scoped.write(&mut plain);
            message.salt = nonce.salt.to_vec();
            message.body = Body::Encrypted(privacy.encrypted(key, nonce, &plain).unwrap());
        }
        match &self.authentication {
            Some((protocol, key)) if around.flags & AUTHENTICATED != 0 => {
                message.signed(*protocol, key).unwrap()
            }
            _ => message.write(65_507, 0).0,
        }
    }

    /// Opens what the client says; panics if a digest is wrong.
    pub(crate) fn open(&self, bytes: &[u8]) -> (Around, Vec<u8>, Scoped) {
        let Ok(Message::V3(message)) = Message::read(bytes) else { panic!("not v3: {bytes:?}") };
        if message.flags & AUTHENTICATED != 0 {
            let (protocol, key) = self.authentication.as_ref().unwrap();
            assert!(message.is_signed(bytes, *protocol, key), "the digest is right");
        }
        let scoped = match &message.body {
            Body::Plain(scoped) => scoped.clone(),
            Body::Encrypted(secret) => {
                let (privacy, key) = self.privacy.as_ref().unwrap();
                let salt = message.salt.as_slice().try_into().unwrap();
                let nonce = Nonce { boots: message.boots, time_s: message.time_s, salt };
                let plain = privacy.decrypted(key, nonce, secret).unwrap();
                Scoped::read(&mut Reader::new(&plain)).unwrap()
            }
        };
        let around = Around {
            msg_id: message.msg_id,
            flags: message.flags,
            boots: message.boots,
            time_s: message.time_s,
            context: scoped.context.clone(),
        };
        (around, message.user, scoped)
    }
}

/// A message of v1 or v2c of the agent.
pub(crate) fn seal_community(version: dawn_snmp::credentials::Version, pdu: &Pdu) -> Vec<u8> {
    write_community(version, b"public", pdu)
}
