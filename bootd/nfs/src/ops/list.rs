//! READDIR and READDIRPLUS.
//!
//! Cookies are the file system's own directory offsets, which ext4, xfs and btrfs keep stable over changes
//! and restarts; so the cookie verifier is always zero and a listing can be continued at any time. The
//! directory is opened again for each call: listings of several clients do not disturb one another. Names
//! that exist in an overlay only come after the real ones, with cookies that have the highest bit set and
//! follow from the name's path, so they are as stable.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::answer;
use crate::cred;
use crate::cx::{Cx, Decoded, Target};
use crate::handle::FileHandle;
use crate::layers::{Layer, Layers};
use crate::nfs3::{Attributes, Status, read_handle, write_post_op};
use crate::place::{entry, is_unmade, laid};
use crate::sys;
use crate::xdr::{Reader, Writer};

/// Least and most bytes asked from the kernel at once.
const BATCH_BYTES_MIN: usize = 1 << 10;
const BATCH_BYTES_MAX: usize = 64 << 10;
/// Bytes of the results around the entries: status, attributes, verifier, end of list, end-of-file.
const FRAME_BYTES: usize = 4 + 88 + 8 + 4 + 4;
/// Bytes of an entry besides its name: presence, file id, name length, cookie.
const ENTRY_BYTES: usize = 4 + 8 + 4 + 8;

/// Marks cookies of names that exist in the overlay only; real offsets are positive.
const LAID_COOKIE: u64 = 1 << 63;

/// Handle and attributes of an entry.
type Known = (FileHandle, Attributes);

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
    let bytes_max = count.min(cx.session.list_bytes_max());
    let bytes_max = usize::try_from(bytes_max).unwrap_or(0);
    list(cx, &handle, &Wanted { cookie, names_bytes_max: usize::MAX, bytes_max, plus: false }, out);
    Ok(())
}

pub(super) fn readdirplus(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, cookie, _verifier) = (read_handle(args)?, args.u64()?, args.u64()?);
    let (names, all) = (args.u32()?, args.u32()?);
    let bytes_max = usize::try_from(all.min(cx.session.list_bytes_max())).unwrap_or(0);
    // Zero would mean "no names at all"; some clients send it to mean "no limit".
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
        let stat = dir.object.stat()?;
        let layer = dir.tree.layer_of(&dir.object, &stat);
        let mut listing = Listing { cx, dir: &dir, layer, wanted, out, start, names_bytes: 0, entries: 0 };
        Ok(listing.real_entries(fd)? && listing.laid_entries()?)
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
    let stat = dir.object.stat()?;
    if !stat.is_dir() {
        return Err(Status::NotDir);
    }
    if !dir.identity.is_root() {
        dir.act_to_look(&stat)?;
        sys::access(dir.object.fd(), libc::R_OK)?;
    }
    cred::as_server()?;
    Ok(sys::reopen(dir.object.fd(), OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// One answer being filled.
struct Listing<'a> {
    cx: &'a Cx<'a>,
    dir: &'a Target,
    layer: Option<(&'a Layers, &'a Layer)>,
    wanted: &'a Wanted,
    out: &'a mut Writer,
    start: usize,
    names_bytes: usize,
    entries: usize,
}

impl<'a> Listing<'a> {
    /// Adds entries from the cookie on until the answer is full (`false`) or the directory ends (`true`).
    fn real_entries(&mut self, fd: OwnedFd) -> Result<bool, Status> {
        if self.wanted.cookie & LAID_COOKIE != 0 {
            return Ok(true);
        }
        if self.wanted.cookie != 0 {
            rustix::fs::seek(&fd, SeekFrom::Start(self.wanted.cookie)).map_err(|_| Status::BadCookie)?;
        }
        // Not much more than fits into the answer: the rest would be read again for the next one.
        let useful = self.wanted.bytes_max / if self.wanted.plus { 5 } else { 1 };
        let useful = useful.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
        let mut batch = vec![MaybeUninit::<u8>::uninit(); useful];
        let mut kernel = RawDir::new(fd.as_fd(), &mut batch);
        while let Some(entry) = kernel.next() {
            let entry = entry.map_err(|errno| match errno {
                Errno::INVAL | Errno::NOENT => Status::BadCookie,
                other => other.into(),
            })?;
            let (name, cookie) = (entry.file_name(), entry.next_entry_cookie());
            let added = match self.laid_child(name) {
                Some(layer) => self.add_laid(layer, name, cookie),
                None => self.add_real(entry.ino(), name, cookie),
            };
            if !added {
                return self.full();
            }
        }
        Ok(true)
    }

    fn full(&self) -> Result<bool, Status> {
        if self.entries == 0 { Err(Status::TooSmall) } else { Ok(false) }
    }

    fn laid_child(&self, name: &CStr) -> Option<&'a Layer> {
        let (layers, parent) = self.layer?;
        layers.child(parent, name.to_bytes())
    }

    /// Adds the names that the real directory does not have.
    fn laid_entries(&mut self) -> Result<bool, Status> {
        let Some((layers, parent)) = self.layer else { return Ok(true) };
        let cookie = |layer: &Layer| layer.id >> 1 | LAID_COOKIE;
        let mut extra: Vec<(u64, CString, &Layer)> = layers
            .children(parent)
            .filter(|(_, layer)| cookie(layer) > self.wanted.cookie)
            .filter_map(|(name, layer)| Some((cookie(layer), CString::new(name.as_bytes()).ok()?, layer)))
            .filter(|(_, name, _)| sys::stat(self.dir.object.fd(), name).is_err())
            .collect();
        extra.sort_by_key(|(cookie, ..)| *cookie);
        for (cookie, name, layer) in extra {
            if !self.add_laid(layer, &name, cookie) {
                return self.full();
            }
        }
        Ok(true)
    }

    /// Adds a name of the overlay. What is made on first use is not made for a listing.
    fn add_laid(&mut self, layer: &Layer, name: &CStr, cookie: u64) -> bool {
        if is_unmade(layer) {
            return self.add(layer.id, name, cookie, None);
        }
        let Some((layers, _)) = self.layer else { return true };
        let child = laid(self.cx, self.dir, layers, layer, name);
        let known = child.and_then(|child| Ok((child.object.handle, child.attributes()?)));
        if cred::as_server().is_err() {
            return false;
        }
        match known {
            Ok((handle, attributes)) => self.add(attributes.fileid, name, cookie, Some((handle, attributes))),
            // Its source is missing and the tree has nothing there either.
            Err(Status::NoEnt) => true,
            Err(_) => self.add(layer.id, name, cookie, None),
        }
    }

    fn add_real(&mut self, fileid: u64, name: &CStr, cookie: u64) -> bool {
        let known = if self.wanted.plus { self.details(name) } else { None };
        let fileid = known.as_ref().map_or(fileid, |(_, attributes)| attributes.fileid);
        self.add(fileid, name, cookie, known)
    }

    /// Adds one entry; `false` if it does not fit any more.
    fn add(&mut self, fileid: u64, name: &CStr, cookie: u64, known: Option<Known>) -> bool {
        let before = self.out.len();
        let bytes = name.to_bytes();
        self.names_bytes += ENTRY_BYTES + bytes.len().next_multiple_of(4);
        self.out.bool(true);
        self.out.u64(fileid);
        self.out.opaque(bytes);
        self.out.u64(cookie);
        if self.wanted.plus {
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
    fn details(&self, name: &CStr) -> Option<Known> {
        if matches!(name.to_bytes(), b"." | b"..") {
            return None;
        }
        let object = &self.dir.object;
        let (handle, stat) = entry(self.cx, object, name).ok()?;
        Some((handle, self.dir.tree.shown(&object.region, None, stat)))
    }
}
