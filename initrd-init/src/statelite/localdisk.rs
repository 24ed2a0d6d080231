//! The local disk: a file system that is there already is mounted, nothing is ever partitioned or formatted.
//!
//! Drivers and file system come from the image's own modules, so that an initramfs need not carry those of every disk. A
//! disk that does not appear or cannot be mounted is no reason to stop: its entries are kept in memory, and the
//! console says why.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;

use super::list::{List, LocalDisk, Opt};
use crate::error::Result;
use crate::log;
use crate::modules::Loader;
use crate::sys;

/// Wait for the device to appear, in seconds; a rotating disk takes several.
const DEVICE_SECONDS_MAX: u64 = 20;
/// Pause between two looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 100;

/// Mounts the disk of the list at `target`. Afterwards the list says what there is.
pub fn mount(list: &mut List, image: &str, blacklist: &[String], target: &str) {
    let wanted = list.entries.iter().any(|entry| entry.option == Opt::LocalDisk);
    let (device, kind) = match &list.local_disk {
        LocalDisk::Device { device, kind } => (device.clone(), kind.clone()),
        LocalDisk::Missing(reason) => {
            if wanted {
                log::problem(&format!("local disk: {reason}; its files are kept in memory"));
            }
            return;
        }
        LocalDisk::Unknown => {
            let reason = "linuximage.partitionfile is not set".to_owned();
            if wanted {
                log::problem(&format!("local disk: {reason}; its files are kept in memory"));
            }
            list.local_disk = LocalDisk::Missing(reason);
            return;
        }
    };
    match attach(&device, &kind, image, blacklist, target) {
        Ok(()) => log::step(&format!("local disk: {device} ({kind}) mounted")),
        Err(error) => {
            log::problem(&format!("local disk: {error}; its files are kept in memory"));
            list.local_disk = LocalDisk::Missing(error.to_string());
        }
    }
}

fn attach(device: &str, kind: &str, image: &str, blacklist: &[String], target: &str) -> Result<()> {
    let mut loader = Loader::of_root(image, blacklist);
    let deadline = Instant::now() + Duration::from_secs(DEVICE_SECONDS_MAX);
    while !Path::new(device).exists() && Instant::now() < deadline {
        if loader.coldplug() == 0 {
            sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
        }
    }
    loader.load(kind)?;
    sys::make_dirs(target)?;
    sys::mount(device, target, kind, MountFlags::empty(), "")
}
