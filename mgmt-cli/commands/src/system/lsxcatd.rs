//! `lsxcatd`: what this daemon is.

use dawn_bootd::command::{Command, Ctx, Kind, VERSION};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_bootd::patience;

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

/// Facts about the daemon.
#[derive(Default, serde::Serialize)]
struct Fact {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_object")]
    database: Option<Vec<String>>,
}

/// Each line `key=value` as a field.
fn as_object<S: serde::Serializer>(lines: &Option<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(lines.iter().flatten().map(|line| line.split_once('=').unwrap_or((line, ""))))
}

impl Report for Fact {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.version.iter().try_for_each(|version| lines.line(*version))?;
        self.node_type.iter().try_for_each(|kind| lines.line(format!("This is a {kind}")))?;
        self.database.iter().flatten().try_for_each(|line| lines.line(line))
    }
}

impl Command for Args {
    const NAME: &'static str = "lsxcatd";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if !(self.all || self.version_of_daemon || self.node_type || self.database) {
            return out.plain_error(CommandError::usage("Usage: lsxcatd [-v|-t|-d|-a]"));
        }
        if self.all || self.version_of_daemon {
            out.report(&Fact { version: Some(VERSION), ..Fact::default() })?;
        }
        if self.all || self.node_type {
            out.report(&Fact { node_type: Some("Management Node"), ..Fact::default() })?;
        }
        if self.all || self.database {
            // The daemon may have moved to another database since it was started.
            let now = ctx.model.address().map(|address| dawn_bootd::database::lines(&address));
            let mut lines = now.unwrap_or_else(|| ctx.database.to_vec());
            let state = ctx.model.away().map(|away| patience::state(&away, &ctx.snapshot));
            lines.extend(state.map(|state| format!("dbstate={state}")));
            out.report(&Fact { database: Some(lines), ..Fact::default() })?;
        }
        Ok(())
    }
}
