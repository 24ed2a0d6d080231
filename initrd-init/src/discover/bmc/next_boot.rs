//! The next boot of this machine by the network, for a step of the chain that restarts it: a machine whose
//! firmware tries the disk first would not come back to the server.

use std::path::Path;

use super::message;
use super::setup::{Bmc, BmcError};

/// Where a machine that UEFI started has its firmware's files.
const EFI: &str = "/sys/firmware/efi";
/// What a service processor without this boot option answers (IPMI 2.0, table 28-12).
const NO_PARAMETER: u8 = 0x80;

/// Whether the firmware is UEFI: its next boot is, too.
pub(super) fn is_efi() -> bool {
    Path::new(EFI).exists()
}

/// Sets it, for one boot. The flags of a machine that takes longer than a minute would expire, so that is
/// switched off first, where the service processor can.
pub(super) fn set(bmc: &mut dyn Bmc, is_efi: bool) -> Result<(), BmcError> {
    match bmc.ask(&message::keep_boot_flags()) {
        Ok(_) | Err(BmcError::Refused { code: NO_PARAMETER, .. }) => {}
        Err(error) => return Err(error),
    }
    bmc.ask(&message::boot_from_network(is_efi)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::bmc::message::Request;
    use std::time::Duration;

    /// What was asked for, and the option that is refused with this code.
    #[derive(Default)]
    struct Recorder {
        asked: Vec<Vec<u8>>,
        refuses: Option<(u8, u8)>,
    }

    impl Bmc for Recorder {
        fn ask(&mut self, request: &Request) -> Result<Vec<u8>, BmcError> {
            self.asked.push(request.data.clone());
            match self.refuses {
                Some((option, code)) if request.data.first() == Some(&option) => {
                    Err(BmcError::Refused { what: request.what, code })
                }
                _ => Ok(Vec::new()),
            }
        }

        fn pause(&mut self, _: Duration) {}
    }

    #[test]
    fn flags_are_for_one_boot() {
        for (is_efi, refuses, flags, error) in [
            (false, None, Some(0x80), None),
            (true, None, Some(0xa0), None),
            (true, Some((3, NO_PARAMETER)), Some(0xa0), None),
            (false, Some((3, 0xd4)), None, Some("refuses with code d4h")),
            (false, Some((5, 0xd4)), Some(0x80), Some("refuses with code d4h")),
        ] {
            let mut bmc = Recorder { refuses, ..Recorder::default() };
            let failed = set(&mut bmc, is_efi).err().map(|error| error.to_string());
            let last: Vec<u8> = flags.into_iter().flat_map(|flags| [5, flags, 4, 0, 0, 0]).collect();
            assert_eq!(bmc.asked.get(1).cloned().unwrap_or_default(), last);
            assert_eq!(failed.is_some(), error.is_some(), "{failed:?}");
            assert!(failed.unwrap_or_default().contains(error.unwrap_or_default()));
        }
    }
}
