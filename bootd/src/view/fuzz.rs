//! The entry for fuzzers: any text as a cell that gets into a node's boot script. Panics when the text adds a line, ends a
//! command or names a variable of iPXE, which is what a fuzzer looks for.

use super::{Answer, Surroundings, render};
use crate::address::LocalAddresses;
use crate::plan::Ports;
use dawn_cluster::Snapshot;

/// The row of an image for stateless nodes.
pub(super) const IMAGE: [(&str, &str); 5] = [
    ("imagename", "deb"),
    ("provmethod", "netboot"),
    ("osvers", "debian12"),
    ("osarch", "x86_64"),
    ("profile", "compute"),
];
/// What a script holds besides its `#!` line and its comment: nothing of a cell may add to these.
const OURS: [(&str, &str); 4] = [
    ("${next-server}", ""),
    ("${netX/mac:hexhyp}", ""),
    (" || goto failed\n", "\n"),
    (" || goto again\n", "\n"),
];
/// What begins a variable, ends a command, or begins a comment.
const BREAKS: [&str; 8] = ["${", "|", "&&", ";", " #", "\r", "\0", "\u{b}"];

/// A cell of any bytes: the first says which one it is.
pub fn fuzz_script(data: &[u8]) {
    if let Some((which, cell)) = data.split_first()
        && let Ok(cell) = std::str::from_utf8(cell)
    {
        cell_stays_inside(cell, *which);
    }
}

/// Renders the script of a node with this text among its kernel arguments, as its state or behind the word of its state,
/// and looks for what was not ours.
pub(super) fn cell_stays_inside(cell: &str, place: u8) {
    let (words, state) = match place % 3 {
        0 => (cell, "netboot a-b-c".to_owned()),
        1 => ("quiet", cell.to_owned()),
        _ => ("quiet", format!("netboot {cell}")),
    };
    let snapshot = Snapshot::from_rows([
        ("site", &[("key", "master"), ("value", "10.1.0.1")][..]),
        ("nodelist", &[("node", "cn2"), ("groups", "all")]),
        ("hosts", &[("node", "cn2"), ("ip", "10.1.0.6")]),
        ("bootparams", &[("node", "cn2"), ("addkcmdline", words)]),
        ("chain", &[("node", "cn2"), ("currstate", &state)]),
        ("nodetype", &[("node", "cn2"), ("provmethod", "deb")]),
        ("osimage", &IMAGE),
    ]);
    let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
    let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed: |_| None };
    let (script, lines) = match render(&snapshot, here, "xcat/xnba/nodes/cn2.uefi", [10, 1, 0, 6].into()) {
        Some(Answer::Explained { shown, .. }) => (shown, 6),
        Some(Answer::Text(text)) if text.contains("imgexec") => (text, 15),
        Some(Answer::Text(text)) => (text, 3),
        other => panic!("{other:?}"),
    };
    assert_eq!(script.lines().count(), lines, "{script}");
    let ours = OURS.iter().fold(script.clone(), |text, (piece, with)| text.replace(piece, with));
    let commands = ours.lines().skip(2).collect::<String>();
    let breaks = BREAKS.into_iter().find(|text| commands.contains(*text));
    assert_eq!(breaks, None, "{script}");
}
