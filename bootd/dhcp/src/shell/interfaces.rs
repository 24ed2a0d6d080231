//! The machine's interfaces and IPv4 addresses, asked of the kernel by getifaddrs(3).

use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::{io, ptr};

use super::ServeError;
use crate::engine::Interface;

/// An interface with the details that the engine does not need.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub interface: Interface,
    /// Ethernet address, where it has one.
    pub mac: Option<[u8; 6]>,
    up: bool,
    loopback: bool,
}

/// Every interface of this machine with its IPv4 addresses; those of aliases (`eth0:1`) are their
/// interface's.
///
/// # Errors
/// The system's, when it cannot list them.
pub fn of_this_machine() -> io::Result<Vec<Interface>> {
    Ok(all()?.into_iter().map(|found| found.interface).collect())
}

/// The interfaces named, or all that can be served when none is named.
pub(super) fn find(names: &[String]) -> Result<Vec<Found>, ServeError> {
    let found =
        present(names).map_err(|error| ServeError::Interface(format!("cannot list interfaces: {error}")))?;
    let missing = names.iter().find(|name| !found.iter().any(|found| found.interface.name == **name));
    match missing {
        Some(name) => Err(ServeError::Interface(format!("there is no interface {name}"))),
        None if found.is_empty() => Err(ServeError::Interface("no interface has an IPv4 address".into())),
        None => Ok(found),
    }
}

/// Those of the interfaces named that exist now; all that can be served when none is named.
pub(super) fn present(names: &[String]) -> io::Result<Vec<Found>> {
    let served = |found: &Found| match names {
        [] => found.up && !found.loopback && !found.interface.addresses.is_empty(),
        names => names.contains(&found.interface.name),
    };
    Ok(all()?.into_iter().filter(served).collect())
}

/// Every interface.
fn all() -> io::Result<Vec<Found>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: getifaddrs fills the pointer with a list that stays valid until freeifaddrs.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is an entry of the list, which has not been freed.
        let entry = unsafe { &*next };
        note(entry, &mut found);
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

fn note(entry: &libc::ifaddrs, found: &mut Vec<Found>) {
    // SAFETY: the name of an entry is a NUL-terminated string that lives as long as the list.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    let text = name.to_string_lossy();
    // An alias (`eth0:1`) is an address of its interface.
    let base = text.split(':').next().unwrap_or_default();
    let n = match found.iter().position(|found| found.interface.name == base) {
        Some(n) => n,
        None => {
            // SAFETY: the name is a valid C string; an alias's own name resolves to its interface.
            let index = unsafe { libc::if_nametoindex(entry.ifa_name) };
            let interface = Interface { index, name: base.to_owned(), addresses: Vec::new() };
            found.push(Found { interface, mac: None, up: false, loopback: false });
            found.len() - 1
        }
    };
    let Some(item) = found.get_mut(n) else { return };
    item.up |= entry.ifa_flags & libc::IFF_UP.cast_unsigned() != 0;
    item.loopback |= entry.ifa_flags & libc::IFF_LOOPBACK.cast_unsigned() != 0;
    if let Some(address) = ipv4(entry.ifa_addr) {
        let mask = ipv4(entry.ifa_netmask).map_or(32, |mask| u32::from(mask).leading_ones());
        item.interface.addresses.push((address, u8::try_from(mask).unwrap_or(32)));
    }
    item.mac = item.mac.or(mac(entry.ifa_addr));
}

fn ipv4(address: *const libc::sockaddr) -> Option<Ipv4Addr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: a non-null address of the list begins with its family, and an AF_INET one is a sockaddr_in.
    unsafe {
        (i32::from((*address).sa_family) == libc::AF_INET).then(|| {
            let inet = ptr::read_unaligned(address.cast::<libc::sockaddr_in>());
            Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr))
        })
    }
}

fn mac(address: *const libc::sockaddr) -> Option<[u8; 6]> {
    if address.is_null() {
        return None;
    }
    // SAFETY: as above; an AF_PACKET address is a sockaddr_ll.
    let link = unsafe {
        if i32::from((*address).sa_family) != libc::AF_PACKET {
            return None;
        }
        ptr::read_unaligned(address.cast::<libc::sockaddr_ll>())
    };
    let bytes = link.sll_addr.first_chunk::<6>()?;
    (link.sll_halen == 6).then_some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_an_address_of_its_interface() {
        // SAFETY: an entry and an address of zeros are valid values.
        let (mut entry, mut inet): (libc::ifaddrs, libc::sockaddr_in) = unsafe { std::mem::zeroed() };
        inet.sin_family = u16::try_from(libc::AF_INET).unwrap();
        let mut found = Vec::new();
        for (name, last) in [(c"eth9", 1), (c"eth9:1", 2)] {
            inet.sin_addr.s_addr = u32::from(Ipv4Addr::new(10, 1, 0, last)).to_be();
            entry.ifa_name = name.as_ptr().cast_mut();
            entry.ifa_addr = (&raw mut inet).cast();
            note(&entry, &mut found);
        }
        let addresses: Vec<Ipv4Addr> = found[0].interface.addresses.iter().map(|(ip, _)| *ip).collect();
        assert_eq!((found.len(), &*found[0].interface.name), (1, "eth9"));
        assert_eq!(addresses, [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)]);
    }
}
