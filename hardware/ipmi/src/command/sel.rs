//! The system event log (IPMI 2.0, chapters 31 and 32): reading it whole, clearing it, and the fields of its
//! records. What events mean in words is not here.

use std::collections::HashSet;

use super::sdr::SensorKey;
use super::{Command, CommandError, Transport, code};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// Most records that are read; the log has fewer than 65,535.
pub const RECORDS_MAX: usize = 16_384;
/// The first record, and the one after the last.
const FIRST: u16 = 0x0000;
const LAST: u16 = 0xffff;
/// How often the state of an erasure is asked for.
const ERASE_POLLS_MAX: u32 = 100;

/// Get SEL Info.
#[derive(Clone, Copy, Debug)]
pub struct GetSelInfo;

/// The log's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelInfo {
    /// Its version, 51h.
    pub version: u8,
    /// How many records it has.
    pub records: u16,
    /// Bit 1: reservations are supported; bit 7: records were lost (table 31-2).
    pub support: u8,
}

impl Command for GetSelInfo {
    type Answer = SelInfo;
    const CODE: Code = code(0x0a, 0x40);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<SelInfo, Malformed> {
        let mut reader = Reader::new(data);
        let (version, records) = (reader.u8()?, reader.u16()?);
        reader.take(10)?;
        Ok(SelInfo { version, records, support: reader.u8()? })
    }
}

/// Reserve SEL. The answer is the reservation.
#[derive(Clone, Copy, Debug)]
pub struct ReserveSel;

impl Command for ReserveSel {
    type Answer = u16;
    const CODE: Code = code(0x0a, 0x42);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<u16, Malformed> {
        Reader::new(data).u16()
    }
}

/// A record as the BMC has it.
pub type Record = [u8; 16];

/// Get SEL Entry, whole. The answer is the number of the next record, and this one.
#[derive(Clone, Copy, Debug)]
pub struct GetSelEntry(pub u16);

impl Command for GetSelEntry {
    type Answer = (u16, Record);
    const CODE: Code = code(0x0a, 0x43);

    fn data(&self) -> Vec<u8> {
        let [low, high] = self.0.to_le_bytes();
        vec![0, 0, low, high, 0, 0xff]
    }

    fn read(&self, data: &[u8]) -> Result<(u16, Record), Malformed> {
        let mut reader = Reader::new(data);
        Ok((reader.u16()?, reader.array()?))
    }
}

/// Clear SEL. The answer is whether it is done.
#[derive(Clone, Copy, Debug)]
pub struct ClearSel {
    /// From [`ReserveSel`].
    pub reservation: u16,
    /// Begins it; otherwise asks how far it is.
    pub begin: bool,
}

impl Command for ClearSel {
    type Answer = bool;
    const CODE: Code = code(0x0a, 0x47);

    fn data(&self) -> Vec<u8> {
        let [low, high] = self.reservation.to_le_bytes();
        vec![low, high, b'C', b'L', b'R', if self.begin { 0xaa } else { 0 }]
    }

    fn read(&self, data: &[u8]) -> Result<bool, Malformed> {
        Reader::new(data).u8().map(|state| state & 0x0f == 1)
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An event of a sensor.
    Event(Event),
    /// A record of the maker's own, with a time: kind, time, and the rest.
    OemTimed(u8, u32, [u8; 9]),
    /// A record of the maker's own: kind, and the rest.
    Oem(u8, [u8; 13]),
}

/// An event of a sensor (table 32-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Seconds since 1970 by the BMC's clock; below 20000000h seconds since the BMC started.
    pub time: u32,
    /// Whose sensor.
    pub key: SensorKey,
    /// What it measures (table 42-3).
    pub kind: u8,
    /// How it reports (table 42-1), seven bits.
    pub reading: u8,
    /// The state ended.
    pub recovered: bool,
    /// Its three bytes: offset with the kind of the others, and the others.
    pub data: [u8; 3],
}

impl Event {
    /// Which state, 0 to 15.
    pub fn offset(&self) -> u8 {
        self.data[0] & 0x0f
    }

    /// Reading and threshold of an event about a threshold, as far as the event has them.
    pub fn threshold(&self) -> (Option<u8>, Option<u8>) {
        const THRESHOLD: u8 = 1;
        let [what, second, third] = self.data;
        let has = |bits: u8| self.reading == THRESHOLD && bits & 3 == 1;
        (has(what >> 6).then_some(second), has(what >> 4).then_some(third))
    }
}

impl Entry {
    /// Reads a record; each has one of these forms.
    pub fn of(record: &Record) -> Self {
        let [_, _, kind, a, b, c, d, owner, lun, _version, sensor_kind, number, reading, data @ ..] = *record;
        let time = u32::from_le_bytes([a, b, c, d]);
        match kind {
            0xc0..=0xdf => {
                let [_, _, _, _, _, _, _, rest @ ..] = *record;
                Self::OemTimed(kind, time, rest)
            }
            0xe0..=0xff => {
                let [_, _, _, rest @ ..] = *record;
                Self::Oem(kind, rest)
            }
            _ => Self::Event(Event {
                time,
                key: SensorKey { owner, lun: lun & 3, number },
                kind: sensor_kind,
                reading: reading & 0x7f,
                recovered: reading & 0x80 != 0,
                data,
            }),
        }
    }
}

/// Get SEL Time: the BMC's clock, seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct GetSelTime;

impl Command for GetSelTime {
    type Answer = u32;
    const CODE: Code = code(0x0a, 0x48);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<u32, Malformed> {
        Reader::new(data).u32()
    }
}

/// Reads the log, oldest first, [`RECORDS_MAX`] records at most.
///
/// # Errors
/// The commands', and a log whose records lead in a circle.
pub async fn read_sel(bmc: &impl Transport) -> Result<Vec<Record>, CommandError> {
    let mut records = Vec::new();
    if bmc.run(GetSelInfo).await?.records == 0 {
        return Ok(records);
    }
    let (mut next, mut seen) = (FIRST, HashSet::new());
    while next != LAST && records.len() < RECORDS_MAX {
        if !seen.insert(next) {
            return Err(CommandError::Walk("they lead in a circle"));
        }
        let (after, record) = bmc.run(GetSelEntry(next)).await?;
        records.push(record);
        next = after;
    }
    Ok(records)
}

/// Clears the log and waits until it is done.
///
/// # Errors
/// The commands', and an erasure that does not end.
pub async fn clear_sel(bmc: &impl Transport) -> Result<(), CommandError> {
    let reservation = bmc.run(ReserveSel).await?;
    let mut begin = true;
    for _ in 0..ERASE_POLLS_MAX {
        if bmc.run(ClearSel { reservation, begin }).await? {
            return Ok(());
        }
        begin = false;
    }
    Err(CommandError::Walk("the log is still being erased"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let record = [1, 0, 2, 0x10, 0x20, 0x30, 0x40, 0x20, 1, 4, 1, 7, 0x81, 0x57, 95, 90];
        let Entry::Event(event) = Entry::of(&record) else { panic!("not an event") };
        assert_eq!((event.time, event.kind, event.reading, event.recovered), (0x4030_2010, 1, 1, true));
        assert_eq!(event.key, SensorKey { owner: 0x20, lun: 1, number: 7 });
        assert_eq!((event.offset(), event.threshold()), (7, (Some(95), Some(90))));
        let without = Event { data: [0x07, 95, 90], ..event };
        assert_eq!(without.threshold(), (None, None));
        let discrete = Event { reading: 0x6f, ..event };
        assert_eq!(discrete.threshold(), (None, None));
        let timed = [1, 0, 0xc1, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(Entry::of(&timed), Entry::OemTimed(0xc1, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9]));
        let plain = [1, 0, 0xe0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(Entry::of(&plain), Entry::Oem(0xe0, [1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    }
}
