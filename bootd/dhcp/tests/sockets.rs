//! The shell on real sockets: the loopback interface and high ports, so that it runs next to any other
//! server. Needs root (packet sockets); otherwise prints that and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::io::ErrorKind::PermissionDenied;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dawn_dhcp::HwAddr;
use dawn_dhcp::boot::BootRule;
use dawn_dhcp::directory::{Network, Range, Reservation};
use dawn_dhcp::event::{Event, What};
use dawn_dhcp::fixed::FixedDirectory;
use dawn_dhcp::lease::State;
use dawn_dhcp::shell::{Config, ServeError, Server, serve};
use dhcproto::{Decodable, Decoder, v4};
use support::client::Request;
use tokio_util::sync::CancellationToken;

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 7, 0, 5);
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 7, 0, 6);
/// Address of the node.
const NODE: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 1);
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A service on loopback, the way to stop it, and what it reported.
struct Running {
    server: Server,
    stop: CancellationToken,
    events: Arc<Mutex<Vec<Event>>>,
    port: u16,
}

impl Running {
    async fn start(journal: &Path, port: u16) -> Option<Self> {
        let mut network = Network::new("loop", Ipv4Addr::new(127, 0, 0, 0), 8);
        network.ranges = Range::new(CLIENT, Ipv4Addr::new(127, 7, 0, 250)).into_iter().collect();
        let mut config = Config {
            interfaces: vec!["lo".into()],
            journal: Some(journal.to_owned()),
            pxe_port: false,
            ..Config::default()
        };
        (config.settings.server_port, config.settings.client_port) = (port, port + 1);
        config.settings.client_burst = 1000;
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let observer = Arc::new(move |event: &Event| seen.lock().unwrap().push(event.clone()));
        let node = Reservation {
            node: "cn1".into(),
            hostname: "cn1".into(),
            address: Some(NODE),
            no_ip: false,
            next_server: None,
            boot: BootRule::Disk,
            options: Vec::new(),
        };
        let nodes = [(HwAddr::ethernet(NODE_MAC), node)];
        let directory = Arc::new(FixedDirectory::new(vec![network], nodes));
        let stop = CancellationToken::new();
        match serve(config, directory, observer, stop.clone()).await {
            Ok(server) => Some(Self { server, stop, events, port }),
            Err(ServeError::Socket { what, source, .. }) if source.kind() == PermissionDenied => {
                println!("skipped: cannot {what}: {source}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Asks for the address that the client's socket has.
    fn renew(&self, client: &UdpSocket, mac: [u8; 6]) -> Option<v4::Message> {
        let SocketAddr::V4(own) = client.local_addr().unwrap() else { panic!("IPv4") };
        let request = Request { ciaddr: Some(*own.ip()), xid: 7, ..Request::new(3, &mac) };
        client.send_to(&request.bytes(), (Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut buffer = [0; 1500];
        let len = client.recv(&mut buffer).ok()?;
        Some(v4::Message::decode(&mut Decoder::new(&buffer[..len])).unwrap())
    }

    fn saw(&self, what: impl Fn(&What) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(|event| what(&event.what))
    }

    async fn stop(self) {
        self.stop.cancel();
        self.server.stopped().await;
    }
}

fn client(address: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port + 1)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

#[tokio::test]
async fn an_acknowledged_lease_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("leases");
    let Some(running) = Running::start(&journal, 20_067).await else { return };
    let socket = client(CLIENT, 20_067);
    let answer = running.renew(&socket, STRANGER).expect("an answer");
    assert_eq!(answer.opts().msg_type(), Some(v4::MessageType::Ack));
    assert_eq!((answer.yiaddr(), answer.xid()), (CLIENT, 7));
    // The daemon's file is read while it runs, as after a kill.
    let copy = folder.path().join("copy");
    std::fs::copy(&journal, &copy).unwrap();
    let (_, leases) = dawn_dhcp::lease::journal::Journal::open(&copy).unwrap();
    assert_eq!(leases.iter().map(|lease| lease.address).collect::<Vec<_>>(), [CLIENT]);
    running.stop().await;

    let running = Running::start(&journal, 20_067).await.unwrap();
    assert_eq!(running.server.leases().first().map(|lease| lease.address), Some(CLIENT));
    let counters = running.server.counters();
    assert_eq!((counters.received, counters.malformed), (0, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_probe_hears_who_answers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(running) = Running::start(&folder.path().join("leases"), 20_087).await else { return };
    let ask = |ports| move || dawn_dhcp::probe::who_answers("lo", ports, Duration::from_secs(3)).unwrap();
    let offers = tokio::task::spawn_blocking(ask((20_087, 20_088))).await.unwrap();
    let servers: Vec<Ipv4Addr> = offers.iter().map(|offer| offer.server).collect();
    assert_eq!(servers, [Ipv4Addr::LOCALHOST], "{offers:?}");
    let states: Vec<State> = running.server.leases().iter().map(|lease| lease.state).collect();
    assert_eq!(states, [State::Offered], "a question makes no lease");
    running.stop().await;
    assert!(dawn_dhcp::probe::who_answers("nosuch0", (20_087, 20_088), Duration::ZERO).is_err());
}

#[tokio::test]
async fn a_full_disk_stops_new_leases_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, c"size=4k").is_err() {
        println!("skipped: cannot mount");
        return;
    }
    let journal = folder.path().join("leases");
    // The one page belongs to the journal now; no other file gets any room, so a rewrite fails too.
    let Some(running) = Running::start(&journal, 20_077).await else { return };
    let socket = client(CLIENT, 20_077);
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let answered = (0..500).take_while(|_| running.renew(&socket, STRANGER).is_some()).count();
    assert!((10..500).contains(&answered), "{answered}");
    // A lease that exists is confirmed for what is left of it, a new one is not promised, and nodes are
    // served as always.
    assert!(running.renew(&socket, STRANGER).is_some());
    let other = client(OTHER, 20_077);
    other.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(running.renew(&other, [2, 0, 0, 0, 0, 8]).is_none());
    assert!(running.saw(|what| *what == What::NotDurable));
    let node = client(NODE, 20_077);
    for _ in 0..3 {
        let answer = running.renew(&node, NODE_MAC).expect("an answer");
        assert_eq!(answer.yiaddr(), NODE);
    }
    // When there is room again, all is well within seconds.
    rustix::mount::mount_remount(folder.path(), flags, "size=1m").unwrap();
    for _ in 0..40 {
        if running.saw(|what| *what == What::JournalRecovered) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let (failed, recovered) = (
        running.saw(|what| matches!(what, What::JournalFailed(_))),
        running.saw(|what| *what == What::JournalRecovered),
    );
    running.stop().await;
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!((failed, recovered), (true, true));
}
