//! `reventlog`: the event logs of machines.

use super::jobs;
use super::values;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_hardware::facts::log::{Log, LogEntry, Time, What};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Links, Target};
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::sync::Arc;

/// Show or clear the event logs of nodes
///
/// Without a word, or with all, the whole log is shown, the oldest entry first. A number shows so many
/// entries, from the oldest on, or with -s from the newest on.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The newest entry first
    #[arg(short = 's')]
    newest_first: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// all, a number of entries, or clear
    #[arg(value_name = "WHAT", allow_negative_numbers = true)]
    what: Vec<String>,
}

/// A line about a node's log.
#[derive(serde::Serialize)]
struct Shown<'l> {
    node: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    text: String,
    bmc: usize,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let time = self.time.as_ref().map(|time| format!("{time} ")).unwrap_or_default();
        lines.node(self.node, format!("{time}{}{}", self.text, jobs::suffix(self.bmc)))
    }
}

impl Command for Args {
    const NAME: &'static str = "reventlog";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let words: Vec<&str> = self.what.iter().map(String::as_str).collect();
        let count = match words[..] {
            [] | ["all"] => usize::MAX,
            ["clear"] => return clear(ctx, out),
            [number] if number.parse::<usize>().is_ok() => number.parse().unwrap_or(usize::MAX),
            _ => {
                let text = words.join(" ");
                return Err(Stop::usage(format!("'{text}' is not all, clear or a number of entries")));
            }
        };
        let newest_first = self.newest_first;
        let job = |links: Arc<Links>, target: Target| jobs::of_all(links, target, |bmc| bmc.log());
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, parts| {
            jobs::show_parts(ctx, out, node, parts, |out, bmc, log| {
                lines(log, count, newest_first)
                    .into_iter()
                    .try_for_each(|(time, text)| out.report(&Shown { node, time, text, bmc }))
            })
        })
    }
}

fn clear(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let job = |links: Arc<Links>, target: Target| jobs::of_all(links, target, |bmc| bmc.clear_log());
    let targets = jobs::targets(ctx, Deciding::Mgt);
    jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, parts| {
        jobs::show_parts(ctx, out, node, parts, |out, bmc, cleared| {
            let text = if cleared { "SEL cleared" } else { "no SEL entries" };
            out.report(&Shown { node, time: None, text: text.to_owned(), bmc })
        })
    })
}

/// The first `count` entries in their order: time and text.
fn lines(log: Log, count: usize, newest_first: bool) -> Vec<(Option<String>, String)> {
    let mut entries = match log {
        Log::Entries(entries) => entries,
        Log::OtherVersion(version) => {
            let text = format!("SEL version 51h support only, version reported: {version:x}");
            return vec![(None, text)];
        }
    };
    if entries.is_empty() {
        return vec![(None, "no SEL entries".to_owned())];
    }
    if newest_first {
        entries.reverse();
    }
    entries.iter().take(count).map(|entry| (time(entry.time), text(entry))).collect()
}

fn time(time: Time) -> Option<String> {
    match time {
        Time::Clock(seconds) => {
            let stamp = jiff::Timestamp::from_second(seconds).ok()?;
            Some(stamp.to_zoned(TimeZone::system()).strftime("%m/%d/%Y %H:%M:%S").to_string())
        }
        Time::Uptime(seconds) => Some(format!("BMC Uptime {seconds:6} s")),
        Time::Unknown => None,
    }
}

fn text(entry: &LogEntry) -> String {
    match &entry.what {
        What::Event { kind, event, sensor, reading, recovered } => {
            let mut text = format!("{kind}, {event} ({sensor}");
            if let Some((reading, threshold)) = reading {
                let (reading, threshold) = (values::shown(reading), values::shown(threshold));
                let _ = write!(text, " reading {reading} with threshold {threshold}");
            }
            text.push_str(if *recovered { ") - Recovered" } else { ")" });
            text
        }
        What::Oem(kind, bytes) => {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("Unknown OEM SEL Type {kind:02x}:{}", bytes.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_hardware::facts::vitals::Value;

    fn event(sensor: &str, recovered: bool, reading: Option<(Value, Value)>) -> LogEntry {
        let (kind, event, sensor) = ("Temperature".to_owned(), "high".to_owned(), sensor.to_owned());
        LogEntry { time: Time::Uptime(42), what: What::Event { kind, event, sensor, reading, recovered } }
    }

    #[test]
    fn texts() {
        let told = |entries: Vec<LogEntry>, count, newest_first| {
            let lines = lines(Log::Entries(entries), count, newest_first).into_iter();
            lines.map(|(time, text)| format!("{}|{text}", time.unwrap_or_default())).collect::<Vec<_>>()
        };
        let reading = Some((Value::Number(95.0, "C"), Value::Number(90.0, "C")));
        let entries = vec![
            event("A", false, None),
            event("B", true, reading),
            LogEntry { time: Time::Unknown, what: What::Oem(0xe1, vec![1, 0xab]) },
        ];
        assert_eq!(
            told(entries.clone(), usize::MAX, false),
            [
                "BMC Uptime     42 s|Temperature, high (A)",
                "BMC Uptime     42 s|Temperature, high (B reading 95 C (203 F) with threshold 90 C (194 F)) - Recovered",
                "|Unknown OEM SEL Type e1:01 ab",
            ]
        );
        assert_eq!(told(entries, 1, true), ["|Unknown OEM SEL Type e1:01 ab"]);
        assert_eq!(told(Vec::new(), 1, true), ["|no SEL entries"]);
        let other = lines(Log::OtherVersion(0x20), 1, false);
        assert_eq!(other[0].1, "SEL version 51h support only, version reported: 20");
    }
}
