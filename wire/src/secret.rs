//! Passwords and keys: they do not print, and comparing them takes the same time wherever they differ.

use std::fmt;

/// Something that must not appear in logs, errors or debug output: printing it prints stars.
#[derive(Clone, Default)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Takes the secret over.
    pub fn new(secret: impl Into<T>) -> Self {
        Self(secret.into())
    }

    /// The secret; call it only where it is used.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl<T: AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        equal(self.0.as_ref(), other.0.as_ref())
    }
}

impl<T: AsRef<[u8]>> Eq for Secret<T> {}

/// Whether two byte strings are the same; the time depends on their lengths alone.
#[must_use]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    one.len() == other.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let text: Secret = Secret::new("hunter2");
        let bytes: Secret<Vec<u8>> = Secret::new(b"hunter2".to_vec());
        assert_eq!(format!("{text} {text:?} {:?}", Some(bytes)), "******** ******** Some(********)");
    }

    #[test]
    fn comparison() {
        for (one, other, same) in [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false)] {
            assert_eq!(Secret::<String>::new(one) == Secret::new(other), same, "{one} {other}");
        }
    }
}
