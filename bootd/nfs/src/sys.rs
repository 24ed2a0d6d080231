//! The Linux calls that no safe wrapper offers, each as one small function, and `statx` in our own shape.
//!
//! Everything here works on descriptors and single names; nothing takes a path from a client. All
//! `unsafe` of the crate is in this file.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use dawn_serving::lookup;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

pub use crate::types::Stat;
use crate::types::Time;

/// Most bytes of a kernel file handle (MAX_HANDLE_SZ).
const KERNEL_HANDLE_BYTES_MAX: usize = 128;

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(Errno::from_raw_os_error(code))
}

/// `statx` of `name` below `dir`, or of `dir` itself when `name` is empty. Links are not followed.
pub fn stat(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    let mut out = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `name` is a C string, `out` is a whole statx; the kernel fills it or fails.
    let x = unsafe {
        let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | STATX_MNT_ID;
        check(libc::c_long::from(libc::statx(
            dir.as_raw_fd(),
            name.as_ptr(),
            flags,
            mask,
            out.as_mut_ptr(),
        )))?;
        out.assume_init()
    };
    Ok(from_statx(&x))
}

const STATX_MNT_ID: u32 = 0x1000;

// The wire has 32-bit seconds; wrapping is what every NFSv3 server does.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn from_statx(x: &libc::statx) -> Stat {
    let time = |t: libc::statx_timestamp| Time { sec: t.tv_sec as u32, nsec: t.tv_nsec };
    Stat {
        mode: u32::from(x.stx_mode),
        nlink: x.stx_nlink,
        uid: x.stx_uid,
        gid: x.stx_gid,
        size: x.stx_size,
        blocks: x.stx_blocks,
        rdev_major: x.stx_rdev_major,
        rdev_minor: x.stx_rdev_minor,
        dev: u64::from(x.stx_dev_major) << 32 | u64::from(x.stx_dev_minor),
        ino: x.stx_ino,
        mount: x.stx_mnt_id,
        atime: time(x.stx_atime),
        mtime: time(x.stx_mtime),
        ctime: time(x.stx_ctime),
        birth: if x.stx_mask & libc::STATX_BTIME != 0 { time(x.stx_btime) } else { Time::default() },
    }
}

/// A file handle as the kernel gives it.
#[derive(Debug, Clone, Copy)]
pub struct KernelHandle {
    /// The file system's name for the format of `bytes`.
    pub handle_type: i32,
    bytes: [u8; KERNEL_HANDLE_BYTES_MAX],
    len: usize,
}

impl KernelHandle {
    /// The opaque part.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[repr(C)]
struct RawHandle {
    handle_bytes: u32,
    handle_type: i32,
    f_handle: [u8; KERNEL_HANDLE_BYTES_MAX],
}

/// `name_to_handle_at` of `name` below `dir` (or of `dir` itself when empty), links not followed.
/// EOPNOTSUPP: the file system has no handles.
pub fn name_to_handle(dir: BorrowedFd<'_>, name: &CStr) -> Result<KernelHandle, Errno> {
    let mut raw = RawHandle {
        handle_bytes: u32::try_from(KERNEL_HANDLE_BYTES_MAX).unwrap_or(0),
        handle_type: 0,
        f_handle: [0; KERNEL_HANDLE_BYTES_MAX],
    };
    let mut mount_id: libc::c_int = 0;
    // SAFETY: `raw` has room for the 128 bytes it announces; `name` is a C string.
    check(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw mut raw,
            &raw mut mount_id,
            libc::AT_EMPTY_PATH,
        )
    })?;
    let len = usize::try_from(raw.handle_bytes).unwrap_or(0).min(KERNEL_HANDLE_BYTES_MAX);
    Ok(KernelHandle { handle_type: raw.handle_type, bytes: raw.f_handle, len })
}

/// Most times [`open_handle`] asks again after ENOMEM.
const HANDLE_RETRIES_MAX: u32 = 20;
/// Wait before asking again; the other thread's creation takes microseconds, unless its thread is
/// preempted.
const HANDLE_RETRY_PAUSE: Duration = Duration::from_millis(1);

/// `open_by_handle_at` as an O_PATH descriptor; needs CAP_DAC_READ_SEARCH. ESTALE: the file is gone.
///
/// ENOMEM is asked again: ext4 (`iget_locked`) reports it, too, while another process creates a file that
/// gets the inode number of a removed one. The next call then finds the new file and reports ESTALE.
#[allow(clippy::disallowed_methods, reason = "a worker thread that waits for another thread of the kernel")]
pub fn open_handle(mount: BorrowedFd<'_>, handle_type: u8, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let mut opened = open_handle_once(mount, handle_type, bytes);
    for _ in 0..HANDLE_RETRIES_MAX {
        if !matches!(opened, Err(Errno::NOMEM)) {
            break;
        }
        std::thread::sleep(HANDLE_RETRY_PAUSE);
        opened = open_handle_once(mount, handle_type, bytes);
    }
    opened
}

fn open_handle_once(mount: BorrowedFd<'_>, handle_type: u8, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let mut raw = RawHandle {
        handle_bytes: u32::try_from(bytes.len()).unwrap_or(0),
        handle_type: i32::from(handle_type),
        f_handle: [0; KERNEL_HANDLE_BYTES_MAX],
    };
    raw.f_handle.get_mut(..bytes.len()).ok_or(Errno::STALE)?.copy_from_slice(bytes);
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `raw` holds `handle_bytes` bytes; the result is a fresh descriptor that we own.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw mut raw, flags))?;
        owned(fd)
    }
}

/// # Safety
/// `fd` is a descriptor just returned by the kernel and not owned elsewhere.
unsafe fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: by contract of this function.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOATIME: u64 = 0x10;
const MOUNT_ATTR_ATIME: u64 = 0x70;

/// A private, detached copy of the mount at `path`, alone: nothing that is mounted below it shows, and
/// `..` of its root is its root. Needs CAP_SYS_ADMIN.
pub fn clone_mount(path: &Path, read_only: bool) -> Result<OwnedFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let path = path.into_c_str()?;
    // SAFETY: plain system calls on a C string and a whole structure; the descriptor is fresh.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags))?;
        let fd = owned(fd)?;
        let read_only_bit = if read_only { MOUNT_ATTR_RDONLY } else { 0 };
        let attr = MountAttr {
            attr_set: MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME | read_only_bit,
            attr_clr: MOUNT_ATTR_ATIME,
            propagation: 0,
            userns_fd: 0,
        };
        let size = std::mem::size_of::<MountAttr>();
        check(libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size,
        ))?;
        Ok(fd)
    }
}

/// Opens `name` (one component or a relative path) below `dir` without leaving it, crossing a mount point
/// or following a link; an O_PATH descriptor, links themselves included.
pub fn open_beneath(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_XDEV
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS;
    lookup::open(dir, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

/// Opens the object behind an O_PATH descriptor again, for reading or writing. The caller has made sure
/// that it is a regular file or a directory.
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if flags.contains(OFlags::DIRECTORY) {
        return rustix::fs::openat(fd, c".", flags, Mode::empty());
    }
    rustix::fs::open(proc_path(fd), flags, Mode::empty())
}

/// The name of a descriptor in /proc, for calls that take only paths.
pub fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// `faccessat2` with the ids of the calling thread, on the object behind `fd`. `mask` is R_OK|W_OK|X_OK.
pub fn access(fd: BorrowedFd<'_>, mask: i32) -> Result<(), Errno> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    // SAFETY: a system call on a constant empty C string.
    check(unsafe { libc::syscall(libc::SYS_faccessat2, fd.as_raw_fd(), c"".as_ptr(), mask, flags) })?;
    Ok(())
}

/// `fchmodat2` on the object behind an O_PATH descriptor, by way of /proc on kernels before 6.6.
pub fn chmod(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    const SYS_FCHMODAT2: libc::c_long = 452;
    // SAFETY: a system call on a constant empty C string.
    let done = check(unsafe {
        libc::syscall(SYS_FCHMODAT2, fd.as_raw_fd(), c"".as_ptr(), mode, libc::AT_EMPTY_PATH)
    });
    match done {
        Err(Errno::NOSYS | Errno::INVAL) => {
            rustix::fs::chmodat(CWD, proc_path(fd), Mode::from_raw_mode(mode), AtFlags::empty())
        }
        other => other.map(drop),
    }
}

/// `fchownat` on the object behind an O_PATH descriptor; `None` leaves an id as it is.
pub fn chown(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let uid = uid.map(rustix::fs::Uid::from_raw);
    let gid = gid.map(rustix::fs::Gid::from_raw);
    rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)
}

/// Sets the ids that file operations of this thread are checked against: it affects no other thread, and no
/// right to signal or trace.
pub fn set_thread_fs_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: raw system calls, so that glibc does not spread the change to other threads; `groups` is a
    // slice of `groups.len()` ids.
    unsafe {
        // Back to uid 0 first: it carries the capability for the other two.
        libc::syscall(libc::SYS_setfsuid, 0);
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        // These calls report failure only by the value that is in force.
        let now_gid = libc::syscall(libc::SYS_setfsgid, u32::MAX);
        let now_uid = libc::syscall(libc::SYS_setfsuid, u32::MAX);
        if now_uid != libc::c_long::from(uid) || now_gid != libc::c_long::from(gid) {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

/// Gives the calling thread a separate umask and working directory and clears the umask, so that modes
/// arrive on disk as the client sent them. Gives the umask that was.
pub fn own_umask() -> Result<Mode, Errno> {
    // SAFETY: affects this thread's fs_struct only.
    check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_FS) }))?;
    Ok(rustix::process::umask(Mode::empty()))
}

/// Raises the soft limit of open descriptors to the hard one and returns it: a storm of boots holds tens of
/// thousands of connections, and a shell's soft limit is 1,024.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    let limit = if setrlimit(Resource::Nofile, wanted).is_ok() { wanted.current } else { now.current };
    limit.unwrap_or(u64::MAX)
}

/// Opens a directory or file of the server itself by its real path, O_PATH.
pub fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// As [`open_path`], but any symbolic link in the path is an error.
pub fn open_path_plain(path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    lookup::open(CWD, path, OFlags::PATH, Mode::empty(), resolve)
}

/// Descriptor of anything that has one, for the functions above.
pub fn fd(of: &impl AsFd) -> BorrowedFd<'_> {
    of.as_fd()
}
