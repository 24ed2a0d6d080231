//! Proof that root of this node asks for credentials: the server connects back to port 300, which only root
//! can open, and wants to read a word.
//!
//! `/run/dawn/init consent` answers until it is ended or [`CONSENT_SECONDS_MAX`] have passed. Post scripts
//! start it while they ask; with xCAT's scripts `allowcred.awk` does this. The discovery system answers by
//! itself while it asks ([`while_asking`]).

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::log;
use crate::sys;

/// The port of xCAT's scripts.
const PORT: u16 = 300;
/// The answer to each connection.
const WORD: &[u8] = b"CREDOKBYME\n";
/// How long the answer is given, in seconds: a script that dies must not leave the listener open.
const CONSENT_SECONDS_MAX: u64 = 300;
/// Time for the answer to be taken, in seconds.
const WRITE_SECONDS_MAX: u64 = 5;
/// Pause between two looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 50;

/// Answers until the time is over.
pub(crate) fn give() -> ExitCode {
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)) {
        Ok(listener) => {
            answer(&listener, Instant::now() + Duration::from_secs(CONSENT_SECONDS_MAX));
            ExitCode::SUCCESS
        }
        Err(cause) => {
            log::problem(&format!("cannot listen on port {PORT}: {cause}"));
            ExitCode::FAILURE
        }
    }
}

/// Answers while something is asked that needs it.
pub(crate) fn while_asking<T>(ask: impl FnOnce() -> T) -> io::Result<T> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    let is_over = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(CONSENT_SECONDS_MAX);
    Ok(std::thread::scope(|scope| {
        scope.spawn(|| answer_until(&listener, || is_over.load(Ordering::Relaxed) || Instant::now() >= end));
        let asked = ask();
        is_over.store(true, Ordering::Relaxed);
        asked
    }))
}

fn answer(listener: &TcpListener, end: Instant) {
    answer_until(listener, || Instant::now() >= end);
}

fn answer_until(listener: &TcpListener, is_over: impl Fn() -> bool) {
    let quiet = listener.set_nonblocking(true);
    while quiet.is_ok() && !is_over() {
        match listener.accept() {
            Ok((stream, _)) => {
                // The server asks again if it did not get the answer.
                let _ = say(stream);
            }
            Err(_) => sys::pause(Duration::from_millis(LOOK_PAUSE_MS)),
        }
    }
}

fn say(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let patience = Some(Duration::from_secs(WRITE_SECONDS_MAX));
    stream.set_write_timeout(patience)?;
    stream.set_read_timeout(patience)?;
    stream.write_all(WORD)?;
    // A question that was not read would make the kernel throw the answer away.
    let mut question = [0; 64];
    io::Read::read(&mut stream, &mut question).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_word_is_said_to_each() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || answer(&listener, Instant::now() + Duration::from_secs(2)));
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"CREDOKBYYOU?\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "CREDOKBYME\n");
        }
        thread.join().unwrap();
    }
}
