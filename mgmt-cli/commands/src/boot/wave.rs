//! `wave`: many nodes that boot at about the same time, as one.

use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_events::{NodeReport, Step, WaveReport, now_ms};

/// Show the progress of nodes that boot together
///
/// A wave is at least ten nodes (of more than 2,000 nodes one in 200) that begin to boot within a minute, and
/// those that follow them. The command prints how many nodes came to each stage and how long that took, and
/// names those that are not up. The latest eight waves are kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one line for each wave that is known
    #[arg(short = 'l', long)]
    list: bool,
    /// The wave's number [default: the latest one]
    #[arg(value_name = "NUMBER", conflicts_with = "list", value_parser = number::at_least::<u64>(1))]
    number: Option<u64>,
}

impl Command for Args {
    const NAME: &'static str = "wave";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let now_ms = now_ms();
        let mut waves = ctx.boot.waves(now_ms, &|node| ctx.view.covers(node));
        if self.list {
            return waves.into_iter().try_for_each(|wave| out.report(&Line(Shown { wave, now_ms })));
        }
        let found = match self.number {
            Some(number) => waves.into_iter().find(|wave| wave.number == number),
            None => waves.pop(),
        };
        match (found, self.number) {
            (Some(wave), _) => out.report(&Shown { wave, now_ms }),
            (None, Some(number)) => Err(Stop::not_found(format!(
                "There is no wave {number}; `dawn wave --list` lists the known waves"
            ))),
            (None, None) => Err(Stop::not_found(
                "No nodes booted together since the oldest event; `dawn events` shows the boots of single nodes",
            )),
        }
    }
}

/// A wave with all details.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    wave: WaveReport,
    #[serde(skip)]
    now_ms: u64,
}

/// The first line of it.
#[derive(serde::Serialize)]
struct Line(Shown);

impl Report for Line {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.data(self.0.summary())
    }
}

impl Report for Shown {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.lines().into_iter().try_for_each(|line| lines.data(line))
    }
}

impl Shown {
    fn lines(&self) -> Vec<String> {
        let WaveReport { stages, waiting, nodes, booted, .. } = &self.wave;
        let mut lines = vec![self.summary()];
        lines.push(format!("{:<10} {:>7} {:>8} {:>8} {:>8}", "stage", "nodes", "median", "95 %", "slowest"));
        lines.extend(stages.iter().map(|stage| {
            let [median, most, slowest] = [stage.median_ms, stage.most_ms, stage.slowest_ms].map(seconds);
            format!("{:<10} {:>7} {median:>8} {most:>8} {slowest:>8}", name(stage.step), stage.nodes)
        }));
        lines.extend(waiting.iter().map(|node| self.silent(node)));
        let more = nodes.saturating_sub(*booted).saturating_sub(waiting.len());
        if more > 0 {
            lines.push(format!("{more} more nodes are not up"));
        }
        lines
    }

    fn silent(&self, node: &NodeReport) -> String {
        let step = node.step.map(name).unwrap_or_default();
        let silent = self.wave.ended_ms.unwrap_or(self.now_ms).saturating_sub(node.last_ms) / 1_000;
        let again = match node.attempts {
            0 | 1 => String::new(),
            attempts => format!(", began {attempts} times"),
        };
        format!("{} is not up: {step}, no event for {silent} s{again}", node.node)
    }

    fn summary(&self) -> String {
        let WaveReport { number, began_ms, ended_ms, nodes, booted, .. } = &self.wave;
        let began = i64::try_from(*began_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let began = began.map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
        let began = began.map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let (end, how) = match ended_ms {
            Some(end) => (*end, "ended after"),
            None => (self.now_ms, "has gone on for"),
        };
        let took = end.saturating_sub(*began_ms) / 1_000;
        format!("wave {number} began {began} and {how} {took} s: {booted} of {nodes} nodes are up")
    }
}

/// The name of a step, as `events` prints it.
fn name(step: Step) -> String {
    format!("{step:?}").to_lowercase()
}

/// Milliseconds as seconds with a tenth.
fn seconds(ms: u32) -> String {
    format!("{}.{}", ms / 1_000, ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_events::StageReport;

    #[test]
    fn what_a_wave_looks_like() {
        let stage =
            |step, nodes| StageReport { step, nodes, median_ms: 950, most_ms: 12_000, slowest_ms: 63_333 };
        let wave = WaveReport {
            number: 3,
            began_ms: 0,
            ended_ms: None,
            nodes: 62,
            booted: 10,
            stages: vec![stage(Step::Discover, 62), stage(Step::Booted, 10)],
            waiting: vec![NodeReport {
                node: "cn7".into(),
                step: Some(Step::Kernel),
                last_ms: 5_000,
                attempts: 2,
            }],
        };
        let lines = Shown { wave, now_ms: 65_000 }.lines();
        assert!(lines[0].ends_with("has gone on for 65 s: 10 of 62 nodes are up"), "{lines:?}");
        assert_eq!(
            lines[1..],
            [
                "stage        nodes   median     95 %  slowest",
                "discover        62      0.9     12.0     63.3",
                "booted          10      0.9     12.0     63.3",
                "cn7 is not up: kernel, no event for 60 s, began 2 times",
                "51 more nodes are not up",
            ]
        );
    }
}
