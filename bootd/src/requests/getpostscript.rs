//! `getpostscript`: a node fetches its [`mypostscript`], as lines.
//!
//! `version2` asks for it as a file: HTTP has it as `/tftpboot/mypostscripts/mypostscript.<node>`, rendered
//! when it is fetched, for the node's own address.

use crate::caller::booting_node;
use crate::command::{Command, Ctx, Kind};
use crate::mypostscript;
use crate::output::{Done, Out, Stop};

/// Print the caller's post-install script
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's name, which changes nothing: the caller is known by its address
    #[arg(hide = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "getpostscript";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let node = booting_node(&ctx.snapshot, ctx.call)?
            .ok_or_else(|| Stop::refused("getpostscript asks for nodes only, and the caller is none"))?;
        if self.words.iter().any(|word| word.contains("version2")) {
            // The file is a view that is always there.
            return Ok(());
        }
        mypostscript::lines(&ctx.snapshot, &node, ctx.host).into_iter().try_for_each(|line| out.data(line))
    }
}
