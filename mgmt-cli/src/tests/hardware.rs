//! Hardware control through the daemon, against real BMCs: `ipmi_sim` of OpenIPMI, and simulated ones that
//! answer late, twice or never.

#[path = "../../../hardware/ipmi/tests/support/mod.rs"]
pub(crate) mod support;

use crate::testbed::{Bed, session};
use dawn_ipmi::Seed;
use dawn_ipmi::sim::{Bmc, Habits};
use dawn_test_ports::free_port;
use expect_test::expect_file;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::time::Duration;
use support::{IpmiSim, Manner, Served, credentials};

/// The password of all BMCs here.
const PASSWORD: &str = "ADMINPW";

pub(crate) fn data(name: &str) -> String {
    let path = format!("{}/../hardware/ipmi/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn simulated() -> Bmc {
    Bmc::new(credentials(PASSWORD), Habits::default(), Seed([7; 32]))
}

fn rows(more: &str) -> String {
    format!(
        "
    policy priority=1 name=root rule=allow
    policy priority=5 name=bob commands=rpower noderange=cn1 rule=allow
    passwd key=ipmi username=ADMIN password={PASSWORD}
    {more}"
    )
}

fn node(name: &str, bmc: &str) -> String {
    format!("nodelist node={name} groups=all\nnodehm node={name} mgt=ipmi\nipmi node={name} bmc={bmc}\n")
}

fn check(name: &str, text: &str) {
    let path = format!("{}/src/tests/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    expect_file![path].assert_eq(text);
}

#[tokio::test]
async fn a_machine_of_ipmi_sim() {
    let sim = IpmiSim::start(&data("machine.emu"), "").await;
    let port = sim.address.port().to_string();
    let rows = rows(&node("cn1", &format!("127.0.0.1:{port}")));
    let text = session(
        &rows,
        "
        rpower cn1 stat
        rpower cn1 on
        nodels cn1 nodelist.status
        rpower cn1 on
        rpower cn1 boot
        rpower cn1 reset
        rpower cn1 softoff
        rpower cn1 state --json
        rinstall cn1 shell
        rinstall cn1 boot -V
        rsetboot cn1
        nodels cn1 nodelist.status chain.currstate
        rinstall cn1
        rinstall cn1 bogus
        rinstall cn1 osimage=nosuch
        rpower cn1
        rpower cn1 bogus
        rpower nosuch on
        bob$ rpower cn1 stat
        bob$ rsetboot cn1 net
        rsetboot cn1 net
        rsetboot cn1 bogus
        rbeacon cn1 on
        rbeacon cn1 off
        rbeacon cn1 blink
        rinv cn1
        rinv cn1 vpd
        rinv cn1 dimm
        rinv cn1 model -t
        rinv cn1 bogus
        rvitals cn1
        rvitals cn1 temp,fanspeed
        rvitals cn1 temp --json
        rvitals cn1 power
        rvitals cn1 bogus
        reventlog cn1
        reventlog cn1 1
        reventlog cn1 1 -s
        reventlog cn1 bogus
        reventlog cn1 clear
        reventlog cn1 clear
        reventlog cn1 all
        renergy cn1
        renergy cn1 powerusage=1
        rspconfig cn1 ip
        rspconfig cn1 ip vlan=1
        rspconfig cn1 bogus
        rspconfig cn1 vlan=4095
        ripmi cn1 6 1
        ripmi cn1 0x2e 1
        ripmi cn1 x 1
        getmacs cn1
        rnetboot cn1
        rbootseq cn1 net
    ",
    );
    check("hardware", &without_uptime(&text.replace(&port, "PORT")));
}

/// `ipmi_sim` records its own times, counted from its start.
fn without_uptime(text: &str) -> String {
    let line = |line: &str| match line.split_once("BMC Uptime ") {
        Some((head, rest)) => {
            let rest = rest.trim_start().trim_start_matches(|letter: char| letter.is_ascii_digit());
            format!("{head}BMC Uptime N{rest}\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The ports of loopback, and how long a machine was waited for, differ from run to run.
fn steady(text: &str) -> String {
    let digits = |text: &str, mark: &str, name: &str| {
        let mut parts = text.split(mark);
        let first = parts.next().unwrap_or_default().to_owned();
        let is_of_number = |letter: char| letter.is_ascii_digit() || letter == '.';
        let rest = parts.map(|part| part.trim_start_matches(is_of_number));
        rest.fold(first, |text, part| format!("{text}{mark}{name}{part}"))
    };
    digits(&digits(text, "127.0.0.1:", "PORT"), "waited ", "N")
}

/// Nodes that cannot be reached, each in its way; the others are not held up.
#[tokio::test]
async fn what_goes_wrong() {
    let sim = IpmiSim::start(&data("bmc.emu"), "").await;
    let good = Served::start(simulated());
    let twice = Served::start_with(simulated(), Manner { copies: 2, delay: Duration::ZERO });
    let late = Served::start_with(simulated(), Manner { copies: 1, delay: Duration::from_millis(700) });
    let dead = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let dead = dead.local_addr().expect("an address");
    let all = [
        node("good", &good.address.to_string()),
        node("twice", &twice.address.to_string()),
        node("late", &late.address.to_string()),
        node("dead", &dead.to_string()),
        node("closed", &format!("127.0.0.1:{}", free_port())),
        node("unnamed", "no-such-host.invalid"),
        node("wrong", &sim.address.to_string()),
        node("stranger", &sim.address.to_string()),
        node("long", &sim.address.to_string()),
    ];
    let more = "
        nodelist node=hmc1 groups=all
        nodehm node=hmc1 mgt=hmc
        nodelist node=none1 groups=all
        nodelist node=octal010 groups=templated,all
        nodehm node=octal010 mgt=ipmi
        ipmi node=templated bmc=|\\D+(\\d+)|127.3.0.($1)|
        ipmi node=wrong username=ADMIN password=not-this-one
        ipmi node=stranger username=nobody password=x
        ipmi node=long username=ADMIN password=longer-than-a-bmc-can-take
    ";
    let rows = rows(&(all.concat() + more));
    let _dead = UdpSocket::bind(dead);
    let bed = Bed::new(&rows);
    let lines = bed.run("rpower all stat");
    let mut sorted: Vec<&str> = lines.lines().collect();
    sorted.sort_unstable();
    check("hardware_errors", &steady(&format!("{}\n", sorted.join("\n"))));
    // Machines that answer do not wait for those that do not.
    assert!(lines.starts_with("good: off\n") || lines.starts_with("twice: off\n"), "{lines}");
    let told = bed.run("rpower wrong stat -V") + &bed.run("rpower wrong,long stat --json");
    assert!(told.contains("user 'ADMIN' from the table ipmi"), "{told}");
    assert!(!told.contains("not-this-one") && !told.contains("longer-than"), "{told}");
}

#[tokio::test]
async fn what_a_bmc_reports_of_its_boot_device() {
    let served = Served::start(simulated());
    let port = served.address.port().to_string();
    let rows = rows(&node("cn1", &served.address.to_string()));
    let text = session(
        &rows,
        "
        rsetboot cn1
        rsetboot cn1 net
        rsetboot cn1 hd -p
        rsetboot cn1 setup -u --json
        rsetboot cn1 stat
        rsetboot cn1 def
    ",
    );
    check("hardware_boot", &text.replace(&port, "PORT"));
}

/// Groups of nodes, one after the other.
#[tokio::test]
async fn machines_are_switched_on_in_groups() {
    let served: Vec<Served> = (0..4).map(|_| Served::start(simulated())).collect();
    let nodes: Vec<String> =
        (1..).zip(&served).map(|(n, bmc)| node(&format!("cn{n}"), &bmc.address.to_string())).collect();
    let bed = Bed::new(&rows(&(nodes.concat() + "site key=syspowerinterval value=1\n")));
    let refused = bed.run("rpower cn1-cn2 on");
    assert_eq!(
        refused,
        "! Error: [mn1]: cn1: 'syspowermaxnodes` is required if 'syspowerinterval' is configured in the site table.\n\
         ! cn2: 'syspowermaxnodes` is required if 'syspowerinterval' is configured in the site table.\nrc=1\n"
    );
    assert_eq!(bed.run("rpower cn1 stat"), "cn1: off\n");
    bed.run("chtab key=syspowermaxnodes site.value=2");
    let mut lines: Vec<String> = bed.run("rpower cn1-cn4 on").lines().map(str::to_owned).collect();
    let late = lines.split_off(2);
    lines.sort_unstable();
    assert_eq!(lines, ["cn1: on", "cn2: on"], "the first group, before {late:?}");
}

/// QEMU's monitor, as far as its words go; a real QEMU is in the tests of machines.
#[test]
fn a_machine_of_qemu() {
    let bed = Bed::new(
        "
    policy priority=1 name=root rule=allow
    nodelist node=vm1 groups=all
    nodehm node=vm1 mgt=qemu
    ",
    );
    let socket = bed.directory.path().join("vm1.qmp");
    bed.run(&format!("chtab node=vm1 vm.cfgstore={}", bed.directory.path().display()));
    let told = bed.run("rpower vm1 stat");
    assert!(told.contains("vm1.qmp: No such file or directory"), "{told}");
    let listener = UnixListener::bind(socket).expect("a socket");
    let serving = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (stream, _) = listener.accept().expect("a client");
        let mut writer = stream.try_clone().expect("a stream");
        writer.write_all(b"{\"QMP\": {}}\n").expect("sent");
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let status = if line.contains("query-status") { "{\"status\": \"paused\"}" } else { "{}" };
            writer.write_all(format!("{{\"return\": {status}}}\n").as_bytes()).expect("sent");
        }
    });
    assert_eq!(bed.run("rpower vm1 stat"), "vm1: off\n");
    serving.join().expect("the monitor");
    assert!(bed.run("rvitals vm1").contains("Unable to identify plugin"));
}
