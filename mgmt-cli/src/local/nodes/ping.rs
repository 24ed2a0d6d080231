//! `pping` and `ppping`: which nodes answer, and which nodes reach each other.

use super::{Happened, Screen, Whom, ended, fanout, run_jobs, targets, wish};
use crate::environment::Environment;
use crate::local::LocalCommand;
use dawn_bootd::command::{Registry, number};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_remote::ping::{alive, resolve};
use dawn_remote::run::Settings;
use dawn_remote::shell::Shell;
use dawn_remote::target::Target;
use dawn_wire::words::quoted;
use std::net::IpAddr;
use std::sync::Arc;

/// Seconds for which a node waits for another's answer.
const ANSWER_WAIT_SECONDS: u32 = 2;

/// Show which nodes answer
///
/// First NODE: ping for those that do, then NODE: noping for the others. Without the right to send echo
/// requests, connections to usual ports are tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Pping {
    /// Comma list of interfaces: the host cn1-IF for the node cn1
    #[arg(short = 'i', value_name = "IF")]
    interfaces: Option<String>,
    /// Accepted for compatibility: there is one way to ask
    #[arg(short = 'f')]
    fping: bool,
    /// The names are hosts, not nodes
    #[arg(short = 'X')]
    names: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl LocalCommand for Pping {
    const NAME: &'static str = "pping";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let (there, silent) = asked(&self.hosts(environment)?)?;
        there.iter().try_for_each(|host| out.report(&Answer { node: host, answers: true }))?;
        silent.iter().try_for_each(|host| out.report(&Answer { node: host, answers: false }))?;
        ended(Ok(usize::from(there.is_empty() && silent.is_empty())))
    }
}

/// Whether a node, or a host with `-X`, answers.
#[derive(serde::Serialize)]
struct Answer<'n> {
    node: &'n str,
    answers: bool,
}

impl Report for Answer<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, if self.answers { "ping" } else { "noping" })
    }
}

/// A name and its address, if it has one.
type Host = (String, Option<IpAddr>);

impl Pping {
    fn hosts(&self, environment: &Environment) -> Result<Vec<Host>, Stop> {
        if self.names {
            let names = self.noderange.split(',').filter(|name| !name.is_empty());
            return Ok(names.map(|name| (name.to_owned(), resolve(name))).collect());
        }
        let whom = Whom { noderange: &self.noderange, interface: None, user: None, port: None };
        let targets = targets(&whom, environment)?;
        Ok(match &self.interfaces {
            None => targets.into_iter().map(of_target).collect(),
            Some(list) => targets
                .iter()
                .flat_map(|target| {
                    list.split(',').map(move |interface| format!("{}-{interface}", target.node))
                })
                .map(|name| (name.clone(), resolve(&name)))
                .collect(),
        })
    }
}

fn of_target(target: Target) -> Host {
    let address = target.address.or_else(|| resolve(&target.host));
    (target.node, address)
}

/// The names that answer, and those that do not; both sorted.
fn asked(hosts: &[Host]) -> Result<(Vec<String>, Vec<String>), Stop> {
    let addresses: Vec<IpAddr> = hosts.iter().filter_map(|(_, address)| *address).collect();
    let alive = alive(&addresses).map_err(|error| Stop::unavailable(error.to_string()))?;
    let answers = |address: &Option<IpAddr>| address.is_some_and(|address| alive.contains(&address));
    let (mut there, mut silent) = (Vec::new(), Vec::new());
    for (name, address) in hosts {
        if answers(address) { there.push(name.clone()) } else { silent.push(name.clone()) }
    }
    there.sort_unstable();
    silent.sort_unstable();
    Ok((there, silent))
}

/// Have nodes ping each other, and show which do not reach which
///
/// A node that reaches all others is one line. Dead nodes are named first and not asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Ppping {
    /// The interface of the nodes that are pinged: the host cn1-IF for the node cn1
    #[arg(short = 'i', value_name = "IF")]
    interface: Option<String>,
    /// One node after the other
    #[arg(short = 's')]
    serial: bool,
    /// Every answer
    #[arg(short = 'V', id = "verbose", conflicts_with = "quiet")]
    verbose: bool,
    /// Only what fails
    #[arg(short = 'q', id = "quiet")]
    quiet: bool,
    /// Port of ssh on the nodes [default: 22]
    #[arg(short = 'P', long = "port", value_name = "PORT", value_parser = number::within::<u16>(number::PORTS))]
    port: Option<u16>,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl LocalCommand for Ppping {
    const NAME: &'static str = "ppping";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        self.carry_out(environment, out)
    }
}

impl Ppping {
    fn carry_out(&self, environment: &Environment, out: &mut Out<'_>) -> Done {
        let whom = Whom { noderange: &self.noderange, interface: None, user: None, port: self.port };
        let targets = targets(&whom, environment)?;
        let hosts: Vec<Host> = targets.iter().cloned().map(of_target).collect();
        let (there, silent) = asked(&hosts)?;
        silent.iter().try_for_each(|node| out.report(&Answer { node, answers: false }))?;
        let targets: Vec<Target> =
            targets.into_iter().filter(|target| there.contains(&target.node)).collect();
        let shell = Shell::choose(wish(environment), &targets)
            .map_err(|error| Stop::unavailable(error.to_string()))?;
        let script = self.script(&hosts, &there);
        let jobs = targets.into_iter().map(|target| shell.job(target, &script, &Arc::default())).collect();
        let width = if self.serial { 1 } else { fanout(None, environment)? };
        let settings = Settings { fanout: width, ..Settings::default() };
        run_jobs(jobs, settings, &mut Screen::new(), &mut |screen, happened| {
            if let Happened::Ended(ended) = happened {
                screen.report(out, &self.reach(&ended.node, &ended.kept.out, ended.end.is_success()));
                if !ended.end.is_success() {
                    screen.err(&format!("{}: the node could not be asked\n", ended.node));
                }
            }
        })?;
        Ok(())
    }

    /// Pings all hosts at once and prints a line for each.
    fn script(&self, hosts: &[Host], there: &[String]) -> String {
        let mut script = String::new();
        for (name, address) in hosts.iter().filter(|(name, _)| there.contains(name)) {
            let address = address.filter(|_| self.interface.is_none()).map(|address| address.to_string());
            let host = match &self.interface {
                Some(interface) => format!("{name}-{interface}"),
                None => name.clone(),
            };
            let at = quoted(address.as_deref().unwrap_or(&host));
            script.push_str(&format!(
                "{{ ping -c 1 -w {ANSWER_WAIT_SECONDS} {at} > /dev/null 2>&1 && echo {0}: ping || echo {0}: noping; }} & ",
                quoted(name)
            ));
        }
        format!("exec /bin/sh -c {}", quoted(&(script + "wait")))
    }

    /// What a node's lines `NAME: ping` and `NAME: noping` say.
    fn reach(&self, node: &str, text: &str, asked: bool) -> Reach<'_> {
        let names = |word: &str| {
            let names = text.lines().filter_map(|line| line.strip_suffix(word)?.strip_suffix(": "));
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        let (reached, unreached) = (names("ping"), names("noping"));
        Reach { node: node.to_owned(), asked, reached, unreached, form: self }
    }
}

/// Which nodes a node reaches.
#[derive(serde::Serialize)]
struct Reach<'a> {
    node: String,
    /// The node was there to be asked.
    asked: bool,
    reached: Vec<String>,
    unreached: Vec<String>,
    #[serde(skip)]
    form: &'a Ppping,
}

impl Report for Reach<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let mut shown: Vec<String> = self.unreached.iter().map(|name| format!("{name}: noping")).collect();
        if self.form.verbose {
            shown.extend(self.reached.iter().map(|name| format!("{name}: ping")));
            shown.sort_unstable();
        }
        shown.into_iter().try_for_each(|line| lines.node(&self.node, line))?;
        if !self.asked || !self.unreached.is_empty() || self.form.quiet || self.form.verbose {
            return Ok(());
        }
        let by = self.form.interface.as_ref().map(|name| format!(" on interface {name}")).unwrap_or_default();
        lines.node(&self.node, format!("pinged all nodes successfully{by}"))
    }
}
