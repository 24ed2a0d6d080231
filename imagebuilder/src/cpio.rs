//! Writer for cpio archives of the `newc` kind, the format of an initramfs
//! (kernel documentation, `driver-api/early-userspace/buffer-format`).
//!
//! [`Header`] is the format itself; trees of any size are written with it by [`crate::archive`]. [`Archive`]
//! puts small archives together that come out the same every time: owner root, time zero, inode numbers
//! counted from one, paths relative, no hard link. The caller writes a directory before its content.

use std::io::{self, Write};

/// Largest file that fits the format, in bytes.
pub const FILE_BYTES_MAX: u64 = 0xffff_ffff;
/// Names and contents end at a multiple of this (bytes).
pub const ALIGNMENT: u64 = 4;
/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

const KIND_MASK: u32 = 0o170_000;
const KIND_DIRECTORY: u32 = 0o040_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_LINK: u32 = 0o120_000;
const KIND_CHARACTER: u32 = 0o020_000;

/// The header before the content of an entry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Header<'a> {
    /// Path in the archive, any bytes but NUL.
    pub path: &'a [u8],
    /// Entries with the same number are hard links of each other.
    pub inode: u32,
    /// Kind and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
    /// Length of the content (bytes).
    pub size: u32,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
}

impl Header<'static> {
    /// The entry that ends an archive.
    pub fn trailer() -> Self {
        Self { path: TRAILER, links: 1, ..Self::default() }
    }
}

impl Header<'_> {
    /// Writes the header and the path; the content follows at once, and [`ALIGNMENT`] holds for both.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let name_size = u32::try_from(self.path.len() + 1).map_err(io::Error::other)?;
        let (major, minor) = self.device;
        let fields = [
            self.inode, self.mode, self.uid, self.gid, self.links, self.mtime, self.size, 0, 0, major, minor,
            name_size, 0,
        ];
        let mut header = b"070701".to_vec();
        for field in fields {
            write!(header, "{field:08x}")?;
        }
        header.extend_from_slice(self.path);
        header.push(0);
        out.write_all(&header)?;
        pad(out, header.len())
    }
}

/// Fills up to the next multiple of [`ALIGNMENT`] after `length` bytes.
fn pad(out: &mut impl Write, length: usize) -> io::Result<()> {
    let length = length as u64;
    let missing = length.next_multiple_of(ALIGNMENT) - length;
    io::copy(&mut io::Read::take(io::repeat(0), missing), out).map(|_| ())
}

/// An archive under construction.
#[derive(Debug)]
pub struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Adds a directory with permission bits `mode`.
    pub fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.entry(path, KIND_DIRECTORY | (mode & !KIND_MASK), (0, 0), &[])
    }

    /// Adds a file with permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, KIND_FILE | (mode & !KIND_MASK), (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, KIND_LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, KIND_CHARACTER | (mode & !KIND_MASK), (major, minor), &[])
    }

    /// Number of entries so far.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Ends the archive and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        Header::trailer().write(&mut self.out)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).map_err(|_| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is too big for cpio"))
        })?;
        self.entries = self.entries.saturating_add(1);
        let links = if mode & KIND_MASK == KIND_DIRECTORY { 2 } else { 1 };
        let header = Header {
            path: path.as_bytes(),
            inode: self.entries,
            mode,
            links,
            size,
            device,
            ..Header::default()
        };
        header.write(&mut self.out)?;
        self.out.write_all(content)?;
        pad(&mut self.out, content.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev", 0o755).unwrap();
        archive.character_device("dev/console", 0o600, 5, 1).unwrap();
        archive.file("/init", 0o755, b"hello").unwrap();
        archive.link("bin", "usr/bin").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn layout() {
        let bytes = sample();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("TRAILER!!!"));
        assert!(text.contains("hello\0\0\x00070701"), "content is padded to four bytes");
        assert_eq!(bytes, sample(), "two runs are equal");
    }

    #[test]
    fn device_numbers_are_in_the_header() {
        let bytes = sample();
        let text = String::from_utf8_lossy(&bytes);
        let header = text.find("dev/console").unwrap() - 110;
        assert_eq!(&text[header + 6 + 9 * 8..header + 6 + 11 * 8], "0000000500000001");
    }
}
