//! IPMI messages inside of a session (IPMI 2.0, 13.8): addresses, checksums, sequence numbers.

use super::{Malformed, Reader};

/// The BMC's address on its own bus.
const BMC_ADDRESS: u8 = 0x20;
/// The address of a remote console.
const CONSOLE_ADDRESS: u8 = 0x81;
/// Sequence numbers of messages are below this.
pub(crate) const SEQUENCES: u8 = 64;

/// What a request asks for: network function, unit, command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code {
    /// The network function of the request, an even number below 64.
    pub netfn: u8,
    /// The logical unit, 0 to 3.
    pub lun: u8,
    /// The command.
    pub cmd: u8,
}

/// A message as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Network function (odd: an answer), unit and command.
    pub code: Code,
    /// The sequence number of the request, below 64.
    pub sequence: u8,
    /// Data; of an answer the first byte is the completion code.
    pub data: &'a [u8],
}

/// The byte that makes a sum 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

impl<'a> Message<'a> {
    /// Reads a message and checks both checksums.
    ///
    /// # Errors
    /// When it is cut short or a checksum is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (check, body) = bytes.split_last().ok_or(Malformed("the message is empty"))?;
        let mut reader = Reader::new(body);
        let [to, netfn, head_check, from, sequence, cmd] = reader.array()?;
        if checksum(&[to, netfn]) != head_check {
            return Err(Malformed("the first checksum of the message is wrong"));
        }
        let data = reader.rest();
        if checksum(&[from, sequence, cmd]).wrapping_add(checksum(data)) != *check {
            return Err(Malformed("the second checksum of the message is wrong"));
        }
        // The BMC's unit is next to the network function in requests, and next to the sequence in answers.
        let lun = if netfn & 4 == 0 { netfn & 3 } else { sequence & 3 };
        Ok(Self { code: Code { netfn: netfn >> 2, lun, cmd }, sequence: sequence >> 2, data })
    }
}

/// Appends a request.
pub fn put_request(out: &mut Vec<u8>, code: Code, sequence: u8, data: &[u8]) {
    let target = [BMC_ADDRESS, code.netfn << 2 | code.lun & 3];
    put(out, target, [CONSOLE_ADDRESS, sequence << 2, code.cmd], data);
}

/// Appends the answer to a request; `data` begins with the completion code.
pub fn put_response(out: &mut Vec<u8>, code: Code, sequence: u8, data: &[u8]) {
    let target = [CONSOLE_ADDRESS, (code.netfn | 1) << 2];
    put(out, target, [BMC_ADDRESS, sequence << 2 | code.lun & 3, code.cmd], data);
}

fn put(out: &mut Vec<u8>, target: [u8; 2], head: [u8; 3], data: &[u8]) {
    out.extend_from_slice(&target);
    out.push(checksum(&target));
    out.extend_from_slice(&head);
    out.extend_from_slice(data);
    out.push(checksum(&head).wrapping_add(checksum(data)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Get Channel Authentication Capabilities as clients send it.
    #[test]
    fn a_known_request() {
        let mut out = Vec::new();
        put_request(&mut out, Code { netfn: 6, lun: 0, cmd: 0x38 }, 0, &[0x8e, 0x04]);
        assert_eq!(out, [0x20, 0x18, 0xc8, 0x81, 0x00, 0x38, 0x8e, 0x04, 0xb5]);
    }

    #[test]
    fn answers_are_read_back() {
        let code = Code { netfn: 4, lun: 1, cmd: 0x2d };
        let mut out = Vec::new();
        put_response(&mut out, code, 63, &[0, 1, 2]);
        let read = Message::parse(&out).unwrap();
        assert_eq!(read, Message { code: Code { netfn: 5, ..code }, sequence: 63, data: &[0, 1, 2] });
        for index in 0..out.len() {
            let mut bad = out.clone();
            bad[index] ^= 0x10;
            assert!(Message::parse(&bad).is_err(), "byte {index}");
        }
    }
}
