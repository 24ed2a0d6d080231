//! Connections of each source at a time, so that one cannot take the places of all.
//!
//! A source is an IPv4 address or the network of an IPv6 address, of which one machine has as many as it
//! likes. Programs of this machine have a larger share: they are the administrator's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an IPv6 address that name the network of a machine (RFC 4291, section 2.5.4).
const IPV6_NETWORK_BITS: u32 = 64;

/// `::ffff:10.0.0.1` is the dual-stack socket's name for 10.0.0.1.
pub(crate) fn plain_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Who holds how many places.
#[derive(Debug)]
pub(crate) struct Places {
    held: Mutex<HashMap<IpAddr, usize>>,
    per_source_max: usize,
    loopback_max: usize,
}

/// One place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    source: IpAddr,
}

impl Places {
    pub(crate) fn new(per_source_max: usize, loopback_max: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), per_source_max, loopback_max })
    }

    /// A place for a connection of this address; `None` if its source has its share already.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let source = source_of(ip);
        let most = if ip.is_loopback() { self.loopback_max } else { self.per_source_max };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(source).or_insert(0);
        if *count >= most {
            tracing::debug!(peer = %ip, "too many connections of one source");
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.source);
            }
        }
    }
}

fn source_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> IPV6_NETWORK_BITS)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_all_places() {
        let places = Places::new(3, 5);
        let taken = |ip: &str| {
            let ip: IpAddr = ip.parse().expect("address");
            std::iter::from_fn(|| places.enter(ip)).collect::<Vec<_>>()
        };
        let loud = taken("10.0.0.1");
        let own = taken("127.0.0.1");
        let network = taken("2001:db8::1");
        assert_eq!((loud.len(), own.len(), network.len()), (3, 5, 3));
        assert!(taken("2001:db8::2").is_empty() && taken("2001:db8:0:1::1").len() == 3);
        assert_eq!(taken("10.0.0.2").len(), 3);
        drop((loud, own, network));
        assert!(places.held.lock().expect("lock").is_empty(), "nothing is remembered of those who left");
    }
}
