//! The addresses of this machine, asked for and asked for again, and its name.

use arc_swap::ArcSwap;
use dawn_dhcp::shell;
use dawn_plan::{CurrentAddresses, LocalAddress, LocalAddresses};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks at the addresses of this machine.
pub const REFRESH_PERIOD: Duration = Duration::from_secs(1);

/// Where the kernel lists addresses of IPv6, each as 32 hexadecimal digits and more.
const INET6: &str = "/proc/net/if_inet6";

/// Whether this machine forwards packets between its networks: "1" if it does.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Asks the kernel.
///
/// # Errors
/// The system's, when it cannot list them.
pub fn of_this_machine() -> io::Result<LocalAddresses> {
    let interfaces = shell::of_this_machine()?;
    let mask = |prefix: u8| u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
    let addresses = interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(|(address, prefix)| LocalAddress {
            interface: interface.name.clone(),
            address: *address,
            mask: mask(*prefix).into(),
        })
    });
    let forwards = std::fs::read_to_string(IP_FORWARD).is_ok_and(|text| text.trim() == "1");
    Ok(LocalAddresses::new(addresses.collect()).forwarding(forwards))
}

/// This machine's name: in certificates and answers, and where `dhcpinterfaces` and `dnsinterfaces` name it.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Asks the kernel for the addresses of both families, loopback addresses too.
///
/// # Errors
/// The system's, when it cannot list them.
pub fn all_of_this_machine() -> io::Result<Vec<IpAddr>> {
    let four = of_this_machine()?;
    let six = match std::fs::read_to_string(INET6) {
        // A kernel without IPv6 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let six = six.lines().filter_map(|line| u128::from_str_radix(line.get(..32)?, 16).ok());
    let four = four.iter().map(|local| IpAddr::from(local.address));
    Ok(four.chain(six.map(|bits| Ipv6Addr::from_bits(bits).into())).collect())
}

/// A first look.
#[must_use]
pub fn look() -> CurrentAddresses {
    let current = CurrentAddresses::default();
    refresh(&current);
    current
}

/// Looks again; whether the addresses are others. A failure leaves them as they are: without any, every
/// reader has a fallback from the tables.
pub fn refresh(current: &CurrentAddresses) -> bool {
    match of_this_machine() {
        Ok(found) => current.replace(found),
        Err(error) => {
            tracing::warn!(%error, "the addresses of this machine cannot be read");
            false
        }
    }
}

/// Addresses of this machine on which the cluster's name server answers; none while it does not run.
#[derive(Debug, Default)]
pub struct NameServerAddresses(ArcSwap<BTreeSet<IpAddr>>);

impl NameServerAddresses {
    /// The addresses of this moment: the same value until something changes.
    #[must_use]
    pub fn now(&self) -> Arc<BTreeSet<IpAddr>> {
        self.0.load_full()
    }

    /// These from now on.
    pub fn set(&self, addresses: BTreeSet<IpAddr>) {
        if **self.0.load() != addresses {
            self.0.store(Arc::new(addresses));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_look_finds_this_machine() {
        assert!(of_this_machine().unwrap().contains(Ipv4Addr::LOCALHOST));
        let current = look();
        assert!(all_of_this_machine().unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
        assert!(!refresh(&current));
        assert!(current.now().contains(Ipv4Addr::LOCALHOST));
    }
}
