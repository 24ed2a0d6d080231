//! CREATE, MKDIR, SYMLINK, MKNOD: new names for new objects.

use std::ffi::CString;

use rustix::fs::{FileType as Type, Mode};
use rustix::io::Errno;

use super::{Wcc, changing_directory, proper, read_name, set};
use crate::cx::{Cx, Decoded, Target};
use crate::handle::FileHandle;
use crate::nfs3::{
    Attributes, SYMLINK_BYTES_MAX, SYMLINK_BYTES_MAX_WIRE, SetAttributes, SetTime, Status, Time, read_handle,
    write_post_op,
};
use crate::place::{find, is_laid};
use crate::xdr::{Reader, Writer, XdrError};

/// Mode of objects whose creator did not state one.
const DEFAULT_FILE_MODE: u32 = 0o644;
const DEFAULT_DIR_MODE: u32 = 0o755;

type Made = Result<(FileHandle, Attributes), Status>;

/// Writes the results all four procedures share.
fn write_made(out: &mut Writer, made: &Made, wcc: &Wcc) {
    match made {
        Ok((handle, attributes)) => {
            out.u32(0);
            out.bool(true);
            out.opaque(handle.as_bytes());
            write_post_op(out, Some(attributes));
        }
        Err(status) => out.u32(status.code()),
    }
    wcc.write(out);
}

/// Completes a new object and says what it is.
fn complete(cx: &Cx<'_>, dir: &Target, name: &CString, wanted: &SetAttributes) -> Made {
    let made = find(cx, dir, name)?;
    set::finish(&made, wanted)?;
    Ok((made.object.handle, made.attributes()?))
}

fn mode_of(wanted: &SetAttributes, default: u32) -> Mode {
    Mode::from_raw_mode(wanted.mode.unwrap_or(default) & 0o7777)
}

enum How {
    Unchecked(SetAttributes),
    Guarded(SetAttributes),
    Exclusive(u64),
}

pub(super) fn create(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, name) = (read_handle(args)?, read_name(args)?);
    let how = match args.u32()? {
        0 => How::Unchecked(SetAttributes::read(args)?),
        1 => How::Guarded(SetAttributes::read(args)?),
        2 => How::Exclusive(args.u64()?),
        other => return Err(XdrError::BadEnum(other)),
    };
    let name = proper(name, Status::Exist);
    if let (How::Unchecked(wanted), Ok(name)) = (&how, &name)
        && let Some(existing) = laid_over(cx, &handle, name)
    {
        // A file of the overlay exists, even where its directory cannot be changed.
        let made = existing.and_then(|file| reuse(&file, wanted));
        write_made(out, &made, &Wcc::default());
        return Ok(());
    }
    let (made, wcc) = changing_directory(cx, &handle, |dir| {
        let name = free(dir, name?)?;
        match how {
            How::Unchecked(wanted) => create_file(cx, dir, &name, &wanted, truncate_existing),
            How::Guarded(wanted) => create_file(cx, dir, &name, &wanted, |_, _| Err(Status::Exist)),
            How::Exclusive(verifier) => {
                create_file(cx, dir, &name, &exclusive_attributes(verifier), same_exclusive)
            }
        }
    });
    write_made(out, &made, &wcc);
    Ok(())
}

fn create_file(
    cx: &Cx<'_>,
    dir: &Target,
    name: &CString,
    wanted: &SetAttributes,
    exists: impl FnOnce(&Target, &SetAttributes) -> Result<(), Status>,
) -> Made {
    let mode = mode_of(wanted, DEFAULT_FILE_MODE);
    let made = rustix::fs::mknodat(dir.object.fd(), name, Type::RegularFile, mode, 0);
    match cx.unless_done(made, Errno::EXIST) {
        Ok(()) => complete(cx, dir, name, wanted),
        Err(Errno::EXIST) => {
            let file = find(cx, dir, name)?;
            exists(&file, wanted)?;
            Ok((file.object.handle, file.attributes()?))
        }
        Err(other) => Err(other.into()),
    }
}

/// The file of the overlay called `name`, if that is what it is.
fn laid_over(cx: &Cx<'_>, dir: &FileHandle, name: &CString) -> Option<Result<Target, Status>> {
    let dir = cx.open(dir).ok()?;
    is_laid(&dir, name).then(|| find(cx, &dir, name))
}

fn reuse(file: &Target, wanted: &SetAttributes) -> Made {
    truncate_existing(file, wanted)?;
    Ok((file.object.handle, file.attributes()?))
}

/// `name`, unless the overlay holds it.
fn free(dir: &Target, name: CString) -> Result<CString, Status> {
    if is_laid(dir, &name) { Err(Status::Exist) } else { Ok(name) }
}

/// Unchecked creation of a file that is there: only its size follows.
fn truncate_existing(file: &Target, wanted: &SetAttributes) -> Result<(), Status> {
    let stat = file.object.stat()?;
    if !stat.is_file() {
        return Err(Status::Exist);
    }
    let size_only = SetAttributes { size: wanted.size, ..SetAttributes::default() };
    set::apply(file, &stat, &size_only)
}

/// Exclusive creation keeps the client's verifier in the times of the new file, where it outlives a
/// restart; the client sets the times right afterwards. One bit of each half is given up so that every
/// file system can hold it.
fn exclusive_attributes(verifier: u64) -> SetAttributes {
    let half = |bits: u64| u32::try_from(bits & 0x7fff_ffff).unwrap_or(0);
    let time = |sec| SetTime::Client(Time { sec, nsec: 0 });
    SetAttributes {
        mode: Some(0o600),
        atime: time(half(verifier >> 32)),
        mtime: time(half(verifier)),
        ..SetAttributes::default()
    }
}

fn same_exclusive(file: &Target, wanted: &SetAttributes) -> Result<(), Status> {
    let stat = file.object.stat()?;
    let times = (SetTime::Client(stat.atime), SetTime::Client(stat.mtime));
    let ours = stat.is_file() && stat.size == 0 && times == (wanted.atime, wanted.mtime);
    if ours { Ok(()) } else { Err(Status::Exist) }
}

pub(super) fn mkdir(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, name) = (read_handle(args)?, read_name(args)?);
    let wanted = SetAttributes { size: None, ..SetAttributes::read(args)? };
    let name = proper(name, Status::Exist);
    let (made, wcc) = changing_directory(cx, &handle, |dir| {
        let name = free(dir, name?)?;
        let made = rustix::fs::mkdirat(dir.object.fd(), &name, mode_of(&wanted, DEFAULT_DIR_MODE));
        cx.unless_done(made, Errno::EXIST)?;
        // A directory below a set-group-id one is one itself, unless the call says otherwise.
        let inherited = find(cx, dir, &name)?.object.stat()?.mode & libc::S_ISGID;
        complete(cx, dir, &name, &SetAttributes { mode: wanted.mode.map(|m| m | inherited), ..wanted })
    });
    write_made(out, &made, &wcc);
    Ok(())
}

pub(super) fn symlink(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, name) = (read_handle(args)?, read_name(args)?);
    let wanted = SetAttributes { size: None, mode: None, ..SetAttributes::read(args)? };
    let text = match args.opaque(SYMLINK_BYTES_MAX_WIRE)? {
        long if long.len() > SYMLINK_BYTES_MAX => Err(Status::NameTooLong),
        text => CString::new(text).map_err(|_| Status::Inval),
    };
    let name = proper(name, Status::Exist);
    let (made, wcc) = changing_directory(cx, &handle, |dir| {
        let name = free(dir, name?)?;
        cx.unless_done(rustix::fs::symlinkat(text?, dir.object.fd(), &name), Errno::EXIST)?;
        complete(cx, dir, &name, &wanted)
    });
    write_made(out, &made, &wcc);
    Ok(())
}

pub(super) fn mknod(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, name) = (read_handle(args)?, read_name(args)?);
    let (kind, wanted, device) = match args.u32()? {
        3 => device_arguments(Type::BlockDevice, args)?,
        4 => device_arguments(Type::CharacterDevice, args)?,
        6 => (Ok(Type::Socket), SetAttributes::read(args)?, 0),
        7 => (Ok(Type::Fifo), SetAttributes::read(args)?, 0),
        1 | 2 | 5 => (Err(Status::BadType), SetAttributes::default(), 0),
        other => return Err(XdrError::BadEnum(other)),
    };
    let wanted = SetAttributes { size: None, ..wanted };
    let name = proper(name, Status::Exist);
    let (made, wcc) = changing_directory(cx, &handle, |dir| {
        let name = free(dir, name?)?;
        // A device node on this machine's disk is one for its local users, too.
        if device != 0 && !dir.tree.devices {
            return Err(Status::Perm);
        }
        let mode = mode_of(&wanted, DEFAULT_FILE_MODE);
        cx.unless_done(rustix::fs::mknodat(dir.object.fd(), &name, kind?, mode, device), Errno::EXIST)?;
        complete(cx, dir, &name, &wanted)
    });
    write_made(out, &made, &wcc);
    Ok(())
}

type NodeArguments = (Result<Type, Status>, SetAttributes, u64);

fn device_arguments(kind: Type, args: &mut Reader<'_>) -> Decoded<NodeArguments> {
    let wanted = SetAttributes::read(args)?;
    let (major, minor) = (args.u32()?, args.u32()?);
    Ok((Ok(kind), wanted, rustix::fs::makedev(major, minor)))
}
