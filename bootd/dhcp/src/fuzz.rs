//! The entry for fuzzers: any bytes go through the reader, through engines in different situations, and what
//! the engines answer must be readable. Panics when a property does not hold, which is what a fuzzer looks
//! for.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use dhcproto::{Decodable, Decoder, v4};

use crate::boot::BootRule;
use crate::directory::{Mode, Network, Range, Reservation};
use crate::engine::{Engine, Incoming, Interface, Output, PORT_PXE, Settings};
use crate::fixed::FixedDirectory;
use crate::hwaddr::HwAddr;
use crate::lease::record::{Format, Record, read_all};
use crate::probe;
use crate::time::Time;
use crate::wire::packet::HEADER_BYTES;
use crate::wire::writer::MESSAGE_BYTES_MAX;

thread_local! {
    static ENGINES: RefCell<Vec<Engine>> = RefCell::new([Mode::Authoritative, Mode::Proxy].map(engine).into());
}

/// One packet of any bytes, to an authoritative engine and to one next to another server, at both ports. The
/// engines keep what earlier packets did to them. The reader of offers takes the packet as an answer, too.
pub fn fuzz_packet(bytes: &[u8]) {
    if let Some(xid) = bytes.get(4..).and_then(<[u8]>::first_chunk) {
        let _ = probe::offer(bytes, *xid);
    }
    ENGINES.with_borrow_mut(|engines| {
        let mut out = Output::default();
        for (n, engine) in engines.iter_mut().enumerate() {
            for port in [67, PORT_PXE] {
                let now = Time::from_millis(1_700_000_000_000 + engine.counters().received * 400);
                let incoming = Incoming {
                    bytes,
                    interface: 2,
                    local: if n == 0 { Ipv4Addr::BROADCAST } else { Ipv4Addr::new(10, 0, 0, 1) },
                    port,
                    source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 68),
                };
                engine.handle(now, &incoming, &mut out);
                engine.tick(now + 300, &mut out);
                check(&out);
                out.clear();
            }
        }
    });
}

/// Any bytes as a journal of either format: reading ends, what was read can be written and read again, and
/// what is written after any bytes is found.
pub fn fuzz_journal(bytes: &[u8]) {
    for format in [Format::Marked, Format::Unmarked] {
        let found = read_all(bytes, format);
        assert!(found.end + found.tail_bytes <= bytes.len() && found.gap_bytes <= found.end);
        let mut again = Vec::new();
        found.records.iter().for_each(|(record, _)| record.write(&mut again));
        assert_eq!(read_all(&again, Format::Marked).records.len(), found.records.len());
    }
    let last = Record::Forget(Ipv4Addr::new(10, 0, 0, 1));
    let mut after = bytes.to_vec();
    last.write(&mut after);
    let found = read_all(&after, Format::Marked);
    assert_eq!(found.records.last().map(|(record, _)| record), Some(&last));
}

fn check(out: &Output) {
    for outgoing in &out.send {
        assert!(outgoing.bytes.len() > HEADER_BYTES && outgoing.bytes.len() <= MESSAGE_BYTES_MAX);
        let decoded = v4::Message::decode(&mut Decoder::new(&outgoing.bytes));
        assert!(decoded.is_ok_and(|message| message.opcode() == v4::Opcode::BootReply));
    }
}

fn engine(mode: Mode) -> Engine {
    let mut network = Network::new("fuzz", Ipv4Addr::new(10, 0, 0, 0), 24);
    network.mode = mode;
    network.ranges =
        Range::new(Ipv4Addr::new(10, 0, 0, 100), Ipv4Addr::new(10, 0, 0, 110)).into_iter().collect();
    network.search = vec!["example.com".into()];
    network.domain = Some("d".repeat(300));
    let node = Reservation {
        node: "cn1".into(),
        hostname: "cn1".into(),
        address: Some(Ipv4Addr::new(10, 0, 0, 5)),
        no_ip: false,
        next_server: None,
        boot: BootRule::Xnba { script: "nodes/cn1".into(), uefi: true },
        options: vec![(224, vec![7; 400])],
    };
    let directory = FixedDirectory::new(vec![network], [(HwAddr::ethernet([2, 0, 0, 0, 0, 1]), node)]);
    let addresses = vec![(Ipv4Addr::new(10, 0, 0, 1), 24)];
    let interfaces = vec![Interface { index: 2, name: "eth0".into(), addresses }];
    Engine::new(Settings::default(), Arc::new(directory), interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{code, packet::COOKIE};

    /// Found by a fuzzer: option 82 in many pieces was echoed whole, in an answer longer than a frame.
    #[test]
    fn relay_information_of_many_pieces_keeps_the_answer_in_a_frame() {
        let mut packet = vec![0; HEADER_BYTES - COOKIE.len()];
        packet[..4].copy_from_slice(&[1, 1, 6, 0]);
        packet[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        packet.extend(COOKIE);
        packet.extend([53, 1, 1]);
        for _ in 0..6 {
            packet.extend([code::RELAY_INFO, 255]);
            packet.extend([1; 255]);
        }
        packet.push(code::END);
        fuzz_packet(&packet);
    }
}
