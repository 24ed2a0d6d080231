//! Partition tables of a local disk: MBR with four primary partitions, and GPT (UEFI specification, chapter
//! 5).
//!
//! Written here, so that an image need not carry a partitioning tool. Partitions begin and end at whole MiB.
//! Extended partitions, and GPTs of another shape than everybody's 128 entries of 128 bytes, are refused.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use dawn_wire::list::{Part, TableKind};
use flate2::Crc;

use crate::chance;

const MIB: u64 = 1 << 20;
/// Entries of an MBR and of a GPT.
const MBR_ENTRIES: usize = 4;
const GPT_ENTRIES: usize = 128;
const GPT_ENTRY_BYTES: usize = 128;
const GPT_HEADER_BYTES: usize = 92;
const MBR_TABLE: usize = 446;
/// Types of a Linux file system, and of the entry that guards a GPT.
const MBR_LINUX: u8 = 0x83;
const MBR_GUARD: u8 = 0xEE;
const GPT_LINUX: [u8; 16] =
    [0xAF, 0x3D, 0xC6, 0x0F, 0x83, 0x84, 0x72, 0x47, 0x8E, 0x79, 0x3D, 0x69, 0xD8, 0x47, 0x7D, 0xE4];

/// A disk, or a file in place of one.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    /// It, open for reading and writing.
    pub file: &'a File,
    /// Its size in bytes.
    pub bytes: u64,
    /// Size of its logical blocks in bytes.
    pub block_bytes: u64,
}

/// Raw entries of a table, empty ones included.
struct Table {
    kind: TableKind,
    entries: Vec<Vec<u8>>,
    identity: [u8; 16],
}

/// Adds partitions; with `clear`, or where the disk has no table, to a new table. Gives the numbers of the
/// new ones.
pub(super) fn add(disk: &Disk<'_>, kind: TableKind, clear: bool, parts: &[Part]) -> io::Result<Vec<usize>> {
    let present = if clear { None } else { disk.read()? };
    let mut table = present.map_or_else(|| Table::new(kind), Ok)?;
    let mut added = Vec::new();
    for part in parts {
        let (start, end) = disk.place(*part, &table)?;
        let free = table.entries.iter().position(|entry| range(table.kind, entry).is_none());
        let at = free.ok_or_else(|| refuse(format!("there is no room for {} partitions", parts.len())))?;
        let entry = entry_of(table.kind, start / disk.block_bytes, end / disk.block_bytes)?;
        table.entries.iter_mut().skip(at).take(1).for_each(|slot| slot.clone_from(&entry));
        added.push(at + 1);
    }
    disk.write(&table)?;
    disk.file.sync_all()?;
    Ok(added)
}

fn refuse(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Blocks of an entry: the first and the one after the last. None where the entry is empty.
fn range(kind: TableKind, entry: &[u8]) -> Option<(u64, u64)> {
    let used = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    match kind {
        TableKind::Dos => {
            let (start, count) = (u64::from(u32_at(entry, 8)?), u64::from(u32_at(entry, 12)?));
            used(entry.get(4..5)?).then_some((start, start + count))
        }
        TableKind::Gpt => {
            let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
            used(entry.get(..16)?).then_some((first, last.saturating_add(1)))
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = *from);
}

/// The entry of a partition of these blocks.
fn entry_of(kind: TableKind, start: u64, end: u64) -> io::Result<Vec<u8>> {
    match kind {
        TableKind::Dos => {
            let narrow = |number: u64| {
                u32::try_from(number).map_err(|_| refuse("the disk is too large for ptype=msdos; use gpt"))
            };
            // Cylinders and heads of a place that they cannot name.
            let mut entry = vec![0, 0xFE, 0xFF, 0xFF, MBR_LINUX, 0xFE, 0xFF, 0xFF];
            entry.extend(narrow(start)?.to_le_bytes());
            entry.extend(narrow(end - start)?.to_le_bytes());
            Ok(entry)
        }
        TableKind::Gpt => {
            let mut entry = GPT_LINUX.to_vec();
            entry.extend(chance::bytes::<16>()?);
            entry.extend(start.to_le_bytes());
            entry.extend((end - 1).to_le_bytes());
            entry.resize(GPT_ENTRY_BYTES, 0);
            Ok(entry)
        }
    }
}

impl Table {
    fn new(kind: TableKind) -> io::Result<Self> {
        let (count, bytes) = match kind {
            TableKind::Dos => (MBR_ENTRIES, 16),
            TableKind::Gpt => (GPT_ENTRIES, GPT_ENTRY_BYTES),
        };
        Ok(Self { kind, entries: vec![vec![0; bytes]; count], identity: chance::bytes()? })
    }
}

impl Disk<'_> {
    fn gpt_blocks(&self) -> u64 {
        (16 * 1024_u64).div_ceil(self.block_bytes)
    }

    /// The table that is there.
    fn read(&self) -> io::Result<Option<Table>> {
        let mut first = [0; 512];
        self.file.read_exact_at(&mut first, 0)?;
        if first.get(510..) != Some(&[0x55, 0xAA]) {
            return Ok(None);
        }
        let entries: Vec<Vec<u8>> = first
            .chunks(1)
            .skip(MBR_TABLE)
            .take(64)
            .flatten()
            .copied()
            .collect::<Vec<u8>>()
            .chunks(16)
            .map(<[u8]>::to_vec)
            .collect();
        if entries.iter().any(|entry| entry.get(4) == Some(&MBR_GUARD)) {
            return self.read_gpt().map(Some);
        }
        let mut identity = [0; 16];
        put(&mut identity, 0, first.get(440..444).unwrap_or_default());
        Ok(Some(Table { kind: TableKind::Dos, entries, identity }))
    }

    fn read_gpt(&self) -> io::Result<Table> {
        let mut header = [0; GPT_HEADER_BYTES];
        self.file.read_exact_at(&mut header, self.block_bytes)?;
        let usual = header.starts_with(b"EFI PART")
            && u64_at(&header, 72) == Some(2)
            && u32_at(&header, 80) == u32::try_from(GPT_ENTRIES).ok()
            && u32_at(&header, 84) == u32::try_from(GPT_ENTRY_BYTES).ok();
        if !usual {
            return Err(refuse("its partition table is not of the usual shape; clear=yes makes a new one"));
        }
        let mut raw = vec![0; GPT_ENTRIES * GPT_ENTRY_BYTES];
        self.file.read_exact_at(&mut raw, 2 * self.block_bytes)?;
        let mut identity = [0; 16];
        put(&mut identity, 0, header.get(56..72).unwrap_or_default());
        let entries = raw.chunks(GPT_ENTRY_BYTES).map(<[u8]>::to_vec).collect();
        Ok(Table { kind: TableKind::Gpt, entries, identity })
    }

    /// First byte of a new partition and the one after its last.
    fn place(&self, part: Part, table: &Table) -> io::Result<(u64, u64)> {
        let taken: Vec<(u64, u64)> = table
            .entries
            .iter()
            .filter_map(|entry| range(table.kind, entry))
            .map(|(start, end)| {
                (start.saturating_mul(self.block_bytes), end.saturating_mul(self.block_bytes))
            })
            .collect();
        let spare = if table.kind == TableKind::Gpt { (self.gpt_blocks() + 1) * self.block_bytes } else { 0 };
        let usable_end = self.bytes.saturating_sub(spare) / MIB * MIB;
        let (start, end) = match part {
            Part::Bytes(start, end) => (start.div_ceil(MIB) * MIB, end / MIB * MIB),
            Part::Percent(share) => {
                let start = taken.iter().map(|(_, end)| *end).max().unwrap_or(0).div_ceil(MIB) * MIB;
                // A list that adds up to 100 does not count the space of the table.
                let end = start.max(MIB) + self.bytes / 100 * share / MIB * MIB;
                (start, end.min(usable_end))
            }
        };
        let start = start.max(MIB);
        let overlaps = taken.iter().any(|(from, to)| start < *to && *from < end);
        if start >= end || end > usable_end || overlaps {
            return Err(refuse("there is no room for all partitions of the layout"));
        }
        Ok((start, end))
    }

    fn write(&self, table: &Table) -> io::Result<()> {
        match table.kind {
            TableKind::Dos => self.write_mbr(&table.entries.concat(), &table.identity),
            TableKind::Gpt => self.write_gpt(table),
        }
    }

    /// Keeps the code of a boot loader that is before the table.
    fn write_mbr(&self, entries: &[u8], identity: &[u8]) -> io::Result<()> {
        let mut sector = [0; 512];
        self.file.read_exact_at(&mut sector, 0)?;
        put(&mut sector, 440, identity.get(..4).unwrap_or_default());
        put(&mut sector, MBR_TABLE, entries);
        put(&mut sector, 510, &[0x55, 0xAA]);
        self.file.write_all_at(&sector, 0)
    }

    fn write_gpt(&self, table: &Table) -> io::Result<()> {
        let last = self.bytes / self.block_bytes - 1;
        let entries = table.entries.concat();
        self.file.write_all_at(&entries, 2 * self.block_bytes)?;
        self.file.write_all_at(&entries, (last - self.gpt_blocks()) * self.block_bytes)?;
        self.write_gpt_header(table, &entries, (1, last, 2))?;
        self.write_gpt_header(table, &entries, (last, 1, last - self.gpt_blocks()))?;
        let mut guard = vec![0, 0, 2, 0, MBR_GUARD, 0xFF, 0xFF, 0xFF];
        guard.extend(1_u32.to_le_bytes());
        guard.extend(u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
        guard.resize(64, 0);
        self.write_mbr(&guard, &[0; 4])
    }

    /// `(own block, block of the other header, first block of its entries)`.
    fn write_gpt_header(&self, table: &Table, entries: &[u8], at: (u64, u64, u64)) -> io::Result<()> {
        let (own, other, first_entry) = at;
        let last = self.bytes / self.block_bytes - 1;
        let mut header = [0; GPT_HEADER_BYTES];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 8, &[0, 0, 1, 0, 92]);
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 40, &(2 + self.gpt_blocks()).to_le_bytes());
        put(&mut header, 48, &(last - self.gpt_blocks() - 1).to_le_bytes());
        put(&mut header, 56, &table.identity);
        put(&mut header, 72, &first_entry.to_le_bytes());
        put(&mut header, 80, &[128, 0, 0, 0, 128]);
        put(&mut header, 88, &crc(entries).to_le_bytes());
        let sum = crc(&header);
        put(&mut header, 16, &sum.to_le_bytes());
        self.file.write_all_at(&header, own * self.block_bytes)
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(file: &File, mib: u64) -> Disk<'_> {
        file.set_len(mib * MIB).unwrap();
        Disk { file, bytes: mib * MIB, block_bytes: 512 }
    }

    fn ranges(disk: &Disk<'_>) -> Vec<(u64, u64)> {
        let table = disk.read().unwrap().unwrap();
        let blocks = table.entries.iter().filter_map(|entry| range(table.kind, entry));
        blocks.map(|(start, end)| (start * 512 / MIB, end * 512 / MIB)).collect()
    }

    #[test]
    fn partitions_are_added_and_kept() {
        for (kind, end) in [(TableKind::Dos, 200), (TableKind::Gpt, 199)] {
            let file = tempfile::tempfile().unwrap();
            let disk = disk(&file, 200);
            assert_eq!(add(&disk, kind, false, &[Part::Percent(10), Part::Percent(20)]).unwrap(), [1, 2]);
            assert_eq!(ranges(&disk), [(1, 21), (21, 61)]);
            assert_eq!(add(&disk, kind, false, &[Part::Percent(70)]).unwrap(), [3], "numbering goes on");
            assert_eq!(ranges(&disk), [(1, 21), (21, 61), (61, end)]);
            assert!(add(&disk, kind, false, &[Part::Percent(1)]).is_err(), "full");
            let bytes = [Part::Bytes(100 * MIB, 150 * MIB), Part::Bytes(0, 100 * MIB)];
            assert_eq!(add(&disk, kind, true, &bytes).unwrap(), [1, 2]);
            assert_eq!(ranges(&disk), [(100, 150), (1, 100)]);
            assert!(add(&disk, kind, false, &[Part::Bytes(50 * MIB, 60 * MIB)]).is_err(), "overlaps");
            assert!(add(&disk, kind, true, &[Part::Bytes(50 * MIB, 600 * MIB)]).is_err(), "behind the end");
        }
    }

    /// Both headers name each other and carry the right sums.
    #[test]
    fn headers_of_a_gpt_are_sound() {
        let file = tempfile::tempfile().unwrap();
        let disk = disk(&file, 64);
        add(&disk, TableKind::Gpt, true, &[Part::Percent(100)]).unwrap();
        let last = 64 * MIB / 512 - 1;
        for (own, other) in [(1, last), (last, 1)] {
            let mut header = [0; GPT_HEADER_BYTES];
            file.read_exact_at(&mut header, own * 512).unwrap();
            assert_eq!((u64_at(&header, 24), u64_at(&header, 32)), (Some(own), Some(other)));
            let sum = u32_at(&header, 16).unwrap();
            put(&mut header, 16, &[0; 4]);
            assert_eq!(sum, crc(&header));
            let mut entries = [0; 16 * 1024];
            file.read_exact_at(&mut entries, u64_at(&header, 72).unwrap() * 512).unwrap();
            assert_eq!(u32_at(&header, 88), Some(crc(&entries)));
        }
    }

    #[test]
    fn more_than_four_need_a_gpt() {
        let file = tempfile::tempfile().unwrap();
        let disk = disk(&file, 200);
        let five = [Part::Percent(10); 5];
        assert!(
            add(&disk, TableKind::Dos, true, &five)
                .unwrap_err()
                .to_string()
                .contains("no room for 5 partitions")
        );
        assert_eq!(add(&disk, TableKind::Gpt, true, &five).unwrap(), [1, 2, 3, 4, 5]);
    }
}
