//! genimage from container images that umoci and skopeo have written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use dawn_imagebuilder::genimage::{self, Options, Outcome};
use dawn_imagebuilder::image::ImageDef;
use dawn_imagebuilder::oci::{self, Reference};

/// A tree with all kinds of entries that images have.
fn source(dir: &Path) {
    let modules = dir.join("usr/lib/modules/6.1.0-1");
    fs::create_dir_all(&modules).unwrap();
    fs::create_dir_all(dir.join("etc")).unwrap();
    fs::write(modules.join("vmlinuz"), "kernel").unwrap();
    fs::write(modules.join("modules.dep"), "").unwrap();
    fs::write(dir.join("etc/shadow"), "root:*:1::::::\n").unwrap();
    fs::write(dir.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    fs::hard_link(dir.join("etc/passwd"), dir.join("etc/passwd-")).unwrap();
    symlink("usr/lib", dir.join("lib")).unwrap();
    symlink("/no/where", dir.join("etc/dangling")).unwrap();
    fs::write(dir.join("usr/su"), "su").unwrap();
    std::os::unix::fs::chown(dir.join("usr/su"), Some(12), Some(34)).unwrap();
    fs::set_permissions(dir.join("usr/su"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::write(dir.join("usr").join("n".repeat(200)), "a long name").unwrap();
    rustix::fs::setxattr(dir.join("etc/passwd"), "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
}

/// Whole seconds for all entries: the tools round, and a file system does not.
fn settle(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            settle(&entry.path());
        }
        common::run("touch", &["-h", "-d", "@1700000000", entry.path().to_str().unwrap()]);
    }
}

#[test]
fn images_of_real_tools_become_trees() {
    let top = tempfile::Builder::new().prefix("genimage-oci").tempdir().unwrap();
    let at = |name: &str| top.path().join(name).display().to_string();
    let tree = top.path().join("source");
    fs::create_dir(&tree).unwrap();
    source(&tree);
    settle(&tree);
    let tagged = format!("{}:el9", at("layout"));
    common::run("umoci", &["init", "--layout", &at("layout")]);
    common::run("umoci", &["new", "--image", &tagged]);
    for name in ["usr", "lib", "etc"] {
        common::run(
            "umoci",
            &["insert", "--image", &tagged, &at(&format!("source/{name}")), &format!("/{name}")],
        );
    }
    // Another layer: one file goes, one comes.
    fs::create_dir(top.path().join("more")).unwrap();
    fs::write(top.path().join("more/new"), "new").unwrap();
    common::run("touch", &["-d", "@1700000000", &at("more/new"), &at("more")]);
    common::run("umoci", &["insert", "--image", &tagged, "--whiteout", "/etc/dangling"]);
    common::run("umoci", &["insert", "--image", &tagged, &at("more"), "/opt"]);
    fs::remove_file(tree.join("etc/dangling")).unwrap();
    fs::rename(top.path().join("more"), tree.join("opt")).unwrap();
    settle(&tree);

    let copies = [
        format!("oci:{tagged}"),
        format!("oci-archive:{}:el9", at("archive.tar")),
        format!("docker-archive:{}:rocky:9", at("docker.tar")),
    ];
    for copy in &copies[1..] {
        common::run("skopeo", &["--insecure-policy", "copy", "--quiet", &copies[0], copy]);
    }
    let wanted = common::manifest(&tree);
    for (number, copy) in copies.iter().enumerate() {
        let root = top.path().join(format!("root{number}"));
        // skopeo names an image of docker with its registry.
        let text = copy.replace(":rocky:9", ":docker.io/library/rocky:9");
        let image = Reference::parse(&text).unwrap();
        oci::unpack(&image, "x86_64", &root, &mut |_| ()).unwrap_or_else(|error| panic!("{copy}: {error}"));
        let mut got = common::manifest(&root);
        // The image has no entry for the root itself.
        got.remove("");
        let wanted: common::Manifest =
            wanted.clone().into_iter().filter(|(name, _)| !name.is_empty()).collect();
        assert_eq!(got, wanted, "{copy}");
    }

    let def = ImageDef {
        name: "rocky9-x86_64-netboot-test".into(),
        osvers: "rocky9".into(),
        arch: "x86_64".into(),
        profile: "test".into(),
        provmethod: "netboot".into(),
        rootimgdir: top.path().join("netboot"),
        installdir: top.path().to_owned(),
        pkgdir: vec![copies[0].clone()],
        ..ImageDef::default()
    };
    let options = Options { unless_changed: true, ..Options::default() };
    let run = |def: &ImageDef| genimage::run(def, &options, &common::FakeInitrd, &mut |_| {});
    assert_eq!(run(&def).unwrap(), Outcome::Built { kernel: "6.1.0-1".into() });
    assert_eq!(fs::read_to_string(def.paths().rootimg.join("opt/new")).unwrap(), "new");
    assert_eq!(run(&def).unwrap(), Outcome::Unchanged);
    // Another content under the same name is another build.
    common::run("umoci", &["insert", "--image", &tagged, &at("source/opt"), "/opt2"]);
    assert_eq!(run(&def).unwrap(), Outcome::Built { kernel: "6.1.0-1".into() });
    // The container defines the packages.
    let list = top.path().join("list");
    fs::write(&list, "bash\n").unwrap();
    let error = run(&ImageDef { pkglist: vec![list], ..def }).unwrap_err();
    assert!(error.hint().unwrap().contains("in the container"), "{error}");
}
