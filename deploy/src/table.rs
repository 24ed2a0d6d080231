//! `#TABLE:table:key:column#`, and `#CRYPT:`, which makes a password hash of the cell.

use crate::context::{Context, Found};
use crate::error::Problem;
use dawn_cluster::secrets::{Sensitivity, is_secret, of_site_key};
use dawn_cluster::{Col, Secret, Source, Table, XCATMASTER, col, nearest_of, schema};

/// What a key may be in the place of a node's name.
const THIS_NODE: [&str; 2] = ["THISNODE", "$NODE"];
/// A hash that no password fits.
pub(crate) const LOCKED: &str = "*";

/// A cell that a directive names.
pub(crate) struct Cell<'t> {
    table: &'static Table,
    column: Col,
    /// The row that the node has, itself or by a group.
    of_node: bool,
    conditions: Vec<(Col, &'t str)>,
    key: &'t str,
}

impl<'t> Cell<'t> {
    /// Reads the argument of a directive for `node`.
    pub(crate) fn parse(argument: &'t str, node: &'t str) -> Result<Self, Problem> {
        let (table, rest) = argument.split_once(':').ok_or(Problem::NotATable)?;
        let (key, column) = rest.rsplit_once(':').ok_or(Problem::NotATable)?;
        let table = schema().find(table).ok_or_else(|| Problem::NoTable {
            name: table.to_owned(),
            meant: nearest_of(table, schema().tables().iter().map(|table| table.name)).map(str::to_owned),
        })?;
        let mut cell =
            Self { table, column: column_of(table, column)?, of_node: false, conditions: Vec::new(), key };
        for part in key.split(',') {
            if THIS_NODE.contains(&part) {
                cell.of_node = true;
                continue;
            }
            let (name, value) = part.split_once('=').ok_or(Problem::NotATable)?;
            let value = if THIS_NODE.contains(&value) { node } else { value };
            cell.conditions.push((column_of(table, name)?, value));
        }
        Ok(cell)
    }

    /// The cell's text; none for an empty one.
    pub(crate) fn find(&self, context: &Context<'_>) -> Result<Option<Found>, Problem> {
        let found = match self.site_key() {
            Some(key) => self.of_site(context, key)?,
            None if self.of_node && self.conditions.is_empty() => self.of_this_node(context),
            None if self.of_node => self.of_this_node_where(context),
            None => {
                let row = context.snapshot.find_row(&self.conditions);
                row.and_then(|row| {
                    row.get(self.column).map(|text| self.found(text, &format!("row {}", self.key)))
                })
            }
        };
        Ok(found.filter(|found| !found.text.is_empty()))
    }

    /// What is missing, in xCAT's words, and how to set it.
    pub(crate) fn missing(&self, node: &str) -> Problem {
        let (table, column) = (self.table.name, self.column.name());
        let this = format!("node={node}");
        let key = self.key.split(',').map(|part| if THIS_NODE.contains(&part) { &this } else { part });
        let key = key.collect::<Vec<&str>>().join(",");
        let set = format!("chtab {key} {table}.{column}=VALUE");
        Problem::NoValue { table: table.to_owned(), column: column.to_owned(), key, set }
    }

    /// The key of `site`, if it is a value of that table.
    fn site_key(&self) -> Option<&'t str> {
        match self.conditions.as_slice() {
            [(key, name)] if *key == col::site::KEY && self.column == col::site::VALUE => Some(name),
            _ => None,
        }
    }

    fn of_site(&self, context: &Context<'_>, key: &str) -> Result<Option<Found>, Problem> {
        if key == "xcatdebugmode" {
            let mode = context.debug_mode();
            return match mode.as_str() {
                "0" | "1" | "2" => Ok(Some(Found::open(mode, "site.xcatdebugmode"))),
                _ => Err(Problem::DebugMode(mode)),
            };
        }
        let value = context.snapshot.site(key).map(|value| value.to_string());
        // Nodes make addresses of files of them, so they get the names under which HTTP serves them.
        let text = match key {
            "installdir" => Some("/install".to_owned()),
            "tftpdir" => Some("/tftpboot".to_owned()),
            _ => value,
        };
        let Some(text) = text else { return Ok(None) };
        let hidden = of_site_key(key) != Sensitivity::Open;
        Ok(Some(Found { text, source: format!("site.{key}"), hidden }))
    }

    fn of_this_node(&self, context: &Context<'_>) -> Option<Found> {
        let resolved = context.snapshot.attr_with_source(context.node, self.column);
        let resolved = resolved.filter(|resolved| &*resolved.value != XCATMASTER);
        let found = resolved.map(|found| self.found(&found.value, &row_of(&found.source, context.node)));
        found.or_else(|| self.server(context))
    }

    fn of_this_node_where(&self, context: &Context<'_>) -> Option<Found> {
        let columns: Vec<Col> =
            self.conditions.iter().map(|(column, _)| *column).chain([self.column]).collect();
        let rows = context.snapshot.attr_rows(context.node, self.table.id, &columns);
        let fits = |row: &&Vec<Option<dawn_cluster::Resolved>>| {
            self.conditions.iter().zip(row.iter()).all(|((_, wanted), cell)| {
                cell.as_ref().map(|cell| &*cell.value).unwrap_or_default() == *wanted
            })
        };
        let cell = rows.iter().find(fits)?.last()?.as_ref()?;
        Some(self.found(&cell.value, &row_of(&cell.source, context.node)))
    }

    /// Servers that are not set are those that the boot plan finds.
    fn server(&self, context: &Context<'_>) -> Option<Found> {
        let is_server = [col::noderes::XCATMASTER, col::noderes::NFSSERVER, col::noderes::TFTPSERVER];
        is_server
            .contains(&self.column)
            .then(|| Found::open(context.servers.master.clone(), "not set: the node's server"))
    }

    fn found(&self, text: &str, row: &str) -> Found {
        let source = format!("{}, {row}", self.column);
        Found { text: text.to_owned(), source, hidden: is_secret(self.column) }
    }
}

fn column_of(table: &'static Table, name: &str) -> Result<Col, Problem> {
    table.col(name).ok_or_else(|| Problem::NoColumn {
        table: table.name.to_owned(),
        column: name.to_owned(),
        meant: nearest_of(name, table.cols().map(|column| column.name())).map(str::to_owned),
    })
}

fn row_of(source: &Source, node: &str) -> String {
    match source {
        Source::Node => format!("row of {node}"),
        Source::Group(group) => format!("row of group {group}"),
        Source::Joined(groups) => format!("rows of groups {}", groups.join(", ")),
    }
}

/// The hash for a cell with a password. With `site.secureroot` the password is locked: the node fetches it by
/// `getcredentials`.
pub(crate) fn hashed(
    context: &Context<'_>,
    found: Option<Found>,
    hash: &dyn Fn(&str) -> Option<Secret>,
) -> Result<Option<Found>, Problem> {
    if context.snapshot.site("secureroot").is_some_and(|value| value.trim() == "1") {
        return Ok(Some(Found::open(LOCKED, "site.secureroot")));
    }
    let Some(found) = found else { return Ok(None) };
    let hash = hash(&found.text).ok_or(Problem::NoHash)?;
    Ok(Some(Found { text: hash.reveal().clone(), hidden: true, ..found }))
}
