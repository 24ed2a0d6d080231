//! `nodediscoverls`: the machines that discovery has seen.

use super::records::{COLUMNS, all, cell, cell_or, method_of};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::SITE_KEY;
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::Row;
use std::collections::BTreeMap;

/// Characters of a serial number in the list.
const SERIAL_CHARS_MAX: usize = 19;

/// List the machines that discovery has seen, and the nodes that they are
///
/// Without -t: those of the sequential discovery while one is running, else all. METHOD is how the node was
/// found: seq, switch, mtms, uuid, mac, rule, manual, or undef for a machine that is not a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only machines that were found by this method, or all
    #[arg(short = 't', value_name = "METHOD")]
    kind: Option<String>,
    /// Only the machine with this UUID
    #[arg(short = 'u', value_name = "UUID", conflicts_with = "kind")]
    uuid: Option<String>,
    /// Show everything that is known
    #[arg(short = 'l')]
    long: bool,
}

impl Command for Args {
    const NAME: &'static str = "nodediscoverls";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let is_running = ctx.snapshot.site(SITE_KEY).is_some();
        let kind = match (&self.kind, is_running) {
            (None, true) if self.uuid.is_none() => Some("seq"),
            (kind, _) => kind.as_deref(),
        };
        let method = kind.map(method_of).transpose()?.flatten();
        let mut rows = all(&ctx.snapshot);
        rows.retain(|row| {
            let is_kind = method.is_none_or(|method| cell_or(row, "method", "undef") == method);
            is_kind && self.uuid.as_deref().is_none_or(|uuid| cell(row, "uuid") == uuid)
        });
        if let Some(uuid) = self.uuid.as_deref().filter(|_| rows.is_empty()) {
            return Err(Stop::not_found(format!("No machine with the UUID {uuid} was seen.")));
        }
        if kind == Some("all") || (kind == Some("seq") && is_running) {
            out.heading(format!("Discovered {} node.", rows.len()))?;
        }
        if !self.long {
            out.heading(line("UUID", "NODE", "METHOD", "MTM", "SERIAL"))?;
        }
        rows.iter().try_for_each(|row| out.report(&Machine::of(row, self.long)))
    }
}

/// One machine.
#[derive(serde::Serialize)]
struct Machine {
    uuid: String,
    #[serde(flatten)]
    values: BTreeMap<&'static str, String>,
    #[serde(skip)]
    long: bool,
}

impl Machine {
    fn of(row: &Row, long: bool) -> Self {
        let values = COLUMNS.into_iter().map(|column| (column, cell(row, column)));
        let values = values.filter(|(_, value)| !value.is_empty()).collect();
        Self { uuid: cell(row, "uuid"), values, long }
    }

    fn get(&self, column: &str) -> &str {
        self.values.get(column).map_or("", String::as_str)
    }
}

impl Report for Machine {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        if self.long {
            lines.line(format!("Object uuid: {}", self.uuid))?;
            return COLUMNS
                .into_iter()
                .filter(|column| !self.get(column).is_empty())
                .try_for_each(|column| lines.line(format!("    {column}={}", self.get(column))));
        }
        let or = |text: &str| if text.is_empty() { "undef".to_owned() } else { text.to_owned() };
        let serial: String = self.get("serial").chars().take(SERIAL_CHARS_MAX).collect();
        let (node, method) = (or(self.get("node")), or(self.get("method")));
        lines.line(line(&self.uuid, &node, &method, self.get("mtm"), &serial))
    }
}

fn line(uuid: &str, node: &str, method: &str, mtm: &str, serial: &str) -> String {
    format!("  {uuid:<40}{node:<20}{method:<15}{mtm:<10} {serial:<20}")
}
