//! Every command line of administrators' documents, run as written there on one cluster.
//!
//! `tests/documented_commands.txt` says of each line what this version does with it, and how what it prints
//! begins. The test runs the lines in their order and writes the file again from what it saw, so a line that
//! stops working or says something else, and one that works while its mark says that it waits, all fail it.
//!
//! Service processors answer, and so does one node: `ipmi_sim` and a real sshd, on this machine. Needs the
//! Debian packages `openipmi` and `openssh-server`.

#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "other tests use the rest; processes can only be polled"
)]
#[path = "../../remote/tests/common/mod.rs"]
mod sshd;

use crate::testbed::{Bed, words};
use crate::tests::hardware::data;
use crate::tests::hardware::support::IpmiSim;
use dawn_bootd::command::Kind;
use expect_test::expect_file;
use sshd::Hosts;

/// Objects that the documents assume to exist.
const CLUSTER: &str = "
    policy priority=1 name=root rule=allow
    site key=master value=172.16.2.2
    site key=domain value=cluster
    site key=tftpdir value=/tftpboot
    nodelist node=cn-1 groups=all
    nodelist node=hpc3 groups=all
    nodelist node=bmc1 groups=all
    nodelist node=c1 groups=compute1,all
    nodelist node=c2 groups=compute2,all
    nodelist node=dmz1node1 groups=all
    nodelist node=sn1 groups=service,all
    nodelist node=sn2 groups=service,all
    nodelist node=sn3 groups=all
    litefile image=ALL file=/etc/resolv.conf options=tmpfs
    hosts node=dmz1node1 ip=172.16.2.31
    mac node=dmz1node1 mac=2a:2a:2a:2a:2a:03
    nodetype node=all os=alt arch=x86_64 profile=compute
    mac node=hpc3 mac=2a:2a:2a:2a:2a:01
    mac node=cn-1 mac=2a:2a:2a:2a:2a:02
    osimage imagename=alt-x86_64-netboot-compute provmethod=netboot osvers=alt osarch=x86_64 profile=compute imagetype=linux osname=Linux
    osimage imagename=alt-x86_64-statelite-compute provmethod=statelite osvers=alt osarch=x86_64 profile=compute imagetype=linux osname=Linux
    osimage imagename=alt-x86_64-install-compute provmethod=install osvers=alt osarch=x86_64 profile=compute imagetype=linux osname=Linux
    osimage imagename=alt-x86_64-install-kvm provmethod=install osvers=alt osarch=x86_64 profile=kvm imagetype=linux osname=Linux
    osimage imagename=alt-x86-statelite-compute provmethod=statelite osvers=alt osarch=x86 profile=compute imagetype=linux osname=Linux
    linuximage imagename=alt-x86_64-install-kvm otherpkglist=/kvm.pkglist
    networks netname=clusterNet net=172.16.2.0 mask=255.255.255.0
    nodehm node=service mgt=ipmi
    ipmi node=service bmc=bmc1 username=root password=123
";

/// Commands for service processors.
const HARDWARE: [&str; 7] = ["rpower", "rbeacon", "reventlog", "rinv", "rvitals", "rsetboot", "rspconfig"];
/// Command lines whose output is this machine's or this moment's.
const OTHER_EACH_TIME: [&str; 4] = ["xdsh ", "nodestat ", "reventlog ", "tabdump auditlog"];
/// The user of the documents' service processors.
const BMC_USER: &str = "user 3 true \"root\" \"123\" admin 10 none md2 md5 straight";
/// Lines of an output that the file keeps.
const LINES_MAX: usize = 3;
/// Where the node `cn-1` is.
const NODE_ADDRESS: &str = "127.79.0.1";

/// A daemon, and what its commands reach.
struct Cluster {
    bed: Bed,
    bmc: IpmiSim,
    node: Hosts,
}

impl Cluster {
    fn new() -> Self {
        let bed = Bed::new(CLUSTER);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let bmc = runtime.block_on(IpmiSim::start(&data("machine.emu"), BMC_USER));
        let mut node = Hosts::new();
        node.start("cn-1", &[NODE_ADDRESS]);
        let cluster = Self { bed, bmc, node };
        let keys = cluster.node.path().display().to_string();
        let known = std::fs::read_to_string(cluster.node.path().join("host_cn-1.pub")).expect("a key");
        let line = format!("[{NODE_ADDRESS}]:{} {known}", cluster.node.port);
        std::fs::write(cluster.node.path().join("known_hosts"), line).expect("a file");
        cluster.done(&format!("tabch zonename=own zone.defaultzone=yes zone.sshkeydir={keys}"));
        // A node's own row takes no address of loopback; a template is not looked at so closely.
        cluster.done(r"chtab node=cn-1 'hosts.ip=|cn-(\d+)|127.79.0.($1)|'");
        // The documents begin after the installation, which makes certificates.
        cluster.done("xcatconfig -c");
        // And genimage has made the trees of the images.
        for image in ["alt-x86_64-statelite-compute", "alt-x86-statelite-compute"] {
            let top = cluster.bed.directory.path().join(image);
            for directory in ["etc", "boot", "lib/modules/6.1.0"] {
                std::fs::create_dir_all(top.join("rootimg").join(directory)).expect("a tree");
            }
            std::fs::write(top.join("rootimg/boot/vmlinuz-6.1.0"), "kernel").expect("a kernel");
            cluster.done(&format!("chtab imagename={image} linuximage.rootimgdir={}", top.display()));
        }
        cluster
    }

    fn done(&self, line: &str) {
        let output = self.bed.run(line);
        assert!(!output.contains("rc="), "{line}: {output}");
    }

    /// A command line of the documents as it is run here: other names, directories and addresses.
    fn here(&self, name: &str, rest: &str) -> String {
        let node = if HARDWARE.contains(&name) { "hw1" } else { "node1" };
        let names = ["<noderange>", "<nodename>", "<node>", "noderange"].map(|name| (name, node));
        let others =
            [("<ARCH>", "x86_64"), ("<image name>", "alt-x86_64-statelite-compute"), ("<script>", "syslog")];
        let names = names.into_iter().chain(others);
        let rest = names.fold(rest.to_owned(), |line, (name, here)| line.replace(name, here));
        match name {
            // Its directories are made.
            "xcatconfig" => rest.replace("/var", &format!("{}/var", self.bed.directory.path().display())),
            // This machine may have no kernel.
            "mknb" | "nbcreate" => format!("{rest} --image alt-x86_64-statelite-compute --dry-run"),
            "xdsh" => format!("-o '-p {}' {rest}", self.node.port),
            _ => rest,
        }
    }

    /// Service processors of the documents' names are this one.
    fn with_bmcs(&self) {
        for node in ["bmc1", "compute", "service"] {
            self.done(&format!("chtab node={node} ipmi.bmc={}", self.bmc.address));
        }
    }

    /// What a command printed, as the file keeps it.
    fn kept(&self, output: &str) -> String {
        let output = output.replace(&*self.bed.directory.path().to_string_lossy(), "TOP");
        let output = output.replace(&self.bmc.address.to_string(), "BMC");
        let filled: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        let more = filled.len().saturating_sub(LINES_MAX);
        let lines = filled.iter().take(LINES_MAX).map(|line| format!("    {line}").trim_end().to_owned());
        let more = (more > 0).then(|| format!("    … {more} more lines"));
        lines.chain(more).map(|line| line + "\n").collect()
    }

    /// What this version does with a line, and what it prints; a mark for what it waits for stays as it is.
    fn mark(&self, present: &str, line: &str) -> (String, String) {
        // The part before a pipe or a redirection; variables before the command; its directory.
        let line = line.replace('"', "'");
        let line = line.split(" | ").next().and_then(|part| part.split(" > ").next()).unwrap_or_default();
        let line = line.replace("XCATBYPASS=1 ", "");
        let (program, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let name = program.rsplit('/').next().unwrap_or_default();
        let reasons = ["waits for ", "refused: "];
        let explained = present == "system" || reasons.iter().any(|reason| present.starts_with(reason));
        let waits = (if explained { present } else { "fails" }.to_owned(), String::new());
        let Some(entry) = self.bed.registry.find(name) else { return waits };
        if present == "system" {
            return waits;
        }
        let rest = self.here(name, rest);
        if entry.kind == Kind::Local || entry.sends_file {
            let words = words(&rest);
            let asked = (entry.clap)().try_get_matches_from(std::iter::once(name.to_owned()).chain(words));
            return if asked.is_ok() { ("accepted".to_owned(), String::new()) } else { waits };
        }
        if HARDWARE.contains(&name) {
            self.with_bmcs();
        }
        let line = format!("{name} {rest}");
        let output = self.bed.run(line.trim());
        if output.lines().last().is_some_and(|line| line.starts_with("rc=")) {
            let kept = if explained { String::new() } else { self.kept(&output) };
            return (waits.0, kept);
        }
        let differs = OTHER_EACH_TIME.iter().any(|other| line.starts_with(other));
        let kept = if differs { String::new() } else { self.kept(&output) };
        ("answered".to_owned(), kept)
    }
}

#[test]
fn documented_commands() {
    let cluster = Cluster::new();
    let file = include_str!("tests/documented_commands.txt");
    let mut seen = String::new();
    for line in file.lines().filter(|line| !line.starts_with("    ")) {
        match line.split_once(" | ").filter(|_| !line.starts_with('#')) {
            Some((present, line)) => {
                let (mark, output) = cluster.mark(present, line);
                seen.push_str(&format!("{mark} | {line}\n{output}"));
            }
            None => seen.push_str(&format!("{line}\n")),
        }
    }
    expect_file!["tests/documented_commands.txt"].assert_eq(&seen);
}
