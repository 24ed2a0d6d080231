//! Which file each firmware of a node loads first, and whether this machine has it.
//!
//! The answers of DHCP decide which one: they are asked as the firmware would ask. The state of the node does
//! not count, because it is another one when the node boots the next time but one.

use crate::dhcp::{rule_for, with_signed_loaders};
use crate::loaders::source_of;
use dawn_cluster::{Snapshot, XCATMASTER, col};
use dawn_dhcp::boot::{BootRule, Loaders, Server, choose};
use dawn_dhcp::client::{Arch, Client};
use dawn_plan::loader::{arch, loader_in};
use dawn_serving::disks::within;
use dawn_wire::loader::grub;
use std::net::Ipv4Addr;
use std::path::Path;

/// A file that a node will ask for and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Nothing that its firmware could ask for is there.
    pub all: bool,
    /// Which loader is for which firmware, and which package has it.
    pub text: String,
}

/// The loaders of a node that are not in `tftpdir`; `None`: all are there, it needs none, or another server
/// has them.
#[must_use]
pub fn missing_for(snapshot: &Snapshot, node: &str, tftpdir: &Path) -> Option<Missing> {
    let elsewhere =
        snapshot.attr(node, col::noderes::TFTPSERVER).is_some_and(|server| &*server != XCATMASTER);
    if elsewhere {
        return None;
    }
    let stages = first_stages(snapshot, node);
    let all = stages.len();
    let is_lost = |names: &[String], tftpdir: &Path| !names.iter().any(|name| tftpdir.join(name).is_file());
    let lost = within(tftpdir, move |tftpdir| {
        stages.into_iter().filter(|(_, names)| is_lost(names, tftpdir)).collect::<Vec<_>>()
    });
    let lost = match lost {
        Ok(lost) => lost,
        Err(late) => {
            return Some(Missing { all: false, text: format!("perhaps in {}: {late}", tftpdir.display()) });
        }
    };
    let lost: Vec<String> = lost
        .iter()
        .filter_map(|(firmware, names)| {
            Some(format!("{} (for {firmware}; {})", names.first()?, source_of(names.first()?)))
        })
        .collect();
    let text = format!("not in {}: {}", tftpdir.display(), lost.join(", "));
    (!lost.is_empty()).then_some(Missing { all: lost.len() == all, text })
}

/// What each firmware of the node's architecture asks for first, relative to the TFTP directory; of several
/// names one is enough.
fn first_stages(snapshot: &Snapshot, node: &str) -> Vec<(&'static str, Vec<String>)> {
    let arch = arch(snapshot, node);
    let rule = match rule_for(loader_in(snapshot, node, None)) {
        // The name of the node leads to this file.
        BootRule::Grub2 { suffix, shim, .. } => BootRule::Grub2 { file: grub(&suffix), suffix, shim },
        other => other,
    };
    let signed = with_signed_loaders(rule.clone(), node, &arch);
    let loaders = Loaders::default();
    let server = Server { address: Ipv4Addr::UNSPECIFIED, http_port: 80, loaders: &loaders };
    let asked = |firmware: Arch| {
        let answers = [&rule, &signed].map(|rule| choose(rule, Client::Pxe(firmware), b"", &server).file);
        answers.into_iter().flatten().map(|file| file.trim_start_matches('/').to_owned())
    };
    let by_grub = matches!(rule, BootRule::Grub2 { .. });
    let stages = firmware(&arch, by_grub).iter().map(|(name, all)| {
        let mut files: Vec<String> = Vec::new();
        for file in all.iter().flat_map(|one| asked(*one)) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        (*name, files)
    });
    stages.filter(|(_, files)| !files.is_empty()).collect()
}

/// The kinds of firmware that machines of an architecture have. GRUB is one program for both kinds of PC.
fn firmware(arch: &str, by_grub: bool) -> &'static [(&'static str, &'static [Arch])] {
    match arch {
        "x86_64" | "x86" | "i386" | "i686" => match by_grub {
            true => &[("x86", &[Arch::Bios, Arch::UefiX64])],
            false => &[("BIOS", &[Arch::Bios]), ("UEFI", &[Arch::UefiX64])],
        },
        "aarch64" => &[("its firmware", &[Arch::UefiArm64])],
        _ if arch.starts_with("arm") => &[("its firmware", &[Arch::UefiArm32])],
        _ if arch.starts_with("ppc") => &[("its firmware", &[Arch::Power])],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_wire::loader::SHIM;
    use std::fs;

    #[test]
    fn a_loader_that_will_be_asked_for_in_vain_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("snponly.efi"), b"loader").unwrap();
        for (netboot, arch, server, expected) in [
            ("", "x86_64", "", Some((false, "undionly.kpxe (for BIOS; install ipxe"))),
            ("pxe", "x86_64", "", Some((false, "pxelinux.0 (for BIOS; install pxelinux"))),
            ("grub2", "x86_64", "", Some((true, "boot/grub2/grub2.x86_64"))),
            ("grub2", "aarch64", "<xcatmaster>", Some((true, "boot/grub2/grub2.aarch64"))),
            ("grub2", "ppc64le", "", Some((true, "boot/grub2/grub2.ppc (for its firmware; no package"))),
            ("grub2", "aarch64", "10.0.0.7", None),
            ("petitboot", "ppc64le", "", None),
        ] {
            let noderes: &[(&str, &str)] = &[("node", "cn1"), ("netboot", netboot), ("tftpserver", server)];
            let nodetype: &[(&str, &str)] = &[("node", "cn1"), ("arch", arch)];
            let nodelist: &[(&str, &str)] = &[("node", "cn1")];
            let snapshot =
                Snapshot::from_rows([("nodelist", nodelist), ("noderes", noderes), ("nodetype", nodetype)]);
            let found = missing_for(&snapshot, "cn1", dir.path());
            let all = found.as_ref().map(|missing| missing.all);
            assert_eq!(all, expected.map(|(all, _)| all), "{netboot} {arch}");
            let text = found.map(|missing| missing.text).unwrap_or_default();
            assert!(text.contains(expected.map_or("", |(_, text)| text)), "{text}");
        }
        fs::write(dir.path().join(SHIM), b"loader").unwrap();
        let grub: &[(&str, &str)] = &[("node", "cn1"), ("netboot", "grub2")];
        let snapshot =
            Snapshot::from_rows([("nodelist", &[("node", "cn1")] as &[(&str, &str)]), ("noderes", grub)]);
        assert_eq!(missing_for(&snapshot, "cn1", dir.path()), None);
    }
}
