//! `renergy`: the power that machines draw, and how warm they are.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_hardware::facts::energy::{Power, Site, Temperature};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Error, Links, Target};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// The words of WHAT.
const WORDS: &str = "WHAT is powerusage, temperature, or both.";

/// Show the power that nodes draw and their temperatures, by DCMI
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// powerusage, temperature; both if none is given
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
}

/// A figure of a node.
#[derive(serde::Serialize)]
struct Figure<'n> {
    node: &'n str,
    label: String,
    value: String,
}

impl Report for Figure<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, format!("{:<36} : {}", self.label, self.value))
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
            let figures = power.iter().flat_map(of_power).chain(temperatures.iter().map(of_temperature));
            figures.into_iter().try_for_each(|(label, value)| out.report(&Figure { node, label, value }))
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

fn of_power(power: &Power) -> Vec<(String, String)> {
    let time = jiff::Timestamp::from_second(i64::from(power.time)).map_or_else(
        |_| power.time.to_string(),
        |time| time.to_zoned(TimeZone::system()).strftime("%-m/%-d/%Y - %-H:%-M:%-S").to_string(),
    );
    let watts = |watts: u16| format!("{watts}W");
    [
        ("Current Power", watts(power.current_watts)),
        ("Minimum Power over sampling duration", watts(power.minimum_watts)),
        ("Maximum Power over sampling duration", watts(power.maximum_watts)),
        ("Average Power over sampling duration", watts(power.average_watts)),
        ("Time Stamp", time),
        ("Statistics reporting time period", format!("{} milliseconds", power.period_ms)),
        ("Power Measurement", if power.active { "Active" } else { "Inactivate" }.to_owned()),
    ]
    .map(|(label, value)| (label.to_owned(), value))
    .to_vec()
}

fn of_temperature(temperature: &Temperature) -> (String, String) {
    let site = match temperature.site {
        Site::Inlet => "Inlet Temperature",
        Site::Processor => "CPU Temperature",
        Site::Baseboard => "Baseboard temperature",
    };
    (format!("{site} Instance {}", temperature.instance), format!("{:+} Centigrade", temperature.degrees))
}
