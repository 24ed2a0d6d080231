//! Entry points for the fuzzer: any bytes must be taken without a panic.

use dawn_serving::FileStamp;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_heads_are_taken() {
        let pieces: [&[u8]; 12] = [
            b"GET /a HTTP/1.1\r\nHost: x\r\n",
            b"HEAD http://x/%41?q HTTP/1.0\r\n",
            b"Range: bytes=",
            b"0-",
            b"-18446744073709551615",
            b"18446744073709551615-18446744073709551615",
            b"\r\n",
            b"If-None-Match: \"\"\r\n",
            b"If-Range: \"x\"\r\n",
            b"If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
            b"<a href='\">",
            b"\xff\0:",
        ];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut input = Vec::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pick = usize::try_from(state >> 40).unwrap() % pieces.len();
                input.extend_from_slice(pieces[pick]);
            }
            fuzz_head(&input);
            fuzz_head(&[b"GET / HTTP/1.1\r\nHost: x\r\n", input.as_slice(), b"\r\n\r\n"].concat());
            fuzz_escape(&input);
        }
    }
}
