//! Channels and users (IPMI 2.0, 22.22 to 22.30).

use super::{Command, code, silent_answer};
use crate::limits::{PASSWORD_BYTES_MAX, PASSWORD_V15_BYTES_MAX, USER_NAME_BYTES_MAX};
use crate::secret::Secret;
use crate::wire::message::Code;
use crate::wire::setup::Privilege;
use crate::wire::{Malformed, Reader};

/// The number that means "the channel this request came in by".
pub const THIS_CHANNEL: u8 = 0x0e;
/// The medium of LAN channels in [`ChannelInfo`].
pub const MEDIUM_LAN: u8 = 0x04;

/// Get Channel Info.
#[derive(Clone, Copy, Debug)]
pub struct GetChannelInfo(pub u8);

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its number.
    pub channel: u8,
    /// Its medium (table 6-3), [`MEDIUM_LAN`] for 802.3.
    pub medium: u8,
    /// Its protocol (table 6-2).
    pub protocol: u8,
}

impl Command for GetChannelInfo {
    type Answer = ChannelInfo;
    const CODE: Code = code(0x06, 0x42);

    fn data(&self) -> Vec<u8> {
        vec![self.0 & 0x0f]
    }

    fn read(&self, data: &[u8]) -> Result<ChannelInfo, Malformed> {
        let [channel, medium, protocol] = Reader::new(data).array()?;
        Ok(ChannelInfo { channel: channel & 0x0f, medium: medium & 0x7f, protocol: protocol & 0x1f })
    }
}

/// Which of two copies of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Copy {
    /// The one that is kept.
    NonVolatile = 0x40,
    /// The one that counts until the next reset.
    Volatile = 0x80,
}

/// Get Channel Access.
#[derive(Clone, Copy, Debug)]
pub struct GetChannelAccess {
    /// The channel.
    pub channel: u8,
    /// Which copy.
    pub copy: Copy,
}

/// Who may use a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelAccess {
    /// Byte 1 (table 22-28): bits 0 to 2 mode (2: always available), 3 user level authentication off, 4
    /// message authentication off, 5 alerts off.
    pub access: u8,
    /// The highest privilege.
    pub limit: Option<Privilege>,
}

impl Command for GetChannelAccess {
    type Answer = ChannelAccess;
    const CODE: Code = code(0x06, 0x41);

    fn data(&self) -> Vec<u8> {
        vec![self.channel & 0x0f, self.copy as u8]
    }

    fn read(&self, data: &[u8]) -> Result<ChannelAccess, Malformed> {
        let [access, limit] = Reader::new(data).array()?;
        Ok(ChannelAccess { access: access & 0x3f, limit: Privilege::from_number(limit & 0x0f) })
    }
}

/// Set Channel Access: one copy.
#[derive(Clone, Copy, Debug)]
pub struct SetChannelAccess {
    /// The channel.
    pub channel: u8,
    /// Which copy.
    pub copy: Copy,
    /// Its mode and switches, as in [`ChannelAccess::access`].
    pub access: u8,
    /// The highest privilege.
    pub limit: Privilege,
}

impl Command for SetChannelAccess {
    silent_answer!();
    const CODE: Code = code(0x06, 0x40);

    fn data(&self) -> Vec<u8> {
        let copy = self.copy as u8;
        vec![self.channel & 0x0f, copy | self.access & 0x3f, copy | self.limit.number()]
    }
}

/// Get User Access.
#[derive(Clone, Copy, Debug)]
pub struct GetUserAccess {
    /// The channel.
    pub channel: u8,
    /// The user's slot, 1 to 63.
    pub user: u8,
}

/// What a user may do on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserAccess {
    /// How many slots the BMC has.
    pub users_max: u8,
    /// Slots that are enabled.
    pub enabled_count: u8,
    /// Slots from 1 on whose names cannot be changed.
    pub fixed_names: u8,
    /// Whether this slot is enabled; BMCs of IPMI 1.5 do not say.
    pub enabled: Option<bool>,
    /// May only call back.
    pub callback_only: bool,
    /// May link serial ports.
    pub link: bool,
    /// May log in over this channel.
    pub messaging: bool,
    /// The privilege; `None` for "no access".
    pub limit: Option<Privilege>,
}

impl Command for GetUserAccess {
    type Answer = UserAccess;
    const CODE: Code = code(0x06, 0x44);

    fn data(&self) -> Vec<u8> {
        vec![self.channel & 0x0f, self.user & 0x3f]
    }

    fn read(&self, data: &[u8]) -> Result<UserAccess, Malformed> {
        let [users_max, enabled, fixed, access] = Reader::new(data).array()?;
        Ok(UserAccess {
            users_max: users_max & 0x3f,
            enabled_count: enabled & 0x3f,
            fixed_names: fixed & 0x3f,
            enabled: match enabled >> 6 {
                1 => Some(true),
                2 => Some(false),
                _ => None,
            },
            callback_only: access & 0x40 != 0,
            link: access & 0x20 != 0,
            messaging: access & 0x10 != 0,
            limit: Privilege::from_number(access & 0x0f),
        })
    }
}

/// Set User Access.
#[derive(Clone, Copy, Debug)]
pub struct SetUserAccess {
    /// The channel.
    pub channel: u8,
    /// The user's slot, 1 to 63.
    pub user: u8,
    /// May only call back.
    pub callback_only: bool,
    /// May link serial ports.
    pub link: bool,
    /// May log in over this channel.
    pub messaging: bool,
    /// The privilege; `None` for "no access".
    pub limit: Option<Privilege>,
}

impl Command for SetUserAccess {
    silent_answer!();
    const CODE: Code = code(0x06, 0x43);

    fn data(&self) -> Vec<u8> {
        let bits = [(self.callback_only, 0x40), (self.link, 0x20), (self.messaging, 0x10)];
        let access = bits.iter().filter(|(set, _)| *set).fold(0x80, |access, (_, bit)| access | bit);
        let limit = self.limit.map_or(0x0f, Privilege::number);
        vec![access | self.channel & 0x0f, self.user & 0x3f, limit, 0]
    }
}

/// Get User Name. The answer is the name as the BMC has it, without the zeros after it.
#[derive(Clone, Copy, Debug)]
pub struct GetUserName(pub u8);

impl Command for GetUserName {
    type Answer = String;
    const CODE: Code = code(0x06, 0x46);

    fn data(&self) -> Vec<u8> {
        vec![self.0 & 0x3f]
    }

    fn read(&self, data: &[u8]) -> Result<String, Malformed> {
        let name = data.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}

/// Set User Name; the name is cut to 16 bytes.
#[derive(Clone, Debug)]
pub struct SetUserName {
    /// The slot, 1 to 63.
    pub user: u8,
    /// The name.
    pub name: String,
}

impl Command for SetUserName {
    silent_answer!();
    const CODE: Code = code(0x06, 0x45);

    fn data(&self) -> Vec<u8> {
        let mut data = vec![self.user & 0x3f];
        data.extend_from_slice(self.name.as_bytes());
        data.resize(1 + USER_NAME_BYTES_MAX, 0);
        data
    }
}

/// Set User Password, and what belongs to it.
#[derive(Clone, Debug)]
pub enum SetPassword {
    /// Switches a slot off.
    Disable(u8),
    /// Switches it on.
    Enable(u8),
    /// Sets a password of 20 bytes at most; one longer than 16 takes the form of IPMI 2.0.
    Set(u8, Secret),
    /// Asks whether this is the password. BMCs may count wrong tries.
    Test(u8, Secret),
}

impl Command for SetPassword {
    silent_answer!();
    const CODE: Code = code(0x06, 0x47);

    fn data(&self) -> Vec<u8> {
        let (user, operation, password) = match self {
            Self::Disable(user) => (user, 0, None),
            Self::Enable(user) => (user, 1, None),
            Self::Set(user, password) => (user, 2, Some(password)),
            Self::Test(user, password) => (user, 3, Some(password)),
        };
        let long = password.is_some_and(|password| password.reveal().len() > PASSWORD_V15_BYTES_MAX);
        let mut data = vec![user & 0x3f | if long { 0x80 } else { 0 }, operation];
        let length = if long { PASSWORD_BYTES_MAX } else { PASSWORD_V15_BYTES_MAX };
        if let Some(password) = password {
            data.extend_from_slice(password.reveal());
            data.resize(2 + length, 0);
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let password = |text: &str| Secret::new(text.as_bytes());
        assert_eq!(SetPassword::Disable(3).data(), [3, 0]);
        let set = SetPassword::Set(2, password("secret")).data();
        assert_eq!((set.len(), &set[..9]), (18, &[2, 2, b's', b'e', b'c', b'r', b'e', b't', 0][..]));
        let long = SetPassword::Set(2, password("seventeen-letters")).data();
        assert_eq!((long.len(), long[0]), (22, 0x82));
        let user = SetUserName { user: 4, name: "a-name-that-is-too-long".to_owned() }.data();
        assert_eq!((user.len(), user[1], user[16]), (17, b'a', b't'));
        let access = SetUserAccess {
            channel: 1,
            user: 4,
            callback_only: false,
            link: true,
            messaging: true,
            limit: Some(Privilege::Administrator),
        };
        assert_eq!(access.data(), [0xb1, 4, 4, 0]);
        let access = SetChannelAccess {
            channel: 1,
            copy: Copy::NonVolatile,
            access: 2,
            limit: Privilege::Administrator,
        };
        assert_eq!(access.data(), [1, 0x42, 0x44]);
    }

    #[test]
    fn answers() {
        let access = GetUserAccess { channel: 1, user: 2 }.read(&[10, 0x42, 1, 0x34]).unwrap();
        assert_eq!((access.users_max, access.enabled_count, access.enabled), (10, 2, Some(true)));
        assert_eq!(
            (access.link, access.messaging, access.limit),
            (true, true, Some(Privilege::Administrator))
        );
        assert_eq!(GetUserName(2).read(b"ADMIN\0\0\0\0\0\0\0\0\0\0\0").unwrap(), "ADMIN");
        assert_eq!(GetChannelInfo(1).read(&[0x21, 0x84, 0x81, 0, 0]).unwrap().medium, MEDIUM_LAN);
        assert!(GetChannelInfo(1).read(&[1]).is_err());
    }
}
