//! Payloads other than IPMI messages (IPMI 2.0, 24): the serial console is one.

use super::{Command, code, silent_answer};
use crate::wire::Malformed;
use crate::wire::message::Code;
use crate::wire::sol::{Activated, INSTANCE, PAYLOAD_TYPE};

/// Authenticated and encrypted, and alerts over the serial port wait.
const AUXILIARY: [u8; 4] = [0xc4, 0, 0, 0];

/// Activate Payload for serial over LAN. If the BMC agrees, the session then has a console.
#[derive(Clone, Copy, Debug)]
pub struct ActivateSol;

impl Command for ActivateSol {
    type Answer = Activated;
    const CODE: Code = code(0x06, 0x48);

    fn data(&self) -> Vec<u8> {
        [&[PAYLOAD_TYPE, INSTANCE][..], &AUXILIARY].concat()
    }

    fn read(&self, data: &[u8]) -> Result<Activated, Malformed> {
        Activated::parse(data)
    }
}

/// Deactivate Payload for serial over LAN: also the console of another session.
#[derive(Clone, Copy, Debug)]
pub struct DeactivateSol;

impl Command for DeactivateSol {
    silent_answer!();
    const CODE: Code = code(0x06, 0x49);

    fn data(&self) -> Vec<u8> {
        vec![PAYLOAD_TYPE, INSTANCE, 0, 0, 0, 0]
    }
}
