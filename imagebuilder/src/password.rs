//! Root's password in an image: hashes, and the line in `/etc/shadow`.

use std::hash::Hasher;

use dawn_wire::Secret;
use sha_crypt::{Sha512Params, sha512_crypt_b64};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Rounds of SHA-512 crypt; the default of crypt(3), which the text then does not name.
const ROUNDS: usize = 5_000;
/// Salt length of SHA-512 crypt (characters).
const SALT_CHARS: usize = 16;
/// No password fits this hash: root can only come in by key.
pub const LOCKED: &str = "*";

/// What root's password in an image is to be (`passwd` row with key `system`, user name `root`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootPassword {
    /// A plain text, to be hashed.
    Plain(Secret),
    /// A crypt hash (`$6$…`), taken as it is.
    Hash(Secret),
    /// No password at all (`site.secureroot`).
    Locked,
}

impl RootPassword {
    /// The value of `passwd.password`: a crypt hash if it looks like one, else plain text.
    pub fn from_table(value: &str) -> Self {
        match value {
            "*" | "!" | "!!" => RootPassword::Locked,
            value if is_hash(value) => RootPassword::Hash(Secret::new(value)),
            value => RootPassword::Plain(Secret::new(value)),
        }
    }

    /// The field for `/etc/shadow`. The salt comes from `seed` (the image's name), not from chance: packing
    /// the same image again gives the same bytes. `None`: the hash would break the line structure of the
    /// file.
    pub fn shadow_field(&self, seed: &str) -> Option<String> {
        match self {
            RootPassword::Locked => Some(LOCKED.to_owned()),
            RootPassword::Hash(hash) => {
                Some(hash.reveal().clone()).filter(|hash| !hash.contains([':', '\n']))
            }
            RootPassword::Plain(text) => sha512(text.reveal(), &salt(seed)),
        }
    }
}

/// Replace root's hash in the text of a shadow file; a missing line is added first.
pub fn with_root(shadow: &str, hash: &str) -> String {
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in shadow.lines() {
        match line.strip_prefix("root:") {
            Some(rest) if !found => {
                found = true;
                let after = rest.split_once(':').map_or("19000:0:99999:7:::", |(_, after)| after);
                lines.push(format!("root:{hash}:{after}"));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    if !found {
        lines.insert(0, format!("root:{hash}:19000:0:99999:7:::"));
    }
    lines.join("\n") + "\n"
}

/// `$id$…`, as crypt(3) knows them.
fn is_hash(value: &str) -> bool {
    let Some((id, rest)) = value.strip_prefix('$').and_then(|rest| rest.split_once('$')) else {
        return false;
    };
    matches!(id, "1" | "2a" | "2b" | "2y" | "5" | "6" | "7" | "y" | "gy" | "sha1") && rest.contains('$')
}

fn sha512(text: &str, salt: &str) -> Option<String> {
    let params = Sha512Params::new(ROUNDS).ok()?;
    let hash = sha512_crypt_b64(text.as_bytes(), salt.as_bytes(), &params).ok()?;
    Some(format!("$6${salt}${hash}"))
}

fn salt(seed: &str) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = SipHasher13::new();
    hasher.write(b"dawn root password salt ");
    hasher.write(seed.as_bytes());
    let mut bits = hasher.finish128().as_u128();
    (0..SALT_CHARS)
        .filter_map(|_| {
            let index = usize::try_from(bits & 63).ok()?;
            bits >>= 6;
            ALPHABET.get(index).copied().map(char::from)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_crypt() {
        // From `openssl passwd -6 -salt saltstring 'Hello world!'`.
        assert_eq!(
            sha512("Hello world!", "saltstring").unwrap(),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        let field = RootPassword::Plain(Secret::new("cluster")).shadow_field("image").unwrap();
        assert_eq!(field, RootPassword::Plain(Secret::new("cluster")).shadow_field("image").unwrap());
        assert_ne!(field, RootPassword::Plain(Secret::new("cluster")).shadow_field("other").unwrap());
    }

    #[test]
    fn table_values() {
        let table = [
            ("cluster", RootPassword::Plain(Secret::new("cluster"))),
            ("$6$ab$cd", RootPassword::Hash(Secret::new("$6$ab$cd"))),
            ("$ab", RootPassword::Plain(Secret::new("$ab"))),
            ("*", RootPassword::Locked),
        ];
        for (value, expected) in table {
            assert_eq!(RootPassword::from_table(value), expected, "{value}");
        }
        assert_eq!(RootPassword::Hash(Secret::new("a:b")).shadow_field("x"), None);
        assert!(!format!("{:?}", RootPassword::Plain(Secret::new("geheim"))).contains("geheim"));
    }

    #[test]
    fn only_roots_line_changes() {
        assert_eq!(with_root("a:b:1\nroot:*:5:0:::\nz:!\n", "$6$x$y"), "a:b:1\nroot:$6$x$y:5:0:::\nz:!\n");
        assert_eq!(with_root("a:b\n", "*"), "root:*:19000:0:99999:7:::\na:b\n");
        assert_eq!(with_root("root\n", "*"), "root:*:19000:0:99999:7:::\nroot\n");
    }
}
