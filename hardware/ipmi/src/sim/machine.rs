//! The machine of a simulated BMC: power, boot flags, and answers that a test puts there.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::wire::message::Code;
use crate::wire::sol::Packet;

/// A machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Whether it runs.
    pub on: bool,
    /// Controls that were carried out, in order.
    pub controls: Vec<u8>,
    /// Boot options by number.
    pub boot_options: HashMap<u8, Vec<u8>>,
    /// What was typed on its console.
    pub typed: Vec<u8>,
    /// Answers, completion code included, to requests with exactly this code and data.
    pub answers: HashMap<(u8, u8, Vec<u8>), Vec<u8>>,
}

impl Machine {
    /// The answer to a request, completion code first.
    pub(super) fn on_request(&mut self, code: Code, data: &[u8]) -> Vec<u8> {
        if let Some(answer) = self.answers.get(&(code.netfn, code.cmd, data.to_vec())) {
            return answer.clone();
        }
        match (code.netfn, code.cmd, data) {
            (0x06, 0x01, []) => {
                vec![0, 0x20, 0x81, 0x02, 0x15, 0x02, 0xbf, 0x57, 0x01, 0x00, 0x34, 0x12]
            }
            (0x00, 0x01, []) => vec![0, u8::from(self.on), 0, 0],
            (0x00, 0x02, [control]) => {
                self.on = matches!(control, 1..=3);
                self.controls.push(*control);
                vec![0]
            }
            (0x00, 0x04, _) => vec![0],
            (0x00, 0x08, [number, value @ ..]) => {
                self.boot_options.insert(number & 0x7f, value.to_vec());
                vec![0]
            }
            (0x00, 0x09, [number, _, _]) => {
                let number = number & 0x7f;
                let value = self.boot_options.get(&number).cloned().unwrap_or_else(|| vec![0; 5]);
                [vec![0, 1, number], value].concat()
            }
            // A console that takes 20 characters at a time.
            (0x06, 0x48, [1, 1, ..]) => vec![0, 0, 0, 0, 0, 24, 0, 0xff, 0, 0x6f, 0x02, 0xff, 0xff],
            (0x06, 0x49, [1, 1, ..]) => vec![0],
            _ => vec![0xc1],
        }
    }

    /// Console data came in: what was seen, and payloads to send. All characters are taken.
    pub(super) fn on_sol(&mut self, payload: &[u8]) -> (String, Vec<Vec<u8>>) {
        let packet = match Packet::parse(payload) {
            Ok(packet) => packet,
            Err(error) => return (format!("malformed: {error}"), Vec::new()),
        };
        let mut text = format!("sol {}", packet.sequence);
        if packet.acknowledges != 0 {
            let _ = write!(text, " acknowledges {} ({} taken)", packet.acknowledges, packet.accepted);
        }
        if !packet.data.is_empty() {
            let _ = write!(text, " '{}'", packet.data.escape_ascii());
        }
        if packet.wants_break() {
            text.push_str(" break");
        }
        self.typed.extend_from_slice(packet.data);
        let accepted = u8::try_from(packet.data.len()).unwrap_or(u8::MAX);
        let answer = Packet { acknowledges: packet.sequence, accepted, ..Packet::default() };
        (text, (packet.sequence != 0).then(|| answer.payload()).into_iter().collect())
    }
}
