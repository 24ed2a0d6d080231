//! Which loader a node gets: `noderes.netboot`, the state of the node and its architecture decide.
//!
//! The files that firmware then asks for, and the answer of DHCP, follow from [`Loader`]; other modules check
//! whether the files of the loaders exist on this machine.

use crate::lookup::{image_of, installer, public_path};
use crate::state::BootState;
use dawn_cluster::{Netboot, Snapshot, Text, col};
use dawn_wire::loader::{ONIE_INSTALLER, grub, grub_of_node, petitboot};

/// The file that firmware loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loader {
    /// Nothing: the node boots from its disk.
    Disk,
    /// iPXE with this script, relative to `xcat/xnba/`.
    Xnba {
        /// The script.
        script: String,
        /// Whether UEFI firmware gets it: the firmware of a node that is to boot its disk gets no file and
        /// tries its next device.
        uefi: bool,
    },
    /// PXELINUX.
    Pxe,
    /// GRUB.
    Grub2 {
        /// The loader as DHCP names it.
        file: String,
        /// Ending of its name for the architecture.
        suffix: String,
    },
    /// Petitboot.
    Petitboot {
        /// Its configuration, relative to the TFTP directory.
        config: String,
    },
    /// A switch.
    Onie {
        /// The installer as HTTP serves it.
        path: String,
    },
}

/// The loader of a node, by `noderes.netboot` and the boot state.
#[must_use]
pub fn loader(snapshot: &Snapshot, node: &str) -> Loader {
    loader_in(snapshot, node, BootState::of(snapshot, node))
}

/// The loader of a node in another state than its present one.
#[must_use]
pub fn loader_in(snapshot: &Snapshot, node: &str, state: Option<BootState>) -> Loader {
    if state == Some(BootState::Offline) {
        return Loader::Disk;
    }
    match Netboot::of(snapshot, node) {
        Netboot::Pxe => Loader::Pxe,
        Netboot::Petitboot => Loader::Petitboot { config: petitboot(node) },
        Netboot::Grub2 => {
            Loader::Grub2 { file: grub_of_node(node), suffix: grub_suffix(&arch(snapshot, node)).to_owned() }
        }
        Netboot::Onie => Loader::Onie { path: onie_installer(snapshot, node) },
        Netboot::Xnba => {
            Loader::Xnba { script: format!("nodes/{node}"), uefi: state != Some(BootState::Boot) }
        }
    }
}

/// The installer of a switch as HTTP serves it.
fn onie_installer(snapshot: &Snapshot, node: &str) -> String {
    let image = image_of(snapshot, node).ok();
    let path = image.as_ref().and_then(installer);
    path.map_or_else(|| ONIE_INSTALLER.to_owned(), |path| public_path(snapshot, path))
}

/// Architecture of a node; by default the most common one.
#[must_use]
pub fn arch(snapshot: &Snapshot, node: &str) -> Text {
    snapshot.attr(node, col::nodetype::ARCH).unwrap_or_else(|| "x86_64".into())
}

/// The GRUB of an architecture, relative to the TFTP directory.
#[must_use]
pub fn grub_file(arch: &str) -> String {
    grub(grub_suffix(arch))
}

/// Ending of the name of the GRUB for machines of an architecture (`nodetype.arch`).
fn grub_suffix(arch: &str) -> &str {
    if arch.starts_with("ppc64") { "ppc" } else { arch }
}
