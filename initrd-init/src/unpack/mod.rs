//! Unpacking an image archive into a root: cpio (`newc`) or tar, compressed with gzip or xz, told apart by
//! content.
//!
//! The archive is read as a stream while it is fetched, so that the compressed and the unpacked image are
//! never in memory together. Owners, modes, times, device nodes, hard links and (tar) extended attributes are
//! kept.

mod cpio;
mod tar;
mod tree;

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::Receiver;

pub(crate) use tree::{Meta, Target, Tree};

/// Bytes looked at to tell formats apart; tar has its mark at 257.
const SNIFF_BYTES: usize = 512;
const BUFFER_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// Memory the xz decoder may take, in bytes; level 9 needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 128 * 1024 * 1024;

/// Unpacks a stream into the directory `root`. Gives the number of entries.
pub(crate) fn unpack(source: impl Read, root: &str) -> io::Result<u64> {
    let mut tree = Tree::new(root);
    stream(source, &mut tree)?;
    tree.finish()
}

/// Unpacks a stream, compressed or not.
pub(crate) fn stream(source: impl Read, target: &mut dyn Target) -> io::Result<()> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
    let head = source.fill_buf()?;
    if head.starts_with(&GZIP_MAGIC) {
        archive(flate2::bufread::MultiGzDecoder::new(source), target)
    } else if head.starts_with(&XZ_MAGIC) {
        let decoder =
            liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, liblzma::stream::CONCATENATED)?;
        archive(liblzma::bufread::XzDecoder::new_stream(source, decoder), target)
    } else {
        archive(source, target)
    }
}

fn archive(mut plain: impl Read, target: &mut dyn Target) -> io::Result<()> {
    let mut head = Vec::new();
    plain.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    let is_cpio = head.starts_with(b"070701") || head.starts_with(b"070702");
    let is_tar = head.get(257..262).is_some_and(|mark| mark == b"ustar");
    let mut all = BufReader::with_capacity(BUFFER_BYTES, head.as_slice().chain(plain));
    match (is_cpio, is_tar) {
        (true, _) => cpio::unpack(&mut all, target),
        (_, true) => tar::unpack(&mut all, target),
        _ => Err(invalid("it is neither a cpio nor a tar archive")),
    }
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Reads and drops bytes.
fn skip(source: &mut dyn Read, bytes: u64) -> io::Result<()> {
    match io::copy(&mut source.take(bytes), &mut io::sink())? {
        all if all == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The reading end of a channel of buffers.
#[derive(Debug)]
pub(crate) struct ChannelReader {
    channel: Receiver<Vec<u8>>,
    current: Vec<u8>,
    used: usize,
}

impl ChannelReader {
    /// Reads what comes through `channel`; its end is the end of the stream.
    pub(crate) fn new(channel: Receiver<Vec<u8>>) -> Self {
        Self { channel, current: Vec::new(), used: 0 }
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used >= self.current.len() {
            match self.channel.recv() {
                Ok(next) => (self.current, self.used) = (next, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = self.current.get(self.used..).unwrap_or_default().read(buffer)?;
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
