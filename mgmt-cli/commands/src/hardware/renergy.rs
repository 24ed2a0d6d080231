//! `renergy`: the power that machines draw, and how warm they are.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_hardware::facts::energy::{Power, Site, Temperature};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Error, Links, Target};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::sync::Arc;

/// The words of WHAT.
const WORDS: &str = "WHAT is powerusage, temperature, or both.";

/// Show the power that nodes draw and their temperatures, by DCMI
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// powerusage or temperature [default: both]
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
}

/// What a node draws and how warm it is.
#[derive(Serialize)]
struct Energy<'n> {
    node: &'n str,
    #[serde(skip_serializing_if = "Option::is_none")]
    power: Option<PowerFigures>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    temperatures: Vec<Degrees>,
}

/// The power over the time in which it is measured.
#[derive(Serialize)]
struct PowerFigures {
    current_watts: u16,
    minimum_watts: u16,
    maximum_watts: u16,
    average_watts: u16,
    /// By the clock of the BMC, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    period_ms: u32,
    measuring: bool,
    /// The same time as xCAT prints it.
    #[serde(skip)]
    local_time: String,
}

/// The temperature at one place.
#[derive(Serialize)]
struct Degrees {
    place: &'static str,
    instance: u8,
    celsius: i8,
    #[serde(skip)]
    label: &'static str,
}

impl Report for Energy<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let mut say = |label: &str, value: String| lines.node(self.node, format!("{label:<36} : {value}"));
        if let Some(power) = &self.power {
            say("Current Power", format!("{}W", power.current_watts))?;
            say("Minimum Power over sampling duration", format!("{}W", power.minimum_watts))?;
            say("Maximum Power over sampling duration", format!("{}W", power.maximum_watts))?;
            say("Average Power over sampling duration", format!("{}W", power.average_watts))?;
            say("Time Stamp", power.local_time.clone())?;
            say("Statistics reporting time period", format!("{} milliseconds", power.period_ms))?;
            let measuring = if power.measuring { "Active" } else { "Inactivate" };
            say("Power Measurement", measuring.to_owned())?;
        }
        self.temperatures.iter().try_for_each(|Degrees { instance, celsius, label, .. }| {
            say(&format!("{label} Instance {instance}"), format!("{celsius:+} Centigrade"))
        })
    }
}

impl Command for Args {
    const NAME: &'static str = "renergy";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if let Some(text) = self.what.iter().find_map(|word| refusal(word)) {
            return ctx
                .nodes()
                .iter()
                .try_for_each(|node| out.node_error(node, CommandError::usage(text.clone()).hint(WORDS)));
        }
        let wants = |word: &str| self.what.is_empty() || self.what.iter().any(|asked| asked == word);
        let (power, temperature) = (wants("powerusage"), wants("temperature"));
        let job = move |links: Arc<Links>, target: Target| async move {
            let driver = links.driver(&target).await?;
            let unidentified = || Error::NoDriver(Deciding::Mgt.unidentified());
            let bmc = driver.processor().ok_or_else(unidentified)?;
            let power = if power { Some(bmc.power_usage().await?) } else { None };
            let temperatures = if temperature { bmc.temperatures().await? } else { Vec::new() };
            Ok((power, temperatures))
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, (power, temperatures)| {
            let temperatures = temperatures.iter().map(of_temperature).collect();
            out.report(&Energy { node, power: power.as_ref().map(of_power), temperatures })
        })
    }
}

/// What is wrong with a word.
fn refusal(word: &str) -> Option<String> {
    match word {
        "powerusage" | "temperature" => None,
        word if word.contains('=') => Some("Only Query is supported".to_owned()),
        word => Some(format!("The option {word} is not supported")),
    }
}

fn of_power(power: &Power) -> PowerFigures {
    let stamp = jiff::Timestamp::from_second(i64::from(power.time)).ok();
    let local = |stamp: jiff::Timestamp| {
        stamp.to_zoned(TimeZone::system()).strftime("%-m/%-d/%Y - %-H:%-M:%-S").to_string()
    };
    PowerFigures {
        current_watts: power.current_watts,
        minimum_watts: power.minimum_watts,
        maximum_watts: power.maximum_watts,
        average_watts: power.average_watts,
        time: stamp.map(|stamp| stamp.to_string()),
        period_ms: power.period_ms,
        measuring: power.active,
        local_time: stamp.map_or_else(|| power.time.to_string(), local),
    }
}

fn of_temperature(temperature: &Temperature) -> Degrees {
    let (place, label) = match temperature.site {
        Site::Inlet => ("inlet", "Inlet Temperature"),
        Site::Processor => ("processor", "CPU Temperature"),
        Site::Baseboard => ("baseboard", "Baseboard temperature"),
    };
    Degrees { place, instance: temperature.instance, celsius: temperature.degrees, label }
}
