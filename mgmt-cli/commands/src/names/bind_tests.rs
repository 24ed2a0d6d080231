//! BIND's files, read by BIND; and the answers of `named` with them compared to our own name server's,
//! question by question.

use super::super::bind::{self, Key, Places, Role, Settings, named_conf, zone_file};
use super::base64;
use dawn_bootd::names::records::{self, Frame, Host};
use dawn_bootd::names::service;
use dawn_cluster::Snapshot;
use dawn_dns::shell::{Config, Server};
use dawn_dns::zones::Zones;
use dawn_plan::{LocalAddress, LocalAddresses};
use dawn_serving::shares::{Limit, OnlyLocal};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time until named answers.
const START_TIME_MAX: Duration = Duration::from_secs(60);

fn here() -> LocalAddresses {
    let local = |interface: &str, address: [u8; 4], mask: [u8; 4]| LocalAddress {
        interface: interface.to_owned(),
        address: address.into(),
        mask: mask.into(),
    };
    LocalAddresses::new(vec![
        local("eth1", [10, 1, 0, 1], [255, 255, 0, 0]),
        local("lo", [127, 0, 0, 1], [255, 0, 0, 0]),
    ])
}

fn cluster() -> Snapshot {
    let rows: Vec<(&str, Vec<(&str, &str)>)> = [
        ("site", "key=domain value=c.example"),
        ("networks", "netname=boot net=10.1.0.0 mask=255.255.0.0"),
        ("networks", "netname=ib net=10.4.16.0 mask=/20 domain=ib.c.example"),
        ("networks", "netname=six net=fd00:1::/64 mask=/64"),
        ("nodelist", "node=n1 groups=all,ibnodes"),
        ("nodelist", "node=n2 groups=all,ibnodes"),
        ("nodelist", "node=rack_3 groups=all"),
        ("nodelist", "node=six1 groups=all"),
        ("hosts", "node=n1 ip=10.1.0.11 hostnames=web,n2,www otherinterfaces=-bmc:10.1.9.11"),
        ("hosts", "node=n2 ip=10.1.0.12"),
        ("hosts", "node=rack_3 ip=10.1.0.13"),
        ("hosts", "node=six1 ip=fd00:1::5 hostnames=six.c.example"),
        ("nics", "node=ibnodes nicips=ib0!|\\D+(\\d+)|10.4.17.($1)| nichostnamesuffixes=ib0!-ib"),
    ]
    .into_iter()
    .map(|(table, text)| (table, text.split(' ').map(|pair| pair.split_once('=').expect("a pair")).collect()))
    .collect();
    Snapshot::from_rows(rows.iter().map(|(table, row)| (*table, row.as_slice())))
}

/// Writes named.conf and all zone files into a directory.
fn write(snapshot: &Snapshot, frame: &Frame, zones: &Zones, dir: &Path) -> String {
    let seen = format!("{}/", dir.display());
    let places = Places { conf: dir.join("named.conf"), directory: dir.to_owned(), seen };
    let key = Key::read(snapshot).expect("a key");
    let settings = Settings {
        places: &places,
        key: &key,
        secret: &base64(b"abcdefghijklmnopqrstuvwxyzabcdef"),
        forwarders: vec![[192, 0, 2, 53].into()],
        secondaries: Vec::new(),
        networks: frame.nets.iter().map(|net| net.prefix).collect(),
        listen: Vec::new(),
        role: Role::Primary,
    };
    let conf = named_conf(snapshot, frame, &settings).expect("a configuration");
    std::fs::write(&places.conf, &conf).expect("written");
    for (number, zone) in (0..).zip(zones.list()) {
        let (text, _) = zone_file(zones, number, 2_026_112_900).expect("a zone");
        std::fs::write(dir.join(bind::file_name(&zone.apex).expect("a name")), text).expect("written");
    }
    conf
}

fn run(program: &str, words: &[&str]) -> String {
    let output =
        Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {words:?}: {text}");
    text
}

/// Each answer: rcode, then the records without their lifetimes, sorted.
fn ask(server: &str, questions: &Path) -> Vec<String> {
    let file = questions.display().to_string();
    let text = run("dig", &[&format!("@{server}"), "+norec", "+noall", "+comments", "+answer", "-f", &file]);
    let mut answers: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            answers.push((rest.split(',').next().unwrap_or_default().to_owned(), BTreeSet::new()));
        } else if let Some((_, flags)) = line.split_once("flags:") {
            if let Some((status, _)) = answers.last_mut().filter(|_| line.starts_with(";; flags")) {
                status.push_str(if flags.split(';').next().unwrap_or_default().contains("aa") {
                    " aa"
                } else {
                    ""
                });
            }
        } else if !line.starts_with(';') && !line.is_empty() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, _, _, rest @ ..] = words.as_slice() else { panic!("{line}") };
            if let Some((_, records)) = answers.last_mut() {
                records.insert(format!("{} {}", name.to_lowercase(), rest.join(" ").to_lowercase()));
            }
        }
    }
    answers.into_iter().map(|(status, set)| format!("{status} {}", Vec::from_iter(set).join(", "))).collect()
}

struct Named(Child);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Needs the Debian packages `bind9` and `bind9-dnsutils`, and root.
#[test]
fn named_and_our_server_answer_alike() {
    // SAFETY: only this thread and what it starts go into the new network; no other thread of the test is
    // touched.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("root");
    run("ip", &["link", "set", "lo", "up"]);
    let (snapshot, addresses) = (cluster(), here());
    let host = Host { name: "mn1", addresses: &addresses };
    let frame = Frame::read(&snapshot, host);
    let zones = records::zones(&snapshot, host, &frame, &mut |_| {});
    let dir = tempfile::tempdir().expect("a directory");
    let conf = write(&snapshot, &frame, &zones, dir.path());
    for part in [
        "forwarders {\n\t\t192.0.2.53;\n\t};",
        "zone \"1.10.IN-ADDR.ARPA.\" in {\n\ttype master;",
        "\tfile \"db.10.1\";\n};",
    ] {
        assert!(conf.contains(part), "{part} is not in {conf}");
    }
    let path = dir.path().join("named.conf").display().to_string();
    run("named-checkconf", &["-z", &path]);
    for zone in zones.list() {
        let file = dir.path().join(bind::file_name(&zone.apex).expect("a name")).display().to_string();
        let text = run("named-checkzone", &[&zone.apex.to_string(), &file]);
        assert!(text.contains("OK"), "{text}");
    }
    let _ = std::fs::create_dir_all("/run/named");
    let named = Command::new("named")
        .args(["-g", "-u", "root", "-c", &path])
        .stderr(std::process::Stdio::null())
        .spawn();
    let _named = Named(named.expect("named is installed"));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let connections = Limit { total: 8, per_stranger: 8, per_source: 8, local: 8 };
    let config = Config { workers: 1, connections, waiting: 8, callers: Arc::new(OnlyLocal) };
    let server = Server::start(&config, service::view(&snapshot, host, &frame)).expect("threads");
    let failed = server.listen(&["127.0.0.2:53".parse().expect("an address")]);
    assert!(failed.is_empty(), "{failed:?}");

    let mut text = String::new();
    for (number, zone) in (0..).zip(zones.list()) {
        for (name, _) in zones.names_of(number).filter(|(name, _)| !name.to_string().contains('_')) {
            for rtype in ["A", "AAAA", "PTR", "CNAME", "MX"] {
                text.push_str(&format!("{name} {rtype}\nnot-there.{name} {rtype}\n"));
            }
        }
        text.push_str(&format!("{} NS\n", zone.apex));
    }
    // BIND has no name with an underscore, so its address has none there either.
    let text: String =
        text.lines().filter(|line| !line.contains("13.0.1.10")).map(|line| format!("{line}\n")).collect();
    let questions = dir.path().join("questions");
    std::fs::write(&questions, &text).expect("written");
    let started = Instant::now();
    let answers =
        || Command::new("dig").args(["@127.0.0.1", "+time=1", "+tries=1", "c.example", "SOA"]).status();
    while !answers().is_ok_and(|status| status.success()) {
        assert!(started.elapsed() < START_TIME_MAX, "named does not answer");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let (theirs, ours) = (ask("127.0.0.1", &questions), ask("127.0.0.2", &questions));
    assert_eq!(theirs.len(), text.lines().count());
    for ((question, theirs), ours) in text.lines().zip(&theirs).zip(&ours) {
        assert_eq!(theirs, ours, "{question}: BIND is on the left");
    }
    assert_eq!(ours.len(), theirs.len());
    // A zone goes to a secondary whole.
    let transfer = |server: &str| {
        let text = run("dig", &[&format!("@{server}"), "+noall", "+answer", "c.example", "AXFR"]);
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != 1)
                .map(|(_, word)| *word)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let lines = text.lines().map(line).filter(|line| !line.contains("SOA") && !line.contains('_'));
        lines.collect::<BTreeSet<String>>()
    };
    assert_eq!(transfer("127.0.0.1"), transfer("127.0.0.2"));
}

#[test]
fn what_is_not_a_path_or_a_name_stands_in_no_file() {
    let snapshot = |key: &'static str, value: &'static str| {
        let row: &[(&str, &str)] = &[("key", key), ("value", value)];
        Snapshot::from_rows([("site", row)])
    };
    for (key, value) in [
        ("bindconf", "/etc/x\"; include \"/etc/shadow"),
        ("bindzones", "/zone/\n}"),
        ("binddir", "relative"),
        ("bindconf", "/etc/../x"),
    ] {
        assert!(Places::read(&snapshot(key, value)).is_err(), "{key}={value:?}");
    }
    for (key, value) in [("dhcpomapikeyname", "a\" {"), ("dhcpomapialgorithm", "none; }")] {
        assert!(Key::read(&snapshot(key, value)).is_err(), "{key}={value:?}");
    }
    for (zone, file) in [
        ("c.example", "db.c.example"),
        ("1.10.in-addr.arpa", "db.10.1"),
        ("1.0.d.f.ip6.arpa", "db.1.0.d.f.ip6.arpa"),
    ] {
        assert_eq!(bind::file_name(&zone.parse().expect("a name")).expect("a file"), file);
    }
    assert!(bind::file_name(&"a/b.c".parse().expect("a name")).is_err());
}

#[test]
fn serial_numbers_grow() {
    for (today, before, next) in [
        (20_261_129, None, 2_026_112_900),
        (20_261_129, Some(2_026_112_803), 2_026_112_900),
        (20_261_129, Some(2_026_112_900), 2_026_112_901),
        (20_261_129, Some(u32::MAX), u32::MAX),
    ] {
        assert_eq!(bind::next_serial(today, before), next);
    }
    let text = "$TTL 86400\n@ IN SOA mn. root.mn. ( 2026112907 10800 3600 604800 86400 )\n";
    assert_eq!(bind::serial_of(text), Some(2_026_112_907));
    assert_eq!(base64(b"a"), "YQ==");
    assert_eq!(base64(b"ab"), "YWI=");
    assert_eq!(base64(b"abc"), "YWJj");
}
