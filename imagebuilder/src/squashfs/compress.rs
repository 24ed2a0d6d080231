//! The compressors an image may use, one state per thread.

use std::io::{self, Write};

use super::SquashfsError;
use crate::pool::{Pack, Packed};

/// Compression of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// zstd with a level of 1 to 22; Linux 4.14 or newer reads it.
    Zstd(i32),
    /// zlib with a level of 1 to 9, for older kernels.
    Gzip(u32),
}

impl Default for Compressor {
    /// Level 3 is where build time stops mattering: an image of 7 GB in half a minute on two cores, about a
    /// seventh larger than level 15, which takes twenty times as long.
    fn default() -> Self {
        Compressor::Zstd(3)
    }
}

impl Compressor {
    /// The number in the superblock.
    pub(super) fn id(self) -> u16 {
        match self {
            Compressor::Gzip(_) => 1,
            Compressor::Zstd(_) => 6,
        }
    }

    pub(super) fn check(self) -> Result<(), SquashfsError> {
        match self {
            Compressor::Zstd(level) if !(1..=22).contains(&level) => {
                Err(SquashfsError::Option(format!("zstd level {level}: must be 1 to 22")))
            }
            Compressor::Gzip(level) if !(1..=9).contains(&level) => {
                Err(SquashfsError::Option(format!("gzip level {level}: must be 1 to 9")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn start(self) -> Result<Packer, SquashfsError> {
        Ok(match self {
            Compressor::Zstd(level) => {
                Packer::Zstd(Box::new(zstd::bulk::Compressor::new(level).map_err(SquashfsError::Compress)?))
            }
            Compressor::Gzip(level) => Packer::Gzip(flate2::Compression::new(level)),
        })
    }
}

/// The state of one thread's compressor.
pub(super) enum Packer {
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Gzip(flate2::Compression),
}

impl Packer {
    /// The packed block, or `None` when packing does not make it smaller.
    pub(super) fn shrink(&mut self, block: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let packed = match self {
            Packer::Zstd(state) => state.compress(block)?,
            Packer::Gzip(level) => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), *level);
                encoder.write_all(block)?;
                encoder.finish()?
            }
        };
        Ok((packed.len() < block.len()).then_some(packed))
    }
}

impl Pack for Packer {
    fn pack(&mut self, block: Vec<u8>) -> io::Result<Packed> {
        Ok(match self.shrink(&block)? {
            Some(bytes) => Packed { bytes, stored: false },
            None => Packed { bytes: block, stored: true },
        })
    }
}
