//! The real executable while its database is away: a real PostgreSQL or MariaDB server is frozen (SIGSTOP) or
//! killed under it.
//!
//! Needs root and the Debian packages `postgresql` and `mariadb-server`; without them the tests fail. Nodes
//! are addresses of loopback. Waits have a bound and end with the condition; nothing is asserted about how
//! long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;
#[path = "../../cluster/tests/servers/server.rs"]
#[allow(dead_code, reason = "shared with the tests of the model, which use more of it")]
mod server;

use common::{Daemon, PATIENCE, Site, wait_for};
use server::{Engine, Server};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Nodes that report.
const NODES: u8 = 100;

fn address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, 0, node)
}

/// A site on a database of the server, with its nodes.
fn site(directory: &Path, server: &Server) -> Site {
    let site = Site::new(directory, Some(server.database("away").cfgloc_line()));
    let daemon = site.start();
    daemon.ok("nodeadd n1-n100 groups=all hosts.ip=|n(\\d+)|127.1.0.($1)|");
    daemon.kill();
    site
}

/// Sends a line to the status port from the node's address; returns the daemon's answer.
fn report(daemon: &Daemon, node: u8, line: &str) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // A port of a node that is gone already keeps no daemon from its own.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((address(node), 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], daemon.status_port)).into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut heard = Vec::new();
    let mut byte = [0];
    // `done` is what a node waits for; the connection stays open while the daemon tries to write.
    while !heard.ends_with(b"done\n") && stream.read(&mut byte).unwrap() == 1 {
        heard.extend(byte);
    }
    String::from_utf8(heard).unwrap()
}

/// Every node's report is taken while the database is frozen, the daemon is killed, and the next one writes
/// them all.
fn reports_survive(engine: Engine) {
    let server = Server::start(engine);
    let directory = tempfile::tempdir().unwrap();
    let site = site(directory.path(), &server);
    let daemon = site.start();
    server.signal("STOP");
    for node in 1..=NODES {
        assert_eq!(report(&daemon, node, "installstatus booting"), "ready\ndone\n", "n{node}");
        assert_eq!(report(&daemon, node, "installstatus booted"), "ready\ndone\n", "n{node}");
    }
    daemon.kill();
    let log = directory.path().join("log");
    let daemon = std::thread::scope(|scope| {
        let started = scope.spawn(|| site.start_logged(Some(&log)));
        server.signal("CONT");
        started.join().unwrap()
    });
    wait_for("a report is lost", || {
        daemon.ok("nodels nodelist.status==booted").lines().count() == usize::from(NODES)
    });
    let file = site.data.join("reports.journal");
    wait_for("reports are kept that are written", || file.metadata().unwrap().len() == 0);
    // Without a restart: a server that is gone and comes back.
    assert_eq!(report(&daemon, 1, "installstatus shell"), "ready\ndone\n");
    wait_for("it is not written", || daemon.ok("nodels n1 nodelist.status") == "n1: shell\n");
}

#[test]
fn reports_survive_a_frozen_postgresql() {
    reports_survive(Engine::Postgres);
}

#[test]
fn reports_survive_a_frozen_mariadb() {
    reports_survive(Engine::Mysql);
}

/// What a command prints that waits for the database; on a busy machine it may have to be given again.
fn patiently(daemon: &Daemon, line: &str) -> String {
    let (deadline, mut all) = (Instant::now() + 2 * PATIENCE, String::new());
    loop {
        let (text, code) = daemon.run(line);
        assert!(text.contains("waiting for the database, up to 30 s") || code == 0, "{all}{text} {code}");
        all.push_str(&text);
        if code == 0 {
            return all;
        }
        assert!(Instant::now() < deadline, "{all}");
    }
}

/// A command that writes waits for a database that comes back, and reports the wait; one that reads is
/// answered.
fn commands_wait(engine: Engine) {
    let mut server = Server::start(engine);
    let directory = tempfile::tempdir().unwrap();
    let site = site(directory.path(), &server);
    let daemon = site.start();
    server.kill();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| patiently(&daemon, "chtab key=waited site.value=yes"));
        assert_eq!(report(&daemon, 1, "installstatus booted"), "ready\ndone\n");
        // The daemon may not have asked the server since it ended.
        wait_for("a command that reads does not say that the database is away", || {
            let read = daemon.ok("nodels n1");
            assert!(read.starts_with("n1\n"), "{read}");
            read.contains("the database is away")
        });
        // Longer than a command waits before it reports the wait.
        std::thread::park_timeout(Duration::from_secs(5));
        server.launch();
        let text = waiting.join().unwrap();
        assert!(text.contains("waiting for the database, up to 30 s"), "{text}");
    });
    assert_eq!(daemon.site("waited"), "yes");
    wait_for("the report is lost", || daemon.ok("nodels n1 nodelist.status") == "n1: booted\n");
}

#[test]
fn commands_wait_for_postgresql() {
    commands_wait(Engine::Postgres);
}

#[test]
fn commands_wait_for_mariadb() {
    commands_wait(Engine::Mysql);
}

/// Starts a daemon while the server is frozen. One that does not start without its database ends the test.
fn start_frozen(site: &Site, server: &Server, log: &Path) -> Daemon {
    let (started, waiting) = std::sync::mpsc::channel();
    server.signal("STOP");
    std::thread::scope(|scope| {
        scope.spawn(move || waiting.recv_timeout(PATIENCE).is_err().then(|| server.signal("CONT")));
        let daemon = site.start_logged(Some(log));
        started.send(()).unwrap();
        daemon
    })
}

/// A daemon that starts while its database is away serves what the last one stored, logs that, and takes the
/// database over when it is back.
fn serves_from_its_disk(engine: Engine) {
    let server = Server::start(engine);
    let directory = tempfile::tempdir().unwrap();
    let (log, site) = (directory.path().join("log"), site(directory.path(), &server));
    let daemon = site.start();
    daemon.ok("chtab key=stored site.value=yes");
    daemon.stop();
    let file = site.data.join("snapshot");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let daemon = start_frozen(&site, &server, &log);
    let (text, code) = daemon.run("gettab key=stored site.value");
    assert!(text.contains("yes") && text.contains("the database is away") && code == 0, "{text}");
    assert!(daemon.ok("lsxcatd -d").contains("dbstate=the database is away"));
    assert!(std::fs::read_to_string(&log).unwrap().contains("serving change"));
    assert_eq!(report(&daemon, 7, "installstatus booted"), "ready\ndone\n");
    let mut doctor = site.command();
    doctor.env("XCATHOST", &daemon.settings.host).args(["doctor", "--data"]).arg(&site.data);
    let said = common::printed(&doctor.output().unwrap());
    assert!(said.contains("[failed] the database is away"), "{said}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| patiently(&daemon, "chtab key=waited site.value=yes"));
        std::thread::park_timeout(Duration::from_secs(5));
        server.signal("CONT");
        let text = waiting.join().unwrap();
        assert!(text.contains("waiting for the database"), "{text}");
    });
    wait_for("the report is lost", || daemon.ok("nodels n7 nodelist.status").ends_with("n7: booted\n"));
    assert_eq!(daemon.ok("gettab key=waited site.value"), "yes\n");
    assert_eq!(daemon.ok("nodels n1"), "n1\n");
    daemon.stop();
    // A file that is not whole is refused, and the daemon waits for its database.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    server.signal("STOP");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| site.start_logged(Some(&log)));
        wait_for("a damaged file is not refused", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("its checksum is wrong"))
        });
        server.signal("CONT");
        assert_eq!(starting.join().unwrap().ok("nodels n1"), "n1\n");
    });
}

#[test]
fn serves_from_its_disk_without_postgresql() {
    serves_from_its_disk(Engine::Postgres);
}

#[test]
fn serves_from_its_disk_without_mariadb() {
    serves_from_its_disk(Engine::Mysql);
}
