//! `xdcp`: files to many nodes, or from them, with OpenSSH's `scp` or with `rsync`; the files of a synclist.
//!
//! The files are on the machine of the daemon, which reads them with root's rights: the command is for
//! root. Missing: service nodes (`-s`), synclists with scp.

use super::delivery::{Delivery, deliver, into_image};
use super::options::*;
use super::targets::{KNOWN_HOSTS, remote_user, targets};
use crate::synclists;
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_bootd::zones::keys_of;
use dawn_remote::event::{Ended, Event};
use dawn_remote::names::PORT_DEFAULT;
use dawn_remote::openssh::{Copy, OpenSsh, RSYNC, RunDirectory, SCP};
use dawn_remote::run::{CONNECT_TIME_DEFAULT, FANOUT_DEFAULT, Job, Settings, Work, run};
use dawn_remote::shell::SshOptions;
use dawn_remote::target::Target;
use std::path::{Path, PathBuf};

/// Where files of a run go.
const TEMPORARY: &str = "/tmp";

/// Copy files to many nodes at once, or from them
///
/// The last word is the destination on the nodes. With -P the only SOURCE is on the nodes and DESTINATION is
/// a directory on this machine; the copy is called NAME._NODE. With -F the nodes get the files of a synclist
/// whose content differs. The exit code is the number of nodes that failed, at
/// most 255.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "xdcp [OPTIONS] NODERANGE SOURCE... DESTINATION\n       xdcp [OPTIONS] -P NODERANGE SOURCE DIRECTORY\n       xdcp [OPTIONS] -F SYNCLIST {NODERANGE | -i DIRECTORY}"
)]
pub struct Args {
    /// Copy from the nodes
    #[arg(short = 'P', long = "pull")]
    pull: bool,
    /// Directories with all that is in them
    #[arg(short = 'R', long = "recursive")]
    recursive: bool,
    /// Keep times and modes
    #[arg(short = 'p', long = "preserve")]
    preserve: bool,
    /// Copy program: a path that ends in scp or rsync [default: /usr/bin/scp, /usr/bin/rsync with -F]
    #[arg(short = 'r', short_alias = 'c', long = "node-rcp", value_name = "PATH")]
    node_rcp: Option<String>,
    /// Nodes at a time [default: 64]
    #[arg(short = 'f', long = "fanout", value_name = "N")]
    fanout: Option<String>,
    /// User on the nodes [default: your own name]
    #[arg(short = 'l', long = "user", value_name = "USER")]
    user: Option<String>,
    /// More words for ssh, such as `-o "-o ConnectTimeout=5"`
    #[arg(short = 'o', long = "node-options", value_name = "WORDS", allow_hyphen_values = true)]
    node_options: Option<String>,
    /// Show no output of the copy program
    #[arg(short = 'Q', long = "silent")]
    silent: bool,
    /// Give up on a node after this many seconds
    #[arg(short = 't', long = "timeout", value_name = "SECONDS")]
    timeout: Option<String>,
    /// Show the command lines
    #[arg(short = 'T', long = "trace")]
    trace: bool,
    /// Ignore all DSH variables but those in this comma list
    #[arg(short = 'X', value_name = "LIST", num_args = 0..=1, default_missing_value = "")]
    ignore_env: Option<String>,
    /// Accepted for compatibility
    #[arg(short = 'B', long = "bypass")]
    bypass: bool,
    /// Add lines about each node for programs
    #[arg(long = "nodestatus")]
    nodestatus: bool,
    /// Accepted for compatibility: a node that does not answer costs 10 s
    #[arg(short = 'v', long = "verify")]
    verify: bool,
    /// Copy the files of a synclist
    #[arg(short = 'F', long = "File", value_name = "SYNCLIST")]
    synclist: Option<String>,
    /// With -F: into the tree of an image instead of to nodes
    #[arg(short = 'i', long = "rootimg", value_name = "DIRECTORY")]
    rootimg: Option<String>,
    /// With -F: only to service nodes; not supported
    #[arg(short = 's')]
    service_nodes: bool,
    /// With -F: show what would change, and change nothing
    #[arg(long = "dry-run")]
    dry_run: bool,
    /// Print the version
    #[arg(short = 'V', long = "version", id = "version")]
    _version: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
    /// Files to copy, then the place to copy them to
    #[arg(value_name = "SOURCE... DESTINATION")]
    paths: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "xdcp";
    const KIND: Kind = Kind::Nodes;
    const SENDS_VARIABLES: &'static [&'static str] = VARIABLES;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.noderange.is_none() && self.rootimg.is_none() {
            return no_nodes(Self::NAME, ctx, out);
        }
        ctx.require_root("copy files: `pscp` and `prsync` copy them as yourself")?;
        let variables = Variables::of(ctx, self.ignore_env.as_deref());
        match &self.synclist {
            Some(list) => return self.synchronise(ctx, &ctx.path_of_caller(list), &variables, out),
            None if self.rootimg.is_some() => {
                return Err(Stop::usage("To use -i flag you must supply the -F flag"));
            }
            None if self.service_nodes => {
                return Err(Stop::usage("If -s option is use, then -F must point to the syncfile."));
            }
            None if self.dry_run => return Err(Stop::usage("--dry-run is for the files of a synclist (-F)")),
            None => {}
        }
        let copies = self.copies(ctx)?;
        let words = self.node_options.as_deref().or(variables.get("DCP_NODE_OPTS"));
        let mut options = SshOptions::read(&words.map(ssh_words).unwrap_or_default());
        // scp and rsync wait as long as the system does otherwise.
        if options.connect.is_none() {
            let time = CONNECT_TIME_DEFAULT.as_secs();
            options.words.extend(["-o".to_owned(), format!("ConnectTimeout={time}")]);
        }
        let user = remote_user(ctx, self.user.as_deref())?;
        let targets = targets(ctx, &user, options.port.unwrap_or(PORT_DEFAULT));
        let failed = |error: std::io::Error| Stop::unavailable(format!("{TEMPORARY}: {error}"));
        let directory = RunDirectory::new(Path::new(TEMPORARY)).map_err(failed)?;
        let known = vec![keys_of(None).join(KNOWN_HOSTS)];
        let openssh = OpenSsh::new(directory, &targets, known, options.words).map_err(failed)?;
        let program = self.node_rcp.as_deref().or(variables.get("DCP_NODE_RCP"));
        let jobs = self.jobs(targets, &openssh, Path::new(program.unwrap_or(SCP)), &copies)?;
        if self.trace {
            for job in &jobs {
                if let Work::Program(program) = &job.work {
                    out.notice(format!("TRACE: {}", program.shown()))?;
                }
            }
        }
        let settings = self.settings(&variables)?;
        self.carry_out(jobs, settings, variables.wants_progress(), out)
    }
}

/// What is copied, before it is known for which node.
enum Copies {
    To { from: Vec<PathBuf>, to: String },
    From { from: String, to: PathBuf },
}

impl Args {
    fn settings(&self, variables: &Variables<'_>) -> Result<Settings, Stop> {
        Ok(Settings {
            fanout: number(self.fanout.as_deref(), variables.get("DSH_FANOUT"), "-f")?
                .unwrap_or(FANOUT_DEFAULT),
            whole: number(self.timeout.as_deref(), variables.get("DSH_TIMEOUT"), "-t")?.map(seconds),
            ..Settings::default()
        })
    }

    /// The files of a synclist.
    fn synchronise(&self, ctx: &Ctx<'_>, list: &Path, variables: &Variables<'_>, out: &mut Out<'_>) -> Done {
        if self.service_nodes {
            return Err(Stop::refused("there are no service nodes: without -s the files go to the nodes"));
        }
        let program = self.node_rcp.as_deref().or(variables.get("DCP_NODE_RCP"));
        let rsync = rsync_for_lists(program)?;
        let list = synclists::read(list)?;
        if let Some(rootimg) = &self.rootimg {
            if self.noderange.is_some() {
                return Err(Stop::usage("-i is for the tree of an image: give no noderange with it"));
            }
            return into_image(&ctx.path_of_caller(rootimg), rsync, list, self.dry_run, out);
        }
        let words = self.node_options.as_deref().or(variables.get("DCP_NODE_OPTS"));
        let options = SshOptions::read(&words.map(ssh_words).unwrap_or_default());
        let user = remote_user(ctx, self.user.as_deref())?;
        let targets = targets(ctx, &user, options.port.unwrap_or(PORT_DEFAULT));
        let delivery = Delivery {
            list: &list,
            rsync,
            options,
            settings: self.settings(variables)?,
            dry_run: self.dry_run,
            progress: variables.wants_progress(),
        };
        let mut tally = Tally::default();
        deliver(ctx, targets, delivery, out, &mut |node, out| {
            tally.add(&node.node, &node.end);
            out.report(&Unless(self.silent, &node))?;
            if self.nodestatus {
                out.heading(status_line(&node.node, &node.end))?;
            }
            out.flush()
        })?;
        tally.finish(out)
    }

    fn copies(&self, ctx: &Ctx<'_>) -> Result<Copies, Stop> {
        // `xdcp cn1 "SOURCE DESTINATION"`, one word.
        let split: Vec<String> = match self.paths.as_slice() {
            [one] => one.split_whitespace().map(str::to_owned).collect(),
            more => more.to_vec(),
        };
        match split.as_slice() {
            [] => Err(Stop::usage("Missing file arguments")),
            [_] => Err(Stop::usage("Missing target_path")),
            [from, to] if self.pull => {
                let to = ctx.path_of_caller(to);
                match look(&to, Path::is_dir)? {
                    true => Ok(Copies::From { from: from.clone(), to }),
                    false => Err(Stop::not_found(format!(
                        "Cannot copy to target {}. Directory does not exist.",
                        to.display()
                    ))),
                }
            }
            _ if self.pull => Err(Stop::usage("Cannot pull more than one file from targets.")),
            [from @ .., to] => {
                let from: Vec<PathBuf> = from.iter().map(|path| ctx.path_of_caller(path)).collect();
                for path in &from {
                    // The program that copies would wait for the disk for ever.
                    if !look(path, Path::exists)? {
                        return Err(Stop::not_found(format!("{}: there is no such file", path.display())));
                    }
                }
                Ok(Copies::To { from, to: to.clone() })
            }
        }
    }

    fn jobs(
        &self,
        targets: Vec<Target>,
        openssh: &OpenSsh,
        program: &Path,
        copies: &Copies,
    ) -> Result<Vec<Job>, Stop> {
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (is_rsync, mut flags) = match name.as_str() {
            "scp" => (false, Vec::new()),
            "rsync" => (true, vec!["--rsync-path", RSYNC]),
            _ => {
                return Err(Stop::usage(format!(
                    "Remote command: {} is invalid, the support remote commands: scp,rsync.",
                    program.display()
                )));
            }
        };
        flags.extend(self.recursive.then_some("-r"));
        flags.extend(self.preserve.then_some("-p"));
        flags.extend((self.preserve && is_rsync).then_some("-t"));
        let job = |target: Target| {
            let place;
            let copy = match copies {
                Copies::To { from, to } => Copy::To { from, to },
                Copies::From { from, to } => {
                    let base = Path::new(from).file_name().unwrap_or_default().to_string_lossy();
                    place = to.join(format!("{base}._{}", target.node));
                    Copy::From { from, to: &place }
                }
            };
            let program = match is_rsync {
                true => openssh.rsync(program, &target, &flags, &copy),
                false => openssh.scp(program, &target, &flags, &copy),
            };
            Job { target, work: Work::Program(program) }
        };
        Ok(targets.into_iter().map(job).collect())
    }

    fn carry_out(&self, jobs: Vec<Job>, settings: Settings, progress: bool, out: &mut Out<'_>) -> Done {
        let (mut tally, mut failed) = (Tally::default(), None);
        out.flush()?;
        let ran = run(jobs, settings, &mut |event| {
            guard(&mut failed, || match event {
                Event::Ended(ended) => {
                    tally.add(&ended.node, &ended.end);
                    self.ended(&ended, out)
                }
                Event::Progress(counts) => on_progress(out, counts, progress),
                _ => Ok(()),
            })
        });
        if let Some(stop) = failed {
            return Err(stop);
        }
        ran.map_err(|error| Stop::usage(error.to_string()))?;
        tally.finish(out)
    }

    fn ended(&self, ended: &Ended, out: &mut Out<'_>) -> Done {
        out.report(&Unless(self.silent, &Copied(ended)))?;
        if self.nodestatus {
            out.heading(status_line(&ended.node, &ended.end))?;
        }
        out.flush()
    }
}

/// A result without its lines if `-Q` asks for none.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Unless<'r, R>(#[serde(skip)] bool, &'r R);

impl<R: Report> Report for Unless<'_, R> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        if self.0 { Ok(()) } else { self.1.print(lines) }
    }
}

/// The end of the copy program of a node.
struct Copied<'e>(&'e Ended);

impl serde::Serialize for Copied<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NodeResult::of(self.0).serialize(serializer)
    }
}

impl Report for Copied<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let Ended { node, end, kept, .. } = self.0;
        let mut text = format!("{}{}", kept.out, kept.err);
        text.extend(reason(end).map(|why| format!("{why}\n")));
        prefixed(node, &text).map_or(Ok(()), |text| lines.data(text))
    }
}

/// The rsync of this machine that copies the files of synclists.
///
/// # Errors
/// The program is another one.
pub fn rsync_for_lists(program: Option<&str>) -> Result<&Path, Stop> {
    let program = Path::new(program.unwrap_or(RSYNC));
    match program.file_name().is_some_and(|name| name == "rsync") {
        true => Ok(program),
        false => Err(Stop::usage(format!(
            "Remote command: {} is invalid: the files of synclists are copied by rsync",
            program.display()
        ))),
    }
}
