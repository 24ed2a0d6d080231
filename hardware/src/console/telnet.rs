//! Telnet as far as a console needs it (RFC 854, 856, 857, 858): bytes in, output and answers out.
//!
//! The peer may switch binary transmission, echo and suppressed go-aheads on, each way as the RFC has it;
//! every other option is refused, window sizes among them. We ask for no option: a port without telnet would
//! type the question on the console. A request is answered once, when it changes something, so that two sides
//! cannot answer each other for ever. A subnegotiation is skipped, and given up after
//! [`TELNET_SUBNEGOTIATION_BYTES_MAX`], so that hostile output cannot hide what comes after it.

use crate::limits::TELNET_SUBNEGOTIATION_BYTES_MAX;

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const BREAK: u8 = 243;
const SE: u8 = 240;

const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Data,
    /// After a carriage return, which a NUL may follow.
    Return,
    /// After IAC.
    Command,
    /// After one of WILL, WONT, DO and DONT.
    Option(u8),
    /// In a subnegotiation.
    Sub,
    /// After IAC in a subnegotiation.
    SubCommand,
}

/// Options that are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    binary: bool,
    echo: bool,
    suppress_go_ahead: bool,
}

impl Options {
    fn get(&mut self, option: u8) -> Option<&mut bool> {
        match option {
            BINARY => Some(&mut self.binary),
            ECHO => Some(&mut self.echo),
            SUPPRESS_GO_AHEAD => Some(&mut self.suppress_go_ahead),
            _ => None,
        }
    }
}

/// One connection.
#[derive(Debug, Default)]
pub struct Telnet {
    at: At,
    sub_bytes: usize,
    theirs: Options,
    ours: Options,
}

/// What bytes of the peer come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What the machine wrote.
    pub output: Vec<u8>,
    /// What is to be sent.
    pub answer: Vec<u8>,
}

impl Telnet {
    /// Takes bytes of the peer.
    pub fn hear(&mut self, bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        bytes.iter().for_each(|byte| self.hear_byte(*byte, &mut heard));
        heard
    }

    fn hear_byte(&mut self, byte: u8, heard: &mut Heard) {
        self.at = match (self.at, byte) {
            (At::Data | At::Return, IAC) => At::Command,
            (At::Return, 0) if !self.theirs.binary => At::Data,
            (At::Data | At::Return, byte) => {
                heard.output.push(byte);
                if byte == b'\r' { At::Return } else { At::Data }
            }
            (At::Command, IAC) => {
                heard.output.push(IAC);
                At::Data
            }
            (At::Command, WILL | WONT | DO | DONT) => At::Option(byte),
            (At::Command, SB) => {
                self.sub_bytes = 0;
                At::Sub
            }
            (At::Command, _) => At::Data,
            (At::Option(verb), option) => {
                if let Some(verb) = self.answer(verb, option) {
                    heard.answer.extend([IAC, verb, option]);
                }
                At::Data
            }
            (At::SubCommand, SE) => At::Data,
            (at @ (At::Sub | At::SubCommand), byte) => {
                self.sub_bytes += 1;
                match self.sub_bytes >= TELNET_SUBNEGOTIATION_BYTES_MAX {
                    true => At::Data,
                    false if at == At::Sub && byte == IAC => At::SubCommand,
                    false => At::Sub,
                }
            }
        };
    }

    /// The answer to a request, if one is due.
    fn answer(&mut self, verb: u8, option: u8) -> Option<u8> {
        let (is_theirs, wanted) = (matches!(verb, WILL | WONT), matches!(verb, WILL | DO));
        let side = if is_theirs { &mut self.theirs } else { &mut self.ours };
        // We echo nothing: a viewer sees only what the machine sends.
        let known = side.get(option).filter(|_| is_theirs || option != ECHO);
        let agreed = match known {
            Some(state) if *state == wanted => return None,
            Some(state) => {
                *state = wanted;
                wanted
            }
            None if wanted => false,
            None => return None,
        };
        Some(match (is_theirs, agreed) {
            (true, true) => DO,
            (true, false) => DONT,
            (false, true) => WILL,
            (false, false) => WONT,
        })
    }

    /// What is sent for typed bytes.
    pub fn typed(&self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::with_capacity(bytes.len());
        for byte in bytes {
            sent.push(*byte);
            match byte {
                &IAC => sent.push(IAC),
                b'\r' if !self.ours.binary => sent.push(0),
                _ => {}
            }
        }
        sent
    }

    /// What is sent for a break.
    pub fn break_bytes() -> Vec<u8> {
        vec![IAC, BREAK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input from the peer, the shown output, and our answer.
    #[test]
    fn conversations() {
        const NAWS: u8 = 31;
        let long = [&[IAC, SB, 24][..], &[b'x'; TELNET_SUBNEGOTIATION_BYTES_MAX], b"seen"].concat();
        let table: [(&[u8], &[u8], &[u8]); 13] = [
            (b"login: ", b"login: ", b""),
            (&[b'a', IAC, IAC, b'b'], &[b'a', IAC, b'b'], b""),
            (b"a\r\0b\r\nc", b"a\rb\r\nc", b""),
            (&[IAC, WILL, ECHO, IAC, WILL, ECHO, b'$'], b"$", &[IAC, DO, ECHO]),
            (
                &[IAC, WILL, SUPPRESS_GO_AHEAD, IAC, WONT, SUPPRESS_GO_AHEAD],
                b"",
                &[IAC, DO, SUPPRESS_GO_AHEAD, IAC, DONT, SUPPRESS_GO_AHEAD],
            ),
            (&[IAC, DO, NAWS, IAC, DO, ECHO], b"", &[IAC, WONT, NAWS, IAC, WONT, ECHO]),
            (&[IAC, DONT, NAWS, IAC, WONT, 24, IAC, WONT, ECHO], b"", b""),
            (&[IAC, WILL, 24], b"", &[IAC, DONT, 24]),
            (&[IAC, WILL, BINARY, b'\r', 0, b'x'], b"\r\0x", &[IAC, DO, BINARY]),
            (&[b'a', IAC, SB, 24, 1, IAC, SE, b'b'], b"ab", b""),
            (&[b'a', IAC, SB, 24, IAC, IAC, b'z', IAC, SE, b'b'], b"ab", b""),
            (&[IAC, BREAK, b'a', IAC, 249, b'b'], b"ab", b""),
            (&long, b"xseen", b""),
        ];
        for (bytes, output, answer) in table {
            let expected = Heard { output: output.to_vec(), answer: answer.to_vec() };
            assert_eq!(Telnet::default().hear(bytes), expected, "{bytes:?}");
            // In single bytes it is the same.
            let (mut telnet, mut parts) = (Telnet::default(), Heard::default());
            for byte in bytes {
                let heard = telnet.hear(&[*byte]);
                parts.output.extend(heard.output);
                parts.answer.extend(heard.answer);
            }
            assert_eq!(parts, expected, "{bytes:?}");
        }
    }

    #[test]
    fn typing() {
        let mut telnet = Telnet::default();
        assert_eq!(telnet.typed(b"ls\r\xff"), b"ls\r\0\xff\xff");
        assert_eq!(telnet.hear(&[IAC, DO, BINARY]).answer, [IAC, WILL, BINARY]);
        assert_eq!(telnet.typed(b"ls\r\xff"), b"ls\r\xff\xff");
        assert_eq!(telnet.hear(&[IAC, DONT, BINARY]).answer, [IAC, WONT, BINARY]);
        assert_eq!(telnet.typed(b"\r"), b"\r\0");
    }
}
