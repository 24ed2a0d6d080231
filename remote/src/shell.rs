//! How commands of one run reach their hosts: over our own connections, or by OpenSSH's `ssh`.
//!
//! Our own connections are used unless the run needs a feature that only the program has: a program named by
//! the user, an ssh option other than those of [`SshOptions`], a configuration file of the user's, or no key
//! that can be read (then an agent may have one).

use crate::openssh::{OpenSsh, RunDirectory, SSH};
use crate::program::Program;
use crate::run::{Job, Work};
use crate::session::Command;
use crate::target::Target;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Words for `ssh`, as far as we know them ourselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshOptions {
    /// `-p`, `-o Port=`.
    pub port: Option<u16>,
    /// `-o ConnectTimeout=`.
    pub connect: Option<Duration>,
    /// All words.
    pub words: Vec<String>,
    /// There is a word that only `ssh` knows.
    pub has_others: bool,
}

impl SshOptions {
    /// Reads words such as `-p 2222 -o ConnectTimeout=5`.
    pub fn read(words: &[String]) -> Self {
        let mut options = Self { words: words.to_vec(), ..Self::default() };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let known = match word.get(..2) {
                Some(flag @ ("-p" | "-o")) => {
                    let glued = word.get(2..).filter(|value| !value.is_empty());
                    let value = glued.map(str::to_owned).or_else(|| rest.next().cloned());
                    value.is_some_and(|value| options.take(flag, &value))
                }
                _ => matches!(word.as_str(), "-x" | "-q"),
            };
            options.has_others |= !known;
        }
        options
    }

    fn take(&mut self, flag: &str, value: &str) -> bool {
        let (name, value) = match flag {
            "-p" => ("port".to_owned(), value),
            _ => match value.split_once(['=', ' ']) {
                Some((name, value)) => (name.to_ascii_lowercase(), value.trim()),
                None => return false,
            },
        };
        match name.as_str() {
            "port" => {
                self.port = value.parse().ok();
                self.port.is_some()
            }
            "connecttimeout" => {
                self.connect = value.parse().ok().map(Duration::from_secs);
                self.connect.is_some()
            }
            "batchmode" => value == "yes",
            _ => false,
        }
    }
}

/// What a run asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The remote shell program that the user names.
    pub program: Option<PathBuf>,
    /// Words for it.
    pub options: SshOptions,
    /// The user's ssh configuration, if there is one.
    pub configuration: Option<PathBuf>,
    /// known_hosts files that the program reads as well.
    pub known_hosts: Vec<PathBuf>,
    /// Where the files of the run go.
    pub temporary: PathBuf,
}

/// The way that was chosen.
#[derive(Debug)]
pub enum Shell {
    /// Our own connections.
    Own,
    /// A program.
    Program {
        /// Its path.
        path: PathBuf,
        /// How it is called.
        openssh: OpenSsh,
        /// Why it is called.
        because: &'static str,
    },
}

impl Shell {
    /// Chooses the way for a run with these targets.
    ///
    /// # Errors
    /// The files that a program needs cannot be written.
    pub fn choose(wish: Wish, targets: &[Target]) -> io::Result<Self> {
        let because = match () {
            () if wish.program.is_some() => "a remote shell was named",
            () if wish.options.has_others => "ssh options were given",
            () if wish.configuration.as_deref().is_some_and(says_something) => {
                "there is an ssh configuration"
            }
            () if targets.iter().all(|target| target.identity.is_empty()) => "no key can be read",
            () => return Ok(Self::Own),
        };
        let directory = RunDirectory::new(&wish.temporary)?;
        let openssh = OpenSsh::new(directory, targets, wish.known_hosts, wish.options.words)?;
        let path = wish.program.unwrap_or_else(|| SSH.into());
        Ok(Self::Program { path, openssh, because })
    }

    /// The job that runs a command on a target.
    pub fn job(&self, target: Target, line: &str, input: &Arc<Vec<u8>>) -> Job {
        self.job_with(target, line, input, &Arc::default())
    }

    /// The same with more input, which the jobs of other targets share.
    pub fn job_with(&self, target: Target, line: &str, input: &Arc<Vec<u8>>, rest: &Arc<Vec<u8>>) -> Job {
        let (input, rest) = (Arc::clone(input), Arc::clone(rest));
        let work = match self {
            Self::Own => Work::Ssh(Command { line: line.to_owned(), input, rest }),
            Self::Program { path, openssh, .. } => {
                Work::Program(Program { rest, ..openssh.ssh(path, &target, line, input) })
            }
        };
        Job { target, work }
    }
}

/// Whether a configuration changes anything. xCAT's own line in it, which accepts every host key, does not
/// count.
fn says_something(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.any(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("stricthostkeychecking") && line != "host *"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_we_know_and_others() {
        for (line, port, seconds, has_others) in [
            ("", None, None, false),
            ("-p 2222", Some(2222), None, false),
            ("-p2222 -x", Some(2222), None, false),
            ("-o ConnectTimeout=5 -oPort=23", Some(23), Some(5), false),
            ("-4", None, None, true),
            ("-o ProxyCommand=x", None, None, true),
            ("-p", None, None, true),
            ("-p x", None, None, true),
            ("-o StrictHostKeyChecking=no", None, None, true),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let options = SshOptions::read(&words);
            let connect = seconds.map(Duration::from_secs);
            assert_eq!(
                (options.port, options.connect, options.has_others),
                (port, connect, has_others),
                "{line}"
            );
        }
    }
}
