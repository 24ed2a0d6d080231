//! `rvitals`: what the sensors of machines say.

use super::jobs;
use super::values;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_hardware::facts::vitals::{Chosen, Group, Value, Vital, Vitals};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Links, Target};
use std::sync::Arc;

/// The words of SENSORS.
const GROUPS: &str = "SENSORS are temp, voltage, fanspeed, power, wattage, leds, chassis and all.";

/// Show what the sensors of nodes say: temperatures, voltages, fans, power
///
/// SENSORS are temp, voltage, fanspeed, power, wattage, leds, chassis or all, several separated by blanks or
/// commas.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// temp, voltage, fanspeed, power, wattage, leds, chassis or all [default: all]
    #[arg(value_name = "SENSORS")]
    groups: Vec<String>,
}

/// What a sensor says.
#[derive(serde::Serialize)]
struct Shown<'v> {
    node: &'v str,
    sensor: &'v str,
    value: String,
    /// The value without its unit, where it is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    conditions: &'v [String],
    bmc: usize,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let name = if self.sensor.is_empty() { String::new() } else { format!("{}: ", self.sensor) };
        let value = &self.value;
        let text = match self.conditions {
            [] => format!("{name}{value}"),
            conditions => format!("{name}{value:<20} ({})", conditions.join(", ")),
        };
        lines.node(self.node, text + &jobs::suffix(self.bmc))
    }
}

impl Command for Args {
    const NAME: &'static str = "rvitals";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let words: Vec<&str> =
            self.groups.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()).collect();
        let groups: Option<Vec<Group>> = words.iter().map(|word| Group::parse(word)).collect();
        let chosen = match groups {
            None => {
                let text = format!("Unrecognized rvitals arguments {}", words.join(" "));
                return Err(CommandError::usage(text).hint(GROUPS).into());
            }
            Some(groups) if groups.is_empty() => Chosen(vec![Group::All]),
            Some(groups) => Chosen(groups),
        };
        let job = move |links: Arc<Links>, target: Target| {
            let chosen = chosen.clone();
            jobs::of_all(links, target, move |bmc| bmc.vitals(chosen.clone()))
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, parts| {
            jobs::show_parts(ctx, out, node, parts, |out, bmc, Vitals(vitals)| {
                vitals.iter().try_for_each(|vital| out.report(&shown(node, vital, bmc)))
            })
        })
    }
}

fn shown<'v>(node: &'v str, vital: &'v Vital, bmc: usize) -> Shown<'v> {
    let (number, unit) = match vital.value {
        Value::Number(number, unit) => (Some(number), Some(unit)),
        Value::Raw(byte) => (Some(f64::from(byte)), None),
        _ => (None, None),
    };
    let value = values::shown(&vital.value);
    Shown { node, sensor: &vital.name, value, number, unit, conditions: &vital.conditions, bmc }
}
