//! READ, WRITE, COMMIT: file data.
//!
//! A READ of some size over a stream is not copied here: the reply names a piece of the file and the shell
//! lets the kernel send it from the page cache. Smaller ones are read straight into the reply.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use rustix::io::{Errno, ReadWriteFlags};

use super::changing;
use super::set::{may_read, may_write};
use crate::cx::{Cx, Decoded, FileTail, Seat, Target};
use crate::nfs3::{Attributes, IO_BYTES_MAX, Status, read_handle, write_post_op};
use crate::xdr::{Reader, Writer, XdrError};

/// From this size on READ sends from the page cache; below, the extra system call costs more than the copy.
pub(super) const SEND_FILE_BYTES_MIN: u32 = 16 << 10;

pub(super) fn read(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, offset, count) = (read_handle(args)?, args.u64()?, args.u32()?);
    let start = out.len();
    if let Err(failed) = read_into(cx, &handle, offset, count, out) {
        let (status, attributes) = *failed;
        out.truncate(start);
        out.u32(status.code());
        write_post_op(out, attributes.as_ref());
    }
    Ok(())
}

/// In a box, because it is rare and large.
type Failed = Box<(Status, Option<Attributes>)>;

fn read_into(
    cx: &Cx<'_>,
    handle: &crate::handle::FileHandle,
    offset: u64,
    count: u32,
    out: &mut Writer,
) -> Result<(), Failed> {
    let target = cx.open(handle).map_err(|s| Box::new((s, None)))?;
    let attributes = target.attributes().map_err(|s| Box::new((s, None)))?;
    let fail = |status| Box::new((status, Some(attributes)));
    if !attributes.stat.is_file() {
        return Err(fail(if attributes.stat.is_dir() { Status::IsDir } else { Status::Inval }));
    }
    may_read(&target, &attributes.stat).map_err(fail)?;
    let reader = target.object.reader().map_err(fail)?;
    let left = attributes.stat.size.saturating_sub(offset);
    let count = count.min(cx.session.io_bytes_max()).min(u32::try_from(left).unwrap_or(u32::MAX));

    out.u32(0);
    write_post_op(out, Some(&attributes));
    let sizes_at = out.len();
    write_sizes(out, count, u64::from(count) == left);
    if count >= SEND_FILE_BYTES_MIN && !cx.session.datagram && cx.seat != Seat::Disk {
        cx.tail.set(Some(FileTail { object: target.object.clone(), offset, len: count }));
        return Ok(());
    }
    let got = read_here(reader, offset, count, out.raw()).map_err(|e| fail(e.into()))?;
    if got != count {
        // The file was shortened meanwhile: the sizes sent before the data are too large.
        out.patch_u32(sizes_at, got);
        out.patch_u32(sizes_at + 4, 1);
        out.patch_u32(sizes_at + 8, got);
    }
    out.pad(usize::try_from(got).unwrap_or(0));
    Ok(())
}

/// Count, end-of-file flag and length of the data that follow.
fn write_sizes(out: &mut Writer, count: u32, eof: bool) {
    out.u32(count);
    out.bool(eof);
    out.u32(count);
}

/// Appends up to `count` bytes of the file to `buffer`; says how many there were.
fn read_here(
    reader: std::os::fd::BorrowedFd<'_>,
    offset: u64,
    count: u32,
    buffer: &mut Vec<u8>,
) -> Result<u32, Errno> {
    let start = buffer.len();
    buffer.resize(start + usize::try_from(count).unwrap_or(0), 0);
    let mut done = 0u32;
    while done < count {
        let at = start + usize::try_from(done).unwrap_or(0);
        let room = buffer.get_mut(at..).unwrap_or_default();
        match rustix::io::pread(reader, room, offset + u64::from(done)) {
            Ok(0) => break,
            Ok(n) => done += u32::try_from(n).unwrap_or(0),
            Err(Errno::INTR) => (),
            Err(other) => return Err(other),
        }
    }
    buffer.truncate(start + usize::try_from(done).unwrap_or(0));
    Ok(done)
}

/// How safe written data must be before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stable {
    Unstable = 0,
    DataSync = 1,
    FileSync = 2,
}

pub(super) fn write(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, offset, count) = (read_handle(args)?, args.u64()?, args.u32()?);
    let stable = match args.u32()? {
        0 => Stable::Unstable,
        1 => Stable::DataSync,
        2 => Stable::FileSync,
        other => return Err(XdrError::BadEnum(other)),
    };
    let data = args.opaque(usize::try_from(IO_BYTES_MAX).unwrap_or(0))?;
    // RFC 1813 section 3.3.7: count is the length of the data. A call that contradicts itself was not meant.
    if usize::try_from(count).ok() != Some(data.len()) {
        return Err(XdrError::Contradiction { count, len: data.len() });
    }
    let (written, wcc) = changing(cx, &handle, |target, before| {
        match () {
            () if before.stat.is_dir() => return Err(Status::IsDir),
            () if !before.stat.is_file() => return Err(Status::Inval),
            () => may_write(target, &before.stat)?,
        }
        write_out(target, offset, data, stable)
    });
    let status = written.map_or_else(Status::code, |_| 0);
    out.u32(status);
    wcc.write(out);
    if let Ok(written) = written {
        out.u32(u32::try_from(written).unwrap_or(0));
        out.u32(stable as u32);
        out.u64(cx.state.verifier.load(Ordering::Relaxed));
    }
    Ok(())
}

/// Writes `data`; less than all of it only if something went wrong after the first byte.
fn write_out(target: &Target, offset: u64, data: &[u8], stable: Stable) -> Result<usize, Status> {
    let end = offset.checked_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
    if end.is_none_or(|end| i64::try_from(end).is_err()) {
        return Err(Status::FBig);
    }
    let flags = match stable {
        Stable::Unstable => ReadWriteFlags::empty(),
        Stable::DataSync => ReadWriteFlags::DSYNC,
        Stable::FileSync => ReadWriteFlags::SYNC,
    };
    let writer = target.object.writer()?;
    target.act()?;
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + u64::try_from(done).unwrap_or(0);
        match rustix::io::pwritev2(writer, &[IoSlice::new(rest)], at, flags) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => (),
            Err(_) if done > 0 => break,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(done)
}

pub(super) fn commit(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let (_offset, _count) = (args.u64()?, args.u32()?);
    let target = cx.open(&handle);
    let before = target.as_ref().ok().and_then(|t| t.attributes().ok());
    let synced = target.as_ref().map_err(|s| *s).and_then(|t| sync(cx, t));
    let after = target.as_ref().ok().and_then(|t| t.attributes().ok());
    let wcc = super::Wcc { before, after };
    out.u32(synced.map_or_else(Status::code, |()| 0));
    wcc.write(out);
    if synced.is_ok() {
        out.u64(cx.state.verifier.load(Ordering::Relaxed));
    }
    Ok(())
}

fn sync(cx: &Cx<'_>, target: &Target) -> Result<(), Status> {
    let stat = target.object.stat()?;
    if !stat.is_file() {
        return Err(Status::Inval);
    }
    may_write(target, &stat)?;
    rustix::fs::fdatasync(target.object.writer()?).map_err(|errno| {
        // The kernel has dropped data that clients believe written: a new verifier makes them send again
        // everything that was not committed.
        cx.state.verifier.fetch_add(1, Ordering::Relaxed);
        Status::from(errno)
    })
}
