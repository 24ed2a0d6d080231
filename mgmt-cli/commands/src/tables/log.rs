//! `log`: the change log.

use crate::edits::describe;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::LogEntry;
use std::collections::HashSet;

/// Entries shown without -n.
const COUNT_DEFAULT: usize = 20;
/// Entries shown at most.
const COUNT_MAX: usize = 10_000;

/// Show what was changed, when, by whom, and by which command; the newest change last
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the newest N changes
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<usize>,
    /// Include changes made by nodes and services
    #[arg(short = 'a', long)]
    all: bool,
    /// One line for each change
    #[arg(short = 's', long)]
    short: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Only changes of these nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "log";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let count = self.count.unwrap_or(COUNT_DEFAULT).min(COUNT_MAX);
        // Nodes that are gone have a history too.
        let range = self.noderange.as_deref().unwrap_or_default();
        let nodes = ctx.view.expand_unverified(&ctx.snapshot, range).map_err(Stop::message)?;
        let nodes: HashSet<&str> = nodes.iter().map(String::as_str).collect();
        let any = self.noderange.is_none();
        let wanted = |entry: &LogEntry| {
            (self.all || !entry.quiet) && (any || entry.touches(|node| nodes.contains(node)))
        };
        let mut entries = ctx.model.log(count, None, wanted)?;
        let known = |name: &&str| ctx.snapshot.has_node(name) || ctx.snapshot.is_group(name);
        if entries.is_empty() && !any && !nodes.iter().any(known) {
            return Err(Stop::message(format!("there is no node {range}, and no change of one is logged")));
        }
        entries.reverse();
        if self.json {
            let list: Vec<serde_json::Value> = entries.iter().map(as_json).collect();
            return out.json(&list);
        }
        entries.iter().try_for_each(|entry| self.show(entry, out))
    }
}

impl Args {
    fn show(&self, entry: &LogEntry, out: &mut Out<'_>) -> Done {
        out.line(format!("{} {} {}: {}", entry.seq, local_time(entry.at_ms), entry.who, entry.command))?;
        if self.short {
            return Ok(());
        }
        for change in &entry.rows {
            // The log keeps of a machine's change what it wrote, not what was there before.
            for line in describe(change, !entry.quiet) {
                out.line(format!("    {line}"))?;
            }
        }
        Ok(())
    }
}

/// Local time of a log entry.
pub fn local_time(at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn as_json(entry: &LogEntry) -> serde_json::Value {
    let rows: Vec<String> = entry.rows.iter().flat_map(|row| describe(row, !entry.quiet)).collect();
    serde_json::json!({
        "id": entry.seq,
        "time_ms": entry.at_ms,
        "who": entry.who,
        "command": entry.command,
        "quiet": entry.quiet,
        "rows": rows,
    })
}
