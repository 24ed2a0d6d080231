//! `tabprune`: old rows of the logs.

use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report};
use dawn_cluster::csv::{header_line, row_line};
use dawn_cluster::{Col, Row, Table, schema};

/// Remove rows of the event log or audit log; with -a all rows of any table
#[derive(Debug, clap::Args)]
pub struct Args {
    /// All rows
    #[arg(short = 'a')]
    all: bool,
    /// The N oldest rows
    #[arg(short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<i64>(0))]
    count: Option<i64>,
    /// Rows numbered below RECID
    #[arg(short = 'i', value_name = "RECID", allow_negative_numbers = true, value_parser = number::at_least::<i64>(0))]
    below: Option<i64>,
    /// The oldest PERCENT of the rows
    #[arg(short = 'p', value_name = "PERCENT", allow_negative_numbers = true, value_parser = number::within::<i64>(0..=100))]
    percent: Option<i64>,
    /// Rows older than DAYS
    #[arg(short = 'd', value_name = "DAYS", allow_negative_numbers = true, value_parser = number::at_least::<i32>(0))]
    days: Option<i32>,
    /// Print the removed rows
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Table
    #[arg(value_name = "TABLE")]
    table: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "tabprune";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        match self.check() {
            Ok(table) => self.prune(table, ctx, out),
            Err(error) => out.plain_error(error),
        }
    }
}

impl Args {
    /// The table.
    fn check(&self) -> Result<&'static Table, CommandError> {
        let name = self.table.as_deref().ok_or_else(|| CommandError::usage("Table name required."))?;
        let used = [
            self.all,
            self.count.is_some(),
            self.below.is_some(),
            self.percent.is_some(),
            self.days.is_some(),
        ];
        match used.iter().filter(|used| **used).count() {
            0 => {
                let text = "One option -p or -i or -n or -a or -d must be supplied.";
                return Err(CommandError::usage(text));
            }
            1 => {}
            _ => {
                let text = "Only one option -p or -i or -n or -a maybe used at a time.";
                return Err(CommandError::usage(text));
            }
        }
        let unsupported = || {
            let text = format!("Table {name} not supported, see tabprune -h for supported tables.");
            CommandError::usage(text)
        };
        let table = schema().find(name).ok_or_else(unsupported)?;
        if self.days.is_some() && time_column(table).is_none() {
            return Err(CommandError::usage(format!("Table {name} not supported for the -d option.")));
        }
        if !self.all && table.auto_increment.is_none() { Err(unsupported()) } else { Ok(table) }
    }

    fn prune(&self, table: &'static Table, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if ctx.snapshot.row_count(table.id) == 0 {
            out.heading(format!("Nothing to prune from {}.", table.name))?;
            return self.complete(table, 0, out);
        }
        let print = self.verbose && !self.dry_run;
        if print {
            out.heading(header_line(table))?;
        }
        let mut count = 0;
        transact(ctx, out, self.dry_run, |snapshot, out| {
            let all: Vec<&Row> = snapshot.rows(table.id).collect();
            let limit = self.limit(table, &all);
            let mut edits = Edits::new();
            for row in all.into_iter().filter(|row| limit.takes(row)) {
                edits.delete(&key_of(table, row), table);
                count += 1;
                if print {
                    out.report(&Pruned(table, row))?;
                }
            }
            Ok(edits)
        })?;
        self.complete(table, count, out)
    }

    fn complete(&self, table: &Table, count: usize, out: &mut Out<'_>) -> Done {
        if self.verbose || self.dry_run {
            return Ok(());
        }
        let pruned = Deed::new("pruned", "table", table.name).with("rows", count);
        out.report(&pruned.line(format!("tabprune of {} complete.", table.name)))
    }

    fn limit(&self, table: &Table, rows: &[&Row]) -> Limit {
        let recid = table.auto_increment.and_then(|at| table.col_at(at));
        let (Some(recid), false) = (recid, self.all) else { return Limit::All };
        if let (Some(days), Some(col)) = (self.days, time_column(table)) {
            let now = jiff::Zoned::now();
            let then = now.checked_sub(jiff::Span::new().days(days)).unwrap_or(now);
            return Limit::Before(col, then.strftime("%Y-%m-%d %H:%M:%S").to_string());
        }
        let numbers = || rows.iter().map(|row| number(row, recid));
        let (first, last) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
        let below = match (self.count, self.below, self.percent) {
            (Some(count), _, _) => first.saturating_add(count),
            (_, Some(below), _) => below,
            (_, _, Some(percent)) => first + (last - first + 1) * percent.clamp(0, 100) / 100,
            _ => first,
        };
        Limit::Below(recid, below)
    }
}

/// A row that went.
struct Pruned<'r>(&'static Table, &'r Row);

impl serde::Serialize for Pruned<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.0.columns.iter().map(|column| column.name);
        serializer.collect_map(columns.zip(self.1.cells().iter().map(Option::as_deref)))
    }
}

impl Report for Pruned<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(row_line(self.1))
    }
}

/// Which rows go.
enum Limit {
    All,
    Below(Col, i64),
    Before(Col, String),
}

impl Limit {
    fn takes(&self, row: &Row) -> bool {
        match self {
            Limit::All => true,
            Limit::Below(col, below) => number(row, *col) < *below,
            Limit::Before(col, time) => row.get(*col).is_some_and(|text| text.as_ref() < time.as_str()),
        }
    }
}

fn key_of(table: &Table, row: &Row) -> Vec<(Col, String)> {
    let text = |col: Col| row.cell(col).map(|text| text.to_string()).unwrap_or_default();
    table.keys.iter().filter_map(|at| table.col_at(*at)).map(|col| (col, text(col))).collect()
}

fn number(row: &Row, recid: Col) -> i64 {
    row.get(recid).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn time_column(table: &Table) -> Option<Col> {
    table.col("audittime").or_else(|| table.col("eventtime"))
}
