//! `nodediscoverstatus`: whether sequential discovery runs.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::SITE_KEY;
use dawn_bootd::output::{Done, Out};

/// What is said when none is running.
pub(super) const STOPPED: [&str; 3] =
    ["Sequential Discovery is stopped.", "Profile Discovery is stopped.", "z/VM Discovery is stopped."];

/// Show whether sequential discovery is running
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const NAME: &'static str = "nodediscoverstatus";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        match ctx.snapshot.site(SITE_KEY) {
            Some(options) => {
                out.line("Sequential discovery is running.")?;
                out.line(format!("    The parameters used for discovery: {options}"))
            }
            None => STOPPED.iter().try_for_each(|line| out.line(*line)),
        }
    }
}
