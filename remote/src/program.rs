//! A program on this machine as the job of a node: OpenSSH's `ssh` and `scp`, `rsync`, a shell of this host.
//!
//! It is started with a list of arguments; no shell sees a node's name or a user's words. It leads a new
//! process group, so that stopping reaches what it has started, and a Ctrl-C on the terminal reaches it only
//! through us.

use crate::event::Stream;
use crate::failure::{Failure, reason};
use crate::output::Output;
use dawn_fanout::CancellationToken;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes read at once.
const CHUNK_BYTES: usize = 32 << 10;
/// Time that a program has to end after each signal.
const SIGNAL_WAIT: Duration = Duration::from_millis(500);
/// Time that a program's output may stay open after its end: something it started in the background has it.
const OUTPUT_WAIT: Duration = Duration::from_millis(500);
/// Added to the number of the signal that ended a program.
const EXIT_SIGNALLED: i32 = 128;

/// A program and its arguments.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Bytes on its standard input.
    pub input: Arc<Vec<u8>>,
    /// Bytes that follow those; many nodes may share them.
    pub rest: Arc<Vec<u8>>,
}

impl Program {
    /// A program with these arguments.
    pub fn new(path: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { path: path.into(), arguments, ..Self::default() }
    }

    /// The command line, to be shown.
    pub fn shown(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        std::iter::once(self.path.display().to_string()).chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// Runs the program; its exit code.
pub(crate) async fn run(
    program: &Program,
    idle: Option<Duration>,
    output: &mut Output,
    stop: &CancellationToken,
) -> Result<i32, Failure> {
    let mut child = start(program)?;
    let sending = send(child.stdin.take(), [Arc::clone(&program.input), Arc::clone(&program.rest)]);
    tokio::pin!(sending);
    let (mut is_sent, mut last) = (false, Instant::now());
    let (mut out, mut err) = (Pipe::new(child.stdout.take()), Pipe::new(child.stderr.take()));
    let (mut ended, mut late_at) = (None, None::<Instant>);
    while ended.is_none() || out.is_open() || err.is_open() {
        let silent_at = idle.map(|idle| last + idle);
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => Failure::Stopped,
            count = out.read(), if out.is_open() => {
                output.push(Stream::Out, out.taken(count)).await;
                last = Instant::now();
                continue;
            }
            count = err.read(), if err.is_open() => {
                output.push(Stream::Err, err.taken(count)).await;
                last = Instant::now();
                continue;
            }
            () = &mut sending, if !is_sent => {
                is_sent = true;
                continue;
            }
            status = child.wait(), if ended.is_none() => {
                ended = Some(status);
                late_at = Some(Instant::now() + OUTPUT_WAIT);
                continue;
            }
            () = sleep_until(late_at.unwrap_or(last)), if late_at.is_some() => break,
            () = sleep_until(silent_at.unwrap_or(last)), if silent_at.is_some() => {
                Failure::Silent(idle.unwrap_or_default())
            }
        };
        end(&mut child).await;
        return Err(failure);
    }
    match ended {
        Some(Ok(status)) => {
            use std::os::unix::process::ExitStatusExt;
            let signal = || EXIT_SIGNALLED + status.signal().unwrap_or_default();
            Ok(status.code().unwrap_or_else(signal))
        }
        Some(Err(error)) => Err(failed(program, &error)),
        None => Err(Failure::Stopped),
    }
}

fn start(program: &Program) -> Result<Child, Failure> {
    let is_silent = program.input.is_empty() && program.rest.is_empty();
    let stdin = if is_silent { Stdio::null() } else { Stdio::piped() };
    let mut command = tokio::process::Command::new(&program.path);
    command.args(&program.arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command.spawn().map_err(|error| failed(program, &error))
}

fn failed(program: &Program, error: &std::io::Error) -> Failure {
    Failure::Program { program: program.path.display().to_string(), reason: reason(error) }
}

async fn send(stdin: Option<tokio::process::ChildStdin>, inputs: [Arc<Vec<u8>>; 2]) {
    if let Some(mut stdin) = stdin {
        for input in inputs {
            // A program that does not read all of it is not an error.
            let _ = stdin.write_all(&input).await;
        }
    }
}

/// Ends the program and what it has started.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(group) = group else { return };
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let _ = kill_process_group(group, signal);
        if timeout(SIGNAL_WAIT, child.wait()).await.is_ok() {
            return;
        }
    }
}

/// One end of a pipe, with what was read last.
struct Pipe<R> {
    reader: Option<R>,
    chunk: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(reader: Option<R>) -> Self {
        Self { reader, chunk: vec![0; CHUNK_BYTES] }
    }

    fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Reads what has arrived; 0 at the end. Cancel safe.
    async fn read(&mut self) -> usize {
        let Some(reader) = &mut self.reader else { return 0 };
        let count = reader.read(&mut self.chunk).await.unwrap_or(0);
        if count == 0 {
            self.reader = None;
        }
        count
    }

    fn taken(&self, count: usize) -> &[u8] {
        self.chunk.get(..count).unwrap_or_default()
    }
}
