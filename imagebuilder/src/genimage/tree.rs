//! Running a [`Plan`].
//!
//! Scripts of packages expect `/proc`, `/sys` and `/dev`. They are mounted in a namespace that only the
//! program and its children are in, so nothing stays mounted however the build ends.

use dawn_wire::image::ROOT;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use dawn_serving::beneath::Beneath;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::UnshareFlags;

use super::backends::{aptrpm, dnf};
use super::family::Family;
use super::plan::{Plan, Program, Step};
use super::{GenimageError, file_error};
use crate::exec::{self, ExecError};
use crate::image::ImageDef;
use crate::oci;

/// Devices that scripts may use, from the machine's own.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Downloads that package managers leave in the tree.
const FETCHED: [&str; 5] = [
    dnf::CACHE,
    "var/cache/zypp/packages",
    "var/cache/zypp/pubkeys",
    "var/cache/zypp/raw",
    "var/cache/zypp/solv",
];

/// Installs the distribution into `building/rootimg`.
pub(super) fn install(
    def: &ImageDef,
    plan: &Plan,
    building: &Path,
    line: &mut dyn FnMut(&str),
) -> Result<(), GenimageError> {
    if plan.family == Family::AptRpm {
        aptrpm::check_machine()?;
    }
    plan.warnings.iter().for_each(|text| line(&format!("Warning: {text}")));
    write_files(plan, building)?;
    line(&format!("Installing {} from {}", def.osvers, plan.sources.join(", ")));
    let root = building.join(ROOT);
    for step in &plan.steps {
        match step {
            Step::Run(program) => run(program, &root, line)
                .map_err(|source| GenimageError::Program { step: "building the tree".to_owned(), source })?,
            Step::Unpack(reference) => oci::unpack(reference, &def.arch, &root, line)?,
        }
    }
    clean(plan, building, &root)
}

fn write_files(plan: &Plan, building: &Path) -> Result<(), GenimageError> {
    for (name, text) in &plan.files {
        let path = building.join(name);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|source| file_error(dir, source))?;
        }
        fs::write(&path, text).map_err(|source| file_error(&path, source))?;
    }
    Ok(())
}

/// Removes the files that the programs read, and their downloads.
fn clean(plan: &Plan, building: &Path, root: &Path) -> Result<(), GenimageError> {
    let files = plan.files.iter().map(|(name, _)| (building, *name));
    let fetched = FETCHED.iter().map(|name| (root, *name));
    for (dir, name) in files.chain(fetched).chain([(building, "apt")]) {
        let removed = Beneath::open(dir).and_then(|dir| dir.remove_all(Path::new(name)));
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(file_error(&dir.join(name), source));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Runs a program of the package manager; its lines go to `line`.
fn run(program: &Program, root: &Path, line: &mut dyn FnMut(&str)) -> Result<(), ExecError> {
    let Some((name, args)) = program.words.split_first() else { return Ok(()) };
    let mut command = Command::new(name);
    command.args(args).envs(program.env.iter().map(|(name, value)| (name, value)));
    if !program.needs_mounts {
        return exec::run(&mut command, line);
    }
    let failed = |source| ExecError::Start { program: name.clone(), source };
    make_mount_points(root).map_err(failed)?;
    let (sender, lines) = std::sync::mpsc::sync_channel::<String>(LINES_HELD_MAX);
    thread::scope(|scope| {
        let work = scope.spawn(move || {
            enter_namespace(root).map_err(|source| ExecError::Start { program: name.clone(), source })?;
            // The receiver stays until the sender is gone.
            exec::run(&mut command, &mut |text| drop(sender.send(text.to_owned())))
        });
        lines.iter().for_each(|text| line(&text));
        work.join().unwrap_or_else(|_| Err(failed(io::Error::other("the thread that ran it panicked"))))
    })
}

/// Lines of output that wait for the caller (lines of at most 4 KiB).
const LINES_HELD_MAX: usize = 64;

/// The directories that are mounted on, if the tree has none yet.
fn make_mount_points(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for name in ["proc", "sys", "dev"] {
        let path = root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => return Err(io::Error::other(format!("{} is not a directory", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
            Err(error) => return Err(error),
        }
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Gives the calling thread, and so its children, separate mounts. The thread ends after that.
fn enter_namespace(root: &Path) -> io::Result<()> {
    // SAFETY: NEWNS detaches the thread's root and working directory from those of the others (with FS)
    // and touches no descriptor; the thread runs one program and ends.
    #[allow(unsafe_code)]
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS)?;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount("proc", root.join("proc"), "proc", flags, None)?;
    mount("sysfs", root.join("sys"), "sysfs", flags | MountFlags::RDONLY, None)?;
    let dev = root.join("dev");
    mount("tmpfs", &dev, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, Some(c"mode=0755,size=16m"))?;
    for name in DEVICES {
        let at: PathBuf = dev.join(name);
        fs::write(&at, "")?;
        mount_bind(Path::new("/dev").join(name), &at)?;
    }
    std::os::unix::fs::symlink("/proc/self/fd", dev.join("fd"))
}
