//! Random bytes for what need not be secret: pauses, and identities of partitions.
//!
//! A machine without a source of entropy (an old processor, no disk, hardly an interrupt) may wait for
//! minutes until the kernel calls its randomness secure. `/init` never waits for that.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes that differ between machines and boots; somebody may be able to guess them. Never waits.
///
/// # Errors
/// A kernel before 5.6 that has no randomness yet.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    match read(GetRandomFlags::INSECURE) {
        // A kernel before 5.6 does not know the flag.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => read(GetRandomFlags::NONBLOCK),
        read => read,
    }
}

/// Whether keys can be made without waiting.
pub(crate) fn is_secure() -> bool {
    read::<1>(GetRandomFlags::NONBLOCK).is_ok()
}

fn read<const N: usize>(flags: GetRandomFlags) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole (getrandom(2)).
    getrandom(&mut bytes, flags)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_differ() {
        assert_ne!(bytes::<16>().unwrap(), bytes::<16>().unwrap());
        assert!(is_secure());
    }
}
