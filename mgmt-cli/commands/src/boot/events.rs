//! `events`: what nodes did, from the boot services.

use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_events::{Event, last_boot};

/// Events shown without `-n`.
const COUNT_DEFAULT: usize = 100;
/// Most events of one answer.
const COUNT_MAX: usize = 100_000;

/// Show every step of the boots of nodes, with times and bytes
///
/// Without a node the latest events of all, machines that are not nodes among them. The history of nodes is
/// kept for a month, over restarts of the daemon too; that of other machines is in memory only.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the latest N events
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = number::at_least::<usize>(0))]
    count: Option<usize>,
    /// Only the last boot of the node
    #[arg(long)]
    last_boot: bool,
    /// Nodes, or the MAC or IP address of another machine
    #[arg(value_name = "NODERANGE")]
    node: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "events";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        // A named machine has a bounded history; all of it is of use.
        let count = self.count.unwrap_or(if self.node.is_some() { COUNT_MAX } else { COUNT_DEFAULT });
        let subjects = self.node.as_deref().map(|name| subjects(ctx, name));
        let events = self.collect(ctx, subjects.as_deref(), count.min(COUNT_MAX));
        if let Some(name) =
            subjects.as_deref().and_then(|names| unknown(ctx, names)).filter(|_| events.is_empty())
        {
            return Err(Stop::not_found(format!(
                "{name} is not a node, and no machine of that address was seen"
            )));
        }
        events.iter().try_for_each(|event| out.report(&Shown { event }))
    }
}

/// An event of the list.
#[derive(serde::Serialize)]
struct Shown<'e> {
    #[serde(flatten)]
    event: &'e Event,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.data(line(self.event))
    }
}

impl Args {
    /// The latest events of all, or of these nodes and machines, oldest first.
    fn collect(&self, ctx: &Ctx<'_>, subjects: Option<&[String]>, count: usize) -> Vec<Event> {
        let of = |name: Option<&str>| {
            let events = ctx.boot.events(name, count);
            if self.last_boot { last_boot(&events).to_vec() } else { events }
        };
        let Some(subjects) = subjects else { return of(None) };
        let mut events: Vec<Event> = subjects.iter().flat_map(|name| of(Some(name))).collect();
        events.sort_by_key(|event| event.time_ms);
        events.split_off(events.len().saturating_sub(count))
    }
}

/// The nodes of a noderange; a word that is not one is a machine's address.
fn subjects(ctx: &Ctx<'_>, name: &str) -> Vec<String> {
    let found = ctx.view.expand(&ctx.snapshot, name);
    match found.fatal.is_none() && found.unknown.is_empty() && !found.nodes.is_empty() {
        true => found.nodes,
        false => vec![name.to_owned()],
    }
}

/// The one that is not a node.
fn unknown<'a>(ctx: &Ctx<'_>, names: &'a [String]) -> Option<&'a str> {
    names.iter().map(String::as_str).find(|name| !ctx.snapshot.has_node(name))
}

fn line(event: &Event) -> String {
    let time = i64::try_from(event.time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let local = |time: jiff::Timestamp| {
        time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
    };
    let step = format!("{:?}", event.step).to_lowercase();
    let mut text =
        format!("{} {}: {step:<8} {}", time.map(local).unwrap_or_default(), event.node, event.detail);
    if event.bytes > 0 {
        text.push_str(&format!(" ({} bytes in {} ms)", event.bytes, event.duration_ms));
    }
    text
}
