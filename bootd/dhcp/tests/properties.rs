//! What must hold for any behaviour of clients: seeded crowds of clients, and mutated packets. A failure
//! names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use dawn_dhcp::boot::BootRule;
use dawn_dhcp::directory::{Network, Range, Reservation};
use dawn_dhcp::engine::{Engine, Incoming, Interface, Output, Settings};
use dawn_dhcp::fixed::FixedDirectory;
use dawn_dhcp::fuzz::{fuzz_journal, fuzz_packet};
use dawn_dhcp::lease::record::Record;
use dawn_dhcp::lease::{Lease, State};
use dawn_dhcp::{HwAddr, Time};
use dhcproto::{Decodable, Decoder, v4};
use support::client::Request;
use support::stage::START;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const NODES: u8 = 8;
/// Dynamic addresses without edges, the server's and those of nodes.
const USABLE: usize = 20;
const CLIENTS: u64 = 40;
const STEPS: usize = 3000;
const SEEDS: u64 = 24;

/// xorshift64*: enough to make different crowds.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// A crowd of clients on one link, more than there are addresses, with a server that is killed now and then.
struct Crowd {
    random: Random,
    engine: Engine,
    directory: Arc<FixedDirectory>,
    now: Time,
    disk: HashMap<Ipv4Addr, Lease>,
    /// What each client was given, and until when.
    held: HashMap<HwAddr, (Ipv4Addr, Time)>,
    offered: HashMap<HwAddr, Ipv4Addr>,
    /// Machines that chose their own addresses answer probes.
    strangers: bool,
}

fn mac(n: u64) -> [u8; 6] {
    [2, 0, 0, 0, 0, n as u8]
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let mut network = Network::new("n", Ipv4Addr::new(10, 0, 0, 0), 24);
        network.lease_seconds = 900;
        network.ranges = vec![
            Range::new(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 19)).unwrap(),
            Range::new(Ipv4Addr::new(10, 0, 0, 250), Ipv4Addr::new(10, 0, 0, 255)).unwrap(),
        ];
        let nodes = (0..NODES).map(|n| {
            let reservation = Reservation {
                node: format!("cn{n}").into(),
                hostname: format!("cn{n}"),
                // Some nodes have addresses in the middle of the dynamic range.
                address: Some(Ipv4Addr::new(10, 0, 0, 5 + 7 * n)),
                no_ip: false,
                next_server: None,
                boot: BootRule::Disk,
                options: Vec::new(),
            };
            (HwAddr::ethernet(mac(u64::from(n))), reservation)
        });
        let directory = Arc::new(FixedDirectory::new(vec![network], nodes));
        let engine = Self::engine(&directory);
        Self {
            random: Random(seed + 1),
            engine,
            directory,
            now: START,
            disk: HashMap::new(),
            held: HashMap::new(),
            offered: HashMap::new(),
            strangers: true,
        }
    }

    fn engine(directory: &Arc<FixedDirectory>) -> Engine {
        let interface = Interface { index: 2, name: "eth0".into(), addresses: vec![(SERVER, 24)] };
        let settings = Settings { client_burst: 1000, client_per_second: 1000, ..Settings::default() };
        Engine::new(settings, directory.clone(), vec![interface])
    }

    fn step(&mut self) {
        let client = self.random.below(CLIENTS);
        let hw = HwAddr::ethernet(mac(client));
        let any = Ipv4Addr::new(10, 0, 0, self.random.below(256) as u8);
        let offered = self.offered.get(&hw).copied();
        let held = self.held.get(&hw).map(|(address, _)| *address);
        let request = match self.random.below(20) {
            0..6 => Request::new(1, &mac(client)).option(93, &[0, [0, 7][client as usize % 2]]),
            6..12 => Request::new(3, &mac(client))
                .option(50, &offered.unwrap_or(any).octets())
                .option(54, &SERVER.octets()),
            12 => Request::new(3, &mac(client)).option(50, &held.unwrap_or(any).octets()),
            13 => Request { ciaddr: held, ..Request::new(3, &mac(client)) },
            14 => {
                self.held.remove(&hw);
                Request { ciaddr: held, ..Request::new(7, &mac(client)) }
            }
            15 => {
                self.held.remove(&hw);
                Request::new(4, &mac(client)).option(50, &held.unwrap_or(any).octets())
            }
            16 => return self.restart(),
            17 => Request::new(0, &mac(client)),
            _ => {
                self.now = self.now + self.random.below(300_000);
                return self.tick();
            }
        };
        self.send(&request);
        self.tick();
    }

    fn send(&mut self, request: &Request) {
        let bytes = request.bytes();
        let source = SocketAddrV4::new(request.ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED), 68);
        let local = if request.ciaddr.is_some() { SERVER } else { Ipv4Addr::BROADCAST };
        let incoming = Incoming { bytes: &bytes, interface: 2, local, port: 67, source };
        let mut out = Output::default();
        self.engine.handle(self.now, &incoming, &mut out);
        self.take(out);
    }

    fn tick(&mut self) {
        let mut out = Output::default();
        // Now and then someone answers a probe.
        if self.strangers && self.random.below(30) == 0 {
            let address = Ipv4Addr::new(10, 0, 0, self.random.below(20) as u8);
            self.engine.probe_answered(self.now, address, None, &mut out);
        }
        if self.random.below(3) > 0 {
            self.now = self.now + 260;
        }
        self.engine.tick(self.now, &mut out);
        self.take(out);
    }

    /// The daemon is killed: what is on disk remains.
    fn restart(&mut self) {
        self.engine = Self::engine(&self.directory);
        self.engine.restore(self.disk.values().cloned());
    }

    /// The disk takes the records, or fails; then the answers reach the clients or do not.
    fn take(&mut self, out: Output) {
        let fails = !out.records.is_empty() && self.random.below(40) == 0;
        let mut more = Output::default();
        if fails {
            self.engine.journal_failed(self.now, &out.records, "full", &mut more);
            self.engine.journal_recovered(self.now, &mut more);
        } else {
            for record in &out.records {
                match record {
                    Record::Lease(lease) => drop(self.disk.insert(lease.address, lease.clone())),
                    Record::Forget(address) => drop(self.disk.remove(address)),
                }
            }
        }
        for outgoing in out.send.iter().filter(|outgoing| !(fails && outgoing.durable)) {
            let message = v4::Message::decode(&mut Decoder::new(&outgoing.bytes)).unwrap();
            self.answered(&message);
        }
    }

    fn answered(&mut self, message: &v4::Message) {
        let hw = HwAddr::new(1, message.chaddr()).unwrap();
        let address = message.yiaddr();
        let seconds = match message.opts().get(v4::OptionCode::AddressLeaseTime) {
            Some(v4::DhcpOption::AddressLeaseTime(seconds)) => *seconds,
            _ => 900,
        };
        match message.opts().msg_type() {
            Some(v4::MessageType::Offer) => drop(self.offered.insert(hw, address)),
            Some(v4::MessageType::Nak) => drop(self.held.remove(&hw)),
            _ => {
                self.check(hw, address);
                self.held.insert(hw, (address, self.now.plus_seconds(seconds)));
            }
        }
    }

    /// Two days after the last client (BOOTP leases last one) every dynamic address can be had again: none
    /// was lost on the way.
    fn whole_pool_is_free_in_the_end(&mut self) {
        self.strangers = false;
        self.now = self.now.plus_seconds(2 * 86_400);
        self.tick();
        // An offer that waited for its probe has run out too.
        self.now = self.now.plus_seconds(120);
        self.tick();
        self.offered.clear();
        for client in 100..130 {
            self.send(&Request::new(1, &mac(client)));
        }
        self.now = self.now + 1000;
        self.tick();
        assert_eq!(self.offered.len(), USABLE, "{:?}", self.offered);
    }

    /// An address is given to one machine at a time, nodes get their own, and no machine gets an edge or the
    /// server's.
    fn check(&self, hw: HwAddr, address: Ipv4Addr) {
        let last = address.octets()[3];
        assert!(![0, 1, 255].contains(&last), "{address}");
        let client = hw.bytes()[5];
        let owner = (0..NODES).find(|n| 5 + 7 * n == last);
        assert_eq!(owner.is_some() || client < NODES, owner == Some(client), "{address} for {client}");
        for (other, (held, until)) in self.held.iter().filter(|(other, _)| **other != hw) {
            assert!(*held != address || *until <= self.now, "{address} for {hw} while {other} has it");
        }
        if client >= NODES {
            let disk = self.disk.get(&address).expect("acknowledged before it was on disk");
            assert_eq!((disk.hw, disk.state), (hw, State::Bound));
        }
    }
}

#[test]
fn no_address_is_given_twice() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut crowd = Crowd::new(seed);
            (0..STEPS).for_each(|_| crowd.step());
            crowd.whole_pool_is_free_in_the_end();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn mutated_packets_do_no_harm() {
    let vendor = b"PXEClient:Arch:00007:UNDI:003001";
    let kinds = [0_u8, 1, 3, 4, 7, 8];
    let mut random = Random(7);
    for n in 0..30_000 {
        let kind = kinds[random.below(6) as usize];
        let request = Request::new(kind, &mac(random.below(4)))
            .option(50, &[10, 0, 0, random.below(128) as u8])
            .option(55, &[1, 3, 6, 12, 15, 43, 66, 67, 119, 175, 224])
            .option(57, &(random.below(1600) as u16).to_be_bytes())
            .option(60, vendor)
            .option(82, &[1, 2, 3, 4, 5, 4, 10, 0, 0, 0])
            .option(93, &[0, random.below(20) as u8]);
        let mut bytes = request.bytes();
        for _ in 0..random.below(12) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        if n % 5 == 0 {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
        }
        fuzz_packet(&bytes);
        fuzz_journal(&bytes);
    }
}
