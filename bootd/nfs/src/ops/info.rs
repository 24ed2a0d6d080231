//! FSSTAT, FSINFO, PATHCONF: what the file system is like.

use super::answer;
use crate::cx::{Cx, Decoded};
use crate::nfs3::{NAME_BYTES_MAX, read_handle, write_post_op};
use crate::xdr::{Reader, Writer};

/// Sizes of requests are best a multiple of this many bytes.
const IO_MULTIPLE_BYTES: u32 = 4096;
/// Preferred size of a directory listing, in bytes.
const LISTING_BYTES: u32 = 64 << 10;
/// FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME.
const PROPERTIES: u32 = 0x01 | 0x02 | 0x08 | 0x10;
/// Most hard links to one file, the limit of ext4; others have more.
const LINKS_MAX: u32 = 65_000;

pub(super) fn fsstat(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let space = cx.open(&handle).and_then(|t| Ok((t.attributes()?, t.object.region.space()?)));
    answer(
        out,
        space,
        |out, (attributes, s)| {
            write_post_op(out, Some(&attributes));
            for blocks in [s.f_blocks, s.f_bfree, s.f_bavail] {
                out.u64(blocks.saturating_mul(s.f_frsize));
            }
            for files in [s.f_files, s.f_ffree, s.f_favail] {
                out.u64(files);
            }
            out.u32(0); // may change at any time
        },
        |out| write_post_op(out, None),
    );
    Ok(())
}

pub(super) fn fsinfo(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let io_bytes_max = cx.session.io_bytes_max();
    let attributes = cx.open(&handle).and_then(|t| t.attributes());
    answer(
        out,
        attributes,
        |out, attributes| {
            write_post_op(out, Some(&attributes));
            for _ in ["read", "write"] {
                out.u32(io_bytes_max);
                out.u32(io_bytes_max);
                out.u32(IO_MULTIPLE_BYTES);
            }
            out.u32(LISTING_BYTES.min(io_bytes_max));
            out.u64(i64::MAX.unsigned_abs());
            out.u32(0);
            out.u32(1); // times are exact to the nanosecond
            out.u32(PROPERTIES);
        },
        |out| write_post_op(out, None),
    );
    Ok(())
}

pub(super) fn pathconf(cx: &Cx<'_>, args: &mut Reader<'_>, out: &mut Writer) -> Decoded {
    let handle = read_handle(args)?;
    let attributes = cx.open(&handle).and_then(|t| t.attributes());
    answer(
        out,
        attributes,
        |out, attributes| {
            write_post_op(out, Some(&attributes));
            out.u32(LINKS_MAX);
            out.u32(u32::try_from(NAME_BYTES_MAX).unwrap_or(255));
            for yes_or_no in [true, true, false, true] {
                out.bool(yes_or_no); // no_trunc, chown_restricted, case_insensitive, case_preserving
            }
        },
        |out| write_post_op(out, None),
    );
    Ok(())
}
