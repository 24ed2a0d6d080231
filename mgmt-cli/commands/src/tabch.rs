//! What `chtab` and `tabch` have in common: rows by key conditions, values by `table.column=value`.

use crate::edits::{Edits, transact_rows};
use dawn_bootd::caller::View;
use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_cluster::list;
use dawn_cluster::{Col, EditError, Snapshot, Table, col, schema};

/// The words of both commands.
#[derive(Debug, clap::Args)]
pub struct Words {
    /// Delete the matching rows of the tables named
    #[arg(short = 'd', long = "delete")]
    delete: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// KEY=VALUE[,KEY=VALUE…], then TABLE.COLUMN=VALUE, TABLE.COLUMN+=VALUE or, with -d, TABLE
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// How the two commands word their complaints.
pub struct Manner {
    /// Ends `Incorrect argument` and `Missing table name.`
    pub hint: &'static str,
}

/// One `table.column=value`.
struct Assignment<'a> {
    table: &'static Table,
    column: Col,
    append: bool,
    value: &'a str,
}

impl Words {
    /// Carries the command out.
    pub fn run(&self, manner: &Manner, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let Some((first, rest)) = self.words.split_first() else {
            return complain("Missing table name.", manner, out);
        };
        // With -d the words after the first are tables, so it is the keys.
        let keys_given = self.delete || !looks_like_assignment(first) || names_several_keys(first);
        let (keys, rest) = if keys_given { (first.as_str(), rest) } else { ("", self.words.as_slice()) };
        if !keys.is_empty() && !keys.contains('=') {
            return complain(&format!("Incorrect argument \"{keys}\"."), manner, out);
        }
        if rest.is_empty() {
            return complain("Missing table name.", manner, out);
        }
        transact_rows(ctx, out, self.dry_run, |snapshot, out| {
            if self.delete {
                deletions(keys, rest, &ctx.view, out)
            } else {
                assignments(keys, rest, manner, (snapshot, &ctx.view), out)
            }
        })
    }
}

fn deletions(keys: &str, tables: &[String], view: &View, out: &mut Out<'_>) -> Result<Edits, Stop> {
    let mut edits = Edits::new();
    let mut unknown = false;
    for name in tables {
        match schema().find(name) {
            Some(table) => edits.delete(&read_keys(keys, table, view)?, table),
            None => {
                unknown = true;
                out.plain_error(no_table(name))?;
            }
        }
    }
    if unknown { Err(Stop::Code(1)) } else { Ok(edits) }
}

/// The values for one table.
type Values = (&'static Table, Vec<(Col, String)>);

fn assignments(
    keys: &str,
    words: &[String],
    manner: &Manner,
    (snapshot, view): (&Snapshot, &View),
    out: &mut Out<'_>,
) -> Result<Edits, Stop> {
    let mut tables: Vec<Values> = Vec::new();
    for word in words {
        let Some(assignment) = read_assignment(word, manner, out)? else { continue };
        let keys = read_keys(keys, assignment.table, view)?;
        if assignment.append {
            assignment.may_extend(&keys, view)?;
        }
        let value = assignment.value(&keys, snapshot);
        let node = assignment.table.node_col().filter(|col| *col == assignment.column);
        if let Some(col) = node.filter(|col| keys.iter().any(|(key, of)| key == col && *of != value)) {
            return Err(Stop::conflict(renames_one_row(col)));
        }
        values_of(&mut tables, assignment.table).push((assignment.column, value));
    }
    let mut edits = Edits::new();
    for (table, values) in tables {
        let keys = read_keys(keys, table, view)?;
        if keys.is_empty() {
            insert_or_update(&mut edits, table, values)?;
        } else {
            edits.set(table, keys, values);
        }
    }
    Ok(edits)
}

/// A row given in full by `table.column=value` words: one with this key is changed, else it is new.
fn insert_or_update(edits: &mut Edits, table: &'static Table, values: Vec<(Col, String)>) -> Done {
    let (keys, rest): (Vec<_>, Vec<_>) = values.iter().cloned().partition(|(col, _)| col.info().is_key);
    if keys.len() == table.keys.len() && !rest.is_empty() {
        edits.set(table, keys, rest);
    } else {
        let cells: Vec<_> = values.iter().map(|(col, text)| (*col, Some(text.as_str().into()))).collect();
        if let Some(col) = dawn_cluster::empty_key(table.id, &cells) {
            return Err(EditError::EmptyKey { col }.into());
        }
        edits.insert(table, values);
    }
    Ok(())
}

fn values_of<'a>(tables: &'a mut Vec<Values>, table: &'static Table) -> &'a mut Vec<(Col, String)> {
    let at = tables.iter().position(|(known, _)| known.id == table.id).unwrap_or_else(|| {
        tables.push((table, Vec::new()));
        tables.len() - 1
    });
    #[allow(clippy::indexing_slicing, reason = "the position was found or made just above")]
    &mut tables[at].1
}

impl Assignment<'_> {
    fn may_extend(&self, keys: &[(Col, String)], view: &View) -> Done {
        let setting = keys.iter().find(|(key, _)| *key == col::site::KEY);
        match setting.filter(|_| self.column == col::site::VALUE) {
            Some((_, key)) => view.may_extend_setting(key),
            None => view.may_extend(self.column),
        }
    }

    /// What the column holds afterwards.
    fn value(&self, keys: &[(Col, String)], snapshot: &Snapshot) -> String {
        if !self.append {
            return self.value.to_owned();
        }
        let wanted: Vec<(Col, &str)> = keys.iter().map(|(col, text)| (*col, text.as_str())).collect();
        let rows = snapshot.find_rows(&wanted);
        let old = rows.first().and_then(|row| row.get(self.column));
        list::add(old.map(AsRef::as_ref).unwrap_or_default(), self.value, ",")
    }
}

/// Why a node's name is not written into one of its rows.
pub fn renames_one_row(col: Col) -> String {
    format!("{col} is the node's name, and other tables would keep the old one: use chdef -n NEW")
}

fn looks_like_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.contains('.'))
}

/// `table.key=value,table.key=value`: keys with the table in front, as for the other words. A value that only
/// contains such a text is meant as a value, unless all its columns are keys.
fn names_several_keys(word: &str) -> bool {
    let is_key = |piece: &str| {
        let column = piece.split_once('=').and_then(|(name, _)| schema().find_col(name));
        column.is_some_and(|column| column.info().is_key)
    };
    word.split(',').count() > 1 && word.split(',').all(is_key)
}

fn complain(text: &str, manner: &Manner, out: &mut Out<'_>) -> Done {
    out.plain_error(CommandError::usage(text))?;
    if !manner.hint.is_empty() {
        out.lines(manner.hint)?;
    }
    Err(Stop::Code(1))
}

fn find_table(name: &str, out: &mut Out<'_>) -> Result<&'static Table, Stop> {
    match schema().find(name) {
        Some(table) => Ok(table),
        None => {
            out.plain_error(no_table(name))?;
            Err(Stop::Code(1))
        }
    }
}

fn no_table(name: &str) -> CommandError {
    CommandError::not_found(format!("Table {name} does not exist."))
}

fn read_keys(text: &str, table: &Table, view: &View) -> Result<Vec<(Col, String)>, Stop> {
    let mut keys = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.rsplit_once('=').unwrap_or((pair, ""));
        let column = name.strip_prefix(table.name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        let column = find_column(table, column)?;
        view.may_compare(column)?;
        keys.push((column, value.to_owned()));
    }
    Ok(keys)
}

fn find_column(table: &Table, name: &str) -> Result<Col, Stop> {
    let missing = || Stop::not_found(format!("No column \"{name}\" in table \"{}\"", table.name));
    table.col(name).ok_or_else(missing)
}

fn read_assignment<'a>(
    word: &'a str,
    manner: &Manner,
    out: &mut Out<'_>,
) -> Result<Option<Assignment<'a>>, Stop> {
    let parts = word.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
    let Some(((table, column), value)) = parts else {
        complain(&format!("Incorrect argument \"{word}\"."), manner, out)?;
        return Ok(None);
    };
    let (column, append) = match column.strip_suffix('+') {
        Some(column) => (column, true),
        None => (column, false),
    };
    let table = find_table(table, out)?;
    let column = find_column(table, column)?;
    Ok(Some(Assignment { table, column, append, value }))
}
