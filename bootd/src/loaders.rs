//! Loaders: iPXE, copied from the machine's own `ipxe` package into the TFTP directory, and PXELINUX, shim
//! and GRUB where the machine has them.
//!
//! iPXE is GPL and is not part of the executable. `dawn init` copies the loaders that it finds; it names the
//! missing ones, with the package to install.

use dawn_serving::disks::within;
use dawn_wire::loader::{GRUB_ARM64, GRUB_IA32, GRUB_X64, IPXE_BIOS, IPXE_UEFI, PXELINUX, SHIM};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where distributions put iPXE's files.
const SOURCES: [&str; 10] = [
    "/usr/lib/ipxe",
    "/usr/share/ipxe",
    "/boot",
    "/usr/lib/shim",
    "/usr/lib/grub/x86_64-efi-signed",
    "/usr/lib/grub/arm64-efi-signed",
    "/usr/lib/grub/i386-efi-signed",
    "/usr/lib/PXELINUX",
    "/usr/lib/syslinux/modules/bios",
    "/usr/share/syslinux",
];

/// The signed GRUB that shim asks for in its own directory by TFTP: it has the network built in.
const GRUB_OF_NETWORK: &str = "grubx64.efi";
/// The signed GRUB of boot images, which reads disks.
pub const GRUB_OF_IMAGES: &str = "grubx64-disk.efi";
/// Packages of Debian that have them.
pub const SIGNED_LOADERS_FROM: &str = "shim-signed and grub-efi-amd64-signed";

/// One loader: its name below the TFTP directory, the names it may have on this machine, and where it comes
/// from.
struct Loader {
    name: &'static str,
    found_as: &'static [&'static str],
    required: bool,
    /// Package of Debian.
    package: &'static str,
}

const LOADERS: [Loader; 10] = [
    Loader { name: IPXE_BIOS, found_as: &["undionly.kpxe"], required: true, package: "ipxe" },
    Loader {
        name: IPXE_UEFI,
        found_as: &["snponly.efi", "ipxe-snponly-x86_64.efi"],
        required: true,
        package: "ipxe",
    },
    Loader { name: "ipxe.efi", found_as: &["ipxe.efi", "ipxe-x86_64.efi"], required: false, package: "ipxe" },
    Loader { name: SHIM, found_as: &["shimx64.efi.signed"], required: false, package: "shim-signed" },
    Loader {
        name: GRUB_OF_NETWORK,
        found_as: &["grubnetx64.efi.signed"],
        required: false,
        package: "grub-efi-amd64-signed",
    },
    Loader {
        name: GRUB_OF_IMAGES,
        found_as: &["grubx64.efi.signed"],
        required: false,
        package: "grub-efi-amd64-signed",
    },
    Loader {
        name: GRUB_ARM64,
        found_as: &["grubnetaa64.efi.signed"],
        required: false,
        package: "grub-efi-arm64-signed",
    },
    Loader {
        name: GRUB_IA32,
        found_as: &["grubnetia32.efi.signed"],
        required: false,
        package: "grub-efi-ia32-signed",
    },
    Loader { name: PXELINUX, found_as: &["pxelinux.0"], required: false, package: "pxelinux" },
    Loader { name: "ldlinux.c32", found_as: &["ldlinux.c32"], required: false, package: "syslinux-common" },
];

/// The loaders without which neither BIOS nor UEFI machines boot.
pub fn required() -> impl Iterator<Item = &'static str> {
    LOADERS.iter().filter(|loader| loader.required).map(|loader| loader.name)
}

/// Where a loader comes from, for people.
pub(crate) fn source_of(name: &str) -> String {
    let package = match name {
        // shim and the files that come with it are enough for x86-64.
        GRUB_X64 => Some(SIGNED_LOADERS_FROM),
        _ => LOADERS.iter().find(|loader| loader.name == name).map(|loader| loader.package),
    };
    match package {
        Some(package) => format!("install {package} and run `dawn init` again, or put the file there"),
        None => "no package has it; docs/dhcp.md says how it is made".to_owned(),
    }
}

/// Whether boot images can be made: both their loaders are there. If the disk does not answer they are not.
#[must_use]
pub fn can_make_images(tftpdir: &Path) -> bool {
    let all = |dir: &Path| [SHIM, GRUB_OF_IMAGES].iter().all(|name| dir.join(name).is_file());
    within(tftpdir, all).unwrap_or_else(|error| {
        tracing::warn!(path = %tftpdir.display(), %error, "whether boot images can be made is not known");
        false
    })
}

/// What [`install`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Files copied now.
    pub copied: Vec<String>,
    /// Files that firmware needs and this machine does not have.
    pub missing: Vec<String>,
    /// Files for other ways to boot that this machine does not have, each with its package.
    pub optional: Vec<String>,
}

/// Copies the loaders that are not in `tftpdir` yet. Files of the administrator's own stay as they are.
///
/// # Errors
/// When a file cannot be copied.
pub fn install(tftpdir: &Path) -> io::Result<Installed> {
    install_from(&SOURCES.map(PathBuf::from), tftpdir)
}

fn install_from(sources: &[PathBuf], tftpdir: &Path) -> io::Result<Installed> {
    let mut installed = Installed::default();
    for loader in &LOADERS {
        let target = tftpdir.join(loader.name);
        if target.exists() {
            continue;
        }
        let names = sources.iter().flat_map(|dir| loader.found_as.iter().map(move |name| dir.join(name)));
        match names.into_iter().find(|path| path.is_file()) {
            Some(source) => {
                copy_whole(&source, &target)?;
                installed.copied.push(loader.name.to_owned());
            }
            None if loader.required => installed.missing.push(loader.name.to_owned()),
            None => installed.optional.push(format!("{} ({})", loader.name, loader.package)),
        }
    }
    Ok(installed)
}

/// A node must never fetch half a loader.
fn copy_whole(source: &Path, target: &Path) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut source = fs::File::open(source)?;
    dawn_serving::whole::write_with(target, 0o644, |file| io::copy(&mut source, file).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_copied_and_the_rest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("ipxe"), dir.path().join("tftpboot"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(source.join("undionly.kpxe"), b"loader").unwrap();
        let first = install_from(std::slice::from_ref(&source), &target).unwrap();
        assert_eq!(first.copied, ["undionly.kpxe"]);
        assert_eq!(first.missing, ["snponly.efi"]);
        assert!(first.optional.contains(&"pxelinux.0 (pxelinux)".to_owned()), "{:?}", first.optional);
        fs::write(target.join("undionly.kpxe"), b"own build").unwrap();
        let second = install_from(&[source], &target).unwrap();
        assert!(second.copied.is_empty());
        assert_eq!(fs::read(target.join("undionly.kpxe")).unwrap(), b"own build");
    }
}
