//! `chtab`: change table rows.

use crate::tabch::{Manner, Words};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// Add, change or delete table rows
///
/// chtab node=cn1 hosts.ip=10.0.0.1 changes the row of cn1 or makes one; chtab -d node=cn1 hosts deletes
/// it. TABLE.COLUMN+=VALUE adds to a comma list. Runs in the daemon, under the policy table.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "chtab [OPTIONS] KEY=VALUE[,KEY=VALUE...] TABLE.COLUMN=VALUE...\n       chtab -d KEY=VALUE[,KEY=VALUE...] TABLE..."
)]
pub struct Args {
    #[command(flatten)]
    words: Words,
}

impl Command for Args {
    const NAME: &'static str = "chtab";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let hint = "Usage: chtab [-d] KEY=VALUE[,KEY=VALUE...] TABLE.COLUMN=VALUE ...";
        self.words.run(&Manner { hint }, ctx, out)
    }
}
