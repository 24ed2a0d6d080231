//! `gettab`: single values of a table.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::schema;
use std::collections::BTreeMap;

/// Print single values of a table: the first row in which all keys match
///
/// One item: the bare value. Several, or with -H: table.column: value.
#[derive(Debug, clap::Args)]
#[command(override_usage = "gettab [OPTIONS] KEY=VALUE[,KEY=VALUE...] TABLE.COLUMN...")]
pub struct Args {
    /// Print the name of the column even if there is only one
    #[arg(short = 'H', long = "with-fieldname")]
    with_name: bool,
    /// COLUMN=VALUE[,COLUMN=VALUE...]
    #[arg(value_name = "KEYS", required = true)]
    keys: String,
    /// TABLE.COLUMN, several allowed
    #[arg(value_name = "ITEM", required = true)]
    items: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "gettab";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let mut found = Values { values: Vec::new(), named: self.with_name || self.items.len() > 1 };
        let done = self.collect(&mut found, ctx, out);
        out.report(&found)?;
        done
    }
}

/// Items and their values.
struct Values {
    values: Vec<(String, String)>,
    named: bool,
}

impl serde::Serialize for Values {
    /// An object with the values that are set, if there are any.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = self.values.iter().filter(|(_, value)| !value.is_empty());
        let set: BTreeMap<&str, &str> = set.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        serializer.collect_seq((!set.is_empty()).then_some(set))
    }
}

impl Report for Values {
    const MANY: bool = true;

    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.values.iter().try_for_each(|(key, value)| match self.named {
            true => lines.data(format!("{key}: {value}")),
            false => lines.data(value),
        })
    }
}

impl Args {
    fn collect(&self, found: &mut Values, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        for item in &self.items {
            match item.split_once('.') {
                Some((table, column)) => found.values.extend(self.lookup(table, column, ctx)?),
                None => out.error(CommandError::usage(format!("'{item}' is not TABLE.COLUMN")))?,
            }
        }
        Ok(())
    }

    /// The item's full name and value; `None` if there is no such row or column.
    fn lookup(
        &self,
        table_name: &str,
        column: &str,
        ctx: &Ctx<'_>,
    ) -> Result<Option<(String, String)>, Stop> {
        let mut wanted = Vec::new();
        for pair in self.keys.split(',') {
            let (key, value) = pair.rsplit_once('=').unwrap_or((pair, ""));
            let found = schema().find(table_name).and_then(|table| table.col(key));
            let unknown = || Stop::not_found(format!("Unknown key {key} to {table_name}"));
            let col = found.ok_or_else(unknown)?;
            ctx.view.may_compare(col)?;
            wanted.push((col, value));
        }
        let Some(col) = schema().find(table_name).and_then(|table| table.col(column)) else {
            return Ok(None);
        };
        let Some(row) = ctx.snapshot.find_row(&wanted) else { return Ok(None) };
        let value = row.get(col).map(|text| text.to_string()).unwrap_or_default();
        Ok(Some((format!("{table_name}.{column}"), value)))
    }
}
