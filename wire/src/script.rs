//! Post scripts: the two lists in `mypostscript`, and what the node says of each script on the status port.
//!
//! A result is one line of fields with blanks between them, `scriptresult HALF MILLISECONDS OUTCOME SCRIPT…`,
//! and after a tab the last words of the script's output. Words of Dawn's own `/init`: an older server logs
//! the line and ignores it.

use crate::text::without_control;
use std::fmt;

/// Begins the line.
pub const RESULT: &str = "scriptresult";
/// Longest part of a script's output that a line carries, in bytes.
pub const SAID_BYTES_MAX: usize = 200;

/// One of the two lists of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// `postscripts`.
    Post,
    /// `postbootscripts`.
    PostBoot,
}

impl Half {
    /// Both, in the order in which they run.
    pub const ALL: [Self; 2] = [Self::Post, Self::PostBoot];

    /// The list, as tables and the marks in `mypostscript` name it.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::Post => "postscripts",
            Self::PostBoot => "postbootscripts",
        }
    }

    /// One script of it.
    #[must_use]
    pub fn script(self) -> &'static str {
        match self {
            Self::Post => "postscript",
            Self::PostBoot => "postbootscript",
        }
    }

    /// The line before the list.
    #[must_use]
    pub fn start(self) -> String {
        format!("# {}-start-here", self.list())
    }

    /// The line after the list.
    #[must_use]
    pub fn end(self) -> String {
        format!("# {}-end-here", self.list())
    }
}

/// How a script ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ended by itself.
    Exit(u8),
    /// A signal ended it.
    Signal(u8),
    /// It was ended at the limit of its time.
    Late,
    /// It was ended because it wrote more than the log takes.
    Flood,
    /// The server has no such file.
    Missing,
    /// It is there and could not be started.
    Unstartable,
    /// It has been running for this long and still runs.
    Running,
}

impl Outcome {
    /// Nothing is wrong, so far.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Exit(0) | Self::Running)
    }

    fn parse(text: &str) -> Option<Self> {
        let (word, number) = text.split_once(':').unwrap_or((text, ""));
        match (word, number) {
            ("exit", number) => number.parse().ok().map(Self::Exit),
            ("signal", number) => number.parse().ok().map(Self::Signal),
            ("late", "") => Some(Self::Late),
            ("flood", "") => Some(Self::Flood),
            ("missing", "") => Some(Self::Missing),
            ("unstartable", "") => Some(Self::Unstartable),
            ("running", "") => Some(Self::Running),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit:{code}"),
            Self::Signal(number) => write!(f, "signal:{number}"),
            Self::Late => f.write_str("late"),
            Self::Flood => f.write_str("flood"),
            Self::Missing => f.write_str("missing"),
            Self::Unstartable => f.write_str("unstartable"),
            Self::Running => f.write_str("running"),
        }
    }
}

/// What became of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptResult {
    /// The list that names it.
    pub half: Half,
    /// Its name with its words.
    pub script: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// The end of its output; empty if it has none.
    pub said: String,
}

impl ScriptResult {
    /// Reads the line without its control characters; none if it is another one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(RESULT)?.strip_prefix(' ')?;
        let (head, said) = rest.split_once('\t').unwrap_or((rest, ""));
        let mut fields = head.splitn(4, ' ');
        let half = fields.next().and_then(|word| Half::ALL.into_iter().find(|half| half.script() == word))?;
        let duration_ms = fields.next()?.parse().ok()?;
        let outcome = Outcome::parse(fields.next()?)?;
        let script = clean(fields.next()?);
        let said = clean(said);
        (!script.is_empty()).then_some(Self { half, script, outcome, duration_ms, said })
    }
}

impl fmt::Display for ScriptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { half, script, outcome, duration_ms, said } = self;
        write!(f, "{RESULT} {} {duration_ms} {outcome} {}", half.script(), clean(script))?;
        let said = clean(said);
        if said.is_empty() { Ok(()) } else { write!(f, "\t{said}") }
    }
}

/// Text without control characters, at most [`SAID_BYTES_MAX`] bytes.
fn clean(text: &str) -> String {
    let text = without_control(text);
    let text = text.trim();
    text.get(..text.floor_char_boundary(SAID_BYTES_MAX)).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let all = [
            Outcome::Exit(0),
            Outcome::Exit(255),
            Outcome::Signal(9),
            Outcome::Late,
            Outcome::Flood,
            Outcome::Missing,
            Outcome::Unstartable,
            Outcome::Running,
        ];
        for outcome in all {
            for (half, said) in [(Half::Post, ""), (Half::PostBoot, "no disk: 3 of 4")] {
                let script = "custom/x.sh a  b".to_owned();
                let result = ScriptResult { half, script, outcome, duration_ms: 1200, said: said.into() };
                assert_eq!(ScriptResult::parse(&result.to_string()), Some(result.clone()), "{result}");
            }
        }
        assert_eq!(Half::PostBoot.start(), "# postbootscripts-start-here");
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "scriptresult",
            "scriptresult postscript 1 exit:0",
            "scriptresult postscript 1 exit:0 ",
            "scriptresult postscript x exit:0 syslog",
            "scriptresult postscript 1 exit:256 syslog",
            "scriptresult postscript 1 late:1 syslog",
            "scriptresult prescript 1 exit:0 syslog",
            "problem x",
        ] {
            assert_eq!(ScriptResult::parse(line), None, "{line}");
        }
        let long = format!("scriptresult postscript 1 exit:1 a\u{1b}\t{}\u{7}", "é".repeat(500));
        let read = ScriptResult::parse(&long).unwrap();
        assert_eq!((read.script.as_str(), read.said.len()), ("a", SAID_BYTES_MAX));
    }
}
