//! Making a persistent path on its first use, from the trees or the image.
//!
//! The store belongs to the node, and a node may have prepared it for us: no link below it is followed, and a
//! copy is made outside of the node's reach, then moved into its place whole.

use dawn_nfs::{ExportId, sys};
use dawn_serving::copy;
use dawn_statelite::resolve::server;
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// One persistent path and where it comes from.
pub(super) type Seed = server::Seed<PathBuf>;

/// Makes what is missing of `seed` in the store of a node; gives the path it has there. `image` lends its
/// looks to directories on the way.
pub(super) fn plant(store: &Path, seed: &Seed, image: &Path) -> io::Result<PathBuf> {
    make_store(store)?;
    let store = store.canonicalize()?;
    let path = place(&store, seed, image)?;
    for child in &seed.children {
        if let Err(error) = place(&store, child, image) {
            // The entry above is usable without it.
            tracing::warn!(store = %store.display(), path = child.path, %error, "cannot seed a persistent path");
        }
    }
    Ok(path)
}

/// Where all of `seed` is in the store of a node, if it is there.
pub(super) fn present(store: &Path, seed: &Seed) -> Option<PathBuf> {
    let store = store.canonicalize().ok()?;
    let top = sys::open_path(&store).ok()?;
    let has = |seed: &Seed| holds(top.as_fd(), &seed.path);
    (has(seed) && seed.children.iter().all(has)).then(|| store.join(seed.path.trim_matches('/')))
}

/// Whether a path of the node is in its store already.
pub(super) fn is_in(store: &Path, path: &str) -> bool {
    let top = store.canonicalize().and_then(|store| Ok(sys::open_path(&store)?));
    top.is_ok_and(|top| holds(top.as_fd(), path))
}

/// Whether something is at a path of the store that is open at `top`. Links are not followed; a link counts
/// as missing.
fn holds(top: BorrowedFd<'_>, path: &str) -> bool {
    let path = Path::new(path.trim_matches('/'));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let stat = sys::open_beneath(top, parent)
        .and_then(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW));
    stat.is_ok_and(|stat| !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}

/// The directory of a node in the persistent store: made at its first use. Nothing above it is made: a store
/// that is not there is one that is not mounted, or is mistyped.
///
/// Local users of this machine cannot enter it, even if they could before: a node's root may make set-user-id
/// programs in it. The node sees it open (`Export::private_root`).
pub fn make_store(root: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && root.is_dir() => close(root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = root.parent().unwrap_or(root);
            Err(io::Error::new(error.kind(), format!("{} does not exist; mount or make it", above.display())))
        }
        other => other,
    }
}

fn close(store: &Path) -> io::Result<()> {
    let mode = fs::metadata(store)?.mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(store, std::os::unix::fs::PermissionsExt::from_mode(mode & 0o7700)),
    }
}

fn place(store: &Path, seed: &Seed, image: &Path) -> io::Result<PathBuf> {
    let names: Vec<&str> = seed.path.split('/').filter(|name| !name.is_empty()).collect();
    let Some((name, above)) = names.split_last() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let parent = directory(store, above, image)?;
    let target = store.join(names.iter().collect::<PathBuf>());
    match rustix::fs::statat(&parent, *name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink() => {
            return Err(io::Error::other("a symbolic link is in its place in the store"));
        }
        Ok(_) => return Ok(target),
        Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let outside = store.parent().unwrap_or(store);
    match move_in(outside, store, seed, (parent.as_fd(), name)) {
        // The store is a separate file system, or has a quota.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            move_in(store, store, seed, (parent.as_fd(), name))?;
        }
        other => other?,
    }
    Ok(target)
}

/// In a directory of stores: where content is made before it is moved to its place. It is as closed as a
/// store, and no node is shown it.
pub const WORKSHOP: &str = ".dawn-seeds";

/// The directory of this run in a workshop: what others hold was left by a daemon that was killed.
pub(super) fn run() -> &'static str {
    static RUN: LazyLock<String> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{}-{}", std::process::id(), since.as_nanos())
    });
    &RUN
}

/// The workshop of this run in `dir`, made if need be.
fn workshop(dir: &Path) -> io::Result<PathBuf> {
    let mut at = dir.to_owned();
    for name in [WORKSHOP, run()] {
        at.push(name);
        match fs::DirBuilder::new().mode(0o700).create(&at) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&at)?.is_dir() {
                    return Err(io::Error::other(format!("{} is not a directory", at.display())));
                }
                close(&at)?;
            }
            other => other?,
        }
    }
    Ok(at)
}

/// Removes from `dir`, a store or a directory of stores, what killed daemons were making there.
pub(super) fn clear_workshop(dir: &Path) -> io::Result<()> {
    let absent = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(error),
    };
    let below = |dir: &Path| -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    };
    let workshop = dir.join(WORKSHOP);
    if fs::symlink_metadata(&workshop).is_ok_and(|found| found.is_dir()) {
        let old = below(&workshop)?.into_iter().filter(|path| !path.ends_with(run()));
        old.into_iter().try_for_each(|path| remove(&path))?;
        // Not while this run works there.
        let _ = fs::remove_dir(&workshop);
    }
    // As an older version named them.
    let is_old = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".dawn-seed-"))
    };
    match below(dir) {
        Ok(paths) => paths.iter().filter(|path| is_old(path)).try_for_each(|path| remove(path)),
        Err(error) => absent(error),
    }
}

/// Makes the content in the workshop of `dir` and moves it to its place.
fn move_in(dir: &Path, store: &Path, seed: &Seed, to: (BorrowedFd<'_>, &str)) -> io::Result<()> {
    let id = ExportId::of(&[&store.to_string_lossy(), &seed.path]);
    let part = workshop(dir)?.join(format!("{:016x}", id.0));
    remove(&part)?;
    let done = fill(&part, seed).and_then(|()| Ok(rustix::fs::renameat(rustix::fs::CWD, &part, to.0, to.1)?));
    if done.is_err() {
        // Space taken in a full store is given back.
        let _ = remove(&part);
    }
    done
}

fn fill(part: &Path, seed: &Seed) -> io::Result<()> {
    if seed.join {
        join(part, seed.sources.iter().map(PathBuf::as_path))?;
    } else {
        seed.sources.iter().try_for_each(|source| copy::copy(source, part))?;
    }
    match (seed.sources.is_empty(), seed.is_dir) {
        (false, _) => Ok(()),
        (true, true) => fs::DirBuilder::new().mode(0o755).create(part),
        (true, false) => {
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
            fs::set_permissions(part, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        }
    }
}

/// Writes the parts, which are regular files, one after the other to `target`, which does not exist.
fn join<'a>(target: &Path, parts: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    parts.enumerate().try_for_each(|(index, part)| match index {
        0 => {
            copy::regular(part)?;
            copy::copy(part, target)
        }
        _ => copy::append(part, target),
    })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens the directory `names` below the store, made like the image's where it is missing.
fn directory(store: &Path, names: &[&str], image: &Path) -> io::Result<OwnedFd> {
    let mut at = sys::open_path(store)?;
    let mut model = image.to_owned();
    for name in names {
        model.push(name);
        let made = rustix::fs::mkdirat(&at, *name, Mode::from_raw_mode(0o755));
        let below = sys::open_beneath(at.as_fd(), *name)?;
        if made.is_ok()
            && let Ok(meta) = fs::symlink_metadata(&model)
        {
            let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
            rustix::fs::chownat(&below, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            if meta.is_dir() {
                sys::chmod(below.as_fd(), meta.mode() & 0o7777)?;
            }
        }
        at = below;
    }
    Ok(at)
}
