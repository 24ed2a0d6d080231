//! `psh`: a command on many nodes, in the caller's own name.

use super::{Happened, Screen, Whom, ended, fanout, run_jobs, targets, wish};
use crate::environment::Environment;
use crate::local::LocalCommand;
use dawn_bootd::command::{Registry, number};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_commands::run::options::{NodeResult, code_of, prefixed, reason};
use dawn_remote::collate::gathered;
use dawn_remote::event::{End, Ended};
use dawn_remote::run::Settings;
use dawn_remote::shell::Shell;
use std::sync::Arc;
use std::time::Duration;

/// Run a command on many nodes at once, as yourself, with your own ssh keys
///
/// Options come before the noderange. Each line of output, standard error included, begins with the name of
/// its node and is shown as it comes. The exit code is the number of nodes on which the command failed, at
/// most 255.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Log in by this interface: the host cn1-IF for the node cn1
    #[arg(short = 'i', value_name = "IF")]
    interface: Option<String>,
    /// User on the nodes [default: your own name]
    #[arg(short = 'l', value_name = "USER")]
    user: Option<String>,
    /// Nodes at a time [default: 64]
    #[arg(short = 'f', value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<usize>(1))]
    fanout: Option<usize>,
    /// Give up on a node after this many seconds
    #[arg(short = 't', value_name = "SECONDS", value_parser = number::within::<u64>(1..=86_400))]
    timeout: Option<u64>,
    /// Port of ssh on the nodes [default: 22]
    #[arg(short = 'p', long = "port", value_name = "PORT", value_parser = number::within::<u16>(number::PORTS))]
    port: Option<u16>,
    /// Accepted for compatibility
    #[arg(long = "nodecheck", hide = true)]
    nodecheck: bool,
    /// Accepted for compatibility
    #[arg(long = "nonodecheck", hide = true)]
    nonodecheck: bool,
    /// Gather nodes with the same output, and show what differs
    #[arg(long = "collate")]
    collate: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Command and its words
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "psh";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        ended(self.carry_out(environment, out))
    }
}

impl Args {
    fn carry_out(&self, environment: &Environment, out: &mut Out<'_>) -> Result<usize, Stop> {
        let whom = Whom {
            noderange: &self.noderange,
            interface: self.interface.as_deref(),
            user: self.user.as_deref(),
            port: self.port,
        };
        let targets = targets(&whom, environment)?;
        let shell = Shell::choose(wish(environment), &targets)
            .map_err(|error| Stop::unavailable(error.to_string()))?;
        let line = self.words.join(" ");
        let jobs = targets.into_iter().map(|target| shell.job(target, &line, &Arc::default())).collect();
        // A list of results has each node's output as a whole.
        let whole = out.is_json();
        let settings = Settings {
            fanout: fanout(self.fanout, environment)?,
            whole: self.timeout.map(Duration::from_secs),
            stream: !self.collate && !whole,
            ..Settings::default()
        };
        let (mut screen, mut held) = (Screen::new(), Vec::new());
        let failed = run_jobs(jobs, settings, &mut screen, &mut |screen, happened| match happened {
            Happened::Lines(node, text) => show(screen, node, text),
            Happened::Ended(ended) if whole => screen.report(out, &NodeResult::of(ended)),
            Happened::Ended(ended) if self.collate => {
                held.push((ended.node.clone(), format!("{}{}", ended.kept.out, ended.kept.err)));
                end(screen, ended);
            }
            Happened::Ended(ended) => end(screen, ended),
        })?;
        held.sort();
        for line in gathered(held.iter().map(|(node, text)| (node.as_str(), text.as_str()))) {
            screen.out(&format!("{line}\n"));
        }
        Ok(failed)
    }
}

fn show(screen: &mut Screen, node: &str, text: &str) {
    if let Some(text) = prefixed(node, text) {
        screen.out(&(text + "\n"));
    }
}

/// Why a node failed, as psh says it.
fn end(screen: &mut Screen, ended: &Ended) {
    let node = &ended.node;
    match &ended.end {
        End::Exit(0) => return,
        End::TimedOut => screen.err(&format!("{node}: timeout exceeded\n")),
        other => {
            if let Some(why) = reason(other) {
                show(screen, node, &why.to_string());
            }
        }
    }
    screen.err(&format!("{node}: *** ssh exited with error code {}.\n", code_of(&ended.end)));
}
