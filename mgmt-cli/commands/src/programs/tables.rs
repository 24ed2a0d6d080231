//! Tables for programs: rows and attributes as elements, in and out.
//!
//! Input is in separate elements: `table` (a name, or `tablename`/`name` with `attr` inside), `attr`
//! (the word `ALL` is every column), `keys`. Output are `row`, `node` with `name`, or `table` with
//! `tablename` and those inside.

use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::{Col, Row, Snapshot, Table, schema};
use dawn_xcatd::Element;

macro_rules! request {
    ($(#[$doc:meta])* $type:ident, $name:literal, $kind:ident, $run:ident) => {
        $(#[$doc])*
        #[derive(Debug, clap::Args)]
        pub struct $type {
            #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
            words: Vec<String>,
        }

        impl Command for $type {
            const NAME: &'static str = $name;
            const KIND: Kind = Kind::$kind;

            fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
                $run(ctx, out)
            }
        }
    };
}

request! {
    /// All rows of a table
    AllEntries, "getAllEntries", Words, all_entries
}
request! {
    /// Attributes of nodes from one table
    NodesAttribs, "getNodesAttribs", Nodes, nodes_attribs
}
request! {
    /// Attributes of all nodes from several tables
    TablesAllNodes, "getTablesAllNodeAttribs", Words, tables_all_nodes
}
request! {
    /// Attributes of nodes from several tables
    TablesNodes, "getTablesNodesAttribs", Nodes, tables_nodes
}
request! {
    /// All rows of several tables
    TablesAllRows, "getTablesAllRowAttribs", Words, tables_all_rows
}
request! {
    /// Set attributes of nodes
    SetNodes, "setNodesAttribs", Nodes, set_nodes
}
request! {
    /// Delete the rows that have all the given values
    DelEntries, "delEntries", Words, del_entries
}
request! {
    /// Attributes of the row with the given keys
    GetAttribs, "getAttribs", Words, get_attribs
}
request! {
    /// Set attributes of the row with the given keys
    SetAttribs, "setAttribs", Words, set_attribs
}

fn all_entries(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let table = one_table(ctx)?;
    let columns: Vec<Col> = table.cols().collect();
    let mut rows: Vec<Element> = rows(&ctx.snapshot, table, &columns);
    if rows.is_empty() {
        let names: Vec<&str> = columns.iter().map(|col| col.name()).collect();
        rows.push(Element::text("row", format!("#{}", names.join(","))));
    }
    out.elements(rows)
}

fn nodes_attribs(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let table = one_table(ctx)?;
    let columns = columns(table, elements(ctx, "attr"))?;
    out.elements(nodes_of(&ctx.snapshot, table, &columns, ctx.nodes())?)
}

fn tables_nodes(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    for_each_table(ctx, out, |table, columns| nodes_of(&ctx.snapshot, table, columns, ctx.nodes()))
}

fn tables_all_nodes(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let nodes = ctx.snapshot.node_names().filter(|name| ctx.view.covers(name));
    let nodes: Vec<String> = nodes.map(|name| name.to_string()).collect();
    for_each_table(ctx, out, |table, columns| nodes_of(&ctx.snapshot, table, columns, &nodes))
}

fn tables_all_rows(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    for_each_table(ctx, out, |table, columns| Ok(rows(&ctx.snapshot, table, columns)))
}

fn get_attribs(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let table = one_table(ctx)?;
    let keys = compared(ctx, pairs(table, elements(ctx, "keys"))?)?;
    let columns = columns(table, elements(ctx, "attr"))?;
    let wanted: Vec<(Col, &str)> = keys.iter().map(|(col, value)| (*col, value.as_str())).collect();
    match ctx.snapshot.find_row(&wanted) {
        Some(row) if !wanted.is_empty() => out.elements(cells(&row, &columns)),
        _ => Ok(()),
    }
}

fn set_attribs(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let table = one_table(ctx)?;
    let keys = compared(ctx, pairs(table, elements(ctx, "keys"))?)?;
    let values = pairs(table, elements(ctx, "attr"))?;
    keep_node(table, &values)?;
    if keys.is_empty() {
        return Err(Stop::usage(format!("{}: no key given", table.name)));
    }
    let mut edits = Edits::new();
    edits.set(table, keys, values);
    transact(ctx, out, false, |_, _| Ok(edits))
}

fn set_nodes(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    if ctx.nodes().is_empty() {
        return Err(Stop::not_found("No nodes in noderange"));
    }
    let mut edits = Edits::new();
    for asked in elements(ctx, "arg").flat_map(|arg| &arg.children).filter(|child| child.name == "table") {
        let table = table_named(asked.child_text("name"))?;
        let node = node_column(table)?;
        let values = pairs(table, asked.children.iter().filter(|child| child.name == "attr"))?;
        keep_node(table, &values)?;
        for name in ctx.nodes() {
            edits.set(table, vec![(node, name.clone())], values.clone());
        }
    }
    transact(ctx, out, false, |_, _| Ok(edits))
}

fn del_entries(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let mut edits = Edits::new();
    for asked in elements(ctx, "table") {
        let table = table_named(asked.child_text("name"))?;
        let wanted = pairs(table, asked.children.iter().filter(|child| child.name == "attr"))?;
        edits.delete(&compared(ctx, wanted)?, table);
    }
    transact(ctx, out, false, |_, _| Ok(edits))
}

fn elements<'a>(ctx: &'a Ctx<'_>, name: &'a str) -> impl Iterator<Item = &'a Element> {
    ctx.call.request.extra.iter().filter(move |element| element.name == name)
}

fn table_named(name: Option<&str>) -> Result<&'static Table, Stop> {
    let name = name.map(str::trim).unwrap_or_default();
    schema().find(name).ok_or_else(|| Stop::not_found(format!("No such table: {name}")))
}

fn one_table(ctx: &Ctx<'_>) -> Result<&'static Table, Stop> {
    table_named(elements(ctx, "table").next().map(|element| element.text.as_str()))
}

fn column(table: &'static Table, name: &str) -> Result<Col, Stop> {
    let name = name.trim();
    table
        .col(name)
        .ok_or_else(|| Stop::not_found(format!("No column \"{name}\" in table \"{}\"", table.name)))
}

fn node_column(table: &'static Table) -> Result<Col, Stop> {
    table.node_col().ok_or_else(|| Stop::usage(format!("the table {} is not about nodes", table.name)))
}

/// The node of a row is what the row is found by, not a value: it would become another node's row.
fn keep_node(table: &'static Table, values: &[(Col, String)]) -> Result<(), Stop> {
    match values.iter().find(|(col, _)| Some(*col) == table.node_col()) {
        Some((col, _)) => Err(Stop::usage(format!("{col} names the node and cannot be set as a value"))),
        None => Ok(()),
    }
}

/// Values that rows are found by, unless the caller may not compare with existing values.
fn compared(ctx: &Ctx<'_>, wanted: Vec<(Col, String)>) -> Result<Vec<(Col, String)>, Stop> {
    wanted.iter().try_for_each(|(col, _)| ctx.view.may_compare(*col))?;
    Ok(wanted)
}

/// Columns by name; `ALL` is every one.
fn columns<'a>(table: &'static Table, names: impl Iterator<Item = &'a Element>) -> Result<Vec<Col>, Stop> {
    let mut found = Vec::new();
    for name in names {
        match name.text.trim() {
            "ALL" => return Ok(table.cols().collect()),
            name => found.push(column(table, name)?),
        }
    }
    Ok(found)
}

/// `<attr><groups>a</groups>…</attr>` as columns and values.
fn pairs<'a>(
    table: &'static Table,
    lists: impl Iterator<Item = &'a Element>,
) -> Result<Vec<(Col, String)>, Stop> {
    let children = lists.flat_map(|list| &list.children);
    children.map(|child| Ok((column(table, &child.name)?, child.text.clone()))).collect()
}

fn for_each_table(
    ctx: &Ctx<'_>,
    out: &mut Out<'_>,
    list: impl Fn(&'static Table, &[Col]) -> Result<Vec<Element>, Stop>,
) -> Done {
    for asked in elements(ctx, "table") {
        let table = table_named(asked.child_text("tablename"))?;
        let columns = columns(table, asked.children.iter().filter(|child| child.name == "attr"))?;
        let mut children = vec![Element::text("tablename", table.name)];
        children.extend(list(table, &columns)?);
        out.elements(vec![Element::parent("table", children)])?;
    }
    Ok(())
}

fn cells(row: &Row, columns: &[Col]) -> Vec<Element> {
    columns.iter().filter_map(|col| Some(Element::text(col.name(), row.get(*col)?.to_string()))).collect()
}

fn rows(snapshot: &Snapshot, table: &'static Table, columns: &[Col]) -> Vec<Element> {
    snapshot.rows(table.id).map(|row| Element::parent("row", cells(row, columns))).collect()
}

/// Resolved attributes, an element for each of a node's rows.
fn nodes_of(
    snapshot: &Snapshot,
    table: &'static Table,
    columns: &[Col],
    nodes: &[String],
) -> Result<Vec<Element>, Stop> {
    let node_col = node_column(table)?;
    let columns: Vec<Col> = columns.iter().copied().filter(|col| *col != node_col).collect();
    let mut list = Vec::new();
    for node in nodes {
        for row in snapshot.attr_rows(node, table.id, &columns) {
            let mut children = vec![Element::text("name", node)];
            let filled = columns.iter().zip(row).filter_map(|(col, cell)| Some((col, cell?)));
            children.extend(filled.map(|(col, cell)| Element::text(col.name(), cell.value.to_string())));
            list.push(Element::parent("node", children));
        }
    }
    Ok(list)
}
