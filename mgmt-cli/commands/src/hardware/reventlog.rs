//! `reventlog`: the event logs of machines.

use super::jobs;
use super::values::{self, Measured};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_hardware::facts::log::{Log, LogEntry, Time, What};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Links, Target};
use jiff::tz::TimeZone;
use serde::Serialize;
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

/// One thing about a node's log.
#[derive(Serialize)]
struct Shown<'l> {
    node: &'l str,
    bmc: usize,
    #[serde(flatten)]
    said: Said,
}

/// What is said of a log.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Said {
    /// An entry about a sensor.
    Event {
        #[serde(flatten)]
        time: When,
        kind: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        event: String,
        sensor: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        reading: Option<Measured>,
        #[serde(skip_serializing_if = "Option::is_none")]
        threshold: Option<Measured>,
        recovered: bool,
        #[serde(skip)]
        line: String,
    },
    /// An entry in the maker's own form.
    Oem {
        #[serde(flatten)]
        time: When,
        record_type: u8,
        bytes: Vec<u8>,
        #[serde(skip)]
        line: String,
    },
    /// There are no entries.
    Empty,
    /// The log was cleared.
    Cleared,
    /// A log that cannot be read.
    OtherVersion { version: u8 },
}

/// The time of an entry.
#[derive(Default, Serialize)]
struct When {
    /// By the clock of this machine, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Since the BMC started, where it has no clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u32>,
    /// The same as xCAT prints it.
    #[serde(skip)]
    shown: Option<String>,
}

impl Said {
    /// Its line: the time, if it has one, and the text.
    fn line(&self) -> String {
        match self {
            Self::Event { time, line, .. } | Self::Oem { time, line, .. } => match &time.shown {
                Some(time) => format!("{time} {line}"),
                None => line.clone(),
            },
            Self::Empty => "no SEL entries".to_owned(),
            Self::Cleared => "SEL cleared".to_owned(),
            Self::OtherVersion { version } => {
                format!("SEL version 51h support only, version reported: {version:x}")
            }
        }
    }
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, format!("{}{}", self.said.line(), jobs::suffix(self.bmc)))
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
                let all = said(log, count, newest_first).into_iter();
                all.map(|said| Shown { node, bmc, said }).try_for_each(|shown| out.report(&shown))
            })
        })
    }
}

fn clear(ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let job = |links: Arc<Links>, target: Target| jobs::of_all(links, target, |bmc| bmc.clear_log());
    let targets = jobs::targets(ctx, Deciding::Mgt);
    jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, parts| {
        jobs::show_parts(ctx, out, node, parts, |out, bmc, cleared| {
            let said = if cleared { Said::Cleared } else { Said::Empty };
            out.report(&Shown { node, bmc, said })
        })
    })
}

/// The first `count` entries in their order.
fn said(log: Log, count: usize, newest_first: bool) -> Vec<Said> {
    let mut entries = match log {
        Log::Entries(entries) => entries,
        Log::OtherVersion(version) => return vec![Said::OtherVersion { version }],
    };
    if entries.is_empty() {
        return vec![Said::Empty];
    }
    if newest_first {
        entries.reverse();
    }
    entries.into_iter().take(count).map(of_entry).collect()
}

fn of_entry(entry: LogEntry) -> Said {
    let (time, line) = (time(entry.time), text(&entry));
    match entry.what {
        What::Event { kind, event, sensor, reading, recovered } => {
            let (reading, threshold) = reading.unzip();
            let reading = reading.as_ref().map(Measured::of);
            let threshold = threshold.as_ref().map(Measured::of);
            Said::Event { time, kind, event, sensor, reading, threshold, recovered, line }
        }
        What::Oem(record_type, bytes) => Said::Oem { time, record_type, bytes, line },
    }
}

fn time(time: Time) -> When {
    match time {
        Time::Clock(seconds) => {
            let stamp = jiff::Timestamp::from_second(seconds).ok();
            let local = |stamp: jiff::Timestamp| {
                stamp.to_zoned(TimeZone::system()).strftime("%m/%d/%Y %H:%M:%S").to_string()
            };
            When { time: stamp.map(|stamp| stamp.to_string()), shown: stamp.map(local), ..When::default() }
        }
        Time::Uptime(seconds) => When {
            uptime_seconds: Some(seconds),
            shown: Some(format!("BMC Uptime {seconds:6} s")),
            ..When::default()
        },
        Time::Unknown => When::default(),
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
            let said = said(Log::Entries(entries), count, newest_first);
            said.iter().map(Said::line).collect::<Vec<_>>()
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
                "BMC Uptime     42 s Temperature, high (A)",
                "BMC Uptime     42 s Temperature, high (B reading 95 C (203 F) with threshold 90 C (194 F)) - Recovered",
                "Unknown OEM SEL Type e1:01 ab",
            ]
        );
        assert_eq!(told(entries, 1, true), ["Unknown OEM SEL Type e1:01 ab"]);
        assert_eq!(told(Vec::new(), 1, true), ["no SEL entries"]);
        let other = said(Log::OtherVersion(0x20), 1, false);
        assert_eq!(other[0].line(), "SEL version 51h support only, version reported: 20");
    }

    #[test]
    fn an_entry_is_data() {
        let reading = Some((Value::Number(95.0, "C"), Value::Number(90.0, "C")));
        let shown = Shown { node: "cn1", bmc: 1, said: of_entry(event("A", true, reading)) };
        let expected = concat!(
            r#"{"node":"cn1","bmc":1,"what":"event","uptime_seconds":42,"kind":"Temperature","event":"high","#,
            r#""sensor":"A","reading":{"value":95.0,"unit":"C"},"threshold":{"value":90.0,"unit":"C"},"recovered":true}"#,
        );
        assert_eq!(serde_json::to_string(&shown).unwrap(), expected);
    }
}
