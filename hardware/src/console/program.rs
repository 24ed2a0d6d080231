//! Consoles that a program shows: `ssh` and `virsh`, each on a pseudo terminal.
//!
//! Programs get lists of arguments; no shell sees a word from a table, and no word that may begin with `-` is
//! in the place of an option. Standard input and output are the terminal. The program's report on standard
//! error is the reason when it ends. It leads a process group that is killed with the console.
//!
//! `ssh` only uses a separate key for consoles (`consoles/id_ed25519` of the data directory):
//! a table cell that names another machine must not become a login there. A host's key is recorded at the
//! first connection and must be the same from then on.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::source::{Line, Said, Soon, Source};
use super::stream::Stream;
use crate::error::Error;
use crate::hub::Links;
use crate::kvm;
use crate::limits::{
    CONSOLE_PROGRAM_TIME, CONSOLE_REPORT_BYTES_MAX, CONSOLE_REPORT_TIME_MAX, CONSOLE_SSH_CONNECT_SECONDS,
};
use crate::target::Peer;

/// OpenSSH's client.
const SSH: &str = "ssh";
/// The key for consoles, in their directory.
pub const KEY: &str = "id_ed25519";
/// What `virsh` takes for the key that ends it: a byte that no text has.
const VIRSH_ESCAPE: u8 = 0xff;
/// The traditional size of serial consoles.
const WINDOW: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// A login that shows a console.
pub(super) struct Ssh {
    pub links: Arc<Links>,
    /// Key and known hosts.
    pub directory: PathBuf,
    pub peer: Peer,
    pub user: String,
}

impl Source for Ssh {
    fn open(&self, _insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(async move {
            let address =
                self.links.resolve(&self.peer.host, self.peer.port, &self.peer.known_address).await?;
            start(SSH, self.arguments(&address.ip().to_string()), Mode::Sane).await
        })
    }
}

impl Ssh {
    fn arguments(&self, address: &str) -> Vec<OsString> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let mut words: Vec<OsString> = ["-F", "none", "-tt", "-a", "-x", "-i"].map(OsString::from).into();
        words.push(self.directory.join(KEY).into());
        for option in [
            "BatchMode=yes".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            format!("ConnectTimeout={CONSOLE_SSH_CONNECT_SECONDS}"),
            "EscapeChar=none".to_owned(),
            format!("HostKeyAlias={}", self.peer.host),
            format!("HostName={address}"),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "ServerAliveInterval=30".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("UserKnownHostsFile=\"{}\"", file("known_hosts")),
        ] {
            words.extend(["-o".into(), option.into()]);
        }
        let port = self.peer.port.to_string();
        words.extend(["-p", &port, "-l", &self.user, "--", &self.peer.host].map(OsString::from));
        words
    }
}

/// The console of a virtual machine of libvirt.
pub(super) struct Virsh {
    pub links: Arc<Links>,
    pub host: String,
    pub domain: String,
}

impl Source for Virsh {
    fn open(&self, insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(start(self.links.virsh(), self.arguments(insists), Mode::Raw))
    }
}

impl Virsh {
    fn arguments(&self, insists: bool) -> Vec<OsString> {
        let uri = kvm::uri(&self.host);
        let mut words: Vec<OsString> = ["--connect", &uri, "--quiet", "--escape"].map(OsString::from).into();
        words.extend([OsString::from_vec(vec![VIRSH_ESCAPE]), "console".into()]);
        words.extend(insists.then(|| "--force".into()));
        words.extend(["--domain", &self.domain].map(OsString::from));
        words
    }
}

/// Starts a program. It has the console when it writes something, or has not ended after a while.
async fn start(program: &str, arguments: Vec<OsString>, mode: Mode) -> Result<Box<dyn Line>, Error> {
    let mut line = Program::start(program, arguments, mode)
        .map_err(|error| Error::Machine(format!("{program}: {error}")))?;
    match timeout(CONSOLE_PROGRAM_TIME, line.next()).await {
        Ok(Said::End(reason)) => Err(Error::Machine(reason)),
        Ok(said) => {
            line.first = Some(said);
            Ok(Box::new(line))
        }
        Err(_) => Ok(Box::new(line)),
    }
}

/// A program on its terminal.
struct Program {
    stream: Stream<pipe::Receiver>,
    /// Its output while it started.
    first: Option<Said>,
    report: JoinHandle<String>,
    child: Child,
}

impl Drop for Program {
    /// Its process group is ended with it. The child was not waited for, so the number is still its own.
    fn drop(&mut self) {
        self.report.abort();
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Program {
    fn start(program: &str, arguments: Vec<OsString>, mode: Mode) -> io::Result<Self> {
        let (read, write, terminal) = pair(mode)?;
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").env("TERM", "vt100");
        command.stdin(Stdio::from(terminal.try_clone()?)).stdout(Stdio::from(terminal));
        command.stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        // The program alone has the terminal now: its end is the end of the stream.
        drop(command);
        let report = tokio::spawn(last_line(child.stderr.take()));
        let stream = Stream::new(read, write, None, "");
        Ok(Self { stream, first: None, report, child })
    }
}

impl Line for Program {
    fn next(&mut self) -> Soon<'_, Said> {
        Box::pin(async move {
            if let Some(first) = self.first.take() {
                return first;
            }
            match self.stream.next().await {
                Said::End(_) => {
                    let report = timeout(CONSOLE_REPORT_TIME_MAX, &mut self.report).await;
                    let report = report.ok().and_then(Result::ok).filter(|text| !text.is_empty());
                    Said::End(report.unwrap_or_else(|| "the program of this console has ended".to_owned()))
                }
                said => said,
            }
        })
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.stream.send(bytes)
    }

    fn send_break(&mut self) -> bool {
        false
    }
}

/// The last line that a program reports, without control characters.
async fn last_line(errors: Option<ChildStderr>) -> String {
    let Some(mut errors) = errors else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = errors.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let over = kept.len().saturating_sub(CONSOLE_REPORT_BYTES_MAX);
        kept.drain(..over);
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    line.chars().filter(|c| !c.is_control()).take(crate::limits::VIRSH_SAYS_CHARS_MAX).collect()
}

/// How a program finds its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// With echo and whole lines: `ssh` gives the far terminal this mode, and makes ours raw then.
    Sane,
    /// Bytes as they are.
    Raw,
}

/// Both ends of a pseudo terminal: ours, and the program's. Our side is a pipe in each direction for the
/// runtime: it only reads, writes and waits.
fn pair(mode: Mode) -> io::Result<(pipe::Receiver, pipe::Sender, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    if mode == Mode::Raw {
        let mut mode = tcgetattr(&theirs)?;
        mode.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &mode)?;
    }
    tcsetwinsize(&theirs, WINDOW)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let writes = pipe::Sender::from_owned_fd_unchecked(ours.try_clone()?)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(ours)?, writes, theirs))
}
