//! Writing a copy: beside its place first, then there.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use dawn_serving::beneath::{Beneath, Kind};
use dawn_serving::whole;
use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with, statvfs, syncfs};
use sha2::{Digest, Sha256};

use super::recognise::Family;
use super::source::{Entry, Source, What, bytes};
use super::{MediaError, Watch};

/// Marks the copies of media: what was copied here.
const FINGERPRINT: &str = ".fingerprint";
/// Bytes of it that are read.
const FINGERPRINT_BYTES_MAX: u64 = 64 << 10;
/// In the hidden directory: the tree, and which medium it is of.
const TREE: &str = "tree";
const MARK: &str = "medium";
/// Bytes read and written at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// Changes with every start of the machine (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Links of Debian's media that make apt take the release for another one.
const MISLEADING: [&str; 2] = ["dists/unstable", "dists/testing"];

/// What was copied.
pub(super) struct Placed {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) left_out: Vec<PathBuf>,
}

/// Copies everything on the medium to `directory`.
pub(super) fn copy(
    source: &Source,
    directory: &Path,
    family: Family,
    only_new: bool,
    watch: &mut dyn Watch,
) -> Result<Placed, MediaError> {
    let (entries, left_out) = wanted(source.entries()?);
    let fingerprint = fingerprint(&entries);
    let before = read_bounded(&directory.join(FINGERPRINT));
    if only_new && before.split(',').any(|known| known == fingerprint) {
        return Err(MediaError::Known);
    }
    let copy = Copy::begin(directory, &fingerprint)?;
    copy.check_space(&entries)?;
    watch.begins(directory);
    copy.fill(source, &entries, watch)?;
    if family == Family::Debian {
        copy.netboot_files(&entries)?;
    }
    copy.publish(family == Family::Suse)?;
    let known = if family == Family::Suse { String::new() } else { before };
    let known =
        if known.split(',').any(|known| known == fingerprint) { known } else { known + &fingerprint + "," };
    let mark = directory.join(FINGERPRINT);
    whole::write(&mark, known.as_bytes(), 0o644)
        .map_err(|source| MediaError::Write { path: mark, source })?;
    Ok(Placed { files: entries.len(), bytes: bytes(&entries), left_out })
}

/// What [`copy`] would copy.
pub(super) fn look(source: &Source) -> Result<Placed, MediaError> {
    let (entries, left_out) = wanted(source.entries()?);
    Ok(Placed { files: entries.len(), bytes: bytes(&entries), left_out })
}

/// The entries that are copied, and the links that lead out of the medium.
fn wanted(entries: Vec<Entry>) -> (Vec<Entry>, Vec<PathBuf>) {
    let is_misleading = |entry: &Entry| MISLEADING.iter().any(|path| entry.path == Path::new(path));
    let entries = entries.into_iter().filter(|entry| match &entry.what {
        What::Link(_) => !is_misleading(entry),
        What::File { .. } => entry.path != Path::new(FINGERPRINT),
        What::Directory => true,
    });
    let (inside, outside): (Vec<Entry>, Vec<Entry>) = entries.partition(|entry| match &entry.what {
        What::Link(target) => stays_inside(&entry.path, target),
        _ => true,
    });
    (inside, outside.into_iter().map(|entry| entry.path).collect())
}

/// Whether a link at `path` leads to a place in the tree.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    target.components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => match depth.checked_sub(1) {
            Some(less) => {
                depth = less;
                true
            }
            None => false,
        },
        Component::RootDir | Component::Prefix(_) => false,
    })
}

/// A digest of names and sizes, by which a medium is known again.
fn fingerprint(entries: &[Entry]) -> String {
    let mut lines: Vec<String> = entries
        .iter()
        .map(|entry| match &entry.what {
            What::File { bytes, .. } => format!("{} {bytes} {}\n", entry.path.display(), entry.mtime),
            What::Link(target) => format!("{} -> {}\n", entry.path.display(), target.display()),
            What::Directory => format!("{}/\n", entry.path.display()),
        })
        .collect();
    lines.sort_unstable();
    let mut digest = Sha256::new();
    lines.iter().for_each(|line| digest.update(line.as_bytes()));
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn read_bounded(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).map(|file| file.take(FINGERPRINT_BYTES_MAX));
    let _ = file.and_then(|mut file| file.read_to_string(&mut text));
    text
}

/// A copy that is being made.
struct Copy {
    /// Its place.
    directory: PathBuf,
    /// The hidden directory beside it, locked for this process.
    hidden: PathBuf,
    _lock: File,
    tree: PathBuf,
}

impl Copy {
    /// Makes the hidden directory, or takes over what an interrupted copy of the same medium left.
    fn begin(directory: &Path, fingerprint: &str) -> Result<Self, MediaError> {
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let parent = directory.parent().unwrap_or(Path::new("/"));
        let hidden = parent.join(format!(".{name}.copying"));
        fs::create_dir_all(&hidden).map_err(failed(&hidden))?;
        fs::set_permissions(&hidden, Permissions::from_mode(0o700)).map_err(failed(&hidden))?;
        let lock = File::open(&hidden).map_err(failed(&hidden))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| MediaError::Busy(directory.to_owned()))?;
        let tree = hidden.join(TREE);
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let mark = format!("{fingerprint} {}", boot.trim());
        if read_bounded(&hidden.join(MARK)) != mark {
            remove(&tree)?;
            whole::write(&hidden.join(MARK), mark.as_bytes(), 0o600).map_err(failed(&hidden))?;
        }
        fs::create_dir_all(&tree).map_err(failed(&tree))?;
        fs::set_permissions(&tree, Permissions::from_mode(0o755)).map_err(failed(&tree))?;
        Ok(Self { directory: directory.to_owned(), hidden, _lock: lock, tree })
    }

    fn check_space(&self, entries: &[Entry]) -> Result<(), MediaError> {
        let missing: u64 = entries.iter().filter(|entry| !self.has(entry)).map(size).sum();
        let disk = statvfs(&self.hidden).map_err(|error| failed(&self.hidden)(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if missing <= free {
            return Ok(());
        }
        Err(MediaError::Space { path: self.hidden.clone(), free: free >> 20, needs: (missing >> 20) + 1 })
    }

    /// Whether an interrupted copy has written this file to its end: it gets its time last.
    fn has(&self, entry: &Entry) -> bool {
        let metadata = fs::symlink_metadata(self.tree.join(&entry.path));
        metadata
            .is_ok_and(|there| there.is_file() && there.len() == size(entry) && there.mtime() == entry.mtime)
    }

    /// Files first and links last: nothing is written through a link of the medium.
    fn fill(&self, source: &Source, entries: &[Entry], watch: &mut dyn Watch) -> Result<(), MediaError> {
        let (mut done, all) = (0, bytes(entries));
        let mut block = vec![0; BLOCK_BYTES];
        for entry in entries {
            let path = self.tree.join(&entry.path);
            match &entry.what {
                What::Directory => make_directory(&path)?,
                What::File { .. } if self.has(entry) => done += size(entry),
                What::File { executable, .. } => {
                    let mut tick = |count| {
                        done += count;
                        watch.progress(done, all);
                    };
                    write_file(source, entry, &path, *executable, &mut block, &mut tick)?;
                }
                What::Link(_) => {}
            }
        }
        for entry in entries {
            if let What::Link(target) = &entry.what {
                let path = self.tree.join(&entry.path);
                let _ = fs::remove_file(&path);
                symlink(target, &path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// Kernel and initramfs of Debian's installer where those for the network are looked for: a small medium
    /// has none of its own there.
    fn netboot_files(&self, entries: &[Entry]) -> Result<(), MediaError> {
        let place = self.tree.join("install/netboot");
        let is_installer = |path: &&Path| path.starts_with("install.amd") || path.starts_with("install.386");
        let paths: BTreeMap<&Path, &Entry> =
            entries.iter().map(|entry| (entry.path.as_path(), entry)).collect();
        for path in paths.keys().copied().filter(is_installer) {
            let Some(name) = ["vmlinuz", "initrd.gz"].into_iter().find(|name| path.ends_with(name)) else {
                continue;
            };
            let target = place.join(name);
            // Not those of the graphical installer, one directory below.
            if path.components().count() != 2 || fs::symlink_metadata(&target).is_ok() {
                continue;
            }
            ["install", "install/netboot"].iter().try_for_each(|at| make_directory(&self.tree.join(at)))?;
            fs::hard_link(self.tree.join(path), &target).map_err(failed(&target))?;
        }
        Ok(())
    }

    /// Moves the copy to its place: whole if nothing is there or if `replace`, file by file otherwise.
    fn publish(self, replace: bool) -> Result<(), MediaError> {
        let handle = File::open(&self.tree).map_err(failed(&self.tree))?;
        syncfs(&handle).map_err(|error| failed(&self.tree)(error.into()))?;
        let place = &self.directory;
        let fail = failed(place);
        if fs::symlink_metadata(place).is_err() {
            fs::rename(&self.tree, place).map_err(fail)?;
        } else if replace {
            let cwd = rustix::fs::CWD;
            renameat_with(cwd, &self.tree, cwd, place, RenameFlags::EXCHANGE)
                .map_err(|error| fail(error.into()))?;
        } else {
            self.merge().map_err(fail)?;
        }
        remove(&self.hidden)
    }

    /// Replaces what is at the place by the files of the copy.
    fn merge(&self) -> io::Result<()> {
        let (from, to) = (Beneath::open(&self.tree)?, Beneath::open(&self.directory)?);
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for name in from.names(&folder)? {
                let path = folder.join(name);
                match (from.kind(&path)?, to.kind(&path)?) {
                    (Some(Kind::Directory), Some(Kind::Directory)) => {
                        folders.push(path);
                        continue;
                    }
                    (_, Some(Kind::Directory)) => to.remove_all(&path)?,
                    (Some(Kind::Directory), Some(_)) => to.remove_file(&path)?,
                    _ => {}
                }
                move_between(&from, &to, &path)?;
            }
        }
        Ok(())
    }
}

/// Moves a file or a whole directory from one tree to the same place in another one.
fn move_between(from: &Beneath, to: &Beneath, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default();
    let (source, target) = (from.directory(folder)?, to.directory(folder)?);
    Ok(rustix::fs::renameat(source, name, target, name)?)
}

fn size(entry: &Entry) -> u64 {
    if let What::File { bytes, .. } = entry.what { bytes } else { 0 }
}

fn make_directory(path: &Path) -> Result<(), MediaError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(path)(error)),
        _ => fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(failed(path)),
    }
}

fn write_file(
    source: &Source,
    entry: &Entry,
    path: &Path,
    executable: bool,
    block: &mut [u8],
    tick: &mut dyn FnMut(u64),
) -> Result<(), MediaError> {
    let unreadable = |source| MediaError::Source { path: entry.path.clone(), source };
    let mut content = source.content(entry).map_err(unreadable)?;
    let _ = fs::remove_file(path);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed(path))?;
    loop {
        let count = content.read(block).map_err(unreadable)?;
        let Some(part) = block.get(..count).filter(|part| !part.is_empty()) else { break };
        file.write_all(part).map_err(failed(path))?;
        tick(u64::try_from(count).unwrap_or_default());
    }
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed(path))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(entry.mtime).unwrap_or_default());
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).map_err(failed(path))
}

fn remove(path: &Path) -> Result<(), MediaError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> MediaError {
    let path = path.to_owned();
    move |source| MediaError::Write { path: path.clone(), source }
}
