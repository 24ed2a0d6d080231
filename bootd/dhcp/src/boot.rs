//! Which file a client is to load: a pure function of the boot rule, the program that asks, and the server.
//!
//! The rules are those of the field's management system: firmware gets a small loader by TFTP, the
//! loader asks again and gets the URL of a script, GRUB and petitboot get their configuration, and a
//! client that has nothing to load gets no file and boots from its disk.

use std::net::Ipv4Addr;

use dawn_wire::{boot_path, loader};

use crate::client::{Arch, Client};
use crate::wire::code;

/// Loader files, relative to the TFTP root, and the path under which HTTP serves that root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaders {
    /// First stage for PC BIOS.
    pub bios: String,
    /// First stage for 32-bit UEFI.
    pub uefi_ia32: String,
    /// First stage for 64-bit UEFI.
    pub uefi_x64: String,
    /// First stage for 32-bit ARM UEFI.
    pub uefi_arm32: String,
    /// First stage for 64-bit ARM UEFI.
    pub uefi_arm64: String,
    /// First stage for Itanium.
    pub itanium: String,
    /// First stage for Open Firmware.
    pub power: String,
    /// HTTP path of the TFTP root, with a slash on both ends.
    pub http_prefix: String,
}

impl Default for Loaders {
    fn default() -> Self {
        Self {
            bios: loader::IPXE_BIOS.into(),
            uefi_ia32: loader::IPXE_IA32.into(),
            uefi_x64: loader::IPXE_UEFI.into(),
            uefi_arm32: loader::GRUB_ARM32.into(),
            uefi_arm64: loader::GRUB_ARM64.into(),
            itanium: loader::ELILO.into(),
            power: loader::GRUB_POWER.into(),
            http_prefix: "/tftpboot/".into(),
        }
    }
}

impl Loaders {
    /// First-stage file for an architecture; `None` when there is none for it.
    pub fn first_stage(&self, arch: Arch) -> Option<&str> {
        match arch {
            Arch::Bios => Some(&self.bios),
            Arch::UefiIa32 => Some(&self.uefi_ia32),
            Arch::UefiX64 => Some(&self.uefi_x64),
            Arch::UefiArm32 => Some(&self.uefi_arm32),
            Arch::UefiArm64 => Some(&self.uefi_arm64),
            Arch::Itanium => Some(&self.itanium),
            Arch::Power => Some(&self.power),
            Arch::OpalV3 | Arch::Other(_) => None,
        }
        .map(String::as_str)
    }
}

/// How a node, or an unknown machine on a network, is to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootRule {
    /// iPXE/xNBA: loader, then the script `xcat/xnba/<script>` (`nodes/cn1`, `nets/10.1.0.0_16`).
    Xnba {
        /// Path below `xcat/xnba/`, without `.uefi`.
        script: String,
        /// Whether UEFI firmware is to load anything; otherwise it boots from its disk.
        uefi: bool,
    },
    /// PXELINUX.
    Pxe,
    /// GRUB, which finds its configuration by itself. Firmware of the node's processor gets the name for this
    /// node, other firmware the GRUB for its own processor: a foreign one would be loaded and never run.
    Grub2 {
        /// Path relative to the TFTP root, such as `/boot/grub2/grub2-cn1`.
        file: String,
        /// Which GRUB that is, as [`grub_suffix`] names it.
        suffix: String,
        /// What UEFI on x86-64 gets instead: shim, which brings the signed GRUB.
        shim: Option<String>,
    },
    /// Petitboot: URL of the configuration in option 209.
    Petitboot {
        /// Path below the TFTP root, such as `petitboot/cn1`.
        config: String,
    },
    /// ONIE: path of the installer on the HTTP server, in option 114.
    Onie {
        /// Absolute path.
        path: String,
    },
    /// One file for every kind of client.
    File {
        /// Path relative to the TFTP root, or a URL.
        file: String,
    },
    /// One kind of client gets a separate file, which runs nowhere else: UEFI HTTP Boot an image with
    /// loader, kernel and initramfs, or UEFI PXE shim. Every other client follows the inner rule.
    ForOne {
        /// Which one.
        client: Client,
        /// Path relative to the TFTP root, or a URL; HTTP Boot takes a name that ends in `.img` or `.iso` for
        /// a RAM disk.
        file: String,
        /// The rule for every other client.
        otherwise: Box<BootRule>,
    },
    /// Another boot server's proxyDHCP offer decides: no file, vendor class `PXEClient` (Windows under UEFI).
    ElsewhereByProxy,
    /// No file: the machine boots from its disk.
    Disk,
}

/// Where the files are.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Address that goes into URLs and `siaddr`.
    pub address: Ipv4Addr,
    /// HTTP port; 80 is left out of URLs.
    pub http_port: u16,
    /// File names.
    pub loaders: &'a Loaders,
}

impl Server<'_> {
    /// `http://SRV[:port]/tftpboot/<path>`.
    pub fn url(&self, path: &str) -> String {
        self.root_url(&format!("{}{}", self.loaders.http_prefix, path.trim_start_matches('/')))
    }

    /// `http://SRV[:port]<path>` for an absolute path.
    pub fn root_url(&self, path: &str) -> String {
        match self.http_port {
            80 => format!("http://{}{path}", self.address),
            port => format!("http://{}:{port}{path}", self.address),
        }
    }
}

/// What follows `boot/grub2/grub2.` in the name of the GRUB for an architecture.
pub fn grub_suffix(arch: Arch) -> Option<&'static str> {
    match arch {
        // One name for both, as is usual: the file is the one that the firmware of the site's machines runs.
        Arch::Bios | Arch::UefiX64 => Some("x86_64"),
        Arch::UefiIa32 => Some("i386"),
        Arch::UefiArm32 => Some("arm"),
        Arch::UefiArm64 => Some("aarch64"),
        Arch::Power | Arch::OpalV3 => Some("ppc"),
        Arch::Itanium | Arch::Other(_) => None,
    }
}

/// The boot part of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootAnswer {
    /// File name or URL; `None` leaves the field empty.
    pub file: Option<String>,
    /// Further options, such as the vendor class to echo or a configuration URL.
    pub options: Vec<(u8, Vec<u8>)>,
    /// The client's network stack needs a broadcast answer.
    pub broadcast: bool,
}

impl BootAnswer {
    fn file(name: impl Into<String>) -> Self {
        Self { file: Some(name.into()), ..Self::default() }
    }

    fn option(code: u8, value: String) -> Self {
        Self { options: vec![(code, value.into_bytes())], ..Self::default() }
    }
}

/// Chooses the boot answer.
pub fn choose(rule: &BootRule, client: Client, vendor_class: &[u8], server: &Server<'_>) -> BootAnswer {
    let mut answer = for_rule(rule, client, vendor_class, server);
    // UEFI HTTP Boot takes an offer only when its class comes back and the file is a URL. PXE firmware
    // must not get its class back here: it would then look for its boot file at port 4011.
    if matches!(client, Client::Http(_)) && answer.file.is_some() {
        answer.file = answer.file.map(|file| as_url(file, server));
        answer.options.push((code::VENDOR_CLASS, b"HTTPClient".to_vec()));
    }
    answer
}

fn as_url(file: String, server: &Server<'_>) -> String {
    if file.contains("://") { file } else { server.url(&file) }
}

fn for_rule(rule: &BootRule, client: Client, vendor_class: &[u8], server: &Server<'_>) -> BootAnswer {
    if !client.boots() {
        return BootAnswer::default();
    }
    match rule {
        BootRule::Disk => BootAnswer::default(),
        BootRule::ForOne { client: one, file, .. } if client == *one => BootAnswer::file(file),
        BootRule::ForOne { otherwise, .. } => for_rule(otherwise, client, vendor_class, server),
        BootRule::Xnba { script, uefi } => xnba(script, *uefi, client, server),
        BootRule::Pxe if vendor_class.starts_with(b"ScaleMP") => BootAnswer::file(loader::PXELINUX_SCALEMP),
        BootRule::Pxe => match client.arch() {
            Some(arch) if arch.is_uefi() => first_stage(arch, server),
            _ => BootAnswer::file(loader::PXELINUX),
        },
        BootRule::Grub2 { file, suffix, shim } => grub2(file, suffix, shim.as_deref(), client.arch()),
        BootRule::File { file } => BootAnswer::file(file),
        BootRule::Petitboot { config } => BootAnswer::option(code::CONFIG_FILE, server.url(config)),
        BootRule::Onie { path } if client == Client::Onie => {
            BootAnswer::option(code::WWW_SERVER, server.root_url(path))
        }
        BootRule::Onie { .. } => BootAnswer::default(),
        BootRule::ElsewhereByProxy => match client {
            Client::Pxe(_) => BootAnswer::option(code::VENDOR_CLASS, "PXEClient".into()),
            _ => BootAnswer::default(),
        },
    }
}

/// A client that does not send its architecture gets the node's.
fn grub2(file: &str, suffix: &str, shim: Option<&str>, arch: Option<Arch>) -> BootAnswer {
    match (arch, shim) {
        (Some(Arch::UefiX64), Some(shim)) => BootAnswer::file(shim),
        (None, _) => BootAnswer::file(file),
        (Some(arch), _) => match grub_suffix(arch) {
            Some(own) if own == suffix => BootAnswer::file(file),
            Some(own) => BootAnswer::file(format!("/{}", loader::grub(own))),
            None => BootAnswer::default(),
        },
    }
}

fn xnba(script: &str, uefi: bool, client: Client, server: &Server<'_>) -> BootAnswer {
    match client {
        Client::Ipxe(Arch::Bios) => BootAnswer {
            // Under undionly the card's own driver receives, and many of those drop unicast
            // until they have an address.
            broadcast: true,
            ..BootAnswer::file(server.url(&format!("xcat/xnba/{script}")))
        },
        Client::Ipxe(arch) if uefi && arch.is_uefi() => {
            BootAnswer::file(server.url(&format!("xcat/xnba/{script}.uefi")))
        }
        Client::Pxe(arch) | Client::Http(arch) if uefi || !arch.is_uefi() => first_stage(arch, server),
        Client::Etherboot | Client::Bootp => first_stage(Arch::Bios, server),
        Client::Petitboot => petitboot(script, server),
        Client::Onie => BootAnswer::option(code::WWW_SERVER, server.root_url(loader::ONIE_INSTALLER)),
        _ => BootAnswer::default(),
    }
}

/// Petitboot on a machine whose rule is written for x86: the network's or the node's own configuration.
fn petitboot(script: &str, server: &Server<'_>) -> BootAnswer {
    let config = match (script.strip_prefix("nets/"), script.strip_prefix("nodes/")) {
        (Some(net), _) => format!("{}/{net}", boot_path::PETITBOOT_NETS),
        (_, Some(node)) => loader::petitboot(node),
        _ => return BootAnswer::default(),
    };
    BootAnswer::option(code::CONFIG_FILE, server.url(&config))
}

fn first_stage(arch: Arch, server: &Server<'_>) -> BootAnswer {
    server.loaders.first_stage(arch).map(BootAnswer::file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(rule: &BootRule, client: Client) -> String {
        let loaders = Loaders::default();
        let server = Server { address: Ipv4Addr::new(10, 1, 0, 1), http_port: 8080, loaders: &loaders };
        let answer = choose(rule, client, b"", &server);
        let options = answer.options.iter().map(|(c, v)| format!(" {c}={}", String::from_utf8_lossy(v)));
        format!("{}{}", answer.file.unwrap_or_else(|| "-".into()), options.collect::<String>())
    }

    #[test]
    fn each_rule_for_each_program() {
        let node = BootRule::Xnba { script: "nodes/cn1".into(), uefi: true };
        let disk = BootRule::Xnba { script: "nodes/cn1".into(), uefi: false };
        let net = BootRule::Xnba { script: "nets/10.1.0.0_16".into(), uefi: true };
        let for_one = |client, file: &str, otherwise: &BootRule| BootRule::ForOne {
            client,
            file: file.into(),
            otherwise: Box::new(otherwise.clone()),
        };
        let image = for_one(Client::Http(Arch::UefiX64), "boot/cn1.img", &node);
        let both = for_one(Client::Pxe(Arch::UefiX64), "shimx64.efi", &image);
        let grub = |shim: Option<&str>| BootRule::Grub2 {
            file: "/boot/grub2/grub2-cn1".into(),
            suffix: "x86_64".into(),
            shim: shim.map(str::to_owned),
        };
        let (plain, signed) = (grub(None), grub(Some("shimx64.efi")));
        let url = "http://10.1.0.1:8080/tftpboot";
        for (rule, client, expected) in [
            (&node, Client::Pxe(Arch::Bios), "undionly.kpxe".to_string()),
            (&node, Client::Pxe(Arch::UefiX64), "snponly.efi".into()),
            (&node, Client::Pxe(Arch::UefiArm64), "boot/grub2/grub2.aarch64".into()),
            (&node, Client::Http(Arch::UefiX64), format!("{url}/snponly.efi 60=HTTPClient")),
            (&node, Client::Ipxe(Arch::Bios), format!("{url}/xcat/xnba/nodes/cn1")),
            (&node, Client::Ipxe(Arch::UefiX64), format!("{url}/xcat/xnba/nodes/cn1.uefi")),
            (&node, Client::Petitboot, format!("- 209={url}/petitboot/cn1")),
            (&node, Client::System, "-".into()),
            (&node, Client::Bootp, "undionly.kpxe".into()),
            (&disk, Client::Pxe(Arch::UefiX64), "-".into()),
            (&disk, Client::Pxe(Arch::Bios), "undionly.kpxe".into()),
            (&disk, Client::Ipxe(Arch::UefiX64), "-".into()),
            (&net, Client::Ipxe(Arch::UefiX64), format!("{url}/xcat/xnba/nets/10.1.0.0_16.uefi")),
            (&net, Client::Petitboot, format!("- 209={url}/pxelinux.cfg/p/10.1.0.0_16")),
            (&net, Client::Onie, "- 114=http://10.1.0.1:8080/install/onie/onie-installer".into()),
            (&image, Client::Http(Arch::UefiX64), format!("{url}/boot/cn1.img 60=HTTPClient")),
            (&image, Client::Pxe(Arch::UefiX64), "snponly.efi".into()),
            (&both, Client::Http(Arch::UefiX64), format!("{url}/boot/cn1.img 60=HTTPClient")),
            (&both, Client::Pxe(Arch::UefiX64), "shimx64.efi".into()),
            (&both, Client::Pxe(Arch::Bios), "undionly.kpxe".into()),
            (&both, Client::Ipxe(Arch::UefiX64), format!("{url}/xcat/xnba/nodes/cn1.uefi")),
            (&image, Client::Http(Arch::UefiIa32), format!("{url}/ipxe32.efi 60=HTTPClient")),
            (&image, Client::Http(Arch::UefiArm64), format!("{url}/boot/grub2/grub2.aarch64 60=HTTPClient")),
            (&plain, Client::Pxe(Arch::UefiX64), "/boot/grub2/grub2-cn1".into()),
            (&plain, Client::Pxe(Arch::UefiArm64), "/boot/grub2/grub2.aarch64".into()),
            (&signed, Client::Pxe(Arch::UefiX64), "shimx64.efi".into()),
            (&signed, Client::Http(Arch::UefiX64), format!("{url}/shimx64.efi 60=HTTPClient")),
            (&signed, Client::Pxe(Arch::Bios), "/boot/grub2/grub2-cn1".into()),
            (&signed, Client::Pxe(Arch::UefiIa32), "/boot/grub2/grub2.i386".into()),
            (&signed, Client::Http(Arch::UefiArm64), format!("{url}/boot/grub2/grub2.aarch64 60=HTTPClient")),
            (&signed, Client::Pxe(Arch::Power), "/boot/grub2/grub2.ppc".into()),
            (&signed, Client::Pxe(Arch::Itanium), "-".into()),
            (&BootRule::Pxe, Client::Pxe(Arch::Bios), "pxelinux.0".into()),
            (&BootRule::Disk, Client::Pxe(Arch::Bios), "-".into()),
            (&BootRule::ElsewhereByProxy, Client::Pxe(Arch::UefiX64), "- 60=PXEClient".into()),
        ] {
            assert_eq!(ask(rule, client), expected, "{rule:?} {client}");
        }
    }
}
