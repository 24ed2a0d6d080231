//! iPXE, copied from the machine's own `ipxe` package into the TFTP directory, and the signed shim and GRUB where the
//! machine has them.
//!
//! iPXE is GPL and is not part of the executable. `dawn init` copies what it finds; what it does not
//! find it names, with the package to install.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where distributions put iPXE's files.
const SOURCES: [&str; 5] =
    ["/usr/lib/ipxe", "/usr/share/ipxe", "/boot", "/usr/lib/shim", "/usr/lib/grub/x86_64-efi-signed"];

/// shim, the loader that Secure Boot firmware accepts.
pub const SHIM: &str = "shimx64.efi";
/// The signed GRUB that shim asks for beside itself by TFTP: it has the network built in.
const GRUB_OF_NETWORK: &str = "grubx64.efi";
/// The signed GRUB of boot images, which reads disks.
pub const GRUB_OF_IMAGES: &str = "grubx64-disk.efi";
/// Packages of Debian that have them.
pub const SIGNED_LOADERS_FROM: &str = "shim-signed and grub-efi-amd64-signed";

/// One loader: its name below the TFTP directory, and the names it may have on this machine.
struct Loader {
    name: &'static str,
    found_as: &'static [&'static str],
    required: bool,
}

const LOADERS: [Loader; 6] = [
    Loader { name: "undionly.kpxe", found_as: &["undionly.kpxe"], required: true },
    Loader { name: "snponly.efi", found_as: &["snponly.efi", "ipxe-snponly-x86_64.efi"], required: true },
    Loader { name: "ipxe.efi", found_as: &["ipxe.efi", "ipxe-x86_64.efi"], required: false },
    Loader { name: SHIM, found_as: &["shimx64.efi.signed"], required: false },
    Loader { name: GRUB_OF_NETWORK, found_as: &["grubnetx64.efi.signed"], required: false },
    Loader { name: GRUB_OF_IMAGES, found_as: &["grubx64.efi.signed"], required: false },
];

/// What follows `boot/grub2/grub2.` in the name of the GRUB for machines of an architecture (`nodetype.arch`).
#[must_use]
pub fn grub_suffix(arch: &str) -> &str {
    if arch.starts_with("ppc64") { "ppc" } else { arch }
}

/// Whether boot images can be made: both their loaders are there.
#[must_use]
pub fn can_make_images(tftpdir: &Path) -> bool {
    [SHIM, GRUB_OF_IMAGES].iter().all(|name| tftpdir.join(name).is_file())
}

/// What [`install`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Files copied now.
    pub copied: Vec<String>,
    /// Files that firmware needs and this machine does not have.
    pub missing: Vec<String>,
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
            None => {}
        }
    }
    Ok(installed)
}

/// A node must never fetch half a loader.
fn copy_whole(source: &Path, target: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let partial = target.with_extension("partial");
    fs::copy(source, &partial)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o644))?;
    fs::rename(&partial, target)
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
        fs::write(target.join("undionly.kpxe"), b"own build").unwrap();
        let second = install_from(&[source], &target).unwrap();
        assert!(second.copied.is_empty());
        assert_eq!(fs::read(target.join("undionly.kpxe")).unwrap(), b"own build");
    }
}
