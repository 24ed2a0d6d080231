//! `dawn doctor`: whether this installation can boot nodes, from its directories to a simulated boot of a
//! node.
//!
//! Each check is a function in [`CHECKS`]; it looks at one thing and reports the finding, and how to fix it.
//! Nothing is changed. Questions that the daemon can answer are sent to it; when it does not answer, checks
//! that need it report nothing, because one finding reports that already.

mod machine;
mod network;
mod nodes;

use super::LocalCommand;
use crate::builder::{report, send};
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_wire::text::sentence;
use dawn_xcatd::{Data, Request, hint_line};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Check the installation, and whether nodes would boot
///
/// Each line is [ok], [warn] or [failed], with what to do about it. Nothing is changed; one DHCPDISCOVER asks
/// which other servers answer on the boot network. The exit code is 1 if something has failed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Nodes whose boot is simulated
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
    /// Data directory of the daemon
    #[arg(long, value_name = "DIR", default_value = "/var/lib/dawn")]
    data: PathBuf,
    /// The boot network's interface [default: the one with the address site.master]
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warn,
    Failed,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Finding {
    /// The check.
    check: &'static str,
    state: State,
    /// The figures and names of the sentence.
    #[serde(flatten)]
    facts: BTreeMap<&'static str, Value>,
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn new(state: State, message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            check: "",
            state,
            facts: BTreeMap::new(),
            message: message.into(),
            hint: hint.map(|hint| sentence(&hint)),
        }
    }

    fn ok(message: impl Into<String>) -> Self {
        Self::new(State::Ok, message, None)
    }

    fn warn(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(State::Warn, message, Some(hint.into()))
    }

    /// What the daemon refused: `cure` where its error has no hint.
    fn refused(error: &CommandError, cure: &str) -> Self {
        let hint = match error.hints() {
            [] => cure.to_owned(),
            hints => hints.join(" "),
        };
        Self::failed(error.reason(), hint)
    }

    fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(State::Failed, message, Some(hint.into()))
    }

    /// A field for programs.
    fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.facts.insert(field, value.into());
        self
    }
}

impl Report for Finding {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let word = match self.state {
            State::Ok => "[ok]",
            State::Warn => "[warn]",
            State::Failed => "[failed]",
        };
        lines.line(format!("{word:<8} {}", self.message))?;
        self.hint.iter().try_for_each(|hint| lines.line(format!("         {}", hint_line(hint))))
    }
}

/// What checks look at.
struct Site<'s> {
    data: PathBuf,
    noderange: Option<&'s str>,
    interface: Option<&'s str>,
    environment: &'s Environment,
    /// What the daemon says of itself, or why it does not answer.
    daemon: Result<Vec<String>, CommandError>,
}

/// Lines and warnings.
type Answer = (Vec<String>, Vec<String>);

impl Site<'_> {
    /// The daemon answers.
    fn is_served(&self) -> bool {
        self.daemon.is_ok()
    }

    /// The lines of a command's answer.
    fn ask(&self, words: &[&str]) -> Result<Vec<String>, CommandError> {
        self.ask_about(None, words)
    }

    /// The same of a command for nodes.
    fn ask_about(&self, noderange: Option<&str>, words: &[&str]) -> Result<Vec<String>, CommandError> {
        self.answer(noderange, words).map(|(lines, _)| lines)
    }

    /// The lines of a command's answer, and its warnings.
    fn answer(&self, noderange: Option<&str>, words: &[&str]) -> Result<Answer, CommandError> {
        let mut words = words.iter().map(|word| (*word).to_owned());
        let command = words.next().unwrap_or_default();
        let noderange = noderange.map(str::to_owned);
        let request = Request { command, args: words.collect(), noderange, ..Request::default() };
        let answers = send(self.environment, request)?;
        let data = |data: &Data| match data {
            Data::Text(text) => Some(text.clone()),
            Data::Parts(_) => None,
        };
        let lines =
            answers.iter().flat_map(|one| one.info.iter().cloned().chain(one.data.iter().filter_map(data)));
        let warnings = answers.iter().flat_map(|answer| answer.warning.iter().cloned());
        Ok((lines.collect(), warnings.collect()))
    }

    /// A value of the table `site`.
    fn setting(&self, key: &str) -> Option<String> {
        let words = [format!("key={key}"), "site.value".to_owned()];
        let words = words.each_ref().map(String::as_str);
        let rows: Vec<BTreeMap<String, String>> = report(self.environment, "gettab", &words).ok()?;
        rows.into_iter().flat_map(BTreeMap::into_values).next()
    }
}

/// A check, with the name by which programs know its findings.
type Check = (&'static str, fn(&Site<'_>) -> Vec<Finding>);

/// All checks, in the order in which an administrator fixes things.
const CHECKS: &[Check] = &[
    ("data_directory", machine::data_directory),
    ("closed_files", machine::closed_files),
    ("client_certificate", machine::client_certificate),
    ("daemon", machine::daemon),
    ("database", machine::database),
    ("ports", machine::ports),
    ("space", machine::space),
    ("memory", machine::memory),
    ("loaders", machine::loaders),
    ("master", machine::master),
    ("networks", machine::networks),
    ("filters", network::filters),
    ("other_dhcp_servers", network::other_dhcp_servers),
    ("password", machine::password),
    ("boots", nodes::boots),
];

impl LocalCommand for Args {
    const NAME: &'static str = "doctor";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let data = environment.directory.join(&self.data);
        let noderange = self.noderange.as_deref();
        let interface = self.interface.as_deref();
        let mut site = Site { data, noderange, interface, environment, daemon: Ok(Vec::new()) };
        site.daemon = site.ask(&["lsxcatd", "-v"]);
        let mut has_failed = false;
        for (name, check) in CHECKS {
            for finding in check(&site) {
                has_failed |= finding.state == State::Failed;
                out.report(&Finding { check: name, ..finding })?;
            }
        }
        if has_failed { Err(Stop::Code(1)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of findings.
    pub(super) fn lines(findings: &[Finding]) -> String {
        let mut answers: Vec<dawn_xcatd::Response> = Vec::new();
        let mut out = Out::new(&mut answers);
        findings.iter().try_for_each(|finding| out.report(finding)).expect("written");
        out.flush().expect("written");
        answers.iter().flat_map(|answer| &answer.info).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn a_finding_is_data() {
        let finding = Finding::warn("9 MiB are free", "make room").with("free_bytes", 9 << 20);
        assert_eq!(
            serde_json::to_string(&Finding { check: "space", ..finding }).expect("JSON"),
            r#"{"check":"space","state":"warn","free_bytes":9437184,"message":"9 MiB are free","hint":"Make room."}"#
        );
    }

    #[test]
    fn a_finding_says_what_to_do() {
        let findings = [Finding::ok("the daemon answers"), Finding::failed("no loader", "install ipxe")];
        assert_eq!(
            lines(&findings),
            "[ok]     the daemon answers\n[failed] no loader\n         Hint: Install ipxe.\n"
        );
    }
}
