//! The way of a command's lines to its caller.
//!
//! Neighbouring lines of one kind travel in one response, so that ten thousand lines are a few dozen
//! writes; errors and progress go at once. What a method returns is "the caller is still there": `?` ends
//! a command whose client has gone.

use dawn_cluster::{EditError, ModelError};
use dawn_xcatd::{Data, Element, Gone, NodeItem, Response, Sink};
use std::time::{Duration, Instant};

/// Bytes of text collected into one response.
const BATCH_BYTES_MAX: usize = 32 << 10;
/// Age of the oldest line that is held back.
const BATCH_AGE_MAX: Duration = Duration::from_millis(200);

/// Why a command ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The caller has gone.
    #[error("the client has gone")]
    Gone,
    /// An error to be shown, with the exit code.
    #[error("{text}")]
    Message {
        /// Text for the user.
        text: String,
        /// Exit code bits.
        code: i32,
    },
    /// Everything has been said; only the exit code is missing.
    #[error("exit code {0}")]
    Code(i32),
}

impl Stop {
    /// An error with exit code 1.
    pub fn message(text: impl Into<String>) -> Self {
        Stop::Message { text: text.into(), code: 1 }
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Edit(error) => error.into(),
            ModelError::Store(error) => {
                let text = error.to_string();
                let text = if text.starts_with("DB error") { text } else { format!("DB error {text}") };
                Stop::Message { text, code: 4 }
            }
            other => Stop::message(other.to_string()),
        }
    }
}

impl From<EditError> for Stop {
    fn from(error: EditError) -> Self {
        match error {
            // What the user typed, not what the database says.
            EditError::BadValue { .. }
            | EditError::BadSiteValue { .. }
            | EditError::Taken { .. }
            | EditError::InsideRange { .. }
            | EditError::LocksOut { .. }
            | EditError::EmptyKey { .. }
            | EditError::TooLong { .. }
            | EditError::NulByte { .. }
            | EditError::TooManyEdits(_) => Stop::message(error.to_string()),
            _ => Stop::Message { text: format!("DB error {error}"), code: 4 },
        }
    }
}

/// What a command returns.
pub type Done = Result<(), Stop>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Info,
    Data,
    Node,
}

/// Output of one command.
pub struct Out<'a> {
    sink: &'a mut dyn Sink,
    batch: Response,
    kind: Kind,
    bytes: usize,
    since: Option<Instant>,
    failed: bool,
}

impl<'a> Out<'a> {
    /// Output into a sink.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self { sink, batch: Response::default(), kind: Kind::Info, bytes: 0, since: None, failed: false }
    }

    /// A plain line; empty lines and `0` are printed too.
    pub fn line(&mut self, text: impl Into<String>) -> Done {
        let text = text.into();
        self.collect(Kind::Info, text.len())?;
        self.batch.info.push(text);
        self.maybe_flush()
    }

    /// Each line of a text.
    pub fn lines(&mut self, text: &str) -> Done {
        text.lines().try_for_each(|line| self.line(line))
    }

    /// A list of objects, as every `--json` prints it.
    pub fn json(&mut self, list: &impl serde::Serialize) -> Done {
        let text = serde_json::to_string_pretty(list).map_err(|error| Stop::message(error.to_string()))?;
        self.lines(&text)
    }

    /// Top-level data: a client swallows an empty text and `0`.
    pub fn data(&mut self, text: impl Into<String>) -> Done {
        let text = text.into();
        self.collect(Kind::Data, text.len())?;
        self.batch.data.push(Data::Text(text));
        self.maybe_flush()
    }

    /// `node: text`.
    pub fn node(&mut self, name: &str, text: impl Into<String>) -> Done {
        let text = text.into();
        self.collect(Kind::Node, name.len() + text.len())?;
        self.batch.node.push(NodeItem::named(name).data(text));
        self.maybe_flush()
    }

    /// The bare name of a node.
    pub fn node_name(&mut self, name: &str) -> Done {
        self.collect(Kind::Node, name.len())?;
        self.batch.node.push(NodeItem::named(name));
        self.maybe_flush()
    }

    /// An error, exit code 1; the command goes on.
    pub fn error(&mut self, text: impl Into<String>) -> Done {
        self.error_code(text, 1)
    }

    /// An error with its exit code; the command goes on.
    pub fn error_code(&mut self, text: impl Into<String>, code: i32) -> Done {
        self.failed = true;
        self.send(Response::error(text, Some(code)))
    }

    /// `node: Error: text`, exit code 1.
    pub fn node_error(&mut self, name: &str, text: impl Into<String>) -> Done {
        self.failed = true;
        self.send(Response::node(NodeItem::named(name).error(text, 1)))
    }

    /// A warning.
    pub fn warning(&mut self, text: impl Into<String>) -> Done {
        self.send(Response { warning: vec![text.into()], ..Response::default() })
    }

    /// Exit code bits without a text.
    pub fn code(&mut self, code: i32) -> Done {
        self.failed = true;
        self.send(Response { errorcode: vec![code], ..Response::default() })
    }

    /// Verb-specific elements (`<node>` lists, credentials …).
    pub fn elements(&mut self, elements: Vec<Element>) -> Done {
        self.send(Response { other: elements, ..Response::default() })
    }

    /// A complete response.
    pub fn send(&mut self, response: Response) -> Done {
        self.flush()?;
        self.failed |= response.exit_code() != 0;
        Ok(self.sink.send(response)?)
    }

    /// An error was reported.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Sends what is held back; to be called before slow work.
    pub fn flush(&mut self) -> Done {
        if self.bytes == 0 {
            return Ok(());
        }
        self.bytes = 0;
        self.since = None;
        Ok(self.sink.send(std::mem::take(&mut self.batch))?)
    }

    fn collect(&mut self, kind: Kind, bytes: usize) -> Done {
        if kind != self.kind {
            self.flush()?;
            self.kind = kind;
        }
        self.bytes += bytes + 1;
        Ok(())
    }

    fn maybe_flush(&mut self) -> Done {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.bytes >= BATCH_BYTES_MAX || since.elapsed() >= BATCH_AGE_MAX { self.flush() } else { Ok(()) }
    }
}
