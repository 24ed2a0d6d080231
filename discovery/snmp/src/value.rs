//! Values of objects (RFC 2578 §7.1, RFC 3416 §3).

use crate::ber::{self, BerError, Field, Reader};
use crate::oid::Oid;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// INTEGER.
    Integer(i64),
    /// OCTET STRING.
    Octets(Vec<u8>),
    /// NULL: what a request holds in place of a value.
    Null,
    /// OBJECT IDENTIFIER.
    Object(Oid),
    /// IpAddress.
    Address([u8; 4]),
    /// Counter32.
    Counter(u32),
    /// Gauge32, Unsigned32.
    Gauge(u32),
    /// TimeTicks, hundredths of a second.
    Ticks(u32),
    /// Opaque.
    Opaque(Vec<u8>),
    /// Counter64.
    Counter64(u64),
    /// There is no such object (not v1).
    NoSuchObject,
    /// There is no such row (not v1).
    NoSuchInstance,
    /// Nothing follows (not v1).
    EndOfMibView,
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarBind {
    /// The name.
    pub name: Oid,
    /// The value.
    pub value: Value,
}

impl Value {
    /// The number, for all kinds of numbers.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Counter(number) | Self::Gauge(number) | Self::Ticks(number) => Some(i64::from(*number)),
            Self::Counter64(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The bytes of an OCTET STRING.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Octets(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn decode(field: &Field<'_>) -> Option<Self> {
        let content = field.content;
        let number = || ber::unsigned(content).and_then(|number| u32::try_from(number).ok());
        Some(match field.tag {
            ber::INTEGER => Self::Integer(ber::signed(content)?),
            ber::OCTETS => Self::Octets(content.to_vec()),
            ber::NULL => Self::Null,
            ber::OBJECT => Self::Object(Oid::decode(content)?),
            0x40 => Self::Address(content.try_into().ok()?),
            0x41 => Self::Counter(number()?),
            0x42 => Self::Gauge(number()?),
            0x43 => Self::Ticks(number()?),
            0x44 => Self::Opaque(content.to_vec()),
            0x46 => Self::Counter64(ber::unsigned(content)?),
            0x80 => Self::NoSuchObject,
            0x81 => Self::NoSuchInstance,
            0x82 => Self::EndOfMibView,
            _ => return None,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => ber::put_integer(out, *number),
            Self::Octets(bytes) => ber::put(out, ber::OCTETS, bytes),
            Self::Null => ber::put(out, ber::NULL, &[]),
            Self::Object(oid) => ber::put(out, ber::OBJECT, &oid.encode()),
            Self::Address(bytes) => ber::put(out, 0x40, bytes),
            Self::Counter(number) => ber::put_unsigned(out, 0x41, u64::from(*number)),
            Self::Gauge(number) => ber::put_unsigned(out, 0x42, u64::from(*number)),
            Self::Ticks(number) => ber::put_unsigned(out, 0x43, u64::from(*number)),
            Self::Opaque(bytes) => ber::put(out, 0x44, bytes),
            Self::Counter64(number) => ber::put_unsigned(out, 0x46, *number),
            Self::NoSuchObject => ber::put(out, 0x80, &[]),
            Self::NoSuchInstance => ber::put(out, 0x81, &[]),
            Self::EndOfMibView => ber::put(out, 0x82, &[]),
        }
    }
}

impl VarBind {
    /// A name without a value, as in requests.
    pub fn ask(name: Oid) -> Self {
        Self { name, value: Value::Null }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`BerError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, BerError> {
        let mut pair = reader.open(ber::SEQUENCE)?;
        let name = pair.expect(ber::OBJECT)?;
        let value = pair.field()?;
        Ok(Self {
            name: Oid::decode(name.content).ok_or(BerError::Range(name.place.start))?,
            value: Value::decode(&value).ok_or(BerError::Range(value.place.start))?,
        })
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        ber::put_with(out, ber::SEQUENCE, |out| {
            ber::put(out, ber::OBJECT, &self.name.encode());
            self.value.encode(out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for value in [
            Value::Integer(-7),
            Value::Octets(vec![0, 255]),
            Value::Null,
            Value::Object("1.3.6".parse().unwrap()),
            Value::Address([10, 0, 0, 1]),
            Value::Counter(u32::MAX),
            Value::Gauge(0),
            Value::Ticks(128),
            Value::Opaque(vec![1]),
            Value::Counter64(u64::MAX),
            Value::NoSuchObject,
            Value::NoSuchInstance,
            Value::EndOfMibView,
        ] {
            let bind = VarBind { name: "1.3.6.1".parse().unwrap(), value };
            let mut out = Vec::new();
            bind.write(&mut out);
            assert_eq!(VarBind::read(&mut Reader::new(&out)), Ok(bind));
        }
    }
}
