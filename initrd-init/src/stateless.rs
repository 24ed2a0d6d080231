//! A root in memory: fetch the image, loop mount it, lay a writable tmpfs over it.
//!
//! The image stays compressed in a tmpfs file and is read through the page cache, so that a node needs the
//! compressed size plus what it writes. Only squashfs images; cpio and tar archives are told to be unsupported.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::net::Ipv4Addr;

use rustix::mount::MountFlags;

use crate::error::{Error, Result};
use crate::http::{self, Sink};
use crate::log;
use crate::modules::Loader;
use crate::sys;
use crate::url::Url;

const STORE: &str = "/store";
const IMAGE: &str = "/store/root.sfs";
const LOWER: &str = "/lower";
const UPPER: &str = "/upper";

/// Memory left for the running system besides the image, in bytes; below it the boot is refused with a message.
const MEMORY_SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// Steps in which progress is told, in percent.
const PROGRESS_STEP_PERCENT: u64 = 10;
/// Magic number of squashfs, first bytes of the image.
const SQUASHFS_MAGIC: &[u8; 4] = b"hsqs";

/// Size of the writable layer and more tmpfs options, from the kernel line.
#[derive(Debug, Clone, Copy)]
pub struct Writable<'a> {
    /// `rootlimit=`.
    pub limit: Option<&'a str>,
    /// `rootflags=`.
    pub flags: Option<&'a str>,
}

/// Builds the root at `target`.
pub fn build(
    url: &Url,
    resolve: &dyn Fn(&str) -> Result<Ipv4Addr>,
    writable: Writable<'_>,
    loader: &mut Loader,
    target: &str,
) -> Result<()> {
    refuse_archives(url)?;
    for module in ["loop", "squashfs", "overlay"] {
        loader.load(module)?;
    }
    store()?;
    download(url, resolve)?;
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

fn refuse_archives(url: &Url) -> Result<()> {
    let name = url.file_name();
    if name.contains(".cpio") || name.contains(".tar") || name.ends_with(".gz") {
        return Err(Error::Image(format!(
            "{name} is an archive; this /init mounts squashfs images only. Pack the image with `packimage -m squashfs`"
        )));
    }
    Ok(())
}

/// The image may need more than half of the memory, the default limit; on machines with several memory nodes it
/// is spread over all of them, where the kernel can do that.
fn store() -> Result<()> {
    sys::tmpfs(STORE, "mode=700,size=100%,mpol=interleave")
        .or_else(|_| sys::tmpfs(STORE, "mode=700,size=100%"))
}

fn download(url: &Url, resolve: &dyn Fn(&str) -> Result<Ipv4Addr>) -> Result<()> {
    log::step(&format!("image: fetching {url}"));
    let file = File::create(IMAGE).map_err(|cause| Error::file("create", IMAGE, cause))?;
    let started = log::uptime_ms();
    let bytes = http::fetch(url, resolve, &mut Download::new(file))?;
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
    let size = writable.limit.map(|limit| format!(",size={limit}")).unwrap_or_default();
    let flags = writable.flags.map(|flags| format!(",{flags}")).unwrap_or_default();
    sys::tmpfs(UPPER, &format!("mode=755{size}{flags}"))?;
    let (upper, work) = (format!("{UPPER}/upper"), format!("{UPPER}/work"));
    sys::make_dirs(&upper)?;
    sys::make_dirs(&work)?;
    sys::make_dirs(target)?;
    let options = format!("lowerdir={LOWER},upperdir={upper},workdir={work}");
    sys::mount("dawn-root", target, "overlay", MountFlags::empty(), &options)
}

/// Writes the image file and tells how far it is.
struct Download {
    file: File,
    got: u64,
    total: u64,
    told_percent: u64,
}

impl Download {
    fn new(file: File) -> Self {
        Self { file, got: 0, total: 0, told_percent: 0 }
    }

    fn tell(&mut self) {
        let percent = (self.got * 100).checked_div(self.total).unwrap_or(0);
        if percent >= self.told_percent + PROGRESS_STEP_PERCENT {
            self.told_percent = percent - percent % PROGRESS_STEP_PERCENT;
            log::step(&format!("image: {} % of {}", self.told_percent, size(self.total)));
        }
    }
}

impl Sink for Download {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.got += u64::try_from(bytes.len()).unwrap_or(0);
        self.tell();
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        (self.got, self.told_percent) = (0, 0);
        self.file.rewind()?;
        self.file.set_len(0)
    }

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
    fn archives_are_refused_with_a_way_out() {
        for name in ["rootimg.cpio.gz", "rootimg.tar.xz", "rootimg.gz"] {
            let url = Url::parse(&format!("http://s/{name}")).unwrap();
            assert!(refuse_archives(&url).unwrap_err().to_string().contains("squashfs"));
        }
        assert!(refuse_archives(&Url::parse("http://s/rootimg.sfs").unwrap()).is_ok());
    }

    #[test]
    fn sizes() {
        assert_eq!(size(0), "0.0 MiB");
        assert_eq!(size(1_600_000), "1.5 MiB");
    }
}
