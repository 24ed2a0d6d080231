//! The machines: each sends its packet from its own address, repeats it as `/init` does, and listens for
//! words.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::plan::{self, Plan};
use super::world::SERVER;

/// First pause between two packets of a machine, and the one after a word.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_AFTER_WORD: Duration = Duration::from_secs(60);
/// Longer than this is not worth waiting for.
const TIME_MAX: Duration = Duration::from_secs(600);

/// What it took.
pub(crate) struct Taken {
    pub(crate) time: Duration,
    pub(crate) packets: u32,
}

/// Ends when every machine was called a node.
pub(crate) fn storm(plan: &Plan) -> Taken {
    let packets: Vec<String> = (0..plan.machines).map(packet).collect();
    let words = listen();
    let start = Instant::now();
    let count = plan.machines.max(1);
    let mut timers: BinaryHeap<Reverse<(Instant, u32)>> =
        (0..plan.machines).map(|machine| Reverse((start + plan.spread * machine / count, machine))).collect();
    let mut next: Vec<Instant> = vec![start; packets.len()];
    let mut is_done = vec![false; packets.len()];
    let (mut sent, mut left) = (0, plan.machines);
    while left > 0 {
        assert!(start.elapsed() < TIME_MAX, "{left} machines wait for a node");
        while let Some(Reverse((time, machine))) = timers.peek().copied()
            && time <= Instant::now()
        {
            timers.pop();
            let at = machine as usize;
            if is_done[at] || time < next[at] {
                continue;
            }
            let socket = UdpSocket::bind((plan::lease(machine), 301)).expect("root may use port 301");
            socket.send_to(packets[at].as_bytes(), (SERVER, 3001)).expect("the server's network");
            sent += 1;
            next[at] = time + PAUSE;
            timers.push(Reverse((next[at], machine)));
        }
        let wait =
            timers.peek().map_or(PAUSE, |Reverse((time, _))| time.saturating_duration_since(Instant::now()));
        let Ok((address, word)) = words.recv_timeout(wait) else { continue };
        let machine = u32::from(address) - u32::from(plan::lease(0));
        let at = machine as usize;
        if word.trim() == "restart" {
            left -= u32::from(!is_done[at]);
            is_done[at] = true;
        } else {
            next[at] = Instant::now() + PAUSE_AFTER_WORD;
            timers.push(Reverse((next[at], machine)));
        }
    }
    Taken { time: start.elapsed(), packets: sent }
}

fn packet(machine: u32) -> String {
    let (mac, lease) = (plan::mac_text(machine).to_uppercase(), plan::lease(machine));
    format!(
        "<xcatrequest>\n<command>findme</command>\n<sequential>1</sequential>\n<arch>x86_64</arch>\n\
         <cpucount>32</cpucount>\n<memory>128645MB</memory>\n<disksize>sda:960GB</disksize>\n\
         <mac>i40e|eno1|{mac}|{lease}/16</mac>\n<nic>\n<devname>eno1</devname>\n<driver>i40e</driver>\n\
         <ip4address>{lease}/16</ip4address>\n<hwaddr>{mac}</hwaddr>\n</nic>\n</xcatrequest>\n"
    )
}

/// Words as they come, each with the address of the machine that it is for.
fn listen() -> mpsc::Receiver<(Ipv4Addr, String)> {
    let (sender, words) = mpsc::channel();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 3001)).expect("port 3001");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let SocketAddr::V4(to) = stream.local_addr().unwrap() else { continue };
            let mut word = String::new();
            if stream.read_to_string(&mut word).is_ok() {
                let _ = sender.send((*to.ip(), word));
            }
        }
    });
    words
}
