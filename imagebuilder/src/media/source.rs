//! What is on a medium: an ISO 9660 image with Rock Ridge names, in a file or on a device, or a directory
//! where somebody has mounted or unpacked one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use hadris_iso::directory::DirectoryRef;
use hadris_iso::read::{DirEntry, IsoImage, RripDateTime};

use super::MediaError;
use super::recognise::Files;

/// Bytes of a logical sector (ECMA-119 section 6.1.2).
const SECTOR_BYTES: u64 = 2048;
/// Bytes of a file that recognising a medium reads.
const TEXT_BYTES_MAX: u64 = 256 << 10;
/// Files, directories and links of a medium; the largest ones have 30,000.
const ENTRIES_MAX: usize = 1_000_000;
/// Directories in directories.
const DEPTH_MAX: usize = 64;

/// A medium that is open.
pub(crate) struct Source {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Iso { image: Box<IsoImage<File>>, file: File },
    Directory,
}

/// A file, directory or link of a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative, of plain names only.
    pub(crate) path: PathBuf,
    pub(crate) what: What,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    File {
        bytes: u64,
        /// Where its parts are in the image; empty for a file of a directory.
        extents: Vec<(u64, u64)>,
        /// Whether it may be run.
        executable: bool,
    },
    Link(PathBuf),
}

impl Source {
    /// Opens a file, a block device or a directory.
    pub(crate) fn open(path: &Path) -> Result<Self, MediaError> {
        let failed = |source| MediaError::Source { path: path.to_owned(), source };
        let kind = fs::metadata(path).map_err(failed)?.file_type();
        if kind.is_dir() {
            return Ok(Self { path: path.to_owned(), kind: Kind::Directory });
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(failed(io::Error::other("it is not a file, a block device or a directory")));
        }
        let file = File::open(path).map_err(failed)?;
        let again = file.try_clone().map_err(failed)?;
        let image = IsoImage::open(again)
            .map_err(|error| MediaError::NotIso { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { path: path.to_owned(), kind: Kind::Iso { image: Box::new(image), file } })
    }

    /// Everything on it, directories before what is in them.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, MediaError> {
        let mut entries = Vec::new();
        match &self.kind {
            Kind::Iso { image, .. } => {
                let root = image.root_dirs().try_best_choice();
                let root = root.ok_or_else(|| self.damaged("it has no directory of files"))?;
                let mut seen = BTreeSet::new();
                self.list_iso(image, root.dir_ref(), Path::new(""), &mut seen, &mut entries)?;
            }
            Kind::Directory => self.list_directory(Path::new(""), &mut entries)?,
        }
        entries.sort_by(|one: &Entry, other| one.path.cmp(&other.path));
        let twice = entries.iter().zip(entries.iter().skip(1)).find(|(one, next)| one.path == next.path);
        match twice {
            Some((one, _)) => Err(self.damaged(&format!("{} is there twice", one.path.display()))),
            None => Ok(entries),
        }
    }

    /// A file's content, from its beginning.
    pub(crate) fn content<'s>(&'s self, entry: &'s Entry) -> io::Result<Box<dyn Read + 's>> {
        match (&self.kind, &entry.what) {
            (Kind::Iso { file, .. }, What::File { extents, .. }) => {
                Ok(Box::new(Extents { file, rest: extents.iter().copied().collect(), at: None }))
            }
            _ => Ok(Box::new(File::open(self.path.join(&entry.path))?)),
        }
    }

    fn list_iso(
        &self,
        image: &IsoImage<File>,
        directory: DirectoryRef,
        at: &Path,
        seen: &mut BTreeSet<usize>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), MediaError> {
        if !seen.insert(directory.extent.0) || at.components().count() > DEPTH_MAX {
            return Err(self.damaged(&format!("the directory {} is in itself", at.display())));
        }
        let unreadable = |error: &dyn std::fmt::Display| {
            self.damaged(&format!("the directory /{} cannot be read: {error}", at.display()))
        };
        for found in image.open_dir(directory).entries() {
            let found = found.map_err(|error| unreadable(&error))?;
            let Some(name) = self.name(&found)? else { continue };
            let path = at.join(name);
            let what = what_of(&found);
            let mtime = found.rrip.as_ref().and_then(|rrip| rrip.timestamps.as_ref()?.modify);
            let entry =
                Entry { path: path.clone(), what, mtime: mtime.and_then(seconds).unwrap_or_default() };
            let is_directory = entry.what == What::Directory;
            self.add(entry, entries)?;
            if is_directory {
                let inner = found.as_dir_ref(image).map_err(|error| unreadable(&error))?;
                self.list_iso(image, inner, &path, seen, entries)?;
            }
        }
        Ok(())
    }

    /// The name of an entry; `None` for the directory itself and the one above.
    fn name(&self, entry: &DirEntry) -> Result<Option<String>, MediaError> {
        if entry.record.is_special() {
            return Ok(None);
        }
        let has_name = entry.rrip.as_ref().is_some_and(|rrip| rrip.alternate_name.is_some());
        let name = entry.display_name();
        // Without Rock Ridge a name ends with the number of its version (ECMA-119 section 7.5).
        let plain =
            if has_name { &*name } else { name.split(';').next().unwrap_or_default().trim_end_matches('.') };
        let is_name = Path::new(plain).components().collect::<Vec<_>>();
        match is_name.as_slice() {
            [Component::Normal(one)] if one.len() == plain.len() && !plain.contains(char::is_control) => {
                Ok(Some(plain.to_owned()))
            }
            _ => Err(self.damaged(&format!("{plain:?} is not the name of a file"))),
        }
    }

    fn list_directory(&self, at: &Path, entries: &mut Vec<Entry>) -> Result<(), MediaError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| MediaError::Source { path, source }
        };
        if at.components().count() > DEPTH_MAX {
            return Err(self.damaged(&format!("{} is too deep", at.display())));
        }
        let directory = self.path.join(at);
        let names: Result<Vec<_>, _> = fs::read_dir(&directory).and_then(|names| names.collect());
        let mut names: Vec<_> =
            names.map_err(failed(&directory))?.iter().map(|name| name.file_name()).collect();
        names.sort();
        for name in names {
            let path = at.join(&name);
            let full = self.path.join(&path);
            let metadata = fs::symlink_metadata(&full).map_err(failed(&full))?;
            let kind = metadata.file_type();
            let what = match () {
                () if kind.is_dir() => What::Directory,
                () if kind.is_symlink() => What::Link(fs::read_link(&full).map_err(failed(&full))?),
                () if kind.is_file() => What::File {
                    bytes: metadata.len(),
                    extents: Vec::new(),
                    executable: metadata.permissions().mode() & 0o111 != 0,
                },
                () => continue,
            };
            let is_directory = what == What::Directory;
            self.add(Entry { path: path.clone(), what, mtime: metadata.mtime() }, entries)?;
            if is_directory {
                self.list_directory(&path, entries)?;
            }
        }
        Ok(())
    }

    fn add(&self, entry: Entry, entries: &mut Vec<Entry>) -> Result<(), MediaError> {
        if entries.len() >= ENTRIES_MAX {
            return Err(self.damaged(&format!("it has more than {ENTRIES_MAX} files")));
        }
        entries.push(entry);
        Ok(())
    }

    fn damaged(&self, reason: &str) -> MediaError {
        MediaError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }

    fn find(&self, path: &str) -> Option<DirEntry> {
        match &self.kind {
            Kind::Iso { image, .. } => image.find_path(path).ok().flatten(),
            Kind::Directory => None,
        }
    }
}

impl Files for Source {
    fn text(&self, path: &str) -> Option<String> {
        let mut text = Vec::new();
        match &self.kind {
            Kind::Iso { file, .. } => {
                let found = self.find(path).filter(DirEntry::is_file)?;
                let rest = extents(&found).into_iter().collect();
                Extents { file, rest, at: None }.take(TEXT_BYTES_MAX).read_to_end(&mut text).ok()?;
            }
            Kind::Directory => {
                let path = self.path.join(path);
                fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
                File::open(path).ok()?.take(TEXT_BYTES_MAX).read_to_end(&mut text).ok()?;
            }
        }
        String::from_utf8(text).ok()
    }

    fn has(&self, path: &str) -> bool {
        match self.kind {
            Kind::Iso { .. } => self.find(path).is_some(),
            Kind::Directory => self.path.join(path).exists(),
        }
    }
}

fn what_of(entry: &DirEntry) -> What {
    let rrip = entry.rrip.as_ref();
    if let Some(target) = rrip.and_then(|rrip| rrip.symlink_target.as_ref()) {
        return What::Link(target.into());
    }
    if entry.is_directory() || rrip.is_some_and(|rrip| rrip.child_link.is_some()) {
        return What::Directory;
    }
    let mode =
        rrip.and_then(|rrip| rrip.posix_attributes).map_or(0, |attributes| attributes.file_mode.read());
    What::File { bytes: entry.total_size(), extents: extents(entry), executable: mode & 0o111 != 0 }
}

/// Places and lengths in bytes.
fn extents(entry: &DirEntry) -> Vec<(u64, u64)> {
    let in_bytes = |sector: usize| u64::try_from(sector).unwrap_or(u64::MAX).saturating_mul(SECTOR_BYTES);
    entry.extents().map(|extent| (in_bytes(extent.sector.0), u64::from(extent.length))).collect()
}

/// Seconds since 1970 of a Rock Ridge time.
fn seconds(time: RripDateTime) -> Option<i64> {
    let part = |number: u8| i8::try_from(number).ok();
    let date = jiff::civil::DateTime::new(
        i16::try_from(time.year).ok()?,
        part(time.month)?,
        part(time.day)?,
        part(time.hour)?,
        part(time.minute)?,
        part(time.second)?,
        0,
    );
    let offset = jiff::tz::Offset::from_seconds(i32::from(time.gmt_offset) * 15 * 60).ok()?;
    offset.to_timestamp(date.ok()?).ok().map(jiff::Timestamp::as_second)
}

/// Reads the parts of a file one after another.
struct Extents<'f> {
    file: &'f File,
    rest: std::collections::VecDeque<(u64, u64)>,
    /// Place and length of what is left of the present part.
    at: Option<(u64, u64)>,
}

impl Read for Extents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        loop {
            let Some((place, length)) = self.at.take().filter(|(_, length)| *length > 0) else {
                match self.rest.pop_front() {
                    Some(next) => self.at = Some(next),
                    None => return Ok(0),
                }
                continue;
            };
            let most = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
            let Some(part) = buffer.get_mut(..most) else { return Ok(0) };
            let count = self.file.read_at(part, place)?;
            if count == 0 && most > 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the medium ends inside the file"));
            }
            let read = u64::try_from(count).unwrap_or_default();
            self.at = Some((place + read, length - read));
            return Ok(count);
        }
    }
}

/// Bytes of a medium, for progress.
pub(crate) fn bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| if let What::File { bytes, .. } = entry.what { bytes } else { 0 }).sum()
}
