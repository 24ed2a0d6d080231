//! What an agent asks for: a community, or a user of SNMPv3. Types that do not print what is secret.

use dawn_wire::Secret;

use crate::limits::PASSWORD_BYTES_MIN;
use crate::usm::{Authentication, Key, Privacy};

/// The older versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 1157: no GETBULK, no numbers of 64 bits.
    V1,
    /// RFC 1901.
    V2c,
}

/// A community: a password in the clear.
pub type Community = Secret;

/// A user of SNMPv3. Privacy without authentication does not exist (RFC 3411 §3.4.3).
#[derive(Clone, Debug)]
pub struct User {
    pub(crate) name: String,
    pub(crate) authentication: Option<(Authentication, Key)>,
    pub(crate) privacy: Option<(Privacy, Key)>,
    pub(crate) context: String,
}

/// Why a user cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The password is too short.
    #[error("a password of SNMPv3 has {PASSWORD_BYTES_MIN} characters at least")]
    ShortPassword,
    /// The name is empty or longer than 32 bytes (RFC 3414 §5).
    #[error("the name of a user has 1 to 32 bytes")]
    Name,
}

impl User {
    /// A user who proves nothing (noAuthNoPriv).
    ///
    /// # Errors
    /// [`UserError::Name`].
    pub fn new(name: &str) -> Result<Self, UserError> {
        if name.is_empty() || name.len() > 32 {
            return Err(UserError::Name);
        }
        Ok(Self { name: name.to_owned(), authentication: None, privacy: None, context: String::new() })
    }

    /// The same with authentication (authNoPriv). Takes milliseconds: a key is derived.
    ///
    /// # Errors
    /// [`UserError::ShortPassword`].
    pub fn authenticated(self, protocol: Authentication, password: &str) -> Result<Self, UserError> {
        Ok(Self { authentication: Some((protocol, key(protocol, password)?)), ..self })
    }

    /// The same with privacy (authPriv); without authentication it stays as it is.
    ///
    /// # Errors
    /// [`UserError::ShortPassword`].
    pub fn private(self, privacy: Privacy, password: &str) -> Result<Self, UserError> {
        let Some((protocol, _)) = self.authentication else { return Ok(self) };
        Ok(Self { privacy: Some((privacy, key(protocol, password)?)), ..self })
    }
}

fn key(protocol: Authentication, password: &str) -> Result<Key, UserError> {
    if password.len() < PASSWORD_BYTES_MIN {
        return Err(UserError::ShortPassword);
    }
    Ok(protocol.password_key(password))
}

/// How to speak to an agent.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// v1 or v2c.
    Community(Version, Community),
    /// v3.
    User(User),
}

impl Credentials {
    /// The same for the tables of one VLAN, on switches that keep one each (Cisco): the community
    /// `<community>@<vlan>`, the context `vlan-<vlan>`.
    #[must_use]
    pub fn for_vlan(&self, vlan: u16) -> Self {
        match self {
            Self::Community(version, community) => {
                Self::Community(*version, Community::new(format!("{}@{vlan}", community.reveal())))
            }
            Self::User(user) => Self::User(User { context: format!("vlan-{vlan}"), ..user.clone() }),
        }
    }

    pub(crate) fn has_bulk(&self) -> bool {
        !matches!(self, Self::Community(Version::V1, _))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_prints() {
        let user = User::new("dawn").unwrap().authenticated(Authentication::Md5, "maplesyrup").unwrap();
        let user = user.private(Privacy::Des, "syrupmaple").unwrap();
        for credentials in
            [Credentials::Community(Version::V2c, Community::new("maplesyrup")), Credentials::User(user)]
        {
            for credentials in [credentials.for_vlan(5), credentials] {
                let shown = format!("{credentials:?}");
                assert!(
                    !shown.contains("maple") && !shown.contains("9f") && shown.contains("****"),
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(User::new("").unwrap_err(), UserError::Name);
        let user = User::new("u").unwrap();
        assert_eq!(user.authenticated(Authentication::Sha1, "short").unwrap_err(), UserError::ShortPassword);
    }
}
