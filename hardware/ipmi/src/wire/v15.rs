//! Packets of IPMI 1.5 sessions (IPMI 2.0, 13.6), and those before any session.

use super::{Malformed, Reader, rmcp};
use crate::crypto::md5_code;
use crate::limits::PASSWORD_V15_BYTES_MAX;
use crate::secret::Secret;
use dawn_wire::secret::equal;

/// How packets of a session prove who sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthType {
    /// Not at all.
    None,
    /// By the password, readable for everybody on the way.
    Password,
    /// By an MD5 sum of password and packet.
    Md5,
}

impl AuthType {
    /// The number on the wire (table 13-8).
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Md5 => 2,
            Self::Password => 4,
        }
    }

    /// The type with this number; MD2 and OEM types are not known here.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::None, Self::Md5, Self::Password].into_iter().find(|kind| kind.number() == number)
    }
}

/// A packet as it was received.
#[derive(Debug)]
pub struct Packet<'a> {
    /// How it is authenticated.
    pub auth: AuthType,
    /// The session sequence number, 0 outside of a session.
    pub sequence: u32,
    /// The session, 0 outside.
    pub session: u32,
    /// The code of all types but [`AuthType::None`].
    pub code: Option<[u8; 16]>,
    /// The IPMI message.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads what follows the RMCP header.
    ///
    /// # Errors
    /// When it is cut short or authenticated in a way that is not known here.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let auth = AuthType::from_number(reader.u8()?).ok_or(Malformed("its authentication is not known"))?;
        let sequence = reader.u32()?;
        let session = reader.u32()?;
        let code = if auth == AuthType::None { None } else { Some(reader.array()?) };
        let length = usize::from(reader.u8()?);
        // A byte may follow: packets of some lengths are padded (13.6).
        Ok(Self { auth, sequence, session, code, payload: reader.take(length)? })
    }

    /// Whether the code is what the password's owner would have sent.
    pub(crate) fn is_authentic(&self, password: &Secret) -> bool {
        let expected = code(self.auth, password, self.session, self.sequence, self.payload);
        match (expected, self.code) {
            (None, None) => true,
            (Some(expected), Some(code)) => equal(&expected, &code),
            _ => false,
        }
    }
}

fn code(auth: AuthType, password: &Secret, session: u32, sequence: u32, payload: &[u8]) -> Option<[u8; 16]> {
    let mut padded = [0; PASSWORD_V15_BYTES_MAX];
    padded.iter_mut().zip(password.reveal()).for_each(|(to, from)| *to = *from);
    match auth {
        AuthType::None => None,
        AuthType::Password => Some(padded),
        AuthType::Md5 => Some(md5_code(&padded, session, payload, sequence)),
    }
}

/// Which session a packet belongs to and how it is authenticated.
#[derive(Clone, Debug)]
pub(crate) struct Envelope<'a> {
    pub auth: AuthType,
    pub password: &'a Secret,
    pub session: u32,
    pub sequence: u32,
}

/// Appends a datagram with this message; messages longer than 255 bytes do not exist.
pub(crate) fn put(out: &mut Vec<u8>, envelope: &Envelope<'_>, payload: &[u8]) {
    rmcp::put_ipmi_header(out);
    out.push(envelope.auth.number());
    out.extend_from_slice(&envelope.sequence.to_le_bytes());
    out.extend_from_slice(&envelope.session.to_le_bytes());
    let code = code(envelope.auth, envelope.password, envelope.session, envelope.sequence, payload);
    out.extend_from_slice(code.as_ref().map_or(&[][..], |code| &code[..]));
    out.push(u8::try_from(payload.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(payload);
}
