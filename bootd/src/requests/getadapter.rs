//! `getadapter`: a node reports its network adapters, kept in `nics.nicsadapter`.
//!
//! The node's report is written to a table: names and values are reduced to plain characters and a maximum
//! length.

use crate::caller::calling_node;
use crate::command::{Command, Ctx, Kind};
use crate::node_edits;
use crate::output::{Done, Out, Stop};
use dawn_cluster::Edit;
use dawn_xcatd::Element;

/// Adapters of one node.
const ADAPTERS_MAX: usize = 64;
/// Bytes of the cell; further adapters are left out.
const CELL_BYTES_MAX: usize = 16 << 10;
/// Characters of one value.
const VALUE_CHARS_MAX: usize = 64;
/// Elements of the request, names in the table, in the order they are written.
const FIELDS: [(&str, &str); 6] = [
    ("mac", "mac"),
    ("linkstate", "linkstate"),
    ("pcilocation", "pci"),
    ("predictablename", "candidatename"),
    ("vendor", "vendor"),
    ("model", "model"),
];

/// Note the calling node's network adapters
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "getadapter";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, _: &mut Out<'_>) -> Done {
        let extra = &ctx.call.request.extra;
        let action = extra.iter().find(|element| element.name == "action").map(|element| element.text.trim());
        if action != Some("update") {
            return Err(Stop::refused(
                "Dawn does not start an inventory of adapters; nodes report theirs (`lsdef -i nicsadapter` shows it)",
            ));
        }
        let node = calling_node(&ctx.snapshot, ctx.call)?;
        let mut bytes = 0;
        let nics: Vec<String> = extra
            .iter()
            .filter(|element| element.name == "nic")
            .take(ADAPTERS_MAX)
            .filter_map(adapter)
            .take_while(|text| {
                bytes += text.len() + 1;
                bytes <= CELL_BYTES_MAX
            })
            .collect();
        if nics.is_empty() {
            return Err(Stop::usage("the request names no adapter"));
        }
        let edit = Edit::set("nics", &[("node", &node)], &[("nicsadapter", &nics.join(","))])?;
        node_edits::for_node(ctx.model, &node, "getadapter", |_| Ok(vec![edit])).map(|_| ())
    }
}

/// `eth0!mac=… linkstate=… pci=…`
fn adapter(nic: &Element) -> Option<String> {
    let field = |name: &str| nic.child_text(name).map(plain).filter(|text| !text.is_empty());
    let interface = field("interface")?;
    let values: Vec<String> =
        FIELDS.iter().filter_map(|(from, to)| Some(format!("{to}={}", field(from)?))).collect();
    Some(format!("{interface}!{}", values.join(" ")))
}

fn plain(text: &str) -> String {
    let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '-' | '/' | '(' | ')');
    text.trim().chars().map(|c| if c == ' ' { '_' } else { c }).filter(good).take(VALUE_CHARS_MAX).collect()
}
