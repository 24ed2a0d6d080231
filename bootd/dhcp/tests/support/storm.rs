//! A storm in virtual time: thousands of machines are switched on, and each goes from firmware by DHCP to the
//! loader by TFTP, from the loader by DHCP to script, kernel and initramfs by HTTP, to the system by DHCP,
//! over a network that loses, doubles and reorders, with a daemon that is killed and starts again. The
//! engines are the real ones (of HTTP all but the sockets, see `http`); everything follows from the seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use dawn_dhcp::boot::BootRule;
use dawn_dhcp::directory::{Network, Range, Reservation};
use dawn_dhcp::engine::{Engine, Incoming, Interface, Outgoing, Output, Settings};
use dawn_dhcp::fixed::FixedDirectory;
use dawn_dhcp::lease::Lease;
use dawn_dhcp::lease::record::Record;
use dawn_dhcp::{HwAddr, Time};
use dawn_serving::{Answer, Event as TftpEvent, Observer, Rendered, Request as TftpRequest, Source};
use dawn_tftp::limits::Limits;
use dawn_tftp::outbox::{Outbox, PortId, Route};
use dawn_tftp::server::Server as TftpServer;

use super::http::{PIECE_BYTES, ServerEnd};
use super::machine::{Action, Machine, Program};
use super::stage::START;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const FIRST_NODE: u32 = 0x0a01_0000;
const FIRST_DYNAMIC: u32 = 0x0a02_0000;
/// Time the DHCP thread needs for a packet, and packets its socket holds.
const SERVICE_US: u64 = 20;
const SOCKET_PACKETS: u64 = 8000;
/// How long the daemon is away when it is killed.
const AWAY_US: u64 = 1_000_000;
/// A machine that is not up after this much virtual time is stuck.
const LIMIT_US: u64 = 7_200_000_000;
/// A TCP segment that was lost at the end of a window, or a SYN, is sent again after this; then twice as
/// long.
const TCP_AGAIN_US: u64 = 1_000_000;
const TCP_TRIES_MAX: u32 = 7;
/// A reset that is lost is noticed by the loader's keep-alive.
const KEEPALIVE_US: u64 = 15_000_000;
/// One piece in so many times 1/loss ends in a reset.
const RESETS_PER_LOSS: u64 = 20;

/// The settings of the storm. Chances are of 1000.
#[derive(Debug, Clone)]
pub(crate) struct Storm {
    pub seed: u64,
    pub machines: u32,
    pub loss: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Machines without a reservation.
    pub unknown: u64,
    /// How often the daemon is killed while the machines boot.
    pub kills: u64,
    pub loader_bytes: usize,
    pub kernel_bytes: usize,
    pub initrd_bytes: usize,
    /// Bytes per second of the server's link, and bytes it holds before it drops.
    pub link_rate: u64,
    pub link_queue: u64,
    /// All are switched on within this time.
    pub spread_us: u64,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            seed: 1,
            machines: 1000,
            loss: 10,
            doubled: 5,
            reordered: 20,
            unknown: 300,
            kills: 2,
            loader_bytes: 75_000,
            kernel_bytes: 8_000_000,
            initrd_bytes: 3_000_000,
            link_rate: 117_000_000,
            link_queue: 4_000_000,
            spread_us: 2_000_000,
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    pub up: u32,
    /// Machines that had to start over, because firmware gave up.
    pub started_over: u32,
    pub packets: u64,
    pub acks: u64,
    /// Virtual time from power-on to the system's address, in milliseconds, sorted.
    pub boot_ms: Vec<u64>,
}

impl Outcome {
    /// The boot time that this share of the machines did not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&self, of_100: usize) -> u64 {
        let at = (self.boot_ms.len() * of_100 / 100).min(self.boot_ms.len().saturating_sub(1));
        self.boot_ms.get(at).copied().unwrap_or(0)
    }
}

/// splitmix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn chance(&mut self, of_1000: u64) -> bool {
        self.below(1000) < of_1000
    }
}

#[derive(Clone)]
enum What {
    Power(usize),
    Timer(usize),
    ToDhcp(usize, Vec<u8>),
    FromDhcp(usize, Vec<u8>),
    ToTftp(usize, PortId, Vec<u8>),
    FromTftp(usize, PortId, Vec<u8>),
    /// Bytes of the stream of this connection.
    ToHttp(usize, u64, Vec<u8>),
    /// Text, and then so many bytes of a body.
    FromHttp(usize, u64, Vec<u8>, u64),
    HttpGone(usize, u64),
    /// Records are on disk: their answers may leave. The number is the daemon's life they belong to.
    Durable(u32, Vec<Record>, Vec<Outgoing>),
    Kill,
    Back,
}

struct World<'a> {
    storm: &'a Storm,
    random: Random,
    now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, What>,
    number: u64,
    directory: Arc<FixedDirectory>,
    source: &'a dyn Source,
    observer: &'a dyn Observer,
    dhcp: Option<Engine>,
    tftp: Option<TftpServer<'a>>,
    life: u32,
    busy_us: u64,
    link_free_us: u64,
    http: HashMap<usize, (u64, ServerEnd)>,
    connections: u64,
    bulk_free_us: u64,
    disk: HashMap<Ipv4Addr, Lease>,
    machines: Vec<Machine>,
    by_address: HashMap<Ipv4Addr, usize>,
    outcome: Outcome,
}

/// Runs the storm; panics, with the seed, when something happened that must not.
pub(crate) fn run(storm: &Storm) -> Outcome {
    let loader: Arc<[u8]> = vec![7; storm.loader_bytes].into();
    let script: Arc<[u8]> = Arc::from(*b"tftpboot/xcat/kernel\ntftpboot/xcat/initrd\n");
    let kernel: Arc<[u8]> = vec![7; storm.kernel_bytes].into();
    let initrd: Arc<[u8]> = vec![7; storm.initrd_bytes].into();
    let source = move |request: &TftpRequest<'_>| {
        let content = match request.path.as_str() {
            "undionly.kpxe" | "snponly.efi" => &loader,
            "tftpboot/xcat/kernel" => &kernel,
            "tftpboot/xcat/initrd" => &initrd,
            path if path.starts_with("tftpboot/xcat/xnba/") => &script,
            _ => return Answer::NotFound,
        };
        Answer::Bytes(Rendered::new(Arc::clone(content), ""))
    };
    let observer = |_: &TftpEvent<'_>| ();
    let mut random = Random(storm.seed);
    let machines: Vec<Machine> = (0..storm.machines)
        .map(|n| Machine::new(n, !random.chance(storm.unknown), random.chance(500)))
        .collect();
    let mut world = World {
        storm,
        random,
        now_us: 0,
        queue: BinaryHeap::new(),
        events: HashMap::new(),
        number: 0,
        directory: Arc::new(directory(&machines)),
        source: &source,
        observer: &observer,
        dhcp: None,
        tftp: None,
        life: 0,
        busy_us: 0,
        link_free_us: 0,
        http: HashMap::new(),
        connections: 0,
        bulk_free_us: 0,
        disk: HashMap::new(),
        machines,
        by_address: HashMap::new(),
        outcome: Outcome::default(),
    };
    world.begin();
    world.run();
    world.finish()
}

fn directory(machines: &[Machine]) -> FixedDirectory {
    let mut network = Network::new("storm", Ipv4Addr::new(10, 0, 0, 0), 8);
    let last = (FIRST_DYNAMIC + 0xffff).into();
    network.ranges = Range::new(FIRST_DYNAMIC.into(), last).into_iter().collect();
    let nodes = machines.iter().filter(|machine| machine.known).map(|machine| {
        let reservation = Reservation {
            node: format!("cn{}", machine.number).into(),
            hostname: format!("cn{}", machine.number),
            address: Some((FIRST_NODE + machine.number).into()),
            no_ip: false,
            next_server: None,
            boot: BootRule::Xnba { script: format!("nodes/cn{}", machine.number), uefi: true },
            options: Vec::new(),
        };
        (HwAddr::ethernet(machine.mac()), reservation)
    });
    FixedDirectory::new(vec![network], nodes)
}

impl World<'_> {
    fn begin(&mut self) {
        self.start_daemon();
        for n in 0..self.machines.len() {
            let at = self.random.below(self.storm.spread_us);
            self.at(at, What::Power(n));
        }
        for _ in 0..self.storm.kills {
            let at = self.random.below(self.storm.spread_us * 3);
            self.at(at, What::Kill);
        }
    }

    fn start_daemon(&mut self) {
        self.life += 1;
        let interface = Interface { index: 2, name: "eth0".into(), addresses: vec![(SERVER, 8)] };
        let mut engine = Engine::new(Settings::default(), self.directory.clone(), vec![interface]);
        engine.restore(self.disk.values().cloned());
        self.dhcp = Some(engine);
        let ports = vec![PortId(1), PortId(2)];
        self.tftp = Some(TftpServer::new(Limits::default(), ports, self.source, self.observer));
        self.busy_us = self.now_us;
    }

    fn at(&mut self, at_us: u64, what: What) {
        self.number += 1;
        self.queue.push(Reverse((at_us, self.number)));
        self.events.insert(self.number, what);
    }

    fn time(&self) -> Time {
        START + self.now_us / 1000
    }

    fn tftp_time(&self) -> Duration {
        Duration::from_micros(self.now_us)
    }

    /// The time of a server's next timer.
    fn server_timer(&self) -> Option<u64> {
        let dhcp = self.dhcp.as_ref().and_then(Engine::next_timer).map(|at| at.millis_since(START) * 1000);
        let tftp = self.tftp.as_ref().and_then(TftpServer::deadline);
        let tftp = tftp.map(|at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        dhcp.into_iter().chain(tftp).min()
    }

    fn run(&mut self) {
        while usize::try_from(self.outcome.up).unwrap_or(0) < self.machines.len() {
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let timer = self.server_timer();
            let Some(at) = event.into_iter().chain(timer).min() else { return };
            self.now_us = self.now_us.max(at);
            assert!(self.now_us < LIMIT_US, "seed {}: stuck: {:?}", self.storm.seed, self.stuck());
            if timer.is_some_and(|timer| timer <= self.now_us) {
                self.tick();
            } else if let Some(Reverse((_, number))) = self.queue.pop()
                && let Some(what) = self.events.remove(&number)
            {
                self.happen(what);
            }
        }
    }

    fn stuck(&self) -> Vec<&Machine> {
        self.machines.iter().filter(|machine| machine.program != Program::Up).take(3).collect()
    }

    fn tick(&mut self) {
        let (time, tftp_time) = (self.time(), self.tftp_time());
        let mut out = Output::default();
        if let Some(engine) = &mut self.dhcp {
            engine.tick(time, &mut out);
        }
        self.take(out);
        let mut outbox = Outbox::default();
        if let Some(server) = &mut self.tftp
            && server.deadline().is_some_and(|at| at <= tftp_time)
        {
            server.on_timer(tftp_time, &mut outbox);
        }
        self.take_tftp(&outbox);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Power(n) => self.machine(n, |machine, now, random| machine.power(now, random)),
            What::Timer(n) => self.machine(n, |machine, now, random| machine.timer(now, random)),
            What::FromDhcp(n, bytes) => self.hear_dhcp(n, &bytes),
            What::FromTftp(n, port, bytes) => {
                self.machine(n, |machine, now, random| machine.tftp_packet(now, port, &bytes, random));
            }
            What::ToHttp(n, id, bytes) => self.reach_http(n, id, &bytes),
            What::FromHttp(n, id, text, body) => self.hear_http(n, id, &text, body),
            What::HttpGone(n, id) => self.http_gone(n, id),
            What::ToDhcp(n, bytes) => self.reach_dhcp(n, &bytes),
            What::ToTftp(n, port, bytes) => self.reach_tftp(n, port, &bytes),
            What::Durable(life, records, send) if life == self.life => self.durable(&records, send),
            What::Durable(..) => (),
            What::Kill => {
                (self.dhcp, self.tftp) = (None, None);
                self.reset_all();
                self.life += 1;
                self.at(self.now_us + AWAY_US, What::Back);
            }
            What::Back => self.start_daemon(),
        }
    }

    /// Lets a machine act, and carries out what it wants.
    fn machine(&mut self, n: usize, act: impl FnOnce(&mut Machine, u64, &mut Random) -> Vec<Action>) {
        let Some(machine) = self.machines.get_mut(n) else { return };
        let was_up = machine.program == Program::Up;
        let actions = act(machine, self.now_us, &mut self.random);
        let (is_up, started) = (machine.program == Program::Up, machine.powered_us);
        if is_up && !was_up {
            self.outcome.up += 1;
            self.outcome.boot_ms.push((self.now_us - started) / 1000);
        }
        for action in actions {
            match action {
                Action::Dhcp(bytes) => self.travel(self.now_us, What::ToDhcp(n, bytes)),
                Action::Tftp(port, bytes) => self.travel(self.now_us, What::ToTftp(n, port, bytes)),
                Action::Http(request) => self.connect(n, &request),
                Action::WakeAt(at_us) => self.at(at_us.max(self.now_us + 1), What::Timer(n)),
                Action::StartedOver => self.outcome.started_over += 1,
            }
        }
    }

    fn reach_dhcp(&mut self, n: usize, bytes: &[u8]) {
        let waiting = self.busy_us.saturating_sub(self.now_us) / SERVICE_US;
        let time = self.time();
        let Some(engine) = self.dhcp.as_mut().filter(|_| waiting < SOCKET_PACKETS) else { return };
        self.busy_us = self.busy_us.max(self.now_us) + SERVICE_US;
        self.outcome.packets += 1;
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let incoming = Incoming { bytes, interface: 2, local: Ipv4Addr::BROADCAST, port: 67, source };
        let mut out = Output::default();
        engine.handle(time, &incoming, &mut out);
        debug_assert!(n < self.machines.len());
        self.take(out);
    }

    /// Answers that wait for the disk leave when it has synced; the others at once.
    fn take(&mut self, out: Output) {
        let (waiting, free): (Vec<_>, Vec<_>) = out.send.into_iter().partition(|answer| answer.durable);
        free.into_iter().for_each(|answer| self.answer(answer));
        if !out.records.is_empty() || !waiting.is_empty() {
            let synced = self.now_us + 2000 + self.random.below(18_000);
            self.at(synced, What::Durable(self.life, out.records, waiting));
        }
    }

    fn durable(&mut self, records: &[Record], send: Vec<Outgoing>) {
        for record in records {
            match record {
                Record::Lease(lease) => drop(self.disk.insert(lease.address, lease.clone())),
                Record::Forget(address) => drop(self.disk.remove(address)),
            }
        }
        send.into_iter().for_each(|answer| self.answer(answer));
    }

    fn answer(&mut self, answer: Outgoing) {
        // chaddr says whose it is; broadcasts reach everyone, and everyone else drops them.
        let number = answer.bytes.get(30..34).and_then(|bytes| bytes.first_chunk::<4>());
        let Some(n) = number.map(|bytes| u32::from_be_bytes(*bytes)) else { return };
        let leaves = self.now_us.max(self.busy_us);
        self.link(leaves, What::FromDhcp(usize::try_from(n).unwrap_or(usize::MAX), answer.bytes));
    }

    fn hear_dhcp(&mut self, n: usize, bytes: &[u8]) {
        if bytes.get(242) == Some(&5) {
            self.outcome.acks += 1;
            let address = bytes.get(16..20).and_then(|b| b.first_chunk::<4>()).map(|b| Ipv4Addr::from(*b));
            self.check_ack(n, address.unwrap_or(Ipv4Addr::UNSPECIFIED));
        }
        self.machine(n, |machine, now, random| machine.dhcp_packet(now, bytes, random));
    }

    /// Nodes get their own address, others a dynamic one that no other machine has.
    fn check_ack(&mut self, n: usize, address: Ipv4Addr) {
        let seed = self.storm.seed;
        let Some(machine) = self.machines.get(n) else { return };
        if machine.known {
            assert_eq!(u32::from(address), FIRST_NODE + machine.number, "seed {seed}");
        } else {
            assert!((FIRST_DYNAMIC..FIRST_DYNAMIC + 0x1_0000).contains(&u32::from(address)), "seed {seed}");
            assert!(
                self.disk.contains_key(&address),
                "seed {seed}: {address} acknowledged before it was on disk"
            );
        }
        let holder = *self.by_address.entry(address).or_insert(n);
        assert_eq!(holder, n, "seed {seed}: {address} given to two machines");
    }

    fn reach_tftp(&mut self, n: usize, port: PortId, bytes: &[u8]) {
        let time = self.tftp_time();
        let Some(address) = self.machines.get(n).map(|machine| machine.address) else { return };
        let Some(server) = &mut self.tftp else { return };
        self.outcome.packets += 1;
        let route = Route { peer: SocketAddrV4::new(address, 2070), local: SERVER, port };
        let mut outbox = Outbox::default();
        server.on_datagram(time, dawn_tftp::server::Incoming { route, mtu: 1500 }, bytes, &mut outbox);
        self.take_tftp(&outbox);
    }

    fn take_tftp(&mut self, outbox: &Outbox) {
        for packet in outbox.packets() {
            let Some(n) = self.by_address.get(packet.route.peer.ip()).copied() else { continue };
            for bytes in outbox.split(packet) {
                self.link(self.now_us, What::FromTftp(n, packet.route.port, bytes.to_vec()));
            }
        }
    }

    /// Three packets, the request with the last: it may come in two parts. A SYN that is lost is sent again.
    fn connect(&mut self, n: usize, request: &[u8]) {
        self.connections += 1;
        let id = self.connections;
        self.http.insert(n, (id, ServerEnd::default()));
        match self.tcp_delay() {
            None => self.at(self.now_us + TCP_AGAIN_US * 120, What::HttpGone(n, id)),
            Some(delay) => {
                let cut = usize::try_from(self.random.below(request.len() as u64)).unwrap_or(0);
                let (first, rest) =
                    request.split_at(if self.random.chance(self.storm.reordered) { cut } else { 0 });
                if !first.is_empty() {
                    self.at(self.now_us + delay, What::ToHttp(n, id, first.to_vec()));
                }
                self.at(self.now_us + delay + 1, What::ToHttp(n, id, rest.to_vec()));
            }
        }
    }

    /// What loss costs something small on a stream; none when TCP gives up.
    fn tcp_delay(&mut self) -> Option<u64> {
        let tries = (0..TCP_TRIES_MAX).find(|_| !self.random.chance(self.storm.loss))?;
        Some(150 + TCP_AGAIN_US * ((1 << tries) - 1))
    }

    fn reach_http(&mut self, n: usize, id: u64, bytes: &[u8]) {
        if self.tftp.is_none() {
            // No server listens: refused.
            return self.at(self.now_us + 150, What::HttpGone(n, id));
        }
        let address = self.machines[n].address;
        let Some((_, end)) = self.http.get_mut(&n).filter(|(open, _)| *open == id) else { return };
        self.outcome.packets += 1;
        if let Some(sent) = end.take(self.source, address, bytes, SERVER) {
            match self.tcp_delay() {
                Some(delay) => self.at(self.now_us + delay, What::FromHttp(n, id, sent, 0)),
                None => self.at(self.now_us + KEEPALIVE_US, What::HttpGone(n, id)),
            }
        }
    }

    fn hear_http(&mut self, n: usize, id: u64, text: &[u8], body: u64) {
        if self.http.get(&n).is_none_or(|(open, _)| *open != id) {
            return;
        }
        self.machine(n, |machine, now, random| machine.http_data(now, text, body, random));
        let Some((_, end)) = self.http.get_mut(&n).filter(|(open, _)| *open == id) else { return };
        let piece = end.left.min(PIECE_BYTES);
        if piece == 0 {
            return;
        }
        end.left -= piece;
        if self.random.below(1000 * RESETS_PER_LOSS) < self.storm.loss {
            return self.at(self.now_us + 150, What::HttpGone(n, id));
        }
        self.bulk_free_us = self.bulk_free_us.max(self.now_us) + piece * 1_000_000 / self.storm.link_rate;
        match self.tcp_delay() {
            Some(delay) => self.at(self.bulk_free_us + delay, What::FromHttp(n, id, Vec::new(), piece)),
            None => self.at(self.bulk_free_us + KEEPALIVE_US, What::HttpGone(n, id)),
        }
    }

    fn http_gone(&mut self, n: usize, id: u64) {
        if self.http.get(&n).is_some_and(|(open, _)| *open == id) {
            self.http.remove(&n);
            self.machine(n, |machine, now, _| machine.http_failed(now));
        }
    }

    /// The daemon is gone, and its kernel resets every connection.
    fn reset_all(&mut self) {
        let mut open: Vec<(usize, u64)> = self.http.iter().map(|(n, (id, _))| (*n, *id)).collect();
        open.sort_unstable();
        self.bulk_free_us = self.now_us;
        for (n, id) in open {
            // Transfers under way are lost with the connection: it gets a new number.
            self.connections += 1;
            let gone = self.connections;
            if let Some((known, _)) = self.http.get_mut(&n).filter(|(known, _)| *known == id) {
                *known = gone;
            }
            let heard = if self.random.chance(self.storm.loss) { KEEPALIVE_US } else { 150 };
            self.at(self.now_us + heard, What::HttpGone(n, gone));
        }
    }

    /// The server's link: packets leave one after the other; what does not fit its queue is lost.
    fn link(&mut self, leaves_us: u64, what: What) {
        let bytes = match &what {
            What::FromDhcp(_, bytes) | What::FromTftp(_, _, bytes) => bytes.len() as u64 + 46,
            _ => 0,
        };
        let queued = self.link_free_us.saturating_sub(self.now_us) * self.storm.link_rate / 1_000_000;
        if queued > self.storm.link_queue {
            return;
        }
        self.link_free_us = self.link_free_us.max(leaves_us) + bytes * 1_000_000 / self.storm.link_rate;
        self.travel(self.link_free_us, what);
    }

    fn travel(&mut self, from_us: u64, what: What) {
        if self.random.chance(self.storm.loss) {
            return;
        }
        let mut delay = 75;
        if self.random.chance(self.storm.reordered) {
            delay += self.random.below(3000);
        }
        if self.random.chance(self.storm.doubled) {
            self.at(from_us + delay * 2, what.clone());
        }
        self.at(from_us + delay, what);
    }

    fn finish(mut self) -> Outcome {
        self.outcome.boot_ms.sort_unstable();
        self.outcome
    }
}
