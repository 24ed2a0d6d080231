//! Programs that tasks run: their output on the console, and what became of them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};

use dawn_wire::run_image::BadDigest;
use dawn_wire::text::without_control;

use super::bmc::BmcError;
use crate::error::Error;
use crate::log;

/// Lines of a command's output that are kept for the report of its failure.
const TAIL_LINES_MAX: usize = 4;
/// Bytes of one line of output that are shown.
const LINE_BYTES_MAX: u64 = 400;

/// What a task that is done has to say, or why it is not done: `None` for one that only waits.
pub(super) type Done = Result<Option<String>, Option<TaskError>>;

/// What is wrong with a task.
#[derive(Debug, thiserror::Error)]
pub(super) enum TaskError {
    #[error("`{0}` is not a task of the discovery system")]
    Unknown(String),
    #[error("{0} is not an http:// address")]
    Address(String),
    #[error(transparent)]
    Digest(BadDigest),
    #[error("the archive has the SHA-256 {got}, not the one of the step")]
    OtherDigest { got: String },
    #[error(transparent)]
    Image(#[from] Error),
    #[error(transparent)]
    Bmc(#[from] BmcError),
    #[error("{name}: {cause}")]
    Pipe { name: String, cause: io::Error },
    #[error("{name} cannot be started: {cause}")]
    Start { name: String, cause: io::Error },
    #[error("{name} cannot be started: {cause}; there is no busybox in this discovery system")]
    NoBusybox { name: String, cause: io::Error },
    #[error("{status}: {tail}")]
    Ended { status: ExitStatus, tail: String },
}

/// Runs a program; its output goes to the console as it comes. Gives its last lines.
pub(super) fn run(command: &mut Command, name: &str) -> Result<String, TaskError> {
    let pipe = |cause| TaskError::Pipe { name: name.to_owned(), cause };
    command.env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin").env("TERM", "linux");
    command.stdin(Stdio::null());
    let (reader, writer) = io::pipe().map_err(pipe)?;
    let second = writer.try_clone().map_err(pipe)?;
    command.stdout(writer).stderr(second);
    let mut child = command.spawn().map_err(|cause| match fs::metadata("/bin/busybox") {
        Err(_) => TaskError::NoBusybox { name: name.to_owned(), cause },
        Ok(_) => TaskError::Start { name: name.to_owned(), cause },
    })?;
    // The command holds the writing ends until it is dropped or used again.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let tail = show(name, reader).join(" / ");
    match child.wait() {
        Ok(status) if status.success() && tail.is_empty() => Ok("done".to_owned()),
        Ok(status) if status.success() => Ok(format!("done: {tail}")),
        Ok(status) => Err(TaskError::Ended { status, tail }),
        Err(cause) => Err(pipe(cause)),
    }
}

/// Shows the output line by line; gives its last lines.
fn show(name: &str, output: impl Read) -> Vec<String> {
    let mut output = BufReader::new(output);
    let mut tail = Vec::new();
    loop {
        let mut line = Vec::new();
        match (&mut output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return tail,
            Ok(_) => {}
        }
        let text = without_control(&String::from_utf8_lossy(&line));
        log::step(&format!("{name}: {text}"));
        if tail.len() == TAIL_LINES_MAX {
            tail.remove(0);
        }
        tail.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded() {
        let long = [b"first\n".as_slice(), &[b'x'; 1000], b"\nlast\n"].concat();
        let tail = show("p", &*long);
        assert_eq!(tail.len(), TAIL_LINES_MAX);
        assert_eq!(tail.last().map(String::as_str), Some("last"));
        assert!(tail.iter().all(|line| line.len() <= 400));
    }
}
