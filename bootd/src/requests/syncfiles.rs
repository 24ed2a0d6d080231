//! `syncfiles`: a node asks for the files of its image's synclist, on 3001 and 3002.
//!
//! Files are copied when an administrator runs `updatenode`, not when a node asks. A node whose
//! image has a synclist gets a note that nothing was copied and why, and its timeline shows that too: a node
//! that believes its files are there may start programs that need them. Without a synclist there is nothing
//! to copy, and the answer is success.

use crate::caller::calling_node;
use crate::command::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};
use dawn_cluster::{Snapshot, col};

/// Synchronise the caller's files
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "syncfiles";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, _: &mut Out<'_>) -> Done {
        let node = calling_node(&ctx.snapshot, ctx.call)?;
        match refusal(&ctx.snapshot, &node) {
            None => Ok(()),
            Some(reason) => {
                ctx.boot.trouble(&node, &format!("syncfiles: {reason}"));
                Err(Stop::refused(reason))
            }
        }
    }
}

/// Why the node's files are not synchronised; `None` if its image has none.
pub fn refusal(snapshot: &Snapshot, node: &str) -> Option<String> {
    let name = dawn_statelite::image_of(snapshot, node)?;
    snapshot.osimage(&name)?.get(col::osimage::SYNCLISTS).filter(|lists| !lists.trim().is_empty())?;
    Some(format!(
        "nothing was copied: `updatenode {node} -F` brings the files of its synclist, `packimage {name}` puts them into the image"
    ))
}
