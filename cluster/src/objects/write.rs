//! Objects written: attribute assignments become row edits.
//!
//! Nothing here writes. The result is a list of [`Edit`]s for a [`Change`](crate::Change), and the errors of
//! what could not be turned into one; whether the good part is written in spite of errors is the command's
//! choice (`chdef` does, `mkdef` does not).

use super::{LookupValue, NIC_COLUMNS, ObjectAttr, ObjectType, Selection, has_word, nic_merge, object_type};
use crate::change::Draft;
use crate::edit::{Edit, EditError};
use crate::groups::GroupKind;
use crate::list;
use crate::nics::split_nic_attr;
use crate::row::Text;
use crate::schema::{Col, TableId};
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// How an attribute changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assign {
    /// `attr=value`; an empty value stores an empty text.
    Set(String),
    /// `-p`: add list elements that are not there.
    Add(String),
    /// `-m`: remove list elements.
    Remove(String),
}

/// What is wrong with an assignment, in the words that commands print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The type has no such attribute.
    #[error("'{attr}' is not a valid attribute name for an object type of '{kind}'.")]
    UnknownAttr {
        /// The attribute.
        attr: String,
        /// The object type.
        kind: &'static str,
    },
    /// The attribute exists only together with values of another one.
    #[error("Cannot set the attr='{attr}' attribute unless {on} value is {}.", .words.join(" or "))]
    OnlyIf {
        /// The attribute.
        attr: String,
        /// The attribute it depends on.
        on: &'static str,
        /// Values that allow it, sorted.
        words: Vec<&'static str>,
    },
    /// Removing from nothing.
    #[error("No value got for attribute '{attr}' for the '{name}' definition.")]
    NoValue {
        /// The attribute.
        attr: String,
        /// The object.
        name: String,
    },
    /// Removing what is not in the list.
    #[error("{element} is not in the attribute of '{attr}' for the '{name}' definition.")]
    NotInList {
        /// The element.
        element: String,
        /// The attribute.
        attr: String,
        /// The object.
        name: String,
    },
    /// `-p` and `-m` do not work on single NICs.
    #[error("The '-p' and '-m' options are not valid for the nic attribute '{attr}'.")]
    NicList {
        /// The attribute.
        attr: String,
    },
    /// Renaming what is not there.
    #[error("The {name} is not a valid object.")]
    NoSuchObject {
        /// The object.
        name: String,
    },
    /// Renaming to a name that is taken.
    #[error("Object {name} already exists.")]
    Exists {
        /// The name.
        name: String,
    },
}

/// Edits and errors of assignments.
#[derive(Clone, Debug, Default)]
pub struct ObjectPlan {
    /// What can be written.
    pub edits: Vec<Edit>,
    /// What cannot.
    pub errors: Vec<ObjectError>,
}

/// Assignments of one object on the way to edits.
struct Writer<'a> {
    snapshot: &'a Snapshot,
    kind: &'static ObjectType,
    name: &'a str,
    /// Final values of this request.
    values: BTreeMap<String, String>,
    errors: Vec<ObjectError>,
}

impl Snapshot {
    /// The edits that give an object these attribute values. The object need not exist.
    ///
    /// `whole_nics`: the given `nicips.eth0=…` are all NICs of that column (stanza files); otherwise they are
    /// merged with the NICs that are stored or inherited.
    pub fn set_object(
        &self,
        kind: &'static ObjectType,
        name: &str,
        assigns: &[(String, Assign)],
        whole_nics: bool,
    ) -> ObjectPlan {
        let mut writer = Writer { snapshot: self, kind, name, values: BTreeMap::new(), errors: Vec::new() };
        for (attr, assign) in assigns {
            writer.assign(attr, assign, whole_nics);
        }
        let edits = match kind.name {
            "site" => writer.pair_edits("site.key", "site.value", None),
            "monitoring" => writer.pair_edits("monsetting.key", "monsetting.value", Some("monsetting.name")),
            _ => writer.row_edits(),
        };
        ObjectPlan { edits, errors: writer.errors }
    }

    /// The edits that remove an object: its rows in every table of the type; a static group leaves its
    /// members' lists.
    pub fn delete_object(&self, kind: &'static ObjectType, name: &str) -> Vec<Edit> {
        let mut edits = match kind.name {
            "group" => self.leave_group(name, &self.nodes_listing_group(name)),
            _ => Vec::new(),
        };
        edits.extend(self.delete_rows(kind, name));
        edits
    }

    /// The same, but a group keeps its members.
    pub fn delete_rows(&self, kind: &'static ObjectType, name: &str) -> Vec<Edit> {
        let mut edits = Vec::new();
        match kind.name {
            "site" => return vec![Edit::Delete { table: KNOWN.site, keys: Vec::new() }],
            "monitoring" => {
                let col = Col::known("monsetting.name");
                edits.push(Edit::Delete { table: col.table, keys: vec![(col, name.into())] });
            }
            _ => {}
        }
        let delete = |keys: Vec<(Col, Text)>| Some(Edit::Delete { table: keys.first()?.0.table, keys });
        edits.extend(row_keys(kind, name).into_iter().filter_map(delete));
        edits
    }

    /// The snapshot as it would be after [`delete_rows`](Self::delete_rows) of these objects, whatever the
    /// rules say about it: what is made in their place in the same change is seen by the rules together with
    /// the removal.
    pub fn without_objects<'a>(
        &self,
        objects: impl IntoIterator<Item = (&'static ObjectType, &'a str)>,
    ) -> Result<Snapshot, EditError> {
        let mut draft = Draft::new(self);
        for (kind, name) in objects {
            self.delete_rows(kind, name).iter().try_for_each(|edit| draft.apply(edit))?;
        }
        Ok(draft.finish(self.seq + 1).1)
    }

    /// The edits that give an object another name, in every table of its type and, for a group, in its
    /// members' lists.
    pub fn rename_object(
        &self,
        kind: &'static ObjectType,
        from: &str,
        to: &str,
    ) -> Result<Vec<Edit>, ObjectError> {
        if !self.has_object(kind, from) || kind.name == "site" {
            return Err(ObjectError::NoSuchObject { name: from.to_owned() });
        }
        if self.has_object(kind, to) {
            return Err(ObjectError::Exists { name: to.to_owned() });
        }
        let mut key_cols: BTreeSet<Col> = BTreeSet::new();
        for line in &kind.attrs {
            key_cols.extend(line.lookup.iter().filter(|(_, v)| *v == LookupValue::Name).map(|(c, _)| *c));
        }
        if kind.name == "monitoring" {
            key_cols.insert(Col::known("monsetting.name"));
        }
        let has_rows = |col: &Col| !self.find_rows(&[(*col, from)]).is_empty();
        let rename = |col: Col| Edit::Set {
            table: col.table,
            keys: vec![(col, from.into())],
            values: vec![(col, Some(to.into()))],
        };
        let mut edits: Vec<Edit> = key_cols.into_iter().filter(has_rows).map(rename).collect();
        if kind.name == "group" {
            let list = |groups: &str| {
                let names = groups.split(',').map(|name| if name == from { to } else { name });
                names.collect::<Vec<_>>().join(",")
            };
            edits.extend(self.regroup(&self.nodes_listing_group(from), list));
        }
        Ok(edits)
    }

    /// The edits that add the group at the end of these nodes' group lists.
    pub fn join_group(&self, group: &str, nodes: &[Text]) -> Vec<Edit> {
        self.regroup(nodes, |groups| list::add(groups, group, ","))
    }

    /// The edits that take the group out of these nodes' group lists.
    pub fn leave_group(&self, group: &str, nodes: &[Text]) -> Vec<Edit> {
        self.regroup(nodes, |groups| list::remove(groups, group, ","))
    }

    /// The edits that make exactly these nodes the members of a static group.
    pub fn set_members(&self, group: &str, nodes: &[Text]) -> Vec<Edit> {
        let wanted: BTreeSet<&Text> = nodes.iter().collect();
        let leaving: Vec<Text> =
            self.nodes_listing_group(group).into_iter().filter(|n| !wanted.contains(n)).collect();
        let mut edits = self.leave_group(group, &leaving);
        edits.extend(self.join_group(group, nodes));
        edits
    }

    /// The edit that makes a group known.
    pub fn define_group(&self, group: &str, kind: &GroupKind) -> Edit {
        let (word, wherevals) = match kind {
            GroupKind::Static => ("static", None),
            GroupKind::Dynamic(wherevals) => ("dynamic", Some(wherevals.clone())),
        };
        let cell = |name, value| (Col::known(name), Some(value));
        let mut values =
            vec![cell("nodegroup.grouptype", word.into()), cell("nodegroup.members", word.into())];
        values.extend(wherevals.map(|w| cell("nodegroup.wherevals", w)));
        let key = Col::known("nodegroup.groupname");
        Edit::Set { table: key.table, keys: vec![(key, group.into())], values }
    }

    fn regroup(&self, nodes: &[Text], change: impl Fn(&str) -> String) -> Vec<Edit> {
        let Some(node_col) = KNOWN.nodelist.info().node_col() else { return Vec::new() };
        let edit = |node: &Text| {
            let old = self.groups_text(node).unwrap_or_default();
            let new = change(&old);
            (new != *old).then(|| Edit::Set {
                table: KNOWN.nodelist,
                keys: vec![(node_col, node.clone())],
                values: vec![(KNOWN.groups, Some(new.into()))],
            })
        };
        nodes.iter().filter_map(edit).collect()
    }
}

/// The distinct keys by which rows of an object are found.
fn row_keys(kind: &'static ObjectType, name: &str) -> Vec<Vec<(Col, Text)>> {
    let mut keys: Vec<Vec<(Col, Text)>> = Vec::new();
    for line in &kind.attrs {
        let key = key_of(line, name);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn key_of(line: &ObjectAttr, name: &str) -> Vec<(Col, Text)> {
    let text = |value: &LookupValue| match value {
        LookupValue::Name => name.into(),
        LookupValue::Text(text) => (*text).into(),
    };
    line.lookup.iter().map(|(col, value)| (*col, text(value))).collect()
}

impl Writer<'_> {
    fn assign(&mut self, attr: &str, assign: &Assign, whole_nics: bool) {
        if !self.kind.has_attr(attr) {
            self.errors.push(ObjectError::UnknownAttr { attr: attr.to_owned(), kind: self.kind.name });
            return;
        }
        if let Some((base, nic)) = split_nic_attr(attr).filter(|_| !self.kind.takes_any_attr()) {
            let Assign::Set(value) = assign else {
                self.errors.push(ObjectError::NicList { attr: attr.to_owned() });
                return;
            };
            let column = match self.values.get(base) {
                Some(column) => column.clone(),
                None if whole_nics => String::new(),
                None => self.stored_column(base),
            };
            self.values.insert(base.to_owned(), nic_merge(&column, nic, value));
            return;
        }
        match self.final_value(attr, assign) {
            Ok(value) => drop(self.values.insert(attr.to_owned(), value)),
            Err(error) => self.errors.push(error),
        }
    }

    fn final_value(&self, attr: &str, assign: &Assign) -> Result<String, ObjectError> {
        let base = || self.values.get(attr).map(|v| Text::from(v.as_str())).or_else(|| self.stored(attr));
        let delimiter = if attr == "wherevals" { "::" } else { "," };
        match assign {
            Assign::Set(value) => Ok(value.clone()),
            Assign::Add(value) => match base() {
                None if self.kind.takes_any_attr() => Ok(value.clone()),
                // Empty elements are none.
                None => Ok(list::add("", value, delimiter)),
                Some(old) if self.kind.takes_any_attr() => Ok(format!("{old},{value}")),
                Some(old) => Ok(list::add(&old, value, delimiter)),
            },
            Assign::Remove(value) => {
                let (attr, name) = (attr.to_owned(), self.name.to_owned());
                let Some(old) = base() else { return Err(ObjectError::NoValue { attr, name }) };
                match list::missing(&old, value, delimiter) {
                    missing if missing.is_empty() => Ok(list::remove(&old, value, delimiter)),
                    missing => Err(ObjectError::NotInList { element: missing.join(","), attr, name }),
                }
            }
        }
    }

    /// The value now: resolved for nodes.
    fn stored(&self, attr: &str) -> Option<Text> {
        if self.kind.takes_any_attr() {
            return self.snapshot.object(self.kind, self.name)?.get(attr).cloned();
        }
        if NIC_COLUMNS.contains(&attr) {
            return Some(self.stored_column(attr)).filter(|c| !c.is_empty()).map(Text::from);
        }
        if self.kind.is_node() {
            return self.snapshot.node_object_attr(self.name, attr);
        }
        self.snapshot.attributes(&Selection::of(self.kind, &[attr]), self.name).remove(attr).map(|v| v.value)
    }

    /// A NIC column with its templates as they are.
    fn stored_column(&self, base: &str) -> String {
        let Some(col) = crate::schema::schema().find("nics").and_then(|t| t.col(base)) else {
            return String::new();
        };
        if self.kind.is_node() {
            return self.snapshot.attr(self.name, col).map_or_else(String::new, |t| t.to_string());
        }
        let own = self.snapshot.own_rows(col.table, self.name).find_map(|row| row.get(col));
        own.map_or_else(String::new, |t| t.to_string())
    }

    /// The condition holds by the new values, the stored ones, or those of a group named in the new `groups`.
    fn condition_holds(&self, attr: &'static str, word: &str) -> bool {
        if let Some(new) = self.values.get(attr) {
            return has_word(new, word);
        }
        let has = |value: Option<Text>| value.is_some_and(|v| has_word(&v, word));
        if has(self.stored(attr)) {
            return true;
        }
        let groups = self.values.get("groups").map_or("", String::as_str);
        let Some(kind) = object_type("group").filter(|_| self.kind.is_node()) else { return false };
        let mut groups = groups.split(',').filter(|g| !g.is_empty());
        let selection = Selection::of(kind, &[attr]);
        groups.any(|g| has(self.snapshot.attributes(&selection, g).remove(attr).map(|v| v.value)))
    }

    fn row_edits(&mut self) -> Vec<Edit> {
        type RowKey = (TableId, Vec<(Col, Text)>);
        let mut rows: BTreeMap<RowKey, Vec<(Col, Option<Text>)>> = BTreeMap::new();
        let values = std::mem::take(&mut self.values);
        self.values.clone_from(&values);
        for (attr, value) in &values {
            let applies = |line: &&'static ObjectAttr| {
                line.only_if.is_none_or(|(on, word)| self.condition_holds(on, word))
            };
            let lines: Vec<&'static ObjectAttr> = self.kind.lines(attr).filter(applies).collect();
            if lines.is_empty() {
                self.errors.push(self.only_if_error(attr));
            }
            for line in lines {
                let row = rows.entry((line.col.table, key_of(line, self.name))).or_default();
                let is_key = row_key_has(&key_of(line, self.name), line.col);
                if !is_key {
                    row.push((line.col, Some(value.as_str().into())));
                }
            }
        }
        rows.into_iter().map(|((table, keys), values)| Edit::Set { table, keys, values }).collect()
    }

    fn only_if_error(&self, attr: &str) -> ObjectError {
        let conditions: Vec<_> = self.kind.lines(attr).filter_map(|line| line.only_if).collect();
        let on = conditions.first().map_or("", |(on, _)| on);
        let words: BTreeSet<&'static str> = conditions.iter().map(|(_, word)| *word).collect();
        ObjectError::OnlyIf { attr: attr.to_owned(), on, words: words.into_iter().collect() }
    }

    /// Attributes that are separate rows; an empty value deletes the row.
    fn pair_edits(&self, key: &'static str, value: &'static str, owner: Option<&'static str>) -> Vec<Edit> {
        let (key, value) = (Col::known(key), Col::known(value));
        let owner = owner.map(|col| (Col::known(col), Text::from(self.name)));
        let mut edits = Vec::new();
        for (attr, text) in &self.values {
            if let Some(line) = self.kind.lines(attr).next().filter(|_| self.kind.name == "monitoring") {
                let values = vec![(line.col, Some(text.as_str().into()))];
                edits.push(Edit::Set { table: line.col.table, keys: key_of(line, self.name), values });
                continue;
            }
            let keys: Vec<_> = owner.clone().into_iter().chain([(key, attr.as_str().into())]).collect();
            edits.push(if text.is_empty() {
                Edit::Delete { table: key.table, keys }
            } else {
                Edit::Set { table: key.table, keys, values: vec![(value, Some(text.as_str().into()))] }
            });
        }
        edits
    }
}

fn row_key_has(keys: &[(Col, Text)], col: Col) -> bool {
    keys.iter().any(|(k, _)| *k == col)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::RowChange;

    type Cells = &'static [(&'static str, &'static str)];

    const ROWS: &[(&str, Cells)] = &[
        ("nodelist", &[("node", "n1"), ("groups", "ipmigrp,all")]),
        ("nodelist", &[("node", "n2"), ("groups", "all")]),
        ("nodehm", &[("node", "ipmigrp"), ("mgt", "ipmi")]),
        ("nodehm", &[("node", "n2"), ("mgt", "openbmc")]),
        ("nics", &[("node", "ipmigrp"), ("nicips", r"eth0!1.1.1.1,ib0!|\D+(\d+)|10.9.0.($1)|")]),
        ("postscripts", &[("node", "all"), ("postscripts", "a,b")]),
        ("site", &[("key", "domain"), ("value", "dom")]),
        ("site", &[("key", "list"), ("value", "a")]),
    ];

    fn snapshot() -> Snapshot {
        Snapshot::from_rows(ROWS.iter().copied())
    }

    fn show(rows: Vec<RowChange>) -> String {
        let cell = |(c, _, new): &(Col, Option<Text>, Option<Text>)| {
            format!("{}={}", c.name(), new.as_deref().unwrap_or("NULL"))
        };
        let row = |r: &RowChange| {
            let cells: Vec<_> = r.cells.iter().map(cell).collect();
            format!("{}[{}] {}", r.table, r.key.join(","), cells.join(" "))
        };
        rows.iter().map(row).collect::<Vec<_>>().join("; ")
    }

    fn set(kind: &str, name: &str, assigns: &[(&str, Assign)]) -> String {
        let snapshot = snapshot();
        let assigns: Vec<_> = assigns.iter().map(|(a, v)| ((*a).to_owned(), v.clone())).collect();
        let plan = snapshot.set_object(object_type(kind).unwrap(), name, &assigns, false);
        let errors = plan.errors.iter().map(|e| format!(" E: {e}")).collect::<String>();
        show(snapshot.preview(&plan.edits).unwrap()) + &errors
    }

    fn to(value: &str) -> Assign {
        Assign::Set(value.into())
    }

    #[test]
    fn assignments() {
        let (add, remove) = (|v: &str| Assign::Add(v.into()), |v: &str| Assign::Remove(v.into()));
        for (kind, name, assigns, expect) in [
            ("node", "n1", vec![("arch", to("x86_64"))], "nodetype[n1] node=n1 arch=x86_64"),
            ("node", "n1", vec![("bmc", to("b"))], "ipmi[n1] node=n1 bmc=b"),
            ("node", "n2", vec![("bmc", to("b"))], "openbmc[n2] node=n2 bmc=b"),
            (
                "node",
                "new",
                vec![("groups", to("ipmigrp")), ("bmc", to("b"))],
                "ipmi[new] node=new bmc=b; nodelist[new] node=new groups=ipmigrp",
            ),
            (
                "node",
                "new",
                vec![("groups", to("all")), ("bmc", to("b"))],
                "nodelist[new] node=new groups=all E: Cannot set the attr='bmc' attribute unless mgt value is ipmi or openbmc.",
            ),
            (
                "node",
                "n1",
                vec![("what", to("b"))],
                " E: 'what' is not a valid attribute name for an object type of 'node'.",
            ),
            ("node", "n1", vec![("postscripts", add("b,c"))], "postscripts[n1] node=n1 postscripts=a,b,c"),
            ("node", "n1", vec![("postscripts", remove("a"))], "postscripts[n1] node=n1 postscripts=b"),
            (
                "node",
                "n1",
                vec![("postscripts", remove("z"))],
                " E: z is not in the attribute of 'postscripts' for the 'n1' definition.",
            ),
            (
                "node",
                "n1",
                vec![("os", remove("z"))],
                " E: No value got for attribute 'os' for the 'n1' definition.",
            ),
            (
                "node",
                "n1",
                vec![("nicips.eth1", to("2.2.2.2")), ("nicips.eth0", to(""))],
                r"nics[n1] node=n1 nicips=ib0!|\D+(\d+)|10.9.0.($1)|,eth1!2.2.2.2",
            ),
            (
                "node",
                "n1",
                vec![("nicips.eth1", add("x"))],
                " E: The '-p' and '-m' options are not valid for the nic attribute 'nicips.eth1'.",
            ),
            (
                "site",
                SITE,
                vec![("domain", to("")), ("x", to("y"))],
                "site[domain] key=NULL value=NULL; site[x] key=x value=y",
            ),
            ("site", SITE, vec![("list", add("b"))], "site[list] value=a,b"),
            (
                "osimage",
                "i",
                vec![("imagetype", to("linux")), ("pkglist", to("/p"))],
                "linuximage[i] imagename=i pkglist=/p; osimage[i] imagename=i imagetype=linux",
            ),
            (
                "monitoring",
                "m",
                vec![("nodestatmon", to("y")), ("k", to("v"))],
                "monsetting[m,k] name=m key=k value=v; monitoring[m] name=m nodestatmon=y",
            ),
            (
                "network",
                "x",
                vec![("net", to("10.0.0.0")), ("mask", to("255.0.0.0"))],
                "networks[10.0.0.0,255.0.0.0] netname=x net=10.0.0.0 mask=255.0.0.0",
            ),
            ("group", "ipmigrp", vec![("mgt", to("blade"))], "nodehm[ipmigrp] mgt=blade"),
        ] {
            assert_eq!(set(kind, name, &assigns), expect, "{kind} {name} {assigns:?}");
        }
    }

    const SITE: &str = super::super::SITE_OBJECT;

    #[test]
    fn removal_renaming_membership() {
        let snapshot = snapshot();
        let node = object_type("node").unwrap();
        let group = object_type("group").unwrap();
        let see = |edits: Vec<Edit>| show(snapshot.preview(&edits).unwrap());
        assert_eq!(
            see(snapshot.delete_object(node, "n2")),
            "nodelist[n2] node=NULL groups=NULL; nodehm[n2] node=NULL mgt=NULL"
        );
        assert!(
            see(snapshot.delete_object(group, "ipmigrp"))
                .starts_with("nodelist[n1] groups=all; nodehm[ipmigrp]")
        );
        assert_eq!(
            see(snapshot.rename_object(node, "n2", "n3").unwrap()),
            "nodehm[n2] node=n3; nodelist[n2] node=n3"
        );
        let renamed = see(snapshot.rename_object(group, "ipmigrp", "bmcs").unwrap());
        assert!(renamed.contains("nodelist[n1] groups=") && renamed.contains("bmcs"), "{renamed}");
        assert!(snapshot.rename_object(node, "n2", "n1").is_err());
        assert!(snapshot.rename_object(node, "n9", "n10").is_err());
        assert_eq!(
            see(snapshot.set_members("ipmigrp", &["n2".into()])),
            "nodelist[n1] groups=all; nodelist[n2] groups=all,ipmigrp"
        );
        assert_eq!(
            see(vec![snapshot.define_group("g", &GroupKind::Dynamic("mgt==ipmi".into()))]),
            "nodegroup[g] groupname=g grouptype=dynamic members=dynamic wherevals=mgt==ipmi"
        );
    }
}
