//! RMCP+ packets (IPMI 2.0, 13.6 and table 13-8): payload types, encryption, integrity.

use super::{Malformed, Reader, rmcp};
use crate::crypto::{BLOCK, Keys};
use dawn_wire::secret::equal;

const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;
const PAYLOAD_OEM: u8 = 2;
/// The only known value of "next header".
const NEXT_HEADER: u8 = 0x07;
/// Bytes of the RMCP header before what the code covers.
const RMCP_BYTES: usize = 4;

/// What a packet carries (table 13-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// An IPMI message.
    Ipmi,
    /// Serial over LAN.
    Sol,
    /// Set-up of a session.
    OpenRequest,
    /// Its answer.
    OpenResponse,
    /// Key exchange, first message.
    Rakp1,
    /// Key exchange, second message.
    Rakp2,
    /// Key exchange, third message.
    Rakp3,
    /// Key exchange, fourth message.
    Rakp4,
}

impl Payload {
    const ALL: [(Self, u8); 8] = [
        (Self::Ipmi, 0x00),
        (Self::Sol, 0x01),
        (Self::OpenRequest, 0x10),
        (Self::OpenResponse, 0x11),
        (Self::Rakp1, 0x12),
        (Self::Rakp2, 0x13),
        (Self::Rakp3, 0x14),
        (Self::Rakp4, 0x15),
    ];

    /// The number on the wire.
    pub fn number(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, number)| *number)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(kind, _)| *kind)
    }
}

/// A packet as it was received; [`Packet::open`] checks and decrypts it.
#[derive(Debug)]
pub struct Packet<'a> {
    /// What it carries.
    pub kind: Payload,
    /// Whether the payload is encrypted.
    pub encrypted: bool,
    /// Whether a code ends the packet.
    pub authenticated: bool,
    /// The receiver's number of the session, 0 outside of one.
    pub session: u32,
    /// The session sequence number, 0 outside of a session.
    pub sequence: u32,
    /// The payload as it is on the wire.
    pub payload: &'a [u8],
    /// All bytes after the RMCP header.
    body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads what follows the RMCP header.
    ///
    /// # Errors
    /// When it is cut short or carries what is not known here.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let [auth_type, kind] = reader.array()?;
        if auth_type != rmcp::AUTH_TYPE_RMCP_PLUS {
            return Err(Malformed("it is not RMCP+"));
        }
        let number = kind & !(ENCRYPTED | AUTHENTICATED);
        if number == PAYLOAD_OEM {
            return Err(Malformed("it carries an OEM's payload"));
        }
        let session = reader.u32()?;
        let sequence = reader.u32()?;
        let length = usize::from(reader.u16()?);
        Ok(Self {
            kind: Payload::from_number(number).ok_or(Malformed("its payload is of an unknown type"))?,
            encrypted: kind & ENCRYPTED != 0,
            authenticated: kind & AUTHENTICATED != 0,
            session,
            sequence,
            payload: reader.take(length)?,
            body,
        })
    }

    /// The payload of a packet inside of a session with these keys: authenticated and encrypted, both.
    /// `None` if it is not or was not made with these keys.
    pub(crate) fn open(&self, keys: &Keys) -> Option<Vec<u8>> {
        if !self.encrypted || !self.authenticated {
            return None;
        }
        let (signed, code) =
            self.body.split_at_checked(self.body.len().checked_sub(keys.trailer_bytes())?)?;
        // The payload must be inside of what is signed, with pad length and next header after it.
        if signed.len() < 12 + self.payload.len() + 2 {
            return None;
        }
        equal(keys.trailer(signed).first(keys.trailer_bytes()), code).then_some(())?;
        keys.decrypt(self.payload)
    }
}

/// Which session a packet belongs to, and its keys.
pub(crate) struct Envelope<'a> {
    pub kind: Payload,
    pub session: u32,
    pub sequence: u32,
    pub keys: &'a Keys,
    pub iv: [u8; BLOCK],
}

/// Appends a datagram inside of a session.
pub(crate) fn put(out: &mut Vec<u8>, envelope: &Envelope<'_>, payload: &[u8]) {
    let mut encrypted = Vec::with_capacity(payload.len() + 2 * BLOCK);
    envelope.keys.encrypt(envelope.iv, payload, &mut encrypted);
    let start = out.len() + RMCP_BYTES;
    put_header(out, envelope.kind.number() | ENCRYPTED | AUTHENTICATED, envelope.session, envelope.sequence);
    put_payload(out, &encrypted);
    // What the code covers is a multiple of four bytes, pad length and next header included.
    let unpadded = out.len() - start + 2;
    let padding = (4 - unpadded % 4) % 4;
    out.extend(std::iter::repeat_n(0xff, padding));
    out.extend_from_slice(&[padding.to_le_bytes()[0], NEXT_HEADER]);
    let code = envelope.keys.trailer(out.get(start..).unwrap_or_default());
    out.extend_from_slice(code.first(envelope.keys.trailer_bytes()));
}

/// Appends a datagram of the set-up, outside of a session.
pub(crate) fn put_setup(out: &mut Vec<u8>, kind: Payload, payload: &[u8]) {
    put_header(out, kind.number(), 0, 0);
    put_payload(out, payload);
}

fn put_header(out: &mut Vec<u8>, kind: u8, session: u32, sequence: u32) {
    rmcp::put_ipmi_header(out);
    out.extend_from_slice(&[rmcp::AUTH_TYPE_RMCP_PLUS, kind]);
    out.extend_from_slice(&session.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
}

fn put_payload(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Suite;
    use crate::wire::datagram::Datagram;

    /// A payload of any length is read back, and no bit of the packet can be changed.
    #[test]
    fn sealed_packets() {
        for suite in [Suite::Sha1, Suite::Sha256] {
            let keys = Keys::derive(suite, b"key", &[b"a"]);
            for length in 0..40_u8 {
                let payload: Vec<u8> = (0..length).collect();
                let mut out = Vec::new();
                let envelope =
                    Envelope { kind: Payload::Sol, session: 7, sequence: 9, keys: &keys, iv: [3; 16] };
                put(&mut out, &envelope, &payload);
                let open = |bytes: &[u8]| match Datagram::parse(bytes) {
                    Ok(Datagram::V20(packet)) => packet.open(&keys),
                    _ => None,
                };
                assert_eq!(open(&out), Some(payload), "{suite:?} {length}");
                for index in RMCP_BYTES..out.len() {
                    let mut bad = out.clone();
                    bad[index] ^= 1;
                    assert_eq!(open(&bad), None, "{suite:?} {length}: byte {index}");
                }
            }
        }
    }
}
