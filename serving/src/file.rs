//! Open files, rendered bytes and computed images: the three kinds of content a transfer can carry.

use crate::mounts::is_local;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tells one version of a file from another; HTTP makes its ETag of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, seconds since 1970.
    pub mtime_s: i64,
    /// The part of `mtime_s` below a second, nanoseconds.
    pub mtime_ns: i64,
    /// Last change of content, owner, mode or names, seconds since 1970.
    pub ctime_s: i64,
    /// The part of `ctime_s` below a second, nanoseconds.
    pub ctime_ns: i64,
}

impl FileStamp {
    /// The time of the last change; 1970 for anything earlier.
    pub fn modified(&self) -> SystemTime {
        let seconds = u64::try_from(self.mtime_s).unwrap_or(0);
        UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

/// A regular file that was opened inside its root. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenFile {
    body: FileBody,
    stamp: FileStamp,
    /// Its path, unless it is on a disk of this machine.
    far: Option<Arc<Path>>,
}

/// Where the bytes of an [`OpenFile`] are.
#[derive(Clone, Debug)]
pub enum FileBody {
    /// Small files are held in memory.
    Memory(Arc<[u8]>),
    /// Larger ones stay on disk behind one descriptor, however many transfers share it.
    Disk(Arc<File>),
}

impl OpenFile {
    /// Takes the bytes of one version of a file.
    pub fn new(body: FileBody, stamp: FileStamp) -> Self {
        Self { body, stamp, far: None }
    }

    /// The same, known to be at this path on a disk that may hang, if it is.
    #[must_use]
    pub(crate) fn at(self, far: Option<Arc<Path>>) -> Self {
        Self { far, ..self }
    }

    /// Takes the open file at `path`, whose kind and permission were checked by the caller.
    ///
    /// # Errors
    /// When the file cannot be examined.
    pub fn from_disk(file: File, path: &Path) -> io::Result<Self> {
        let far = (!is_local(&file)).then(|| Arc::from(path));
        let meta = file.metadata()?;
        let stamp = FileStamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            mtime_s: meta.mtime(),
            mtime_ns: meta.mtime_nsec(),
            ctime_s: meta.ctime(),
            ctime_ns: meta.ctime_nsec(),
        };
        Ok(Self { body: FileBody::Disk(Arc::new(file)), stamp, far })
    }

    /// Its path, if it is not on a disk of this machine, which answers or fails but does not hang.
    pub fn far(&self) -> Option<&Arc<Path>> {
        self.far.as_ref()
    }

    /// Size in bytes when it was opened; a transfer carries exactly this much.
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Identity of this version.
    pub fn stamp(&self) -> FileStamp {
        self.stamp
    }

    /// Where its bytes are.
    pub fn body(&self) -> &FileBody {
        &self.body
    }
}

/// Bytes made for one request, with their media type.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The content.
    pub bytes: Arc<[u8]>,
    /// Media type for HTTP, such as `text/plain; charset=utf-8`.
    pub media_type: &'static str,
}

impl Rendered {
    /// Plain text, the type of scripts and boot loader configurations.
    pub fn text(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self { bytes: Arc::from(text.into_bytes()), media_type: "text/plain; charset=utf-8" }
    }

    /// Bytes with a type of the caller's.
    pub fn new(bytes: impl Into<Arc<[u8]>>, media_type: &'static str) -> Self {
        Self { bytes: bytes.into(), media_type }
    }
}

/// Content that is computed when it is read, of a size known beforehand.
pub trait ReadAt: Send + Sync {
    /// Size in bytes; must not change.
    fn size(&self) -> u64;
    /// Fills the beginning of `buf` with the bytes at `offset`; 0 means the end.
    ///
    /// # Errors
    /// When something below cannot be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// As [`Content::far`].
    fn far(&self) -> Option<&Arc<Path>>;
}

/// Anything that can be sent.
#[derive(Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// On disk.
    File(OpenFile),
    /// Computed.
    Image(Arc<dyn ReadAt>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Content::Bytes(_) => "Bytes",
            Content::File(_) => "File",
            Content::Image(_) => "Image",
        };
        write!(f, "Content::{kind}({} bytes)", self.size())
    }
}

impl Content {
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(file) => file.size(),
            Content::Image(image) => image.size(),
        }
    }

    /// The path of the file behind it, if reading may wait for a disk that hangs. Then it must be left to a
    /// [`DiskPool`](crate::DiskPool).
    pub fn far(&self) -> Option<&Arc<Path>> {
        match self {
            Content::Bytes(_) => None,
            Content::File(file) => file.far().filter(|_| matches!(file.body, FileBody::Disk(_))),
            Content::Image(image) => image.far(),
        }
    }

    /// All of it, if it is in memory.
    pub fn in_memory(&self) -> Option<&Arc<[u8]>> {
        match self {
            Content::Bytes(bytes) => Some(bytes),
            Content::File(file) => match file.body() {
                FileBody::Memory(bytes) => Some(bytes),
                FileBody::Disk(_) => None,
            },
            Content::Image(_) => None,
        }
    }

    /// Reads until `buf` is full or the content ends; returns the count.
    ///
    /// # Errors
    /// The error of the disk, or of what computes the image.
    pub fn read_full_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let got = match self {
                Content::Bytes(bytes) => copy_at(bytes, at, rest),
                Content::File(file) => match file.body() {
                    FileBody::Memory(bytes) => copy_at(bytes, at, rest),
                    FileBody::Disk(disk) => match disk.read_at(rest, at) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        other => other?,
                    },
                },
                Content::Image(image) => image.read_at(at, rest)?,
            };
            if got == 0 {
                break;
            }
            done += got;
        }
        Ok(done)
    }
}

fn copy_at(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
    let count = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}
