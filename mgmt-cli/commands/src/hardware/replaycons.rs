//! `replaycons`: the log of a console again, at the speed of a serial line.

use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::consoles::log;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_serving::bounded_read::{self, Refused, Rights};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Bytes of one file of a log; the log itself is rotated long before.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Bits of a character on a line.
const CHARACTER_BITS: f64 = 8.0;
/// Longest pause between two looks whether the caller is still there.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Show the log of a node's console again, as fast as a serial line
///
/// Each line has the time at which the node wrote it. `console NODE --log` shows the log at once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node
    #[arg(value_name = "NODE", required = true)]
    noderange: String,
    /// Speed in bits a second
    #[arg(value_name = "BPS", default_value_t = 19_200, allow_negative_numbers = true, value_parser = number::at_least::<u64>(1))]
    bps: u64,
    /// Only this many of the newest bytes; 0: all
    #[arg(value_name = "TAIL", default_value_t = 0, allow_negative_numbers = true, value_parser = number::at_least::<usize>(0))]
    tail: usize,
}

/// The first line.
#[derive(serde::Serialize)]
struct Head<'n> {
    node: &'n str,
    bps: u64,
    tail: usize,
}

impl Report for Head<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("node={}, bps={}, tail={}", self.node, self.bps, self.tail))
    }
}

/// A line of the log.
#[derive(serde::Serialize)]
struct Line<'l> {
    line: &'l str,
}

impl Report for Line<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(self.line)
    }
}

impl Command for Args {
    const NAME: &'static str = "replaycons";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let [node] = ctx.nodes() else {
            let count = ctx.nodes().len();
            return Err(Stop::usage(format!("replaycons shows the log of one node, not of {count}")));
        };
        let data = ctx.data.ok_or_else(|| Stop::internal("this daemon has no data directory"))?;
        let text = text(data, node)?;
        out.report(&Head { node, bps: self.bps, tail: self.tail })?;
        let (_never, pause): (_, Receiver<()>) = channel();
        let (begun, mut due) = (Instant::now(), Duration::ZERO);
        for line in newest(&text, self.tail).lines() {
            out.report(&Line { line })?;
            due = due.saturating_add(time(line.len() + 1, self.bps));
            while let Some(left) = due.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
                out.go_on()?;
                let _ = pause.recv_timeout(left.min(PAUSE_MAX));
            }
        }
        Ok(())
    }
}

/// All files of a log, the oldest first.
fn text(data: &Path, node: &str) -> Result<String, Stop> {
    let path = log::file(data, node).ok_or_else(|| Stop::usage(format!("{node} has no log")))?;
    let mut text = String::new();
    let mut is_there = false;
    for file in log::files(&path) {
        match bounded_read::read(&file, FILE_BYTES_MAX, Rights::Daemon) {
            Ok(bytes) => {
                is_there = true;
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            Err(Refused::Missing) => {}
            Err(why) => return Err(Stop::unavailable(format!("{}: {why}", file.display()))),
        }
    }
    match is_there {
        true => Ok(text),
        false => Err(CommandError::not_found(format!("replaycons: cannot open {}", path.display())).into()),
    }
}

/// The newest bytes, from the beginning of a line on.
fn newest(text: &str, tail: usize) -> &str {
    if tail == 0 || tail >= text.len() {
        return text;
    }
    let from = text.len() - tail;
    if text.as_bytes().get(from - 1) == Some(&b'\n') {
        return text.get(from..).unwrap_or_default();
    }
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let line = rest.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| from + at + 1);
    text.get(line..).unwrap_or_default()
}

/// How long a line takes.
#[allow(clippy::cast_precision_loss)]
fn time(bytes: usize, bps: u64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 * CHARACTER_BITS / bps as f64).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_begin_with_a_line() {
        let text = "one\ntwo\nthr\u{e9}e\n";
        for (tail, expected) in [
            (0, text),
            (100, text),
            (7, "thr\u{e9}e\n"),
            (8, "thr\u{e9}e\n"),
            (9, "thr\u{e9}e\n"),
            (11, "two\nthr\u{e9}e\n"),
            (3, ""),
            (1, ""),
        ] {
            assert_eq!(newest(text, tail), expected, "{tail}");
        }
    }

    #[test]
    fn a_line_takes_its_time() {
        assert_eq!(time(2_400, 19_200), Duration::from_secs(1));
        assert_eq!(time(usize::MAX, 1), Duration::MAX);
    }

    #[test]
    fn old_files_come_first() {
        let data = tempfile::tempdir().expect("a directory");
        let Err(Stop::Error(error)) = text(data.path(), "cn1") else { panic!("there is no log") };
        assert!(error.to_string().contains("replaycons: cannot open "), "{error}");
        std::fs::create_dir_all(log::directory(data.path())).expect("a directory");
        let path = log::file(data.path(), "cn1").expect("a path");
        std::fs::write(&path, "[t3] new\n").expect("a file");
        std::fs::write(path.with_added_extension("1"), "[t2] old\n").expect("a file");
        std::fs::write(path.with_added_extension("3"), "[t1] oldest\n").expect("a file");
        assert_eq!(text(data.path(), "cn1").expect("a text"), "[t1] oldest\n[t2] old\n[t3] new\n");
    }
}
