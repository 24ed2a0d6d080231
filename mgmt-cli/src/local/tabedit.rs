//! `tabedit`: a table in an editor.

use super::LocalCommand;
use crate::builder::{ask, ask_with, show};
use crate::environment::Environment;
use crate::terminal::stop_on_signals;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_cluster::utf8;
use dawn_commands::tables::tabrestore::Sender;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Seconds between two looks at the flag that a signal sets, while a line is waited for.
const LOOK_PERIOD_SECONDS: i64 = 1;
const INTERRUPTED: &str = "interrupted; nothing was changed";

/// Edit a table as text, with $TABEDITOR, $EDITOR or vi
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show this help; the exit code is 1, as without a table
    #[arg(short = 'h', long)]
    help: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Table
    #[arg(value_name = "TABLE")]
    table: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "tabedit";
    const WRITES: bool = true;

    const JSON: bool = false;

    fn run(self, environment: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        if self.help {
            out.lines(&help(registry))?;
            return Err(Stop::Code(1));
        }
        let Some(table) = &self.table else {
            return out.plain_error(CommandError::usage("Usage: tabedit TABLE"));
        };
        if matches!(table.as_str(), "auditlog" | "eventlog") {
            let text = format!("Editing of the {table} table is not allowed; see tabprune.");
            return out.plain_error(CommandError::refused(text));
        }
        edit(table, self.dry_run, environment, out)
    }
}

/// A directory that only its owner may read, and that goes with its value.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new(environment: &Environment) -> Result<Self, CommandError> {
        let parent = environment.variable("TMPDIR").unwrap_or("/tmp");
        let path = Path::new(parent).join(format!("tabedit.{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| CommandError::unavailable(path.display().to_string()).cause(error))?;
        Ok(Self(path))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn help(registry: &Registry) -> String {
    let entry = registry.find(Args::NAME);
    entry.map(|entry| (entry.clap)().render_long_help().to_string()).unwrap_or_default()
}

fn edit(table: &str, dry_run: bool, environment: &Environment, out: &mut Out<'_>) -> Done {
    let text = dump(table, environment)?;
    // From here on a signal must not leave the directory behind: it only sets a flag.
    let stop = stop_on_signals();
    let directory = PrivateDirectory::new(environment)?;
    let file = directory.0.join(format!("{table}.csv"));
    let shown = |error: std::io::Error| CommandError::unavailable(file.display().to_string()).cause(error);
    let mut handle =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(shown)?;
    handle.write_all(text.as_bytes()).map_err(shown)?;
    drop(handle);
    loop {
        run_editor(&file, environment)?;
        if stop.load(Ordering::Relaxed) {
            return Err(Stop::unavailable(INTERRUPTED));
        }
        let bytes = std::fs::read(&file).map_err(shown)?;
        if bytes == text.as_bytes() {
            return out.notice("No file modifications detected, not restoring.");
        }
        let words = Sender::Tabedit.words(&format!("{table}.csv"), dry_run);
        let edited = utf8::text(bytes, &file.to_string_lossy());
        let edited = edited.map_err(CommandError::from);
        match edited.and_then(|edited| ask_with(environment, "tabrestore", words, Some(edited))) {
            Ok(answers) => return show(&answers, out),
            Err(error) => out.error(error)?,
        }
        out.notice("Above errors occured, hit enter to edit, or ctrl-c to abort")?;
        if !enter(stop) {
            return Err(Stop::unavailable(INTERRUPTED));
        }
    }
}

/// Waits for a line. No line: a signal, or the end of the input.
fn enter(stop: &AtomicBool) -> bool {
    let stdin = std::io::stdin();
    let look = Timespec { tv_sec: LOOK_PERIOD_SECONDS, tv_nsec: 0 };
    loop {
        let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
        let ready = poll(&mut wait, Some(&look));
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        match ready {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return stdin.lock().read_line(&mut String::new()).is_ok_and(|count| count > 0),
            Err(_) => return false,
        }
    }
}

fn dump(table: &str, environment: &Environment) -> Result<String, CommandError> {
    let responses = ask(environment, "tabdump", vec![table.to_owned()])?;
    let mut text = String::new();
    for data in responses.iter().flat_map(|response| response.data.iter()) {
        if let dawn_xcatd::Data::Text(line) = data {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// The editor's words are split at blanks; no shell is involved.
fn run_editor(file: &PathBuf, environment: &Environment) -> Result<(), CommandError> {
    let editor = environment.variable("TABEDITOR").or_else(|| environment.variable("EDITOR")).unwrap_or("vi");
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    match Command::new(program).args(words).arg(file).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(CommandError::refused(format!("{program} ended with {status}; nothing was changed")))
        }
        Err(error) => Err(CommandError::not_found(program).cause(error)),
    }
}
