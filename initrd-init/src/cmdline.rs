//! The kernel line, parsed once.
//!
//! Words are separated by blanks; double quotes protect blanks, as in the kernel. Unknown words are for other
//! programs and are ignored. A word of ours with a value that makes no sense becomes a complaint, which is
//! shown, and the boot continues with the default.

use dawn_wire::status::port;
use dawn_wire::{Remote, kernel};

use crate::url::Url;

/// Everything `/init` takes from the kernel line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cmdline {
    /// Where the root comes from.
    pub root: Root,
    /// `NODE=`: name of this node.
    pub node: Option<String>,
    /// Host part of `XCAT=`: the server for status reports and lists.
    pub server: Option<String>,
    /// Host part of `xcatd=`: the server that a machine without a root asks what to do.
    pub discovery_server: Option<String>,
    /// `XCATHTTPPORT=`.
    pub http_port: u16,
    /// `XCATIPORT=`.
    pub status_port: u16,
    /// `BOOTIF=`, `netdev=` and relatives.
    pub nic: BootNic,
    /// `nonodestatus` is absent.
    pub report_status: bool,
    /// `debug`.
    pub debug: bool,
    /// `shell`.
    pub shell: bool,
    /// `init=`: program that takes over.
    pub init: Option<String>,
    /// `rootlimit=`: size of the writable layer, in the words of tmpfs (`2g`, `30%`).
    pub root_limit: Option<String>,
    /// `rootflags=`: more tmpfs options of the writable layer.
    pub root_flags: Option<String>,
    /// `modprobe.blacklist=`.
    pub blacklist: Vec<String>,
    /// `STATEMNT=server:/dir`: persistent storage, base directory.
    pub state_mount: Option<Remote>,
    /// `MNTOPTS=`: mount options of the persistent storage.
    pub state_options: String,
    /// `nfsport=` and `mountport=`.
    pub nfs_ports: NfsPorts,
    /// A local disk layout is asked for (`PARTITION…`).
    pub local_disk: bool,
    /// Words that could not be understood.
    pub complaints: Vec<String>,
}

/// Where the root comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Root {
    /// No word names a root.
    #[default]
    Missing,
    /// `imgurl=http://…`: an image that is loaded into memory.
    Image(Url),
    /// `NFSROOT=` or `root=nfs:`: a shared read-only tree.
    Nfs {
        /// Server and directory.
        remote: Remote,
        /// Mount options of the kernel line.
        options: String,
    },
}

/// Ports of the NFS services, for servers without a port mapper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NfsPorts {
    /// `nfsport=`.
    pub nfs: Option<u16>,
    /// `mountport=`.
    pub mount: Option<u16>,
}

/// Which interface the node boots from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum BootNic {
    /// Any interface with a link.
    #[default]
    Any,
    /// The one with this address.
    Mac([u8; 6]),
    /// The one with this kernel name.
    Name(String),
}

impl std::fmt::Display for BootNic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("with a link"),
            Self::Mac(mac) => write!(f, "with address {}", mac_text(mac)),
            Self::Name(name) => write!(f, "named {name}"),
        }
    }
}

/// `aa:bb:cc:dd:ee:ff`.
pub(crate) fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Reads `aa:bb:…`, `aa-bb-…` and the boot loaders' `01-aa-bb-…` (the leading number is the hardware type).
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let digits = match parts.len() {
        6 => parts.as_slice(),
        7 => parts.get(1..)?,
        _ => return None,
    };
    let mut mac = [0; 6];
    for (byte, part) in mac.iter_mut().zip(digits) {
        if part.len() != 2 {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    Some(mac)
}

impl Cmdline {
    /// Parses the text of `/proc/cmdline`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut line =
            Self { http_port: port::HTTP, status_port: port::STATUS, report_status: true, ..Self::default() };
        for word in words(text) {
            match word.split_once('=') {
                Some((key, value)) => line.pair(key, value),
                None => line.flag(&word),
            }
        }
        line
    }

    fn flag(&mut self, word: &str) {
        match word {
            "debug" => self.debug = true,
            "shell" => self.shell = true,
            kernel::NO_STATUS => self.report_status = false,
            "PARTITION" => self.local_disk = true,
            _ if word.starts_with("PARTITION_") => self.local_disk = true,
            _ => {}
        }
    }

    fn pair(&mut self, key: &str, value: &str) {
        match key {
            kernel::IMAGE_URL => self.set_image(value),
            kernel::NFS_ROOT | "nfsroot" => self.set_nfs(key, value),
            "root" if value.starts_with("nfs:") => {
                self.set_nfs(key, value.strip_prefix("nfs:").unwrap_or(value));
            }
            kernel::NODE => self.node = filled(value),
            kernel::MASTER => self.server = filled(value.split(':').next().unwrap_or_default()),
            kernel::DISCOVERY => {
                self.discovery_server = filled(value.split(':').next().unwrap_or_default());
            }
            kernel::HTTP_PORT => self.http_port = self.port(key, value).unwrap_or(port::HTTP),
            kernel::STATUS_PORT => self.status_port = self.port(key, value).unwrap_or(port::STATUS),
            kernel::NFS_PORT => self.nfs_ports.nfs = self.port(key, value),
            kernel::MOUNT_PORT => self.nfs_ports.mount = self.port(key, value),
            kernel::BOOT_INTERFACE => self.set_bootif(value),
            kernel::NET_DEVICE | "netdevice" | "ksdevice" | "bootdev" => self.set_nic_hint(value),
            kernel::STATE_MOUNT => self.set_state(value),
            kernel::STATE_OPTIONS => value.clone_into(&mut self.state_options),
            "init" => self.init = filled(value),
            "rootlimit" => self.root_limit = filled(value),
            "rootflags" => self.root_flags = filled(value),
            "modprobe.blacklist" => {
                self.blacklist.extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
            }
            _ => {}
        }
    }

    fn port(&mut self, key: &str, value: &str) -> Option<u16> {
        let port = value.parse().ok().filter(|port| *port != 0);
        if port.is_none() && !value.is_empty() {
            self.complaints.push(format!("{key}={value} is not a port number"));
        }
        port
    }

    fn set_image(&mut self, value: &str) {
        match Url::parse(value) {
            Some(url) => self.root = Root::Image(url),
            None => self.complaints.push(format!("imgurl={value} is not an http:// address")),
        }
    }

    /// `server:/dir[:options]` or `server:/dir[,options]`.
    fn set_nfs(&mut self, key: &str, value: &str) {
        let (host, rest) = value.split_once(':').unwrap_or((value, ""));
        let (dir, options) = rest.split_once([':', ',']).unwrap_or((rest, ""));
        match Remote::parse(&format!("{host}:{dir}")) {
            Some(remote) => self.root = Root::Nfs { remote, options: options.to_owned() },
            None => self.complaints.push(format!("{key}={value} is not server:/directory")),
        }
    }

    fn set_state(&mut self, value: &str) {
        if value.is_empty() {
            return;
        }
        self.state_mount = Remote::parse(value);
        if self.state_mount.is_none() {
            self.complaints.push(format!("STATEMNT={value} is not server:/directory"));
        }
    }

    fn set_bootif(&mut self, value: &str) {
        match parse_mac(value) {
            Some(mac) => self.nic = BootNic::Mac(mac),
            None => self.complaints.push(format!("BOOTIF={value} is not a hardware address")),
        }
    }

    /// The installers' words count only without `BOOTIF`.
    fn set_nic_hint(&mut self, value: &str) {
        if self.nic != BootNic::Any || value.is_empty() || value == "bootif" || value == "link" {
            return;
        }
        self.nic = parse_mac(value).map_or_else(|| BootNic::Name(value.to_owned()), BootNic::Mac);
    }
}

fn filled(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

/// Splits at blanks outside double quotes and drops the quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stateless_line() {
        let line = Cmdline::parse(
            "console=ttyS0 imgurl=http://10.1.0.1:80//install/netboot/d12/x86_64/compute/rootimg.sfs \
             XCAT=10.1.0.1:3001 NODE=cn1 FC=0 XCATHTTPPORT=8080 BOOTIF=01-52-54-00-AA-bb-cc rootlimit=60% \
             nonodestatus debug\n",
        );
        let Root::Image(url) = &line.root else { panic!("{line:?}") };
        assert_eq!(url.to_string(), "http://10.1.0.1:80//install/netboot/d12/x86_64/compute/rootimg.sfs");
        assert_eq!(line.server.as_deref(), Some("10.1.0.1"));
        assert_eq!(line.node.as_deref(), Some("cn1"));
        assert_eq!((line.http_port, line.status_port), (8080, 3002));
        assert_eq!(line.nic, BootNic::Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]));
        assert_eq!(line.root_limit.as_deref(), Some("60%"));
        assert!(line.debug && !line.shell && !line.report_status);
        assert_eq!(line.complaints, Vec::<String>::new());
    }

    #[test]
    fn nfs_roots() {
        let cases = [
            ("NFSROOT=10.1.0.1:/install/a/rootimg", "10.1.0.1:/install/a/rootimg", ""),
            ("root=nfs:srv:/i//a/rootimg/:ro,nfsvers=3", "srv:/i/a/rootimg", "ro,nfsvers=3"),
            ("nfsroot=srv:/a,rsize=8192,tcp", "srv:/a", "rsize=8192,tcp"),
        ];
        for (text, remote, options) in cases {
            let line = Cmdline::parse(text);
            let Root::Nfs { remote: got, options: got_options } = line.root else { panic!("{text}") };
            assert_eq!((got.to_string().as_str(), got_options.as_str()), (remote, options), "{text}");
        }
    }

    #[test]
    fn statelite_words() {
        let line = Cmdline::parse(
            "NFSROOT=s:/r STATEMNT=s:/state/ MNTOPTS=soft,timeo=30 nfsport=20490 mountport=x PARTITION_RH",
        );
        assert_eq!(line.state_mount, Some(Remote { host: "s".into(), dir: "/state".into() }));
        assert_eq!(line.state_options, "soft,timeo=30");
        assert_eq!(line.nfs_ports, NfsPorts { nfs: Some(20490), mount: None });
        assert!(line.local_disk);
        assert_eq!(line.complaints, ["mountport=x is not a port number"]);
    }

    #[test]
    fn garbage_is_told_not_fatal() {
        let line =
            Cmdline::parse("imgurl=ftp://x/y BOOTIF=zz NFSROOT=nothing STATEMNT=/dir XCAT= =\" a b\" \"");
        assert_eq!(line.root, Root::Missing);
        assert_eq!(line.complaints.len(), 4);
        assert_eq!(line.server, None);
    }

    #[test]
    fn interfaces() {
        let cases = [
            ("netdev=eth1", BootNic::Name("eth1".into())),
            ("ksdevice=bootif BOOTIF=52:54:00:00:00:01", BootNic::Mac([0x52, 0x54, 0, 0, 0, 1])),
            ("netdevice=52-54-00-00-00-01", BootNic::Mac([0x52, 0x54, 0, 0, 0, 1])),
            ("quiet", BootNic::Any),
        ];
        for (text, nic) in cases {
            assert_eq!(Cmdline::parse(text).nic, nic, "{text}");
        }
    }

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(words("a=\"b c\"  d\n"), ["a=b c", "d"]);
    }
}
