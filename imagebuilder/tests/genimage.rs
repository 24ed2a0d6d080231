//! genimage with a real mmdebstrap and the machine's own mirror. Slow and needs the network, so it is run on
//! request: `cargo test -p dawn-imagebuilder --test genimage -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use dawn_imagebuilder::genimage::{self, Embedded, GenimageError, InitrdJob, MakeInitrd, Options, Outcome};
use dawn_imagebuilder::image::ImageDef;
use dawn_imagebuilder::initramfs::InitramfsError;

fn def(dir: &Path) -> ImageDef {
    ImageDef {
        name: "debian12-x86_64-netboot-test".into(),
        osvers: "debian12".into(),
        arch: "x86_64".into(),
        profile: "test".into(),
        provmethod: "netboot".into(),
        rootimgdir: dir.join("netboot/debian12/x86_64/test"),
        installdir: dir.to_owned(),
        ..ImageDef::default()
    }
}

struct Fake(&'static str);

impl MakeInitrd for Fake {
    fn identity(&self) -> String {
        self.0.into()
    }

    fn make(&self, job: &InitrdJob<'_>) -> Result<Vec<String>, InitramfsError> {
        assert!(job.rootimg.join("usr/lib/modules").join(job.kernel).join("modules.dep").exists());
        fs::write(job.output, format!("{:?} {}", job.kind, job.kernel))
            .map_err(|cause| InitramfsError::File { path: job.output.to_owned(), cause })?;
        Ok(vec![format!("made by {}", self.0)])
    }
}

#[test]
#[ignore = "builds a real image from a mirror"]
fn a_real_image_is_built_and_rebuilt() {
    let dir = tempfile::Builder::new().prefix("genimage").tempdir().unwrap();
    let script = dir.path().join("post.sh");
    fs::write(
        &script,
        "#!/bin/sh\necho \"args $*\"\nenv | grep IMG_ | sort\necho \"$2\" > $1/etc/built-by-post\n",
    )
    .unwrap();
    common::run("chmod", &["755", script.to_str().unwrap()]);
    let list = dir.path().join("list");
    fs::write(
        &list,
        "systemd-sysv udev kmod dbus libpam-systemd openssh-server nano\n#NEW_INSTALL_LIST#\n#ENV:DAWN_X=it's#\n-nano\nless\n--netbase\n",
    )
    .unwrap();
    let def = ImageDef {
        pkglist: vec![list],
        postinstall: vec![format!("{} own args", script.display())],
        root_hash: Some("$6$x$y".into()),
        ..def(dir.path())
    };
    let options = Options { unless_changed: true, ..Options::default() };
    let mut lines = Vec::new();
    let outcome = genimage::run(&def, &options, &Fake("first"), &mut |line| lines.push(line.to_owned()));
    let text = lines.join("\n");
    let outcome = outcome.unwrap_or_else(|e| panic!("{e}\n{text}"));
    let Outcome::Built { kernel } = outcome else { panic!("{outcome:?}") };
    let paths = def.paths();
    let has = |name: &str| fs::symlink_metadata(paths.rootimg.join(name)).is_ok();
    assert!(has("usr/bin/less") && !has("bin/nano"), "{text}");
    assert!(has("usr/lib/systemd/systemd") || has("lib/systemd/systemd"));
    assert_eq!(fs::read_to_string(paths.rootimg.join("etc/hostname")).unwrap(), "");
    assert!(!has(&format!("boot/initrd.img-{kernel}")));
    assert_eq!(fs::read_to_string(paths.rootimg.join("etc/machine-id")).unwrap(), "");
    assert_eq!(fs::read_to_string(paths.rootimg.join("etc/built-by-post")).unwrap(), "debian12\n");
    assert!(
        fs::read_to_string(paths.rootimg.join("etc/shadow"))
            .unwrap()
            .lines()
            .any(|l| l.starts_with("root:$6$x$y:"))
    );
    assert!(
        fs::read_dir(paths.rootimg.join("etc/ssh")).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("ssh_host"))
    );
    assert!(text.contains("rootimg debian12 x86_64 test own args"), "{text}");
    assert!(text.contains("IMG_PROFILE=test"), "{text}");
    assert_eq!(fs::read_to_string(&paths.initrd_statelite).unwrap(), format!("Statelite {kernel}"));
    assert!(!paths.dir.join(".building").exists());

    let again = genimage::run(&def, &options, &Fake("first"), &mut |_| {}).unwrap();
    assert_eq!(again, Outcome::Unchanged);
    // A new /init makes new initramfs images and leaves the tree alone.
    let new_init = genimage::run(&def, &options, &Fake("second"), &mut |_| {}).unwrap();
    assert_eq!(new_init, Outcome::Built { kernel: kernel.clone() });
    assert_eq!(genimage::run(&def, &options, &Fake("second"), &mut |_| {}).unwrap(), Outcome::Unchanged);
    let changed = ImageDef { root_hash: None, ..def.clone() };
    assert_ne!(
        genimage::plan(&changed, &options).unwrap().fingerprint,
        genimage::built_fingerprint(&def).unwrap()
    );
    let only = Options { only_initrd: true, ..Options::default() };
    assert!(genimage::is_of_another_build(&paths.dir), "an initramfs of another maker");
    genimage::run(&def, &only, &Embedded::new(), &mut |_| {}).unwrap();
    assert!(!genimage::is_of_another_build(&paths.dir));
    let head = fs::read(&paths.initrd_stateless).unwrap();
    assert_eq!(head[..2], [0x1f, 0x8b]);

    // A build that fails leaves the image as it was.
    let failing = ImageDef { postinstall: vec!["/bin/false".into()], pkglist: Vec::new(), ..def.clone() };
    let before = fs::metadata(paths.rootimg.join("etc/machine-id")).unwrap();
    let error = genimage::run(&failing, &Options::default(), &Fake("first"), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("postinstall /bin/false"), "{error}");
    let after = fs::metadata(paths.rootimg.join("etc/machine-id")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((before.ino(), before.ctime()), (after.ino(), after.ctime()));
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let run = |def: &ImageDef, options: &Options| {
        genimage::run(def, options, &Fake("first"), &mut |_| {}).unwrap_err()
    };
    let no_sources = Options { etc_apt: dir.path().into(), ..Options::default() };
    let error = run(&def(dir.path()), &no_sources);
    assert!(
        matches!(error, GenimageError::NoSource(_)) && error.hint().unwrap().contains("pkgdir"),
        "{error}"
    );
    let error = run(&ImageDef { osvers: "plan9".into(), ..def(dir.path()) }, &Options::default());
    assert!(matches!(error, GenimageError::Distribution(_)), "{error}");
    let error =
        run(&ImageDef { pkglist: vec!["/nonexistent".into()], ..def(dir.path()) }, &Options::default());
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    let only = Options { only_initrd: true, ..Options::default() };
    let error = run(&def(dir.path()), &only);
    assert!(error.hint().unwrap().contains("linux-image"), "{error}");
    assert!(!def(dir.path()).paths().dir.join("kernel").exists());
}

#[test]
fn dryrun_shows_the_command_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sources.list"), "deb http://mirror.test/debian bookworm main\n").unwrap();
    let options = Options { etc_apt: dir.path().into(), ..Options::default() };
    let lines = genimage::dryrun(&def(dir.path()), &options).unwrap();
    assert!(lines[0].starts_with("env INITRD=No mmdebstrap --mode=root"), "{lines:?}");
    assert!(lines[0].contains("--include=linux-image-cloud-amd64"), "{lines:?}");
    assert_eq!(lines[1], "  deb http://mirror.test/debian bookworm main");
    assert!(!def(dir.path()).paths().dir.exists());
}
