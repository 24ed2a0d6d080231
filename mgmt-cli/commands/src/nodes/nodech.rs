//! `nodech`: change values of nodes.

use crate::conditions::Condition;
use crate::edits::{Edits, transact_rows};
use crate::tabch::renames_one_row;
use dawn_bootd::caller::View;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::items::column;
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::condition::split_operator;
use dawn_cluster::list;
use dawn_cluster::{Col, Snapshot, col, schema};

/// Stored for an empty value: hides what the node would inherit.
pub const BLANK: &str = "|^.*$||";

/// Change values of nodes, table by table
///
/// ITEM=VALUE sets, ITEM,=LIST adds elements in front, ITEM^=LIST removes elements; ITEM is table.column or
/// a short name (groups, tags, mgt). ITEM==VALUE, != =~ !~ restrict the nodes. An empty value hides what
/// a node would inherit.
#[derive(Debug, clap::Args)]
#[command(override_usage = "nodech [OPTIONS] NODERANGE ITEM=VALUE...\n       nodech -d NODERANGE TABLE...")]
pub struct Args {
    /// Delete the nodes' rows in the tables named
    #[arg(short = 'd', long = "delete")]
    delete: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Assignments and conditions, or tables with -d
    #[arg(value_name = "ITEM", required = true)]
    items: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "nodech";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.delete {
            return transact_rows(ctx, out, self.dry_run, |_, _| delete_rows(&self.items, ctx.nodes()));
        }
        let words = Assignment::read_all(&self.items, &ctx.view, out)?;
        if out.failed() {
            return Ok(());
        }
        transact_rows(ctx, out, self.dry_run, |snapshot, out| {
            warn_dynamic(&words.assignments, snapshot, out)?;
            let mut edits = Edits::new();
            for node in ctx.nodes() {
                if words.conditions.iter().all(|condition| condition.holds(snapshot, node)) {
                    assign(node, &words.assignments, snapshot, &mut edits);
                }
            }
            Ok(edits)
        })
    }
}

fn delete_rows(tables: &[String], nodes: &[String]) -> Result<Edits, Stop> {
    let mut edits = Edits::new();
    for name in tables {
        if name.contains(['.', '=']) {
            return Err(Stop::usage(". and = not valid in delete mode."));
        }
        let table = schema().find(name).filter(|table| table.has_literal_node());
        let Some((table, col)) = table.and_then(|table| Some((table, table.col("node")?))) else {
            return Err(Stop::not_found(format!("ERROR: Unable to open table {name} in configuration")));
        };
        for node in nodes {
            edits.delete(&[(col, node.clone())], table);
        }
    }
    Ok(edits)
}

/// `item=value` in one of its forms.
pub struct Assignment {
    /// Column.
    pub col: Col,
    /// Form.
    pub operator: Operator,
    /// Text after the operator.
    pub value: String,
}

/// What an assignment does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Replaces the value.
    Set,
    /// Adds list elements at the front.
    Add,
    /// Removes list elements.
    Remove,
}

/// The words of `nodech` and `nodeadd` after the noderange.
#[derive(Default)]
pub struct Words {
    /// Values to set, in order.
    pub assignments: Vec<Assignment>,
    /// Which nodes are meant.
    pub conditions: Vec<Condition>,
}

impl Assignment {
    /// Reads the words; each bad one is reported.
    pub fn read_all(items: &[String], view: &View, out: &mut Out<'_>) -> Result<Words, Stop> {
        let mut words = Words::default();
        view.may_ask(items.len(), Condition::count(items))?;
        for item in items {
            out.wanted()?;
            match read(item, view, &mut words) {
                Err(Stop::Error(error)) => out.error(*error)?,
                other => other?,
            }
        }
        Ok(words)
    }

    /// The value the column has afterwards.
    fn apply(&self, old: &str) -> String {
        let new = match self.operator {
            Operator::Set => self.value.clone(),
            Operator::Add => list::add_front(old, &self.value),
            Operator::Remove => list::remove(old, &self.value, ","),
        };
        if new.is_empty() { BLANK.to_owned() } else { new }
    }
}

fn read(word: &str, view: &View, words: &mut Words) -> Done {
    if let Some(condition) = Condition::parse(word, view)? {
        words.conditions.push(condition);
        return Ok(());
    }
    let Some((name, operator, value)) = split_operator(word, &[",=", "^=", "="]) else {
        return Err(Stop::usage(format!("Malformed argument {word} ignored.")));
    };
    let col = column(name)?;
    match col.table.info().node_col() {
        None => return Err(Stop::usage(format!("{name} not a valid table.column description"))),
        Some(node) if node == col => return Err(Stop::conflict(renames_one_row(col))),
        Some(_) => {}
    }
    if operator != "=" {
        view.may_extend(col)?;
    }
    let (operator, value) = match operator {
        ",=" => (Operator::Add, value),
        "^=" => (Operator::Remove, value),
        _ => (Operator::Set, value.strip_prefix('@').unwrap_or(value)),
    };
    words.assignments.push(Assignment { col, operator, value: value.to_owned() });
    Ok(())
}

/// Edits of one node: one for each table. Several assignments to one column apply in order.
pub fn assign(node: &str, assignments: &[Assignment], snapshot: &Snapshot, edits: &mut Edits) {
    let mut values: Vec<(Col, String)> = Vec::new();
    for assignment in assignments {
        let known = values.iter().position(|(col, _)| *col == assignment.col);
        let old = match known.and_then(|at| values.get(at)) {
            Some((_, text)) => text.clone(),
            None if assignment.operator == Operator::Set => String::new(),
            None => snapshot.attr(node, assignment.col).as_deref().unwrap_or_default().to_owned(),
        };
        let new = assignment.apply(&old);
        match known.and_then(|at| values.get_mut(at)) {
            Some(slot) => slot.1 = new,
            None => values.push((assignment.col, new)),
        }
    }
    while let Some((first, _)) = values.first() {
        let table = first.table.info();
        let (mine, others) = values.into_iter().partition(|(col, _)| col.table == table.id);
        values = others;
        if let Some(key) = table.node_col() {
            edits.set(table, vec![(key, node.to_owned())], mine);
        }
    }
}

/// `groups=` with a dynamic group is stored, with a warning.
pub fn warn_dynamic(assignments: &[Assignment], snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    let groups = col::nodelist::GROUPS;
    let name = col::nodegroup::GROUPNAME;
    let kind = col::nodegroup::GROUPTYPE;
    for assignment in assignments.iter().filter(|a| a.col == groups && a.operator != Operator::Remove) {
        for group in assignment.value.split(',') {
            if snapshot.find_row(&[(name, group), (kind, "dynamic")]).is_some() {
                out.notice(format!(
                    "nodegroup {group} is a dynamic node group, should not add a node into a dynamic node \
                     group statically."
                ))?;
                out.notice("")?;
            }
        }
    }
    Ok(())
}
