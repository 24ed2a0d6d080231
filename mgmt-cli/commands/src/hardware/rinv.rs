//! `rinv`: what machines consist of.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_hardware::facts::inventory::{Fact, Parts, Value};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Links, Target};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// Show what nodes consist of: model, serial numbers, firmware, parts
///
/// WHAT is one of: model, serial, asset, vpd (model, serial, device id and firmware), mprom, firm or firmware
/// (of the service processor), deviceid, guid or uuid, misc, hw (all parts), dimm, all.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Accepted for scripts: nodes are not grouped by model
    #[arg(short = 't')]
    tags: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// What to show [default: all]
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
}

/// A fact about a node.
#[derive(serde::Serialize)]
struct Shown<'f> {
    node: &'f str,
    label: &'f str,
    value: String,
    bmc: usize,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, format!("{}: {}{}", self.label, self.value, jobs::suffix(self.bmc)))
    }
}

impl Command for Args {
    const NAME: &'static str = "rinv";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let word = match &self.what[..] {
            [] => "all",
            [word] => word.as_str(),
            _ => return Err(Stop::usage("rinv takes one word after the nodes; `rinv -h` lists them")),
        };
        let Some(parts) = Parts::parse(word) else {
            return Err(Stop::usage(format!(
                "'{word}' is not something that rinv shows; `rinv -h` lists the words"
            )));
        };
        if self.tags && !matches!(word, "all" | "vpd") {
            return jobs::refuse_words(ctx, out, (Deciding::Mgt, ""), |mgt| {
                format!("option '-t' can only work with 'all' or 'vpd' when using mgt={mgt}.")
            });
        }
        let job = move |links: Arc<Links>, target: Target| {
            let parts = parts.clone();
            jobs::of_all(links, target, move |bmc| bmc.inventory(parts.clone()))
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, parts| {
            jobs::show_parts(ctx, out, node, parts, |out, bmc, facts| {
                facts.iter().try_for_each(|Fact { label, value }| {
                    out.report(&Shown { node, label, value: text(value), bmc })
                })
            })
        })
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Time(seconds) => jiff::Timestamp::from_second(*seconds).map_or_else(
            |_| seconds.to_string(),
            |time| time.to_zoned(TimeZone::system()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
        ),
    }
}
