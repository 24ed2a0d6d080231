//! Commands that the server runs for a node: those of `chain.ondiscover` when a machine has become the node,
//! and those of the step `ondiscover=…` when the node leaves it.
//!
//! Those of one node are run one after the other, those of [`AT_ONCE_MAX`] nodes side by side, on threads of
//! their own, so neither discovery nor a node waits for them. Their caller has the name [`CALLER`]: nothing
//! is run that no row of the policy allows to that name. A command that fails, or is refused, ends those of
//! its node; the node's events say why.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dawn_plan::ondiscover::{self, ServerCommand};
use dawn_wire::text::without_control;
use dawn_xcatd::dispatch::{Dispatcher, DuplexStream, Gone, Sink, handle};
use dawn_xcatd::{Call, Data, Peer, Request, Response};
use tokio_util::sync::CancellationToken;

use crate::watch::Watcher;

/// The name by which policy knows the caller.
const CALLER: &str = "ondiscover";
/// Nodes whose commands are run at once.
pub(super) const AT_ONCE_MAX: usize = 8;
/// Nodes whose commands wait: more than machines that arrive at once.
const WAITING_MAX: usize = 16_384;
/// Time that one command may take. A command looks at it whenever it says something or waits.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(600);
/// Lines of one command that an event shows.
const LINES_MAX: usize = 3;
/// Characters of one of them.
const LINE_CHARS_MAX: usize = 200;

/// A node and what is to be run for it, as the tables have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FollowUp {
    pub(super) node: String,
    pub(super) commands: String,
}

/// What waits to be run. The same twice counts once.
#[derive(Debug, Default)]
pub(super) struct FollowUps {
    all: Mutex<All>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct All {
    waiting: VecDeque<FollowUp>,
    /// Nodes whose commands are running.
    running: BTreeSet<String>,
}

impl All {
    /// The place of the one that waits longest and whose node has none running.
    fn next(&self) -> Option<usize> {
        self.waiting.iter().position(|follow_up| !self.running.contains(&follow_up.node))
    }
}

/// What is being run. Its node's other commands wait until this is dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    pub(super) follow_up: FollowUp,
    of: &'a FollowUps,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.of.all().running.remove(&self.follow_up.node);
        self.of.changed.notify_all();
    }
}

impl FollowUps {
    /// False if there is no room.
    pub(super) fn put(&self, follow_up: FollowUp) -> bool {
        let mut all = self.all();
        if all.waiting.contains(&follow_up) {
            return true;
        }
        if all.waiting.len() >= WAITING_MAX {
            return false;
        }
        all.waiting.push_back(follow_up);
        drop(all);
        self.changed.notify_one();
        true
    }

    /// The next one; waits at most `time` for it.
    pub(super) fn take(&self, time: Duration) -> Option<Running<'_>> {
        let waited = self.changed.wait_timeout_while(self.all(), time, |all| all.next().is_none());
        let mut all = waited.unwrap_or_else(PoisonError::into_inner).0;
        let place = all.next()?;
        let follow_up = all.waiting.remove(place)?;
        all.running.insert(follow_up.node.clone());
        drop(all);
        Some(Running { follow_up, of: self })
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
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
    let end = Instant::now() + COMMAND_TIME_MAX;
    let mut heard = Heard { exit_code: 0, errors: Vec::new(), last: VecDeque::new(), end, stop };
    handle(dispatcher, request, peer(), &mut heard);
    heard.result()
}

/// What a command says, as far as it is kept: its exit code, its first errors, and its last other lines.
struct Heard<'a> {
    exit_code: i32,
    errors: Vec<String>,
    last: VecDeque<String>,
    end: Instant,
    stop: &'a CancellationToken,
}

impl Heard<'_> {
    fn result(self) -> Result<(), NotDone> {
        let Self { exit_code, errors, last, end, stop } = self;
        if stop.is_cancelled() {
            return Err(NotDone::Stopped);
        }
        if Instant::now() >= end {
            return Err(NotDone::Late);
        }
        let said = if errors.is_empty() { last.into_iter().collect() } else { errors };
        match (exit_code, said.join("; ")) {
            (0, _) => Ok(()),
            (code, said) if said.is_empty() => {
                Err(NotDone::Failed(format!("it failed with exit code {code} and said nothing")))
            }
            (_, said) => Err(NotDone::Failed(said)),
        }
    }

    /// The last lines that are not errors: a command that fails may say why in one of them.
    fn note(&mut self, line: String) {
        if self.last.len() == LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }
}

/// As an event shows it.
fn line(text: &str) -> Option<String> {
    let line: String = without_control(text.trim()).chars().take(LINE_CHARS_MAX).collect();
    Some(line).filter(|line| !line.is_empty())
}

fn text_of(data: &Data) -> &str {
    match data {
        Data::Text(text) => text,
        Data::Parts(parts) => {
            parts.iter().map(|part| part.text.as_str()).find(|text| !text.is_empty()).unwrap_or("")
        }
    }
}

impl Sink for Heard<'_> {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        self.exit_code |= response.exit_code();
        let of_nodes = response.node.iter().flat_map(|item| &item.error);
        let errors = response.error.iter().chain(of_nodes).filter_map(|text| line(text));
        let room = LINES_MAX.saturating_sub(self.errors.len());
        self.errors.extend(errors.take(room));
        let data = response.data.iter().chain(response.node.iter().flat_map(|item| &item.data)).map(text_of);
        let warnings = response.warning.iter().chain(response.node.iter().flat_map(|item| &item.warning));
        let texts = response.info.iter().chain(warnings).map(String::as_str).chain(data);
        texts.filter_map(line).for_each(|line| self.note(line));
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

    fn taken(waiting: &FollowUps) -> Option<FollowUp> {
        waiting.take(Duration::ZERO).map(|running| running.follow_up.clone())
    }

    #[test]
    fn each_waits_once_and_in_its_order() {
        let waiting = FollowUps::default();
        for number in [1, 2, 1] {
            assert!(waiting.put(follow_up(number)));
        }
        assert_eq!([taken(&waiting), taken(&waiting)], [Some(follow_up(1)), Some(follow_up(2))]);
        assert_eq!(taken(&waiting), None);
    }

    /// The commands of one node are never run side by side, those of others are.
    #[test]
    fn a_node_has_one_running() {
        let waiting = FollowUps::default();
        let second = FollowUp { commands: "rpower:off".to_owned(), ..follow_up(1) };
        for one in [follow_up(1), second.clone(), follow_up(2)] {
            assert!(waiting.put(one));
        }
        let first = waiting.take(Duration::ZERO);
        assert_eq!(first.as_ref().map(|running| &running.follow_up), Some(&follow_up(1)));
        assert_eq!(taken(&waiting), Some(follow_up(2)));
        assert_eq!(taken(&waiting), None, "its node has another one running");
        drop(first);
        assert_eq!(taken(&waiting), Some(second));
    }

    #[test]
    fn there_is_an_end_to_them() {
        let waiting = FollowUps::default();
        {
            let mut all = waiting.all();
            all.waiting.extend((0..WAITING_MAX).map(follow_up));
        }
        assert!(!waiting.put(follow_up(WAITING_MAX)));
        assert!(waiting.put(follow_up(0)), "it waits already");
    }

    /// Why a command failed, by what it said.
    #[test]
    fn a_failure_says_why() {
        let stop = CancellationToken::new();
        let said = |responses: Vec<Response>| {
            let end = Instant::now() + COMMAND_TIME_MAX;
            let mut heard =
                Heard { exit_code: 0, errors: Vec::new(), last: VecDeque::new(), end, stop: &stop };
            responses.into_iter().for_each(|response| heard.send(response).expect("it is heard"));
            heard.result().map_err(|error| error.to_string())
        };
        let failed = || Response { errorcode: vec![2], ..Response::default() };
        let info = |text: &str| Response { info: vec![text.to_owned()], ..Response::default() };
        let error = |text: &str| Response { error: vec![text.to_owned()], ..failed() };
        assert_eq!(said(vec![info("on")]), Ok(()));
        assert_eq!(said(vec![info("on"), error("no BMC")]), Err("no BMC".to_owned()));
        assert_eq!(
            said(vec![info("1"), info("the BMC is asleep"), failed()]),
            Err("1; the BMC is asleep".to_owned())
        );
        assert_eq!(said(vec![failed()]), Err("it failed with exit code 2 and said nothing".to_owned()));
    }
}
