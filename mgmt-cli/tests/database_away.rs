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

use common::{Daemon, Site, wait_for};
use server::{Engine, Server};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

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

/// Says a line on the status port from the node's address; what the daemon answers.
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

/// Every node is heard while the database is frozen, the daemon is killed, and the next one writes it all.
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

/// A command that writes waits for a database that comes back, and says so; one that reads is answered.
fn commands_wait(engine: Engine) {
    let mut server = Server::start(engine);
    let directory = tempfile::tempdir().unwrap();
    let site = site(directory.path(), &server);
    let daemon = site.start();
    server.kill();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.run("chtab key=waited site.value=yes"));
        assert_eq!(report(&daemon, 1, "installstatus booted"), "ready\ndone\n");
        assert_eq!(daemon.ok("nodels n1"), "n1\n");
        // Longer than a command waits without a word.
        std::thread::park_timeout(Duration::from_secs(5));
        server.launch();
        let (text, code) = waiting.join().unwrap();
        assert!(code == 0 && text.contains("waiting for the database, up to 30 s"), "{text} {code}");
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
