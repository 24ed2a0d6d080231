//! Conversations as text files: packets in and out, with the time stated, one file for each kind of client.
//!
//! Lines that begin with a word of the set-up or with `>` and `wait` are input; the runner plays them to the
//! engine and writes what follows below each: `<` an answer, `?` a probe, `+` a record for the journal, `!`
//! an event. The file must equal what the runner writes; `UPDATE_EXPECT=1 cargo test -p dawn-dhcp` rewrites
//! it, and the difference is read by a human. Each answer is also given to dhcproto's decoder, which must
//! accept it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use dawn_texts::{Text, texts};
use expect_test::expect_file;
use support::stage::Stage;

#[test]
fn conversations() {
    let texts = texts(env!("CARGO_MANIFEST_DIR"), "tests/conversations");
    assert!(texts.len() >= 20, "conversations are missing");
    for Text { path, name, text } in texts {
        let played = Stage::play(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        expect_file![path].assert_eq(&played);
    }
}
