//! Commands that the tables name for a node, when its machine is found and as a step of its chain; and what a
//! node receives about its service processor.

use super::CLUSTER;
use crate::testbed::Bed;
use dawn_bootd::services::Stop;
use dawn_wire::bmc;
use dawn_xcatd::node_status::{NodeReport, NodeReports};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long a command may take here; the wait ends with its event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs what waits until the node's last event begins with `until`; its events about it.
fn followed_up(bed: &Bed, until: &str) -> Vec<String> {
    let events = || {
        let all = bed.bus.of("cn1").into_iter().map(|event| event.detail);
        all.filter(|detail| detail.starts_with("ondiscover")).collect::<Vec<String>>()
    };
    let has_come = |events: &[String]| events.last().is_some_and(|detail| detail.starts_with(until));
    let stop = Stop::new();
    thread::scope(|scope| {
        scope.spawn(|| bed.discovery.follow_up(&bed.daemon, &stop));
        let end = Instant::now() + PATIENCE;
        while !has_come(&events()) && Instant::now() < end {
            thread::park_timeout(Duration::from_millis(5));
        }
        stop.cancel();
    });
    let events = events();
    assert!(has_come(&events), "not '{until}': {events:?}");
    events
}

#[test]
fn a_machine_that_is_found_has_its_commands_run() {
    let bed = Bed::new(&format!(
        "{CLUSTER}
        discoverydata uuid=u-1 method=undef nichwaddr=eno1!52:54:00:00:00:01
        chain node=cn1 ondiscover='nodediscover|nodech:hosts.comments=$(id);x|nosuch:a|nodech:hosts.comments=b'"
    ));
    let found = || bed.run("nodediscoverdef -u u-1 -n cn1");
    assert_eq!(found(), "Defined [u-1] to node cn1.\n");
    assert_eq!(bed.run("nodels cn1 nodelist.status"), "cn1: discovered\n");
    let refused = "ondiscover: nodech: the policy does not allow it to the caller 'ondiscover'; \
                   what comes after it is not run";
    assert_eq!(followed_up(&bed, refused), [refused]);
    assert_eq!(bed.run("nodels cn1 hosts.comments"), "cn1: \n");

    bed.run("chtab priority=8 policy.name=ondiscover policy.commands=nodech policy.rule=allow");
    found();
    let unknown = "ondiscover: nosuch: Unsupported request; what comes after it is not run";
    assert_eq!(followed_up(&bed, unknown), [refused, "ondiscover: nodech: done", unknown]);
    assert_eq!(bed.run("nodels cn1 hosts.comments"), "cn1: $(id);x\n");
    let log = bed.run("log");
    assert!(log.contains("ondiscover"), "the caller is named: {log}");
}

/// A password among the words of a command is for the command alone.
#[test]
fn passwords_of_commands_are_not_logged() {
    let bed = Bed::new(CLUSTER);
    bed.run(
        "chdef cn1 ondiscover=rspconfig:admin_passwd=hush chain=ondiscover=rspconfig:admin_passwd=hush,shell",
    );
    bed.run("nodeset cn1 ondiscover=rspconfig:admin_passwd=hush,shell");
    let log = [bed.run("log"), bed.run("log --json"), bed.run("log -s")].concat();
    assert!(log.contains("xxxxxxxx") && !log.contains("hush"), "{log}");
}

#[test]
fn a_step_of_the_chain_has_its_commands_run_once() {
    let bed = Bed::new(&format!(
        "{CLUSTER}
        policy priority=8 name=ondiscover commands=nodech,nextdestiny rule=allow
        chain node=cn1 chain='ondiscover=nodech:hosts.comments=a,shell'"
    ));
    let asks = |done: Option<&str>| {
        let done = done.map(str::to_owned);
        bed.daemon.report("cn1", NodeReport::Destiny { done })
    };
    assert_eq!(asks(None), ["destiny ondiscover=nodech:hosts.comments=a"]);
    assert_eq!(asks(None), ["destiny ondiscover=nodech:hosts.comments=a"]);
    // Nothing waits so far: what is put there now comes first.
    bed.discovery.run_later("cn1", "nosuch");
    let unknown = "ondiscover: nosuch: Unsupported request; what comes after it is not run";
    assert_eq!(followed_up(&bed, unknown), [unknown]);
    // A question whose answer was lost is asked again.
    for _ in 0..2 {
        assert_eq!(asks(Some("ondiscover")), ["destiny shell"]);
    }
    let done = "ondiscover: nodech: done";
    assert_eq!(followed_up(&bed, done), [unknown, done]);
    assert_eq!(bed.run("nodels cn1 hosts.comments"), "cn1: a\n");
    // A node of xCAT's discovery system says the same on the command port.
    bed.run("nodeset cn1 ondiscover=nodech:hosts.comments=b,shell");
    bed.xml_for("<command>nextdestiny</command>", None, Some("10.0.0.1"));
    bed.run("nodeset cn1 ondiscover=nosuch,shell");
    bed.xml_for("<command>nextdestiny</command>", None, Some("10.0.0.1"));
    assert_eq!(followed_up(&bed, unknown), [unknown, done, done, unknown]);
    assert_eq!(bed.run("nodels cn1 hosts.comments"), "cn1: b\n");
}

/// The calling thread is in a network of its own from now on, with this address.
pub(super) fn alone_at(address: &str) {
    // SAFETY: only this thread, and what it starts, changes its namespace.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace, as root");
    for line in ["link set lo up", &format!("addr add {address}/32 dev lo")] {
        let done = Command::new("ip").args(line.split(' ')).status().expect("ip of iproute2");
        assert!(done.success(), "ip {line}");
    }
}

/// The password goes to root of the node, who consents on a port below 1024, and to no other caller.
#[test]
fn a_bmc_is_described_to_root_of_its_node() {
    alone_at("10.66.0.1");
    let bed = Bed::new(&format!(
        "{CLUSTER}
        policy priority=3 commands=getbmcconfig rule=allow
        networks net=10.1.0.0 mask=255.255.0.0 netname=bmc gateway=10.1.0.254
        hosts node=cn1 ip=10.66.0.1
        hosts node=cn2 ip=10.66.0.2
        ipmi node=cn1 username=ADMIN taggedvlan=12"
    ));
    let answer = |last: u8| bmc::parse(&bed.daemon.bmc_config([10, 66, 0, last].into()).join("\n"));
    let says = |reason: &str| Err(bmc::NoSetup::Refused(reason.to_owned()));
    let unproved = "Unable to prove root on your IP approves of this request";
    assert_eq!(answer(1), says(unproved));
    let listener = TcpListener::bind("10.66.0.1:300").expect("port 300, as root");
    let node = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the daemon asks back");
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("a stream")).read_line(&mut line).expect("a question");
        stream.write_all(b"CREDOKBYME\n").expect("an answer");
    });
    let all = answer(1).expect("a BMC");
    node.join().expect("the node");
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (one.address.to_string(), one.user.as_str(), one.vlan),
        ("10.1.0.1".into(), "ADMIN", Some(12))
    );
    assert_eq!(one.password.reveal(), "hush");
    assert_eq!(one.gateway.map(|ip| ip.to_string()).as_deref(), Some("10.1.0.254"));
    // Another node, and an address that is not a node's.
    assert_eq!(answer(2), says(unproved));
    assert!(answer(9).is_err());
    bed.run("chtab -d priority=3 policy");
    assert_eq!(answer(1), says("Permission denied for request"));
}
