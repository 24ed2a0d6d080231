//! File contents: blocks, fragments, holes, and files that share their bytes.
//!
//! A file smaller than a block goes into a fragment block together with others; a larger one has separate
//! blocks, the last one short. A block of zeros is a hole and takes no space. A file whose size and hash were
//! seen before is compared byte by byte with the earlier one and, if equal, points to the same blocks. Only
//! files that share their size with another are hashed, so the common large file is read once.

use std::collections::HashMap;
use std::io::Write;

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use super::{Options, Progress, Sink, SquashfsError};
use crate::pool::{Packed, Pool};
use crate::tree::{Content, InodeId, Kind, Reader, Tree};

/// Bit of a size word: the block is stored as it is.
const STORED_BIT: u32 = 1 << 24;
/// Bytes compared or hashed at once.
const COMPARE_BYTES: usize = 64 * 1024;

/// Where the bytes of a file are in the image.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// Position of the first block.
    pub(super) start: u64,
    /// Size words of the blocks; 0 is a hole.
    pub(super) blocks: Vec<u32>,
    /// Fragment number and offset inside it.
    pub(super) fragment: Option<(u32, u32)>,
    /// Bytes in holes.
    pub(super) sparse: u64,
}

/// All that was written for files.
pub(super) struct Data {
    layouts: Vec<Layout>,
    layout_of: HashMap<InodeId, usize>,
    /// Position and size word of every fragment block.
    pub(super) fragments: Vec<(u64, u32)>,
    pub(super) file_bytes: u64,
    pub(super) duplicates: u64,
}

impl Data {
    pub(super) fn layout(&self, id: InodeId) -> Option<&Layout> {
        self.layouts.get(*self.layout_of.get(&id)?)
    }

    pub(super) fn fragment_table(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.fragments.len() * 16);
        for (start, size) in &self.fragments {
            bytes.extend(start.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend(0u32.to_le_bytes());
        }
        bytes
    }
}

/// What a block on its way through the pool is.
enum Block {
    File { layout: usize, index: usize },
    Fragment { index: usize },
}

/// Write the contents of all regular files.
pub(super) fn write<W: Write>(
    tree: &Tree,
    sink: &mut Sink<'_, W>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Data, SquashfsError> {
    let files = regular_files(tree);
    let total_bytes = files.iter().map(|file| file.size).sum();
    let packers = (0..options.threads).map(|_| options.compressor.start()).collect::<Result<Vec<_>, _>>()?;
    std::thread::scope(|scope| {
        let mut writer = Writer {
            sink,
            progress,
            pool: Pool::start(scope, packers),
            block_bytes: options.block_bytes as usize,
            fragment: Vec::new(),
            seen: HashMap::new(),
            now: Progress { total_bytes, ..Progress::default() },
            data: Data {
                layouts: Vec::new(),
                layout_of: HashMap::new(),
                fragments: Vec::new(),
                file_bytes: total_bytes,
                duplicates: 0,
            },
        };
        let mut same_size: HashMap<u64, u32> = HashMap::new();
        for file in &files {
            *same_size.entry(file.size).or_default() += 1;
        }
        for file in &files {
            writer.file(file, same_size.get(&file.size).is_some_and(|count| *count > 1))?;
        }
        writer.finish()
    })
}

struct SourceFile<'a> {
    id: InodeId,
    size: u64,
    content: &'a Content,
}

/// Each regular inode once, in the order of the first of its names.
fn regular_files(tree: &Tree) -> Vec<SourceFile<'_>> {
    let mut seen = vec![false; tree.inode_slots()];
    let mut files = Vec::new();
    for entry in tree.walk() {
        if let Kind::File { size, content } = &tree.inode(entry.id).kind
            && let Some(seen) = seen.get_mut(entry.id.index())
            && !std::mem::replace(seen, true)
        {
            files.push(SourceFile { id: entry.id, size: *size, content });
        }
    }
    files
}

type Seen<'t> = HashMap<(u64, u128), Vec<(&'t Content, usize)>>;

struct Writer<'a, 'w, 't, W: Write> {
    sink: &'a mut Sink<'w, W>,
    progress: &'a mut dyn FnMut(Progress),
    pool: Pool<Block>,
    block_bytes: usize,
    fragment: Vec<u8>,
    seen: Seen<'t>,
    now: Progress,
    data: Data,
}

impl<'t, W: Write> Writer<'_, '_, 't, W> {
    fn file(&mut self, file: &SourceFile<'t>, maybe_twin: bool) -> Result<(), SquashfsError> {
        if file.size < self.block_bytes as u64 {
            return self.small_file(file, maybe_twin);
        }
        let key = if maybe_twin { Some((file.size, hash(file)?)) } else { None };
        let twin = self.twin(key, |other| equal(other, file.content, file.size))?;
        match self.place(file, key, twin) {
            Some(layout) => self.blocks(file, layout),
            None => Ok(()),
        }
    }

    /// A file that fits a block is read once, before it is known whether its bytes are there already.
    fn small_file(&mut self, file: &SourceFile<'t>, maybe_twin: bool) -> Result<(), SquashfsError> {
        let mut bytes = vec![0; usize::try_from(file.size).unwrap_or(0)];
        Reader::open(file.content, file.size)?.fill(&mut bytes)?;
        let key = (maybe_twin && file.size > 0).then(|| (file.size, hash_bytes(&bytes)));
        let twin = self.twin(key, |other| {
            let mut earlier = vec![0; bytes.len()];
            Reader::open(other, file.size)?.fill(&mut earlier)?;
            Ok(earlier == bytes)
        })?;
        match self.place(file, key, twin) {
            Some(layout) => self.small(&bytes, layout),
            None => Ok(()),
        }
    }

    /// The layout of an earlier file with the same bytes.
    fn twin(
        &self,
        key: Option<(u64, u128)>,
        same: impl Fn(&Content) -> Result<bool, SquashfsError>,
    ) -> Result<Option<usize>, SquashfsError> {
        for (content, layout) in key.and_then(|key| self.seen.get(&key)).into_iter().flatten() {
            if same(content)? {
                return Ok(Some(*layout));
            }
        }
        Ok(None)
    }

    /// A new layout for the file, or `None` when it shares that of its twin.
    fn place(
        &mut self,
        file: &SourceFile<'t>,
        key: Option<(u64, u128)>,
        twin: Option<usize>,
    ) -> Option<usize> {
        if let Some(layout) = twin {
            self.data.layout_of.insert(file.id, layout);
            self.data.duplicates += 1;
            self.now.read_bytes += file.size;
            return None;
        }
        let layout = self.data.layouts.len();
        self.data.layouts.push(Layout::default());
        self.data.layout_of.insert(file.id, layout);
        if let Some(key) = key {
            self.seen.entry(key).or_default().push((file.content, layout));
        }
        Some(layout)
    }

    fn blocks(&mut self, file: &SourceFile<'_>, layout: usize) -> Result<(), SquashfsError> {
        let mut reader = Reader::open(file.content, file.size)?;
        let mut left = file.size;
        let mut index = 0;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.block_bytes);
            let mut block = vec![0; length];
            reader.fill(&mut block)?;
            self.block(block, layout, index)?;
            left -= length as u64;
            index += 1;
        }
        Ok(())
    }

    /// One block of a file. Its size word is filled in when it comes back from the pool.
    fn block(&mut self, block: Vec<u8>, layout: usize, index: usize) -> Result<(), SquashfsError> {
        self.now.read_bytes += block.len() as u64;
        let hole = block.iter().all(|byte| *byte == 0);
        if let Some(layout) = self.data.layouts.get_mut(layout) {
            layout.blocks.push(0);
            layout.sparse += if hole { block.len() as u64 } else { 0 };
        }
        if hole {
            return Ok(());
        }
        self.give(Block::File { layout, index }, block)
    }

    /// A small file goes into the fragment block that is being filled.
    fn small(&mut self, bytes: &[u8], layout: usize) -> Result<(), SquashfsError> {
        self.now.read_bytes += bytes.len() as u64;
        if bytes.is_empty() {
            return Ok(());
        }
        if self.fragment.len() + bytes.len() > self.block_bytes {
            self.flush_fragment()?;
        }
        let number =
            u32::try_from(self.data.fragments.len()).map_err(|_| SquashfsError::Limit("fragments"))?;
        let offset = u32::try_from(self.fragment.len()).map_err(|_| SquashfsError::Limit("fragment size"))?;
        if let Some(layout) = self.data.layouts.get_mut(layout) {
            layout.fragment = Some((number, offset));
        }
        self.fragment.extend_from_slice(bytes);
        Ok(())
    }

    fn flush_fragment(&mut self) -> Result<(), SquashfsError> {
        if self.fragment.is_empty() {
            return Ok(());
        }
        let index = self.data.fragments.len();
        self.data.fragments.push((0, 0));
        let block = std::mem::take(&mut self.fragment);
        self.give(Block::Fragment { index }, block)
    }

    fn give(&mut self, what: Block, block: Vec<u8>) -> Result<(), SquashfsError> {
        while self.pool.full() {
            self.take()?;
        }
        self.pool.give(what, block).map_err(SquashfsError::Compress)
    }

    /// Write the oldest finished block. `false`: there was none.
    fn take(&mut self) -> Result<bool, SquashfsError> {
        let Some((what, Packed { bytes, stored })) = self.pool.take().map_err(SquashfsError::Compress)?
        else {
            return Ok(false);
        };
        let start = self.sink.at;
        self.sink.put(&bytes)?;
        let size = u32::try_from(bytes.len()).map_err(|_| SquashfsError::Limit("block size"))?;
        let word = if stored { size | STORED_BIT } else { size };
        match what {
            Block::Fragment { index } => {
                if let Some(entry) = self.data.fragments.get_mut(index) {
                    *entry = (start, word);
                }
            }
            Block::File { layout, index } => {
                let layout = self.data.layouts.get_mut(layout);
                if let Some(layout) = layout {
                    // Blocks come back in order: the first one that is not a hole begins the file.
                    if layout.start == 0 {
                        layout.start = start;
                    }
                    if let Some(entry) = layout.blocks.get_mut(index) {
                        *entry = word;
                    }
                }
            }
        }
        self.now.written_bytes = self.sink.at;
        (self.progress)(self.now);
        Ok(true)
    }

    fn finish(mut self) -> Result<Data, SquashfsError> {
        self.flush_fragment()?;
        while self.take()? {}
        Ok(self.data)
    }
}

fn hash(file: &SourceFile<'_>) -> Result<u128, SquashfsError> {
    let mut reader = Reader::open(file.content, file.size)?;
    let mut hasher = SipHasher13::new();
    let mut left = file.size;
    let mut buffer = vec![0; COMPARE_BYTES];
    while left > 0 {
        let part = part(&mut buffer, left);
        reader.fill(part)?;
        hasher.write(part);
        left -= part.len() as u64;
    }
    Ok(hasher.finish128().as_u128())
}

fn hash_bytes(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

fn equal(a: &Content, b: &Content, size: u64) -> Result<bool, SquashfsError> {
    let (mut a, mut b) = (Reader::open(a, size)?, Reader::open(b, size)?);
    let (mut one, mut two) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    let mut left = size;
    while left > 0 {
        let (one, two) = (part(&mut one, left), part(&mut two, left));
        a.fill(one)?;
        b.fill(two)?;
        if one != two {
            return Ok(false);
        }
        left -= one.len() as u64;
    }
    Ok(true)
}

fn part(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    buffer.split_at_mut(length).0
}
