//! The way of a command's results to its caller.
//!
//! A command reports data ([`Report`]) and errors ([`CommandError`]); what the caller sees of them, xCAT's
//! lines or JSON, is decided here. Neighbouring lines of one kind travel in one response, so that ten
//! thousand lines are a few dozen writes; errors and progress go at once. What a method returns is "the
//! caller is still there": `?` ends a command whose client has gone.

mod error;
mod problem;
mod report;
mod warning;

pub use error::{CommandError, DATABASE_CODE, ErrorKind};
pub use problem::Problem;
pub use report::{Deed, Lines, Report};
pub use warning::Warning;

use dawn_xcatd::{Data, Element, Gone, NodeItem, Response, Sink};
use report::{Failure, JsonList, Message, NodeFailure, NodeText, Usage};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;

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
    /// An error to be shown.
    #[error(transparent)]
    Error(Box<CommandError>),
    /// Everything has been said; only the exit code is missing.
    #[error("exit code {0}")]
    Code(i32),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

impl<E: Into<CommandError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Error(Box::new(error.into()))
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

/// How results are shown.
enum Form {
    /// xCAT's lines.
    Text,
    /// A list of all results.
    Json(JsonList),
}

/// Output of one command.
pub struct Out<'a> {
    sink: &'a mut dyn Sink,
    form: Form,
    batch: Response,
    kind: Kind,
    bytes: usize,
    since: Option<Instant>,
    failed: bool,
    /// Every line goes at once.
    immediate: bool,
    /// Responses that wait for [`Out::release`].
    held: Option<Vec<Response>>,
}

impl<'a> Out<'a> {
    /// Output into a sink, as lines.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            form: Form::Text,
            batch: Response::default(),
            kind: Kind::Info,
            bytes: 0,
            since: None,
            failed: false,
            immediate: false,
            held: None,
        }
    }

    /// The same for a caller in this process, where a line costs nothing: each goes at once.
    pub fn immediate(sink: &'a mut dyn Sink) -> Self {
        Self { immediate: true, ..Self::new(sink) }
    }

    /// Sends nothing until [`Out::release`]: while others wait for what this command holds, no slow client
    /// may make them wait longer.
    pub fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Sends what was held.
    pub fn release(&mut self) -> Done {
        let batch = self.flush();
        let held = self.held.take().unwrap_or_default();
        batch?;
        held.into_iter().try_for_each(|response| self.pass_on(response))
    }

    /// Results become a list in JSON.
    pub fn as_json(&mut self) {
        self.form = Form::Json(JsonList::default());
    }

    /// Whether results become JSON. It decides what a command gathers (each node's output as a whole, and not
    /// line by line), never how it is written.
    pub fn is_json(&self) -> bool {
        matches!(self.form, Form::Json(_))
    }

    /// A result, or one of several.
    pub fn report<R: Report>(&mut self, report: &R) -> Done {
        match self.form {
            Form::Text => report.print(&mut Lines(self)),
            Form::Json(_) if R::MANY => match serde_json::to_value(report) {
                Ok(serde_json::Value::Array(list)) => list.iter().try_for_each(|one| self.element(one)),
                Ok(one) => self.element(&one),
                Err(error) => Err(not_json(&error)),
            },
            Form::Json(_) => self.element(report),
        }
    }

    /// A sentence for a person, with nothing for a program in it: a notice, or progress. With `--json`
    /// it is an object with `message`. A result is a [`Report`].
    pub fn notice(&mut self, text: impl Into<String>) -> Done {
        let text = text.into();
        match self.form {
            Form::Text => self.put_line(text),
            Form::Json(_) if text.is_empty() => Ok(()),
            Form::Json(_) => self.element(&Message { message: &text }),
        }
    }

    /// A line that structures others (a heading, a row of names) and is not a result: `--json` leaves it out.
    pub fn heading(&mut self, text: impl Into<String>) -> Done {
        match self.form {
            Form::Text => self.put_line(text.into()),
            Form::Json(_) => Ok(()),
        }
    }

    /// The same as top-level data.
    pub fn data_heading(&mut self, text: impl Into<String>) -> Done {
        match self.form {
            Form::Text => self.put_data(text.into()),
            Form::Json(_) => Ok(()),
        }
    }

    /// How a command is called, where xCAT prints that as plain lines.
    ///
    /// # Errors
    /// The caller has gone.
    pub fn usage(&mut self, text: &str) -> Done {
        match self.form {
            Form::Text => text.lines().try_for_each(|line| self.put_line(line.to_owned())),
            Form::Json(_) => self.element(&Usage { usage: text.trim() }),
        }
    }

    /// Each line of a text for a person.
    pub fn lines(&mut self, text: &str) -> Done {
        text.lines().try_for_each(|line| self.notice(line))
    }

    /// An error that xCAT prints as a plain line of its output, with the exit code of errors.
    ///
    /// # Errors
    /// The caller has gone.
    pub fn plain_error(&mut self, error: impl Into<CommandError>) -> Done {
        let error = error.into();
        match self.form {
            Form::Text => self.put_line(error.to_string())?,
            Form::Json(_) => {
                let (reason, kind, hints) = (error.reason(), error.kind(), error.hints());
                // Blanks around a sentence of xCAT's are for its terminal.
                self.element(&Failure { error: reason.trim().to_owned(), kind, hints })?;
            }
        }
        self.code(error.code())
    }

    /// Top-level data: a client swallows an empty text and `0`.
    pub fn data(&mut self, text: impl Into<String>) -> Done {
        let text = text.into();
        match self.form {
            Form::Text => self.put_data(text),
            Form::Json(_) => self.element(&Message { message: &text }),
        }
    }

    /// `node: text`.
    pub fn node(&mut self, name: &str, text: impl Into<String>) -> Done {
        let text = text.into();
        match self.form {
            Form::Text => self.put_node(name, Some(text)),
            Form::Json(_) => self.element(&NodeText { node: name, text: Some(&text) }),
        }
    }

    /// The bare name of a node.
    pub fn node_name(&mut self, name: &str) -> Done {
        match self.form {
            Form::Text => self.put_node(name, None),
            Form::Json(_) => self.element(&NodeText { node: name, text: None }),
        }
    }

    /// An error; the command continues.
    pub fn error(&mut self, error: impl Into<CommandError>) -> Done {
        self.failed = true;
        self.send(error.into().into())
    }

    /// `node: Error: text`: why a node has no result. With `--json` it is an element of the list, as every
    /// node is.
    pub fn node_error(&mut self, name: &str, error: impl Into<CommandError>) -> Done {
        let error = error.into();
        self.failed = true;
        match self.form {
            Form::Text => {
                self.send(Response::node(NodeItem::named(name).error(error.to_string(), error.code())))
            }
            Form::Json(_) => {
                let (reason, kind, hints) = (error.reason(), error.kind(), error.hints());
                self.element(&NodeFailure { node: name, error: reason, kind, hints })?;
                self.code(error.code())
            }
        }
    }

    /// Why a node has no result, where xCAT prints that as a line of its output, without an exit code. `sign`
    /// stands before the text of the line.
    ///
    /// # Errors
    /// The caller has gone.
    pub fn plain_node_error(&mut self, name: &str, sign: &str, error: impl Into<CommandError>) -> Done {
        let error = error.into();
        match self.form {
            Form::Text => self.put_data(format!("{name}: {sign}{error}")),
            Form::Json(_) => self.node_error(name, error),
        }
    }

    /// A warning.
    pub fn warning(&mut self, warning: impl Into<Warning>) -> Done {
        self.send(Response { warning: vec![warning.into().to_string()], ..Response::default() })
    }

    /// Warnings, `max` at most; `rest` is the warning for the number of those that are left out.
    pub fn warnings(
        &mut self,
        texts: impl IntoIterator<Item = String>,
        max: usize,
        rest: impl FnOnce(usize) -> Warning,
    ) -> Done {
        let mut texts = texts.into_iter();
        texts.by_ref().take(max).try_for_each(|text| self.warning(text))?;
        match texts.count() {
            0 => Ok(()),
            more => self.warning(rest(more)),
        }
    }

    /// Work continues without a result to report: what is held back is sent.
    ///
    /// # Errors
    /// The caller has gone.
    pub fn go_on(&mut self) -> Done {
        self.flush()?;
        self.wanted()
    }

    /// Whether a client still waits for output: for loops that may compute for long without a result.
    ///
    /// # Errors
    /// The caller has gone, or asked to stop.
    pub fn wanted(&self) -> Done {
        if self.sink.is_gone() { Err(Stop::Gone) } else { Ok(()) }
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
        self.pass_on(response)
    }

    /// After the answer the caller's connection carries bytes between the caller and this stream.
    ///
    /// # Errors
    /// He has gone, or cannot have it.
    pub fn join(&mut self, stream: DuplexStream) -> Done {
        self.flush()?;
        Ok(self.sink.join(stream)?)
    }

    /// An error was reported.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Ends the output: with `--json`, the list is closed. A command that ended with an error before it had a
    /// result has no list.
    pub fn finish(&mut self, done: Done) -> Done {
        if let Form::Json(list) = &mut self.form
            && ((done.is_ok() && !self.failed) || list.has_begun())
            && !matches!(done, Err(Stop::Gone))
        {
            list.end().into_iter().try_for_each(|line| self.put_line(line))?;
        }
        done
    }

    /// Last words: the error that ended the command. A caller that has gone needs none.
    pub fn conclude(&mut self, done: Done) {
        let said = match done {
            Ok(()) => Ok(()),
            Err(Stop::Error(error)) => self.error(*error),
            Err(Stop::Code(code)) => self.code(code),
            Err(Stop::Gone) => return,
        };
        let _ = said.and_then(|()| self.flush());
    }

    /// How far a long work is: a terminal shows the newest such text only.
    pub fn progress(&mut self, text: impl Into<String>) -> Done {
        match self.form {
            Form::Text => self.send(Response { sinfo: vec![text.into()], ..Response::default() }),
            Form::Json(_) => Ok(()),
        }
    }

    /// Sends what is held back; to be called before slow work.
    pub fn flush(&mut self) -> Done {
        if self.bytes == 0 {
            return Ok(());
        }
        self.bytes = 0;
        self.since = None;
        let batch = std::mem::take(&mut self.batch);
        self.pass_on(batch)
    }

    fn pass_on(&mut self, response: Response) -> Done {
        match &mut self.held {
            Some(held) => held.push(response),
            None => self.sink.send(response)?,
        }
        Ok(())
    }

    /// An element of the list of results.
    fn element(&mut self, value: &impl Serialize) -> Done {
        let text = serde_json::to_string_pretty(value).map_err(|error| not_json(&error))?;
        let Form::Json(list) = &mut self.form else { return Ok(()) };
        list.push(&text).into_iter().try_for_each(|line| self.put_line(line))
    }

    fn put_line(&mut self, text: String) -> Done {
        self.collect(Kind::Info, text.len())?;
        self.batch.info.push(text);
        self.maybe_flush()
    }

    fn put_data(&mut self, text: String) -> Done {
        self.collect(Kind::Data, text.len())?;
        self.batch.data.push(Data::Text(text));
        self.maybe_flush()
    }

    fn put_node(&mut self, name: &str, text: Option<String>) -> Done {
        self.collect(Kind::Node, name.len() + text.as_ref().map_or(0, String::len))?;
        let item = NodeItem::named(name);
        self.batch.node.push(match text {
            Some(text) => item.data(text),
            None => item,
        });
        self.maybe_flush()
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
        if self.immediate || self.bytes >= BATCH_BYTES_MAX || since.elapsed() >= BATCH_AGE_MAX {
            self.flush()
        } else {
            Ok(())
        }
    }
}

fn not_json(error: &serde_json::Error) -> Stop {
    Stop::internal(format!("the result cannot be written as JSON: {error}"))
}
