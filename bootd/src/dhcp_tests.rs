use super::*;

fn here() -> LocalAddresses {
    LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0])
}

fn at_mn1(snapshot: &Snapshot, forwards: bool) -> Vec<Network> {
    let (addresses, host, name_servers) = (&here(), "mn1.cluster.example", &NO_NAME_SERVER);
    networks(Here { snapshot, addresses, host, forwards, name_servers })
}

#[test]
fn a_network_row_with_its_defaults() {
    let row: &[(&str, &str)] = &[
        ("netname", "boot"),
        ("net", "10.1.0.0"),
        ("mask", "255.255.0.0"),
        ("gateway", "<xcatmaster>"),
        ("nameservers", "<xcatmaster>,10.1.0.9"),
        ("tftpserver", "<xcatmaster>"),
    ];
    let bad: &[(&str, &str)] = &[("netname", "bad"), ("net", "nonsense"), ("mask", "255.255.0.0")];
    let domain: &[(&str, &str)] = &[("key", "domain"), ("value", "cluster.example")];
    let snapshot = Snapshot::from_rows([("networks", row), ("networks", bad), ("site", domain)]);
    let networks = at_mn1(&snapshot, false);
    assert_eq!(networks.len(), 1);
    let network = &networks[0];
    assert_eq!(network.dns, [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 9)]);
    assert_eq!(network.next_server, Some(Ipv4Addr::new(10, 1, 0, 1)));
    assert_eq!(network.domain.as_deref(), Some("cluster.example"));
    assert_eq!(network.search, ["cluster.example"]);
    // Without IP forwarding this machine is not a router, so the placeholder means none.
    assert!(network.routers.is_empty());
    assert_eq!(at_mn1(&snapshot, true)[0].routers, [Ipv4Addr::new(10, 1, 0, 1)]);
    assert_eq!(network.lease_seconds, LEASE_SECONDS_DEFAULT);
}

fn boot_network(site: &[(&str, &str)], row: &[(&str, &str)]) -> Network {
    let row = [&[("netname", "boot"), ("net", "10.1.0.0"), ("mask", "255.255.0.0")], row].concat();
    let site: Vec<_> = site.iter().map(|(key, value)| [("key", *key), ("value", *value)]).collect();
    let nodes: &[(&str, &str)] = &[("node", "mn1"), ("groups", "service")];
    let address: &[(&str, &str)] = &[("node", "sn7"), ("ip", "10.1.0.1")];
    let rows = [("networks", row.as_slice()), ("nodelist", nodes), ("hosts", address)];
    let site = site.iter().map(|row| ("site", row.as_slice()));
    let snapshot = Snapshot::from_rows(rows.into_iter().chain(site));
    at_mn1(&snapshot, false).remove(0)
}

#[test]
fn what_a_network_says_comes_from_its_row_or_the_site() {
    let site = [
        ("ntpservers", "10.1.0.7"),
        ("logservers", "10.1.0.8"),
        ("nameservers", "<xcatmaster>"),
        ("dhcplease", "600"),
        ("domain", "cluster.example"),
    ];
    let network = boot_network(&site, &[]);
    let address = |last| Ipv4Addr::new(10, 1, 0, last);
    assert_eq!(network.ntp, [address(7)]);
    assert_eq!(network.log_servers, [address(8)]);
    assert_eq!(network.dns, [address(1)]);
    assert_eq!((network.lease_seconds, network.mtu), (600, None));
    assert_eq!(network.search, ["cluster.example"]);
    let row = [
        ("ntpservers", "10.1.0.17"),
        ("logservers", "<xcatmaster>"),
        ("nameservers", "10.1.0.19,10.1.0.20"),
        ("mtu", "9000"),
        ("gateway", "10.1.0.254"),
        ("domain", "boot.example"),
        ("dynamicrange", "10.1.9.1-10.1.9.9;10.1.8.0/24"),
    ];
    let network = boot_network(&site, &row);
    assert_eq!(network.ntp, [address(17)]);
    assert_eq!(network.log_servers, [address(1)]);
    assert_eq!(network.dns, [address(19), address(20)]);
    assert_eq!(network.mtu, Some(9000));
    assert_eq!(network.routers, [address(254)]);
    assert_eq!(network.search, ["boot.example", "cluster.example"]);
    assert_eq!(network.ranges.len(), 2);
    // Too short a lease would be a storm of renewals.
    assert_eq!(boot_network(&[("dhcplease", "1")], &[]).lease_seconds, LEASE_SECONDS_MIN);
    // Another server's range is not ours to give.
    let theirs = [("dynamicrange", "10.1.9.1-10.1.9.9"), ("dhcpserver", "10.1.0.77")];
    assert!(boot_network(&[], &theirs).ranges.is_empty());
}

#[test]
fn dhcpinterfaces_and_proxydhcp_choose_the_networks_served() {
    use Mode::{Authoritative, Off, Proxy};
    for (interfaces, proxy, mgtifname, mode, boots) in [
        ("", "", "", Authoritative, true),
        ("eth1", "", "", Authoritative, true),
        ("eth0,eth1", "", "", Authoritative, true),
        ("eth0", "", "", Off, true),
        ("eth1:noboot", "", "", Authoritative, false),
        ("mn1|eth1;service|eth0", "", "", Authoritative, true),
        ("mn2|eth1", "", "", Off, true),
        ("mn1.cluster.example|eth1:noboot", "", "", Authoritative, false),
        ("service|eth1", "", "", Authoritative, true),
        ("sn7|eth1", "", "", Authoritative, true),
        ("10.1.0.1|eth1", "", "", Authoritative, true),
        ("mn2|eth1;mn1|eth0", "", "", Off, true),
        ("eth1", "", "!remote!eth1", Authoritative, true),
        ("eth1", "", "!remote!eth0", Off, true),
        ("eth1", "boot", "", Proxy, true),
        ("", "lab,boot", "", Proxy, true),
        ("", "ALL", "", Proxy, true),
        ("", "lab", "", Authoritative, true),
        ("eth0", "boot", "", Off, true),
    ] {
        let site = [("dhcpinterfaces", interfaces), ("proxydhcp", proxy)];
        let row: &[(&str, &str)] = if mgtifname.is_empty() { &[] } else { &[("mgtifname", mgtifname)] };
        let network = boot_network(&site, row);
        let got = (network.mode, network.boot != BootRule::Disk);
        assert_eq!(got, (mode, boots), "{interfaces:?} {proxy:?} {mgtifname:?}");
    }
}

#[test]
fn dhcpinterfaces_of_this_machine_go_before_those_of_the_site() {
    for (row, interfaces, mode) in [
        ("mn1", "eth1", Mode::Authoritative),
        ("service", "eth1", Mode::Authoritative),
        ("10.1.0.1", "eth1:noboot", Mode::Authoritative),
        ("__mgmtnode", "!remote!,eth1", Mode::Authoritative),
        ("mn1", "eth2", Mode::Off),
        ("mn2", "eth1", Mode::Off),
        ("mn1", " ", Mode::Off),
    ] {
        let rows: [(&str, &[(&str, &str)]); 6] = [
            ("networks", &[("netname", "boot"), ("net", "10.1.0.0"), ("mask", "255.255.0.0")]),
            ("site", &[("key", "dhcpinterfaces"), ("value", "eth0")]),
            ("site", &[("key", "master"), ("value", "10.1.0.1")]),
            ("nodelist", &[("node", "mn1"), ("groups", "service")]),
            ("servicenode", &[("node", "other"), ("dhcpinterfaces", "eth0")]),
            ("servicenode", &[("node", row), ("dhcpinterfaces", interfaces)]),
        ];
        let network = at_mn1(&Snapshot::from_rows(rows), false).remove(0);
        assert_eq!(network.mode, mode, "{row} {interfaces}");
        assert_eq!(network.boot == BootRule::Disk, interfaces.ends_with("noboot"), "{row} {interfaces}");
    }
}

#[test]
fn a_switch_gets_the_installer_of_its_image() {
    for (pkgdir, expected) in [
        ("/data/install/onie/cumulus.bin,/data/other", "/install/onie/cumulus.bin"),
        ("", "/install/onie/onie-installer"),
        ("/data/install/a b", "/install/onie/onie-installer"),
    ] {
        let snapshot = Snapshot::from_rows([
            ("site", &[("key", "installdir"), ("value", "/data/install")] as &[(&str, &str)]),
            ("nodelist", &[("node", "sw1")]),
            ("noderes", &[("node", "sw1"), ("netboot", "onie")]),
            ("nodetype", &[("node", "sw1"), ("provmethod", "cumulus")]),
            ("osimage", &[("imagename", "cumulus")]),
            ("linuximage", &[("imagename", "cumulus"), ("pkgdir", pkgdir)]),
        ]);
        assert_eq!(boot_rule(&snapshot, "sw1"), BootRule::Onie { path: expected.into() });
    }
}

#[test]
fn the_server_of_a_nodes_files() {
    for (netboot, tftpserver, expected) in [
        ("petitboot", "", Some(2)),
        ("onie", "<xcatmaster>", Some(2)),
        ("petitboot", "10.1.0.3", Some(3)),
        ("xnba", "", None),
        ("xnba", "10.1.0.3", Some(3)),
        ("grub2", "<xcatmaster>", None),
    ] {
        let noderes =
            [("node", "cn1"), ("netboot", netboot), ("tftpserver", tftpserver), ("xcatmaster", "sn1")];
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
            ("nodelist", &[("node", "sn1")]),
            ("hosts", &[("node", "sn1"), ("ip", "10.1.0.2")]),
            ("noderes", &noderes),
        ]);
        let server = next_server(&snapshot, "cn1").map(|address| address.octets()[3]);
        assert_eq!(server, expected, "{netboot} {tftpserver}");
    }
}

#[test]
fn a_client_searches_its_own_domain_first() {
    let snapshot = Snapshot::from_rows([
        (
            "networks",
            &[("netname", "a"), ("net", "10.1.0.0"), ("mask", "/16"), ("domain", "a.example.")]
                as &[(&str, &str)],
        ),
        ("networks", &[("netname", "b"), ("net", "10.2.0.0"), ("mask", "/16"), ("domain", "b.example")]),
        ("networks", &[("netname", "c"), ("net", "10.3.0.0"), ("mask", "/16")]),
        ("site", &[("key", "domain"), ("value", "cluster.example")]),
    ]);
    let lists: Vec<String> =
        at_mn1(&snapshot, false).iter().map(|network| network.search.join(" ")).collect();
    assert_eq!(
        lists,
        [
            "a.example b.example cluster.example",
            "b.example a.example cluster.example",
            "cluster.example a.example b.example",
        ]
    );
}

#[test]
fn the_rule_follows_netboot_and_state() {
    for (netboot, state, expected) in [
        ("", "netboot a-b-c", BootRule::Xnba { script: "nodes/cn1".into(), uefi: true }),
        ("xnba", "boot", BootRule::Xnba { script: "nodes/cn1".into(), uefi: false }),
        ("xnba", "offline", BootRule::Disk),
        (
            "grub2",
            "netboot a-b-c",
            BootRule::Grub2 { file: "/boot/grub2/grub2-cn1".into(), suffix: "x86_64".into(), shim: None },
        ),
        ("petitboot", "", BootRule::Petitboot { config: "petitboot/cn1".into() }),
    ] {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
            ("noderes", &[("node", "cn1"), ("netboot", netboot)]),
            ("chain", &[("node", "cn1"), ("currstate", state)]),
        ]);
        assert_eq!(boot_rule(&snapshot, "cn1"), expected, "{netboot} {state}");
    }
}

#[test]
fn signed_loaders_are_for_x86_64() {
    let image = |arch: &str| {
        let rule = BootRule::Xnba { script: "nodes/cn1".into(), uefi: true };
        matches!(with_signed_loaders(rule, "cn1", arch), BootRule::ForOne { .. })
    };
    let shim = |arch: &str| {
        let rule = BootRule::Grub2 { file: "x".into(), suffix: arch.into(), shim: None };
        matches!(with_signed_loaders(rule, "cn1", arch), BootRule::Grub2 { shim: Some(_), .. })
    };
    assert!(image("x86_64") && shim("x86_64"));
    assert!(!image("aarch64") && !shim("aarch64"));
}

#[test]
fn unknown_machines_get_signed_loaders_where_secure_boot_needs_them() {
    let net = BootRule::Xnba { script: "nets/10.1.0.0_16".into(), uefi: true };
    let image =
        for_one(Client::Http(Arch::UefiX64), "xcat/httpboot/nets/10.1.0.0_16.img".into(), net.clone());
    let shim = for_one(Client::Pxe(Arch::UefiX64), "shimx64.efi".into(), image.clone());
    for (netboot, expected) in [("", &image), ("xnba", &image), ("grub2", &shim)] {
        let mut network = boot_network(&[], &[]);
        assert_eq!(network.boot, net);
        let site: &[(&str, &str)] = &[("key", "discoverynetboot"), ("value", netboot)];
        boot_strangers_signed(&mut network, &Snapshot::from_rows([("site", site)]));
        assert_eq!(&network.boot, expected, "{netboot}");
        network.boot = BootRule::Disk;
        boot_strangers_signed(&mut network, &Snapshot::from_rows([("site", site)]));
        assert_eq!(network.boot, BootRule::Disk);
    }
}

#[test]
fn a_reservation_per_interface() {
    let snapshot = Snapshot::from_rows([
        ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
        ("hosts", &[("node", "cn1"), ("ip", "10.1.0.5"), ("otherinterfaces", "-eth1:10.3.0.5")]),
        ("hosts", &[("node", "cn1-ib"), ("ip", "10.2.0.5")]),
        ("nics", &[("node", "cn1"), ("nicips", "eth2!10.4.0.5")]),
        (
            "mac",
            &[
                ("node", "cn1"),
                (
                    "mac",
                    "52:54:00:00:00:01|52:54:00:00:00:02!cn1-ib|52:54:00:00:00:03!*NOIP*|52:54:00:00:00:05!cn1-eth1|52:54:00:00:00:06!cn1-eth2|52:54:00:00:00:07!nobody|80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:aa:bb:cc!cn1-ib",
                ),
            ],
        ),
    ]);
    let of = |hw: HwAddr| interface_owner(&snapshot, &hw).map(|owner| reservation(&snapshot, owner));
    let at = |last: u8| of(HwAddr::ethernet([0x52, 0x54, 0, 0, 0, last]));
    assert_eq!(at(1).and_then(|r| r.address), Some(Ipv4Addr::new(10, 1, 0, 5)));
    assert_eq!(
        at(2).map(|r| (r.hostname, r.address)),
        Some(("cn1-ib".into(), Some(Ipv4Addr::new(10, 2, 0, 5))))
    );
    assert_eq!(at(3).map(|r| (r.address, r.no_ip)), Some((None, true)));
    assert_eq!(at(4), None);
    // Other interfaces of the node are not nodes; their addresses are those of /etc/hosts.
    assert_eq!(at(5).and_then(|r| r.address), Some(Ipv4Addr::new(10, 3, 0, 5)));
    assert_eq!(at(6).and_then(|r| r.address), Some(Ipv4Addr::new(10, 4, 0, 5)));
    assert_eq!(at(7).map(|r| (r.address, r.no_ip)), Some((None, false)));
    // An InfiniBand port is known by its GUID, however much of its address the table has.
    let port = of("f4:52:14:03:00:aa:bb:cc".parse().unwrap());
    assert_eq!(port.map(|r| r.hostname).as_deref(), Some("cn1-ib"));
    assert_eq!(of("f4:52:14:03:00:aa:bb:cd".parse().unwrap()), None);
}

#[test]
fn this_machine_is_offered_as_name_server_where_its_own_runs() {
    let own = IpAddr::from([10, 1, 0, 1]);
    for (runs, site, row, expected) in [
        (true, "", "", vec![1]),
        (false, "", "", vec![]),
        (true, "10.1.0.9", "", vec![9]),
        (true, "", "10.1.0.8", vec![8]),
        (true, "10.1.0.9", "<xcatmaster>", vec![1]),
    ] {
        let row: Vec<_> = [("netname", "boot"), ("net", "10.1.0.0"), ("mask", "/16"), ("nameservers", row)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let site: Vec<_> =
            if site.is_empty() { vec![] } else { vec![("key", "nameservers"), ("value", site)] };
        let snapshot = Snapshot::from_rows([("networks", row.as_slice()), ("site", site.as_slice())]);
        let name_servers = runs.then_some(own).into_iter().collect();
        let (addresses, host, forwards) = (&here(), "mn1", false);
        let here = Here { snapshot: &snapshot, addresses, host, forwards, name_servers: &name_servers };
        let told: Vec<u8> = networks(here)[0].dns.iter().map(|address| address.octets()[3]).collect();
        assert_eq!(told, expected, "{runs} {site:?} {row:?}");
    }
}
