//! The system event log (IPMI 2.0, chapter 31): reading it whole, and clearing it. What records mean is not
//! here.

use std::collections::HashSet;

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
