//! `updatenode`: files, software and post scripts of running nodes.
//!
//! The order is fixed: files (`-F`), software (`-S`), keys (`-k`), scripts (`-P`). What failed on a node does
//! not keep the node from the next part, as xCAT has it. `nodelist.updatestatus` says at the end which nodes
//! are as they should be. Missing: service nodes (`-f`, `-s`), upgrades to another release (`-o`), AIX.

use super::delivery::{Delivery, deliver, shell};
use super::options::*;
use super::postscripts::{self, SCRIPTS, Which};
use super::targets::{remote_user, targets};
use super::xdcp::rsync_for_lists;
use crate::synclists;
use dawn_bootd::clock::status_time;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::mypostscript;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::list::elements;
use dawn_cluster::{Change, Col, MANAGEMENT_GROUP, Snapshot, col, script_problem};
use dawn_plan::destiny::update_status_edits;
use dawn_plan::local_path;
use dawn_remote::event::{End, Ended, Event};
use dawn_remote::names::PORT_DEFAULT;
use dawn_remote::run::{FANOUT_DEFAULT, Settings, run};
use dawn_remote::shell::SshOptions;
use dawn_remote::synclist::Synclist;
use dawn_remote::target::Target;
use dawn_serving::disks::within;
use dawn_wire::status;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Scripts that install software.
const SOFTWARE: [&str; 2] = ["ospkgs", "otherpkgs"];

/// Bring files, software and scripts of running nodes up to date
///
/// Without options all three: -F, -S and -P; -S is left out on diskless nodes then, whose software is that of
/// their image. Scripts are those of `postscripts` below the install directory. They are copied to
/// /xcatpost of the node and run there, one after the other.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bring the files of the image's synclists
    #[arg(short = 'F', long = "sync")]
    sync: bool,
    /// Install software: the scripts ospkgs and otherpkgs
    #[arg(short = 'S', long = "sw")]
    software: bool,
    /// Run scripts: those of a comma list, or all of the node
    #[arg(short = 'P', long = "scripts", value_name = "SCRIPTS", num_args = 0..=1, default_missing_value = "")]
    scripts: Option<String>,
    /// Give keys and certificates again: the script remoteshell
    #[arg(short = 'k', long = "security")]
    security: bool,
    /// Bring the files to service nodes; not supported, as there are none
    #[arg(short = 'f', long = "snsync")]
    snsync: bool,
    /// Write mypostscript files; Dawn renders them when they are fetched
    #[arg(short = 'g', long = "genmypost")]
    genmypost: bool,
    /// User on the nodes [default: root]
    #[arg(short = 'l', long = "user", value_name = "USER")]
    user: Option<String>,
    /// With -F: path of rsync
    #[arg(short = 'r', long = "node-rcp", value_name = "PATH")]
    node_rcp: Option<String>,
    /// Give up on a node after this many seconds without output
    #[arg(short = 't', long = "timeout", value_name = "SECONDS")]
    timeout: Option<String>,
    /// Nodes at a time [default: 64]
    #[arg(long = "fanout", value_name = "N")]
    fanout: Option<String>,
    /// More words for ssh, such as `-o "-p 2222"`
    #[arg(long = "node-options", value_name = "WORDS", allow_hyphen_values = true)]
    node_options: Option<String>,
    /// Accepted for compatibility: a node that does not answer costs 10 s
    #[arg(short = 'n', long = "noverify")]
    noverify: bool,
    /// Show what is done
    #[arg(short = 'V', long = "verbose")]
    verbose: bool,
    /// With -F: show what would change, and change nothing
    #[arg(long = "dry-run")]
    dry_run: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Scripts to run, as with -P
    #[arg(value_name = "SCRIPTS")]
    names: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "updatenode";
    const KIND: Kind = Kind::Nodes;
    const SENDS_VARIABLES: &'static [&'static str] = VARIABLES;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("change running nodes")?;
        self.check(ctx)?;
        if self.genmypost {
            return generated(ctx, out);
        }
        let parts = self.parts(ctx)?;
        let variables = Variables::of(ctx, None);
        let words = self.node_options.as_deref().or(variables.get("DSH_NODE_OPTS"));
        let options = SshOptions::read(&words.map(ssh_words).unwrap_or_default());
        let user = remote_user(ctx, self.user.as_deref())?;
        let targets = targets(ctx, &user, options.port.unwrap_or(PORT_DEFAULT));
        let settings = Settings {
            fanout: number(self.fanout.as_deref(), variables.get("DSH_FANOUT"), "--fanout")?
                .unwrap_or(FANOUT_DEFAULT),
            idle: number(self.timeout.as_deref(), variables.get("DSH_TIMEOUT"), "-t")?.map(seconds),
            // Lines go as they come; a list of results has each node's output as a whole.
            stream: !out.is_json(),
            ..Settings::default()
        };
        let mut update = Update {
            ctx,
            args: &self,
            targets,
            options,
            settings,
            progress: variables.wants_progress(),
            failed: BTreeSet::new(),
        };
        update.carry_out(&parts, out)
    }
}

/// A part of the work, in the order in which it is done.
enum Part {
    Files,
    Scripts { which: Which, security: bool, diskless: bool, done: &'static str },
}

impl Args {
    /// Refuses impossible requests, in xCAT's words.
    fn check(&self, ctx: &Ctx<'_>) -> Done {
        let runs = self.scripts.is_some() || self.names.is_some();
        let others = self.software || self.security || runs;
        let refuse = |text: &str| Err(Stop::usage(text));
        match () {
            () if self.snsync && self.sync => refuse("You can not specify both the -f and -F flags."),
            () if self.snsync && others => refuse(
                "If you specify the -f flag you must not specify either the -S or -k or -P or -F flags",
            ),
            () if self.security && (self.software || runs || self.snsync || self.sync) => {
                refuse("If you use the -k flag, you cannot specify the -S,-P,-f or -F flags.")
            }
            () if self.node_rcp.is_some() && (others || self.genmypost) && !self.sync => {
                refuse("-r|--node-rcp option is valid when option -f or -F is specified")
            }
            () if self.snsync => {
                refuse("There are no servicenodes to process for the noderange in the updatenode -f command.")
            }
            () if self.dry_run && (others || !self.sync) => {
                refuse("--dry-run is for files: updatenode NODERANGE -F --dry-run")
            }
            () if self.names.as_deref().is_some_and(|names| names.contains('=')) => {
                refuse("attributes for AIX nodes are not supported")
            }
            () if self.security => {
                let is_manager = |node: &&String| is_manager(&ctx.snapshot, node);
                match ctx.nodes().iter().find(is_manager) {
                    Some(node) => Err(Stop::usage(format!(
                        "You must not run -k option against a management node: {node}."
                    ))),
                    None => Ok(()),
                }
            }
            () => Ok(()),
        }
    }

    fn parts(&self, ctx: &Ctx<'_>) -> Result<Vec<Part>, Stop> {
        let named = self.scripts.as_deref().or(self.names.as_deref());
        let all = !(self.sync || self.software || self.security || named.is_some());
        if self.software && ctx.nodes().iter().any(|node| is_diskless(&ctx.snapshot, node)) {
            let text = "updatenode command does not support software maintenance to diskless node.";
            return Err(CommandError::refused(text)
                .hint(
                    "a diskless node has the software of its image: `genimage`, `packimage`, and boot it again.",
                )
                .into());
        }
        let mut parts = Vec::new();
        if self.sync || all {
            parts.push(Part::Files);
        }
        let scripts = |names: &[&str]| Which::Named(names.iter().map(|name| (*name).to_owned()).collect());
        if self.software || all {
            parts.push(Part::Scripts {
                which: scripts(&SOFTWARE),
                security: false,
                diskless: false,
                done: "Running of Software Maintenance has completed.",
            });
        }
        if self.security {
            parts.push(Part::Scripts {
                which: scripts(&["remoteshell"]),
                security: true,
                diskless: true,
                done: "Redeliver security files has completed.",
            });
        }
        if named.is_some() || all {
            parts.push(Part::Scripts {
                which: which(ctx, named.unwrap_or_default())?,
                security: false,
                diskless: true,
                done: "Running of postscripts has completed.",
            });
        }
        Ok(parts)
    }
}

/// The scripts of a list such as `syslog,mine a b`. Each must be there.
fn which(ctx: &Ctx<'_>, list: &str) -> Result<Which, Stop> {
    let names: Vec<String> = list
        .split(',')
        .map(|script| script.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|script| !script.is_empty())
        .collect();
    match names.as_slice() {
        [] => return Ok(Which::All),
        [mark] if postscripts::is_mark(mark) => return Ok(Which::Part(mark.clone())),
        more if more.iter().any(|name| postscripts::is_mark(name)) => {
            return Err(Stop::usage("Only one internal postscript can be used with -P."));
        }
        _ => {}
    }
    for script in &names {
        if let Some(why) = script_problem(script) {
            return Err(Stop::usage(format!("'{script}': {why}")));
        }
        let name = script.split(' ').next().unwrap_or_default();
        let path = local_path(&ctx.snapshot, &format!("{SCRIPTS}/{name}"));
        let is_file = within(&path, Path::is_file).map_err(|late| Stop::unavailable(late.to_string()))?;
        if !is_file {
            return Err(Stop::not_found(format!("The postscript {SCRIPTS}/{name} does not exist.")));
        }
    }
    Ok(Which::Named(names))
}

/// `-g`: there is nothing to write.
fn generated(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let value = ctx.snapshot.site("precreatemypostscripts").unwrap_or_default();
    match value.trim().eq_ignore_ascii_case("yes") || value.trim() == "1" {
        true => out.heading(format!("Generated new mypostscript files on {}", ctx.host)),
        false => Err(Stop::usage(
            "This option is only valid if site table precreatemypostscripts attribute is 1 or YES",
        )),
    }
}

fn is_manager(snapshot: &Snapshot, node: &str) -> bool {
    let groups = snapshot.attr(node, col::nodelist::GROUPS).unwrap_or_default();
    groups.split(',').any(|group| group.trim() == MANAGEMENT_GROUP)
}

/// Whether the node runs from an image that its server has.
fn is_diskless(snapshot: &Snapshot, node: &str) -> bool {
    let image = dawn_statelite::image_of(snapshot, node).and_then(|name| snapshot.osimage(&name));
    let method = image.and_then(|image| image.get(col::osimage::PROVMETHOD).cloned());
    let method = method.or_else(|| snapshot.attr(node, col::nodetype::PROVMETHOD)).unwrap_or_default();
    matches!(&*method, "netboot" | "statelite" | "raw")
}

/// The synclists of the node's image, or the one that its system, architecture and profile have.
fn lists_of(snapshot: &Snapshot, node: &str) -> Result<Vec<PathBuf>, Stop> {
    let Some(image) = dawn_statelite::image_of(snapshot, node).and_then(|name| snapshot.osimage(&name))
    else {
        return Ok(Vec::new());
    };
    let cell = |column: Col| image.get(column).map(|text| text.trim().to_owned()).unwrap_or_default();
    let named = cell(col::osimage::SYNCLISTS);
    if !named.is_empty() {
        let paths = elements(&named);
        return Ok(paths.map(PathBuf::from).collect());
    }
    let kind = if cell(col::osimage::PROVMETHOD) == "install" { "install" } else { "netboot" };
    let [os, arch, profile] = [col::osimage::OSVERS, col::osimage::OSARCH, col::osimage::PROFILE].map(cell);
    let candidates = dawn_deploy::synclists(kind, &os, &arch, &profile);
    for path in candidates.iter().map(|path| local_path(snapshot, path)) {
        if within(&path, Path::is_file).map_err(|late| Stop::unavailable(late.to_string()))? {
            return Ok(vec![path]);
        }
    }
    Ok(Vec::new())
}

/// One run.
struct Update<'a> {
    ctx: &'a Ctx<'a>,
    args: &'a Args,
    targets: Vec<Target>,
    options: SshOptions,
    settings: Settings,
    progress: bool,
    failed: BTreeSet<String>,
}

impl Update<'_> {
    fn carry_out(&mut self, parts: &[Part], out: &mut Out<'_>) -> Done {
        let keeps_status = self.args.dry_run || self.args.security;
        let nodes: BTreeSet<String> = self.ctx.nodes().iter().cloned().collect();
        if !keeps_status {
            self.status(&nodes, status::SYNCING);
        }
        let done = parts.iter().try_for_each(|part| match part {
            Part::Files => self.files(out),
            Part::Scripts { which, security, diskless, done } => {
                self.scripts(which, *security, *diskless, done, out)
            }
        });
        // For any reason that stopped the run, these nodes are not up to date.
        let failed = if done.is_err() { nodes.clone() } else { self.failed.clone() };
        if !keeps_status {
            self.status(&failed, status::FAILED);
            self.status(&nodes.difference(&failed).cloned().collect(), status::SYNCED);
        }
        done?;
        if self.failed.is_empty() { Ok(()) } else { out.code(1) }
    }

    /// The command continues if a status cannot be stored.
    fn status(&self, nodes: &BTreeSet<String>, word: &str) {
        let now = status_time();
        let change = Change::quiet("updatenode", "updatestatus", Vec::new());
        let written = self.ctx.model.transact(change, |snapshot| {
            let mut edits = Vec::new();
            for node in nodes {
                edits.extend(update_status_edits(snapshot, node, word, &now)?);
            }
            Ok::<_, Stop>((edits, ()))
        });
        if let Err(stop) = written {
            tracing::warn!(?stop, word, "nodelist.updatestatus is not stored");
        }
    }

    fn files(&mut self, out: &mut Out<'_>) -> Done {
        let mut by_lists: BTreeMap<Vec<PathBuf>, Vec<Target>> = BTreeMap::new();
        for target in &self.targets {
            let lists = lists_of(&self.ctx.snapshot, &target.node)?;
            if !lists.is_empty() {
                by_lists.entry(lists).or_default().push(target.clone());
            }
        }
        if by_lists.is_empty() {
            return out
                .heading("There were no syncfiles defined to process. File synchronization has completed.");
        }
        let rsync = rsync_for_lists(self.args.node_rcp.as_deref())?;
        for (lists, targets) in by_lists {
            let mut all = Synclist::default();
            for list in &lists {
                self.say(&format!("xdcp {} -F {}", names(&targets), list.display()), out)?;
                if !within(list, Path::is_file).map_err(|late| Stop::unavailable(late.to_string()))? {
                    let list = list.display();
                    return Err(Stop::not_found(format!(
                        "The file {list} which is specified to be sync'd to the node does NOT exist."
                    )));
                }
                all.extend(synclists::read(list)?);
            }
            let delivery = Delivery {
                list: &all,
                rsync,
                options: self.options.clone(),
                settings: self.settings,
                dry_run: self.args.dry_run,
                progress: self.progress,
            };
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            deliver(self.ctx, targets, delivery, out, &mut |node, out| {
                out.report(&node)?;
                if node.end.is_success() {
                    good.push(node.node)
                } else {
                    bad.push(node.node)
                }
                out.flush()
            })?;
            good.sort();
            bad.sort();
            if !self.args.dry_run {
                summary("has completed", &good, out)?;
                summary("failed", &bad, out)?;
            }
            self.failed.extend(bad);
        }
        Ok(())
    }

    fn scripts(
        &mut self,
        which: &Which,
        security: bool,
        diskless: bool,
        done: &'static str,
        out: &mut Out<'_>,
    ) -> Done {
        let snapshot = &self.ctx.snapshot;
        let wanted = |target: &&Target| diskless || !is_diskless(snapshot, &target.node);
        let targets: Vec<Target> = self.targets.iter().filter(wanted).cloned().collect();
        if targets.is_empty() {
            return Ok(());
        }
        if !diskless {
            out.heading(
                "Performing software maintenance operations. This could take a while, if there are packages \
                 to install.",
            )?;
        }
        self.say(&format!("xdsh {} -s -e {SCRIPTS}", names(&targets)), out)?;
        let archive = Arc::new(postscripts::archive(&local_path(snapshot, SCRIPTS))?);
        let shell = shell(&targets, &self.options)?;
        let mut jobs = Vec::with_capacity(targets.len());
        for target in targets {
            let lines = mypostscript::lines(snapshot, &target.node, self.ctx.host);
            let script = postscripts::script(&lines, which, security);
            let failed = |error: std::io::Error| Stop::internal(error.to_string());
            let (line, input) = postscripts::command(&script).map_err(failed)?;
            jobs.push(shell.job_with(target, &line, &Arc::new(input), &archive));
        }
        out.flush()?;
        let mut stop = None;
        let (failed, progress) = (&mut self.failed, self.progress);
        let ran = run(jobs, self.settings, &mut |event| {
            guard(&mut stop, || match event {
                Event::Lines { node, text, .. } => {
                    prefixed(&node, &text).map_or(Ok(()), |text| out.data(text))?;
                    out.flush()
                }
                Event::Ended(ended) => {
                    if !ended.end.is_success() {
                        failed.insert(ended.node.clone());
                    }
                    out.report(&Ran { result: NodeResult::of(&ended), ended: &ended, done })?;
                    out.flush()
                }
                Event::Progress(counts) => on_progress(out, counts, progress),
                Event::Started(_) => Ok(()),
            })
        });
        match stop {
            Some(stop) => Err(stop),
            None => ran.map(drop).map_err(|error| Stop::usage(error.to_string())),
        }
    }

    fn say(&self, what: &str, out: &mut Out<'_>) -> Done {
        match self.args.verbose {
            true => out.notice(format!("  {}: Internal call command: {what}", self.ctx.host)),
            false => Ok(()),
        }
    }
}

/// The end of the scripts of a node, whose lines have been shown.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Ran<'e> {
    result: NodeResult,
    #[serde(skip)]
    ended: &'e Ended,
    #[serde(skip)]
    done: &'e str,
}

impl Report for Ran<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let Ended { node, end, .. } = self.ended;
        match end {
            End::Exit(_) => lines.data(format!("{node}: {}", self.done)),
            end => {
                let why = reason(end).unwrap_or_else(|| CommandError::unavailable("it was not started"));
                lines.node_error(node, why)
            }
        }
    }
}

fn names(targets: &[Target]) -> String {
    targets.iter().map(|target| target.node.as_str()).collect::<Vec<_>>().join(",")
}

fn summary(what: &str, nodes: &[String], out: &mut Out<'_>) -> Done {
    match nodes.is_empty() {
        true => Ok(()),
        false => out.heading(format!("File synchronization {what} for nodes: \"{}\"", nodes.join(","))),
    }
}
