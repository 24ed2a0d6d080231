//! How a session is set up and kept.

use crate::crypto::Suite;
use crate::limits::Budget;
use crate::wire::setup::Privilege;

/// Whether a BMC without IPMI 2.0 may be used, and how. Nothing protects the answer that says "I have no
/// IPMI 2.0", so anyone who is on the way can cause the fallback, and is sent a hash of the password that
/// guesses can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fallback {
    /// RMCP+ or nothing.
    Never,
    /// IPMI 1.5 with MD5.
    Md5,
    /// Also with a readable password, or with none.
    Unprotected,
}

/// Options of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Cipher suites to propose, in this order. Default: 17, then 3.
    pub suites: Vec<Suite>,
    /// IPMI 1.5. Default: never.
    pub fallback: Fallback,
    /// The privilege to ask for. Default: administrator.
    pub privilege: Privilege,
    /// Whether operator is asked for where administrator is refused. Default: yes.
    pub lower_privilege: bool,
    /// For each step of the set-up. Default: [`Budget::SHORT`].
    pub setup: Budget,
    /// For each command. Default: [`Budget::REFERENCE`].
    pub command: Budget,
    /// Whether the session stays open while there is no request. Default: no.
    pub keep_alive: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            suites: vec![Suite::Sha256, Suite::Sha1],
            fallback: Fallback::Never,
            privilege: Privilege::Administrator,
            lower_privilege: true,
            setup: Budget::SHORT,
            command: Budget::REFERENCE,
            keep_alive: false,
        }
    }
}
