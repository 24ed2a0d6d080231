//! The logs of consoles: `log/consoles/NODE.log` below the data directory, mode 0600.
//!
//! Lines come through a bounded queue to one thread, which writes them: a disk that hangs costs log lines but
//! delays nothing else. What was left out is counted, and the count is written when there is room again. Each
//! file is renamed to `NODE.log.1` and so on when it is full, [`OLD_FILES_MAX`] old ones are kept; nothing is
//! written while the disk has less than [`FREE_BYTES_MIN`] left.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines that wait for the disk.
const LINES_WAITING_MAX: usize = 8192;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Full files of a node that are kept in addition to the one that is written.
const OLD_FILES_MAX: u32 = 3;
/// Room that is left on the disk for all else, bytes.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Files that are open at the same time.
const OPEN_FILES_MAX: usize = 64;
/// Bytes that are written between two looks at the room.
const ROOM_LOOK_BYTES: u64 = 64 << 10;

/// The directory of the logs.
pub fn directory(data: &Path) -> PathBuf {
    data.join("log").join("consoles")
}

/// The file of a node; `None` for a name that is not one of a file.
pub fn file(data: &Path, node: &str) -> Option<PathBuf> {
    let is_name = !node.is_empty() && !node.starts_with('.') && !node.contains(['/', '\0']);
    is_name.then(|| directory(data).join(format!("{node}.log")))
}

/// The files of a log, the oldest first; not all of them need to be there.
pub fn files(path: &Path) -> impl Iterator<Item = PathBuf> {
    (0..=OLD_FILES_MAX).rev().map(|number| old(path, number))
}

/// An old file of a log; 0 is the one that is written.
fn old(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        _ => path.with_added_extension(number.to_string()),
    }
}

struct Entry {
    node: Arc<str>,
    line: String,
}

/// The way to the logs.
#[derive(Debug)]
pub struct Logs {
    lines: SyncSender<Entry>,
    left_out: Arc<AtomicU64>,
}

impl Logs {
    /// Logs below a data directory. Its thread ends with it.
    pub fn start(data: &Path) -> io::Result<Self> {
        let (lines, receiver) = sync_channel(LINES_WAITING_MAX);
        let left_out = Arc::<AtomicU64>::default();
        let writer = Writer::new(data.to_owned(), Arc::clone(&left_out), FREE_BYTES_MIN);
        std::thread::Builder::new().name("console-log".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { lines, left_out })
    }

    /// Logs a line with the time of now.
    pub fn line(&self, node: &Arc<str>, line: &str) {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        let entry = Entry { node: Arc::clone(node), line: format!("[{now}] {line}\n") };
        if self.lines.try_send(entry).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the thread has.
struct Writer {
    data: PathBuf,
    files: HashMap<Arc<str>, (File, u64)>,
    left_out: Arc<AtomicU64>,
    free_bytes_min: u64,
    unseen_bytes: u64,
    has_room: bool,
    complained: bool,
}

impl Writer {
    fn new(data: PathBuf, left_out: Arc<AtomicU64>, free_bytes_min: u64) -> Self {
        let unseen_bytes = ROOM_LOOK_BYTES;
        let files = HashMap::new();
        Self { data, files, left_out, free_bytes_min, unseen_bytes, has_room: true, complained: false }
    }

    fn run(mut self, lines: &Receiver<Entry>) {
        while let Ok(Entry { node, line }) = lines.recv() {
            let gap = self.left_out.swap(0, Ordering::Relaxed);
            let text = match gap {
                0 => line,
                count => format!("[-- {count} lines of consoles were not logged --]\n{line}"),
            };
            match self.write(&node, &text) {
                Ok(true) => self.complained = false,
                Ok(false) => drop(self.left_out.fetch_add(gap + 1, Ordering::Relaxed)),
                Err(error) => {
                    self.left_out.fetch_add(gap + 1, Ordering::Relaxed);
                    self.files.remove(&node);
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(%error, %node, "the console of a node cannot be logged");
                    }
                }
            }
        }
    }

    /// Writes text to the log of a node; `false` if the disk is full.
    fn write(&mut self, node: &Arc<str>, text: &str) -> io::Result<bool> {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.look_for_room(bytes)?;
        if !self.has_room {
            return Ok(false);
        }
        let Some(path) = file(&self.data, node) else { return Ok(true) };
        if self.files.get(node).is_some_and(|(_, written)| *written + bytes > FILE_BYTES_MAX) {
            self.files.remove(node);
            rotate(&path)?;
        }
        if !self.files.contains_key(node) {
            if self.files.len() >= OPEN_FILES_MAX {
                self.files.clear();
            }
            let file = open(&path)?;
            let written = file.metadata()?.len();
            self.files.insert(Arc::clone(node), (file, written));
        }
        if let Some((file, written)) = self.files.get_mut(node) {
            file.write_all(text.as_bytes())?;
            *written += bytes;
        }
        Ok(true)
    }

    /// Looks now and then how much room the disk has; while it is full, each time.
    fn look_for_room(&mut self, bytes: u64) -> io::Result<()> {
        self.unseen_bytes += bytes;
        if self.has_room && self.unseen_bytes < ROOM_LOOK_BYTES {
            return Ok(());
        }
        self.unseen_bytes = 0;
        let disk = rustix::fs::statvfs(&self.data)?;
        let had_room = self.has_room;
        self.has_room = disk.f_bavail.saturating_mul(disk.f_frsize) >= self.free_bytes_min;
        if had_room && !self.has_room {
            let data = self.data.display();
            tracing::warn!("consoles are not logged: less than 1 GiB is free on the disk of {data}");
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.parent().unwrap_or(Path::new("/"));
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
            open()
        }
        opened => opened,
    }
}

/// `NODE.log` becomes `NODE.log.1`, that `NODE.log.2`, and so on; the oldest is replaced.
fn rotate(path: &Path) -> io::Result<()> {
    for number in (0..OLD_FILES_MAX).rev() {
        match std::fs::rename(old(path, number), old(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(data: &Path, free_bytes_min: u64) -> Writer {
        Writer::new(data.to_owned(), Arc::default(), free_bytes_min)
    }

    #[test]
    fn files_are_rotated_and_bounded() {
        let data = tempfile::tempdir().unwrap();
        let mut writer = writer(data.path(), 0);
        let node: Arc<str> = "cn1".into();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..6_000 {
            assert!(writer.write(&node, &line).unwrap());
        }
        let mut files: Vec<(String, u64)> = std::fs::read_dir(directory(data.path()))
            .unwrap()
            .flatten()
            .map(|file| (file.file_name().to_string_lossy().into_owned(), file.metadata().unwrap().len()))
            .collect();
        files.sort();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cn1.log", "cn1.log.1", "cn1.log.2", "cn1.log.3"]);
        assert!(files.iter().all(|(_, bytes)| *bytes <= FILE_BYTES_MAX), "{files:?}");
    }

    #[test]
    fn many_nodes_and_bad_names() {
        let data = tempfile::tempdir().unwrap();
        let mut writer = writer(data.path(), 0);
        for number in 0..200 {
            let node: Arc<str> = format!("n{number}").into();
            assert!(writer.write(&node, "a\n").unwrap());
        }
        assert!(writer.files.len() <= OPEN_FILES_MAX);
        for name in ["", "../x", ".", "a/b"] {
            assert_eq!(file(data.path(), name), None, "{name}");
        }
    }

    #[test]
    fn a_full_disk_is_left_alone_and_the_gap_is_marked() {
        let data = tempfile::tempdir().unwrap();
        let node: Arc<str> = "cn1".into();
        let mut full = writer(data.path(), u64::MAX);
        assert!(!full.write(&node, "a\n").unwrap());
        let writer = writer(data.path(), 0);
        writer.left_out.store(7, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(4);
        sender.send(Entry { node, line: "back\n".to_owned() }).unwrap();
        drop(sender);
        writer.run(&receiver);
        let text = std::fs::read_to_string(file(data.path(), "cn1").unwrap()).unwrap();
        assert_eq!(text, "[-- 7 lines of consoles were not logged --]\nback\n");
    }
}
