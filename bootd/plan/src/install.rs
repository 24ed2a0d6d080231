//! The boot of an installer: where its kernel is on the media, and its kernel line.
//!
//! Lines follow xCAT's, with the token of [`crate::token`] in the address of the answer file. What is
//! deliberately missing: addresses that are not from DHCP (`site.managedaddressmode`), driver disks, the
//! installers of ALT and Windows, and systems older than Enterprise Linux 7.

use crate::args::{KernelArgs, MY_IP};
use crate::error::PlanError;
use crate::facts::Facts;
use crate::lookup::{install_mac, public_path};
use crate::token::token_or_mask;
use dawn_cluster::list::elements;
use dawn_cluster::{Installer, OsImage, Snapshot, col};
use std::path::{Path, PathBuf};

/// Where HTTP serves answer files, relative to the install directory.
pub(crate) const AUTOINST: &str = "autoinst";
/// The key of the token in a query.
pub(crate) const TOKEN_KEY: &str = "t";

/// Kernel and initramfs of an installer on its media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
}

/// The installer of an image.
///
/// # Errors
/// [`PlanError::NoInstaller`] names what is not known.
pub fn installer_of(image: &OsImage) -> Result<Installer, PlanError> {
    let osvers = image.get(col::osimage::OSVERS).map(|text| text.to_string()).unwrap_or_default();
    let template = image.get(col::linuximage::TEMPLATE).map(|text| text.to_string());
    Installer::of(&osvers, template.as_deref())
        .ok_or_else(|| PlanError::NoInstaller { image: image.name.to_string(), osvers })
}

/// Names of kernel and initramfs below `xcat/osimage/<image>/`.
#[must_use]
pub fn served_names(installer: Installer) -> (&'static str, &'static str) {
    match installer {
        Installer::AutoYast => ("linux", "initrd"),
        Installer::Kickstart | Installer::Preseed | Installer::Autoinstall => ("vmlinuz", "initrd.img"),
    }
}

/// The directories and addresses of the packages, in order: `linuximage.pkgdir`, else
/// `<installdir>/<os>/<arch>`.
///
/// # Errors
/// [`PlanError::ImageIncomplete`].
pub fn package_places(snapshot: &Snapshot, image: &OsImage) -> Result<Vec<String>, PlanError> {
    if let Some(list) = image.get(col::linuximage::PKGDIR) {
        let words = elements(list);
        let places: Vec<String> = words.map(|word| word.trim_end_matches('/').to_owned()).collect();
        if !places.is_empty() {
            return Ok(places);
        }
    }
    let incomplete = |column| PlanError::ImageIncomplete { image: image.name.to_string(), column };
    let os = image.get(col::osimage::OSVERS).ok_or_else(|| incomplete("osvers"))?;
    let arch = image.get(col::osimage::OSARCH).ok_or_else(|| incomplete("osarch"))?;
    let installdir = snapshot.site("installdir").unwrap_or_else(|| "/install".into());
    Ok(vec![format!("{}/{os}/{arch}", installdir.trim_end_matches('/'))])
}

/// An address or a directory of packages as the node names it, on `server`.
///
/// # Errors
/// [`PlanError::NotServed`]: a directory that HTTP does not serve.
pub fn package_url(snapshot: &Snapshot, place: &str, server: &str, port: u16) -> Result<String, PlanError> {
    if is_url(place) {
        return Ok(place.to_owned());
    }
    let public = public_path(snapshot, place);
    let is_served = ["/install/", "/tftpboot/"].iter().any(|root| public.starts_with(root));
    if !is_served || public.split('/').any(|part| part == "..") {
        return Err(PlanError::NotServed { path: place.to_owned() });
    }
    Ok(format!("http://{server}:{port}{public}"))
}

/// The place is not on this machine.
#[must_use]
pub fn is_url(place: &str) -> bool {
    ["http://", "https://", "ftp://"].iter().any(|scheme| place.starts_with(scheme))
}

/// Host and port of a mirror that is not on this machine.
#[must_use]
pub fn mirror_host(place: &str) -> Option<&str> {
    let (_, rest) = place.split_once("://").filter(|_| is_url(place))?;
    rest.split('/').next().filter(|host| !host.is_empty())
}

/// Where kernel and initramfs of an installer may be; the first pair that is there counts. They are in the
/// first of the image's package directories that is on this machine.
///
/// # Errors
/// [`PlanError`]: the image does not say.
pub fn boot_files(snapshot: &Snapshot, image: &OsImage) -> Result<Vec<BootFiles>, PlanError> {
    let installer = installer_of(image)?;
    let places = package_places(snapshot, image)?;
    let local = places.iter().find(|place| place.starts_with('/') && !place.contains("/.."));
    let top = local.ok_or_else(|| PlanError::NoMedia { image: image.name.to_string() })?;
    let arch = image.get(col::osimage::OSARCH).map(|text| text.to_string()).unwrap_or_default();
    let pair = |folder: &str, kernel: &str, initrd: &str| {
        let folder = Path::new(top).join(folder);
        BootFiles { kernel: folder.join(kernel), initrd: folder.join(initrd) }
    };
    Ok(match installer {
        Installer::Kickstart if arch.starts_with("ppc64") => vec![
            pair(&format!("ppc/{arch}"), "vmlinuz", "initrd.img"),
            pair(&format!("ppc/{arch}"), "vmlinuz", "ramdisk.image.gz"),
            pair("ppc/ppc64", "vmlinuz", "initrd.img"),
        ],
        Installer::Kickstart => vec![pair("images/pxeboot", "vmlinuz", "initrd.img")],
        Installer::AutoYast => {
            let folder = match arch.as_str() {
                "ppc64" | "ppc64le" => format!("boot/{arch}"),
                "x86" => "boot/i386/loader".to_owned(),
                arch => format!("boot/{arch}/loader"),
            };
            vec![pair(&format!("1/{folder}"), "linux", "initrd"), pair(&folder, "linux", "initrd")]
        }
        Installer::Preseed => {
            let arch = debian_arch(&arch);
            let mut pairs = Vec::new();
            for folder in ["install/hwe-netboot", "install/netboot"] {
                for name in ["ubuntu-installer", "debian-installer"] {
                    pairs.push(pair(&format!("{folder}/{name}/{arch}"), "linux", "initrd.gz"));
                }
            }
            pairs.push(pair("install/netboot", "vmlinuz", "initrd.gz"));
            pairs
        }
        Installer::Autoinstall => {
            vec![pair("casper", "hwe-vmlinuz", "hwe-initrd"), pair("casper", "vmlinuz", "initrd")]
        }
    })
}

/// Debian's name of an architecture.
fn debian_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "i386",
        "ppc64le" => "ppc64el",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Facts<'_> {
    /// The kernel line of an installer.
    pub(crate) fn install_args(
        &self,
        image: &OsImage,
        installer: Installer,
    ) -> Result<KernelArgs, PlanError> {
        if self.snapshot.site("managedaddressmode").is_some_and(|mode| mode.contains("static")) {
            return Err(PlanError::StaticAddress(self.node.to_owned()));
        }
        let mut args = KernelArgs::default();
        match installer {
            Installer::Kickstart => self.kickstart(&mut args, image)?,
            Installer::AutoYast => self.autoyast(&mut args, image)?,
            Installer::Preseed => self.preseed(&mut args, image)?,
            Installer::Autoinstall => self.autoinstall(&mut args, image)?,
        }
        let cells =
            [self.attr(col::bootparams::ADDKCMDLINE), image.get(col::linuximage::ADDKCMDLINE).cloned()];
        cells.iter().flatten().try_for_each(|cell| args.push_cell(cell))?;
        Ok(args)
    }

    fn kickstart(&self, args: &mut KernelArgs, image: &OsImage) -> Result<(), PlanError> {
        args.push(format!("inst.repo={}", self.first_package_url(image)?))?;
        args.push(format!("inst.ks={}", self.answers()))?;
        match self.boot_nic_name() {
            Some(nic) => args.push(format!("ip={nic}:dhcp"))?,
            None => args.push("ip=dhcp")?,
        }
        self.debug_args(args, &["inst.loglevel=debug"], &["inst.sshd"], Some("inst.syslog"))?;
        self.console_args(args, Some("inst.cmdline"))
    }

    fn autoyast(&self, args: &mut KernelArgs, image: &OsImage) -> Result<(), PlanError> {
        args.push(format!("autoyast={}", self.answers()))?;
        args.push(format!("install={}/1", self.first_package_url(image)?))?;
        if let Some(nic) = self.boot_nic() {
            args.push(format!("netdevice={nic}"))?;
        }
        self.debug_args(args, &[], &["UseSSH=1"], Some("Loghost"))?;
        self.console_args(args, None)
    }

    fn preseed(&self, args: &mut KernelArgs, image: &OsImage) -> Result<(), PlanError> {
        let places = package_places(self.snapshot, image)?;
        let mirror = places.first().and_then(|place| mirror_host(place)).map(str::to_owned);
        let mirror = mirror.unwrap_or_else(|| format!("{}:{}", self.install_server(), self.here.ports.http));
        for word in ["nofb", "utf8", "auto"] {
            args.push(word)?;
        }
        args.push(format!("xcatd={}", self.xcat_master()?))?;
        args.push(format!("url={}", self.answers()))?;
        args.push(format!("mirror/http/hostname={mirror}"))?;
        args.push("priority=critical")?;
        if let Some(nic) = self.boot_nic() {
            args.push(format!("netcfg/choose_interface={nic}"))?;
        }
        self.console_args(args, None)?;
        args.push("locale=en_US")?;
        args.push(format!("hostname={}", self.node))
    }

    /// casper has no resolver, so its server is an address; without `toram` its root would keep the node from
    /// rebooting.
    fn autoinstall(&self, args: &mut KernelArgs, image: &OsImage) -> Result<(), PlanError> {
        let places = package_places(self.snapshot, image)?;
        let local = places.iter().find(|place| place.starts_with('/'));
        let top = local.ok_or_else(|| PlanError::NoMedia { image: image.name.to_string() })?;
        for word in ["nofb", "utf8", "auto", "autoinstall", "ip=dhcp", "boot=casper", "netboot=nfs"] {
            args.push(word)?;
        }
        args.push(format!("xcatd={}", self.xcat_master()?))?;
        args.push(format!("nfsroot={}:{}", self.install_server(), public_path(self.snapshot, top)))?;
        args.push("toram")?;
        let token = token_or_mask(self.here.proof, self.node);
        args.push_seed(&format!("{}/{token}/", self.answers_without_token()))?;
        args.push("---")?;
        self.console_args(args, None)?;
        args.push("locale=en_US")?;
        args.push(format!("hostname={}", self.node))
    }

    /// Server of packages; [`MY_IP`] when the node is to use the server it booted from.
    fn install_server(&self) -> String {
        [col::noderes::NFSSERVER, col::noderes::XCATMASTER]
            .into_iter()
            .find_map(|column| self.server_attr(column))
            .map_or_else(|| MY_IP.to_owned(), |text| text.to_string())
    }

    fn first_package_url(&self, image: &OsImage) -> Result<String, PlanError> {
        let places = package_places(self.snapshot, image)?;
        let first = places.first().map(String::as_str).unwrap_or_default();
        package_url(self.snapshot, first, &self.install_server(), self.here.ports.http)
    }

    /// Answers are rendered by this daemon alone, also where another server has the packages.
    fn answers_without_token(&self) -> String {
        let server = self.server_attr(col::noderes::XCATMASTER);
        let server = server.map_or_else(|| MY_IP.to_owned(), |text| text.to_string());
        format!("http://{server}:{}/install/{AUTOINST}/{}", self.here.ports.http, self.node)
    }

    fn answers(&self) -> String {
        let token = token_or_mask(self.here.proof, self.node);
        format!("{}?{TOKEN_KEY}={token}", self.answers_without_token())
    }

    /// The boot interface as installers of SUSE and Debian take it: a name or a MAC.
    fn boot_nic(&self) -> Option<String> {
        if let Some(name) = self.boot_nic_name() {
            return Some(name.to_string());
        }
        let nic = self.attr(col::noderes::INSTALLNIC).or_else(|| self.attr(col::noderes::PRIMARYNIC));
        let mac = nic.and_then(|text| text.parse::<dawn_cluster::MacAddr>().ok());
        mac.or_else(|| install_mac(self.snapshot, self.node)).map(|mac| mac.to_string())
    }

    /// Words of `site.xcatdebugmode`: from 1 on, from 2 on, and the name of the word that takes our address.
    fn debug_args(
        &self,
        args: &mut KernelArgs,
        logs: &[&str],
        login: &[&str],
        log_server: Option<&str>,
    ) -> Result<(), PlanError> {
        let mode = self.snapshot.site("xcatdebugmode").unwrap_or_default();
        if !matches!(mode.trim(), "1" | "2") {
            return Ok(());
        }
        logs.iter().try_for_each(|word| args.push(*word))?;
        if mode.trim() == "2" {
            login.iter().try_for_each(|word| args.push(*word))?;
        }
        match log_server {
            Some(word) => args.push(format!("{word}={}", self.xcat_master()?)),
            None => Ok(()),
        }
    }

    fn console_args(&self, args: &mut KernelArgs, first: Option<&str>) -> Result<(), PlanError> {
        let Some(console) = self.console() else { return Ok(()) };
        first.into_iter().try_for_each(|word| args.push(word))?;
        args.push("console=tty0")?;
        args.push(console)
    }
}
