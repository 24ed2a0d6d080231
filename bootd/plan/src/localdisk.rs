//! The local disk of a node (`linuximage.partitionfile`): from the layout file to the lines that `/init`
//! carries out.
//!
//! A layout is text in blocks (images.md of the compatibility reference, section "Local disk"):
//!
//! ```text
//! enable=yes            no other value: nothing is done
//! enablepart=yes        no other value: [disk] blocks are skipped
//! [disk]                dev=  clear=yes  ptype=gpt|msdos  fstype=  parts=10,20 or parts=1M-200G
//! [localspace]          dev=  fstype=
//! [swapspace]           dev=
//! ```
//! or, named as `s:/path`, a script, which goes to the node as it is. A disk is written to by what this says,
//! so an unknown word spoils the whole layout: the node then keeps its files in memory and says why.

use crate::lookup::image_of;
use dawn_cluster::{Snapshot, Text, col};
use dawn_wire::list::{LocalDisk, Part, Step, TableKind};
use dawn_wire::{List, LiteOption};

/// Bytes of a layout.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Partitions of one disk: what a GPT holds.
const PARTS_MAX: usize = 128;
/// File system where none is named.
const KIND_DEFAULT: &str = "ext4";

/// Why a layout cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Its file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// It is switched off.
    #[error("its layout is not enabled (enable=yes)")]
    NotEnabled,
    /// No text at all.
    #[error("its layout is empty")]
    Empty,
    /// A block of another name.
    #[error("its layout has a block [{0}]")]
    Block(String),
    /// A key that its block does not have.
    #[error("line {line} of its layout: '{key}' is not a key of {block}")]
    Key {
        /// Line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The block.
        block: String,
    },
    /// A line that is neither a block nor a key.
    #[error("line {0} of its layout is neither [block] nor key=value")]
    Line(usize),
    /// A block without `dev=`.
    #[error("{0} of its layout has no dev=")]
    NoDevice(String),
    /// `dev=` names something else.
    #[error("{block} of its layout names '{device}', which is not a device")]
    Device {
        /// The block.
        block: String,
        /// What it names.
        device: String,
    },
    /// `fstype=` names something else.
    #[error("{block} of its layout names '{kind}', which is not a file system")]
    FileSystem {
        /// The block.
        block: String,
        /// What it names.
        kind: String,
    },
    /// `ptype=` of another kind.
    #[error("ptype={0} of its layout is neither gpt nor msdos")]
    Table(String),
    /// `parts=` cannot be read.
    #[error("parts={0} of its layout is not a list of percentages or ranges")]
    Parts(String),
    /// `parts=` needs more than there is.
    #[error("parts={0} of its layout is more than a disk holds")]
    TooMuch(String),
}

/// A layout as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The text is a program for the node, not blocks.
    pub is_script: bool,
    /// What the file holds.
    pub text: String,
}

/// What `linuximage.partitionfile` says for a node's image.
#[must_use]
pub fn cell_of(snapshot: &Snapshot, node: &str) -> Option<Text> {
    image_of(snapshot, node).ok()?.get(col::linuximage::PARTITIONFILE).cloned()
}

/// Whether a cell names a program for the node, and the path of the file.
#[must_use]
pub fn file_of(cell: &str) -> (bool, &str) {
    cell.strip_prefix("s:").map_or((false, cell), |path| (true, path))
}

/// The local disk in the list of a node whose image has this layout, or one that cannot be read.
#[must_use]
pub fn of_layout(layout: Result<Layout, LayoutError>) -> LocalDisk {
    steps_of(layout).map_or_else(|reason| LocalDisk::Missing(reason.to_string()), LocalDisk::Layout)
}

fn steps_of(layout: Result<Layout, LayoutError>) -> Result<Vec<Step>, LayoutError> {
    layout.and_then(|layout| match layout.is_script {
        true => Ok(vec![Step::Script(layout.text)]),
        false => parse(&layout.text),
    })
}

/// Why the layout of a node's image cannot be carried out.
#[must_use]
pub fn problem(snapshot: &Snapshot, node: &str, layout: Result<Layout, LayoutError>) -> Option<LayoutError> {
    let missed = || {
        let files = dawn_statelite::files(snapshot, node);
        files.iter().any(|file| file.option == Ok(LiteOption::Localdisk))
    };
    let reason = steps_of(layout).err()?;
    Some(reason).filter(|reason| *reason != LayoutError::NotEnabled || missed())
}

/// The keys of a block.
#[derive(Debug, Default)]
struct Block<'a> {
    name: &'a str,
    keys: Vec<(&'a str, &'a str)>,
}

/// Reads a layout; the reason names the line.
fn parse(text: &str) -> Result<Vec<Step>, LayoutError> {
    let mut blocks = vec![Block::default()];
    for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text.trim())) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            blocks.push(Block { name: name.trim(), keys: Vec::new() });
        } else if let (Some((key, value)), Some(block)) = (text.split_once('='), blocks.last_mut()) {
            let (key, value) = (key.trim(), value.trim());
            let known = keys_of(block.name).ok_or_else(|| LayoutError::Block(block.name.to_owned()))?;
            if !known.contains(&key) {
                return Err(LayoutError::Key { line, key: key.to_owned(), block: block.title() });
            }
            block.keys.push((key, value));
        } else {
            return Err(LayoutError::Line(line));
        }
    }
    let (head, blocks) = blocks.split_first().ok_or(LayoutError::Empty)?;
    if head.get("enable") != Some("yes") {
        return Err(LayoutError::NotEnabled);
    }
    let may_part = head.get("enablepart") == Some("yes");
    blocks.iter().filter(|block| may_part || block.name != "disk").map(Block::step).collect()
}

/// The keys that a block may have; the part before the first one is nameless.
fn keys_of(block: &str) -> Option<&'static [&'static str]> {
    Some(match block {
        "" => &["enable", "enablepart"],
        "disk" => &["dev", "clear", "ptype", "fstype", "parts"],
        "localspace" => &["dev", "fstype"],
        "swapspace" => &["dev"],
        _ => return None,
    })
}

impl Block<'_> {
    fn title(&self) -> String {
        if self.name.is_empty() { "its head".to_owned() } else { format!("[{}]", self.name) }
    }

    /// The last value of a key; an empty one is none.
    fn get(&self, key: &str) -> Option<&str> {
        self.keys
            .iter()
            .rev()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
            .filter(|v| !v.is_empty())
    }

    fn step(&self) -> Result<Step, LayoutError> {
        let block = self.title();
        let Some(device) = self.get("dev") else { return Err(LayoutError::NoDevice(block)) };
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
        let name = device.strip_prefix("/dev/").filter(|name| !name.is_empty() && !name.contains(".."));
        if name.is_none() || !plain(device) {
            return Err(LayoutError::Device { block, device: device.to_owned() });
        }
        let device = device.to_owned();
        let kind = self.get("fstype").unwrap_or(KIND_DEFAULT).to_owned();
        if !kind.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(LayoutError::FileSystem { block, kind });
        }
        match self.name {
            "disk" => self.disk(device, kind),
            "localspace" => Ok(Step::Space { device, kind }),
            "swapspace" => Ok(Step::Swap { device }),
            name => Err(LayoutError::Block(name.to_owned())),
        }
    }

    fn disk(&self, device: String, kind: String) -> Result<Step, LayoutError> {
        let table = match self.get("ptype") {
            None | Some("msdos" | "dos") => TableKind::Dos,
            Some("gpt") => TableKind::Gpt,
            Some(other) => return Err(LayoutError::Table(other.to_owned())),
        };
        let parts = self.get("parts").unwrap_or_default();
        let wrong = || LayoutError::Parts(parts.to_owned());
        let list: Vec<Part> = parts
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| self::part(part.trim()).ok_or_else(wrong))
            .collect::<Result<_, _>>()?;
        let share: u64 =
            list.iter().map(|part| if let Part::Percent(share) = part { *share } else { 0 }).sum();
        if share > 100 || list.len() > PARTS_MAX {
            return Err(LayoutError::TooMuch(parts.to_owned()));
        }
        Ok(Step::Disk { device, clear: self.get("clear").is_some(), table, kind, parts: list })
    }
}

/// A partition of `parts=`.
fn part(text: &str) -> Option<Part> {
    if let Some((start, end)) = text.split_once('-') {
        let (start, end) = (bytes(start)?, bytes(end)?);
        return (start < end).then_some(Part::Bytes(start, end));
    }
    let share: u64 = text.trim_end_matches('%').parse().ok()?;
    (1..=100).contains(&share).then_some(Part::Percent(share))
}

/// `200G`, `1MiB`, in the units of parted(8): powers of ten unless there is an `i`, megabytes where there is
/// no unit.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (base, unit): (u64, &str) = match unit.strip_suffix("iB") {
        Some(unit) => (1024, unit),
        None => (1000, unit.strip_suffix('B').unwrap_or(unit)),
    };
    let power = match unit {
        "K" | "k" => 1,
        "M" | "" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(base.checked_pow(power)?)
}

/// A layout of any text: what it says to the node reads back as it was.
pub fn fuzz_layout(text: &str) {
    let Ok(steps) = parse(text) else { return };
    let list = List { local_disk: LocalDisk::Layout(steps), ..List::default() };
    let shown = list.to_string();
    assert!(shown.is_ascii() && !shown.contains('%'), "{shown:?}");
    if !shown.is_empty() {
        assert_eq!(List::parse(&shown), list, "{shown:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "enable=yes\nenablepart=yes\n[disk]\ndev=/dev/sda\nclear=yes\nptype=gpt\nfstype=xfs\nparts=10,20,30\n\n\
                         [disk]\ndev=/dev/sdb\nparts=1M-200G, 200G-400GiB\n[localspace]\n# one\ndev = /dev/sda1\nfstype=xfs\n\
                         [swapspace]\ndev=/dev/sda2\n";

    fn lines(text: &str) -> Result<String, LayoutError> {
        parse(text).map(|steps| steps.iter().map(Step::to_string).collect())
    }

    #[test]
    fn layouts() {
        let rest = "localdisk\t/dev/sda1\txfs\nswap\t/dev/sda2\n";
        let disks = "disk\t/dev/sda\tgpt\tclear\txfs\t10\t20\t30\n\
                     disk\t/dev/sdb\tdos\tkeep\text4\t1000000-200000000000\t200000000000-429496729600\n";
        assert_eq!(lines(WHOLE), Ok(format!("{disks}{rest}")));
        assert_eq!(lines(&WHOLE.replace("enablepart=yes", "enablepart=no")), Ok(rest.to_owned()));
        assert_eq!(lines("enable=yes\n[localspace]\ndev=/dev/vdb"), Ok("localdisk\t/dev/vdb\text4\n".into()));
        for (text, reason) in [
            ("", "not enabled"),
            ("enable=no\n[localspace]\ndev=/dev/sda1\n", "not enabled"),
            ("enable=yes\n[disks]\ndev=/dev/sda\n", "a block [disks]"),
            (
                "enable=yes\n[localspace]\ndevice=/dev/sda\n",
                "line 3 of its layout: 'device' is not a key of [localspace]",
            ),
            ("enable=yes\nwhat\n", "line 2 of its layout is neither"),
            ("enable=yes\n[localspace]\nfstype=xfs\n", "[localspace] of its layout has no dev="),
            ("enable=yes\n[localspace]\ndev=/etc/passwd\n", "not a device"),
            ("enable=yes\n[localspace]\ndev=/dev/../x\n", "not a device"),
            ("enable=yes\n[localspace]\ndev=/dev/sda1\nfstype=a b\n", "not a file system"),
            ("enable=yes\nenablepart=yes\n[disk]\ndev=/dev/sda\nptype=bsd\n", "neither gpt nor msdos"),
            ("enable=yes\nenablepart=yes\n[disk]\ndev=/dev/sda\nparts=60,50\n", "more than a disk holds"),
            ("enable=yes\nenablepart=yes\n[disk]\ndev=/dev/sda\nparts=2G-1G\n", "not a list of percentages"),
            ("enable=yes\nenablepart=yes\n[disk]\ndev=/dev/sda\nparts=1X-2X\n", "not a list of percentages"),
        ] {
            assert!(lines(text).unwrap_err().to_string().contains(reason), "{text}: {:?}", lines(text));
        }
    }

    /// The first and last byte of the layout decide much: every prefix, and every byte replaced.
    #[test]
    fn damaged_layouts_do_no_harm() {
        for at in 0..WHOLE.len() {
            fuzz_layout(WHOLE.get(..at).unwrap());
            for damage in ["\0", "%", "\t", "=", "[", "-", "9", "é"] {
                fuzz_layout(&format!("{}{damage}{}", &WHOLE[..at], &WHOLE[at + 1..]));
            }
        }
    }
}
