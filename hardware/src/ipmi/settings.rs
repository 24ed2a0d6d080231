//! Settings of a service processor itself: its addresses, alerts, users and passwords.

use std::net::Ipv4Addr;

use dawn_ipmi::command::channel::{SetPassword, SetUserAccess, SetUserName, THIS_CHANNEL};
use dawn_ipmi::command::lan::{self, AddressSource, GetLan, Parameter};
use dawn_ipmi::command::{CommandError, Transport};
use dawn_ipmi::engine::Request;
use dawn_ipmi::wire::message::Code;
use dawn_ipmi::wire::setup::Privilege;

use super::Machine;
use crate::error::Error;
use crate::facts::settings::{COMMUNITY_BYTES_MAX, Key, Setting};

/// Users whose access is left as it is.
const BUILT_IN_USERS: [u8; 2] = [1, 2];
fn failed(error: CommandError) -> Error {
    Error::command_with("Unknown ipmi error", error)
}

/// PEF parameters (IPMI 2.0, table 30-4): 1 is "control", 2 "actions"; bit 0 enables.
const PEF_CONTROL: u8 = 1;
const PEF_ACTIONS: u8 = 2;

impl Machine {
    pub(super) async fn read_setting(&self, key: Key) -> Result<Setting, Error> {
        let address =
            async |parameter| lan::address(&self.session, THIS_CHANNEL, parameter).await.map_err(failed);
        match key {
            Key::Vlan => Ok(Setting::Vlan(lan::vlan(&self.session, THIS_CHANNEL).await.map_err(failed)?)),
            Key::Community => {
                let value = self.lan_value(Parameter::Community, 0).await?;
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                Ok(Setting::Community(String::from_utf8_lossy(text).into_owned()))
            }
            Key::Garp => {
                let value = self.lan_value(Parameter::ArpInterval, 0).await?;
                // In half seconds.
                Ok(Setting::GarpSeconds(value.first().copied().unwrap_or(0) / 2))
            }
            Key::SnmpDestination(number) => {
                let value = self.lan_value(Parameter::DestinationAddress, number).await?;
                let octets: Option<[u8; 4]> = value.get(3..7).and_then(|bytes| bytes.try_into().ok());
                let octets =
                    octets.ok_or_else(|| failed(dawn_ipmi::wire::Malformed("it is cut short").into()))?;
                Ok(Setting::Address(key, Ipv4Addr::from(octets)))
            }
            Key::Alert => {
                let control = self.pef(PEF_CONTROL).await?;
                let actions = self.pef(PEF_ACTIONS).await?;
                Ok(Setting::Alert(control & actions & 1 != 0))
            }
            Key::Ip => Ok(Setting::Address(key, address(Parameter::Address).await?)),
            Key::Netmask => Ok(Setting::Address(key, address(Parameter::Netmask).await?)),
            Key::Gateway => Ok(Setting::Address(key, address(Parameter::Gateway).await?)),
            Key::BackupGateway => Ok(Setting::Address(key, address(Parameter::BackupGateway).await?)),
        }
    }

    async fn lan_value(&self, parameter: Parameter, set: u8) -> Result<Vec<u8>, Error> {
        self.session.run(GetLan { channel: THIS_CHANNEL, parameter, set }).await.map_err(failed)
    }

    pub(super) async fn change_setting(&self, setting: Setting) -> Result<(), Error> {
        let parameters = match setting {
            Setting::UserName(slot, name) => return self.set_user(slot, name).await,
            Setting::Password(slot, password) => {
                return self.session.run(SetPassword::Set(slot, password)).await.map_err(failed);
            }
            Setting::Alert(on) => return self.set_alerts(on).await,
            Setting::Address(Key::Ip, address) => vec![
                (Parameter::AddressSource, vec![AddressSource::Static.number()]),
                (Parameter::Address, address.octets().to_vec()),
            ],
            Setting::Address(Key::SnmpDestination(number), address) => vec![
                // An alert that is a trap, without acknowledgement.
                (Parameter::DestinationType, vec![number, 0, 1, 1]),
                (Parameter::DestinationAddress, [&[number, 0, 0][..], &address.octets(), &[0; 6]].concat()),
            ],
            Setting::Address(key, address) => vec![(parameter_of(key), address.octets().to_vec())],
            Setting::Dhcp => vec![(Parameter::AddressSource, vec![AddressSource::Dhcp.number()])],
            Setting::Vlan(vlan) => vec![(Parameter::Vlan, lan::vlan_value(vlan))],
            Setting::Community(text) => {
                let mut bytes = text.into_bytes();
                bytes.resize(COMMUNITY_BYTES_MAX, 0);
                vec![(Parameter::Community, bytes)]
            }
            Setting::GarpSeconds(seconds) => {
                const ANNOUNCE_AND_ANSWER: u8 = 3;
                vec![
                    (Parameter::ArpInterval, vec![seconds.saturating_mul(2)]),
                    (Parameter::ArpControl, vec![ANNOUNCE_AND_ANSWER]),
                ]
            }
        };
        lan::set_parameters(&self.session, THIS_CHANNEL, parameters).await.map_err(failed)
    }

    async fn set_user(&self, slot: u8, name: String) -> Result<(), Error> {
        self.session.run(SetUserName { user: slot, name }).await.map_err(failed)?;
        if BUILT_IN_USERS.contains(&slot) {
            return Ok(());
        }
        let access = SetUserAccess {
            channel: THIS_CHANNEL,
            user: slot,
            callback_only: false,
            link: true,
            messaging: true,
            limit: Some(Privilege::Administrator),
        };
        self.session.run(access).await.map_err(failed)?;
        self.session.run(SetPassword::Enable(slot)).await.map_err(failed)
    }

    async fn set_alerts(&self, on: bool) -> Result<(), Error> {
        for parameter in [PEF_CONTROL, PEF_ACTIONS] {
            let old = self.pef(parameter).await?;
            let new = if on { old | 1 } else { old & !1 };
            self.pef_request(0x12, vec![parameter, new]).await?;
        }
        Ok(())
    }

    async fn pef(&self, parameter: u8) -> Result<u8, Error> {
        let data = self.pef_request(0x13, vec![parameter, 0, 0]).await?;
        Ok(data.get(1).copied().unwrap_or(0))
    }

    async fn pef_request(&self, cmd: u8, data: Vec<u8>) -> Result<Vec<u8>, Error> {
        let code = Code { netfn: 0x04, lun: 0, cmd };
        let answer = self.session.call(Request { code, data }).await;
        let answer = answer.map_err(|error| failed(error.into()))?;
        match answer.completion {
            0 => Ok(answer.data),
            code => Err(failed(CommandError::Completion(dawn_ipmi::command::Completion(code)))),
        }
    }
}

fn parameter_of(key: Key) -> Parameter {
    match key {
        Key::Netmask => Parameter::Netmask,
        Key::Gateway => Parameter::Gateway,
        Key::BackupGateway => Parameter::BackupGateway,
        _ => Parameter::Address,
    }
}
