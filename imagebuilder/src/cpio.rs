//! Writer for cpio archives of the `newc` kind, the format of an initramfs
//! (kernel documentation, `driver-api/early-userspace/buffer-format`).
//!
//! Archives are deterministic: owner root, time zero, inode numbers counted from one. Paths are relative; the
//! caller writes a directory before what lies in it. There is no reader and no hard link.

use std::io::{self, Write};

/// Largest file that fits the format, in bytes.
pub const FILE_BYTES_MAX: u64 = 0xffff_ffff;

const KIND_FIFO_MASK: u32 = 0o170_000;
const KIND_DIRECTORY: u32 = 0o040_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_LINK: u32 = 0o120_000;
const KIND_CHARACTER: u32 = 0o020_000;

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
        self.entry(path, KIND_DIRECTORY | (mode & !KIND_FIFO_MASK), (0, 0), &[])
    }

    /// Adds a file with permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, KIND_FILE | (mode & !KIND_FIFO_MASK), (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, KIND_LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, KIND_CHARACTER | (mode & !KIND_FIFO_MASK), (major, minor), &[])
    }

    /// Number of entries so far.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Ends the archive and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.header("TRAILER!!!", 0, 0, (0, 0), 0)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).map_err(|_| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is too big for cpio"))
        })?;
        self.entries = self.entries.saturating_add(1);
        self.header(path, self.entries, mode, device, size)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn header(&mut self, path: &str, inode: u32, mode: u32, device: (u32, u32), size: u32) -> io::Result<()> {
        let name_size = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        let links = if mode & KIND_FIFO_MASK == KIND_DIRECTORY { 2 } else { 1 };
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        header.push_str(path);
        header.push('\0');
        self.out.write_all(header.as_bytes())?;
        self.pad(header.len())
    }

    /// Names and contents end at a multiple of four bytes.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        let missing = length.next_multiple_of(4) - length;
        self.out.write_all([0; 3].get(..missing).unwrap_or_default())
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
