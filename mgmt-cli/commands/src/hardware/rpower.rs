//! `rpower`: switches machines on and off, and says which are on.

use super::{jobs, wait};
use dawn_bootd::clock::status_time;
use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::{Change, Edit};
use dawn_fanout::{Fanout, Pace};
use dawn_hardware::power::{Plan, Style, Word, plan};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Driver, Error, Links, Target};
use dawn_plan::destiny;
use dawn_wire::status::BOOTED;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Longest pause between two nodes or two groups, seconds.
const INTERVAL_SECONDS_MAX: u64 = 3_600;

/// Switch nodes on and off, or show which are on
///
/// ACTION is one of: on; off (at once); softoff (the operating system shuts down); reset (a machine that
/// runs); boot (reset, or on if it is off); cycle (off, then on); nmi (a diagnostic interrupt); stat,
/// state or status. A machine that already is in the state is left alone: `on` of a machine that runs prints
/// `on` and sends nothing.
///
/// Lines come in the order in which machines answer. A machine that does not answer is an error after five
/// seconds and does not delay the others. The command does not wait for the new state; with --wait booted it
/// follows the boot until the nodes report that they are up.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Follow the boot until the nodes have this status: booted
    #[arg(long, value_name = "STATUS", value_parser = [BOOTED])]
    wait: Option<String>,
    /// How long --wait waits, minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = number::within::<u64>(1..=1440))]
    wait_minutes: u64,
    /// Accepted for scripts: the table deps is not looked at
    #[arg(long)]
    nodeps: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// on, off, softoff, reset, boot, cycle, nmi or stat
    #[arg(value_name = "ACTION")]
    action: Vec<String>,
}

/// What was done to a node's power.
#[derive(serde::Serialize)]
struct Powered<'n> {
    node: &'n str,
    state: &'static str,
    /// The new `nodelist.status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl Report for Powered<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.state)
    }
}

impl Command for Args {
    const NAME: &'static str = "rpower";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let Some(text) = self.action.first() else {
            return jobs::refuse_words(ctx, out, (Deciding::Power, ""), |mgt| {
                format!("Please enter an action (eg: boot,off,on, etc) when using mgt={mgt}.")
            });
        };
        let word = Word::parse(text).filter(|_| self.action.len() == 1);
        let Some(word) = word else {
            let words = self.action.join(" ");
            return jobs::refuse_words(ctx, out, (Deciding::Power, "Error: "), |mgt| {
                format!("Unsupported command: rpower {words} when using mgt={mgt}.")
            });
        };
        let Some(fanout) = paced(ctx, out, word)? else { return Err(Stop::Code(1)) };
        let since = wait::Boots::now();
        let mut changed = Vec::new();
        let job = move |links: Arc<Links>, target: Target| async move {
            let driver = links.driver(&target).await?;
            act(driver.as_ref(), word).await
        };
        let targets = jobs::targets(ctx, Deciding::Power);
        let done = jobs::run(ctx, out, fanout, targets, job, |out, node, plan: Plan| {
            let status = plan.status;
            changed.extend(status.map(|status| (node.to_owned(), status)));
            out.report(&Powered { node, state: plan.line, status })
        });
        // Also if the caller has gone: what service processors have accepted has happened.
        write_status(ctx, &changed);
        done?;
        if self.wait.is_none() {
            return Ok(());
        }
        let nodes: Vec<String> = changed.into_iter().map(|(node, _)| node).collect();
        since.wait(ctx, out, &nodes, Duration::from_secs(self.wait_minutes * 60))
    }
}

/// Reads the machine's state and carries out the word.
pub(super) async fn act(driver: &dyn Driver, word: Word) -> Result<Plan, Error> {
    let is_on = driver.is_on().await?;
    let plan = plan(word, is_on, driver.style());
    if let Some(control) = plan.control {
        driver.control(control).await?;
    }
    // The effect of the word on a virtual machine is read back.
    if driver.style() == Style::Virtual && word == Word::SoftOff && plan.control.is_some() {
        let line = if driver.is_on().await? { "on" } else { "off" };
        return Ok(Plan { line, ..plan });
    }
    Ok(plan)
}

/// How nodes are spread over time; `None` if the tables contradict themselves, which is reported then.
pub(super) fn paced(ctx: &Ctx<'_>, out: &mut Out<'_>, word: Word) -> Result<Option<Fanout>, Stop> {
    let fanout = jobs::fanout(ctx)?;
    // Words that make machines draw power.
    if !matches!(word, Word::On | Word::Reset | Word::Boot) {
        return Ok(Some(fanout));
    }
    let number = |key: &str| ctx.snapshot.site(key).and_then(|text| text.trim().parse::<u64>().ok());
    let seconds = |number: u64| Duration::from_secs(number.min(INTERVAL_SECONDS_MAX));
    let group = number("syspowermaxnodes").and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?));
    match (number("syspowerinterval").filter(|seconds| *seconds > 0), group) {
        (Some(interval), Some(burst)) => Ok(Some(fanout.pace(Pace { burst, interval: seconds(interval) }))),
        (Some(_), None) => {
            let line = |node: &String| {
                format!(
                    "{node}: 'syspowermaxnodes` is required if 'syspowerinterval' is configured in the site table."
                )
            };
            let text = ctx.nodes().iter().map(line).collect::<Vec<_>>().join("\n");
            out.error(CommandError::conflict(text))?;
            Ok(None)
        }
        (None, _) => Ok(Some(match number("powerinterval").filter(|seconds| *seconds > 0) {
            Some(interval) => fanout.pace(Pace { burst: NonZeroUsize::MIN, interval: seconds(interval) }),
            None => fanout,
        })),
    }
}

/// Writes `nodelist.status` of all nodes in one change, unless `site.nodestatus` forbids it.
pub(super) fn write_status(ctx: &Ctx<'_>, changed: &[(String, &'static str)]) {
    let snapshot = ctx.model.snapshot();
    if changed.is_empty() || !snapshot.site_flag("nodestatus", true) {
        return;
    }
    let now = status_time();
    let edits: Vec<Edit> = changed
        .iter()
        .filter_map(|(node, status)| destiny::status_edits(&snapshot, node, status, &now).ok())
        .flatten()
        .collect();
    let who = ctx.call.username.clone().unwrap_or_else(|| ctx.call.peer_host.clone());
    if let Err(error) = ctx.model.apply(Change::quiet(who, &ctx.call.request.command, edits)) {
        tracing::error!(%error, "the status of nodes could not be written after a power command");
    }
}
