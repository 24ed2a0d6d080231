//! Extended attributes: each different set is written once and inodes refer to it by number.

use std::collections::HashMap;
use std::io::Write;

use super::compress::Compressor;
use super::meta::MetaWriter;
use super::{NO_TABLE, Sink, SquashfsError};
use crate::tree::{InodeId, Tree};

/// Name prefixes the format knows, by their number.
const PREFIXES: [(&[u8], u16); 3] = [(b"user.", 0), (b"trusted.", 1), (b"security.", 2)];
/// The number an inode without attributes has.
pub(super) const NO_XATTR: u32 = u32::MAX;

type Set = Vec<(Vec<u8>, Vec<u8>)>;

/// The attribute sets of a tree.
pub(super) struct Xattrs {
    sets: Vec<Set>,
    set_of: HashMap<InodeId, u32>,
    /// Attributes with a prefix the format does not know.
    pub(super) dropped: u64,
    /// The first name with one of them.
    pub(super) first_dropped: Option<Vec<u8>>,
}

impl Xattrs {
    pub(super) fn collect(tree: &Tree) -> Result<Self, SquashfsError> {
        let mut all = Self { sets: Vec::new(), set_of: HashMap::new(), dropped: 0, first_dropped: None };
        let mut numbers: HashMap<Set, u32> = HashMap::new();
        for entry in tree.walk() {
            let xattrs = &tree.inode(entry.id).meta.xattrs;
            if xattrs.is_empty() || all.set_of.contains_key(&entry.id) {
                continue;
            }
            let set: Set = xattrs.iter().filter(|(name, _)| split(name).is_some()).cloned().collect();
            if xattrs.len() > set.len() {
                all.dropped += (xattrs.len() - set.len()) as u64;
                all.first_dropped.get_or_insert_with(|| entry.path.clone());
            }
            if set.is_empty() {
                continue;
            }
            let next = u32::try_from(all.sets.len()).map_err(|_| SquashfsError::Limit("attribute sets"))?;
            let number = *numbers.entry(set.clone()).or_insert(next);
            if number == next {
                all.sets.push(set);
            }
            all.set_of.insert(entry.id, number);
        }
        Ok(all)
    }

    /// The number of an inode's set, or [`NO_XATTR`].
    pub(super) fn number(&self, id: InodeId) -> u32 {
        self.set_of.get(&id).copied().unwrap_or(NO_XATTR)
    }

    /// Write values, sets and header; the result is the header's position, or [`NO_TABLE`] without
    /// attributes.
    pub(super) fn write<W: Write>(
        &self,
        sink: &mut Sink<'_, W>,
        compressor: Compressor,
    ) -> Result<u64, SquashfsError> {
        if self.sets.is_empty() {
            return Ok(NO_TABLE);
        }
        let mut values = MetaWriter::new(compressor)?;
        let mut sets = MetaWriter::new(compressor)?;
        for set in &self.sets {
            let at = values.position()?;
            let mut size = 0;
            for (name, value) in set {
                let bytes = encode(name, value)?;
                size += bytes.len();
                values.put(&bytes)?;
            }
            sets.put(&at.packed().to_le_bytes())?;
            sets.put(&length(set.len())?.to_le_bytes())?;
            sets.put(&length(size)?.to_le_bytes())?;
        }
        let (values, _) = values.finish()?;
        let (sets, starts) = sets.finish()?;
        let values_at = sink.at;
        sink.put(&values)?;
        let sets_at = sink.at;
        sink.put(&sets)?;
        let header = sink.at;
        sink.put(&values_at.to_le_bytes())?;
        sink.put(&length(self.sets.len())?.to_le_bytes())?;
        sink.put(&0u32.to_le_bytes())?;
        for start in starts {
            sink.put(&(sets_at + start).to_le_bytes())?;
        }
        Ok(header)
    }
}

/// One attribute as the value table holds it.
fn encode(name: &[u8], value: &[u8]) -> Result<Vec<u8>, SquashfsError> {
    let (prefix, rest) = split(name).ok_or(SquashfsError::Limit("attribute name"))?;
    let mut bytes = Vec::with_capacity(8 + rest.len() + value.len());
    bytes.extend(prefix.to_le_bytes());
    bytes
        .extend(u16::try_from(rest.len()).map_err(|_| SquashfsError::Limit("attribute name"))?.to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes.extend(length(value.len())?.to_le_bytes());
    bytes.extend_from_slice(value);
    Ok(bytes)
}

fn split(name: &[u8]) -> Option<(u16, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, number)| Some((*number, name.strip_prefix(*prefix)?)))
}

fn length(length: usize) -> Result<u32, SquashfsError> {
    u32::try_from(length).map_err(|_| SquashfsError::Limit("attributes"))
}
