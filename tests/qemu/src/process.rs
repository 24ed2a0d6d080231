//! Child processes: short commands that must succeed, and long-running ones whose output goes to a file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::wait;

/// How much of a log goes into an error message, in bytes.
pub const TAIL_BYTES: u64 = 6 * 1024;

/// A command line as one would type it, for messages.
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end; a status other than zero is an error that carries its output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("`{}` failed ({}):\n{stdout}{stderr}", display(command), output.status);
}

/// Runs a command to its end, with any exit status; an error only if it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", display(command)))
}

/// A long-running child with its output (both streams) in a file. Dropping it kills it.
#[derive(Debug)]
pub struct Logged {
    child: Child,
    log: PathBuf,
}

impl Logged {
    /// Starts `command`, appending what it prints to `log`.
    pub fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot open log {}", log.display()))?;
        let errors = file.try_clone().context("cannot share the log")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.with_context(|| format!("cannot start `{}`", display(command)))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The status, once the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot ask for a child's status")
    }

    /// Ends the process the hard way, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill a child")?;
        self.child.wait().context("cannot collect a child")?;
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits; an error if it is still there after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        rustix::process::kill_process(pid, Signal::TERM).context("cannot send SIGTERM")?;
        match wait::until(limit, || self.ended())? {
            Some(status) => Ok(status),
            None => bail!("process {} ignores SIGTERM\n{}", self.id(), tail(&self.log)),
        }
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // No report is possible here; the namespace's clean-up catches what survives.
        let _ = self.kill();
    }
}

/// The last [`TAIL_BYTES`] of a log, under its name, as printable text; for a missing file, a line that says
/// it is missing.
pub fn tail(path: &Path) -> String {
    let text = read_tail(path).unwrap_or_else(|error| format!("(unreadable: {error})"));
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    format!("--- end of {name} ({}) ---\n{}\n", path.display(), printable(&text))
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Firmware paints with terminal codes; a log must not.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut std::str::Chars<'_>) {
    if chars.clone().next() == Some('[') {
        chars.next();
        chars.by_ref().find(|c| c.is_ascii_alphabetic());
    } else {
        chars.next();
    }
}

/// Reads a whole log leniently; a missing file is empty.
pub fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_codes_are_dropped() {
        let cases = [
            ("plain\n", "plain\n"),
            ("\x1b[0;1miPXE\x1b[0m ok", "iPXE ok"),
            ("\x1bca\x07b", "ab"),
            ("cut \x1b[", "cut "),
        ];
        for (input, want) in cases {
            assert_eq!(printable(input), want, "{input:?}");
        }
    }

    #[test]
    fn failing_command_shows_its_output() {
        let error =
            run(Command::new("sh").args(["-c", "echo out; echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(
            error.contains("out") && error.contains("why") && error.contains("exit status: 3"),
            "{error}"
        );
    }
}
