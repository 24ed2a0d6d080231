//! Objects read from a snapshot.

use super::{LookupValue, ObjectAttr, ObjectType, SITE_OBJECT, has_word};
use crate::nics::{NIC_COLUMNS, expand_entry, nic_entries, split_nic_attr};
use crate::resolve::ResolvedRow;
use crate::row::{Row, Text};
use crate::schema::{Col, TableId};
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An attribute's value and the cell it comes from.
#[derive(Clone, Debug)]
pub struct ObjectValue {
    /// The value, never empty.
    pub value: Text,
    /// The schema line it was read by; `None` for `site` and `monitoring`, whose attributes are rows.
    pub line: Option<&'static ObjectAttr>,
}

/// An object: its attributes sorted by name. NIC columns appear as `nicips.eth0`.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its type.
    pub kind: &'static ObjectType,
    /// Its name.
    pub name: Text,
    /// The attributes that are set, without the one that holds the name.
    pub attrs: BTreeMap<Text, ObjectValue>,
}

impl Object {
    /// The value of an attribute.
    pub fn get(&self, attr: &str) -> Option<&Text> {
        self.attrs.get(attr).map(|v| &v.value)
    }
}

/// Which attributes of the objects of a type are read, and from which columns: worked out once, used for each
/// object.
#[derive(Debug)]
pub struct Selection {
    kind: &'static ObjectType,
    /// The attributes asked for; `None` means all.
    wanted: Option<Vec<String>>,
    /// The names of the attributes that are read, conditions of others included.
    names: Vec<Text>,
    lines: Vec<Line>,
    /// The tables that are read, with their columns.
    tables: Vec<(TableId, Vec<Col>)>,
}

/// A line of the object schema by positions in a [`Selection`].
#[derive(Debug)]
struct Line {
    attr: &'static ObjectAttr,
    /// Of the attribute in `names`.
    name: usize,
    /// Of the condition's attribute in `names`; no position: it never has a value.
    only_if: Option<(Option<usize>, &'static str)>,
    /// Of its table in `tables`.
    table: usize,
}

impl Selection {
    /// Every attribute of a type.
    pub fn all(kind: &'static ObjectType) -> Self {
        Self::new(kind, None)
    }

    /// These attributes only (`nicips` means all of an object's NICs, `nicips.eth0` the one).
    pub fn of(kind: &'static ObjectType, wanted: &[&str]) -> Self {
        Self::new(kind, Some(wanted))
    }

    fn new(kind: &'static ObjectType, wanted: Option<&[&str]>) -> Self {
        let needed = wanted.map(|list| needed_attrs(kind, list));
        let is_needed = |line: &&ObjectAttr| {
            line.name != kind.key && needed.as_ref().is_none_or(|names| names.contains(line.name))
        };
        let attrs: Vec<&'static ObjectAttr> = kind.attrs.iter().filter(is_needed).collect();
        let names: BTreeSet<&'static str> = attrs.iter().map(|attr| attr.name).collect();
        let names: Vec<&'static str> = names.into_iter().collect();
        let mut tables: Vec<(TableId, Vec<Col>)> = Vec::new();
        let mut lines = Vec::with_capacity(attrs.len());
        for attr in attrs {
            let Ok(name) = names.binary_search(&attr.name) else { continue };
            let only_if = attr.only_if.map(|(on, word)| (names.binary_search(&on).ok(), word));
            lines.push(Line { attr, name, only_if, table: read_columns(&mut tables, attr) });
        }
        let names = names.into_iter().map(Text::from).collect();
        let wanted = wanted.map(|list| list.iter().map(|name| (*name).to_owned()).collect());
        Self { kind, wanted, names, lines, tables }
    }

    /// The type of the objects.
    pub fn kind(&self) -> &'static ObjectType {
        self.kind
    }

    /// An attribute is asked for, and not only read for the condition of another one.
    pub fn asks_for(&self, attr: &str) -> bool {
        let base = split_nic_attr(attr).map_or(attr, |(base, _)| base);
        self.wanted.as_ref().is_none_or(|list| list.iter().any(|one| *one == attr || *one == base))
    }
}

/// Notes the columns that a line of the schema needs; the position of its table.
fn read_columns(tables: &mut Vec<(TableId, Vec<Col>)>, attr: &ObjectAttr) -> usize {
    let table = attr.col.table;
    let at = tables.iter().position(|(id, _)| *id == table).unwrap_or_else(|| {
        tables.push((table, Vec::new()));
        tables.len() - 1
    });
    if let Some((_, cols)) = tables.get_mut(at) {
        let conditions = attr.lookup.iter().filter(|(_, value)| *value != LookupValue::Name);
        for col in conditions.map(|(col, _)| *col).chain([attr.col]) {
            if !cols.contains(&col) {
                cols.push(col);
            }
        }
    }
    at
}

/// How the cells of an object are found.
trait Source {
    fn cell(&mut self, line: &Line) -> Option<Text>;
}

impl Snapshot {
    /// Names of all objects of a type: nodes sorted, groups sorted, others in database order.
    pub fn object_names(&self, kind: &ObjectType) -> Vec<Text> {
        match kind.name {
            "node" => self.node_names().cloned().collect(),
            "group" => self.group_names(),
            "site" => vec![SITE_OBJECT.into()],
            _ => {
                let Some(col) = kind.key_col() else { return Vec::new() };
                let mut seen = BTreeSet::new();
                let names = self.enabled_rows(col.table).filter_map(|row| row.get(col));
                names.filter(|n| seen.insert((*n).clone())).cloned().collect()
            }
        }
    }

    /// An object of that type and name is defined.
    pub fn has_object(&self, kind: &ObjectType, name: &str) -> bool {
        match kind.name {
            "node" => self.has_node(name),
            "group" => self.is_group(name),
            "site" => name == SITE_OBJECT,
            _ => kind.key_col().is_some_and(|col| self.find_row(&[(col, name)]).is_some()),
        }
    }

    /// An object with all its attributes.
    pub fn object(&self, kind: &'static ObjectType, name: &str) -> Option<Object> {
        self.select(&Selection::all(kind), name)
    }

    /// An object with the selected attributes.
    pub fn select(&self, selection: &Selection, name: &str) -> Option<Object> {
        let kind = selection.kind;
        if !self.has_object(kind, name) {
            return None;
        }
        let mut attrs = match kind.name {
            "site" => self.pairs("site.key", "site.value", None),
            "monitoring" => self.pairs("monsetting.key", "monsetting.value", Some(("monsetting.name", name))),
            _ => self.attributes(selection, name),
        };
        if selection.wanted.is_some() {
            attrs.retain(|attr, _| selection.asks_for(attr));
        }
        Some(Object { kind, name: name.into(), attrs })
    }

    /// One attribute of an object.
    pub fn object_attr(&self, kind: &'static ObjectType, name: &str, attr: &str) -> Option<Text> {
        let object = self.select(&Selection::of(kind, &[attr]), name)?;
        object.get(attr).cloned()
    }

    fn pairs(
        &self,
        key: &'static str,
        value: &'static str,
        of: Option<(&'static str, &str)>,
    ) -> BTreeMap<Text, ObjectValue> {
        let (key, value) = (Col::known(key), Col::known(value));
        let of = of.map(|(col, name)| (Col::known(col), name));
        let belongs = |row: &&Row| of.is_none_or(|(col, name)| row.get(col).is_some_and(|t| **t == *name));
        let pair = |row: &Row| {
            Some((row.get(key)?.clone(), ObjectValue { value: row.get(value)?.clone(), line: None }))
        };
        self.enabled_rows(key.table).filter(belongs).filter_map(pair).collect()
    }

    pub(crate) fn attributes(&self, selection: &Selection, name: &str) -> BTreeMap<Text, ObjectValue> {
        if selection.kind.is_node() {
            let rows = vec![None; selection.tables.len()];
            collect(selection, &mut Resolving { snapshot: self, name, rows, selection }, Some(name))
        } else {
            collect(selection, &mut Plain { snapshot: self, name, rows: HashMap::new() }, None)
        }
    }
}

/// The wanted attributes and those that their conditions ask for.
fn needed_attrs<'a>(kind: &'static ObjectType, wanted: &[&'a str]) -> BTreeSet<&'a str> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<&'a str> =
        wanted.iter().map(|w| split_nic_attr(w).map_or(*w, |(base, _)| base)).collect();
    while let Some(attr) = open.pop() {
        if needed.insert(attr) {
            open.extend(kind.lines(attr).filter_map(|line| line.only_if).map(|(on, _)| on));
        }
    }
    needed
}

fn collect(
    selection: &Selection,
    source: &mut dyn Source,
    node: Option<&str>,
) -> BTreeMap<Text, ObjectValue> {
    let mut found: Vec<Option<ObjectValue>> = vec![None; selection.names.len()];
    for line in &selection.lines {
        let value_of = |at: Option<usize>| found.get(at?)?.as_ref();
        let holds = |(on, word)| value_of(on).is_some_and(|has| has_word(&has.value, word));
        if line.only_if.is_some_and(|condition| !holds(condition)) {
            continue;
        }
        if let Some(value) = source.cell(line)
            && let Some(slot) = found.get_mut(line.name)
        {
            *slot = Some(ObjectValue { value, line: Some(line.attr) });
        }
    }
    let mut attrs = BTreeMap::new();
    for (name, value) in selection.names.iter().zip(found) {
        let Some(value) = value else { continue };
        if NIC_COLUMNS.contains(&&**name) {
            attrs.extend(nic_attrs(name, &value, node));
        } else {
            attrs.insert(name.clone(), value);
        }
    }
    attrs
}

fn nic_attrs(name: &str, value: &ObjectValue, node: Option<&str>) -> Vec<(Text, ObjectValue)> {
    let entry = |(nic, text): (&str, &str)| {
        let text = node.map_or_else(|| text.to_owned(), |node| expand_entry(text, node));
        let value = ObjectValue { value: text.into(), line: value.line };
        (!value.value.is_empty()).then(|| (format!("{name}.{nic}").into(), value))
    };
    nic_entries(&value.value).into_iter().filter_map(entry).collect()
}

/// A node: its attributes are resolved, a table is asked once for all its columns.
struct Resolving<'a> {
    snapshot: &'a Snapshot,
    name: &'a str,
    selection: &'a Selection,
    /// The rows of each table of the selection, as soon as they were needed.
    rows: Vec<Option<Vec<ResolvedRow>>>,
}

impl Source for Resolving<'_> {
    fn cell(&mut self, line: &Line) -> Option<Text> {
        let (table, cols) = self.selection.tables.get(line.table)?;
        let load = || match self.snapshot.row_count(*table) {
            0 => Vec::new(),
            _ => self.snapshot.attr_rows(self.name, *table, cols),
        };
        let rows = self.rows.get_mut(line.table)?.get_or_insert_with(load);
        let value = |row: &ResolvedRow, wanted: Col| {
            let at = cols.iter().position(|col| *col == wanted)?;
            row.get(at)?.as_ref().map(|found| found.value.clone())
        };
        let fits = |row: &ResolvedRow| {
            line.attr.lookup.iter().all(|(col, wanted)| match wanted {
                LookupValue::Name => true,
                LookupValue::Text(text) => value(row, *col).is_some_and(|found| &*found == *text),
            })
        };
        let row = rows.iter().find(|row| fits(row))?;
        value(row, line.attr.col)
    }
}

/// Any other object: the last enabled row that fits.
struct Plain<'a> {
    snapshot: &'a Snapshot,
    name: &'a str,
    rows: HashMap<(TableId, Option<&'static str>), Option<Row>>,
}

impl Source for Plain<'_> {
    fn cell(&mut self, line: &Line) -> Option<Text> {
        let line = line.attr;
        let table = line.col.table;
        let fixed = line.lookup.iter().find_map(|(_, v)| match v {
            LookupValue::Text(text) => Some(*text),
            LookupValue::Name => None,
        });
        let wanted: Vec<(Col, &str)> = line
            .lookup
            .iter()
            .map(|(col, v)| match v {
                LookupValue::Name => (*col, self.name),
                LookupValue::Text(text) => (*col, *text),
            })
            .collect();
        let find = || self.snapshot.find_rows(&wanted).into_iter().rfind(|row| row.enabled(table));
        let row = self.rows.entry((table, fixed)).or_insert_with(find);
        row.as_ref()?.get(line.col).cloned()
    }
}

impl Snapshot {
    /// One attribute of a node, by its name in object commands: what dynamic groups and `-w` compare.
    pub fn node_object_attr(&self, node: &str, attr: &str) -> Option<Text> {
        match attr {
            "node" => Some(node.into()),
            "groups" => self.groups_text(node),
            _ => {
                let kind = super::object_type("node")?;
                let mut lines = kind.lines(attr);
                if let (Some(line), None) = (lines.next(), lines.next())
                    && line.only_if.is_none()
                    && line.lookup.len() == 1
                    && line.col != KNOWN.groups
                    && !NIC_COLUMNS.contains(&attr)
                {
                    return self.attr(node, line.col);
                }
                self.attributes(&Selection::of(kind, &[attr]), node).remove(attr).map(|v| v.value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object_type;
    use super::*;

    fn show(snapshot: &Snapshot, kind: &str, name: &str) -> String {
        let Some(object) = snapshot.object(object_type(kind).unwrap(), name) else { return "-".into() };
        object.attrs.iter().map(|(k, v)| format!("{k}={}", v.value)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn objects() {
        type Cells = &'static [(&'static str, &'static str)];
        let rows: &[(&str, Cells)] = &[
            ("nodelist", &[("node", "n12"), ("groups", "g,all")]),
            ("nodehm", &[("node", "g"), ("mgt", "ipmi"), ("cons", "|c-($1)|")]),
            ("ipmi", &[("node", "g"), ("bmc", r"/\z/-bmc/")]),
            ("openbmc", &[("node", "g"), ("bmc", "other")]),
            ("ppc", &[("node", "n12"), ("id", "7")]),
            ("mp", &[("node", "n12"), ("id", "8")]),
            ("nics", &[("node", "g"), ("nicips", r"eth0!1.1.1.1|2.2.2.2,ib0!|\D+(\d+).*$|10.9.0.($1)|")]),
            ("ppcdirect", &[("hcp", "n12"), ("username", "HMC"), ("password", "x")]),
            ("site", &[("key", "domain"), ("value", "dom")]),
            ("site", &[("key", "off"), ("value", "dom"), ("disable", "1")]),
            ("osimage", &[("imagename", "i"), ("imagetype", "linux"), ("provmethod", "netboot")]),
            ("linuximage", &[("imagename", "i"), ("rootimgdir", "/r"), ("comments", "hi")]),
            ("nimimage", &[("imagename", "i"), ("spot", "no")]),
            ("monitoring", &[("name", "m"), ("nodestatmon", "y")]),
            ("monsetting", &[("name", "m"), ("key", "k"), ("value", "v")]),
            ("monsetting", &[("name", "lost"), ("key", "k"), ("value", "v")]),
            ("networks", &[("net", "10.0.0.0"), ("mask", "255.0.0.0"), ("netname", "x"), ("comments", "c")]),
        ];
        let snapshot = Snapshot::from_rows(rows.iter().copied());
        for (kind, name, expect) in [
            (
                "node",
                "n12",
                "bmc=n12-bmc cons=c-12 groups=g,all id=7 mgt=ipmi nicips.eth0=1.1.1.1|2.2.2.2 nicips.ib0=10.9.0.12 slotid=8",
            ),
            (
                "group",
                "g",
                r"bmc=/\z/-bmc/ cons=|c-($1)| mgt=ipmi nicips.eth0=1.1.1.1|2.2.2.2 nicips.ib0=|\D+(\d+).*$|10.9.0.($1)|",
            ),
            ("group", "nowhere", "-"),
            ("site", "clustersite", "domain=dom"),
            ("osimage", "i", "imagetype=linux provmethod=netboot rootimgdir=/r usercomment=hi"),
            ("monitoring", "m", "k=v"),
            ("monitoring", "lost", "-"),
            ("network", "x", "mask=255.0.0.0 net=10.0.0.0 usercomment=c"),
            ("node", "n13", "-"),
        ] {
            assert_eq!(show(&snapshot, kind, name), expect, "{kind} {name}");
        }
        let node = object_type("node").unwrap();
        let only = |wanted: &[&str]| {
            let object = snapshot.select(&Selection::of(node, wanted), "n12").unwrap();
            object.attrs.keys().map(|k| k.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(only(&["bmc"]), "bmc");
        assert_eq!(only(&["nicips"]), "nicips.eth0 nicips.ib0");
        assert_eq!(only(&["nicips.ib0", "cons"]), "cons nicips.ib0");
        assert_eq!(snapshot.node_object_attr("n12", "bmc").as_deref(), Some("n12-bmc"));
        assert_eq!(snapshot.node_object_attr("n12", "node").as_deref(), Some("n12"));
    }
}
