//! `nodediscoverstatus`: whether sequential discovery runs.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::SITE_KEY;
use dawn_bootd::output::{Done, Lines, Out, Report};

/// What is said when none is running.
const STOPPED: [&str; 3] =
    ["Sequential Discovery is stopped.", "Profile Discovery is stopped.", "z/VM Discovery is stopped."];

/// Whether sequential discovery runs; of the other kinds there is none.
#[derive(serde::Serialize)]
pub(super) struct Status {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
}

impl Status {
    /// What `site` says of it.
    pub(super) fn of(parameters: Option<String>) -> Self {
        Self { running: parameters.is_some(), parameters }
    }
}

impl Report for Status {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        match &self.parameters {
            Some(parameters) => {
                lines.line("Sequential discovery is running.")?;
                lines.line(format!("    The parameters used for discovery: {parameters}"))
            }
            None => STOPPED.iter().try_for_each(|line| lines.line(*line)),
        }
    }
}

/// Show whether sequential discovery is running
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const NAME: &'static str = "nodediscoverstatus";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        out.report(&Status::of(ctx.snapshot.site(SITE_KEY).map(|parameters| parameters.to_string())))
    }
}
