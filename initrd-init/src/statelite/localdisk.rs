//! The local disk: what the list's layout says is done to it in order, and one of its file systems is
//! mounted.
//!
//! Drivers and file systems come from the image's own modules, `mkfs.*` and `mkswap` are the image's
//! programs, so that an initramfs need not carry those of every disk. A disk that does not appear, a tool
//! that the image lacks and a layout that cannot be carried out are not a reason to stop: `localdisk` entries
//! are then kept in memory, and the reason is reported on the console and to the management node.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;

use dawn_wire::list::{LocalDisk, Part, Step, TableKind};
use dawn_wire::{List, LiteOption};

use super::parttable::{self, Disk};
use crate::error::{Error, Result};
use crate::log;
use crate::modules::Loader;
use crate::rescue;
use crate::sys;
use dawn_statelite::resolve::node::LOCAL;

/// Wait for a device to appear, in seconds; a rotating disk takes several.
const DEVICE_SECONDS_MAX: u64 = 20;
/// Pause between two looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 100;
/// Time one tool or script may take, in seconds: making a file system on a large, slow disk takes minutes.
const TOOL_SECONDS_MAX: u64 = 900;
/// What tools and scripts print.
pub(super) const LOG: &str = "/run/dawn/localdisk.log";
/// The script of a layout, as it sees itself.
const SCRIPT: &str = "/run/dawn/localdisk.script";

/// Carries the layout of the list out and mounts the disk at `target`. Afterwards the list says what exists.
pub(super) fn set_up(list: &mut List, image: &str, blacklist: &[String], target: &str) {
    let planned = std::mem::take(&mut list.local_disk);
    let tried = matches!(planned, LocalDisk::Layout(_));
    let result = match planned {
        LocalDisk::Layout(steps) => {
            let loader = Loader::of_root(image, blacklist);
            let result = Worker { image, target, loader, mounted: false }.run(&steps);
            list.local_disk = LocalDisk::Layout(steps);
            result
        }
        LocalDisk::Missing(reason) => Err(Error::Image(reason)),
        LocalDisk::Unknown => Err(Error::Image("linuximage.partitionfile is not set".to_owned())),
    };
    let failed = tried && result.is_err();
    let reason = match result {
        Ok(true) => return,
        Ok(false) => "its layout mounts no file system".to_owned(),
        Err(error) => error.to_string(),
    };
    if list.entries.iter().any(|entry| entry.option == LiteOption::Localdisk) {
        log::trouble(&format!("local disk: {reason}; its files are kept in memory"));
    } else if failed {
        log::trouble(&format!("local disk: {reason}"));
    }
    list.local_disk = LocalDisk::Missing(reason);
}

struct Worker<'a> {
    image: &'a str,
    target: &'a str,
    loader: Loader,
    mounted: bool,
}

impl Worker<'_> {
    /// Does all steps; says whether a file system is mounted at the target. The first failure ends it,
    /// because later steps build on earlier ones.
    fn run(&mut self, steps: &[Step]) -> Result<bool> {
        sys::make_dirs("/run/dawn")?;
        for step in steps {
            match step {
                Step::Disk { device, table, clear, kind, parts } => {
                    self.divide(device, (*table, *clear), kind, parts)?;
                }
                Step::Space { device, kind } => self.mount(device, kind)?,
                Step::Swap { device } => self.swap(device)?,
                Step::Script(text) => self.script(text)?,
            }
        }
        Ok(self.mounted)
    }

    fn wait_for(&mut self, device: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(DEVICE_SECONDS_MAX);
        while !Path::new(device).exists() {
            if Instant::now() >= deadline {
                return Err(Error::Image(format!("{device} has not appeared within {DEVICE_SECONDS_MAX} s")));
            }
            if self.loader.coldplug() == 0 {
                sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
            }
        }
        Ok(())
    }

    /// Writes the partition table and makes a file system on each new partition.
    fn divide(&mut self, device: &str, table: (TableKind, bool), kind: &str, parts: &[Part]) -> Result<()> {
        self.wait_for(device)?;
        let fail = |cause: io::Error| Error::file("divide", device, cause);
        let file = File::options().read(true).write(true).open(device).map_err(fail)?;
        let name = device.rsplit('/').next().unwrap_or(device);
        let number = |file: &str| -> Option<u64> {
            fs::read_to_string(format!("/sys/class/block/{name}/{file}")).ok()?.trim().parse().ok()
        };
        // The kernel counts in units of 512 bytes for every disk.
        let bytes = number("size").unwrap_or(0).saturating_mul(512);
        let block_bytes = number("queue/logical_block_size").unwrap_or(512).max(512);
        let disk = Disk { file: &file, bytes, block_bytes };
        let numbers = parttable::add(&disk, table.0, table.1, parts).map_err(fail)?;
        sys::read_partitions_again(&file).map_err(fail)?;
        drop(file);
        log::step(&format!("local disk: {device} has {} new partitions", numbers.len()));
        // `nvme0n1p1`, `sda1`.
        let between = if name.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
        for number in numbers {
            let partition = format!("{device}{between}{number}");
            self.wait_for(&partition)?;
            let quiet: &[&str] = match kind {
                "ext2" | "ext3" | "ext4" => &["-q", "-F"],
                "xfs" | "btrfs" => &["-q", "-f"],
                _ => &[],
            };
            self.tool(&format!("mkfs.{kind}"), &[quiet, &[&partition]].concat())?;
        }
        Ok(())
    }

    fn mount(&mut self, device: &str, kind: &str) -> Result<()> {
        self.wait_for(device)?;
        self.loader.load(kind)?;
        sys::make_dirs(self.target)?;
        sys::mount(device, self.target, kind, MountFlags::empty(), "")?;
        log::step(&format!("local disk: {device} ({kind}) mounted"));
        self.mounted = true;
        Ok(())
    }

    fn swap(&mut self, device: &str) -> Result<()> {
        self.wait_for(device)?;
        self.tool("mkswap", &[device])?;
        let path = CString::new(device).map_err(|cause| Error::file("swap to", device, cause))?;
        sys::swap_on(&path).map_err(|cause| Error::file("swap to", device, cause))?;
        log::step(&format!("local disk: {device} is swap space"));
        Ok(())
    }

    /// Runs the layout's script in the image. What it mounts at [`LOCAL`] is the disk.
    fn script(&mut self, text: &str) -> Result<()> {
        // No other part waits for the drivers of its disks.
        while self.loader.coldplug() > 0 {}
        sys::write_file(SCRIPT, text)?;
        fs::set_permissions(SCRIPT, fs::Permissions::from_mode(0o700))
            .map_err(|cause| Error::file("make executable", SCRIPT, cause))?;
        match text.starts_with("#!") {
            true => self.tool(SCRIPT, &[])?,
            false => self.tool("/bin/sh", &[SCRIPT])?,
        }
        let space = format!("{}{LOCAL}", self.image);
        if !is_mount(&space) {
            log::step(&format!("local disk: the script of the layout has mounted nothing at {LOCAL}"));
            return Ok(());
        }
        sys::make_dirs(self.target)?;
        sys::move_mount(&space, self.target)?;
        self.mounted = true;
        Ok(())
    }

    /// Runs a program of the image in the image, with its output in the log.
    fn tool(&self, program: &str, arguments: &[&str]) -> Result<()> {
        rescue::show_kernel_filesystems(Some(self.image));
        let result = run(self.image, program, arguments);
        rescue::hide_kernel_filesystems(Some(self.image));
        result.map_err(|cause| Error::file("run", program, cause))
    }
}

fn is_mount(path: &str) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let path = Path::new(path);
    device(path).is_some() && device(path) != path.parent().and_then(device)
}

fn run(image: &str, program: &str, arguments: &[&str]) -> io::Result<()> {
    let log = File::options().create(true).append(true).open(LOG)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
    command.stdin(Stdio::null()).stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
    let root = image.to_owned();
    // SAFETY: only system calls are made between fork and exec; nothing is allocated or locked.
    unsafe {
        command.pre_exec(move || {
            rustix::process::chroot(root.as_str())?;
            Ok(rustix::process::chdir("/")?)
        });
    }
    let mut child = command.spawn()?;
    let deadline = Instant::now() + Duration::from_secs(TOOL_SECONDS_MAX);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            return Err(io::Error::other(format!("it was not ready within {TOOL_SECONDS_MAX} s")));
        }
        sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
    };
    match status.success() {
        true => Ok(()),
        false => {
            let said = fs::read_to_string(LOG).unwrap_or_default();
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
            Err(io::Error::other(format!("{status}: {last}")))
        }
    }
}
