//! Commands on nodes that run in the process of their caller, with the caller's own keys.
//!
//! The daemon says which nodes there are, at which addresses, with which host keys (`sshtargets`, which
//! policy has to allow); the connections are the caller's.

pub(super) mod ping;
pub(super) mod pscp;
pub(super) mod psh;

use crate::builder::ask;
use crate::environment::Environment;
use crate::terminal::{print, stop_on_signals};
use dawn_bootd::command::number;
use dawn_bootd::output::{Done, Out, Report, Stop};
use dawn_commands::run::sshtargets::NO_ADDRESS;
use dawn_remote::event::{Ended, Event, Progress};
use dawn_remote::host_keys::{HostKeys, KnownHosts};
use dawn_remote::identity::Identity;
use dawn_remote::names::PORT_DEFAULT;
use dawn_remote::run::{Job, Settings, run};
use dawn_remote::shell::Wish;
use dawn_remote::target::Target;
use dawn_xcatd::Data;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Variable with the number of nodes at once.
const FANOUT_VARIABLE: &str = "XCATPSHFANOUT";
/// Largest exit code that counts nodes.
const CODE_MAX: usize = 255;

/// Where the commands log in.
pub(super) struct Whom<'a> {
    /// Nodes.
    pub noderange: &'a str,
    /// The interface whose address is used: `cn1-ib0`.
    pub interface: Option<&'a str>,
    /// User on the nodes.
    pub user: Option<&'a str>,
    /// Port of ssh.
    pub port: Option<u16>,
}

/// The nodes as targets.
///
/// # Errors
/// The daemon does not answer, or refuses.
pub(super) fn targets(whom: &Whom<'_>, environment: &Environment) -> Result<Vec<Target>, Stop> {
    let directory = environment.home().join(".ssh");
    let identity = Arc::new(Identity::of_directory(&directory));
    let known = KnownHosts::of_file(&directory.join("known_hosts"));
    let user = whom.user.map_or_else(|| environment.user(), str::to_owned);
    let port = whom.port.unwrap_or(PORT_DEFAULT);
    let answers = ask(environment, "sshtargets", vec![whom.noderange.to_owned()])?;
    let lines = answers.iter().flat_map(|answer| &answer.data).filter_map(|data| match data {
        Data::Text(line) => Some(line.as_str()),
        Data::Parts(_) => None,
    });
    let target = |line: &str| {
        let mut words = line.split('\t');
        let node = words.next()?.to_owned();
        let address = words.next().filter(|word| *word != NO_ADDRESS).and_then(|word| word.parse().ok());
        let mut host_keys = HostKeys::default();
        words.for_each(|key| {
            host_keys.add_line(key);
        });
        let (host, address) = match whom.interface {
            // Another address of the node, under a name for the resolver.
            Some(interface) => (format!("{node}-{interface}"), None),
            None => (node.clone(), address),
        };
        let at = address.map(|address: IpAddr| address.to_string()).unwrap_or_default();
        host_keys.extend(&known.of(&[&node, &host, &at], port));
        let (host_keys, identity) = (Arc::new(host_keys), Arc::clone(&identity));
        Some(Target { node, host, address, port, user: user.clone(), host_keys, identity })
    };
    Ok(lines.filter_map(target).collect())
}

/// The caller's ssh configuration and files.
pub(super) fn wish(environment: &Environment) -> Wish {
    let directory = environment.home().join(".ssh");
    Wish {
        program: None,
        options: dawn_remote::shell::SshOptions::default(),
        configuration: Some(directory.join("config")),
        known_hosts: vec![directory.join("known_hosts")],
        temporary: temporary(environment),
    }
}

/// Where files of a run go.
pub(super) fn temporary(environment: &Environment) -> PathBuf {
    PathBuf::from(environment.variable("TMPDIR").unwrap_or("/tmp"))
}

/// Nodes at once: the option, the variable, or 64.
///
/// # Errors
/// The variable is not a number from 1 up.
pub(super) fn fanout(option: Option<usize>, environment: &Environment) -> Result<usize, Stop> {
    let text = environment.variable(FANOUT_VARIABLE);
    let read = |text: &str| {
        number::at_least(1)(text).map_err(|wrong| Stop::usage(format!("{FANOUT_VARIABLE}: {wrong}")))
    };
    let variable = text.map(read);
    Ok(option.or(variable.transpose()?).unwrap_or(dawn_remote::run::FANOUT_DEFAULT))
}

/// The end of a command on which so many nodes failed.
pub(super) fn ended(result: Result<usize, Stop>) -> Done {
    match result? {
        0 => Ok(()),
        failed => Err(Stop::Code(i32::try_from(failed.min(CODE_MAX)).unwrap_or(1))),
    }
}

/// What a caller sees: lines, with a line of progress on a terminal below them.
pub(super) struct Screen {
    has_terminal: bool,
    has_progress: bool,
}

impl Screen {
    /// Of this process.
    pub(super) fn new() -> Self {
        Self { has_terminal: std::io::stderr().is_terminal(), has_progress: false }
    }

    /// Lines on standard output, each with its end.
    pub(super) fn out(&mut self, text: &str) {
        self.clear();
        print(text);
    }

    /// A result, in place of the line of progress.
    pub(super) fn report(&mut self, out: &mut Out<'_>, report: &impl Report) {
        self.clear();
        // A closed standard output does not end the command on the nodes.
        let _ = out.report(report);
    }

    /// Lines on standard error.
    pub(super) fn err(&mut self, text: &str) {
        self.clear();
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn progress(&mut self, progress: Progress) {
        if self.has_terminal {
            let _ = std::io::stderr().write_all(format!("\r{progress}\x1b[K").as_bytes());
            self.has_progress = true;
        }
    }

    /// Removes the line of progress.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.has_progress) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// Runs jobs until they have ended or a signal stops them; the number of nodes that failed.
///
/// # Errors
/// The settings are not possible.
pub(super) fn run_jobs(
    jobs: Vec<Job>,
    settings: Settings,
    screen: &mut Screen,
    on: &mut dyn FnMut(&mut Screen, Happened<'_>),
) -> Result<usize, Stop> {
    let stop = stop_on_signals();
    let mut failed = 0;
    let ran = run(jobs, settings, &mut |event| {
        match &event {
            Event::Lines { node, text, .. } => on(screen, Happened::Lines(node, text)),
            Event::Ended(ended) => {
                failed += usize::from(!ended.end.is_success());
                on(screen, Happened::Ended(ended));
            }
            Event::Progress(progress) => screen.progress(*progress),
            Event::Started(_) => {}
        }
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    screen.clear();
    ran.map_err(|error| Stop::usage(error.to_string()))?;
    Ok(failed)
}

/// What a command prints.
pub(super) enum Happened<'a> {
    /// Lines of a node.
    Lines(&'a str, &'a str),
    /// A node's end.
    Ended(&'a Ended),
}
