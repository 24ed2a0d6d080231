//! Bundles made, taken over, renamed, and refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::image::ImageDef;

/// An image below `dir` with all that a bundle may hold.
fn image(dir: &Path, provmethod: &str) -> (ImageDef, Manifest) {
    let at = |name: &str| dir.join(name).display().to_string();
    fs::create_dir_all(dir.join("netboot/compute/rootimg/etc")).unwrap();
    fs::write(dir.join("netboot/compute/rootimg/etc/motd"), "hello").unwrap();
    for (name, text) in [
        ("netboot/compute/kernel", "kernel"),
        ("netboot/compute/initrd-stateless.gz", "initrd"),
        ("netboot/compute/rootimg.sfs", "packed"),
        ("custom/pkglist", "bash"),
        ("custom/post.sh", "#!/bin/sh"),
        ("notes", "notes"),
    ] {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }
    let def = ImageDef {
        name: "debian12-x86_64-netboot-compute".into(),
        osvers: "debian12".into(),
        arch: "x86_64".into(),
        profile: "compute".into(),
        provmethod: provmethod.into(),
        rootimgdir: dir.join("netboot/compute"),
        ..ImageDef::default()
    };
    let row = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
    };
    let manifest = Manifest {
        osimage: row(&[
            ("imagename", def.name.clone()),
            ("profile", "compute".into()),
            ("comments", "a < b & \"c\"".into()),
        ]),
        linuximage: row(&[
            ("imagename", def.name.clone()),
            ("rootimgdir", at("netboot/compute")),
            ("pkglist", at("custom/pkglist")),
            ("postinstall", format!("{} arg", at("custom/post.sh"))),
        ]),
        extra: Vec::new(),
    };
    (def, manifest)
}

fn exported(dir: &Path, provmethod: &str) -> (PathBuf, Manifest) {
    let (def, manifest) = image(dir, provmethod);
    let job = Export {
        def: &def,
        manifest: manifest.clone(),
        litefile: Some("\"img\",\"/etc/hosts\",\"tmpfs\",,\n".into()),
        extra: vec![(dir.join("notes"), dir.join("custom/notes.d").display().to_string())],
        bundle: dir.join("image.tgz"),
    };
    let mut lines = Vec::new();
    export(&job, &mut |line| lines.push(line.to_owned())).unwrap();
    let first = format!("Exporting {} to {}...", def.name, job.bundle.display());
    assert_eq!(lines.first(), Some(&first));
    assert_eq!(lines.last().map(String::as_str), Some("Done!"));
    (job.bundle, manifest)
}

fn take(bundle: &Path, profile: Option<&str>) -> Result<Imported, BundleError> {
    let within = bundle.parent().unwrap();
    let work = within.join("work");
    let known = Known {
        name: "debian12-x86_64-netboot-compute".into(),
        rootimgdir: Some(within.join("netboot/compute")),
        packages: Vec::new(),
        files: vec![within.join("custom/pkglist"), within.join("custom/post.sh")],
    };
    let job = Import {
        bundle: bundle.to_owned(),
        work: work.clone(),
        profile: profile.map(str::to_owned),
        within: within.to_owned(),
        known: vec![known],
        scripts: true,
        dry_run: false,
    };
    let result = import(&job, &mut |_| true, &mut |_| {});
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0, "the work directory is left clean");
    result
}

#[test]
fn an_image_comes_back_after_everything_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, manifest) = exported(dir.path(), "netboot");
    fs::remove_dir_all(dir.path().join("netboot")).unwrap();
    fs::remove_dir_all(dir.path().join("custom")).unwrap();
    let imported = take(&bundle, None).unwrap();
    assert_eq!(imported.manifest.osimage, manifest.osimage);
    assert_eq!(imported.manifest.linuximage, manifest.linuximage);
    assert!(imported.litefile.unwrap().contains("/etc/hosts"));
    for (name, text) in [
        ("netboot/compute/kernel", "kernel"),
        ("netboot/compute/rootimg.sfs", "packed"),
        ("custom/pkglist", "bash"),
        ("custom/post.sh", "#!/bin/sh"),
        ("custom/notes.d/notes", "notes"),
    ] {
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text, "{name}");
    }
    // A second time: equal files stay, changed ones are kept.
    fs::write(dir.path().join("custom/pkglist"), "changed").unwrap();
    take(&bundle, None).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("custom/pkglist.ORIG")).unwrap(), "changed");
    assert!(!dir.path().join("custom/post.sh.ORIG").exists());
}

/// Links in the places of the bundle and its temporary files: their targets are not changed.
#[test]
fn a_bundle_does_not_follow_links() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    fs::write(&file, "the server's").unwrap();
    for name in ["image.tgz", ".image.tgz.new", ".image.tgz.tree"] {
        std::os::unix::fs::symlink(&file, dir.path().join(name)).unwrap();
    }
    let (bundle, _) = exported(dir.path(), "statelite");
    assert!(fs::symlink_metadata(&bundle).unwrap().is_file());
    for name in [".image.tgz.new", ".image.tgz.tree"] {
        assert!(fs::symlink_metadata(dir.path().join(name)).is_err(), "{name} is left");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "the server's");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_statelite_image_brings_its_tree_and_may_be_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, _) = exported(dir.path(), "statelite");
    let imported = take(&bundle, Some("login")).unwrap();
    assert_eq!(imported.manifest.name(), Some("debian12-x86_64-netboot-login"));
    assert_eq!(imported.manifest.osimage.get("profile").map(String::as_str), Some("login"));
    let dir = dir.path().join("netboot/login");
    assert_eq!(imported.manifest.linuximage.get("rootimgdir"), Some(&dir.display().to_string()));
    assert_eq!(fs::read_to_string(dir.join("rootimg/etc/motd")).unwrap(), "hello");
}

#[test]
fn an_incomplete_image_makes_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let (def, manifest) = image(dir.path(), "netboot");
    let bundle = dir.path().join("image.tgz");
    let job = Export { def: &def, manifest, litefile: None, extra: Vec::new(), bundle: bundle.clone() };
    fs::remove_file(dir.path().join("custom/pkglist")).unwrap();
    assert!(export(&job, &mut |_| {}).unwrap_err().to_string().contains("pkglist"));
    fs::write(dir.path().join("custom/pkglist"), "bash").unwrap();
    fs::remove_file(dir.path().join("netboot/compute/rootimg.sfs")).unwrap();
    assert!(matches!(export(&job, &mut |_| {}), Err(BundleError::Missing(_))));
    assert!(!bundle.exists());
}

/// A bundle of the given entries.
fn forged(path: &Path, entries: &[(&str, tar::EntryType, &str)]) {
    let gzip = flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        // The name as it is, past the checks of the library.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(if *kind == tar::EntryType::Regular { text.len() as u64 } else { 0 });
        if *kind == tar::EntryType::Symlink {
            header.set_link_name(text).unwrap();
        }
        header.set_cksum();
        tar.append(&header, if *kind == tar::EntryType::Regular { text.as_bytes() } else { &[] }).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

#[test]
fn hostile_bundles_are_refused() {
    use tar::EntryType::{Regular, Symlink};
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.tgz");
    let manifest = |dir: &str| {
        format!(
            "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><rootimgdir>{dir}</rootimgdir></linuximage></xcatimage>"
        )
    };
    let good = manifest(&dir.path().join("x").display().to_string());
    type Entries<'a> = &'a [(&'a str, tar::EntryType, &'a str)];
    let table: &[(&str, Entries<'_>)] = &[
        ("empty", &[]),
        ("manifest", &[("i/kernel", Regular, "k")]),
        ("entry", &[("i/../../evil", Regular, "k")]),
        ("entry", &[("/etc/evil", Regular, "k")]),
        ("entry", &[("i/manifest.xml", Regular, &good), ("j/kernel", Regular, "k")]),
        ("not a regular file", &[("i/link", Symlink, "/etc")]),
        ("rootimgdir", &[("i/manifest.xml", Regular, &manifest("../up"))]),
        ("rootimgdir", &[("i/manifest.xml", Regular, &manifest("/a/../../etc"))]),
        ("manifest", &[("i/manifest.xml", Regular, "<other/>")]),
        ("manifest", &[("i/manifest.xml", Regular, "<xcatimage><osimage></xcatimage>")]),
        ("manifest", &[("i/manifest.xml", Regular, "<xcatimage><a><b><c>1</c></b></a></xcatimage>")]),
        (
            "extra file '/etc/shadow'",
            &[(
                "i/manifest.xml",
                Regular,
                "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><rootimgdir>/x</rootimgdir></linuximage>\
                 <extra><name>/etc/shadow</name><dest>/tmp</dest></extra></xcatimage>",
            )],
        ),
        (
            "extra",
            &[(
                "i/manifest.xml",
                Regular,
                "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><rootimgdir>/x</rootimgdir></linuximage>\
                 <extra><name>0/a</name><dest>../etc</dest></extra></xcatimage>",
            )],
        ),
    ];
    for (reason, entries) in table {
        forged(&bundle, entries);
        let error = take(&bundle, None).unwrap_err();
        assert!(
            matches!(error, BundleError::Bad(_)) && error.to_string().contains(reason),
            "{entries:?}: {error}"
        );
    }
    let (bundle, _) = exported(dir.path(), "netboot");
    let job = Import {
        bundle: bundle.clone(),
        work: dir.path().join("w"),
        profile: None,
        within: "/install".into(),
        known: Vec::new(),
        scripts: true,
        dry_run: false,
    };
    assert!(import(&job, &mut |_| true, &mut |_| {}).unwrap_err().to_string().contains("outside"));
    fs::write(&bundle, "no gzip").unwrap();
    assert!(matches!(take(&bundle, None), Err(BundleError::Bad(_))));
}

/// Every name below `dir`, with the text of files and the target of links.
fn listing(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_symlink() {
            all.insert(path.clone(), fs::read_link(&path).unwrap().display().to_string());
        } else if kind.is_dir() {
            all.insert(path.clone(), "directory".into());
            all.extend(listing(&path));
        } else {
            all.insert(path.clone(), fs::read_to_string(&path).unwrap_or_default());
        }
    }
    all
}

/// Bundles whose places are in the tree of an image, behind a link, or hold everything: refused, and nothing
/// has changed.
#[test]
fn nothing_is_written_through_links_or_into_trees() {
    use tar::EntryType::Regular;
    let top = tempfile::tempdir().unwrap();
    let install = top.path().join("install");
    fs::create_dir_all(install.join("img/rootimg/etc")).unwrap();
    fs::create_dir_all(top.path().join("outside")).unwrap();
    std::os::unix::fs::symlink(top.path().join("outside"), install.join("img/rootimg/run")).unwrap();
    fs::create_dir_all(install.join("custom")).unwrap();
    std::os::unix::fs::symlink("../outside", install.join("away")).unwrap();
    std::os::unix::fs::symlink("../../outside", install.join("custom/away")).unwrap();
    std::os::unix::fs::symlink("../img/rootimg", install.join("custom/alias")).unwrap();
    fs::write(install.join("custom/file"), "a file").unwrap();
    let at = |inside: &str| install.join(inside).display().to_string();
    let bundle = install.join("bundle.tgz");
    let cases = [
        (at("new"), at("img/rootimg/run/evil.service"), "tree of an image"),
        (at("new"), at("img/rootimg.1/etc/x"), "tree of an image"),
        (at("img/rootimg"), at("custom/list"), "tree of an image"),
        (at("new"), at("custom/away/evil.service"), "symbolic link"),
        (at("new"), at("custom/alias/etc/x"), "symbolic link"),
        (at("away/x"), at("custom/list"), "symbolic link"),
        (at("new"), at("custom/file/below"), "Not a directory"),
        (at(""), at("list"), "directory of all images"),
        (install.display().to_string(), at("list"), "directory of all images"),
    ];
    for (dir, list, reason) in cases {
        let manifest = format!(
            "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><rootimgdir>{dir}</rootimgdir>\
             <pkglist>{list}</pkglist></linuximage></xcatimage>"
        );
        let packed = format!("i/files{list}");
        forged(
            &bundle,
            &[
                ("i/manifest.xml", Regular, &*manifest),
                ("i/kernel", Regular, "k"),
                (&*packed, Regular, "evil"),
            ],
        );
        let before = listing(top.path());
        let job = Import {
            bundle: bundle.clone(),
            work: install.clone(),
            profile: None,
            within: install.clone(),
            known: Vec::new(),
            scripts: true,
            dry_run: false,
        };
        let error = import(&job, &mut |_| true, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(reason), "{dir} {list}: {error}");
        assert_eq!(listing(top.path()), before, "{dir} {list}");
    }
}

/// A tree that cannot be unpacked, a place that cannot be taken, or tables that refuse: all is as it was.
#[test]
fn a_failed_import_leaves_nothing_behind() {
    use tar::EntryType::Regular;
    let top = tempfile::tempdir().unwrap();
    let install = top.path();
    let bundle = install.join("bundle.tgz");
    for name in ["old/kernel", "old/rootimg/etc/motd", "custom/pkglist.ORIG/full", "custom/pkglist"] {
        fs::create_dir_all(install.join(name).parent().unwrap()).unwrap();
        fs::write(install.join(name), "as it was").unwrap();
    }
    let manifest = |dir: &str| {
        let (dir, list) = (install.join(dir).display().to_string(), install.join("custom/pkglist"));
        format!(
            "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><rootimgdir>{dir}</rootimgdir>\
             <pkglist>{}</pkglist></linuximage></xcatimage>",
            list.display()
        )
    };
    let packed = format!("i/files{}/custom/pkglist", install.display());
    for (dir, tree, accepted) in
        [("old", "not a tree", true), ("a/b/c", "not a tree", true), ("old", "", true), ("old", "", false)]
    {
        let manifest = manifest(dir);
        let mut entries = vec![
            ("i/manifest.xml", Regular, &*manifest),
            ("i/kernel", Regular, "k"),
            (&*packed, Regular, "new"),
        ];
        if !tree.is_empty() {
            entries.push(("i/rootimgtree.gz", Regular, tree));
        }
        forged(&bundle, &entries);
        let before = listing(install);
        let job = Import {
            bundle: bundle.clone(),
            work: install.to_owned(),
            profile: None,
            within: install.to_owned(),
            known: Vec::new(),
            scripts: true,
            dry_run: false,
        };
        import(&job, &mut |_| accepted, &mut |_| {}).unwrap_err();
        assert_eq!(listing(install), before, "{dir} {tree} {accepted}");
    }
}

/// A bundle's files go below the image's directory and `custom`; nothing of others is replaced, and scripts
/// are taken only when asked for.
#[test]
fn a_bundle_has_its_places() {
    use tar::EntryType::Regular;
    let dir = tempfile::tempdir().unwrap();
    let within = dir.path().join("install");
    let kept = [
        "postscripts/_ssh/authorized_keys",
        "postscripts/syslog",
        "netboot/other/kernel",
        "custom/list",
        "custom/other.list",
        "custom/own.list",
        "autoinst/cn2",
    ];
    for name in kept {
        fs::create_dir_all(within.join(name).parent().unwrap()).unwrap();
        fs::write(within.join(name), "ours").unwrap();
    }
    let path = |inside: &str| within.join(inside);
    let known = vec![
        Known {
            name: "i".into(),
            rootimgdir: None,
            packages: vec![path("media/own")],
            files: vec![path("custom/own.list"), path("custom/other.list")],
        },
        Known {
            name: "other".into(),
            rootimgdir: Some(path("netboot/other")),
            packages: vec![path("media/rocky9.4/x86_64")],
            files: vec![path("custom/other.list"), path("custom/absent.list"), path("lists/other.list")],
        },
    ];
    let import = |(column, file, rootimgdir): (&str, &str, &str), scripts: bool| {
        let place = |inside: &str| path(inside).display().to_string();
        let named = match column {
            "extra" => {
                let (dir, name) = file.rsplit_once('/').unwrap();
                format!("<extra><name>0/{name}</name><dest>{}</dest></extra>", place(dir))
            }
            column => format!("<linuximage><{column}>{}</{column}></linuximage>", place(file)),
        };
        let manifest = format!(
            "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><rootimgdir>{}</rootimgdir></linuximage>\
             {named}</xcatimage>",
            place(rootimgdir),
        );
        let bundle = dir.path().join("bundle.tgz");
        let packed = match column {
            "extra" => format!("i/extra/0/{}", file.rsplit_once('/').unwrap().1),
            _ => format!("i/files{}", place(file)),
        };
        forged(&bundle, &[("i/manifest.xml", Regular, &*manifest), (&*packed, Regular, "new")]);
        let (work, within, known) = (dir.path().join("work"), within.clone(), known.clone());
        let job = Import { bundle, work, profile: None, within, known, scripts, dry_run: false };
        super::import(&job, &mut |_| true, &mut |_| ()).map(drop).map_err(|error| error.to_string())
    };
    let before = listing(&within);
    for (case, why) in [
        (("pkglist", "postscripts/_ssh/authorized_keys", "netboot/i"), "keys and settings of all nodes"),
        (("extra", "postscripts/_ssh/authorized_keys2", "netboot/i"), "keys and settings of all nodes"),
        (("extra", "postscripts/mypostscript.tmpl", "netboot/i"), "keys and settings of all nodes"),
        (("extra", "postscripts/hostkeys/x", "netboot/i"), "keys and settings of all nodes"),
        (("extra", "postscripts/syslog", "netboot/i"), "is there already"),
        (("pkglist", "autoinst/cn2", "netboot/i"), "is not at a place for a bundle's files"),
        (("extra", "autoinst/cn3", "netboot/i"), "is not at a place for a bundle's files"),
        (("pkglist", "netboot/other/kernel", "netboot/i"), "is not at a place for a bundle's files"),
        (("extra", "netboot/other2/kernel", "netboot/i"), "is not at a place for a bundle's files"),
        (("extra", "lists/x", "netboot/i"), "is not at a place for a bundle's files"),
        (("pkglist", "custom", "netboot/i"), "is a directory"),
        (("pkglist", "custom/list", "netboot/i"), "is there already"),
        (("pkglist", "custom/other.list", "netboot/i"), "is there already"),
        (("pkglist", "custom/new", "netboot/other"), "is a place of the image other"),
        (("pkglist", "custom/new", "netboot/other/x"), "is a place of the image other"),
        (("pkglist", "custom/new", "netboot"), "is a place of the image other"),
        (
            ("pkglist", "media/rocky9.4/x86_64/images/updates.img", "media/rocky9.4/x86_64"),
            "a place of the image other",
        ),
        (("pkglist", "custom/new", "media/rocky9.4"), "a place of the image other"),
        (("pkglist", "custom/new", "media/rocky9.4/x86_64/x"), "a place of the image other"),
        (("pkglist", "lists/other.list", "lists"), "a place of the image other"),
        (("pkglist", "custom/absent.list", "netboot/i"), "is one that another image names"),
        (("pkglist", "custom/new", "postscripts"), "a place for files of all nodes"),
        (("pkglist", "custom/new", "autoinst/x"), "a place for files of all nodes"),
        (("pkglist", "custom/new", "custom/x"), "a place for files of all nodes"),
    ] {
        let error = import(case, true).unwrap_err();
        assert!(error.contains(why), "{case:?}: {error}");
    }
    for case in [
        ("postinstall", "custom/i.postinstall", "netboot/i"),
        ("postinstall", "netboot/i/post.sh", "netboot/i"),
        ("extra", "postscripts/new", "netboot/i"),
        ("pkglist", "prescripts/new", "netboot/i"),
        ("pkglist", "custom/install/rocky/compute.rocky9.4.x86_64.tmpl", "netboot/i"),
        ("pkglist", "custom/install/rocky/compute.rocky9.4.x86_64.pkglist", "netboot/i"),
        ("extra", "custom/netboot/debian/compute.postinstall", "netboot/i"),
        ("synclists", "custom/any.tmpl", "netboot/i"),
        ("exlist", "custom/netboot/debian/compute.synclist", "netboot/i"),
        ("template", "netboot/i/own.tmpl", "netboot/i"),
    ] {
        let error = import(case, false).unwrap_err();
        assert!(error.contains("scripts that run as root") && error.contains(case.1), "{case:?}: {error}");
    }
    assert_eq!(listing(&within), before);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path(name)).unwrap().permissions().mode() & 0o777
    };
    import(("postinstall", "custom/i.postinstall", "netboot/i"), true).unwrap();
    import(("extra", "postscripts/new", "netboot/i"), true).unwrap();
    import(("extra", "custom/debian/compute.exlist", "netboot/i"), false).unwrap();
    import(("pkglist", "custom/install/rocky/compute.tmpl", "netboot/i"), true).unwrap();
    import(("synclists", "media/own/synclist", "media/own"), false).unwrap();
    import(("pkglist", "custom/own.list", "netboot/i"), false).unwrap();
    import(("synclists", "netboot/i/synclist", "netboot/i"), false).unwrap();
    assert_eq!(fs::read_to_string(path("custom/own.list.ORIG")).unwrap(), "ours");
    assert_eq!(mode("custom/debian/compute.exlist"), 0o644);
    assert_eq!((mode("custom/i.postinstall"), mode("postscripts/new")), (0o755, 0o755));
    for name in kept.into_iter().filter(|name| *name != "custom/own.list") {
        assert_eq!(fs::read_to_string(path(name)).unwrap(), "ours", "{name}");
    }
}
