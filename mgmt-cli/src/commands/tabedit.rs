//! `tabedit`: a table in an editor.

use crate::app::print;
use crate::builder::{ask, ask_with, fail};
use crate::commands::tabrestore::Sender;
use crate::environment::Environment;
use crate::frame::LocalCommand;
use crate::utf8;
use std::io::{BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Edit a table as text, with $TABEDITOR, $EDITOR or vi
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show this help; the exit code is 1, as without a table
    #[arg(short = 'h', long)]
    help: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Table
    #[arg(value_name = "TABLE")]
    table: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "tabedit";
    const WRITES: bool = true;

    fn run(self, environment: &Environment) -> i32 {
        if self.help {
            print(&help(Self::NAME));
            return 1;
        }
        let Some(table) = &self.table else {
            print("Usage: tabedit TABLE\n");
            return 1;
        };
        if matches!(table.as_str(), "auditlog" | "eventlog") {
            print(&format!("Editing of the {table} table is not allowed; see tabprune.\n"));
            return 1;
        }
        let directory = environment.variable("TMPDIR").unwrap_or("/tmp");
        let directory = Path::new(directory).join(format!("tabedit.{}", std::process::id()));
        let result = edit(table, self.dry_run, &directory, environment);
        let _ = std::fs::remove_dir_all(&directory);
        match result {
            Ok(()) => 0,
            Err(text) => fail(&text),
        }
    }
}

fn help(command: &str) -> String {
    let entry = crate::commands::find(command);
    entry.map(|entry| (entry.clap)().render_long_help().to_string()).unwrap_or_default()
}

fn edit(table: &str, dry_run: bool, directory: &Path, environment: &Environment) -> Result<(), String> {
    let text = dump(table, environment)?;
    let shown = |error: std::io::Error| format!("{}: {error}", directory.display());
    std::fs::DirBuilder::new().mode(0o700).create(directory).map_err(shown)?;
    let file = directory.join(format!("{table}.csv"));
    let mut handle =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(shown)?;
    handle.write_all(text.as_bytes()).map_err(shown)?;
    drop(handle);
    loop {
        run_editor(&file, environment)?;
        let bytes = std::fs::read(&file).map_err(shown)?;
        if bytes == text.as_bytes() {
            print("No file modifications detected, not restoring.\n");
            return Ok(());
        }
        let words = Sender::Tabedit.words(&format!("{table}.csv"), dry_run);
        let edited = utf8::text(bytes, &file.to_string_lossy());
        match edited.and_then(|edited| ask_with(environment, "tabrestore", words, Some(edited))) {
            Ok(answers) => {
                for line in answers.iter().flat_map(|answer| answer.info.iter()) {
                    print(&format!("{line}\n"));
                }
                return Ok(());
            }
            Err(text) => fail(&text),
        };
        print("Above errors occured, hit enter to edit, or ctrl-c to abort\n");
        let mut line = String::new();
        if !std::io::stdin().lock().read_line(&mut line).is_ok_and(|count| count > 0) {
            return Err("nothing was changed".into());
        }
    }
}

fn dump(table: &str, environment: &Environment) -> Result<String, String> {
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
fn run_editor(file: &PathBuf, environment: &Environment) -> Result<(), String> {
    let editor = environment.variable("TABEDITOR").or_else(|| environment.variable("EDITOR")).unwrap_or("vi");
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file).status();
    status.map(drop).map_err(|error| format!("{program}: {error}"))
}
