//! One console: connected or waiting, its viewers, and who of them writes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::Frame;
use super::lines::Lines;
use super::ring::Ring;
use super::source::{Line, Said, Soon, Source};
use super::view::{Heard, Mode, Shown, State};
use crate::error::Error;
use crate::limits::{
    CONSOLE_EVENT_PERIOD, CONSOLE_OPEN_TIME_MAX, CONSOLE_PAUSE_MAX, CONSOLE_PAUSE_MIN,
    CONSOLE_VIEWERS_PER_NODE_MAX,
};

/// Orders for a console.
pub(super) enum Order {
    /// Read from this from now on.
    Follow { source: Option<Arc<dyn Source>>, nowhere: String, on_demand: bool },
    /// A viewer wants to see it.
    Attach(Viewer, Mode),
    /// A viewer has left.
    Detach(u64),
    /// A viewer's frame.
    Frame(u64, Frame),
}

/// A viewer of a console.
pub(super) struct Viewer {
    pub id: u64,
    pub name: String,
    pub may_write: bool,
    pub output: mpsc::Sender<Frame>,
    pub lost: bool,
}

impl Viewer {
    /// Queues a frame; a viewer who does not read loses it.
    fn show(&mut self, frame: Frame) {
        if self.lost {
            let notice = Frame::Notice("some output was lost: the connection is too slow".to_owned());
            self.lost = self.output.try_send(notice).is_err();
        }
        self.lost |= self.lost || self.output.try_send(frame).is_err();
    }
}

type Opened = Result<Box<dyn Line>, Error>;

/// A console.
pub(super) struct Node {
    name: Arc<str>,
    heard: Arc<dyn Heard>,
    opens: Arc<Semaphore>,
    shown: Arc<Mutex<Shown>>,
    source: Option<Arc<dyn Source>>,
    nowhere: String,
    on_demand: bool,
    line: Option<Box<dyn Line>>,
    opening: Option<Soon<'static, Opened>>,
    retry_at: Option<Instant>,
    pause: Duration,
    /// The next attempt takes the console from others who have it.
    insists: bool,
    ring: Ring,
    lines: Lines,
    last_line: String,
    event_at: Option<Instant>,
    viewers: Vec<Viewer>,
    writer: Option<u64>,
}

impl Node {
    pub(super) fn new(
        name: Arc<str>,
        heard: Arc<dyn Heard>,
        opens: Arc<Semaphore>,
        shown: Arc<Mutex<Shown>>,
    ) -> Self {
        Self {
            name,
            heard,
            opens,
            shown,
            source: None,
            nowhere: String::new(),
            on_demand: true,
            line: None,
            opening: None,
            retry_at: None,
            pause: CONSOLE_PAUSE_MIN,
            insists: true,
            ring: Ring::default(),
            lines: Lines::default(),
            last_line: String::new(),
            event_at: None,
            viewers: Vec::new(),
            writer: None,
        }
    }

    /// Works until there are no more orders.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            self.prepare();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => break,
                },
                said = said(&mut self.line) => self.on_said(said),
                opened = opened(&mut self.opening) => self.on_opened(opened),
                () = due(self.retry_at) => self.retry_at = None,
            }
        }
        self.log_rest();
        let end = "the daemon does not hold this console any more";
        self.viewers.iter_mut().for_each(|viewer| viewer.show(Frame::End(end.to_owned())));
    }

    /// Begins to connect if that is wanted, and lets go if not.
    fn prepare(&mut self) {
        let wanted = !self.on_demand || !self.viewers.is_empty();
        match self.source.clone().filter(|_| wanted) {
            Some(source) => {
                if self.line.is_none() && self.opening.is_none() && self.retry_at.is_none() {
                    self.opening = Some(Box::pin(open(source, Arc::clone(&self.opens), self.insists)));
                }
            }
            None => {
                (self.opening, self.retry_at, self.pause) = (None, None, CONSOLE_PAUSE_MIN);
                self.insists = true;
                if self.line.take().is_some() {
                    self.log_rest();
                    self.mark("Console closed: no viewer is left");
                }
            }
        }
        let state = match () {
            () if self.source.is_none() => State::Nowhere,
            () if self.line.is_some() => State::Connected,
            () if wanted => State::Connecting,
            () => State::Available,
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        (shown.state, shown.viewers) = (state, self.viewers.len());
        if state == State::Nowhere && shown.reason != self.nowhere {
            shown.reason.clone_from(&self.nowhere);
        }
    }

    fn reason(&self, reason: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone_into(&mut shown.reason);
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Follow { source, nowhere, on_demand } => {
                (self.source, self.nowhere, self.on_demand) = (source, nowhere, on_demand);
                (self.line, self.opening, self.retry_at) = (None, None, None);
                self.insists = true;
            }
            Order::Attach(viewer, mode) => self.attach(viewer, mode),
            Order::Detach(id) => self.detach(id),
            Order::Frame(id, frame) => self.on_frame(id, frame),
        }
    }

    fn attach(&mut self, mut viewer: Viewer, mode: Mode) {
        if self.viewers.len() >= CONSOLE_VIEWERS_PER_NODE_MAX {
            let text = format!("{CONSOLE_VIEWERS_PER_NODE_MAX} viewers look at this console already");
            return viewer.show(Frame::End(text));
        }
        let past = self.ring.shown();
        for part in past.chunks(crate::limits::CONSOLE_FRAME_BYTES_MAX) {
            viewer.show(Frame::Data(part.to_vec()));
        }
        if self.line.is_none() {
            let reason = self.shown.lock().unwrap_or_else(PoisonError::into_inner).reason.clone();
            let why = if self.source.is_none() { &self.nowhere } else { &reason };
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            viewer.show(Frame::Notice(format!("not connected{why}")));
        }
        let id = viewer.id;
        let name = viewer.name.clone();
        self.mark(&format!("{name} attached"));
        self.viewers.push(viewer);
        match (mode, self.writer) {
            (Mode::Watch, _) => self.notice(id, "read only"),
            (Mode::Write, Some(writer)) => {
                let text = format!("read only: {} writes; ^Ecf takes over", self.name_of(writer));
                self.notice(id, &text);
            }
            (Mode::Write | Mode::Take, _) => self.take_over(id),
        }
        // A viewer waits: the next attempt is made now.
        self.retry_at = None;
    }

    fn detach(&mut self, id: u64) {
        let Some(at) = self.viewers.iter().position(|viewer| viewer.id == id) else { return };
        let gone = self.viewers.remove(at);
        self.mark(&format!("{} detached", gone.name));
        if self.writer == Some(id) {
            self.writer = None;
            let next = self.viewers.iter().find(|viewer| viewer.may_write).map(|viewer| viewer.id);
            next.into_iter().for_each(|id| self.take_over(id));
        }
    }

    fn may_write(&self, id: u64) -> bool {
        self.viewers.iter().any(|viewer| viewer.id == id && viewer.may_write)
    }

    fn on_frame(&mut self, id: u64, frame: Frame) {
        let writes = self.writer == Some(id);
        match frame {
            Frame::Data(bytes) if writes => {
                let taken = self.line.as_mut().map_or(0, |line| line.send(&bytes));
                if taken < bytes.len() {
                    self.notice(id, "the machine did not get all that was typed");
                }
            }
            Frame::Break if writes => {
                let sent = self.line.as_mut().is_some_and(|line| line.send_break());
                self.notice(id, if sent { "break sent" } else { "this console cannot send a break" });
            }
            Frame::Data(_) | Frame::Break => self.notice(id, "read only: nothing was sent"),
            Frame::Take => self.take_over(id),
            Frame::Watch if writes => {
                self.writer = None;
                self.notice(id, "read only");
            }
            Frame::Watch => {}
            // It may take the console from another program.
            Frame::Reopen if !self.may_write(id) => {
                self.notice(id, "read only: start rcons without -s for that")
            }
            Frame::Reopen => {
                (self.line, self.opening, self.retry_at) = (None, None, None);
                (self.pause, self.insists) = (CONSOLE_PAUSE_MIN, true);
                self.mark("Console opened again by a viewer");
            }
            Frame::Who => {
                let writer = self.writer;
                let describe = |viewer: &Viewer| match writer == Some(viewer.id) {
                    true => format!("{} (writes)", viewer.name),
                    false => viewer.name.clone(),
                };
                let all: Vec<String> = self.viewers.iter().map(describe).collect();
                self.notice(id, &all.join(", "));
            }
            Frame::Notice(_) | Frame::End(_) => {}
        }
    }

    /// Gives a viewer the right to write, if allowed.
    fn take_over(&mut self, id: u64) {
        let may = self.viewers.iter().find(|viewer| viewer.id == id && viewer.may_write);
        let Some(name) = may.map(|viewer| viewer.name.clone()) else {
            return self.notice(id, "read only: start rcons without -s to write");
        };
        let before = self.writer.replace(id).filter(|before| *before != id);
        if let Some(before) = before {
            self.notice(before, &format!("read only: {name} has taken over"));
            self.mark(&format!("{name} writes"));
        }
        self.notice(id, "you write");
    }

    fn name_of(&self, id: u64) -> &str {
        self.viewers.iter().find(|viewer| viewer.id == id).map_or("somebody", |viewer| &viewer.name)
    }

    fn notice(&mut self, id: u64, text: &str) {
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.id == id) {
            viewer.show(Frame::Notice(text.to_owned()));
        }
    }

    fn notice_all(&mut self, text: &str) {
        self.viewers.iter_mut().for_each(|viewer| viewer.show(Frame::Notice(text.to_owned())));
    }

    fn on_opened(&mut self, opened: Opened) {
        match opened {
            Ok(line) => {
                self.line = Some(line);
                self.insists = false;
                self.reason("");
                self.mark("Console up");
                self.notice_all("connected");
            }
            Err(error) => self.wait(&error.to_string()),
        }
    }

    /// Waits before the next attempt: each time twice as long, and never exactly, so that thousands of
    /// consoles do not try at one moment.
    fn wait(&mut self, reason: &str) {
        self.insists = self.insists && self.pause == CONSOLE_PAUSE_MIN;
        let pause = self.pause.mul_f64(0.5 + random_part());
        self.retry_at = Some(Instant::now() + pause);
        self.pause = (self.pause * 2).min(CONSOLE_PAUSE_MAX);
        self.reason(reason);
        let text = format!("not connected ({reason}); next attempt in {} s, ^Eco for now", pause.as_secs());
        self.notice_all(&text);
    }

    fn on_said(&mut self, said: Said) {
        match said {
            Said::Output(bytes) => self.on_output(&bytes),
            Said::Note(text) => {
                self.mark(text);
                self.notice_all(text);
            }
            Said::End(reason) => {
                self.line = None;
                self.log_rest();
                self.mark(&format!("Console down: {reason}"));
                let last = match self.last_line.as_str() {
                    "" => String::new(),
                    line => format!("; the last line was: {line}"),
                };
                self.event(&format!("console lost: {reason}{last}"));
                self.wait(&reason);
            }
        }
    }

    fn on_output(&mut self, bytes: &[u8]) {
        // A console that says something works; one that ends at once does not.
        self.pause = CONSOLE_PAUSE_MIN;
        self.ring.push(bytes);
        for part in bytes.chunks(crate::limits::CONSOLE_FRAME_BYTES_MAX) {
            self.viewers.iter_mut().for_each(|viewer| viewer.show(Frame::Data(part.to_vec())));
        }
        let mut complete = Vec::new();
        self.lines.push(bytes, |line| complete.push(line));
        for line in complete {
            self.heard.line(&self.name, &line);
            if line.to_ascii_lowercase().contains("kernel panic") {
                self.event(&format!("console: {line}"));
            }
            if !line.trim().is_empty() {
                self.last_line = line;
            }
        }
    }

    fn log_rest(&mut self) {
        if let Some(rest) = self.lines.end() {
            self.heard.line(&self.name, &rest);
        }
    }

    /// A line of the hub in the log.
    fn mark(&self, text: &str) {
        self.heard.line(&self.name, &format!("[-- {text} --]"));
    }

    /// A line of the node's timeline, one in [`CONSOLE_EVENT_PERIOD`]: a machine may panic again and again.
    fn event(&mut self, text: &str) {
        let now = Instant::now();
        if self.event_at.is_none_or(|at| now.duration_since(at) >= CONSOLE_EVENT_PERIOD) {
            self.event_at = Some(now);
            self.heard.event(&self.name, text);
        }
    }
}

/// Anything from 0 to 1.
fn random_part() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

async fn open(source: Arc<dyn Source>, opens: Arc<Semaphore>, insists: bool) -> Opened {
    let ended = || Error::Ended("cancelled");
    let _turn = opens.acquire().await.map_err(|_| ended())?;
    let opened = timeout(CONSOLE_OPEN_TIME_MAX, source.open(insists)).await;
    opened.unwrap_or(Err(Error::Ended("timeout")))
}

async fn said(line: &mut Option<Box<dyn Line>>) -> Said {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}

async fn opened(opening: &mut Option<Soon<'static, Opened>>) -> Opened {
    match opening {
        Some(future) => {
            let opened = future.await;
            *opening = None;
            opened
        }
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
