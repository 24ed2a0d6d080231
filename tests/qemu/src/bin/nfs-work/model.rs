//! Random operations on a real tree and on a model of it in memory; what they show must be equal at every
//! step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use crate::random::Random;

/// Directories and names in them that operations choose from: few, so that they meet.
const DIRECTORIES: u64 = 4;
const NAMES: u64 = 8;
/// Most bytes of one write and of a file.
const WRITE_BYTES_MAX: u64 = 48 << 10;
const FILE_BYTES_MAX: u64 = 512 << 10;

/// What a name refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    /// Number of the file in [`Model::files`].
    File(usize),
    Link(String),
    Fifo,
    Socket,
}

/// A file, however many names it has.
#[derive(Debug, Clone)]
struct Content {
    data: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    /// Time of change, where it was set by hand after the last write.
    mtime: Option<(i64, i64)>,
}

/// The tree and its image in memory.
pub(crate) struct Model {
    top: PathBuf,
    nodes: BTreeMap<String, Node>,
    files: Vec<Content>,
    /// Operations done.
    pub steps: u64,
}

type Operation = fn(&mut Model, &mut Random, &str) -> Result<()>;

/// Writing and reading come up more often than the rest.
const OPERATIONS: [Operation; 22] = [
    Model::write,
    Model::write,
    Model::write,
    Model::append,
    Model::append,
    Model::truncate,
    Model::read,
    Model::read,
    Model::read,
    Model::map,
    Model::create_exclusively,
    Model::link,
    Model::rename,
    Model::rename,
    Model::remove,
    Model::symlink,
    Model::special,
    Model::chmod,
    Model::chown,
    Model::set_times,
    Model::list,
    Model::directory,
];

impl Model {
    /// An empty tree.
    pub(crate) fn new(top: &Path) -> Result<Self> {
        fs::create_dir(top).with_context(|| format!("{} must be new", top.display()))?;
        let mut nodes = BTreeMap::new();
        for number in 0..DIRECTORIES {
            let name = format!("d{number}");
            fs::create_dir(top.join(&name))?;
            nodes.insert(name, Node::Directory);
        }
        Ok(Self { top: top.to_owned(), nodes, files: Vec::new(), steps: 0 })
    }

    /// One random operation.
    pub(crate) fn step(&mut self, random: &mut Random) -> Result<()> {
        self.steps += 1;
        let name = some_name(random);
        let number = usize::try_from(random.below(OPERATIONS.len() as u64))?;
        let operation = OPERATIONS.get(number).context("no such operation")?;
        operation(self, random, &name)
            .with_context(|| format!("{name}, which is {:?}, kind {number}", self.nodes.get(&name)))?;
        self.look(&name).with_context(|| format!("{name} after an operation of kind {number}"))
    }

    /// Compares the whole tree.
    pub(crate) fn verify(&self) -> Result<()> {
        for (name, node) in &self.nodes {
            self.look(name)?;
            if let Node::File(number) = node {
                let got = fs::read(self.path(name)).with_context(|| name.clone())?;
                ensure!(got == self.file(*number)?.data, "{name}: other bytes");
            }
        }
        (0..DIRECTORIES).try_for_each(|number| self.compare_list(&format!("d{number}")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    fn file(&self, number: usize) -> Result<&Content> {
        self.files.get(number).context("no such file in the model")
    }

    fn content(&mut self, name: &str) -> Result<Option<&mut Content>> {
        match self.nodes.get(name) {
            Some(Node::File(number)) => Ok(Some(self.files.get_mut(*number).context("no such file")?)),
            _ => Ok(None),
        }
    }

    fn links(&self, number: usize) -> u64 {
        self.nodes.values().filter(|node| **node == Node::File(number)).count() as u64
    }

    /// Compares what `lstat` says.
    fn look(&self, name: &str) -> Result<()> {
        let meta = match (fs::symlink_metadata(self.path(name)), self.nodes.get(name)) {
            (Err(error), None) if error.kind() == ErrorKind::NotFound => return Ok(()),
            (Err(error), _) => return Err(error).context("lstat"),
            (Ok(_), None) => bail!("it exists and must not"),
            (Ok(meta), Some(_)) => meta,
        };
        let kind = meta.file_type();
        match self.nodes.get(name) {
            Some(Node::Directory) => ensure!(kind.is_dir(), "no directory"),
            Some(Node::Fifo) => ensure!(kind.is_fifo(), "no FIFO"),
            Some(Node::Socket) => ensure!(kind.is_socket(), "no socket"),
            Some(Node::Link(text)) => {
                ensure!(fs::read_link(self.path(name))? == Path::new(text), "other text")
            }
            Some(Node::File(number)) => {
                let file = self.file(*number)?;
                let got = (meta.mode() & 0o7777, (meta.uid(), meta.gid()), meta.size(), meta.nlink());
                let want = (file.mode, file.owner, file.data.len() as u64, self.links(*number));
                ensure!(kind.is_file() && got == want, "{got:?} is not {want:?}");
                let time = (meta.mtime(), meta.mtime_nsec());
                ensure!(
                    file.mtime.is_none_or(|want| want == time),
                    "mtime is {time:?}, not {:?}",
                    file.mtime
                );
            }
            None => (),
        }
        Ok(())
    }

    /// The file of that name, made if there is nothing; `None` if something else is there.
    fn open(&mut self, random: &mut Random, name: &str, append: bool) -> Result<Option<File>> {
        let mode = 0o600 | u32::try_from(random.below(0o200))?;
        match self.nodes.get(name) {
            Some(Node::File(_)) => (),
            Some(_) => return Ok(None),
            None => self.add_file(name, mode),
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).append(append).create(true).mode(mode);
        Ok(Some(options.open(self.path(name)).context("open")?))
    }

    fn add_file(&mut self, name: &str, mode: u32) {
        self.nodes.insert(name.to_owned(), Node::File(self.files.len()));
        self.files.push(Content { data: Vec::new(), mode, owner: (0, 0), mtime: None });
    }

    fn write(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let Some(file) = self.open(random, name, false)? else { return Ok(()) };
        let (at, len) = (random.below(FILE_BYTES_MAX - WRITE_BYTES_MAX), random.below(WRITE_BYTES_MAX) + 1);
        let bytes = random.bytes(usize::try_from(len)?);
        file.write_all_at(&bytes, at).context("pwrite")?;
        let content = self.content(name)?.context("no file")?;
        content.put(at, &bytes)?;
        if random.below(4) == 0 {
            file.sync_all().context("fsync")?;
        }
        Ok(())
    }

    fn append(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let full = |content: &mut Content| content.data.len() as u64 > FILE_BYTES_MAX;
        if self.content(name)?.is_some_and(full) {
            return Ok(());
        }
        let Some(mut file) = self.open(random, name, true)? else { return Ok(()) };
        let len = random.below(4096) + 1;
        let bytes = random.bytes(usize::try_from(len)?);
        file.write_all(&bytes).context("append")?;
        let content = self.content(name)?.context("no file")?;
        let end = content.data.len() as u64;
        content.put(end, &bytes)
    }

    /// Makes a file shorter, or longer with a hole.
    fn truncate(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let Some(file) = self.open(random, name, false)? else { return Ok(()) };
        let size = random.below(FILE_BYTES_MAX);
        file.set_len(size).context("ftruncate")?;
        let content = self.content(name)?.context("no file")?;
        content.mtime = None;
        content.data.resize(usize::try_from(size)?, 0);
        Ok(())
    }

    fn read(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let path = self.path(name);
        let Some(content) = self.content(name)? else { return Ok(()) };
        let size = content.data.len() as u64;
        let (at, len) = (random.below(size + 1), random.below(WRITE_BYTES_MAX) + 1);
        let len = len.min(size - at);
        let mut buffer = vec![0; usize::try_from(len)?];
        let file = File::open(path).context("open")?;
        file.read_exact_at(&mut buffer, at).context("pread")?;
        let from = usize::try_from(at)?;
        ensure!(content.data.get(from..from + buffer.len()) == Some(&buffer[..]), "other bytes at {at}");
        Ok(())
    }

    /// Changes a byte through a shared mapping.
    fn map(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let path = self.path(name);
        let Some(content) = self.content(name)?.filter(|content| !content.data.is_empty()) else {
            return Ok(());
        };
        let at = usize::try_from(random.below(content.data.len() as u64))?;
        let file = OpenOptions::new().read(true).write(true).open(path).context("open")?;
        // SAFETY: no other process changes the size of this file while it is mapped.
        let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.context("mmap")?;
        ensure!(map[..] == content.data[..], "other bytes in the mapping");
        for (place, byte) in [(map.get_mut(at), 0x5a), (content.data.get_mut(at), 0x5a)] {
            *place.context("out of range")? ^= byte;
        }
        map.flush().context("msync")?;
        content.mtime = None;
        Ok(())
    }

    fn create_exclusively(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let mode = 0o600 | u32::try_from(random.below(0o200))?;
        let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(self.path(name));
        match (made, self.nodes.contains_key(name)) {
            (Ok(_), false) => self.add_file(name, mode),
            (Err(error), true) if error.kind() == ErrorKind::AlreadyExists => (),
            (made, exists) => bail!("exclusive creation: {made:?}, and exists is {exists}"),
        }
        Ok(())
    }

    fn link(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let to = some_name(random);
        let Some(node @ Node::File(_)) = self.nodes.get(name).cloned() else { return Ok(()) };
        match (fs::hard_link(self.path(name), self.path(&to)), self.nodes.contains_key(&to)) {
            (Ok(()), false) => self.nodes.insert(to.clone(), node),
            (Err(error), true) if error.kind() == ErrorKind::AlreadyExists => None,
            (linked, exists) => bail!("link to {to}: {linked:?}, and exists is {exists}"),
        };
        self.look(&to)
    }

    /// Renames to a name that may be taken.
    fn rename(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let to = some_name(random);
        let Some(node) = self.nodes.get(name).cloned() else { return Ok(()) };
        let result = fs::rename(self.path(name), self.path(&to));
        let target = self.nodes.get(&to).cloned();
        let dirs = (node == Node::Directory, target == Some(Node::Directory));
        if to == name || (target.as_ref() == Some(&node) && matches!(node, Node::File(_))) {
            // Two names of one file: nothing happens.
            return result.context("rename onto itself");
        }
        match (dirs, target.is_some(), result) {
            ((true, true) | (false, false), _, Ok(())) | ((true, false), false, Ok(())) => {
                self.nodes.remove(name);
                self.nodes.insert(to.clone(), node);
            }
            ((true, false), true, Err(error)) if error.kind() == ErrorKind::NotADirectory => (),
            ((false, true), true, Err(error)) if error.kind() == ErrorKind::IsADirectory => (),
            (_, _, result) => bail!("rename to {to}, which is {target:?}: {result:?}"),
        }
        self.look(&to)
    }

    fn remove(&mut self, _random: &mut Random, name: &str) -> Result<()> {
        let removed = match self.nodes.get(name) {
            Some(Node::Directory) => fs::remove_dir(self.path(name)),
            _ => fs::remove_file(self.path(name)),
        };
        match (removed, self.nodes.remove(name)) {
            (Ok(()), Some(_)) => Ok(()),
            (Err(error), None) if error.kind() == ErrorKind::NotFound => Ok(()),
            (removed, node) => bail!("remove: {removed:?} of {node:?}"),
        }
    }

    fn symlink(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let text = format!("../{}-{}", some_name(random), random.below(1000));
        let made = std::os::unix::fs::symlink(&text, self.path(name));
        self.made(name, made, Node::Link(text))
    }

    fn special(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let (kind, node) = match random.below(2) {
            0 => (FileType::Fifo, Node::Fifo),
            _ => (FileType::Socket, Node::Socket),
        };
        let made = rustix::fs::mknodat(CWD, self.path(name), kind, Mode::from_raw_mode(0o600), 0);
        self.made(name, made.map_err(Into::into), node)
    }

    fn directory(&mut self, _random: &mut Random, name: &str) -> Result<()> {
        let made = fs::create_dir(self.path(name));
        self.made(name, made, Node::Directory)
    }

    fn made(&mut self, name: &str, made: std::io::Result<()>, node: Node) -> Result<()> {
        match (made, self.nodes.contains_key(name)) {
            (Ok(()), false) => drop(self.nodes.insert(name.to_owned(), node)),
            (Err(error), true) if error.kind() == ErrorKind::AlreadyExists => (),
            (made, exists) => bail!("making {node:?}: {made:?}, and exists is {exists}"),
        }
        Ok(())
    }

    fn chmod(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let path = self.path(name);
        let Some(content) = self.content(name)? else { return Ok(()) };
        content.mode = u32::try_from(random.below(0o1000))?;
        fs::set_permissions(path, fs::Permissions::from_mode(content.mode)).context("chmod")
    }

    fn chown(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let path = self.path(name);
        let Some(content) = self.content(name)? else { return Ok(()) };
        content.owner = (u32::try_from(random.below(3000))?, u32::try_from(random.below(3000))?);
        std::os::unix::fs::chown(path, Some(content.owner.0), Some(content.owner.1)).context("chown")
    }

    fn set_times(&mut self, random: &mut Random, name: &str) -> Result<()> {
        let path = self.path(name);
        let Some(content) = self.content(name)? else { return Ok(()) };
        let time = (i64::try_from(random.below(2_000_000_000))?, i64::try_from(random.below(1_000_000_000))?);
        let spec = Timespec { tv_sec: time.0, tv_nsec: time.1 };
        let times = Timestamps { last_access: spec, last_modification: spec };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).context("utimensat")?;
        content.mtime = Some(time);
        Ok(())
    }

    fn list(&mut self, _random: &mut Random, name: &str) -> Result<()> {
        self.compare_list(name.split_once('/').map_or(name, |(directory, _)| directory))
    }

    fn compare_list(&self, directory: &str) -> Result<()> {
        let entries = fs::read_dir(self.path(directory)).context("opendir")?;
        let mut got: Vec<String> = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        got.sort();
        let below = |name: &String| Some(name.strip_prefix(directory)?.strip_prefix('/')?.to_owned());
        let want: Vec<String> = self.nodes.keys().filter_map(below).collect();
        ensure!(got == want, "{directory} lists {got:?}, not {want:?}");
        Ok(())
    }
}

impl Content {
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let at = usize::try_from(at)?;
        if self.data.len() < at + bytes.len() {
            self.data.resize(at + bytes.len(), 0);
        }
        self.data.get_mut(at..at + bytes.len()).context("out of range")?.copy_from_slice(bytes);
        self.mtime = None;
        Ok(())
    }
}

fn some_name(random: &mut Random) -> String {
    format!("d{}/n{}", random.below(DIRECTORIES), random.below(NAMES))
}
