//! Which lines of `/etc/hosts` `makehosts` wrote for which node: a file in the data directory.
//!
//! The lines themselves carry no mark, as scripts compare them with xCAT's. A line of the record that is
//! still in `/etc/hosts` as it was written is the node's and goes when the node's names change. Without a
//! data directory, or before the first `makehosts` that kept a record, lines are known by address and name
//! alone.

use dawn_serving::bounded_read::{Refused, read_text};
use dawn_serving::whole;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

/// Its name in the data directory.
pub const FILE: &str = "makehosts.lines";
const MODE: u32 = 0o600;
/// The longest `/etc/hosts`, and the longest record of its lines: 64 MiB, 100,000 nodes with six lines each.
const HOSTS_BYTES_MAX: u64 = 64 << 20;

/// The text of a hosts file (`/etc/hosts`, or the record); an empty one if there is no file.
///
/// # Errors
/// The file is there and cannot be read, is not text, or is longer than 64 MiB.
pub fn text(path: &Path) -> Result<String, Refused> {
    match read_text(path, HOSTS_BYTES_MAX) {
        Err(Refused::Missing) => Ok(String::new()),
        text => text,
    }
}

/// Address and names of a line (hosts(5)); nothing of a comment.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or_default().split_whitespace()
}

/// The lines of nodes.
#[derive(Debug, Default)]
pub struct Record(BTreeMap<String, Vec<String>>);

impl Record {
    /// Reads the record of a data directory; an empty one if there is none yet.
    ///
    /// # Errors
    /// Those of [`text`].
    pub fn read(directory: Option<&Path>) -> Result<Self, Refused> {
        let Some(directory) = directory else { return Ok(Self::default()) };
        text(&directory.join(FILE)).map(|text| Self::parse(&text))
    }

    /// A line of the record is a node's name, a tabulator and the line.
    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for (node, line) in text.lines().filter_map(|line| line.split_once('\t')) {
            record.0.entry(node.to_owned()).or_default().push(line.to_owned());
        }
        record
    }

    /// The lines of the nodes that `wanted` says.
    pub fn lines(&self, wanted: &dyn Fn(&str) -> bool) -> HashSet<&str> {
        let lines = self.0.iter().filter(|(node, _)| wanted(node)).flat_map(|(_, lines)| lines);
        lines.map(String::as_str).collect()
    }

    /// The lines that were written for these nodes only.
    pub fn stale(&self, nodes: &HashSet<&str>) -> HashSet<&str> {
        let others = self.lines(&|node| !nodes.contains(node));
        self.lines(&|node| nodes.contains(node)).difference(&others).copied().collect()
    }

    /// The node has these lines now.
    pub fn set(&mut self, node: &str, lines: Vec<String>) {
        self.0.remove(node);
        if !lines.is_empty() {
            self.0.insert(node.to_owned(), lines);
        }
    }

    /// Writes it.
    pub fn write(&self, directory: Option<&Path>) -> io::Result<()> {
        let Some(directory) = directory else { return Ok(()) };
        let lines =
            self.0.iter().flat_map(|(node, lines)| lines.iter().map(move |line| format!("{node}\t{line}\n")));
        whole::write(&directory.join(FILE), lines.collect::<String>().as_bytes(), MODE)
    }
}
