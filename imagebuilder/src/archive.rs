//! cpio and tar archives of a tree, compressed on all cores.
//!
//! cpio is the `newc` format that initramfs images have (Documentation/driver-api/early-userspace/
//! buffer-format.rst of Linux); tar is POSIX with GNU long names and the attributes as PAX records.
//! Compression cuts the stream into pieces that are compressed side by side and joined: gzip members and xz
//! streams may follow each other (RFC 1952 section 2.2, xz format section 2), so any reader takes them as
//! one.
//!
//! The cpio format has no extended attributes and no file of 4 GiB or more; tar has no sockets.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use crate::cpio::{ALIGNMENT, Header};
use crate::pool::{Pack, Packed, Pool};
use crate::tree::{Content, Entry, Inode, InodeId, Kind, Meta, Reader, Tree, TreeError};

/// Length of a piece that is compressed by itself (bytes): long enough that the size of its header does not
/// matter.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// xz at level 6 keeps a window of this size, so smaller pieces would cost size (bytes).
const PIECE_BYTES_XZ: usize = 8 * 1024 * 1024;
/// Piece of a file that is copied at once (bytes).
const COPY_BYTES: usize = 128 * 1024;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A source file could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The output could not be written.
    #[error("writing the archive: {0}")]
    Write(#[from] io::Error),
    /// The format has no place for a file.
    #[error("{path}: {reason}; use another method")]
    Format {
        /// Path in the image.
        path: String,
        /// What does not fit.
        reason: &'static str,
    },
}

/// Compression of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// gzip, level 1 to 9.
    Gzip(u32),
    /// xz, level 0 to 9.
    Xz(u32),
}

/// Write a cpio archive (newc) of the tree.
pub fn cpio(
    tree: &Tree,
    out: impl Write,
    compress: Compress,
    threads: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ArchiveError> {
    compressed(out, compress, threads, |stream| {
        let links = tree.link_counts();
        let mut last_name: HashMap<InodeId, usize> = HashMap::new();
        let entries = tree.walk();
        for (position, entry) in entries.iter().enumerate() {
            last_name.insert(entry.id, position);
        }
        for (position, entry) in entries.iter().enumerate() {
            // Of a hard-linked file the last name carries the bytes.
            let with_bytes = last_name.get(&entry.id) == Some(&position);
            let count = links.get(entry.id.index()).copied().unwrap_or(1);
            cpio_entry(stream, tree.inode(entry.id), entry, count, with_bytes)?;
            progress(stream.bytes);
        }
        Header::trailer().write(stream)?;
        stream.align(512)
    })
}

fn cpio_entry(
    stream: &mut Stream<'_>,
    inode: &Inode,
    entry: &Entry,
    links: u32,
    with_bytes: bool,
) -> Result<(), ArchiveError> {
    let path = if entry.path.is_empty() { b".".to_vec() } else { entry.path.clone() };
    let too_large = |_| ArchiveError::Format {
        path: String::from_utf8_lossy(&path).into_owned(),
        reason: "4 GiB or more do not fit a cpio archive",
    };
    let number = u32::try_from(entry.id.index() + 1).map_err(too_large)?;
    let (kind, size, device) = match &inode.kind {
        Kind::Dir(_) => (0o040_000, 0, (0, 0)),
        Kind::File { size, .. } => (0o100_000, if with_bytes { *size } else { 0 }, (0, 0)),
        Kind::Symlink(target) => (0o120_000, target.len() as u64, (0, 0)),
        Kind::Char { major, minor } => (0o020_000, 0, (*major, *minor)),
        Kind::Block { major, minor } => (0o060_000, 0, (*major, *minor)),
        Kind::Fifo => (0o010_000, 0, (0, 0)),
        Kind::Socket => (0o140_000, 0, (0, 0)),
    };
    let size32 = u32::try_from(size).map_err(too_large)?;
    let Meta { mode, uid, gid, mtime, .. } = inode.meta;
    let header = Header {
        path: &path,
        inode: number,
        mode: kind | u32::from(mode),
        uid,
        gid,
        links,
        mtime: u32::try_from(mtime.max(0)).unwrap_or(u32::MAX),
        size: size32,
        device,
    };
    header.write(stream)?;
    match &inode.kind {
        Kind::File { content, size } if with_bytes => stream.copy(content, *size)?,
        Kind::Symlink(target) => stream.write_all(target)?,
        _ => {}
    }
    stream.align(ALIGNMENT)
}

/// Write a tar archive of the tree.
pub fn tar(
    tree: &Tree,
    out: impl Write,
    compress: Compress,
    threads: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ArchiveError> {
    compressed(out, compress, threads, |stream| {
        let mut builder = tar::Builder::new(stream);
        let mut first_name: HashMap<InodeId, Vec<u8>> = HashMap::new();
        for entry in tree.walk() {
            let inode = tree.inode(entry.id);
            if !matches!(inode.kind, Kind::Dir(_)) && first_name.contains_key(&entry.id) {
                let target = first_name.get(&entry.id).cloned().unwrap_or_default();
                tar_link(&mut builder, &entry.path, &inode.meta, &target, tar::EntryType::Link)?;
            } else {
                tar_entry(&mut builder, inode, &entry)?;
                first_name.insert(entry.id, entry.path);
            }
            progress(builder.get_ref().bytes);
        }
        builder.finish()?;
        Ok(())
    })
}

fn tar_entry(
    builder: &mut tar::Builder<&mut Stream<'_>>,
    inode: &Inode,
    entry: &Entry,
) -> Result<(), ArchiveError> {
    tar_attributes(builder, &inode.meta)?;
    let (kind, device) = match &inode.kind {
        Kind::Dir(_) => (tar::EntryType::Directory, None),
        Kind::File { .. } => (tar::EntryType::Regular, None),
        Kind::Symlink(target) => {
            return tar_link(builder, &entry.path, &inode.meta, target, tar::EntryType::Symlink);
        }
        Kind::Char { major, minor } => (tar::EntryType::Char, Some((*major, *minor))),
        Kind::Block { major, minor } => (tar::EntryType::Block, Some((*major, *minor))),
        Kind::Fifo => (tar::EntryType::Fifo, None),
        Kind::Socket => return Ok(()),
    };
    let mut header = tar_header(&inode.meta, kind);
    if let Some((major, minor)) = device {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    let path = tar_path(&entry.path, kind);
    match &inode.kind {
        Kind::File { size, content } => {
            header.set_size(*size);
            let reader = Reader::open(content, *size)?;
            builder.append_data(&mut header, path, reader.take(*size))?;
        }
        _ => builder.append_data(&mut header, path, io::empty())?,
    }
    Ok(())
}

fn tar_link(
    builder: &mut tar::Builder<&mut Stream<'_>>,
    path: &[u8],
    meta: &Meta,
    target: &[u8],
    kind: tar::EntryType,
) -> Result<(), ArchiveError> {
    let mut header = tar_header(meta, kind);
    let target = match kind {
        tar::EntryType::Link => tar_path(target, kind),
        _ => os_path(target),
    };
    Ok(builder.append_link(&mut header, tar_path(path, kind), target)?)
}

fn tar_header(meta: &Meta, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(u32::from(meta.mode));
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    header.set_mtime(u64::try_from(meta.mtime).unwrap_or(0));
    header.set_size(0);
    header
}

/// Extended attributes as PAX records in front of their entry, as GNU tar and libarchive write them.
fn tar_attributes(builder: &mut tar::Builder<&mut Stream<'_>>, meta: &Meta) -> Result<(), ArchiveError> {
    let named: Vec<(String, &[u8])> = meta
        .xattrs
        .iter()
        .map(|(name, value)| (format!("SCHILY.xattr.{}", String::from_utf8_lossy(name)), value.as_slice()))
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    Ok(builder.append_pax_extensions(named.iter().map(|(name, value)| (name.as_str(), *value)))?)
}

fn tar_path(path: &[u8], kind: tar::EntryType) -> std::path::PathBuf {
    let slash: &[u8] = if kind == tar::EntryType::Directory { b"/" } else { b"" };
    os_path(&[b"./", path, slash].concat())
}

fn os_path(bytes: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

/// Run `fill` with a stream whose pieces are compressed by `threads` threads and written in order.
fn compressed(
    out: impl Write,
    compress: Compress,
    threads: usize,
    fill: impl FnOnce(&mut Stream<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut out = out;
    std::thread::scope(|scope| {
        let packers = (0..threads.max(1)).map(|_| PiecePacker(compress)).collect();
        let piece_bytes = match compress {
            Compress::Gzip(_) => PIECE_BYTES,
            Compress::Xz(_) => PIECE_BYTES_XZ,
        };
        let mut stream = Stream {
            out: &mut out,
            pool: Pool::start(scope, packers),
            piece: Vec::new(),
            piece_bytes,
            bytes: 0,
        };
        fill(&mut stream)?;
        stream.finish()
    })
}

/// The uncompressed stream.
struct Stream<'a> {
    out: &'a mut dyn Write,
    pool: Pool<()>,
    piece: Vec<u8>,
    piece_bytes: usize,
    /// Uncompressed bytes so far.
    bytes: u64,
}

impl Stream<'_> {
    fn align(&mut self, to: u64) -> Result<(), ArchiveError> {
        let padding = self.bytes.next_multiple_of(to) - self.bytes;
        Ok(io::copy(&mut io::repeat(0).take(padding), self).map(|_| ())?)
    }

    fn copy(&mut self, content: &Content, size: u64) -> Result<(), ArchiveError> {
        let mut reader = Reader::open(content, size)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.split_at_mut(length).0;
            reader.fill(part)?;
            self.write_all(part)?;
            left -= length as u64;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        while self.pool.full() {
            self.take()?;
        }
        let piece = std::mem::take(&mut self.piece);
        self.pool.give((), piece)
    }

    fn take(&mut self) -> io::Result<bool> {
        match self.pool.take()? {
            Some(((), packed)) => self.out.write_all(&packed.bytes).map(|()| true),
            None => Ok(false),
        }
    }

    fn finish(mut self) -> Result<(), ArchiveError> {
        if !self.piece.is_empty() {
            self.send()?;
        }
        while self.take()? {}
        Ok(self.out.flush()?)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.piece_bytes.saturating_sub(self.piece.len());
        let now = bytes.split_at(room.min(bytes.len())).0;
        self.piece.extend_from_slice(now);
        self.bytes += now.len() as u64;
        if self.piece.len() >= self.piece_bytes {
            self.send()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct PiecePacker(Compress);

impl Pack for PiecePacker {
    fn pack(&mut self, block: Vec<u8>) -> io::Result<Packed> {
        let bytes = match self.0 {
            Compress::Gzip(level) => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
                encoder.write_all(&block).and_then(|()| encoder.finish())
            }
            Compress::Xz(level) => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), level);
                encoder.write_all(&block).and_then(|()| encoder.finish())
            }
        };
        Ok(Packed { bytes: bytes?, stored: false })
    }
}
