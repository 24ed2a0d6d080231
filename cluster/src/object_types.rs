//! The object schema: which attributes a type of object has, and in which columns they live.
//!
//! `schema/objects.tsv` says for every attribute of every object type in which column it lives, how its row
//! is found, and on which other attribute that depends (`only_if`).

use crate::nics::split_nic_attr;
use crate::schema::{Col, TableId, schema};
use std::collections::HashMap;
use std::sync::LazyLock;

const OBJECTS_TSV: &str = include_str!("../schema/objects.tsv");

/// The name of the one object of type `site`.
pub const SITE_OBJECT: &str = "clustersite";

/// What a lookup compares a column with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupValue {
    /// The object's name.
    Name,
    /// A fixed text.
    Text(&'static str),
}

/// A line of the object schema: one place where an attribute may live.
#[derive(Debug)]
pub struct ObjectAttr {
    /// The attribute.
    pub name: &'static str,
    /// Where the value is.
    pub col: Col,
    /// Which row: all must hold, all are columns of `col`'s table.
    pub lookup: Vec<(Col, LookupValue)>,
    /// The line applies if this attribute contains this word.
    pub only_if: Option<(&'static str, &'static str)>,
}

/// A type of object.
#[derive(Debug)]
pub struct ObjectType {
    /// Its name: `node`, `osimage`, …
    pub name: &'static str,
    /// The attribute that holds the object's name.
    pub key: &'static str,
    /// Lines in schema order.
    pub attrs: Vec<ObjectAttr>,
    by_name: HashMap<&'static str, Vec<usize>>,
}

static TYPES: LazyLock<Vec<ObjectType>> = LazyLock::new(|| parse(OBJECTS_TSV));

/// Every object type in schema order.
pub fn object_types() -> &'static [ObjectType] {
    &TYPES
}

/// The object type of that name.
pub fn object_type(name: &str) -> Option<&'static ObjectType> {
    TYPES.iter().find(|t| t.name == name)
}

impl ObjectType {
    /// The lines of an attribute; none if the type does not have it.
    pub fn lines(&self, attr: &str) -> impl Iterator<Item = &ObjectAttr> {
        let at = self.by_name.get(attr).map_or(&[][..], Vec::as_slice);
        at.iter().filter_map(|i| self.attrs.get(*i))
    }

    /// The type has the attribute. `site` and `monitoring` take any name, NIC attributes take `.nic` after
    /// the name.
    pub fn has_attr(&self, attr: &str) -> bool {
        let base = split_nic_attr(attr).map_or(attr, |(base, _)| base);
        self.takes_any_attr() || self.by_name.contains_key(base)
    }

    /// Any attribute name is allowed.
    pub fn takes_any_attr(&self) -> bool {
        matches!(self.name, "site" | "monitoring")
    }

    /// Attribute names, sorted, each once.
    pub fn attr_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.by_name.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// The tables that hold the type's attributes, each once, in schema order.
    pub fn tables(&self) -> Vec<TableId> {
        let mut tables: Vec<TableId> = Vec::new();
        for attr in &self.attrs {
            if !tables.contains(&attr.col.table) {
                tables.push(attr.col.table);
            }
        }
        tables
    }

    /// Attributes are resolved through groups and templates.
    pub(crate) fn is_node(&self) -> bool {
        self.name == "node"
    }

    /// The column that lists the objects of the type: that of the key attribute.
    pub(crate) fn key_col(&self) -> Option<Col> {
        self.lines(self.key).next().map(|line| line.col)
    }
}

/// Lines whose column or lookup column does not exist are left out: `firmware` names one, `zvmivp` has no
/// attributes.
fn parse(text: &'static str) -> Vec<ObjectType> {
    let mut types: Vec<ObjectType> = Vec::new();
    for line in text.lines().skip(1).filter(|l| !l.is_empty()) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or("");
        let (name, key, attr, place, lookup, only_if) = (next(), next(), next(), next(), next(), next());
        if types.last().is_none_or(|t| t.name != name) {
            types.push(ObjectType { name, key, attrs: Vec::new(), by_name: HashMap::new() });
        }
        let Some(kind) = types.last_mut() else { continue };
        if let Some(attr) = attr_line(attr, place, lookup, only_if) {
            kind.by_name.entry(attr.name).or_default().push(kind.attrs.len());
            kind.attrs.push(attr);
        }
    }
    types
}

fn attr_line(
    name: &'static str,
    place: &str,
    lookup: &'static str,
    only_if: &'static str,
) -> Option<ObjectAttr> {
    let col = schema().find_col(place)?;
    let lookup = lookup.split("::").map(|part| lookup_part(col, part)).collect::<Option<Vec<_>>>()?;
    Some(ObjectAttr { name, col, lookup, only_if: only_if.split_once('=') })
}

fn lookup_part(col: Col, part: &'static str) -> Option<(Col, LookupValue)> {
    let (place, value) = part.split_once('=')?;
    let found = schema().find_col(place)?;
    // One line finds its row by another table's node column; what is meant is the own table's.
    let found = if found.table == col.table { found } else { col.table.info().node_col()? };
    let value = match value.split_once(':')? {
        ("attr", _) => LookupValue::Name,
        ("str", text) => LookupValue::Text(text),
        _ => return None,
    };
    Some((found, value))
}

/// `text` contains `word` as a whole word: between characters that are not letters, digits or `_`.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_schema() {
        assert_eq!(object_types().len(), 23);
        let node = object_type("node").unwrap();
        assert_eq!(
            node.lines("bmc").map(|l| l.col.to_string()).collect::<Vec<_>>(),
            ["ipmi.bmc", "openbmc.bmc"]
        );
        assert_eq!(node.lines("bmc").next().unwrap().only_if, Some(("mgt", "ipmi")));
        let hmc = node.lines("passwd.HMC").next().unwrap();
        assert_eq!(hmc.lookup[1], (Col::known("ppcdirect.username"), LookupValue::Text("HMC")));
        assert!(object_type("firmware").unwrap().attrs.is_empty());
        assert!(node.has_attr("nicips.eth0") && !node.has_attr("mgt.eth0"));
        let lines: usize = object_types().iter().map(|t| t.attrs.len()).sum();
        assert_eq!(lines, OBJECTS_TSV.lines().count() - 1 - 3 - 1);
    }

    #[test]
    fn words() {
        for (text, word, expect) in [
            ("ipmi", "ipmi", true),
            ("ppc,osi", "ppc", true),
            ("openbmc", "bmc", false),
            ("a-mm", "mm", true),
            ("", "x", false),
            ("mm_1", "mm", false),
        ] {
            assert_eq!(has_word(text, word), expect, "{text} {word}");
        }
    }
}
