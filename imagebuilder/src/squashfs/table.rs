//! Lookup tables (fragments, exports, ids): metadata blocks followed by the list of their positions.

use std::collections::HashMap;
use std::io::Write;

use super::compress::Compressor;
use super::meta::MetaWriter;
use super::{Sink, SquashfsError};

/// Write a table; the result is the position of its list, which goes into the superblock. An empty table has
/// an empty list.
pub(super) fn write<W: Write>(
    sink: &mut Sink<'_, W>,
    bytes: &[u8],
    compressor: Compressor,
) -> Result<u64, SquashfsError> {
    let mut meta = MetaWriter::new(compressor)?;
    meta.put(bytes)?;
    let (table, starts) = meta.finish()?;
    let base = sink.at;
    sink.put(&table)?;
    let list = sink.at;
    for start in starts {
        sink.put(&(base + start).to_le_bytes())?;
    }
    Ok(list)
}

/// User and group numbers of the image; inodes hold indexes into it.
#[derive(Default)]
pub(super) struct Ids {
    numbers: Vec<u32>,
    index: HashMap<u32, u16>,
}

impl Ids {
    pub(super) fn index(&mut self, number: u32) -> Result<u16, SquashfsError> {
        if let Some(index) = self.index.get(&number) {
            return Ok(*index);
        }
        let index = u16::try_from(self.numbers.len())
            .ok()
            .filter(|index| *index < u16::MAX)
            .ok_or(SquashfsError::Limit("more than 65535 different owners and groups"))?;
        self.numbers.push(number);
        self.index.insert(number, index);
        Ok(index)
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.numbers.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }
}
