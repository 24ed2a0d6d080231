use super::records::{Frame, Host, Item, forwarders, secondaries, walk, zones};
use super::{listen, service};
use dawn_cluster::Snapshot;
use dawn_dns::zones::Lookup;
use dawn_plan::{LocalAddress, LocalAddresses};
use std::collections::BTreeSet;
use std::fmt::Write;

fn here() -> LocalAddresses {
    let local = |interface: &str, address: [u8; 4], mask: [u8; 4]| LocalAddress {
        interface: interface.to_owned(),
        address: address.into(),
        mask: mask.into(),
    };
    LocalAddresses::new(vec![
        local("eth1", [10, 1, 0, 1], [255, 255, 0, 0]),
        local("eth0", [192, 0, 2, 1], [255, 255, 255, 0]),
        local("lo", [127, 0, 0, 1], [255, 0, 0, 0]),
    ])
}

fn cluster() -> Snapshot {
    let row = |text: &'static str| -> Vec<(&'static str, &'static str)> {
        text.split(' ').map(|pair| pair.split_once('=').expect("a pair")).collect()
    };
    let rows: Vec<(&str, Vec<(&str, &str)>)> = [
        ("site", "key=domain value=c.example"),
        ("site", "key=forwarders value=192.0.2.53,10.1.0.1"),
        ("networks", "netname=boot net=10.1.0.0 mask=255.255.0.0"),
        ("networks", "netname=ib net=10.4.16.0 mask=/20 domain=.ib.c.example"),
        ("networks", "netname=far net=10.9.0.0 mask=/16 nameservers=10.9.0.9"),
        ("networks", "netname=six net=fd00:1::/64 mask=/64"),
        ("nodelist", "node=n1 groups=all,ibnodes"),
        ("nodelist", "node=n2 groups=all"),
        ("nodelist", "node=n3 groups=all"),
        ("nodelist", "node=n4 groups=all"),
        ("nodelist", "node=n5 groups=all"),
        ("nodelist", "node=sn1 groups=service"),
        ("hosts", "node=n1 ip=10.1.0.11 hostnames=web,n1.c.example,n2,www.elsewhere.org otherinterfaces=-bmc:10.1.9.11"),
        ("hosts", "node=n2 ip=10.1.0.12"),
        ("hosts", "node=n3 ip=10.9.0.3"),
        ("hosts", "node=n4 ip=172.16.0.4"),
        ("hosts", "node=sn1 ip=fd00:1::5"),
        ("nics", "node=ibnodes nicips=ib0!|\\D+(\\d+)|10.4.17.($1)| nichostnamesuffixes=ib0!-ib"),
        ("servicenode", "node=service nameserver=2"),
    ]
    .into_iter()
    .map(|(table, text)| (table, row(text)))
    .collect();
    Snapshot::from_rows(rows.iter().map(|(table, row)| (*table, row.as_slice())))
}

#[test]
fn names_of_a_cluster() {
    let (snapshot, addresses) = (cluster(), here());
    let host = Host { name: "mn1.c.example", addresses: &addresses };
    let frame = Frame::read(&snapshot, host);
    let mut text = format!("server {}\n", frame.server);
    let zones: Vec<String> = frame.zones.iter().map(ToString::to_string).collect();
    writeln!(text, "{} zones, domains: {}", zones.len(), zones[..frame.domains].join(" ")).unwrap();
    writeln!(text, "reverse: {} … {}", zones[frame.domains], zones[zones.len() - 1]).unwrap();
    walk(&snapshot, host, &frame, None, &mut |item| {
        match item {
            Item::Address { node, name, ip } => writeln!(text, "{node}: {name} {ip}"),
            Item::Alias { node, name, host } => writeln!(text, "{node}: {name} is {host}"),
            Item::LeftOut { name, why } => writeln!(text, "{name} left out: {why}"),
        }
        .unwrap();
    });
    expect_test::expect![[r#"
        server mn1.c.example
        20 zones, domains: c.example ib.c.example
        reverse: 0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa … 31.4.10.in-addr.arpa
        n1: n1.c.example 10.1.0.11
        n1: n1-bmc.c.example 10.1.9.11
        n1: n1-ib.ib.c.example 10.4.17.1
        n2: n2.c.example 10.1.0.12
        n3 left out: its address 10.9.0.3 is in the network far, whose nameservers are others
        n4 left out: its address 172.16.0.4 is in no network of the networks table (makenetworks makes one)
        n5 left out: it has no address: hosts.ip and nics.nicips are empty
        sn1: sn1.c.example fd00:1::5
        mn1: mn1.c.example 10.1.0.1
        n1: web.c.example is n1.c.example
        n1: n2.c.example is n1.c.example
        n1 left out: the alias www.elsewhere.org is in a domain that is not the cluster's
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_server_answers_for_them() {
    let (snapshot, addresses) = (cluster(), here());
    let host = Host { name: "mn1", addresses: &addresses };
    let frame = Frame::read(&snapshot, host);
    let mut taken = Vec::new();
    let zones = zones(&snapshot, host, &frame, &mut |item| {
        if let Item::LeftOut { why, .. } = item {
            taken.push(why.to_string());
        }
    });
    assert!(taken.iter().any(|why| why.contains("n2.c.example belongs to a host already")), "{taken:?}");
    for (name, records) in [
        ("n1.c.example", Some(1)),
        ("n1-ib.ib.c.example", Some(1)),
        ("web.c.example", Some(1)),
        ("11.0.1.10.in-addr.arpa", Some(1)),
        ("17.4.10.in-addr.arpa", Some(2)),
        ("n3.c.example", None),
        ("1.0.1.10.in-addr.arpa", Some(1)),
    ] {
        let name = name.parse::<dawn_dns::name::DomainName>().unwrap();
        let found = match zones.find(name.as_wire()) {
            Lookup::Name(_, entry) => Some(entry.data().len()),
            Lookup::Missing(_) => None,
            Lookup::Foreign => panic!("{name} is not ours"),
        };
        assert_eq!(found, records, "{name}");
    }
}

#[test]
fn surroundings_of_the_server() {
    let (snapshot, addresses) = (cluster(), here());
    let host = Host { name: "mn1", addresses: &addresses };
    assert_eq!(forwarders(&snapshot, host), ["192.0.2.53:53".parse().unwrap()]);
    assert_eq!(secondaries(&snapshot), ["fd00:1::5".parse::<std::net::IpAddr>().unwrap()]);
    let frame = Frame::read(&snapshot, host);
    let view = service::view(&snapshot, host, &frame);
    assert_eq!(view.client([10, 1, 7, 7].into()), dawn_dns::view::Client::Own);
    assert_eq!(view.client([198, 51, 100, 7].into()), dawn_dns::view::Client::Stranger);
    let listen = |text: &str| {
        let site: &[(&str, &str)] = &[("key", "dnsinterfaces"), ("value", text)];
        let net: &[(&str, &str)] = &[("netname", "boot"), ("net", "10.1.0.0"), ("mask", "/16")];
        let snapshot = Snapshot::from_rows([("site", site), ("networks", net)]);
        let frame = Frame::read(&snapshot, host);
        let found = listen::addresses(&snapshot, host, &frame, &BTreeSet::new(), 53);
        found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listen(""), "10.1.0.1 127.0.0.1");
    assert_eq!(listen("eth0"), "127.0.0.1");
    assert_eq!(listen("mn1|eth1;other|eth0"), "10.1.0.1 127.0.0.1");
}
