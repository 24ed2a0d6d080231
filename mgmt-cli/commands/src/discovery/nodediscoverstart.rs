//! `nodediscoverstart`: sequential discovery begins.

use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::{Options, Run, SITE_KEY};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::Edit;
use std::net::Ipv4Addr;

/// Start sequential discovery: machines become the nodes of a noderange in the order in which they arrive
///
/// Only machines that nothing else is known of get a node this way. OPTION is noderange=NODERANGE, and if
/// wanted hostiprange=ADDRESSES and bmciprange=ADDRESSES (10.1.0.10-10.1.0.99 or 10.1.[0-1].[1-99]),
/// groups=LIST, rack=NAME, chassis=NAME, height=N, unit=N, osimage=IMAGE. Nodes of the noderange need not be
/// defined yet.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Options of the discovery
    #[arg(value_name = "OPTION=VALUE", required = true)]
    options: Vec<String>,
    /// Run makedns for each node; names are answered from the tables here, so nothing is to be done
    #[arg(short = 'n', long)]
    dns: bool,
    /// Do not put runcmd=bmcsetup in front of the chains
    #[arg(short = 's', long)]
    skipbmcsetup: bool,
    /// Show the nodes and addresses that are free
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "nodediscoverstart";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if ctx.snapshot.site("__PCMDiscover").is_some() {
            return Err(Stop::conflict(
                "Sequentail Discovery cannot be run together with Profile-based discovery",
            ));
        }
        let mut words: Vec<&str> = self.options.iter().map(String::as_str).collect();
        words.extend(self.dns.then_some("dns=yes"));
        words.extend(self.skipbmcsetup.then_some("skipbmcsetup=yes"));
        let mut options = Options::of_words(words).map_err(|error| Stop::usage(error.to_string()))?;
        if !ctx.view.is_root() {
            options.noderange = own_nodes(ctx, &options.noderange)?;
        }
        let run = Run::new(&ctx.snapshot, options).map_err(|error| Stop::usage(error.to_string()))?;
        transact(ctx, out, self.dry_run, |snapshot, _| {
            if snapshot.site(SITE_KEY).is_some() {
                return Err(Stop::conflict(
                    "Sequentail Discovery is running. If you want to rerun the discovery, stop the running \
                     discovery first.",
                ));
            }
            let mut edits = Edits::new();
            edits.push(Edit::set("site", &[("key", SITE_KEY)], &[("value", &run.options().to_string())])?);
            Ok(edits)
        })?;
        let image = run.options().others.iter().find(|(name, _)| *name == "osimage").map(|(_, image)| image);
        if let Some(image) = image.filter(|image| ctx.snapshot.osimage(image).is_none()) {
            out.warning(format!("There is no image '{image}': nodes that are found get a chain to it."))?;
        }
        if self.dry_run {
            return Ok(());
        }
        out.report(&Started::of(&run, ctx, self.verbose))
    }
}

/// The nodes that a caller below root means: the daemon evaluates the noderange again at each start, for
/// nobody in particular.
fn own_nodes(ctx: &Ctx<'_>, noderange: &str) -> Result<String, Stop> {
    let nodes = ctx.view.expand_unverified(&ctx.snapshot, noderange)?;
    match nodes.iter().find(|node| !ctx.view.covers(node)) {
        Some(node) => Err(Stop::refused(format!("Permission denied: {node} is not one of your nodes"))),
        None if nodes.is_empty() => Err(Stop::not_found("the noderange names none of your nodes")),
        None => Ok(nodes.join(",")),
    }
}

/// What is free at the start.
#[derive(serde::Serialize)]
struct Started {
    nodes: Vec<String>,
    host_ips: Option<Vec<Ipv4Addr>>,
    bmc_ips: Option<Vec<Ipv4Addr>>,
    #[serde(skip)]
    verbose: bool,
}

impl Started {
    fn of(run: &Run, ctx: &Ctx<'_>, verbose: bool) -> Self {
        let free = run.free_now(&ctx.snapshot);
        Self { nodes: free.nodes, host_ips: free.host_ips, bmc_ips: free.bmc_ips, verbose }
    }
}

impl Report for Started {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line("Sequential Discovery: Started:")?;
        lines.line(format!("    Number of free node names: {}", self.nodes.len()))?;
        for (what, addresses) in [("host", &self.host_ips), ("bmc", &self.bmc_ips)] {
            match addresses {
                Some(free) if free.is_empty() => lines.line(format!("    No free {what} ips."))?,
                Some(free) => lines.line(format!("    Number of free {what} ips: {}", free.len()))?,
                None => {}
            }
        }
        if !self.verbose {
            return Ok(());
        }
        lines.line("")?;
        lines.line("====================Free Nodes===================")?;
        lines.line(row("NODE", "HOST IP", "BMC IP"))?;
        let at = |list: &Option<Vec<Ipv4Addr>>, at: usize| {
            let list = list.as_ref();
            list.map_or_else(String::new, |list| {
                list.get(at).map_or_else(|| "--no free--".to_owned(), ToString::to_string)
            })
        };
        self.nodes.iter().enumerate().try_for_each(|(index, node)| {
            lines.line(row(node, &at(&self.host_ips, index), &at(&self.bmc_ips, index)))
        })
    }
}

fn row(node: &str, host: &str, bmc: &str) -> String {
    format!("{node:<20}{host:<20}{bmc:<20}")
}
