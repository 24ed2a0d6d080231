//! `syncfiles`: a node asks for its file synchronisation, which Dawn does not have yet.

use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};

/// Synchronise the caller's files
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "syncfiles";
    const KIND: Kind = Kind::Words;

    fn run(self, _: &Ctx<'_>, _: &mut Out<'_>) -> Done {
        Err(Stop::message(
            "Dawn does not synchronise files of running nodes yet; packimage puts those of the synclist into images",
        ))
    }
}
