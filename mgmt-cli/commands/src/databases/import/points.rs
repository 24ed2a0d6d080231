//! The points of the report: what happened to the tables, and what an administrator has to know or do.

use super::dump::{Dump, key_of};
use dawn_bootd::output::{Done, Lines, Report};
use dawn_cluster::{Netboot, Snapshot, Text, col, site_key};
use std::collections::BTreeMap;

/// What a point asks of its reader, in the order in which the report shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Group {
    /// Works as before.
    Taken,
    /// Left out, because Dawn refuses such a value.
    Changed,
    /// Left out, because it contradicts something else.
    Wrong,
    /// Without effect here.
    Ignored,
    /// Wanted, and not there yet.
    Missing,
    /// To be done by the administrator.
    Next,
}

impl Group {
    /// The heading above its points.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Taken => "Taken over",
            Self::Changed => "Left out, because Dawn refuses it (docs/compatibility.md)",
            Self::Wrong => "Was wrong before",
            Self::Ignored => "Has no effect here",
            Self::Missing => "Cannot be done yet",
            Self::Next => "To be done now",
        }
    }
}

/// One point.
#[derive(Debug, serde::Serialize)]
pub(super) struct Point {
    /// What it asks for.
    pub group: Group,
    /// What it is about; empty if the sentence says that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// The sentence for the report.
    pub why: String,
    /// Nodes that it is about, by groups where whole groups are meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nodes: String,
}

impl Point {
    /// A sentence.
    pub(super) fn new(group: Group, why: impl Into<String>) -> Self {
        Self { group, what: String::new(), why: why.into(), nodes: String::new() }
    }

    /// The administrator has to act on it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.group, Group::Changed | Group::Wrong | Group::Missing)
    }
}

impl Report for Point {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let what = if self.what.is_empty() { String::new() } else { format!("{}: ", self.what) };
        let nodes = if self.nodes.is_empty() { String::new() } else { format!(": {}", self.nodes) };
        lines.line(format!("  {what}{}{nodes}", self.why))
    }
}

/// Tables that are kept and that little or nothing here reads, with the reason.
const UNUSED: &[(&str, &str)] = &[
    ("kit", "nodes get the parameters of kits; nothing installs their packages"),
    ("kitcomponent", "nodes get the parameters of kits; nothing installs their packages"),
    ("kitrepo", "nothing installs the packages of kits"),
    ("monitoring", "monitoring plug-ins are not run"),
    ("monsetting", "monitoring plug-ins are not run"),
    ("nimimage", "AIX is not supported"),
    ("openbmc", "OpenBMC: consoles are supported, power and sensors are not"),
    ("pdu", "PDUs are not switched yet"),
    ("pduoutlet", "PDUs are not switched yet"),
    ("ppc", "POWER hardware is not managed by an HMC"),
    ("ppchcp", "POWER hardware is not managed by an HMC"),
    ("prescripts", "scripts do not run before a change of the boot state"),
    ("servicenode", "one daemon serves all nodes; the name server alone reads it"),
    ("vmmaster", "virtual machines are not made"),
    ("zvm", "z/VM is not supported"),
];

/// A number with its noun.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// How many rows were taken.
pub(super) fn taken(dump: &Dump) -> Vec<Point> {
    let filled = dump.tables.iter().filter(|rows| !rows.rows.is_empty());
    filled
        .map(|rows| Point {
            what: rows.table.name.to_owned(),
            ..Point::new(Group::Taken, count(rows.rows.len(), "row"))
        })
        .collect()
}

/// Tables, columns, keys of `site` and programs that have no effect.
pub(super) fn of_tables(dump: &Dump) -> Vec<Point> {
    let mut points = Vec::new();
    let mut add = |what: String, why: String| points.push(Point { what, ..Point::new(Group::Ignored, why) });
    for (table, rows) in &dump.unknown_tables {
        add(table.clone(), format!("there is no such table here; {} left out", count(*rows, "row")));
    }
    for (column, values) in &dump.unknown_columns {
        add(column.clone(), format!("there is no such column here; {} left out", count(*values, "value")));
    }
    let filled = |name: &str| {
        let rows = dump.tables.iter().find(|rows| rows.table.name == name);
        rows.map(|rows| rows.rows.as_slice()).filter(|rows| !rows.is_empty())
    };
    for (table, why) in UNUSED.iter().filter(|(table, _)| filled(table).is_some()) {
        add((*table).to_owned(), format!("kept; {why}"));
    }
    let keys_of = |name: &str| {
        let rows = filled(name).unwrap_or_default().iter();
        rows.filter_map(|cells| key_of(cells).map(ToString::to_string)).collect::<Vec<_>>()
    };
    let unused = |key: &String| site_key(key).is_none_or(|key| !key.is_used);
    let keys: Vec<String> = keys_of("site").into_iter().filter(unused).collect();
    if !keys.is_empty() {
        add("site".to_owned(), format!("kept; nothing here reads {}", keys.join(", ")));
    }
    let modules: Vec<String> =
        keys_of("notification").into_iter().filter(|name| name.ends_with(".pm")).collect();
    if !modules.is_empty() {
        add("notification".to_owned(), format!("Perl modules are not run: {}", modules.join(", ")));
    }
    points
}

/// What keeps nodes from booting here, and what did before.
pub(super) fn of_nodes(after: &Snapshot) -> Vec<Point> {
    let mut found: BTreeMap<(Group, String), Vec<Text>> = BTreeMap::new();
    for node in after.node_names() {
        let mut add = |group: Group, why: String| found.entry((group, why)).or_default().push(node.clone());
        if let Some(method) = Netboot::not_served(after, node) {
            add(Group::Missing, format!("noderes.netboot is '{method}', which Dawn does not boot"));
        }
        let Some(named) = after.attr(node, col::nodetype::PROVMETHOD) else { continue };
        let image = after.osimage(&named);
        let method = image.as_ref().and_then(|image| image.provmethod().cloned());
        match method.as_deref().unwrap_or(&*named) {
            "netboot" | "statelite" | "boottarget" => {}
            "install"
                if image.as_ref().is_some_and(|image| dawn_plan::install::installer_of(image).is_ok()) => {}
            method @ ("install" | "sysclone" | "dualboot" | "nimol" | "raw") => {
                add(
                    Group::Missing,
                    format!("provmethod is '{method}': Dawn has no installer for such an image"),
                );
            }
            _ => add(Group::Wrong, format!("there is no image '{named}', which nodetype.provmethod names")),
        }
    }
    found
        .into_iter()
        .map(|((group, why), nodes)| {
            let what = count(nodes.len(), "node");
            Point { group, what, why, nodes: after.shorten(&nodes) }
        })
        .collect()
}

/// What the tables cannot say.
pub(super) fn next_steps(after: &Snapshot) -> Vec<Point> {
    let value = |key: &str| after.site(key).map(|text| text.to_string());
    let mut steps = Vec::new();
    if let Some(master) = value("master") {
        steps.push(format!(
            "site.master is {master}; if this machine has another address: dawn chdef -t site master=ADDRESS"
        ));
    }
    let (install, tftp) = (value("installdir"), value("tftpdir"));
    let directories: Vec<String> = [install, tftp].into_iter().flatten().collect();
    if !directories.is_empty() {
        steps.push(format!(
            "{} hold images, lists and boot files: copy or mount them here, or set site.installdir and site.tftpdir",
            directories.join(" and ")
        ));
    }
    steps.push(
        "clients need a certificate of this server: dawn init --data DIR --client USER, or the authority of the xCAT server \
         (docs/from-xcat.md)"
            .to_owned(),
    );
    steps.push("check what nodes would boot: dawn makedhcp -n, dawn explain all".to_owned());
    steps.into_iter().map(|step| Point::new(Group::Next, step)).collect()
}
