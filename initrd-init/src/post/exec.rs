//! Runs one post script and waits for it: with a limit of its time and of what it writes to the log.
//!
//! A shell reads the variables and becomes the script; the script's words are arguments of that shell, so
//! none of them is read as a command. Output goes straight to the log, because a script may leave a service
//! behind that writes on. A script is a process group; at a limit the whole group is ended. Services that a
//! script has started otherwise live on.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use dawn_wire::script::{Outcome, ScriptResult};
use rustix::process::{Pid, Signal, kill_process_group};

use super::script::Script;
use crate::sys;

/// The shell of the node.
const SHELL: &str = "/bin/sh";
/// Reads the variables, puts the scripts' own directory first in the path, and becomes the script.
const START: &str = r#". "$1"; shift; PATH="$PWD:$PATH"; export PATH; exec "$@""#;
/// Until the variables have said otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// First and longest pause between two looks at a script, in milliseconds.
const LOOK_PAUSE_MS: (u64, u64) = (10, 200);
/// Part of the output that is looked through for its last line, in bytes.
const TAIL_BYTES: u64 = 4096;

/// Where everything is on the node.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The fetched tree, in which scripts start.
    pub scripts: PathBuf,
    /// The part of `mypostscript` with the variables.
    pub variables: PathBuf,
    /// What scripts write.
    pub log: PathBuf,
}

/// What one script may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Its time.
    pub time: Duration,
    /// The time after which the server gets a report that it still runs.
    pub slow: Duration,
    /// The time it has after the request to end.
    pub grace: Duration,
    /// What it may write to the log, in bytes.
    pub log_bytes: u64,
}

impl Limits {
    /// Of a node.
    pub(super) const NODE: Self = Self {
        time: Duration::from_secs(1800),
        slow: Duration::from_secs(60),
        grace: Duration::from_secs(10),
        log_bytes: 16 << 20,
    };
}

/// Runs `script`; `slow` is called while it is still running.
pub(super) fn run(
    script: &Script,
    place: &Place,
    limits: Limits,
    slow: &mut dyn FnMut(&ScriptResult),
) -> ScriptResult {
    let started = Instant::now();
    let result = |outcome: Outcome, said: String| ScriptResult {
        half: script.half,
        script: script.text.clone(),
        outcome,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        said,
    };
    if !fs::metadata(place.scripts.join(&script.name)).is_ok_and(|meta| meta.is_file()) {
        return result(Outcome::Missing, String::new());
    }
    let ended = Log::open(place).and_then(|mut log| {
        log.line(&format!("{} start..: {}", script.half.script(), script.text))?;
        let mut child = start(script, place, &log)?;
        let outcome = watch(&mut child, started, limits, &log, &mut || {
            slow(&result(Outcome::Running, String::new()));
        })?;
        let said = if outcome.is_good() { String::new() } else { log.last_line() };
        log.line(&format!("{} end....: {}: {}", script.half.script(), script.text, words(outcome)))?;
        Ok((outcome, said))
    });
    match ended {
        Ok((outcome, said)) => result(outcome, said),
        Err(cause) => result(Outcome::Unstartable, cause.to_string()),
    }
}

/// The outcome for the log on the node.
fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Exit(code) => format!("exited with code {code}"),
        other => other.to_string(),
    }
}

fn start(script: &Script, place: &Place, log: &Log) -> io::Result<Child> {
    let mut command = Command::new(SHELL);
    command
        .args(["-c", START, "sh"])
        .arg(&place.variables)
        .arg(format!("./{}", script.name))
        .args(&script.words);
    command.current_dir(&place.scripts).env_clear();
    command.envs([("PATH", PATH), ("HOME", "/root"), ("LOGNAME", "root"), ("USER", "root")]);
    command.env("LOGLABEL", format!("xcat.deployment.{}", script.half.script()));
    command.stdin(Stdio::null()).stdout(log.file.try_clone()?).stderr(log.file.try_clone()?);
    command.process_group(0).spawn()
}

fn watch(
    child: &mut Child,
    started: Instant,
    limits: Limits,
    log: &Log,
    slow: &mut dyn FnMut(),
) -> io::Result<Outcome> {
    let (mut pause, longest) = LOOK_PAUSE_MS;
    let mut is_slow = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(outcome(status));
        }
        let time = started.elapsed();
        let over = match () {
            () if time >= limits.time => Some(Outcome::Late),
            () if log.written()? > limits.log_bytes => Some(Outcome::Flood),
            () => None,
        };
        if let Some(outcome) = over {
            end(child, limits.grace)?;
            return Ok(outcome);
        }
        if time >= limits.slow && !is_slow {
            is_slow = true;
            slow();
        }
        sys::pause(Duration::from_millis(pause));
        pause = (pause * 2).min(longest);
    }
}

fn outcome(status: ExitStatus) -> Outcome {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exit(byte(code)),
        (None, signal) => Outcome::Signal(byte(signal.unwrap_or_default())),
    }
}

/// Ends the script with all that it has started and that has not left its group.
fn end(child: &mut Child, grace: Duration) -> io::Result<()> {
    let group = Pid::from_child(child);
    // The group may have just ended, as intended.
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + grace;
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        sys::pause(Duration::from_millis(LOOK_PAUSE_MS.0));
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().map(drop)
}

/// The log, from where the script began.
struct Log {
    file: File,
    from: u64,
}

impl Log {
    fn open(place: &Place) -> io::Result<Self> {
        let mut file = File::options().create(true).append(true).read(true).open(&place.log)?;
        let from = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, from })
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(format!("{text}\n").as_bytes())?;
        self.from = self.from.max(self.file.metadata()?.len());
        Ok(())
    }

    fn written(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(self.from))
    }

    /// The last line of the script that is not blank.
    fn last_line(&self) -> String {
        let end = self.from + self.written().unwrap_or_default();
        let start = end.saturating_sub(TAIL_BYTES).max(self.from);
        let mut bytes = Vec::new();
        let mut tail = At { file: &self.file, at: start };
        let _ = (&mut tail).take(end - start).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }
}

/// A file from a place on, whose own place stays.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += u64::try_from(count).unwrap_or_default();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_wire::script::Half;
    use std::os::unix::fs::PermissionsExt;

    struct Bed {
        dir: tempfile::TempDir,
        place: Place,
    }

    impl Bed {
        fn new(scripts: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            let place = Place { scripts: at("post"), variables: at("variables"), log: at("log") };
            fs::create_dir(&place.scripts).unwrap();
            fs::write(&place.variables, "NODE='cn1'\nexport NODE\nPATH=/nowhere:/usr/bin:/bin\n").unwrap();
            for (name, text) in scripts {
                let path = place.scripts.join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            Self { dir, place }
        }

        fn run(&self, line: &str, limits: Limits) -> (ScriptResult, usize) {
            let mut slow = 0;
            let script = Script::parse(Half::Post, line).unwrap();
            (run(&script, &self.place, limits, &mut |_| slow += 1), slow)
        }

        fn log(&self) -> String {
            fs::read_to_string(self.dir.path().join("log")).unwrap()
        }
    }

    #[test]
    fn variables_words_and_ends() {
        let bed = Bed::new(&[
            ("good", "#!/bin/sh\nprintf '%s:' \"$NODE\" \"$LOGLABEL\" \"$@\"\necho\nhelper\n"),
            ("helper", "#!/bin/sh\necho helped\n"),
            ("bad", "echo first >&2; echo; echo no disk; exit 3\n"),
            ("killed", "#!/bin/sh\nkill -9 $$\n"),
        ]);
        let cases = [
            ("good 'a b' $HOME;x", Outcome::Exit(0), ""),
            ("bad", Outcome::Exit(3), "no disk"),
            ("killed", Outcome::Signal(9), ""),
            ("nothing", Outcome::Missing, ""),
        ];
        for (line, outcome, said) in cases {
            let (result, slow) = bed.run(line, Limits::NODE);
            assert_eq!(
                (result.outcome, result.said.as_str(), slow),
                (outcome, said, 0),
                "{line}\n{}",
                bed.log()
            );
        }
        let log = bed.log();
        assert!(log.contains("cn1:xcat.deployment.postscript:a b:$HOME;x:\nhelped\n"), "{log}");
        assert!(
            log.contains("postscript start..: bad\n") && log.contains("end....: bad: exited with code 3\n"),
            "{log}"
        );
    }

    #[test]
    fn a_script_that_hangs_is_ended_with_its_children() {
        let text = "#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $! > pid\nwhile :; do sleep 600; done\n";
        let bed = Bed::new(&[("hangs", text)]);
        let short = Duration::from_millis(200);
        let limits = Limits { time: short * 3, slow: short, grace: short, ..Limits::NODE };
        let (result, slow) = bed.run("hangs", limits);
        assert_eq!((result.outcome, slow), (Outcome::Late, 1));
        let pid = fs::read_to_string(bed.place.scripts.join("pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // The signal has been sent; the kernel may take a moment.
        let mut state = String::new();
        for _ in 0..1000 {
            state = fs::read_to_string(&stat).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            sys::pause(Duration::from_millis(LOOK_PAUSE_MS.0));
        }
        panic!("its child lives: {state}");
    }

    #[test]
    fn a_service_that_it_leaves_behind_holds_nothing_up() {
        let bed = Bed::new(&[("leaves", "#!/bin/sh\nsleep 600 &\necho $! > pid\n")]);
        assert_eq!(bed.run("leaves", Limits::NODE).0.outcome, Outcome::Exit(0));
        let pid = fs::read_to_string(bed.place.scripts.join("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).expect("it lives on");
    }

    #[test]
    fn the_log_is_not_flooded() {
        let bed = Bed::new(&[("floods", "#!/bin/sh\nwhile :; do echo much; done\n")]);
        let limits = Limits { log_bytes: 10_000, ..Limits::NODE };
        let (result, _) = bed.run("floods", limits);
        assert_eq!((result.outcome, result.said.as_str()), (Outcome::Flood, "much"));
    }

    #[test]
    fn a_log_that_cannot_be_written_is_reported() {
        let mut bed = Bed::new(&[("good", "#!/bin/sh\n")]);
        bed.place.log = bed.dir.path().join("no/log");
        let (result, _) = bed.run("good", Limits::NODE);
        assert_eq!(result.outcome, Outcome::Unstartable);
        assert!(!result.said.is_empty());
    }
}
