//! Command sessions: the text files of `mgmt-cli/tests/sessions`, input and expected output together.
//!
//! A file begins with its model, fresh for each file: `rows: NAME` takes the rows of `NAME.rows`, `row: ROW`
//! adds one (`table column=value...`), `#` begins a comment. An empty line ends this. Then `$ COMMAND` is a
//! command of root, `bob$ COMMAND` one of another user, `@10.0.0.1$ COMMAND` one from that address without a
//! certificate; `<<< TEXT` at its end is piped in, with `\n` for a line end. Below it is what the client
//! prints: standard output, standard error with `! ` in front, and the exit code if it is not 0.
//!
//! Each command has a file of its name: its ordinary use, its options, `--json`, and what it refuses. Other
//! files are about a subject of several commands, see [`THEMES`]. What asks other machines, or depends on the
//! machine or the time, is not in a session: the session shows what is refused before.
//!
//! `UPDATE_EXPECT=1 cargo test -p dawn sessions` writes the files again from what the commands print.

use crate::registry::registry;
use crate::testbed::session;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sessions");

/// Files that are about a subject of several commands.
const THEMES: [&str; 15] = [
    "addresses",     // addresses of nodes, and those that nothing answers
    "conflicts",     // rows that contradict each other
    "dhcp",          // nodes with several interfaces, and the settings of the DHCP service
    "emptied",       // values that are taken out again
    "excludenodes",  // site.excludenodes
    "groups",        // members of groups, and groups that get another name
    "names",         // what a name may be
    "next_boot",     // changes that take effect at the next boot
    "nothing_named", // an empty noderange
    "policy",        // what other users may do
    "programs",      // requests of xCAT's own programs
    "stanzas",       // definitions as stanzas
    "statelite",     // what the tables of statelite take
    "typos",         // names that were probably mistyped
    "values",        // what a column takes
];

/// What the program does besides its commands: wrong words and help alone, as a daemon is not a session.
const PROGRAM: [&str; 2] = ["init", "serve"];

#[test]
fn commands_print_what_the_sessions_say() {
    let (files, failed) = (Mutex::new(files()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(file) = files.lock().expect("the list").pop() else { return };
            // The test continues, so that one run shows all that differ.
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

#[test]
fn each_command_has_a_session() {
    let registry = registry();
    let commands: BTreeSet<String> = registry.all().iter().map(|entry| entry.name.to_owned()).collect();
    let commands: BTreeSet<String> =
        commands.into_iter().chain(PROGRAM.iter().map(|name| (*name).to_owned())).collect();
    let themes: BTreeSet<String> = THEMES.iter().map(|theme| (*theme).to_owned()).collect();
    let expected: BTreeSet<String> = commands.union(&themes).cloned().collect();
    let name = |file: &PathBuf| file.file_stem().expect("a name").to_string_lossy().into_owned();
    let present: BTreeSet<String> = files().iter().map(name).collect();
    let missing: Vec<&String> = expected.difference(&present).collect();
    assert!(missing.is_empty(), "no session: {missing:?}");
    let strange: Vec<&String> = present.difference(&expected).collect();
    assert!(strange.is_empty(), "sessions that are named neither after a command nor a theme: {strange:?}");
    for file in files() {
        let (text, name) = (std::fs::read_to_string(&file).expect("a session"), name(&file));
        let is_run = text.lines().filter_map(command).any(|command| command == name);
        assert!(is_run || themes.contains(&name), "{name} is not run in the session of its name");
    }
}

/// All sessions, by name.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(DIRECTORY)
        .expect("the sessions")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no session in {DIRECTORY}");
    files
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

/// The name of the command of a line.
fn command(line: &str) -> Option<&str> {
    input(line)?;
    line.split_once("$ ")?.1.split(' ').next()
}

/// The command line of a line, with its caller in front unless it is root.
fn input(line: &str) -> Option<&str> {
    let (caller, command) = line.split_once("$ ")?;
    let is_caller = caller.chars().all(|c| c.is_ascii_alphanumeric() || "@.:-_".contains(c));
    is_caller.then_some(if caller.is_empty() { command } else { line })
}
