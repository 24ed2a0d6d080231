//! Writes the columns of the schema as constants, so that a name which does not exist does not compile:
//! `schema/tables.tsv` to `$OUT_DIR/col.rs`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

const TABLES: &str = "schema/tables.tsv";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={TABLES}");
    let text = fs::read_to_string(TABLES)?;
    let rows = text.lines().skip(1).filter_map(|line| {
        let (table, rest) = line.split_once('\t')?;
        Some((table, rest.split_once('\t')?.0))
    });
    let mut out = String::new();
    let mut open: Option<(&str, usize, usize)> = None;
    for (table, column) in rows {
        let (id, at) = match open {
            Some((name, id, at)) if name == table => (id, at + 1),
            before => {
                let id = before.map_or(0, |(_, id, _)| id + 1);
                let end = if before.is_some() { "}\n" } else { "" };
                let _ = write!(out, "{end}/// Columns of the table `{table}`.\npub mod {table} {{\n");
                (id, 0)
            }
        };
        let name = column.to_uppercase();
        let _ = write!(
            out,
            "/// `{table}.{column}`\npub const {name}: crate::Col = crate::Col::at({id}, {at});\n"
        );
        open = Some((table, id, at));
    }
    out += "}\n";
    let dir = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&dir).join("col.rs"), out)
}
