//! `log`: the change log.

use crate::edits::Difference;
use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::{LOG_BYTES_MAX, LogEntry, RowChange};
use std::collections::HashSet;

/// Entries shown without -n.
const COUNT_DEFAULT: usize = 20;
/// Entries shown at most.
const COUNT_MAX: usize = 10_000;

/// Show what was changed, when, by whom, and by which command; the newest change last
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the newest N changes
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<usize>(0))]
    count: Option<usize>,
    /// Include changes made by nodes and services
    #[arg(short = 'a', long)]
    all: bool,
    /// One line for each change
    #[arg(short = 's', long)]
    short: bool,
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
        let nodes = ctx.view.expand_unverified(&ctx.snapshot, range)?;
        let nodes: HashSet<&str> = nodes.iter().map(String::as_str).collect();
        let any = self.noderange.is_none();
        let wanted = |entry: &LogEntry| {
            (self.all || !entry.quiet) && (any || entry.touches(|node| nodes.contains(node)))
        };
        let mut entries = ctx.model.log(count, None, wanted)?;
        let is_shown = |row: &RowChange| any || row.node().is_some_and(|node| nodes.contains(&**node));
        let known = |name: &&str| ctx.snapshot.has_node(name) || ctx.snapshot.is_group(name);
        if entries.is_empty() && !any && !nodes.iter().any(known) {
            return Err(Stop::not_found(format!("there is no node {range}, and no change of one is logged")));
        }
        if entries.iter().map(LogEntry::bytes).sum::<usize>() >= LOG_BYTES_MAX {
            let (count, mib) = (entries.len(), LOG_BYTES_MAX >> 20);
            out.warning(format!("older changes are left out: these {count} have more than {mib} MiB"))?;
        }
        entries.reverse();
        entries.iter().try_for_each(|entry| out.report(&Shown::of(entry, self.short, is_shown)))
    }
}

/// A change of the list.
#[derive(serde::Serialize)]
struct Shown<'e> {
    command: &'e str,
    damaged: bool,
    id: u64,
    /// Rows of other nodes and of tables without nodes, when nodes were named.
    other_rows: usize,
    quiet: bool,
    rows: Rows<'e>,
    time_ms: i64,
    who: &'e str,
    #[serde(skip)]
    short: bool,
}

/// Rows of a change; their texts are made when they are asked for.
struct Rows<'e> {
    rows: Vec<&'e RowChange>,
    /// What was in their cells before is known.
    with_old: bool,
}

impl<'e> Shown<'e> {
    fn of(entry: &'e LogEntry, short: bool, is_shown: impl Fn(&RowChange) -> bool) -> Self {
        let rows: Vec<&RowChange> = entry.rows.iter().filter(|row| is_shown(row)).collect();
        Self {
            command: &entry.command,
            damaged: entry.is_damaged,
            id: entry.seq,
            other_rows: entry.rows.len() - rows.len(),
            quiet: entry.quiet,
            // The log keeps of a machine's change what it wrote, not what was there before.
            rows: Rows { rows, with_old: !entry.quiet },
            time_ms: entry.at_ms,
            who: &entry.who,
            short,
        }
    }
}

impl Rows<'_> {
    fn differences(&self) -> impl Iterator<Item = Difference> {
        self.rows.iter().map(|row| Difference::of(row, self.with_old))
    }
}

impl serde::Serialize for Rows<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.differences())
    }
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("{} {} {}: {}", self.id, local_time(self.time_ms), self.who, self.command))?;
        match (self.short, self.damaged) {
            (true, _) => Ok(()),
            (_, true) => {
                lines.line("    the record is damaged in the database: its rows are unknown".to_owned())
            }
            _ => {
                let mut rows = self.rows.differences().flat_map(|row| row.lines());
                rows.try_for_each(|line| lines.line(format!("    {line}")))?;
                match self.other_rows {
                    0 => Ok(()),
                    1 => lines.line("    and one other row".to_owned()),
                    count => lines.line(format!("    and {count} other rows")),
                }
            }
        }
    }
}

/// Local time of a log entry.
pub fn local_time(at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
