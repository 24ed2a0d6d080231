//! A writer of squashfs 4.0 file systems: the packed root of a stateless node.
//!
//! Format: Documentation/filesystems/squashfs.rst of Linux and the notes on the on-disk layout of
//! squashfs-tools. Written are data blocks with fragments for small files, shared data of identical files,
//! hard links, all kinds of inodes, extended attributes, the id table and the NFS export table.
//!
//! Order of the file: superblock, file data and fragment blocks, inodes, directories, fragment table, export
//! table, id table, attribute table. Blocks are compressed by a pool of threads (`pool.rs`) and written in
//! the order they were read, so the result does not depend on the number of threads: the same tree and
//! [`Options`] give the same bytes. Memory is bounded by the metadata of the tree plus a few blocks per
//! thread.
//!
//! Why our own writer: the crate `squashfs-ng` stops at device nodes, fixes zstd at level 15 and block size
//! at 128 KiB, writes the time of the build, has no hard links, computes minor numbers above 255 wrongly and
//! needs a C library at link time; `backhand` has neither hard links nor attributes and compresses on one
//! thread.
//!
//! Not supported: attributes outside `user.`, `trusted.` and `security.` (the format has no place for POSIX
//! ACLs; they are counted in [`Summary::dropped_xattrs`]), and times before 1970 or after 2106 (clamped).

mod compress;
mod data;
mod inodes;
mod meta;
mod table;
mod xattr;

use std::io::{self, Seek, SeekFrom, Write};

use crate::tree::{Tree, TreeError};
pub use compress::Compressor;

/// Smallest and largest block size the format and this writer accept (bytes).
pub const BLOCK_BYTES_MIN: u32 = 4 * 1024;
/// See [`BLOCK_BYTES_MIN`].
pub const BLOCK_BYTES_MAX: u32 = 1024 * 1024;
/// Default block size (bytes): larger packs better, smaller reads less for a small file.
pub const BLOCK_BYTES_DEFAULT: u32 = 128 * 1024;
/// Most threads a build may use.
pub const THREADS_MAX: usize = 256;
/// Images are padded to this, as loop devices want (bytes).
const PAD_BYTES: u64 = 4096;
/// Length of the superblock (bytes).
const SUPERBLOCK_BYTES: u64 = 96;
/// "hsqs".
const MAGIC: u32 = 0x7371_7368;
/// A table that is not there.
const NO_TABLE: u64 = u64::MAX;

const FLAG_NO_FRAGMENTS: u16 = 0x0010;
const FLAG_DUPLICATES: u16 = 0x0040;
const FLAG_EXPORTABLE: u16 = 0x0080;
const FLAG_NO_XATTRS: u16 = 0x0200;

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SquashfsError {
    /// A source file could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The output could not be written (disk full?).
    #[error("writing the image: {0}")]
    Write(#[source] io::Error),
    /// The compressor failed.
    #[error("compressing: {0}")]
    Compress(#[source] io::Error),
    /// An option is out of range.
    #[error("{0}")]
    Option(String),
    /// The tree does not fit the format.
    #[error("the tree does not fit squashfs: {0}")]
    Limit(&'static str),
}

/// What times entries get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    /// Those of the tree.
    #[default]
    Keep,
    /// Those of the tree, but none later than this (seconds since 1970), like `SOURCE_DATE_EPOCH`.
    Clamp(u32),
    /// All this one (seconds since 1970).
    All(u32),
}

impl Times {
    fn of(self, mtime: i64) -> u32 {
        let own = u32::try_from(mtime.max(0)).unwrap_or(u32::MAX);
        match self {
            Times::Keep => own,
            Times::Clamp(latest) => own.min(latest),
            Times::All(time) => time,
        }
    }
}

/// How to write an image.
#[derive(Debug, Clone)]
pub struct Options {
    /// Compression of all blocks.
    pub compressor: Compressor,
    /// Size of a data block (bytes, a power of two in [`BLOCK_BYTES_MIN`]..=[`BLOCK_BYTES_MAX`]).
    pub block_bytes: u32,
    /// Compressing threads, 1..=[`THREADS_MAX`].
    pub threads: usize,
    /// Times of the entries.
    pub times: Times,
    /// Time in the superblock (seconds since 1970); `None`: the newest of the entries.
    pub made_at: Option<u32>,
    /// Write the table that NFS file handles need (8 bytes an inode).
    pub exportable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compressor: Compressor::default(),
            block_bytes: BLOCK_BYTES_DEFAULT,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX)),
            times: Times::Keep,
            made_at: None,
            exportable: true,
        }
    }
}

/// How far a build is; given to the callback after every block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// File bytes read so far.
    pub read_bytes: u64,
    /// File bytes of the whole tree (identical files counted each).
    pub total_bytes: u64,
    /// Image bytes written so far.
    pub written_bytes: u64,
}

/// What a finished image is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Length of the file with padding (bytes).
    pub image_bytes: u64,
    /// Inodes.
    pub inodes: u32,
    /// File bytes of the tree.
    pub file_bytes: u64,
    /// Files whose bytes were already there under another inode.
    pub duplicates: u64,
    /// Blocks that hold the ends of small files.
    pub fragments: u32,
    /// Attributes the format has no place for.
    pub dropped_xattrs: u64,
    /// The first name that has one of these.
    pub first_dropped: Option<Vec<u8>>,
}

/// Write `tree` as a squashfs image to `out`, which must be empty and positioned at its start.
pub fn write<W: Write + Seek>(
    tree: &Tree,
    out: &mut W,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, SquashfsError> {
    check(options)?;
    out.seek(SeekFrom::Start(SUPERBLOCK_BYTES)).map_err(SquashfsError::Write)?;
    let mut sink = Sink { out, at: SUPERBLOCK_BYTES };
    let data = data::write(tree, &mut sink, options, progress)?;
    let xattrs = xattr::Xattrs::collect(tree)?;
    let parts = inodes::build(tree, &data, &xattrs, options)?;

    let mut head = Superblock { inode_table: sink.at, ..Superblock::default() };
    sink.put(&parts.inode_table)?;
    head.directory_table = sink.at;
    sink.put(&parts.directory_table)?;
    head.fragment_table = table::write(&mut sink, &data.fragment_table(), options.compressor)?;
    head.export_table = match options.exportable {
        true => table::write(&mut sink, &parts.export_table, options.compressor)?,
        false => NO_TABLE,
    };
    head.id_table = table::write(&mut sink, &parts.ids.bytes(), options.compressor)?;
    head.xattr_table = xattrs.write(&mut sink, options.compressor)?;
    head.bytes_used = sink.at;

    let summary = Summary {
        image_bytes: head.bytes_used.next_multiple_of(PAD_BYTES),
        inodes: parts.inode_count,
        file_bytes: data.file_bytes,
        duplicates: data.duplicates,
        fragments: u32::try_from(data.fragments.len())
            .map_err(|_| SquashfsError::Limit("too many fragments"))?,
        dropped_xattrs: xattrs.dropped,
        first_dropped: xattrs.first_dropped,
    };
    sink.put(&vec![0; usize::try_from(summary.image_bytes - head.bytes_used).unwrap_or(0)])?;
    let made_at = options.made_at.unwrap_or_else(|| options.times.of(tree.newest_mtime()));
    out.seek(SeekFrom::Start(0)).map_err(SquashfsError::Write)?;
    let flags = flags(options, &summary, head.xattr_table);
    out.write_all(&head.bytes(&parts, &summary, options, made_at, flags)).map_err(SquashfsError::Write)?;
    out.flush().map_err(SquashfsError::Write)?;
    Ok(summary)
}

fn check(options: &Options) -> Result<(), SquashfsError> {
    let bytes = options.block_bytes;
    if !bytes.is_power_of_two() || !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&bytes) {
        let text =
            format!("block size {bytes}: must be a power of two from {BLOCK_BYTES_MIN} to {BLOCK_BYTES_MAX}");
        return Err(SquashfsError::Option(text));
    }
    if !(1..=THREADS_MAX).contains(&options.threads) {
        return Err(SquashfsError::Option(format!(
            "{} threads: must be 1 to {THREADS_MAX}",
            options.threads
        )));
    }
    options.compressor.check()
}

fn flags(options: &Options, summary: &Summary, xattr_table: u64) -> u16 {
    let mut flags = FLAG_DUPLICATES;
    if options.exportable {
        flags |= FLAG_EXPORTABLE;
    }
    if summary.fragments == 0 {
        flags |= FLAG_NO_FRAGMENTS;
    }
    if xattr_table == NO_TABLE {
        flags |= FLAG_NO_XATTRS;
    }
    flags
}

/// Where the tables ended up.
#[derive(Default)]
struct Superblock {
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    export_table: u64,
    id_table: u64,
    xattr_table: u64,
    bytes_used: u64,
}

impl Superblock {
    fn bytes(
        &self,
        parts: &inodes::Parts,
        summary: &Summary,
        options: &Options,
        made_at: u32,
        flags: u16,
    ) -> Vec<u8> {
        let mut b = Vec::new();
        for word in [MAGIC, summary.inodes, made_at, options.block_bytes, summary.fragments] {
            b.extend(word.to_le_bytes());
        }
        let log = u16::try_from(options.block_bytes.trailing_zeros()).unwrap_or(0);
        for half in [options.compressor.id(), log, flags, parts.ids.count(), 4, 0] {
            b.extend(half.to_le_bytes());
        }
        for long in [
            parts.root_ref,
            self.bytes_used,
            self.id_table,
            self.xattr_table,
            self.inode_table,
            self.directory_table,
            self.fragment_table,
            self.export_table,
        ] {
            b.extend(long.to_le_bytes());
        }
        b
    }
}

/// The output with its position.
struct Sink<'a, W: Write> {
    out: &'a mut W,
    at: u64,
}

impl<W: Write> Sink<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), SquashfsError> {
        self.out.write_all(bytes).map_err(SquashfsError::Write)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
