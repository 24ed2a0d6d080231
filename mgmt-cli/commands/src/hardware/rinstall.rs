//! `rinstall`: what nodes boot next, from the network, now.

use super::{jobs, rpower, rsetboot};
use crate::boot::nodeset::set_quietly;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report, Stop, Warning};
use dawn_cluster::{Snapshot, col};
use dawn_hardware::power::{Plan, Style, Word};
use dawn_hardware::target::Deciding;
use dawn_hardware::{BootOverride, Device, Links, Target};
use dawn_plan::destiny::State;
use std::sync::Arc;

/// What may be provisioned.
const STATES: &str = "boot, shell, runcmd=COMMAND, runimage=URL, osimage=IMAGE, osimage";

/// Set what nodes do at their next boot, and boot them from the network
///
/// The same as nodeset, then rsetboot net for machines with a BMC, then rpower boot. STATE is osimage=IMAGE,
/// osimage (the image of the node's provmethod; so without STATE), boot, shell, runcmd=COMMAND or
/// runimage=URL. A node whose state cannot be set, or whose machine does not answer, is reported and not
/// restarted.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub struct Args {
    /// Boot by UEFI
    #[arg(short = 'u', long)]
    uefimode: bool,
    /// Print the command that shows the node's console
    #[arg(short = 'c', long)]
    console: bool,
    /// Accepted for compatibility: nothing is copied
    #[arg(long)]
    noupdateinitrd: bool,
    /// Accepted for compatibility
    #[arg(long)]
    ignorekernelchk: bool,
    /// Print each step
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// boot, shell, runcmd=COMMAND, runimage=URL, osimage=IMAGE or osimage
    #[arg(value_name = "STATE")]
    state: Option<String>,
}

/// A node that was restarted.
#[derive(serde::Serialize)]
struct Provisioned<'n> {
    node: &'n str,
    power: &'static str,
    #[serde(skip)]
    verbose: bool,
}

impl Report for Provisioned<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        if self.verbose { lines.node(self.node, self.power) } else { Ok(()) }
    }
}

impl Command for Args {
    const NAME: &'static str = "rinstall";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> = Some("Only the tables: machines that were restarted go on.");

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let word = self.state.as_deref().unwrap_or("osimage");
        let first = word.split('=').next().unwrap_or_default();
        if !["boot", "shell", "runcmd", "runimage", "osimage"].contains(&first) || word.contains(',') {
            let error = CommandError::usage(format!("'{word}' cannot be provisioned"));
            return Err(error.hint(format!("STATE is one of {STATES}.")).into());
        }
        let state = State::parse(word)?;
        let image = word.strip_prefix("osimage=");
        if let Some(image) = image {
            check_image(&ctx.snapshot, image)?;
        }
        let mut nodes = Vec::new();
        for node in ctx.nodes() {
            match fits(&ctx.snapshot, node, first == "osimage", image) {
                Ok(()) => nodes.push(node.clone()),
                Err(error) => out.node_error(node, error)?,
            }
        }
        if nodes.is_empty() {
            return Err(Stop::Code(1));
        }
        let names = nodes.join(" ");
        let say = |out: &mut Out<'_>, line: String| if self.verbose { out.notice(line) } else { Ok(()) };
        if !self.dry_run {
            out.notice(format!("Provision node(s): {names}"))?;
            say(out, format!("Run command: nodeset {} {word}", nodes.join(",")))?;
        }
        let good = set_quietly(ctx, &nodes, out, self.dry_run, &state)?;
        if self.dry_run {
            return good.iter().try_for_each(|(node, _)| {
                let line = format!("~ {node}: boot from the network");
                out.report(&Deed::new("would boot", "node", node.as_str()).line(line))
            });
        }
        for (node, state) in &good {
            say(out, format!("{node}: {state}"))?;
        }
        let ready: Vec<String> = good.into_iter().map(|(node, _)| node.clone()).collect();
        self.restart(ctx, &ready, out)?;
        match (self.console, ready.as_slice()) {
            (true, [node]) => out.notice(format!("`rcons {node}` shows the console of {node}.")),
            (true, _) => {
                out.warning(Warning::new("-c is for one node").hint("`rcons NODE` shows a console."))
            }
            _ => Ok(()),
        }
    }
}

impl Args {
    /// Sets the boot device and restarts, node by node: one whose device cannot be set goes on running.
    fn restart(&self, ctx: &Ctx<'_>, nodes: &[String], out: &mut Out<'_>) -> Done {
        let Some(fanout) = rpower::paced(ctx, out, Word::Boot)? else { return Err(Stop::Code(1)) };
        let uefi = self.uefimode;
        let job = move |links: Arc<Links>, target: Target| async move {
            let driver = links.driver(&target).await?;
            if driver.style() == Style::Processor {
                let network = BootOverride { device: Device::Network, persistent: false, uefi };
                rsetboot::of_result(driver.set_boot_device(Some(network)).await)?;
            }
            rpower::act(driver.as_ref(), Word::Boot).await
        };
        let mut changed = Vec::new();
        let targets = jobs::targets_of(ctx, nodes, Deciding::Power);
        let done = jobs::run(ctx, out, fanout, targets, job, |out, node, plan: Plan| {
            changed.extend(plan.status.map(|status| (node.to_owned(), status)));
            out.report(&Provisioned { node, power: plan.line, verbose: self.verbose })
        });
        rpower::write_status(ctx, &changed);
        done
    }
}

/// The image is defined, and says for which architecture it is.
fn check_image(snapshot: &Snapshot, image: &str) -> Done {
    let Some(row) = snapshot.osimage(image) else {
        let text = format!("Cannot find the OS image {image} in the osimage table.");
        return Err(Stop::not_found(text));
    };
    match row.get(col::osimage::OSARCH) {
        Some(_) => Ok(()),
        None => Err(Stop::conflict(format!("{image} 'osarch' attribute not defined in 'osimage' table."))),
    }
}

/// Whether the tables say enough of the node.
fn fits(snapshot: &Snapshot, node: &str, by_image: bool, image: Option<&str>) -> Result<(), CommandError> {
    let missing = |attribute: &str, table: &str| {
        CommandError::conflict(format!("'{attribute}' attribute not defined in '{table}' table."))
            .hint(format!("`chdef {node} {attribute}=VALUE` sets it."))
    };
    if Deciding::Power.method(snapshot, node).is_none() {
        return Err(missing("mgt", "nodehm"));
    }
    if !by_image {
        return Ok(());
    }
    let arch = snapshot.attr(node, col::nodetype::ARCH).ok_or_else(|| missing("arch", "nodetype"))?;
    let own = snapshot.attr(node, col::nodetype::PROVMETHOD);
    let Some(image) = image.or(own.as_deref()) else { return Err(missing("provmethod", "nodetype")) };
    let of_image = snapshot.osimage(image);
    let of_image = of_image.as_ref().and_then(|row| row.get(col::osimage::OSARCH));
    match of_image.filter(|of_image| ***of_image != *arch) {
        Some(_) => Err(CommandError::conflict(
            "The value of 'arch' attribute of node does not match the 'osarch' attribute of osimage.",
        )),
        None => Ok(()),
    }
}
