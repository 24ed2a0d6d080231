//! The real executable with a file system that hangs: below the install directory is an automount that never
//! answers, so a process that looks into it sleeps in the kernel as on a dead NFS server. Every service keeps
//! answering everything else, and starts without it.
//!
//! Needs root, for mounts and the network of a namespace; without it the test fails. Waits have a
//! bound and end with the condition; nothing is asserted about how long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;

use common::{PATIENCE, dawn, printed, ready, run, wait_for};
use dawn_nfs::client::Client;
use dawn_nfs::handle::FileHandle;
use rustix::mount::{MountFlags, mount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::CString;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where monitoring systems ask.
const METRICS: &str = "127.0.0.1:9100";
/// Requests that hang, for each service: more than a directory has threads.
const HUNG: usize = 20;

/// Commands that look at a path of their caller, or of a cell: `HUNG` is the mount, `TOP` the directory with
/// it. All files of the image `far` are below the mount, of `half` its template, of `near` none.
const LOOKS: [&str; 19] = [
    "tabdump -f HUNG/x site",
    "xdsh cn1 -e HUNG/s",
    "xdsh cn1 -E HUNG/e id",
    "xdsh cn1 -r HUNG/ssh id",
    "xdcp cn1 -P /etc/hosts HUNG/b",
    "xdcp cn1 HUNG/b /tmp",
    "xdcp -F HUNG/list cn1",
    "backup HUNG/b",
    "backup HUNG",
    "import xcat HUNG/d",
    "import xcat TOP/named",
    "imgexport half",
    "imgexport near -e HUNG/file:/etc",
    "imgexport far",
    "imgimport HUNG/bundle.tgz",
    "rmimage far",
    "rmimage near",
    "liteimg far",
    "mknb x86_64 --image far",
];

/// A machine: its own mounts and network, directories, and the daemon.
struct Machine {
    dir: PathBuf,
    daemon: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Machine {
    fn dawn(&self) -> Command {
        let mut command = dawn(&self.dir.join("home"));
        // The test's own process group is the automounter's, which the kernel lets pass.
        command.process_group(0);
        command
    }

    fn start(&mut self) {
        let mut command = self.dawn();
        let services = ["serve", "--services", "xcatd,http,tftp,nfs,metrics", "--https-port", "0"];
        command.args(services).args(["--metrics-listen", METRICS]).arg("--data").arg(self.dir.join("data"));
        self.daemon = Some(ready(&mut command, Some(&self.dir.join("log"))));
    }

    fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn run(&self, line: &str) -> (String, bool) {
        let output = self.dawn().current_dir(&self.dir).args(line.split(' ')).output().unwrap();
        (printed(&output), output.status.success())
    }

    fn ok(&self, line: &str) -> String {
        let (text, success) = self.run(line);
        assert!(success, "{line}: {text}");
        text
    }
}

/// An automount on `path` that nothing answers. It hangs as long as the pipe is open.
fn hang_at(path: &Path) -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let group = rustix::process::getpgrp().as_raw_nonzero();
    let options = format!("fd={},pgrp={group},minproto=5,maxproto=5,direct", writer.as_raw_fd());
    let options = CString::new(options).unwrap();
    mount("hung", path, "autofs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    (reader, writer)
}

/// An NFS client that calls from the address of a node; requests that hang end with its time limit.
fn nfs(node: u8) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    for port in 600..1000u16 {
        if socket.bind(&std::net::SocketAddr::from(([127, 0, 0, node], port)).into()).is_ok() {
            break;
        }
    }
    socket.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], 2049)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::over(stream).unwrap()
}

/// What a file of an export says.
fn read_by_nfs(client: &mut Client, root: &FileHandle, name: &str) -> String {
    let file = client.walk(root, name).unwrap();
    String::from_utf8(client.read(&file, 0, 100).unwrap().0).unwrap()
}

/// Sends a request for `path`.
fn ask(path: &str) -> TcpStream {
    ask_at("127.0.0.1:80", path)
}

fn ask_at(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn tftp(path: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(format!("\0\x01{path}\0octet\0").as_bytes(), "127.0.0.1:69").unwrap();
    socket
}

/// A machine with only a loader in its TFTP directory.
fn machine() -> (tempfile::TempDir, Machine) {
    // SAFETY: only this thread, and what it starts, changes its namespaces.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::FS) }.unwrap();
    run("mount --make-rprivate /");
    run("ip link set lo up");
    let dir = tempfile::tempdir().unwrap();
    run(&format!("chmod 755 {}", dir.path().display()));
    for folder in ["home", "tftp"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    std::fs::write(dir.path().join("tftp/loader"), "loader").unwrap();
    let machine = Machine { dir: dir.path().to_owned(), daemon: None };
    (dir, machine)
}

/// The argument of MOUNT.
fn mount_path(path: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(path.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(path.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn a_mount_that_hangs_costs_the_requests_below_it_alone() {
    let (dir, mut machine) = machine();
    std::fs::create_dir_all(dir.path().join("install/hung")).unwrap();
    for folder in ["install/well", "install/img/rootimg"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    std::fs::write(dir.path().join("install/well/file"), "well").unwrap();
    std::fs::write(dir.path().join("install/img/rootimg/file"), "near").unwrap();
    machine.ok(&format!("init --master 127.0.0.1 --data {}", dir.path().join("data").display()));
    machine.start();
    let install = dir.path().join("install").display().to_string();
    machine.ok(&format!("chdef -t site installdir={install} tftpdir={}", dir.path().join("tftp").display()));
    machine.ok(&format!(
        "mkdef -t osimage far imagetype=linux osvers=debian12 osarch=x86_64 profile=compute provmethod=netboot rootimgdir={install}/hung/img"
    ));
    machine.ok(
        "mkdef cn1 groups=all ip=10.77.0.5 mac=52:54:00:00:00:05 netboot=xnba arch=x86_64 os=debian12 provmethod=far",
    );
    machine.ok("chtab node=cn1 chain.currstate=netboot");
    machine.ok(&format!(
        "mkdef -t osimage near imagetype=linux osvers=debian12 osarch=x86_64 profile=compute provmethod=statelite rootimgdir={install}/img"
    ));
    // A node's own row takes no address of loopback; a template is not looked at so closely.
    machine.ok(r"chtab node=near hosts.ip=|cn(\d+)|127.0.0.($1+4)|");
    for (node, number) in [("cn2", 6), ("cn3", 7)] {
        machine.ok(&format!(
            "mkdef {node} groups=near,all mac=52:54:00:00:00:0{number} netboot=xnba arch=x86_64 os=debian12 provmethod=near"
        ));
        machine.ok(&format!("chtab node={node} chain.currstate=statelite"));
    }
    // The third node's store is on the disk that hangs, its image is not.
    machine.ok(&format!(
        "chtab node=cn3 statelite.image=near statelite.statemnt=127.0.0.1:{install}/hung/store"
    ));
    machine.ok("chtab litefile.image=ALL litefile.file=/etc/kept litefile.options=persistent");
    machine.stop();
    let _hung = hang_at(&dir.path().join("install/hung"));
    machine.start();

    // By NFS: the directory that hangs is asked for by two nodes, and more often than it has threads.
    let far: Vec<Client> = (0..HUNG)
        .map(|number| {
            let (mut client, path) = match number % 2 {
                0 => (nfs(5), format!("{install}/hung/img/rootimg")),
                _ => (nfs(7), format!("{install}/img/rootimg")),
            };
            let (_, call) = client.encode(100_005, 3, 1, &mount_path(&path));
            client.send(&call).unwrap();
            client
        })
        .collect();
    let mut near = nfs(6);
    let root = near.mount(&format!("{install}/img/rootimg")).unwrap();
    assert_eq!(read_by_nfs(&mut near, &root, "file"), "near");

    let http: Vec<TcpStream> = (0..HUNG).map(|number| ask(&format!("/install/hung/{number}"))).collect();
    let _tftp: Vec<UdpSocket> = (0..HUNG).map(|number| tftp(&format!("install/hung/{number}"))).collect();
    let kernel = ask("/tftpboot/xcat/osimage/far/kernel");

    // Everything outside of the mount is answered.
    assert!(answer(ask("/install/well/file")).ends_with("\r\n\r\nwell"));
    assert!(answer(ask("/install/well/none")).starts_with("HTTP/1.1 404"));
    let mut bytes = [0; 64];
    let (count, _) = tftp("loader").recv_from(&mut bytes).unwrap();
    assert_eq!(bytes.get(..count), Some(&b"\0\x03\0\x01loader"[..]));
    let script = answer(ask("/tftpboot/xcat/xnba/nodes/cn1"));
    assert!(script.contains("imgurl=") && script.contains("rootimg.sfs"), "{script}");
    assert!(machine.ok("lsdef -t osimage").contains("far"));
    let (told, success) = machine.run("nodeset cn1 osimage=far");
    assert!(!success && told.contains("did not answer within"), "{told}");
    // Commands get an answer as often as they are asked, which is more often than there are places for
    // commands.
    let explained: Vec<Child> = (0..100)
        .map(|_| machine.dawn().args(["explain", "all"]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in explained {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("cn1: would not boot") || text.contains("cn1: advice"), "{text}");
        assert!(text.contains("cn2: state statelite"), "{text}");
    }
    assert!(machine.ok("lsdef cn1 -i provmethod").contains("far"));

    // Requests below it are given up.
    for stream in http.into_iter().chain([kernel]) {
        let text = answer(stream);
        assert!(text.starts_with("HTTP/1.1 503") && text.contains("disk"), "{text}");
    }
    assert!(answer(ask("/install/well/file")).ends_with("well"));

    // Nodes keep using the files; a file that was changed is seen, one call after the other.
    for _ in 0..HUNG {
        assert_eq!(read_by_nfs(&mut near, &root, "file"), "near");
    }
    drop(far);
    let mut other = nfs(6);
    let again = other.mount(&format!("{install}/img/rootimg")).unwrap();
    assert_eq!(read_by_nfs(&mut other, &again, "file"), "near");
}

/// A command whose disk hangs gives up with an error, and gives its place back.
#[test]
fn commands_give_up_a_disk_that_hangs() {
    let (dir, mut machine) = machine();
    for folder in ["hung", "install/near/rootimg", "install/half", "named"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let top = dir.path().display().to_string();
    let hung = dir.path().join("hung");
    for file in ["near/kernel", "half/kernel", "half/rootimg.sfs"] {
        std::fs::write(dir.path().join("install").join(file), "file").unwrap();
    }
    // The directory with xCAT's settings is well, the database that it names is not.
    std::fs::write(dir.path().join("named/cfgloc"), format!("SQLite:{}", hung.display())).unwrap();
    machine.ok(&format!("init --master 127.0.0.1 --data {top}/data"));
    machine.start();
    machine.ok(&format!("chdef -t site installdir={top}/install tftpdir={top}/hung/tftp"));
    machine.ok("mkdef cn1 groups=all ip=10.77.0.5");
    for (image, method, more) in [
        ("far", "netboot", "rootimgdir=TOP/hung/img"),
        ("near", "netboot", "rootimgdir=TOP/install/near"),
        ("half", "install", "rootimgdir=TOP/install/half template=TOP/hung/template"),
    ] {
        machine.ok(&format!(
            "mkdef -t osimage {image} imagetype=linux osvers=debian12 osarch=x86_64 profile=compute provmethod={method} {}",
            more.replace("TOP", &top)
        ));
    }
    let _hung = hang_at(&hung);
    let gives_up = |line: &str| {
        let line = line.replace("HUNG", &hung.display().to_string()).replace("TOP", &top);
        let (text, success) = machine.run(&line);
        assert!(!success && text.contains("the disk d"), "{line}: {text}");
    };
    LOOKS.into_iter().for_each(gives_up);
    assert!(
        dir.path().join("install/near/kernel").exists(),
        "nothing is removed before all disks have answered"
    );
    machine.ok(&format!("chtab zonename=own zone.sshkeydir={top}/hung/keys zone.defaultzone=yes"));
    gives_up("makeknownhosts cn1");
    assert!(!machine.run("xdsh cn1 id").1, "the daemon's keys are not to be had");
    machine.ok("mkdef -t network boot net=10.77.0.0 mask=255.255.0.0");
    machine.ok(&format!("chdef -t site domain=c.example dnshandler=ddns binddir={top}/hung/zones"));
    gives_up("makedns");
    assert_eq!(machine.ok("nodels"), "cn1\n");
}

#[test]
fn the_daemon_starts_without_an_install_directory_that_hangs() {
    let (dir, mut machine) = machine();
    std::fs::create_dir_all(dir.path().join("install")).unwrap();
    let install = dir.path().join("install").display().to_string();
    machine.ok(&format!("init --master 127.0.0.1 --data {}", dir.path().join("data").display()));
    machine.start();
    machine.ok(&format!("chdef -t site installdir={install} tftpdir={}", dir.path().join("tftp").display()));
    machine.stop();
    let _hung = hang_at(&dir.path().join("install"));
    machine.start();
    let mut bytes = [0; 64];
    let (count, _) = tftp("loader").recv_from(&mut bytes).unwrap();
    assert_eq!(bytes.get(..count), Some(&b"\0\x03\0\x01loader"[..]));
    assert!(machine.ok("lsdef -t site -l").contains("installdir"));
    let text = answer(ask("/install/file"));
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    // More requests than there are threads that serve; each is answered, and one says what hangs.
    let silent = "dawn_disk_unresponsive{dir=\"install\"} 1";
    for _ in 0..HUNG {
        let text = answer(ask_at(METRICS, "/metrics"));
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
    wait_for("the metrics to report the directory", || answer(ask_at(METRICS, "/metrics")).contains(silent));
    assert!(machine.ok("lsdef -t site -l").contains("installdir"));
}
