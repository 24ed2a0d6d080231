//! `console`: the state of consoles, and their logs.

use super::rcons::{no_console, nowhere};
use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::consoles::log;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_hardware::console::State;
use dawn_hardware::console::place::{Place, place};
use dawn_serving::disks::within;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Most lines that are shown of one log.
const LINES_MAX: usize = 100_000;
/// Bytes of a log that are read at once.
const PART_BYTES_MAX: u64 = 4 << 20;
/// Pause between two looks at logs that are followed.
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);

/// Show the state of consoles, or their logs
///
/// `rcons NODE` shows a console itself.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Show what the consoles wrote
    #[arg(long)]
    log: bool,
    /// With --log: only this many of the newest lines
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100, requires = "log",
        allow_negative_numbers = true, value_parser = number::at_least::<usize>(0))]
    lines: usize,
    /// With --log: keep showing what is written
    #[arg(short = 'f', long, requires = "log")]
    follow: bool,
}

/// How a console is.
#[derive(serde::Serialize)]
struct Shown<'n> {
    node: &'n str,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    viewers: usize,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let reason = if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) };
        let viewers = match self.viewers {
            0 => String::new(),
            1 => ", 1 viewer".to_owned(),
            more => format!(", {more} viewers"),
        };
        lines.node(self.node, format!("{}{reason}{viewers}", self.state))
    }
}

/// A line of a log.
#[derive(serde::Serialize)]
struct Line<'n> {
    node: &'n str,
    line: &'n str,
}

impl Report for Line<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.line)
    }
}

impl Command for Args {
    const NAME: &'static str = "console";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if !self.log {
            return ctx.nodes().iter().try_for_each(|node| show(ctx, out, node));
        }
        if self.lines > LINES_MAX {
            return Err(Stop::usage(format!("{LINES_MAX} lines of a log are shown at most")));
        }
        let data = ctx.data.ok_or_else(|| Stop::internal("this daemon has no data directory"))?;
        let mut ends = Vec::new();
        for node in ctx.nodes() {
            let Some(path) = log::file(data, node) else { continue };
            match tail(&path, self.lines) {
                Ok(Some((lines, end))) => {
                    lines.iter().try_for_each(|line| out.report(&Line { node, line }))?;
                    ends.push((node, path, end));
                }
                Ok(None) => {
                    if !self.follow {
                        out.node_error(node, CommandError::not_found("its console has written nothing"))?;
                    }
                    ends.push((node, path, End::default()));
                }
                Err(error) => out.node_error(node, error)?,
            }
        }
        if !self.follow {
            return Ok(());
        }
        let (_never, pause): (_, Receiver<()>) = channel();
        loop {
            out.go_on()?;
            let _ = pause.recv_timeout(FOLLOW_PERIOD);
            for (node, path, end) in &mut ends {
                match news(path, *end) {
                    Ok((lines, newest)) => {
                        lines.iter().try_for_each(|line| out.report(&Line { node, line }))?;
                        *end = newest;
                    }
                    Err(error) => out.node_error(node, error)?,
                }
            }
        }
    }
}

fn show(ctx: &Ctx<'_>, out: &mut Out<'_>, node: &str) -> Done {
    match place(&ctx.snapshot, node) {
        None => return out.node_error(node, no_console(node)),
        Some(Place::Nowhere(why)) => return out.node_error(node, nowhere(node, why)),
        Some(_) => {}
    }
    let Some(shown) = ctx.boot.consoles().and_then(|hub| hub.shown(node)) else {
        return out.report(&Shown { node, state: "not held", reason: String::new(), viewers: 0 });
    };
    let state = match shown.state {
        State::Connected => "connected",
        State::Connecting => "connecting",
        State::Available => "available",
        State::Nowhere => "no way",
    };
    out.report(&Shown { node, state, reason: shown.reason, viewers: shown.viewers })
}

/// How far a log was read: its file, and the place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    inode: u64,
    at: u64,
}

/// The newest lines of a log, and where they end; `None` if there is no log.
fn tail(path: &Path, count: usize) -> Result<Option<(Vec<String>, End)>, CommandError> {
    read(path, move |file, end| {
        let from = end.at.saturating_sub(PART_BYTES_MAX);
        let (text, at) = part(file, from, end.at)?;
        let skipped = usize::from(from > 0);
        let lines: Vec<String> = text.lines().skip(skipped).map(str::to_owned).collect();
        let newest = lines.len().saturating_sub(count);
        Ok((lines.into_iter().skip(newest).collect(), End { at, ..end }))
    })
}

/// What was written after a place; a log that was begun again is read from its beginning.
fn news(path: &Path, seen: End) -> Result<(Vec<String>, End), CommandError> {
    let read = read(path, move |file, end| {
        let from = if seen.inode == end.inode && seen.at <= end.at { seen.at } else { 0 };
        let (text, at) = part(file, from, end.at.min(from.saturating_add(PART_BYTES_MAX)))?;
        Ok((text.lines().map(str::to_owned).collect(), End { at, ..end }))
    })?;
    Ok(read.unwrap_or((Vec::new(), seen)))
}

/// Looks at a log on a thread that may hang; `end` is where it ends now.
fn read<T: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&mut File, End) -> io::Result<T> + Send + 'static,
) -> Result<Option<T>, CommandError> {
    let looked = within(path, move |path: &Path| match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(mut file) => {
            let facts = file.metadata()?;
            look(&mut file, End { inode: facts.ino(), at: facts.len() }).map(Some)
        }
    });
    let path: PathBuf = path.to_owned();
    let failed = |why: String| CommandError::unavailable(format!("{}: {why}", path.display()));
    looked.map_err(|late| failed(late.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// Whole lines between two places, and where the last one ends.
fn part(file: &mut File, from: u64, to: u64) -> io::Result<(String, u64)> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(whole);
    let end = from.saturating_add(u64::try_from(whole).unwrap_or(0));
    Ok((String::from_utf8_lossy(&bytes).into_owned(), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn tails_and_news() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cn1.log");
        assert!(tail(&path, 2).unwrap().is_none());
        assert_eq!(news(&path, End::default()).unwrap(), (Vec::new(), End::default()));
        std::fs::write(&path, "a\nb\nc\nhal").unwrap();
        let (lines, end) = tail(&path, 2).unwrap().unwrap();
        assert_eq!((lines, end.at), (vec!["b".to_owned(), "c".to_owned()], 6));
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"f\nd\n").unwrap();
        let (lines, end) = news(&path, end).unwrap();
        assert_eq!(lines, ["half", "d"]);
        // The log is rotated.
        std::fs::rename(&path, directory.path().join("cn1.log.1")).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(news(&path, end).unwrap().0, ["new"]);
        // A log that is larger than what is read at once.
        std::fs::write(&path, "0123456789abcde\n".repeat(1 << 19)).unwrap();
        let (lines, _) = tail(&path, LINES_MAX).unwrap().unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES_MAX, "0123456789abcde"));
    }
}
