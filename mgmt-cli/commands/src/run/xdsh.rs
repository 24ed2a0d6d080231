//! `xdsh`: a command on many nodes.
//!
//! The daemon makes the connections, with root's keys. The exit code of a command comes from ssh itself; xCAT
//! appends an `echo` to the command and reads its output for that, so that there a command that ends with
//! `exit 0` counts as failed.

use super::options::*;
use super::targets::{CONFIGURATION, KNOWN_HOSTS, Verified, only_root, remote_user, targets};
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind, PasswordPrompt};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_bootd::zones::keys_of;
use dawn_remote::collate::gathered;
use dawn_remote::event::{End, Ended, Event, Stream};
use dawn_remote::names::PORT_DEFAULT;
use dawn_remote::ping::alive;
use dawn_remote::quote::{Carried, carrying};
use dawn_remote::run::{CONNECT_TIME_DEFAULT, FANOUT_DEFAULT, Job, Settings, Work, run};
use dawn_remote::shell::{Shell, SshOptions, Wish};
use dawn_remote::target::Target;
use dawn_wire::words::quoted;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a script or environment file that travels to the nodes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of output that are held to be gathered; nodes that end later are shown by themselves.
const GATHERED_BYTES_MAX: usize = 256 << 20;
/// Where files of a run go.
const TEMPORARY: &str = "/tmp";
/// xCAT's exit code for `-K` with `-l`.
const KEYS_OF_USER_CODE: i32 = 2;
/// Variables that `-q` leaves out.
const UNLISTED: &[&str] = &["DSH_REMOTE_PASSWORD", "LANG", "LC_ALL"];

/// Run a command on many nodes at once
///
/// Options come before the command; what follows its first word is the command's. Each line of output begins
/// with the name of its node. The exit code is the number of nodes on which the command failed, at most 255.
/// Hosts are known by the keys that the daemon gave them, or that `makeknownhosts` recorded.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command is a local script, which is copied to the nodes, run and removed there
    #[arg(short = 'e', long = "execute")]
    execute: bool,
    /// File with shell variables; it is copied to the nodes, sourced before the command and removed
    #[arg(short = 'E', long = "environment", value_name = "FILE")]
    environment: Option<String>,
    /// Nodes at a time [default: 64]
    #[arg(short = 'f', long = "fanout", value_name = "N")]
    fanout: Option<String>,
    /// User on the nodes [default: your own name]
    #[arg(short = 'l', long = "user", value_name = "USER")]
    user: Option<String>,
    /// Do not pass on your locale
    #[arg(short = 'L', long = "no-locale")]
    no_locale: bool,
    /// Show where commands begin and end, in lines that begin with `dsh>`
    #[arg(short = 'm', long = "monitor")]
    monitor: bool,
    /// More words for ssh, such as `-o "-p 2222"`
    #[arg(short = 'o', long = "node-options", value_name = "WORDS", allow_hyphen_values = true)]
    node_options: Option<String>,
    /// Show the settings and run nothing
    #[arg(short = 'q', long = "show-config")]
    show_config: bool,
    /// Show no output of the nodes
    #[arg(short = 'Q', long = "silent")]
    silent: bool,
    /// Remote shell program, called as OpenSSH's ssh is
    #[arg(short = 'r', long = "node-rsh", value_name = "PATH")]
    node_rsh: Option<String>,
    /// Show each line as it comes, standard error of the nodes among standard output
    #[arg(short = 's', long = "stream")]
    stream: bool,
    /// Shell on the nodes: csh or ksh
    #[arg(short = 'S', long = "syntax", value_name = "SHELL")]
    syntax: Option<String>,
    /// Give up on a node after this many seconds without output
    #[arg(short = 't', long = "timeout", value_name = "SECONDS")]
    timeout: Option<String>,
    /// Show which way the nodes are reached
    #[arg(short = 'T', long = "trace")]
    trace: bool,
    /// Ask first which nodes answer, and leave out the others
    #[arg(short = 'v', long = "verify")]
    verify: bool,
    /// Ignore all DSH variables but those in this comma list
    #[arg(short = 'X', value_name = "LIST", num_args = 0..=1, default_missing_value = "")]
    ignore_env: Option<String>,
    /// Add a line with the exit code
    #[arg(short = 'z', long = "exit-status")]
    exit_status: bool,
    /// Accepted for compatibility
    #[arg(short = 'B', long = "bypass")]
    bypass: bool,
    /// Put `sudo` before the command
    #[arg(long = "sudo")]
    sudo: bool,
    /// Add lines about each node for programs
    #[arg(long = "nodestatus")]
    nodestatus: bool,
    /// Set up ssh keys, so that the nodes accept root's key; asks for the user's password
    #[arg(short = 'K', long = "keysetup")]
    keysetup: bool,
    /// Kind of device; only nodes with a shell are supported
    #[arg(long = "devicetype", value_name = "TYPE")]
    devicetype: Option<String>,
    /// Gather nodes with the same output, and show what differs
    #[arg(long = "collate")]
    collate: bool,
    /// Seconds for connecting and logging in [default: 10]
    #[arg(long = "connect-timeout", value_name = "SECONDS")]
    connect_timeout: Option<String>,
    /// Seconds for the whole command of a node
    #[arg(long = "command-timeout", value_name = "SECONDS")]
    command_timeout: Option<String>,
    /// Print the version
    #[arg(short = 'V', long = "version", id = "version")]
    _version: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
    /// Command and its words
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "xdsh";
    const KIND: Kind = Kind::Nodes;
    const SENDS_VARIABLES: &'static [&'static str] = VARIABLES;
    const ASKS_PASSWORD: Option<PasswordPrompt> = Some(PasswordPrompt {
        option: "--keysetup",
        letter: 'K',
        variable: "DSH_REMOTE_PASSWORD",
        prompt: "Enter the password for the userid on the node where the ssh keys \nwill be updated: ",
    });

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let variables = Variables::of(ctx, self.ignore_env.as_deref());
        IGNORED.iter().filter(|name| variables.get(name).is_some()).try_for_each(|name| {
            out.notice(format!("{name} is set but is not supported. It will be ignored."))
        })?;
        if self.show_config {
            return show_settings(&variables, out);
        }
        self.check(ctx, out)?;
        let plan = self.plan(ctx, &variables)?;
        let targets = self.verified(targets(ctx, &plan.user, plan.port), &variables, out)?;
        if self.keysetup {
            return super::keysetup::set_up(ctx, targets, &variables, plan.settings, out);
        }
        self.carry_out(ctx, targets, plan, &variables, out)
    }
}

/// What the words and variables ask for.
struct Plan {
    user: String,
    port: u16,
    options: SshOptions,
    program: Option<PathBuf>,
    settings: Settings,
}

/// A setting of the command.
#[derive(serde::Serialize)]
struct Setting<'a> {
    context: &'static str,
    name: &'static str,
    value: &'a str,
}

impl Report for Setting<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("{}:{}={}", self.context, self.name, self.value))
    }
}

fn show_settings(variables: &Variables<'_>, out: &mut Out<'_>) -> Done {
    for name in VARIABLES.iter().filter(|name| !UNLISTED.contains(name)) {
        out.report(&Setting { context: "DSH", name, value: variables.get(name).unwrap_or_default() })?;
    }
    out.report(&Setting { context: "XCAT", name: "RemoteCopyCmd", value: "/usr/bin/scp" })?;
    out.report(&Setting { context: "XCAT", name: "RemoteShell", value: "/usr/bin/ssh" })
}

impl Args {
    /// Refuses impossible requests before anything is done.
    fn check(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Result<(), Stop> {
        if self.noderange.is_none() {
            return no_nodes("xdsh", ctx, out);
        }
        if self.keysetup && self.user.is_some() && self.devicetype.is_none() {
            let text = "The -K and -l flag may only be used if --devicetype is specified.";
            return Err(CommandError::usage(text).with_code(KEYS_OF_USER_CODE).into());
        }
        if self.words.is_empty() && !self.keysetup {
            return Err(Stop::usage("No command argument provided"));
        }
        if let Some(kind) = &self.devicetype {
            return Err(Stop::refused(format!(
                "the device type {kind} is not supported: xdsh runs commands on nodes with a shell"
            )));
        }
        if let Some(shell) = self.syntax.as_deref().filter(|shell| !matches!(*shell, "csh" | "ksh")) {
            return Err(Stop::usage(format!("Incorrect argument \"{shell}\" specified on -S flag. ")));
        }
        only_root(ctx, "-e", self.execute)?;
        only_root(ctx, "-E", self.environment.is_some())?;
        only_root(ctx, "-K", self.keysetup)
    }

    fn plan(&self, ctx: &Ctx<'_>, variables: &Variables<'_>) -> Result<Plan, Stop> {
        let words = self.node_options.as_deref().or(variables.get("DSH_NODE_OPTS"));
        let options = SshOptions::read(&words.map(ssh_words).unwrap_or_default());
        only_root(ctx, "-o with anything but a port or a time", options.has_others)?;
        let program = self.node_rsh.as_deref().or(variables.get("DSH_NODE_RSH")).map(PathBuf::from);
        only_root(ctx, "-r", program.is_some())?;
        if let Some(program) = &program
            && !(program.is_absolute() && look(program, is_executable)?)
        {
            let program = program.display();
            return Err(Stop::usage(format!(
                "Remote command: {program} does not exist or is not executable."
            )));
        }
        let idle = number(self.timeout.as_deref(), variables.get("DSH_TIMEOUT"), "-t")?;
        let connect = number(self.connect_timeout.as_deref(), None, "--connect-timeout")?.map(seconds);
        let settings = Settings {
            fanout: number(self.fanout.as_deref(), variables.get("DSH_FANOUT"), "-f")?
                .unwrap_or(FANOUT_DEFAULT),
            connect: connect.or(options.connect).unwrap_or(CONNECT_TIME_DEFAULT),
            idle: idle.map(seconds),
            whole: number(self.command_timeout.as_deref(), None, "--command-timeout")?.map(seconds),
            stream: self.stream && !self.collate,
        };
        let user = remote_user(ctx, self.user.as_deref())?;
        Ok(Plan { user, port: options.port.unwrap_or(PORT_DEFAULT), options, program, settings })
    }

    /// The nodes that answer, if that was asked for. The others count as failed.
    fn verified(
        &self,
        targets: Vec<Target>,
        variables: &Variables<'_>,
        out: &mut Out<'_>,
    ) -> Result<Verified, Stop> {
        if !self.verify && variables.get("DSH_VERIFY").is_none() {
            return Ok(Verified { targets, silent: 0 });
        }
        if self.monitor {
            out.heading("dsh>  Dsh_verifying_hosts")?;
        }
        out.flush()?;
        let addresses: Vec<IpAddr> = targets.iter().filter_map(|target| target.address).collect();
        let alive = alive(&addresses).map_err(|error| Stop::unavailable(error.to_string()))?;
        let answers = |target: &Target| target.address.is_none_or(|address| alive.contains(&address));
        let (there, silent): (Vec<Target>, Vec<Target>) = targets.into_iter().partition(answers);
        for target in &silent {
            let node = &target.node;
            out.error(CommandError::unavailable(format!(
                "{node} is not responding, make sure it is a node object and is defined in xCATdb. \
                 No command will be issued to this host."
            )))?;
            if self.nodestatus {
                out.heading(format!("{node}: Remote_command_failed"))?;
            }
        }
        Ok(Verified { targets: there, silent: silent.len() })
    }

    fn carry_out(
        &self,
        ctx: &Ctx<'_>,
        verified: Verified,
        plan: Plan,
        variables: &Variables<'_>,
        out: &mut Out<'_>,
    ) -> Done {
        let keys = keys_of(None);
        let wish = Wish {
            program: plan.program,
            options: plan.options,
            configuration: (plan.user == "root").then(|| keys.join(CONFIGURATION)),
            known_hosts: vec![keys.join(KNOWN_HOSTS)],
            temporary: TEMPORARY.into(),
        };
        let shell = Shell::choose(wish, &verified.targets);
        let shell = shell.map_err(|error| Stop::unavailable(format!("{TEMPORARY}: {error}")))?;
        let script = Script::of(self, ctx, variables)?;
        let mut jobs = Vec::with_capacity(verified.targets.len());
        for target in verified.targets {
            let (line, input) = script.for_node(&target.node)?;
            jobs.push(shell.job(target, &line, &input));
        }
        if self.trace {
            trace(&shell, &jobs, out)?;
        }
        if self.monitor {
            out.heading(format!("dsh>  Dsh_process_id {}", std::process::id()))?;
            out.heading("dsh>  Dsh_initialization_completed")?;
            out.heading("dsh>  Dsh_remote_execution_started")?;
        }
        out.flush()?;
        let tally = Tally { failed: verified.silent, ..Tally::default() };
        // A list of results has each node's output as a whole.
        let whole = out.is_json();
        let settings = Settings { stream: plan.settings.stream && !whole, ..plan.settings };
        let progress = variables.wants_progress();
        let mut view = View { args: self, tally, held: Vec::new(), held_bytes: 0, progress, whole };
        let mut failed = None;
        let ran = run(jobs, settings, &mut |event| guard(&mut failed, || view.on(event, out)));
        if let Some(stop) = failed {
            return Err(stop);
        }
        ran.map_err(|error| Stop::usage(error.to_string()))?;
        view.finish(out)
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let meta = path.metadata();
    meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn trace(shell: &Shell, jobs: &[Job], out: &mut Out<'_>) -> Done {
    match shell {
        Shell::Own => out.notice("TRACE: connections of our own"),
        Shell::Program { because, .. } => {
            out.notice(format!("TRACE: the program ssh, because {because}"))?;
            jobs.iter().try_for_each(|job| match &job.work {
                Work::Program(program) => out.notice(format!("TRACE: {}", program.shown())),
                _ => Ok(()),
            })
        }
    }
}

/// What runs on each node.
struct Script<'a> {
    args: &'a Args,
    variables: Vec<(&'static str, String)>,
    script: Option<Vec<u8>>,
    environment: Option<Vec<u8>>,
    command: String,
}

impl<'a> Script<'a> {
    fn of(args: &'a Args, ctx: &Ctx<'_>, variables: &Variables<'_>) -> Result<Self, Stop> {
        let mut words = args.words.as_slice();
        let mut script = None;
        if args.execute {
            let (file, rest) =
                words.split_first().ok_or_else(|| Stop::usage("No command argument provided"))?;
            script = Some(read_file(ctx, file, true)?);
            words = rest;
        }
        let file = variables.get("DSH_ENVIRONMENT").or(args.environment.as_deref());
        only_root(ctx, "DSH_ENVIRONMENT", file.is_some())?;
        let environment = file.map(|file| read_file(ctx, file, false)).transpose()?;
        let mut exports = Vec::new();
        exports.extend(variables.get("DSH_PATH").map(|path| ("PATH", path.to_owned())));
        if !args.no_locale {
            let locale = ["LANG", "LC_ALL"];
            exports.extend(locale.iter().filter_map(|name| Some((*name, variables.get(name)?.to_owned()))));
            exports.push(("PERL_BADLANG", "0".to_owned()));
        }
        let command = words.join(" ").trim_end().trim_end_matches(';').trim_end().to_owned();
        Ok(Self { args, variables: exports, script, environment, command })
    }

    /// The line for the node's shell, and the input of the command.
    fn for_node(&self, node: &str) -> Result<(String, Arc<Vec<u8>>), Stop> {
        let carried = self.script.is_some() || self.environment.is_some();
        let is_csh = self.args.syntax.as_deref() == Some("csh") && !carried;
        let mut line = String::new();
        let own = [("NODE", node.to_owned())];
        for (name, value) in own.iter().chain(&self.variables) {
            let value = quoted(value);
            line.push_str(&match is_csh {
                true => format!("setenv {name} {value}; "),
                false => format!("export {name}={value}; "),
            });
        }
        let mut files = Vec::new();
        if let Some(content) = &self.environment {
            line.push_str(". $dawn_0; ");
            files.push(Carried { suffix: ".env", content });
        }
        if self.args.sudo {
            line.push_str("sudo ");
        }
        if let Some(content) = &self.script {
            line.push_str(&format!("$dawn_{} ", files.len()));
            files.push(Carried { suffix: ".dsh", content });
        }
        line.push_str(&self.command);
        if !carried {
            return Ok((line, Arc::default()));
        }
        let (line, input) = carrying(&files, &line).map_err(|error| Stop::internal(error.to_string()))?;
        Ok((line, Arc::new(input)))
    }
}

/// A file of the caller's, who is root.
fn read_file(ctx: &Ctx<'_>, file: &str, runs: bool) -> Result<Vec<u8>, Stop> {
    let path = ctx.path_of_caller(file);
    let (meta, executable) = look(&path, |path| (path.metadata(), is_executable(path)))?;
    let meta = meta.map_err(|_| Stop::not_found(format!("File {} does not exist", path.display())))?;
    if meta.len() == 0 {
        return Err(Stop::usage(format!("File {} is empty.", path.display())));
    }
    if runs && !executable {
        return Err(Stop::usage(format!("File {} is not executable.", path.display())));
    }
    let read =
        dawn_serving::bounded_read::read(&path, FILE_BYTES_MAX, dawn_serving::bounded_read::Rights::Daemon);
    read.map_err(|why| Stop::unavailable(format!("{}: {why}", path.display())))
}

/// Shows a run to the caller.
struct View<'a> {
    args: &'a Args,
    tally: Tally,
    held: Vec<(String, String)>,
    held_bytes: usize,
    progress: bool,
    /// Each node's result is reported as a whole, whichever order of lines the options ask for.
    whole: bool,
}

impl View<'_> {
    fn on(&mut self, event: Event, out: &mut Out<'_>) -> Done {
        match event {
            Event::Progress(progress) => on_progress(out, progress, self.progress),
            Event::Started(node) if self.args.monitor => {
                out.heading(format!("dsh>  Remote_command_started {node}"))
            }
            Event::Started(_) => Ok(()),
            Event::Lines { .. } if self.args.silent => Ok(()),
            Event::Lines { node, text, stream: Stream::Out | Stream::Err } => {
                prefixed(&node, &text).map_or(Ok(()), |text| out.data(text))?;
                out.flush()
            }
            Event::Ended(ended) => self.ended(&ended, out),
        }
    }

    fn ended(&mut self, ended: &Ended, out: &mut Out<'_>) -> Done {
        self.tally.add(&ended.node, &ended.end);
        let node = &ended.node;
        match () {
            () if self.args.silent => {}
            () if self.whole => out.report(&NodeResult::of(ended))?,
            () if self.args.collate && self.held_bytes < GATHERED_BYTES_MAX => self.hold(ended),
            () if self.args.stream => self.end_of_stream(ended, out)?,
            () => self.output(ended, out)?,
        }
        let good = ended.end.is_success();
        if self.args.exit_status
            && let End::Exit(code) = ended.end
        {
            out.data_heading(format!("{node}: Remote_command_rc = {code}"))?;
        }
        if self.args.nodestatus {
            out.heading(status_line(node, &ended.end))?;
        }
        if self.args.monitor {
            let word = match ended.end {
                End::NotStarted => "cancelled",
                _ if good => "successful",
                _ => "failed",
            };
            out.heading(format!("dsh>  Remote_command_{word} {node}"))?;
        }
        out.flush()
    }

    /// All standard output, then all standard error and what went wrong.
    fn output(&self, ended: &Ended, out: &mut Out<'_>) -> Done {
        out.report(&NodeResult::of(ended))?;
        let mut text = ended.kept.err.clone();
        text.extend(reason(&ended.end).map(|why| format!("{why}\n")));
        if ended.kept.is_cut {
            text.push_str("the output is longer and was cut; -s shows all of it\n");
        }
        match prefixed(&ended.node, &text) {
            Some(text) => on_stderr(out, text),
            None => Ok(()),
        }
    }

    fn end_of_stream(&self, ended: &Ended, out: &mut Out<'_>) -> Done {
        let node = &ended.node;
        if let Some(why) = reason(&ended.end) {
            prefixed(node, &why.to_string()).map_or(Ok(()), |text| out.data(text))?;
        }
        match &ended.end {
            End::Exit(0) => Ok(()),
            End::Exit(code) => out.heading(format!(" {node} remote Command had return code: {code} ")),
            end => {
                let text = format!(" {node} remote shell had exit code {}.", code_of(end));
                out.error(CommandError::unavailable(text))
            }
        }
    }

    fn hold(&mut self, ended: &Ended) {
        let mut text = ended.kept.out.clone();
        text.push_str(&ended.kept.err);
        text.extend(reason(&ended.end).map(|why| why.to_string().replace(&ended.node, "the node") + "\n"));
        match ended.end {
            End::Exit(0) => {}
            End::Exit(code) => text.push_str(&format!("exit code {code}\n")),
            _ => {}
        }
        self.held_bytes += text.len();
        self.held.push((ended.node.clone(), text));
    }

    fn finish(mut self, out: &mut Out<'_>) -> Done {
        self.held.sort();
        let held = self.held.iter().map(|(node, text)| (node.as_str(), text.as_str()));
        gathered(held).into_iter().try_for_each(|line| out.heading(line))?;
        if self.args.monitor {
            out.heading("dsh>  Remote_command_execution_completed")?;
        }
        self.tally.finish(out)
    }
}
