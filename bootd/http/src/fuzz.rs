//! Entry points for the fuzzer: any bytes must be taken without a panic.

use dawn_tftp::source::FileStamp;

use crate::conditions::{Part, Version, decide};
use crate::head::Head;
use crate::listing;

/// Reads a request head and decides conditions and ranges for it.
pub fn fuzz_head(data: &[u8]) {
    let Ok(Some((head, length))) = Head::parse(data) else { return };
    assert!(length <= data.len());
    let stamp = FileStamp {
        device: 1,
        inode: 2,
        size: 1000,
        mtime_s: 1_700_000_000,
        mtime_ns: 5,
        ctime_s: 1_700_000_000,
        ctime_ns: 5,
    };
    let version = Version::of_file(&stamp);
    for size in [0, 1, 1000, u64::MAX] {
        if let Part::Range { start, end } = decide(&head, &version, size) {
            assert!(start < end && end <= size);
        }
    }
}

/// Escapes a name for a page and a link.
pub fn fuzz_escape(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert!(!listing::escape_html(&text).contains(['<', '>', '"']));
    assert!(listing::escape_url(&text).bytes().all(|b| b > b' ' && b < 0x7f && b != b'"'));
}
