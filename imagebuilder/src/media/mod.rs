//! `copycds`: the files of an installation medium, below the install directory.
//!
//! A copy grows in a hidden directory beside its place and is moved there when it is complete. One that was
//! interrupted is continued: files that are whole, by size and time, are not read again. After a restart of
//! the machine it begins from nothing, because what a crash left of a file may have its size and no content.

mod place;
mod recognise;
mod source;

use std::io;
use std::path::{Path, PathBuf};

use dawn_cluster::Advised;

pub use recognise::{Family, Medium};

use recognise::recognise;
use source::Source;

/// Why a medium was not copied.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The file, the device or the directory cannot be read.
    #[error("{} cannot be read", path.display())]
    Source {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no ISO 9660 image.
    #[error("{} is not an ISO 9660 image: {reason}", path.display())]
    NotIso {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The image contradicts itself.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        reason: String,
    },
    /// The medium is of no distribution that is known.
    #[error("copycds could not identify the ISO supplied, you may wish to try -n <osver>")]
    Unknown,
    /// The medium does not name its architecture.
    #[error("copycds could not identify the ARCH, you may wish to try -a <arch>.")]
    NoArch,
    /// The medium is for another architecture.
    #[error("Requested distribution architecture {asked}, but media is {is}")]
    OtherArch {
        /// What was asked for.
        asked: String,
        /// What the medium says.
        is: String,
    },
    /// The name that was asked for is of another distribution.
    #[error("{name} is not a name for this medium, which is {is}")]
    OtherName {
        /// What was asked for.
        name: String,
        /// What the medium says.
        is: String,
        /// What names of this distribution begin with.
        prefixes: &'static [&'static str],
    },
    /// A name that cannot be that of a directory.
    #[error("{0:?} is not a name of letters, digits, dots, hyphens and underscores")]
    Word(String),
    /// The file system is too small.
    #[error("{} has {free} MiB free, and the copy needs {needs} MiB", path.display())]
    Space {
        /// Where the copy would be.
        path: PathBuf,
        /// Free, in MiB.
        free: u64,
        /// Needed, in MiB.
        needs: u64,
    },
    /// Another process copies to the same place.
    #[error("another copycds is copying to {}", .0.display())]
    Busy(PathBuf),
    /// The medium was copied before.
    #[error("The disc iso has already been copied in!")]
    Known,
    /// The copy cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Advised for MediaError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotIso { .. } => {
                Some("mount a medium of another kind, and give copycds the directory".to_owned())
            }
            Self::Unknown => Some("media of ALT are copied with -n alt10 -a x86_64".to_owned()),
            Self::OtherName { prefixes, .. } => {
                Some(format!("names of this distribution begin with {}", prefixes.join(", ")))
            }
            Self::Known => Some("leave out -w to copy it again".to_owned()),
            _ => None,
        }
    }
}

/// One medium, and where it goes.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// An ISO file, a block device or a directory.
    pub source: PathBuf,
    /// The name of the distribution and release, instead of the medium's own.
    pub name: Option<String>,
    /// The architecture.
    pub arch: Option<String>,
    /// `site.installdir`.
    pub installdir: PathBuf,
    /// Where to copy to, instead of a directory below `installdir`.
    pub directory: Option<PathBuf>,
    /// Whether a medium that was copied before is refused.
    pub only_new: bool,
}

/// A medium that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What it is.
    pub medium: Medium,
    /// Where its files are.
    pub directory: PathBuf,
    /// How many there are.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Links that lead out of the medium, and are not in the copy.
    pub left_out: Vec<PathBuf>,
}

/// What happens while a medium is copied.
pub trait Watch {
    /// The copy begins.
    fn begins(&mut self, directory: &Path);
    /// So many of all bytes are there.
    fn progress(&mut self, done: u64, all: u64);
}

/// What a medium is.
///
/// # Errors
/// When it cannot be read or is not known.
pub fn inspect(source: &Path) -> Result<Medium, MediaError> {
    let source = Source::open(source)?;
    let medium = recognise(&source, None, None).ok_or(MediaError::Unknown)?;
    if medium.arch.is_empty() { Err(MediaError::NoArch) } else { Ok(medium) }
}

/// What would be copied, and where to.
///
/// # Errors
/// As [`copy`], as far as the medium is the reason.
pub fn plan(job: &Job) -> Result<Copied, MediaError> {
    let source = Source::open(&job.source)?;
    let medium = named(&source, job)?;
    let (directory, found) = (directory(job, &medium), place::look(&source)?);
    Ok(Copied { medium, directory, files: found.files, bytes: found.bytes, left_out: found.left_out })
}

/// Copies a medium.
///
/// # Errors
/// [`MediaError`]; what an earlier copy left is then as it was, unless its files were being replaced one by
/// one.
pub fn copy(job: &Job, watch: &mut dyn Watch) -> Result<Copied, MediaError> {
    let source = Source::open(&job.source)?;
    let medium = named(&source, job)?;
    let directory = directory(job, &medium);
    let copied = place::copy(&source, &directory, medium.family, job.only_new, watch)?;
    Ok(Copied { medium, directory, files: copied.files, bytes: copied.bytes, left_out: copied.left_out })
}

/// Where the copy of a medium is.
fn directory(job: &Job, medium: &Medium) -> PathBuf {
    let directory = match &job.directory {
        Some(directory) => directory.clone(),
        None => job.installdir.join(&medium.name).join(&medium.arch),
    };
    // Discs of SUSE are repositories of their own.
    match (&medium.disc, medium.family) {
        (Some(disc), Family::Suse) => directory.join(disc),
        _ => directory,
    }
}

/// What the medium is, by the names that the administrator wants.
fn named(source: &Source, job: &Job) -> Result<Medium, MediaError> {
    let (name, arch) = (job.name.as_deref(), job.arch.as_deref());
    let mut medium = recognise(source, name, arch).ok_or(MediaError::Unknown)?;
    if let Some(name) = name {
        let prefixes = medium.family.prefixes();
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(MediaError::OtherName { name: name.to_owned(), is: medium.name, prefixes });
        }
        medium.name = name.to_owned();
    }
    match arch.map(recognise::of_tables) {
        Some(asked) if !medium.arch.is_empty() && asked != medium.arch => {
            return Err(MediaError::OtherArch { asked, is: medium.arch });
        }
        Some(asked) => medium.arch = asked,
        None if medium.arch.is_empty() => return Err(MediaError::NoArch),
        None => {}
    }
    let words = [Some(&medium.name), Some(&medium.arch), medium.disc.as_ref()];
    if let Some(word) = words.into_iter().flatten().find(|word| !is_word(word)) {
        return Err(MediaError::Word(word.clone()));
    }
    Ok(medium)
}

/// Reads any bytes as a medium.
pub(crate) fn fuzz(bytes: &[u8]) {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    let Ok(file) = rustix::fs::memfd_create("medium", rustix::fs::MemfdFlags::CLOEXEC) else { return };
    let mut file = std::fs::File::from(file);
    if file.write_all(bytes).is_err() {
        return;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Ok(source) = Source::open(&path) else { return };
    let _ = recognise(&source, None, None);
    let Ok(entries) = source.entries() else { return };
    for entry in &entries {
        assert!(entry.path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        if let Ok(content) = source.content(entry) {
            let mut part = Vec::new();
            let _ = content.take(4096).read_to_end(&mut part);
        }
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}
