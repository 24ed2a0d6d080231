//! Entry points for fuzzers: every parser of bytes from outside, and the procedures behind them.
//!
//! Each takes any bytes and must return. [`fuzz_procedure`] runs against a real directory in the system's
//! temporary directory, as the user of the process, so that the procedures are reached with good handles.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::client;
use crate::drc::ReplyCache;
use crate::engine::{Answer, Engine, EngineConfig, Session};
use crate::export::{Export, ExportId, Exports, FixedExports};
use crate::handle::{FileHandle, HandleKey};
use crate::observe::{Event, Observer};
use crate::portmap::{self, Ports};
use crate::record::Records;
use crate::xdr::Writer;
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
    let _ = target.engine.call(&target.session, data, Vec::new());
}

/// One procedure's arguments, behind a good header: the first byte chooses the procedure, the second the
/// handle it begins with, the rest are the arguments after it. Two procedures take a second handle, which
/// is put in its place.
pub fn fuzz_procedure(data: &[u8]) {
    let (Some(target), [number, which, rest @ ..]) = (target(), data) else { return };
    let number = u32::from(*number) % 22;
    let Some(handle) = target.handles.get(usize::from(*which) % target.handles.len()) else { return };
    let mut w = Writer::default();
    for word in
        [u32::from(*which), 0, 2, nfs3::PROGRAM, 3, number, 1, 20, 0, 0, u32::from(*which & 1), 0, 0, 0, 0]
    {
        w.u32(word);
    }
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
    if let Answer::Reply(reply) = target.engine.call(&target.session, w.bytes(), Vec::new()) {
        assert!(reply.head.len() < 2 << 20, "a reply larger than any call asks for");
    }
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
    let (engine, session) = make_engine(&dir);
    let mut handles = Vec::new();
    for path in ["/fuzz", "/fuzz/dir"] {
        let mut w = Writer::default();
        for word in [1, 0, 2, mount::PROGRAM, 3, 1, 1, 20, 0, 0, 0, 0, 0, 0, 0] {
            w.u32(word);
        }
        w.opaque(path.as_bytes());
        let Answer::Reply(reply) = engine.call(&session, w.bytes(), Vec::new()) else { return None };
        handles.push(client::mounted_handle(reply.head.get(28..)?)?);
    }
    Some(Target { engine, session, handles })
}

fn ignore_existing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn make_engine(dir: &Path) -> (Engine, Session) {
    let export = Export::read_write(ExportId(1), dir.join("tree"));
    let exports: Arc<dyn Exports> = Arc::new(FixedExports::default().with("/fuzz", export));
    let engine = Engine::new(EngineConfig {
        exports,
        observer: Arc::new(Nobody),
        key: HandleKey::new([7; 16]),
        verifier: 1,
        open_objects_max: 64,
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
        }

        #[test]
        fn small_words(number in 0u8..22, which in 0u8..4, words in proptest::collection::vec(0u32..9, 0..20)) {
            let words = words.iter().flat_map(|w| w.to_be_bytes());
            fuzz_procedure(&[number, which].into_iter().chain(words).collect::<Vec<u8>>());
        }
    }
}
