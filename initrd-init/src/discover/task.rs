//! Tasks of the chain: what a destiny says, carried out.
//!
//! A task that is done moves the chain on, and its output is reported; one that failed does not. It is
//! reported as a problem, so that it stands among the events of the node, and its status is `failed`. The
//! machine does it again when the server pushes (`nodeset`), and something else as soon as the tables have
//! that.
//!
//! What the server has not heard, because it is away, is said again soon ([`Unheard`]): a step that is done
//! is not done twice.

use std::process::Command;
use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

use super::ear::Ear;
use super::pause::{self, Pauses};
use super::program::{Done, TaskError, run};
use super::run_image::run_image;
use super::unheard::Unheard;
use super::{Session, bmc, kexec};
use crate::log;
use crate::rescue;
use crate::status::{Boot, Destiny};
use crate::sys;

/// Pause of a node that is to wait, or whose task failed, in seconds.
const STANDBY_SECONDS: u64 = 150;
/// Pause between a word of the server and the question, in seconds.
const NOTIFIED_SECONDS: u64 = 1;
/// The command of xCAT's discovery system that is carried out here.
const BMC_SETUP: &str = "bmcsetup";
/// Steps that follow each other without a pause; a chain that never rests is an error.
const STEPS_MAX: u32 = 64;

/// What a destiny asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task<'a> {
    /// Tell the server that this step is done and take the next one.
    Next,
    /// Describe the machine again.
    Discover,
    /// An interactive shell on the console.
    Shell,
    /// The service processor.
    SetUpBmc,
    /// A command with its words.
    Run(&'a str),
    /// An archive with a program `runme.sh`.
    RunImage(&'a str),
    /// Restart; with it the chain moves on.
    Reboot { moves: bool },
    /// Wait and ask again.
    Standby,
    /// Power off.
    Shutdown,
    /// Not a task of the discovery system.
    Unknown,
}

impl<'a> Task<'a> {
    fn parse(destiny: &'a str) -> Self {
        let (head, argument) = destiny.split_once('=').unwrap_or((destiny, ""));
        match head.split_whitespace().next().unwrap_or_default() {
            "discover" => Self::Discover,
            "shell" => Self::Shell,
            "osimage" | "ondiscover" => Self::Next,
            "runcmd" if argument.split_whitespace().next() == Some(BMC_SETUP) => Self::SetUpBmc,
            "runcmd" if !argument.trim().is_empty() => Self::Run(argument.trim()),
            "runimage" if !argument.trim().is_empty() => Self::RunImage(argument.trim()),
            "boot" | "reboot" => Self::Reboot { moves: true },
            // The boot script leads to the image now.
            "install" | "netboot" | "statelite" | "sysclone" => Self::Reboot { moves: false },
            "standby" | "" => Self::Standby,
            "shutdown" => Self::Shutdown,
            _ => Self::Unknown,
        }
    }
}

/// Carries out a destiny and what follows it, until the machine has to ask for a lease again.
pub(super) fn obey(
    session: &Session,
    (mut destiny, mut boot): (String, Option<Boot>),
    ear: Option<&Ear>,
    unheard: &mut Unheard,
) {
    for _ in 0..STEPS_MAX {
        if unheard.holds(&destiny) {
            return rest(session, ear, unheard);
        }
        log::step(&format!("destiny: {destiny}"));
        let done = match Task::parse(&destiny) {
            Task::Discover => return,
            Task::Next => Ok(None),
            Task::Shell => {
                rescue::shell("/");
                Ok(None)
            }
            Task::SetUpBmc => bmc::set_up(session).map(|()| None).map_err(|error| Some(error.into())),
            Task::Run(words) => run_words(words),
            Task::RunImage(url) => run_image(session, url),
            Task::Reboot { moves } => {
                if moves {
                    moved_on(session, &destiny, ear, unheard);
                } else if let Some(boot) = &boot {
                    let error = kexec::start(session, boot);
                    // The firmware leads to the image as well.
                    let _ = session.report(&format!("{destiny}: not started without the firmware: {error}"));
                }
                bmc::boot_from_network();
                rescue::restart()
            }
            Task::Shutdown => power_off(),
            Task::Standby => Err(None),
            Task::Unknown => Err(Some(TaskError::Unknown(destiny.clone()))),
        };
        match done {
            Ok(Some(output)) => session.report_done(&format!("{destiny}: {output}")),
            Ok(None) => {}
            Err(reason) => {
                if let Some(reason) = reason {
                    unheard.failed(&destiny, &reason.to_string());
                }
                return rest(session, ear, unheard);
            }
        }
        match moved_on(session, &destiny, ear, unheard) {
            Some(next) => (destiny, boot) = next,
            None => return,
        }
    }
    unheard.failed(&destiny, "the chain of this node never rests");
    rest(session, ear, unheard);
}

/// Waits until it is time to ask again, or the server says so; reports meanwhile what it has not heard.
fn rest(session: &Session, ear: Option<&Ear>, unheard: &mut Unheard) {
    let wait = |time| pause::for_word(ear, time).is_some();
    if unheard.rest(
        pause::about(STANDBY_SECONDS),
        Pauses::of_retries(),
        &|text| session.report_failure(text),
        &wait,
    ) {
        unheard.release();
        log::step("notified by the server; asking what to do");
        // Machines that are notified together do not ask together, and a flood of words makes no flood of
        // questions.
        pause::some(NOTIFIED_SECONDS);
    }
}

/// Says to the server that the step is done, until it has heard it; the next one.
fn moved_on(
    session: &Session,
    step: &str,
    ear: Option<&Ear>,
    unheard: &mut Unheard,
) -> Option<(String, Option<Boot>)> {
    let wait = |time| pause::for_word(ear, time).is_some();
    match unheard.move_on(step, Pauses::of_retries(), &|question| session.destiny(question), &wait)? {
        Destiny::Task(next, boot) => Some((next, boot)),
        Destiny::Unknown => None,
    }
}

/// Words are separated by blanks; there is no shell.
fn run_words(words: &str) -> Done {
    let mut words = words.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(words);
    run(&mut command, program).map(Some).map_err(Some)
}

fn power_off() -> ! {
    log::step("switching the machine off");
    rustix::fs::sync();
    loop {
        let _ = reboot(RebootCommand::PowerOff);
        sys::pause(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks() {
        for (destiny, task) in [
            ("discover", Task::Discover),
            ("shell", Task::Shell),
            ("runcmd=bmcsetup", Task::SetUpBmc),
            ("runcmd=bmcsetup -v", Task::SetUpBmc),
            ("runcmd=bmcsetup2", Task::Run("bmcsetup2")),
            ("runcmd=a b=c", Task::Run("a b=c")),
            ("runcmd=", Task::Unknown),
            ("runimage=http://x/y.tgz", Task::RunImage("http://x/y.tgz")),
            ("netboot debian12-x86_64-compute", Task::Reboot { moves: false }),
            ("statelite d-x-c", Task::Reboot { moves: false }),
            ("boot", Task::Reboot { moves: true }),
            ("standby", Task::Standby),
            ("", Task::Standby),
            ("shutdown", Task::Shutdown),
            ("osimage=x", Task::Next),
            ("error", Task::Unknown),
        ] {
            assert_eq!(Task::parse(destiny), task, "{destiny}");
        }
    }

    #[test]
    fn a_command_that_fails_says_why() {
        assert_eq!(run_words("true").unwrap().as_deref(), Some("done"));
        assert_eq!(run_words("echo a  b").unwrap().as_deref(), Some("done: a b"));
        let failed = run_words("ls /no/such/file").unwrap_err().unwrap().to_string();
        assert!(failed.starts_with("exit status: 2: ls: ") && failed.contains("No such file"), "{failed}");
        assert!(
            run_words("no-such-program x").unwrap_err().unwrap().to_string().contains("cannot be started")
        );
    }
}
