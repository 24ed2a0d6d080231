//! Reader for cpio archives of the `newc` kind (kernel documentation,
//! `driver-api/early-userspace/buffer-format`).

use std::collections::HashMap;
use std::io::{self, Read};

use super::tree::{FILE, KIND_BITS, LINK, Meta, Target};
use super::{invalid, skip};

const HEADER_BYTES: usize = 110;
/// Longest path or link target, in bytes.
const NAME_BYTES_MAX: u64 = 64 * 1024;
const TRAILER: &[u8] = b"TRAILER!!!";

/// Unpacks an archive up to its trailer.
pub(super) fn unpack(source: &mut dyn Read, tree: &mut dyn Target) -> io::Result<()> {
    let mut linked: HashMap<(u64, u64, u64), Vec<u8>> = HashMap::new();
    loop {
        let header = Header::read(source)?;
        let path = name(source, header.name_size)?;
        skip(source, padding(HEADER_BYTES as u64 + header.name_size))?;
        if path == TRAILER {
            return Ok(());
        }
        let meta = header.meta(path);
        match meta.mode & KIND_BITS {
            LINK => {
                let target = bytes(source, header.size)?;
                tree.add(meta, &target)?;
            }
            FILE => file(source, tree, &header, &meta, &mut linked)?,
            _ => {
                skip(source, header.size)?;
                tree.add(meta, b"")?;
            }
        }
        skip(source, padding(header.size))?;
    }
}

/// All names of a hard-linked file have its number; the last one carries the bytes.
fn file(
    source: &mut dyn Read,
    tree: &mut dyn Target,
    header: &Header,
    meta: &Meta,
    linked: &mut HashMap<(u64, u64, u64), Vec<u8>>,
) -> io::Result<()> {
    if header.links < 2 {
        return tree.file(meta, source, header.size);
    }
    match linked.get(&header.identity) {
        None => {
            linked.insert(header.identity, meta.path.clone());
            tree.file(meta, source, header.size)
        }
        Some(first) => {
            tree.hard_link(meta, first)?;
            if header.size > 0 { tree.fill(meta, source, header.size) } else { Ok(()) }
        }
    }
}

struct Header {
    identity: (u64, u64, u64),
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    mtime: i64,
    size: u64,
    device: (u32, u32),
    name_size: u64,
}

impl Header {
    fn read(source: &mut dyn Read) -> io::Result<Self> {
        let mut raw = [0; HEADER_BYTES];
        source.read_exact(&mut raw)?;
        if !raw.starts_with(b"070701") && !raw.starts_with(b"070702") {
            return Err(invalid("a cpio header is damaged"));
        }
        let field = |index: usize| -> io::Result<u32> {
            let from = 6 + index * 8;
            let digits = raw.get(from..from + 8).and_then(|digits| std::str::from_utf8(digits).ok());
            digits
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .ok_or_else(|| invalid("a cpio header is damaged"))
        };
        Ok(Self {
            identity: (u64::from(field(0)?), u64::from(field(7)?), u64::from(field(8)?)),
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            links: u64::from(field(4)?),
            mtime: i64::from(field(5)?),
            size: u64::from(field(6)?),
            device: (field(9)?, field(10)?),
            name_size: u64::from(field(11)?),
        })
    }

    fn meta(&self, path: Vec<u8>) -> Meta {
        Meta {
            path,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            device: self.device,
            xattrs: Vec::new(),
        }
    }
}

fn name(source: &mut dyn Read, size: u64) -> io::Result<Vec<u8>> {
    let mut name = bytes(source, size)?;
    if name.pop() != Some(0) || name.contains(&0) {
        return Err(invalid("a cpio name is damaged"));
    }
    Ok(name)
}

fn bytes(source: &mut dyn Read, size: u64) -> io::Result<Vec<u8>> {
    if size > NAME_BYTES_MAX {
        return Err(invalid("a cpio name is too long"));
    }
    let mut bytes = Vec::new();
    source.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Names and contents end at a multiple of four bytes.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(4) - size
}
