//! The list of a node's special paths, as the server sends it: one entry per line, fields split by tabs.
//!
//! ```text
//! file        <option>               <path>             [served]
//! tree        [<server>:]/<dir>      [<mount options>]  [served]
//! persistent  [<server>:]/<dir>/<n>  [<mount options>]
//! note        <text>
//! disk        <device>             dos|gpt            clear|keep    <file system>  <part>...
//! localdisk   <device>             <file system>
//! localdisk   -                    <why there is none>
//! swap        <device>
//! script      <text>
//! ```
//! The last five are the layout of the local disk and are carried out in their order; a part is `<percent>`
//! or `<first byte>-<byte after the last>`. Trees come in order of priority. The NFS server puts `served`
//! entries over the root itself, if the root shows [`crate::image::LIVE`]. A note is for the console.
//!
//! [`List::parse`] reads the text, [`List`]'s `Display` writes it. Control characters, tab and `%` inside a
//! field are percent-encoded, so a table cell can never add a line. A line that cannot be
//! understood becomes a complaint; the others count.

use std::fmt;

use crate::lite_option::LiteOption;
use crate::remote::{Remote, squeeze};

/// Longest list that is accepted, in lines.
pub const LINES_MAX: usize = 20_000;

/// What a node's list says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Special paths in list order.
    pub entries: Vec<Entry>,
    /// Directories searched for content, first one wins.
    pub trees: Vec<Mount>,
    /// Persistent storage of this node.
    pub persistent: Option<Mount>,
    /// What the server wants the console to say.
    pub notes: Vec<String>,
    /// File system of `localdisk` entries, or why there is none.
    pub local_disk: LocalDisk,
    /// Lines that could not be understood.
    pub complaints: Vec<String>,
}

/// Where `localdisk` entries live.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LocalDisk {
    /// The image has no layout.
    #[default]
    Unknown,
    /// What is to be done, in order; for the node, once it has done so, what it has.
    Layout(Vec<Step>),
    /// There is none, for this reason.
    Missing(String),
}

/// One step of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Divide a disk and make a file system on each new partition.
    Disk {
        /// Path of the device.
        device: String,
        /// The table to make where there is none.
        table: TableKind,
        /// Whether to make a new one in any case.
        clear: bool,
        /// Name of the file system.
        kind: String,
        /// The partitions.
        parts: Vec<Part>,
    },
    /// Mount a file system for the entries.
    Space {
        /// Path of the device.
        device: String,
        /// Name of the file system.
        kind: String,
    },
    /// Make a swap area and swap to it.
    Swap {
        /// Path of the device.
        device: String,
    },
    /// Run this program in the image.
    Script(String),
}

impl LocalDisk {
    /// Whether entries are kept on a disk, or will be unless something fails.
    #[must_use]
    pub fn is_there(&self) -> bool {
        match self {
            Self::Layout(steps) => {
                steps.iter().any(|step| matches!(step, Step::Space { .. } | Step::Script(_)))
            }
            Self::Unknown | Self::Missing(_) => false,
        }
    }
}

/// Server, directory and mount options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Server and directory.
    pub remote: Remote,
    /// Options in the words of `mount.nfs`.
    pub options: String,
    /// It is a directory of the served root.
    pub served: bool,
}

/// One special path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path without trailing slash.
    pub path: String,
    /// The list marks it as a directory.
    pub is_dir: bool,
    /// Where its content lives.
    pub option: LiteOption,
    /// The server does it.
    pub served: bool,
}

impl Entry {
    /// An entry; `None` for a path that is not absolute, is the root itself, or has `.` or `..` in it. A
    /// slash at its end marks a directory.
    #[must_use]
    pub fn new(option: LiteOption, path: &str, served: bool) -> Option<Self> {
        let clean = squeeze(path);
        let sound = path.starts_with('/')
            && clean != "/"
            && !clean.split('/').any(|part| part == ".." || part == ".");
        sound.then(|| Self { is_dir: path.ends_with('/'), path: clean, option, served })
    }
}

/// Which partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// MBR.
    Dos,
    /// GPT.
    Gpt,
}

/// Where a partition is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Percent of the disk, after the one before.
    Percent(u64),
    /// First byte, and the one after the last.
    Bytes(u64, u64),
}

impl List {
    /// Parses the server's text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines().take(LINES_MAX) {
            let fields: Vec<&str> = line.split('\t').collect();
            let understood = match fields.as_slice() {
                [] | [""] => true,
                ["file", options, path] => list.add_file(options, path, false),
                ["file", options, path, "served"] => list.add_file(options, path, true),
                ["tree", remote, rest @ ..] => list.add_tree(remote, rest),
                ["note", text] => list.add_note(text),
                ["persistent", remote, rest @ ..] => list.set_persistent(remote, rest),
                ["localdisk", "-", reason] => list.set_no_disk(reason),
                ["disk" | "localdisk" | "swap" | "script", ..] => list.add_step(&fields),
                [comment, ..] => comment.starts_with('#'),
            };
            if !understood {
                list.complaints.push(format!("line `{line}` of the statelite list cannot be understood"));
            }
        }
        list
    }

    /// Adds an entry. One with the same path is replaced.
    pub fn add(&mut self, entry: Entry) {
        self.entries.retain(|other| other.path != entry.path);
        self.entries.push(entry);
    }

    fn add_note(&mut self, text: &str) -> bool {
        let text = decode(text);
        let sound = text.is_some();
        self.notes.extend(text);
        sound
    }

    fn add_file(&mut self, options: &str, path: &str, served: bool) -> bool {
        let entry = LiteOption::spelled(options)
            .zip(decode(path))
            .and_then(|(option, path)| Entry::new(option, &path, served));
        let sound = entry.is_some();
        entry.into_iter().for_each(|entry| self.add(entry));
        sound
    }

    fn set_no_disk(&mut self, reason: &str) -> bool {
        let reason = decode(reason);
        let sound = reason.is_some();
        self.local_disk = LocalDisk::Missing(reason.unwrap_or_default());
        sound
    }

    /// A layout with a step that cannot be understood is not carried out at all.
    fn add_step(&mut self, fields: &[&str]) -> bool {
        let step = Step::parse(fields);
        let sound = step.is_some();
        match (&mut self.local_disk, step) {
            (LocalDisk::Missing(_), _) => {}
            (LocalDisk::Layout(steps), Some(step)) => steps.push(step),
            (disk, Some(step)) => *disk = LocalDisk::Layout(vec![step]),
            (disk, None) => *disk = LocalDisk::Missing("its layout cannot be understood".to_owned()),
        }
        sound
    }

    fn add_tree(&mut self, remote: &str, rest: &[&str]) -> bool {
        let mount = mount(remote, rest);
        let sound = mount.is_some();
        self.trees.extend(mount);
        sound
    }

    fn set_persistent(&mut self, remote: &str, rest: &[&str]) -> bool {
        self.persistent = mount(remote, rest);
        self.persistent.is_some()
    }
}

impl Step {
    fn parse(fields: &[&str]) -> Option<Self> {
        match fields {
            ["disk", device, table, clear, kind, parts @ ..] => Some(Self::Disk {
                device: device_path(device)?,
                table: match *table {
                    "dos" => TableKind::Dos,
                    "gpt" => TableKind::Gpt,
                    _ => return None,
                },
                clear: match *clear {
                    "clear" => true,
                    "keep" => false,
                    _ => return None,
                },
                kind: word(kind)?,
                parts: parts.iter().map(|text| part(text)).collect::<Option<_>>()?,
            }),
            ["localdisk", device, kind] => {
                Some(Self::Space { device: device_path(device)?, kind: word(kind)? })
            }
            ["swap", device] => Some(Self::Swap { device: device_path(device)? }),
            ["script", text] => decode(text).map(Self::Script),
            _ => None,
        }
    }
}

/// The text that [`List::parse`] reads. Complaints are not part of it.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |served| if served { "served" } else { "" };
        for entry in &self.entries {
            let slash = if entry.is_dir { "/" } else { "" };
            let path = format!("{}{slash}", entry.path);
            line(f, &["file", entry.option.as_str(), &path, mark(entry.served)])?;
        }
        for tree in &self.trees {
            line(f, &["tree", &tree.remote.to_string(), &tree.options, mark(tree.served)])?;
        }
        if let Some(store) = &self.persistent {
            line(f, &["persistent", &store.remote.to_string(), &store.options])?;
        }
        for note in &self.notes {
            line(f, &["note", note])?;
        }
        match &self.local_disk {
            LocalDisk::Unknown => Ok(()),
            LocalDisk::Missing(reason) => line(f, &["localdisk", "-", reason]),
            LocalDisk::Layout(steps) => steps.iter().try_for_each(|step| step.fmt(f)),
        }
    }
}

/// A line of the list.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { device, table, clear, kind, parts } => {
                let table = match table {
                    TableKind::Dos => "dos",
                    TableKind::Gpt => "gpt",
                };
                let parts: Vec<String> = parts.iter().map(Part::to_string).collect();
                let fields = ["disk", device, table, if *clear { "clear" } else { "keep" }, kind];
                let fields: Vec<&str> = fields.into_iter().chain(parts.iter().map(String::as_str)).collect();
                line(f, &fields)
            }
            Self::Space { device, kind } => line(f, &["localdisk", device, kind]),
            Self::Swap { device } => line(f, &["swap", device]),
            Self::Script(text) => line(f, &["script", text]),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write!(f, "{share}"),
            Self::Bytes(start, end) => write!(f, "{start}-{end}"),
        }
    }
}

/// Fields without those at the end that are empty.
fn line(f: &mut fmt::Formatter<'_>, fields: &[&str]) -> fmt::Result {
    let used = fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
    let fields: Vec<String> = fields.iter().take(used).map(|field| encode(field)).collect();
    writeln!(f, "{}", fields.join("\t"))
}

/// A field as encoded in the list: control characters and `%` become percent and two digits for each
/// byte.
fn encode(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    for c in field.chars() {
        match c.is_control() || c == '%' {
            true => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}"))),
            false => out.push(c),
        }
    }
    out
}

fn device_path(text: &str) -> Option<String> {
    let sound = text.starts_with("/dev/") && !text.contains("..") && !text.chars().any(char::is_control);
    sound.then(|| text.to_owned())
}

/// The name of a file system: it becomes part of a program's name.
fn word(text: &str) -> Option<String> {
    let sound = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    sound.then(|| text.to_owned())
}

fn part(text: &str) -> Option<Part> {
    match text.split_once('-') {
        Some((start, end)) => Some(Part::Bytes(start.parse().ok()?, end.parse().ok()?)),
        None => text.parse().ok().filter(|share| *share <= 100).map(Part::Percent),
    }
}

fn mount(remote: &str, rest: &[&str]) -> Option<Mount> {
    let remote = Remote::parse_any(&decode(remote)?)?;
    if remote.dir.split('/').any(|part| part == "..") || remote.host.contains('/') {
        return None;
    }
    let options = rest.first().map_or("", |text| text.trim());
    let served = rest.get(1).is_some_and(|word| *word == "served");
    Some(Mount { remote, options: options.to_owned(), served })
}

/// Undoes percent-encoding; no value for a broken sequence or text that is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_whole_list() {
        let list = List::parse(
            "file\ttmpfs\t/etc/hosts\nfile\tlink,persistent\t/var/lib//a%25b/\nfile\tlink\t/x\n\
             tree\t10.1.0.1:/state/a\ntree\ts:/b/\tsoft,timeo=30\npersistent\ts:/nodes/cn1\tnolock\n",
        );
        assert_eq!(list.complaints, Vec::<String>::new());
        assert_eq!(list.entries.len(), 3);
        assert_eq!(
            list.entries[1],
            Entry {
                path: "/var/lib/a%b".into(),
                is_dir: true,
                option: LiteOption::LinkPersistent,
                served: false
            }
        );
        assert_eq!(list.entries[2].option, LiteOption::Link);
        assert_eq!(list.trees[1].remote.to_string(), "s:/b");
        assert_eq!(list.trees[1].options, "soft,timeo=30");
        assert_eq!(list.persistent.unwrap().remote.dir, "/nodes/cn1");
    }

    #[test]
    fn what_the_server_does() {
        let text = "file\tro\t/etc/a\tserved\nfile\ttmpfs\t/etc/b\nfile\tpersistent\t/srv/\tserved\n\
                    tree\t10.1.0.1:/state\t\tserved\nnote\t/etc/c is%0Anowhere\n";
        let list = List::parse(text);
        assert_eq!(list.complaints, Vec::<String>::new());
        assert_eq!(list.entries.iter().map(|entry| entry.served).collect::<Vec<_>>(), [true, false, true]);
        assert!(list.trees[0].served);
        assert_eq!(list.notes, ["/etc/c is\nnowhere"]);
    }

    #[test]
    fn bad_lines_are_complaints() {
        let bad = "file\tnonsense\t/x\nfile\ttmpfs\trelative\nfile\ttmpfs\t/a/../b\nfile\ttmpfs\t/\n\
                   file\ttmpfs\t/a%zz\nfile\ttmpfs\nlocaldisk\t/etc/x\text4\ntree\tnowhere\ntree\t/a/../b\ntree\ts:/../x\nwhat\never\n";
        assert_eq!(List::parse(bad).complaints.len(), bad.lines().count());
        assert_eq!(List::parse("# comment\n\n").complaints.len(), 0);
    }

    #[test]
    fn the_layout_of_a_disk() {
        let text = "disk\t/dev/sda\tgpt\tclear\txfs\t10\t1000-2000\nlocaldisk\t/dev/sda1\txfs\nswap\t/dev/sda2\nscript\techo%0A\n";
        let list = List::parse(text);
        assert_eq!(list.complaints, Vec::<String>::new());
        let device = || "/dev/sda".to_owned();
        let parts = vec![Part::Percent(10), Part::Bytes(1000, 2000)];
        let expected = vec![
            Step::Disk { device: device(), table: TableKind::Gpt, clear: true, kind: "xfs".into(), parts },
            Step::Space { device: device() + "1", kind: "xfs".into() },
            Step::Swap { device: device() + "2" },
            Step::Script("echo\n".into()),
        ];
        assert_eq!(list.local_disk, LocalDisk::Layout(expected));
        for line in
            ["disk\t/dev/sda\tbsd\tkeep\txfs", "swap\t/etc/x", "localdisk\t/dev/a\t../x", "script\t%z"]
        {
            let list = List::parse(&format!("{text}{line}\nswap\t/dev/sdb\n"));
            assert!(matches!(list.local_disk, LocalDisk::Missing(_)), "{line}");
            assert_eq!(list.complaints.len(), 1, "{line}");
        }
    }

    /// Every list reads back unchanged, and no field can add a line.
    #[test]
    fn the_list_reads_back() {
        let remote = |host: &str, dir: &str| Remote { host: host.into(), dir: dir.into() };
        let mount = |remote, options: &str, served| Mount { remote, options: options.into(), served };
        let entry = |option, path, served| Entry::new(option, path, served).unwrap();
        let mut list = List {
            entries: vec![
                entry(LiteOption::Tmpfs, "/etc/100%\nfile\tx", false),
                entry(LiteOption::ConPersistent, "/var/lib/app/", true),
            ],
            trees: vec![mount(remote("s", "/a"), "soft", true), mount(remote("", "/b\u{7f}"), "", true)],
            persistent: Some(mount(remote("10.1.0.1", "/data/cn1"), "", false)),
            notes: vec!["a\nnote".into()],
            local_disk: LocalDisk::Missing("100 %\tno".into()),
            complaints: Vec::new(),
        };
        assert_eq!(List::parse(&list.to_string()), list);
        list.local_disk = LocalDisk::Layout(vec![
            Step::Disk {
                device: "/dev/sda".into(),
                table: TableKind::Dos,
                clear: false,
                kind: "ext4".into(),
                parts: vec![Part::Percent(7), Part::Bytes(1, 2)],
            },
            Step::Script("enable=yes\n%".into()),
        ]);
        let text = list.to_string();
        assert_eq!(List::parse(&text), list);
        assert!(text.starts_with(
            "file\ttmpfs\t/etc/100%25%0Afile%09x\nfile\tcon,persistent\t/var/lib/app/\tserved\n"
        ));
    }

    #[test]
    fn a_later_line_replaces_an_earlier_one() {
        let list = List::parse("file\ttmpfs\t/a\nfile\tro\t/b\nfile\tpersistent\t/a\n");
        assert_eq!(list.entries.len(), 2);
        assert_eq!(list.entries[1].option, LiteOption::Persistent);
    }
}
