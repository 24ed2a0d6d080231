//! What a command is.
//!
//! A command is a `clap` argument struct that says how it is called and a function that runs. The same struct
//! gives help, completion, man page and the page of the documentation, in the client and in the daemon.
//!
//! Three kinds: [`Kind::Nodes`] commands take a noderange that must be good before they run,
//! [`Kind::Words`] commands look at all their words themselves, [`Kind::Local`] ones run in the process
//! of the caller (they read or write its files) and ask the daemon for what they need.

use crate::boot_services::BootServices;
use crate::caller::View;
use crate::database::Place;
use crate::output::{CommandError, Done, Out, Stop};
use crate::patience::Patience;
use dawn_cluster::{Change, Model, Snapshot};
use dawn_hardware::Hardware;
use dawn_wire::image::is_in_tree;
use dawn_xcatd::{Call, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod disk;
pub mod examples;
pub mod help;
pub mod number;
pub mod options;
pub mod parse;
pub mod redact;
mod words;
mod wrong;

pub use help::Area;
use parse::{Parsed, parse};
use words::given_nodes;
pub use words::split_noderange;

/// The error of a command whose noderange is the empty word.
pub const NO_NODES: &str = "no nodes given: the noderange is empty";
/// The variable by which a client says that its user sees progress: `sinfo` elements.
pub const PROGRESS: &str = "DAWN_PROGRESS";
/// What `-v` prints: the level of compatibility, then our own version.
pub const VERSION: &str = concat!("Version 2.19.0 (Dawn ", env!("CARGO_PKG_VERSION"), ")");

/// Where a command runs and how its words are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In the daemon; the first word that is not an option is a noderange.
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
    /// Variables of the client that are sent as `env` elements.
    const SENDS_VARIABLES: &'static [&'static str] = &[];
    /// When the client asks for a password and sends it as a variable.
    const ASKS_PASSWORD: Option<PasswordPrompt> = None;
    /// Whether the client sends the text of the file that the command names.
    const SENDS_FILE: bool = false;
    /// Whether the first word without `=` (or the value of `-o`) names objects, as with `lsdef`.
    const NAMES_OBJECTS: bool = false;
    /// Whether it changes tables or files; then it has `--dry-run` (a test holds it to that).
    const WRITES: bool = false;
    /// What an undo of its change leaves as it is (files that it made or removed), as a sentence.
    const UNDO_LEAVES: Option<&'static str> = None;
    /// Whether it has `--json`, as every command has that prints results (a test lists the others).
    const JSON: bool = true;
    /// Whether its answer continues as a stream of bytes; the client then acts as a terminal.
    const STREAMS: bool = false;
    /// The command line that the administrator typed, if another program sends the words of this command.
    fn typed(_words: &[String]) -> Option<String> {
        None
    }
    /// Carries the command out.
    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done;
}

/// When and how a client asks for a password. It travels as an `env` element, like a variable that is set.
#[derive(Clone, Copy, Debug)]
pub struct PasswordPrompt {
    /// The option with which it is needed.
    pub option: &'static str,
    /// Its short form.
    pub letter: char,
    /// The variable.
    pub variable: &'static str,
    /// What is shown.
    pub prompt: &'static str,
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
    /// Variables sent as `env` elements.
    pub sends_variables: &'static [&'static str],
    /// When the client asks for a password.
    pub asks_password: Option<PasswordPrompt>,
    /// The text of the file named by the last word is sent along.
    pub sends_file: bool,
    /// The first word without `=` names objects.
    pub names_objects: bool,
    /// Changes tables or files.
    pub writes: bool,
    /// What an undo of its change leaves as it is.
    pub undo_leaves: Option<&'static str>,
    /// The answer continues as a stream of bytes.
    pub streams: bool,
    /// Arguments and help.
    pub clap: fn() -> clap::Command,
    typed: fn(&[String]) -> Option<String>,
    run: Option<Run>,
}

/// Runs a command that runs in the daemon.
type Run = fn(&[String], &Ctx<'_>, &mut Out<'_>) -> Done;

impl Entry {
    /// Entry of a daemon command.
    pub const fn daemon<C: Command>() -> Entry {
        Entry {
            name: C::NAME,
            kind: C::KIND,
            reads_stdin: C::READS_STDIN,
            input_from: C::INPUT_FROM,
            sends_variables: C::SENDS_VARIABLES,
            asks_password: C::ASKS_PASSWORD,
            sends_file: C::SENDS_FILE,
            names_objects: C::NAMES_OBJECTS,
            writes: C::WRITES,
            undo_leaves: C::UNDO_LEAVES,
            streams: C::STREAMS,
            clap: clap_of::<C>,
            typed: C::typed,
            run: Some(run_in_daemon::<C>),
        }
    }

    /// Entry of a command that runs in the process of its caller.
    pub const fn local(
        name: &'static str,
        writes: bool,
        undo_leaves: Option<&'static str>,
        clap: fn() -> clap::Command,
    ) -> Entry {
        Entry {
            name,
            kind: Kind::Local,
            reads_stdin: false,
            input_from: &[],
            sends_variables: &[],
            asks_password: None,
            sends_file: false,
            names_objects: false,
            writes,
            undo_leaves,
            streams: false,
            clap,
            typed: |_| None,
            run: None,
        }
    }

    /// Runs a daemon command with its words.
    pub fn run(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.kind == Kind::Nodes && ctx.call.request.noderange.as_deref() == Some("") {
            return Err(Stop::usage(NO_NODES));
        }
        match self.run {
            Some(run) => run(&self.words_of(ctx.call), ctx, out),
            None => Err(Stop::internal("this command does not run in the daemon")),
        }
    }

    /// Puts a request into the form its command expects, whichever client sent it.
    ///
    /// xCAT has several clients, chosen by links that changed over the years: one cuts the first
    /// word that is not an option out as the noderange, one leaves all words among the arguments, that of the
    /// object commands does both, and that of `tabrestore` sends a table's name and lines as separate
    /// elements. After this the words of a [`Kind::Words`] command are all arguments, and the noderange of an
    /// object command is what policy looks at. A noderange that is there and empty stays so, if there are
    /// words that could be taken for it; the command is refused. Options are spelled in full.
    pub fn put_in_order(&self, request: &mut Request) {
        if self.sends_file {
            words::take_table(request);
        }
        let nodes_apart =
            self.kind == Kind::Nodes && given_nodes(request).is_some_and(|nodes| !nodes.is_empty());
        let clap = (self.clap)();
        request.args = options::in_full(&clap, &options::guarded(&clap, &request.args, nodes_apart));
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
                    request.noderange = words::object_names(&(self.clap)(), &request.args);
                }
                None => {}
            },
            _ => {}
        }
    }

    /// The words, the noderange among them, with every option spelled in full, see [`options`].
    pub fn in_full(&self, words: &[String]) -> Vec<String> {
        let clap = (self.clap)();
        options::in_full(&clap, &options::guarded(&clap, words, false))
    }

    /// Whether the words, spelled in full, ask for the version, which excludes everything else.
    pub fn asks_for_version(&self, words: &[String]) -> bool {
        options::ask_for_version(&(self.clap)(), words)
    }

    /// Words as the user typed them, after [`Entry::put_in_order`]: a [`Kind::Nodes`] command has its
    /// noderange in front, all others have all words among the arguments.
    fn words_of(&self, call: &Call) -> Vec<String> {
        match self.kind {
            Kind::Words => call.request.args.clone(),
            _ => words_with_nodes(&call.request),
        }
    }
}

/// What a running command sees.
pub struct Ctx<'a> {
    /// The model, for changes.
    pub model: &'a Model,
    /// The snapshot in which noderange and policy of this call were evaluated.
    pub snapshot: Arc<Snapshot>,
    /// All commands.
    pub registry: &'a Registry,
    /// What the caller may name: each noderange that the command evaluates itself goes through it.
    pub view: View,
    /// The call: caller, nodes, piped text, directory.
    pub call: &'a Call,
    /// How long a change waits for the database.
    pub patience: &'a Patience,
    /// Boot services.
    pub boot: &'a dyn BootServices,
    /// Power, sensors and all else that machines' service processors do.
    pub hardware: &'a Hardware,
    /// Short host name of the daemon.
    pub host: &'a str,
    /// The file that `makehosts` writes.
    pub hosts_file: &'a str,
    /// What `lsxcatd -d` says about the database.
    pub database: &'a Place,
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
        let command = self.registry.find(&self.call.request.command);
        debug_assert!(command.is_none_or(|entry| entry.writes), "a command that writes says so: WRITES");
        let who = self.call.username.clone().unwrap_or_else(|| self.call.peer_host.clone());
        Change::new(who, self.registry.command_line(self.call), Vec::new())
    }

    /// Refuses a caller who is not root: the daemon would write or run a file with root's rights for them.
    pub fn require_root(&self, what: &str) -> Done {
        match self.call.peer_name.as_deref() {
            Some("root") => Ok(()),
            _ => Err(Stop::refused(format!("only root may let the daemon {what}"))),
        }
    }

    /// A path as the caller means it: relative ones are below the caller's directory.
    pub fn path_of_caller(&self, path: &str) -> PathBuf {
        Path::new(self.call.request.cwd.as_deref().unwrap_or("/")).join(path)
    }

    /// A file that the daemon writes for the caller, links followed. Only root may ask for one, and not in
    /// the tree of an image, whose links are the image's.
    pub fn output_of_caller(&self, path: &str) -> Result<PathBuf, Stop> {
        self.require_root("write a file")?;
        let path = self.path_of_caller(path);
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (path, above) = disk::look(&path, move |path| {
            let path = real(path);
            let above = real(path.parent().unwrap_or(Path::new("/")));
            (path, above)
        })?;
        if is_in_tree(&above) {
            let error = CommandError::refused(format!(
                "{} is in the tree of an image, which belongs to the image alone",
                path.display()
            ));
            let hint =
                "name a file outside of it; it can be copied there with the image's postinstall script.";
            return Err(error.hint(hint).into());
        }
        Ok(path)
    }
}

fn words_with_nodes(request: &Request) -> Vec<String> {
    given_nodes(request).into_iter().chain(request.args.iter().cloned()).collect()
}

fn clap_of<C: Command>() -> clap::Command {
    parse::finish(C::augment_args(clap::Command::new(C::NAME)), C::JSON)
}

fn run_in_daemon<C: Command>(words: &[String], ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let parsed = parse::<C>(clap_of::<C>(), words);
    if parsed.is_json(words) {
        out.as_json();
    }
    let done = match parsed {
        Parsed::Args { args, .. } => args.run(ctx, out),
        Parsed::Help(text) => out.usage(&text),
        Parsed::Version => out.notice(parse::version_line(C::NAME)),
        Parsed::Wrong { reason: Some(reason), usage } => {
            out.error(CommandError::usage(reason)).and_then(|()| out.usage(&usage))
        }
        Parsed::Wrong { reason: None, usage } => out.usage(&usage).and(Err(Stop::Code(1))),
    };
    out.finish(done)
}

/// All commands of the program, by name. `main` builds it and hands it down; who uses it names no command.
pub struct Registry {
    program: fn() -> clap::Command,
    areas: &'static [Area],
    commands: Vec<Entry>,
    requests: Vec<Entry>,
}

impl Registry {
    /// `program` is the program without these commands, `areas` the groups in which its help lists them;
    /// `requests` are asked by programs and nodes, and no help names them.
    pub fn new(
        program: fn() -> clap::Command,
        areas: &'static [Area],
        commands: Vec<Entry>,
        requests: Vec<Entry>,
    ) -> Self {
        Self { program, areas, commands, requests }
    }

    /// All commands, in the order of their registration.
    pub fn all(&self) -> &[Entry] {
        &self.commands
    }

    /// The command of that name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.commands.iter().find(|entry| entry.name == name)
    }

    /// The command or node request of that name, for the daemon.
    pub fn find_request(&self, name: &str) -> Option<&Entry> {
        self.find(name).or_else(|| self.requests.iter().find(|entry| entry.name == name))
    }

    /// The command line of a call with secrets masked.
    pub fn command_line(&self, call: &Call) -> String {
        let words = self.words_of(call);
        let typed = self.find_request(&call.request.command).and_then(|entry| (entry.typed)(&words));
        typed.unwrap_or_else(|| redact::words(&call.request.command, &words).line(&call.request.command))
    }

    /// The words of a call with secrets masked, and what hides the same in its answer.
    pub(crate) fn redacted(&self, call: &Call) -> redact::Redacted {
        redact::words(&call.request.command, &self.words_of(call))
    }

    fn words_of(&self, call: &Call) -> Vec<String> {
        let entry = self.find_request(&call.request.command);
        entry.map_or_else(|| words_with_nodes(&call.request), |entry| entry.words_of(call))
    }
}
