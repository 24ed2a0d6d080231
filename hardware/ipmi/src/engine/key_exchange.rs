//! The key exchange of RMCP+ (RAKP; IPMI 2.0, 13.20 to 13.24 and 13.31): who proves what with which code.
//!
//! The same computation on both sides: the console checks the BMC's code, and the BMC the console's.

use crate::crypto::{Code, Keys, Suite};
use crate::secret::Credentials;
use crate::wire::setup::length_byte;
use dawn_wire::secret::equal;

/// What both sides know after RAKP 2.
#[derive(Clone, Debug)]
pub(crate) struct KeyExchange {
    pub suite: Suite,
    pub role: u8,
    pub console_session: u32,
    pub bmc_session: u32,
    pub console_random: [u8; 16],
    pub bmc_random: [u8; 16],
    pub guid: [u8; 16],
}

impl KeyExchange {
    /// The code of RAKP 2: the BMC knows the password.
    pub(crate) fn rakp2_code(&self, credentials: &Credentials) -> Code {
        let user = credentials.user().as_bytes();
        self.suite.mac(
            credentials.password().reveal(),
            &[
                &self.console_session.to_le_bytes(),
                &self.bmc_session.to_le_bytes(),
                &self.console_random,
                &self.bmc_random,
                &self.guid,
                &[self.role, length_byte(user)],
                user,
            ],
        )
    }

    /// The code of RAKP 3: the console knows it.
    pub(crate) fn rakp3_code(&self, credentials: &Credentials) -> Code {
        let user = credentials.user().as_bytes();
        self.suite.mac(
            credentials.password().reveal(),
            &[&self.bmc_random, &self.console_session.to_le_bytes(), &[self.role, length_byte(user)], user],
        )
    }

    /// The keys of the session.
    pub(crate) fn keys(&self, credentials: &Credentials) -> Keys {
        let user = credentials.user().as_bytes();
        Keys::derive(
            self.suite,
            credentials.session_key_base().reveal(),
            &[&self.console_random, &self.bmc_random, &[self.role, length_byte(user)], user],
        )
    }

    /// The code of RAKP 4, to be cut to the length of the suite's trailers: both have the same keys.
    pub(crate) fn rakp4_code(&self, keys: &Keys) -> Code {
        keys.rakp4(&[&self.console_random, &self.bmc_session.to_le_bytes(), &self.guid])
    }

    /// Whether a received code is that of RAKP 2.
    pub(crate) fn proves_password(&self, credentials: &Credentials, code: &[u8]) -> bool {
        equal(self.rakp2_code(credentials).bytes(), code)
    }

    /// Whether a received code is that of RAKP 4.
    pub(crate) fn proves_keys(&self, keys: &Keys, code: &[u8]) -> bool {
        equal(self.rakp4_code(keys).first(keys.trailer_bytes()), code)
    }
}
