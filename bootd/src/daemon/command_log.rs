//! `commands.log`: every command with its words (secrets masked), its answer and its duration.
//!
//! Mode 0600; records are appended one by one. Answers of commands that may print secrets are not
//! recorded. A log that cannot be written is reported once and never stops a command.
//!
//! Requests of callers without a certificate go to a separate file, `requests.log`, with shorter records:
//! nodes cannot fill the disk, nor push the commands of administrators out of their log. A file that is full
//! becomes `….1`, in place of the one before.

use dawn_wire::text::control_as_blanks;
use dawn_xcatd::render::render;
use dawn_xcatd::{Call, Response};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The log of one kind of callers.
#[derive(Debug)]
struct Limits {
    /// Characters of a command line that are recorded.
    line_chars: usize,
    /// Bytes of an answer that are recorded.
    answer_bytes: usize,
    /// Bytes of the file; there may be two.
    file_bytes: u64,
}

/// Of callers with a certificate.
const COMMANDS: Limits = Limits { line_chars: 64 << 10, answer_bytes: 16 << 10, file_bytes: 256 << 20 };
/// Of all others: nodes.
const REQUESTS: Limits = Limits { line_chars: 512, answer_bytes: 1 << 10, file_bytes: 16 << 20 };
/// Characters of the client's kind that are recorded.
const KIND_CHARS_MAX: usize = 32;
/// The name of the second file, in the directory of the first.
const REQUESTS_FILE: &str = "requests.log";
/// Commands that are not recorded at all.
const SKIPPED: [&str; 3] = ["getipmicons", "getcons", "getopenbmccons"];
/// Commands whose answers may hold secrets.
const SENSITIVE: [&str; 13] = [
    "lsdef",
    "tabdump",
    "gettab",
    "nodels",
    "log",
    "undo",
    "getcredentials",
    "getbmcconfig",
    "getpostscript",
    "dumpxCATdb",
    "gettoken",
    "getAttribs",
    "imagedef",
];

/// The log files; without a path nothing is written.
#[derive(Debug, Default)]
pub(super) struct CommandLog {
    files: Option<[LogFile; 2]>,
}

/// One command being recorded.
#[derive(Debug)]
pub(super) struct Record {
    caller: Caller,
    head: String,
    answer: String,
    /// 0 for one that may hold secrets.
    answer_bytes_max: usize,
    nodes: usize,
}

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Certified,
    Other,
}

impl CommandLog {
    /// A log into this file and the second one in its directory.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let files = path.map(|path| {
            let requests = path.with_file_name(REQUESTS_FILE);
            [LogFile::new(path, &COMMANDS), LogFile::new(requests, &REQUESTS)]
        });
        Self { files }
    }

    /// Starts the record of a call with its command line (secrets masked); `None` if it is not recorded.
    pub(super) fn start(&self, call: &Call, line: &str, time: &str) -> Option<Record> {
        let command = call.request.command.as_str();
        if self.files.is_none() || SKIPPED.contains(&command) {
            return None;
        }
        let (caller, limits) = match call.peer_name {
            Some(_) => (Caller::Certified, &COMMANDS),
            None => (Caller::Other, &REQUESTS),
        };
        let kind: String = control_as_blanks(call.request.client_type.as_deref().unwrap_or("other"))
            .chars()
            .take(KIND_CHARS_MAX)
            .collect();
        let bar = "=".repeat(52);
        let quoted: Vec<String> = line.split(' ').map(quote).collect();
        let line: String = quoted.join(" ").chars().take(limits.line_chars).collect();
        Some(Record {
            caller,
            head: format!(
                "{bar}\n[Date]       {time}\n[ClientType] {kind} \n[Request]    {line}\n[Response]\n"
            ),
            answer: String::new(),
            answer_bytes_max: if SENSITIVE.contains(&command) { 0 } else { limits.answer_bytes },
            nodes: call.nodes.len(),
        })
    }

    /// Writes a finished record.
    pub(super) fn finish(&self, record: Record, elapsed: Duration) {
        let answer = if record.answer_bytes_max > 0 { record.answer } else { "*REDACTED*\n".to_owned() };
        let text = format!(
            "{}{answer}[NumberNodes] {} \n[ElapsedTime] {:.3} s\n",
            record.head,
            record.nodes,
            elapsed.as_secs_f64()
        );
        let Some([commands, requests]) = &self.files else { return };
        match record.caller {
            Caller::Certified => commands.append(&text),
            Caller::Other => requests.append(&text),
        }
    }
}

/// A file that is begun again when it is full.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    bytes_max: u64,
    open: Mutex<Option<Open>>,
    complained: AtomicBool,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl LogFile {
    fn new(path: PathBuf, limits: &Limits) -> Self {
        let (bytes_max, open) = (limits.file_bytes, Mutex::new(None));
        Self { path, bytes_max, open, complained: AtomicBool::new(false) }
    }

    fn append(&self, text: &str) {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(&mut slot, text)
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(path = %self.path.display(), %error, "the command log cannot be written");
        }
    }

    fn write(&self, slot: &mut Option<Open>, text: &str) -> io::Result<()> {
        let bytes = text.len() as u64;
        let mut open = match slot.take().filter(|open| open.is_at(&self.path)) {
            Some(open) => open,
            None => Open::at(&self.path)?,
        };
        if open.bytes > 0 && open.bytes.saturating_add(bytes) > self.bytes_max {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            std::fs::rename(&self.path, before)?;
            open = Open::at(&self.path)?;
        }
        open.bytes = open.bytes.saturating_add(bytes);
        let done = open.file.write_all(text.as_bytes());
        *slot = Some(open);
        done
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// The name still leads to the file: it has not been moved away, as logrotate does.
    fn is_at(&self, path: &Path) -> bool {
        let same = |one: Metadata, other: Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
        self.file.metadata().is_ok_and(|own| path.metadata().is_ok_and(|there| same(own, there)))
    }
}

impl Record {
    /// Records the output for the caller, as far as there is room.
    pub(super) fn note(&mut self, response: &Response) {
        if self.answer.len() >= self.answer_bytes_max {
            return;
        }
        for piece in render(response, false) {
            let room = self.answer_bytes_max.saturating_sub(self.answer.len());
            self.answer.extend(piece.text.chars().take(room));
        }
        if !self.answer.is_empty() && !self.answer.ends_with('\n') {
            self.answer.push('\n');
        }
    }
}

/// Words with other characters than letters, digits, `.` and `-` are quoted.
fn quote(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if plain { word.to_owned() } else { format!("'{}'", control_as_blanks(word)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_begun_again_and_one_that_was_moved_is_made_anew() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("x.log");
        let limits = Limits { line_chars: 1, answer_bytes: 1, file_bytes: 100 };
        let log = LogFile::new(path.clone(), &limits);
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let before = top.path().join("x.log.1");
        for n in 0..10_u8 {
            log.append(&n.to_string().repeat(30));
        }
        assert_eq!((text(&path).len(), text(&before).len()), (30, 90));
        assert!(text(&path).starts_with('9'));
        // One that does not fit is written whole.
        log.append(&"x".repeat(500));
        assert_eq!((text(&path).len(), text(&before).len()), (500, 30));
        std::fs::rename(&path, top.path().join("kept")).unwrap();
        log.append("after");
        assert_eq!(text(&path), "after");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!log.complained.load(Ordering::Relaxed));
    }
}
