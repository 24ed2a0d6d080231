//! Commands that the server runs for a node: those of `chain.ondiscover` when a machine has become the node,
//! and those of the step `ondiscover=…` when the node leaves it.
//!
//! They are run one after the other, on a thread of their own, so neither discovery nor a node waits for
//! them. Their caller has the name [`CALLER`]: nothing is run that no row of the policy allows to that name.
//! A command that fails, or is refused, ends those of its node; the node's events say why.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dawn_plan::ondiscover::{self, ServerCommand};
use dawn_xcatd::dispatch::{Dispatcher, DuplexStream, Gone, Sink, handle};
use dawn_xcatd::{Call, Peer, Request, Response};
use tokio_util::sync::CancellationToken;

use crate::watch::Watcher;

/// The name by which policy knows the caller.
const CALLER: &str = "ondiscover";
/// Nodes whose commands wait: more than machines that arrive at once.
const WAITING_MAX: usize = 16_384;
/// Time that one command may take. A command looks at it whenever it says something or waits.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(600);
/// Errors of one command that an event shows.
const ERRORS_MAX: usize = 3;

/// A node and what is to be run for it, as the tables have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FollowUp {
    pub(super) node: String,
    pub(super) commands: String,
}

/// What waits to be run. The same twice counts once.
#[derive(Debug, Default)]
pub(super) struct FollowUps {
    waiting: Mutex<VecDeque<FollowUp>>,
    arrived: Condvar,
}

impl FollowUps {
    /// False if there is no room.
    pub(super) fn put(&self, follow_up: FollowUp) -> bool {
        let mut waiting = self.waiting();
        if waiting.contains(&follow_up) {
            return true;
        }
        if waiting.len() >= WAITING_MAX {
            return false;
        }
        waiting.push_back(follow_up);
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// The one that waits longest; waits at most `time` for one.
    pub(super) fn take(&self, time: Duration) -> Option<FollowUp> {
        let waited = self.arrived.wait_timeout_while(self.waiting(), time, |waiting| waiting.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<FollowUp>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the commands of one node.
pub(super) fn carry_out(
    follow_up: &FollowUp,
    dispatcher: &dyn Dispatcher,
    watcher: &Watcher,
    stop: &CancellationToken,
) {
    let node = &follow_up.node;
    let list = match ondiscover::commands(&follow_up.commands) {
        Ok(list) => list,
        Err(error) => return watcher.trouble(node, &format!("ondiscover: {error}")),
    };
    for command in &list {
        match run(node, command, dispatcher, stop) {
            Ok(()) => watcher.followed_up(node, &command.name),
            Err(reason) => {
                let text = format!("ondiscover: {}: {reason}; what comes after it is not run", command.name);
                return watcher.trouble(node, &text);
            }
        }
    }
}

/// Why a command has not done its work.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("the policy does not allow it to the caller '{CALLER}'")]
    Refused,
    #[error("it took longer than {} s", COMMAND_TIME_MAX.as_secs())]
    Late,
    #[error("the daemon stops")]
    Stopped,
    #[error("{0}")]
    Failed(String),
}

fn run(
    node: &str,
    command: &ServerCommand,
    dispatcher: &dyn Dispatcher,
    stop: &CancellationToken,
) -> Result<(), NotDone> {
    let request = Request {
        command: command.name.clone(),
        noderange: Some(node.to_owned()),
        args: command.words.clone(),
        ..Request::default()
    };
    let peer = || Peer { certificate_name: Some(CALLER.to_owned()), ..Peer::default() };
    let caller = || Some(CALLER.to_owned());
    let call = Call {
        request: request.clone(),
        nodes: Vec::new(),
        peer_name: caller(),
        peer: peer(),
        peer_host: dispatcher.source(),
        username: caller(),
    };
    // Asked before, because the answer to a caller does not say why.
    if dispatcher.knows(&command.name).is_some() && dispatcher.admit(&call).is_some() {
        return Err(NotDone::Refused);
    }
    let mut heard = Heard { failed: false, errors: Vec::new(), end: Instant::now() + COMMAND_TIME_MAX, stop };
    handle(dispatcher, request, peer(), &mut heard);
    heard.result()
}

/// What a command says, as far as it is kept: whether it failed, and its first errors.
struct Heard<'a> {
    failed: bool,
    errors: Vec<String>,
    end: Instant,
    stop: &'a CancellationToken,
}

impl Heard<'_> {
    fn result(self) -> Result<(), NotDone> {
        match self.failed {
            _ if self.stop.is_cancelled() => Err(NotDone::Stopped),
            _ if Instant::now() >= self.end => Err(NotDone::Late),
            false => Ok(()),
            true if self.errors.is_empty() => Err(NotDone::Failed("it failed".to_owned())),
            true => Err(NotDone::Failed(self.errors.join("; "))),
        }
    }
}

impl Sink for Heard<'_> {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        self.failed |= response.exit_code() != 0;
        let of_nodes = response.node.into_iter().flat_map(|item| item.error);
        let errors = response.error.into_iter().chain(of_nodes);
        let room = ERRORS_MAX.saturating_sub(self.errors.len());
        self.errors.extend(errors.take(room));
        if self.is_gone() { Err(Gone) } else { Ok(()) }
    }

    fn is_gone(&self) -> bool {
        self.stop.is_cancelled() || Instant::now() >= self.end
    }

    fn join(&mut self, _: DuplexStream) -> Result<(), Gone> {
        Err(Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow_up(number: usize) -> FollowUp {
        FollowUp { node: format!("cn{number}"), commands: "rpower:stat".to_owned() }
    }

    #[test]
    fn each_waits_once_and_in_its_order() {
        let waiting = FollowUps::default();
        for number in [1, 2, 1] {
            assert!(waiting.put(follow_up(number)));
        }
        let now = Duration::ZERO;
        assert_eq!([waiting.take(now), waiting.take(now)], [Some(follow_up(1)), Some(follow_up(2))]);
        assert_eq!(waiting.take(now), None);
    }

    #[test]
    fn there_is_an_end_to_them() {
        let waiting = FollowUps::default();
        {
            let mut all = waiting.waiting();
            all.extend((0..WAITING_MAX).map(follow_up));
        }
        assert!(!waiting.put(follow_up(WAITING_MAX)));
        assert!(waiting.put(follow_up(0)), "it waits already");
    }
}
