//! What the builder must know of an osimage, and where the pieces of a built image are.
//!
//! The builder does not read tables: a command fills [`ImageDef`] from `osimage` and `linuximage`. So the
//! work can be done by the process of the command itself, in its own network namespace and with its own apt
//! configuration, while the daemon only gives the definition (a daemon that serves an isolated boot network
//! often cannot reach a package mirror).

use dawn_wire::image::{INITRD_STATELESS, INITRD_STATELITE, KERNEL, ROOT, is_in_tree};
use std::path::{Path, PathBuf};

/// Mode of the image directory unless `linuximage.permission` says otherwise.
pub const PERMISSION_DEFAULT: u32 = 0o755;
/// Longest name of an image, an osvers or a profile (bytes).
const NAME_BYTES_MAX: usize = 128;

/// Why an image definition cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DefError {
    /// A name is empty, too long or has characters that do not belong into a file name.
    #[error("{attribute} '{value}' is not a usable name (letters, digits and -_.+:)")]
    Name {
        /// The attribute (`osvers`).
        attribute: &'static str,
        /// Its value.
        value: String,
    },
    /// A path at which no image can be.
    #[error("{attribute} '{value}' {reason}")]
    Path {
        /// The attribute (`rootimgdir`).
        attribute: &'static str,
        /// Its value.
        value: String,
        /// What it has to be.
        reason: &'static str,
    },
    /// The architecture has no Debian name.
    #[error("osarch '{0}' is not known (x86_64, aarch64, ppc64el, riscv64, s390x, x86, armv7l)")]
    Arch(String),
}

/// An osimage in the part that concerns building. Empty lists mean the attribute is not set.
#[derive(Debug, Clone, Default)]
pub struct ImageDef {
    /// `osimage.imagename`.
    pub name: String,
    /// `osimage.osvers`, like `debian12`.
    pub osvers: String,
    /// `osimage.osarch`, like `x86_64`.
    pub arch: String,
    /// `osimage.profile`, like `compute`.
    pub profile: String,
    /// `osimage.provmethod`: `netboot`, `statelite`.
    pub provmethod: String,
    /// `linuximage.rootimgdir`: R of the documentation, an absolute path.
    pub rootimgdir: PathBuf,
    /// `linuximage.pkglist`: package lists; empty: the list that comes with Dawn.
    pub pkglist: Vec<PathBuf>,
    /// `linuximage.pkgdir`: local repositories, URLs or whole `deb …` lines; empty: the machine's own
    /// sources.
    pub pkgdir: Vec<String>,
    /// `linuximage.otherpkglist`.
    pub otherpkglist: Vec<PathBuf>,
    /// `linuximage.otherpkgdir`: at most one local directory, and URLs.
    pub otherpkgdir: Vec<String>,
    /// `linuximage.postinstall`: commands with their own arguments.
    pub postinstall: Vec<String>,
    /// `linuximage.exlist`; `None`: the list that comes with Dawn.
    pub exlist: Option<PathBuf>,
    /// `linuximage.kernelver`, like `6.1.0-40-amd64`.
    pub kernelver: Option<String>,
    /// `linuximage.netdrivers`: module names that the initramfs must have.
    pub netdrivers: Vec<String>,
    /// `linuximage.permission`: mode of `rootimgdir`.
    pub permission: Option<u32>,
    /// `site.aptsrclist_<arch>`: the package sources of ALT images.
    pub aptsrclist: Option<PathBuf>,
    /// `site.installdir`, for `$INSTALLDIR` in lists.
    pub installdir: PathBuf,
    /// A crypt hash for root's password, put into the image at build time; `None`: root has no password
    /// there.
    pub root_hash: Option<String>,
}

impl ImageDef {
    /// Check names and paths before anything is done with them.
    pub fn check(&self) -> Result<(), DefError> {
        for (attribute, value) in [
            ("imagename", &self.name),
            ("osvers", &self.osvers),
            ("osarch", &self.arch),
            ("profile", &self.profile),
        ] {
            if !is_name(value) {
                return Err(DefError::Name { attribute, value: value.clone() });
            }
        }
        if let Some(value) = self.kernelver.as_ref().filter(|value| !is_name(value)) {
            return Err(DefError::Name { attribute: "kernelver", value: value.clone() });
        }
        if let Some(reason) = self.misplaced() {
            let value = self.rootimgdir.display().to_string();
            return Err(DefError::Path { attribute: "rootimgdir", value, reason });
        }
        self.debian_arch().map(|_| ())
    }

    /// Why no image can be at `rootimgdir`.
    fn misplaced(&self) -> Option<&'static str> {
        let path = &self.rootimgdir;
        if !path.is_absolute() {
            Some("must be an absolute path")
        } else if path.parent().is_none() || self.installdir.starts_with(path) {
            Some("holds all images: name a directory below it")
        } else if is_in_tree(path) {
            // The links there are the image's.
            Some("is in the tree of an image")
        } else {
            None
        }
    }

    /// The architecture in Debian's spelling.
    pub fn debian_arch(&self) -> Result<&'static str, DefError> {
        Ok(match self.arch.as_str() {
            "x86_64" | "amd64" => "amd64",
            "aarch64" | "arm64" => "arm64",
            "ppc64el" | "ppc64le" => "ppc64el",
            "riscv64" => "riscv64",
            "s390x" => "s390x",
            "x86" | "i386" | "i686" => "i386",
            "armv7l" | "armhf" => "armhf",
            other => return Err(DefError::Arch(other.to_owned())),
        })
    }

    /// Where the pieces of this image are.
    pub fn paths(&self) -> ImagePaths {
        ImagePaths::new(&self.rootimgdir)
    }
}

/// The files of an image below its `rootimgdir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePaths {
    /// The directory itself.
    pub dir: PathBuf,
    /// The tree of the operating system.
    pub rootimg: PathBuf,
    /// The kernel that nodes load.
    pub kernel: PathBuf,
    /// The initramfs of stateless nodes.
    pub initrd_stateless: PathBuf,
    /// The initramfs of statelite nodes.
    pub initrd_statelite: PathBuf,
}

impl ImagePaths {
    /// The layout below a `rootimgdir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            rootimg: dir.join(ROOT),
            kernel: dir.join(KERNEL),
            initrd_stateless: dir.join(INITRD_STATELESS),
            initrd_statelite: dir.join(INITRD_STATELITE),
        }
    }
}

/// May `name` be a file name and an argument of a program?
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.+:".contains(c);
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(good)
        && !name.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ImageDef {
        ImageDef {
            name: "debian12-x86_64-netboot-compute".into(),
            osvers: "debian12".into(),
            arch: "x86_64".into(),
            profile: "compute".into(),
            rootimgdir: "/install/netboot/debian12/x86_64/compute".into(),
            ..ImageDef::default()
        }
    }

    #[test]
    fn definitions_are_checked() {
        assert_eq!(good().check(), Ok(()));
        let bad: Vec<ImageDef> = vec![
            ImageDef { name: "../x".into(), ..good() },
            ImageDef { name: String::new(), ..good() },
            ImageDef { arch: "vax".into(), ..good() },
            ImageDef { osvers: "a b".into(), ..good() },
            ImageDef { rootimgdir: "relative".into(), ..good() },
            ImageDef { rootimgdir: "/".into(), ..good() },
            ImageDef { rootimgdir: "/install".into(), installdir: "/install".into(), ..good() },
            ImageDef { rootimgdir: "/srv".into(), installdir: "/srv/install/".into(), ..good() },
            ImageDef { rootimgdir: "/install/x/rootimg/y".into(), ..good() },
            ImageDef { rootimgdir: "/install/x/rootimg.2".into(), ..good() },
            ImageDef { kernelver: Some("--x".into()), ..good() },
        ];
        for def in bad {
            assert!(def.check().is_err(), "{def:?}");
        }
    }
}
