//! The files of a synclist to many nodes: one rsync for each node, then one command where something is left
//! to do.
//!
//! Nodes that get the same files share a tree of links (`dawn_remote::synclist`). A node whose files could
//! not be copied is skipped: nothing is appended there and no script runs.

use super::options::{code_of, guard, on_progress, prefixed, reason};
use super::targets::{CONFIGURATION, KNOWN_HOSTS};
use crate::synclists::{NODE_DIRECTORY, OnDisk, plan_for_image, refused};
use dawn_bootd::command::Ctx;
use dawn_bootd::command::disk::look;
use dawn_bootd::output::{Deed, Done, Lines, Out, Report, Stop};
use dawn_bootd::zones::keys_of;
use dawn_cluster::{Col, col};
use dawn_remote::event::{End, Ended, Event};
use dawn_remote::openssh::{Copy, OpenSsh, RunDirectory};
use dawn_remote::run::{CONNECT_TIME_DEFAULT, Job, Settings, Work, run};
use dawn_remote::shell::{Shell, SshOptions, Wish};
use dawn_remote::synclist::{self, Plan, Stage, Synclist, Wanted, changes, due, is_new};
use dawn_remote::target::Target;
use dawn_remote::visible::visible;
use dawn_serving::beneath::Beneath;
use dawn_serving::bounded_read::{self, Refused, Rights};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where files of a run go.
const TEMPORARY: &str = "/tmp";
/// Bytes of a script that a synclist runs.
const SCRIPT_BYTES_MAX: u64 = 16 << 20;

/// How a list is delivered.
pub struct Delivery<'a> {
    /// The list.
    pub list: &'a Synclist,
    /// rsync on this machine.
    pub rsync: &'a Path,
    /// Words for ssh.
    pub options: SshOptions,
    /// Width and time limits.
    pub settings: Settings,
    /// Only say what would change.
    pub dry_run: bool,
    /// The caller's terminal shows progress.
    pub progress: bool,
}

/// What became of a node's files.
#[derive(Debug, serde::Serialize)]
pub struct Delivered {
    /// The node.
    pub node: String,
    /// How it ended.
    #[serde(skip)]
    pub end: End,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Places of files that are new, or would be.
    pub changed: BTreeSet<String>,
    output: String,
}

impl Report for Delivered {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        prefixed(&self.node, &self.output).map_or(Ok(()), |text| lines.data(text))
    }
}

impl Delivered {
    fn new(node: String, end: End, changed: BTreeSet<String>, mut output: String) -> Self {
        let why = reason(&end);
        output.extend(why.iter().map(|why| format!("{why}\n")));
        let reason = why.map(|why| why.reason());
        let status = if end.is_success() { "ok" } else { "failed" };
        Self { node, status, code: (!end.is_success()).then(|| code_of(&end)), reason, end, changed, output }
    }
}

/// What each node gets; nodes that get the same share a plan.
struct Plans {
    all: Vec<Plan>,
    of_node: HashMap<String, usize>,
}

impl Plans {
    fn of(ctx: &Ctx<'_>, list: &Synclist, targets: &[Target]) -> Result<Self, Stop> {
        let ranges = ranges(ctx, list)?;
        let directory = node_directory(ctx)?;
        let (mut plans, mut by_key) = (Self { all: Vec::new(), of_node: HashMap::new() }, BTreeMap::new());
        for Target { node, .. } in targets {
            let cell = |column: Col| ctx.snapshot.attr(node, column).map(|text| text.to_string());
            let value = |name: &str| match name {
                "NODE" => Some(node.clone()),
                "OSVER" => cell(col::nodetype::OS),
                "ARCH" => cell(col::nodetype::ARCH),
                "PROFILE" => cell(col::nodetype::PROFILE),
                _ => None,
            };
            let is_in = |range: &str| ranges.get(range).is_some_and(|nodes| nodes.contains(node));
            let wanted = Wanted { is_in: &is_in, value: &value, directory: &directory };
            let at = match by_key.entry(list.key(&wanted)) {
                std::collections::btree_map::Entry::Occupied(known) => *known.get(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    plans.all.push(list.plan(&wanted, &OnDisk).map_err(|error| refused(&error))?);
                    *free.insert(plans.all.len() - 1)
                }
            };
            plans.of_node.insert(node.clone(), at);
        }
        Ok(plans)
    }

    fn plan(&self, node: &str) -> Option<(usize, &Plan)> {
        let at = *self.of_node.get(node)?;
        Some((at, self.all.get(at)?))
    }
}

/// The nodes of each noderange of the list. A name that is not one is an error: lines would silently mean
/// fewer nodes.
fn ranges(ctx: &Ctx<'_>, list: &Synclist) -> Result<HashMap<String, HashSet<String>>, Stop> {
    let mut ranges = HashMap::new();
    for line in list.lines() {
        let Some(range) = line.nodes.as_ref().filter(|range| !ranges.contains_key(*range)) else { continue };
        let found = ctx.view.expand(&ctx.snapshot, range);
        let wrong = |why: String| Stop::usage(format!("{}: {why}", line.at));
        if let Some(why) = found.fatal {
            return Err(wrong(why));
        }
        if !found.unknown.is_empty() {
            let names = found.unknown.join(",");
            return Err(wrong(format!("Invalid nodes and/or groups in noderange: {names}")));
        }
        ranges.insert(range.clone(), found.nodes.into_iter().collect());
    }
    Ok(ranges)
}

fn node_directory(ctx: &Ctx<'_>) -> Result<String, Stop> {
    let directory = ctx.snapshot.site("nodesyncfiledir").filter(|directory| !directory.trim().is_empty());
    let directory =
        directory.map_or_else(|| NODE_DIRECTORY.to_owned(), |directory| directory.trim().to_owned());
    let parts = directory.split('/').skip(1);
    match directory.starts_with('/') && parts.clone().all(|part| !matches!(part, "" | "." | "..")) {
        true => Ok(directory),
        false => Err(Stop::usage(format!("site.nodesyncfiledir: '{directory}' is not an absolute path"))),
    }
}

/// Delivers a list; each node is reported as soon as it is done.
///
/// # Errors
/// The list cannot be carried out, or the caller has gone.
pub fn deliver(
    ctx: &Ctx<'_>,
    targets: Vec<Target>,
    delivery: Delivery<'_>,
    out: &mut Out<'_>,
    on: &mut dyn FnMut(Delivered, &mut Out<'_>) -> Done,
) -> Done {
    let plans = Plans::of(ctx, delivery.list, &targets)?;
    let scripts = if delivery.dry_run { BTreeMap::new() } else { scripts(&plans)? };
    let failed = |error: io::Error| Stop::unavailable(format!("{TEMPORARY}: {error}"));
    let directory = RunDirectory::new(Path::new(TEMPORARY)).map_err(failed)?;
    let stages =
        plans.all.iter().enumerate().map(|(at, plan)| Stage::new(directory.path(), &at.to_string(), plan));
    let stages: Vec<Stage> =
        stages.collect::<Result<_, _>>().map_err(|error| Stop::unavailable(error.to_string()))?;
    let mut options = delivery.options.clone();
    if options.connect.is_none() {
        let time = CONNECT_TIME_DEFAULT.as_secs();
        options.words.extend(["-o".to_owned(), format!("ConnectTimeout={time}")]);
    }
    let known = vec![keys_of(None).join(KNOWN_HOSTS)];
    let own = RunDirectory::new(Path::new(TEMPORARY)).map_err(failed)?;
    let openssh = OpenSsh::new(own, &targets, known, options.words).map_err(failed)?;
    let (mut jobs, mut without) = (Vec::new(), Vec::new());
    for target in &targets {
        let Some((at, plan)) = plans.plan(&target.node) else { continue };
        let Some(stage) = stages.get(at).filter(|_| !plan.places.is_empty()) else {
            without.push(target.node.clone());
            continue;
        };
        let flags = stage.flags(delivery.dry_run, true);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let from = [stage.tree().to_owned()];
        let program = openssh.rsync(delivery.rsync, target, &flags, &Copy::To { from: &from, to: "/" });
        jobs.push(Job { target: target.clone(), work: Work::Program(program) });
    }
    out.flush()?;
    for node in without {
        on(Delivered::new(node, End::Exit(0), BTreeSet::new(), String::new()), out)?;
    }
    let mut left = Vec::new();
    ends(jobs, &delivery, out, &mut |ended, out| {
        let Some((_, plan)) = plans.plan(&ended.node) else { return Ok(()) };
        let copied = Copied::of(&ended, plan, delivery.dry_run);
        let content = |path: &str| {
            let missing = || io::Error::other(format!("{path} was not read"));
            scripts.get(path).map(Vec::as_slice).ok_or_else(missing)
        };
        let next = match ended.end.is_success() && !delivery.dry_run {
            true => synclist::follow_up(plan, &ended.node, &copied.changed, &content)
                .map_err(|error| Stop::unavailable(error.to_string()))?,
            false => None,
        };
        match next {
            Some(command) => {
                left.push((ended.node, command, copied));
                Ok(())
            }
            None => on(Delivered::new(ended.node, ended.end, copied.changed, copied.output), out),
        }
    })?;
    follow(&targets, left, &delivery, out, on)
}

/// The scripts that may run, read once.
fn scripts(plans: &Plans) -> Result<BTreeMap<String, Vec<u8>>, Stop> {
    let mut scripts = BTreeMap::new();
    for script in plans.all.iter().flat_map(|plan| &plan.scripts) {
        if !scripts.contains_key(&script.path) {
            let read = bounded_read::read(Path::new(&script.path), SCRIPT_BYTES_MAX, Rights::Daemon);
            let bytes = read.map_err(|why| match why {
                Refused::Missing => Stop::not_found(format!("File:{} does not exist.", script.path)),
                why => Stop::refused(format!("{}: {why}", script.path)),
            })?;
            scripts.insert(script.path.clone(), bytes);
        }
    }
    Ok(scripts)
}

/// What rsync did for a node.
struct Copied {
    changed: BTreeSet<String>,
    output: String,
}

impl Copied {
    /// A list without clauses shows nothing of a node where all went well, as xCAT has it; one with clauses
    /// the sources of new files, and a dry run everything that would be done.
    fn of(ended: &Ended, plan: &Plan, dry_run: bool) -> Self {
        let read = changes(&ended.kept.out);
        let mut output = String::new();
        let mut line = |text: String| output.extend([text.as_str(), "\n"]);
        for place in &read.files {
            match dry_run {
                true => line(format!("would update {place}")),
                false if plan.has_clauses() => {
                    let source = plan.source_of(place).unwrap_or_else(|| place.clone());
                    line(source.trim_start_matches('/').to_owned());
                }
                false => {}
            }
        }
        if dry_run && ended.end.is_success() {
            let new = plan.appends.iter().filter(|join| is_new(join, &read.files));
            new.for_each(|join| line(format!("would append to {}", join.destination)));
            let new = plan.merges.iter().filter(|join| is_new(join, &read.files));
            new.for_each(|join| line(format!("would merge into {}", join.destination)));
            due(plan, &read.files).into_iter().for_each(|script| line(format!("would run {script}")));
        }
        read.messages.into_iter().for_each(&mut line);
        output.push_str(&ended.kept.err);
        Self { changed: read.files, output }
    }
}

/// A node, the command for it, and what was copied there.
type Left = (String, (String, Vec<u8>), Copied);

/// Appends, merges and runs scripts where that is due.
fn follow(
    targets: &[Target],
    left: Vec<Left>,
    delivery: &Delivery<'_>,
    out: &mut Out<'_>,
    on: &mut dyn FnMut(Delivered, &mut Out<'_>) -> Done,
) -> Done {
    if left.is_empty() {
        return Ok(());
    }
    let by_name: HashMap<&str, &Target> =
        targets.iter().map(|target| (target.node.as_str(), target)).collect();
    let shell = shell(targets, &delivery.options)?;
    let (mut jobs, mut copied) = (Vec::new(), HashMap::new());
    for (node, (line, input), what) in left {
        if let Some(target) = by_name.get(node.as_str()) {
            jobs.push(shell.job((*target).clone(), &line, &Arc::new(input)));
            copied.insert(node, what);
        }
    }
    ends(jobs, delivery, out, &mut |ended, out| {
        let Some(what) = copied.remove(&ended.node) else { return Ok(()) };
        let output = format!("{}{}{}", what.output, ended.kept.out, ended.kept.err);
        on(Delivered::new(ended.node, ended.end, what.changed, output), out)
    })
}

/// How commands reach these nodes.
///
/// # Errors
/// Files of the run cannot be written.
pub fn shell(targets: &[Target], options: &SshOptions) -> Result<Shell, Stop> {
    let keys = keys_of(None);
    let wish = Wish {
        program: None,
        options: options.clone(),
        configuration: targets.iter().all(|target| target.user == "root").then(|| keys.join(CONFIGURATION)),
        known_hosts: vec![keys.join(KNOWN_HOSTS)],
        temporary: TEMPORARY.into(),
    };
    Shell::choose(wish, targets).map_err(|error| Stop::unavailable(format!("{TEMPORARY}: {error}")))
}

/// Runs jobs and hands on the end of each.
fn ends(
    jobs: Vec<Job>,
    delivery: &Delivery<'_>,
    out: &mut Out<'_>,
    on: &mut dyn FnMut(Ended, &mut Out<'_>) -> Done,
) -> Done {
    let mut failed = None;
    let settings = Settings { stream: false, ..delivery.settings };
    let ran = run(jobs, settings, &mut |event| {
        guard(&mut failed, || match event {
            Event::Ended(ended) => on(ended, out),
            Event::Progress(counts) => on_progress(out, counts, delivery.progress),
            _ => Ok(()),
        })
    });
    match failed {
        Some(stop) => Err(stop),
        None => ran.map(drop).map_err(|error| Stop::usage(error.to_string())),
    }
}

/// A list into the tree of an image. Links of the tree are followed inside of it.
///
/// # Errors
/// The tree is not there, the list cannot be carried out, or rsync fails.
pub fn into_image(rootimg: &Path, rsync: &Path, list: Synclist, dry_run: bool, out: &mut Out<'_>) -> Done {
    let missing = |_| Stop::not_found(format!("Input image directory {} does not exist.", rootimg.display()));
    let tree = look(rootimg, Beneath::open)?.map_err(missing)?;
    let mut plan = plan_for_image(list)?;
    let failed = |error: io::Error| Stop::unavailable(format!("{}: {error}", rootimg.display()));
    let mut places = BTreeMap::new();
    for (place, source) in std::mem::take(&mut plan.places) {
        places.insert(inside(&tree, &place).map_err(failed)?, source);
    }
    plan.places = places;
    if plan.places.is_empty() {
        return Ok(());
    }
    let directory = RunDirectory::new(Path::new(TEMPORARY));
    let directory = directory.map_err(|error| Stop::unavailable(format!("{TEMPORARY}: {error}")))?;
    let stage = Stage::new(directory.path(), "image", &plan);
    let stage = stage.map_err(|error| Stop::unavailable(error.to_string()))?;
    let mut to = tree.real_path().as_os_str().to_owned();
    to.push("/");
    let ran = std::process::Command::new(rsync)
        .args(stage.flags(dry_run, false))
        .arg("--")
        .args([stage.tree().as_os_str(), &to])
        .stdin(std::process::Stdio::null())
        .output();
    let ran = ran.map_err(|error| Stop::unavailable(format!("{}: {error}", rsync.display())))?;
    let read = changes(&String::from_utf8_lossy(&ran.stdout));
    if dry_run {
        read.files.iter().try_for_each(|place| {
            let deed = Deed::new("would update", "file", place.as_str());
            out.report(&deed.line(format!("would update {place}")))
        })?;
    }
    match ran.status.success() {
        true => Ok(()),
        false => {
            let lines = ran.stderr.split(|byte| *byte == b'\n').map(visible);
            let why = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
            Err(Stop::unavailable(format!("rsync failed: {why}")))
        }
    }
}

/// Where a place is in a tree: the part of it that is there, with links followed, and the rest.
fn inside(tree: &Beneath, place: &str) -> io::Result<String> {
    let path = Path::new(place.trim_start_matches('/'));
    let name = path.file_name().unwrap_or_default();
    let mut rest = PathBuf::from(name);
    let mut above = path.parent().unwrap_or(Path::new(""));
    let found = loop {
        match tree.follow(above)? {
            Some(found) => break found,
            None => {
                rest = Path::new(above.file_name().unwrap_or_default()).join(rest);
                above = above.parent().unwrap_or(Path::new(""));
            }
        }
    };
    let found = found.strip_prefix(tree.real_path()).map_err(io::Error::other)?.join(rest);
    let text = found.to_str().ok_or_else(|| io::Error::other("a path in the tree is not UTF-8"))?;
    Ok(format!("/{text}"))
}
