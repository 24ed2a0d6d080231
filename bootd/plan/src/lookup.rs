//! What plans, views and loaders look up of a node and of an image, and how paths are named to nodes.

use crate::error::PlanError;
use dawn_cluster::{MacAddr, OsImage, Snapshot, col};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The image that `nodetype.provmethod` names.
///
/// # Errors
/// [`PlanError::NoImage`].
pub fn image_of(snapshot: &Snapshot, node: &str) -> Result<OsImage, PlanError> {
    let name = snapshot.attr(node, col::nodetype::PROVMETHOD).unwrap_or_else(|| "".into());
    snapshot.osimage(&name).ok_or_else(|| PlanError::NoImage { image: name.to_string() })
}

/// The installer of a switch: the first file of the image's `pkgdir`. `None`: the image has none that a URL
/// could name.
#[must_use]
pub fn installer(image: &OsImage) -> Option<&str> {
    let first =
        image.get(col::linuximage::PKGDIR)?.split(',').map(str::trim).find(|path| !path.is_empty())?;
    let nameable = first.starts_with('/') && first.bytes().all(|byte| byte.is_ascii_graphic());
    nameable.then_some(first)
}

/// The node's address: `hosts.ip`, inherited and expanded like every attribute. Names are not looked up
/// anywhere else, because a reply to a node must not wait for DNS.
#[must_use]
pub fn node_ip(snapshot: &Snapshot, node: &str) -> Option<Ipv4Addr> {
    snapshot.attr(node, col::hosts::IP)?.trim().parse().ok()
}

/// The MAC of the interface that a node boots from: the element of `mac.mac` without a name, or with the
/// node's own.
#[must_use]
pub fn install_mac(snapshot: &Snapshot, node: &str) -> Option<MacAddr> {
    let cell = snapshot.attr(node, col::mac::MAC)?;
    let elements = cell.split('|').map(|element| element.split_once('!').unwrap_or((element, node)));
    elements.filter(|(_, name)| *name == node).find_map(|(mac, _)| mac.trim().parse().ok())
}

/// A local path as nodes name it: below `/install` or `/tftpboot`, wherever those directories really are; any
/// other path is unchanged.
#[must_use]
pub fn public_path(snapshot: &Snapshot, path: &str) -> String {
    for (key, prefix) in [("installdir", "/install"), ("tftpdir", "/tftpboot")] {
        let root = snapshot.site(key);
        if let Some(rest) = root.as_deref().and_then(|root| path.strip_prefix(root.trim_end_matches('/')))
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return format!("{prefix}{rest}");
        }
    }
    path.to_owned()
}

/// The reverse of [`public_path`].
#[must_use]
pub fn local_path(snapshot: &Snapshot, path: &str) -> PathBuf {
    for (key, prefix) in [("installdir", "/install"), ("tftpdir", "/tftpboot")] {
        if let Some(rest) = path.strip_prefix(prefix)
            && (rest.is_empty() || rest.starts_with('/'))
            && let Some(root) = snapshot.site(key)
        {
            return PathBuf::from(format!("{}{rest}", root.trim_end_matches('/')));
        }
    }
    PathBuf::from(path)
}

/// The directory of boot files: `site.tftpdir`, `/tftpboot` if it is not set.
#[must_use]
pub fn tftpdir(snapshot: &Snapshot) -> PathBuf {
    local_path(snapshot, "/tftpboot")
}

/// Whether a statelite image is loaded into memory instead of mounted.
#[must_use]
pub fn is_ramdisk(image: &OsImage) -> bool {
    image.get(col::osimage::ROOTFSTYPE).is_some_and(|kind| kind.trim() == "ramdisk")
}
