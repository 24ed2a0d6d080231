//! The files of a container image: a directory, or the members of a tar archive.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::reference::Transport;
use super::{OciError, Reference, bad};

/// Largest index, manifest or configuration (bytes; image-spec says that 4 MiB must be taken).
const JSON_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most members of an archive that holds an image.
const MEMBERS_MAX: usize = 100_000;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Its file in the store.
    pub(super) file: String,
    /// What it must be.
    pub(super) digest: LayerDigest,
}

/// SHA-256 in hexadecimal digits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LayerDigest {
    /// Of the stored file.
    OfBlob(String),
    /// Of the tar archive in it.
    OfContent(String),
}

/// Where the files of an image are.
pub(super) struct Store<'a> {
    image: &'a Reference,
    place: Place,
}

enum Place {
    Directory(PathBuf),
    /// Offsets and sizes of members.
    Archive {
        file: File,
        members: HashMap<String, (u64, u64)>,
    },
}

impl<'a> Store<'a> {
    pub(super) fn open(image: &'a Reference) -> Result<Self, OciError> {
        let place = match image.transport {
            Transport::Layout => Place::Directory(image.path.clone()),
            Transport::LayoutArchive | Transport::DockerArchive => archive(image)?,
        };
        Ok(Self { image, place })
    }

    /// A small file as a whole.
    pub(super) fn text(&self, name: &str) -> Result<Vec<u8>, OciError> {
        let mut bytes = Vec::new();
        let read = self.file(name)?.take(JSON_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| self.error(name, source))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > JSON_BYTES_MAX) {
            return Err(bad(self.image, format!("{name} is larger than {JSON_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    }

    /// The tar archive of a layer, decompressed.
    pub(super) fn layer(&self, layer: &Layer) -> Result<Content, OciError> {
        let blob = Hashed::new(self.file(&layer.file)?);
        let of_blob = blob.hash();
        let mut blob = BufReader::with_capacity(256 * 1024, blob);
        let start = io::BufRead::fill_buf(&mut blob).map_err(|source| self.error(&layer.file, source))?;
        let tar: Box<dyn Read> = if start.starts_with(&GZIP) {
            Box::new(MultiGzDecoder::new(blob))
        } else if start.starts_with(&ZSTD) {
            Box::new(zstd::Decoder::with_buffer(blob).map_err(|source| self.error(&layer.file, source))?)
        } else {
            Box::new(blob)
        };
        let tar = Hashed::new(tar);
        let expected = match &layer.digest {
            LayerDigest::OfBlob(hex) => (of_blob, hex.clone()),
            LayerDigest::OfContent(hex) => (tar.hash(), hex.clone()),
        };
        Ok(Content { tar: Box::new(tar), hash: expected.0, expected: expected.1 })
    }

    fn file(&self, name: &str) -> Result<Box<dyn Read>, OciError> {
        match &self.place {
            Place::Directory(dir) => {
                let path = dir.join(name);
                Ok(Box::new(File::open(&path).map_err(|source| OciError::File { path, source })?))
            }
            Place::Archive { file, members } => {
                let (offset, size) =
                    *members.get(name).ok_or_else(|| bad(self.image, format!("{name} is not in it")))?;
                let again = || -> io::Result<File> {
                    // The position is shared by copies of a descriptor; so only one member is read at a time.
                    let mut file = file.try_clone()?;
                    file.seek(SeekFrom::Start(offset))?;
                    Ok(file)
                };
                Ok(Box::new(again().map_err(|source| self.error(name, source))?.take(size)))
            }
        }
    }

    fn error(&self, name: &str, source: io::Error) -> OciError {
        OciError::File { path: self.image.path.join(name), source }
    }
}

/// Finds the members of an archive. `docker save` writes a layer that two images share once, and links to it.
fn archive(image: &Reference) -> Result<Place, OciError> {
    let error = |source| OciError::File { path: image.path.clone(), source };
    let file = File::open(&image.path).map_err(error)?;
    let mut members = HashMap::new();
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(file.try_clone().map_err(error)?);
    for entry in archive.entries_with_seek().map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = plain(&entry.path().map_err(error)?);
        if members.len().saturating_add(links.len()) >= MEMBERS_MAX {
            return Err(bad(image, format!("more than {MEMBERS_MAX} members")));
        }
        let kind = entry.header().entry_type();
        if kind.is_file() {
            members.insert(name, (entry.raw_file_position(), entry.size()));
        } else if let Some(target) = entry.link_name().map_err(error)? {
            let above = Path::new(&name).parent().unwrap_or(Path::new(""));
            links.push((
                name.clone(),
                plain(&if kind.is_hard_link() { target.into() } else { above.join(target) }),
            ));
        }
    }
    for (name, target) in links {
        if let Some(place) = members.get(&target).copied() {
            members.insert(name, place);
        }
    }
    Ok(Place::Archive { file, members })
}

/// A member's name without `.` and with `..` taken back.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

/// A layer that is read once, from the beginning to the end.
pub(super) struct Content {
    tar: Box<dyn Read>,
    hash: Rc<RefCell<Sha256>>,
    expected: String,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.read(buffer)
    }
}

impl Content {
    /// A layer in memory.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn of_bytes(bytes: Vec<u8>, expected: String) -> Self {
        let tar = Hashed::new(io::Cursor::new(bytes));
        let hash = tar.hash();
        Self { tar: Box::new(tar), hash, expected }
    }

    /// Whether the layer matched its digest; the rest of it is read first.
    pub(super) fn verify(mut self) -> io::Result<bool> {
        io::copy(&mut self.tar, &mut io::sink())?;
        drop(self.tar);
        Ok(hex(&self.hash.borrow().clone().finalize()) == self.expected)
    }
}

/// A reader that hashes what passes.
struct Hashed<R> {
    inner: R,
    hash: Rc<RefCell<Sha256>>,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Rc::default() }
    }

    fn hash(&self) -> Rc<RefCell<Sha256>> {
        Rc::clone(&self.hash)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.borrow_mut().update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

/// SHA-256 of a text, as digests write it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
