//! The private network of a cluster: a namespace, a bridge in it, one tap per machine, and a link to the
//! host.
//!
//! The link (a veth pair with link-local addresses) lets a command outside of the namespace talk to the
//! daemon inside: `genimage` needs the outside world for packages while the daemon must not see it. Nothing
//! is routed.
//!
//! Removing the namespace removes the bridge, the taps and both ends of the link with it.

use std::ffi::OsStr;
use std::fmt;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::run;

/// Name of the bridge, and the `--interface` the daemon serves.
pub const BRIDGE: &str = "br0";
/// Address of the appliance on the bridge.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Netmask of the cluster network.
pub const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Links to the host that can exist at the same time; each takes four addresses of 169.254.64.0/18.
const LINK_COUNT_MAX: u16 = 4096;

/// A network namespace with its bridge. Dropping it removes it.
#[derive(Debug)]
pub struct Network {
    name: String,
    link: Link,
}

/// The veth pair between host and namespace: a number that decides name and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link(u16);

impl Link {
    fn address(self, host_part: u8) -> Ipv4Addr {
        let block = self.0 / 64;
        let offset = self.0 % 64 * 4;
        let low = u8::try_from(offset).unwrap_or(0) + host_part;
        Ipv4Addr::new(169, 254, 64 + u8::try_from(block).unwrap_or(0), low)
    }

    fn host(self) -> Ipv4Addr {
        self.address(1)
    }

    fn inside(self) -> Ipv4Addr {
        self.address(2)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dawnlink{}", self.0)
    }
}

impl Network {
    /// Makes the namespace `name` with bridge, loopback and host link. It must not exist yet.
    pub fn create(name: &str) -> Result<Self> {
        ip(["netns", "add", name])?;
        match Self::furnish(name) {
            Ok(link) => Ok(Self { name: name.to_owned(), link }),
            Err(error) => {
                remove(name)?;
                Err(error)
            }
        }
    }

    fn furnish(name: &str) -> Result<Link> {
        let server = format!("{SERVER}/24");
        ip(["-n", name, "link", "set", "lo", "up"])?;
        ip(["-n", name, "link", "add", BRIDGE, "type", "bridge"])?;
        ip(["-n", name, "addr", "add", &server, "dev", BRIDGE])?;
        ip(["-n", name, "link", "set", BRIDGE, "up"])?;
        add_link(name)
    }

    /// The namespace's name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The daemon's address as seen from the host.
    pub fn inside_address(&self) -> Ipv4Addr {
        self.link.inside()
    }

    /// Adds another bridge, without an address of the appliance's: a network behind a relay.
    pub fn add_bridge(&self, bridge: &str) -> Result<()> {
        ip(["-n", &self.name, "link", "add", bridge, "type", "bridge"])?;
        ip(["-n", &self.name, "link", "set", bridge, "up"])
    }

    /// Moves a machine's tap to another bridge.
    pub fn move_tap(&self, tap: &str, bridge: &str) -> Result<()> {
        ip(["-n", &self.name, "link", "set", tap, "master", bridge])
    }

    /// Gives the appliance's machine a route to a network.
    pub fn add_route(&self, to: &str, via: &str) -> Result<()> {
        ip(["-n", &self.name, "route", "add", to, "via", via])
    }

    /// Adds a tap to the bridge for one machine. The same tap serves it for its whole life.
    pub fn add_tap(&self, tap: &str) -> Result<()> {
        ip(["-n", &self.name, "tuntap", "add", tap, "mode", "tap"])?;
        ip(["-n", &self.name, "link", "set", tap, "master", BRIDGE, "up"])
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

/// A namespace next to a cluster's, with a link to one or more of its bridges: a foreign machine, or a relay.
/// Dropping it ends what runs there.
#[derive(Debug)]
pub struct Neighbour {
    name: String,
}

impl Neighbour {
    /// Makes the namespace. Each of `ends` is a bridge of the cluster's and the neighbour's address on it
    /// with prefix length; its interfaces are `eth0`, `eth1` and so on.
    pub fn create(network: &Network, suffix: &str, ends: &[(&str, &str)]) -> Result<Self> {
        let name = format!("{}-{suffix}", network.name);
        ip(["netns", "add", &name])?;
        let neighbour = Self { name };
        let inside = neighbour.name.as_str();
        ip(["-n", inside, "link", "set", "lo", "up"])?;
        for (number, (bridge, address)) in ends.iter().enumerate() {
            let (own, theirs) = (format!("eth{number}"), format!("{suffix}{number}"));
            let cluster = network.name.as_str();
            ip([
                "-n", cluster, "link", "add", &theirs, "type", "veth", "peer", "name", &own, "netns", inside,
            ])?;
            ip(["-n", cluster, "link", "set", &theirs, "master", bridge, "up"])?;
            ip(["-n", inside, "addr", "add", address, "dev", &own])?;
            ip(["-n", inside, "link", "set", &own, "up"])?;
        }
        Ok(neighbour)
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // A leftover is found and removed at the next start (`stale`).
        let _ = remove(&self.name);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A leftover is found and removed at the next start (`stale`).
        let _ = remove(&self.name);
    }
}

/// Kills what still runs in a namespace and removes it.
pub fn remove(name: &str) -> Result<()> {
    let pids = run(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    for pid in pids.split_whitespace() {
        // It may have ended in between; the removal below shows whether all went well.
        let _ = run(Command::new("kill").args(["-9", pid]));
    }
    ip(["netns", "del", name])
}

/// Names of all network namespaces.
pub fn namespaces() -> Result<Vec<String>> {
    let list = run(Command::new("ip").args(["netns", "list"]))?;
    Ok(list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Takes the first free link number: the kernel refuses a name that exists, so that is the lock.
fn add_link(name: &str) -> Result<Link> {
    let first = u16::try_from(std::process::id() % u32::from(LINK_COUNT_MAX)).unwrap_or(0);
    let numbers = (first..LINK_COUNT_MAX).chain(0..first);
    let mut last_error = None;
    for link in numbers.map(Link).take(64) {
        let host = link.to_string();
        let pair = ["link", "add", &host, "type", "veth", "peer", "name", "host0", "netns", name];
        match ip(pair) {
            Ok(()) => {
                address_link(name, link)?;
                return Ok(link);
            }
            Err(error) => last_error = Some(error),
        }
    }
    match last_error {
        Some(error) => Err(error).context("no free link between host and namespace"),
        None => bail!("no link numbers"),
    }
}

fn address_link(name: &str, link: Link) -> Result<()> {
    let (outer, inner) = (format!("{}/30", link.host()), format!("{}/30", link.inside()));
    let host = link.to_string();
    ip(["addr", "add", &outer, "dev", &host])?;
    ip(["link", "set", &host, "up"])?;
    ip(["-n", name, "addr", "add", &inner, "dev", "host0"])?;
    ip(["-n", name, "link", "set", "host0", "up"])
}

fn ip<const N: usize>(args: [&str; N]) -> Result<()> {
    run(Command::new("ip").args(args)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_addresses_of_their_own() {
        let cases = [
            (0, "169.254.64.1", "169.254.64.2"),
            (63, "169.254.64.253", "169.254.64.254"),
            (64, "169.254.65.1", "169.254.65.2"),
            (4095, "169.254.127.253", "169.254.127.254"),
        ];
        for (number, host, inside) in cases {
            let link = Link(number);
            assert_eq!((link.host().to_string(), link.inside().to_string()), (host.into(), inside.into()));
        }
    }
}
