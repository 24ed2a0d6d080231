//! `lsxcatd`: what this daemon is.

use dawn_bootd::command::{Command, Ctx, Kind, VERSION};
use dawn_bootd::output::{Done, Out, Stop};

/// Show the version, kind and database of the daemon
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Version
    #[arg(short = 'v', long)]
    version_of_daemon: bool,
    /// Show whether this is a management node or a service node
    #[arg(short = 't', long = "type", alias = "nodetype")]
    node_type: bool,
    /// Show the database, without its password
    #[arg(short = 'd', long)]
    database: bool,
    /// Show all of it
    #[arg(short = 'a', long)]
    all: bool,
}

impl Command for Args {
    const NAME: &'static str = "lsxcatd";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if !(self.all || self.version_of_daemon || self.node_type || self.database) {
            out.line("Usage: lsxcatd [-v|-t|-d|-a]")?;
            return Err(Stop::Code(1));
        }
        if self.all || self.version_of_daemon {
            out.line(VERSION)?;
        }
        if self.all || self.node_type {
            out.line("This is a Management Node")?;
        }
        if self.all || self.database {
            // The daemon may have moved to another database since it was started.
            let now = ctx.model.address().map(|address| dawn_bootd::database::lines(&address));
            let lines = now.unwrap_or_else(|| ctx.database.to_vec());
            lines.into_iter().try_for_each(|line| out.line(line))?;
        }
        Ok(())
    }
}
