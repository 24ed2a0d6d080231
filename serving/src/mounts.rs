//! Which file systems are mounted where, without asking any of them: a mount whose server is gone hangs
//! the thread that asks.
//!
//! The table is `/proc/self/mountinfo` (proc(5)), which only this file reads. The text of a path alone gives
//! its mount if no symbolic link leads elsewhere; [`Mounts::network`] follows links as far as that cannot
//! hang.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs, major};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Most symbolic links followed to find out which mount a path is on.
const LINKS_MAX: usize = 40;
/// Types of file systems that may hang with a server. FUSE may be anything.
const NETWORK_TYPES: [&str; 15] = [
    "9p",
    "afs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "smb3",
];
/// File systems in memory or on a disk of this machine, by the magic numbers of statfs(2): ext2 to ext4, XFS,
/// Btrfs, tmpfs, ramfs, F2FS, ZFS, bcachefs, squashfs, EROFS, ISO 9660, FAT. Any other one counts as one that
/// may hang; overlayfs too, since its layers may be anywhere.
const LOCAL_TYPES: [u64; 12] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x7371_7368,
    0xe0f5_e1e2,
    0x9660,
    0x4d44,
];
/// Block devices that may lead to another machine, by their major number: loop devices, whose file may be
/// anywhere, and NBD.
const FAR_DEVICES: [u32; 2] = [7, 43];

/// Whether an open file is on a disk of this machine. Asks the file's file system, which may hang.
pub fn is_local(file: impl AsFd) -> bool {
    let (Ok(system), Ok(stat)) = (fstatfs(&file), fstat(&file)) else { return false };
    // The field has a sign, the numbers have 32 bits.
    let kind = u64::from_ne_bytes(system.f_type.to_ne_bytes()) & 0xffff_ffff;
    LOCAL_TYPES.contains(&kind) && !FAR_DEVICES.contains(&major(stat.st_dev))
}

/// The mount points of this machine, in the order in which they were mounted.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    id: u64,
    point: PathBuf,
    is_network: bool,
}

impl Mounts {
    /// Reads the table.
    #[must_use]
    pub fn now() -> Self {
        Self::parse(&String::from_utf8_lossy(&fs::read(TABLE).unwrap_or_default()))
    }

    /// Reads the text of a table; lines that are not understood are left out.
    #[must_use]
    pub fn parse(table: &str) -> Self {
        let mount = |line: &str| {
            let (fields, rest) = line.split_once(" - ")?;
            let mut fields = fields.split(' ');
            let id = fields.next()?.parse().ok()?;
            let point = PathBuf::from(unescaped(fields.nth(3)?));
            let kind = rest.split([' ', '.']).next().unwrap_or_default();
            Some(Mount { id, point, is_network: NETWORK_TYPES.contains(&kind) })
        };
        Self(table.lines().filter_map(mount).collect())
    }

    /// Where the mount with this id is, as `STATX_MNT_ID` names it.
    #[must_use]
    pub fn of_id(&self, id: u64) -> Option<&Path> {
        self.0.iter().find(|mount| mount.id == id).map(|mount| mount.point.as_path())
    }

    /// The mount points at or below a directory.
    pub fn below(&self, dir: &Path) -> impl DoubleEndedIterator<Item = &Path> {
        self.0.iter().map(|mount| mount.point.as_path()).filter(move |point| point.starts_with(dir))
    }

    /// The mount point that holds `path`, by its text.
    #[must_use]
    pub fn point(&self, path: &Path) -> &Path {
        self.longest(path, |_| true).unwrap_or(Path::new("/"))
    }

    /// Whether there is any mount that may hang with a server.
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.0.iter().any(|mount| mount.is_network)
    }

    /// The network mount that `path` leads to; each step is looked at before it is taken.
    #[must_use]
    pub fn network(&self, path: &Path) -> Option<&Path> {
        let mut todo: Vec<PathBuf> = vec![path.to_owned()];
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(next) = todo.pop() {
            let mut parts = next.components();
            let Some(part) = parts.next() else { continue };
            let rest = parts.as_path().to_owned();
            match part {
                Component::Normal(name) => at.push(name),
                Component::ParentDir => drop(at.pop()),
                _ => at = PathBuf::from("/"),
            }
            if !rest.as_os_str().is_empty() {
                todo.push(rest);
            }
            if let Some(mount) = self.holding(&at) {
                return Some(mount);
            }
            if links < LINKS_MAX
                && let Ok(target) = fs::read_link(&at)
            {
                links += 1;
                at.pop();
                todo.push(target);
            }
        }
        None
    }

    fn holding(&self, path: &Path) -> Option<&Path> {
        let network = self.longest(path, |mount| mount.is_network)?;
        let local = self.longest(path, |mount| !mount.is_network);
        // A direct autofs mount has both types at one place.
        local.is_none_or(|local| depth(local) < depth(network)).then_some(network)
    }

    /// The mount point that holds `path` by its text, of some of the mounts.
    fn longest(&self, path: &Path, counts: impl Fn(&Mount) -> bool) -> Option<&Path> {
        let points = self.0.iter().filter(|mount| counts(mount)).map(|mount| mount.point.as_path());
        points.filter(|point| path.starts_with(point)).max_by_key(|point| depth(point))
    }
}

const TABLE: &str = "/proc/self/mountinfo";

fn depth(path: &Path) -> usize {
    path.components().count()
}

/// Blanks and similar characters are written as octal numbers, `\040`.
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The table of this moment, read again only when the kernel says that it has changed.
#[derive(Debug, Default)]
pub struct CurrentMounts {
    known: Mutex<Option<(File, Arc<Mounts>)>>,
}

impl CurrentMounts {
    /// What is mounted now.
    pub fn now(&self) -> Arc<Mounts> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, mounts)) = &mut *known {
            if has_changed(file) {
                *mounts = Arc::new(read(file));
            }
            return Arc::clone(mounts);
        }
        let Ok(mut file) = File::open(TABLE) else { return Arc::default() };
        // The first question is answered with the changes since the file was opened.
        has_changed(&file);
        let mounts = Arc::new(read(&mut file));
        *known = Some((file, Arc::clone(&mounts)));
        mounts
    }
}

fn read(file: &mut File) -> Mounts {
    let mut bytes = Vec::new();
    let done = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    done.map_or_else(|_| Mounts::now(), |_| Mounts::parse(&String::from_utf8_lossy(&bytes)))
}

fn has_changed(file: &File) -> bool {
    let mut set = [PollFd::new(file, PollFlags::PRI)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let asked = poll(&mut set, Some(&now));
    let [entry] = &set;
    asked.is_err() || entry.revents().intersects(PollFlags::PRI | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_mounts_are_known_by_their_type() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("/far/a/../b", base.join("link")).unwrap();
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /far rw shared:1 - nfs4 s:/x rw\n\
                     3 2 8:2 / /far/near rw - xfs /dev/sdb rw\n4 1 0:6 / /f\\040x rw - fuse.sshfs s: rw\n";
        let mounts = Mounts::parse(table);
        for (path, expected) in [
            ("/far/a", Some("/far")),
            ("/far/near/a", Some("/far")),
            ("/near", None),
            ("/f x/a", Some("/f x")),
            (base.join("link").to_str().unwrap(), Some("/far")),
            (base.to_str().unwrap(), None),
        ] {
            assert_eq!(mounts.network(Path::new(path)), expected.map(Path::new), "{path}");
        }
        for (path, point) in [("/far/a", "/far"), ("/far/near/a", "/far/near"), ("/farther", "/")] {
            assert_eq!(mounts.point(Path::new(path)), Path::new(point), "{path}");
        }
        assert_eq!(mounts.of_id(4), Some(Path::new("/f x")));
        assert_eq!(mounts.of_id(5), None);
        let below: Vec<&Path> = mounts.below(Path::new("/far")).collect();
        assert_eq!(below, [Path::new("/far"), Path::new("/far/near")]);
        assert_eq!(mounts.below(Path::new("/f x")).count(), 1, "a blank in the path");
    }

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescaped("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescaped("/plain\\"), "/plain\\");
        assert_eq!(unescaped("/\\134040"), "/\\040");
    }

    #[test]
    fn this_machine_has_a_table() {
        let current = CurrentMounts::default();
        assert_eq!(current.now().point(Path::new("/proc/self/stat")), Path::new("/proc"));
        assert!(Arc::ptr_eq(&current.now(), &current.now()));
        assert!(!is_local(File::open("/proc/self/stat").unwrap()));
    }
}
