//! The file in which the events of nodes outlive the daemon: `<data>/events.journal`.
//!
//! One event a line, as JSON with a checksum ([`dawn_serving::sealed`]); damaged lines are counted,
//! reported once, and skipped.
//! The file is as large as [`FILE_BYTES_MAX`] at most: then it is written again from what memory holds, which
//! is bounded for each node, so that a noisy node displaces its own events only. Events older than
//! [`KEPT_DAYS`] are left out.
//!
//! Reporting an event never waits: a thread writes the entries of a bounded queue; events that do not fit
//! into it are in memory and in the log only. A file that cannot be written is reported once, and tried again
//! with the next event. Strangers' events are not kept: any machine on the wire can cause them.

use super::{EVENTS_PER_SUBJECT_MAX, Event};
use dawn_serving::sealed;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// How long events are kept, in days.
pub(crate) const KEPT_DAYS: u64 = 31;
/// Size of the file, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;
/// Events that wait to be written; beyond, they are not.
const QUEUE_MAX: usize = 16_384;
/// Length of one line, in bytes; a longer one is damage.
const LINE_BYTES_MAX: u64 = 4096;
/// The usual size of a line in bytes: decides how many events of each node fit into half of the file.
const LINE_BYTES_USUAL: u64 = 256;

/// What a file held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The events that are not too old, as they were written.
    pub events: Vec<Event>,
    /// Lines that are not events.
    pub damaged: usize,
}

/// Everything usable in the file at `path`; nothing if there is none.
///
/// # Errors
/// When the file is there and cannot be read.
pub(crate) fn read(path: &Path, now_ms: u64) -> io::Result<Found> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::default()),
        file => read_from(file?, now_ms),
    }
}

/// The same of any source.
pub(crate) fn read_from(file: impl Read, now_ms: u64) -> io::Result<Found> {
    let oldest = now_ms.saturating_sub(KEPT_DAYS * 24 * 3600 * 1000);
    let mut lines = BufReader::new(file.take(FILE_BYTES_MAX.saturating_mul(2)));
    let (mut found, mut line) = (Found::default(), Vec::new());
    while (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
        let read = sealed::read(&line);
        let event: Option<Event> = read.text.and_then(|json| serde_json::from_str(json).ok());
        found.damaged += usize::from(read.is_damaged || read.text.is_some() && event.is_none());
        found.events.extend(event.filter(|event| event.time_ms >= oldest));
        line.clear();
    }
    Ok(found)
}

pub(crate) fn render(event: &Event) -> Option<String> {
    Some(sealed::seal(&serde_json::to_string(event).ok()?))
}

/// Gives the latest events, of each node at most so many.
pub(crate) type Latest = dyn Fn(usize) -> Vec<Event> + Send;

/// Writes what comes by the channel to the file at `path`, in a separate thread, until the sender is gone.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    path: PathBuf,
    latest: Box<Latest>,
    nodes: Box<dyn Fn() -> usize + Send>,
) -> io::Result<SyncSender<Event>> {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    let writer = Writer { path, latest, nodes, file: None, failed: false, bytes_max: FILE_BYTES_MAX };
    std::thread::Builder::new().name("events".into()).spawn(move || writer.run(&receiver))?;
    Ok(sender)
}

struct Writer {
    path: PathBuf,
    latest: Box<Latest>,
    nodes: Box<dyn Fn() -> usize + Send>,
    file: Option<(BufWriter<File>, u64)>,
    /// The last try failed, and that was reported.
    failed: bool,
    bytes_max: u64,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Event>) {
        let mut next = receiver.recv().ok();
        while let Some(event) = next {
            let done = self.write(&event);
            next = match receiver.try_recv() {
                Ok(event) => Some(event),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    let done = done.and_then(|()| self.flush());
                    self.told(done);
                    receiver.recv().ok()
                }
            };
        }
        let done = self.flush();
        self.told(done);
    }

    fn told(&mut self, done: io::Result<()>) {
        match done {
            Ok(()) => self.failed = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!(path = %self.path.display(), %error, "events cannot be written; they are in memory only");
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |(file, _)| file.flush())
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let Some(line) = render(event) else { return Ok(()) };
        if self.file.is_none() {
            self.file = Some(open(&self.path)?);
        }
        if let Some((file, bytes)) = &mut self.file {
            file.write_all(line.as_bytes())?;
            *bytes += line.len() as u64;
        }
        match self.file.as_ref().is_some_and(|(_, bytes)| *bytes > self.bytes_max) {
            true => self.write_again(),
            false => Ok(()),
        }
    }

    /// Replaces the file by the latest events, of each node as many as fit into half of it. Not by
    /// [`dawn_serving::whole`]: the new file stays open for the events to come, and nothing waits for the
    /// disk.
    fn write_again(&mut self) -> io::Result<()> {
        self.flush()?;
        let nodes = u64::try_from((self.nodes)()).unwrap_or(u64::MAX).max(1);
        let share = (self.bytes_max / 2 / LINE_BYTES_USUAL / nodes).max(1);
        let share = usize::try_from(share).unwrap_or(EVENTS_PER_SUBJECT_MAX).min(EVENTS_PER_SUBJECT_MAX);
        let fresh = self.path.with_extension("journal.new");
        let mut file = BufWriter::new(create(&fresh, true)?);
        let mut bytes: u64 = 0;
        for line in (self.latest)(share).iter().filter_map(render) {
            // Half of the file stays free, however much the lines take.
            if bytes > self.bytes_max / 2 {
                break;
            }
            file.write_all(line.as_bytes())?;
            bytes += line.len() as u64;
        }
        file.flush()?;
        fs::rename(&fresh, &self.path)?;
        self.file = Some((file, bytes));
        Ok(())
    }
}

fn create(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(empty).mode(0o600).open(path)
}

/// Opens for appending; a line that a killed daemon left unfinished is ended.
fn open(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let mut file = create(path, false)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok((BufWriter::new(file), bytes))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
