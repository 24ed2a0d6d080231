//! packimage: what is in the archives, read back by the usual programs, and what happens to old ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::{Manifest, assert_same, everything, has, is_root, manifest, run};
use dawn_imagebuilder::archive::{self, Compress};
use dawn_imagebuilder::exlist::Exlist;
use dawn_imagebuilder::image::ImageDef;
use dawn_imagebuilder::packimage::{self, Method, Options, Outcome, Packer, PackimageError};
use dawn_imagebuilder::password::RootPassword;
use dawn_imagebuilder::tree::Tree;

/// The manifest without what a format cannot keep.
fn without(mut manifest: Manifest, names: &[&str]) -> Manifest {
    manifest.retain(|name, _| !names.contains(&name.as_str()));
    for line in manifest.values_mut() {
        // Making entries in a directory moves its time.
        if line.starts_with('4') {
            line.truncate(line.find(" t").unwrap());
        }
        if let Some(at) = line.find(" user.").or(line.find(" trusted.")) {
            line.truncate(at);
        }
    }
    manifest
}

#[test]
fn tar_and_cpio_give_the_tree_back() {
    if !is_root() || !has("tar") || !has("cpio") || !has("xz") {
        eprintln!("skipped: needs root, tar, cpio and xz");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    everything(&source);
    for (n, compress) in [Compress::Gzip(6), Compress::Xz(0)].into_iter().enumerate() {
        if n == 1 {
            // xz is slow without optimisation; the test is about joining its pieces.
            fs::remove_dir_all(source.join("many")).unwrap();
        }
        let tree = Tree::scan(&source, &Exlist::default()).unwrap();
        let program = if n == 0 { "gzip" } else { "xz" };
        let file = dir.path().join(format!("a{n}.tar"));
        let out = dir.path().join(format!("tar{n}"));
        fs::create_dir(&out).unwrap();
        archive::tar(&tree, File::create(&file).unwrap(), compress, 3, &mut |_| {}).unwrap();
        run(
            "tar",
            &[
                "-xp",
                "--xattrs",
                "--xattrs-include=*",
                "--same-owner",
                "-I",
                program,
                "-C",
                out.to_str().unwrap(),
                "-f",
                file.to_str().unwrap(),
            ],
        );
        let expected: Manifest = manifest(&source).into_iter().filter(|(name, _)| name != "sock").collect();
        assert_same(&expected, &manifest(&out), "tar");

        let file = dir.path().join(format!("a{n}.cpio"));
        let out = dir.path().join(format!("cpio{n}"));
        fs::create_dir(&out).unwrap();
        archive::cpio(&tree, File::create(&file).unwrap(), compress, 3, &mut |_| {}).unwrap();
        let script = "cd \"$1\" && \"$2\" -dc <\"$3\" | cpio -idm --quiet";
        run(
            "bash",
            &[
                "-ec",
                &format!("set -o pipefail; {script}"),
                "unpack",
                out.to_str().unwrap(),
                program,
                file.to_str().unwrap(),
            ],
        );
        // GNU cpio sets no times of links.
        let skip = ["sock", "dangling", "long-target"];
        assert_same(&without(manifest(&source), &skip), &without(manifest(&out), &skip), "cpio");
    }
}

fn image(dir: &Path) -> ImageDef {
    let def = ImageDef {
        name: "img".into(),
        osvers: "debian12".into(),
        arch: "x86_64".into(),
        profile: "compute".into(),
        provmethod: "netboot".into(),
        rootimgdir: dir.join("img"),
        ..ImageDef::default()
    };
    let root = def.paths().rootimg;
    for sub in ["etc", "usr/bin", "usr/share/zoneinfo/Europe", "boot", "usr/share/doc"] {
        fs::create_dir_all(root.join(sub)).unwrap();
    }
    fs::write(root.join("etc/shadow"), "root:*:1:0:99999:7:::\nbin:*:1::::::\n").unwrap();
    fs::write(root.join("usr/share/zoneinfo/Europe/Berlin"), "TZif").unwrap();
    fs::write(root.join("boot/vmlinuz"), "kernel").unwrap();
    fs::write(root.join("usr/bin/tool"), "tool").unwrap();
    def
}

fn pack(def: &ImageDef, options: &Options) -> Result<(Outcome, Vec<String>), PackimageError> {
    let mut lines = Vec::new();
    let outcome = packimage::run(def, options, &mut |line| lines.push(line.to_owned()), &mut |_| {})?;
    Ok((outcome, lines))
}

fn unpack(file: &Path, to: &Path) -> PathBuf {
    run("unsquashfs", &["-q", "-n", "-d", to.to_str().unwrap(), file.to_str().unwrap()]);
    to.to_owned()
}

#[test]
fn the_archive_is_prepared_and_the_tree_is_not_touched() {
    if !has("unsquashfs") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let def = image(dir.path());
    let scripts = dir.path().join("postscripts");
    fs::create_dir(&scripts).unwrap();
    fs::write(scripts.join("xcatdsklspost"), "#!/bin/sh\n").unwrap();
    fs::write(scripts.join("syslog"), "#!/bin/sh\n").unwrap();
    fs::write(dir.path().join("motd"), "hello\n").unwrap();
    fs::create_dir_all(dir.path().join("conf/sub")).unwrap();
    fs::write(dir.path().join("conf/sub/file"), "deep\n").unwrap();
    std::os::unix::fs::symlink("sub/file", dir.path().join("conf/link")).unwrap();
    fs::create_dir_all(def.paths().rootimg.join("real")).unwrap();
    std::os::unix::fs::symlink("/real", def.paths().rootimg.join("way")).unwrap();
    let before = manifest(&def.paths().rootimg);
    let options = Options {
        root_password: RootPassword::Plain(dawn_wire::Secret::new("cluster")),
        timezone: Some("Europe/Berlin".into()),
        postscripts: Some(scripts),
        sync_files: vec![
            ("/etc/motd".into(), dir.path().join("motd")),
            ("/way/conf".into(), dir.path().join("conf")),
        ],
        unless_changed: true,
        ..Options::default()
    };
    let (outcome, lines) = pack(&def, &options).unwrap();
    let head = format!("Packing contents of {}", def.paths().rootimg.display());
    assert_eq!(lines, [head.as_str(), "archive method:squashfs", "compress method:zstd"]);
    assert!(outcome.packed);
    assert_same(&before, &manifest(&def.paths().rootimg), "the tree was changed");

    let out = unpack(&outcome.file, &dir.path().join("out"));
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert!(read("etc/shadow").starts_with("root:$6$") && read("etc/shadow").ends_with("bin:*:1::::::\n"));
    assert_eq!(
        fs::read_link(out.join("etc/localtime")).unwrap(),
        Path::new("/usr/share/zoneinfo/Europe/Berlin")
    );
    assert_eq!(read("xcatpost/syslog"), "#!/bin/sh\n");
    assert_eq!(read("opt/xcat/xcatdsklspost"), "#!/bin/sh\n");
    assert_eq!(read("etc/motd"), "hello\n");
    assert_eq!((read("real/conf/sub/file"), read("real/conf/link")), ("deep\n".into(), "deep\n".into()));
    assert!(!out.join("real/conf/link").is_symlink() && out.join("way").is_symlink());
    let info = read("opt/xcat/xcatinfo");
    assert!(info.starts_with("IMAGENAME='img'\nIMAGEUUID='") && info.contains("\nTIMESTAMP='"), "{info}");
    assert!(out.join("boot").exists() && !out.join("boot/vmlinuz").exists());

    let bytes = fs::read(&outcome.file).unwrap();
    assert!(!pack(&def, &options).unwrap().0.packed, "packed again without a reason");
    let forced = Options { unless_changed: false, ..options.clone() };
    assert!(pack(&def, &forced).unwrap().0.packed);
    assert!(fs::read(&outcome.file).unwrap() == bytes, "not the same bytes");
    fs::write(def.paths().rootimg.join("usr/bin/tool"), "other").unwrap();
    assert!(pack(&def, &options).unwrap().0.packed, "an edited tree is packed again");
    let other = Options { root_password: RootPassword::Locked, ..options };
    assert!(pack(&def, &other).unwrap().0.packed, "a new password is packed");
}

#[test]
fn a_packed_root_that_is_older_than_the_tree_is_stale() {
    let dir = tempfile::tempdir().unwrap();
    let def = image(dir.path());
    let at = def.paths().dir;
    let modules = def.paths().rootimg.join("lib/modules/6.1.0-test");
    fs::create_dir_all(&modules).unwrap();
    fs::write(at.join(".kernel-release"), "6.1.0-test\n").unwrap();
    fs::write(at.join(".fingerprint"), "tree\n").unwrap();
    assert!(!packimage::is_stale(&at), "nothing is packed");
    pack(&def, &Options::default()).unwrap();
    assert!(!packimage::is_stale(&at));
    let late = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let touch = |path: &Path, time| fs::File::open(path).unwrap().set_modified(time).unwrap();
    for path in [at.join(".fingerprint"), modules] {
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        touch(&path, late);
        assert!(packimage::is_stale(&at), "{}", path.display());
        touch(&path, before);
        assert!(!packimage::is_stale(&at));
    }
}

/// Links at the names of all written files: their targets are not changed.
#[test]
fn outputs_do_not_follow_links() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    fs::write(&file, "the server's").unwrap();
    let def = image(dir.path());
    let outputs = ["rootimg.sfs", "rootimg.cpio.gz", "rootimg-statelite.gz", ".packed"];
    let link = |name: &str| {
        let _ = fs::remove_file(def.rootimgdir.join(name));
        std::os::unix::fs::symlink(&file, def.rootimgdir.join(name)).unwrap();
    };
    for name in outputs {
        link(name);
        link(&format!(".{name}.new"));
    }
    let cpio = Options { method: Method::parse(Some("cpio"), None).unwrap(), ..Options::default() };
    for options in [Options::default(), cpio] {
        let (outcome, _) = pack(&def, &options).unwrap();
        assert!(fs::symlink_metadata(&outcome.file).unwrap().is_file());
        // For the next one.
        outputs.iter().for_each(|name| link(&format!(".{name}.new")));
    }
    let packed = packimage::pack_statelite(&def.rootimgdir).unwrap();
    assert!(fs::symlink_metadata(&packed).unwrap().is_file());
    assert_eq!(fs::read_to_string(&file).unwrap(), "the server's");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn other_methods_leave_one_archive() {
    let dir = tempfile::tempdir().unwrap();
    let def = image(dir.path());
    for (method, compress, file) in [
        (None, None, "rootimg.sfs"),
        (Some("cpio"), None, "rootimg.cpio.gz"),
        (Some("cpio"), Some("xz"), "rootimg.cpio.xz"),
        (Some("tar"), Some("pigz"), "rootimg.tar.gz"),
        (Some("tar"), Some("xz"), "rootimg.tar.xz"),
        (None, Some("gzip"), "rootimg.cpio.gz"),
        (Some("squashfs"), None, "rootimg.sfs"),
    ] {
        let options = Options { method: Method::parse(method, compress).unwrap(), ..Options::default() };
        let (outcome, _) = pack(&def, &options).unwrap();
        assert_eq!(outcome.file, def.rootimgdir.join(file));
        let left: Vec<_> =
            dawn_wire::image::PACKED_ROOTS.iter().filter(|name| def.rootimgdir.join(name).exists()).collect();
        assert_eq!(left, [&file]);
    }
}

#[test]
fn refusals() {
    let dir = tempfile::tempdir().unwrap();
    let def = image(dir.path());
    let error = |def: &ImageDef, options: &Options| pack(def, options).unwrap_err().to_string();
    assert_eq!(
        error(&ImageDef { provmethod: "statelite".into(), ..def.clone() }, &Options::default()),
        "'img' cannot be used to build diskless image. Make sure osimage.provmethod is 'netboot'."
    );
    assert!(
        error(&ImageDef { rootimgdir: dir.path().join("no"), ..def.clone() }, &Options::default())
            .contains("genimage")
    );
    let zone = |zone: &str| Options { timezone: Some(zone.into()), ..Options::default() };
    assert!(error(&def, &zone("../../etc/passwd")).contains("timezone"));
    assert!(error(&def, &zone("No/Such")).contains("timezone"));
    let hash = Options {
        root_password: RootPassword::Hash(dawn_wire::Secret::new("$6$a:b$c")),
        ..Options::default()
    };
    assert!(error(&def, &hash).contains("password"));
    let list = ImageDef { exlist: Some("/nonexistent".into()), ..def.clone() };
    assert!(error(&list, &Options::default()).contains("/nonexistent"));
    assert!(Method::parse(Some("nfs"), None).is_err() && Method::parse(None, Some("bzip2")).is_err());
    assert_eq!(Method::parse(Some("cpio"), Some("xz")).unwrap(), Method::Cpio(Packer::Xz));
    let files: Vec<_> = fs::read_dir(&def.rootimgdir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| name == "rootimg" || name == ".lock"), "{files:?}");
}

#[test]
fn a_tree_of_liteimg_is_packed_as_it_was_before() {
    if !has("unsquashfs") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let def = image(dir.path());
    let root = def.paths().rootimg;
    fs::create_dir_all(root.join("var/app")).unwrap();
    fs::write(root.join("var/app/file"), "data").unwrap();
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let unpacked = |name: &str| {
        let (outcome, _) = pack(&def, &Options::default()).unwrap();
        let mut tree = manifest(&unpack(&outcome.file, &dir.path().join(name)));
        // Its times and identity differ on purpose.
        tree.retain(|path, _| path != "opt/xcat/xcatinfo" && !path.starts_with(".statelite"));
        tree.values_mut().for_each(|line| line.truncate(line.find(" t").unwrap()));
        tree
    };
    let before = unpacked("before");
    let rows: Vec<(&str, [(&str, &str); 3])> =
        [("/etc/hosts", "link"), ("/var/app/", "link,persistent"), ("/etc/shadow", "tmpfs")]
            .into_iter()
            .map(|(file, options)| ("litefile", [("image", "img"), ("file", file), ("options", options)]))
            .collect();
    let snapshot =
        dawn_cluster::Snapshot::from_rows(rows.iter().map(|(table, row)| (*table, row.as_slice())));
    let files = dawn_statelite::files_of_image(&snapshot, "img");
    dawn_statelite::liteimg::liteimg("img", &root, &files, &mut |_| {}).unwrap();
    assert!(fs::symlink_metadata(root.join("var/app")).unwrap().is_symlink());
    let mut after = unpacked("after");
    // liteimg adds /etc/mtab, which was missing here.
    assert!(after.remove("etc/mtab").is_some());
    assert_same(&before, &after, "after liteimg");
}
