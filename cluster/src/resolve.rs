//! A node's attributes: its own row, then its groups in the order of `nodelist.groups`, then templates.
//!
//! Resolution is per column, not per row. `nodelist` is never inherited. A value that ends in [`NEXT_RECORD`]
//! asks for the next group's value to be appended. Columns listed in `site.hierarchicalattrs` join the values
//! of the node and all its groups. A template that expands to nothing blanks the attribute out: it is removed
//! and the search in later groups is not taken up again.

use crate::row::{Row, Text};
use crate::schema::{AsCol, Col, TableId};
use crate::snapshot::{KNOWN, Snapshot};
use crate::table::GroupRows;
use std::sync::Arc;

/// Marker at the end of a value: append what the next group has.
pub const NEXT_RECORD: &str = "+=NEXTRECORD";

/// Where a resolved value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node's own row.
    Node,
    /// The row of this group.
    Group(Text),
    /// Put together from the node's row (if any) and these groups.
    Joined(Vec<Text>),
}

/// A value with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The value after template expansion, never empty.
    pub value: Text,
    /// Whose row holds it.
    pub source: Source,
}

/// One result row of a resolution: a cell for each wanted column.
pub type ResolvedRow = Vec<Option<Resolved>>;

/// A value before templates.
#[derive(Clone)]
struct Raw {
    text: Text,
    source: Source,
}

impl Snapshot {
    /// A node's attribute. `None` if it is not set anywhere or the column does not exist.
    /// With several rows (composite keys) the first row's value counts.
    pub fn attr(&self, node: &str, col: impl AsCol) -> Option<Text> {
        let col = col.as_col()?;
        self.resolve_one(node, col).map(|found| found.value)
    }

    /// Like [`attr`](Self::attr), and says whose row holds the value (`nodels -b`).
    pub fn attr_with_source(&self, node: &str, col: impl AsCol) -> Option<Resolved> {
        self.resolve_one(node, col.as_col()?)
    }

    /// Several columns of one table at once, by the full rule for composite keys: each result is one row.
    /// `cols` must be of `table`; others come out empty. No result if nothing is set.
    pub fn attr_rows(&self, node: &str, table: TableId, cols: &[Col]) -> Vec<ResolvedRow> {
        let own: Vec<&Row> = self.own_rows(table, node).collect();
        let mut rows: Vec<Vec<Option<Raw>>> = own
            .iter()
            .map(|row| own_cells(row, cols))
            .filter(|cells| cells.iter().any(Option::is_some))
            .collect();
        if table != KNOWN.nodelist {
            self.inherit(node, table, cols, &mut rows);
        }
        let name_col = table.info().node_col();
        rows.into_iter()
            .map(|cells| {
                cells.into_iter().zip(cols).map(|(raw, col)| self.finish(node, *col, raw, name_col)).collect()
            })
            .collect()
    }

    fn resolve_one(&self, node: &str, col: Col) -> Option<Resolved> {
        let table = col.table;
        let own = self.own_rows(table, node).find_map(|row| row.get(col));
        if let Some(text) = own.filter(|text| table == KNOWN.nodelist || !self.asks_for_more(col, text)) {
            let raw = Raw { text: text.clone(), source: Source::Node };
            return self.finish(node, col, Some(raw), table.info().node_col());
        }
        if table == KNOWN.nodelist {
            return None;
        }
        self.attr_rows(node, table, &[col]).into_iter().next()?.into_iter().next()?
    }

    /// The value is not the end of the search.
    fn asks_for_more(&self, col: Col, text: &str) -> bool {
        text.ends_with(NEXT_RECORD) || self.delimiter_of(col).is_some()
    }

    fn inherit(&self, node: &str, table: TableId, cols: &[Col], rows: &mut Vec<Vec<Option<Raw>>>) {
        let mut state: Vec<Want> =
            cols.iter().enumerate().map(|(at, col)| Want::of(at, self.delimiter_of(*col), rows)).collect();
        if state.iter().all(|want| want.satisfied) {
            return;
        }
        let Some(groups) = self.groups_text(node) else { return };
        let inherited = self.data(table).inherited(&groups);
        for group in inherited.iter() {
            if state.iter().all(|want| want.satisfied) {
                break;
            }
            fill_from_group(group, cols, &mut state, rows);
        }
    }

    fn delimiter_of(&self, col: Col) -> Option<&str> {
        let site = self.data(KNOWN.site);
        let parse = || parse_hierarchical(&self.site("hierarchicalattrs").unwrap_or_default());
        let columns = site.derived.hierarchical.get_or_init(parse);
        columns.iter().find(|(name, _)| name == col.name()).map(|(_, delimiter)| delimiter.as_str())
    }

    fn finish(&self, node: &str, col: Col, raw: Option<Raw>, name_col: Option<Col>) -> Option<Resolved> {
        let Raw { text, source } = raw?;
        if Some(col) == name_col {
            return Some(Resolved { value: node.into(), source });
        }
        let text = match text.strip_suffix(NEXT_RECORD) {
            Some(rest) => rest.into(),
            None => text,
        };
        let value = self.templates.expand(&text, node);
        (!value.is_empty()).then_some(Resolved { value, source })
    }
}

/// The state of the search for one column.
struct Want<'a> {
    at: usize,
    satisfied: bool,
    /// The last value ended in [`NEXT_RECORD`].
    append: bool,
    delimiter: Option<&'a str>,
}

impl<'a> Want<'a> {
    fn of(at: usize, delimiter: Option<&'a str>, rows: &[Vec<Option<Raw>>]) -> Self {
        let values = || rows.iter().filter_map(move |row| row.get(at).and_then(Option::as_ref));
        let append = values().any(|raw| raw.text.ends_with(NEXT_RECORD));
        let satisfied = delimiter.is_none() && !append && values().next().is_some();
        Self { at, satisfied, append, delimiter }
    }
}

fn own_cells(row: &Row, cols: &[Col]) -> Vec<Option<Raw>> {
    cols.iter().map(|c| row.get(*c).map(|t| Raw { text: t.clone(), source: Source::Node })).collect()
}

/// One group's rows: each fills holes of every result row; several rows multiply the results.
fn fill_from_group(
    group: &GroupRows,
    cols: &[Col],
    state: &mut [Want<'_>],
    rows: &mut Vec<Vec<Option<Raw>>>,
) {
    let wanted = |row: &Row| -> Vec<Option<Text>> {
        let open = |want: &Want<'_>| {
            cols.get(want.at).and_then(|c| row.get(*c)).filter(|_| !want.satisfied).cloned()
        };
        state.iter().map(open).collect()
    };
    let offers: Vec<_> = group.rows.iter().map(wanted).filter(|o| o.iter().any(Option::is_some)).collect();
    if offers.is_empty() {
        return;
    }
    let base = if rows.is_empty() { vec![vec![None; cols.len()]] } else { std::mem::take(rows) };
    for have in &base {
        for offer in &offers {
            let mut row = have.clone();
            for ((cell, new), want) in row.iter_mut().zip(offer).zip(state.iter()) {
                if let Some(new) = new {
                    merge(cell, new, &group.group, want);
                }
            }
            rows.push(row);
        }
    }
    for want in state.iter_mut().filter(|want| want.delimiter.is_none()) {
        let delivered: Vec<&Text> =
            offers.iter().filter_map(|o| o.get(want.at).and_then(Option::as_ref)).collect();
        if !delivered.is_empty() {
            want.append = delivered.iter().any(|text| text.ends_with(NEXT_RECORD));
            want.satisfied = !want.append;
        }
    }
}

fn merge(cell: &mut Option<Raw>, new: &Text, group: &Text, want: &Want<'_>) {
    let Some(old) = cell else {
        *cell = Some(Raw { text: new.clone(), source: Source::Group(group.clone()) });
        return;
    };
    let text: Text = if let Some(delimiter) = want.delimiter {
        join_distinct(&old.text, new, delimiter).into()
    } else if let Some(head) = old.text.strip_suffix(NEXT_RECORD) {
        format!("{head}{new}").into()
    } else {
        return;
    };
    let mut from = match std::mem::replace(&mut old.source, Source::Node) {
        Source::Node => Vec::new(),
        Source::Group(first) => vec![first],
        Source::Joined(all) => all,
    };
    from.push(Arc::clone(group));
    *old = Raw { text, source: Source::Joined(from) };
}

fn join_distinct(old: &str, new: &str, delimiter: &str) -> String {
    let mut seen = Vec::new();
    for piece in old.split(delimiter).chain(new.split(delimiter)) {
        if !seen.contains(&piece) {
            seen.push(piece);
        }
    }
    seen.join(delimiter)
}

/// `column[:delimiter],…`
fn parse_hierarchical(text: &str) -> Vec<(String, String)> {
    let entry = |part: &str| {
        let (name, delimiter) = part.split_once(':').unwrap_or((part, ","));
        let delimiter = Some(delimiter.trim()).filter(|d| !d.is_empty()).unwrap_or(",");
        (name.trim().to_owned(), delimiter.to_owned())
    };
    text.split(',').filter(|p| !p.trim().is_empty()).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cells = &'static [(&'static str, &'static str)];

    const CLUSTER: &[(&str, Cells)] = &[
        ("nodelist", &[("node", "q"), ("groups", "z,y")]),
        ("nodelist", &[("node", "n12"), ("groups", "rack1,all,compute")]),
        ("nodelist", &[("node", "bare")]),
        ("postscripts", &[("node", "q"), ("postscripts", "all")]),
        ("postscripts", &[("node", "z"), ("postscripts", "compute,all")]),
        ("postscripts", &[("node", "y"), ("postscripts", "y")]),
        ("nodehm", &[("node", "n12"), ("mgt", "")]),
        (
            "nodehm",
            &[("node", "all"), ("mgt", "ipmi"), ("cons", "ipmi"), ("power", "never"), ("disable", "1")],
        ),
        ("nodehm", &[("node", "compute"), ("mgt", "openbmc"), ("serialport", "0")]),
        ("nodehm", &[("node", "rack1"), ("serialport", "|^.*$||")]),
        ("noderes", &[("node", "rack1"), ("netboot", "xnba+=NEXTRECORD"), ("nfsdir", "/a+=NEXTRECORD")]),
        ("noderes", &[("node", "compute"), ("netboot", "-grub2"), ("installnic", "mac")]),
        ("hosts", &[("node", "compute"), ("ip", "|10.0.0.($1+100)|")]),
        ("hosts", &[("node", "q"), ("ip", "10.9.9.9")]),
        ("switch", &[("node", "n12"), ("switch", "s1"), ("port", "1")]),
        ("switch", &[("node", "n12"), ("switch", "s2"), ("port", "2")]),
        ("switch", &[("node", "all"), ("switch", ""), ("port", ""), ("vlan", "7")]),
        ("site", &[("key", "hierarchicalattrs"), ("value", "postscripts")]),
        ("mac", &[("node", "n12"), ("mac", "52:54:00:00:00:01|52:54:00:00:00:02!*NOIP*")]),
        ("vpd", &[("node", "n12"), ("uuid", "4C4C4544-0000")]),
    ];

    fn cluster() -> Snapshot {
        Snapshot::from_rows(CLUSTER.iter().copied())
    }

    #[test]
    fn attributes() {
        let snapshot = cluster();
        for (node, col, expect) in [
            ("n12", "nodehm.mgt", Some("openbmc")),
            ("n12", "nodehm.power", None),
            ("n12", "nodehm.serialport", None),
            ("n12", "noderes.netboot", Some("xnba-grub2")),
            ("n12", "noderes.nfsdir", Some("/a")),
            ("n12", "noderes.installnic", Some("mac")),
            ("n12", "hosts.ip", Some("10.0.0.112")),
            ("n12", "nodelist.groups", Some("rack1,all,compute")),
            ("n12", "nodelist.nothing", None),
            ("q", "postscripts.postscripts", Some("all,compute,y")),
            ("q", "nodehm.mgt", None),
            ("bare", "nodehm.mgt", None),
            ("nobody", "nodehm.mgt", None),
        ] {
            assert_eq!(snapshot.attr(node, col).as_deref(), expect, "{node} {col}");
        }
    }

    #[test]
    fn who_is_to_blame() {
        let snapshot = cluster();
        let source = |node, col| snapshot.attr_with_source(node, col).unwrap().source;
        assert_eq!(source("n12", "nodehm.mgt"), Source::Group("compute".into()));
        assert_eq!(source("n12", "switch.port"), Source::Node);
        assert_eq!(source("q", "postscripts.postscripts"), Source::Joined(vec!["z".into(), "y".into()]));
    }

    #[test]
    fn two_rows_and_a_group() {
        let snapshot = cluster();
        let cols = ["switch.switch", "switch.port", "switch.vlan", "switch.node"].map(Col::known);
        let rows = snapshot.attr_rows("n12", cols[0].table, &cols);
        let text = |row: &ResolvedRow| {
            row.iter().map(|c| c.as_ref().map_or("-", |r| &r.value)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(rows.iter().map(text).collect::<Vec<_>>(), ["s1 1 7 n12", "s2 2 7 n12"]);
    }

    #[test]
    fn lookups() {
        let snapshot = cluster();
        let mac = |text: &str| snapshot.mac_owner(text.parse().unwrap());
        assert_eq!(mac("52:54:00:00:00:01").unwrap().node.as_ref(), "n12");
        assert!(mac("52:54:00:00:00:02").unwrap().no_ip);
        assert_eq!(mac("52:54:00:00:00:03"), None);
        let ip = |text: &str| snapshot.node_by_ip(text.parse().unwrap());
        assert_eq!(ip("10.0.0.112").as_deref(), Some("n12"));
        assert_eq!(ip("10.9.9.9").as_deref(), Some("q"));
        assert_eq!(ip("10.9.9.8"), None);
        assert_eq!(snapshot.node_by_uuid("4c4c4544-0000").as_deref(), Some("n12"));
        assert_eq!(snapshot.nodes_listing_group("all"), ["n12".into()]);
        assert_eq!(snapshot.site("httpport").as_deref(), Some("80"));
    }

    /// A row of the naive reading: name, then the four wanted cells.
    type Plain = (String, [Option<String>; 4]);

    /// The rule, word by word and without any index: own rows; then group by group, only what is still
    /// missing.
    fn by_the_book(rows: &[Plain], node: &str, groups: &[String]) -> Vec<[Option<String>; 4]> {
        let set = |row: &Plain| row.1.clone().map(|c| c.filter(|t| !t.is_empty()));
        let of = |name: &str| -> Vec<[Option<String>; 4]> {
            rows.iter().filter(|r| r.0 == name).map(set).collect()
        };
        let mut result: Vec<_> = of(node).into_iter().filter(|c| c.iter().any(Option::is_some)).collect();
        let mut satisfied: [bool; 4] = std::array::from_fn(|at| result.iter().any(|r| r[at].is_some()));
        for group in groups {
            if satisfied.iter().all(|s| *s) {
                break;
            }
            let wanted = |row: [Option<String>; 4]| {
                std::array::from_fn(|at| row[at].clone().filter(|_| !satisfied[at]))
            };
            let offers: Vec<[Option<String>; 4]> =
                of(group).into_iter().map(wanted).filter(|c| c.iter().any(Option::is_some)).collect();
            if offers.is_empty() {
                continue;
            }
            let base = if result.is_empty() { vec![[const { None }; 4]] } else { result };
            result = base
                .iter()
                .flat_map(|have| {
                    offers
                        .iter()
                        .map(|offer| std::array::from_fn(|at| have[at].clone().or_else(|| offer[at].clone())))
                })
                .collect();
            for (at, done) in satisfied.iter_mut().enumerate() {
                *done |= offers.iter().any(|o| o[at].is_some());
            }
        }
        result
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        fn row() -> impl Strategy<Value = Plain> {
            let name = prop::sample::select(vec!["n1", "g1", "g2", "g3"]);
            let cell = || prop::option::of("[ab]?");
            (name, cell(), cell(), cell(), cell()).prop_map(|(n, a, b, c, d)| (n.to_owned(), [a, b, c, d]))
        }

        proptest! {
            #[test]
            fn resolved_by_the_book(
                rows in prop::collection::vec(row(), 0..10),
                groups in prop::collection::vec("g[1-4]", 0..5),
            ) {
                const COLS: [&str; 4] = ["switch.switch", "switch.port", "switch.vlan", "switch.interface"];
                let list = groups.join(",");
                let mut all: Vec<(&str, Vec<(&str, &str)>)> =
                    vec![("nodelist", vec![("node", "n1"), ("groups", list.as_str())])];
                for (name, cells) in &rows {
                    let mut filled = vec![("node", name.as_str())];
                    for (col, cell) in COLS.iter().zip(cells) {
                        filled.extend(cell.as_deref().map(|c| (col.split_once('.').unwrap().1, c)));
                    }
                    all.push(("switch", filled));
                }
                let snapshot = Snapshot::from_rows(all.iter().map(|(t, c)| (*t, c.as_slice())));
                let cols = COLS.map(Col::known);
                let got: Vec<Vec<Option<String>>> = snapshot
                    .attr_rows("n1", cols[0].table, &cols)
                    .into_iter()
                    .map(|row| row.into_iter().map(|c| c.map(|r| r.value.to_string())).collect())
                    .collect();
                let mut seen = Vec::new();
                let distinct: Vec<String> =
                    groups.into_iter().filter(|g| !seen.contains(g) && { seen.push(g.clone()); true }).collect();
                let book: Vec<Vec<Option<String>>> =
                    by_the_book(&rows, "n1", &distinct).into_iter().map(Vec::from).collect();
                prop_assert_eq!(&got, &book);
                for (at, col) in cols.iter().enumerate() {
                    let one: Vec<[Option<String>; 4]> = by_the_book(
                        &rows.iter().map(|(n, c)| {
                            (n.clone(), std::array::from_fn(|i| c[i].clone().filter(|_| i == at)))
                        }).collect::<Vec<_>>(),
                        "n1",
                        &distinct,
                    );
                    let expect = one.first().and_then(|r| r[at].clone());
                    prop_assert_eq!(snapshot.attr("n1", *col).map(|t| t.to_string()), expect);
                }
            }
        }
    }
}
