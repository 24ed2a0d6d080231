//! The squashfs writer against squashfs-tools and the kernel: every kind of entry comes back as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, dead_code, reason = "tests")]

mod common;

use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;

use common::{Manifest, assert_same, everything, has, is_root, manifest, run};
use dawn_imagebuilder::exlist::Exlist;
use dawn_imagebuilder::squashfs::{self, Compressor, Options, Times};
use dawn_imagebuilder::tree::{Kind, Meta, Tree};

fn pack(source: &Path, image: &Path, options: &Options) -> squashfs::Summary {
    let tree = Tree::scan(source, &Exlist::default()).unwrap();
    let mut out = File::create(image).unwrap();
    squashfs::write(&tree, &mut out, options, &mut |_| {}).unwrap()
}

/// Unpack with squashfs-tools and describe. Sockets are left out: unsquashfs does not make them.
fn unpacked(image: &Path, at: &Path) -> Manifest {
    run("unsquashfs", &["-q", "-n", "-d", at.to_str().unwrap(), image.to_str().unwrap()]);
    manifest(at)
}

fn variants() -> Vec<(&'static str, Options)> {
    let base = Options { threads: 2, ..Options::default() };
    vec![
        ("default", base.clone()),
        ("4k blocks", Options { block_bytes: 4096, ..base.clone() }),
        ("1M blocks", Options { block_bytes: 1 << 20, ..base.clone() }),
        ("gzip", Options { compressor: Compressor::Gzip(6), ..base.clone() }),
        ("zstd 6, no exports", Options { compressor: Compressor::Zstd(6), exportable: false, ..base }),
    ]
}

#[test]
fn unsquashfs_gives_the_tree_back() {
    if !is_root() || !has("unsquashfs") {
        eprintln!("skipped: needs root and squashfs-tools");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    everything(&source);
    let mut expected = manifest(&source);
    expected.remove("sock");
    for (n, (what, options)) in variants().into_iter().enumerate() {
        let image = dir.path().join(format!("{n}.sfs"));
        pack(&source, &image, &options);
        let mut found = unpacked(&image, &dir.path().join(format!("out{n}")));
        found.remove("sock");
        assert_same(&expected, &found, what);
    }
}

#[test]
fn the_kernel_mounts_it() {
    if !is_root() || !fs::read_to_string("/proc/filesystems").unwrap().contains("squashfs") {
        eprintln!("skipped: needs root and squashfs in the kernel");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, mount) = (dir.path().join("source"), dir.path().join("mount"));
    everything(&source);
    fs::create_dir(&mount).unwrap();
    let expected = manifest(&source);
    for (n, (what, options)) in variants().into_iter().enumerate() {
        let image = dir.path().join(format!("{n}.sfs"));
        pack(&source, &image, &options);
        run("mount", &["-o", "loop,ro", image.to_str().unwrap(), mount.to_str().unwrap()]);
        let found = std::panic::catch_unwind(|| {
            let found = manifest(&mount);
            // Looking up single names uses the directory index.
            for n in (0..3000).step_by(37) {
                assert!(mount.join(format!("many/a-rather-long-file-name-number-{n:05}")).exists());
            }
            found
        });
        run("umount", &[mount.to_str().unwrap()]);
        assert_same(&expected, &found.unwrap(), what);
    }
}

#[test]
fn same_tree_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    everything(&source);
    let images: Vec<Vec<u8>> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let image = dir.path().join("image");
            pack(&source, &image, &Options { threads, ..Options::default() });
            fs::read(image).unwrap()
        })
        .collect();
    assert!(images.iter().all(|image| *image == images[0]), "the number of threads changes the image");
    let other = dir.path().join("copy");
    run("cp", &["-a", source.to_str().unwrap(), other.to_str().unwrap()]);
    let image = dir.path().join("image");
    pack(&other, &image, &Options::default());
    assert!(fs::read(image).unwrap() == images[0], "a copy of the tree gives another image");
}

#[test]
fn identical_files_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = common::noise(1, 400_000);
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), &bytes).unwrap();
    }
    fs::write(dir.path().join("d"), common::noise(2, 400_000)).unwrap();
    let image = dir.path().join("image");
    let tree = Tree::scan(dir.path(), &Exlist::default()).unwrap();
    let summary =
        squashfs::write(&tree, &mut File::create(&image).unwrap(), &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(summary.duplicates, 2);
    assert!((800_000..900_000).contains(&summary.image_bytes), "{summary:?}");
}

#[test]
fn made_up_trees_and_times() {
    let mut tree = Tree::empty(Meta::root(0o755, 5_000_000_000));
    tree.put_file("/etc/hostname", 0o644, 100, b"cn1\n".to_vec()).unwrap();
    tree.put("/dev/console", Meta::root(0o600, 9), Kind::Char { major: 5, minor: 1 }).unwrap();
    let image = |times: Times| {
        let mut out = Cursor::new(Vec::new());
        let options = Options { times, ..Options::default() };
        squashfs::write(&tree, &mut out, &options, &mut |_| {}).unwrap();
        let bytes = out.into_inner();
        u32::from_le_bytes(bytes[8..12].try_into().unwrap())
    };
    assert_eq!(image(Times::Keep), u32::MAX);
    assert_eq!(image(Times::Clamp(1000)), 1000);
    assert_eq!(image(Times::All(7)), 7);
}

#[test]
fn options_out_of_range_are_refused() {
    let tree = Tree::empty(Meta::root(0o755, 0));
    let base = Options::default();
    for (options, text) in [
        (Options { block_bytes: 100_000, ..base.clone() }, "power of two"),
        (Options { block_bytes: 2 << 20, ..base.clone() }, "power of two"),
        (Options { threads: 0, ..base.clone() }, "threads"),
        (Options { compressor: Compressor::Zstd(40), ..base.clone() }, "zstd level"),
        (Options { compressor: Compressor::Gzip(0), ..base }, "gzip level"),
    ] {
        let error = squashfs::write(&tree, &mut Cursor::new(Vec::new()), &options, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let mut tree = Tree::empty(Meta::root(0o755, 0));
    tree.put_file("/f", 0o644, 0, common::noise(3, 500_000)).unwrap();
    let mut out = File::options().write(true).open("/dev/full").unwrap();
    let error = squashfs::write(&tree, &mut out, &Options::default(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("writing the image"), "{error}");
}

#[test]
fn exclude_lists_leave_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for file in ["boot/vmlinuz", "usr/share/locale/de/x", "usr/share/locale/en_GB/x", "usr/bin/true", "tmp/a"]
    {
        fs::create_dir_all(at.join(file).parent().unwrap()).unwrap();
        fs::write(at.join(file), file).unwrap();
    }
    let list = Exlist::from_lines(["./boot*", "./usr/share/locale/*", "+./usr/share/locale/en*", "./tmp/*"]);
    let names: Vec<String> = Tree::scan(at, &list)
        .unwrap()
        .walk()
        .into_iter()
        .map(|entry| String::from_utf8(entry.path).unwrap())
        .collect();
    let expected = [
        "",
        "tmp",
        "usr",
        "usr/bin",
        "usr/bin/true",
        "usr/share",
        "usr/share/locale",
        "usr/share/locale/en_GB",
        "usr/share/locale/en_GB/x",
    ];
    assert_eq!(names, expected);
}

/// Trees that come from numbers: names, links, sizes and owners without a plan.
mod random {
    use super::*;
    use dawn_imagebuilder::tree::InodeId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum What {
        Dir,
        Text(usize),
        Noise(usize),
        Zeros(usize),
        Symlink(String),
        Fifo,
        Device(u32, u32),
    }

    fn what() -> impl Strategy<Value = What> {
        prop_oneof![
            3 => Just(What::Dir),
            3 => (0usize..40_000).prop_map(What::Text),
            2 => (0usize..40_000).prop_map(What::Noise),
            1 => (0usize..40_000).prop_map(What::Zeros),
            1 => "[a-z/.]{1,300}".prop_map(What::Symlink),
            1 => Just(What::Fifo),
            1 => (0u32..4096, 0u32..(1 << 20)).prop_map(|(major, minor)| What::Device(major, minor)),
        ]
    }

    fn kind(what: &What) -> Kind {
        match what {
            What::Dir => Kind::dir(),
            What::Text(n) => {
                Kind::bytes(b"0123456789abcdef".iter().copied().cycle().take(*n).collect::<Vec<u8>>())
            }
            What::Noise(n) => Kind::bytes(common::noise(*n as u64, *n)),
            What::Zeros(n) => Kind::bytes(vec![0u8; *n]),
            What::Symlink(target) => Kind::Symlink(target.clone().into_bytes()),
            What::Fifo => Kind::Fifo,
            What::Device(major, minor) => Kind::Char { major: *major, minor: *minor },
        }
    }

    /// What unpacking must give, from the tree alone.
    fn expected(tree: &Tree) -> BTreeMap<String, String> {
        tree.walk()
            .into_iter()
            .map(|entry| {
                let inode = tree.inode(entry.id);
                let kind = match &inode.kind {
                    Kind::File { size, .. } => format!("file {size}"),
                    Kind::Dir(_) => "dir".into(),
                    other => format!("{other:?}"),
                };
                let Meta { mode, uid, gid, mtime, .. } = &inode.meta;
                (String::from_utf8(entry.path).unwrap(), format!("{kind} {mode:o} {uid}:{gid} t{mtime}"))
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn trees_come_back(
            items in prop::collection::vec(("[a-c]{1,2}(/[a-d]{1,3}){0,4}", what(), 0u16..0o10000, 0u32..3, 0i64..2_000_000_000), 0..60),
            block_log in 12u32..18,
            threads in 1usize..4,
        ) {
            if !is_root() || !has("unsquashfs") {
                return Ok(());
            }
            let mut tree = Tree::empty(Meta::root(0o755, 7));
            for (path, what, mode, uid, mtime) in &items {
                let mode = if matches!(what, What::Symlink(_)) { 0o777 } else { *mode };
                let meta = Meta { mode, uid: *uid, gid: uid * 70_000, mtime: *mtime, xattrs: Vec::new() };
                // A path below something that is not a directory is not taken.
                let _: Result<InodeId, _> = tree.put(path, meta, kind(what));
            }
            let dir = tempfile::tempdir().unwrap();
            let image = dir.path().join("image");
            let options = Options { block_bytes: 1 << block_log, threads, ..Options::default() };
            squashfs::write(&tree, &mut File::create(&image).unwrap(), &options, &mut |_| {}).unwrap();
            let out = dir.path().join("out");
            run("unsquashfs", &["-q", "-n", "-d", out.to_str().unwrap(), image.to_str().unwrap()]);
            let back = Tree::scan(&out, &Exlist::default()).unwrap();
            prop_assert_eq!(expected(&back), expected(&tree));
            for entry in tree.walk() {
                let path = String::from_utf8(entry.path).unwrap();
                prop_assert!(back.read(&path).unwrap() == tree.read(&path).unwrap(), "{} differs", path);
            }
        }
    }
}

/// Attributes that the format has no place for are counted, and the first file with one is named.
#[test]
fn attributes_without_a_place() {
    let mut tree = Tree::empty(Meta::root(0o755, 1));
    for (path, name) in [
        ("/etc/plain", "user.kept"),
        ("/var/log/journal", "system.posix_acl_access"),
        ("/var/log/other", "system.posix_acl_access"),
    ] {
        let meta = Meta { xattrs: vec![(name.into(), b"x".to_vec())], ..Meta::root(0o644, 1) };
        tree.put(path, meta, Kind::bytes(b"text".to_vec())).unwrap();
    }
    let mut image = std::io::Cursor::new(Vec::new());
    let summary = squashfs::write(&tree, &mut image, &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(summary.dropped_xattrs, 2);
    assert_eq!(summary.first_dropped.as_deref(), Some(&b"var/log/journal"[..]));
}

/// More inodes than fit one run of a directory, listings longer than 64 KiB, many owners.
#[test]
fn large_directories() {
    if !is_root() || !fs::read_to_string("/proc/filesystems").unwrap().contains("squashfs") {
        eprintln!("skipped: needs root and squashfs in the kernel");
        return;
    }
    const FILES: u32 = 70_000;
    let mut tree = Tree::empty(Meta::root(0o755, 1));
    for n in 0..FILES {
        let meta = Meta { uid: n % 3000, ..Meta::root(0o644, i64::from(n)) };
        tree.put(&format!("/flat/file-{n:06}"), meta, Kind::bytes(n.to_string().into_bytes())).unwrap();
    }
    tree.put("/flat/zz-dir/inner", Meta::root(0o600, 5), Kind::bytes(b"inner".to_vec())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
    fs::create_dir(&mount).unwrap();
    squashfs::write(&tree, &mut File::create(&image).unwrap(), &Options::default(), &mut |_| {}).unwrap();
    run("mount", &["-o", "loop,ro", image.to_str().unwrap(), mount.to_str().unwrap()]);
    let result = std::panic::catch_unwind(|| {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::read_dir(mount.join("flat")).unwrap().count(), FILES as usize + 1);
        for n in (0..FILES).step_by(997).chain([0, FILES - 1]) {
            let path = mount.join(format!("flat/file-{n:06}"));
            assert_eq!(fs::read_to_string(&path).unwrap(), n.to_string());
            let stat = fs::metadata(&path).unwrap();
            assert_eq!((stat.uid(), stat.mtime()), (n % 3000, i64::from(n)));
        }
        assert_eq!(fs::read_to_string(mount.join("flat/zz-dir/inner")).unwrap(), "inner");
        assert!(!mount.join("flat/file-07").exists());
    });
    run("umount", &[mount.to_str().unwrap()]);
    result.unwrap();
}
