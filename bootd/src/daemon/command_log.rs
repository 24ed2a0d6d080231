//! `commands.log`: every command with its words (secrets masked), its answer and its duration.
//!
//! Mode 0600, appended to, one record at a time. Answers of commands that may print secrets are not
//! recorded. A log that cannot be written is reported once and never stops a command.

use dawn_xcatd::render::render;
use dawn_xcatd::{Call, Response};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Characters of a command line that are recorded.
const LINE_CHARS_MAX: usize = 64 << 10;
/// Bytes of an answer that are recorded.
const ANSWER_BYTES_MAX: usize = 16 << 10;
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

/// The log file; without a path nothing is written.
#[derive(Debug)]
pub(super) struct CommandLog {
    path: Option<PathBuf>,
    file: Mutex<Option<File>>,
    complained: AtomicBool,
}

/// One command being recorded.
#[derive(Debug)]
pub(super) struct Record {
    head: String,
    answer: String,
    keep_answer: bool,
    nodes: usize,
}

impl CommandLog {
    /// A log into this file.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, file: Mutex::new(None), complained: AtomicBool::new(false) }
    }

    /// Starts the record of a call with its command line (secrets masked); `None` if it is not recorded.
    pub(super) fn start(&self, call: &Call, line: String, time: &str) -> Option<Record> {
        let command = call.request.command.as_str();
        if self.path.is_none() || SKIPPED.contains(&command) {
            return None;
        }
        let kind = clean(call.request.client_type.as_deref().unwrap_or("other"));
        let bar = "=".repeat(52);
        let quoted: Vec<String> = line.split(' ').map(quote).collect();
        let line: String = quoted.join(" ").chars().take(LINE_CHARS_MAX).collect();
        Some(Record {
            head: format!(
                "{bar}\n[Date]       {time}\n[ClientType] {kind} \n[Request]    {line}\n[Response]\n"
            ),
            answer: String::new(),
            keep_answer: !SENSITIVE.contains(&command),
            nodes: call.nodes.len(),
        })
    }

    /// Writes a finished record.
    pub(super) fn finish(&self, record: Record, elapsed: Duration) {
        let answer = if record.keep_answer { record.answer } else { "*REDACTED*\n".to_owned() };
        let text = format!(
            "{}{answer}[NumberNodes] {} \n[ElapsedTime] {:.3} s\n",
            record.head,
            record.nodes,
            elapsed.as_secs_f64()
        );
        let Some(path) = &self.path else { return };
        let mut slot = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = append(&mut slot, path, &text)
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(path = %path.display(), %error, "the command log cannot be written");
        }
    }
}

fn append(slot: &mut Option<File>, path: &Path, text: &str) -> std::io::Result<()> {
    let file = match slot {
        Some(file) => file,
        None => slot.insert(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?),
    };
    file.write_all(text.as_bytes())
}

impl Record {
    /// Notes what the caller sees, as far as there is room.
    pub(super) fn note(&mut self, response: &Response) {
        if !self.keep_answer || self.answer.len() >= ANSWER_BYTES_MAX {
            return;
        }
        for piece in render(response, false) {
            let room = ANSWER_BYTES_MAX.saturating_sub(self.answer.len());
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
    if plain { word.to_owned() } else { format!("'{}'", clean(word)) }
}

/// What a client sends cannot begin a line of the log.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
