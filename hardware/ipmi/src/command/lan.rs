//! The BMC's own network (IPMI 2.0, chapter 23).

use std::net::Ipv4Addr;

use super::{Command, CommandError, Completion, Transport, code, silent_answer};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// A parameter of a LAN channel (table 23-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Parameter {
    /// 1 while another program changes parameters.
    SetInProgress = 0,
    /// The address.
    Address = 3,
    /// Where it comes from.
    AddressSource = 4,
    /// The Ethernet address.
    Mac = 5,
    /// The netmask.
    Netmask = 6,
    /// Answers to ARP, and ARP announcements.
    ArpControl = 10,
    /// Time between announcements, half seconds.
    ArpInterval = 11,
    /// The router.
    Gateway = 12,
    /// Another one.
    BackupGateway = 14,
    /// The SNMP community of alerts.
    Community = 16,
    /// Kinds of alert destinations.
    DestinationType = 18,
    /// Addresses of alert destinations.
    DestinationAddress = 19,
    /// 802.1q.
    Vlan = 20,
    /// Privileges of cipher suites.
    CipherPrivileges = 24,
}

/// Where the BMC's address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// Not specified.
    Unspecified,
    /// Set by hand.
    Static,
    /// DHCP.
    Dhcp,
    /// The firmware.
    Firmware,
    /// Another number.
    Other(u8),
}

impl AddressSource {
    /// The source with this number.
    pub fn from_number(number: u8) -> Self {
        match number & 0x0f {
            0 => Self::Unspecified,
            1 => Self::Static,
            2 => Self::Dhcp,
            3 => Self::Firmware,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Static => 1,
            Self::Dhcp => 2,
            Self::Firmware => 3,
            Self::Other(number) => number & 0x0f,
        }
    }
}

/// Get LAN Configuration Parameters: one. The answer is its value.
#[derive(Clone, Copy, Debug)]
pub struct GetLan {
    /// The channel.
    pub channel: u8,
    /// Which.
    pub parameter: Parameter,
    /// Which entry of a parameter that is a list, 0 for the others.
    pub set: u8,
}

impl Command for GetLan {
    type Answer = Vec<u8>;
    const CODE: Code = code(0x0c, 0x02);

    fn data(&self) -> Vec<u8> {
        vec![self.channel & 0x0f, self.parameter as u8, self.set, 0]
    }

    fn read(&self, data: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut reader = Reader::new(data);
        let _revision = reader.u8()?;
        Ok(reader.rest().to_vec())
    }
}

/// Set LAN Configuration Parameters: one.
#[derive(Clone, Debug)]
pub struct SetLan {
    /// The channel.
    pub channel: u8,
    /// Which.
    pub parameter: Parameter,
    /// Its value.
    pub value: Vec<u8>,
}

impl Command for SetLan {
    silent_answer!();
    const CODE: Code = code(0x0c, 0x01);

    fn data(&self) -> Vec<u8> {
        [&[self.channel & 0x0f, self.parameter as u8], &self.value[..]].concat()
    }
}

/// An address among the parameters.
///
/// # Errors
/// The command's.
pub async fn address(
    bmc: &impl Transport,
    channel: u8,
    parameter: Parameter,
) -> Result<Ipv4Addr, CommandError> {
    let value = bmc.run(GetLan { channel, parameter, set: 0 }).await?;
    Ok(Ipv4Addr::from(Reader::new(&value).array::<4>()?))
}

/// The VLAN, 1 to 4094; `None` if packets have no tag.
///
/// # Errors
/// The command's.
pub async fn vlan(bmc: &impl Transport, channel: u8) -> Result<Option<u16>, CommandError> {
    let value = bmc.run(GetLan { channel, parameter: Parameter::Vlan, set: 0 }).await?;
    let number = Reader::new(&value).u16()?;
    Ok((number & 0x8000 != 0).then_some(number & 0x0fff))
}

/// The value of [`Parameter::Vlan`].
pub fn vlan_value(vlan: Option<u16>) -> Vec<u8> {
    vlan.map_or(0, |vlan| vlan & 0x0fff | 0x8000).to_le_bytes().to_vec()
}

/// Sets parameters between "set in progress" and "set complete", in this order. A BMC without that lock says
/// 80h, which counts as success.
///
/// # Errors
/// The first parameter that is refused; the lock is released anyway.
pub async fn set_parameters(
    bmc: &impl Transport,
    channel: u8,
    parameters: Vec<(Parameter, Vec<u8>)>,
) -> Result<(), CommandError> {
    let set = |parameter, value| SetLan { channel, parameter, value };
    let locked = match bmc.run(set(Parameter::SetInProgress, vec![1])).await {
        Ok(()) => true,
        Err(CommandError::Completion(Completion::NO_PARAMETER)) => false,
        Err(error) => return Err(error),
    };
    let mut result = Ok(());
    for (parameter, value) in parameters {
        result = bmc.run(set(parameter, value)).await;
        if result.is_err() {
            break;
        }
    }
    if locked {
        if result.is_ok() {
            // "Commit write": a BMC that can take values back does so unless it hears this; others refuse it.
            match bmc.run(set(Parameter::SetInProgress, vec![2])).await {
                Ok(()) | Err(CommandError::Completion(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // A BMC whose address was changed may not be reachable for this.
        let unlocked = bmc.run(set(Parameter::SetInProgress, vec![0])).await;
        return result.and(unlocked);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(vlan_value(Some(12)), [12, 0x80]);
        assert_eq!(vlan_value(Some(4094)), [0xfe, 0x8f]);
        assert_eq!(vlan_value(None), [0, 0]);
        for number in 0..=15 {
            assert_eq!(AddressSource::from_number(number).number(), number);
        }
        let get = GetLan { channel: 1, parameter: Parameter::Address, set: 0 };
        assert_eq!(get.data(), [1, 3, 0, 0]);
        assert_eq!(get.read(&[0x11, 10, 2, 0, 5]), Ok(vec![10, 2, 0, 5]));
    }
}
