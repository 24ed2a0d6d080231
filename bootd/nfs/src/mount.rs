//! The MOUNT protocol, versions 3 and 1 (RFC 1813 appendix I, RFC 1094 appendix A).
//!
//! A mount path is virtual: it is matched by [`crate::Exports::mount`], never looked up in the server's
//! own tree. Version 1 differs in its handles of exactly 32 bytes only; a handle that does not fit is
//! refused. The list of mounts is a courtesy for `showmount`, bounded, and forgotten at a restart.

use std::path::Component;

use crate::cred::Identity;
use crate::cx::{Cx, Decoded};
use crate::export::Mounted;
use crate::handle::FileHandle;
use crate::mount_list::LISTED_MAX;
use crate::nfs3::Status;
use crate::observe::{Event, client_ip};
use crate::place;
use crate::rpc::Refused;
use crate::xdr::{Reader, Writer};

/// Program number of MOUNT.
pub(crate) const PROGRAM: u32 = 100_005;
/// Most bytes of a mount path (MNTPATHLEN).
pub(crate) const PATH_BYTES_MAX: usize = 1024;
/// Bytes of a version 1 handle.
const V1_HANDLE_BYTES: usize = 32;
const AUTH_SYS: u32 = 1;
/// Procedure that gives a handle.
const MNT: u32 = 1;
/// Procedure that lists what may be mounted.
pub(crate) const EXPORT: u32 = 5;

/// The path that a call asks to mount.
pub(crate) fn path(number: u32, mut args: Reader<'_>) -> Option<String> {
    let asked = args.opaque(PATH_BYTES_MAX).ok().filter(|_| number == MNT)?;
    normal(asked)
}

/// Carries out procedure `number`.
pub(crate) fn run(
    cx: &Cx<'_>,
    version: u32,
    number: u32,
    args: &mut Reader<'_>,
    out: &mut Writer,
) -> Result<(), Refused> {
    let done = match number {
        0 => Ok(()),
        MNT => mount(cx, version, args, out),
        2 => dump(cx, out),
        3 => unmount(cx, args),
        4 => {
            let client = client_ip(cx.session.client);
            cx.state.mounts.change(|mounts| mounts.retain(|(c, _)| *c != client));
            Ok(())
        }
        EXPORT => exports(cx, out),
        _ => return Err(Refused::ProcedureUnavailable),
    };
    done.map_err(|_| Refused::GarbageArguments)
}

fn mount(cx: &Cx<'_>, version: u32, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let asked = args.opaque(PATH_BYTES_MAX)?;
    let path = String::from_utf8_lossy(asked).into_owned();
    let result = normal(asked).ok_or(Status::Inval).and_then(|path| resolve(cx, &path));
    match result {
        Ok(handle) if version == 3 => {
            out.u32(0);
            out.opaque(handle.as_bytes());
            out.u32(1);
            out.u32(AUTH_SYS);
        }
        Ok(handle) if handle.as_bytes().len() == V1_HANDLE_BYTES => {
            out.u32(0);
            out.fixed(handle.as_bytes());
        }
        Ok(_) => out.u32(Status::Access.code()),
        Err(status) => {
            out.u32(mount_status(status).code());
            // Of a refusal the reason was reported.
            if !matches!(status, Status::Access | Status::Jukebox) {
                cx.event(Event::MountRefused { path, reason: format!("{status:?}") });
            }
        }
    }
    Ok(())
}

/// The nearest status that MOUNT has (RFC 1813 §5.1.5).
fn mount_status(status: Status) -> Status {
    use Status::{Access, Inval, Io, NameTooLong, NoEnt, NotDir, NotSupp, Perm, ServerFault};
    match status {
        Perm | NoEnt | Io | Access | NotDir | Inval | NameTooLong | NotSupp => status,
        _ => ServerFault,
    }
}

/// An absolute path without doubled slashes; none if it has `.` or `..` or is not text.
fn normal(asked: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(asked).ok()?.trim_end_matches('\0');
    if !text.starts_with('/') || text.contains('\0') {
        return None;
    }
    let parts: Vec<&str> = text.split('/').filter(|p| !p.is_empty()).collect();
    if parts.iter().any(|p| matches!(*p, "." | "..")) {
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

fn resolve(cx: &Cx<'_>, path: &str) -> Result<FileHandle, Status> {
    let client = client_ip(cx.session.client);
    let mounted = cx.state.exports.mount(client, path).map_err(|why| {
        cx.event(Event::MountRefused { path: path.to_owned(), reason: why.reason().to_owned() });
        why.status()
    })?;
    cx.identity(&mounted.export)?;
    let handle = directory(cx, &mounted)?;
    cx.state.mounts.add(client, path);
    cx.event(Event::Mounted { path: path.to_owned(), export: mounted.export.id });
    Ok(handle)
}

fn directory(cx: &Cx<'_>, mounted: &Mounted) -> Result<FileHandle, Status> {
    if !mounted.subdir.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(Status::Inval);
    }
    let tree = cx.admit(mounted.export.clone())?;
    let directory = place::walk(cx, tree, Identity::root(), &mounted.subdir)?;
    match directory.object.stat()?.is_dir() {
        true => Ok(directory.object.handle),
        false => Err(Status::NotDir),
    }
}

fn dump(cx: &Cx<'_>, out: &mut Writer) -> Decoded {
    let client = client_ip(cx.session.client);
    // Only the asker's own mounts: other clients are not shown.
    cx.state.mounts.change(|mounts| {
        for (host, path) in mounts.iter().filter(|(c, _)| *c == client) {
            out.bool(true);
            out.opaque(host.to_string().as_bytes());
            out.opaque(path.as_bytes());
        }
    });
    out.bool(false);
    Ok(())
}

fn unmount(cx: &Cx<'_>, args: &mut Reader<'_>) -> Decoded {
    let path = String::from_utf8_lossy(args.opaque(PATH_BYTES_MAX)?).into_owned();
    let client = client_ip(cx.session.client);
    cx.state.mounts.change(|mounts| mounts.retain(|(c, p)| (*c, p) != (client, &path)));
    cx.event(Event::Unmounted { path });
    Ok(())
}

fn exports(cx: &Cx<'_>, out: &mut Writer) -> Decoded {
    for listed in cx.state.exports.list(client_ip(cx.session.client)).iter().take(LISTED_MAX) {
        out.bool(true);
        out.opaque(listed.path.as_bytes());
        for group in &listed.groups {
            out.bool(true);
            out.opaque(group.as_bytes());
        }
        out.bool(false);
    }
    out.bool(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn mount_paths() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"/install/a", Some("/install/a")),
            (b"//install///a//", Some("/install/a")),
            (b"/", Some("/")),
            (b"install", None),
            (b"", None),
            (b"/a/../b", None),
            (b"/a/./b", None),
            (b"/a\0b", None),
            (b"/\xff", None),
        ];
        for (asked, want) in cases {
            assert_eq!(normal(asked).as_deref(), *want, "{asked:?}");
        }
    }
}
