//! Entry points for fuzzers: every parser of bytes from outside, and the procedures behind them.
//!
//! Each takes any bytes and must return. [`fuzz_procedure`] and [`fuzz_overlay`] run against real directories
//! in the system's temporary directory, as the user of the process, so that the procedures are reached with
//! good handles.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::client;
use crate::cred;
use crate::drc::ReplyCache;
use crate::engine::{Answer, Engine, EngineConfig, Seat, Session};
use crate::export::{Access, Export, ExportId, Exports, FixedExports, Mounted, Question, Refusal};
use crate::handle::{FileHandle, HandleKey};
use crate::observe::{Event, Observer};
use crate::overlay::{OverlayEntry, OverlayKind, OverlaySpec};
use crate::portmap::{self, Ports};
use crate::record::Records;
use crate::xdr::{Reader, Writer};
use crate::{mount, nfs3, rpc};

/// Record marking: the bytes arrive in pieces whose sizes they determine themselves.
pub fn fuzz_record(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let mut records = Records::default();
    for piece in stream.chunks(usize::from(*step).max(1)) {
        records.room().extend_from_slice(piece);
        while let Ok(Some(record)) = records.next_record() {
            let _ = rpc::parse_call(record.bytes());
        }
    }
}

/// File handles. A fuzzer watches the comparison of the MAC and learns it, which no client can, so sealed
/// handles are among its inputs too: what opens is whole, and sealing it again gives the same parts.
pub fn fuzz_handle(data: &[u8]) {
    let key = HandleKey::new([0x5a; 16]);
    let Some(handle) = FileHandle::from_wire(data) else { return };
    let Some(opened) = handle.open(&key) else { return };
    let again = FileHandle::seal(&key, opened.export, opened.region, opened.kind, opened.object);
    let again = again.as_ref().and_then(|again| again.open(&key));
    assert_eq!(again.as_ref(), Some(&opened), "a handle changed when it was sealed again");
}

/// The port mapper.
pub fn fuzz_portmap(data: &[u8]) {
    let _ = portmap::answer(data, &Ports { nfs: 2049, nfs_udp: Some(2049), mount: 2049 });
}

/// Whole records, as a stranger sends them.
pub fn fuzz_call(data: &[u8]) {
    let Some(target) = target() else { return };
    let _ = target.engine.call(&target.session, data, Vec::new(), Seat::Own);
}

/// One procedure's arguments, after a good header: the first byte chooses the procedure, the second the
/// handle it begins with, the rest are the arguments after it. Two procedures take a second handle, which
/// is put in its place.
pub fn fuzz_procedure(data: &[u8]) {
    let (Some(target), [number, which, rest @ ..]) = (target(), data) else { return };
    let number = u32::from(*number) % 22;
    let Some(handle) = target.handles.get(usize::from(*which) % target.handles.len()) else { return };
    let mut w = header(u32::from(*which), nfs3::PROGRAM, number, u32::from(*which & 1));
    w.opaque(handle.as_bytes());
    match (number, rest.split_at_checked(8)) {
        (14, Some((name, rest))) => {
            w.opaque(name);
            w.opaque(handle.as_bytes());
            w.fixed(rest);
        }
        (15, _) => {
            w.opaque(handle.as_bytes());
            w.fixed(rest);
        }
        _ => w.fixed(rest),
    }
    if let Answer::Reply(reply) = target.engine.call(&target.session, w.bytes(), Vec::new(), Seat::Own) {
        assert!(reply.head.len() < 2 << 20, "a reply larger than any call asks for");
    }
}

/// A call up to its arguments, made by user `uid`.
fn header(xid: u32, program: u32, procedure: u32, uid: u32) -> Writer {
    let mut w = Writer::default();
    for word in [xid, 0, 2, program, 3, procedure, 1, 20, 0, 0, uid, 0, 0, 0, 0] {
        w.u32(word);
    }
    w
}

/// Names that overlays and calls are made of: what the image has, what it has not, and ways out.
const NAMES: [&str; 8] = ["dir", "file", "link", "new", "deep", "..", ".", "out"];

/// An overlay of any entries, and calls of any procedures in it. Bytes in fours: an entry or a call, which
/// kind, and two names or a name and a handle. Panics if the image is another afterwards.
pub fn fuzz_overlay(data: &[u8]) {
    // The thread may still act as who called last.
    let (Ok(()), Some(over)) = (cred::as_server(), overlay()) else { return };
    // One directory for all: tests call this from several threads.
    let _alone = over.alone.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(root) = over.target.handles.first() else { return };
    let mut handles = vec![*root];
    let mut entries = Vec::new();
    over.exports.show(Vec::new());
    for (word, xid) in data.chunks_exact(4).take(64).zip(0..) {
        let [what, kind, a, b] = *word else { continue };
        let name = |n: u8| NAMES.get(usize::from(n) % NAMES.len()).copied().unwrap_or_default();
        if what % 3 == 0 {
            let path = Path::new(name(a)).join(name(b));
            let what = over.exports.kind(kind);
            entries.push(OverlayEntry { path, what });
            over.exports.show(entries.clone());
            continue;
        }
        let Some(handle) = handles.get(usize::from(b) % handles.len()).copied() else { continue };
        let number = u32::from(kind) % 22;
        let mut w = header(over.next_xid.fetch_add(1, Ordering::Relaxed) ^ xid, nfs3::PROGRAM, number, 0);
        w.opaque(handle.as_bytes());
        arguments(&mut w, number, name(a), handles.get(usize::from(what) % handles.len()).unwrap_or(&handle));
        let Answer::Reply(reply) =
            over.target.engine.call(&over.target.session, w.bytes(), Vec::new(), Seat::Own)
        else {
            continue;
        };
        if number == 3
            && let Some(found) = looked_up(&reply.head)
        {
            handles.push(found);
        }
    }
    let _ = cred::as_server();
    assert_eq!(state_of(&over.dir.join("image")), over.image, "a call has changed the image");
}

/// Good arguments after the first handle.
fn arguments(w: &mut Writer, number: u32, name: &str, second: &FileHandle) {
    let keep_all = |w: &mut Writer| (0..6).for_each(|_| w.u32(0));
    match number {
        2 => {
            w.u32(1);
            w.u32(0o600);
            (0..6).for_each(|_| w.u32(0));
        }
        3 | 12 | 13 => w.opaque(name.as_bytes()),
        6 => {
            w.u64(0);
            w.u32(100);
        }
        7 => {
            w.u64(0);
            w.u32(4);
            w.u32(0);
            w.opaque(b"more");
        }
        8 => {
            w.opaque(name.as_bytes());
            w.u32(0);
            keep_all(w);
        }
        9 => {
            w.opaque(name.as_bytes());
            keep_all(w);
        }
        10 => {
            w.opaque(name.as_bytes());
            keep_all(w);
            w.opaque(b"../image");
        }
        14 => {
            w.opaque(name.as_bytes());
            w.opaque(second.as_bytes());
            w.opaque(b"new");
        }
        15 => {
            w.opaque(second.as_bytes());
            w.opaque(name.as_bytes());
        }
        16 | 17 => {
            w.u64(0);
            w.u64(0);
            w.u32(4096);
            w.u32(4096);
        }
        _ => (0..4).for_each(|_| w.u32(0)),
    }
}

/// The handle in a reply to LOOKUP.
fn looked_up(head: &[u8]) -> Option<FileHandle> {
    let mut r = Reader::new(head.get(28..)?);
    (r.u32().ok()? == 0).then_some(())?;
    FileHandle::from_wire(r.opaque(64).ok()?)
}

/// Names and contents below a directory.
fn state_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut all = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        all.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            all.extend(state_of(&path));
        }
    }
    all.sort();
    all
}

/// One live root whose overlay is exchanged.
struct Shown {
    dir: PathBuf,
    spec: Mutex<Arc<OverlaySpec>>,
    generation: AtomicU64,
}

impl Shown {
    fn show(&self, entries: Vec<OverlayEntry>) {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let spec = OverlaySpec { generation, far: None, changed: nfs3::Time::default(), entries };
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
    }

    fn kind(&self, byte: u8) -> OverlayKind {
        let directory = byte & 1 == 1;
        let access = if byte & 2 == 2 { Access::ReadWrite } else { Access::ReadOnly };
        let source = ["own/dir", "own/file", "own/none", "own/link"];
        let source = source.get(usize::from(byte >> 4) % source.len()).copied().unwrap_or_default();
        match byte >> 2 & 3 {
            0 => OverlayKind::Placeholder { directory },
            1 => OverlayKind::OnFirstUse { directory, access },
            _ => OverlayKind::Substitute { source: self.dir.join(source), access },
        }
    }
}

impl Exports for Shown {
    fn disk(&self, _client: IpAddr, _question: Question<'_>) -> Option<PathBuf> {
        None
    }

    fn mount(&self, client: IpAddr, _path: &str) -> Result<Mounted, Refusal> {
        self.by_id(client, ExportId(2)).map(Mounted::root)
    }

    fn by_id(&self, _client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        let overlay = Some(self.spec.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Ok(Arc::new(Export { overlay, ..Export::read_only(id, self.dir.join("image")) }))
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn materialise(&self, _export: ExportId, path: &Path) -> std::io::Result<PathBuf> {
        let made = self.dir.join("store").join(path.to_string_lossy().replace('/', "_"));
        std::fs::create_dir_all(&made)?;
        Ok(made)
    }
}

/// What [`fuzz_overlay`] works on.
struct Overlaid {
    dir: PathBuf,
    exports: Arc<Shown>,
    target: Target,
    image: Vec<(PathBuf, Vec<u8>)>,
    next_xid: std::sync::atomic::AtomicU32,
    alone: Mutex<()>,
}

fn overlay() -> Option<&'static Overlaid> {
    static OVERLAY: OnceLock<Option<Overlaid>> = OnceLock::new();
    OVERLAY.get_or_init(make_overlay).as_ref()
}

fn make_overlay() -> Option<Overlaid> {
    let dir = std::env::temp_dir().join(format!("dawn-nfs-fuzz-overlay-{}", std::process::id()));
    for name in ["image/dir/deep", "own/dir/deep", "store", "stand-ins/dir"] {
        std::fs::create_dir_all(dir.join(name)).ok()?;
    }
    for name in ["image/file", "image/dir/file", "own/file", "own/dir/file", "stand-ins/file"] {
        std::fs::write(dir.join(name), name).ok()?;
    }
    // No link leads out of the folder: a link as source is followed, and calls write behind it.
    for (text, name) in [("dir", "image/link"), ("../../own", "image/out"), ("dir", "own/link")] {
        std::os::unix::fs::symlink(text, dir.join(name)).or_else(ignore_existing).ok()?;
    }
    let spec = OverlaySpec { generation: 0, far: None, changed: nfs3::Time::default(), entries: Vec::new() };
    let exports =
        Arc::new(Shown { dir: dir.clone(), spec: Mutex::new(Arc::new(spec)), generation: AtomicU64::new(0) });
    let (engine, session) = make_engine(exports.clone(), &dir);
    let handles = vec![mount_by_call(&engine, &session, "/")?];
    let image = state_of(&dir.join("image"));
    let target = Target { engine, session, handles };
    Some(Overlaid { dir, exports, target, image, next_xid: 1.into(), alone: Mutex::default() })
}

struct Target {
    engine: Engine,
    session: Session,
    handles: Vec<FileHandle>,
}

struct Nobody;

impl Observer for Nobody {
    fn event(&self, _client: SocketAddr, _event: Event) {}
}

fn target() -> Option<&'static Target> {
    static TARGET: OnceLock<Option<Target>> = OnceLock::new();
    TARGET.get_or_init(make_target).as_ref()
}

fn make_target() -> Option<Target> {
    let dir = std::env::temp_dir().join(format!("dawn-nfs-fuzz-{}", std::process::id()));
    for name in ["tree/dir", "stand-ins/dir"] {
        std::fs::create_dir_all(dir.join(name)).ok()?;
    }
    for name in ["tree/file", "stand-ins/file"] {
        std::fs::write(dir.join(name), b"data").ok()?;
    }
    std::os::unix::fs::symlink("file", dir.join("tree/link")).or_else(ignore_existing).ok()?;
    let export = Export::read_write(ExportId(1), dir.join("tree"));
    let exports = FixedExports::default().with("/fuzz", export);
    let (engine, session) = make_engine(Arc::new(exports), &dir);
    let mounted = |path| mount_by_call(&engine, &session, path);
    let handles = vec![mounted("/fuzz")?, mounted("/fuzz/dir")?];
    Some(Target { engine, session, handles })
}

fn mount_by_call(engine: &Engine, session: &Session, path: &str) -> Option<FileHandle> {
    let mut w = header(1, mount::PROGRAM, 1, 0);
    w.opaque(path.as_bytes());
    let Answer::Reply(reply) = engine.call(session, w.bytes(), Vec::new(), Seat::Own) else { return None };
    client::mounted_handle(reply.head.get(28..)?)
}

fn ignore_existing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn make_engine(exports: Arc<dyn Exports>, dir: &Path) -> (Engine, Session) {
    let engine = Engine::new(EngineConfig {
        exports,
        observer: Arc::new(Nobody),
        key: HandleKey::new([7; 16]),
        verifier: 1,
        open_objects_max: 64,
        disks: dawn_serving::DiskPool::default(),
        replies: ReplyCache::in_memory(1),
        stand_ins: dir.join("stand-ins"),
    });
    (engine, Session::new(SocketAddr::from(([127, 0, 0, 1], 1000)), false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_record(&data);
            fuzz_handle(&data);
            fuzz_portmap(&data);
            fuzz_call(&data);
            fuzz_procedure(&data);
            fuzz_overlay(&data);
        }

        #[test]
        fn small_words(number in 0u8..22, which in 0u8..4, words in proptest::collection::vec(0u32..9, 0..20)) {
            let words = words.iter().flat_map(|w| w.to_be_bytes());
            fuzz_procedure(&[number, which].into_iter().chain(words).collect::<Vec<u8>>());
        }
    }
}
