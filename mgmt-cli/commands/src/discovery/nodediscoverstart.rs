//! `nodediscoverstart`: sequential discovery begins.

use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::{Free, Options, Run, SITE_KEY};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::{Col, Edit, Snapshot, col};
use std::net::Ipv4Addr;

/// Warnings of one start.
const WARNINGS_MAX: usize = 10;

/// Start sequential discovery: machines become the nodes of a noderange in the order in which they arrive
///
/// Only machines that no other method identifies get a node this way. OPTION is noderange=NODERANGE, and if
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
        let free = run.free_now(&ctx.snapshot);
        if ctx.view.limits().is_none() {
            // The warnings name nodes that a limited caller may not see.
            out.warnings(shortages(&run, &free, &ctx.snapshot), WARNINGS_MAX, |more| {
                format!("and {more} more of this kind").into()
            })?;
        }
        if self.dry_run {
            return Ok(());
        }
        out.report(&Started::of(free, self.verbose))
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

/// What will leave machines without a node, or nodes without what they need.
fn shortages(run: &Run, free: &Free, snapshot: &Snapshot) -> Vec<String> {
    if free.nodes.is_empty() {
        return vec!["every node of the range has a MAC already: no machine becomes a node".to_owned()];
    }
    let mut texts = Vec::new();
    let without = |column: Col| free.nodes.iter().filter(move |node| snapshot.attr(node, column).is_none());
    let needed = |column: Col| without(column).count();
    match (&free.host_ips, without(col::hosts::IP).next()) {
        (None, Some(node)) => texts.push(format!(
            "nodes without an address: {}, the first is {node}; no machine becomes one of them, because \
             there is no hostiprange",
            needed(col::hosts::IP)
        )),
        (Some(ips), _) => texts.extend(too_few("hostiprange", ips, needed(col::hosts::IP))),
        (None, None) => {}
    }
    if let Some(ips) = &free.bmc_ips {
        texts.extend(too_few("bmciprange", ips, needed(col::ipmi::BMC)));
    }
    for (name, ips) in [("hostiprange", &free.host_ips), ("bmciprange", &free.bmc_ips)] {
        let outside = ips.iter().flatten().find(|ip| snapshot.network_of(**ip).is_none());
        texts.extend(outside.map(|ip| format!("{name}: {ip} is in no network of the tables")));
    }
    if let Some(image) = run.options().get("osimage").filter(|image| snapshot.osimage(image).is_none()) {
        texts.push(format!("there is no image {image} yet"));
    }
    texts
}

fn too_few(name: &str, free: &[Ipv4Addr], needed: usize) -> Option<String> {
    (free.len() < needed).then(|| {
        format!("{name}: free addresses: {}, nodes: {needed}; no machine becomes one of the last", free.len())
    })
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
    fn of(free: Free, verbose: bool) -> Self {
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
