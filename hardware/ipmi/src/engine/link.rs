//! What a session has once it is set up: numbers, keys, sequence numbers of both directions.

use crate::crypto::{Keys, Random, Suite};
use crate::limits::WINDOW_BEHIND;
use crate::secret::Credentials;
use crate::wire::datagram::Datagram;
use crate::wire::v15::{self, AuthType};
use crate::wire::v20::{self, Payload};

/// How the packets of a session are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// RMCP+ with this cipher suite.
    RmcpPlus(Suite),
    /// IPMI 1.5.
    V15(AuthType),
}

/// Sequence numbers that were received: each is accepted once, and only near the newest.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    highest: u32,
    /// Bit n: `highest - n` was received.
    seen: u32,
}

impl Window {
    /// Nothing was received yet; numbers begin after `before`.
    pub(super) fn after(before: u32) -> Self {
        Self { highest: before, seen: u32::MAX }
    }

    /// Whether a packet with this number is new; it is not from now on. The packet must have been proved
    /// authentic, since anyone who moves the window ahead makes other packets late.
    pub(super) fn accept(&mut self, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.highest);
        if (1..=u32::MAX / 2).contains(&ahead) {
            self.highest = sequence;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            return true;
        }
        let behind = self.highest.wrapping_sub(sequence);
        let bit = 1_u32.checked_shl(behind).unwrap_or(0);
        if behind >= WINDOW_BEHIND || self.seen & bit != 0 {
            return false;
        }
        self.seen |= bit;
        true
    }
}

/// A session's way to its BMC.
pub(crate) struct Link {
    pub side: Side,
    pub sequence: u32,
    pub window: Window,
}

/// What differs between the versions.
pub(crate) enum Side {
    V20 { console_session: u32, bmc_session: u32, suite: Suite, keys: Keys },
    V15 { session: u32, auth: AuthType },
}

impl Link {
    pub(super) fn protection(&self) -> Protection {
        match &self.side {
            Side::V20 { suite, .. } => Protection::RmcpPlus(*suite),
            Side::V15 { auth, .. } => Protection::V15(*auth),
        }
    }

    /// The BMC's number of the session, for Close Session.
    pub(super) fn bmc_session(&self) -> u32 {
        match &self.side {
            Side::V20 { bmc_session, .. } => *bmc_session,
            Side::V15 { session, .. } => *session,
        }
    }

    /// The datagram that carries a payload. `None` for payloads that IPMI 1.5 does not have.
    pub(super) fn seal(
        &mut self,
        kind: Payload,
        payload: &[u8],
        credentials: &Credentials,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
        let sequence = self.sequence;
        // 0 means "outside of a session".
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut out = Vec::with_capacity(payload.len() + 80);
        match &self.side {
            Side::V20 { bmc_session, keys, .. } => {
                let envelope =
                    v20::Envelope { kind, session: *bmc_session, sequence, keys, iv: random.block() };
                v20::put(&mut out, &envelope, payload);
            }
            Side::V15 { session, auth } => {
                if kind != Payload::Ipmi {
                    return None;
                }
                let password = credentials.password();
                let envelope = v15::Envelope { auth: *auth, password, session: *session, sequence };
                v15::put(&mut out, &envelope, payload);
            }
        }
        Some(out)
    }

    /// The payload of a packet of this session: authentic, and seen for the first time.
    pub(super) fn open(
        &mut self,
        datagram: &Datagram<'_>,
        credentials: &Credentials,
    ) -> Option<(Payload, Vec<u8>)> {
        let (kind, payload, sequence) = match (&self.side, datagram) {
            (Side::V20 { console_session, keys, .. }, Datagram::V20(packet)) => {
                if packet.session != *console_session {
                    return None;
                }
                (packet.kind, packet.open(keys)?, packet.sequence)
            }
            (Side::V15 { session, auth }, Datagram::V15(packet)) => {
                let password = credentials.password();
                if packet.session != *session || packet.auth != *auth || !packet.is_authentic(password) {
                    return None;
                }
                (Payload::Ipmi, packet.payload.to_vec(), packet.sequence)
            }
            _ => return None,
        };
        self.window.accept(sequence).then_some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        for (start, steps) in [
            (0_u32, vec![(1_u32, true), (1, false), (3, true), (2, true), (2, false), (0, false)]),
            (
                0,
                vec![(100, true), (84, false), (85, true), (85, false), (40, false), (99, true), (101, true)],
            ),
            (u32::MAX - 1, vec![(u32::MAX, true), (1, true), (u32::MAX, false), (0, true), (2, true)]),
            (9, vec![(9, false), (8, false), (10, true), (9, false)]),
            (0, vec![(33, true), (32, true), (33, false), (65, true), (33, false)]),
        ] {
            let mut window = Window::after(start);
            for (sequence, accepted) in steps {
                assert_eq!(window.accept(sequence), accepted, "{sequence} after {window:?}");
            }
        }
    }
}
