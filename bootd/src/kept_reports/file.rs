//! The file of reports that wait: `reports.journal` of the data directory, a record with a checksum a line
//! ([`dawn_serving::sealed`]), each a report as JSON. A later record of a node and kind replaces an earlier
//! one.
//!
//! What fails and what then: a damaged record is lost, those before and after it are read. A file that is
//! larger than any daemon writes, or cannot be read, is left where it is under another name. When all reports
//! are in the tables the file is emptied; a file that grows without ever being empty is written again with
//! the reports that still wait.

use super::Report;
use dawn_serving::{sealed, whole};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the file that are read. A cluster's reports take a fraction of it.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// The file is not written again while it is smaller than this, in bytes.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// Written again when it is more than this many times the size of what waits.
const COMPACT_RATIO: u64 = 2;
/// What nodes say is the administrator's.
const MODE: u32 = 0o600;

/// The open file.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    /// Opened for appending.
    disk: Arc<File>,
    bytes: u64,
}

impl ReportFile {
    /// Opens or makes the file; the reports that are in it. Without a file reports are kept in memory only,
    /// which is logged.
    pub(super) fn open(path: &Path) -> (Option<Self>, Vec<Report>) {
        let found = match read(path) {
            Ok(bytes) => {
                let (found, damaged) = reports(&bytes);
                if damaged > 0 {
                    let file = path.display();
                    tracing::error!(damaged, "{file}: damaged records; the reports in them are lost");
                }
                found
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let aside = path.with_extension("unread");
                tracing::error!(%error, "{} is not read; it is moved to {}", path.display(), aside.display());
                let _ = std::fs::rename(path, aside);
                Vec::new()
            }
        };
        let opened = append_to(path).and_then(|disk| {
            let bytes = disk.metadata()?.len();
            let mut file = Self { path: path.to_owned(), disk: Arc::new(disk), bytes };
            // Damaged records are removed, like an unterminated line that the next record would be
            // appended to.
            file.rewrite(found.iter())?;
            Ok(file)
        });
        if let Err(error) = &opened {
            tracing::error!(%error, "{}: reports of nodes are kept in memory only", path.display());
        }
        (opened.ok(), found)
    }

    /// The file to sync, without a lock on the reports.
    pub(super) fn disk(&self) -> Arc<File> {
        Arc::clone(&self.disk)
    }

    /// Adds records; they are on disk after a sync.
    pub(super) fn append(&mut self, reports: &[Report]) -> io::Result<()> {
        let text: String = reports.iter().map(line).collect();
        let written = (&*self.disk).write_all(text.as_bytes());
        match written {
            Ok(()) => self.bytes += text.len() as u64,
            // Half a record is no beginning for the next one.
            Err(_) => self.disk.set_len(self.bytes)?,
        }
        written
    }

    /// Removes reports that no longer wait, if enough of them are in the file.
    pub(super) fn shorten<'r>(
        &mut self,
        waiting: impl ExactSizeIterator<Item = &'r Report> + Clone,
    ) -> io::Result<()> {
        if waiting.len() == 0 {
            self.disk.set_len(0)?;
            self.bytes = 0;
            return Ok(());
        }
        if self.bytes < COMPACT_BYTES_MIN {
            return Ok(());
        }
        let living: u64 = waiting.clone().map(|report| line(report).len() as u64).sum();
        if self.bytes > living * COMPACT_RATIO { self.rewrite(waiting) } else { Ok(()) }
    }

    fn rewrite<'r>(&mut self, waiting: impl Iterator<Item = &'r Report>) -> io::Result<()> {
        let text: String = waiting.map(line).collect();
        if text.is_empty() {
            self.disk.set_len(0)?;
        } else {
            whole::write(&self.path, text.as_bytes(), MODE)?;
            self.disk = Arc::new(append_to(&self.path)?);
        }
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn line(report: &Report) -> String {
    // A struct of texts is always JSON.
    sealed::seal(&serde_json::to_string(report).unwrap_or_default())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is not a file of reports"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The reports of a file, and how many records are damaged.
fn reports(bytes: &[u8]) -> (Vec<Report>, usize) {
    let (texts, mut damaged) = sealed::read_all(bytes);
    let mut found = Vec::new();
    for text in texts {
        match serde_json::from_str(text).ok().filter(Report::is_good) {
            Some(report) => found.push(report),
            None => damaged += 1,
        }
    }
    (found, damaged)
}

/// For fuzzing: a file of any bytes is read, and what is read comes back from a file that is written of it.
pub fn fuzz(bytes: &[u8]) {
    let (found, _) = reports(bytes);
    let text: String = found.iter().map(line).collect();
    assert_eq!(reports(text.as_bytes()), (found, 0), "read again");
}
