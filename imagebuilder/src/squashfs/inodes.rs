//! Inodes and directories.
//!
//! Directories are written from the leaves up: the inodes of a directory's files, its listing, and then (when
//! its parent is written) its own inode, which must know where the listing is. Inode numbers are given in
//! walking order beforehand, as a directory names its parent by number.

use super::data::{Data, Layout};
use super::meta::{META_BLOCK_BYTES, MetaRef, MetaWriter};
use super::table::Ids;
use super::xattr::{NO_XATTR, Xattrs};
use super::{Options, SquashfsError};
use crate::tree::{Inode, InodeId, Kind, Tree};
use std::collections::BTreeMap;

/// Most entries after one directory header.
const HEADER_ENTRIES_MAX: usize = 256;
/// Longest file name (bytes).
const NAME_BYTES_MAX: usize = 256;
/// The listing size counts three bytes for `.` and `..`, which are not written.
const LISTING_EXTRA_BYTES: u32 = 3;
/// A file without a fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// Extended inode types follow the basic ones at this distance.
const EXTENDED: u16 = 7;

const DIR: u16 = 1;
const FILE: u16 = 2;
const SYMLINK: u16 = 3;
const BLOCK: u16 = 4;
const CHAR: u16 = 5;
const FIFO: u16 = 6;
const SOCKET: u16 = 7;

/// The finished tables.
pub(super) struct Parts {
    pub(super) inode_table: Vec<u8>,
    pub(super) directory_table: Vec<u8>,
    /// Reference of every inode, by its number.
    pub(super) export_table: Vec<u8>,
    pub(super) ids: Ids,
    pub(super) root_ref: u64,
    pub(super) inode_count: u32,
}

/// Make the inode and directory tables.
pub(super) fn build(
    tree: &Tree,
    data: &Data,
    xattrs: &Xattrs,
    options: &Options,
) -> Result<Parts, SquashfsError> {
    let mut builder = Builder {
        tree,
        data,
        xattrs,
        options,
        links: tree.link_counts(),
        numbers: vec![0; tree.inode_slots()],
        parents: vec![0; tree.inode_slots()],
        refs: vec![None; tree.inode_slots()],
        inodes: MetaWriter::new(options.compressor)?,
        directories: MetaWriter::new(options.compressor)?,
        ids: Ids::default(),
    };
    let dirs = builder.number()?;
    for dir in dirs.iter().rev() {
        builder.directory(*dir)?;
    }
    builder.finish()
}

struct Builder<'a> {
    tree: &'a Tree,
    data: &'a Data,
    xattrs: &'a Xattrs,
    options: &'a Options,
    links: Vec<u32>,
    /// Inode numbers from 1; 0: not part of the image.
    numbers: Vec<u32>,
    /// Inode number of the parent of each directory.
    parents: Vec<u32>,
    refs: Vec<Option<MetaRef>>,
    inodes: MetaWriter,
    directories: MetaWriter,
    ids: Ids,
}

impl Builder<'_> {
    /// Number all inodes; the directories in walking order.
    fn number(&mut self) -> Result<Vec<InodeId>, SquashfsError> {
        let (mut dirs, mut next) = (Vec::new(), 1u32);
        for entry in self.tree.walk() {
            if let Some(number) = self.numbers.get_mut(entry.id.index())
                && *number == 0
            {
                *number = next;
                next = next.checked_add(1).ok_or(SquashfsError::Limit("more than 2^32 inodes"))?;
            }
            if matches!(self.tree.inode(entry.id).kind, Kind::Dir(_)) {
                dirs.push(entry.id);
            }
        }
        // The root's parent is a number no inode has.
        self.set_parent(self.tree.root(), next);
        for dir in &dirs {
            let number = self.number_of(*dir);
            if let Kind::Dir(entries) = &self.tree.inode(*dir).kind {
                for child in entries.values() {
                    self.set_parent(*child, number);
                }
            }
        }
        Ok(dirs)
    }

    fn set_parent(&mut self, child: InodeId, parent: u32) {
        if let Some(slot) = self.parents.get_mut(child.index()) {
            *slot = parent;
        }
    }

    fn number_of(&self, id: InodeId) -> u32 {
        self.numbers.get(id.index()).copied().unwrap_or(0)
    }

    fn links_of(&self, id: InodeId) -> u32 {
        self.links.get(id.index()).copied().unwrap_or(1)
    }

    fn set_ref(&mut self, id: InodeId) -> Result<(), SquashfsError> {
        let at = self.inodes.position()?;
        if let Some(slot) = self.refs.get_mut(id.index()) {
            *slot = Some(at);
        }
        Ok(())
    }

    fn ref_of(&self, id: InodeId) -> Result<MetaRef, SquashfsError> {
        self.refs.get(id.index()).copied().flatten().ok_or(SquashfsError::Limit("an inode out of order"))
    }

    /// Write a directory: inodes of its files, the listing, its own inode. Its sub-directories are done.
    fn directory(&mut self, id: InodeId) -> Result<(), SquashfsError> {
        let Kind::Dir(entries) = &self.tree.inode(id).kind else { return Ok(()) };
        for child in entries.values() {
            let inode = self.tree.inode(*child);
            let done = self.refs.get(child.index()).is_some_and(Option::is_some);
            if !done && !matches!(inode.kind, Kind::Dir(_)) {
                self.other(*child, inode)?;
            }
        }
        let at = self.directories.position()?;
        let listing = self.listing(entries)?;
        self.dir_inode(id, at, &listing)
    }

    fn listing(&mut self, entries: &BTreeMap<Vec<u8>, InodeId>) -> Result<Listing, SquashfsError> {
        let mut listing = Listing::default();
        let mut run = Run::default();
        for (name, id) in entries {
            let item = Item { at: self.ref_of(*id)?, number: self.number_of(*id), id: *id, name };
            if !run.takes(&item) {
                self.flush_run(&run, &mut listing)?;
                run = Run::default();
            }
            run.items.push(item);
        }
        self.flush_run(&run, &mut listing)?;
        Ok(listing)
    }

    /// Write one header with its entries.
    fn flush_run(&mut self, run: &Run<'_>, listing: &mut Listing) -> Result<(), SquashfsError> {
        let Some(first) = run.items.first() else { return Ok(()) };
        let start = self.directories.position()?.block;
        if listing.size > 0 && listing.last_block != start {
            listing.index.push((listing.size, start, first.name.clone()));
        }
        listing.last_block = if listing.size == 0 { start } else { start.max(listing.last_block) };
        let mut bytes = Vec::new();
        let count = u32::try_from(run.items.len() - 1).map_err(|_| SquashfsError::Limit("directory run"))?;
        for word in [count, first.at.block, first.number] {
            bytes.extend(word.to_le_bytes());
        }
        for item in &run.items {
            if item.name.is_empty() || item.name.len() > NAME_BYTES_MAX {
                return Err(SquashfsError::Limit("a file name longer than 256 bytes"));
            }
            let delta = i64::from(item.number) - i64::from(first.number);
            bytes.extend(item.at.offset.to_le_bytes());
            bytes.extend(
                i16::try_from(delta).map_err(|_| SquashfsError::Limit("inode distance"))?.to_le_bytes(),
            );
            bytes.extend(kind_number(&self.tree.inode(item.id).kind).to_le_bytes());
            bytes.extend(u16::try_from(item.name.len() - 1).unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(item.name);
        }
        listing.size = u32::try_from(bytes.len())
            .ok()
            .and_then(|size| listing.size.checked_add(size))
            .ok_or(SquashfsError::Limit("directory listing"))?;
        self.directories.put(&bytes)
    }

    fn dir_inode(&mut self, id: InodeId, at: MetaRef, listing: &Listing) -> Result<(), SquashfsError> {
        let (links, parent) = (self.links_of(id), self.parents.get(id.index()).copied().unwrap_or(0));
        let size =
            listing.size.checked_add(LISTING_EXTRA_BYTES).ok_or(SquashfsError::Limit("directory listing"))?;
        let xattr = self.xattrs.number(id);
        let mut b = Vec::new();
        match u16::try_from(size) {
            Ok(size) if xattr == NO_XATTR && listing.index.is_empty() => {
                self.header(&mut b, id, DIR)?;
                b.extend(at.block.to_le_bytes());
                b.extend(links.to_le_bytes());
                b.extend(size.to_le_bytes());
                b.extend(at.offset.to_le_bytes());
                b.extend(parent.to_le_bytes());
            }
            _ => {
                self.header(&mut b, id, DIR + EXTENDED)?;
                for word in [links, size, at.block, parent] {
                    b.extend(word.to_le_bytes());
                }
                let count = u16::try_from(listing.index.len()).map_err(|_| SquashfsError::Limit("index"))?;
                b.extend(count.to_le_bytes());
                b.extend(at.offset.to_le_bytes());
                b.extend(xattr.to_le_bytes());
                for (offset, block, name) in &listing.index {
                    let last =
                        u32::try_from(name.len() - 1).map_err(|_| SquashfsError::Limit("file name"))?;
                    for word in [*offset, *block, last] {
                        b.extend(word.to_le_bytes());
                    }
                    b.extend_from_slice(name);
                }
            }
        }
        self.set_ref(id)?;
        self.inodes.put(&b)
    }

    /// Write the inode of anything but a directory.
    fn other(&mut self, id: InodeId, inode: &Inode) -> Result<(), SquashfsError> {
        let (links, xattr) = (self.links_of(id), self.xattrs.number(id));
        let extended = if xattr == NO_XATTR { 0 } else { EXTENDED };
        let mut b = Vec::new();
        if let Kind::File { size, .. } = &inode.kind {
            self.file(&mut b, id, *size)?;
        } else {
            self.header(&mut b, id, kind_number(&inode.kind) + extended)?;
            b.extend(links.to_le_bytes());
            match &inode.kind {
                Kind::Symlink(target) => {
                    let length = u32::try_from(target.len()).map_err(|_| SquashfsError::Limit("symlink"))?;
                    b.extend(length.to_le_bytes());
                    b.extend_from_slice(target);
                }
                Kind::Char { major, minor } | Kind::Block { major, minor } => {
                    b.extend(device(*major, *minor).to_le_bytes());
                }
                _ => {}
            }
            if extended != 0 {
                b.extend(xattr.to_le_bytes());
            }
        }
        self.set_ref(id)?;
        self.inodes.put(&b)
    }

    fn file(&mut self, b: &mut Vec<u8>, id: InodeId, size: u64) -> Result<(), SquashfsError> {
        let layout = self.data.layout(id).cloned().unwrap_or_default();
        let Layout { start, blocks, fragment, sparse } = &layout;
        let (fragment, offset) = fragment.unwrap_or((NO_FRAGMENT, 0));
        let (links, xattr) = (self.links_of(id), self.xattrs.number(id));
        match (u32::try_from(*start), u32::try_from(size)) {
            (Ok(start), Ok(size)) if links == 1 && xattr == NO_XATTR && *sparse == 0 => {
                self.header(b, id, FILE)?;
                for word in [start, fragment, offset, size] {
                    b.extend(word.to_le_bytes());
                }
            }
            _ => {
                self.header(b, id, FILE + EXTENDED)?;
                for long in [*start, size, *sparse] {
                    b.extend(long.to_le_bytes());
                }
                for word in [links, fragment, offset, xattr] {
                    b.extend(word.to_le_bytes());
                }
            }
        }
        blocks.iter().for_each(|word| b.extend(word.to_le_bytes()));
        Ok(())
    }

    /// What all inodes begin with.
    fn header(&mut self, b: &mut Vec<u8>, id: InodeId, kind: u16) -> Result<(), SquashfsError> {
        let meta = &self.tree.inode(id).meta;
        let (uid, gid) = (self.ids.index(meta.uid)?, self.ids.index(meta.gid)?);
        for half in [kind, meta.mode, uid, gid] {
            b.extend(half.to_le_bytes());
        }
        b.extend(self.options.times.of(meta.mtime).to_le_bytes());
        b.extend(self.number_of(id).to_le_bytes());
        Ok(())
    }

    fn finish(self) -> Result<Parts, SquashfsError> {
        let root_ref = self.ref_of(self.tree.root())?.packed();
        let mut by_number: Vec<(u32, MetaRef)> =
            self.numbers.iter().zip(&self.refs).filter_map(|(number, at)| Some((*number, (*at)?))).collect();
        by_number.sort_by_key(|(number, _)| *number);
        let export_table = by_number.iter().flat_map(|(_, at)| at.packed().to_le_bytes()).collect();
        let inode_count = u32::try_from(by_number.len()).map_err(|_| SquashfsError::Limit("inodes"))?;
        let (inode_table, _) = self.inodes.finish()?;
        let (directory_table, _) = self.directories.finish()?;
        Ok(Parts { inode_table, directory_table, export_table, ids: self.ids, root_ref, inode_count })
    }
}

/// A directory listing that has been written.
#[derive(Default)]
struct Listing {
    /// Bytes in the directory table.
    size: u32,
    /// Where a header begins in a later block: offset in the listing, block, first name.
    index: Vec<(u32, u32, Vec<u8>)>,
    last_block: u32,
}

struct Item<'a> {
    at: MetaRef,
    number: u32,
    id: InodeId,
    name: &'a Vec<u8>,
}

/// Entries that can follow one header.
#[derive(Default)]
struct Run<'a> {
    items: Vec<Item<'a>>,
}

impl Run<'_> {
    fn takes(&self, item: &Item<'_>) -> bool {
        let Some(first) = self.items.first() else { return true };
        let near = i16::try_from(i64::from(item.number) - i64::from(first.number)).is_ok();
        near && first.at.block == item.at.block && self.items.len() < HEADER_ENTRIES_MAX
    }
}

fn kind_number(kind: &Kind) -> u16 {
    match kind {
        Kind::Dir(_) => DIR,
        Kind::File { .. } => FILE,
        Kind::Symlink(_) => SYMLINK,
        Kind::Block { .. } => BLOCK,
        Kind::Char { .. } => CHAR,
        Kind::Fifo => FIFO,
        Kind::Socket => SOCKET,
    }
}

/// Device numbers as Linux writes them in 32 bits: 12 bits major, 20 bits minor.
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// A directory index needs blocks of full length, which the meta writer guarantees.
const _: () = assert!(META_BLOCK_BYTES == 8192);
