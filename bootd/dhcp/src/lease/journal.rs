//! The file of leases: what was acknowledged is in it, in the order it happened.
//!
//! One writer appends batches (over zeros written in advance) and syncs each; the file is rewritten with the living leases alone when it
//! has grown to more than twice their size, so it needs no care. At start a damaged tail is cut off: it can only
//! hold what no client was told. A failed append is cut off likewise, so the file stays readable.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Lease;
use super::record::Record;

/// First bytes of the file.
const MAGIC: &[u8; 8] = b"dawnlse1";
/// Who had which address is nobody else's business.
const MODE: u32 = 0o600;
/// The file is not rewritten while it is smaller than this, in bytes.
pub const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// Rewritten when it is more than this many times the size of what is alive.
const COMPACT_RATIO: u64 = 2;
/// Zeros are written ahead of the records in pieces of this many bytes: a sync that changes no length and allocates no
/// block costs a fraction of one that does.
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
    /// The file is something else; it is left alone.
    #[error(
        "lease journal {path}: its beginning is damaged, or it is something else; move it away to begin a new one \
         (addresses of the tables are not lost; dynamic addresses are probed before they are given out again)"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Length of what is valid, in bytes.
    len: u64,
    /// Length of the file, in bytes: records, then zeros.
    file_len: u64,
    /// Encoded record of each living lease, and their total size.
    living: BTreeMap<Ipv4Addr, Vec<u8>>,
    living_bytes: u64,
}

impl Journal {
    /// Opens or makes the file, cuts off a damaged tail, and returns the leases that live.
    pub fn open(path: &Path) -> Result<(Self, Vec<Lease>), JournalError> {
        let fail = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(path)
            .map_err(fail("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail("read"))?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            len: 0,
            file_len: 0,
            living: BTreeMap::new(),
            living_bytes: 0,
        };
        match bytes.strip_prefix(MAGIC) {
            Some(records) => journal.replay(records),
            None if MAGIC.starts_with(&bytes) => journal.begin().map_err(fail("write"))?,
            None => return Err(JournalError::Foreign { path: path.to_owned() }),
        }
        journal.cut().map_err(fail("cut the damaged end off"))?;
        let leases = journal.leases();
        Ok((journal, leases))
    }

    /// Appends records and returns when they are on disk. After an error nothing of the batch counts.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), JournalError> {
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

    /// Rewrites the file with the living leases alone.
    pub fn compact(&mut self) -> Result<(), JournalError> {
        let next = self.path.with_extension("new");
        let file = self.write_living(&next).map_err(|source| self.error("rewrite", source))?;
        std::fs::rename(&next, &self.path).map_err(|source| self.error("replace", source))?;
        self.file = file;
        self.len = self.living_bytes + 8;
        self.file_len = self.len;
        self.sync_folder().map_err(|source| self.error("sync the folder of", source))
    }

    /// Puts the file's name on disk.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
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

    fn begin(&mut self) -> io::Result<()> {
        self.file.write_all_at(MAGIC, 0)?;
        self.file.sync_data()?;
        self.sync_folder()?;
        self.len = 8;
        Ok(())
    }

    fn replay(&mut self, mut records: &[u8]) {
        self.len = 8;
        while let Some((record, bytes)) = Record::read(records) {
            self.note_one(&record, records.get(..bytes).unwrap_or(&[]).to_vec());
            self.len += u64::try_from(bytes).unwrap_or(0);
            records = records.get(bytes..).unwrap_or(&[]);
        }
        if records.iter().any(|byte| *byte != 0) {
            tracing::warn!(bytes = records.len(), "lease journal: damaged end cut off");
        }
    }

    /// Takes the file back to what is valid.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file_len = self.len;
        Ok(())
    }

    /// Makes sure that the next `bytes` overwrite zeros. A disk too full for the whole piece gets a smaller one.
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
