//! The real executable on a file system that is read-only: what was served before is served, by every
//! service; a directory that never was says what is missing.
//!
//! Needs root, for mounts and the network of namespaces; without it the tests fail. Waits have a
//! bound and end with the condition; nothing is asserted about how long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;

use common::{PATIENCE, dawn, printed, ready, run};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A machine: its own mounts and network, one file system for everything, and the daemon.
struct Machine {
    disk: PathBuf,
    home: PathBuf,
    daemon: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        let _ = Command::new("umount").arg("-l").arg(&self.disk).status();
    }
}

impl Machine {
    /// After `dawn init`, with a node whose image has a kernel.
    fn new(dir: &Path) -> Self {
        // SAFETY: only this thread, and what it starts, changes its namespaces.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::FS) }.unwrap();
        run("mount --make-rprivate /");
        run("ip link set lo up");
        run("ip link add eth1 type veth peer name other");
        run("ip address add 10.77.0.1/24 dev eth1");
        // The node's, so that this process can be the node.
        run("ip address add 10.77.0.5/24 dev eth1");
        run("ip link set eth1 up");
        run("ip link set other up");
        let machine = Self { disk: dir.join("disk"), home: dir.join("home"), daemon: None };
        std::fs::create_dir_all(&machine.disk).unwrap();
        std::fs::create_dir_all(&machine.home).unwrap();
        let disk = machine.disk.display();
        run(&format!("chmod 755 {}", dir.display()));
        run(&format!("mount -t tmpfs -o size=64m,mode=755 tmpfs {disk}"));
        machine.ok(&format!("init --master 10.77.0.1 --data {disk}/data"));
        for (name, text) in
            [("install/img/rootimg/etc/motd", "hello"), ("install/list", "list"), ("tftp/loader", "loader")]
        {
            let path = machine.disk.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        machine
    }

    fn run(&self, line: &str) -> (String, bool) {
        let output = dawn(&self.home).args(line.split(' ')).output().unwrap();
        (printed(&output), output.status.success())
    }

    fn ok(&self, line: &str) -> String {
        let (text, success) = self.run(line);
        assert!(success, "{line}: {text}");
        text
    }

    /// `dawn serve` with all its services, or `words`.
    fn start(&mut self, words: &[&str]) {
        let mut serve = dawn(&self.home);
        serve.args(["serve", "--data"]).arg(self.disk.join("data")).args(words);
        self.daemon = Some(ready(&mut serve, Some(&self.home.join("log"))));
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn make_read_only(&self) {
        run(&format!("mount -o remount,ro {}", self.disk.display()));
    }
}

/// A connection of the node.
fn connect(port: u16, from: u16) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([10, 77, 0, 5], from)).into()).unwrap();
    socket.connect(&SocketAddr::from(([10, 77, 0, 1], port)).into()).unwrap();
    socket.into()
}

fn http(path: &str) -> String {
    let mut stream = connect(80, 0);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn tftp(path: &str) -> Vec<u8> {
    let socket = UdpSocket::bind("10.77.0.5:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(format!("\0\x01{path}\0octet\0").as_bytes(), "10.77.0.1:69").unwrap();
    let mut bytes = [0; 64];
    let (count, _) = socket.recv_from(&mut bytes).unwrap();
    bytes.get(..count).unwrap().to_vec()
}

#[test]
fn what_was_served_before_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(dir.path());
    let disk = machine.disk.display().to_string();
    machine.start(&[]);
    machine.ok(&format!("chdef -t site installdir={disk}/install tftpdir={disk}/tftp"));
    machine.ok(&format!(
        "mkdef -t osimage img imagetype=linux osvers=debian12 osarch=x86_64 profile=compute provmethod=statelite rootimgdir={disk}/install/img"
    ));
    machine.ok(
        "mkdef cn1 groups=all ip=10.77.0.5 mac=52:54:00:00:00:05 netboot=xnba arch=x86_64 os=debian12 provmethod=img",
    );
    machine.ok("chtab node=cn1 chain.currstate=statelite");
    machine.stop();
    // With the directories of the tables, so that what belongs to them is made.
    machine.start(&[]);
    machine.stop();
    // Closed to local users, as the daemon advises.
    run(&format!("chmod 0700 {disk}/install"));
    machine.make_read_only();
    machine.start(&[]);

    assert!(machine.ok("lsdef cn1 -i ip").contains("10.77.0.5"));
    let (error, success) = machine.run("chdef cn1 usercomment=x");
    assert!(!success && error.contains("read-only"), "{error}");
    assert!(http("/tftpboot/loader").ends_with("\r\n\r\nloader"));
    let script = http("/tftpboot/xcat/xnba/nodes/cn1");
    assert!(script.starts_with("HTTP/1.1 200"), "{script}");
    assert_eq!(tftp("loader"), b"\0\x03\0\x01loader");
    let mut nfs = dawn_nfs::client::Client::over(connect(2049, 900)).unwrap();
    let root = nfs.mount(&format!("{disk}/install/img/rootimg")).unwrap_or_else(|error| {
        panic!("{error}: {}", std::fs::read_to_string(machine.home.join("log")).unwrap());
    });
    let mut user = dawn_nfs::client::Client::over(connect(2049, 901)).unwrap().acting_as(1000, 1000, &[]);
    for client in [&mut nfs, &mut user] {
        let motd = client.walk(&root, "etc/motd").unwrap();
        assert_eq!(client.read(&motd, 0, 100).unwrap().0, b"hello");
    }
    assert!(http("/install/list").ends_with("\r\n\r\nlist"));
    let ports = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    assert!(ports.contains(":0043 "), "DHCP listens: {ports}");
}

/// A disk without a free byte: nodes are served, changes are refused until there is room.
#[test]
fn a_full_disk_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(dir.path());
    let disk = machine.disk.display().to_string();
    machine.start(&[]);
    machine.ok(&format!("chdef -t site installdir={disk}/install tftpdir={disk}/tftp"));
    machine.ok("mkdef cn1 groups=all ip=10.77.0.5 mac=52:54:00:00:00:05 netboot=xnba arch=x86_64");
    for is_closed_well in [false, true] {
        if is_closed_well {
            run(&format!("kill -TERM {}", machine.daemon.as_ref().unwrap().id()));
            machine.daemon.take().unwrap().wait().unwrap();
        } else {
            machine.stop();
        }
        let filler = machine.disk.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let block = vec![1; 4096];
        let error = std::iter::repeat_with(|| file.write_all(&block)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        machine.start(&[]);
        assert!(machine.ok("lsdef cn1 -i ip").contains("10.77.0.5"), "closed well: {is_closed_well}");
        assert!(http("/tftpboot/loader").ends_with("\r\n\r\nloader"));
        // The log of a database that was not closed may still have room for a change.
        if is_closed_well {
            let (error, success) = machine.run("chdef cn1 usercomment=x");
            assert!(!success && error.contains("full"), "{error}");
        }
        drop(file);
        std::fs::remove_file(&filler).unwrap();
        machine.ok(&format!("chdef cn1 usercomment={is_closed_well}"));
    }
}

#[test]
fn what_was_never_served_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(dir.path());
    machine.make_read_only();
    let data = machine.disk.join("data").display().to_string();
    let (error, success) = machine.run(&format!("serve --data {data}"));
    assert!(!success, "{error}");
    for part in
        ["nfs-handle.key", "the file system is read-only", "has not been served before", "leave NFS out"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    machine.start(&["--services", "dhcp,tftp,http,xcatd"]);
    assert!(machine.ok("lsdef -t site -i master").contains("10.77.0.1"));
}
