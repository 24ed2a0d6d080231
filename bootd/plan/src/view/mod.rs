//! Views: the files of a boot that exist only when they are asked for.
//!
//! A path relative to the TFTP root (HTTP serves the same tree below `/tftpboot/`) is read into a
//! [`View`]; [`render`] answers it from the plan. Paths that are not views belong to the static trees.
//!
//! A node's own files are for the node: another node that asks for them is refused with the
//! reason, because a command line may hold what a stranger should not read. This machine itself may read
//! everything, so that an administrator can look.

mod answers;
pub mod fuzz;
mod grub;
mod ipxe;
mod pxelinux;
mod strangers;

pub use answers::{AnswerFile, AnswerPart, answer_file, without_token};
pub use grub::FIRST_CONFIG as GRUB_FIRST_CONFIG;

use crate::error::PlanError;
use crate::install::{self, BootFiles};
use crate::loader;
use crate::lookup::{install_mac, local_path};
use crate::plan::{Action, DISCOVERY_ARCH, KernelBoot, Plan, System, plan};
use crate::surroundings::Surroundings;
use dawn_cluster::{Advised, MacAddr, NodeName, OsImage, Snapshot, Text};
use dawn_wire::boot_path;
use dawn_wire::image::{INITRD_STATELESS, INITRD_STATELITE, KERNEL, genesis_initrd, genesis_kernel};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// A path below the TFTP root that is rendered or points elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
enum View<'a> {
    /// `xcat/xnba/nodes/<node>`.
    Ipxe(&'a str),
    /// `xcat/xnba/nodes/<node>.uefi`.
    IpxeUefi(&'a str),
    /// `xcat/xnba/nodes/<node>.elilo`.
    Elilo(&'a str),
    /// `xcat/xnba/nets/<net>_<bits>`, with or without `.uefi`: for machines that are not a known node.
    IpxeNet(&'a str),
    /// Former names of the discovery system: `xcat/nbk.<arch>`, `xcat/nbfs.<arch>.gz`.
    Genesis(String),
    /// `xcat/xnba/nodes/<node>.pxelinux` and `pxelinux.cfg/<key>`: node, `01-<mac>`, hexadecimal address,
    /// UUID or `default`.
    Pxelinux(&'a str),
    /// `pxelinux.cfg/p/<net>_<bits>`: petitboot on machines that are not a known node.
    PetitbootNet,
    /// `boot/grub2/grub2-<node>`: GRUB itself, as DHCP names it.
    GrubLoader(&'a str),
    /// `boot/grub2/<node>`, `boot/grub2/grub.cfg-01-<mac>`, `boot/grub2/grub.cfg-<HEXIP>`.
    Grub(&'a str),
    /// `xcat/httpboot/<node>.img`.
    HttpBoot(&'a str),
    /// `xcat/httpboot/nets/<net>_<bits>.img`: for machines that no node is known for.
    HttpBootNet,
    /// `petitboot/<node>`.
    Petitboot(&'a str),
    /// `xcat/statelite/<node>`.
    Statelite(&'a str),
    /// `mypostscripts/mypostscript.<node>`, with or without `.tmp`.
    PostScript(&'a str),
    /// `xcat/osimage/<image>/<file>`.
    ImageFile { image: &'a str, file: &'a str },
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A rendered text.
    Text(String),
    /// A file of this machine.
    File(PathBuf),
    /// A file of the TFTP directory.
    TftpFile(String),
    /// Kernel or initramfs of an installer: that of the first pair that is there.
    OfMedia {
        /// Where they may be.
        pairs: Vec<BootFiles>,
        /// Which of the two.
        which: OfMedia,
    },
    /// The answers for an installer, which are rendered from a template.
    AnswerFile(AnswerFile),
    /// A disk image for UEFI HTTP Boot.
    BootImage(BootImage),
    /// The list of special paths of this statelite node.
    StateliteList(String),
    /// What this node runs after its boot.
    PostScript(String),
    /// Nothing of that name, with the reason where there is one.
    Missing(Option<String>),
    /// Another node's, which this peer learns nothing of; the reason is for the log.
    Hidden(String),
    /// Not for this peer, or not now; the reason is for the node's screen.
    Refused(String),
    /// The plan has no answer: the reason, and a script that says it on the node's screen and asks again.
    Explained {
        /// Why.
        reason: String,
        /// The script.
        shown: String,
    },
}

/// A file of an installer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfMedia {
    /// Its kernel.
    Kernel,
    /// Its initramfs.
    Initrd,
}

/// What is in a boot image besides the loaders: `EFI/BOOT` holds shim and the signed GRUB, which needs no
/// network to find the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootImage {
    /// GRUB's configuration.
    pub config: String,
    /// The kernel, `kernel` in the image.
    pub kernel: PathBuf,
    /// The initramfs, `initrd` in the image.
    pub initrd: PathBuf,
}

/// Path of a node's boot image relative to the TFTP root.
#[must_use]
pub fn boot_image_path(node: &str) -> String {
    format!("{}/{node}.img", boot_path::HTTP_BOOT)
}

impl<'a> View<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        match folder {
            boot_path::XNBA_NODES => Some(match name.rsplit_once('.') {
                Some((node, "uefi")) => Self::IpxeUefi(node),
                Some((node, "pxelinux")) => Self::Pxelinux(node),
                Some((node, "elilo")) => Self::Elilo(node),
                _ => Self::Ipxe(name),
            }),
            boot_path::XNBA_NETS => Some(Self::IpxeNet(name)),
            "xcat" => former_name(name).map(Self::Genesis),
            boot_path::PXELINUX => Some(Self::Pxelinux(name)),
            boot_path::PETITBOOT_NETS => Some(Self::PetitbootNet),
            boot_path::GRUB if name.starts_with(boot_path::GRUB_OF_NODE) => {
                name.strip_prefix(boot_path::GRUB_OF_NODE).map(Self::GrubLoader)
            }
            boot_path::GRUB if is_grub_config(name) => Some(Self::Grub(name)),
            boot_path::PETITBOOT => Some(Self::Petitboot(name)),
            boot_path::HTTP_BOOT => name.strip_suffix(".img").map(Self::HttpBoot),
            boot_path::HTTP_BOOT_NETS => name.strip_suffix(".img").map(|_| Self::HttpBootNet),
            "xcat/statelite" => Some(Self::Statelite(name)),
            "mypostscripts" => {
                let node = name.strip_prefix("mypostscript.")?;
                Some(Self::PostScript(node.strip_suffix(".tmp").unwrap_or(node)))
            }
            _ => {
                let image = folder.strip_prefix(boot_path::IMAGES)?.strip_prefix('/')?;
                (!image.contains('/')).then_some(Self::ImageFile { image, file: name })
            }
        }
    }
}

/// The file of the discovery system that a name of older loaders means.
fn former_name(name: &str) -> Option<String> {
    let of =
        |rest: &str, file: fn(&str) -> String| matches!(rest, "x86_64" | "x86").then(|| file(DISCOVERY_ARCH));
    if let Some(arch) = name.strip_prefix("nbk.") {
        return of(arch, genesis_kernel);
    }
    of(name.strip_prefix("nbfs.")?.strip_suffix(".gz")?, genesis_initrd)
}

/// GRUB's folder also holds its binaries and modules; configurations are recognised by their names.
fn is_grub_config(name: &str) -> bool {
    name.starts_with("grub.cfg-") || !name.contains('.')
}

/// Answers a request for `path`, relative to the TFTP root, without leading slash. `None`: the path is no
/// view and belongs to the static tree.
#[must_use]
pub fn render(snapshot: &Snapshot, here: Surroundings<'_>, path: &str, peer: IpAddr) -> Option<Answer> {
    let view = View::of(path)?;
    Some(Request { snapshot, here, peer }.answer(&view))
}

struct Request<'a> {
    snapshot: &'a Snapshot,
    here: Surroundings<'a>,
    peer: IpAddr,
}

impl Request<'_> {
    fn answer(&self, view: &View<'_>) -> Answer {
        match view {
            View::ImageFile { image, file } => self.image_file(image, file),
            View::Ipxe(node) => self.script(node, ipxe::Firmware::Bios),
            View::IpxeUefi(node) => self.script(node, ipxe::Firmware::Uefi),
            View::Elilo(node) => self.for_node(node, pxelinux::elilo),
            View::PetitbootNet => Answer::Text(pxelinux::PETITBOOT_UNKNOWN.to_owned()),
            View::GrubLoader(node) => self.grub_loader(node),
            View::IpxeNet(net) => Answer::Text(self.unknown(net)),
            View::Genesis(path) => Answer::TftpFile(path.clone()),
            View::Pxelinux(key) => self.for_key(key, |plan| Ok(pxelinux::config(plan))),
            View::Grub(key) => self.grub(key.strip_prefix("grub.cfg-").unwrap_or(key)),
            View::HttpBoot(node) => self.own(node, || self.boot_image(node)),
            View::HttpBootNet => self.strangers_image(),
            View::Petitboot(node) => self.for_node(node, |plan| Ok(pxelinux::petitboot(plan))),
            View::Statelite(node) => self.statelite(node),
            View::PostScript(node) => self.own(node, || Answer::PostScript((*node).to_owned())),
        }
    }

    /// For a machine that is not a known node: the discovery system, if there is one.
    fn unknown(&self, net: &str) -> String {
        let firmware = if net.ends_with(".uefi") { ipxe::Firmware::Uefi } else { ipxe::Firmware::Bios };
        match self.strangers_words() {
            Some(words) => ipxe::discovery(&words, self.here.ports.http, firmware),
            None => ipxe::UNKNOWN.to_owned(),
        }
    }

    /// The kernel line of the discovery system, if there is one.
    fn strangers_words(&self) -> Option<String> {
        let own = match self.peer {
            IpAddr::V4(peer) => self.here.addresses.facing(peer),
            IpAddr::V6(_) => None,
        };
        let master = own.map(|address| address.to_string());
        let master = master.or_else(|| self.snapshot.site("master").map(|text| text.to_string()));
        let master = master.filter(|_| self.here.packed.has_discovery())?;
        Some(strangers::words(self.snapshot, &master, self.here.ports))
    }

    fn strangers_image(&self) -> Answer {
        match self.strangers_words() {
            Some(words) => Answer::BootImage(BootImage {
                config: grub::strangers_image_config(&words),
                kernel: self.tftp_file(&genesis_kernel(DISCOVERY_ARCH)),
                initrd: self.tftp_file(&genesis_initrd(DISCOVERY_ARCH)),
            }),
            None => Answer::Missing(Some(PlanError::NoDiscovery.in_one_line())),
        }
    }

    /// A file of the TFTP directory, by its path on this machine.
    fn tftp_file(&self, path: &str) -> PathBuf {
        local_path(self.snapshot, &format!("/tftpboot/{path}"))
    }

    /// The configuration of a node. A MAC that no node has is a machine that shim has brought here.
    fn grub(&self, key: &str) -> Answer {
        let is_mac = || key.strip_prefix("01-").is_some_and(|mac| mac.parse::<MacAddr>().is_ok());
        match self.for_key(key, |plan| Ok(grub::config(plan))) {
            Answer::Missing(None) if is_mac() => match self.strangers_words() {
                Some(words) => Answer::Text(grub::strangers_config(&words)),
                None => Answer::Missing(None),
            },
            answer => answer,
        }
    }

    fn grub_loader(&self, node: &str) -> Answer {
        self.own(node, || Answer::TftpFile(loader::grub_file(&loader::arch(self.snapshot, node))))
    }

    /// Loaders try several names in turn; a name that is not a node of ours is simply not there.
    fn for_key(&self, key: &str, write: impl Fn(&Plan) -> Result<String, PlanError>) -> Answer {
        match self.node_of_key(key) {
            Some(node) => self.for_node(&node, write),
            None => Answer::Missing(None),
        }
    }

    fn script(&self, node: &str, firmware: ipxe::Firmware) -> Answer {
        self.own(node, || match plan(self.snapshot, node, self.here) {
            Ok(plan) => Answer::Text(ipxe::script(&plan, firmware)),
            Err(error) => {
                let reason = error.in_one_line();
                let shown = ipxe::explanation(node, &reason, firmware);
                Answer::Explained { reason, shown }
            }
        })
    }

    fn for_node(&self, node: &str, write: impl Fn(&Plan) -> Result<String, PlanError>) -> Answer {
        self.own(node, || match plan(self.snapshot, node, self.here).and_then(|plan| write(&plan)) {
            Ok(text) => Answer::Text(text),
            Err(error @ PlanError::NoNode(_)) => Answer::Missing(Some(error.to_string())),
            Err(error) => Answer::Refused(error.in_one_line()),
        })
    }

    fn boot_image(&self, node: &str) -> Answer {
        let plan = match plan(self.snapshot, node, self.here) {
            Ok(plan) => plan,
            Err(error) => return Answer::Refused(error.in_one_line()),
        };
        let Some(boot) = kernel_of(&plan) else {
            return Answer::Refused(format!("{node} boots from its disk"));
        };
        let nic = install_mac(self.snapshot, node);
        let (kernel, initrd) = match &boot.system {
            System::Image { name, initrd } => {
                (self.image_file(name.as_str(), KERNEL), self.image_file(name.as_str(), initrd))
            }
            System::Installer { .. } => {
                return Answer::Refused(format!(
                    "installers do not start from a boot image; boot {node} with iPXE, PXELINUX or GRUB"
                ));
            }
            System::Discovery => {
                let file = |path: String| Answer::File(self.tftp_file(&path));
                (file(boot.kernel()), file(boot.initrd()))
            }
        };
        match (kernel, initrd) {
            (Answer::File(kernel), Answer::File(initrd)) => {
                Answer::BootImage(BootImage { config: grub::image_config(&plan, boot, nic), kernel, initrd })
            }
            (Answer::File(_), other) | (other, _) => other,
        }
    }

    fn statelite(&self, node: &str) -> Answer {
        self.own(node, || Answer::StateliteList(node.to_owned()))
    }

    /// Runs `answer` if the peer is the node, or this machine.
    fn own(&self, node: &str, answer: impl FnOnce() -> Answer) -> Answer {
        if !self.snapshot.has_node(node) {
            return Answer::Missing(Some(PlanError::NoNode(node.to_owned()).to_string()));
        }
        if !self.here.addresses.are_of(self.peer) {
            // Paths with a MAC or an address lead here too: that they are a node's is not for others.
            match self.snapshot.node_by_ip(self.peer) {
                Some(asking) if &*asking == node => {}
                Some(asking) => {
                    return Answer::Hidden(format!("this file is for {node}; {} is {asking}", self.peer));
                }
                None => {
                    let stranger = "is not the address of a node";
                    return Answer::Hidden(format!("this file is for {node}; {} {stranger}", self.peer));
                }
            }
        }
        match node.parse::<NodeName>() {
            Ok(_) => answer(),
            Err(error) => Answer::Refused(PlanError::from(error).in_one_line()),
        }
    }

    fn image_file(&self, image: &str, file: &str) -> Answer {
        let known = self.snapshot.osimage(image);
        if let Some(image) = known.filter(|image| image.provmethod().is_some_and(|word| &**word == "install"))
        {
            return self.media_file(&image, file);
        }
        if ![KERNEL, INITRD_STATELESS, INITRD_STATELITE].contains(&file) {
            return Answer::Missing(None);
        }
        let dir = self.snapshot.osimage(image).and_then(|image| image.rootimgdir(self.snapshot));
        match dir {
            Some(dir) => Answer::File(PathBuf::from(dir).join(file)),
            None => Answer::Missing(Some(PlanError::NoImage { image: image.to_owned() }.to_string())),
        }
    }

    fn media_file(&self, image: &OsImage, file: &str) -> Answer {
        let installer = match install::installer_of(image) {
            Ok(installer) => installer,
            Err(error) => return Answer::Missing(Some(error.in_one_line())),
        };
        let (kernel, initrd) = install::served_names(installer);
        let which = match file {
            _ if file == kernel => OfMedia::Kernel,
            _ if file == initrd => OfMedia::Initrd,
            _ => return Answer::Missing(None),
        };
        match install::boot_files(self.snapshot, image) {
            Ok(pairs) => Answer::OfMedia { pairs, which },
            Err(error) => Answer::Missing(Some(error.in_one_line())),
        }
    }

    /// The node that a loader means by one of the names it tries: the node's name, `01-<mac>`, the eight
    /// hexadecimal digits of its address, or its UUID; `default` means the node that asks.
    fn node_of_key(&self, key: &str) -> Option<Text> {
        if key == "default" {
            return self.snapshot.node_by_ip(self.peer);
        }
        self.snapshot
            .node_name(key)
            .or_else(|| self.snapshot.node_by_mac(key.strip_prefix("01-")?.parse::<MacAddr>().ok()?))
            .or_else(|| self.snapshot.node_by_ip(IpAddr::V4(hex_address(key)?)))
            .or_else(|| (key.len() == 36).then(|| self.snapshot.node_by_uuid(key)).flatten())
    }
}

/// `0A010005` → 10.1.0.5.
fn hex_address(text: &str) -> Option<Ipv4Addr> {
    let hex = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(Ipv4Addr::from)
}

/// Where HTTP serves the boot files, with the port where it is not the usual one: `http://10.1.0.1/tftpboot`,
/// `http://10.1.0.1:8080/tftpboot`.
#[must_use]
pub fn boot_files_url(host: &str, port: u16) -> String {
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    format!("http://{host}{port}/tftpboot")
}

/// Kernel boot of a plan, or `None` when the node goes to its disk.
fn kernel_of(plan: &Plan) -> Option<&KernelBoot> {
    match &plan.action {
        Action::Kernel(boot) => Some(boot),
        Action::LocalDisk | Action::Installer(_) => None,
    }
}

#[cfg(test)]
mod tests;
