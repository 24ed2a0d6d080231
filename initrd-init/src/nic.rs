//! Network interfaces: finding the boot interface, bringing it up, giving it addresses and routes.
//!
//! Interfaces are read from `/sys/class/net`; they are changed with the classic ioctls, which every kernel
//! has. Only IPv4. Bonds, VLANs and teams are the root's affair.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::cmdline::{BootNic, mac_text, parse_mac};
use crate::dhcp::Lease;
use crate::error::{Error, Result};
use crate::log;

/// Smallest MTU that is taken from a server, in bytes (RFC 791).
const MTU_BYTES_MIN: u16 = 576;

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nic {
    /// Kernel name.
    pub name: String,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// Ethernet interfaces of the machine, by name. Loopback and devices without hardware address are left out.
pub(crate) fn present() -> Vec<Nic> {
    let mut nics: Vec<Nic> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mac = parse_mac(attribute(&name, "address")?.as_str())?;
            (mac != [0; 6]).then_some(Nic { name, mac })
        })
        .collect();
    nics.sort_by(|a, b| a.name.cmp(&b.name));
    nics
}

/// The present interfaces in words, for messages.
pub(crate) fn describe(nics: &[Nic]) -> String {
    if nics.is_empty() {
        return "none at all, is the driver in the initramfs?".to_owned();
    }
    nics.iter().map(|nic| format!("{} {}", nic.name, mac_text(&nic.mac))).collect::<Vec<_>>().join(", ")
}

/// Interfaces that fit the kernel line.
pub(crate) fn matching(wanted: &BootNic, nics: &[Nic]) -> Vec<Nic> {
    let fits = |nic: &&Nic| match wanted {
        BootNic::Any => true,
        BootNic::Mac(mac) => nic.mac == *mac,
        BootNic::Name(name) => nic.name == *name,
    };
    nics.iter().filter(fits).cloned().collect()
}

/// The kernel's number of an interface.
pub(crate) fn index(name: &str) -> Option<i32> {
    attribute(name, "ifindex")?.parse().ok()
}

fn attribute(name: &str, file: &str) -> Option<String> {
    Some(fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok()?.trim().to_owned())
}

impl Nic {
    /// Whether the interface sees a link. Drivers that do not report it count as linked.
    pub(crate) fn has_link(&self) -> bool {
        attribute(&self.name, "carrier").is_none_or(|carrier| carrier == "1")
    }

    /// Name of the driver, for messages.
    pub(crate) fn driver(&self) -> String {
        let link = fs::read_link(format!("/sys/class/net/{}/device/driver", self.name));
        let name =
            link.ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| "no driver named".to_owned())
    }

    /// Brings the interface up.
    pub(crate) fn up(&self) -> Result<()> {
        up(&self.name)
    }

    /// Sets address, mask, MTU and routes of a lease, for as long as the kernel runs.
    pub(crate) fn configure(&self, lease: &Lease) -> Result<()> {
        let socket = control_socket(&self.name)?;
        if let Some(mtu) = lease.mtu.filter(|mtu| *mtu >= MTU_BYTES_MIN) {
            let mut request = request(&self.name);
            request.ifr_ifru.ifru_mtu = libc::c_int::from(mtu);
            if let Err(error) = self.ioctl(&socket, "set MTU", libc::SIOCSIFMTU, &mut request) {
                log::problem(&format!("{error}; going on with the default MTU"));
            }
        }
        let mut request = request(&self.name);
        request.ifr_ifru.ifru_addr = socket_address(lease.address);
        self.ioctl(&socket, "set address", libc::SIOCSIFADDR, &mut request)?;
        request.ifr_ifru.ifru_netmask = socket_address(mask(lease.prefix));
        self.ioctl(&socket, "set netmask", libc::SIOCSIFNETMASK, &mut request)?;
        for (network, prefix, gateway) in routes(lease) {
            self.add_route(&socket, network, prefix, gateway);
        }
        Ok(())
    }

    /// A route that cannot be set is reported; the boot server is mostly on the same network.
    fn add_route(&self, socket: &OwnedFd, network: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) {
        // SAFETY: `rtentry` is plain data for which all zeroes is a valid value.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        let mut name: Vec<libc::c_char> =
            self.name.bytes().map(|byte| libc::c_char::from_ne_bytes([byte])).chain([0]).collect();
        route.rt_dst = socket_address(network);
        route.rt_genmask = socket_address(mask(prefix));
        route.rt_flags = libc::RTF_UP;
        route.rt_dev = name.as_mut_ptr();
        if !gateway.is_unspecified() {
            route.rt_gateway = socket_address(gateway);
            route.rt_flags |= libc::RTF_GATEWAY;
        }
        // SAFETY: the request and the name it points to live until the call returns.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw mut route) };
        let cause = io::Error::last_os_error();
        if result < 0 && cause.raw_os_error() != Some(libc::EEXIST) {
            log::problem(&format!("route {network}/{prefix} via {gateway}: {cause}"));
        }
    }

    fn ioctl(
        &self,
        socket: &OwnedFd,
        what: &'static str,
        code: libc::Ioctl,
        request: &mut libc::ifreq,
    ) -> Result<()> {
        ioctl(&self.name, socket, what, code, request)
    }
}

/// Brings an interface up by name; used for `lo` too.
pub(crate) fn up(name: &str) -> Result<()> {
    let socket = control_socket(name)?;
    let mut request = request(name);
    ioctl(name, &socket, "read flags", libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the kernel has just filled the flags member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | 0x1; // IFF_UP
    ioctl(name, &socket, "bring up", libc::SIOCSIFFLAGS, &mut request)
}

/// Routes of a lease in the order they must be set. A classless list replaces the router option (RFC 3442); a
/// router outside the own network is first made reachable.
fn routes(lease: &Lease) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut wanted = lease.routes.clone();
    if wanted.is_empty() {
        wanted.extend(lease.router.map(|router| (Ipv4Addr::UNSPECIFIED, 0, router)));
    }
    let network = |address: Ipv4Addr| u32::from(address) & u32::from(mask(lease.prefix));
    let mut all = Vec::new();
    for (_, _, gateway) in &wanted {
        if !gateway.is_unspecified() && network(*gateway) != network(lease.address) {
            all.push((*gateway, 32, Ipv4Addr::UNSPECIFIED));
        }
    }
    all.extend(wanted);
    all
}

fn mask(prefix: u8) -> Ipv4Addr {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    Ipv4Addr::from(bits)
}

fn control_socket(nic: &str) -> Result<OwnedFd> {
    // SAFETY: no pointers are passed; a valid descriptor is owned from here on.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        let cause = io::Error::last_os_error();
        return Err(Error::Nic { nic: nic.to_owned(), what: "open control socket", cause });
    }
    // SAFETY: `fd` is an open descriptor that is not owned elsewhere.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

fn ioctl(
    name: &str,
    socket: &OwnedFd,
    what: &'static str,
    code: libc::Ioctl,
    request: &mut libc::ifreq,
) -> Result<()> {
    // SAFETY: the codes used here take an `ifreq`, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), code, std::ptr::from_mut(request)) };
    if result < 0 {
        return Err(Error::Nic { nic: name.to_owned(), what, cause: io::Error::last_os_error() });
    }
    Ok(())
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut bytes = [0; 14];
    for (slot, byte) in bytes.iter_mut().skip(2).zip(address.octets()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    libc::sockaddr { sa_family: 2, sa_data: bytes } // AF_INET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(mask(0), Ipv4Addr::UNSPECIFIED);
        assert_eq!(mask(20), Ipv4Addr::new(255, 255, 240, 0));
        assert_eq!(mask(32), Ipv4Addr::BROADCAST);
    }

    fn lease(router: Option<[u8; 4]>) -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 1, 0, 11),
            prefix: 24,
            server: Ipv4Addr::new(10, 1, 0, 1),
            router: router.map(Ipv4Addr::from),
            routes: Vec::new(),
            dns: Vec::new(),
            hostname: None,
            domain: None,
            mtu: None,
            lease_seconds: 60,
            t1_seconds: 30,
            t2_seconds: 50,
        }
    }

    #[test]
    fn default_route() {
        assert_eq!(routes(&lease(None)), []);
        assert_eq!(routes(&lease(Some([10, 1, 0, 1]))).len(), 1);
        let outside = routes(&lease(Some([10, 9, 0, 1])));
        assert_eq!(outside.first(), Some(&(Ipv4Addr::new(10, 9, 0, 1), 32, Ipv4Addr::UNSPECIFIED)));
    }

    #[test]
    fn choice_by_address_or_name() {
        let nic = |name: &str, last| Nic { name: name.to_owned(), mac: [2, 0, 0, 0, 0, last] };
        let nics = [nic("eth0", 1), nic("eth1", 2)];
        assert_eq!(matching(&BootNic::Mac([2, 0, 0, 0, 0, 2]), &nics), [nic("eth1", 2)]);
        assert_eq!(matching(&BootNic::Name("eth0".into()), &nics), [nic("eth0", 1)]);
        assert_eq!(matching(&BootNic::Any, &nics).len(), 2);
        assert!(describe(&[]).contains("driver"));
    }
}
