//! Mounts, directories and loop devices: thin wrappers that say in words what failed.

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::error::{Error, Result};

const BLKRRPART: libc::Ioctl = 0x125F;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Another process may take the free loop device first; tries before giving up.
const LOOP_TRIES: usize = 8;

/// Mounts a file system. `options` is the data string of its type.
pub(crate) fn mount(source: &str, target: &str, kind: &str, flags: MountFlags, options: &str) -> Result<()> {
    let fail = |cause: io::Error| Error::Mount {
        what: format!("{source} ({kind})"),
        target: target.to_owned(),
        hint: hint(kind, &cause),
        cause,
    };
    let data = CString::new(options).map_err(|cause| fail(cause.into()))?;
    rustix::mount::mount(source, target, kind, flags, data.as_c_str()).map_err(|errno| fail(errno.into()))
}

fn hint(kind: &str, cause: &io::Error) -> &'static str {
    match (kind, cause.raw_os_error()) {
        (_, Some(libc::ENODEV)) => {
            " (the kernel does not know this file system; is its module in the initramfs?)"
        }
        ("nfs", Some(libc::EACCES)) => " (the server refuses this node)",
        ("nfs", Some(libc::ENOENT)) => " (no such export or directory on the server)",
        ("nfs", Some(libc::ECONNREFUSED)) => " (no NFS service on that port)",
        ("squashfs", Some(libc::EINVAL)) => {
            " (not a squashfs image, or compressed in a way the kernel lacks)"
        }
        _ => "",
    }
}

/// A tmpfs; `options` as in its data string.
pub(crate) fn tmpfs(target: &str, options: &str) -> Result<()> {
    make_dirs(target)?;
    mount("tmpfs", target, "tmpfs", MountFlags::empty(), options)
}

/// Shows a directory or file at a second place.
pub(crate) fn bind(source: &str, target: &str) -> Result<()> {
    rustix::mount::mount_bind(source, target).map_err(|errno| mount_error(source, target, errno))
}

/// Moves a mount with all that is mounted below it.
pub(crate) fn move_mount(source: &str, target: &str) -> Result<()> {
    rustix::mount::mount_move(source, target).map_err(|errno| mount_error(source, target, errno))
}

/// Makes an existing mount or bind read-only.
pub(crate) fn remount_read_only(target: &str) -> Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    rustix::mount::mount_remount(target, flags, c"")
        .map_err(|errno| mount_error("read-only remount", target, errno))
}

/// Takes a mount out of sight; it lives on while something uses it.
pub(crate) fn detach(target: &str) {
    let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
}

fn mount_error(source: &str, target: &str, errno: rustix::io::Errno) -> Error {
    Error::Mount { what: source.to_owned(), target: target.to_owned(), hint: "", cause: errno.into() }
}

/// Makes a directory with its parents.
pub(crate) fn make_dirs(path: &str) -> Result<()> {
    fs::create_dir_all(path).map_err(|cause| Error::file("create directory", path, cause))
}

/// Writes a file, making its directory.
pub(crate) fn write_file(path: &str, text: &str) -> Result<()> {
    if let Some(parent) = Path::new(path).parent() {
        make_dirs(&parent.to_string_lossy())?;
    }
    fs::write(path, text).map_err(|cause| Error::file("write", path, cause))
}

/// Attaches an image file to a loop device, read-only, released by itself after the last unmount.
/// The returned file must stay open until the device is mounted.
pub(crate) fn attach_loop(image: &str) -> Result<(String, File)> {
    let backing = File::open(image).map_err(|cause| Error::file("open", image, cause))?;
    let control = "/dev/loop-control";
    let control_file = File::open(control).map_err(|cause| Error::file("open", control, cause))?;
    let mut last = io::Error::other("no free loop device");
    for _ in 0..LOOP_TRIES {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number = unsafe { libc::ioctl(control_file.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(Error::file("find a free loop device through", control, io::Error::last_os_error()));
        }
        let path = format!("/dev/loop{number}");
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|cause| Error::file("open", path.as_str(), cause))?;
        match configure_loop(&device, &backing) {
            Ok(()) => return Ok((path, device)),
            Err(cause) => last = cause,
        }
    }
    Err(Error::file("attach a loop device to", image, last))
}

/// `struct loop_config` of `linux/loop.h`; the file name and key fields stay empty.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    head: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names_and_key: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

fn configure_loop(device: &File, backing: &File) -> io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(backing.as_fd().as_raw_fd()).map_err(io::Error::other)?,
        block_size: 0,
        info: LoopInfo {
            head: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            names_and_key: [0; 160],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the argument is a whole `loop_config` that lives until the call returns.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the kernel read a disk's partition table again.
pub(crate) fn read_partitions_again(disk: &File) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKRRPART) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes a device with a swap area for swapping.
pub(crate) fn swap_on(device: &CStr) -> io::Result<()> {
    // SAFETY: the path lives until the call returns.
    let result = unsafe { libc::swapon(device.as_ptr(), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Loads a kernel that [`rustix::system::RebootCommand::Kexec`] starts.
pub(crate) fn load_kernel(kernel: &File, initrd: &File, command_line: &str) -> io::Result<()> {
    let line = CString::new(command_line)?;
    let length = line.as_bytes_with_nul().len();
    let flags: libc::c_ulong = 0;
    // SAFETY: both descriptors are open, and the line lives until the call returns; its length counts the
    // zero.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            length,
            line.as_ptr(),
            flags,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits. The only place that does: every caller names its limit.
pub(crate) fn pause(time: Duration) {
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_structures_have_their_size() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
