//! The boot services as commands see them.

use crate::answers;
use crate::appliance::Appliance;
use crate::boot_services::{BootServices, Destiny, Lease, RenderedFile};
use crate::dhcp::Answers;
use crate::discovery::Discovery;
use crate::first_stage::{self, Missing};
use crate::image_index::ImageIndex;
use crate::unready::{Advice, Unready};
use dawn_cluster::{
    Advised, Guid, Resolved, Snapshot, Source, col, excerpt, parse_mac_column, parse_mac_column_as,
};
use dawn_dhcp::lease::State;
use dawn_events::{Event, WaveReport};
use dawn_hardware::console::Hub;
use dawn_imagebuilder::{genimage, packimage};
use dawn_plan::destiny::STANDBY;
use dawn_plan::{self as plan, Action, BootState, KernelBoot, Plan, PlanError, System, ondiscover, tftpdir};
use dawn_serving::disks::{WAIT_TIME_MAX, within};
use dawn_serving::{DiskPool, Late};
use dawn_wire::image;
use dawn_wire::image::ROOT;
use dawn_xcatd::node_status::NodeReport;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A text that is not an address is not the same as none: the row that it comes from is to be changed.
fn check_mac(snapshot: &Snapshot, node: &str) -> Result<(), Unready> {
    let Some(Resolved { value: text, source, .. }) = snapshot.attr_with_source(node, col::mac::MAC) else {
        return Err(Unready::NoMac);
    };
    if !parse_mac_column(&text).is_empty() || !parse_mac_column_as::<Guid>(&text).is_empty() {
        return Ok(());
    }
    let row = match source {
        Source::Group(group) => format!("the group {group}"),
        _ => node.to_owned(),
    };
    Err(Unready::BadMac { text: excerpt(&text).to_string(), row })
}

impl BootServices for Appliance {
    fn check_plan(&self, snapshot: &Snapshot, node: &str) -> Result<(), Unready> {
        check_mac(snapshot, node)?;
        if plan::node_ip(snapshot, node).is_none() {
            return Err(Unready::NoAddress);
        }
        if matches!(BootState::of(snapshot, node), Some(BootState::Task(_))) {
            let looked = self.images.look_for_discovery_now(snapshot, WAIT_TIME_MAX);
            looked.map_err(|late| unavailable(&tftpdir(snapshot), late))?;
        }
        match self.plan(snapshot, node) {
            Ok(Plan { action: Action::Kernel(boot), state, .. }) => match &boot.system {
                System::Installer { name, .. } => {
                    check_media(snapshot, name.as_str())?;
                    let (addresses, packed) = (self.addresses.now(), self.images.packed());
                    self.answers.check(snapshot, self.surroundings(&addresses, &packed), node)
                }
                _ => check_files(snapshot, &self.images, &boot, &state),
            },
            Ok(Plan { action: Action::Installer(file), .. }) => check_installer(snapshot, node, &file),
            // The administrator asked for a state without boot files.
            Ok(_) | Err(PlanError::NoState { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn plan(&self, snapshot: &Snapshot, node: &str) -> Result<Plan, PlanError> {
        let (addresses, packed) = (self.addresses.now(), self.images.packed());
        plan::plan(snapshot, node, self.surroundings(&addresses, &packed))
    }

    fn rendered(&self, snapshot: &Snapshot, node: &str, file: Option<&str>) -> Result<RenderedFile, Unready> {
        let (addresses, packed) = (self.addresses.now(), self.images.packed());
        answers::preview(snapshot, self.surroundings(&addresses, &packed), node, file)
    }

    fn destiny(&self, snapshot: &Snapshot, node: &str) -> Destiny {
        let Some(state) = snapshot.attr(node, col::chain::CURRSTATE) else {
            return Destiny { destiny: STANDBY.to_owned(), ..Destiny::default() };
        };
        let destiny = ondiscover::shown(&state).to_owned();
        match self.plan(snapshot, node) {
            Ok(Plan { action: Action::Kernel(boot), server, .. }) => Destiny {
                destiny,
                kernel: Some(boot.kernel()),
                initrd: Some(boot.initrd()),
                kcmdline: Some(boot.args.render(&server.to_string())),
                imgserver: Some(server.to_string()),
            },
            _ => Destiny { destiny, ..Destiny::default() },
        }
    }

    fn dhcp_answers<'a>(&self, snapshot: &'a Snapshot) -> Answers<'a> {
        Answers::new(snapshot, &self.addresses.now())
    }

    fn missing_loaders(&self, snapshot: &Snapshot, node: &str) -> Option<Missing> {
        first_stage::missing_for(snapshot, node, &tftpdir(snapshot))
    }

    fn dhcp_problems(&self, snapshot: &Snapshot) -> Vec<String> {
        crate::dhcp::problems(snapshot, &self.addresses.now())
    }

    fn name_servers(&self) -> Vec<IpAddr> {
        self.name_servers.now().iter().copied().collect()
    }

    fn leases(&self) -> Vec<Lease> {
        self.leases.all().iter().map(lease).collect()
    }

    fn events(&self, node: Option<&str>, count_max: usize) -> Vec<Event> {
        match node {
            Some(node) => {
                let mut events = self.bus.of(node);
                events.split_off(events.len().saturating_sub(count_max))
            }
            None => self.bus.latest(count_max),
        }
    }

    fn waves(&self, now_ms: u64, sees: &dyn Fn(&str) -> bool) -> Vec<WaveReport> {
        self.bus.waves(now_ms, sees)
    }

    fn advice(&self, snapshot: &Snapshot, node: &str) -> Option<Advice> {
        let Ok(Plan { action: Action::Kernel(boot), .. }) = self.plan(snapshot, node) else {
            return None;
        };
        let System::Image { name, .. } = &boot.system else { return None };
        let image = name.as_str();
        let dir = image_dir(snapshot, image);
        let look = |dir: &Path| (genimage::is_of_another_build(dir), packimage::is_stale(dir));
        let (is_of_another_build, is_stale) = match within(&dir, look) {
            Ok(found) => found,
            Err(late) => return Some(Advice::Disk { path: dir, late }),
        };
        if is_of_another_build {
            return Some(Advice::OtherBuild(image.to_owned()));
        }
        let is_packed = matches!(BootState::of(snapshot, node), Some(BootState::Netboot(_)));
        (is_packed && is_stale).then(|| Advice::OldArchive(image.to_owned()))
    }

    fn reported(&self, snapshot: &Snapshot, node: &str, report: &NodeReport) {
        match report {
            NodeReport::Status(words) => {
                words.iter().for_each(|word| self.watcher.status(node, word));
                let starts = words.iter().any(|word| word == "netbooting");
                let advice = starts.then(|| self.advice(snapshot, node)).flatten();
                advice.iter().for_each(|advice| self.watcher.trouble(node, &advice.in_one_line()));
            }
            NodeReport::Script(result) => self.watcher.post_script(node, result),
            NodeReport::TaskDone(text) => self.watcher.task_done(node, text),
            NodeReport::Trouble(text) => self.watcher.trouble(node, &format!("node: {text}")),
            _ => {}
        }
    }

    fn trouble(&self, node: &str, detail: &str) {
        self.watcher.trouble(node, detail);
    }

    fn asked(&self, ip: IpAddr, command: &str) {
        self.watcher.asked(ip, &format!("command port: {command}"));
    }

    fn denied(&self, ip: IpAddr, detail: &str) {
        self.watcher.refused(ip, detail);
    }

    fn tree_users(&self, root: &Path) -> Vec<String> {
        self.tree_users(root)
    }

    fn is_own_address(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || matches!(address, IpAddr::V4(address) if self.addresses.now().contains(address))
    }

    fn discovery(&self) -> Option<&Discovery> {
        Some(&self.discovery)
    }

    fn consoles(&self) -> Option<&Hub> {
        Some(&self.consoles)
    }

    fn stranger(&self, ip: IpAddr) {
        self.watcher.refused(ip, "status port: not the address of a node");
    }
}

fn image_dir(snapshot: &Snapshot, image: &str) -> PathBuf {
    let dir = snapshot.osimage(image).and_then(|image| image.rootimgdir(snapshot));
    PathBuf::from(dir.unwrap_or_default())
}

/// What the node will ask for must have been built: an error now is cheaper than a node that waits before its
/// console.
fn check_files(
    snapshot: &Snapshot,
    images: &ImageIndex,
    boot: &KernelBoot,
    state: &BootState,
) -> Result<(), Unready> {
    // Whether there is a discovery system is part of the plan.
    let System::Image { name, initrd } = &boot.system else { return Ok(()) };
    let image = snapshot.osimage(name.as_str());
    let dir = image_dir(snapshot, name.as_str());
    let root = match (state, &image) {
        (BootState::Statelite(_), Some(image)) if plan::is_ramdisk(image) => {
            (image::PACKED_STATELITE, format!("liteimg {name}"))
        }
        (BootState::Statelite(_), _) => (ROOT, format!("genimage {name}")),
        _ => {
            let packed = images.look_now(&dir, WAIT_TIME_MAX).map_err(|late| unavailable(&dir, late))?;
            (packed.unwrap_or(image::PACKED_ROOTS[0]), format!("packimage {name}"))
        }
    };
    let built = [(image::KERNEL, format!("genimage {name}")), (*initrd, format!("genimage {name}")), root];
    let found = missing(&dir, built.map(|(file, command)| (dir.join(file), command)));
    match found.map_err(|late| unavailable(&dir, late))? {
        Some((file, command)) => Err(Unready::NotBuilt { image: name.to_string(), file, command }),
        None => Ok(()),
    }
}

/// The installer's kernel must be on the copied medium.
fn check_media(snapshot: &Snapshot, image: &str) -> Result<(), Unready> {
    let image = snapshot.osimage(image).ok_or_else(|| PlanError::NoImage { image: image.to_owned() })?;
    let pairs = plan::install::boot_files(snapshot, &image)?;
    let Some(first) = pairs.first().map(|pair| pair.kernel.clone()) else { return Ok(()) };
    let kernels = pairs.iter().map(|pair| pair.kernel.clone()).collect();
    let look = move || pairs.iter().any(|pair| pair.kernel.is_file() && pair.initrd.is_file());
    let found = DiskPool::default().call(&first, WAIT_TIME_MAX, look);
    match found.map_err(|late| unavailable(&first, late))? {
        true => Ok(()),
        false => Err(Unready::NoInstaller { image: image.name.to_string(), kernels }),
    }
}

/// The first of some files of a directory that is not there.
fn missing<const N: usize>(
    dir: &Path,
    files: [(PathBuf, String); N],
) -> Result<Option<(PathBuf, String)>, Late> {
    let look = move || files.into_iter().find(|(file, _)| !file.exists());
    DiskPool::default().call(dir, WAIT_TIME_MAX, look)
}

fn unavailable(path: &Path, late: Late) -> Unready {
    Unready::Disk { path: path.to_owned(), late }
}

/// A switch fetches one file, and HTTP must serve it.
fn check_installer(snapshot: &Snapshot, node: &str, file: &str) -> Result<(), Unready> {
    let kind = snapshot.attr(node, col::switches::SWITCHTYPE);
    if kind.as_deref() != Some("onie") {
        return Err(Unready::NotOnie(node.to_owned()));
    }
    let public = plan::public_path(snapshot, file);
    let served = ["/install/", "/tftpboot/"].iter().any(|root| public.starts_with(root));
    let path = PathBuf::from(file);
    let look = move || path.is_file();
    let there = served
        && DiskPool::default()
            .call(Path::new(file), WAIT_TIME_MAX, look)
            .map_err(|late| unavailable(Path::new(file), late))?;
    match there {
        true => Ok(()),
        false => Err(Unready::NotOneFile(file.to_owned())),
    }
}

fn lease(lease: &dawn_dhcp::lease::Lease) -> Lease {
    let expires = i64::try_from(lease.expires.millis()).ok();
    let expires = expires.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    let local = |time: jiff::Timestamp| {
        time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    Lease {
        ip: lease.address.to_string(),
        mac: lease.hw.to_string(),
        node: lease.node.as_deref().unwrap_or_default().to_owned(),
        state: match lease.state {
            State::Offered => "offered",
            State::Bound => "bound",
            State::Declined => "declined",
            State::Idle => "free",
        }
        .to_owned(),
        kind: if lease.node.is_some() { "reserved" } else { "dynamic" }.to_owned(),
        expires: expires.map(local).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    /// A bad MAC has one cause for all nodes that have it from one row.
    #[test]
    fn a_bad_mac_is_called_what_it_is() {
        let snapshot = dawn_cluster::Snapshot::from_rows([
            ("nodelist", &[("node", "n1"), ("groups", "compute")][..]),
            ("nodelist", &[("node", "n2"), ("groups", "compute")]),
            ("nodelist", &[("node", "n3"), ("groups", "compute")]),
            ("nodelist", &[("node", "n4")]),
            ("mac", &[("node", "compute"), ("mac", "52:54:01:00:0:1")]),
            ("mac", &[("node", "n3"), ("mac", "52:54:01:00:0:3")]),
        ]);
        let unready = |node: &str| super::check_mac(&snapshot, node).expect_err("a bad MAC");
        assert_eq!(
            unready("n1").to_string(),
            "mac.mac is '52:54:01:00:0:1', which is not a MAC address; it comes from the row of the group compute"
        );
        assert_eq!(unready("n1"), unready("n2"));
        assert_ne!(unready("n1"), unready("n3"));
        assert_eq!(unready("n4"), super::Unready::NoMac);
    }

    #[test]
    fn an_installer_is_one_file_that_http_serves() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("onie.bin"), b"installer").unwrap();
        let check = |kind: &str, file: &str| {
            let snapshot = super::Snapshot::from_rows([
                ("site", &[("key", "installdir"), ("value", root)] as &[(&str, &str)]),
                ("nodelist", &[("node", "sw1")]),
                ("switches", &[("switch", "sw1"), ("switchtype", kind)]),
            ]);
            super::check_installer(&snapshot, "sw1", file)
        };
        assert_eq!(check("onie", &format!("{root}/onie.bin")), Ok(()));
        for file in [root, &format!("{root}/none"), "/etc/hostname"] {
            assert!(
                check("onie", file).unwrap_err() == super::Unready::NotOneFile(file.to_owned()),
                "{file}"
            );
        }
        let other = check("cisco", &format!("{root}/onie.bin")).unwrap_err();
        assert_eq!(other, super::Unready::NotOnie("sw1".to_owned()));
    }
}
