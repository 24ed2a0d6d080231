//! Files that the daemon reads because a client or a cell names them: in bounded time and with a bounded
//! size.
//!
//! A file may look regular and block its reader (`/proc/kmsg`), and any file may on a dead NFS mount. So a
//! file is looked at before it is opened, kernel interfaces are refused, and a thread for disks reads it
//! ([`within`]): when that hangs, the client gets [`Late`].

use crate::disks::{Late, within};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// File systems whose files are not data but questions to the kernel, by the magic numbers of statfs(2):
/// proc, sysfs, debugfs, tracefs, securityfs, configfs, pstore, efivarfs, selinuxfs, bpf, cgroup, cgroup2,
/// mqueue, rpc_pipefs, nfsd.
const KERNEL_INTERFACES: [u64; 15] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0x6165_676c,
    0xde5e_81e4,
    0xf97c_ff8c,
    0xcafe_4a11,
    0x0027_e0eb,
    0x6367_7270,
    0x1980_0202,
    0x6759_6969,
    0x6e66_7364,
];

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such file.
    #[error("No such file or directory")]
    Missing,
    /// The system does not let us read it.
    #[error("{0}")]
    Io(String),
    /// A directory, device, pipe or socket.
    #[error("it is not a regular file")]
    NotRegular,
    /// `/proc` and similar file systems.
    #[error("it is an interface of the kernel, not a file with data")]
    Kernel,
    /// Only its owner may read it, and the caller is not root.
    #[error("it is not readable for everybody")]
    Private,
    /// Longer than the limit, in bytes.
    #[error("it is longer than {0} bytes")]
    Long(u64),
    /// Text is wanted, and this is not UTF-8.
    #[error("it is not text")]
    NotText,
    /// The disk does not answer.
    #[error(transparent)]
    Late(#[from] Late),
}

/// Whose rights a file is looked up and opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The daemon's: the caller who names the file may read any.
    Daemon,
    /// Those of the user and group 65534 (`nobody`, `nogroup`), for the directories on the way too.
    Nobody,
}

/// The number of `nobody` and `nogroup`, as the kernel has it in `fs.overflowuid`.
const NOBODY: u32 = 65534;

impl Rights {
    /// Does `work` with these rights.
    fn with<T>(self, work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
        if self == Rights::Daemon || !rustix::process::geteuid().is_root() {
            // A daemon that is not root has no rights to give up; the mode of the file decides then.
            return work();
        }
        let _until_done = AsNobody::begin().map_err(io)?;
        work()
    }
}

/// The calling thread acts as `nobody` while this lives. Groups and effective ids belong to the thread alone,
/// as the kernel has it; without the effective id of root it has none of root's capabilities.
struct AsNobody {
    groups: Vec<Gid>,
}

impl AsNobody {
    fn begin() -> rustix::io::Result<Self> {
        let before = Self { groups: rustix::process::getgroups()? };
        let gid = Gid::from_raw(NOBODY);
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, gid, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::from_raw(NOBODY), Uid::ROOT)?;
        Ok(before)
    }
}

impl Drop for AsNobody {
    fn drop(&mut self) {
        // The user first: it brings the right to change the others.
        let restored = rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
            .and_then(|()| rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT))
            .and_then(|()| rustix::thread::set_thread_groups(&self.groups));
        if let Err(error) = restored {
            tracing::error!(%error, "a thread for disks could not regain its rights and still runs as nobody");
        }
    }
}

/// Reads a regular file of at most `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64, rights: Rights) -> Result<Vec<u8>, Refused> {
    within(path, move |path| rights.with(|| read_now(path, bytes_max, rights)))?
}

/// The same as text. Any file may be named: the reader is not the caller who names it.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, Refused> {
    String::from_utf8(read(path, bytes_max, Rights::Daemon)?).map_err(|_| Refused::NotText)
}

/// Looks at a regular file that another program will open.
pub fn look(path: &Path) -> Result<Metadata, Refused> {
    within(path, |path| File::from(find(path)?).metadata().map_err(|e| Refused::Io(e.to_string())))?
}

fn io(error: rustix::io::Errno) -> Refused {
    if error == rustix::io::Errno::NOENT {
        return Refused::Missing;
    }
    Refused::Io(std::io::Error::from(error).to_string())
}

/// A regular file with data, only looked at: opening a device can already do something to it.
fn find(path: &Path) -> Result<OwnedFd, Refused> {
    let seen = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
    let stat = rustix::fs::fstat(&seen).map_err(io)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refused::NotRegular);
    }
    let magic = rustix::fs::fstatfs(&seen).map_err(io)?.f_type;
    // The field has a sign, the numbers have 32 bits.
    if KERNEL_INTERFACES.contains(&(u64::from_ne_bytes(magic.to_ne_bytes()) & 0xffff_ffff)) {
        return Err(Refused::Kernel);
    }
    Ok(seen)
}

fn read_now(path: &Path, bytes_max: u64, rights: Rights) -> Result<Vec<u8>, Refused> {
    let seen = find(path)?;
    if rights == Rights::Nobody && rustix::fs::fstat(&seen).map_err(io)?.st_mode & 0o004 == 0 {
        return Err(Refused::Private);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let same = format!("/proc/self/fd/{}", seen.as_raw_fd());
    let file = File::from(rustix::fs::open(same, flags, Mode::empty()).map_err(io)?);
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Refused::Io(e.to_string()))?;
    if bytes.len() as u64 > bytes_max { Err(Refused::Long(bytes_max)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_files_with_data() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        std::fs::write(&file, "cn1\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let open = dir.path().join("open");
        std::fs::write(&open, "cn2\n").unwrap();
        for (path, mode) in [(dir.path(), 0o755), (&open, 0o644)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for (path, bytes_max, rights, expected) in [
            (file.as_path(), 4, Rights::Daemon, Ok(b"cn1\n".to_vec())),
            (&file, 3, Rights::Daemon, Err(Refused::Long(3))),
            (&open, 4, Rights::Nobody, Ok(b"cn2\n".to_vec())),
            (&file, 4, Rights::Nobody, Err(Refused::Private)),
            (dir.path(), 9, Rights::Daemon, Err(Refused::NotRegular)),
            (&dir.path().join("pipe"), 9, Rights::Daemon, Err(Refused::NotRegular)),
            (Path::new("/dev/null"), 9, Rights::Daemon, Err(Refused::NotRegular)),
            (Path::new("/proc/kmsg"), 9, Rights::Daemon, Err(Refused::Kernel)),
            (Path::new("/proc/self/environ"), 1 << 20, Rights::Daemon, Err(Refused::Kernel)),
        ] {
            assert_eq!(read(path, bytes_max, rights), expected, "{}", path.display());
        }
        assert!(matches!(read(&dir.path().join("none"), 9, Rights::Daemon), Err(Refused::Missing)));
    }

    /// A public file in a private directory counts as missing.
    #[test]
    fn the_way_to_a_file_counts() {
        assert!(rustix::process::geteuid().is_root(), "run this test as root: it gives up root's rights");
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        std::fs::write(&inside, "secret\n").unwrap();
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(read(&inside, 9, Rights::Daemon), Ok(b"secret\n".to_vec()));
        for path in ["inside", "none", "inside/.."] {
            let refused = read(&dir.path().join(path), 9, Rights::Nobody);
            assert_eq!(refused, Err(Refused::Io("Permission denied (os error 13)".into())), "{path}");
        }
        assert!(rustix::process::geteuid().is_root(), "the rights of one thread only");
        assert_eq!(std::fs::read(&inside).unwrap(), b"secret\n");
    }
}
