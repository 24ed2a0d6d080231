//! `lsxcatd`: what this daemon is.

use dawn_bootd::command::{Command, Ctx, Kind, VERSION};
use dawn_bootd::database::Place;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_bootd::patience::{self, AwayState};
use serde::Serialize;
use std::borrow::Cow;

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
#[derive(Default, Serialize)]
struct Fact<'d> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<Database<'d>>,
}

/// Its database.
#[derive(Serialize)]
struct Database<'d> {
    #[serde(flatten)]
    place: Cow<'d, Place>,
    /// Only while it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    away: Option<AwayState>,
}

impl Report for Fact<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.version.iter().try_for_each(|version| lines.line(*version))?;
        self.node_type.iter().try_for_each(|kind| lines.line(format!("This is a {kind}")))?;
        let Some(Database { place, away }) = &self.database else { return Ok(()) };
        place.lines().into_iter().try_for_each(|line| lines.line(line))?;
        away.iter().try_for_each(|away| lines.line(format!("dbstate={away}")))
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
            let now = ctx.model.address().map(|address| Cow::Owned(Place::of(&address)));
            let place = now.unwrap_or(Cow::Borrowed(ctx.database));
            let away = ctx.model.away().map(|away| patience::state(&away, &ctx.snapshot));
            out.report(&Fact { database: Some(Database { place, away }), ..Fact::default() })?;
        }
        Ok(())
    }
}
