//! A FAT16 file system put together while it is read.
//!
//! UEFI HTTP Boot loads a disk image into memory and boots `EFI/BOOT/BOOTX64.EFI` from it. Such an image is
//! different for every node (its `grub.cfg`) and large (kernel and initramfs), so it is never stored: this
//! type knows where every byte comes from, and reads the files of the server when a client reads the image.
//!
//! Layout (Microsoft's "FAT: General Overview of On-Disk Format", 1.03): boot sector, two allocation tables,
//! the root directory, then clusters: directories first, every file in one piece. FAT16 holds up to 2 GiB
//! and, other than FAT32, needs no minimum of 32 MiB. The same files give the same image, byte for byte.
//!
//! Deliberately missing: writing, times of day (all files carry one date), partitions (firmware reads the
//! file system of an unpartitioned disk).

mod directory;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dawn_serving::{Content, ReadAt};

use directory::{Entry, NameError, directory_bytes, entries_of};

/// Bytes per sector.
const SECTOR: u64 = 512;
/// Fewest and most clusters that make a file system FAT16.
const CLUSTERS: std::ops::RangeInclusive<u64> = 4096..=65_524;
/// Entries of the root directory.
const ROOT_ENTRIES: usize = 512;
/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// Largest cluster, sectors.
const CLUSTER_SECTORS_MAX: u64 = 64;
/// Marks the last cluster of a file.
const END_OF_CHAIN: u16 = 0xffff;

/// Why files do not make an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FatError {
    /// They need more than 65,524 clusters of 32 KiB.
    #[error("the files of the boot image need {0} bytes, more than the 2 GiB that FAT16 holds")]
    TooLarge(u64),
    /// A name that FAT cannot hold.
    #[error("the boot image cannot hold a file {path}: {reason}")]
    Name {
        /// The path.
        path: String,
        /// The reason.
        reason: NameError,
    },
    /// A path that is a file and a directory, or there twice.
    #[error("the boot image would hold {0} twice")]
    Twice(String),
    /// The root directory has a fixed size.
    #[error("the boot image has too many files in its top directory")]
    RootFull,
}

/// A file system of known size that is made while it is read.
#[derive(Debug)]
pub struct FatImage {
    size: u64,
    boot_sector: Vec<u8>,
    root: Vec<u8>,
    fat_sectors: u64,
    cluster_bytes: u64,
    clusters: u64,
    /// In the order of their clusters, without gaps.
    extents: Vec<Extent>,
}

/// Clusters in one piece.
#[derive(Debug)]
struct Extent {
    first: u64,
    count: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Directory(Vec<u8>),
    File(Content),
}

impl Body {
    fn size(&self) -> u64 {
        match self {
            Body::Directory(bytes) => bytes.len() as u64,
            Body::File(content) => content.size(),
        }
    }
}

/// A directory while the tree is built.
#[derive(Debug, Default)]
struct Folder {
    folders: BTreeMap<String, Folder>,
    files: BTreeMap<String, Content>,
}

impl FatImage {
    /// An image with `label` (at most 11 characters) and `files` by path (`EFI/BOOT/BOOTX64.EFI`).
    ///
    /// # Errors
    /// [`FatError`] when the files do not fit a FAT16 file system.
    pub fn new(label: &str, files: Vec<(String, Content)>) -> Result<Self, FatError> {
        let tree = Folder::of(files)?;
        let cluster_bytes = cluster_bytes_for(&tree)?;
        let mut layout = Layout { cluster_bytes, next: 2, extents: Vec::new() };
        let root = layout.place(&tree, None, &mut Vec::new())?;
        let label = label_bytes(label);
        let root = padded_root([directory::label_entry(&label), root].concat())?;
        let clusters = (layout.next - 2).max(*CLUSTERS.start());
        if clusters > *CLUSTERS.end() {
            return Err(FatError::TooLarge(clusters * cluster_bytes));
        }
        let fat_sectors = ((clusters + 2) * 2).div_ceil(SECTOR);
        let data_start = SECTOR + 2 * fat_sectors * SECTOR + root.len() as u64;
        let size = data_start + clusters * cluster_bytes;
        let boot_sector = boot_sector(&label, size / SECTOR, cluster_bytes / SECTOR, fat_sectors);
        Ok(Self { size, boot_sector, root, fat_sectors, cluster_bytes, clusters, extents: layout.extents })
    }

    /// Copies from the region that `offset` is in; returns how much, at least one byte below the end.
    fn read_region(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let fat_bytes = self.fat_sectors * SECTOR;
        let root_start = SECTOR + 2 * fat_bytes;
        let data_start = root_start + self.root.len() as u64;
        if offset < SECTOR {
            Ok(copy_from(&self.boot_sector, offset, buf))
        } else if offset < root_start {
            let within = (offset - SECTOR) % fat_bytes;
            let count = limit(buf, fat_bytes - within);
            Ok(self.read_fat(within, count))
        } else if offset < data_start {
            Ok(copy_from(&self.root, offset - root_start, buf))
        } else {
            self.read_data(offset - data_start, buf)
        }
    }

    fn read_fat(&self, within: u64, buf: &mut [u8]) -> usize {
        for (at, byte) in (within..).zip(buf.iter_mut()) {
            let [low, high] = self.fat_entry(at / 2).to_le_bytes();
            *byte = if at % 2 == 0 { low } else { high };
        }
        buf.len()
    }

    fn fat_entry(&self, cluster: u64) -> u16 {
        match (cluster, self.extent_of(cluster)) {
            (0, _) => 0xfff8,
            (1, _) => END_OF_CHAIN,
            (_, Some(extent)) if cluster + 1 == extent.first + extent.count => END_OF_CHAIN,
            (_, Some(_)) => u16::try_from(cluster + 1).unwrap_or(END_OF_CHAIN),
            (_, None) => 0,
        }
    }

    fn extent_of(&self, cluster: u64) -> Option<&Extent> {
        let after = self.extents.partition_point(|extent| extent.first <= cluster);
        self.extents.get(after.checked_sub(1)?).filter(|extent| cluster < extent.first + extent.count)
    }

    fn read_data(&self, within: u64, buf: &mut [u8]) -> io::Result<usize> {
        let Some(extent) = self.extent_of(within / self.cluster_bytes + 2) else {
            let rest = self.clusters * self.cluster_bytes - within;
            return Ok(fill_zero(limit(buf, rest)));
        };
        let offset = within - (extent.first - 2) * self.cluster_bytes;
        let size = extent.body.size();
        if offset >= size {
            return Ok(fill_zero(limit(buf, extent.count * self.cluster_bytes - offset)));
        }
        match &extent.body {
            Body::Directory(bytes) => Ok(copy_from(bytes, offset, buf)),
            Body::File(content) => match content.read_full_at(offset, limit(buf, size - offset))? {
                0 => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a file of the boot image became shorter",
                )),
                count => Ok(count),
            },
        }
    }
}

impl ReadAt for FatImage {
    fn far(&self) -> Option<&Arc<Path>> {
        self.extents.iter().find_map(|extent| match &extent.body {
            Body::Directory(_) => None,
            Body::File(content) => content.far(),
        })
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size || buf.is_empty() {
            return Ok(0);
        }
        self.read_region(offset, buf)
    }
}

impl Folder {
    fn of(files: Vec<(String, Content)>) -> Result<Self, FatError> {
        let mut root = Folder::default();
        for (path, content) in files {
            let mut folder = &mut root;
            let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let Some(name) = parts.pop() else { return Err(FatError::Twice(path)) };
            for part in parts {
                folder = folder.folders.entry(part.to_owned()).or_default();
            }
            if folder.files.insert(name.to_owned(), content).is_some() {
                return Err(FatError::Twice(path));
            }
        }
        Ok(root)
    }

    /// Bytes of everything, each rounded up to whole clusters.
    fn clusters(&self, cluster_bytes: u64) -> u64 {
        let files: u64 = self.files.values().map(|content| content.size().div_ceil(cluster_bytes)).sum();
        let below: u64 = self.folders.values().map(|folder| folder.clusters(cluster_bytes)).sum();
        // A name takes at most 21 entries; two more for `.` and `..`.
        let names = (self.files.len() + self.folders.len()) as u64 * 21 + 2;
        files + below + (names * ENTRY as u64).div_ceil(cluster_bytes)
    }
}

fn cluster_bytes_for(tree: &Folder) -> Result<u64, FatError> {
    let mut sectors = 1;
    while sectors <= CLUSTER_SECTORS_MAX {
        let bytes = sectors * SECTOR;
        if tree.clusters(bytes) <= *CLUSTERS.end() {
            return Ok(bytes);
        }
        sectors *= 2;
    }
    Err(FatError::TooLarge(tree.clusters(SECTOR) * SECTOR))
}

/// Gives clusters to directories and files.
struct Layout {
    cluster_bytes: u64,
    next: u64,
    extents: Vec<Extent>,
}

impl Layout {
    fn take(&mut self, bytes: u64) -> u64 {
        let first = self.next;
        self.next += bytes.div_ceil(self.cluster_bytes);
        first
    }

    /// Places everything below `folder`, and returns the folder's own bytes. `own` is its cluster and its
    /// parent's.
    fn place(
        &mut self,
        folder: &Folder,
        own: Option<(u64, u64)>,
        path: &mut Vec<String>,
    ) -> Result<Vec<u8>, FatError> {
        let names = folder.folders.keys().chain(folder.files.keys());
        let names = entries_of(names).map_err(|(name, reason)| named(path, &name, reason))?;
        let mut entries = Vec::new();
        for (name, below) in &folder.folders {
            if folder.files.contains_key(name) {
                return Err(FatError::Twice(name.clone()));
            }
            let bytes = directory_size(below, path, name)?;
            let (first, parent) = (self.take(bytes), own.map_or(0, |(own, _)| own));
            let index = self.extents.len();
            let count = bytes.div_ceil(self.cluster_bytes);
            self.extents.push(Extent { first, count, body: Body::Directory(Vec::new()) });
            path.push(name.clone());
            let body = self.place(below, Some((first, parent)), path)?;
            path.pop();
            if let Some(extent) = self.extents.get_mut(index) {
                extent.body = Body::Directory(body);
            }
            entries.push(Entry { name, first, size: None });
        }
        for (name, content) in &folder.files {
            let size = content.size();
            let first = if size == 0 { 0 } else { self.take(size) };
            if size > 0 {
                let count = size.div_ceil(self.cluster_bytes);
                self.extents.push(Extent { first, count, body: Body::File(content.clone()) });
            }
            entries.push(Entry { name, first, size: Some(size) });
        }
        Ok(directory_bytes(&entries, &names, own))
    }
}

fn named(path: &[String], name: &str, reason: NameError) -> FatError {
    let mut full = path.join("/");
    if !full.is_empty() {
        full.push('/');
    }
    FatError::Name { path: full + name, reason }
}

fn directory_size(folder: &Folder, path: &[String], name: &str) -> Result<u64, FatError> {
    let names = folder.folders.keys().chain(folder.files.keys());
    let names =
        entries_of(names).map_err(|(below, reason)| named(path, &format!("{name}/{below}"), reason))?;
    let entries: usize = names.values().map(directory::Name::entries).sum();
    Ok(((entries + 2) * ENTRY) as u64)
}

fn padded_root(mut root: Vec<u8>) -> Result<Vec<u8>, FatError> {
    let room = ROOT_ENTRIES * ENTRY;
    if root.len() > room {
        return Err(FatError::RootFull);
    }
    root.resize(room, 0);
    Ok(root)
}

/// A label of upper-case letters and digits, padded with blanks.
fn label_bytes(label: &str) -> [u8; 11] {
    let mut out = [b' '; 11];
    let good = label.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase());
    for (to, from) in out.iter_mut().zip(good) {
        *to = from;
    }
    out
}

fn boot_sector(label: &[u8; 11], sectors: u64, cluster_sectors: u64, fat_sectors: u64) -> Vec<u8> {
    let small = u16::try_from(sectors).unwrap_or(0);
    let large = if small == 0 { u32::try_from(sectors).unwrap_or(u32::MAX) } else { 0 };
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"\xeb\x3c\x90DAWN    ");
    out.extend_from_slice(&512_u16.to_le_bytes());
    out.push(u8::try_from(cluster_sectors).unwrap_or(0));
    out.extend_from_slice(&1_u16.to_le_bytes()); // reserved sectors: this one
    out.push(2); // tables
    out.extend_from_slice(&512_u16.to_le_bytes()); // root entries
    out.extend_from_slice(&small.to_le_bytes());
    out.push(0xf8); // fixed disk
    out.extend_from_slice(&u16::try_from(fat_sectors).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&63_u16.to_le_bytes()); // sectors per track, for the looks
    out.extend_from_slice(&255_u16.to_le_bytes()); // heads
    out.extend_from_slice(&0_u32.to_le_bytes()); // hidden sectors
    out.extend_from_slice(&large.to_le_bytes());
    out.extend_from_slice(&[0x80, 0, 0x29]); // drive, reserved, extended boot signature
    out.extend_from_slice(&0x4441_574e_u32.to_le_bytes()); // serial number
    out.extend_from_slice(label);
    out.extend_from_slice(b"FAT16   ");
    out.resize(510, 0);
    out.extend_from_slice(&[0x55, 0xaa]);
    out
}

fn limit(buf: &mut [u8], most: u64) -> &mut [u8] {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(buf.len());
    buf.get_mut(..count).unwrap_or_default()
}

fn fill_zero(buf: &mut [u8]) -> usize {
    buf.fill(0);
    buf.len()
}

fn copy_from(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let count = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::Arc;

    fn bytes(size: usize, seed: usize) -> Content {
        let bytes: Vec<u8> = (0..size).map(|i| ((i + seed) * 31 + i / 251).to_le_bytes()[0]).collect();
        Content::Bytes(Arc::from(bytes))
    }

    fn read_all(image: &FatImage, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut buf = vec![0; step];
        loop {
            match image.read_at(out.len() as u64, &mut buf).unwrap() {
                0 => return out,
                count => out.extend_from_slice(&buf[..count]),
            }
        }
    }

    fn image() -> FatImage {
        let files = vec![
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), bytes(900_000, 1)),
            ("EFI/BOOT/grubx64.efi".to_owned(), bytes(1_500_001, 2)),
            ("EFI/BOOT/revocations_sbat.efi".to_owned(), bytes(512, 3)),
            ("EFI/debian/grub.cfg".to_owned(), bytes(300, 4)),
            ("boot/vmlinuz-6.1.0-40-amd64".to_owned(), bytes(8_000_000, 5)),
            ("boot/initrd.img".to_owned(), bytes(20_000_000, 6)),
            ("empty".to_owned(), bytes(0, 7)),
        ];
        FatImage::new("DAWN", files).unwrap()
    }

    #[test]
    fn every_way_of_reading_gives_the_same_bytes() {
        let image = image();
        let whole = read_all(&image, 1 << 20);
        assert_eq!(whole.len() as u64, image.size());
        assert!(whole == read_all(&image, 4099));
        assert_eq!(&whole[510..512], &[0x55, 0xaa]);
        assert!(image.size() < 34_000_000, "little more than its files: {}", image.size());
    }

    /// The judge is dosfstools, and mtools for the content, where they are installed.
    #[test]
    fn other_programs_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, read_all(&image(), 1 << 20)).unwrap();
        let Ok(check) = Command::new("fsck.fat").args(["-n", "-v"]).arg(&path).output() else {
            println!("fsck.fat is not installed");
            return;
        };
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        for (name, want) in [
            ("EFI/BOOT/BOOTX64.EFI", bytes(900_000, 1)),
            ("EFI/BOOT/revocations_sbat.efi", bytes(512, 3)),
            ("boot/vmlinuz-6.1.0-40-amd64", bytes(8_000_000, 5)),
            ("boot/initrd.img", bytes(20_000_000, 6)),
        ] {
            let source = format!("::{name}");
            let Ok(copy) = Command::new("mcopy").arg("-i").arg(&path).args([&source, "-"]).output() else {
                println!("mtools is not installed");
                return;
            };
            assert!(copy.status.success(), "{name}: {}", String::from_utf8_lossy(&copy.stderr));
            assert!(want.in_memory().is_some_and(|want| copy.stdout == **want), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        struct Huge;
        impl ReadAt for Huge {
            fn far(&self) -> Option<&Arc<Path>> {
                None
            }
            fn size(&self) -> u64 {
                3 << 30
            }
            fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
        }
        let one = |name: &str, content| FatImage::new("X", vec![(name.to_owned(), content)]).map(|_| ());
        assert!(matches!(one("big", Content::Image(Arc::new(Huge))), Err(FatError::TooLarge(_))));
        assert!(matches!(one("a:b", bytes(1, 1)), Err(FatError::Name { .. })));
        let twice = vec![("a/b".to_owned(), bytes(1, 1)), ("a/b".to_owned(), bytes(1, 1))];
        assert_eq!(FatImage::new("X", twice).map(|_| ()), Err(FatError::Twice("a/b".to_owned())));
        let both = vec![("a/b".to_owned(), bytes(1, 1)), ("a".to_owned(), bytes(1, 1))];
        assert_eq!(FatImage::new("X", both).map(|_| ()), Err(FatError::Twice("a".to_owned())));
        let case = vec![("A".to_owned(), bytes(1, 1)), ("a".to_owned(), bytes(1, 1))];
        assert!(matches!(FatImage::new("X", case), Err(FatError::Name { .. })));
    }
}
