//! The file of leases: every acknowledged lease, in the order of the acknowledgements.
//!
//! One writer appends batches (over zeros written in advance) and syncs each. The file is rewritten with the
//! living leases alone when it has grown to more than twice their size, so it needs no care.
//!
//! What fails and what then: a torn end is cut off at start, because no client was sent anything that it
//! holds. Damage anywhere else loses the damaged records alone ([`record`](super::record)); it is logged with
//! counts, the damaged file stays next to the new one as `<name>.damaged`, the next as `<name>.damaged.2`
//! (eight are kept), and the services start. A new file has its beginning from the first moment, so one that
//! is empty or shorter has lost its leases: damage, too. A file of the format before, `dawnlse1`, is
//! rewritten at start.
//! A failed append is cut off, so the file stays readable. A file that can be read and not written (a
//! read-only file system) gives its leases, and every commit fails until [`Journal::compact`] succeeds.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Lease;
use super::record::{Format, Record, read_all};

/// Damaged files kept.
const DAMAGED_KEPT_MAX: u32 = 8;
/// First bytes of the file.
const MAGIC: &[u8; 8] = b"dawnlse2";
/// First bytes of a file of the format before.
const MAGIC_UNMARKED: &[u8; 8] = b"dawnlse1";
/// Who had which address is private.
const MODE: u32 = 0o600;
/// The file is not rewritten while it is smaller than this, in bytes.
pub const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// Rewritten when it is more than this many times the size of the live leases.
const COMPACT_RATIO: u64 = 2;
/// Zeros are written ahead of the records in pieces of this many bytes: a sync that changes no length and
/// allocates no block costs a fraction of one that does.
const AHEAD_BYTES: u64 = 256 << 10;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be opened, read or made.
    #[error("lease journal {path}: cannot {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The state of a file when it was opened.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Not there.
    New,
    /// Good up to a torn end.
    Good,
    /// Of the format before.
    Old,
    /// Damaged before its last record.
    Damaged,
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Length of the valid part, in bytes.
    len: u64,
    /// Length of the file, in bytes: records, then zeros.
    file_len: u64,
    /// Encoded record of each living lease, and their total size.
    living: BTreeMap<Ipv4Addr, Vec<u8>>,
    living_bytes: u64,
    /// The file is not one to append to: of the format before, damaged, or not writable.
    is_stale: bool,
}

impl Journal {
    /// Opens or makes the file and returns the leases that live. Damage is not an error:
    /// it loses the damaged records alone, and the damaged file is kept.
    pub fn open(path: &Path) -> Result<(Self, Vec<Lease>), JournalError> {
        let fail = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
        let (mut file, opened) = open_file(path).map_err(fail("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail("read"))?;
        let writable = opened != Opened::ReadOnly;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            len: 0,
            file_len: 0,
            living: BTreeMap::new(),
            living_bytes: 0,
            is_stale: !writable,
        };
        let state = if opened == Opened::Missing { State::New } else { journal.replay(&bytes) };
        if writable && let Err(error) = journal.settle(state) {
            // Commits fail in the same way, are reported and tried again; leases and nodes are served until
            // then.
            tracing::error!(%error, "the lease journal cannot be written");
            journal.is_stale = true;
        }
        let leases = journal.leases();
        Ok((journal, leases))
    }

    /// Makes the file one that can be appended to.
    fn settle(&mut self, state: State) -> Result<(), JournalError> {
        match state {
            State::New | State::Old => self.compact(),
            State::Good => self.cut().map_err(|source| self.error("cut the torn end off", source)),
            State::Damaged => {
                let aside = aside(&self.path);
                std::fs::copy(&self.path, &aside).map_err(|source| self.error("copy the damaged", source))?;
                tracing::warn!(copy = %aside.display(), "the damaged lease journal was kept");
                self.compact()
            }
        }
    }

    /// Appends records and returns when they are on disk. After an error nothing of the batch counts.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.is_stale {
            self.compact()?;
        }
        let mut bytes = Vec::with_capacity(records.len() * 64);
        for record in records {
            record.write(&mut bytes);
        }
        let len = u64::try_from(bytes.len()).unwrap_or(0);
        let written = self
            .write_ahead(len)
            .and_then(|()| self.file.write_all_at(&bytes, self.len))
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            let _ = self.cut();
            return Err(self.error("write", source));
        }
        self.len += len;
        self.file_len = self.file_len.max(self.len);
        self.note(records);
        if self.len > COMPACT_BYTES_MIN.max(self.living_bytes * COMPACT_RATIO) {
            // The batch is safe already; a rewrite that fails is tried again with a later batch.
            if let Err(error) = self.compact() {
                tracing::warn!(%error, "lease journal could not be rewritten");
            }
        }
        Ok(())
    }

    /// Rewrites the file with the living leases alone. The file stays open: the next batches are written at
    /// its end.
    pub fn compact(&mut self) -> Result<(), JournalError> {
        let next = self.path.with_extension("new");
        let file = self.write_living(&next).map_err(|source| self.error("rewrite", source))?;
        std::fs::rename(&next, &self.path).map_err(|source| self.error("replace", source))?;
        self.file = file;
        self.len = self.living_bytes + MAGIC.len() as u64;
        self.file_len = self.len;
        self.is_stale = false;
        self.sync_folder().map_err(|source| self.error("sync the folder of", source))
    }

    /// Puts the file's name on disk.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(folder_of(&self.path))?.sync_all()
    }

    /// Length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    fn write_living(&self, path: &Path) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
        let mut bytes = Vec::with_capacity(usize::try_from(self.living_bytes).unwrap_or(0) + MAGIC.len());
        bytes.extend_from_slice(MAGIC);
        self.living.values().for_each(|record| bytes.extend_from_slice(record));
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok(file)
    }

    /// Loads the records of a file with these bytes.
    fn replay(&mut self, bytes: &[u8]) -> State {
        if bytes.len() < MAGIC.len() {
            tracing::error!(
                bytes = bytes.len(),
                "{}: the file has lost its content; all leases of dynamic addresses are unknown. Lost addresses are \
                 probed before they are given out again; addresses of the tables are not affected",
                self.path.display()
            );
            return State::Damaged;
        }
        let (beginning, records) = bytes.split_at_checked(MAGIC.len()).unwrap_or((bytes, &[]));
        let mut format = if beginning == MAGIC_UNMARKED { Format::Unmarked } else { Format::Marked };
        let mut found = read_all(records, format);
        if beginning != MAGIC && format == Format::Marked {
            // The beginning is damaged, or cut off: its bytes may be a record's.
            found = read_all(bytes, format);
            let unmarked = read_all(bytes, Format::Unmarked);
            if unmarked.records.len() > found.records.len() {
                (found, format) = (unmarked, Format::Unmarked);
            }
            found.gaps += 1;
        }
        match format {
            Format::Marked => {
                found.records.iter().for_each(|(record, bytes)| self.note_one(record, bytes.to_vec()))
            }
            Format::Unmarked => {
                found.records.iter().for_each(|(record, _)| self.note(std::slice::from_ref(record)))
            }
        }
        self.len = u64::try_from(MAGIC.len() + found.end).unwrap_or(0);
        if found.gaps > 0 {
            tracing::error!(
                places = found.gaps,
                bytes = found.gap_bytes + found.tail_bytes,
                records = found.records.len(),
                leases = self.living.len(),
                "{}: damaged; the leases in the damaged places are lost, all others were read. Lost addresses \
                 are probed before they are given out again; addresses of the tables are not affected",
                self.path.display()
            );
            return State::Damaged;
        }
        if found.tail_bytes > 0 {
            tracing::warn!(bytes = found.tail_bytes, "{}: a torn end was cut off", self.path.display());
        }
        if format == Format::Unmarked { State::Old } else { State::Good }
    }

    /// Truncates the file to its valid part.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file_len = self.len;
        Ok(())
    }

    /// Makes sure that the next `bytes` overwrite zeros. A disk too full for the whole piece gets a smaller
    /// one.
    fn write_ahead(&mut self, bytes: u64) -> io::Result<()> {
        if self.len + bytes <= self.file_len {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(AHEAD_BYTES).unwrap_or(0)];
        match self.file.write_all_at(&zeros, self.file_len) {
            Ok(()) => self.file_len += AHEAD_BYTES,
            // The records themselves may still fit.
            Err(_) => self.cut()?,
        }
        Ok(())
    }

    fn note(&mut self, records: &[Record]) {
        for record in records {
            let mut bytes = Vec::with_capacity(64);
            record.write(&mut bytes);
            self.note_one(record, bytes);
        }
    }

    fn note_one(&mut self, record: &Record, bytes: Vec<u8>) {
        let len = |bytes: &Vec<u8>| u64::try_from(bytes.len()).unwrap_or(0);
        let old = match record {
            Record::Lease(lease) => {
                self.living_bytes += len(&bytes);
                self.living.insert(lease.address, bytes)
            }
            Record::Forget(address) => self.living.remove(address),
        };
        self.living_bytes -= old.as_ref().map_or(0, len);
    }

    fn leases(&self) -> Vec<Lease> {
        let records = self.living.values().filter_map(|bytes| Record::read(bytes));
        records
            .filter_map(|(record, _)| match record {
                Record::Lease(lease) => Some(lease),
                Record::Forget(_) => None,
            })
            .collect()
    }

    fn error(&self, what: &'static str, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), what, source }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a damaged file is kept. When all names are taken, the last one is used again: the first damage says
/// most.
fn aside(path: &Path) -> PathBuf {
    let numbered = (2..=DAMAGED_KEPT_MAX).map(|number| format!("damaged.{number}"));
    let mut names =
        std::iter::once("damaged".to_owned()).chain(numbered).map(|name| path.with_extension(name));
    let free = names.find(|name| matches!(name.try_exists(), Ok(false)));
    free.unwrap_or_else(|| path.with_extension(format!("damaged.{DAMAGED_KEPT_MAX}")))
}

/// How a file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    /// For reading and writing.
    Writable,
    /// For reading alone.
    ReadOnly,
    /// It is not there: nothing can be read.
    Missing,
}

/// Opens the file for reading and writing; one that may not be written is opened for reading. A missing one
/// is not made: it comes into being with its beginning in it.
fn open_file(path: &Path) -> io::Result<(File, Opened)> {
    let refused = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => return Ok((file, Opened::Writable)),
        Err(error) => error,
    };
    if refused.kind() == io::ErrorKind::NotFound {
        std::fs::metadata(folder_of(path))?;
        return Ok((File::open("/dev/null")?, Opened::Missing));
    }
    let read_only = [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied];
    if !read_only.contains(&refused.kind()) {
        return Err(refused);
    }
    tracing::error!(error = %refused, "{}: cannot be written; no new dynamic leases are given", path.display());
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok((File::open("/dev/null")?, Opened::Missing))
        }
        opened => Ok((opened?, Opened::ReadOnly)),
    }
}
