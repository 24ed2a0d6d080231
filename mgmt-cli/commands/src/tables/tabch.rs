//! `tabch`: change table rows through the daemon.

use crate::tabch::{Manner, Words};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// Add, change or delete table rows
///
/// The same as chtab; both run in the daemon.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "tabch [OPTIONS] KEY=VALUE[,KEY=VALUE...] TABLE.COLUMN=VALUE...\n       tabch -d KEY=VALUE[,KEY=VALUE...] TABLE..."
)]
pub struct Args {
    #[command(flatten)]
    words: Words,
}

impl Command for Args {
    const NAME: &'static str = "tabch";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.words.run(&Manner { hint: "\nCheck man tabch or tabch -h\n\n" }, ctx, out)
    }
}
