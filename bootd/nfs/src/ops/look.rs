//! GETATTR, LOOKUP, ACCESS, READLINK: looking without touching.

use super::{answer, read_name};
use crate::cx::{Cx, Decoded, Target};
use crate::nfs3::{SYMLINK_BYTES_MAX, Status, read_handle, write_post_op};
use crate::place::find_in;
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
    let dir = cx.open(&handle).and_then(|dir| Ok((dir.object.stat()?, dir)));
    let found = dir.as_ref().map_err(|s| *s).and_then(|(stat, dir)| {
        let (child, known) = find_in(cx, dir, stat, &name?)?;
        let attributes = match known {
            Some(stat) => dir.tree.shown(&child.object.region, child.object.synthetic, stat),
            None => child.attributes()?,
        };
        Ok((child.object.handle, attributes))
    });
    let dir_attributes = dir.ok().map(|(s, d)| d.tree.shown(&d.object.region, d.object.synthetic, s));
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
    let shown = target.tree.is_private_root(&target.object.region, stat);
    Ok((shown || may(libc::R_OK), may(libc::W_OK), shown || may(libc::X_OK)))
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
