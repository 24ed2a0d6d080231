//! A data directory with what is attacked, two nodes, and the daemon.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use super::served::{self, Namespaces, Served};

pub(crate) use super::served::SERVER;

const NAMESPACES: Namespaces = Namespaces("hostile");
/// The node that attacks.
pub(crate) const HOSTILE_NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
/// The node that boots.
pub(crate) const GOOD_NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);
/// A file next to the names, for READ.
pub(crate) const LARGE_FILE: &str = "large";
const LARGE_FILE_BYTES: usize = 1 << 20;
/// Names in the directory that NFS lists.
const NAMES: usize = 6000;
/// Length of the file that nodes fetch, bytes.
const FILE_BYTES: usize = 8 << 20;

/// The address of a stranger.
pub(crate) fn stranger(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 78, high, low)
}

/// Makes the namespaces and runs this program in the outer one.
pub(crate) fn run_outside(words: &[String]) -> ExitCode {
    let [hostile, good] = [HOSTILE_NODE, GOOD_NODE].map(|node| format!("addr add {node}/16 dev DEV"));
    let outside = [&*hostile, &*good, "route add local 10.78.0.0/16 dev lo"];
    NAMESPACES.run(words, &["route add 10.78.0.0/16 via 10.77.0.2"], &outside)
}

/// The data directory and the files to be fetched.
pub(crate) struct World(Served);

impl World {
    /// Two nodes, a large file, a large directory.
    pub(crate) fn new(dawn: Option<PathBuf>) -> Self {
        let world = Self(Served::new(NAMESPACES, dawn));
        let dir = world.0.dir.path();
        // NFS calls of nodes are carried out for users who must get there.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir, open).unwrap();
        for name in ["install", "tftpboot", "listed"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        fs::write(dir.join("install/big"), vec![7; FILE_BYTES]).unwrap();
        fs::write(dir.join("tftpboot/kernel"), vec![7; 100_000]).unwrap();
        for number in 0..NAMES {
            fs::write(world.listed().join(format!("a-file-with-a-longer-name-{number}")), "").unwrap();
        }
        fs::write(world.listed().join(LARGE_FILE), vec![7; LARGE_FILE_BYTES]).unwrap();
        world.0.init();
        let exports = format!("{} 10.77.0.0/16(ro,insecure,no_root_squash)\n", world.listed().display());
        fs::write(dir.join("data/exports"), exports).unwrap();
        world
    }

    /// The exported directory.
    pub(crate) fn listed(&self) -> PathBuf {
        self.0.dir.path().join("listed")
    }

    /// A command in the server's namespace.
    pub(crate) fn dawn(&self, words: &[&str]) -> Command {
        self.0.dawn(words)
    }
}

/// The running daemon; ended when dropped.
pub(crate) struct Daemon(served::Daemon);

impl Daemon {
    /// Defines the nodes in a first run, and serves them in a second one, with the directories of `site`.
    pub(crate) fn start(world: &World) -> Self {
        let (World(served), memory) = (world, format!("{}M", super::MEMORY_MAX_MIB));
        let options = ["--memory-max", &memory, "--services", "tftp,http,nfs,xcatd"];
        let first = served.launch(&options);
        let place = |name: &str| served.dir.path().join(name).display().to_string();
        let (install, tftp) = (place("install"), place("tftpboot"));
        served.done(&["chdef", "-t", "site", &format!("installdir={install}"), &format!("tftpdir={tftp}")]);
        for (name, address) in [("cn1", HOSTILE_NODE), ("cn2", GOOD_NODE)] {
            served.done(&["mkdef", "-t", "node", "-o", name, "groups=all", &format!("ip={address}")]);
        }
        drop(first);
        Self(served.launch(&options))
    }

    fn status_mib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(self.0.proc("status")).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of proc(5)");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("kB") >> 10
    }

    /// Resident memory, MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.status_mib("VmRSS")
    }

    /// The most since [`Daemon::forget_peak`], MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.status_mib("VmHWM")
    }

    /// The peak begins with what is in use now (`clear_refs` of proc(5)).
    pub(crate) fn forget_peak(&self) {
        fs::write(self.0.proc("clear_refs"), "5").unwrap();
    }
}
