//! Chooses the command, and is the client of those that run in the daemon.

use crate::environment::Environment;
use crate::registry::registry;
use crate::requests::request_for;
use crate::terminal::{hidden_line, print, print_error, stop_on_signals};
use crate::{console, init, local, serve};
use dawn_bootd::command::parse::version_line;
use dawn_bootd::command::{Entry, Kind, NO_NODES, PROGRESS, PasswordPrompt, Registry, VERSION};
use dawn_cluster::utf8;
use dawn_xcatd::client;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;

/// Bytes of piped text a client forwards.
const STDIN_BYTES_MAX: u64 = 64 << 20;
/// What an error begins with.
const ERROR: &str = "Error: ";
/// Exit code of `tabrestore` for a file whose lines are wrong.
const BAD_TEXT: i32 = 4;

/// Runs the program; the exit code.
pub fn run(environment: &Environment) -> i32 {
    let words = environment.arguments.get(1..).unwrap_or_default();
    let registry = registry();
    if let Some(entry) = registry.find(environment.program()) {
        return run_entry(entry, words, environment, &registry);
    }
    match words.split_first() {
        None => usage(&registry, 1),
        Some((word, rest)) if word == "help" && !rest.is_empty() => help(&registry, rest),
        Some((word, _)) if matches!(word.as_str(), "-h" | "--help" | "help") => usage(&registry, 0),
        Some((word, _)) if matches!(word.as_str(), "-v" | "-V" | "--version") => {
            print(&format!("{VERSION}\n"));
            0
        }
        Some((word, rest)) => run_named(word, rest, environment, registry),
    }
}

fn run_named(word: &str, rest: &[String], environment: &Environment, registry: Registry) -> i32 {
    match word {
        "serve" => run_serve(rest, environment, registry),
        "init" => init::LOCAL.run(rest, environment, &registry),
        _ => match registry.find(word) {
            Some(entry) => run_entry(entry, rest, environment, &registry),
            None => {
                print_error(&registry.unknown(word).to_string());
                1
            }
        },
    }
}

/// The daemon: it writes to its log, and has no results.
fn run_serve(words: &[String], environment: &Environment, registry: Registry) -> i32 {
    match serve::read(words) {
        Ok(args) => serve::run(&args, environment, registry),
        Err(said) => {
            said.error.iter().for_each(|error| print_error(error));
            print(&said.text);
            said.code
        }
    }
}

fn usage(registry: &Registry, code: i32) -> i32 {
    print(&registry.overview());
    code
}

/// `dawn help COMMAND`: what `COMMAND --help` prints.
fn help(registry: &Registry, words: &[String]) -> i32 {
    match registry.help(words.first().map(String::as_str)) {
        Ok(text) => {
            print(&text);
            0
        }
        Err(error) => {
            print_error(&error.to_string());
            1
        }
    }
}

fn run_entry(entry: &Entry, words: &[String], environment: &Environment, registry: &Registry) -> i32 {
    let words = &entry.in_full(words);
    if let Some(local) = local::find(entry.name) {
        return local.run(words, environment, registry);
    }
    // The file that a command sends is read here, and the version is not in it.
    if entry.sends_file && entry.asks_for_version(words) {
        print(&format!("{}\n", version_line(entry.name)));
        return 0;
    }
    if let [word] = words.as_slice()
        && matches!(word.as_str(), "-h" | "--help")
    {
        print(&(entry.clap)().render_long_help().to_string());
        return 0;
    }
    let mut request = request_for(entry, words, environment);
    // The empty variable of a script: the daemon, which has other clients too, could take it for all nodes.
    if entry.kind == Kind::Nodes && entry.writes && request.noderange.as_deref() == Some("") {
        return refused(NO_NODES, 1);
    }
    let input = match () {
        () if entry.sends_file => file_text(entry, words, environment).map(Some),
        () if wants_stdin(entry, words) => piped_text(),
        () => Ok(None),
    };
    match input {
        Ok(text) => request.stdin = text.or_else(|| lines_of_variables(entry, environment)),
        Err(code) => return code,
    }
    if let Some(prompt) = entry.asks_password.filter(|prompt| is_asked(prompt, words)) {
        match password(&prompt, environment) {
            Ok(Some(password)) => request.env.push(format!("{}={password}", prompt.variable)),
            Ok(None) => {}
            Err(error) => return refused(&format!("the terminal: {error}"), 2),
        }
    }
    let verbose = is_verbose(entry, words);
    if !entry.sends_variables.is_empty() && std::io::stderr().is_terminal() {
        request.env.push(format!("{PROGRESS}=1"));
    }
    if entry.streams {
        return console::run(&environment.client(verbose), &request);
    }
    let stop = stop_on_signals();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    client::run(&environment.client(verbose), &request, stop, &mut out, &mut err)
}

/// Text of the file that the last word names, or the exit code of xCAT's client.
fn file_text(entry: &Entry, words: &[String], environment: &Environment) -> Result<String, i32> {
    // xCAT's client prints these errors among the results, which are only JSON if they are asked for so.
    let said = |line: &str, code: i32| {
        if asks_json(words) {
            print_error(line.trim_start_matches(ERROR))
        } else {
            print(&format!("{line}\n"))
        }
        code
    };
    let file = words.iter().rev().find(|word| !word.starts_with('-'));
    let file = file.ok_or_else(|| said(&(entry.clap)().render_usage().to_string(), 2))?;
    let bytes = std::fs::read(environment.directory.join(file));
    let bytes = bytes.map_err(|_| said(&format!("{ERROR}Unable to open {file} for reading."), 3))?;
    utf8::text(bytes, file).map_err(|error| refused(&error.to_string(), BAD_TEXT))
}

fn refused(error: &str, code: i32) -> i32 {
    print_error(error);
    code
}

/// Whether lines begin with their source: `-V` after the noderange, or anywhere for a command without one.
/// xCAT's client of the object commands does not name it, and a list in JSON has no room for it.
fn is_verbose(entry: &Entry, words: &[String]) -> bool {
    if entry.names_objects || asks_json(words) {
        return false;
    }
    let skip = match entry.kind {
        Kind::Nodes => words.iter().position(|word| !word.starts_with('-')).map_or(0, |at| at + 1),
        _ => 0,
    };
    let mut words = words.iter().skip(skip).take_while(|word| *word != "--");
    words.any(|word| word == "-V" || word == "--verbose")
}

/// Whether results are asked for as JSON.
fn asks_json(words: &[String]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

fn is_asked(prompt: &PasswordPrompt, words: &[String]) -> bool {
    let mut words = words.iter().take_while(|word| *word != "--");
    words.any(|word| word == prompt.option || is_short_with(word, prompt.letter))
}

/// The password, from the terminal, if its variable is not set.
fn password(prompt: &PasswordPrompt, environment: &Environment) -> io::Result<Option<String>> {
    if environment.variable(prompt.variable).is_some() || !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    print(prompt.prompt);
    let line = hidden_line()?;
    print("\n");
    Ok(Some(line).filter(|line| !line.is_empty()))
}

/// Stanza text is read for `-z`, or when no word says what the command is about. (xCAT always
/// reads to the end of its input and so swallows the list of a `while read` loop.)
fn wants_stdin(entry: &Entry, words: &[String]) -> bool {
    let stanza = |word: &String| word == "--stanza" || is_short_with(word, 'z');
    entry.reads_stdin && (words.iter().any(stanza) || words.iter().all(|word| word.starts_with('-')))
}

fn is_short_with(word: &str, letter: char) -> bool {
    word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.contains(letter))
}

/// Input that was piped in as a whole, or an exit code: a part of it would be mistaken for all.
fn piped_text() -> Result<Option<String>, i32> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() || rustix::fs::fstat(stdin.as_fd()).is_err() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    if let Err(error) = stdin.lock().take(STDIN_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return Err(refused(&format!("standard input: {error}"), 1));
    }
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        let limit = STDIN_BYTES_MAX >> 20;
        return Err(refused(&format!("standard input has more than {limit} MiB; split it"), 1));
    }
    let text = utf8::text(bytes, "standard input").map_err(|error| refused(&error.to_string(), 1))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The values of the command's variables, a line each, as far as the first is set.
fn lines_of_variables(entry: &Entry, environment: &Environment) -> Option<String> {
    environment.variable(entry.input_from.first()?)?;
    let line = |name: &&str| format!("{}\n", environment.variable(name).unwrap_or_default());
    Some(entry.input_from.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::{is_verbose, registry};

    #[test]
    fn a_list_in_json_has_no_sources() {
        for (line, expected) in [
            ("nodels cn1 -V", true),
            ("nodels -V cn1", false),
            ("nodels cn1 -V --json", false),
            ("nodels --json cn1 -V", false),
            ("xdsh cn1 -V -- ls --json", true),
            ("lsdef cn1 -V", false),
        ] {
            let mut words = line.split(' ').map(str::to_owned);
            let name = words.next().expect("a command");
            let words: Vec<String> = words.collect();
            assert_eq!(is_verbose(registry().find(&name).expect("a command"), &words), expected, "{line}");
        }
    }
}
