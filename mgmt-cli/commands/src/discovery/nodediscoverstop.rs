//! `nodediscoverstop`: sequential discovery ends.

use super::nodediscoverstatus::Status;
use super::records::{all, cell};
use crate::edits::{Edits, NOTHING, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::{Options, Run, SITE_KEY};
use dawn_bootd::output::{Done, Lines, Out, Report};
use dawn_cluster::Edit;

/// Characters of a serial number in the list.
const SERIAL_CHARS_MAX: usize = 8;

/// Stop sequential discovery
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "nodediscoverstop";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let Some(running) = ctx.snapshot.site(SITE_KEY) else {
            if self.dry_run {
                return out.heading(NOTHING);
            }
            return out.report(&Stopped { stopped: false, found: Vec::new() });
        };
        transact(ctx, out, self.dry_run, |_, _| {
            let mut edits = Edits::new();
            edits.push(Edit::delete("site", &[("key", SITE_KEY)])?);
            Ok(edits)
        })?;
        if self.dry_run {
            return Ok(());
        }
        let run = Options::of_site(&running).and_then(|options| Run::new(&ctx.snapshot, options));
        let nodes = run.map(|run| run.nodes().to_vec()).unwrap_or_default();
        let rows = all(&ctx.snapshot);
        let found: Vec<Found> = rows
            .iter()
            .filter(|row| cell(row, "method") == "sequential")
            .map(|row| Found { node: cell(row, "node"), mtm: cell(row, "mtm"), serial: cell(row, "serial") })
            .filter(|found| nodes.iter().any(|node| **node == *found.node))
            .collect();
        out.report(&Stopped { stopped: true, found })
    }
}

/// How a discovery ended.
#[derive(serde::Serialize)]
struct Stopped {
    /// One was running until now.
    stopped: bool,
    found: Vec<Found>,
}

impl Report for Stopped {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        if !self.stopped {
            return Status::of(None).print(lines);
        }
        lines.line(format!("Discovered {} nodes.", self.found.len()))?;
        if !self.found.is_empty() {
            lines.line(line("NODE", "MTM", "SERIAL"))?;
        }
        self.found.iter().try_for_each(|Found { node, mtm, serial }| {
            let serial: String = serial.chars().take(SERIAL_CHARS_MAX).collect();
            lines.line(line(node, mtm, &serial))
        })
    }
}

/// A node that this discovery gave to a machine.
#[derive(serde::Serialize)]
struct Found {
    node: String,
    mtm: String,
    serial: String,
}

fn line(node: &str, mtm: &str, serial: &str) -> String {
    format!("    {node:<20}{mtm:<10}{serial:<10}")
}
