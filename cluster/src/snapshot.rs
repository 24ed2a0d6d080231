//! What the database holds at one moment, immutable: every question is answered from here.
//!
//! A [`Snapshot`] is shared by pointer. Publishing a change makes a new one that shares all untouched tables
//! (and nearly all of the touched ones) with the old; a holder of the old one still sees the old state.
//! Nothing here waits, reads a file or locks for longer than a memo lookup.

use crate::address_index::AddressIndexes;
use crate::col;
use crate::row::{Row, Text};
use crate::schema::{AsTable, Col, TableId, schema};
use crate::table::TableData;
use crate::template::TemplateCache;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Columns that this module asks for by itself.
pub(crate) struct Known {
    pub(crate) nodelist: TableId,
    pub(crate) site: TableId,
    pub(crate) policy: TableId,
    pub(crate) groups: Col,
    pub(crate) site_key: Col,
    pub(crate) site_value: Col,
    pub(crate) mac: Col,
    pub(crate) ip: Col,
    pub(crate) uuid: Col,
    image: Col,
    linux_image: Col,
    hidden: Col,
}

pub(crate) static KNOWN: LazyLock<Known> = LazyLock::new(|| Known {
    nodelist: Col::known("nodelist.node").table,
    site: Col::known("site.key").table,
    policy: Col::known("policy.priority").table,
    groups: Col::known("nodelist.groups"),
    site_key: Col::known("site.key"),
    site_value: Col::known("site.value"),
    mac: Col::known("mac.mac"),
    ip: Col::known("hosts.ip"),
    uuid: Col::known("vpd.uuid"),
    image: Col::known("osimage.imagename"),
    linux_image: Col::known("linuximage.imagename"),
    hidden: Col::known("nodelist.hidden"),
});

/// The state of the database after one change, immutable.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) seq: u64,
    pub(crate) tables: Box<[Arc<TableData>]>,
    pub(crate) templates: Arc<TemplateCache>,
    pub(crate) inherited: AddressIndexes,
}

impl Snapshot {
    /// Every table empty.
    pub fn empty() -> Self {
        let tables = schema().tables().iter().map(|t| Arc::new(TableData::empty(t.id))).collect();
        Self::from_tables(0, tables)
    }

    pub(crate) fn from_tables(seq: u64, tables: Box<[Arc<TableData>]>) -> Self {
        Self { seq, tables, templates: Arc::default(), inherited: AddressIndexes::default() }
    }

    /// This freshly loaded snapshot as a successor of another: no version number is used again.
    pub(crate) fn after(mut self, old: &Self) -> Self {
        for (table, old) in self.tables.iter_mut().zip(&old.tables) {
            if let Some(table) = Arc::get_mut(table) {
                table.version = old.version + 1;
            }
        }
        self.templates = Arc::clone(&old.templates);
        self
    }

    /// A snapshot with these rows, for tests and for simulators: `(table, [(column, value)])` each.
    /// Rows of unknown tables and unknown columns are left out.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = (&'a str, &'a [(&'a str, &'a str)])>) -> Self {
        let mut per_table: HashMap<TableId, Vec<Row>> = HashMap::new();
        for (table, cells) in rows {
            let Some(table) = schema().find(table) else { continue };
            let mut row = vec![None; table.columns.len()];
            for (name, value) in cells {
                if let Some(slot) = table.col(name).and_then(|c| row.get_mut(c.index())) {
                    *slot = Some(Text::from(*value));
                }
            }
            per_table.entry(table.id).or_default().push(Row::new(table.id, row));
        }
        let table = |id| Arc::new(TableData::from_rows(id, per_table.remove(&id).unwrap_or_default()));
        Self::from_tables(0, schema().tables().iter().map(|t| t.id).map(table).collect())
    }

    /// Number of the change that made this snapshot; grows by one with every change.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    #[allow(clippy::indexing_slicing, reason = "a snapshot has every table of the schema")]
    pub(crate) fn data(&self, table: TableId) -> &TableData {
        &self.tables[table.index()]
    }

    /// A number that changes whenever the table does: equal numbers of two snapshots of one model mean equal
    /// rows.
    pub fn version(&self, table: impl AsTable) -> u64 {
        table.as_table().map_or(0, |t| self.data(t).version)
    }

    /// All rows of a table in database order, disabled ones too. No rows for a table that does not exist.
    pub fn rows(&self, table: impl AsTable) -> impl Iterator<Item = &Row> {
        table.as_table().into_iter().flat_map(|t| self.data(t).rows().map(|(_, row)| row))
    }

    /// The rows of a table that take part in lookups, in database order.
    pub fn enabled_rows(&self, table: impl AsTable) -> impl Iterator<Item = &Row> {
        let table = table.as_table();
        table.into_iter().flat_map(|t| self.data(t).rows().map(|(_, row)| row).filter(move |r| r.enabled(t)))
    }

    /// Number of rows, disabled ones too.
    pub fn row_count(&self, table: impl AsTable) -> usize {
        table.as_table().map_or(0, |t| self.data(t).len())
    }

    /// Rows (disabled ones too) in which every column holds the text; NULL counts as empty.
    /// Columns of several tables match nothing.
    pub fn find_rows(&self, wanted: &[(Col, &str)]) -> Vec<Row> {
        let Some((first, _)) = wanted.first() else { return Vec::new() };
        if wanted.iter().any(|(c, _)| c.table != first.table) {
            return Vec::new();
        }
        let wanted: Vec<(Col, Text)> = wanted.iter().map(|(c, t)| (*c, Text::from(*t))).collect();
        self.data(first.table).matching(&wanted).into_iter().map(|(_, row)| row).collect()
    }

    /// The first enabled row in which every column holds the text. No group logic, no templates.
    pub fn find_row(&self, wanted: &[(Col, &str)]) -> Option<Row> {
        let table = wanted.first()?.0.table;
        self.find_rows(wanted).into_iter().find(|row| row.enabled(table))
    }

    /// The enabled rows whose node column is exactly `name`, raw: what the node or group itself has.
    pub fn own_rows<'a>(&'a self, table: TableId, name: &'a str) -> impl Iterator<Item = &'a Row> + 'a {
        self.data(table).rows_of_node(name).map(|(_, row)| row).filter(move |row| row.enabled(table))
    }

    /// A value of the `site` table. `httpport` reads as `80` when it is not set.
    pub fn site(&self, key: &str) -> Option<Text> {
        let row = self.find_row(&[(KNOWN.site_key, key)]);
        let value = row.and_then(|row| row.get(KNOWN.site_value).cloned());
        value.or_else(|| (key == "httpport").then(|| "80".into()))
    }

    /// A `site` switch: `default` if not set; `0`, `n`, `no` in any case mean no, everything else yes.
    pub fn site_flag(&self, key: &str, default: bool) -> bool {
        self.site(key).map_or(default, |v| !matches!(v.to_ascii_lowercase().as_str(), "0" | "n" | "no"))
    }

    /// Every node, sorted as plain strings.
    pub fn node_names(&self) -> impl Iterator<Item = &Text> + Clone {
        self.data(KNOWN.nodelist).names()
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.data(KNOWN.nodelist).names_len()
    }

    /// The name is a node's.
    pub fn has_node(&self, name: &str) -> bool {
        self.own_rows(KNOWN.nodelist, name).next().is_some()
    }

    /// The shared text of a node's name.
    pub fn node_name(&self, name: &str) -> Option<Text> {
        let node = KNOWN.nodelist.info().node_col()?;
        self.own_rows(KNOWN.nodelist, name).next()?.cell(node).cloned()
    }

    /// `nodelist.hidden` is `1`: the node is listed only on request.
    pub fn is_hidden(&self, name: &str) -> bool {
        self.own_rows(KNOWN.nodelist, name).any(|row| row.get(KNOWN.hidden).is_some_and(|h| &**h == "1"))
    }

    /// The raw text of `nodelist.groups`.
    pub fn groups_text(&self, node: &str) -> Option<Text> {
        self.own_rows(KNOWN.nodelist, node).find_map(|row| row.get(KNOWN.groups)).cloned()
    }

    /// The groups of a node in order of priority.
    pub fn groups_of(&self, node: &str) -> Vec<Text> {
        let text = self.groups_text(node).unwrap_or_default();
        text.split(',').filter(|g| !g.is_empty()).map(Text::from).collect()
    }

    /// Some node has the name in its group list.
    pub(crate) fn is_listed_group(&self, name: &str) -> bool {
        let listed = |row: &Row| row.get(KNOWN.groups).is_some_and(|g| g.split(',').any(|x| x == name));
        let mut rows = self.data(KNOWN.nodelist).rows_by_alias(name).map(|(_, row)| row);
        !name.is_empty() && rows.any(|row| row.enabled(KNOWN.nodelist) && listed(row))
    }

    /// The nodes whose group list literally contains the name, in table order.
    pub fn nodes_listing_group(&self, group: &str) -> Vec<Text> {
        let listed = |row: &Row| row.get(KNOWN.groups).is_some_and(|g| g.split(',').any(|x| x == group));
        let hits = self.data(KNOWN.nodelist).rows_by_alias(group).map(|(_, row)| row);
        self.nodes_in(KNOWN.nodelist, hits.filter(|row| listed(row)))
    }

    pub(crate) fn nodes_in<'a>(&self, table: TableId, rows: impl Iterator<Item = &'a Row>) -> Vec<Text> {
        let Some(node) = table.info().node_col() else { return Vec::new() };
        rows.filter(|row| row.enabled(table)).filter_map(|row| row.get(node).cloned()).collect()
    }

    /// Names in whose enabled rows a cell is what `is_it` looks for. `alias` is the form under which the row
    /// is indexed.
    pub(crate) fn holders(&self, col: Col, alias: &str, is_it: impl Fn(&str) -> bool) -> Vec<Text> {
        let rows = self.data(col.table).rows_by_alias(alias).map(|(_, row)| row);
        self.nodes_in(col.table, rows.filter(|row| row.get(col).is_some_and(|text| is_it(text))))
    }

    /// An operating system image: its `osimage` and `linuximage` rows as one.
    pub fn osimage(&self, name: &str) -> Option<OsImage> {
        let os = self.find_row(&[(KNOWN.image, name)])?;
        let linux = self.find_row(&[(KNOWN.linux_image, name)]);
        Some(OsImage { name: name.into(), os, linux })
    }

    /// Names of all enabled images in database order.
    pub fn osimage_names(&self) -> impl Iterator<Item = &Text> {
        self.enabled_rows(KNOWN.image.table).filter_map(|row| row.get(KNOWN.image))
    }
}

/// An operating system image: `osimage` joined with `linuximage`.
#[derive(Clone, Debug)]
pub struct OsImage {
    /// Its name.
    pub name: Text,
    os: Row,
    linux: Option<Row>,
}

impl OsImage {
    /// A column of either table.
    pub fn get(&self, col: Col) -> Option<&Text> {
        if col.table == KNOWN.image.table {
            return self.os.get(col);
        }
        self.linux.as_ref().filter(|_| col.table == KNOWN.linux_image.table)?.get(col)
    }

    /// A column by the name that a file says, as lists of packages do; where both tables have it
    /// (`comments`, `disable`), `osimage` wins.
    pub fn named(&self, column: &str) -> Option<&Text> {
        let of = |row: &'_ Row, table: TableId| table.info().col(column).and_then(|c| row.get(c).map(|_| c));
        let (os, linux) = (KNOWN.image.table, KNOWN.linux_image.table);
        if let Some(col) = of(&self.os, os) {
            return self.os.get(col);
        }
        let row = self.linux.as_ref()?;
        row.get(of(row, linux)?)
    }

    /// `osimage.provmethod`: install, netboot, statelite, …
    pub fn provmethod(&self) -> Option<&Text> {
        self.get(col::osimage::PROVMETHOD)
    }

    /// The directory that holds `rootimg`: `linuximage.rootimgdir`, else
    /// `<installdir>/netboot/<os>/<arch>/<profile>` as far as those columns are set.
    pub fn rootimgdir(&self, snapshot: &Snapshot) -> Option<String> {
        // Rows that came with the database were never checked: no path from them leads upwards.
        if let Some(dir) = self.get(col::linuximage::ROOTIMGDIR) {
            let upwards = dir.split('/').any(|part| part == "..");
            return (!upwards).then(|| dir.to_string());
        }
        let installdir = snapshot.site("installdir").unwrap_or_else(|| "/install".into());
        let [os, arch, profile] = [col::osimage::OSVERS, col::osimage::OSARCH, col::osimage::PROFILE];
        let (os, arch, profile) = (self.get(os)?, self.get(arch)?, self.get(profile)?);
        if [os, arch, profile].iter().any(|part| part.contains('/') || &***part == "..") {
            return None;
        }
        Some(format!("{installdir}/netboot/{os}/{arch}/{profile}"))
    }
}
