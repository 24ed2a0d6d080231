//! GETATTR, LOOKUP, ACCESS, READLINK: looking without touching.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{answer, read_name};
use crate::cred;
use crate::engine::{Cx, Decoded, Target};
use crate::handle::FileHandle;
use crate::nfs3::{SYMLINK_BYTES_MAX, Status, read_handle, write_post_op};
use crate::objects::Object;
use crate::sys::{self, Stat};
use crate::xdr::{Reader, Writer};

pub(super) fn getattr(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let attributes = cx.open(&handle).and_then(|t| t.attributes());
    answer(out, attributes, |out, a| a.write(out), |_| ());
    Ok(())
}

pub(super) fn lookup(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, name) = (read_handle(args)?, read_name(args)?);
    let dir = cx.open(&handle);
    let found = dir.as_ref().map_err(|s| *s).and_then(|dir| {
        let child = find(cx, dir, &name?)?;
        let attributes = child.attributes()?;
        Ok((child.object.handle, attributes))
    });
    let dir_attributes = dir.and_then(|d| d.attributes()).ok();
    answer(
        out,
        found,
        |out, (handle, attributes)| {
            out.opaque(handle.as_bytes());
            write_post_op(out, Some(&attributes));
            write_post_op(out, dir_attributes.as_ref());
        },
        |out| write_post_op(out, dir_attributes.as_ref()),
    );
    Ok(())
}

/// The child `name` of `dir`, as the caller may see it.
pub(super) fn find(cx: &Cx<'_>, dir: &Target, name: &CStr) -> Result<Target, Status> {
    let dir_stat = dir.object.stat()?;
    if !dir_stat.is_dir() {
        return Err(Status::NotDir);
    }
    match name.to_bytes() {
        b"." => Ok(dir.clone()),
        b".." => parent(cx, dir, &dir_stat),
        _ => child(cx, dir, name),
    }
}

fn child(cx: &Cx<'_>, dir: &Target, name: &CStr) -> Result<Target, Status> {
    dir.act()?;
    let fd = sys::open_beneath(dir.object.fd(), name).map_err(|errno| match errno {
        // A mount point: what is behind it belongs to no export.
        rustix::io::Errno::XDEV => Status::Access,
        other => other.into(),
    })?;
    let stat = sys::stat(fd.as_fd(), c"")?;
    let path = dir.object.path_of(name);
    let region = &dir.object.region;
    let handle = region.handle(&cx.engine.key, fd.as_fd(), c"", path.as_deref(), &stat)?;
    if let Some(known) = cx.engine.objects.get(&handle)
        && Arc::ptr_eq(&known.region, region)
    {
        return Ok(dir.sibling(known));
    }
    Ok(dir.sibling(cx.adopt(Object::new(handle, region.clone(), path, None, fd))))
}

fn parent(cx: &Cx<'_>, dir: &Target, dir_stat: &Stat) -> Result<Target, Status> {
    let region = &dir.object.region;
    if region.is_root(dir_stat) {
        return Ok(dir.clone());
    }
    dir.act()?;
    sys::access(dir.object.fd(), libc::X_OK)?;
    cred::as_server()?;
    let fd = region.parent(dir.object.fd(), dir_stat)?;
    let stat = sys::stat(fd.as_fd(), c"")?;
    let path = dir.object.path.as_ref().map(|p| p.parent().map(Into::into).unwrap_or_default());
    let handle = region.handle(&cx.engine.key, fd.as_fd(), c"", path.as_deref(), &stat)?;
    Ok(dir.sibling(cx.adopt(Object::new(handle, region.clone(), path, None, fd))))
}

/// The handle `name` has below `dir` now, to forget it once the name is gone.
pub(super) fn handle_of(cx: &Cx<'_>, dir: &Target, name: &CString) -> Option<FileHandle> {
    let stat = sys::stat(dir.object.fd(), name).ok()?;
    let path = dir.object.path_of(name);
    dir.object.region.handle(&cx.engine.key, dir.object.fd(), name, path.as_deref(), &stat).ok()
}

const ACCESS_READ: u32 = 0x01;
const ACCESS_LOOKUP: u32 = 0x02;
const ACCESS_MODIFY: u32 = 0x04;
const ACCESS_EXTEND: u32 = 0x08;
const ACCESS_DELETE: u32 = 0x10;
const ACCESS_EXECUTE: u32 = 0x20;

pub(super) fn access(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, wanted) = (read_handle(args)?, args.u32()?);
    let target = cx.open(&handle);
    let granted = target.as_ref().map_err(|s| *s).and_then(|t| {
        let attributes = t.attributes()?;
        Ok((attributes, wanted & granted(t, &attributes.stat)?))
    });
    answer(
        out,
        granted,
        |out, (attributes, bits)| {
            write_post_op(out, Some(&attributes));
            out.u32(bits);
        },
        |out| write_post_op(out, None),
    );
    Ok(())
}

/// Everything the caller may do with the object.
fn granted(target: &Target, stat: &Stat) -> Result<u32, Status> {
    let special = !(stat.is_dir() || stat.is_file() || stat.is_symlink());
    let (read, mut write, execute) = permissions(target, stat)?;
    // A device or FIFO on a read-only root is written to on the client, not here.
    write &= special || target.changeable().is_ok();
    let bits = match stat.is_dir() {
        true => [
            (read, ACCESS_READ),
            (execute, ACCESS_LOOKUP),
            (write && execute, ACCESS_MODIFY | ACCESS_EXTEND | ACCESS_DELETE),
        ],
        false => [(read, ACCESS_READ), (execute, ACCESS_EXECUTE), (write, ACCESS_MODIFY | ACCESS_EXTEND)],
    };
    Ok(bits.iter().filter(|(may, _)| *may).fold(0, |all, (_, bit)| all | bit))
}

fn permissions(target: &Target, stat: &Stat) -> Result<(bool, bool, bool), Status> {
    if target.identity.is_root() {
        return Ok((true, true, stat.is_dir() || stat.mode & 0o111 != 0));
    }
    target.act()?;
    let may = |mask| sys::access(target.object.fd(), mask).is_ok();
    Ok((may(libc::R_OK), may(libc::W_OK), may(libc::X_OK)))
}

pub(super) fn readlink(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let link = cx.open(&handle).and_then(|t| {
        let attributes = t.attributes()?;
        if !attributes.stat.is_symlink() {
            return Err(Status::Inval);
        }
        let buffer = Vec::with_capacity(SYMLINK_BYTES_MAX + 1);
        Ok((attributes, rustix::fs::readlinkat(t.object.fd(), c"", buffer)?))
    });
    answer(
        out,
        link,
        |out, (attributes, text)| {
            write_post_op(out, Some(&attributes));
            out.opaque(text.as_bytes());
        },
        |out| write_post_op(out, None),
    );
    Ok(())
}
