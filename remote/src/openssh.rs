//! Command lines of OpenSSH's programs and of rsync: for users' own ssh configuration (jump hosts, agents,
//! Kerberos), for options that only they know, and for copying.
//!
//! The programs check host keys as we do: a known_hosts file of the targets' keys is written for the run, and
//! `StrictHostKeyChecking=yes` is given. Words are passed as a list; rsync splits its `-e` itself, so the
//! words in it are quoted.

use crate::names::PORT_DEFAULT;
use crate::program::Program;
use crate::target::Target;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// OpenSSH's client.
pub const SSH: &str = "/usr/bin/ssh";
/// OpenSSH's copy program.
pub const SCP: &str = "/usr/bin/scp";
/// rsync.
pub const RSYNC: &str = "/usr/bin/rsync";
/// Bytes of the random part of a name below the directory for temporary files.
const NAME_BYTES: usize = 12;

/// A directory of one run, readable by its owner only; it goes with its value.
#[derive(Debug)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes it below `parent`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("dawn-run.{}", random_name()?));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that cannot be guessed.
///
/// # Errors
/// The system has no random numbers.
pub fn random_name() -> io::Result<String> {
    let mut bytes = [0; NAME_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How OpenSSH's programs are called in one run.
#[derive(Debug)]
pub struct OpenSsh {
    known_hosts: PathBuf,
    /// Other known_hosts files that count, such as the user's own.
    others: Vec<PathBuf>,
    /// Words of the user's, before ours.
    options: Vec<String>,
    _directory: RunDirectory,
}

impl OpenSsh {
    /// Writes the keys of all targets into a file of `directory`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new<'a>(
        directory: RunDirectory,
        targets: impl IntoIterator<Item = &'a Target>,
        others: Vec<PathBuf>,
        options: Vec<String>,
    ) -> io::Result<Self> {
        let known_hosts = directory.path().join("known_hosts");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&known_hosts)?;
        let mut text = String::new();
        for target in targets {
            for line in target.host_keys.lines(&alias(target)) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        file.write_all(text.as_bytes())?;
        Ok(Self { known_hosts, others, options, _directory: directory })
    }

    /// Options that all of OpenSSH's programs share.
    fn common(&self, target: &Target) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.options.iter().map(OsString::from).collect();
        let files = std::iter::once(&self.known_hosts).chain(&self.others);
        let files = files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
        let mut option = |text: String| words.extend([OsString::from("-o"), OsString::from(text)]);
        option("BatchMode=yes".to_owned());
        option("StrictHostKeyChecking=yes".to_owned());
        option(format!("UserKnownHostsFile={files}"));
        option(format!("HostKeyAlias={}", alias(target)));
        if let Some(address) = target.address {
            option(format!("HostName={address}"));
        }
        if target.port != PORT_DEFAULT {
            option(format!("Port={}", target.port));
        }
        for file in &target.identity.files {
            words.extend([OsString::from("-i"), file.into()]);
        }
        words
    }

    /// `ssh` with a command line for the user's shell on the host.
    pub fn ssh(&self, program: &Path, target: &Target, line: &str, input: Arc<Vec<u8>>) -> Program {
        let mut words = self.common(target);
        let has_display = self.options.iter().any(|word| word.starts_with("-X"));
        if !has_display {
            words.push("-x".into());
        }
        words.extend(["-l", &target.user, "--", &target.host, line].map(OsString::from));
        Program { input, ..Program::new(program, words) }
    }

    /// `scp` of files to a host, or of a file from it.
    pub fn scp(&self, program: &Path, target: &Target, flags: &[&str], copy: &Copy<'_>) -> Program {
        let mut words: Vec<OsString> = flags.iter().map(OsString::from).collect();
        words.extend(self.common(target));
        words.extend(["-B".into(), "--".into()]);
        words.extend(copy.words(target));
        Program::new(program, words)
    }

    /// `rsync` of files to a host, or of a file from it.
    pub fn rsync(&self, program: &Path, target: &Target, flags: &[&str], copy: &Copy<'_>) -> Program {
        let mut shell = vec![OsString::from(SSH)];
        shell.extend(self.common(target));
        // rsync splits this at blanks and knows quotes.
        let quoted: Vec<String> = shell.iter().map(|word| rsync_quoted(&word.to_string_lossy())).collect();
        let mut words: Vec<OsString> = flags.iter().map(OsString::from).collect();
        words.extend(["-e".into(), quoted.join(" ").into(), "--".into()]);
        words.extend(copy.words(target));
        Program::new(program, words)
    }
}

/// What is copied.
#[derive(Clone, Copy, Debug)]
pub enum Copy<'a> {
    /// Files of this machine to a place on the host.
    To {
        /// Local paths.
        from: &'a [PathBuf],
        /// Remote path.
        to: &'a str,
    },
    /// A file of the host to a place on this machine.
    From {
        /// Remote path.
        from: &'a str,
        /// Local path.
        to: &'a Path,
    },
}

impl Copy<'_> {
    fn words(&self, target: &Target) -> Vec<OsString> {
        let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        let remote = |path: &str| OsString::from(format!("{}@{host}:{path}", target.user));
        match self {
            Copy::To { from, to } => from.iter().map(|path| local(path)).chain([remote(to)]).collect(),
            Copy::From { from, to } => vec![remote(from), local(to)],
        }
    }
}

/// A local path that no program takes for one of a host.
fn local(path: &Path) -> OsString {
    match path.is_absolute() {
        true => path.into(),
        false => Path::new(".").join(path).into(),
    }
}

/// What ssh calls the host in known_hosts files: the node's name, whatever its address.
fn alias(target: &Target) -> String {
    target.node.to_ascii_lowercase()
}

fn rsync_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}
