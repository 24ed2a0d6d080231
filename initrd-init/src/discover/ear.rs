//! What the server pushes: a word on TCP port 3001 of the machine (xCAT's protocol).
//!
//! Only the server is heard; others are closed without an answer. One connection at a time, one short line
//! each, so nothing can pile up.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dawn_wire::status::port;

use crate::log;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 512;
/// Time for a line to come, in seconds.
const LINE_SECONDS_MAX: u64 = 2;
/// Words that wait to be looked at; more are dropped, the server says them again.
const WORDS_MAX: usize = 8;

/// What the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has the packet and looks for a node.
    Processing,
    /// There is no node for it.
    Processed,
    /// Ask for a lease again, and then for the destiny.
    Restart,
}

/// The listener.
pub(super) struct Ear {
    words: Mutex<Receiver<Word>>,
    server: Arc<AtomicU32>,
}

impl Ear {
    /// Listens on all addresses.
    pub(super) fn open() -> io::Result<Self> {
        Self::on(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port::XCATD))?)
    }

    fn on(listener: TcpListener) -> io::Result<Self> {
        let (sender, words) = sync_channel(WORDS_MAX);
        let server = Arc::new(AtomicU32::new(0));
        let known = Arc::clone(&server);
        std::thread::Builder::new().spawn(move || serve(&listener, &known, &sender))?;
        Ok(Self { words: Mutex::new(words), server })
    }

    /// From now on words of this server count.
    pub(super) fn listen_to(&mut self, server: Ipv4Addr) {
        self.server.store(server.into(), Ordering::Relaxed);
    }

    /// A word that has come, if one has.
    pub(super) fn word(&self) -> Option<Word> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok()
    }
}

fn serve(listener: &TcpListener, server: &AtomicU32, words: &SyncSender<Word>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let known = Ipv4Addr::from(server.load(Ordering::Relaxed));
        if stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical() == IpAddr::V4(known)) {
            match hear(&stream) {
                Ok(Some(word)) => drop(words.try_send(word)),
                Ok(None) => {}
                Err(cause) => log::debug(&format!("a word of the server: {cause}")),
            }
        }
    }
}

fn hear(stream: &TcpStream) -> io::Result<Option<Word>> {
    let patience = Some(Duration::from_secs(LINE_SECONDS_MAX));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let Some((word, answer)) = parse(&line) else { return Ok(None) };
    (&*stream).write_all(format!("{answer}\n").as_bytes())?;
    Ok(Some(word))
}

/// `restart` may name interfaces in parentheses; all of ours stay up in any case.
fn parse(line: &str) -> Option<(Word, &'static str)> {
    match line.split_whitespace().next()? {
        "processing" => Some((Word::Processing, "processing request")),
        "processed" => Some((Word::Processed, "finished request process")),
        "restart" => Some((Word::Restart, "restarting bootstrap process")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(parse("restart (eno1|eno2)\n").map(|(word, _)| word), Some(Word::Restart));
        assert_eq!(parse("processed").map(|(word, _)| word), Some(Word::Processed));
        assert_eq!(parse("\n"), None);
        assert_eq!(parse("reboot"), None);
    }

    fn say(address: std::net::SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        // The ear may close before it has read everything.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn only_the_server_is_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut ear = Ear::on(listener).unwrap();
        assert_eq!(say(address, "restart\n"), "");
        ear.listen_to(Ipv4Addr::LOCALHOST);
        assert_eq!(say(address, "nonsense\n"), "");
        assert_eq!(say(address, "processing\n"), "processing request\n");
        assert_eq!(say(address, "restart\n"), "restarting bootstrap process\n");
        let heard: Vec<Word> = std::iter::from_fn(|| ear.word()).collect();
        assert_eq!(heard, [Word::Processing, Word::Restart]);
    }
}
