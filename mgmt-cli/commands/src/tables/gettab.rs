//! `gettab`: single values of a table.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::schema;

/// Print single values of a table: the first row in which all keys match
///
/// One item: the bare value. Several, or with -H: table.column: value.
#[derive(Debug, clap::Args)]
#[command(override_usage = "gettab [OPTIONS] KEY=VALUE[,KEY=VALUE...] TABLE.COLUMN...")]
pub struct Args {
    /// Print the name of the column even if there is only one
    #[arg(short = 'H', long = "with-fieldname")]
    with_name: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
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
        let mut found = serde_json::Map::new();
        let named = self.with_name || self.items.len() > 1;
        for item in &self.items {
            let Some((table_name, column)) = item.split_once('.') else {
                out.error(format!("'{item}' is not TABLE.COLUMN"))?;
                continue;
            };
            let Some((key, value)) = self.lookup(table_name, column, ctx)? else { continue };
            if self.json {
                if !value.is_empty() {
                    found.insert(key, value.into());
                }
            } else if named {
                out.data(format!("{key}: {value}"))?;
            } else {
                out.data(value)?;
            }
        }
        if self.json { out.json(&Vec::from_iter((!found.is_empty()).then_some(found))) } else { Ok(()) }
    }
}

impl Args {
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
            let unknown = || Stop::message(format!("Unknown key {key} to {table_name}"));
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
