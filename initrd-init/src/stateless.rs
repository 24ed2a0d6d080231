//! A root in memory: fetch the image, loop mount it, put a writable tmpfs over it.
//!
//! A squashfs image stays compressed in a tmpfs file and is read through the page cache, so that a node needs
//! the compressed size plus what it writes. A cpio or tar archive is unpacked into a tmpfs while it arrives;
//! the node then needs the unpacked size.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::net::Ipv4Addr;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::mount::MountFlags;

use crate::error::{Error, Result};
use crate::http::{self, Sink};
use crate::log;
use crate::modules::Loader;
use crate::sys;
use crate::unpack::ChannelReader;
use crate::url::Url;

const STORE: &str = "/store";
const IMAGE: &str = "/store/root.sfs";
const LOWER: &str = "/lower";
const UPPER: &str = "/upper";

/// Memory left for the running system besides the image, in bytes; below it the boot is refused with a
/// message.
const MEMORY_SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// Steps in which progress is reported, in percent.
const PROGRESS_STEP_PERCENT: u64 = 10;
/// Buffers between transfer and unpacker.
const QUEUE_BUFFERS: usize = 16;
/// Magic number of squashfs, first bytes of the image.
const SQUASHFS_MAGIC: &[u8; 4] = b"hsqs";

/// Size of the writable layer and more tmpfs options, from the kernel line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writable<'a> {
    /// `rootlimit=`.
    pub limit: Option<&'a str>,
    /// `rootflags=`.
    pub flags: Option<&'a str>,
}

impl Writable<'_> {
    fn tmpfs_options(&self) -> String {
        let size = self.limit.map(|limit| format!(",size={limit}")).unwrap_or_default();
        let flags = self.flags.map(|flags| format!(",{flags}")).unwrap_or_default();
        format!("mode=755{size}{flags}")
    }
}

/// Builds the root at `target`.
pub(crate) fn build(
    url: &Url,
    resolve: &dyn Fn(&str) -> Result<Ipv4Addr>,
    writable: Writable<'_>,
    loader: &mut Loader,
    target: &str,
) -> Result<()> {
    if is_archive(url) {
        return unpack(url, resolve, writable, target);
    }
    for module in ["loop", "squashfs", "overlay"] {
        loader.load(module)?;
    }
    store()?;
    download(url, resolve, IMAGE)?;
    check_magic(url)?;
    let (device, held) = sys::attach_loop(IMAGE)?;
    sys::make_dirs(LOWER)?;
    sys::mount(&device, LOWER, "squashfs", MountFlags::RDONLY, "")?;
    drop(held);
    overlay(writable, target)?;
    for hidden in [LOWER, UPPER, STORE] {
        sys::detach(hidden);
    }
    Ok(())
}

/// The name distinguishes archives from file system images; the content is checked later.
fn is_archive(url: &Url) -> bool {
    let name = url.file_name();
    [".gz", ".xz", ".cpio", ".tar"].iter().any(|suffix| name.ends_with(suffix))
}

/// Unpacks an archive into a tmpfs at `target`.
pub(crate) fn unpack(
    url: &Url,
    resolve: &dyn Fn(&str) -> Result<Ipv4Addr>,
    writable: Writable<'_>,
    target: &str,
) -> Result<()> {
    sys::tmpfs(target, &writable.tmpfs_options())?;
    log::step(&format!("image: fetching and unpacking {url}"));
    let started = log::uptime_ms();
    let (sender, receiver) = sync_channel(QUEUE_BUFFERS);
    let root = target.to_owned();
    let unpacker = std::thread::spawn(move || crate::unpack::unpack(ChannelReader::new(receiver), &root));
    let mut pipe = Pipe { sender, progress: Progress::default(), broken: false };
    let fetched = http::fetch(url, resolve, &mut pipe);
    let broken = pipe.broken;
    drop(pipe);
    let unpacked = unpacker.join().unwrap_or_else(|_| Err(io::Error::other("defect in the unpacker")));
    // A transfer that failed by itself explains a cut archive; a full memory explains a failed transfer.
    let bytes = if broken { 0 } else { fetched? };
    let entries = unpacked.map_err(|cause| Error::Image(format!("{url} cannot be unpacked: {cause}")))?;
    let millis = (log::uptime_ms() - started).max(1);
    log::step(&format!("image: {} fetched, {entries} files unpacked in {millis} ms", size(bytes)));
    Ok(())
}

/// The image may need more than half of the memory, the default limit; on machines with several memory nodes
/// it is spread over all of them, where the kernel can do that.
fn store() -> Result<()> {
    sys::tmpfs(STORE, "mode=700,size=100%,mpol=interleave")
        .or_else(|_| sys::tmpfs(STORE, "mode=700,size=100%"))
}

/// Fetches a file that stays in memory.
pub(crate) fn download(url: &Url, resolve: &dyn Fn(&str) -> Result<Ipv4Addr>, path: &str) -> Result<()> {
    log::step(&format!("image: fetching {url}"));
    let file = File::create(path).map_err(|cause| Error::file("create", path, cause))?;
    let started = log::uptime_ms();
    let bytes = http::fetch(url, resolve, &mut Download { file, progress: Progress::default() })?;
    let millis = (log::uptime_ms() - started).max(1);
    log::step(&format!("image: {} fetched in {millis} ms ({}/s)", size(bytes), size(bytes * 1000 / millis)));
    Ok(())
}

fn check_magic(url: &Url) -> Result<()> {
    let mut magic = [0; 4];
    let read = File::open(IMAGE).and_then(|mut file| io::Read::read_exact(&mut file, &mut magic));
    if read.is_err() || &magic != SQUASHFS_MAGIC {
        return Err(Error::Image(format!("{url} is not a squashfs image")));
    }
    Ok(())
}

fn overlay(writable: Writable<'_>, target: &str) -> Result<()> {
    sys::tmpfs(UPPER, &writable.tmpfs_options())?;
    let (upper, work) = (format!("{UPPER}/upper"), format!("{UPPER}/work"));
    sys::make_dirs(&upper)?;
    sys::make_dirs(&work)?;
    sys::make_dirs(target)?;
    let options = format!("lowerdir={LOWER},upperdir={upper},workdir={work}");
    sys::mount("dawn-root", target, "overlay", MountFlags::empty(), &options)
}

/// Reports how far a transfer is.
#[derive(Debug, Default)]
struct Progress {
    got: u64,
    total: u64,
    told_percent: u64,
}

impl Progress {
    fn add(&mut self, bytes: &[u8]) {
        self.got += u64::try_from(bytes.len()).unwrap_or(0);
        let percent = (self.got * 100).checked_div(self.total).unwrap_or(0);
        if percent >= self.told_percent + PROGRESS_STEP_PERCENT {
            self.told_percent = percent - percent % PROGRESS_STEP_PERCENT;
            log::step(&format!("image: {} % of {}", self.told_percent, size(self.total)));
        }
    }

    /// Refuses an image that cannot fit, before the memory is full.
    fn announce(&mut self, total: u64) -> Result<()> {
        self.total = total;
        let Some(free) = memory_available() else { return Ok(()) };
        let needed = total.saturating_sub(self.got).saturating_add(MEMORY_SPARE_BYTES);
        if needed > free {
            return Err(Error::Image(format!(
                "not enough memory: the image takes {} and {} are free; this node needs at least {} more",
                size(total),
                size(free),
                size(needed - free)
            )));
        }
        Ok(())
    }
}

/// Writes the image file.
struct Download {
    file: File,
    progress: Progress,
}

impl Sink for Download {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.progress.add(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.progress = Progress::default();
        self.file.rewind()?;
        self.file.set_len(0)
    }

    fn announce(&mut self, total: u64) -> Result<()> {
        self.progress.announce(total)
    }
}

/// Hands the archive to the unpacker.
struct Pipe {
    sender: SyncSender<Vec<u8>>,
    progress: Progress,
    /// The unpacker has given up.
    broken: bool,
}

impl Sink for Pipe {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.progress.add(bytes);
        self.sender.send(bytes.to_vec()).map_err(|_| {
            self.broken = true;
            io::Error::other("unpacking failed")
        })
    }

    fn restart(&mut self) -> io::Result<()> {
        Err(io::Error::other("half of the archive is unpacked already"))
    }

    fn announce(&mut self, total: u64) -> Result<()> {
        self.progress.announce(total)
    }
}

fn memory_available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// `123.4 MiB`.
fn size(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_name() {
        let is = |name: &str| is_archive(&Url::parse(&format!("http://s/{name}")).unwrap());
        assert!(["rootimg.cpio.gz", "rootimg.tar.xz", "rootimg.gz"].into_iter().all(is));
        assert!(!is("rootimg.sfs"));
    }

    #[test]
    fn sizes_of_the_writable_layer() {
        let options = |limit, flags| Writable { limit, flags }.tmpfs_options();
        assert_eq!(options(None, None), "mode=755");
        assert_eq!(options(Some("2g"), Some("nr_inodes=0")), "mode=755,size=2g,nr_inodes=0");
    }

    #[test]
    fn sizes() {
        assert_eq!(size(0), "0.0 MiB");
        assert_eq!(size(1_600_000), "1.5 MiB");
    }
}
