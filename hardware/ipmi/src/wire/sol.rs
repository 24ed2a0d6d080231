//! Serial over LAN: packets (IPMI 2.0, 15.9) and the answer to Activate Payload (24.1).

use super::{Malformed, Reader};

/// The number of this payload type in commands.
pub const PAYLOAD_TYPE: u8 = 1;
/// The instance that is used: BMCs have one serial port for it.
pub const INSTANCE: u8 = 1;
/// Bytes before the characters.
pub const HEADER_BYTES: usize = 4;
/// Packets that are acknowledged have numbers 1 to 15.
pub const SEQUENCE_MAX: u8 = 15;

const NACK: u8 = 0x40;
const BREAK_TO_MACHINE: u8 = 0x10;
const UNAVAILABLE: u8 = 0x20;
const DEACTIVATING: u8 = 0x10;
const OVERRUN: u8 = 0x08;
const BREAK_FROM_MACHINE: u8 = 0x04;

/// A packet, of either direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its number; 0 for one that is not acknowledged.
    pub sequence: u8,
    /// The number of the packet that it acknowledges, 0 for none.
    pub acknowledges: u8,
    /// How many characters of that packet were taken.
    pub accepted: u8,
    /// What is to be done, or what the BMC reports: see the methods.
    pub flags: u8,
    /// Characters.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let [sequence, acknowledges, accepted, flags] = reader.array()?;
        let number = |byte: u8| byte & SEQUENCE_MAX;
        let (sequence, acknowledges) = (number(sequence), number(acknowledges));
        Ok(Self { sequence, acknowledges, accepted, flags, data: reader.rest() })
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        [&[self.sequence, self.acknowledges, self.accepted, self.flags][..], self.data].concat()
    }

    /// A packet that makes the machine see a break, after its characters.
    #[must_use]
    pub fn with_break(self) -> Self {
        Self { flags: BREAK_TO_MACHINE, ..self }
    }

    /// Whether a console asks for a break.
    pub fn wants_break(&self) -> bool {
        self.flags & BREAK_TO_MACHINE != 0
    }

    /// The acknowledged packet was not taken as a whole.
    pub fn is_nack(&self) -> bool {
        self.flags & NACK != 0
    }

    /// The machine takes no characters at the moment.
    pub fn is_unavailable(&self) -> bool {
        self.flags & UNAVAILABLE != 0
    }

    /// The BMC ends the console.
    pub fn is_deactivating(&self) -> bool {
        self.flags & DEACTIVATING != 0
    }

    /// The BMC had to drop characters of the machine.
    pub fn has_overrun(&self) -> bool {
        self.flags & OVERRUN != 0
    }

    /// The machine sent a break.
    pub fn has_break(&self) -> bool {
        self.flags & BREAK_FROM_MACHINE != 0
    }
}

/// What the BMC says when the console was activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activated {
    /// Most bytes of a payload that it takes, the header included.
    pub inbound_bytes_max: u16,
    /// Most bytes of a payload that it sends.
    pub outbound_bytes_max: u16,
}

impl Activated {
    /// Reads the answer to Activate Payload. Its port is left out: BMCs name the port they have inside of
    /// their network, and use that of the session.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(data);
        let _auxiliary: [u8; 4] = reader.array()?;
        Ok(Self { inbound_bytes_max: reader.u16()?, outbound_bytes_max: reader.u16()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        let bytes = [0x21, 0xf2, 3, 0x7c, b'a', b'b'];
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.sequence, packet.acknowledges, packet.accepted), (1, 2, 3));
        assert_eq!(packet.data, b"ab");
        let flags = [
            packet.is_nack(),
            packet.is_unavailable(),
            packet.is_deactivating(),
            packet.has_overrun(),
            packet.has_break(),
        ];
        assert_eq!(flags, [true; 5]);
        assert_eq!(packet.payload(), [1, 2, 3, 0x7c, b'a', b'b']);
        assert!(Packet::parse(&bytes[..3]).is_err());
        assert!(Packet::default().with_break().wants_break());
    }
}
