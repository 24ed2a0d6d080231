//! SETATTR, and the setting of attributes for procedures that create.

use rustix::fs::{AtFlags, Timespec, Timestamps};

use super::{answer, changing};
use crate::cred;
use crate::cx::{Cx, Decoded, Target};
use crate::nfs3::{SetAttributes, SetTime, Status, read_handle, read_time};
use crate::sys::{self, Stat};
use crate::xdr::{Reader, Writer};

pub(super) fn setattr(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let wanted = SetAttributes::read(args)?;
    let guard = if args.bool()? { Some(read_time(args)?) } else { None };
    let (result, wcc) = changing(cx, &handle, |target, before| {
        // Our own first attempt would have changed the guarded time.
        if !cx.interrupted && guard.is_some_and(|ctime| ctime != before.stat.ctime) {
            return Err(Status::NotSync);
        }
        apply(target, &before.stat, &wanted)
    });
    answer(out, result, |_, ()| (), |_| ());
    wcc.write(out);
    Ok(())
}

/// Sets what is wanted. Size first (it changes the times), then ids (they clear the set-id bits), then
/// mode, then times.
pub(super) fn apply(target: &Target, stat: &Stat, wanted: &SetAttributes) -> Result<(), Status> {
    if let Some(size) = wanted.size {
        truncate(target, stat, size)?;
    }
    // The root of a store stays closed to local users of the server, even if a node asks otherwise.
    let is_private = target.tree.is_private_root(&target.object.region, stat);
    if wanted.uid.is_some() || wanted.gid.is_some() {
        let keeps = |wanted: Option<u32>, has: u32| wanted.is_none_or(|id| id == has);
        if is_private && !(keeps(wanted.uid, stat.uid) && keeps(wanted.gid, stat.gid)) {
            return Err(Status::Perm);
        }
        target.act()?;
        sys::chown(target.object.fd(), wanted.uid, wanted.gid)?;
    }
    // Links have no mode on Linux; clients send one anyway.
    if let Some(mode) = wanted.mode.filter(|_| !stat.is_symlink()) {
        target.act()?;
        sys::chmod(target.object.fd(), mode & if is_private { 0o700 } else { 0o7777 })?;
    }
    set_times(target, stat, wanted)
}

fn truncate(target: &Target, stat: &Stat, size: u64) -> Result<(), Status> {
    match () {
        () if stat.is_dir() => return Err(Status::IsDir),
        () if !stat.is_file() => return Err(Status::Inval),
        () => may_write(target, stat)?,
    }
    let size = i64::try_from(size).map_err(|_| Status::FBig)?;
    let writer = target.object.writer()?;
    target.act()?;
    Ok(rustix::fs::ftruncate(writer, size.unsigned_abs())?)
}

fn set_times(target: &Target, stat: &Stat, wanted: &SetAttributes) -> Result<(), Status> {
    if wanted.atime == SetTime::Keep && wanted.mtime == SetTime::Keep {
        return Ok(());
    }
    let times =
        Timestamps { last_access: time_spec(wanted.atime), last_modification: time_spec(wanted.mtime) };
    target.act()?;
    let stated = [wanted.atime, wanted.mtime].iter().any(|time| matches!(time, SetTime::Client(_)));
    if !stated && !target.identity.is_root() && target.identity.uid() != stat.uid {
        // Who may write may set the server's time. Linux grants that for both times together only, but
        // clients ask for one of them when a file is opened to be overwritten.
        sys::access(target.object.fd(), libc::W_OK)?;
        cred::as_server()?;
    }
    Ok(rustix::fs::utimensat(target.object.fd(), c"", &times, AtFlags::EMPTY_PATH)?)
}

fn time_spec(time: SetTime) -> Timespec {
    match time {
        SetTime::Keep => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        SetTime::Server => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        SetTime::Client(t) => Timespec { tv_sec: i64::from(t.sec), tv_nsec: i64::from(t.nsec) },
    }
}

/// Whether the caller may change the file's data. The owner always may: it could have opened the file
/// before the mode was changed, and the protocol has no open.
pub(super) fn may_write(target: &Target, stat: &Stat) -> Result<(), Status> {
    target.changeable()?;
    if target.identity.is_root() || target.identity.uid() == stat.uid {
        return Ok(());
    }
    target.act()?;
    Ok(sys::access(target.object.fd(), libc::W_OK)?)
}

/// Whether the caller may read the file's data: as [`may_write`], and who may execute may read, because
/// the client's kernel does so to execute.
pub(super) fn may_read(target: &Target, stat: &Stat) -> Result<(), Status> {
    if target.identity.is_root() || target.identity.uid() == stat.uid {
        return Ok(());
    }
    target.act()?;
    match sys::access(target.object.fd(), libc::R_OK) {
        Err(rustix::io::Errno::ACCESS) => Ok(sys::access(target.object.fd(), libc::X_OK)?),
        other => Ok(other?),
    }
}

/// Attributes that a new object still lacks after the kernel has made it with `wanted.mode` as the caller.
pub(super) fn finish(target: &Target, wanted: &SetAttributes) -> Result<(), Status> {
    let stat = target.object.stat()?;
    // Only the bits that mkdir and mknod do not take: the rest is as default ACLs made it.
    let lacks_mode = wanted.mode.is_some_and(|mode| (mode ^ stat.mode) & 0o7000 != 0);
    let rest = SetAttributes {
        mode: wanted.mode.filter(|_| lacks_mode || wanted.uid.is_some()),
        uid: wanted.uid.filter(|uid| *uid != stat.uid),
        gid: wanted.gid.filter(|gid| *gid != stat.gid),
        size: wanted.size.filter(|size| *size != stat.size),
        ..*wanted
    };
    let done = apply(target, &stat, &rest);
    cred::as_server()?;
    done
}
