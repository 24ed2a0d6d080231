//! The addresses of this machine, asked for and asked for again.

use dawn_dhcp::shell;
use dawn_plan::{CurrentAddresses, LocalAddress, LocalAddresses};
use std::io;
use std::time::Duration;

/// Time between two looks at the addresses of this machine.
pub const REFRESH_PERIOD: Duration = Duration::from_secs(1);

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
    Ok(LocalAddresses::new(addresses.collect()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_look_finds_this_machine() {
        assert!(of_this_machine().unwrap().contains(Ipv4Addr::LOCALHOST));
        let current = look();
        assert!(!refresh(&current));
        assert!(current.now().contains(Ipv4Addr::LOCALHOST));
    }
}
