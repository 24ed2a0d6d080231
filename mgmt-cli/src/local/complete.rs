//! `dawn complete`: what the completion scripts of the shells ask.

use super::LocalCommand;
use crate::builder::ask;
use crate::complete::{DESCRIBED_BY, Names, candidates};
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{Done, Out};
use dawn_xcatd::{Data, Response};

/// Changes offered to `undo` at most.
const CHANGES_OFFERED: usize = 50;
/// Bytes of `YYYY-MM-DD hh:mm:ss`.
const TIME_BYTES: usize = 19;

/// Print possible completions of the last word, one per line (shells call this; see completions)
///
/// The explanation that a shell shows for a word follows it, after a tab.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command line up to the cursor, the program first
    #[arg(value_name = "LINE", trailing_var_arg = true, allow_hyphen_values = true)]
    line: Vec<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "complete";

    const JSON: bool = false;

    fn run(self, environment: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        let names = |names: Names<'_>| names_of(names, environment);
        candidates(&self.line, registry, &names).into_iter().try_for_each(|word| out.notice(word))
    }
}

/// Names from the daemon; none if it does not answer.
fn names_of(names: Names<'_>, environment: &Environment) -> Vec<String> {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let lines = |command: &str, args: &[&str]| -> Vec<String> {
        let answers = ask(environment, command, words(args)).unwrap_or_default();
        answers.iter().flat_map(lines_of).collect()
    };
    match names {
        Names::Nodes => lines("nodels", &[]),
        Names::Objects(kind) => {
            let first = |line: String| line.split_once("  (").map(|(name, _)| name.to_owned());
            lines("lsdef", &["-t", kind, "-s"]).into_iter().filter_map(first).collect()
        }
        Names::Changes => {
            // `12 2026-01-31 09:00:00 root: chdef …`
            let described = |line: String| {
                let (id, rest) = line.split_once(' ')?;
                let command = rest.get(TIME_BYTES..).unwrap_or(rest);
                Some(format!("{id}{DESCRIBED_BY}{}", command.replace(char::is_control, " ").trim()))
            };
            let newest = CHANGES_OFFERED.to_string();
            lines("log", &["-s", "-n", &newest]).into_iter().filter_map(described).collect()
        }
        Names::SiteKeys => {
            let key = |line: String| Some(line.strip_prefix('"')?.split_once('"')?.0.to_owned());
            lines("tabdump", &["site"]).into_iter().filter_map(key).collect()
        }
    }
}

/// Plain lines, data and node names of an answer.
fn lines_of(answer: &Response) -> Vec<String> {
    let data = answer.data.iter().filter_map(|data| match data {
        Data::Text(text) => Some(text.clone()),
        Data::Parts(_) => None,
    });
    let nodes = answer.node.iter().map(|item| item.name.clone());
    answer.info.iter().cloned().chain(data).chain(nodes).collect()
}
