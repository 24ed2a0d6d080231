//! The entry for fuzzers: any text as a cell or a name that gets into a node's boot files. Panics when the
//! text adds a line, ends a command or names a variable of a loader, which is what a fuzzer looks for.

use super::{Answer, Surroundings, render};
use crate::address::LocalAddresses;
use crate::surroundings::{PackedRoots, Ports};
use dawn_cluster::Snapshot;

/// The row of an image for stateless nodes.
pub(super) const IMAGE: [(&str, &str); 5] = [
    ("imagename", "deb"),
    ("provmethod", "netboot"),
    ("osvers", "debian12"),
    ("osarch", "x86_64"),
    ("profile", "compute"),
];

/// The form of a loader's file for any content of the cells.
struct Loader {
    /// Path below the TFTP root; `NODE` is replaced by the node's name.
    path: &'static str,
    /// Lines of the file: for a kernel, for the local disk, and for an explanation.
    lines: [usize; 3],
    /// What our own text has of [`Loader::breaks`]; nothing of a cell may add to it.
    ours: &'static [(&'static str, &'static str)],
    /// What begins a variable, a string or a comment, or ends a command.
    breaks: &'static [&'static str],
}

const LOADERS: [Loader; 6] = [
    Loader { path: "xcat/xnba/nodes/NODE", lines: [15, 3, 6], ours: OF_IPXE, breaks: BREAKS_IPXE },
    Loader { path: "xcat/xnba/nodes/NODE.uefi", lines: [15, 3, 6], ours: OF_IPXE, breaks: BREAKS_IPXE },
    Loader {
        path: "boot/grub2/NODE",
        lines: [10, 2, 0],
        ours: &[
            ("set default=\"xCAT OS Deployment\"", ""),
            ("menuentry \"xCAT OS Deployment\" {", ""),
            ("BOOTIF=01-$net_default_mac", ""),
            ("\n}", ""),
            // A letter in its place: what follows does not begin a word.
            ("\\$", "x"),
            ("\\&", "x"),
            ("\\;", "x"),
        ],
        breaks: &["$", "&", "|", ";", "{", "}", "<", ">", "\"", "'", "\\", "`", " #", "\r", "\0"],
    },
    Loader { path: "pxelinux.cfg/NODE", lines: [6, 4, 0], ours: &[], breaks: &[" #", "\r", "\0"] },
    Loader {
        path: "xcat/xnba/nodes/NODE.elilo",
        lines: [8, 1, 0],
        ours: &[("\"xCAT\"", ""), ("append=\"", ""), ("BOOTIF=%B\"", "")],
        breaks: &["\"", " #", "\r", "\0"],
    },
    Loader {
        path: "petitboot/NODE",
        lines: [6, 1, 0],
        ours: &[("append \"", ""), ("\"\n", "\n")],
        breaks: &["\"", " #", "\r", "\0"],
    },
];

const OF_IPXE: &[(&str, &str)] = &[
    ("${next-server}", ""),
    ("${netX/mac:hexhyp}", ""),
    (" ds=nocloud-net;s=http", " "),
    (" || goto failed\n", "\n"),
    (" || goto again\n", "\n"),
];
const BREAKS_IPXE: &[&str] = &["${", "|", "&&", ";", " #", "\r", "\0", "\u{b}"];

/// Rows that a cell is tried in: table, key column, column. The key is the node, or the image.
const CELLS: [(&str, &str, &str); 15] = [
    ("bootparams", "node", "addkcmdline"),
    ("noderes", "node", "xcatmaster"),
    ("noderes", "node", "nfsserver"),
    ("noderes", "node", "tftpserver"),
    ("noderes", "node", "installnic"),
    ("nodehm", "node", "serialport"),
    ("nodehm", "node", "serialspeed"),
    ("statelite", "node", "statemnt"),
    ("statelite", "node", "mntopts"),
    ("linuximage", "imagename", "rootimgdir"),
    ("linuximage", "imagename", "addkcmdline"),
    ("linuximage", "imagename", "rootfstype"),
    ("linuximage", "imagename", "pkgdir"),
    ("site", "key", "installdir"),
    ("site", "key", "value"),
];
/// Places of a text: each of [`CELLS`]; the node's state, and what follows its first word; the names of image
/// and node.
pub(super) const PLACES: u8 = 19;

/// A cell of any bytes: the first says which one it is.
pub fn fuzz_script(data: &[u8]) {
    if let Some((which, cell)) = data.split_first()
        && let Ok(cell) = std::str::from_utf8(cell)
    {
        cell_stays_inside(cell, *which);
    }
}

/// Kinds of nodes: the first word of the state, and the system of the image.
const KINDS: [(&str, &str); 6] = [
    ("netboot", "debian12"),
    ("statelite", "debian12"),
    ("install", "debian12"),
    ("install", "rhels9.4"),
    ("install", "sles15.5"),
    ("install", "ubuntu22.04"),
];

/// Renders every boot file of a node of each kind with this text in one place, and looks for
/// what was not ours.
pub(super) fn cell_stays_inside(text: &str, place: u8) {
    for (kind, osvers) in KINDS {
        let (mut state, mut image, mut node) = (format!("{kind} a-b-c"), "deb", "cn2");
        let mut cell = None;
        match usize::from(place % PLACES) {
            at if at < CELLS.len() => cell = CELLS.get(at),
            15 => text.clone_into(&mut state),
            16 => state = format!("{kind} {text}"),
            17 => image = text,
            _ => node = text,
        }
        let installdir = cell.is_some_and(|(_, _, column)| *column == "installdir");
        let site_key = if installdir { "installdir" } else { "useflowcontrol" };
        let site = [("key", site_key), ("value", text)];
        let (table, key, column) = cell.copied().unwrap_or(("bootparams", "node", "kcmdline"));
        let keyed = [(key, if key == "imagename" { image } else { node }), (column, text)];
        let snapshot = Snapshot::from_rows([
            (table, if key == "key" { &site[..] } else { &keyed[..] }),
            ("site", &[("key", "master"), ("value", "10.1.0.1")]),
            ("nodelist", &[("node", node), ("groups", "all")]),
            ("hosts", &[("node", node), ("ip", "10.1.0.6")]),
            ("chain", &[("node", node), ("currstate", &state)]),
            ("nodetype", &[("node", node), ("provmethod", image)]),
            (
                "osimage",
                &IMAGE.map(|(column, value)| match column {
                    "imagename" => (column, image),
                    "osvers" => (column, osvers),
                    "provmethod" => (column, kind),
                    _ => (column, value),
                }),
            ),
        ]);
        LOADERS.iter().for_each(|loader| loader.check(&snapshot, node));
    }
}

impl Loader {
    fn check(&self, snapshot: &Snapshot, node: &str) {
        let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
        let here = Surroundings {
            addresses: &addresses,
            ports: Ports::default(),
            packed: &PackedRoots::default(),
            proof: None,
        };
        let [kernel, disk, explanation] = self.lines;
        let path = self.path.replace("NODE", node);
        let (script, lines) = match render(snapshot, here, &path, [10, 1, 0, 6].into()) {
            Some(Answer::Explained { shown, .. }) => (shown, [explanation, explanation]),
            Some(Answer::Text(text)) => (text, [kernel, disk]),
            // No script, or a name that makes another path of it.
            _ => return,
        };
        assert!(lines.contains(&script.lines().count()), "{path:?}: {script}");
        let ours = self.ours.iter().fold(script.clone(), |text, (piece, with)| text.replace(piece, with));
        // Comments are not commands; they hold the node's state.
        let commands: String = ours.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
        let breaks = self.breaks.iter().find(|text| commands.contains(**text));
        assert_eq!(breaks, None, "{path:?}: {script}");
    }
}
