//! The boot plan: what a node boots, computed from the tables alone.
//!
//! [`plan`] is a pure function of a snapshot, a node and its [`Surroundings`], which are data. Every
//! file that a node may fetch for its boot is a view of the result ([`crate::view`]), so
//! `nodeset` writes no file and a changed table counts at the next request.
//!
//! Kernel words and the order in which servers are looked up follow xCAT, because scripts inside of images
//! read `/proc/cmdline`.

use crate::args::KernelArgs;
use crate::error::PlanError;
use crate::facts::Facts;
use crate::install;
use crate::lookup::{image_of, installer, is_ramdisk, node_ip, public_path};
use crate::proxied;
use crate::state::BootState;
use crate::surroundings::{Ports, Surroundings};
use dawn_cluster::{ImageName, Installer, Netboot, NodeName, OsImage, Snapshot, col};
use dawn_wire::boot_path::IMAGES;
use dawn_wire::image::{
    INITRD_STATELESS, INITRD_STATELITE, KERNEL, PACKED_ROOTS, PACKED_STATELITE, ROOT, genesis_initrd,
    genesis_kernel,
};
use dawn_wire::kernel;
use std::net::Ipv4Addr;
use std::path::Path;

/// What a node boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The node.
    pub node: NodeName,
    /// Its state; the text is the comment line of every boot file.
    pub state: BootState,
    /// What the loader does.
    pub action: Action,
    /// The server as the node sees it, for loaders without a variable for it.
    pub server: Ipv4Addr,
    /// Another DHCP server gives the node its address (`site.proxydhcp`): the loader's variable then names
    /// that one.
    pub proxied: bool,
    /// Port of the HTTP service.
    pub http_port: u16,
}

/// What the loader does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Leaves the network: the firmware boots from the disk.
    LocalDisk,
    /// Loads a kernel.
    Kernel(KernelBoot),
    /// A switch fetches this installer, a local file, and runs it (`noderes.netboot` is onie).
    Installer(String),
}

/// Kernel, initramfs and command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelBoot {
    /// Where the two files come from.
    pub system: System,
    /// Command line without `BOOTIF`, which each loader writes in its own way.
    pub args: KernelArgs,
}

/// What a node loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// An image.
    Image {
        /// Its name, part of the paths that the node fetches.
        name: ImageName,
        /// File name of the initramfs below `xcat/osimage/<image>/`.
        initrd: &'static str,
    },
    /// The installer of an image of the method `install`.
    Installer {
        /// The image's name.
        name: ImageName,
        /// Which installer.
        installer: Installer,
    },
    /// The discovery system, for the tasks of a chain.
    Discovery,
}

impl KernelBoot {
    /// Path of the kernel, relative to the TFTP root.
    #[must_use]
    pub fn kernel(&self) -> String {
        match &self.system {
            System::Image { name, .. } => format!("{IMAGES}/{name}/{KERNEL}"),
            System::Installer { name, installer } => {
                format!("{IMAGES}/{name}/{}", install::served_names(*installer).0)
            }
            System::Discovery => genesis_kernel(DISCOVERY_ARCH),
        }
    }

    /// Path of the initramfs, relative to the TFTP root.
    #[must_use]
    pub fn initrd(&self) -> String {
        match &self.system {
            System::Image { name, initrd } => format!("{IMAGES}/{name}/{initrd}"),
            System::Installer { name, installer } => {
                format!("{IMAGES}/{name}/{}", install::served_names(*installer).1)
            }
            System::Discovery => genesis_initrd(DISCOVERY_ARCH),
        }
    }
}

/// The architecture of the discovery system that nodes load.
pub const DISCOVERY_ARCH: &str = "x86_64";

/// Computes what `node` boots.
///
/// # Errors
/// [`PlanError`] says which value is missing or wrong, and how to set it.
pub fn plan(snapshot: &Snapshot, node: &str, here: Surroundings<'_>) -> Result<Plan, PlanError> {
    let node = snapshot.node_name(node).ok_or_else(|| PlanError::NoNode(node.to_owned()))?;
    let facts = Facts { snapshot, node: &node, here };
    let state = facts.state()?;
    let action = match &state {
        BootState::Boot => Action::LocalDisk,
        BootState::Netboot(_) => Action::Kernel(facts.stateless()?),
        BootState::Statelite(_) => Action::Kernel(facts.statelite()?),
        BootState::Offline => return Err(facts.no_state("offline")),
        BootState::Install(_) if facts.is_onie() => Action::Installer(facts.installer()?),
        BootState::Task(_) if !here.packed.has_discovery() => return Err(PlanError::NoDiscovery),
        BootState::Task(_) => Action::Kernel(facts.discovery(&state)?),
        BootState::Install(_) => Action::Kernel(facts.install()?),
    };
    let server = facts.server_address()?;
    let proxied =
        node_ip(snapshot, &node).is_some_and(|address| proxied::is_proxied_address(snapshot, address));
    Ok(Plan { node: node.parse()?, state, action, server, proxied, http_port: here.ports.http })
}

impl Facts<'_> {
    fn is_onie(&self) -> bool {
        Netboot::of(self.snapshot, self.node) == Netboot::Onie
    }

    fn installer(&self) -> Result<String, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let missing = || PlanError::ImageIncomplete { image: image.name.to_string(), column: "pkgdir" };
        installer(&image).map(str::to_owned).ok_or_else(missing)
    }

    fn install(&self) -> Result<KernelBoot, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let installer = install::installer_of(&image)?;
        // Said here, before the node asks for them.
        install::boot_files(self.snapshot, &image)?;
        let args = self.install_args(&image, installer)?;
        Ok(KernelBoot { system: System::Installer { name: image.name.parse()?, installer }, args })
    }

    fn stateless(&self) -> Result<KernelBoot, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let dir = image_dir(self.snapshot, &image)?;
        // One that was not packed yet gets the name it will have; `nodeset` has said what is missing.
        let root = self.here.packed.of(Path::new(&dir)).unwrap_or(PACKED_ROOTS[0]);
        let mut args = KernelArgs::default();
        args.push(self.image_url(&dir, root))?;
        self.common_args(&mut args)?;
        let flow = self.snapshot.site("useflowcontrol").unwrap_or_else(|| "0".into());
        args.push(format!("FC={flow}"))?;
        self.tail_args(&mut args, &image)?;
        Ok(KernelBoot { system: System::Image { name: image.name.parse()?, initrd: INITRD_STATELESS }, args })
    }

    fn image_url(&self, dir: &str, file: &str) -> String {
        let (server, port) = (self.image_server(), self.here.ports.http);
        format!("{}=http://{server}:{port}/{}/{file}", kernel::IMAGE_URL, public_path(self.snapshot, dir))
    }

    fn statelite(&self) -> Result<KernelBoot, PlanError> {
        let image = image_of(self.snapshot, self.node)?;
        let dir = image_dir(self.snapshot, &image)?;
        let mut args = KernelArgs::default();
        if is_ramdisk(&image) {
            args.push(self.image_url(&dir, PACKED_STATELITE))?;
        } else {
            let public = public_path(self.snapshot, &dir);
            args.push(format!("{}={}:{public}/{ROOT}", kernel::NFS_ROOT, self.image_server()))?;
        }
        args.push(format!("{}={}", kernel::STATE_MOUNT, self.attr_persistent().unwrap_or_default()))?;
        self.common_args(&mut args)?;
        let options = self.attr(col::statelite::MNTOPTS).unwrap_or_else(|| "".into());
        args.push(format!("{}={options}", kernel::STATE_OPTIONS))?;
        if self.here.ports.nfs != Ports::default().nfs {
            args.push(format!("{}={}", kernel::NFS_PORT, self.here.ports.nfs))?;
            args.push(format!("{}={}", kernel::MOUNT_PORT, self.here.ports.nfs))?;
        }
        self.tail_args(&mut args, &image)?;
        Ok(KernelBoot { system: System::Image { name: image.name.parse()?, initrd: INITRD_STATELITE }, args })
    }

    /// The server is asked for the task itself; `destiny` shows it on the console.
    fn discovery(&self, state: &BootState) -> Result<KernelBoot, PlanError> {
        let mut args = KernelArgs::default();
        args.push("quiet")?;
        if let Some(console) = self.console() {
            args.push("console=tty0")?;
            args.push(console)?;
        }
        args.push(format!("{}={}:{}", kernel::DISCOVERY, self.xcat_master()?, self.here.ports.xcatd))?;
        if self.here.ports.status != Ports::default().status {
            args.push(format!("{}={}", kernel::STATUS_PORT, self.here.ports.status))?;
        }
        let task = state.to_string();
        args.push(format!("{}={}", kernel::DESTINY, task.split(' ').next().unwrap_or_default()))?;
        if let Some(cell) = self.attr(col::bootparams::ADDKCMDLINE) {
            args.push_cell(&cell)?;
        }
        Ok(KernelBoot { system: System::Discovery, args })
    }

    /// Persistent store, variables resolved.
    fn attr_persistent(&self) -> Option<String> {
        dawn_statelite::persistent_store(self.snapshot, self.node)
    }

    fn common_args(&self, args: &mut KernelArgs) -> Result<(), PlanError> {
        let ports = self.here.ports;
        args.push(format!("{}={}:{}", kernel::MASTER, self.xcat_master()?, ports.xcatd))?;
        args.push(format!("{}={}", kernel::NODE, self.node))?;
        if !self.snapshot.site_flag("nodestatus", true) {
            args.push(kernel::NO_STATUS)?;
        }
        args.push(format!("{}={}", kernel::HTTP_PORT, ports.http))?;
        if ports.status != Ports::default().status {
            args.push(format!("{}={}", kernel::STATUS_PORT, ports.status))?;
        }
        Ok(())
    }

    /// Boot NIC, console, and what the administrator added.
    fn tail_args(&self, args: &mut KernelArgs, image: &OsImage) -> Result<(), PlanError> {
        if let Some(nic) = self.boot_nic_name() {
            args.push(format!("{}={nic}", kernel::NET_DEVICE))?;
        }
        if let Some(console) = self.console() {
            args.push("console=tty0")?;
            args.push(console)?;
        }
        for cell in
            [self.attr(col::bootparams::ADDKCMDLINE), image.get(col::linuximage::ADDKCMDLINE).cloned()]
                .into_iter()
                .flatten()
        {
            args.push_cell(&cell)?;
        }
        Ok(())
    }
}

/// `R`, the directory of an image.
fn image_dir(snapshot: &Snapshot, image: &OsImage) -> Result<String, PlanError> {
    let missing = || PlanError::ImageIncomplete { image: image.name.to_string(), column: "rootimgdir" };
    image.rootimgdir(snapshot).ok_or_else(missing)
}
