//! READDIR and READDIRPLUS.
//!
//! Cookies are the file system's own directory offsets, which ext4, xfs and btrfs keep stable over changes
//! and restarts; so the cookie verifier is always zero and a listing can be continued at any time. The
//! directory is opened anew for each call: listings of several clients do not disturb one another.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::answer;
use crate::cred;
use crate::engine::{Cx, Decoded, Target};
use crate::handle::FileHandle;
use crate::nfs3::{Attributes, Status, read_handle, write_post_op};
use crate::sys;
use crate::xdr::{Reader, Writer};

/// Bytes asked from the kernel at once.
const BATCH_BYTES: usize = 32 << 10;
/// Bytes of the results around the entries: status, attributes, verifier, end of list, end-of-file.
const FRAME_BYTES: usize = 4 + 88 + 8 + 4 + 4;
/// Bytes of an entry besides its name: presence, file id, name length, cookie.
const ENTRY_BYTES: usize = 4 + 8 + 4 + 8;

/// How much of a directory is wanted.
struct Wanted {
    cookie: u64,
    /// Limit of names, ids and cookies alone, in bytes.
    names_bytes_max: usize,
    /// Limit of the whole results, in bytes.
    bytes_max: usize,
    plus: bool,
}

pub(super) fn readdir(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, cookie, _verifier, count) = (read_handle(args)?, args.u64()?, args.u64()?, args.u32()?);
    let bytes_max = count.min(cx.session.io_bytes_max());
    let bytes_max = usize::try_from(bytes_max).unwrap_or(0);
    list(cx, &handle, &Wanted { cookie, names_bytes_max: usize::MAX, bytes_max, plus: false }, out);
    Ok(())
}

pub(super) fn readdirplus(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, cookie, _verifier) = (read_handle(args)?, args.u64()?, args.u64()?);
    let (names, all) = (args.u32()?, args.u32()?);
    let bytes_max = usize::try_from(all.min(cx.session.io_bytes_max())).unwrap_or(0);
    // Zero would stand for "no names at all"; some clients send it to mean "no limit".
    let names_bytes_max = if names == 0 { usize::MAX } else { usize::try_from(names).unwrap_or(0) };
    list(cx, &handle, &Wanted { cookie, names_bytes_max, bytes_max, plus: true }, out);
    Ok(())
}

fn list(cx: &Cx<'_>, handle: &FileHandle, wanted: &Wanted, out: &mut Writer) {
    let start = out.len();
    let dir = cx.open(handle);
    let attributes = dir.as_ref().ok().and_then(|d| d.attributes().ok());
    let opened = dir.and_then(|dir| Ok((open(&dir)?, dir)));
    let listed = opened.and_then(|(fd, dir)| {
        out.u32(0);
        write_post_op(out, attributes.as_ref());
        out.u64(0);
        let mut listing = Listing { cx, dir: &dir, wanted, out, start, names_bytes: 0, entries: 0 };
        listing.entries_of(fd)
    });
    match listed {
        Ok(at_end) => {
            out.bool(false);
            out.bool(at_end);
        }
        Err(status) => {
            out.truncate(start);
            answer::<()>(out, Err(status), |_, ()| (), |out| write_post_op(out, attributes.as_ref()));
        }
    }
}

fn open(dir: &Target) -> Result<OwnedFd, Status> {
    if !dir.object.stat()?.is_dir() {
        return Err(Status::NotDir);
    }
    if !dir.identity.is_root() {
        dir.act()?;
        sys::access(dir.object.fd(), libc::R_OK)?;
    }
    cred::as_server()?;
    Ok(sys::reopen(dir.object.fd(), OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// One answer being filled.
struct Listing<'a> {
    cx: &'a Cx<'a>,
    dir: &'a Target,
    wanted: &'a Wanted,
    out: &'a mut Writer,
    start: usize,
    names_bytes: usize,
    entries: usize,
}

impl Listing<'_> {
    /// Adds entries from the cookie on until the answer is full (`false`) or the directory ends (`true`).
    fn entries_of(&mut self, fd: OwnedFd) -> Result<bool, Status> {
        if self.wanted.cookie != 0 {
            let seek = SeekFrom::Start(
                i64::try_from(self.wanted.cookie).map_err(|_| Status::BadCookie)?.unsigned_abs(),
            );
            rustix::fs::seek(&fd, seek).map_err(|_| Status::BadCookie)?;
        }
        let mut batch = vec![MaybeUninit::<u8>::uninit(); BATCH_BYTES];
        let mut kernel = RawDir::new(fd.as_fd(), &mut batch);
        while let Some(entry) = kernel.next() {
            let entry = entry.map_err(|errno| match errno {
                Errno::INVAL | Errno::NOENT => Status::BadCookie,
                other => other.into(),
            })?;
            if !self.add(entry.ino(), entry.file_name(), entry.next_entry_cookie()) {
                return if self.entries == 0 { Err(Status::TooSmall) } else { Ok(false) };
            }
        }
        Ok(true)
    }

    /// Adds one entry; `false` if it does not fit any more.
    fn add(&mut self, fileid: u64, name: &std::ffi::CStr, cookie: u64) -> bool {
        let before = self.out.len();
        let bytes = name.to_bytes();
        self.names_bytes += ENTRY_BYTES + bytes.len().next_multiple_of(4);
        self.out.bool(true);
        self.out.u64(fileid);
        self.out.opaque(bytes);
        self.out.u64(cookie);
        if self.wanted.plus {
            let known = self.details(name);
            write_post_op(self.out, known.as_ref().map(|(_, attributes)| attributes));
            self.out.bool(known.is_some());
            known.iter().for_each(|(handle, _)| self.out.opaque(handle.as_bytes()));
        }
        let frame_left = FRAME_BYTES - (4 + 88 + 8);
        let full = self.out.len() - self.start + frame_left > self.wanted.bytes_max
            || (self.names_bytes > self.wanted.names_bytes_max && self.entries > 0);
        if full {
            self.out.truncate(before);
            return false;
        }
        self.entries += 1;
        true
    }

    /// Handle and attributes of an entry. Clients look for themselves where there are none: for `.` and
    /// `..`, for mount points, and for what has just been removed.
    fn details(&self, name: &std::ffi::CStr) -> Option<(FileHandle, Attributes)> {
        if matches!(name.to_bytes(), b"." | b"..") {
            return None;
        }
        let object = &self.dir.object;
        let stat = sys::stat(object.fd(), name).ok()?;
        if stat.mount != object.region.root_stat.mount {
            return None;
        }
        let path = object.path_of(name);
        let handle =
            object.region.handle(&self.cx.engine.key, object.fd(), name, path.as_deref(), &stat).ok()?;
        Some((handle, self.dir.tree.attributes(object, stat)))
    }
}
