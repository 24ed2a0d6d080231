//! REMOVE, RMDIR, RENAME, LINK: names of objects that exist.

use std::ffi::CString;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::{Wcc, answer, changing_directory, proper, read_name};
use crate::cx::{Cx, Decoded, Target};
use crate::nfs3::{Status, read_handle, write_post_op};
use crate::place::{handle_of, is_laid};
use crate::sys;
use crate::xdr::{Reader, Writer};

pub(super) fn remove(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    unlink(cx, args, out, AtFlags::empty(), Status::Inval)
}

pub(super) fn rmdir(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    unlink(cx, args, out, AtFlags::REMOVEDIR, Status::Inval)
}

fn unlink(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer, flags: AtFlags, dots: Status) -> Decoded {
    let (handle, name) = (read_handle(args)?, read_name(args)?);
    let (result, wcc) = changing_directory(cx, &handle, |dir| {
        let name = not_laid(dir, proper(name, dots)?, Status::Access)?;
        let gone = handle_of(cx, dir, &name);
        cx.unless_done(rustix::fs::unlinkat(dir.object.fd(), &name, flags), Errno::NOENT)?;
        // An open descriptor would keep the space of a removed file.
        gone.iter().for_each(|handle| cx.state.objects.forget(handle));
        Ok(())
    });
    answer(out, result, |_, ()| (), |_| ());
    wcc.write(out);
    Ok(())
}

pub(super) fn rename(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (from_handle, from_name) = (read_handle(args)?, read_name(args)?);
    let (to_handle, to_name) = (read_handle(args)?, read_name(args)?);
    let opened = cx.open(&from_handle).and_then(|from| Ok((from, cx.open(&to_handle)?)));
    let mut wccs = [Wcc::default(), Wcc::default()];
    let result = opened.and_then(|(from, to)| {
        let _held = cx.state.change_locks(&from.object.stat()?, &to.object.stat()?);
        let attributes = || [from.attributes().ok(), to.attributes().ok()];
        let before = attributes();
        let result = move_name(cx, (&from, from_name), (&to, to_name));
        for ((wcc, before), after) in wccs.iter_mut().zip(before).zip(attributes()) {
            *wcc = Wcc { before, after };
        }
        result
    });
    answer(out, result, |_, ()| (), |_| ());
    wccs.iter().for_each(|wcc| wcc.write(out));
    Ok(())
}

type Place<'a> = (&'a Target, Result<CString, Status>);

fn move_name(cx: &Cx<'_>, (from, from_name): Place<'_>, (to, to_name): Place<'_>) -> Result<(), Status> {
    let from_name = proper(from_name, Status::Inval)?;
    let to_name = proper(to_name, Status::Exist)?;
    from.changeable()?;
    to.changeable()?;
    if !Arc::ptr_eq(&from.object.region, &to.object.region) {
        return Err(Status::Xdev);
    }
    let from_name = not_laid(from, from_name, Status::Access)?;
    let to_name = not_laid(to, to_name, Status::Access)?;
    from.act()?;
    let replaced = handle_of(cx, to, &to_name);
    let moved = rustix::fs::renameat(from.object.fd(), &from_name, to.object.fd(), &to_name);
    match replaced {
        // The target is there, as it would be after the move.
        Some(_) => cx.unless_done(moved, Errno::NOENT)?,
        None => moved?,
    }
    replaced.iter().for_each(|handle| cx.state.objects.forget(handle));
    if let (Some(old), Some(new)) = (from.object.path_of(&from_name), to.object.path_of(&to_name)) {
        from.object.region.renamed(&cx.state.key, &old, &new);
        // Open objects remember their old paths.
        cx.state.objects.rotate();
        cx.state.objects.rotate();
    }
    Ok(())
}

pub(super) fn link(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let (handle, dir_handle, name) = (read_handle(args)?, read_handle(args)?, read_name(args)?);
    let name = proper(name, Status::Exist);
    let file = cx.open(&handle);
    let (result, wcc) = changing_directory(cx, &dir_handle, |dir| {
        let (file, name) = (file.as_ref().map_err(|s| *s)?, not_laid(dir, name?, Status::Exist)?);
        if !Arc::ptr_eq(&file.object.region, &dir.object.region) {
            return Err(Status::Xdev);
        }
        if file.object.stat()?.is_dir() {
            return Err(Status::IsDir);
        }
        dir.act()?;
        Ok(cx.unless_done(link_open_file(file, dir, &name), Errno::EXIST)?)
    });
    let attributes = file.and_then(|f| f.attributes()).ok();
    answer(out, result, |_, ()| (), |_| ());
    write_post_op(out, attributes.as_ref());
    wcc.write(out);
    Ok(())
}

/// `name`, unless the overlay holds it.
fn not_laid(dir: &Target, name: CString, otherwise: Status) -> Result<CString, Status> {
    if is_laid(dir, &name) { Err(otherwise) } else { Ok(name) }
}

fn link_open_file(file: &Target, dir: &Target, name: &CString) -> Result<(), Errno> {
    // Linking a descriptor directly wants a capability that only root has; /proc leads others there.
    if dir.identity.is_root() {
        let flags = AtFlags::EMPTY_PATH;
        return rustix::fs::linkat(file.object.fd(), c"", dir.object.fd(), name, flags);
    }
    let path = sys::proc_path(file.object.fd());
    rustix::fs::linkat(CWD, path, dir.object.fd(), name, AtFlags::SYMLINK_FOLLOW)
}
