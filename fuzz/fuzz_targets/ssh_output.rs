//! Output of a node in pieces of any size: the lines do not depend on the pieces, and nothing of them moves a
//! cursor. The first bytes say where the pieces end.
#![no_main]

use dawn_remote::lines::Lines;

fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let (mut lines, mut text) = (Lines::default(), String::new());
    pieces.for_each(|piece| lines.push(piece, &mut text));
    lines.finish(&mut text);
    text
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (sizes, bytes) = data.split_at(data.len().min(8));
    let whole = cut(std::iter::once(bytes));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(rest.len().min(usize::from(*size) + 1));
        pieces.push(piece);
        rest = later;
    }
    assert_eq!(cut(pieces.into_iter()), whole);
    assert!(whole.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
    assert!(whole.is_empty() || whole.ends_with('\n'));
});
