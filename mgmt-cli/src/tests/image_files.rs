//! Commands that read and write files of images.

use super::CLUSTER;
use expect_test::expect_file;

#[test]
fn bundle_out_and_in() {
    use crate::testbed::Bed;
    let bed = Bed::new(CLUSTER);
    let top = bed.directory.path().to_string_lossy().into_owned();
    let directory = format!("{top}/install/netboot/debian12/x86_64/compute");
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(std::path::Path::new(path).parent().expect("parent")).expect("directory");
        std::fs::write(path, text).expect("file");
    };
    write(&format!("{directory}/kernel"), "kernel");
    write(&format!("{directory}/rootimg.sfs"), "root");
    write(&format!("{top}/install/custom/a.pkglist"), "bash\n");
    let mut text = String::new();
    let mut run = |line: &str| {
        let line = line.replace("TOP", &top);
        text.push_str(&format!("$ {line}\n{}", bed.run(&line)).replace(&top, "TOP"));
    };
    run("chtab key=installdir site.value=TOP/install");
    run(
        "chtab imagename=img linuximage.rootimgdir=TOP/install/netboot/debian12/x86_64/compute linuximage.pkglist=TOP/install/custom/a.pkglist",
    );
    run("chtab node=cn1 postscripts.postscripts='mine,nested/two 5'");
    write(&format!("{top}/install/postscripts/mine"), "#!/bin/sh\n");
    write(&format!("{top}/install/postscripts/nested/two"), "#!/bin/sh\n");
    run("imgexport img -p cn1");
    std::fs::remove_dir_all(format!("{top}/install/postscripts")).expect("scripts");
    run("chtab node=cn2 postscripts.postscripts=../secret");
    run("chtab node=cn2 postscripts.postscripts=|cn2|../secret|");
    run("imgexport img -p cn2");
    run("imgexport img -p cn99");
    run("imgexport img -R root@other");
    run("imgimport img.tgz -R root@other");
    run("imgimport img.tgz -n");
    run("imgexport nope");
    run("rmdef -t osimage img");
    run("rmimage img");
    run("rmimage -o debian12 -a x86_64");
    run("rmimage -o debian12 -a x86_64 -p compute --dry-run");
    run("imgimport img.tgz");
    run("imgimport --dry-run --scripts img.tgz");
    run("imgimport --scripts img.tgz");
    run("rmimage -o debian12 -a x86_64 -p compute --dry-run");
    run("lsdef -t osimage img");
    for script in ["mine", "nested/two"] {
        assert!(std::path::Path::new(&format!("{top}/install/postscripts/{script}")).is_file(), "{script}");
    }
    write(&format!("{top}/install/custom/a.pkglist"), "changed\n");
    run("imgimport --scripts img.tgz -f big -p cn1");
    run("imgimport --scripts img.tgz");
    write(&format!("{top}/install/custom/a.pkglist"), "bash\n");
    run("imgimport --dry-run --scripts img.tgz -f big -p cn1");
    run("imgimport --scripts img.tgz -f big -p cn1");
    run("chtab imagename=img-big osimage.imagename=other linuximage.imagename=other");
    run("imgimport --scripts img.tgz -f big");
    run("chtab imagename=other osimage.imagename=img-big linuximage.imagename=img-big");
    run("lsdef -t osimage");
    run("lsdef cn1 -i provmethod,profile");
    run("chdef -t osimage img provmethod=statelite");
    run("imgimport --scripts img.tgz");
    run("imgimport --scripts --replace img.tgz");
    run("lsdef -t osimage img -i provmethod");
    run("imgimport nope.tgz");
    run("imgimport install");
    run("imgimport /proc/kmsg");
    run("rmimage img");
    assert!(std::path::Path::new(&format!("{top}/install/custom/a.pkglist.ORIG")).exists());
    // A bundle for another install directory is refused.
    let bundle = format!("{top}/img.tgz");
    std::fs::rename(&bundle, format!("{top}/other.tgz")).expect("rename");
    run("chtab key=installdir site.value=TOP");
    run("chtab key=installdir site.value=TOP/elsewhere");
    std::fs::create_dir_all(format!("{top}/elsewhere")).expect("directory");
    run("imgimport --scripts other.tgz");
    expect_file!["bundles.txt"].assert_eq(&text);
}

#[test]
fn images_completed_from_their_names() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    let top = bed.directory.path().to_string_lossy().into_owned();
    let lists = bed.directory.path().join("install/custom/netboot/debian");
    std::fs::create_dir_all(&lists).expect("directory");
    for name in ["compute.pkglist", "compute.debian12.x86_64.pkglist", "compute.exlist", "other.postinstall"]
    {
        std::fs::write(lists.join(name), "").expect("file");
    }
    let mut text = String::new();
    let mut run = |line: &str| {
        let line = line.replace("TOP", &top);
        text.push_str(&format!("$ {line}\n{}", bed.run(&line)).replace(&top, "TOP"));
    };
    run("chtab key=installdir site.value=TOP/install");
    run("mkdef -u -t osimage debian12-x86_64-netboot-compute");
    run("lsdef -t osimage debian12-x86_64-netboot-compute");
    run("mkdef -u -t osimage custom");
    run("mkdef -u -t osimage custom osvers=debian12 osarch=x86_64 provmethod=install profile=compute");
    run("lsdef -t osimage custom");
    run("mkdef -u -t osimage out profile=../../compute osvers=debian12 osarch=x86_64 provmethod=netboot");
    run("chdef -u -t osimage img exlist=/mine");
    run("lsdef -t osimage img");
    run("chdef -u -t node cn1 arch=x86_64");
    expect_file!["complete_images.txt"].assert_eq(&text);
}
