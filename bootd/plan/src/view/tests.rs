use super::*;
use crate::address::LocalAddresses;
use crate::surroundings::{PackedRoots, Ports};
use expect_test::{Expect, expect};

const NODE_ROWS: &[(&str, &[(&str, &str)])] = &[
    ("site", &[("key", "master"), ("value", "10.1.0.1")]),
    ("site", &[("key", "installdir"), ("value", "/data/install")]),
    ("site", &[("key", "tftpdir"), ("value", "/data/tftpboot")]),
    ("nodelist", &[("node", "cn1"), ("groups", "compute,all")]),
    ("nodelist", &[("node", "cn2"), ("groups", "all")]),
    ("hosts", &[("node", "all"), ("ip", "|cn(\\d+)|10.1.0.($1+4)|")]),
    ("mac", &[("node", "cn1"), ("mac", "52:54:00:00:00:01")]),
    ("vpd", &[("node", "cn1"), ("uuid", "3F1A0000-0000-4000-8000-000000000001")]),
    ("nodetype", &[("node", "compute"), ("provmethod", "deb")]),
    ("chain", &[("node", "cn1"), ("currstate", "netboot debian12-x86_64-compute")]),
    ("osimage", &super::fuzz::IMAGE),
    ("linuximage", &[("imagename", "deb"), ("addkcmdline", "quiet R::resume=/dev/sda2")]),
];

type Rows<'a> = Vec<(&'a str, &'a [(&'a str, &'a str)])>;

fn snapshot(more: Rows<'_>) -> Snapshot {
    Snapshot::from_rows(NODE_ROWS.iter().copied().chain(more))
}

fn ask(snapshot: &Snapshot, path: &str, peer: &str) -> Option<Answer> {
    let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
    let here = Surroundings {
        addresses: &addresses,
        ports: Ports::default(),
        packed: &PackedRoots::default(),
        proof: None,
    };
    render(snapshot, here, path, peer.parse().unwrap())
}

/// A text where there is a discovery system.
fn discovered(snapshot: &Snapshot, path: &str, peer: &str) -> String {
    let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
    let packed = &PackedRoots::default().with_discovery(true);
    let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed, proof: None };
    match render(snapshot, here, path, peer.parse().unwrap()) {
        Some(Answer::Text(text)) => text,
        other => format!("{other:?}"),
    }
}

#[test]
fn a_node_with_a_task_boots_the_discovery_system() {
    let (path, peer) = ("xcat/xnba/nodes/cn1", "10.1.0.5");
    for (rows, destiny) in [
        (&[("currstate", "runcmd=bmcsetup -v")][..], "destiny=runcmd=bmcsetup"),
        (&[("currstate", "shell")], "destiny=shell"),
        (&[("currstate", ""), ("chain", "shell")], "destiny=discover"),
    ] {
        let row: Vec<_> = [("node", "cn1")].iter().chain(rows).copied().collect();
        let tables: Vec<(&str, &[(&str, &str)])> = NODE_ROWS
            .iter()
            .copied()
            .filter(|(table, _)| *table != "chain")
            .chain([("chain", &row[..])])
            .collect();
        let snapshot = Snapshot::from_rows(tables);
        let text = discovered(&snapshot, path, peer);
        assert!(text.contains(&format!(" xcatd=10.1.0.1:3001 {destiny} BOOTIF")), "{text}");
        assert!(text.contains("/tftpboot/xcat/genesis.kernel.x86_64 "), "{text}");
        let without = ask(&snapshot, path, peer);
        assert!(matches!(without, Some(Answer::Explained { reason, .. }) if reason.contains("mknb")));
    }
    let snapshot = snapshot(vec![]);
    let former =
        ["xcat/nbk.x86_64", "xcat/nbfs.x86_64.gz", "xcat/nbk.ppc64"].map(|path| ask(&snapshot, path, peer));
    let file = |name: &str| Some(Answer::TftpFile(name.to_owned()));
    assert_eq!(former, [file("xcat/genesis.kernel.x86_64"), file("xcat/genesis.fs.x86_64.gz"), None]);
}

fn check(snapshot: &Snapshot, path: &str, expected: Expect) {
    match ask(snapshot, path, "10.1.0.5") {
        Some(Answer::Text(text)) => expected.assert_eq(&text),
        other => expected.assert_eq(&format!("{other:?}")),
    }
}

#[test]
fn the_script_of_a_stateless_node() {
    check(
        &snapshot(vec![]),
        "xcat/xnba/nodes/cn1",
        expect![[r#"
            #!gpxe
            #netboot debian12-x86_64-compute
            :again
            imgfree
            imgfetch -n kernel http://${next-server}/tftpboot/xcat/osimage/deb/kernel || goto failed
            imgload kernel || goto failed
            imgargs kernel imgurl=http://${next-server}:80//install/netboot/debian12/x86_64/compute/rootimg.sfs XCAT=10.1.0.1:3001 NODE=cn1 XCATHTTPPORT=80 FC=0 quiet BOOTIF=01-${netX/mac:hexhyp}
            imgfetch -n initrd http://${next-server}/tftpboot/xcat/osimage/deb/initrd-stateless.gz || goto failed
            imgexec kernel || goto failed
            :failed
            echo Dawn: cn1 could not load its kernel or initramfs from ${next-server}.
            echo Dawn: the reason stands above, and on the server: dawn events cn1
            echo Dawn: next try in 10 seconds.
            sleep 10
            goto again
        "#]],
    );
}

#[test]
fn the_other_loaders_say_the_same() {
    let snapshot = snapshot(vec![]);
    check(
        &snapshot,
        "pxelinux.cfg/01-52-54-00-00-00-01",
        expect![[r#"
            #netboot debian12-x86_64-compute
            DEFAULT xCAT
            LABEL xCAT
             KERNEL xcat/osimage/deb/kernel
             APPEND initrd=xcat/osimage/deb/initrd-stateless.gz imgurl=http://10.1.0.1:80//install/netboot/debian12/x86_64/compute/rootimg.sfs XCAT=10.1.0.1:3001 NODE=cn1 XCATHTTPPORT=80 FC=0 quiet
              IPAPPEND 2
        "#]],
    );
    check(
        &snapshot,
        "boot/grub2/grub.cfg-0A010005",
        expect![[r#"
            #netboot debian12-x86_64-compute
            set timeout=5
            set default="xCAT OS Deployment"
            menuentry "xCAT OS Deployment" {
                set root=tftp,10.1.0.1
                echo Loading kernel ...
                linux /xcat/osimage/deb/kernel imgurl=http://10.1.0.1:80//install/netboot/debian12/x86_64/compute/rootimg.sfs XCAT=10.1.0.1:3001 NODE=cn1 XCATHTTPPORT=80 FC=0 quiet BOOTIF=01-$net_default_mac
                echo Loading initial ramdisk ...
                initrd /xcat/osimage/deb/initrd-stateless.gz
            }"#]],
    );
}

#[test]
fn elilo_gets_the_server_from_the_loader() {
    check(
        &snapshot(vec![]),
        "xcat/xnba/nodes/cn1.elilo",
        expect![[r#"
            #netboot debian12-x86_64-compute
            default="xCAT"
            delay=0

            image=/tftpboot/xcat/osimage/deb/kernel
               label="xCAT"
               initrd=/tftpboot/xcat/osimage/deb/initrd-stateless.gz
               append="imgurl=http://%N:80//install/netboot/debian12/x86_64/compute/rootimg.sfs XCAT=10.1.0.1:3001 NODE=cn1 XCATHTTPPORT=80 FC=0 quiet BOOTIF=%B"
        "#]],
    );
}

/// The file that DHCP names to a machine that is to boot GRUB is GRUB.
#[test]
fn grub_itself_is_chosen_by_architecture() {
    for (arch, file) in [("", "x86_64"), ("aarch64", "aarch64"), ("ppc64le", "ppc"), ("x86_64", "x86_64")] {
        let arch = [("node", "cn2"), ("arch", arch)];
        let answer = ask(&snapshot(vec![("nodetype", &arch)]), "boot/grub2/grub2-cn2", "10.1.0.6");
        assert_eq!(answer, Some(Answer::TftpFile(format!("boot/grub2/grub2.{file}"))));
    }
    let stranger = ask(&snapshot(vec![]), "boot/grub2/grub2-cn9", "10.1.0.6");
    assert_eq!(stranger, Some(Answer::Missing(Some("Could not find node 'cn9'.".into()))));
}

#[test]
fn a_statelite_node_gets_an_nfs_root() {
    let more: Rows<'_> = vec![
        ("nodetype", &[("node", "cn1"), ("provmethod", "lite")]),
        ("osimage", &[("imagename", "lite"), ("provmethod", "statelite")]),
        ("linuximage", &[("imagename", "lite"), ("rootimgdir", "/data/install/netboot/lite")]),
    ];
    let rows = NODE_ROWS.iter().copied().filter(|(table, _)| *table != "chain").chain(more).chain(
        std::iter::once((
            "chain",
            &[("node", "cn1"), ("currstate", "statelite debian12-x86_64-compute")] as &[(&str, &str)],
        )),
    );
    let snapshot = Snapshot::from_rows(rows);
    let Some(Answer::Text(text)) = ask(&snapshot, "xcat/xnba/nodes/cn1.uefi", "10.1.0.5") else {
        panic!("no script")
    };
    let args = text.lines().find(|line| line.starts_with("imgargs")).unwrap_or_default();
    expect!["imgargs kernel NFSROOT=${next-server}:/install/netboot/lite/rootimg STATEMNT= XCAT=10.1.0.1:3001 NODE=cn1 XCATHTTPPORT=80 MNTOPTS= BOOTIF=01-${netX/mac:hexhyp} initrd=initrd"].assert_eq(args);
}

#[test]
fn a_file_of_the_image_is_where_the_image_is() {
    let snapshot = snapshot(vec![]);
    let path = "xcat/osimage/deb/kernel";
    let kernel = PathBuf::from("/data/install/netboot/debian12/x86_64/compute/kernel");
    assert_eq!(ask(&snapshot, path, "10.1.0.5"), Some(Answer::File(kernel)));
    assert_eq!(ask(&snapshot, "xcat/osimage/deb/passwd", "10.1.0.5"), Some(Answer::Missing(None)));
    assert!(matches!(ask(&snapshot, "xcat/osimage/none/kernel", "10.1.0.5"), Some(Answer::Missing(Some(_)))));
}

#[test]
fn refusals_say_why() {
    let snapshot = snapshot(vec![]);
    for (path, peer, reason) in [
        (
            "pxelinux.cfg/cn2",
            "10.1.0.6",
            "cn2 has no boot state (chain.currstate is ''). Set one: `nodeset cn2 osimage=IMAGE`.",
        ),
        (
            "pxelinux.cfg/default",
            "10.1.0.6",
            "cn2 has no boot state (chain.currstate is ''). Set one: `nodeset cn2 osimage=IMAGE`.",
        ),
    ] {
        assert_eq!(ask(&snapshot, path, peer), Some(Answer::Refused(reason.into())), "{path} from {peer}");
    }
    let missing = ask(&snapshot, "xcat/xnba/nodes/cn9", "10.1.0.5");
    assert_eq!(missing, Some(Answer::Missing(Some("Could not find node 'cn9'.".into()))));
}

/// Paths that lead to cn1 by name, MAC, address and UUID are for others what paths of no node are: not there.
#[test]
fn who_is_a_node_is_not_for_others() {
    let snapshot = snapshot(vec![]);
    let other = "this file is for cn1; 10.1.0.6 is cn2";
    let stranger = "this file is for cn1; 10.1.9.9 is not the address of a node";
    let mac = snapshot.attr("cn1", "mac.mac").expect("a MAC").replace(':', "-");
    for path in [
        "xcat/xnba/nodes/cn1",
        "xcat/xnba/nodes/cn1.uefi",
        "xcat/xnba/nodes/cn1.elilo",
        "xcat/xnba/nodes/cn1.pxelinux",
        "xcat/httpboot/cn1.img",
        "xcat/statelite/cn1",
        "mypostscripts/mypostscript.cn1",
        "petitboot/cn1",
        "boot/grub2/grub2-cn1",
        "boot/grub2/cn1",
        "boot/grub2/grub.cfg-0A010005",
        "pxelinux.cfg/0A010005",
        "pxelinux.cfg/cn1",
        &format!("pxelinux.cfg/01-{mac}"),
        &format!("boot/grub2/grub.cfg-01-{mac}"),
    ] {
        assert!(!matches!(ask(&snapshot, path, "10.1.0.5"), None | Some(Answer::Hidden(_))), "{path}");
        for (peer, reason) in [("10.1.0.6", other), ("10.1.9.9", stranger)] {
            assert_eq!(ask(&snapshot, path, peer), Some(Answer::Hidden(reason.into())), "{path} from {peer}");
        }
    }
}

/// iPXE does not show the text of a refusal, so the reason is sent as a script.
#[test]
fn a_node_without_a_plan_says_why_on_its_screen() {
    let broken: &[(&str, &str)] = &[("node", "cn1"), ("addkcmdline", "a||chain http://evil/${x}")];
    for (rows, path, peer, shown) in [
        (
            vec![],
            "xcat/xnba/nodes/cn2.uefi",
            "10.1.0.6",
            expect![[r#"
                #!gpxe
                :again
                echo Dawn: cn2 has nothing to boot: cn2 has no boot state (chain.currstate is ''). Set one: ?nodeset cn2 osimage=IMAGE?.
                echo Dawn: next try in 10 seconds.
                sleep 10
                chain --replace --autofree cn2.uefi || goto again
            "#]],
        ),
        (
            vec![("bootparams", broken)],
            "xcat/xnba/nodes/cn1",
            "10.1.0.5",
            expect![[r#"
                #!gpxe
                :again
                echo Dawn: cn1 has nothing to boot: The kernel argument 'a??chain' cannot be used: it contains a character that boot loaders interpret
                echo Dawn: next try in 10 seconds.
                sleep 10
                chain --replace --autofree cn1 || goto again
            "#]],
        ),
    ] {
        match ask(&snapshot(rows), path, peer) {
            Some(Answer::Explained { shown: script, .. }) => shown.assert_eq(&script),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_unknown_machine_is_told_its_own_address() {
    for path in ["xcat/xnba/nets/10.1.0.0_16", "xcat/xnba/nets/10.1.0.0_16.uefi"] {
        let Some(Answer::Text(text)) = ask(&snapshot(vec![]), path, "10.1.200.7") else { panic!("{path}") };
        assert!(text.starts_with("#!gpxe\n") && text.contains("${netX/mac}"), "{text}");
        let (with, uefi) = (discovered(&snapshot(vec![]), path, "10.1.200.7"), path.ends_with(".uefi"));
        assert!(
            with.contains("imgfetch -n initrd http://${next-server}/tftpboot/xcat/genesis.fs.x86_64.gz ||")
        );
        let words = "imgargs kernel xcatd=10.1.0.1:3001 destiny=discover BOOTIF=01-${netX/mac:hexhyp}";
        assert!(with.contains(words) && with.contains(" initrd=initrd\n") == uefi, "{with}");
    }
    let Some(Answer::Text(text)) = ask(&snapshot(vec![]), "pxelinux.cfg/p/10.1.0.0_16", "10.1.200.7") else {
        panic!("no configuration of petitboot")
    };
    // Nothing in it that petitboot would boot.
    assert!(text.contains("mkdef") && text.lines().all(|line| line.starts_with('#')), "{text}");
}

#[test]
fn an_unknown_machine_finds_the_discovery_system_under_secure_boot() {
    let (tables, peer) = (snapshot(vec![]), "10.1.200.7");
    let path = crate::view::GRUB_FIRST_CONFIG.replace("$net_default_mac", "52:54:00:00:00:99");
    let path = path.trim_end().rsplit_once(")/").map(|(_, path)| path).unwrap_or_default();
    let grub = discovered(&tables, path, peer);
    for line in [
        "if [ \"$grub_cpu\" = x86_64 ]; then",
        "    set root=tftp,$net_default_server",
        "    linux /xcat/genesis.kernel.x86_64 xcatd=10.1.0.1:3001 destiny=discover BOOTIF=01-$net_default_mac",
        "    initrd /xcat/genesis.fs.x86_64.gz",
    ] {
        assert!(grub.lines().any(|other| other == line), "{line} in\n{grub}");
    }
    // A node's is for the node, and other names that GRUB tries mean nothing.
    let of_node = path.replace("00:99", "00:01");
    assert!(discovered(&tables, &of_node, peer).starts_with("Some(Hidden("));
    for path in [path, "boot/grub2/grub.cfg-0A01C807", "xcat/httpboot/nets/10.1.0.0_16.img"] {
        assert!(matches!(ask(&tables, path, peer), Some(Answer::Missing(_))), "{path}");
    }
    let image = discovered(&tables, "xcat/httpboot/nets/10.1.0.0_16.img", peer);
    for words in ["linux /kernel xcatd=10.1.0.1:3001 destiny=discover\\n", "/xcat/genesis.fs.x86_64.gz"] {
        assert!(image.starts_with("Some(BootImage(") && image.contains(words), "{image}");
    }
}

#[test]
fn pxelinux_finds_its_node_by_every_name_it_tries() {
    let snapshot = snapshot(vec![]);
    for path in [
        "pxelinux.cfg/3f1a0000-0000-4000-8000-000000000001",
        "pxelinux.cfg/01-52-54-00-00-00-01",
        "pxelinux.cfg/0A010005",
        "pxelinux.cfg/default",
        "pxelinux.cfg/cn1",
        "xcat/xnba/nodes/cn1.pxelinux",
    ] {
        let answer = ask(&snapshot, path, "10.1.0.5");
        assert!(
            matches!(&answer, Some(Answer::Text(text)) if text.contains("NODE=cn1")),
            "{path}: {answer:?}"
        );
    }
}

#[test]
fn other_paths_are_no_views() {
    let snapshot = snapshot(vec![]);
    for path in
        ["undionly.kpxe", "boot/grub2/grubx64.efi", "xcat/osimage/a/b/kernel", "", "/", "xcat/xnba/nodes"]
    {
        assert_eq!(ask(&snapshot, path, "10.1.0.5"), None, "{path}");
    }
    // pxelinux tries these before it finds its own.
    for key in ["default", "0A0100", "01-52-54-00-00-00-99", "zz"] {
        assert_eq!(ask(&snapshot, &format!("pxelinux.cfg/{key}"), "10.1.9.9"), Some(Answer::Missing(None)));
    }
}

/// Views that are refused, with the reason as text, where a node has no plan.
const TEXTS: [&str; 4] =
    ["pxelinux.cfg/NODE", "boot/grub2/NODE", "petitboot/NODE", "xcat/xnba/nodes/NODE.elilo"];

#[test]
fn a_cell_cannot_leave_its_line() {
    for cell in ["quiet\nchain http://evil/", "a;reboot", "${net0/mac}", "x||shell"] {
        let row = [("node", "cn1"), ("addkcmdline", cell)];
        let snapshot = snapshot(vec![("bootparams", &row)]);
        let script = ask(&snapshot, "xcat/xnba/nodes/cn1", "10.1.0.5");
        assert!(matches!(script, Some(Answer::Explained { .. })), "{cell}: {script:?}");
        for path in TEXTS {
            let answer = ask(&snapshot, &path.replace("NODE", "cn1"), "10.1.0.5");
            assert!(matches!(answer, Some(Answer::Refused(_))), "{path}: {cell}");
        }
    }
}

/// The state is the comment line of every boot file.
#[test]
fn a_state_of_two_lines_is_no_state() {
    for state in ["netboot a\nchain http://evil/", "install \r\nshell", "runcmd=a\nb"] {
        let row = [("node", "cn2"), ("currstate", state)];
        let more = [("nodetype", &[("node", "cn2"), ("provmethod", "deb")] as &[_]), ("chain", &row)];
        let snapshot = snapshot(more.to_vec());
        let script = ask(&snapshot, "xcat/xnba/nodes/cn2", "10.1.0.6");
        assert!(
            matches!(&script, Some(Answer::Explained { reason, .. }) if reason.contains("boot state")),
            "{script:?}"
        );
        for path in TEXTS {
            let answer = ask(&snapshot, &path.replace("NODE", "cn2"), "10.1.0.6");
            assert!(matches!(answer, Some(Answer::Refused(_))), "{path}: {answer:?}");
        }
    }
}

#[test]
fn grub_expands_nothing_in_arguments() {
    let row = [("node", "cn1"), ("addkcmdline", "memmap=64M$4G a&b")];
    let snapshot = snapshot(vec![("bootparams", &row)]);
    for (path, words) in
        [("boot/grub2/cn1", r"memmap=64M\$4G a\&b quiet"), ("xcat/xnba/nodes/cn1", "memmap=64M$4G a&b quiet")]
    {
        let answer = ask(&snapshot, path, "10.1.0.5");
        assert!(matches!(&answer, Some(Answer::Text(text)) if text.contains(words)), "{answer:?}");
    }
}

#[test]
fn a_boot_image_needs_no_network_in_grub() {
    let snapshot = snapshot(vec![]);
    let Some(Answer::BootImage(image)) = ask(&snapshot, "xcat/httpboot/cn1.img", "10.1.0.5") else {
        panic!("an image");
    };
    assert!(image.kernel.ends_with("kernel") && image.initrd.ends_with("initrd-stateless.gz"));
    let line = image.config.lines().find(|line| line.contains("linux ")).unwrap_or_default();
    assert!(line.contains(" NODE=cn1 ") && !line.contains('$') && !line.contains("!myipfn!"), "{line}");
    assert!(matches!(ask(&snapshot, "xcat/httpboot/cn1.img", "10.1.0.6"), Some(Answer::Hidden(_))));
}

#[test]
fn the_first_grub_configuration_leads_to_the_nodes_own() {
    let mac = crate::view::GRUB_FIRST_CONFIG.replace("$net_default_mac", "52:54:00:00:00:01");
    let path = mac.trim_end().rsplit_once(")/").map(|(_, path)| path).unwrap_or_default();
    assert!(matches!(ask(&snapshot(vec![]), path, "10.1.0.5"), Some(Answer::Text(_))), "{path}");
}

fn kernel_words(node: &str, rows: Rows<'_>, packed: Option<(&str, &'static str)>) -> String {
    let none = PackedRoots::default();
    let packed = &packed.map_or(none.clone(), |(dir, name)| none.with(dir.as_ref(), Some(name)));
    let addresses = LocalAddresses::new(Vec::new());
    let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed, proof: None };
    match plan(&snapshot(rows), node, here).unwrap().action {
        Action::Kernel(boot) => format!("{} {}", boot.initrd(), boot.args),
        Action::LocalDisk | Action::Installer(_) => "no kernel".into(),
    }
}

#[test]
fn the_root_is_named_as_it_was_packed() {
    let dir = "/data/install/netboot/debian12/x86_64/compute";
    for (packed, word) in [
        (Some((dir, "rootimg.cpio.gz")), "/compute/rootimg.cpio.gz "),
        (Some((dir, "rootimg.tar.xz")), "/compute/rootimg.tar.xz "),
        (Some(("/elsewhere", "rootimg.gz")), "/compute/rootimg.sfs "),
        (None, "/compute/rootimg.sfs "),
    ] {
        let words = kernel_words("cn1", vec![], packed);
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn a_statelite_root_in_memory_is_fetched() {
    let rows = |kind| -> Rows<'static> {
        vec![
            ("chain", &[("node", "cn2"), ("currstate", "statelite lite-x86_64-compute")]),
            ("nodetype", &[("node", "cn2"), ("provmethod", "lite")]),
            ("statelite", &[("node", "cn2"), ("statemnt", "10.1.0.9:/nodes")]),
            ("osimage", kind),
            ("linuximage", &[("imagename", "lite"), ("rootimgdir", "/data/install/lite")]),
        ]
    };
    let ramdisk = kernel_words(
        "cn2",
        rows(&[("imagename", "lite"), ("provmethod", "statelite"), ("rootfstype", "ramdisk")]),
        None,
    );
    let want = "xcat/osimage/lite/initrd-statelite.gz imgurl=http://!myipfn!:80//install/lite/rootimg-statelite.gz STATEMNT=10.1.0.9:/nodes ";
    assert!(ramdisk.starts_with(want), "{ramdisk}");
    let nfs = kernel_words("cn2", rows(&[("imagename", "lite"), ("rootfstype", "nfs")]), None);
    assert!(
        nfs.starts_with(
            "xcat/osimage/lite/initrd-statelite.gz NFSROOT=!myipfn!:/install/lite/rootimg STATEMNT="
        ),
        "{nfs}"
    );
}

/// Next to another DHCP server, `${next-server}` is that server.
#[test]
fn a_script_beside_another_dhcp_server_names_ours() {
    let net: &[(&str, &str)] = &[("netname", "campus"), ("net", "10.1.0.0"), ("mask", "/16")];
    let at = |networks: &'static str| {
        let site: &[(&str, &str)] = &[("key", "proxydhcp"), ("value", networks)];
        let snapshot = snapshot(vec![("networks", net), ("site", site)]);
        match ask(&snapshot, "xcat/xnba/nodes/cn1", "10.1.0.5") {
            Some(Answer::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    for (networks, ours) in [("campus", true), ("ALL", true), ("lab", false)] {
        let script = at(networks);
        assert_eq!(script.contains("kernel http://10.1.0.1/tftpboot/"), ours, "{networks}: {script}");
        assert_eq!(script.contains("${next-server}"), !ours, "{networks}: {script}");
    }
}

proptest::proptest! {
    /// For any content of cells and names, a boot file has its usual lines, and no foreign text in them is a
    /// variable or ends a command.
    #[test]
    fn no_cell_breaks_out_of_a_script(
        cell in ".{0,40}|[ a|&;#$`{}\"'\\\\\n\r%:-]{0,12}",
        place in 0_u8..super::fuzz::PLACES,
    ) {
        super::fuzz::cell_stays_inside(&cell, place);
    }
}

/// Names that came with an older database: nothing is rendered with them.
#[test]
fn odd_names_get_no_script() {
    for name in ["a;id", "a$(id)", "a b", "a\nchain x", "a|b", "a::b", "${x}", "#a", "a\"b", "a\\"] {
        for place in 0..super::fuzz::PLACES {
            super::fuzz::cell_stays_inside(name, place);
        }
        let rows = |node: &'static str, image: &'static str| {
            Snapshot::from_rows([
                ("site", &[("key", "master"), ("value", "10.1.0.1")][..]),
                ("nodelist", &[("node", node), ("groups", "all")]),
                ("hosts", &[("node", node), ("ip", "10.1.0.5")]),
                ("chain", &[("node", node), ("currstate", "netboot a-b-c")]),
                ("nodetype", &[("node", node), ("provmethod", image)]),
                ("osimage", &[("imagename", image), ("osvers", "a"), ("osarch", "b"), ("profile", "c")]),
            ])
        };
        for path in ["boot/grub2/cn1", "pxelinux.cfg/cn1", "xcat/xnba/nodes/cn1.elilo", "petitboot/cn1"] {
            let answer = ask(&rows("cn1", name), path, "10.1.0.5");
            assert!(matches!(answer, Some(Answer::Refused(_))), "{path} {name:?}: {answer:?}");
        }
        let answer = ask(&rows(name, "deb"), "pxelinux.cfg/default", "10.1.0.5");
        // The name of a node is in no path of PXELINUX, and may be an IPv6 address.
        assert!(name == "a::b" || matches!(answer, Some(Answer::Refused(_))), "{name:?}: {answer:?}");
    }
}

/// elilo replaces `%` and a letter at any place, and has no way to quote them.
#[test]
fn elilo_gets_no_percent_sign_of_a_cell() {
    let snapshot = snapshot(vec![("bootparams", &[("node", "cn1"), ("addkcmdline", "tz=%N")])]);
    match ask(&snapshot, "xcat/xnba/nodes/cn1.elilo", "10.1.0.5") {
        Some(Answer::Refused(reason)) => {
            assert!(reason.contains("tz=%N") && reason.contains("elilo"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(ask(&snapshot, "xcat/xnba/nodes/cn1", "10.1.0.5"), Some(Answer::Text(text)) if text.contains("tz=%N"))
    );
}

/// Rows of a node that is installed from this medium.
fn installed<'a>(osvers: &'a [(&'a str, &'a str)], pkgdir: &'a [(&'a str, &'a str)]) -> Rows<'a> {
    vec![
        ("chain", &[("node", "cn2"), ("currstate", "install x-x86_64-compute")]),
        ("nodetype", &[("node", "cn2"), ("provmethod", "disk")]),
        ("osimage", osvers),
        ("linuximage", pkgdir),
    ]
}

fn os_row(osvers: &str) -> [(&str, &str); 4] {
    [("imagename", "disk"), ("provmethod", "install"), ("osvers", osvers), ("osarch", "x86_64")]
}

#[test]
fn installers_have_their_kernel_lines() {
    let pkgdir = [("imagename", "disk"), ("pkgdir", "/data/install/os/")];
    for (osvers, expected) in [
        (
            "rhels9.4",
            "xcat/osimage/disk/initrd.img inst.repo=http://!myipfn!:80/install/os \
             inst.ks=http://!myipfn!:80/install/autoinst/cn2?t=xxxxxxxx ip=dhcp",
        ),
        (
            "sles15.5",
            "xcat/osimage/disk/initrd autoyast=http://!myipfn!:80/install/autoinst/cn2?t=xxxxxxxx \
             install=http://!myipfn!:80/install/os/1",
        ),
        (
            "debian12",
            "xcat/osimage/disk/initrd.img nofb utf8 auto xcatd=10.1.0.1 \
             url=http://!myipfn!:80/install/autoinst/cn2?t=xxxxxxxx mirror/http/hostname=!myipfn!:80 \
             priority=critical locale=en_US hostname=cn2",
        ),
        (
            "ubuntu22.04",
            "xcat/osimage/disk/initrd.img nofb utf8 auto autoinstall ip=dhcp boot=casper netboot=nfs \
             xcatd=10.1.0.1 nfsroot=!myipfn!:/install/os toram \
             ds=nocloud-net;s=http://!myipfn!:80/install/autoinst/cn2/xxxxxxxx/ --- locale=en_US hostname=cn2",
        ),
    ] {
        assert_eq!(kernel_words("cn2", installed(&os_row(osvers), &pkgdir), None), expected);
    }
    let mut rows = installed(&[], &pkgdir);
    let el = os_row("rhels9.4");
    rows.extend([
        ("osimage", &el[..]),
        ("site", &[("key", "xcatdebugmode"), ("value", "2")]),
        ("noderes", &[("node", "cn2"), ("nfsserver", "10.1.0.7"), ("installnic", "eth1")]),
        ("nodehm", &[("node", "cn2"), ("serialport", "0"), ("serialspeed", "115200")]),
        ("bootparams", &[("node", "cn2"), ("addkcmdline", "quiet R::resume=/dev/sda2")]),
    ]);
    assert_eq!(
        kernel_words("cn2", rows, None),
        "xcat/osimage/disk/initrd.img inst.repo=http://10.1.0.7:80/install/os \
         inst.ks=http://!myipfn!:80/install/autoinst/cn2?t=xxxxxxxx ip=eth1:dhcp inst.loglevel=debug inst.sshd \
         inst.syslog=10.1.0.1 inst.cmdline console=tty0 console=ttyS0,115200 quiet"
    );
}

#[test]
fn what_keeps_a_node_from_its_installation_is_said() {
    let addresses = LocalAddresses::default();
    let packed = &PackedRoots::default();
    let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed, proof: None };
    let of = |osvers: &str, pkgdir: &str, more: Rows<'_>| {
        let (os, dir) = (os_row(osvers), [("imagename", "disk"), ("pkgdir", pkgdir)]);
        let rows = installed(&os, &dir).into_iter().chain(more).collect();
        plan(&snapshot(rows), "cn2", here).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(of("rhels9.4", "/data/install/os", vec![]), Ok(()));
    for (osvers, pkgdir, words) in [
        ("alt-p10", "/data/install/os", "does not know the installer of disk: its osvers is 'alt-p10'"),
        ("rhels9.4", "/srv/os", "/srv/os is not below the install directory"),
        ("rhels9.4", "http://mirror/os", "has no pkgdir on this machine"),
        ("rhels9.4", "/data/install/../etc", "has no pkgdir on this machine"),
    ] {
        let error = of(osvers, pkgdir, vec![]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let fixed: Rows<'_> = vec![("site", &[("key", "managedaddressmode"), ("value", "static")])];
    assert!(of("rhels9.4", "/data/install/os", fixed).unwrap_err().contains("managedaddressmode"));
}

/// Kernel and initramfs of an installer are on its medium, under the names of the boot files alone.
#[test]
fn an_installer_is_loaded_from_its_medium() {
    let (os, dir) = (os_row("rhels9.4"), [("imagename", "disk"), ("pkgdir", "/data/install/os")]);
    let snapshot = snapshot(installed(&os, &dir));
    let file = |name: &str| ask(&snapshot, &format!("xcat/osimage/disk/{name}"), "10.1.0.6");
    let Some(Answer::OfMedia { pairs, which: OfMedia::Kernel }) = file("vmlinuz") else {
        panic!("no kernel")
    };
    assert_eq!(pairs[0].initrd, PathBuf::from("/data/install/os/images/pxeboot/initrd.img"));
    assert!(matches!(file("initrd.img"), Some(Answer::OfMedia { which: OfMedia::Initrd, .. })));
    assert_eq!((file("kernel"), file("linux")), (Some(Answer::Missing(None)), Some(Answer::Missing(None))));
}
