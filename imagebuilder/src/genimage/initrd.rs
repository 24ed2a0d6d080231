//! The kernel and the two initramfs images of an image.

use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use dawn_wire::image::{INITRD_STATELESS, INITRD_STATELITE, KERNEL, ROOT};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{GenimageError, Outcome, file_error, kernel, place, stamp};
use crate::image::ImageDef;
use crate::initramfs::{self, InitramfsError, Kind, Spec};

/// Where a static busybox for the rescue shell may be: the machine's package `busybox-static`.
const BUSYBOX: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/usr/lib/dawn/busybox"];

/// One initramfs to be made.
#[derive(Debug, Clone)]
pub struct InitrdJob<'a> {
    /// The finished tree with `lib/modules/<kernel>`.
    pub rootimg: &'a Path,
    /// Kernel release, like `6.1.0-40-cloud-amd64`.
    pub kernel: &'a str,
    /// The kind of root.
    pub kind: Kind,
    /// Modules the definition wants in addition.
    pub drivers: &'a [String],
    /// The certificate of the authority whose servers `/init` trusts; for the discovery system.
    pub authority: Option<&'a Path>,
    /// The file to write.
    pub output: &'a Path,
}

/// How initramfs images are made.
pub trait MakeInitrd {
    /// Changes when the same tree would give another initramfs: a new `/init`.
    fn identity(&self) -> String;
    /// Make one; the result is what the user should know.
    fn make(&self, job: &InitrdJob<'_>) -> Result<Vec<String>, InitramfsError>;
}

/// The maker of this program: [`initramfs::build`] with the embedded `/init`.
#[derive(Debug, Default)]
pub struct Embedded {
    busybox: Option<PathBuf>,
}

impl Embedded {
    /// With a rescue shell if this machine has a static busybox.
    pub fn new() -> Self {
        let candidates = BUSYBOX.map(Path::new);
        Self { busybox: initramfs::static_busybox(&candidates).map(Path::to_owned) }
    }
}

impl MakeInitrd for Embedded {
    fn identity(&self) -> String {
        let mut hasher = SipHasher13::new();
        // Not the rescue shell: it is another on each machine, and the image boots with any of them.
        hasher.write(initramfs::INIT);
        format!("{:032x}", hasher.finish128().as_u128())
    }

    fn make(&self, job: &InitrdJob<'_>) -> Result<Vec<String>, InitramfsError> {
        let spec = Spec {
            root: job.rootimg,
            kernel_version: job.kernel,
            kind: job.kind,
            drivers: job.drivers,
            busybox: self.busybox.as_deref(),
            authority: job.authority,
        };
        initramfs::build(&spec, job.output).map(|summary| summary.warnings)
    }
}

/// Whether the initramfs images in `dir` were made by another maker than this program's: they hold another
/// `/init`. Images that no `genimage` of ours has made say nothing about it.
#[must_use]
pub fn is_of_another_build(dir: &Path) -> bool {
    static MAKER: LazyLock<String> = LazyLock::new(|| Embedded::new().identity());
    stamp::read(dir, stamp::INITRD).is_some_and(|stamp| stamp.split(' ').next() != Some(MAKER.as_str()))
}

/// When what a packed root must hold was last made: the tree by `genimage`, or the modules of the kernel that
/// nodes boot. `None` if no `genimage` of ours has made the image in `dir`.
#[must_use]
pub fn made_at(dir: &Path) -> Option<SystemTime> {
    let time = |path: PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let modules = stamp::read(dir, stamp::KERNEL)
        .filter(|release| !release.contains('/') && !release.starts_with('.'))
        .and_then(|release| time(dir.join(ROOT).join("lib/modules").join(release)));
    time(dir.join(stamp::TREE)).max(modules)
}

/// Copy the kernel of `rootimg` to `dir` and make both initramfs images there.
pub(super) fn make(
    def: &ImageDef,
    rootimg: &Path,
    dir: &Path,
    maker: &dyn MakeInitrd,
    line: &mut dyn FnMut(&str),
) -> Result<Outcome, GenimageError> {
    let kernel = kernel::find(rootimg, def.kernelver.as_deref())?;
    line(&format!("Kernel {}", kernel.release));
    place::install_file(rootimg, &kernel.file, &dir.join(KERNEL))?;
    for (kind, name) in [(Kind::Stateless, INITRD_STATELESS), (Kind::Statelite, INITRD_STATELITE)] {
        line(&format!("Making {name}"));
        let output = dir.join(format!(".{name}.new"));
        let job = InitrdJob {
            rootimg,
            kernel: &kernel.release,
            kind,
            drivers: &def.netdrivers,
            authority: None,
            output: &output,
        };
        for warning in maker.make(&job).map_err(GenimageError::Initrd)? {
            line(&format!("Warning: {warning}"));
        }
        fs::rename(&output, dir.join(name)).map_err(|source| file_error(&output, source))?;
    }
    stamp::write(dir, stamp::INITRD, &identity(def, maker))?;
    stamp::write(dir, stamp::KERNEL, &kernel.release)?;
    Ok(Outcome::Built { kernel: kernel.release })
}

/// Were the initramfs images that are in place made by the same maker?
pub(super) fn current(def: &ImageDef, maker: &dyn MakeInitrd) -> bool {
    let paths = def.paths();
    let there = [&paths.kernel, &paths.initrd_stateless, &paths.initrd_statelite].iter().all(|p| p.exists());
    there && stamp::read(&paths.dir, stamp::INITRD) == Some(identity(def, maker))
}

fn identity(def: &ImageDef, maker: &dyn MakeInitrd) -> String {
    [maker.identity().as_str(), def.kernelver.as_deref().unwrap_or_default(), &def.netdrivers.join(",")]
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rescue_shell_of_a_machine_makes_no_other_build() {
        let with = |busybox: Option<&str>| Embedded { busybox: busybox.map(PathBuf::from) }.identity();
        assert_eq!(with(Some("/proc/version")), with(None));
        assert_eq!(with(Some("/proc/cpuinfo")), with(None));
    }
}
