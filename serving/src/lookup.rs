//! The meaning of a failed look-up: the file does not exist, or its state is uncertain.
//!
//! A lack of descriptors or memory, or a rename at the same time is temporary. Code that takes such a
//! failure for "there is no such file" shows the next best file instead.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Most times [`open`] asks again after a failure that may pass.
const RETRIES_MAX: u32 = 20;
/// Wait before asking again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// What a failure says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing of that name is there, and nothing can be.
    Absent,
    /// The system is short of something, or a rename was going on (openat2(2), EAGAIN). The next look may
    /// differ.
    Passing,
    /// Something else: no permission, a disk that fails.
    Other,
}

/// Classifies a failure.
#[must_use]
pub fn failure(errno: Errno) -> Failure {
    match errno {
        // ELOOP and EXDEV: links that lead nowhere or outside, which counts as missing where links may not
        // lead there.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV => Failure::Absent,
        Errno::AGAIN | Errno::INTR | Errno::NOMEM | Errno::MFILE | Errno::NFILE => Failure::Passing,
        _ => Failure::Other,
    }
}

/// `openat2` that asks again, for 20 ms at most, while a failure may pass.
///
/// # Errors
/// The system's; what [`failure`] calls passing has lasted for all that time.
#[allow(clippy::disallowed_methods, reason = "a worker thread; the wait is bounded")]
pub fn open(
    dir: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let once = || rustix::fs::openat2(dir.as_fd(), path, flags | OFlags::CLOEXEC, mode, resolve);
    let mut opened = once();
    for _ in 0..RETRIES_MAX {
        match opened {
            Err(errno) if failure(errno) == Failure::Passing => std::thread::sleep(RETRY_PAUSE),
            _ => break,
        }
        opened = once();
    }
    opened
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// `..` makes the kernel unsure while directories are renamed; asked again it is sure.
    #[test]
    fn renames_elsewhere_hide_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/file"), "x").unwrap();
        std::os::unix::fs::symlink("b/../file", at("a/link")).unwrap();
        std::fs::create_dir(at("one")).unwrap();
        let top = std::fs::File::open(dir.path()).unwrap();
        let done = AtomicBool::new(false);
        let failed = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::fs::rename(at("one"), at("two")).unwrap();
                    std::fs::rename(at("two"), at("one")).unwrap();
                }
            });
            let look = |_| open(&top, "a/link", OFlags::PATH, Mode::empty(), ResolveFlags::IN_ROOT).err();
            let failed: Vec<Errno> = (0..20_000).filter_map(look).collect();
            done.store(true, Ordering::Relaxed);
            failed
        });
        assert_eq!(failed, []);
    }
}
