//! Every command that writes has `--dry-run`, and it changes nothing: no row, no entry of the change log, no
//! file.

use crate::registry::registry;
use crate::testbed::Bed;
use dawn_bootd::command::Kind;
use dawn_cluster::schema;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROWS: &str = "
    policy priority=1 name=root rule=allow
    site key=domain value=cluster
    site key=dnshandler value=ddns
    site key=bindconf value=/nonexistent/named.conf
    site key=binddir value=/tmp
    networks netname=prov net=10.0.0.0 mask=/16
    site key=auditskipcmds value=ALL
    nodelist node=cn1 groups=compute
    hosts node=cn1 ip=10.0.0.1
    mac node=cn1 mac=52:54:00:00:00:01
    nodehm node=cn1 mgt=ipmi
    notification filename=/bin/true tables=site tableops=a
    litefile image=img file=/etc/hosts options=tmpfs
    discoverydata uuid=u-1 nichwaddr=eno1!52:54:00:00:00:09
    auditlog recid=1 audittime=2020-01-01 userid=root
    osimage imagename=img provmethod=netboot osvers=debian12 osarch=x86_64 profile=compute imagetype=linux osname=Linux
";

/// One line for each command of the daemon that writes; it would change something.
const LINES: &[&str] = &[
    "backup saved",
    "chdef cn1 arch=x86_64",
    "chtab key=domain site.value=x",
    "discover approve u-1 cn1",
    "imgexport img",
    "imgimport big.tgz",
    "import xcat dump",
    "liteimg img",
    "makeconservercf",
    "makedns",
    "makegocons",
    "makehosts",
    "makeknownhosts cn1",
    "makenetworks",
    "mkdef cn9 groups=all",
    "mknb --image img",
    "mysqlsetup",
    "nbcreate --image img",
    "nodeadd cn9 groups=all",
    "nodech cn1 nodehm.power=ipmi",
    "nodediscoverdef -u u-1 -n cn1",
    "nodediscoverstart noderange=cn2 hostiprange=10.0.0.2-10.0.0.3",
    "nodediscoverstop",
    "nodegrpch compute nodehm.power=ipmi",
    "nodepurge cn1",
    "noderm cn1",
    "nodeset cn1 boot",
    "pgsqlsetup",
    "regnotif /bin/true hosts",
    "rinstall cn1 boot",
    "rmdef cn1",
    "rmimage img --xcatdef",
    "setup-local-client.sh alice",
    "tabch key=domain site.value=x",
    "tabprune auditlog -a -V",
    "tabrestore site.csv",
    "undo",
    "unregnotif /bin/true",
    "xcatconfig -i -m",
];

#[test]
fn every_writer_has_a_dry_run() {
    let registry = registry();
    for entry in registry.all().iter().filter(|entry| entry.writes) {
        let command = (entry.clap)();
        let found =
            command.get_arguments().any(|arg| arg.get_long() == Some("dry-run") && !arg.is_hide_set());
        assert!(found, "{} writes and has no --dry-run", entry.name);
    }
    let writers = registry.all().iter().filter(|entry| entry.writes && entry.kind != Kind::Local);
    let writers: BTreeSet<&str> = writers.map(|entry| entry.name).collect();
    let tried = LINES.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(writers, tried, "each command that writes has a line in this test");
}

#[test]
fn a_dry_run_changes_nothing_and_shows_the_difference() {
    let bed = Bed::on_disk(ROWS);
    let top = bed.directory.path().to_owned();
    prepare_image(&bed, &top);
    std::fs::create_dir(top.join("dump")).expect("a directory");
    std::fs::write(top.join("dump/site.csv"), "#key,value\n\"domain\",\"other\"\n").expect("a dump");
    for line in LINES {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let before = state(&bed, &top);
        let piped = (command == "tabrestore").then_some("#key,value\n\"domain\",\"other\"\n");
        let shown = bed.run_with(&format!("{command} --dry-run {rest}"), piped);
        assert!(!shown.contains("rc="), "{line}: {shown}");
        let signs = |line: &str| ["+ ", "- ", "~ "].iter().any(|sign| line.starts_with(sign));
        // A machine without networks has none to add, no discovery is running, and the daemon holds the
        // consoles.
        let may_be_nothing =
            ["makeconservercf", "makegocons", "makenetworks", "nodediscoverstop"].contains(&command);
        let shows = shown.lines().all(|line| signs(line) || line.starts_with("    "));
        // An import shows its report, which has a line for each table and not for each row.
        let shows = shows || command == "import" && shown.contains("site: 1 row\n");
        assert!(shows || shown == "Nothing would change.\n" && may_be_nothing, "{line}: {shown}");
        assert!(state(&bed, &top) == before, "{line} has changed something");
    }
    // And the lines do change something when it is meant.
    let before = state(&bed, &top);
    bed.run("nodech cn1 nodehm.power=ipmi");
    assert!(state(&bed, &top) != before);
}

/// Also through a link that leads into the tree.
#[test]
fn no_file_is_written_into_the_tree_of_an_image() {
    let bed = Bed::new(ROWS);
    let top = bed.directory.path();
    prepare_image(&bed, top);
    let tree = top.join("install/netboot/debian12/x86_64/compute/rootimg");
    std::os::unix::fs::symlink(tree.join("etc"), top.join("conf")).expect("a link");
    std::os::unix::fs::symlink(tree.join("etc/hosts"), top.join("hosts.csv")).expect("a link");
    let inside = tree.join("etc/x");
    for file in [&*inside.to_string_lossy(), "conf/x", "hosts.csv"] {
        let refused = bed.run(&format!("tabdump -f {file} site"));
        assert!(refused.contains("is in the tree of an image") && refused.contains("rc=1"), "{refused}");
    }
    let export = |directory: &Path| {
        let cwd = directory.display();
        bed.run_xml(&format!("<command>imgexport</command><arg>img</arg><cwd>{cwd}</cwd>"))
    };
    for directory in [&tree, &top.join("conf")] {
        let refused = export(directory);
        assert!(refused.contains("is in the tree of an image"), "{refused}");
    }
    assert!(export(top).contains("Done!"));
    assert_eq!(std::fs::read(tree.join("etc/hosts")).expect("a file"), b"rootimg/etc/hosts");
    assert_eq!(std::fs::read_dir(tree.join("etc")).expect("a directory").count(), 1);
}

fn prepare_image(bed: &Bed, top: &Path) {
    let directory = top.join("install/netboot/debian12/x86_64/compute");
    std::fs::create_dir_all(directory.join("rootimg/etc")).expect("a tree");
    for directory in ["boot", "lib/modules/6.1.0"].map(|name| directory.join("rootimg").join(name)) {
        std::fs::create_dir_all(directory).expect("a directory");
    }
    let of_kernel = ["rootimg/boot/vmlinuz-6.1.0", "rootimg/lib/modules/6.1.0/modules.dep"];
    for name in ["kernel", "rootimg.sfs", "rootimg/etc/hosts"].iter().chain(&of_kernel) {
        std::fs::write(directory.join(name), name).expect("a file");
    }
    let hostkeys = top.join("hostkeys");
    std::fs::create_dir_all(&hostkeys).expect("a directory");
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(hostkeys.join("ssh_host_ed25519_key"));
    assert!(keygen.status().expect("Debian's package openssh-client").success());
    bed.run(&format!("chtab key=installdir site.value={}/install", top.display()));
    bed.run(&format!("chtab imagename=img linuximage.rootimgdir={}", directory.display()));
    let exported = bed.run("imgexport img big.tgz");
    assert!(exported.contains("Done!"), "{exported}");
}

/// All rows, the length of the change log, and all files of the directory but the database's own.
fn state(bed: &Bed, top: &Path) -> (Vec<String>, String, BTreeMap<String, Vec<u8>>) {
    let rows = schema().tables_by_name().map(|table| bed.run(&format!("tabdump {}", table.name))).collect();
    let log = bed.run("log -a -n 10000");
    let mut files = BTreeMap::new();
    let mut open = vec![top.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            if path.to_string_lossy().contains("dawn.sqlite") {
                continue;
            }
            if kind.is_dir() {
                open.push(path.clone());
            }
            let bytes = if kind.is_file() { std::fs::read(&path).expect("bytes") } else { Vec::new() };
            files.insert(path.to_string_lossy().into_owned(), bytes);
        }
    }
    (rows, log, files)
}
