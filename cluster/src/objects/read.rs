//! Objects read from a snapshot.

use super::{LookupValue, ObjectAttr, ObjectType, SITE_OBJECT, has_word};
use crate::nics::{NIC_COLUMNS, expand_entry, nic_entries, split_nic_attr};
use crate::row::{Row, Text};
use crate::schema::{Col, TableId};
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An attribute's value and where it stands.
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

/// How the cells of an object are found.
trait Source {
    fn cell(&mut self, line: &'static ObjectAttr) -> Option<Text>;
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
        self.object_with(kind, name, None)
    }

    /// An object with these attributes only (`nicips` means all its NICs, `nicips.eth0` the one).
    pub fn object_with(
        &self,
        kind: &'static ObjectType,
        name: &str,
        wanted: Option<&[&str]>,
    ) -> Option<Object> {
        if !self.has_object(kind, name) {
            return None;
        }
        let attrs = match kind.name {
            "site" => self.pairs("site.key", "site.value", None),
            "monitoring" => self.pairs("monsetting.key", "monsetting.value", Some(("monsetting.name", name))),
            _ => self.attributes(kind, name, wanted),
        };
        let is_wanted = |attr: &Text| {
            let base = split_nic_attr(attr).map_or(&**attr, |(base, _)| base);
            wanted.is_none_or(|w| w.iter().any(|x| *x == &**attr || *x == base))
        };
        let attrs = attrs.into_iter().filter(|(attr, _)| is_wanted(attr)).collect();
        Some(Object { kind, name: name.into(), attrs })
    }

    /// One attribute of an object.
    pub fn object_attr(&self, kind: &'static ObjectType, name: &str, attr: &str) -> Option<Text> {
        let object = self.object_with(kind, name, Some(&[attr]))?;
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

    pub(crate) fn attributes(
        &self,
        kind: &'static ObjectType,
        name: &str,
        wanted: Option<&[&str]>,
    ) -> BTreeMap<Text, ObjectValue> {
        let needed = wanted.map(|w| needed_attrs(kind, w));
        let is_needed = |line: &&ObjectAttr| {
            line.name != kind.key && needed.as_ref().is_none_or(|n| n.contains(line.name))
        };
        let lines: Vec<&'static ObjectAttr> = kind.attrs.iter().filter(is_needed).collect();
        if kind.is_node() {
            collect(
                &lines,
                &mut Resolving { snapshot: self, name, rows: HashMap::new(), lines: &lines },
                Some(name),
            )
        } else {
            collect(&lines, &mut Plain { snapshot: self, name, rows: HashMap::new() }, None)
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
    lines: &[&'static ObjectAttr],
    source: &mut dyn Source,
    node: Option<&str>,
) -> BTreeMap<Text, ObjectValue> {
    let mut found: HashMap<&'static str, ObjectValue> = HashMap::new();
    for line in lines {
        let holds = |(attr, word): (&str, &str)| found.get(attr).is_some_and(|v| has_word(&v.value, word));
        if line.only_if.is_some_and(|condition| !holds(condition)) {
            continue;
        }
        if let Some(value) = source.cell(line) {
            found.insert(line.name, ObjectValue { value, line: Some(line) });
        }
    }
    let mut attrs = BTreeMap::new();
    for (name, value) in found {
        if NIC_COLUMNS.contains(&name) {
            attrs.extend(nic_attrs(name, &value, node));
        } else {
            attrs.insert(Text::from(name), value);
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

/// A result row: wanted columns and their values.
type ValueRow = Vec<(Col, Option<Text>)>;

/// A node: its attributes are resolved, a table is asked once for all its columns.
struct Resolving<'a> {
    snapshot: &'a Snapshot,
    name: &'a str,
    rows: HashMap<TableId, Vec<ValueRow>>,
    lines: &'a [&'static ObjectAttr],
}

impl Resolving<'_> {
    fn load(&self, table: TableId) -> Vec<ValueRow> {
        let snapshot = self.snapshot;
        if snapshot.row_count(table) == 0 {
            return Vec::new();
        }
        let mut cols: Vec<Col> = Vec::new();
        for line in self.lines.iter().filter(|line| line.col.table == table) {
            let conditions = line.lookup.iter().filter(|(_, v)| *v != LookupValue::Name).map(|(c, _)| *c);
            for col in conditions.chain([line.col]) {
                if !cols.contains(&col) {
                    cols.push(col);
                }
            }
        }
        let rows = snapshot.attr_rows(self.name, table, &cols);
        let values = |row: Vec<Option<crate::Resolved>>| {
            cols.iter().copied().zip(row).map(|(c, v)| (c, v.map(|v| v.value))).collect()
        };
        rows.into_iter().map(values).collect()
    }
}

impl Source for Resolving<'_> {
    fn cell(&mut self, line: &'static ObjectAttr) -> Option<Text> {
        let table = line.col.table;
        if !self.rows.contains_key(&table) {
            self.rows.insert(table, self.load(table));
        }
        let value = |row: &[(Col, Option<Text>)], col: Col| row.iter().find(|(c, _)| *c == col)?.1.clone();
        let fits = |row: &[(Col, Option<Text>)]| {
            line.lookup.iter().all(|(col, wanted)| match wanted {
                LookupValue::Name => true,
                LookupValue::Text(text) => value(row, *col).is_some_and(|v| &*v == *text),
            })
        };
        let row = self.rows.get(&table)?.iter().find(|row| fits(row))?;
        value(row, line.col)
    }
}

/// Any other object: the last enabled row that fits.
struct Plain<'a> {
    snapshot: &'a Snapshot,
    name: &'a str,
    rows: HashMap<(TableId, Option<&'static str>), Option<Row>>,
}

impl Source for Plain<'_> {
    fn cell(&mut self, line: &'static ObjectAttr) -> Option<Text> {
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
                self.attributes(kind, node, Some(&[attr])).remove(attr).map(|v| v.value)
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
            let object = snapshot.object_with(node, "n12", Some(wanted)).unwrap();
            object.attrs.keys().map(|k| k.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(only(&["bmc"]), "bmc");
        assert_eq!(only(&["nicips"]), "nicips.eth0 nicips.ib0");
        assert_eq!(only(&["nicips.ib0", "cons"]), "cons nicips.ib0");
        assert_eq!(snapshot.node_object_attr("n12", "bmc").as_deref(), Some("n12-bmc"));
        assert_eq!(snapshot.node_object_attr("n12", "node").as_deref(), Some("n12"));
    }
}
