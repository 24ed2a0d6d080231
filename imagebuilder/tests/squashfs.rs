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
