//! `help` over the protocol, for clients that send any word they are given (`xcatclient help nodels`).

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// List the commands, or explain one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Command
    command: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "help";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let text = ctx.registry.help(self.command.as_deref())?;
        out.lines(&text)
    }
}
