//! The rows of `litefile` that a new statelite image begins with.
//!
//! A root without a row can be written nowhere, and services fail. These directories are what a system with
//! systemd of any distribution writes to; they are in memory and begin as they are in the image. What units
//! of an image need besides is named by [`crate::missing`].

use dawn_cluster::Distribution;

/// The option of each.
pub const DEFAULT_OPTION: &str = "tmpfs";

/// Directories that every such system writes to.
const COMMON: [&str; 8] =
    ["/tmp/", "/var/tmp/", "/var/log/", "/var/cache/", "/var/lib/", "/var/spool/", "/etc/ssh/", "/root/"];

/// The paths for an image of the distribution `osvers` (`debian12`).
#[must_use]
pub fn default_paths(osvers: &str) -> Vec<&'static str> {
    // Network settings that the programs of a distribution write.
    let of_family: &[&str] = match Distribution::of(osvers) {
        Some(Distribution::Alt) => &["/etc/openssh/", "/etc/sysconfig/", "/var/resolv/"],
        Some(Distribution::RedHat) => &["/etc/sysconfig/network-scripts/"],
        Some(Distribution::Suse) => &["/etc/sysconfig/network/"],
        Some(Distribution::Debian) | None => &[],
    };
    COMMON.iter().chain(of_family).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, files_of_image};

    #[test]
    fn the_default_rows_contradict_nothing() {
        for osvers in ["debian12", "ubuntu24.04", "rhels9.4", "sles15.5", "alt-p10", "other"] {
            let rows: Vec<_> = default_paths(osvers)
                .iter()
                .map(|path| [("image", "img"), ("file", *path), ("options", DEFAULT_OPTION)])
                .collect();
            let rows = rows.iter().map(|row| ("litefile", row.as_slice()));
            let snapshot = dawn_cluster::Snapshot::from_rows(rows);
            assert_eq!(check(&files_of_image(&snapshot, "img")), [], "{osvers}");
        }
    }

    /// The loop of docs/statelite.md, with which a node in QEMU ends in `systemctl is-system-running`.
    #[test]
    fn the_page_has_the_default_rows() {
        let page = include_str!("../../docs/statelite.md");
        let list =
            page.lines().find_map(|line| line.trim().strip_prefix("for dir in ")?.strip_suffix("; do"));
        assert_eq!(list.expect("a loop").split(' ').collect::<Vec<_>>(), default_paths("debian12"));
    }
}
