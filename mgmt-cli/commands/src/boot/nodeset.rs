//! `nodeset`: what nodes do at their next boot.
//!
//! Writes tables only. Boot files are views of the tables: there is nothing to generate, so ten thousand
//! nodes are one change. Before the change, each node's boot plan is made from the tables as they would
//! be; a node whose plan fails is reported and left as it is.

use crate::addresses::{needs_network, unanswered};
use crate::boot::explain::is_statelite;
use crate::conflicts::needs;
use crate::edits::{Edits, transact};
use dawn_bootd::clock::status_time;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop, Warning};
use dawn_bootd::unready::{Advice, Unready};
use dawn_cluster::list::steps;
use dawn_cluster::{Netboot, Snapshot, col};
use dawn_plan::destiny::{DestinyError, Move, State, image_by_method, next, set_state};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Nodes that get separate lines for one cause; more share one line.
const LINES_PER_CAUSE_MAX: usize = 8;

/// Set what nodes do at their next boot
///
/// STATE is osimage=IMAGE, osimage, boot, offline, stat, next or enact. With an image of the method install
/// the node is installed on its disk (`dawn render` shows the answers that its installer gets). shell,
/// standby, reboot, shutdown, discover, runcmd=COMMAND and runimage=URL are carried out by the discovery
/// system (`mknb`). In a comma list the first element is the state, the others the chain that follows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// With stat: accepted for compatibility
    #[arg(short = 'a')]
    all: bool,
    /// Accepted for compatibility: nothing is copied
    #[arg(long)]
    noupdateinitrd: bool,
    /// Accepted for compatibility
    #[arg(long)]
    ignorekernelchk: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// osimage=IMAGE, osimage, another state or stat, as above
    #[arg(value_name = "STATE")]
    state: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "nodeset";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let [word] = self.state.as_slice() else {
            out.error(CommandError::usage(format!("Invalid argument: '{}'", self.state.join(" "))))?;
            return out.usage("Usage: nodeset NODERANGE STATE");
        };
        if self.all && word != "stat" {
            return Err(Stop::usage("'-a' could only be used with 'stat' subcommand."));
        }
        match word.as_str() {
            "stat" => stat(ctx, out),
            "enact" => enact(ctx, out),
            "next" => self.change(ctx, out, |snapshot, node| {
                let moved = next(snapshot, node, &status_time())?;
                moved.ok_or(DestinyError::NoChain)
            }),
            list => {
                let (first, rest) = list.split_once(',').map_or((list, None), |(f, r)| (f, Some(r)));
                let state = State::parse(first)?;
                // A chain that stops in the middle is found out now, not when the nodes are there.
                rest.into_iter().flat_map(steps).try_for_each(|step| State::parse(step).map(drop))?;
                if let State::Method { method, image } = &state {
                    let fits = |node: &String| {
                        image_by_method(&ctx.snapshot, node, method, image.as_deref()).is_some()
                    };
                    if !ctx.nodes().iter().any(fits) {
                        return Err(DestinyError::OldForm.into());
                    }
                }
                self.change(ctx, out, |snapshot, node| {
                    set_state(snapshot, node, &state, rest, &status_time())
                })
            }
        }
    }
}

impl Args {
    fn change(
        &self,
        ctx: &Ctx<'_>,
        out: &mut Out<'_>,
        step: impl Fn(&Snapshot, &str) -> Result<Move, DestinyError>,
    ) -> Done {
        let (good, bad) = set(ctx, ctx.nodes(), out, self.dry_run, step)?;
        if !self.dry_run {
            good.iter().try_for_each(|(node, state)| out.report(&NodeState { node, state }))?;
        }
        warn(&good, ctx, self.dry_run, out)?;
        report(&bad, ctx, out)
    }
}

/// Nodes with their new states.
type Good<'n> = Vec<(&'n String, String)>;
/// Nodes that stay as they are, and why.
type Bad<'n> = Vec<(&'n String, Unready)>;

/// Sets the state of nodes, for another command that says itself what it does: the nodes that got theirs.
pub fn set_quietly<'n>(
    ctx: &Ctx<'_>,
    nodes: &'n [String],
    out: &mut Out<'_>,
    dry_run: bool,
    state: &State,
) -> Result<Good<'n>, Stop> {
    let step = |snapshot: &Snapshot, node: &str| set_state(snapshot, node, state, None, &status_time());
    let (good, bad) = set(ctx, nodes, out, dry_run, step)?;
    warn(&good, ctx, dry_run, out)?;
    report(&bad, ctx, out)?;
    Ok(good)
}

/// One change for all nodes whose plans can be made afterwards.
fn set<'n>(
    ctx: &Ctx<'_>,
    nodes: &'n [String],
    out: &mut Out<'_>,
    dry_run: bool,
    step: impl Fn(&Snapshot, &str) -> Result<Move, DestinyError>,
) -> Result<(Good<'n>, Bad<'n>), Stop> {
    let (mut good, mut bad) = (Good::new(), Bad::new());
    let mut same = Vec::new();
    transact(ctx, out, dry_run, |snapshot, _| {
        let mut moves = Vec::new();
        for node in nodes {
            match step(snapshot, node) {
                Ok(moved) => moves.push((node, moved)),
                Err(reason) => bad.push((node, reason.into())),
            }
        }
        let all = moves.iter().flat_map(|(_, moved)| moved.edits.clone()).collect::<Vec<_>>();
        let after = snapshot.with(&all)?;
        let mut edits = Edits::new();
        let before = |node: &str| snapshot.attr(node, col::chain::CURRSTATE);
        for (node, moved) in moves {
            match check(ctx, &after, node, &moved) {
                Ok(()) => {
                    if before(node).as_deref() == Some(moved.currstate.as_str()) {
                        same.push(node.as_str());
                    }
                    edits.extend(moved.edits);
                    good.push((node, moved.currstate));
                }
                Err(reason) => bad.push((node, reason)),
            }
        }
        Ok(edits)
    })?;
    if let Some(discovery) = ctx.boot.discovery().filter(|_| !dry_run) {
        discovery.again(&same);
    }
    Ok((good, bad))
}

/// What the nodes that got their state will run into.
fn warn(good: &Good<'_>, ctx: &Ctx<'_>, dry_run: bool, out: &mut Out<'_>) -> Done {
    if !dry_run {
        let after = ctx.model.snapshot();
        let advice: HashSet<Advice> =
            good.iter().filter_map(|(node, _)| ctx.boot.advice(&after, node)).collect();
        let advice: BTreeSet<Warning> = advice.iter().map(Warning::of).collect();
        advice.into_iter().try_for_each(|warning| out.warning(warning))?;
        warn_read_only(good, &after, out)?;
    }
    let by_network = good.iter().filter(|(_, state)| needs_network(state));
    let by_network: Vec<&str> = by_network.map(|(node, _)| node.as_str()).collect();
    warn_unanswered(&by_network, ctx, out)?;
    warn_loaders(&by_network, ctx, out)
}

/// What a node boots next.
#[derive(serde::Serialize)]
struct NodeState<'n> {
    node: &'n str,
    state: &'n str,
}

impl Report for NodeState<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.state)
    }
}

/// Directories that services of statelite images write to and that nodes have read-only.
fn warn_read_only(good: &Good<'_>, after: &Snapshot, out: &mut Out<'_>) -> Done {
    let statelite = good.iter().filter(|(_, state)| is_statelite(state));
    let images: BTreeSet<_> =
        statelite.filter_map(|(node, _)| dawn_statelite::image_of(after, node)).collect();
    for image in images {
        needs(after, &image).into_iter().try_for_each(|unmet| out.warning(format!("{image}: {unmet}")))?;
    }
    Ok(())
}

/// Another server may answer nodes that ours does not: their state is still set.
fn warn_unanswered(nodes: &[&str], ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let after = ctx.model.snapshot();
    let answers = ctx.boot.dhcp_answers(&after);
    let mut silent = nodes.iter().filter_map(|node| Some((node, unanswered(&answers, node)?)));
    let Some((node, problem)) = silent.next() else { return Ok(()) };
    let others = match silent.count() {
        0 => String::new(),
        more => format!(" ({more} more nodes get no address, too)"),
    };
    out.warning(format!("{node}: {problem}{others}"))
}

/// The state is still set: the loader may be installed later. One line for each reason.
fn warn_loaders(nodes: &[&str], ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let after = ctx.model.snapshot();
    let mut told: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for node in nodes {
        if let Some(missing) = ctx.boot.missing_loaders(&after, node).filter(|missing| missing.all) {
            told.entry(missing.text).or_insert((node, 0)).1 += 1;
        }
    }
    told.into_iter().try_for_each(|(text, (node, count))| {
        let others = if count > 1 { format!(" (and of {} more nodes)", count - 1) } else { String::new() };
        out.warning(format!("the loader of {node}{others} is {text}"))
    })
}

/// A node that goes offline or stays on disk needs no plan.
fn check(ctx: &Ctx<'_>, after: &Snapshot, node: &str, moved: &Move) -> Result<(), Unready> {
    if moved.currstate == "offline" {
        return Ok(());
    }
    Netboot::check(after, node)?;
    ctx.boot.check_plan(after, node)
}

/// A line for each node, as scripts read them, but for a cause that many nodes share: then one for all.
fn report(bad: &[(&String, Unready)], ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    folded(bad).into_iter().try_for_each(|(node, error)| out.node_error(node, error))?;
    let Some((first, _)) = bad.first() else { return Ok(()) };
    let word = Netboot::word(&ctx.snapshot, first);
    let handler = word.split('-').next().unwrap_or_default();
    let host = ctx.host;
    let text = format!("Failed to generate {handler} configurations for some node(s) on {host}.");
    let hint = format!("the lines above say why, `dawn explain {first}` says more.");
    out.error(CommandError::conflict(text).hint(hint))
}

fn folded<'a>(bad: &[(&'a String, Unready)]) -> Vec<(&'a String, CommandError)> {
    let mut errors = Vec::new();
    let mut causes: HashMap<&Unready, usize> = HashMap::new();
    for (_, reason) in bad {
        *causes.entry(reason).or_default() += 1;
    }
    for (node, reason) in bad {
        match causes.get_mut(reason) {
            // Reported with the first of its nodes.
            Some(0) => {}
            Some(count) if *count > LINES_PER_CAUSE_MAX => {
                let others = std::mem::take(count) - 1;
                errors.push((*node, reason.error_of_many(node, others)));
            }
            _ => errors.push((*node, reason.error(node))),
        }
    }
    errors
}

fn stat(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    for node in ctx.nodes() {
        let state = ctx.snapshot.attr(node, col::chain::CURRSTATE);
        out.report(&NodeState { node, state: state.as_deref().unwrap_or("offline") })?;
    }
    Ok(())
}

/// The views are always up to date, so only the check remains.
fn enact(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let mut bad = Vec::new();
    for node in ctx.nodes() {
        let state = ctx.snapshot.attr(node, col::chain::CURRSTATE);
        let result = match &state {
            Some(_) => ctx.boot.check_plan(&ctx.snapshot, node),
            None => Err(Unready::NoState),
        };
        match result {
            Ok(()) => out.report(&NodeState { node, state: state.as_deref().unwrap_or_default() })?,
            Err(reason) => bad.push((node, reason)),
        }
    }
    report(&bad, ctx, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bad MAC in a group's row is one line for all its nodes; few nodes have a line each.
    #[test]
    fn a_cause_that_many_nodes_share_is_one_line() {
        let names: Vec<String> = (1..=2000).map(|number| format!("n{number}")).collect();
        let bad_mac = || Unready::BadMac { text: "x".to_owned(), row: "the group compute".to_owned() };
        let mut bad: Vec<(&String, Unready)> = names.iter().map(|node| (node, bad_mac())).collect();
        let few: Vec<String> = (1..=LINES_PER_CAUSE_MAX).map(|number| format!("m{number}")).collect();
        bad.extend(few.iter().map(|node| (node, Unready::NoAddress)));
        let lines = folded(&bad);
        assert_eq!(lines.len(), 1 + few.len());
        assert_eq!(
            lines.first().map(|(node, error)| format!("{node}: {error}")).as_deref(),
            Some(
                "n1: mac.mac is 'x', which is not a MAC address; it comes from the row of the group compute (the \
                 same cause for 1999 more nodes)"
            )
        );
        assert!(lines.iter().skip(1).all(|(_, error)| error.reason() == "No IP address for this node."));
    }
}
