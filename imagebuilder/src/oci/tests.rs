//! Hand-made images, good and hostile.

use super::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::json;
use store::sha256;

/// Builds a layer.
#[derive(Default)]
struct Layer(Vec<u8>);

impl Layer {
    fn raw(mut self, path: &str, kind: tar::EntryType, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        // Set in the raw field: the setter refuses what a hostile image may have.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn dir(self, path: &str) -> Self {
        self.raw(path, tar::EntryType::Directory, "", 0o755, b"")
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.raw(path, tar::EntryType::Regular, "", 0o644, text.as_bytes())
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.raw(path, tar::EntryType::Symlink, target, 0o777, b"")
    }

    fn hard(self, path: &str, target: &str) -> Self {
        self.raw(path, tar::EntryType::Link, target, 0o644, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (name, value) in records {
            let rest = name.len() + value.len() + 3;
            let mut length = rest + rest.to_string().len();
            length = rest + length.to_string().len();
            data.extend_from_slice(format!("{length} {name}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw("pax", tar::EntryType::XHeader, "", 0o644, &data)
    }

    fn done(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Writes a layout of one image below `dir`.
fn layout(dir: &Path, layers: &[Vec<u8>]) -> Reference {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        fs::write(blobs.join(sha256(bytes)), bytes).unwrap();
        json!({"digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()})
    };
    let layers: Vec<_> = layers.iter().map(|layer| blob(layer)).collect();
    let mut image = blob(json!({"schemaVersion": 2, "layers": layers}).to_string().as_bytes());
    image["platform"] = json!({"architecture": "amd64", "os": "linux"});
    image["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(dir.join("index.json"), json!({"manifests": [image]}).to_string()).unwrap();
    Reference::parse(&format!("oci:{}:latest", dir.display())).unwrap()
}

/// Unpacks layers; the directory that holds the tree and everything around it.
fn unpacked(layers: &[Vec<u8>]) -> (tempfile::TempDir, Result<Vec<String>, OciError>) {
    let top = tempfile::tempdir().unwrap();
    fs::create_dir(top.path().join("outside")).unwrap();
    fs::write(top.path().join("outside/file"), "precious").unwrap();
    let image = layout(&top.path().join("image"), layers);
    let mut lines = Vec::new();
    let done = unpack(&image, "x86_64", &top.path().join("root"), &mut |line| lines.push(line.to_owned()));
    assert_eq!(fs::read_to_string(top.path().join("outside/file")).unwrap(), "precious");
    assert_eq!(fs::read_dir(top.path().join("outside")).unwrap().count(), 1);
    (top, done.map(|()| lines))
}

fn names(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            found.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn references_are_read() {
    for text in ["oci:/a", "oci:/a:b", "oci-archive:/a.tar", "docker-archive:/a.tar:name:tag"] {
        assert_eq!(Reference::parse(text).unwrap().to_string(), text);
    }
    for text in ["oci:", "oci:a", "oci:/a:", "docker://name", "/a", ""] {
        assert!(Reference::parse(text).is_err(), "{text}");
    }
}

#[test]
fn layers_lie_upon_each_other() {
    let lower = Layer::default()
        .dir("./")
        .dir("usr/")
        .dir("usr/lib/")
        .link("lib", "usr/lib")
        .file("usr/lib/one", "1")
        .file("etc/old", "old")
        .file("etc/kept", "kept")
        .dir("cache/")
        .file("cache/a/b", "x")
        .file("gone", "x")
        .raw("bin/su", tar::EntryType::Regular, "", 0o4755, b"su")
        .done();
    let upper = Layer::default()
        .file("lib/two", "2")
        .hard("usr/lib/same", "usr/lib/one")
        .file("etc/.wh.old", "")
        .file(".wh.gone", "")
        .dir("cache/")
        .file("cache/new", "new")
        .file("cache/.wh..wh..opq", "")
        .raw("dev/sda", tar::EntryType::Block, "", 0o660, b"")
        .raw("run/pipe", tar::EntryType::Fifo, "", 0o600, b"")
        .done();
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed.write_all(&lower).unwrap();
    let layers = [compressed.finish().unwrap(), zstd::encode_all(&upper[..], 1).unwrap()];
    let (top, lines) = unpacked(&layers);
    let lines = lines.unwrap();
    assert!(lines.last().unwrap().contains("1 device files are left out"), "{lines:?}");
    let root = top.path().join("root");
    assert_eq!(
        names(&root),
        [
            "bin",
            "bin/su",
            "cache",
            "cache/new",
            "dev",
            "etc",
            "etc/kept",
            "lib",
            "run",
            "run/pipe",
            "usr",
            "usr/lib",
            "usr/lib/one",
            "usr/lib/same",
            "usr/lib/two"
        ]
    );
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((stat("bin/su").mode() & 0o7777, stat("bin/su").uid(), stat("bin/su").gid()), (0o4755, 7, 8));
    assert_eq!(stat("usr/lib/one").ino(), stat("usr/lib/same").ino());
    assert_eq!(stat("cache").mtime(), 1_000_000_000, "also of a directory that was written into");
    assert_eq!((stat("lib").uid(), stat("lib").mtime()), (7, 1_000_000_000));
}

#[test]
fn attributes_that_matter_are_kept() {
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.selinux", b"label"),
    ];
    let (top, done) = unpacked(&[Layer::default().pax(&records).file("bin/ping", "x").done()]);
    done.unwrap();
    let mut value = [0u8; 64];
    let path = top.path().join("root/bin/ping");
    assert_eq!(rustix::fs::getxattr(&path, "security.capability", &mut value).unwrap(), capability.len());
    assert!(rustix::fs::getxattr(&path, "trusted.overlay.opaque", &mut value).is_err());
}

#[test]
fn hostile_layers_touch_nothing_outside() {
    let outside = |layer: Layer| unpacked(&[layer.done()]);
    let fails = |layer: Layer, why: &str| {
        let error = outside(layer).1.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    fails(Layer::default().file("../outside/new", "x"), "a path with ..");
    fails(Layer::default().file("a/../../outside/file", "x"), "a path with ..");
    fails(Layer::default().hard("x", "../outside/file"), "a path with ..");
    fails(Layer::default().hard("x", "missing"), "which is not a file");
    fails(Layer::default().dir("d").hard("x", "d"), "which is not a file");
    fails(Layer::default().hard("x", "/"), "a hard link to the root");
    fails(Layer::default().file(".wh...", ""), "a whiteout of nothing");
    fails(Layer::default().file("a", "x").file("a/b", "x"), "Not a directory");
    fails(Layer::default().raw("q", tar::EntryType::new(b'Q'), "", 0o644, b""), "unknown kind");

    // Links lead to places inside, as they do for a process whose root the tree is.
    let climbing = Layer::default()
        .link("up", "../../../outside")
        .file("up/file", "evil")
        .link("abs", "/outside")
        .file("abs/new", "evil")
        .file("up/.wh.file", "")
        .file("abs/.wh..wh..opq", "");
    let (top, done) = outside(climbing);
    drop(done);
    assert!(!top.path().join("outside/new").exists());
    let (top, done) = outside(Layer::default().link("f", "/outside/file").file("f", "own"));
    done.unwrap();
    assert_eq!(fs::read_to_string(top.path().join("root/f")).unwrap(), "own");
    // A directory in place of a link is a directory.
    let (top, done) = outside(Layer::default().link("d", "../outside").dir("d").file("d/new", "x"));
    done.unwrap();
    assert!(top.path().join("root/d/new").is_file());
    assert_eq!(fs::metadata(top.path().join("outside")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_long_head_costs_no_memory() {
    let name = vec![b'a'; 2 * 1024 * 1024];
    let layer =
        Layer::default().raw("././@LongLink", tar::EntryType::GNULongName, "", 0o644, &name).file("x", "x");
    let error = unpacked(&[layer.done()]).1.unwrap_err().to_string();
    assert!(error.contains("head is too long"), "{error}");
}

/// `umoci insert` ends a layer with the last byte of its last file.
#[test]
fn a_layer_may_end_without_padding() {
    let whole = Layer::default().file("a", "text").0;
    let (top, done) = unpacked(&[whole[..512 + 4].to_vec()]);
    done.unwrap();
    assert_eq!(fs::read_to_string(top.path().join("root/a")).unwrap(), "text");
    let long = Layer::default().file("a", &"x".repeat(8192)).0;
    let error = unpacked(&[long[..1024].to_vec()]).1.unwrap_err().to_string();
    assert!(error.contains("the layer ends in it"), "{error}");
}

#[test]
fn damage_is_found() {
    let top = tempfile::tempdir().unwrap();
    let dir = top.path().join("image");
    let image = layout(&dir, &[Layer::default().file("a", "text").done()]);
    let blobs: Vec<PathBuf> =
        fs::read_dir(dir.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for (number, blob) in blobs.iter().enumerate() {
        let good = fs::read(blob).unwrap();
        let mut bytes = good.clone();
        // The last byte of a tar archive is padding, which no reader looks at.
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(blob, &bytes).unwrap();
        let root = top.path().join(format!("root{number}"));
        let error = unpack(&image, "x86_64", &root, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("another digest"), "{error}");
        fs::write(blob, &good).unwrap();
    }
    let arm = unpack(&image, "aarch64", &top.path().join("arm"), &mut |_| ()).unwrap_err();
    assert!(arm.to_string().contains("no image for aarch64"), "{arm}");
    for (text, why) in [
        ("{", "not JSON"),
        (r#"{"manifests":[{"digest":"sha256:../../etc/passwd"}]}"#, "no image has the tag"),
        ("[]", "no image has the tag"),
    ] {
        fs::write(dir.join("index.json"), text).unwrap();
        let error = image.digest("x86_64").unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let untagged = Reference { name: None, ..image };
    fs::write(dir.join("index.json"), r#"{"manifests":[{"digest":"sha256:../../etc/passwd"}]}"#).unwrap();
    assert!(untagged.digest("x86_64").unwrap_err().to_string().contains("is not a SHA-256 digest"));
}

/// `docker save` links a layer that it has written already.
#[test]
fn archives_of_docker_are_read() {
    let top = tempfile::tempdir().unwrap();
    let layer = Layer::default().file("etc/issue", "hello").done();
    let diff = format!("sha256:{}", sha256(&layer));
    let config = json!({"rootfs": {"diff_ids": [diff, diff]}}).to_string();
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["el:9"], "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    let archive = Layer::default()
        .file("c.json", &config)
        .raw("one/layer.tar", tar::EntryType::Regular, "", 0o644, &layer)
        .link("two/layer.tar", "../one/layer.tar")
        .file("manifest.json", &manifest.to_string())
        .done();
    let file = top.path().join("image.tar");
    fs::write(&file, &archive).unwrap();
    let image = Reference::parse(&format!("docker-archive:{}:el:9", file.display())).unwrap();
    unpack(&image, "x86_64", &top.path().join("root"), &mut |_| ()).unwrap();
    assert_eq!(fs::read_to_string(top.path().join("root/etc/issue")).unwrap(), "hello");
    let other = Reference::parse(&format!("docker-archive:{}:el:8", file.display())).unwrap();
    assert!(other.digest("x86_64").unwrap_err().to_string().contains("no such image"));
    // A directory exists in the place of the tree.
    symlink("/", top.path().join("taken")).unwrap();
    assert!(unpack(&image, "x86_64", &top.path().join("taken"), &mut |_| ()).is_err());
}

#[test]
fn any_bytes_are_taken() {
    let layer = Layer::default().dir("out").file("up/x", "x").file("out/new", "x").done();
    for end in [0, 1, 511, 512, 700, layer.len()] {
        fuzz::fuzz_layer(&layer[..end]);
        fuzz::fuzz_archive(&layer[..end]);
    }
}
