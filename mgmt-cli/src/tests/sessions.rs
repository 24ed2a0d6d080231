//! Command sessions: the text files of `mgmt-cli/tests/sessions`, input and expected output together.
//!
//! A file begins with its model, fresh for each file: `rows: NAME` takes the rows of `NAME.rows`, `row: ROW`
//! adds one (`table column=value...`), `#` begins a comment. An empty line ends this. Then `$ COMMAND` is a
//! command of root, `bob$ COMMAND` one of another user, `@10.0.0.1$ COMMAND` one from that address without a
//! certificate; `<<< TEXT` at its end is piped in, with `\n` for a line end. Below it stands what the client
//! prints: standard output, standard error with `! ` in front, and the exit code if it is not 0.
//!
//! `UPDATE_EXPECT=1 cargo test -p dawn sessions` writes the files again from what the commands print.

use crate::testbed::session;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sessions");

#[test]
fn commands_print_what_the_sessions_say() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(DIRECTORY)
        .expect("the sessions")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no session in {DIRECTORY}");
    let (files, failed) = (Mutex::new(files), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(file) = files.lock().expect("the list").pop() else { return };
            // The test goes on, so that one run shows all that differ.
            if std::panic::catch_unwind(|| check(&file)).is_err() {
                failed.lock().expect("the list").push(file);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("the list");
    assert!(failed.is_empty(), "sessions that differ: {failed:?}");
}

fn check(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a session");
    let (head, transcript) = text.split_once("\n\n").expect("rows, an empty line, commands");
    let mut rows = String::new();
    for line in head.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(": ") {
            Some(("rows", name)) => {
                let path = Path::new(DIRECTORY).join(format!("{name}.rows"));
                rows.push_str(&std::fs::read_to_string(path).expect("rows"));
            }
            Some(("row", row)) => rows.push_str(&format!("{row}\n")),
            _ => panic!("{}: '{line}' is neither rows, a row nor a comment", file.display()),
        }
    }
    let inputs: Vec<&str> = transcript.lines().filter_map(input).collect();
    assert!(!inputs.is_empty(), "{}: no command", file.display());
    let printed = session(&rows, &inputs.join("\n"));
    expect_test::expect_file![file].assert_eq(&format!("{head}\n\n{printed}"));
}

/// The command of a line, with its caller in front unless it is root.
fn input(line: &str) -> Option<&str> {
    let (caller, command) = line.split_once("$ ")?;
    let is_caller = caller.chars().all(|c| c.is_ascii_alphanumeric() || "@.:-_".contains(c));
    is_caller.then_some(if caller.is_empty() { command } else { line })
}
