//! What a command is.
//!
//! A command is a `clap` argument struct that says how it is called and a function that runs. The same
//! struct gives help, completion, man page and the reference page, in the client and in the daemon.
//!
//! Three kinds: [`Kind::Nodes`] commands take a noderange that must be good before they run,
//! [`Kind::Words`] commands look at all their words themselves, [`Kind::Local`] ones run in the process
//! of the caller (they read or write its files) and ask the daemon for what they need.

use crate::bridge::View;
use crate::commands::tables::tabrestore;
use crate::environment::Environment;
use crate::hooks::BootHooks;
use crate::options::{self, takes_next_word};
use crate::output::{Done, Out, Stop};
use crate::redact;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction};
use dawn_cluster::{Change, Model, Snapshot};
use dawn_imagebuilder::image::is_in_tree;
use dawn_xcatd::{Call, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Columns help texts are wrapped at: the daemon does not know the terminal of its caller.
const HELP_WIDTH: usize = 100;
/// What a command says whose noderange is the empty word.
pub const NO_NODES: &str = "no nodes given: the noderange is empty";
/// What `-v` prints: the level of compatibility, then our own version.
pub const VERSION: &str = concat!("Version 2.19.0 (Dawn ", env!("CARGO_PKG_VERSION"), ")");

/// Where a command runs and what becomes of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In the daemon; the first word that is no option is a noderange.
    Nodes,
    /// In the daemon; all words are arguments.
    Words,
    /// In the process of the caller.
    Local,
}

/// A command that runs in the daemon.
pub trait Command: clap::Args {
    /// Name: verb on the wire, symlink, sub-command.
    const NAME: &'static str;
    /// [`Kind::Nodes`] or [`Kind::Words`].
    const KIND: Kind;
    /// Whether text piped into the client is part of the command.
    const READS_STDIN: bool = false;
    /// Variables of the client whose values are sent as lines of input when nothing is piped.
    const INPUT_FROM: &'static [&'static str] = &[];
    /// Whether the client sends the text of the file that the command names.
    const SENDS_FILE: bool = false;
    /// Whether the first word without `=` (or the value of `-o`) names objects, as with `lsdef`.
    const NAMES_OBJECTS: bool = false;
    /// Whether it changes tables or files; then it has `--dry-run` (a test holds it to that).
    const WRITES: bool = false;
    /// Carries the command out.
    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done;
}

/// A command that runs in the caller's process.
pub trait LocalCommand: clap::Args {
    /// Name: symlink and sub-command.
    const NAME: &'static str;
    /// Whether it changes tables or files; then it has `--dry-run` (a test holds it to that).
    const WRITES: bool = false;
    /// Carries the command out; the exit code.
    fn run(self, environment: &Environment) -> i32;
}

/// A registered command.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Name.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Text piped into the client is sent along when no word names an object.
    pub reads_stdin: bool,
    /// Variables sent as lines of input when nothing is piped.
    pub input_from: &'static [&'static str],
    /// The text of the file named by the last word is sent along.
    pub sends_file: bool,
    /// The first word without `=` names objects.
    pub names_objects: bool,
    /// Changes tables or files.
    pub writes: bool,
    /// Arguments and help.
    pub clap: fn() -> clap::Command,
    run: Runner,
}

#[derive(Clone, Copy)]
enum Runner {
    Daemon(fn(&[String], &Ctx<'_>, &mut Out<'_>) -> Done),
    Local(fn(&[String], &Environment) -> i32),
}

impl Entry {
    /// Entry of a daemon command.
    pub const fn daemon<C: Command>() -> Entry {
        Entry {
            name: C::NAME,
            kind: C::KIND,
            reads_stdin: C::READS_STDIN,
            input_from: C::INPUT_FROM,
            sends_file: C::SENDS_FILE,
            names_objects: C::NAMES_OBJECTS,
            writes: C::WRITES,
            clap: clap_of::<C>,
            run: Runner::Daemon(run_in_daemon::<C>),
        }
    }

    /// Entry of a local command.
    pub const fn local<C: LocalCommand>() -> Entry {
        Entry {
            name: C::NAME,
            kind: Kind::Local,
            reads_stdin: false,
            input_from: &[],
            sends_file: false,
            names_objects: false,
            writes: C::WRITES,
            clap: clap_of_local::<C>,
            run: Runner::Local(run_locally::<C>),
        }
    }

    /// Runs a daemon command with its words.
    pub fn run(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.kind == Kind::Nodes && ctx.call.request.noderange.as_deref() == Some("") {
            return Err(Stop::message(NO_NODES));
        }
        match self.run {
            Runner::Daemon(run) => run(&words_of(ctx.call), ctx, out),
            Runner::Local(_) => Err(Stop::message("this command does not run in the daemon")),
        }
    }

    /// Puts a request into the form its command expects, whichever client sent it.
    ///
    /// The reference has several clients, chosen by links that changed over the years: one cuts the first
    /// word that is no option out as the noderange, one leaves all words among the arguments, that of the
    /// object commands does both, and that of `tabrestore` sends a table's name and lines as elements of
    /// their own. After this the words of a [`Kind::Words`] command are all arguments, and the noderange of
    /// an object command is what policy looks at. A noderange that is there and empty stays so, if there are
    /// words that could be taken for it; the command is refused. Options are spelled in full.
    pub fn put_in_order(&self, request: &mut Request) {
        if self.sends_file {
            take_table(request);
        }
        request.args = self.in_full(&request.args);
        let is_empty = request.noderange.take_if(|noderange| noderange.is_empty()).is_some();
        let given = given_nodes(request);
        match self.kind {
            // Clients send the empty element too when there is no word at all.
            Kind::Nodes if given.is_none() && is_empty => {
                let (word, _) = split_noderange(&(self.clap)(), &request.args);
                request.noderange = word.map(|_| String::new());
            }
            Kind::Nodes if given.is_none() => {
                let args = std::mem::take(&mut request.args);
                (request.noderange, request.args) = split_noderange(&(self.clap)(), &args);
            }
            Kind::Words => match given {
                Some(given) if !request.args.contains(&given) => request.args.insert(0, given),
                Some(_) => {}
                None if self.names_objects => {
                    request.noderange = object_names(&(self.clap)(), &request.args);
                }
                None => {}
            },
            _ => {}
        }
    }

    /// The words with every option spelled in full, see [`options`].
    pub fn in_full(&self, words: &[String]) -> Vec<String> {
        options::in_full(&(self.clap)(), words)
    }

    /// Whether the words, spelled in full, ask for the version and so for nothing else.
    pub fn asks_for_version(&self, words: &[String]) -> bool {
        options::ask_for_version(&(self.clap)(), words)
    }

    /// Runs a local command; the exit code.
    pub fn run_local(&self, words: &[String], environment: &Environment) -> i32 {
        match self.run {
            Runner::Local(run) => run(words, environment),
            Runner::Daemon(_) => 1,
        }
    }
}

/// What a running command sees.
pub struct Ctx<'a> {
    /// The model, for changes.
    pub model: &'a Model,
    /// The snapshot in which noderange and policy of this call were evaluated.
    pub snapshot: Arc<Snapshot>,
    /// What the caller may name: each noderange that the command evaluates itself goes through it.
    pub view: View,
    /// The call: caller, nodes, piped text, directory.
    pub call: &'a Call,
    /// Boot services.
    pub hooks: &'a dyn BootHooks,
    /// Short host name of the daemon.
    pub host: &'a str,
    /// The file that `makehosts` writes.
    pub hosts_file: &'a str,
    /// What `lsxcatd -d` says about the database.
    pub database: &'a [String],
    /// The data directory; `None` in a daemon without one.
    pub data: Option<&'a Path>,
}

impl Ctx<'_> {
    /// Expanded noderange of the call.
    pub fn nodes(&self) -> &[String] {
        &self.call.nodes
    }

    /// Who asks, and by which command line (secrets masked): the head of a change.
    pub fn change_head(&self) -> Change {
        let command = crate::commands::find(&self.call.request.command);
        debug_assert!(command.is_none_or(|entry| entry.writes), "a command that writes says so: WRITES");
        let who = self.call.username.clone().unwrap_or_else(|| self.call.peer_host.clone());
        Change::new(who, command_line(self.call), Vec::new())
    }

    /// Refuses a caller who is not root: the daemon would write or run a file with root's rights for them.
    pub fn require_root(&self, what: &str) -> Done {
        match self.call.peer_name.as_deref() {
            Some("root") => Ok(()),
            _ => Err(Stop::message(format!("only root may let the daemon {what}"))),
        }
    }

    /// A path as the caller means it: relative ones are below the caller's directory.
    pub fn path_of_caller(&self, path: &str) -> PathBuf {
        Path::new(self.call.request.cwd.as_deref().unwrap_or("/")).join(path)
    }

    /// A file that the daemon writes for the caller, links followed. Only root may ask for one, and not in the
    /// tree of an image, whose links are the image's.
    pub fn output_of_caller(&self, path: &str) -> Result<PathBuf, Stop> {
        self.require_root("write a file")?;
        let path = self.path_of_caller(path);
        let path = path.canonicalize().unwrap_or(path);
        let above = path.parent().unwrap_or(Path::new("/"));
        let above = above.canonicalize().unwrap_or_else(|_| above.to_owned());
        if is_in_tree(&above) {
            return Err(Stop::message(format!(
                "{} is in the tree of an image, which belongs to the image alone\n\
                 Hint: name a file outside of it; it can be copied there with the image's postinstall script.",
                path.display()
            )));
        }
        Ok(path)
    }
}

/// The command line of a call with secrets masked.
pub fn command_line(call: &Call) -> String {
    let command = &call.request.command;
    let words = words_of(call);
    if let Some(line) = tabrestore::typed(&words).filter(|_| command == tabrestore::Args::NAME) {
        return line;
    }
    let mut line = command.clone();
    for word in redact::words(command, &words) {
        line.push(' ');
        line.push_str(&word);
    }
    line
}

/// Words as the user typed them, after [`Entry::put_in_order`]: a [`Kind::Nodes`] command has its noderange
/// in front, all others have all words among the arguments.
fn words_of(call: &Call) -> Vec<String> {
    let request = &call.request;
    let is_words = crate::commands::find_request(&request.command).is_some_and(|e| e.kind == Kind::Words);
    let noderange = if is_words { None } else { given_nodes(request) };
    noderange.into_iter().chain(request.args.iter().cloned()).collect()
}

/// The noderange of a request, or the list of nodes that stands for it.
fn given_nodes(request: &Request) -> Option<String> {
    let nodes = if request.nodes.is_empty() { None } else { Some(request.nodes.join(",")) };
    request.noderange.clone().or(nodes)
}

/// Cuts a noderange out of the words of a [`Kind::Nodes`] command: the first word that does not begin
/// with `-` and is not the value of an option. (The reference's client does not know which options take
/// values and takes `5` of `-n 5` for the noderange.)
pub fn split_noderange(command: &clap::Command, words: &[String]) -> (Option<String>, Vec<String>) {
    let mut value_expected = false;
    for (at, word) in words.iter().enumerate() {
        if std::mem::take(&mut value_expected) {
            continue;
        }
        if word.starts_with('-') {
            value_expected = takes_next_word(command, word);
            continue;
        }
        let mut rest = words.to_vec();
        let noderange = rest.remove(at);
        return (Some(noderange), rest);
    }
    (None, words.to_vec())
}

/// The word of an object command that names its objects.
fn object_names(command: &clap::Command, words: &[String]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "-o" {
            return words.next().cloned();
        }
        if word.starts_with('-') {
            if takes_next_word(command, word) {
                words.next();
            }
        } else if !word.contains('=') {
            return Some(word.clone());
        }
    }
    None
}

/// The reference's `tabrestore` sends `<table>`, one `<data>` for each line of the file, and `<addrows>`.
fn take_table(request: &mut Request) {
    let Some(table) = request.extra.iter().find(|element| element.name == "table") else { return };
    request.args = vec![format!("{}.csv", table.text.trim())];
    if request.extra.iter().any(|element| element.name == "addrows") {
        request.args.insert(0, "-a".into());
    }
    let lines = request.extra.iter().filter(|element| element.name == "data");
    request.stdin = Some(lines.map(|line| line.text.as_str()).collect());
    request.extra.clear();
}

fn clap_of<C: Command>() -> clap::Command {
    finish(C::augment_args(clap::Command::new(C::NAME)))
}

fn clap_of_local<C: LocalCommand>() -> clap::Command {
    finish(C::augment_args(clap::Command::new(C::NAME)))
}

/// Options every command has.
fn finish(command: clap::Command) -> clap::Command {
    let has = |short, name: &str| {
        command.get_arguments().any(|arg| arg.get_short() == Some(short) || arg.get_id() == name)
    };
    let (has_v, has_big_v, has_h) = (has('v', "version"), has('V', "verbose"), has('h', "help"));
    let mut command = command.disable_version_flag(true).term_width(HELP_WIDTH);
    if !has_v {
        command = command.arg(flag("version", 'v', "Print the version"));
    } else if !command.get_arguments().any(|arg| arg.get_id() == "version") {
        let version = Arg::new("version").long("version").help("Print the version");
        command = command.arg(version.action(ArgAction::SetTrue));
    }
    if !has_big_v {
        command = command.arg(flag("verbose", 'V', "Verbose output; prefix each line with its source"));
    }
    if !has_h {
        let help = Arg::new("help").short('h').long("help").help("Print help").action(ArgAction::Help);
        command = command.arg(help);
    }
    command.disable_help_flag(true).mut_args(in_order)
}

/// Options are listed by name, those that every command has after all others.
fn in_order(arg: Arg) -> Arg {
    let order = match arg.get_id().as_str() {
        "verbose" => 2,
        "help" => 3,
        "version" => 4,
        _ => 1,
    };
    if arg.is_positional() { arg } else { arg.display_order(order) }
}

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).help(help).action(ArgAction::SetTrue)
}

/// What reading the words gave.
enum Parsed<A> {
    Args(A),
    Help(String),
    Version,
    /// Words that are wrong or missing; a command without any word is shown the usage only.
    Wrong {
        reason: Option<String>,
        usage: String,
    },
}

fn parse<A: clap::FromArgMatches>(mut command: clap::Command, words: &[String]) -> Parsed<A> {
    let words = options::in_full(&command, words);
    if options::ask_for_version(&command, &words) {
        return Parsed::Version;
    }
    let name = command.get_name().to_owned();
    let line = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    let result = command.try_get_matches_from_mut(line);
    let matches = match result {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp) => {
            return Parsed::Help(error.render().to_string());
        }
        Err(error) => return wrong(&mut command, &words, &error),
    };
    match A::from_arg_matches(&matches) {
        Ok(args) => Parsed::Args(args),
        Err(error) => wrong(&mut command, &words, &error),
    }
}

fn wrong<A>(command: &mut clap::Command, words: &[String], error: &clap::Error) -> Parsed<A> {
    let reason = match missing(error) {
        Some(_) if words.is_empty() => None,
        Some(operands) => Some(format!("{operands} is missing")),
        None => {
            let text = error.render().to_string();
            let reason = text.split("\n\n").next().unwrap_or_default();
            Some(reason.trim_start_matches("error: ").trim_end().to_owned())
        }
    };
    Parsed::Wrong { reason, usage: command.render_usage().to_string() }
}

/// The operands that a command line lacks, if that is what is wrong with it.
fn missing(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    let Some(ContextValue::Strings(names)) = error.get(ContextKind::InvalidArg) else { return None };
    let bare = |name: &String| name.replace(['<', '>', '.'], "");
    Some(names.iter().map(bare).collect::<Vec<_>>().join(" "))
}

fn run_in_daemon<C: Command>(words: &[String], ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    match parse::<C>(clap_of::<C>(), words) {
        Parsed::Args(args) => args.run(ctx, out),
        Parsed::Help(text) => out.lines(&text),
        Parsed::Version => out.line(version_line(C::NAME)),
        Parsed::Wrong { reason: Some(reason), usage } => {
            out.error(reason)?;
            out.lines(&usage)
        }
        Parsed::Wrong { reason: None, usage } => {
            out.lines(&usage)?;
            Err(Stop::Code(1))
        }
    }
}

/// What `-v` prints. A few commands name themselves first, each in its own way.
pub fn version_line(command: &str) -> String {
    match command {
        "chtab" => format!("chtab {VERSION}"),
        "tabch" => format!("tabch :{VERSION}"),
        "lsdef" | "mkdef" | "chdef" | "rmdef" => format!("{command} - {VERSION}"),
        _ => VERSION.to_owned(),
    }
}

fn run_locally<C: LocalCommand>(words: &[String], environment: &Environment) -> i32 {
    match parse::<C>(clap_of_local::<C>(), words) {
        Parsed::Args(args) => args.run(environment),
        Parsed::Help(text) => print_lines(&text, 0),
        Parsed::Version => print_lines(VERSION, 0),
        Parsed::Wrong { reason, usage } => {
            reason.iter().for_each(|reason| crate::app::print_error(reason));
            print_lines(&usage, 1)
        }
    }
}

fn print_lines(text: &str, code: i32) -> i32 {
    crate::app::print(&format!("{}\n", text.trim_end()));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noderange_is_the_first_word_without_dash() {
        let command = (crate::commands::find("log").expect("log").clap)();
        let split = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let (noderange, rest) = split_noderange(&command, &words);
            format!("{} | {}", noderange.unwrap_or_default(), rest.join(" "))
        };
        for (line, expected) in [
            ("-V cn1 stat", "cn1 | -V stat"),
            ("-a", " | -a"),
            ("", " | "),
            ("-n 5 cn1", "cn1 | -n 5"),
            ("-n5 cn1", "cn1 | -n5"),
            ("-sn 5", " | -sn 5"),
            ("--count 5 cn1", "cn1 | --count 5"),
            ("--count=5 cn1", "cn1 | --count=5"),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }
}
