//! BMCs that are simulated by another process of a bench, each with an address of loopback.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dawn_ipmi::sim::{Bmc, Habits};
use dawn_ipmi::{Credentials, Secret, Seed};
use tokio::net::UdpSocket;

/// The user that all have.
pub(crate) const USER: &str = "ADMIN";
pub(crate) const PASSWORD: &str = "ADMINPW";
/// Addresses of one third number.
pub(crate) const PER_NET: u32 = 250;

/// What lets a client in.
pub(crate) fn credentials() -> Credentials {
    Credentials::new(USER, Secret::new(PASSWORD.as_bytes())).unwrap()
}

/// Where a BMC is.
pub(crate) fn address(number: u32) -> Ipv4Addr {
    let (net, last) = (number / PER_NET, number % PER_NET + 1);
    Ipv4Addr::new(127, 9, u8::try_from(net).unwrap(), u8::try_from(last).unwrap())
}

/// Time on a processor of this thread.
pub(crate) fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Another process of this program, which ends when this is dropped, and its first line.
pub(crate) struct Peer(Child, pub String);

impl Peer {
    pub(crate) fn start(words: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.args(words).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self(child, line)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves BMCs for ever, after the line `ready`; some have an open port but do not answer.
pub(crate) async fn serve(count: u32, port: u16, is_dead: impl Fn(u32) -> bool) {
    let mut silent = Vec::new();
    for number in 0..count {
        let socket = UdpSocket::bind((address(number), port)).await.unwrap_or_else(|error| {
            panic!("{}: {error} (for thousands: ulimit -n 20000)", address(number));
        });
        if is_dead(number) {
            silent.push(socket);
            continue;
        }
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let mut bmc = Bmc::new(credentials(), Habits::default(), Seed(seed));
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                for answer in bmc.on_datagram(&buffer[..length]).answers {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
    }
    println!("ready");
    std::future::pending::<()>().await;
}
