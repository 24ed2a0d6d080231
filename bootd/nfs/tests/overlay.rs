//! Overlays: what a node sees of an image with its own files over it, while they change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{Events, status};
use dawn_nfs::client::Client;
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3::{SetAttributes, Status, Time};
use dawn_nfs::{
    Access, Event, Export, ExportId, Exports, Mounted, OverlayEntry, OverlayKind, OverlaySpec, Question,
    Refusal, Server, ServerConfig,
};

/// One node's live root; the overlay can be exchanged.
struct Live {
    root: PathBuf,
    store: PathBuf,
    spec: Mutex<Arc<OverlaySpec>>,
    generation: AtomicU64,
    /// What is made on first use is not made yet.
    unfinished: AtomicBool,
}

impl Live {
    fn set(&self, entries: Vec<OverlayEntry>) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        let changed = Time { sec: 4_000_000_000 + generation as u32, nsec: 0 };
        *self.spec.lock().unwrap() = Arc::new(OverlaySpec { generation, changed, far: None, entries });
        self.generation.store(generation, Ordering::Relaxed);
    }
}

impl Exports for Live {
    fn disk(&self, _client: IpAddr, _question: Question<'_>) -> Option<PathBuf> {
        Some(self.root.clone())
    }

    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        let subdir = path.strip_prefix("/live/cn1").ok_or(Refusal::NoSuchExport(String::new()))?;
        let export = self.by_id(client, ExportId(9))?;
        Ok(Mounted { export, subdir: subdir.trim_start_matches('/').into() })
    }

    fn by_id(&self, _client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        let overlay = Some(self.spec.lock().unwrap().clone());
        Ok(Arc::new(Export { overlay, ..Export::read_only(id, &self.root) }))
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn materialise(&self, _export: ExportId, path: &Path) -> std::io::Result<PathBuf> {
        if self.unfinished.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let target = self.store.join(path);
        if !target.exists() {
            std::fs::create_dir_all(target.parent().unwrap())?;
            std::fs::write(&target, format!("seed of {}", path.display()))?;
        }
        Ok(target)
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    live: Arc<Live>,
    events: Arc<Events>,
    server: Option<Server>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
        for name in ["state", "image/etc/network", "image/usr/lib", "tree/dir/sub", "store"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink("usr/lib", at("image/lib")).unwrap();
        for (name, text) in [
            ("image/etc/hosts", "image"),
            ("image/etc/motd", "image motd"),
            ("image/usr/lib/libc", "libc"),
            ("tree/hosts", "tree"),
            ("tree/dir/a", "a"),
            ("tree/dir/sub/b", "b"),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        let spec = OverlaySpec { generation: 0, changed: Time::default(), far: None, entries: Vec::new() };
        let live = Live {
            root: at("image"),
            store: at("store"),
            spec: Mutex::new(Arc::new(spec)),
            generation: AtomicU64::new(0),
            unfinished: AtomicBool::new(false),
        };
        let mut fixture = Self { live: Arc::new(live), dir, events: Arc::default(), server: None };
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        self.server = None;
        let config = ServerConfig::loopback(self.at("state"));
        self.server = Some(Server::start(&config, self.live.clone(), self.events.clone()).unwrap());
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn client(&self) -> (Client, FileHandle) {
        let port = self.server.as_ref().unwrap().ports().nfs;
        let mut client = Client::connect(([127, 0, 0, 1], port).into()).unwrap();
        let root = client.mount("/live/cn1").unwrap();
        (client, root)
    }

    fn substitute(&self, path: &str, source: &str, access: Access) -> OverlayEntry {
        let what = OverlayKind::Substitute { source: self.at(source), access };
        OverlayEntry { path: path.into(), what }
    }
}

fn entry(path: &str, what: OverlayKind) -> OverlayEntry {
    OverlayEntry { path: path.into(), what }
}

fn text(c: &mut Client, root: &FileHandle, path: &str) -> String {
    let file = c.walk(root, path).unwrap();
    String::from_utf8(c.read(&file, 0, 1000).unwrap().0).unwrap()
}

fn names(c: &mut Client, root: &FileHandle, path: &str) -> Vec<String> {
    let dir = c.walk(root, path).unwrap();
    let mut all = Vec::new();
    for (bytes, plus) in [(400, true), (200, false), (1 << 20, true)] {
        let entries = c.readdir(&dir, bytes, plus).unwrap();
        for entry in entries.iter().filter(|e| e.attributes.is_some()) {
            assert_eq!(entry.attributes.unwrap().fileid, entry.fileid);
            let (handle, attributes) = c.lookup(&dir, std::str::from_utf8(&entry.name).unwrap()).unwrap();
            assert_eq!((Some(handle), attributes.fileid), (entry.handle, entry.fileid));
        }
        let mut got: Vec<_> = entries.iter().map(|e| String::from_utf8(e.name.clone()).unwrap()).collect();
        got.retain(|n| n != "." && n != "..");
        got.sort();
        assert!(all.is_empty() || all == got, "{all:?} {got:?}");
        all = got;
    }
    all
}

fn mode(mode: u32) -> SetAttributes {
    SetAttributes { mode: Some(mode), ..SetAttributes::default() }
}

#[test]
fn every_kind_of_entry() {
    let mut fixture = Fixture::new();
    fixture.live.set(vec![
        fixture.substitute("/etc/hosts", "tree/hosts", Access::ReadOnly),
        fixture.substitute("/srv/data", "tree/dir", Access::ReadWrite),
        fixture.substitute("/lib/extra", "tree/hosts", Access::ReadOnly),
        fixture.substitute("/etc/gone", "tree/missing", Access::ReadOnly),
        fixture.substitute("/etc/broken", "tree/hosts/below", Access::ReadOnly),
        entry("/etc/state", OverlayKind::OnFirstUse { directory: false, access: Access::ReadWrite }),
        entry("/var/log", OverlayKind::Placeholder { directory: true }),
        entry("/etc/motd", OverlayKind::Placeholder { directory: false }),
        entry("/etc/mtab", OverlayKind::Placeholder { directory: false }),
    ]);
    let (mut c, root) = fixture.client();
    assert_eq!(names(&mut c, &root, ""), ["etc", "lib", "srv", "usr", "var"]);
    assert_eq!(names(&mut c, &root, "etc"), ["hosts", "motd", "mtab", "network", "state"]);
    assert_eq!(names(&mut c, &root, "srv"), ["data"]);
    assert_eq!(names(&mut c, &root, "srv/data"), ["a", "sub"]);
    assert_eq!(names(&mut c, &root, "usr/lib"), ["extra", "libc"]);
    assert!(names(&mut c, &root, "var/log").is_empty());
    assert!(!fixture.at("store/etc/state").exists(), "a listing made what is made on first use");
    assert_eq!(text(&mut c, &root, "etc/hosts"), "tree");
    assert_eq!(text(&mut c, &root, "etc/motd"), "image motd");
    assert_eq!(text(&mut c, &root, "etc/mtab"), "");
    assert_eq!(text(&mut c, &root, "usr/lib/extra"), "tree");
    assert_eq!(text(&mut c, &root, "etc/state"), "seed of etc/state");
    let etc = c.walk(&root, "etc").unwrap();
    for name in ["gone", "broken"] {
        assert_eq!(status(c.lookup(&etc, name)), Status::NoEnt.code());
    }
    // A removed source is not reported; one that cannot be opened is.
    let told = fixture.events.0.lock().unwrap().iter().any(|event| match event {
        Event::OverlayProblem { path, .. } => {
            assert_eq!(path, "etc/broken");
            true
        }
        _ => false,
    });
    assert!(told);

    // Parents lead back the way that was come, and everything is one file system.
    let data = c.walk(&root, "srv/data").unwrap();
    assert_eq!(c.walk(&root, "srv/data/sub/../..").unwrap(), c.walk(&root, "srv").unwrap());
    assert_eq!(c.walk(&root, "var/log/../../etc/..").unwrap(), root);
    assert_eq!(c.getattr(&data).unwrap().fsid, c.getattr(&root).unwrap().fsid);

    // Handles of all kinds survive.
    let paths =
        ["", "etc", "etc/hosts", "etc/state", "srv", "srv/data", "srv/data/sub/b", "var/log", "etc/mtab"];
    let before: Vec<_> = paths.iter().map(|p| c.walk(&root, p).unwrap()).collect();
    let attributes: Vec<_> = before.iter().map(|h| c.getattr(h).unwrap()).collect();
    fixture.start();
    let (mut c, root) = fixture.client();
    for ((path, handle), attributes) in paths.iter().zip(&before).zip(attributes) {
        assert_eq!(c.getattr(handle).unwrap(), attributes, "{path}");
        assert_eq!(c.walk(&root, path).unwrap(), *handle, "{path}");
    }
    let port = fixture.server.as_ref().unwrap().ports().nfs;
    let mut other = Client::connect(([127, 0, 0, 1], port).into()).unwrap();
    assert_eq!(other.mount("/live/cn1/srv/data/sub").unwrap(), c.walk(&root, "srv/data/sub").unwrap());
}

#[test]
fn only_what_is_read_write_changes() {
    let fixture = Fixture::new();
    fixture.live.set(vec![
        fixture.substitute("/etc/hosts", "tree/hosts", Access::ReadOnly),
        fixture.substitute("/srv/data", "tree/dir", Access::ReadWrite),
        fixture.substitute("/srv/data/sub/fixed", "tree/hosts", Access::ReadOnly),
        entry("/etc/state", OverlayKind::OnFirstUse { directory: false, access: Access::ReadWrite }),
        entry("/var/log", OverlayKind::Placeholder { directory: true }),
    ]);
    let (mut c, root) = fixture.client();
    let [etc, data, sub, log] =
        ["etc", "srv/data", "srv/data/sub", "var/log"].map(|p| c.walk(&root, p).unwrap());
    let [rofs, access] = [Status::RoFs.code(), Status::Access.code()];

    let hosts = c.walk(&root, "etc/hosts").unwrap();
    assert_eq!(status(c.write(&hosts, 0, b"x", 0)), rofs);
    assert_eq!(status(c.create(&etc, "new", &mode(0o600), true)), rofs);
    assert_eq!(status(c.create(&log, "new", &mode(0o600), true)), rofs);
    assert_eq!(status(c.remove(&etc, "state")), rofs);
    assert_eq!(c.access(&etc, 0x3f).unwrap(), 0x03);
    assert_eq!(c.access(&data, 0x3f).unwrap(), 0x1f);

    let state = c.create(&etc, "state", &SetAttributes { size: Some(0), ..mode(0o600) }, false).unwrap();
    c.write(&state, 0, b"kept", 2).unwrap();
    assert_eq!(std::fs::read(fixture.at("store/etc/state")).unwrap(), b"kept");

    let made = c.create(&data, "new", &mode(0o640), true).unwrap();
    c.write(&made, 0, b"data", 2).unwrap();
    assert_eq!(std::fs::read(fixture.at("tree/dir/new")).unwrap(), b"data");
    c.rename((&data, "new"), (&sub, "moved")).unwrap();
    c.link(&made, &data, "again").unwrap();
    assert_eq!(names(&mut c, &root, "srv/data/sub"), ["b", "fixed", "moved"]);

    assert_eq!(status(c.remove(&sub, "fixed")), access);
    assert_eq!(status(c.rename((&sub, "b"), (&sub, "fixed"))), access);
    assert_eq!(status(c.create(&sub, "fixed", &mode(0o600), true)), Status::Exist.code());
    assert_eq!(status(c.mkdir(&sub, "fixed", &mode(0o600))), Status::Exist.code());
    assert_eq!(status(c.rename((&sub, "b"), (&etc, "b"))), rofs);
    assert_eq!(std::fs::read_dir(fixture.at("image/etc")).unwrap().count(), 3);
    assert!(!fixture.at("tree/dir/sub/fixed").exists());
}

#[test]
fn what_is_being_made_is_waited_for() {
    let mut fixture = Fixture::new();
    let on_first_use = OverlayKind::OnFirstUse { directory: false, access: Access::ReadWrite };
    fixture.live.set(vec![entry("/etc/hosts", on_first_use)]);
    let (mut c, root) = fixture.client();
    let etc = c.walk(&root, "etc").unwrap();
    fixture.live.unfinished.store(true, Ordering::Relaxed);
    // The image has a file of that name, which is not meant.
    assert_eq!(status(c.lookup(&etc, "hosts")), Status::Jukebox.code());
    assert!(names(&mut c, &root, "etc").contains(&"hosts".to_owned()));
    fixture.live.unfinished.store(false, Ordering::Relaxed);
    let hosts = c.lookup(&etc, "hosts").unwrap().0;
    assert_eq!(c.read(&hosts, 0, 100).unwrap().0, b"seed of etc/hosts");
    // A handle from before a restart does not lead to a file that is gone.
    fixture.live.unfinished.store(true, Ordering::Relaxed);
    fixture.start();
    let (mut c, _) = fixture.client();
    assert_eq!(status(c.getattr(&hosts)), Status::Jukebox.code());
}

#[test]
fn changes_are_seen_at_once() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.client();
    let etc = c.walk(&root, "etc").unwrap();
    let hosts = c.walk(&root, "etc/hosts").unwrap();
    assert_eq!(text(&mut c, &root, "etc/hosts"), "image");
    let before = c.getattr(&etc).unwrap();

    // An entry appears below a directory whose handle is held, and the directory looks changed.
    fixture.live.set(vec![fixture.substitute("/etc/hosts", "tree/hosts", Access::ReadOnly)]);
    let (laid, _) = c.lookup(&etc, "hosts").unwrap();
    assert_eq!(c.read(&laid, 0, 100).unwrap().0, b"tree");
    assert!(c.getattr(&etc).unwrap().mtime > before.mtime);
    assert_eq!(c.read(&hosts, 0, 100).unwrap().0, b"image");

    // Its source is edited in place, then replaced, then taken away.
    std::fs::write(fixture.at("tree/hosts"), "edited").unwrap();
    assert_eq!(c.read(&laid, 0, 100).unwrap().0, b"edited");
    std::fs::write(fixture.at("tree/hosts.new"), "replaced").unwrap();
    std::fs::hard_link(fixture.at("tree/hosts"), fixture.at("tree/hosts.old")).unwrap();
    std::fs::rename(fixture.at("tree/hosts.new"), fixture.at("tree/hosts")).unwrap();
    assert_eq!(status(c.getattr(&laid)), Status::Stale.code());
    assert_eq!(text(&mut c, &root, "etc/hosts"), "replaced");
    std::fs::remove_file(fixture.at("tree/hosts")).unwrap();
    assert_eq!(text(&mut c, &root, "etc/hosts"), "image");

    // The entry goes; handles of the tree itself were good all along.
    let (laid, _) = c.lookup(&etc, "network").unwrap();
    fixture.live.set(Vec::new());
    assert_eq!(text(&mut c, &root, "etc/hosts"), "image");
    c.getattr(&laid).unwrap();
    assert_eq!(c.walk(&root, "etc").unwrap(), etc);
    assert!(!fixture.events.0.lock().unwrap().iter().any(|e| matches!(e, Event::ForgedHandle)));
}
