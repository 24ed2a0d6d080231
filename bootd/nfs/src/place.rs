//! Finding objects by name: in the real tree, and in the overlay.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cred::{self, Identity};
use crate::cx::{Cx, Target, open_stand_in};
use crate::handle::{FileHandle, Kind};
use crate::layers::{Layer, Layers, SYNTHETIC_REGION};
use crate::nfs3::Status;
use crate::objects::Object;
use crate::observe::Event;
use crate::overlay::OverlayKind;
use crate::region::Region;
use crate::sys::{self, Stat};
use crate::tree::Tree;

/// The child `name` of `dir`, as the caller may see it.
pub(crate) fn find(cx: &Cx<'_>, dir: &Target, name: &CStr) -> Result<Target, Status> {
    Ok(find_in(cx, dir, &dir.object.stat()?, name)?.0)
}

/// [`find`] for callers that have the directory's attributes already; returns the child's too, if they were
/// read on the way.
pub(crate) fn find_in(cx: &Cx<'_>, dir: &Target, stat: &Stat, name: &CStr) -> Result<Found, Status> {
    if !stat.is_dir() {
        return Err(Status::NotDir);
    }
    match name.to_bytes() {
        b"." => return Ok((dir.clone(), None)),
        b".." => return Ok((parent(cx, dir, stat)?, None)),
        _ => (),
    }
    let tree = dir.tree.clone();
    match layer_named(&tree, dir, stat, name) {
        Some((layers, layer)) => Ok((laid(cx, dir, layers, layer, name)?, None)),
        None => real_child(cx, dir, stat, name),
    }
}

/// A child, and its attributes if they are known.
pub(crate) type Found = (Target, Option<Stat>);

/// The overlay's child `name` of `dir`, if it has one.
pub(crate) fn layer_named<'a>(
    tree: &'a Tree,
    dir: &Target,
    stat: &Stat,
    name: &CStr,
) -> Option<(&'a Layers, &'a Layer)> {
    let (layers, parent) = tree.layer_of(&dir.object, stat)?;
    Some((layers, layers.child(parent, name.to_bytes())?))
}

/// Whether `name` in `dir` belongs to the overlay, so that it can be neither made nor removed.
pub(crate) fn is_laid(dir: &Target, name: &CStr) -> bool {
    let tree = dir.tree.clone();
    dir.object.stat().is_ok_and(|stat| layer_named(&tree, dir, &stat, name).is_some())
}

/// The object at `path` below the root of the export, every name looked up as `identity` would.
pub(crate) fn walk(cx: &Cx<'_>, tree: Arc<Tree>, identity: Identity, path: &Path) -> Result<Target, Status> {
    cred::as_server()?;
    let base = tree.base.clone();
    let object = take(cx, &base, base.open_root()?, base.uses_paths().then(PathBuf::new))?;
    path.iter().try_fold(Target { object, tree, identity }, |dir, name| {
        let name = CString::new(name.as_bytes()).map_err(|_| Status::Inval)?;
        find(cx, &dir, &name)
    })
}

/// The root of `region`, as seen by `like`'s caller.
fn root_of(cx: &Cx<'_>, like: &Target, region: &Arc<Region>) -> Result<Target, Status> {
    cred::as_server()?;
    let fd = region.open_root()?;
    let path = region.uses_paths().then(PathBuf::new);
    Ok(like.sibling(take(cx, region, fd, path)?))
}

/// Makes a descriptor of `region` an object, or takes the one that is open already.
fn take(
    cx: &Cx<'_>,
    region: &Arc<Region>,
    fd: OwnedFd,
    path: Option<PathBuf>,
) -> Result<Arc<Object>, Status> {
    let stat = sys::stat(fd.as_fd(), c"")?;
    let handle = own_handle(cx, region, fd.as_fd(), path.as_deref(), &stat)?;
    let known = cx.state.objects.get(&handle).filter(|o| Arc::ptr_eq(&o.region, region));
    let fresh = || cx.adopt(Object::new(handle, region.clone(), path, None, fd));
    Ok(known.unwrap_or_else(fresh))
}

fn real_child(cx: &Cx<'_>, dir: &Target, dir_stat: &Stat, name: &CStr) -> Result<Found, Status> {
    dir.act_to_look(dir_stat)?;
    let region = &dir.object.region;
    let stat = sys::stat(dir.object.fd(), name)?;
    if stat.mount != region.root_stat.mount {
        // A mount point: what is behind it belongs to no export.
        return Err(Status::Access);
    }
    let path = dir.object.path_of(name);
    let seen = cx.state.known.settled(region, &stat);
    let handle = match &seen {
        Some(seen) => cx.state.known.get(seen),
        None => Some(region.handle(&cx.state.key, dir.object.fd(), name, path.as_deref(), &stat)?),
    };
    let open = handle.and_then(|handle| cx.state.objects.get(&handle));
    if let Some(known) = open.filter(|o| Arc::ptr_eq(&o.region, region)) {
        return Ok((dir.sibling(known), Some(stat)));
    }
    // The name may lead elsewhere by now; the opened file counts.
    let fd = sys::open_beneath(dir.object.fd(), name)?;
    Ok((dir.sibling(take(cx, region, fd, path)?), None))
}

/// What the overlay shows as `name`.
pub(crate) fn laid(
    cx: &Cx<'_>,
    dir: &Target,
    layers: &Layers,
    layer: &Layer,
    name: &CStr,
) -> Result<Target, Status> {
    if !dir.identity.is_root() {
        dir.act()?;
        sys::access(dir.object.fd(), libc::X_OK)?;
    }
    if layer.is_region() {
        match cx.region_of(&dir.tree, layers, layer) {
            Ok(region) => return root_of(cx, dir, &region),
            // It is being made: showing the tree's file instead would mislead the node.
            Err(errno) if Status::from(errno) == Status::Jukebox => return Err(Status::Jukebox),
            // A source was removed; the next look at the sources decides what is shown instead.
            Err(rustix::io::Errno::NOENT) if matches!(layer.what, Some(OverlayKind::Substitute { .. })) => {}
            Err(errno) => cx.event(Event::OverlayProblem {
                export: dir.object.region.export,
                path: layer.path.display().to_string(),
                reason: errno.to_string(),
            }),
        }
        // The node's own file cannot be reached; showing old defaults instead would mislead the node.
        if matches!(layer.what, Some(OverlayKind::OnFirstUse { .. })) {
            return Err(Status::Io);
        }
        return Ok(real_child(cx, dir, &dir.object.stat()?, name)?.0);
    }
    let real = if dir.object.synthetic.is_some() {
        Err(Status::NoEnt)
    } else {
        real_child(cx, dir, &dir.object.stat()?, name)
    };
    match real {
        Ok((real, _)) => {
            let stat = real.object.stat()?;
            // A link is not a mount point: it would lead the mount elsewhere.
            if stat.is_dir() != layer.is_dir() || stat.is_symlink() {
                return synthetic(cx, dir, layers, layer);
            }
            layers.note_directory(real.object.region.id, &stat, layer);
            Ok(real)
        }
        Err(Status::NoEnt) => synthetic(cx, dir, layers, layer),
        Err(other) => Err(other),
    }
}

fn synthetic(cx: &Cx<'_>, dir: &Target, layers: &Layers, layer: &Layer) -> Result<Target, Status> {
    let export = dir.object.region.export;
    let id = layer.id.to_be_bytes();
    let handle = FileHandle::seal(&cx.state.key, export, SYNTHETIC_REGION, Kind::Synthetic, &id)
        .ok_or(Status::ServerFault)?;
    let known = cx.state.objects.get(&handle).filter(|o| Arc::ptr_eq(&o.region, &layers.stand_ins));
    let object = known.map_or_else(|| open_stand_in(handle, layers, layer).map(|o| cx.adopt(o)), Ok)?;
    Ok(dir.sibling(object))
}

fn parent(cx: &Cx<'_>, dir: &Target, dir_stat: &Stat) -> Result<Target, Status> {
    let region = &dir.object.region;
    let layers = dir.tree.layers.as_ref();
    let layer = match dir.object.synthetic {
        Some(id) => layers.and_then(|l| l.of_id(id)),
        None if region.is_root(dir_stat) => match layers.and_then(|l| l.of_region(region.id)) {
            Some(layer) => Some(layer),
            None => return Ok(dir.clone()),
        },
        None => None,
    };
    if let Some(layer) = layer {
        let above = layer.path.parent().unwrap_or(Path::new(""));
        return walk(cx, dir.tree.clone(), dir.identity, above);
    }
    dir.act()?;
    sys::access(dir.object.fd(), libc::X_OK)?;
    cred::as_server()?;
    let fd = region.parent(dir.object.fd(), dir_stat)?;
    let path = dir.object.path.as_ref().map(|p| p.parent().map(Into::into).unwrap_or_default());
    Ok(dir.sibling(take(cx, region, fd, path)?))
}

/// The handle of what `fd` is, kept for later if it may be. `stat` is the descriptor's.
fn own_handle(
    cx: &Cx<'_>,
    region: &Region,
    fd: BorrowedFd<'_>,
    path: Option<&Path>,
    stat: &Stat,
) -> Result<FileHandle, Status> {
    let seen = cx.state.known.settled(region, stat);
    if let Some(known) = seen.as_ref().and_then(|seen| cx.state.known.get(seen)) {
        return Ok(known);
    }
    let handle = region.handle(&cx.state.key, fd, c"", path, stat)?;
    seen.into_iter().for_each(|seen| cx.state.known.keep(seen, handle));
    Ok(handle)
}

/// Handle and attributes of `name` in the directory `dir`, for a listing.
pub(crate) fn entry(cx: &Cx<'_>, dir: &Object, name: &CStr) -> Result<(FileHandle, Stat), Status> {
    let region = &dir.region;
    let stat = sys::stat(dir.fd(), name)?;
    if stat.mount != region.root_stat.mount {
        return Err(Status::Access);
    }
    let Some(seen) = cx.state.known.settled(region, &stat) else {
        let path = dir.path_of(name);
        return Ok((region.handle(&cx.state.key, dir.fd(), name, path.as_deref(), &stat)?, stat));
    };
    if let Some(handle) = cx.state.known.get(&seen) {
        return Ok((handle, stat));
    }
    let fd = sys::open_beneath(dir.fd(), name)?;
    let stat = sys::stat(fd.as_fd(), c"")?;
    Ok((own_handle(cx, region, fd.as_fd(), None, &stat)?, stat))
}

/// The handle `name` has below `dir` now, to forget it once the name is gone.
pub(crate) fn handle_of(cx: &Cx<'_>, dir: &Target, name: &CStr) -> Option<FileHandle> {
    let stat = sys::stat(dir.object.fd(), name).ok()?;
    let path = dir.object.path_of(name);
    dir.object.region.handle(&cx.state.key, dir.object.fd(), name, path.as_deref(), &stat).ok()
}

/// Whether a layer would have to be made to be looked at.
pub(crate) fn is_unmade(layer: &Layer) -> bool {
    matches!(layer.what, Some(OverlayKind::OnFirstUse { .. })) && layer.opened().is_none()
}
