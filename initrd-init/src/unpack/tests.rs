//! Archives made by the system's own tools, unpacked and compared. Needs tar, cpio or neither: a tool that is
//! not there skips its case.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use super::*;

fn sample() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    let long = "long/".repeat(30);
    fs::create_dir_all(base.join("etc/private")).unwrap();
    fs::create_dir_all(base.join(&long)).unwrap();
    fs::write(base.join("etc/hosts"), "hosts").unwrap();
    fs::write(base.join("etc/empty"), "").unwrap();
    fs::write(base.join(&long).join("file"), vec![7; 100_000]).unwrap();
    fs::hard_link(base.join("etc/hosts"), base.join("etc/hosts2")).unwrap();
    std::os::unix::fs::symlink("hosts", base.join("etc/link")).unwrap();
    fs::set_permissions(base.join("etc/hosts"), fs::Permissions::from_mode(0o4640)).unwrap();
    fs::set_permissions(base.join("etc/private"), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn check(archive: &[u8], source: &std::path::Path) {
    let out = tempfile::tempdir().unwrap();
    unpack(archive, out.path().to_str().unwrap()).unwrap();
    let meta = |name: &str| fs::symlink_metadata(out.path().join(name)).unwrap();
    assert_eq!(fs::read(out.path().join("etc/hosts2")).unwrap(), b"hosts");
    assert_eq!((meta("etc/hosts").nlink(), meta("etc/hosts").ino()), (2, meta("etc/hosts2").ino()));
    assert_eq!(meta("etc/hosts").mode() & 0o7777, 0o4640);
    assert_eq!(meta("etc/private").mode() & 0o777, 0o700);
    assert_eq!(fs::read_link(out.path().join("etc/link")).unwrap().to_str(), Some("hosts"));
    let long = format!("{}file", "long/".repeat(30));
    assert_eq!(fs::read(out.path().join(&long)).unwrap().len(), 100_000);
    assert_eq!(meta("etc").mtime(), fs::metadata(source.join("etc")).unwrap().mtime());
    for cut in [1, archive.len() / 2] {
        assert!(unpack(&archive[..cut], out.path().to_str().unwrap()).is_err(), "cut at {cut}");
    }
}

fn output(command: &mut Command, input: &[u8]) -> Option<Vec<u8>> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    child.stdin.take()?.write_all(input).ok()?;
    Some(child.wait_with_output().ok()?.stdout)
}

#[test]
fn tar_archives() {
    let source = sample();
    for format in ["ustar", "gnu", "pax"] {
        for packer in ["-z", "-J"] {
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(source.path()).args([packer, &format!("--format={format}"), "-cf", "-", "."]);
            if let Some(archive) = output(&mut tar, b"") {
                check(&archive, source.path());
            }
        }
    }
}

/// The archive of `find | cpio`, in the bytes that tool writes: the last name of a hard link carries the
/// content.
#[test]
fn cpio_archives() {
    let source = sample();
    let mut archive = Vec::new();
    add_dir(source.path(), source.path(), &mut archive);
    entry(&mut archive, b"TRAILER!!!", 0, 0, 1, 0, b"");
    check(&archive, source.path());
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&archive[..1000]).unwrap();
    let mut members = packed.finish().unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&archive[1000..]).unwrap();
    members.extend(packed.finish().unwrap());
    check(&members, source.path());
}

fn add_dir(base: &std::path::Path, dir: &std::path::Path, archive: &mut Vec<u8>) {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
        let content = match () {
            () if meta.is_symlink() => fs::read_link(&path).unwrap().to_str().unwrap().as_bytes().to_vec(),
            () if meta.is_dir() || name == "etc/hosts" => Vec::new(),
            () => fs::read(&path).unwrap(),
        };
        let mtime = u32::try_from(meta.mtime()).unwrap();
        let ino = u32::try_from(meta.ino()).unwrap();
        entry(archive, name.as_bytes(), ino, meta.mode(), meta.nlink(), mtime, &content);
        if meta.is_dir() {
            add_dir(base, &path, archive);
        }
    }
}

fn entry(archive: &mut Vec<u8>, name: &[u8], ino: u32, mode: u32, links: u64, mtime: u32, content: &[u8]) {
    let owner = rustix::process::getuid().as_raw();
    let numbers = [ino, mode, owner, owner, u32::try_from(links).unwrap(), mtime];
    let sizes = [content.len(), 0, 0, 0, 0, name.len() + 1, 0];
    let mut header = "070701".to_owned();
    numbers.iter().for_each(|number| header.push_str(&format!("{number:08x}")));
    sizes.iter().for_each(|number| header.push_str(&format!("{number:08x}")));
    archive.extend(header.as_bytes());
    archive.extend(name);
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[test]
fn hostile_archives_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let root = out.path().to_str().unwrap();
    let mut archive = Vec::new();
    entry(&mut archive, b"../../evil", 1, 0o100_644, 1, 0, b"x");
    assert!(unpack(archive.as_slice(), root).unwrap_err().to_string().contains("leads out"));
    assert!(unpack(&b"just text"[..], root).is_err());
    assert!(unpack(&b""[..], root).is_err());
    let mut seed = 1_u32;
    for _ in 0..2000 {
        let mut noise = archive.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = usize::try_from(seed >> 8).unwrap() % noise.len();
            noise[at] = seed.to_le_bytes()[3];
        }
        let _ = unpack(noise.as_slice(), root);
    }
    assert!(!out.path().parent().unwrap().join("evil").exists());
}

#[test]
fn channel_is_a_stream() {
    let (sender, receiver) = sync_channel(4);
    sender.send(b"ab".to_vec()).unwrap();
    sender.send(Vec::new()).unwrap();
    sender.send(b"c".to_vec()).unwrap();
    drop(sender);
    let mut text = String::new();
    ChannelReader::new(receiver).read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
}
