//! Metadata blocks: 8 KiB pieces, each compressed, each after a two-byte length.

use super::SquashfsError;
use super::compress::{Compressor, Packer};

/// Uncompressed length of a metadata block (bytes).
pub(super) const META_BLOCK_BYTES: usize = 8192;
/// Bit of the length word: the block is stored as it is.
const STORED_BIT: u16 = 1 << 15;

/// Where something begins: the block (its position in the table) and the offset inside the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MetaRef {
    pub(super) block: u32,
    pub(super) offset: u16,
}

impl MetaRef {
    /// As the format writes references to inodes and attributes.
    pub(super) fn packed(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A table of metadata blocks under construction.
pub(super) struct MetaWriter {
    out: Vec<u8>,
    block: Vec<u8>,
    starts: Vec<u64>,
    packer: Packer,
}

impl MetaWriter {
    pub(super) fn new(compressor: Compressor) -> Result<Self, SquashfsError> {
        Ok(Self { out: Vec::new(), block: Vec::new(), starts: Vec::new(), packer: compressor.start()? })
    }

    /// Where the next byte will be.
    pub(super) fn position(&self) -> Result<MetaRef, SquashfsError> {
        let block = u32::try_from(self.out.len()).map_err(|_| SquashfsError::Limit("a table above 4 GiB"))?;
        Ok(MetaRef { block, offset: u16::try_from(self.block.len()).unwrap_or(0) })
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), SquashfsError> {
        while !bytes.is_empty() {
            let room = META_BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == META_BLOCK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The whole table and the position of each block in it.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Vec<u64>), SquashfsError> {
        self.flush()?;
        Ok((self.out, self.starts))
    }

    fn flush(&mut self) -> Result<(), SquashfsError> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.starts.push(self.out.len() as u64);
        let packed = self.packer.shrink(&self.block).map_err(SquashfsError::Compress)?;
        let (bytes, flag) = match &packed {
            Some(bytes) => (bytes, 0),
            None => (&self.block, STORED_BIT),
        };
        let length = u16::try_from(bytes.len()).map_err(|_| SquashfsError::Limit("metadata block"))?;
        self.out.extend((length | flag).to_le_bytes());
        self.out.extend_from_slice(bytes);
        self.block.clear();
        Ok(())
    }
}
