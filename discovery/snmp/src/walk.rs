//! A subtree read to its end: the names strictly increase, the rows and the time are bounded.
//!
//! GETBULK where the version has it. An agent that cannot fit an answer (`tooBig`) is asked for half as many
//! rows.

use std::time::Duration;

use crate::failure::Failure;
use crate::oid::Oid;
use crate::pdu::{Kind, NO_SUCH_NAME, Pdu, TOO_BIG};
use crate::value::{Value, VarBind};

/// How far a walk may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows, [`WALK_ROWS`](crate::limits::WALK_ROWS) if nothing else is known.
    pub rows_max: usize,
    /// Time, [`WALK_TIME`](crate::limits::WALK_TIME) if nothing else is known.
    pub time_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rows_max: crate::limits::WALK_ROWS, time_max: crate::limits::WALK_TIME }
    }
}

/// A walk under way.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    root: Oid,
    last: Oid,
    bounds: Bounds,
    /// Rows per request; 0 means GETNEXT.
    repetitions: u16,
    rows: Vec<VarBind>,
}

/// Whether the walk goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Done(Vec<VarBind>),
    Failed(Failure),
}

impl Walk {
    /// Begins at `root`; `repetitions` is 0 where there is no GETBULK.
    pub(crate) fn new(root: Oid, bounds: Bounds, repetitions: u16) -> Self {
        Self { last: root.clone(), root, bounds, repetitions, rows: Vec::new() }
    }

    /// The next request.
    pub(crate) fn request(&self) -> Pdu {
        let bindings = vec![VarBind::ask(self.last.clone())];
        let (kind, index) = match self.repetitions {
            0 => (Kind::GetNext, 0),
            rows => (Kind::GetBulk, i32::from(rows)),
        };
        Pdu { kind, request_id: 0, status: 0, index, bindings }
    }

    pub(crate) fn time_max(&self) -> Duration {
        self.bounds.time_max
    }

    /// Takes the answer.
    pub(crate) fn take(&mut self, answer: Pdu) -> Progress {
        match answer.status {
            0 => self.take_rows(answer.bindings),
            NO_SUCH_NAME => Progress::Done(std::mem::take(&mut self.rows)),
            TOO_BIG if self.repetitions > 0 => {
                self.repetitions /= 2;
                Progress::More
            }
            status => Progress::Failed(Failure::Refused { status, index: answer.index }),
        }
    }

    fn take_rows(&mut self, bindings: Vec<VarBind>) -> Progress {
        if bindings.is_empty() {
            return Progress::Done(std::mem::take(&mut self.rows));
        }
        for bind in bindings {
            let is_end =
                matches!(bind.value, Value::EndOfMibView | Value::NoSuchObject | Value::NoSuchInstance);
            if is_end || bind.name.below(&self.root).is_none() {
                return Progress::Done(std::mem::take(&mut self.rows));
            }
            if bind.name <= self.last {
                return Progress::Failed(Failure::NotIncreasing);
            }
            if self.rows.len() >= self.bounds.rows_max {
                return Progress::Failed(Failure::TooManyRows(self.bounds.rows_max));
            }
            self.last.clone_from(&bind.name);
            self.rows.push(bind);
        }
        Progress::More
    }
}
