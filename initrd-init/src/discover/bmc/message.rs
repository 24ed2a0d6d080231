//! Requests to a service processor and their answers, as bytes (IPMI 2.0, chapters 22 to 28).
//!
//! Only what `bmcsetup` and the next boot need. The server's own encodings (`dawn-ipmi`) are what the tests
//! compare with; they are not used here, because their crate brings sessions over LAN and an async runtime
//! along.

use dawn_wire::Secret;

/// Network functions.
const CHASSIS: u8 = 0x00;
const APP: u8 = 0x06;
const TRANSPORT: u8 = 0x0c;
/// The medium of LAN channels.
const MEDIUM_LAN: u8 = 0x04;
/// The privilege of administrators.
const ADMINISTRATOR: u8 = 0x04;
/// A channel that is always available.
const ALWAYS_AVAILABLE: u8 = 0x02;
/// May log in over this channel, and open serial-over-LAN.
const MESSAGING_AND_LINK: u8 = 0x30;
/// Bytes of a user's name.
pub(super) const NAME_BYTES_MAX: usize = 16;
/// Bytes of a password; one of more than 16 takes the form of IPMI 2.0.
pub(super) const PASSWORD_BYTES_MAX: usize = 20;
const PASSWORD_V15_BYTES_MAX: usize = 16;

/// A request. Its data may be a password, so it does not print.
pub(super) struct Request {
    /// What it is for, after "cannot".
    pub(super) what: &'static str,
    pub(super) netfn: u8,
    pub(super) command: u8,
    pub(super) data: Vec<u8>,
}

/// A parameter of a LAN channel (table 23-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Parameter {
    SetInProgress = 0,
    Address = 3,
    AddressSource = 4,
    Mac = 5,
    Netmask = 6,
    ArpControl = 10,
    Gateway = 12,
    Vlan = 20,
}

impl Parameter {
    fn what(self) -> &'static str {
        match self {
            Self::SetInProgress => "lock the BMC's LAN parameters",
            Self::Address => "set the BMC's address",
            Self::AddressSource => "make the BMC's address a static one",
            Self::Mac => "set the BMC's MAC",
            Self::Netmask => "set the BMC's netmask",
            Self::ArpControl => "have the BMC answer ARP",
            Self::Gateway => "set the BMC's gateway",
            Self::Vlan => "set the BMC's VLAN",
        }
    }
}

/// The value of [`Parameter::AddressSource`] for an address that is set by hand.
pub(super) const STATIC: [u8; 1] = [1];

/// The value of [`Parameter::Vlan`].
pub(super) fn vlan(vlan: Option<u16>) -> [u8; 2] {
    vlan.map_or(0, |vlan| vlan & 0x0fff | 0x8000).to_le_bytes()
}

/// Whether a parameter has this value. A VLAN that is off may keep its number, and bits that mean nothing
/// are not looked at.
pub(super) fn has_value(parameter: Parameter, answer: &[u8], value: &[u8]) -> bool {
    let Some(got) = answer.get(1..1 + value.len()) else { return false };
    match (parameter, got, value) {
        (Parameter::AddressSource, [got], [value]) => got & 0x0f == *value,
        (Parameter::Vlan, [_, got], [_, 0]) => got & 0x80 == 0,
        (Parameter::Vlan, [low, high], [wanted_low, wanted_high]) => {
            low == wanted_low && high & 0x8f == *wanted_high
        }
        _ => got == value,
    }
}

/// Get LAN Configuration Parameters.
pub(super) fn get_lan(channel: u8, parameter: Parameter) -> Request {
    let data = vec![channel & 0x0f, parameter as u8, 0, 0];
    Request { what: "read the BMC's LAN parameters", netfn: TRANSPORT, command: 0x02, data }
}

/// Set LAN Configuration Parameters.
pub(super) fn set_lan(channel: u8, parameter: Parameter, value: &[u8]) -> Request {
    let data = [&[channel & 0x0f, parameter as u8], value].concat();
    Request { what: parameter.what(), netfn: TRANSPORT, command: 0x01, data }
}

/// Get Channel Info.
pub(super) fn channel_info(channel: u8) -> Request {
    Request { what: "read a channel of the BMC", netfn: APP, command: 0x42, data: vec![channel & 0x0f] }
}

/// Whether the answer to it is that of a LAN channel.
pub(super) fn is_lan(answer: &[u8]) -> bool {
    answer.get(1).is_some_and(|medium| medium & 0x7f == MEDIUM_LAN)
}

/// Set Channel Access: always available to administrators. `copy`: the one that is kept, or the one that
/// counts until the next reset.
pub(super) fn set_channel_access(channel: u8, copy: Copy) -> Request {
    let copy = match copy {
        Copy::Kept => 0x40,
        Copy::Present => 0x80,
    };
    let data = vec![channel & 0x0f, copy | ALWAYS_AVAILABLE, copy | ADMINISTRATOR];
    Request { what: "open the BMC's LAN channel", netfn: APP, command: 0x40, data }
}

/// Which of two copies of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    Kept,
    Present,
}

/// Get User Access.
pub(super) fn user_access(channel: u8, user: u8) -> Request {
    let data = vec![channel & 0x0f, user & 0x3f];
    Request { what: "read the BMC's users", netfn: APP, command: 0x44, data }
}

/// The answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserAccess {
    /// How many slots there are.
    pub(super) users_max: u8,
    /// Slots from 1 on whose names cannot be changed.
    pub(super) fixed_names: u8,
    /// This slot is known to be disabled; many service processors do not say.
    pub(super) is_disabled: bool,
}

impl UserAccess {
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let [users_max, enabled, fixed, _] = *answer else { return None };
        let is_disabled = enabled >> 6 == 2;
        Some(Self { users_max: users_max & 0x3f, fixed_names: fixed & 0x3f, is_disabled })
    }
}

/// Set User Access: an administrator who may log in over this channel.
pub(super) fn set_user_access(channel: u8, user: u8) -> Request {
    let data = vec![0x80 | MESSAGING_AND_LINK | channel & 0x0f, user & 0x3f, ADMINISTRATOR, 0];
    Request { what: "make the BMC's user an administrator", netfn: APP, command: 0x43, data }
}

/// Get User Name.
pub(super) fn user_name(user: u8) -> Request {
    Request { what: "read the BMC's users", netfn: APP, command: 0x46, data: vec![user & 0x3f] }
}

/// The name in the answer, without the zeros after it.
pub(super) fn name_in(answer: &[u8]) -> &[u8] {
    answer.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Set User Name.
pub(super) fn set_user_name(user: u8, name: &str) -> Request {
    let mut data = vec![user & 0x3f];
    data.extend_from_slice(name.as_bytes());
    data.resize(1 + NAME_BYTES_MAX, 0);
    Request { what: "name the BMC's user", netfn: APP, command: 0x45, data }
}

/// What Set User Password does.
pub(super) enum Password<'a> {
    Disable,
    Enable,
    Set(&'a Secret),
    Test(&'a Secret),
}

/// Set User Password.
pub(super) fn password(user: u8, what: &Password<'_>) -> Request {
    let (operation, secret, what) = match what {
        Password::Disable => (0, None, "disable another user of the BMC"),
        Password::Enable => (1, None, "enable the BMC's user"),
        Password::Set(secret) => (2, Some(secret), "set the password of the BMC's user"),
        Password::Test(secret) => (3, Some(secret), "verify the password of the BMC's user"),
    };
    let is_long = secret.is_some_and(|secret| secret.reveal().len() > PASSWORD_V15_BYTES_MAX);
    let mut data = vec![user & 0x3f | if is_long { 0x80 } else { 0 }, operation];
    if let Some(secret) = secret {
        data.extend_from_slice(secret.reveal().as_bytes());
        data.resize(2 + if is_long { PASSWORD_BYTES_MAX } else { PASSWORD_V15_BYTES_MAX }, 0);
    }
    Request { what, netfn: APP, command: 0x47, data }
}

/// Set SOL Configuration Parameters: serial-over-LAN on.
pub(super) fn enable_sol(channel: u8) -> Request {
    let data = vec![channel & 0x0f, 1, 1];
    Request { what: "enable the BMC's serial console", netfn: TRANSPORT, command: 0x21, data }
}

/// Set User Payload Access: this user may open it.
pub(super) fn let_use_sol(channel: u8, user: u8) -> Request {
    let data = vec![channel & 0x0f, user & 0x3f, 0x02, 0, 0, 0];
    Request { what: "give the BMC's user the serial console", netfn: APP, command: 0x4c, data }
}

/// Set System Boot Options: flags that never expire (parameter 3 of table 28-14).
pub(super) fn keep_boot_flags() -> Request {
    let data = vec![0x03, 0x1f];
    Request { what: "keep what the machine boots from next", netfn: CHASSIS, command: 0x08, data }
}

/// Set System Boot Options: the network, at the next boot only (parameter 5 of table 28-14).
pub(super) fn boot_from_network(is_efi: bool) -> Request {
    let flags = 0x80 | if is_efi { 0x20 } else { 0 };
    let data = vec![0x05, flags, 0x04, 0, 0, 0];
    Request { what: "have the machine boot from the network next", netfn: CHASSIS, command: 0x08, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_ipmi::command::Command;
    use dawn_ipmi::command::channel as theirs;
    use dawn_ipmi::command::chassis;
    use dawn_ipmi::command::lan;
    use dawn_ipmi::wire::setup::Privilege;

    /// Each request is what the server itself would send over LAN.
    #[test]
    fn requests_are_those_of_the_server() {
        fn same<C: Command>(ours: &Request, theirs: &C) {
            let code = C::CODE;
            assert_eq!((ours.netfn, ours.command), (code.netfn, code.cmd), "{}", ours.what);
            assert_eq!(ours.data, theirs.data(), "{}", ours.what);
        }
        let secret = |text: &str| (Secret::new(text), dawn_ipmi::Secret::new(text.as_bytes()));
        for (ours, parameter) in [
            (Parameter::SetInProgress, lan::Parameter::SetInProgress),
            (Parameter::Address, lan::Parameter::Address),
            (Parameter::AddressSource, lan::Parameter::AddressSource),
            (Parameter::Netmask, lan::Parameter::Netmask),
            (Parameter::ArpControl, lan::Parameter::ArpControl),
            (Parameter::Gateway, lan::Parameter::Gateway),
            (Parameter::Vlan, lan::Parameter::Vlan),
        ] {
            same(&get_lan(1, ours), &lan::GetLan { channel: 1, parameter, set: 0 });
            let value = vec![10, 2, 0, 5];
            same(&set_lan(2, ours, &value), &lan::SetLan { channel: 2, parameter, value: value.clone() });
        }
        assert_eq!(vlan(Some(12)).to_vec(), lan::vlan_value(Some(12)));
        assert_eq!(vlan(None).to_vec(), lan::vlan_value(None));
        assert_eq!(STATIC, [lan::AddressSource::Static.number()]);
        same(&channel_info(7), &theirs::GetChannelInfo(7));
        for (ours, copy) in [(Copy::Kept, theirs::Copy::NonVolatile), (Copy::Present, theirs::Copy::Volatile)]
        {
            let limit = Privilege::Administrator;
            let access = theirs::SetChannelAccess { channel: 1, copy, access: 2, limit };
            same(&set_channel_access(1, ours), &access);
        }
        same(&user_access(1, 3), &theirs::GetUserAccess { channel: 1, user: 3 });
        let access = theirs::SetUserAccess {
            channel: 1,
            user: 3,
            callback_only: false,
            link: true,
            messaging: true,
            limit: Some(Privilege::Administrator),
        };
        same(&set_user_access(1, 3), &access);
        same(&user_name(3), &theirs::GetUserName(3));
        same(&set_user_name(3, "ADMIN"), &theirs::SetUserName { user: 3, name: "ADMIN".into() });
        for text in ["short", "sixteen-letters!", "seventeen-letters", "twenty-letters-here!"] {
            let (ours, theirs_secret) = secret(text);
            let set = theirs::SetPassword::Set(3, theirs_secret.clone());
            same(&password(3, &Password::Set(&ours)), &set);
            same(&password(3, &Password::Test(&ours)), &theirs::SetPassword::Test(3, theirs_secret));
        }
        let option = |number, value: &[u8]| chassis::SetBootOption { number, value: value.to_vec() };
        same(&keep_boot_flags(), &option(3, &[0x1f]));
        for uefi in [false, true] {
            let wanted = chassis::BootOverride { device: chassis::Device::Network, persistent: false, uefi };
            let ours = boot_from_network(uefi);
            assert_eq!(chassis::BootOverride::parse(&ours.data[1..]), Ok(Some(wanted)));
            same(&ours, &option(5, &ours.data[1..]));
        }
        same(&password(4, &Password::Disable), &theirs::SetPassword::Disable(4));
        same(&password(4, &Password::Enable), &theirs::SetPassword::Enable(4));
    }

    #[test]
    fn answers() {
        let access = UserAccess::read(&[10, 0x42, 1, 0x34]).unwrap();
        assert_eq!(access, UserAccess { users_max: 10, fixed_names: 1, is_disabled: false });
        assert_eq!(UserAccess::read(&[10, 0x42]), None);
        assert!(is_lan(&[1, 0x84, 1]) && !is_lan(&[1, 0x0c, 1]) && !is_lan(&[]));
        assert_eq!(name_in(b"ADMIN\0\0"), b"ADMIN");
        for (parameter, answer, value, same) in [
            (Parameter::Address, &[0x11, 10, 2, 0, 5][..], &[10, 2, 0, 5][..], true),
            (Parameter::Address, &[0x11, 10, 2, 0, 6], &[10, 2, 0, 5], false),
            (Parameter::Address, &[0x11, 10, 2], &[10, 2, 0, 5], false),
            (Parameter::AddressSource, &[0x11, 0xf1], &STATIC, true),
            (Parameter::Vlan, &[0x11, 12, 0], &vlan(None), true),
            (Parameter::Vlan, &[0x11, 12, 0x80], &vlan(None), false),
            (Parameter::Vlan, &[0x11, 12, 0x80], &vlan(Some(12)), true),
            (Parameter::Vlan, &[0x11, 12, 0], &vlan(Some(12)), false),
        ] {
            assert_eq!(has_value(parameter, answer, value), same, "{parameter:?} {answer:?}");
        }
    }
}
