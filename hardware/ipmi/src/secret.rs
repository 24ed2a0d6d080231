//! Who logs in to a BMC, and with which password and key.

use dawn_wire::secret;

use crate::limits::{PASSWORD_BYTES_MAX, USER_NAME_BYTES_MAX};

/// A password or key, which may have any bytes.
pub type Secret = secret::Secret<Box<[u8]>>;

/// Why credentials cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The user name.
    #[error("the user name has {0} bytes; a BMC takes {USER_NAME_BYTES_MAX} at most")]
    UserNameLength(usize),
    /// The password.
    #[error("the password has {0} bytes; a BMC takes {PASSWORD_BYTES_MAX} at most")]
    PasswordLength(usize),
    /// The BMC's key.
    #[error("the BMC key (Kg) has {0} bytes; a BMC takes {PASSWORD_BYTES_MAX} at most")]
    KeyLength(usize),
    /// A byte 0 ends a name or password for the BMC.
    #[error("a user name or password has a byte 0 in it")]
    ZeroByte,
}

/// Who logs in: user name, password and, where the BMC has one, its key Kg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: Secret,
    bmc_key: Option<Secret>,
}

impl Credentials {
    /// User name and password; either may be empty.
    ///
    /// # Errors
    /// What is too long for a BMC, or has a byte 0 in it.
    pub fn new(user: &str, password: Secret) -> Result<Self, CredentialError> {
        if user.len() > USER_NAME_BYTES_MAX {
            return Err(CredentialError::UserNameLength(user.len()));
        }
        if password.reveal().len() > PASSWORD_BYTES_MAX {
            return Err(CredentialError::PasswordLength(password.reveal().len()));
        }
        if user.as_bytes().contains(&0) || password.reveal().contains(&0) {
            return Err(CredentialError::ZeroByte);
        }
        Ok(Self { user: user.to_owned(), password, bmc_key: None })
    }

    /// Adds the BMC's key Kg ("two-key login"); an empty key is none.
    ///
    /// # Errors
    /// [`CredentialError::KeyLength`].
    pub fn with_bmc_key(self, key: Secret) -> Result<Self, CredentialError> {
        match key.reveal().len() {
            0 => Ok(Self { bmc_key: None, ..self }),
            1..=PASSWORD_BYTES_MAX => Ok(Self { bmc_key: Some(key), ..self }),
            length => Err(CredentialError::KeyLength(length)),
        }
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> &Secret {
        &self.password
    }

    /// The key that session keys are made of: Kg, or the password where there is none.
    pub(crate) fn session_key_base(&self) -> &Secret {
        self.bmc_key.as_ref().unwrap_or(&self.password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let credentials = Credentials::new("ADMIN", Secret::new(*b"hunter2")).unwrap();
        let credentials = credentials.with_bmc_key(Secret::new(*b"topkey")).unwrap();
        let text = format!("{credentials:?}");
        assert!(text.contains("ADMIN") && !text.contains("hunter2") && !text.contains("topkey"), "{text}");
        assert!(!text.contains("104"), "bytes as numbers: {text}");
    }

    #[test]
    fn limits() {
        let user = |user: &str| Credentials::new(user, Secret::new(*b"")).err();
        assert_eq!(user("sixteen-letters!"), None);
        assert_eq!(user("seventeen-letters"), Some(CredentialError::UserNameLength(17)));
        assert_eq!(user("a\0b"), Some(CredentialError::ZeroByte));
        let password = |bytes: &[u8]| Credentials::new("u", Secret::new(bytes)).err();
        assert_eq!(password(&[1; 20]), None);
        assert_eq!(password(&[1; 21]), Some(CredentialError::PasswordLength(21)));
        let key = |bytes: &[u8]| {
            Credentials::new("u", Secret::new(*b"p")).unwrap().with_bmc_key(Secret::new(bytes)).err()
        };
        assert_eq!(key(&[0; 20]), None);
        assert_eq!(key(&[1; 21]), Some(CredentialError::KeyLength(21)));
    }
}
