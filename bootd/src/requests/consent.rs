//! Proof that root of the calling machine wants the answer: only root can listen below port 1024.
//!
//! The daemon connects back to the caller's own address, asks `CREDOKBYYOU?` and must read a line with
//! `CREDOKBYME`. A user of the node, or someone who only sends packets under its address, gets nothing.
//! Anyone who does not answer in time costs one command slot for [`ANSWER_TIME_MAX`], and never more than
//! [`PROOFS_MAX`] of them, of which one address has [`PROOFS_PER_ADDRESS_MAX`].

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for connection and answer together.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Proofs under way at once: a fraction of the command slots.
const PROOFS_MAX: usize = 16;
/// Those of one address: a node that does not answer costs no other node its proof.
const PROOFS_PER_ADDRESS_MAX: usize = 2;
/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 256;
/// Ports that only root may listen on end here.
const PRIVILEGED_PORTS_END: u16 = 1024;

/// Addresses that are being asked.
static UNDER_WAY: Mutex<Vec<IpAddr>> = Mutex::new(Vec::new());

struct Slot(IpAddr);

impl Slot {
    fn take(ip: IpAddr) -> Option<Slot> {
        let mut asked = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = asked.iter().filter(|other| **other == ip).count();
        if asked.len() >= PROOFS_MAX || of_this >= PROOFS_PER_ADDRESS_MAX {
            return None;
        }
        asked.push(ip);
        Some(Slot(ip))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut asked = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = asked.iter().position(|ip| *ip == self.0) {
            asked.swap_remove(at);
        }
    }
}

/// Whether root at this address consents, asked on a privileged port.
pub fn is_given(ip: IpAddr, port: u16) -> bool {
    if port == 0 || port >= PRIVILEGED_PORTS_END {
        return false;
    }
    let Some(_slot) = Slot::take(ip) else { return false };
    answers(SocketAddr::new(ip, port), ANSWER_TIME_MAX).unwrap_or(false)
}

fn answers(address: SocketAddr, time_max: Duration) -> std::io::Result<bool> {
    let end = Instant::now() + time_max;
    let mut stream = TcpStream::connect_timeout(&address, time_max)?;
    stream.set_write_timeout(Some(time_max))?;
    stream.write_all(b"CREDOKBYYOU?\n")?;
    let mut said = Vec::new();
    while said.len() < ANSWER_BYTES_MAX && !said.contains(&b'\n') {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; ANSWER_BYTES_MAX];
        match stream.read(&mut chunk)? {
            0 => break,
            count => said.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    }
    Ok(said.trim_ascii() == b"CREDOKBYME")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;

    #[test]
    fn only_the_right_words_in_time() {
        for (reply, expected) in
            [("CREDOKBYME\n", true), ("220 x CREDOKBYME\n", false), ("no\n", false), ("", false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let node = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                std::io::BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                stream.write_all(reply.as_bytes()).unwrap();
                line
            });
            assert_eq!(answers(address, ANSWER_TIME_MAX).unwrap_or(false), expected, "{reply}");
            assert_eq!(node.join().unwrap(), "CREDOKBYYOU?\n");
        }
    }

    #[test]
    fn an_address_leaves_places_to_others() {
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let held: Vec<Slot> = (0..PROOFS_PER_ADDRESS_MAX).filter_map(|_| Slot::take(one)).collect();
        assert!(
            held.len() == PROOFS_PER_ADDRESS_MAX && Slot::take(one).is_none() && Slot::take(other).is_some()
        );
        drop(held);
        assert!(Slot::take(one).is_some());
    }

    #[test]
    fn a_port_that_anybody_may_open_proves_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_given(address.ip(), address.port()));
        // A listener that does not answer is given up.
        assert!(!answers(address, Duration::from_millis(50)).unwrap_or(false));
    }
}
