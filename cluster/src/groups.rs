//! Groups: static ones are names in `nodelist.groups`, dynamic ones are conditions on attributes.
//!
//! A row of `nodegroup` makes a group exist even without members. `grouptype=dynamic` with `wherevals` makes
//! it dynamic; a dynamic group shadows a static one of the same name. Conditions compare object attributes,
//! resolved through (static) groups and templates; a node without the attribute never matches, not even with
//! `!=`. Membership in a dynamic group gives a node no attributes.

use crate::condition::{Condition, ConditionError, OF_ATTRIBUTES, Test};
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::secrets::{self, Sensitivity};
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

struct GroupCols {
    name: Col,
    kind: Col,
    wherevals: Col,
}

static COLS: LazyLock<GroupCols> = LazyLock::new(|| GroupCols {
    name: Col::known("nodegroup.groupname"),
    kind: Col::known("nodegroup.grouptype"),
    wherevals: Col::known("nodegroup.wherevals"),
});

/// Conditions that must all hold, as `-w` options and `nodegroup.wherevals` (joined by `::`) state them.
/// Of several conditions on one attribute the last counts.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    by_attr: BTreeMap<String, Test>,
}

impl Conditions {
    /// From single conditions.
    pub fn parse<'a>(conditions: impl IntoIterator<Item = &'a str>) -> Result<Self, ConditionError> {
        let one = |text| Condition::parse(text, OF_ATTRIBUTES).map(|c| (c.subject.trim().to_owned(), c.test));
        Ok(Self { by_attr: conditions.into_iter().map(one).collect::<Result<_, _>>()? })
    }

    /// From a `wherevals` cell.
    pub fn parse_wherevals(text: &str) -> Result<Self, ConditionError> {
        Self::parse(text.split("::").filter(|part| !part.is_empty()))
    }

    /// The attributes that are compared.
    pub fn attrs(&self) -> impl Iterator<Item = &str> {
        self.by_attr.keys().map(String::as_str)
    }

    /// An attribute that is compared holds secrets.
    pub fn compare_secrets(&self) -> bool {
        self.attrs().any(|attr| secrets::of_name(attr) == Sensitivity::Secret)
    }

    /// All hold for an object whose attributes `get` gives; an attribute without value never matches.
    pub fn hold(&self, get: impl Fn(&str) -> Option<Text>) -> bool {
        self.by_attr.iter().all(|(attr, test)| get(attr).is_some_and(|value| test.holds(&value)))
    }
}

/// What kind of group a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupKind {
    /// Members have the name in their group list.
    Static,
    /// Members meet the conditions of this `wherevals` text.
    Dynamic(Text),
}

impl Snapshot {
    /// The name is a group's, and of which kind.
    pub fn group_kind(&self, name: &str) -> Option<GroupKind> {
        let row =
            (self.row_count(COLS.name.table) > 0).then(|| self.find_row(&[(COLS.name, name)])).flatten();
        if let Some(wherevals) = row.as_ref().and_then(dynamic) {
            return Some(GroupKind::Dynamic(wherevals));
        }
        (row.is_some() || self.is_listed_group(name)).then_some(GroupKind::Static)
    }

    /// The name is a group's.
    pub fn is_group(&self, name: &str) -> bool {
        !name.is_empty() && self.group_kind(name).is_some()
    }

    /// Every group, sorted: rows of `nodegroup` and names in group lists.
    pub fn group_names(&self) -> Vec<Text> {
        let mut names: BTreeSet<Text> =
            self.enabled_rows(COLS.name.table).filter_map(|r| r.get(COLS.name)).cloned().collect();
        let mut seen: BTreeSet<&Text> = BTreeSet::new();
        for groups in self.enabled_rows(KNOWN.nodelist).filter_map(|row| row.get(KNOWN.groups)) {
            if seen.insert(groups) {
                names.extend(groups.split(',').filter(|g| !g.is_empty()).map(Text::from));
            }
        }
        names.into_iter().collect()
    }

    /// The members of a group: of a static one in table order, of a dynamic one sorted. Empty if there is no
    /// such group or its conditions are malformed.
    pub fn group_members(&self, name: &str) -> Vec<Text> {
        match self.group_kind(name) {
            Some(GroupKind::Dynamic(wherevals)) => {
                Conditions::parse_wherevals(&wherevals).map(|c| self.nodes_where(&c)).unwrap_or_default()
            }
            Some(GroupKind::Static) => self.nodes_listing_group(name),
            None => Vec::new(),
        }
    }

    /// The name is a dynamic group's whose conditions look at secrets.
    pub fn selects_by_secret(&self, name: &str) -> bool {
        let Some(GroupKind::Dynamic(wherevals)) = self.group_kind(name) else { return false };
        Conditions::parse_wherevals(&wherevals).is_ok_and(|conditions| conditions.compare_secrets())
    }

    /// The node's attributes meet all conditions.
    pub fn node_meets(&self, node: &str, conditions: &Conditions) -> bool {
        conditions.hold(|attr| self.node_object_attr(node, attr))
    }

    /// The nodes whose attributes meet all conditions, sorted.
    pub fn nodes_where(&self, conditions: &Conditions) -> Vec<Text> {
        self.node_names().filter(|node| self.node_meets(node, conditions)).cloned().collect()
    }
}

fn dynamic(row: &Row) -> Option<Text> {
    let is_dynamic = row.get(COLS.kind).is_some_and(|k| &**k == "dynamic");
    is_dynamic.then(|| row.get(COLS.wherevals).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        type Cells = &'static [(&'static str, &'static str)];
        let rows: &[(&str, Cells)] = &[
            ("nodelist", &[("node", "n1"), ("groups", "compute,all")]),
            ("nodelist", &[("node", "n2"), ("groups", "all")]),
            ("nodelist", &[("node", "n3")]),
            ("nodehm", &[("node", "compute"), ("mgt", "ipmi")]),
            ("nodehm", &[("node", "n2"), ("mgt", "blade")]),
            ("nodegroup", &[("groupname", "dyn"), ("grouptype", "dynamic"), ("wherevals", "mgt==ipmi")]),
            ("nodegroup", &[("groupname", "not"), ("grouptype", "dynamic"), ("wherevals", "mgt!=ipmi")]),
            (
                "nodegroup",
                &[("groupname", "two"), ("grouptype", "dynamic"), ("wherevals", "mgt=~/i|b/::node=~^n[13]$")],
            ),
            ("nodegroup", &[("groupname", "bad"), ("grouptype", "dynamic"), ("wherevals", "mgt")]),
            ("nodegroup", &[("groupname", "all"), ("grouptype", "dynamic"), ("wherevals", "node==n3")]),
            ("nodegroup", &[("groupname", "empty"), ("members", "static")]),
        ];
        let snapshot = Snapshot::from_rows(rows.iter().copied());
        for (group, expect) in [
            ("compute", "n1"),
            ("dyn", "n1"),
            ("not", "n2"),
            ("two", "n1"),
            ("bad", ""),
            ("all", "n3"),
            ("empty", ""),
            ("nosuch", ""),
        ] {
            assert_eq!(snapshot.group_members(group).join(","), expect, "{group}");
        }
        assert_eq!(snapshot.group_names().join(" "), "all bad compute dyn empty not two");
        assert!(snapshot.is_group("empty") && !snapshot.is_group("nosuch") && !snapshot.is_group(""));
    }
}
