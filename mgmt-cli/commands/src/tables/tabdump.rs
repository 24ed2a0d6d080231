//! `tabdump`: tables as text.

use crate::descriptions::{ColumnFacts, TableFacts};
use dawn_bootd::caller::View;
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::condition::Condition;
use dawn_cluster::csv::{header_line, row_line};
use dawn_cluster::{Col, Row, Table, schema};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Print a table as comma separated values, or the names and columns of tables
///
/// Without a table the names of all tables are printed. The first line of a table names its columns;
/// values are quoted, except empty ones.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Describe the tables, or the columns of the table
    #[arg(short = 'd')]
    describe: bool,
    /// Only the newest N rows; auditlog and eventlog only
    #[arg(short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<i64>(0))]
    newest: Option<i64>,
    /// Let the daemon write the text to this file, which only root may read
    #[arg(short = 'f', value_name = "FILE", conflicts_with = "json")]
    file: Option<String>,
    /// Only rows that satisfy COLUMN<op>VALUE, op one of == != =~ !~ < <= > >= (=~: % and _ match anything)
    #[arg(short = 'w', value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Tables; more than one is an error
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "tabdump";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.check_combination()?;
        match self.tables.as_slice() {
            [] if self.file.is_some() && !self.describe => {
                Err(Stop::usage("table name missing from the command input. "))
            }
            [] if self.describe => self.describe_tables(out),
            [] => schema().tables_by_name().try_for_each(|table| out.report(&TableName { name: table.name })),
            [name] if self.describe => self.describe_columns(name, out),
            [name] => self.dump(name, ctx, out),
            _ => {
                out.usage("Usage: tabdump [OPTIONS] [TABLE]...")?;
                Err(Stop::Code(1))
            }
        }
    }
}

impl Args {
    /// `-n` cannot be combined with other options, nor `-d` with `-w`; with `-d` a file is ignored, as in
    /// xCAT.
    fn check_combination(&self) -> Result<(), Stop> {
        let used = [
            ("-n", self.newest.is_some()),
            ("-d", self.describe),
            ("-w", !self.conditions.is_empty()),
            ("-f", self.file.is_some()),
        ];
        let mut used = used.iter().filter(|(_, used)| *used).map(|(name, _)| *name);
        let (first, second) = (used.next(), used.next());
        match (first, second) {
            (Some("-w" | "-d"), Some("-f")) | (_, None) | (None, _) => Ok(()),
            (Some(a), Some(b)) => {
                Err(Stop::usage(format!("You  cannot use the {a} and {b} flag together. ")))
            }
        }
    }

    fn dump(&self, name: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let table = schema().find(name).filter(|table| !table.name.starts_with("x_teal"));
        let table = table.ok_or_else(|| Stop::not_found(format!("No such table: {name}")))?;
        if let Some(count) = self.newest {
            return self.dump_newest(table, count, ctx, out);
        }
        ctx.view.may_ask(0, self.conditions.len())?;
        let conditions = self.conditions.iter().map(|text| Where::parse(text, table, &ctx.view));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let all = conditions.is_empty();
        let rows = ctx.snapshot.rows(table.id).filter(|row| all || row.enabled(table.id));
        let rows = rows.filter(|row| conditions.iter().all(|condition| condition.holds(row)));
        match &self.file {
            Some(file) => write_file(file, table, rows, ctx),
            None => self.show(table, rows, out),
        }
    }
}

impl Args {
    fn dump_newest(&self, table: &Table, count: i64, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let Some(recid) = table.auto_increment.and_then(|at| table.col_at(at)) else {
            let name = table.name;
            return Err(Stop::refused(format!(
                "{name} table is not supported in tabdump -n. \
             You may only use this option on the auditlog or the eventlog."
            )));
        };
        let number = |row: &Row| row.get(recid).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let Some(last) = ctx.snapshot.rows(table.id).map(number).max() else {
            return out.heading(format!("Nothing to display from {}.", table.name));
        };
        let rows = ctx.snapshot.rows(table.id).filter(|row| number(row) > last.saturating_sub(count));
        self.show(table, rows, out)
    }

    fn describe_tables(&self, out: &mut Out<'_>) -> Done {
        let of = |table: &'static Table| {
            let (name, description) = (table.name, crate::descriptions::table(table.name));
            let facts = Facts::Table(crate::descriptions::table_facts(table));
            Description { facts, description, name, more: String::new(), is_first: false }
        };
        describe(schema().tables_by_name().map(of), out)
    }

    fn describe_columns(&self, name: &str, out: &mut Out<'_>) -> Done {
        let table = schema().find(name);
        let table = table.ok_or_else(|| Stop::not_found(format!("table {name} does not exist.")))?;
        describe(table.columns.iter().map(|column| Description::of_column(table, column.name)), out)
    }

    /// The rows under their header.
    fn show<'a>(&self, table: &Table, rows: impl Iterator<Item = &'a Row>, out: &mut Out<'_>) -> Done {
        out.data_heading(header_line(table))?;
        rows.into_iter().try_for_each(|row| out.report(&TableRow { table, row }))
    }
}

/// A table of the list.
#[derive(serde::Serialize)]
struct TableName {
    name: &'static str,
}

impl Report for TableName {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.data(self.name)
    }
}

/// What a table or a column is for.
#[derive(serde::Serialize)]
struct Description<'n> {
    name: &'n str,
    #[serde(flatten)]
    facts: Facts,
    /// The facts in one line.
    #[serde(skip)]
    description: String,
    /// What administrators look for in the same place.
    #[serde(skip)]
    more: String,
    #[serde(skip)]
    is_first: bool,
}

/// The facts of what is described.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Facts {
    Table(TableFacts),
    Column(ColumnFacts),
}

impl<'n> Description<'n> {
    /// `key` of `site` has the keys that are known below its own text, as administrators look there for them.
    fn of_column(table: &Table, name: &'n str) -> Self {
        let mut more = String::new();
        if table.name == "site" && name == "key" {
            let keys: Vec<String> = crate::descriptions::site_key_lines().collect();
            more = format!(". Known keys:\n\n{}", keys.join("\n"));
        }
        let facts = Facts::Column(crate::descriptions::column_facts(table, name));
        let description = crate::descriptions::column(table, name);
        Self { facts, description, name, more, is_first: false }
    }
}

impl Report for Description<'_> {
    /// `name:`, one or two tabs, description; an empty line between entries.
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let Self { name, description, more, is_first, .. } = self;
        if !is_first {
            lines.line("")?;
        }
        let tabs = if name.len() < 7 { "\t\t" } else { "\t" };
        lines.line(format!("{name}:{tabs}{description}{more}"))
    }
}

fn describe<'n>(all: impl Iterator<Item = Description<'n>>, out: &mut Out<'_>) -> Done {
    all.enumerate().try_for_each(|(at, one)| out.report(&Description { is_first: at == 0, ..one }))
}

/// A row, without what is not set.
pub struct TableRow<'a> {
    /// Its table.
    pub table: &'a Table,
    /// The row.
    pub row: &'a Row,
}

impl serde::Serialize for TableRow<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = self.table.cols().filter_map(|col| Some((col.name(), &**self.row.get(col)?)));
        serializer.collect_map(cells.collect::<BTreeMap<&str, &str>>())
    }
}

impl Report for TableRow<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.data(row_line(self.row))
    }
}

fn write_file<'a>(file: &str, table: &Table, rows: impl Iterator<Item = &'a Row>, ctx: &Ctx<'_>) -> Done {
    let path = ctx.output_of_caller(file)?;
    let mut text = header_line(table);
    text.push('\n');
    for row in rows {
        text.push_str(&row_line(row));
        text.push('\n');
    }
    look(&path, move |path| replace_private(path, &text))?.map_err(|error| {
        let name = table.name;
        let reason = format!("Unable to open the file for write. {error}");
        Stop::unavailable(format!("Error on tabdump of {name} to {file}. {reason}"))
    })
}

/// Writes a file that only its owner may read, since tables hold passwords. The old one is there until all of
/// the new one is.
fn replace_private(path: &Path, text: &str) -> io::Result<()> {
    if path.exists() && !path.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    dawn_serving::whole::write(path, text.as_bytes(), 0o600)
}

/// One `-w`.
struct Where {
    column: Col,
    condition: Condition,
}

impl Where {
    fn parse(text: &str, table: &Table, view: &View) -> Result<Self, Stop> {
        let condition = Condition::of_cells(text)
            .map_err(|_| Stop::usage(format!("Unsupported operator:{text} on -w flag input")))?;
        let name = &condition.subject;
        let column = table
            .col(name)
            .ok_or_else(|| Stop::not_found(format!("no such column: {name} (table {})", table.name)))?;
        view.may_compare(column)?;
        Ok(Self { column, condition })
    }

    /// NULL satisfies nothing.
    fn holds(&self, row: &Row) -> bool {
        row.cell(self.column).is_some_and(|cell| self.condition.holds(cell))
    }
}
