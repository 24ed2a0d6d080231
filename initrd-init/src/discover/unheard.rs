//! What the server is to hear and has not heard, because it is away: a step that is done, and a failure; and
//! the step that failed, which is not done again until the server says so.
//!
//! Both are said again with pauses that grow, and are kept over a new lease. The step is named, so that a
//! server that heard it and whose answer was lost does not move the chain twice.

use std::io;
use std::time::Duration;

use super::pause::Pauses;
use crate::log;
use crate::status::{Destiny, Question};

/// Tries to say that a step is done; then the machine asks for a new lease, and says it again.
const TRIES_MAX: u32 = 40;

/// What the server has not heard.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// The step that is done.
    done: Option<String>,
    /// What failed.
    trouble: Option<String>,
    /// The step that failed.
    held: Option<String>,
}

impl Unheard {
    /// The step failed, for this reason.
    pub(super) fn failed(&mut self, step: &str, reason: &str) {
        let text = format!("{step}: {reason}");
        log::problem(&text);
        self.trouble = Some(text);
        self.held = Some(step.to_owned());
    }

    /// The step failed and is not to be done again by itself.
    pub(super) fn holds(&self, step: &str) -> bool {
        self.held.as_deref() == Some(step)
    }

    /// Whatever the server answers next is to be done.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// Reports what failed; `report` says whether the server has heard it.
    pub(super) fn report(&mut self, report: &dyn Fn(&str) -> bool) {
        if self.trouble.as_deref().is_some_and(report) {
            self.trouble = None;
        }
    }

    /// Asks what to do, and says before which step is done if the server has not heard it.
    pub(super) fn ask(&mut self, ask: &dyn Fn(Question<'_>) -> io::Result<Destiny>) -> io::Result<Destiny> {
        let answer = match (&self.done, &self.held) {
            (Some(step), _) => ask(Question::Done(step))?,
            (None, Some(_)) => ask(Question::Held)?,
            (None, None) => ask(Question::Plain)?,
        };
        self.done = None;
        match &answer {
            Destiny::Task(step, _) if self.held.as_ref().is_some_and(|held| held != step) => {
                // Something else: the server says with the next question that the node does it.
                self.release();
                ask(Question::Plain)
            }
            _ => Ok(answer),
        }
    }

    /// The step is done: says so until the server has answered. `wait` waits, and ends early for a word of
    /// the server. `None`: it is away for long.
    pub(super) fn move_on(
        &mut self,
        step: &str,
        mut pauses: Pauses,
        say: &dyn Fn(Question<'_>) -> io::Result<Destiny>,
        wait: &dyn Fn(Duration) -> bool,
    ) -> Option<Destiny> {
        self.release();
        self.done = Some(step.to_owned());
        for _ in 0..TRIES_MAX {
            match self.ask(say) {
                Ok(answer) => return Some(answer),
                Err(cause) => {
                    log::problem(&format!("the server has not heard that `{step}` is done: {cause}"))
                }
            }
            wait(pauses.next());
        }
        None
    }

    /// Waits for a word of the server, at most `time`, and reports meanwhile what it has not heard. Whether a
    /// word came.
    pub(super) fn rest(
        &mut self,
        time: Duration,
        mut pauses: Pauses,
        report: &dyn Fn(&str) -> bool,
        wait: &dyn Fn(Duration) -> bool,
    ) -> bool {
        let mut left = time;
        self.report(report);
        while !left.is_zero() {
            let next = if self.trouble.is_some() { pauses.next().min(left) } else { left };
            if wait(next) {
                return true;
            }
            left -= next;
            self.report(report);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// A server that hears nothing until so much time has passed.
    struct Server {
        now: Cell<Duration>,
        back: Duration,
        heard: RefCell<Vec<String>>,
    }

    impl Server {
        fn back_after(seconds: u64) -> Self {
            let back = Duration::from_secs(seconds);
            Self { now: Cell::default(), back, heard: RefCell::default() }
        }

        fn wait(&self, time: Duration) -> bool {
            self.now.set(self.now.get() + time);
            false
        }

        fn hear(&self, text: &str) -> bool {
            let is_there = self.now.get() >= self.back;
            if is_there {
                self.heard.borrow_mut().push(text.to_owned());
            }
            is_there
        }

        fn ask(&self, question: Question<'_>) -> io::Result<Destiny> {
            let gone = || io::Error::other("away");
            let text = match question {
                Question::Plain => "nothing",
                Question::Held => "held",
                Question::Done(step) => step,
            };
            self.hear(text).then(|| Destiny::Task("standby".to_owned(), None)).ok_or_else(gone)
        }
    }

    #[test]
    fn a_failure_is_reported_soon_after_the_server_is_back() {
        let server = Server::back_after(70);
        let mut unheard = Unheard::default();
        unheard.failed("runcmd=x", "it failed");
        let report = |text: &str| server.hear(text);
        let woken = unheard.rest(Duration::from_secs(150), Pauses::of_retries(), &report, &|time| {
            let before = server.heard.borrow().len();
            let end = server.wait(time);
            assert!(before > 0 || server.now.get() < Duration::from_secs(70 + 38), "within one pause");
            end
        });
        assert!(!woken);
        assert_eq!(*server.heard.borrow(), ["runcmd=x: it failed"], "once");
        assert_eq!(server.now.get(), Duration::from_secs(150));
    }

    /// Nothing is lost if the server is away for longer than the pause.
    #[test]
    fn a_failure_is_kept() {
        let server = Server::back_after(200);
        let mut unheard = Unheard::default();
        unheard.failed("x", "y");
        let (report, wait) = (|text: &str| server.hear(text), |time| server.wait(time));
        unheard.rest(Duration::from_secs(150), Pauses::of_retries(), &report, &wait);
        assert!(server.heard.borrow().is_empty());
        unheard.rest(Duration::from_secs(150), Pauses::of_retries(), &report, &wait);
        assert_eq!(*server.heard.borrow(), ["x: y"]);
    }

    #[test]
    fn a_step_that_is_done_is_named_until_it_is_heard() {
        let server = Server::back_after(300);
        let mut unheard = Unheard::default();
        let (say, wait) = (|question: Question<'_>| server.ask(question), |time| server.wait(time));
        let next = unheard.move_on("runcmd=a", Pauses::of_retries(), &say, &wait);
        assert_eq!(next, Some(Destiny::Task("standby".to_owned(), None)));
        assert_eq!(*server.heard.borrow(), ["runcmd=a"]);
        assert_eq!(unheard.ask(&|question| server.ask(question)).ok(), next);
        assert_eq!(*server.heard.borrow(), ["runcmd=a", "nothing"]);
    }

    /// A server that is away for hours gets the step with the next question, after a new lease.
    #[test]
    fn a_step_that_is_done_is_kept() {
        let server = Server::back_after(86_400);
        let mut unheard = Unheard::default();
        let wait = |time| server.wait(time);
        assert_eq!(unheard.move_on("a", Pauses::of_retries(), &|question| server.ask(question), &wait), None);
        server.wait(server.back);
        assert!(unheard.ask(&|question| server.ask(question)).is_ok());
        assert_eq!(*server.heard.borrow(), ["a"]);
    }

    #[test]
    fn a_word_ends_the_rest() {
        let mut unheard = Unheard::default();
        assert!(unheard.rest(Duration::from_secs(9), Pauses::of_retries(), &|_| true, &|_| true));
    }

    /// A step that failed is not done again by itself; a word of the server, or another step, ends that.
    #[test]
    fn a_step_that_failed_is_held() {
        let asked = RefCell::new(Vec::new());
        let of = |step: &'static str, asks: &mut Unheard| {
            let answer = asks.ask(&|question| {
                asked.borrow_mut().push(format!("{question:?}"));
                Ok(Destiny::Task(step.to_owned(), None))
            });
            answer.unwrap();
            std::mem::take(&mut *asked.borrow_mut())
        };
        let mut unheard = Unheard::default();
        unheard.failed("runcmd=a", "no");
        assert_eq!(of("runcmd=a", &mut unheard), ["Held"]);
        assert!(unheard.holds("runcmd=a"));
        assert_eq!(of("runcmd=b", &mut unheard), ["Held", "Plain"]);
        assert!(!unheard.holds("runcmd=b") && !unheard.holds("runcmd=a"));
        unheard.failed("runcmd=a", "no");
        unheard.release();
        assert_eq!(of("runcmd=a", &mut unheard), ["Plain"]);
    }
}
