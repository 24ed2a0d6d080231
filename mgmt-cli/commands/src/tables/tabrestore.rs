//! `tabrestore`: a table from its text.

use crate::edits::{Edits, transact_rows};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, DATABASE_CODE, Done, Out};
use dawn_cluster::csv::{Record, read_header, read_records};
use dawn_cluster::{Col, Edit, Table, schema};

/// Replace a table, or add rows to it, from the text that tabdump writes
///
/// The table is named by the file: TABLE.csv. All lines are checked before anything is changed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Add rows instead of replacing all
    #[arg(short = 'a', long = "addrows")]
    add: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// The program that sends the text, for the log
    #[arg(long = "for", value_enum, hide = true)]
    sender: Option<Sender>,
    /// TABLE.csv; its text is what the client sends along
    #[arg(value_name = "FILE", required = true)]
    file: String,
}

/// Programs of the client that have their text stored by `tabrestore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sender {
    /// One table.
    #[value(name = "tabedit")]
    Tabedit,
    /// The text holds several files, and all become one change.
    #[value(name = "restorexCATdb")]
    RestorexCatdb,
}

impl Sender {
    fn option(self) -> &'static str {
        match self {
            Self::Tabedit => "--for=tabedit",
            Self::RestorexCatdb => "--for=restorexCATdb",
        }
    }

    /// The words of a request: `file` is the table's file, or the directory with those of all tables.
    pub fn words(self, file: &str, dry_run: bool) -> Vec<String> {
        let mut words = vec![self.option().to_owned(), file.to_owned()];
        if dry_run {
            words.push("--dry-run".to_owned());
        }
        words
    }
}

impl Command for Args {
    const NAME: &'static str = "tabrestore";
    const KIND: Kind = Kind::Words;
    const SENDS_FILE: bool = true;
    const WRITES: bool = true;

    fn typed(words: &[String]) -> Option<String> {
        let (option, file) = match words {
            [option, file, ..] => (option, file),
            _ => return None,
        };
        match [Sender::Tabedit, Sender::RestorexCatdb].into_iter().find(|sender| sender.option() == option)? {
            Sender::Tabedit => Some(format!("tabedit {}", file.trim_end_matches(".csv"))),
            Sender::RestorexCatdb => Some(format!("restorexCATdb -p {file}")),
        }
    }

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let text = ctx.call.request.stdin.as_deref().unwrap_or_default();
        let mut edits = Edits::new();
        if self.sender == Some(Sender::RestorexCatdb) {
            match edits_of_bundle(text) {
                Ok(all) => edits = all,
                Err(errors) => errors.into_iter().try_for_each(|error| out.error(error))?,
            }
        } else {
            read(&self.file, text, self.add, &mut edits)
                .into_iter()
                .try_for_each(|error| out.error(error))?;
        }
        if out.failed() {
            return Ok(());
        }
        transact_rows(ctx, out, self.dry_run, |_, _| Ok(edits))
    }
}

/// The edits of several files, or everything that is wrong with them.
pub fn edits_of_bundle(bundle: &str) -> Result<Edits, Vec<CommandError>> {
    let (mut edits, mut errors) = (Edits::new(), Vec::new());
    let mut rest = bundle;
    while !rest.is_empty() {
        let Some((file, text, after)) = next_file(rest) else {
            errors.push(CommandError::conflict("the list of files is damaged"));
            break;
        };
        let wrong = read(file, text, false, &mut edits).into_iter();
        errors.extend(wrong.map(|error| error.about(file).with_code(DATABASE_CODE)));
        rest = after;
    }
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

/// Adds the edits of one file; returns its errors. `add`: rows that are there stay.
fn read(file: &str, text: &str, add: bool, edits: &mut Edits) -> Vec<CommandError> {
    let base = file.rsplit('/').next().unwrap_or(file);
    let name = base.split('.').next().unwrap_or(base);
    let Some(table) = schema().find(name) else {
        let unable = CommandError::not_found(format!("Unable to open {name}"));
        return vec![unable.with_code(DATABASE_CODE)];
    };
    let mut lines = text.lines();
    match columns(lines.next().unwrap_or_default(), table) {
        Ok(columns) => {
            if !add {
                edits.delete(&[], table);
            }
            read_rows(lines, table, &columns, edits)
        }
        Err(error) => vec![error],
    }
}

/// One file of a bundle: a line with name and length in bytes, then the text.
pub fn bundled(file: &str, text: &str) -> String {
    format!("{file} {}\n{text}", text.len())
}

/// Splits the first file off: name, text, and what follows.
fn next_file(bundle: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = bundle.split_once('\n')?;
    let (file, length) = head.rsplit_once(' ')?;
    let (text, after) = rest.split_at_checked(length.parse().ok()?)?;
    Some((file, text, after))
}

fn columns(header: &str, table: &Table) -> Result<Vec<Col>, CommandError> {
    let names = read_header(header)?;
    let find = |name: &String| {
        table.col(name).ok_or_else(|| {
            CommandError::usage(format!(
                "The header line indicates that column '{name}' should exist, which is not defined in the \
                 schema for '{}'",
                table.name
            ))
        })
    };
    names.iter().map(find).collect()
}

/// Every valid record becomes a row; returns the errors of the others.
fn read_rows<'a>(
    lines: impl Iterator<Item = &'a str>,
    table: &Table,
    columns: &[Col],
    edits: &mut Edits,
) -> Vec<CommandError> {
    let mut wrong = Vec::new();
    for record in read_records(lines) {
        match cells(&record, table, columns) {
            Ok(cells) => edits.push(Edit::Insert { table: table.id, cells }),
            Err(error) => wrong.push(error.with_code(DATABASE_CODE)),
        }
    }
    wrong
}

/// The cells of a record that are set.
fn cells(
    record: &Record,
    table: &Table,
    columns: &[Col],
) -> Result<Vec<(Col, Option<dawn_cluster::Text>)>, CommandError> {
    let fields = record.fields.clone()?;
    // The text itself stays out of messages, which are logged: it may hold a password.
    if fields.len() > columns.len() {
        let (number, count) = (record.number, fields.len());
        return Err(CommandError::usage(format!(
            "Too many fields on line {number}: {count} instead of {}",
            columns.len()
        )));
    }
    let is_auto = |col: Col| table.auto_increment == Some(col.index());
    let cells: Vec<_> = columns
        .iter()
        .zip(fields)
        .filter(|(col, value)| value.is_some() && !is_auto(**col))
        .map(|(col, value)| (*col, value.map(dawn_cluster::Text::from)))
        .collect();
    match cells.is_empty() {
        true => Err(CommandError::usage(format!("DB error  with line {}: it is empty", record.number))),
        false => Ok(cells),
    }
}
