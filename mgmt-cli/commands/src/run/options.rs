//! What the commands on nodes have in common: variables of the caller, and the way from the engine's
//! events to the caller's lines.

use dawn_bootd::command::number::at_least;
use dawn_bootd::command::{Ctx, PROGRESS};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_remote::event::{End, Ended, Event, Progress};
use dawn_remote::failure::Failure;
use dawn_xcatd::{Element, Response};
use std::time::Duration;

/// Largest exit code that counts nodes: the shell keeps eight bits, and 256 failed nodes are not a success.
const CODE_MAX: usize = 255;
/// Exit code of `ssh` itself when there is no connection.
const SSH_FAILED: i32 = 255;

/// Variables of the client that count.
pub const VARIABLES: &[&str] = &[
    "DSH_NODE_RSH",
    "DSH_NODE_RCP",
    "DSH_NODE_OPTS",
    "DSH_FANOUT",
    "DSH_TIMEOUT",
    "DSH_ENVIRONMENT",
    "DSH_VERIFY",
    "DSH_REMOTE_PASSWORD",
    "DSH_SYNTAX",
    "DSH_PATH",
    "DCP_NODE_OPTS",
    "DCP_NODE_RCP",
    "LANG",
    "LC_ALL",
];

/// Variables that xCAT's dsh knew once; they are named when they are set.
pub const IGNORED: &[&str] = &[
    "DSH_CONTEXT",
    "DSH_LIST",
    "DSH_NODE_LIST",
    "DSH_DEVICE_LIST",
    "DSH_DEVICE_OPTS",
    "DSH_DEVICE_RCP",
    "DSH_DEVICE_RSH",
    "DSH_NODEGROUP_PATH",
    "RSYNC_RSH",
    "DSH_REPORT",
];

/// The caller's variables.
pub struct Variables<'a> {
    all: Vec<(&'a str, &'a str)>,
}

impl<'a> Variables<'a> {
    /// Those of a call. `only`: the list of `-X`, which switches all others off.
    pub fn of(ctx: &'a Ctx<'_>, only: Option<&str>) -> Self {
        let pairs = ctx.call.request.env.iter().filter_map(|pair| pair.split_once('='));
        let allowed = |name: &str| match only {
            None => true,
            Some(list) => {
                !(name.starts_with("DSH_") || name.starts_with("DCP_"))
                    || list.split(',').any(|word| word.trim() == name)
            }
        };
        Self { all: pairs.filter(|(name, value)| allowed(name) && !value.is_empty()).collect() }
    }

    /// A variable that is set.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The caller's terminal shows progress.
    pub fn wants_progress(&self) -> bool {
        self.get(PROGRESS).is_some()
    }
}

/// A number from an option, else from a variable, else the default.
///
/// # Errors
/// The text is not a number from 1 up.
pub fn number(option: Option<&str>, variable: Option<&str>, what: &str) -> Result<Option<usize>, Stop> {
    let Some(text) = option.or(variable) else { return Ok(None) };
    at_least(1)(text).map(Some).map_err(|wrong| Stop::usage(format!("{what}: {wrong}")))
}

/// What is said to a caller who names no nodes: as in xCAT, an error for a command without any word, else a
/// line.
///
/// # Errors
/// Always.
pub fn no_nodes(command: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    if ctx.call.request.args.is_empty() {
        let text = format!("No parameters were supplied on the {command} command. Run {command} -h");
        return Err(Stop::usage(text));
    }
    let text = format!("Node range not specified, see {command} man page for syntax.");
    out.plain_error(CommandError::usage(text))?;
    Err(Stop::Code(1))
}

/// The words of `-o`. Commas separate contexts, of which there is one: `XCAT:-4`.
pub fn ssh_words(text: &str) -> Vec<String> {
    let contexts = text.split(',').map(|part| part.strip_prefix("XCAT:").unwrap_or(part));
    contexts.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// What became of a node, for `--json`; in text, the lines of its standard output.
#[derive(serde::Serialize)]
pub struct NodeResult {
    node: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    stdout: String,
    stderr: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    seconds: f64,
}

impl NodeResult {
    /// From the engine's report.
    pub fn of(ended: &Ended) -> Self {
        let (status, code) = match &ended.end {
            End::Exit(0) => ("ok", Some(0)),
            End::Exit(code) => ("failed", Some(*code)),
            End::Failed(Failure::Silent(_)) | End::TimedOut => ("timeout", None),
            End::Failed(_) => ("unreachable", None),
            End::Stopped => ("stopped", None),
            End::NotStarted => ("not started", None),
        };
        let why = reason(&ended.end);
        Self {
            node: ended.node.clone(),
            status,
            code,
            reason: why.as_ref().map(CommandError::reason),
            hints: why.map(|why| why.hints().to_vec()).unwrap_or_default(),
            stdout: ended.kept.out.clone(),
            stderr: ended.kept.err.clone(),
            cut: ended.kept.is_cut,
            seconds: (ended.took.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }
}

impl Report for NodeResult {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        match prefixed(&self.node, &self.stdout) {
            Some(text) => lines.data(text),
            None => Ok(()),
        }
    }
}

/// Each line with the node before it; `None` for no lines. The last line end is left to the client.
pub fn prefixed(node: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let count = text.bytes().filter(|byte| *byte == b'\n').count();
    let mut all = String::with_capacity(text.len() + count * (node.len() + 2));
    for line in text.lines() {
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(node);
        all.push_str(": ");
        all.push_str(line);
    }
    Some(all)
}

/// Lines on the caller's standard error, without the word `Error`.
pub fn on_stderr(out: &mut Out<'_>, text: String) -> Done {
    let mut response = Response::error(text, Some(0));
    response.other.push(Element::text("NoErrorPrefix", "1"));
    out.send(response)
}

/// Why there is no exit code.
pub fn reason(end: &End) -> Option<CommandError> {
    match end {
        End::Failed(failure) => Some(unanswered(failure)),
        End::TimedOut => Some(CommandError::unavailable("the command took too long and was ended")),
        End::Stopped => Some(CommandError::unavailable("the command was ended")),
        End::NotStarted | End::Exit(_) => None,
    }
}

/// The error for a host that could not be asked.
pub fn unanswered(failure: &Failure) -> CommandError {
    CommandError::unavailable(failure.to_string()).maybe_hint(failure.hint())
}

/// Counts of a run, and the nodes that its last line names.
#[derive(Default)]
pub struct Tally {
    /// Nodes that failed.
    pub failed: usize,
    /// Nodes that were given up because of a time limit.
    pub late: Vec<String>,
}

impl Tally {
    /// Counts a node.
    pub fn add(&mut self, node: &str, end: &End) {
        self.failed += usize::from(!end.is_success());
        if matches!(end, End::TimedOut | End::Failed(Failure::Silent(_))) {
            self.late.push(node.to_owned());
        }
    }

    /// Names the nodes that were late, and gives the exit code: the number of failed nodes.
    ///
    /// # Errors
    /// Nodes failed, or the caller has gone.
    pub fn finish(&self, out: &mut Out<'_>) -> Done {
        if !self.late.is_empty() {
            let text = " Timed out waiting for response from child processes for the following nodes.";
            out.error(CommandError::unavailable(format!("{text} {}", self.late.join(","))))?;
        }
        match self.failed {
            0 => Ok(()),
            failed => out.code(i32::try_from(failed.min(CODE_MAX)).unwrap_or(1)),
        }
    }
}

/// The line of `--nodestatus`.
pub fn status_line(node: &str, end: &End) -> String {
    match end.is_success() {
        true => format!("{node}: Remote_command_successful"),
        false => format!("{node}: Remote_command_failed, error_code={}", code_of(end)),
    }
}

/// Code by which programs know why a node failed.
pub fn code_of(end: &End) -> i32 {
    match end {
        End::Exit(code) => *code,
        _ => SSH_FAILED,
    }
}

/// Shows the counts to a caller with a terminal; fails when the caller has gone.
pub fn on_progress(out: &mut Out<'_>, progress: Progress, wanted: bool) -> Done {
    out.go_on()?;
    match wanted {
        true => out.progress(progress.to_string()),
        false => Ok(()),
    }
}

/// What happens when one event of a run is handled: its error is kept, and the run stops.
pub fn guard(failed: &mut Option<Stop>, handle: impl FnOnce() -> Done) -> std::ops::ControlFlow<()> {
    if failed.is_some() {
        return std::ops::ControlFlow::Break(());
    }
    match handle() {
        Ok(()) => std::ops::ControlFlow::Continue(()),
        Err(stop) => {
            *failed = Some(stop);
            std::ops::ControlFlow::Break(())
        }
    }
}

/// Seconds as a time.
pub fn seconds(count: usize) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(u64::MAX))
}

/// The engine's event, if it is a node's end.
pub fn ended(event: &Event) -> Option<&Ended> {
    match event {
        Event::Ended(ended) => Some(ended),
        _ => None,
    }
}
