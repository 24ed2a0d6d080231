//! Conversations with a real server over loopback, each about one promise of the protocol.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Fixture, status};
use dawn_nfs::client::{CallError, Client};
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3::{SetAttributes, SetTime, Status, Time};
use dawn_nfs::{
    Access, Event, Export, ExportId, Exports, FixedExports, LogObserver, Mounted, Question, Refusal, Server,
    ServerConfig, Squash,
};

fn mode(mode: u32) -> SetAttributes {
    SetAttributes { mode: Some(mode), ..SetAttributes::default() }
}

#[test]
fn everything_a_root_file_system_holds() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    let area = fixture.path("area");

    let dir = c.mkdir(&root, "etc", &mode(0o755)).unwrap();
    let file = c.create(&dir, "shadow", &mode(0o640), true).unwrap();
    assert_eq!(c.write(&file, 0, b"root:*\n", 2).unwrap().0, 7);
    c.symlink(&root, "bin", "usr/bin").unwrap();
    assert_eq!(status(c.symlink(&root, "long", &"x".repeat(5000))), Status::NameTooLong as u32);
    c.link(&file, &root, "shadow-").unwrap();
    c.mknod(&root, "null", 4, &mode(0o666), (1, 3)).unwrap();
    c.mknod(&root, "sda", 3, &mode(0o660), (8, 0)).unwrap();
    c.mknod(&root, "pipe", 7, &mode(0o600), (0, 0)).unwrap();
    c.mknod(&root, "socket", 6, &mode(0o600), (0, 0)).unwrap();
    let su = c.create(&root, "su", &mode(0o4755), true).unwrap();
    c.setattr(
        &su,
        &SetAttributes { uid: Some(12), gid: Some(34), mode: Some(0o6711), ..Default::default() },
        None,
    )
    .unwrap();
    c.mkdir(&root, "tmp", &mode(0o1777)).unwrap();

    let meta = |name: &str| std::fs::symlink_metadata(area.join(name)).unwrap();
    assert_eq!(std::fs::read(area.join("shadow-")).unwrap(), b"root:*\n");
    assert_eq!(meta("etc/shadow").nlink(), 2);
    assert_eq!(meta("etc/shadow").permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_link(area.join("bin")).unwrap().to_str(), Some("usr/bin"));
    assert!(meta("null").file_type().is_char_device() && meta("null").rdev() == 0x103);
    assert!(meta("sda").file_type().is_block_device() && meta("sda").rdev() == 0x800);
    assert!(meta("pipe").file_type().is_fifo() && meta("socket").file_type().is_socket());
    assert_eq!((meta("su").uid(), meta("su").gid(), meta("su").mode() & 0o7777), (12, 34, 0o6711));
    assert_eq!(meta("tmp").mode() & 0o7777, 0o1777);

    let (null, attributes) = c.lookup(&root, "null").unwrap();
    assert_eq!((attributes.kind, attributes.rdev, attributes.mode), (4, (1, 3), 0o666));
    assert_eq!(status(c.read(&null, 0, 10)), Status::Inval.code());
    let bin = c.walk(&root, "bin").unwrap();
    assert_eq!(c.readlink(&bin).unwrap(), b"usr/bin");
    assert_eq!(c.read(&file, 5, 100).unwrap(), (b"*\n".to_vec(), true));
    assert_eq!(c.lookup(&dir, "..").unwrap().0, root);
    assert_eq!(c.lookup(&root, "..").unwrap().0, root);
    assert_eq!(c.fsinfo(&root).unwrap(), (1 << 20, 1 << 20));
    assert_eq!(c.pathconf(&root).unwrap().1, 255);
    assert!(c.fsstat(&root).unwrap().0 > 0);

    c.rename((&root, "su"), (&dir, "su2")).unwrap();
    assert_eq!(c.getattr(&su).unwrap().uid, 12);
    c.remove(&dir, "su2").unwrap();
    assert_eq!(status(c.getattr(&su)), Status::Stale.code());
    assert_eq!(status(c.rmdir(&root, "etc")), Status::NotEmpty.code());
    c.rmdir(&root, "tmp").unwrap();
    assert_eq!(status(c.lookup(&root, "tmp")), Status::NoEnt.code());
}

#[test]
fn reads_of_every_size_are_exact() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    let data: Vec<u8> = (0..3_000_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = c.create(&root, "big", &mode(0o600), false).unwrap();
    for (i, chunk) in data.chunks(1 << 20).enumerate() {
        assert_eq!(c.write(&file, (i as u64) << 20, chunk, 0).unwrap().0 as usize, chunk.len());
    }
    c.commit(&file).unwrap();
    for count in [1u32, 3, 4096, 16 << 10, (16 << 10) + 1, 65_537, 1 << 20] {
        for offset in [0u64, 1, 4095, 1 << 20, 2_999_990, 3_000_001, 4_000_000] {
            let want = data.get(offset as usize..).unwrap_or_default();
            let want = &want[..want.len().min(count as usize)];
            let (got, eof) = c.read(&file, offset, count).unwrap();
            assert!(got == want, "{count} bytes at {offset}");
            assert_eq!(eof, offset + got.len() as u64 >= 3_000_001, "{count} at {offset}");
        }
    }
}

#[test]
fn listings_are_complete_and_can_be_continued() {
    let mut fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    for i in 0..1000 {
        std::fs::write(fixture.path("area").join(format!("file-{i:04}")), b"x").unwrap();
    }
    let names = |entries: &[dawn_nfs::client::Entry]| {
        let mut names: Vec<_> = entries.iter().map(|e| String::from_utf8(e.name.clone()).unwrap()).collect();
        names.sort();
        names
    };
    let mut want: Vec<String> = (0..1000).map(|i| format!("file-{i:04}")).collect();
    want.splice(0..0, [".".to_owned(), "..".to_owned()]);
    for (bytes, plus) in [(512, false), (4096, true), (1 << 20, true), (1 << 20, false)] {
        let entries = c.readdir(&root, bytes, plus).unwrap();
        assert_eq!(names(&entries), want, "{bytes} {plus}");
        for entry in entries.iter().filter(|e| plus && e.name.starts_with(b"file")) {
            let attributes = entry.attributes.unwrap();
            assert_eq!((attributes.size, attributes.fileid), (1, entry.fileid));
        }
    }
    let (first, _) = c.readdir_page(&root, 0, 2048, false).unwrap();
    fixture.restart();
    let mut c = fixture.client();
    let mut all = first;
    loop {
        let last = all.last().unwrap().cookie;
        let (mut page, at_end) = c.readdir_page(&root, last, 2048, false).unwrap();
        all.append(&mut page);
        if at_end {
            break;
        }
    }
    assert_eq!(names(&all), want);
    assert_eq!(status(c.readdir_page(&root, 0, 100, false)), Status::TooSmall.code());
}

#[test]
fn a_read_only_export_is_not_changed() {
    let fixture = Fixture::new();
    let image = fixture.path("image");
    std::fs::write(image.join("file"), b"data").unwrap();
    let mut c = fixture.client();
    let root = c.mount("/install/image").unwrap();
    let (file, _) = c.lookup(&root, "file").unwrap();
    let rofs = Status::RoFs.code();
    assert_eq!(status(c.create(&root, "x", &mode(0o600), false)), rofs);
    assert_eq!(status(c.mkdir(&root, "x", &mode(0o600))), rofs);
    assert_eq!(status(c.symlink(&root, "x", "y")), rofs);
    assert_eq!(status(c.mknod(&root, "x", 7, &mode(0o600), (0, 0))), rofs);
    assert_eq!(status(c.remove(&root, "file")), rofs);
    assert_eq!(status(c.rename((&root, "file"), (&root, "x"))), rofs);
    assert_eq!(status(c.link(&file, &root, "x")), rofs);
    assert_eq!(status(c.setattr(&file, &mode(0o777), None)), rofs);
    assert_eq!(status(c.write(&file, 0, b"x", 0)), rofs);
    assert_eq!(c.access(&root, 0x3f).unwrap(), 0x03);
    assert_eq!(c.read(&file, 0, 10).unwrap().0, b"data");
    assert_eq!(std::fs::read_dir(&image).unwrap().count(), 1);
}

#[test]
fn handles_outlive_a_restart_and_lead_nowhere_else() {
    let mut fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    let file = c.create(&root, "file", &mode(0o600), false).unwrap();
    let (_, verifier) = c.write(&file, 0, b"before", 0).unwrap();
    fixture.restart();
    let mut c = fixture.client();
    assert_eq!(c.read(&file, 0, 10).unwrap().0, b"before");
    assert_ne!(c.write(&file, 0, b"after.", 0).unwrap().1, verifier);

    // The inode may be used again at once; the old handle must not lead to the new file.
    std::fs::remove_file(fixture.path("area/file")).unwrap();
    std::fs::write(fixture.path("area/file"), b"secret").unwrap();
    assert_eq!(status(c.read(&file, 0, 10)), Status::Stale.code());

    let mut forged = root.as_bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = FileHandle::from_wire(&forged).unwrap();
    assert_eq!(status(c.getattr(&forged)), Status::BadHandle.code());
    assert!(fixture.events.0.lock().unwrap().contains(&Event::ForgedHandle));
}

#[test]
fn names_that_would_leave_the_export() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    std::fs::write(fixture.path("outside"), b"secret").unwrap();
    symlink("..", fixture.path("area/up")).unwrap();
    let (up, attributes) = c.lookup(&root, "up").unwrap();
    assert_eq!(attributes.kind, 5);
    assert_eq!(status(c.lookup(&up, "outside")), Status::NotDir.code());
    for name in ["../outside", "/etc", "", "a/b"] {
        assert_eq!(status(c.lookup(&root, name)), Status::Access.code(), "{name}");
    }
    assert_eq!(status(c.lookup(&root, &"x".repeat(256))), Status::NameTooLong.code());
    assert_eq!(status(c.remove(&root, "..")), Status::Inval.code());
    assert_eq!(status(c.mkdir(&root, ".", &mode(0o700))), Status::Exist.code());

    // A directory that was moved out by hand has no parent any more.
    let dir = c.mkdir(&root, "dir", &mode(0o755)).unwrap();
    std::fs::rename(fixture.path("area/dir"), fixture.path("moved")).unwrap();
    assert_eq!(status(c.lookup(&dir, "..")), Status::Stale.code());
}

#[test]
fn the_kernel_judges_by_the_callers_ids() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    c.setattr(&root, &mode(0o755), None).unwrap();
    let theirs = c.mkdir(&root, "theirs", &mode(0o770)).unwrap();
    c.setattr(&theirs, &SetAttributes { gid: Some(500), ..Default::default() }, None).unwrap();
    let tmp = c.mkdir(&root, "tmp", &mode(0o1777)).unwrap();
    let secret = c.create(&root, "secret", &mode(0o600), false).unwrap();

    let user = |uid, gid, groups: &[u32]| fixture.client().acting_as(uid, gid, groups);
    let denied = Status::Access.code();
    assert_eq!(status(user(1000, 1000, &[]).create(&root, "x", &mode(0o644), false)), denied);
    assert_eq!(status(user(1000, 1000, &[]).lookup(&theirs, "x")), denied);
    assert_eq!(status(user(1000, 1000, &[]).readdir(&theirs, 4096, true)), denied);
    assert_eq!(status(user(1000, 1000, &[]).read(&secret, 0, 1)), denied);
    assert_eq!(status(user(1000, 1000, &[]).write(&secret, 0, b"x", 0)), denied);
    assert_eq!(user(1000, 1000, &[]).access(&secret, 0x3f).unwrap(), 0);
    assert_eq!(user(1000, 1000, &[]).access(&root, 0x3f).unwrap(), 0x03);
    assert_eq!(
        status(user(1000, 1000, &[]).mknod(&tmp, "null", 4, &mode(0o666), (1, 3))),
        Status::Perm.code()
    );

    let mut member = user(1000, 1000, &[7, 500]);
    let file = member.create(&theirs, "x", &mode(0o600), true).unwrap();
    let attributes = member.getattr(&file).unwrap();
    assert_eq!((attributes.uid, attributes.gid), (1000, 1000));
    assert_eq!(
        status(member.setattr(&file, &SetAttributes { uid: Some(0), ..Default::default() }, None)),
        Status::Perm.code()
    );

    member.create(&tmp, "mine", &mode(0o4755), true).unwrap();
    let mut other = user(1001, 1001, &[]);
    assert!([Status::Perm.code(), denied].contains(&status(other.remove(&tmp, "mine"))));

    // The owner writes a file it has made unwritable: on the client it was open before.
    member.setattr(&file, &mode(0o400), None).unwrap();
    assert_eq!(member.write(&file, 0, b"ok", 0).unwrap().0, 2);

    // Another's write takes the setuid bit away.
    let tool = c.create(&root, "tool", &mode(0o4777), true).unwrap();
    other.write(&tool, 0, b"evil", 0).unwrap();
    assert_eq!(c.getattr(&tool).unwrap().mode, 0o777);
}

#[test]
fn creation_and_guards() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    let first = c.create_exclusive(&root, "lock", 0x1234_5678_9abc_def0).unwrap();
    assert_eq!(c.create_exclusive(&root, "lock", 0x1234_5678_9abc_def0).unwrap(), first);
    assert_eq!(status(c.create_exclusive(&root, "lock", 77)), Status::Exist.code());
    assert_eq!(status(c.create(&root, "lock", &mode(0o600), true)), Status::Exist.code());

    c.write(&first, 0, b"content", 2).unwrap();
    let keep = c.create(&root, "lock", &mode(0o777), false).unwrap();
    assert_eq!((keep, c.getattr(&keep).unwrap().size), (first, 7));
    c.create(&root, "lock", &SetAttributes { size: Some(0), ..mode(0o777) }, false).unwrap();
    assert_eq!(c.getattr(&keep).unwrap().size, 0);

    let ctime = c.getattr(&keep).unwrap().ctime;
    let wrong = Time { sec: 1, nsec: 1 };
    assert_eq!(status(c.setattr(&keep, &mode(0o644), Some(wrong))), Status::NotSync.code());
    c.setattr(&keep, &mode(0o644), Some(ctime)).unwrap();
    let when = Time { sec: 1_000_000_000, nsec: 123_456_789 };
    let times = SetAttributes { mtime: SetTime::Client(when), atime: SetTime::Server, ..Default::default() };
    c.setattr(&keep, &times, None).unwrap();
    assert_eq!(c.getattr(&keep).unwrap().mtime, when);
    assert!(c.getattr(&keep).unwrap().atime > when);
    assert_eq!(status(c.mknod(&root, "d", 2, &mode(0), (0, 0))), Status::BadType.code());
}

#[test]
fn a_repeated_call_is_answered_and_not_repeated() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    for name in ["a", "b"] {
        c.create(&root, name, &mode(0o600), false).unwrap();
    }
    c.next_xid = 500;
    c.remove(&root, "a").unwrap();
    let mut again = fixture.client();
    again.next_xid = 500;
    again.remove(&root, "a").unwrap();
    again.next_xid = 500;
    assert_eq!(status(again.lookup(&root, "a")), Status::NoEnt.code());
    again.next_xid = 500;
    again.remove(&root, "b").unwrap();
    assert_eq!(status(again.remove(&root, "b")), Status::NoEnt.code());
}

#[test]
fn a_repeated_call_is_known_after_a_restart() {
    let mut fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    c.mkdir(&root, "from", &mode(0o755)).unwrap();
    c.next_xid = 900;
    c.rename((&root, "from"), (&root, "to")).unwrap();
    fixture.restart();
    let mut again = fixture.client();
    again.next_xid = 900;
    again.rename((&root, "from"), (&root, "to")).unwrap();
    assert_eq!(status(again.rename((&root, "from"), (&root, "to"))), Status::NoEnt.code());
}

#[test]
fn mounting() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.path("area/a/b")).unwrap();
    symlink("/etc", fixture.path("area/link")).unwrap();
    let mut c = fixture.client();
    let root = c.mount("/area").unwrap();
    assert_eq!(c.mount("/area/a/b/").unwrap(), c.walk(&root, "a/b").unwrap());
    for (path, want) in [
        ("/", Status::Access),
        ("/etc", Status::Access),
        ("/areaX", Status::Access),
        ("/area/missing", Status::NoEnt),
        ("/area/link", Status::NotDir),
        ("/area/../etc", Status::Inval),
    ] {
        assert_eq!(status(c.mount(path)), want.code(), "{path}");
    }
    let events = fixture.events.0.lock().unwrap();
    assert!(events.iter().any(|e| matches!(e, Event::Mounted { path, .. } if path == "/area/a/b")));
    assert!(events.iter().any(|e| matches!(e, Event::MountRefused { path, .. } if path == "/etc")));
}

#[test]
fn callers_without_credentials_and_squashed_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for name in ["state", "open", "squash"] {
        std::fs::create_dir(path.join(name)).unwrap();
        std::fs::set_permissions(path.join(name), std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let squash = Squash::Root { uid: 65534, gid: 65534 };
    let open = Export { allow_auth_none: true, ..Export::read_write(ExportId(1), path.join("open")) };
    let strict = Export { squash, ..Export::read_write(ExportId(2), path.join("squash")) };
    assert_eq!(strict.access, Access::ReadWrite);
    let exports = FixedExports::default().with("/open", open).with("/squash", strict);
    let fixture = Fixture::serving(dir, exports);

    let mut c = fixture.client();
    let root = c.mount("/squash").unwrap();
    let file = c.create(&root, "f", &mode(0o600), true).unwrap();
    assert_eq!(c.getattr(&file).unwrap().uid, 65534);

    let mut nobody = fixture.client();
    nobody.credential = None;
    assert!(matches!(nobody.getattr(&root), Err(CallError::Rpc(words)) if words == [1, 1, 1, 5, 0]));
    assert!(matches!(nobody.mount("/squash"), Err(CallError::Rpc(_))));
    let open = nobody.mount("/open").unwrap();
    let file = nobody.create(&open, "f", &mode(0o600), true).unwrap();
    assert_eq!(nobody.getattr(&file).unwrap().uid, 65534);
}

#[test]
fn many_calls_in_flight_and_strangers() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    let mut xids = Vec::new();
    let mut bytes = Vec::new();
    let mut args = dawn_nfs::xdr::Writer::default();
    args.opaque(root.as_bytes());
    for _ in 0..500 {
        let (xid, call) = c.encode(100_003, 3, 1, args.bytes());
        xids.push(xid);
        bytes.extend(call);
    }
    c.send(&bytes).unwrap();
    let mut answered: Vec<u32> =
        xids.iter().map(|_| u32::from_be_bytes(c.receive().unwrap()[..4].try_into().unwrap())).collect();
    answered.sort_unstable();
    assert_eq!(answered, xids);

    let mut stranger = Client::connect(fixture.address()).unwrap();
    stranger.send(&[0xff; 8]).unwrap();
    assert!(stranger.receive().is_err());
    assert!(matches!(c.call(100_003, 2, 0, &[]), Err(CallError::Rpc(w)) if w == [1, 0, 0, 0, 2]));
    assert!(matches!(c.call(100_003, 3, 22, &[]), Err(CallError::Rpc(w)) if w == [1, 0, 0, 0, 3]));
    assert!(matches!(c.call(100_003, 3, 3, &[0, 0]), Err(CallError::Rpc(w)) if w == [1, 0, 0, 0, 4]));
    assert!(matches!(c.call(100_227, 3, 0, &[]), Err(CallError::Rpc(w)) if w == [1, 0, 0, 0, 1]));
    c.getattr(&root).unwrap();
}

#[test]
fn datagrams_and_the_port_mapper() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for name in ["state", "area"] {
        std::fs::create_dir(path.join(name)).unwrap();
    }
    std::fs::write(path.join("area/file"), vec![7u8; 100_000]).unwrap();
    let export = Export::read_only(ExportId(1), path.join("area"));
    let exports = std::sync::Arc::new(FixedExports::default().with("/area", export));
    let portmap = dawn_test_ports::free_port();
    let config = ServerConfig { portmap_port: Some(portmap), ..ServerConfig::loopback(path.join("state")) };
    let server = Server::start(&config, exports, std::sync::Arc::new(LogObserver)).unwrap();
    let nfs = server.ports().nfs;

    let mut asker = Client::connect(([127, 0, 0, 1], portmap).into()).unwrap();
    for (program, version, protocol, want) in [
        (100_003, 3, 6, nfs),
        (100_005, 3, 6, nfs),
        (100_005, 1, 17, nfs),
        (100_021, 4, 6, 0),
        (100_003, 4, 6, nfs),
    ] {
        assert_eq!(
            asker.get_port(program, version, protocol).unwrap(),
            u32::from(want),
            "{program} {version}"
        );
    }

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut c = Client::connect(([127, 0, 0, 1], nfs).into()).unwrap();
    let root = c.mount("/area").unwrap();
    let file = c.walk(&root, "file").unwrap();
    let mut args = dawn_nfs::xdr::Writer::default();
    args.opaque(file.as_bytes());
    args.u64(0);
    args.u32(60_000);
    let (xid, call) = c.encode(100_003, 3, 6, args.bytes());
    socket.send_to(&call[4..], ("127.0.0.1", nfs)).unwrap();
    let mut reply = vec![0; 65_536];
    let len = socket.recv(&mut reply).unwrap();
    assert_eq!(reply[..4], xid.to_be_bytes());
    // As much as fits into a datagram, and not the end of the file.
    assert_eq!(reply[len - 32_768 - 12..][..12], [0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 128, 0]);
    assert!(reply[len - 32_768..len].iter().all(|b| *b == 7));
}

#[test]
fn callers_from_unprivileged_ports() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for name in ["state", "area"] {
        std::fs::create_dir(path.join(name)).unwrap();
    }
    let area = Export { require_privileged_port: true, ..Export::read_write(ExportId(1), path.join("area")) };
    let fixture = Fixture::serving(dir, FixedExports::default().with("/area", area));
    let privileged = (600..1000).find_map(|port| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).ok()?;
        socket.connect(&fixture.address().into()).ok()?;
        Some(Client::over(socket.into()).unwrap())
    });
    let mut kernel = privileged.unwrap();
    let root = kernel.mount("/area").unwrap();
    kernel.create(&root, "file", &mode(0o600), true).unwrap();

    let mut user = fixture.client();
    assert_eq!(status(user.mount("/area")), Status::Access.code());
    assert_eq!(status(user.getattr(&root)), Status::Access.code());
    assert_eq!(status(user.remove(&root, "file")), Status::Access.code());
}

/// Handles that were kept are those that the kernel gives: a listing, the same again, a look at each name,
/// and a server that has just started agree. The files must be older than the test, so they are the crate's
/// own.
#[test]
fn handles_are_the_same_however_they_are_come_by() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exports =
        FixedExports::default().with("/source", Export::read_only(ExportId::of(&["source"]), source));
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let mut fixture = Fixture::serving(dir, exports);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut c = fixture.client();
        let root = c.mount("/source").unwrap();
        for _ in 0..2 {
            let mut listed: Vec<_> = c.readdir(&root, 64 << 10, true).unwrap();
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            let handles: Vec<_> = listed.iter().filter_map(|e| Some((e.name.clone(), e.handle?))).collect();
            for (name, handle) in &handles {
                assert_eq!(c.lookup(&root, std::str::from_utf8(name).unwrap()).unwrap().0, *handle);
                assert!(c.getattr(handle).is_ok());
            }
            seen.push(handles);
        }
        fixture.restart();
    }
    assert!(seen[0].len() > 20);
    assert!(seen.iter().all(|handles| *handles == seen[0]));
}

/// What a client asks for when a user opens a file of another with O_TRUNC: size and one of the times.
#[test]
fn who_may_write_may_truncate_and_set_the_servers_time() {
    let fixture = Fixture::new();
    let (mut root_client, root) = fixture.area();
    let file = root_client.create(&root, "shared", &mode(0o4666), true).unwrap();
    root_client.write(&file, 0, b"long", 2).unwrap();
    let locked = root_client.create(&root, "locked", &mode(0o644), true).unwrap();
    let before = root_client.getattr(&file).unwrap();
    let mut user = fixture.client().acting_as(1000, 1000, &[]);
    let truncate = SetAttributes { size: Some(0), mtime: SetTime::Server, ..SetAttributes::default() };
    user.setattr(&file, &truncate, None).unwrap();
    let after = root_client.getattr(&file).unwrap();
    assert_eq!((after.size, after.atime, after.mode), (0, before.atime, 0o666));
    for wanted in [
        SetAttributes { mtime: SetTime::Server, ..SetAttributes::default() },
        SetAttributes { atime: SetTime::Server, mtime: SetTime::Server, ..SetAttributes::default() },
    ] {
        user.setattr(&file, &wanted, None).unwrap();
        assert_eq!(status(user.setattr(&locked, &wanted, None)), Status::Access.code());
    }
    let stated = SetTime::Client(Time { sec: 1, nsec: 0 });
    let stated = SetAttributes { mtime: stated, ..SetAttributes::default() };
    assert_eq!(status(user.setattr(&file, &stated, None)), Status::Perm.code());
    assert_eq!(status(user.setattr(&locked, &truncate, None)), Status::Access.code());
}

/// Exports with a defect: the question who may connect ends in a panic, once.
struct Defective(AtomicBool, FixedExports);

impl Exports for Defective {
    fn disk(&self, client: IpAddr, question: Question<'_>) -> Option<std::path::PathBuf> {
        self.1.disk(client, question)
    }

    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        self.1.mount(client, path)
    }

    fn by_id(&self, client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        self.1.by_id(client, id)
    }

    fn generation(&self) -> u64 {
        0
    }

    fn is_known(&self, _client: IpAddr) -> bool {
        assert!(!self.0.swap(false, Ordering::Relaxed), "a defect, as this test wants it");
        true
    }
}

#[test]
fn a_defect_costs_one_connection_and_not_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let export = Export::read_only(ExportId::of(&["x"]), dir.path());
    let exports = Defective(AtomicBool::new(true), FixedExports::default().with("/x", export));
    let config = ServerConfig::loopback(dir.path());
    let server = Server::start(&config, Arc::new(exports), Arc::new(LogObserver)).unwrap();
    let address = ([127, 0, 0, 1], server.ports().nfs).into();
    assert!(Client::connect(address).unwrap().mount("/x").is_err());
    Client::connect(address).unwrap().mount("/x").unwrap();
}

/// A store: local users of the server cannot enter it, the node's users can; no device nodes but whiteouts;
/// set-id bits are the node's.
#[test]
fn a_store_is_closed_on_the_server_and_open_on_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for name in ["state", "store"] {
        std::fs::create_dir(path.join(name)).unwrap();
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(path.join("store"), private).unwrap();
    let store = Export { private_root: true, ..Export::read_write(ExportId(7), path.join("store")) };
    let fixture = Fixture::serving(dir, FixedExports::default().with("/store", store));
    let mut c = fixture.client();
    let root = c.mount("/store").unwrap();
    assert_eq!(c.getattr(&root).unwrap().mode, 0o755);

    let home = c.mkdir(&root, "home", &mode(0o755)).unwrap();
    let su = c.create(&home, "su", &mode(0o4755), true).unwrap();
    assert_eq!(c.getattr(&su).unwrap().mode, 0o4755);
    let shared = c.mkdir(&home, "shared", &mode(0o2775)).unwrap();
    assert_eq!(c.getattr(&shared).unwrap().mode, 0o2775);

    let perm = Status::Perm.code();
    assert_eq!(status(c.mknod(&root, "sda", 3, &mode(0o666), (8, 0))), perm);
    assert_eq!(status(c.mknod(&root, "null", 4, &mode(0o666), (1, 3))), perm);
    c.mknod(&root, "whiteout", 4, &mode(0), (0, 0)).unwrap();
    c.mknod(&root, "pipe", 7, &mode(0o600), (0, 0)).unwrap();
    assert!(std::fs::symlink_metadata(path.join("store/sda")).is_err());

    let mut user = fixture.client().acting_as(1000, 1000, &[]);
    assert_eq!(user.lookup(&root, "home").unwrap().0, home);
    assert_eq!(user.walk(&root, "home/su").unwrap(), su);
    assert!(user.readdir(&root, 4096, true).unwrap().iter().any(|entry| entry.name == b"home"));
    assert_eq!(user.access(&root, 0x3f).unwrap(), 0x01 | 0x02);
    for refused in [
        user.create(&root, "x", &mode(0o644), true).map(drop),
        user.mkdir(&root, "x", &mode(0o755)).map(drop),
        user.remove(&root, "pipe"),
        user.rename((&root, "home"), (&root, "y")),
        user.setattr(&root, &mode(0o777), None),
    ] {
        let code = status(refused);
        assert!([perm, Status::Access.code()].contains(&code), "{code}");
    }
    // Not even the node's root can open the store to other users of the server.
    c.setattr(&root, &mode(0o6777), None).unwrap();
    for (uid, gid) in [(Some(65534), None), (None, Some(65534))] {
        let to_nobody = SetAttributes { uid, gid, ..SetAttributes::default() };
        assert_eq!(status(c.setattr(&root, &to_nobody, None)), perm);
    }
    let stat = std::fs::metadata(path.join("store")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o7777, 0o700);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&stat), 0);
}

/// RFC 1813 section 3.3.7: the count of a WRITE is the length of its data.
#[test]
fn a_write_that_contradicts_itself_is_refused() {
    let fixture = Fixture::new();
    let (mut c, root) = fixture.area();
    let file = c.create(&root, "file", &mode(0o644), true).unwrap();
    for count in [0u32, 3, 5, 1 << 30, u32::MAX] {
        let mut args = vec![0, 0, 0, u8::try_from(file.as_bytes().len()).unwrap()];
        args.extend_from_slice(file.as_bytes());
        args.resize(args.len().next_multiple_of(4), 0);
        args.extend_from_slice(&[0; 8]);
        args.extend_from_slice(&count.to_be_bytes());
        args.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 4]);
        args.extend_from_slice(b"data");
        // GARBAGE_ARGS (RFC 5531 section 9).
        assert!(
            matches!(c.call(100_003, 3, 7, &args), Err(CallError::Rpc(words)) if words.contains(&4)),
            "{count}"
        );
    }
    assert_eq!(c.getattr(&file).unwrap().size, 0);
}

/// A key that other users could read is made private, and stays the key.
#[test]
fn a_key_with_wide_modes_is_closed() {
    let mut fixture = Fixture::new();
    let (_, root) = fixture.area();
    let key = fixture.path("state/nfs-handle.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fixture.restart();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    fixture.client().getattr(&root).unwrap();
}
