//! The entry of fuzzers: any text as a node's chain, walked to its end.

use dawn_cluster::{Snapshot, col};

use crate::destiny::{StatusTime, next};
use crate::ondiscover;

/// Bytes of a chain that are looked at, and steps that are taken.
const BYTES_MAX: usize = 4096;
const STEPS_MAX: usize = 200;
/// The word for a chain that is over.
const LAST: [&str; 2] = ["standby", "boot"];

/// A step always leads to a state, the rest of a chain is never longer than the chain, and a chain that has
/// come to its last step stays there.
pub fn fuzz_chain(data: &[u8]) {
    let text = String::from_utf8_lossy(data.get(..BYTES_MAX).unwrap_or(data)).into_owned();
    let rows: [(&str, &[(&str, &str)]); 3] = [
        ("nodelist", &[("node", "cn1"), ("groups", "all")]),
        ("chain", &[("node", "all"), ("chain", &text)]),
        (
            "osimage",
            &[
                ("imagename", "img"),
                ("provmethod", "netboot"),
                ("osvers", "debian12"),
                ("osarch", "x86_64"),
                ("profile", "compute"),
            ],
        ),
    ];
    if let Ok(list) = ondiscover::commands(&text) {
        assert!(list.len() <= ondiscover::COMMANDS_MAX);
        assert!(list.iter().all(|one| !one.name.starts_with('-') && !one.name.contains(['/', ' '])));
    }
    let now = StatusTime("11-30-2026 12:00:00".to_owned());
    let mut snapshot = Snapshot::from_rows(rows);
    let mut left = text.len();
    for _ in 0..STEPS_MAX {
        let Ok(Some(moved)) = next(&snapshot, "cn1", &now) else { return };
        assert!(!moved.currstate.is_empty());
        let Ok(after) = snapshot.with(&moved.edits) else { return };
        let rest = after.attr("cn1", col::chain::CURRCHAIN).unwrap_or_default();
        assert!(rest.len() <= left || LAST.contains(&&*rest), "{rest:?} of {text:?}");
        left = rest.len().max(left.min(LAST.iter().map(|word| word.len()).max().unwrap_or(0)));
        snapshot = after;
    }
}

#[cfg(test)]
mod tests {
    use super::fuzz_chain;

    #[test]
    fn chains_of_all_kinds() {
        for text in
            ["", ",", "runcmd=bmcsetup,osimage=img;standby", "boot", "shell,,boot", "x", "osimage=", "é=,a"]
        {
            fuzz_chain(text.as_bytes());
        }
    }
}
