//! Exports on disks that may hang: calls are carried out by threads for disks, as they would be by a worker;
//! when the disk does not answer, the client is asked to try again and nothing else waits.
//!
//! That a disk hangs is played by work that keeps its directory's only thread.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use dawn_nfs::client::{CallError, Client};
use dawn_nfs::nfs3::{SetAttributes, Status, Time};
use dawn_nfs::{
    Export, ExportId, Exports, FixedExports, LogObserver, Mounted, OverlaySpec, Question, Refusal, Server,
    ServerConfig,
};
use dawn_serving::DiskPool;
use dawn_serving::disks::Limits;

/// Exports whose answers need the disk they are on.
struct OnDisks(FixedExports, Vec<PathBuf>);

impl Exports for OnDisks {
    fn disk(&self, client: IpAddr, question: Question<'_>) -> Option<PathBuf> {
        let root = match question {
            Question::Mount(path) => self.0.mount(client, path).ok()?.export.root.clone(),
            Question::ById(id) => self.0.by_id(client, id).ok()?.root.clone(),
            Question::List => return None,
        };
        self.1.contains(&root).then_some(root)
    }

    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        self.0.mount(client, path)
    }

    fn by_id(&self, client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        self.0.by_id(client, id)
    }

    fn generation(&self) -> u64 {
        self.0.generation()
    }
}

struct Fixture {
    far: tempfile::TempDir,
    near: tempfile::TempDir,
    disks: DiskPool,
    server: Server,
}

impl Fixture {
    /// `/far` counts as on a disk that may hang, `/near` does not.
    fn new() -> Self {
        let (far, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stuck_time = Duration::from_secs(1);
        let limits = Limits { threads_per_directory_max: 1, stuck_time, ..Limits::default() };
        let disks = DiskPool::new(limits);
        let export = |dir: &Path, name: &str| Export::read_write(ExportId::of(&[name]), dir);
        let changed = Time::default();
        let overlay =
            OverlaySpec { generation: 1, changed, far: Some(far.path().to_owned()), entries: Vec::new() };
        let on_far = Export { overlay: Some(Arc::new(overlay)), ..export(far.path(), "far") };
        let exports = FixedExports::default().with("/far", on_far).with("/near", export(near.path(), "near"));
        let exports = Arc::new(OnDisks(exports, vec![far.path().to_owned()]));
        let config = ServerConfig { disks: disks.clone(), ..ServerConfig::loopback(near.path()) };
        let server = Server::start(&config, exports, Arc::new(LogObserver)).unwrap();
        Self { far, near, disks, server }
    }

    fn client(&self) -> Client {
        Client::connect(SocketAddr::from(([127, 0, 0, 1], self.server.ports().nfs))).unwrap()
    }

    /// Keeps the directory's thread until the sender is dropped; returns when it counts as stuck.
    fn hang(&self) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let job = move || {
            let _ = begun.send(());
            let _ = held.recv();
        };
        self.disks.submit(self.far.path(), job).unwrap();
        has_begun.recv().unwrap();
        while self.disks.submit(self.far.path(), || ()).is_ok() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        release
    }
}

#[test]
fn threads_for_disks_serve_what_workers_do() {
    let fixture = Fixture::new();
    let large: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(fixture.far.path().join("large"), &large).unwrap();
    let mut client = fixture.client();
    let root = client.mount("/far").unwrap();
    let file = client.walk(&root, "large").unwrap();
    let (mut read, mut ended) = (Vec::new(), false);
    while !ended {
        let (bytes, end) = client.read(&file, read.len() as u64, 256 << 10).unwrap();
        read.extend(bytes);
        ended = end;
    }
    assert!(read == large, "{} bytes of {}", read.len(), large.len());
    // Modes arrive as the client sends them, and the kernel knows who calls.
    let wide = SetAttributes { mode: Some(0o777), ..SetAttributes::default() };
    client.mkdir(&root, "made", &wide).unwrap();
    use std::os::unix::fs::MetadataExt;
    let made = std::fs::metadata(fixture.far.path().join("made")).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o777, 0));
    let made = client.walk(&root, "made").unwrap();
    let mut user = client.acting_as(4242, 4242, &[]);
    user.mkdir(&made, "mine", &SetAttributes::default()).unwrap();
    let mine = std::fs::metadata(fixture.far.path().join("made/mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid()), (4242, 4242));
    // The thread is the server's again, with the umask of the process.
    let (uid, file) = fixture
        .disks
        .call(fixture.far.path(), Duration::from_secs(60), {
            let path = fixture.far.path().join("own");
            move || {
                std::fs::write(&path, "").unwrap();
                let meta = std::fs::metadata(&path).unwrap();
                (meta.uid(), meta.mode() & 0o777)
            }
        })
        .unwrap();
    let elsewhere = fixture.near.path().join("own");
    std::fs::write(&elsewhere, "").unwrap();
    assert_eq!((uid, file), (0, std::fs::metadata(elsewhere).unwrap().mode() & 0o777));
}

#[test]
fn a_disk_that_hangs_costs_its_own_calls() {
    let fixture = Fixture::new();
    std::fs::write(fixture.far.path().join("file"), "far").unwrap();
    std::fs::write(fixture.near.path().join("file"), "near").unwrap();
    let mut client = fixture.client();
    let (far, near) = (client.mount("/far").unwrap(), client.mount("/near").unwrap());
    let file = client.walk(&far, "file").unwrap();
    let release = fixture.hang();
    let jukebox = |error: CallError| match error {
        CallError::Status(code) => assert_eq!(code, Status::Jukebox.code()),
        other => panic!("{other}"),
    };
    // The same connection keeps using the other export, whatever is asked of the one that hangs.
    for _ in 0..200 {
        jukebox(client.getattr(&file).map(drop).unwrap_err());
        jukebox(client.read(&file, 0, 10).map(drop).unwrap_err());
        jukebox(client.lookup(&far, "file").map(drop).unwrap_err());
        jukebox(client.access(&file, 1).map(drop).unwrap_err());
        jukebox(client.readdir_page(&far, 0, 4096, true).map(drop).unwrap_err());
        jukebox(client.mkdir(&far, "new", &SetAttributes::default()).map(drop).unwrap_err());
        jukebox(client.rename((&near, "file"), (&far, "x")).unwrap_err());
        jukebox(client.link(&file, &near, "x").unwrap_err());
        jukebox(client.fsinfo(&far).map(drop).unwrap_err());
        let file = client.walk(&near, "file").unwrap();
        assert_eq!(client.read(&file, 0, 10).unwrap().0, b"near");
    }
    let mut other = fixture.client();
    let root = other.mount("/near").unwrap();
    other.getattr(&root).unwrap();
    drop(release);
    while client.getattr(&file).is_err() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(client.read(&file, 0, 10).unwrap().0, b"far");
    assert!(!fixture.far.path().join("new").exists(), "a call that was not begun is not carried out later");
}
