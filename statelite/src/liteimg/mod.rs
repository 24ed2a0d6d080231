//! `liteimg`: the two-level links that let an image be shared read-only.
//!
//! For a link-based entry `/etc/foo/bar` the original moves to `/.default/etc/foo/bar`, and the image gets
//! `/etc/foo/bar` → `../../.statelite/tmpfs/etc/foo/bar` → `../../../../.default/etc/foo/bar`. A node mounts
//! a tmpfs on `/.statelite` and puts its own version where the middle link was. Other entries are mounted
//! over: the path must exist and `/.default` holds a copy. An entry below a link-based directory only has its
//! place in `/.default`.
//!
//! What has been set up is in `/.statelite/litefile.save` (`<image> <option> <path>` lines). A run compares
//! it with the new list, undoes what changed (with everything above and below it), writes the new list, and
//! sets it up. Originals are moved by renaming, and both taking back and laying out do nothing where they are
//! done already, so a run that was interrupted anywhere is completed by the next one.
//!
//! Paths are those of the image: a directory above an entry that is a symbolic link is refused, as following
//! it could leave the image. Nothing is written through a link ([`dawn_serving::beneath`]).

mod disk;
mod item;
mod made;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dawn_serving::beneath::Beneath;

use disk::Disk;
pub use item::{Item, moved, parse_saved};

use crate::check::{Problem, check};
use crate::entry::LiteFile;

/// Where originals are kept, below the root.
pub const DEFAULT_DIR: &str = ".default";
/// Where nodes mount their tmpfs, below the root.
pub const STATELITE_DIR: &str = ".statelite";
/// The list of what has been set up, below the root.
pub const SAVE_FILE: &str = ".statelite/litefile.save";
/// The list of what had to be made because it was missing, below the root.
const MADE_FILE: &str = ".statelite/litefile.made";

/// Why an image could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LiteimgError {
    /// There is nothing to do in the tables.
    #[error(
        "There are no files to sync for {0}.  You have to have some files read/write filled out in the synclist table."
    )]
    NoFiles(String),
    /// Entries contradict each other.
    #[error("{}", texts(.0))]
    Problems(Vec<Problem>),
    /// There is no tree.
    #[error("{0} does not exist; run genimage first")]
    NoTree(PathBuf),
    /// An entry is below a symbolic link of the image.
    #[error("{path}: /{link} is a symbolic link in the image; list the path it leads to")]
    BelowLink {
        /// The entry.
        path: String,
        /// The link, relative to the root.
        link: String,
    },
    /// A directory is listed as a file or the other way round.
    #[error("{path}: the image has {found} there; {hint}")]
    Type {
        /// The entry.
        path: String,
        /// The file that exists there.
        found: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The image is being built or packed.
    #[error("another command works on {0}")]
    Busy(PathBuf),
    /// The system refused something.
    #[error("{path}: {source}")]
    File {
        /// The path on this machine.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn texts(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.dedup();
    lines.join("\n")
}

/// Set up `files` in the tree `rootimg` of `image`, undoing what an earlier list had and this one has not.
/// Lines for the user go to `line`.
///
/// # Errors
/// [`LiteimgError::NoFiles`] for an empty list, [`LiteimgError::Problems`] for one that cannot work; then
/// nothing has been changed.
pub fn liteimg(
    image: &str,
    rootimg: &Path,
    files: &[LiteFile],
    line: &mut dyn FnMut(&str),
) -> Result<(), LiteimgError> {
    let problems = check(files);
    if !problems.is_empty() {
        return Err(LiteimgError::Problems(problems));
    }
    let items: Vec<Item> = files.iter().filter_map(Item::of).collect();
    if items.is_empty() {
        return Err(LiteimgError::NoFiles(image.to_owned()));
    }
    let _lock = open(rootimg)?;
    refuse(&Disk::open(rootimg)?, &saved_items(rootimg)?, &items)?;
    line(&format!("Modifying {} ...", rootimg.display()));
    line(&format!("creating {}", rootimg.join(STATELITE_DIR).display()));
    change(image, &mut Disk::open(rootimg)?, &items)?;
    line(&format!("Modifying {} done.", rootimg.display()));
    Ok(())
}

/// Take everything back: the tree is as before the first [`liteimg`]. Files made because they were listed and
/// missing are removed if they are still empty.
///
/// # Errors
/// As [`liteimg`].
pub fn undo(rootimg: &Path) -> Result<(), LiteimgError> {
    let _lock = open(rootimg)?;
    let mut disk = Disk::open(rootimg)?;
    change("", &mut disk, &[])?;
    disk.remove(DEFAULT_DIR)
}

/// What [`liteimg`], or with `undo` [`undo`], would set up (`+`) and undo (`-`): signs and paths of the
/// image, sorted by path. Changes nothing, not even the lock file.
///
/// # Errors
/// As [`liteimg`].
pub fn preview(
    image: &str,
    rootimg: &Path,
    files: &[LiteFile],
    undo: bool,
) -> Result<Vec<(char, String)>, LiteimgError> {
    let problems = check(files);
    if !problems.is_empty() {
        return Err(LiteimgError::Problems(problems));
    }
    let wanted: BTreeSet<Item> = files.iter().filter_map(Item::of).collect();
    if wanted.is_empty() && !undo {
        return Err(LiteimgError::NoFiles(image.to_owned()));
    }
    if !rootimg.is_dir() {
        return Err(LiteimgError::NoTree(rootimg.to_owned()));
    }
    let saved = saved_items(rootimg)?;
    let list: Vec<Item> = wanted.iter().cloned().collect();
    refuse(&Disk::open(rootimg)?, &saved, &list)?;
    let saved: BTreeSet<Item> = saved.into_iter().collect();
    let added = wanted.difference(&saved).map(|item| ('+', item.path().to_owned()));
    let removed = saved.difference(&wanted).map(|item| ('-', item.path().to_owned()));
    let mut changes: Vec<(char, String)> = added.chain(removed).collect();
    changes.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
    Ok(changes)
}

fn open(rootimg: &Path) -> Result<Lock, LiteimgError> {
    if !rootimg.is_dir() {
        return Err(LiteimgError::NoTree(rootimg.to_owned()));
    }
    // The same lock file as that of building and packing.
    let dir = rootimg.parent().unwrap_or(rootimg);
    let path = dir.join(".lock");
    let error = |source| LiteimgError::File { path: path.clone(), source };
    let mut options = File::options();
    let file = options.create(true).append(true).custom_flags(libc::O_NOFOLLOW).open(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(LiteimgError::Busy(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}

struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Go from what the save file says to `wanted`.
fn change(image: &str, disk: &mut Disk, wanted: &[Item]) -> Result<(), LiteimgError> {
    let saved = parse_saved(&disk.read_text(SAVE_FILE)?.unwrap_or_default());
    refuse(disk, &saved, wanted)?;
    disk.clean()?;
    let changed: BTreeSet<&Item> = {
        let (old, new): (BTreeSet<&Item>, BTreeSet<&Item>) =
            (saved.iter().collect(), wanted.iter().collect());
        old.symmetric_difference(&new).copied().collect()
    };
    let affected: Vec<&Item> =
        saved.iter().filter(|item| changed.iter().any(|other| item.related(other))).collect();

    read_only_fstab(disk)?;
    for item in affected.iter().rev() {
        restore(disk, item, &saved)?;
    }
    made::take_back(disk, wanted)?;
    // Now everything that is set up is in both lists: from here on the new list names what may have to be
    // undone.
    match wanted.is_empty() {
        true => disk.remove(SAVE_FILE)?,
        false => {
            disk.write_text(SAVE_FILE, &wanted.iter().map(|item| item.saved(image)).collect::<String>())?
        }
    }
    wanted.iter().try_for_each(|item| apply(disk, item, wanted))
}

/// Everything in the tree that would cause a failure later.
fn refuse(disk: &Disk, saved: &[Item], wanted: &[Item]) -> Result<(), LiteimgError> {
    refuse_links(disk, saved, wanted)?;
    for item in wanted.iter().filter(|item| !item.below_link(wanted)) {
        // For files that an earlier run has moved, the original counts.
        let moved = saved.iter().any(|other| {
            other.place() == item.place()
                && disk.link_target(other.place()).as_deref() == Some(other.outer_link().as_str())
        });
        match moved {
            true => right_type(disk, &format!("{DEFAULT_DIR}/{}", item.place()), item)?,
            false => right_type(disk, item.place(), item)?,
        }
    }
    Ok(())
}

/// Every directory above an entry must be a real one, except links that are ours.
fn refuse_links(disk: &Disk, saved: &[Item], wanted: &[Item]) -> Result<(), LiteimgError> {
    for item in wanted {
        let mut above = String::new();
        for part in item.parents() {
            above = if above.is_empty() { part.to_owned() } else { format!("{above}/{part}") };
            let ours = saved.iter().chain(wanted).any(|other| other.place() == above);
            if !ours && disk.is_symlink(&above) {
                return Err(LiteimgError::BelowLink { path: item.path().to_owned(), link: above });
            }
        }
    }
    Ok(())
}

/// Set up one entry; does nothing if it is set up already.
fn apply(disk: &mut Disk, item: &Item, all: &[Item]) -> Result<(), LiteimgError> {
    let kept = format!("{DEFAULT_DIR}/{}", item.place());
    let mtab =
        item.place() == "etc/mtab" && disk.link_target("etc/mtab").is_some_and(|to| to.contains("proc/"));
    if mtab {
        return Ok(());
    }
    if item.below_link(all) {
        return make_if_missing(disk, &kept, item);
    }
    if !item.option.is_link() {
        right_type(disk, item.place(), item)?;
        make_if_missing(disk, item.place(), item)?;
        // A directory above has been copied with everything in it.
        return match item.below_any(all) {
            true => make_if_missing(disk, &kept, item),
            false => disk.copy(item.place(), &kept),
        };
    }
    let (outer, middle) = (item.outer_link(), item.middle_link());
    if disk.link_target(item.place()).as_deref() != Some(outer.as_str()) {
        right_type(disk, item.place(), item)?;
        disk.keep(item.place(), &kept)?;
    }
    make_if_missing(disk, &kept, item)?;
    disk.link(&middle, &format!("{STATELITE_DIR}/tmpfs/{}", item.place()))?;
    disk.link(&outer, item.place())
}

/// Take one entry back.
fn restore(disk: &mut Disk, item: &Item, saved: &[Item]) -> Result<(), LiteimgError> {
    let kept = format!("{DEFAULT_DIR}/{}", item.place());
    if item.below_link(saved) {
        return Ok(());
    }
    if !item.option.is_link() {
        return match item.below_any(saved) {
            true => Ok(()),
            false => disk.remove(&kept).and_then(|()| disk.prune(&kept, DEFAULT_DIR)),
        };
    }
    let middle = format!("{STATELITE_DIR}/tmpfs/{}", item.place());
    disk.remove(&middle)?;
    disk.prune(&middle, STATELITE_DIR)?;
    if disk.link_target(item.place()).as_deref() == Some(item.outer_link().as_str()) {
        disk.remove(item.place())?;
    }
    disk.give_back(&kept, item.place())?;
    disk.prune(&kept, DEFAULT_DIR)
}

fn make_if_missing(disk: &mut Disk, path: &str, item: &Item) -> Result<(), LiteimgError> {
    if disk.exists(path) {
        return Ok(());
    }
    made::note(disk, item)?;
    match item.is_dir() {
        true => disk.make_dir(path),
        false => disk.make_file(path),
    }
}

/// `/etc/foo/` must be a directory and `/etc/foo` none; links and missing paths may be either.
fn right_type(disk: &Disk, path: &str, item: &Item) -> Result<(), LiteimgError> {
    let error = |found, hint| LiteimgError::Type { path: item.path().to_owned(), found, hint };
    match disk.is_dir(path) {
        Some(true) if !item.is_dir() => Err(error("a directory", "write it with a / at the end")),
        Some(false) if item.is_dir() && !disk.is_symlink(path) => {
            Err(error("a file", "write it without a / at the end"))
        }
        _ => Ok(()),
    }
}

/// The root is read-only for nodes: `rw` of the root entry in fstab becomes `ro`.
fn read_only_fstab(disk: &mut Disk) -> Result<(), LiteimgError> {
    let path = match disk.is_symlink("etc/fstab") {
        true => format!("{DEFAULT_DIR}/etc/fstab"),
        false => "etc/fstab".to_owned(),
    };
    let Some(text) = disk.read_text(&path)? else { return Ok(()) };
    let changed: String = text.lines().map(|line| read_only_line(line) + "\n").collect();
    match changed == text || changed.trim_end() == text.trim_end() {
        true => Ok(()),
        false => disk.write_text(&path, &changed),
    }
}

fn read_only_line(line: &str) -> String {
    let fields: Vec<&str> = line.split_whitespace().collect();
    match fields.as_slice() {
        [device, "/", kind, options, rest @ ..] if !device.starts_with('#') => {
            let options: Vec<&str> = options.split(',').map(|o| if o == "rw" { "ro" } else { o }).collect();
            let mut all = vec![*device, "/", *kind];
            let options = options.join(",");
            all.push(&options);
            all.extend(rest);
            all.join(" ")
        }
        _ => line.to_owned(),
    }
}

/// Errors of the disk with their path.
fn file_error(path: &Path, source: io::Error) -> LiteimgError {
    LiteimgError::File { path: path.to_owned(), source }
}

/// What an image has been prepared for, if it has.
///
/// # Errors
/// When the save file is there but cannot be read.
pub fn saved_items(rootimg: &Path) -> Result<Vec<Item>, LiteimgError> {
    match Beneath::open(rootimg).and_then(|root| root.read(Path::new(SAVE_FILE))) {
        Ok(bytes) => Ok(parse_saved(&String::from_utf8_lossy(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(file_error(&rootimg.join(SAVE_FILE), source)),
    }
}

#[cfg(test)]
mod tests;
