//! Data Center Manageability Interface 1.5: power and temperatures of a machine as a whole.

use super::{Command, code};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// The group of DCMI's commands, first byte of each request and answer.
const GROUP: u8 = 0xdc;
/// Temperatures that one answer holds.
pub const TEMPERATURES_MAX: usize = 8;

/// Get Power Reading, of the system as a whole.
#[derive(Clone, Copy, Debug)]
pub struct GetPower;

/// Power, watts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// Now.
    pub current_watts: u16,
    /// Least of the period.
    pub minimum_watts: u16,
    /// Most of the period.
    pub maximum_watts: u16,
    /// Average of the period.
    pub average_watts: u16,
    /// Time of the reading, seconds since 1970 by the BMC's clock.
    pub time: u32,
    /// The period, milliseconds.
    pub period_ms: u32,
    /// Whether it is being measured.
    pub active: bool,
}

fn group(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.u8()? == GROUP { Ok(()) } else { Err(Malformed("it is not an answer of DCMI")) }
}

impl Command for GetPower {
    type Answer = Power;
    const CODE: Code = code(0x2c, 0x02);

    fn data(&self) -> Vec<u8> {
        vec![GROUP, 1, 0, 0]
    }

    fn read(&self, data: &[u8]) -> Result<Power, Malformed> {
        let mut reader = Reader::new(data);
        group(&mut reader)?;
        Ok(Power {
            current_watts: reader.u16()?,
            minimum_watts: reader.u16()?,
            maximum_watts: reader.u16()?,
            average_watts: reader.u16()?,
            time: reader.u32()?,
            period_ms: reader.u32()?,
            active: reader.u8()? & 0x40 != 0,
        })
    }
}

/// Which temperature: DCMI's entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Site {
    /// Where air comes in.
    Inlet = 0x40,
    /// A processor.
    Processor = 0x41,
    /// A board.
    Baseboard = 0x42,
}

/// Get Temperature Readings: all instances of an entity. The answer is instances and degrees Celsius.
#[derive(Clone, Copy, Debug)]
pub struct GetTemperatures(pub Site);

impl Command for GetTemperatures {
    type Answer = Vec<(u8, i8)>;
    const CODE: Code = code(0x2c, 0x10);

    fn data(&self) -> Vec<u8> {
        const TEMPERATURE: u8 = 1;
        vec![GROUP, TEMPERATURE, self.0 as u8, 0, 1]
    }

    fn read(&self, data: &[u8]) -> Result<Vec<(u8, i8)>, Malformed> {
        let mut reader = Reader::new(data);
        group(&mut reader)?;
        let [_all, count] = reader.array()?;
        let count = usize::from(count).min(TEMPERATURES_MAX);
        (0..count)
            .map(|_| {
                let [degrees, instance] = reader.array()?;
                // Seven bits and a sign, not a complement (table 6-24).
                let size = (degrees & 0x7f).cast_signed();
                Ok((instance, if degrees & 0x80 != 0 { -size } else { size }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power() {
        let data = [
            &[0xdc, 240, 0, 10, 0, 0x2c, 1, 200, 0][..],
            &0x5000_0000_u32.to_le_bytes(),
            &1000_u32.to_le_bytes(),
            &[0x40],
        ]
        .concat();
        let power = GetPower.read(&data).unwrap();
        assert_eq!((power.current_watts, power.maximum_watts, power.period_ms), (240, 300, 1000));
        assert!(power.active);
        assert!(GetPower.read(&data[1..]).is_err());
    }

    #[test]
    fn temperatures() {
        let get = GetTemperatures(Site::Inlet);
        assert_eq!(get.read(&[0xdc, 2, 2, 21, 1, 0x85, 2]), Ok(vec![(1, 21), (2, -5)]));
        assert!(get.read(&[0xdc, 9, 9, 21, 1]).is_err());
    }
}
