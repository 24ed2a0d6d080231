//! `pscp` and `prsync`: files to many nodes, in the caller's own name.

use super::{Happened, Screen, Whom, ended, fanout, run_jobs, targets, temporary};
use crate::environment::Environment;
use crate::local::LocalCommand;
use dawn_bootd::command::{Registry, number};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_commands::run::options::{NodeResult, prefixed, reason};
use dawn_remote::event::Ended;
use dawn_remote::openssh::{Copy, OpenSsh, RSYNC, RunDirectory, SCP};
use dawn_remote::run::{Job, Settings, Work};
use std::path::{Path, PathBuf};

/// Copy files to many nodes at once with scp, as yourself
///
/// A node's end is shown as `NODE: done`. The exit code is the number of nodes that failed, at most 255.
#[derive(Debug, clap::Args)]
#[command(override_usage = "pscp [OPTIONS] FILE... NODERANGE:PLACE")]
pub(crate) struct Scp {
    /// Copy by this interface: the host cn1-IF for the node cn1
    #[arg(short = 'i', value_name = "IF")]
    interface: Option<String>,
    /// Nodes at a time [default: 64]
    #[arg(short = 'f', value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<usize>(1))]
    fanout: Option<usize>,
    /// Keep times and modes
    #[arg(short = 'p')]
    preserve: bool,
    /// Directories with all that is in them
    #[arg(short = 'r')]
    recursive: bool,
    /// Compress on the way
    #[arg(short = 'C')]
    compress: bool,
    /// Port of ssh on the nodes [default: 22]
    #[arg(short = 'P', long = "port", value_name = "PORT", value_parser = number::within::<u16>(number::PORTS))]
    port: Option<u16>,
    /// FILE... NODERANGE:PLACE
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
}

impl LocalCommand for Scp {
    const NAME: &'static str = "pscp";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let flags: Vec<&str> = [("-p", self.preserve), ("-r", self.recursive), ("-C", self.compress)]
            .iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| *flag)
            .collect();
        let way = Way { interface: self.interface.as_deref(), fanout: self.fanout, port: self.port };
        ended(copy(&way, &self.files, environment, out, &|openssh, target, copy| {
            openssh.scp(Path::new(SCP), target, &flags, copy)
        }))
    }
}

/// Copy files to many nodes at once with rsync, as yourself
///
/// A node's end is shown as `NODE: done`. The exit code is the number of nodes that failed, at most 255.
#[derive(Debug, clap::Args)]
#[command(override_usage = "prsync [OPTIONS] FILE... NODERANGE:PLACE")]
pub(crate) struct Rsync {
    /// Copy by this interface: the host cn1-IF for the node cn1
    #[arg(short = 'i', value_name = "IF")]
    interface: Option<String>,
    /// Nodes at a time [default: 64]
    #[arg(short = 'f', value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<usize>(1))]
    fanout: Option<usize>,
    /// More options of rsync, put after `-az`: `-o "v --delete"`
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Option<String>,
    /// Port of ssh on the nodes [default: 22]
    #[arg(short = 'P', long = "port", value_name = "PORT", value_parser = number::within::<u16>(number::PORTS))]
    port: Option<u16>,
    /// FILE... NODERANGE:PLACE
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
}

impl LocalCommand for Rsync {
    const NAME: &'static str = "prsync";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let options = format!("-az{}", self.options.as_deref().unwrap_or_default());
        let flags: Vec<&str> = options.split_whitespace().collect();
        let way = Way { interface: self.interface.as_deref(), fanout: self.fanout, port: self.port };
        ended(copy(&way, &self.files, environment, out, &|openssh, target, copy| {
            openssh.rsync(Path::new(RSYNC), target, &flags, copy)
        }))
    }
}

struct Way<'a> {
    interface: Option<&'a str>,
    fanout: Option<usize>,
    port: Option<u16>,
}

type Build<'a> =
    dyn Fn(&OpenSsh, &dawn_remote::target::Target, &Copy<'_>) -> dawn_remote::program::Program + 'a;

/// Copies; the number of nodes that failed.
fn copy(
    way: &Way<'_>,
    files: &[String],
    environment: &Environment,
    out: &mut Out<'_>,
    build: &Build<'_>,
) -> Result<usize, Stop> {
    let Some((last, from)) = files.split_last().filter(|(_, from)| !from.is_empty()) else {
        return Err(Stop::usage("name the files and then the place: FILE... NODERANGE:PLACE"));
    };
    let (noderange, to) =
        last.split_once(':').ok_or_else(|| Stop::usage(format!("'{last}' is not NODERANGE:PLACE")))?;
    // A user before the nodes, as scp takes it.
    let (user, noderange) = match noderange.split_once('@') {
        Some((user, nodes)) if dawn_remote::names::user_name(user).is_ok() => (Some(user), nodes),
        _ => (None, noderange),
    };
    let from: Vec<PathBuf> = from.iter().map(|file| environment.directory.join(file)).collect();
    if let Some(missing) = from.iter().find(|file| !file.exists()) {
        return Err(Stop::not_found(format!("{}: there is no such file", missing.display())));
    }
    let targets = targets(&Whom { noderange, interface: way.interface, user, port: way.port }, environment)?;
    let failed = |error: std::io::Error| Stop::internal(error.to_string());
    let directory = RunDirectory::new(&temporary(environment)).map_err(failed)?;
    let known = vec![environment.home().join(".ssh/known_hosts")];
    let openssh = OpenSsh::new(directory, &targets, known, Vec::new()).map_err(failed)?;
    let job = |target| {
        let program = build(&openssh, &target, &Copy::To { from: &from, to });
        Job { target, work: Work::Program(program) }
    };
    let jobs = targets.into_iter().map(job).collect();
    let settings = Settings { fanout: fanout(way.fanout, environment)?, ..Settings::default() };
    run_jobs(jobs, settings, &mut Screen::new(), &mut |screen, happened| {
        if let Happened::Ended(ended) = happened {
            screen.report(out, &Copied::of(ended));
        }
    })
}

/// How the copy to a node ended.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Copied {
    result: NodeResult,
    /// The lines of the node, which name it.
    #[serde(skip)]
    text: Option<String>,
}

impl Copied {
    fn of(ended: &Ended) -> Self {
        let mut text = format!("{}{}", ended.kept.out, ended.kept.err);
        text.extend(reason(&ended.end).map(|why| format!("{why}\n")));
        if ended.end.is_success() {
            text.push_str("done\n");
        } else if text.is_empty() {
            text.push_str("the copy failed\n");
        }
        Self { result: NodeResult::of(ended), text: prefixed(&ended.node, &text) }
    }
}

impl Report for Copied {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.text.iter().try_for_each(|text| lines.line(text))
    }
}
