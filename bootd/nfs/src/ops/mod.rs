//! The procedures of NFS version 3 (RFC 1813 §3.3), one family a file.
//!
//! Each procedure decodes all its arguments, then opens its objects, then acts as the caller. Results are
//! written in the order of the RFC; a failure writes its status and the attributes the RFC wants with it.

mod data;
mod info;
mod list;
mod look;
mod make;
mod names;
mod set;

use std::ffi::CString;

use crate::cx::{Cx, Decoded, Target};
use crate::handle::FileHandle;
use crate::nfs3::{Attributes, NAME_BYTES_MAX, NAME_BYTES_MAX_WIRE, Status, read_handle, write_wcc};
use crate::rpc::Refused;
use crate::xdr::{Reader, Writer};

/// Carries out procedure `number`.
pub(crate) fn run(cx: &Cx<'_>, number: u32, args: &mut Reader<'_>, out: &mut Writer) -> Result<(), Refused> {
    let procedure = match number {
        0 => return Ok(()),
        1 => look::getattr,
        2 => set::setattr,
        3 => look::lookup,
        4 => look::access,
        5 => look::readlink,
        6 => data::read,
        7 => data::write,
        8 => make::create,
        9 => make::mkdir,
        10 => make::symlink,
        11 => make::mknod,
        12 => names::remove,
        13 => names::rmdir,
        14 => names::rename,
        15 => names::link,
        16 => list::readdir,
        17 => list::readdirplus,
        18 => info::fsstat,
        19 => info::fsinfo,
        20 => info::pathconf,
        21 => data::commit,
        _ => return Err(Refused::ProcedureUnavailable),
    };
    procedure(cx, args, out).map_err(|_| Refused::GarbageArguments)
}

/// Whether carrying the procedure out twice differs from once. WRITE is not among them: the same bytes at
/// the same place.
pub(crate) fn is_once_only(number: u32) -> bool {
    matches!(number, 2 | 8..=15)
}

/// [`is_once_only`] of the call in `record`.
pub(crate) fn is_call_once_only(record: &[u8]) -> bool {
    word(record, 12) == Some(crate::nfs3::PROGRAM) && word(record, 20).is_some_and(is_once_only)
}

/// The handles that a procedure has among its arguments, at most two; fewer if they cannot be decoded.
pub(crate) fn handles(number: u32, mut args: Reader<'_>) -> impl Iterator<Item = FileHandle> {
    let first = if number == 0 { None } else { read_handle(&mut args).ok() };
    let second = match number {
        // RENAME has a name between the two directories.
        14 => read_name(&mut args).ok().and_then(|_| read_handle(&mut args).ok()),
        15 => read_handle(&mut args).ok(),
        _ => None,
    };
    second.into_iter().chain(first)
}

/// A file name argument: well-formed XDR, but perhaps no acceptable name.
fn read_name(r: &mut Reader<'_>) -> Decoded<Result<CString, Status>> {
    let bytes = r.opaque(NAME_BYTES_MAX_WIRE)?;
    Ok(if bytes.len() > NAME_BYTES_MAX {
        Err(Status::NameTooLong)
    } else if bytes.is_empty() || bytes.contains(&b'/') {
        Err(Status::Access)
    } else {
        CString::new(bytes).map_err(|_| Status::Inval)
    })
}

/// `name`, unless it is `.` or `..`, which always exist and cannot be made or removed.
fn proper(name: Result<CString, Status>, otherwise: Status) -> Result<CString, Status> {
    name.and_then(|n| if matches!(n.as_bytes(), b"." | b"..") { Err(otherwise) } else { Ok(n) })
}

/// Writes a status and, for success, the results.
fn answer<T>(
    out: &mut Writer,
    result: Result<T, Status>,
    ok: impl FnOnce(&mut Writer, T),
    failed: impl FnOnce(&mut Writer),
) {
    match result {
        Ok(value) => {
            out.u32(0);
            ok(out, value);
        }
        Err(status) => {
            out.u32(status.code());
            failed(out);
        }
    }
}

/// Attributes before and after a change, for the client's cache.
#[derive(Debug, Default)]
struct Wcc {
    before: Option<Attributes>,
    after: Option<Attributes>,
}

impl Wcc {
    fn write(&self, out: &mut Writer) {
        write_wcc(out, self.before.as_ref(), self.after.as_ref());
    }
}

/// Changes an object: read-only regions refuse, the change and the attributes around it are one step
/// towards other changes through this server, and the thread acts as the caller during `change`.
fn changing<T>(
    cx: &Cx<'_>,
    handle: &FileHandle,
    change: impl FnOnce(&Target, &Attributes) -> Result<T, Status>,
) -> (Result<T, Status>, Wcc) {
    let opened = cx.open(handle).and_then(|t| Ok((t.object.stat()?, t)));
    let (stat, target) = match opened {
        Ok(opened) => opened,
        Err(status) => return (Err(status), Wcc::default()),
    };
    let _held = cx.state.change_lock(&stat);
    let before = target.attributes();
    let result = before.and_then(|before| {
        target.changeable()?;
        target.act()?;
        change(&target, &before)
    });
    (result, Wcc { before: before.ok(), after: target.attributes().ok() })
}

/// [`changing`] for directories.
fn changing_directory<T>(
    cx: &Cx<'_>,
    handle: &FileHandle,
    change: impl FnOnce(&Target) -> Result<T, Status>,
) -> (Result<T, Status>, Wcc) {
    changing(cx, handle, |target, before| match before.stat.is_dir() {
        true => change(target),
        false => Err(Status::NotDir),
    })
}

/// Whether the call in `record` is likely to wait for a disk, judged by its procedure and size alone. SETATTR
/// waits as seldom as GETATTR: the journal takes it in memory.
pub(crate) fn may_wait(record: &[u8]) -> bool {
    if word(record, 12) != Some(crate::nfs3::PROGRAM) {
        return true;
    }
    match word(record, 20) {
        Some(6) => record.last_chunk().is_some_and(|count| u32::from_be_bytes(*count) >= LARGE_READ_BYTES),
        Some(0..=5 | 18..=20) => false,
        _ => true,
    }
}

/// Most bytes of memory that the reply to a call takes whose data cannot stay in a file: what READ, READDIR
/// and READDIRPLUS ask for is their last word (RFC 1813 §3.3.6, §3.3.16, §3.3.17), other replies are small.
pub(crate) fn reply_bytes_max(record: &[u8]) -> usize {
    let asked = match (word(record, 12), word(record, 20)) {
        (Some(crate::nfs3::PROGRAM), Some(6 | 16 | 17)) => {
            record.last_chunk().map(|count| u32::from_be_bytes(*count))
        }
        _ => None,
    };
    SMALL_REPLY_BYTES_MAX
        + asked.map_or(0, |count| usize::try_from(count.min(crate::nfs3::IO_BYTES_MAX)).unwrap_or(0))
}

/// Heads and attributes of replies, and links.
const SMALL_REPLY_BYTES_MAX: usize = 4 << 10;

/// The word at a place of a call's header (RFC 5531 §9): the program at 12, the procedure at 20.
fn word(record: &[u8], at: usize) -> Option<u32> {
    record.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Reads from this size on are given a worker each.
const LARGE_READ_BYTES: u32 = 64 << 10;
