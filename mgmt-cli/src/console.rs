//! The terminal of `rcons`: keys to the daemon, output to the screen, both as they are.
//!
//! While it runs the terminal is raw: control characters go to the machine. What begins with `^Ec` is for
//! this program or the daemon, as with conserver.

use crate::terminal::stop_on_signals;
use dawn_hardware::console::frames::{Decoder, Frame};
use dawn_xcatd::Request;
use dawn_xcatd::client::{self, ClientSettings, Joined};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

const ESCAPE_FIRST: u8 = 0x05;
const ESCAPE_SECOND: u8 = b'c';
/// Bytes that are read from the keyboard at once.
const KEYS_BYTES: usize = 1024;
/// What `^Ec?` shows.
const HELP: &str = "^Ec and then: . end, f or a take over, s read only, o connect again, l0 or b send a break, \
                    w who looks, ? this list, Enter nothing; ^E^E sends ^E";

/// Asks for the console and shows it; the exit code.
pub(crate) fn run(settings: &ClientSettings, request: &Request) -> i32 {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    client::run_stream(settings, request, &mut out, &mut err, |mut joined| {
        let stop = stop_on_signals();
        let raw = Raw::set();
        let ended = show(&mut joined, stop);
        drop(raw);
        match ended {
            Ok(Ended::Left) => 0,
            Ok(Ended::By(why)) => {
                crate::terminal::print_error(&why);
                1
            }
            Err(error) => {
                crate::terminal::print_error(&format!("the connection to the daemon: {error}"));
                1
            }
        }
    })
}

/// The terminal in raw mode; dropping it gives its mode back.
struct Raw(Option<Termios>);

impl Raw {
    /// Without a terminal nothing is set.
    fn set() -> Self {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = tcsetattr(&stdin, OptionalActions::Drain, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
            let _ = io::stdout().write_all(b"\r\n");
        }
    }
}

/// How it ended.
enum Ended {
    Left,
    By(String),
}

fn show(joined: &mut Joined, stop: &AtomicBool) -> io::Result<Ended> {
    let (mut keys, mut decoder) = (Keys::default(), Decoder::default());
    let mut reads_keys = true;
    while !stop.load(Ordering::Relaxed) {
        let [typed, came] = wait(joined, reads_keys)?;
        if came {
            let mut bytes = Vec::new();
            let goes_on = joined.receive(&mut bytes)?;
            decoder.push(&bytes);
            if let Some(why) = print(&mut decoder)? {
                return Ok(Ended::By(why));
            }
            if !goes_on {
                return Ok(Ended::By("the daemon has ended the connection".to_owned()));
            }
        }
        if typed {
            let mut chunk = [0; KEYS_BYTES];
            let count = io::stdin().read(&mut chunk)?;
            reads_keys = count > 0;
            for deed in keys.take(chunk.get(..count).unwrap_or_default()) {
                match deed {
                    Deed::Send(frame) => joined.send(&frame.bytes())?,
                    Deed::Leave => return Ok(Ended::Left),
                    Deed::Help => notice(HELP)?,
                }
            }
        }
    }
    Ok(Ended::Left)
}

/// Waits for keys and for output; which of them there are.
fn wait(joined: &Joined, reads_keys: bool) -> io::Result<[bool; 2]> {
    if joined.has_early() {
        return Ok([false, true]);
    }
    let stdin = io::stdin();
    let keys = if reads_keys { PollFlags::IN } else { PollFlags::empty() };
    let mut ready = [PollFd::new(&stdin, keys), PollFd::new(joined.socket(), PollFlags::IN)];
    match poll(&mut ready, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false, false]),
        Err(error) => return Err(error.into()),
    }
    let [keys, output] = ready.map(|fd| !fd.revents().is_empty());
    Ok([keys && reads_keys, output])
}

/// Shows received output; returns why the console ends, if it does.
fn print(decoder: &mut Decoder) -> io::Result<Option<String>> {
    while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
        match frame {
            Frame::Data(bytes) => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes)?;
                out.flush()?;
            }
            Frame::Notice(text) => notice(&text)?,
            Frame::End(why) => return Ok(Some(why)),
            _ => {}
        }
    }
    Ok(None)
}

fn notice(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "\r\n[{text}]\r\n")?;
    out.flush()
}

/// What a key does.
#[derive(Debug, PartialEq, Eq)]
enum Deed {
    Send(Frame),
    Leave,
    Help,
}

/// How much of `^Ec` was typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Typed {
    #[default]
    Nothing,
    First,
    Second,
    /// `l`, which a digit follows.
    Line,
}

/// Separates keys for this program from those for the machine.
#[derive(Debug, Default)]
struct Keys {
    typed: Typed,
}

impl Keys {
    fn take(&mut self, bytes: &[u8]) -> Vec<Deed> {
        let (mut deeds, mut data) = (Vec::new(), Vec::new());
        for byte in bytes {
            let (typed, deed) = match (self.typed, byte) {
                (Typed::Nothing, &ESCAPE_FIRST) => (Typed::First, None),
                (Typed::First, &ESCAPE_SECOND) => (Typed::Second, None),
                (Typed::Second, b'l') => (Typed::Line, None),
                (Typed::Second, byte) => (Typed::Nothing, of_key(*byte)),
                (Typed::Line, b'0') => (Typed::Nothing, Some(Deed::Send(Frame::Break))),
                (Typed::Line, _) => (Typed::Nothing, Some(Deed::Help)),
                (Typed::First, &ESCAPE_FIRST) => {
                    data.push(ESCAPE_FIRST);
                    (Typed::Nothing, None)
                }
                (Typed::First, byte) => {
                    data.extend([ESCAPE_FIRST, *byte]);
                    (Typed::Nothing, None)
                }
                (Typed::Nothing, byte) => {
                    data.push(*byte);
                    (Typed::Nothing, None)
                }
            };
            self.typed = typed;
            if let Some(deed) = deed {
                push_data(&mut deeds, &mut data);
                deeds.push(deed);
            }
        }
        push_data(&mut deeds, &mut data);
        deeds
    }
}

fn push_data(deeds: &mut Vec<Deed>, data: &mut Vec<u8>) {
    if !data.is_empty() {
        deeds.push(Deed::Send(Frame::Data(std::mem::take(data))));
    }
}

/// What the key after `^Ec` does; Enter does nothing.
fn of_key(key: u8) -> Option<Deed> {
    Some(match key {
        b'.' => Deed::Leave,
        b'f' | b'a' => Deed::Send(Frame::Take),
        b's' => Deed::Send(Frame::Watch),
        b'o' => Deed::Send(Frame::Reopen),
        b'b' => Deed::Send(Frame::Break),
        b'w' => Deed::Send(Frame::Who),
        b'\r' | b'\n' => return None,
        _ => Deed::Help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let data = |bytes: &[u8]| Deed::Send(Frame::Data(bytes.to_vec()));
        for (parts, expected) in [
            (vec![&b"ls\r"[..]], vec![data(b"ls\r")]),
            (vec![b"a\x05c.b"], vec![data(b"a"), Deed::Leave, data(b"b")]),
            (vec![b"\x05", b"c", b"f"], vec![Deed::Send(Frame::Take)]),
            (vec![b"\x05cs\x05co\x05cw"], [Frame::Watch, Frame::Reopen, Frame::Who].map(Deed::Send).into()),
            (vec![b"\x05cl0\x05cb"], [Frame::Break, Frame::Break].map(Deed::Send).into()),
            (vec![b"\x05c\r", b"x"], vec![data(b"x")]),
            (vec![b"\x05x\x05\x05y"], vec![data(b"\x05x\x05y")]),
            (vec![b"\x05c?\x05cz"], vec![Deed::Help, Deed::Help]),
        ] {
            let mut keys = Keys::default();
            let deeds: Vec<Deed> = parts.iter().flat_map(|part| keys.take(part)).collect();
            assert_eq!(deeds, expected, "{parts:?}");
        }
    }
}
