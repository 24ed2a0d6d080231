//! Names of hosts and users, good enough to be words of a command line and of a known_hosts file.

/// The port of ssh.
pub const PORT_DEFAULT: u16 = 22;
/// Letters of a host name (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// Bytes of a user's name (utmp(5)).
const USER_BYTES_MAX: usize = 32;

/// A name that is not one of a host or of a user: it could be taken for an option or for several words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A host.
    #[error("'{}' is not a host name (letters, digits and . _ - :, the first not -)", shown(.0))]
    Host(String),
    /// A user.
    #[error("'{}' is not a user name (letters, digits and . _ -, the first not -)", shown(.0))]
    User(String),
}

fn shown(name: &str) -> String {
    name.escape_debug().take(NAME_BYTES_MAX).collect()
}

/// The name, if it can be one of a host: node names, DNS names, addresses.
pub fn host_name(name: &str) -> Result<&str, NameError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    match !name.starts_with('-') && (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) {
        true => Ok(name),
        false => Err(NameError::Host(name.to_owned())),
    }
}

/// The name, if it can be one of a user.
pub fn user_name(name: &str) -> Result<&str, NameError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match !name.starts_with('-') && (1..=USER_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) {
        true => Ok(name),
        false => Err(NameError::User(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["cn1", "cn-1.example.org", "10.0.0.1", "fe80::1"] {
            assert_eq!(host_name(name), Ok(name));
        }
        for name in ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "a@b", "a/b", "a\n", "*"] {
            assert!(host_name(name).is_err(), "{name:?}");
            assert!(user_name(name).is_err(), "{name:?}");
        }
        assert!(host_name(&"a".repeat(NAME_BYTES_MAX + 1)).is_err());
    }
}
