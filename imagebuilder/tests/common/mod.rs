//! What the image tests share: trees to pack, and a description of a tree that does not use our own scanner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, dead_code, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use dawn_imagebuilder::genimage::{InitrdJob, MakeInitrd};
use dawn_imagebuilder::initramfs::InitramfsError;

/// Makes initramfs images that hold the name of the kernel.
pub(crate) struct FakeInitrd;

impl MakeInitrd for FakeInitrd {
    fn identity(&self) -> String {
        "fake".into()
    }

    fn make(&self, job: &InitrdJob<'_>) -> Result<Vec<String>, InitramfsError> {
        fs::write(job.output, job.kernel)
            .map_err(|cause| InitramfsError::File { path: job.output.to_owned(), cause })?;
        Ok(Vec::new())
    }
}

/// One line per path: kind, mode, owner, size, time, link partner, device, target, attributes, bytes' hash.
pub(crate) type Manifest = BTreeMap<String, String>;

/// Describe a directory on disk.
pub(crate) fn manifest(root: &Path) -> Manifest {
    let mut all = Manifest::new();
    let mut first_name: HashMap<(u64, u64), String> = HashMap::new();
    let mut todo = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(dir) = todo.pop() {
        paths.push(dir.clone());
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => todo.push(entry.path()),
                false => paths.push(entry.path()),
            }
        }
    }
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let mut line = format!("{:o} {}:{} t{}", stat.mode(), stat.uid(), stat.gid(), stat.mtime());
        if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            let sum = bytes
                .iter()
                .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
            write!(line, " {} {sum:x}", bytes.len()).unwrap();
        }
        if kind.is_symlink() {
            write!(line, " -> {}", fs::read_link(&path).unwrap().display()).unwrap();
        }
        if kind.is_char_device() || kind.is_block_device() {
            write!(line, " dev {}:{}", libc::major(stat.rdev()), libc::minor(stat.rdev())).unwrap();
        }
        if !kind.is_dir() && stat.nlink() > 1 {
            let first = first_name.entry((stat.dev(), stat.ino())).or_insert_with(|| name.clone());
            write!(line, " nlink {} with {first}", stat.nlink()).unwrap();
        }
        let mut names = vec![0u8; 4096];
        let length = rustix::fs::llistxattr(&path, &mut names).unwrap_or(0);
        for attr in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
            let attr = std::str::from_utf8(attr).unwrap();
            let mut value = vec![0u8; 65536];
            let length = rustix::fs::lgetxattr(&path, attr, &mut value).unwrap();
            write!(line, " {attr}={:?}", String::from_utf8_lossy(&value[..length])).unwrap();
        }
        all.insert(name, line);
    }
    all
}

/// Fail with the differing lines only.
pub(crate) fn assert_same(expected: &Manifest, found: &Manifest, what: &str) {
    let mut report = String::new();
    for (name, line) in expected {
        match found.get(name) {
            Some(other) if other == line => {}
            other => writeln!(report, "{name}\n  expected {line}\n  found    {other:?}").unwrap(),
        }
    }
    for name in found.keys().filter(|name| !expected.contains_key(*name)) {
        writeln!(report, "{name}: not expected").unwrap();
    }
    assert!(report.is_empty(), "{what}:\n{}", &report[..report.len().min(4000)]);
}

/// Is this test run by root? Devices and foreign owners need it.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Is a program there? (All of them are in the list of packages the project's tests install.)
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Run a program, failing with its output.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

/// Bytes that no compressor shortens, from a seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A directory with every kind of entry and the sizes around block borders.
pub(crate) fn everything(root: &Path) {
    let text = |n: usize| {
        b"all work and no play makes jack a dull boy\n".iter().copied().cycle().take(n).collect::<Vec<u8>>()
    };
    fs::create_dir_all(root.join("sizes")).unwrap();
    for size in [0, 1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 262_144, 700_000] {
        fs::write(root.join(format!("sizes/text{size}")), text(size)).unwrap();
        fs::write(root.join(format!("sizes/noise{size}")), noise(size as u64 + 7, size)).unwrap();
        fs::write(root.join(format!("sizes/twin{size}")), text(size)).unwrap();
    }
    let mut holes = vec![0u8; 600_000];
    holes[300_000..300_010].copy_from_slice(b"not a hole");
    fs::write(root.join("holes"), &holes).unwrap();
    fs::write(root.join("all-holes"), vec![0u8; 524_288]).unwrap();
    fs::create_dir_all(root.join("deep/er/and/deeper/still")).unwrap();
    fs::write(root.join("deep/er/and/deeper/still/file"), "x").unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for n in 0..3000 {
        fs::write(root.join(format!("many/a-rather-long-file-name-number-{n:05}")), format!("{n}")).unwrap();
    }
    fs::write(root.join("x".repeat(255)), "long name").unwrap();
    symlink("../nowhere/at/all", root.join("dangling")).unwrap();
    symlink("t".repeat(4000), root.join("long-target")).unwrap();
    fs::hard_link(root.join("sizes/text4097"), root.join("deep/link")).unwrap();
    fs::hard_link(root.join("sizes/noise700000"), root.join("zlink")).unwrap();
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2711), ("secret", 0o600), ("none", 0o000)] {
        fs::write(root.join(name), name).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    run("mkfifo", &[root.join("fifo").to_str().unwrap()]);
    std::mem::forget(std::os::unix::net::UnixListener::bind(root.join("sock")).unwrap());
    if is_root() {
        privileged(root);
    }
    times(root);
}

fn privileged(root: &Path) {
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    for (name, kind, major, minor) in [
        ("null", "c", "1", "3"),
        ("disk", "b", "8", "17"),
        ("big", "c", "300", "70000"),
        ("minor", "b", "259", "300"),
    ] {
        run("mknod", &[&at(name), kind, major, minor]);
    }
    for n in 0..300u32 {
        std::os::unix::fs::chown(
            root.join(format!("many/a-rather-long-file-name-number-{n:05}")),
            Some(n),
            Some(70_000 + n),
        )
        .unwrap();
    }
    let flags = rustix::fs::XattrFlags::empty();
    for (name, attr, value) in [
        ("suid", "user.colour", "blue"),
        ("secret", "user.colour", "blue"),
        ("sgid", "trusted.note", "a longer value with more than one word in it"),
        ("empty", "user.dir", "yes"),
        ("many", "user.dir", "yes"),
        ("dangling", "trusted.link", "on a symlink"),
    ] {
        // tmpfs of older kernels has no user attributes; the others then test enough.
        let _ = rustix::fs::lsetxattr(root.join(name), attr, value.as_bytes(), flags);
    }
}

/// A fixed time that is not that of the test, so that a lost time is seen.
fn times(root: &Path) {
    let script = "find \"$1\" -depth -exec touch -h -d '2001-02-03 04:05:06 UTC' {} +";
    run("bash", &["-c", script, "times", root.to_str().unwrap()]);
}
