//! Words for machines that wait: one line to TCP port 3001 of the machine (xCAT's protocol), and the MAC that
//! the kernel knows for its address.
//!
//! A machine that cannot be reached sends its packet again, so a word that is lost is no harm.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dawn_cluster::MacAddr;
use dawn_wire::status::port;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::timeout;

/// Time to say a word.
const TIME_MAX: Duration = Duration::from_secs(3);
/// Words that are being said at once; further ones wait.
const AT_ONCE_MAX: usize = 512;
/// Words that wait; further ones are left out.
const WAITING_MAX: usize = 512;

/// What is sent to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Its packet is being looked at.
    Processing,
    /// There is no node for it.
    Processed,
    /// It is a node: it should ask for its lease again.
    Restart,
}

impl Word {
    fn line(self) -> &'static [u8] {
        match self {
            Self::Processing => b"processing\n",
            Self::Processed => b"processed\n",
            Self::Restart => b"restart\n",
        }
    }
}

/// Words on their way, each with its machine. What is put here waits until [`Words::say`] takes it.
pub(super) struct Words {
    ways_in: Sender<(IpAddr, Word)>,
    waiting: AsyncMutex<Receiver<(IpAddr, Word)>>,
}

impl Default for Words {
    fn default() -> Self {
        let (ways_in, waiting) = channel(WAITING_MAX);
        Self { ways_in, waiting: AsyncMutex::new(waiting) }
    }
}

impl Words {
    /// A word for a machine. False if it is left out because too many wait.
    pub(super) fn put(&self, to: IpAddr, word: Word) -> bool {
        let has_room = self.ways_in.try_send((to, word)).is_ok();
        if !has_room {
            tracing::debug!(%to, ?word, "too many machines wait for a word");
        }
        has_room
    }

    /// Says the words, at most [`AT_ONCE_MAX`] at once, as long as its runtime is there.
    pub(super) async fn say(&self) {
        let mut waiting = self.waiting.lock().await;
        let speaking = Arc::new(Semaphore::new(AT_ONCE_MAX));
        while let Some((to, word)) = waiting.recv().await {
            let Ok(permit) = Arc::clone(&speaking).acquire_owned().await else { return };
            tokio::spawn(async move {
                say_one(to, word).await;
                drop(permit);
            });
        }
    }
}

async fn say_one(to: IpAddr, word: Word) {
    let said = timeout(TIME_MAX, async {
        let mut stream = tokio::net::TcpStream::connect(SocketAddr::new(to, port::XCATD)).await?;
        stream.write_all(word.line()).await?;
        stream.shutdown().await
    });
    match said.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%to, ?word, %error, "the machine cannot be reached"),
        Err(_) => tracing::debug!(%to, ?word, "a machine does not listen"),
    }
}

/// The same for a command, which has no runtime. The thread ends within [`TIME_MAX`].
pub(super) fn tell_from_a_thread(to: IpAddr, word: Word) {
    let address = SocketAddr::new(to, port::XCATD);
    let speak = move || {
        let said = TcpStream::connect_timeout(&address, TIME_MAX).and_then(|mut stream| {
            stream.set_write_timeout(Some(TIME_MAX))?;
            stream.write_all(word.line())
        });
        if let Err(error) = said {
            tracing::debug!(%to, ?word, %error, "the machine cannot be reached");
        }
    };
    drop(std::thread::Builder::new().name("discovery-word".to_owned()).spawn(speak));
}

/// The MAC of a neighbour on one of our links, as the kernel has it after the packet came.
pub(super) fn mac_of(address: IpAddr) -> Option<MacAddr> {
    mac_in(&fs::read_to_string("/proc/net/arp").ok()?, address)
}

fn mac_in(table: &str, address: IpAddr) -> Option<MacAddr> {
    let wanted = address.to_string();
    let mut lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.first() == Some(&wanted.as_str()))?;
    let mac: MacAddr = line.get(3)?.parse().ok()?;
    (mac.0 != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_neighbours() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.1.255.17      0x1         0x2         52:54:00:00:00:01     *        br0\n\
                     10.1.255.18      0x1         0x0         00:00:00:00:00:00     *        br0\n";
        let mac = |last: u8| mac_in(table, IpAddr::from([10, 1, 255, last])).map(|mac| mac.to_string());
        assert_eq!(mac(17).as_deref(), Some("52:54:00:00:00:01"));
        assert_eq!((mac(18), mac(19)), (None, None));
        assert_eq!(mac_in("", IpAddr::from([1, 1, 1, 1])), None);
    }
}
