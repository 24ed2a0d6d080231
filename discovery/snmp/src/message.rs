//! What is around a PDU: a community (RFC 1157, 1901), or the headers of SNMPv3 (RFC 3412 §6, RFC 3414 §2.4).

use std::ops::Range;

use crate::ber::{self, BerError, Reader};
use crate::credentials::Version;
use crate::pdu::Pdu;

/// The message is authenticated.
pub const AUTHENTICATED: u8 = 1;
/// The message is encrypted.
pub const ENCRYPTED: u8 = 2;
/// The sender wants a report if something is wrong.
pub const REPORTABLE: u8 = 4;
/// The security model with users.
const USM: i64 = 3;

/// A message of any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// v1 and v2c. The community of an answer is not looked at: agents that were asked for one VLAN answer
    /// with or without it.
    Community(Version, Pdu),
    /// v3, before anything is verified or decrypted.
    V3(Box<Secured>),
}

/// A message of SNMPv3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// What makes an answer the answer to a message.
    pub msg_id: i32,
    /// [`AUTHENTICATED`], [`ENCRYPTED`], [`REPORTABLE`].
    pub flags: u8,
    /// The authoritative engine: the agent's.
    pub engine: Vec<u8>,
    /// How often the agent has started.
    pub boots: u32,
    /// Seconds since the agent started.
    pub time_s: u32,
    /// The user.
    pub user: Vec<u8>,
    /// Where the digest stands in the message.
    pub digest_at: Range<usize>,
    /// What the encryption depends on.
    pub salt: Vec<u8>,
    /// What was said.
    pub body: Body,
}

/// The scoped PDU of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// In the clear.
    Plain(Scoped),
    /// Encrypted.
    Encrypted(Vec<u8>),
}

/// A PDU and the context that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped {
    /// The engine with the context.
    pub engine: Vec<u8>,
    /// The context's name; empty is the usual one.
    pub context: Vec<u8>,
    /// The request or response.
    pub pdu: Pdu,
}

impl Message {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`BerError`].
    pub fn read(bytes: &[u8]) -> Result<Self, BerError> {
        let mut reader = Reader::new(bytes).open(ber::SEQUENCE)?;
        let at = reader.position();
        match reader.integer()? {
            0 => Self::read_community(&mut reader, Version::V1),
            1 => Self::read_community(&mut reader, Version::V2c),
            3 => Ok(Self::V3(Box::new(Secured::read(&mut reader)?))),
            _ => Err(BerError::Range(at)),
        }
    }

    fn read_community(reader: &mut Reader<'_>, version: Version) -> Result<Self, BerError> {
        reader.expect(ber::OCTETS)?;
        Ok(Self::Community(version, Pdu::read(reader)?))
    }
}

/// A message of v1 or v2c.
pub fn write_community(version: Version, community: &[u8], pdu: &Pdu) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put_with(&mut out, ber::SEQUENCE, |out| {
        ber::put_integer(out, i64::from(version == Version::V2c));
        ber::put(out, ber::OCTETS, community);
        pdu.write(out);
    });
    out
}

impl Secured {
    fn read(reader: &mut Reader<'_>) -> Result<Self, BerError> {
        let mut global = reader.open(ber::SEQUENCE)?;
        let msg_id = global.int32()?;
        global.natural()?;
        let flags = global.expect(ber::OCTETS)?;
        let &[flag_bits] = flags.content else { return Err(BerError::Range(flags.place.start)) };
        let at = global.position();
        if global.integer()? != USM {
            return Err(BerError::Range(at));
        }
        let mut security = reader.open(ber::OCTETS)?.open(ber::SEQUENCE)?;
        let engine = security.expect(ber::OCTETS)?.content.to_vec();
        let (boots, time_s) = (security.natural()?, security.natural()?);
        let user = security.expect(ber::OCTETS)?.content.to_vec();
        let digest_at = security.expect(ber::OCTETS)?.place;
        let salt = security.expect(ber::OCTETS)?.content.to_vec();
        let body = if flag_bits & ENCRYPTED == 0 {
            Body::Plain(Scoped::read(reader)?)
        } else {
            Body::Encrypted(reader.expect(ber::OCTETS)?.content.to_vec())
        };
        Ok(Self { msg_id, flags: flag_bits, engine, boots, time_s, user, digest_at, salt, body })
    }

    /// The bytes, with zeros for a digest of `digest_bytes`, and where it belongs.
    pub fn write(&self, size_max: i32, digest_bytes: usize) -> (Vec<u8>, Range<usize>) {
        let mut out = Vec::new();
        ber::put_with(&mut out, ber::SEQUENCE, |out| {
            ber::put_integer(out, 3);
            ber::put_with(out, ber::SEQUENCE, |out| {
                ber::put_integer(out, i64::from(self.msg_id));
                ber::put_integer(out, i64::from(size_max));
                ber::put(out, ber::OCTETS, &[self.flags]);
                ber::put_integer(out, USM);
            });
            ber::put_with(out, ber::OCTETS, |out| {
                ber::put_with(out, ber::SEQUENCE, |out| {
                    ber::put(out, ber::OCTETS, &self.engine);
                    ber::put_integer(out, i64::from(self.boots));
                    ber::put_integer(out, i64::from(self.time_s));
                    ber::put(out, ber::OCTETS, &self.user);
                    ber::put(out, ber::OCTETS, &vec![0; digest_bytes]);
                    ber::put(out, ber::OCTETS, &self.salt);
                });
            });
            match &self.body {
                Body::Plain(scoped) => scoped.write(out),
                Body::Encrypted(bytes) => ber::put(out, ber::OCTETS, bytes),
            }
        });
        let place = match Message::read(&out) {
            Ok(Message::V3(read)) => read.digest_at,
            _ => 0..0,
        };
        (out, place)
    }
}

impl Scoped {
    /// Reads one; what follows it is padding.
    ///
    /// # Errors
    /// [`BerError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, BerError> {
        let mut inside = reader.open(ber::SEQUENCE)?;
        let engine = inside.expect(ber::OCTETS)?.content.to_vec();
        let context = inside.expect(ber::OCTETS)?.content.to_vec();
        Ok(Self { engine, context, pdu: Pdu::read(&mut inside)? })
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        ber::put_with(out, ber::SEQUENCE, |out| {
            ber::put(out, ber::OCTETS, &self.engine);
            ber::put(out, ber::OCTETS, &self.context);
            self.pdu.write(out);
        });
    }
}
