//! `nodels`: nodes and their values.

use crate::conditions::Condition;
use dawn_bootd::caller::View;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::items::{Item, item};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_cluster::{Col, Resolved, Source, TableId};
use std::collections::BTreeMap;

/// List nodes and values of their tables
///
/// Without items the names only. ITEM is table.column, a short name (groups, tags, mgt), a whole table, or
/// a condition ITEM<op>VALUE with == != =~ !~ that nodes must satisfy to be listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the group that a value is inherited from
    #[arg(short = 'b', long = "blame")]
    blame: bool,
    /// Print the name of the item even if there is only one
    #[arg(short = 'H', long = "with-fieldname")]
    with_name: bool,
    /// List hidden nodes too
    #[arg(short = 'S')]
    hidden: bool,
    /// Nodes [default: all]
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
    /// What to print
    #[arg(value_name = "ITEM")]
    items: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "nodels";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let (query, args) = (self.query(&ctx.view, out)?, &self);
        let mut one = |node: &str| match self.is_meant(node, &query, ctx) {
            false => out.wanted(),
            true => out.report(&Listed { node, args, query: &query, ctx }),
        };
        if self.noderange.is_some() {
            ctx.nodes().iter().try_for_each(|node| one(node))
        } else {
            ctx.snapshot.node_names().filter(|node| ctx.view.covers(node)).try_for_each(|node| one(node))
        }
    }
}

/// What is asked about each node.
struct Query {
    conditions: Vec<Condition>,
    shown: Vec<Shown>,
    labelled: bool,
    names_only: bool,
}

/// One table's columns to print, with their labels.
struct Shown {
    table: TableId,
    cols: Vec<Col>,
    labels: Vec<String>,
    whole: bool,
}

impl Args {
    fn query(&self, view: &View, out: &mut Out<'_>) -> Result<Query, Stop> {
        let mut query = Query {
            conditions: Vec::new(),
            shown: Vec::new(),
            labelled: self.with_name || self.items.len() > 1,
            names_only: self.items.is_empty(),
        };
        view.may_ask(self.items.len(), Condition::count(&self.items))?;
        for word in &self.items {
            out.wanted()?;
            match Condition::parse(word, view) {
                Ok(Some(condition)) => {
                    if query.conditions.iter().any(|other| other.col == condition.col) {
                        let name = condition.name;
                        return Err(Stop::usage(format!("Multiple selection critera for {name}")));
                    }
                    query.conditions.push(condition);
                }
                Ok(None) => query.show(word, out)?,
                Err(Stop::Error(error)) => out.error(*error)?,
                Err(stop) => return Err(stop),
            }
        }
        query.names_only |= query.shown.is_empty() && !out.failed();
        Ok(query)
    }

    fn is_meant(&self, node: &str, query: &Query, ctx: &Ctx<'_>) -> bool {
        let hidden = !self.hidden && ctx.snapshot.is_hidden(node);
        !hidden && query.conditions.iter().all(|condition| condition.holds(&ctx.snapshot, node))
    }

    fn value_text(&self, value: Option<&Resolved>) -> String {
        let Some(value) = value else { return String::new() };
        let group = match &value.source {
            _ if !self.blame => None,
            Source::Node => None,
            Source::Group(group) => Some(group.to_string()),
            Source::Joined(groups) => Some(groups.join(",")),
        };
        match group {
            Some(group) => format!("{} (inherited from group {group})", value.value),
            None => value.value.to_string(),
        }
    }
}

/// A node of the list.
struct Listed<'a> {
    node: &'a str,
    args: &'a Args,
    query: &'a Query,
    ctx: &'a Ctx<'a>,
}

impl serde::Serialize for Listed<'_> {
    /// An object for the node, or for each row of a table where the node has several.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = vec![BTreeMap::from([("node", self.node.to_owned())])];
        for shown in &self.query.shown {
            let rows = self.ctx.snapshot.attr_rows(self.node, shown.table, &shown.cols);
            let before = list.clone();
            for (at, row) in rows.iter().enumerate() {
                if at > 0 {
                    list.extend(before.iter().cloned());
                }
                for object in list.iter_mut().rev().take(before.len()) {
                    let cells = shown.labels.iter().zip(row);
                    let cells = cells.filter_map(|(label, value)| Some((label, value.as_ref()?)));
                    object.extend(
                        cells.map(|(label, value)| (label.as_str(), self.args.value_text(Some(value)))),
                    );
                }
            }
        }
        serializer.collect_seq(list)
    }
}

impl Report for Listed<'_> {
    const MANY: bool = true;

    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        if self.query.names_only {
            return lines.node_name(self.node);
        }
        self.query.shown.iter().try_for_each(|shown| self.print_table(shown, lines))
    }
}

impl Listed<'_> {
    fn print_table(&self, shown: &Shown, lines: &mut Lines<'_, '_>) -> Done {
        let mut rows = self.ctx.snapshot.attr_rows(self.node, shown.table, &shown.cols);
        if rows.is_empty() {
            rows.push(vec![None; shown.cols.len()]);
        }
        for row in &rows {
            let mut cells: Vec<(&String, &Option<Resolved>)> = shown.labels.iter().zip(row).collect();
            if shown.whole {
                cells.sort_by_key(|(label, value)| (value.is_none(), *label));
            }
            for (label, value) in cells {
                let text = self.args.value_text(value.as_ref());
                let named = self.query.labelled || shown.whole;
                lines.node(self.node, if named { format!("{label}: {text}") } else { text })?;
            }
        }
        Ok(())
    }
}

impl Query {
    fn show(&mut self, word: &str, out: &mut Out<'_>) -> Done {
        match item(word) {
            Ok(Item::Table(table)) => {
                let cols: Vec<Col> = table.info().cols().collect();
                let labels = cols.iter().map(ToString::to_string).collect();
                self.shown.push(Shown { table, cols, labels, whole: true });
                Ok(())
            }
            Ok(Item::Column(col)) => {
                let at = self.shown.iter().position(|shown| shown.table == col.table && !shown.whole);
                let at = at.unwrap_or_else(|| {
                    let (cols, labels) = (Vec::new(), Vec::new());
                    self.shown.push(Shown { table: col.table, cols, labels, whole: false });
                    self.shown.len() - 1
                });
                if let Some(shown) = self.shown.get_mut(at) {
                    shown.cols.push(col);
                    shown.labels.push(word.to_owned());
                }
                Ok(())
            }
            Err(error) => out.error(error),
        }
    }
}
