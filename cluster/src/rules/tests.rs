//! What may be written and what may not, as tables.

use crate::{Change, Edit, Model, ModelError, Snapshot};

type Cell<'a> = (&'a str, &'a str);

fn set(model: &Model, table: &str, key: Cell<'_>, value: Cell<'_>) -> Result<(), ModelError> {
    let edit = Edit::set(table, &[key], &[value]).unwrap();
    model.apply(Change::new("root", "test", vec![edit])).map(drop)
}

fn refused(model: &Model, table: &str, key: Cell<'_>, value: Cell<'_>) -> String {
    let before = model.snapshot().seq();
    let error = set(model, table, key, value).expect_err(&format!("{table} {key:?} {value:?} was accepted"));
    assert_eq!(model.snapshot().seq(), before, "{table} {value:?} changed something");
    error.to_string()
}

#[test]
fn values_that_mean_something_pass() {
    let model = Model::in_memory().unwrap();
    for (table, key, value) in [
        ("mac", ("node", "n1"), ("mac", "52:54:00:00:00:01")),
        ("mac", ("node", "n2"), ("mac", "52-54-00-00-00-02!n2-ib|525400000003!*NOIP*")),
        ("mac", ("node", "n3"), ("mac", "00:11:22:33:44:55:66:77")),
        ("mac", ("node", "g1"), ("mac", "|n(\\d+)|52:54:00:00:01:($1)|")),
        ("mac", ("node", "n1"), ("mac", "")),
        ("hosts", ("node", "n1"), ("ip", "10.0.0.1")),
        ("hosts", ("node", "n2"), ("ip", "fd00::1")),
        ("hosts", ("node", "g1"), ("ip", "|10.0.0.($1)|")),
        ("hosts", ("node", "g2"), ("ip", "/n/10.0.0./")),
        ("nics", ("node", "n1"), ("nicips", "eth0!10.1.0.1|fd00::0012,eth0.7!10.2.0.1")),
        ("nics", ("node", "g1"), ("nicips", r"eth0!|\D+(\d+)|10.9.0.($1)|,ib0!10.3.0.1")),
        ("hosts", ("node", "n1"), ("otherinterfaces", "-ib:10.4.0.1,n1.b:fd00::0012")),
        ("ipmi", ("node", "n1"), ("bmc", "n1-bmc")),
        ("ipmi", ("node", "g1"), ("bmc", r"|\D+(\d+)|10.5.0.($1)|")),
        ("networks", ("net", "10.1.0.0"), ("mask", "255.255.0.0")),
        ("networks", ("net", "10.2.0.0"), ("mask", "/16")),
        ("networks", ("net", "10.1.0.0"), ("gateway", "<xcatmaster>")),
        ("networks", ("net", "10.1.0.0"), ("dynamicrange", "10.1.1.1-10.1.1.9;10.1.2.0/24")),
        ("networks", ("net", "10.1.0.0"), ("mtu", "9000")),
        ("noderes", ("node", "n1"), ("netboot", "yaboot")),
        ("noderes", ("node", "n1"), ("netboot", "|n(\\d+)|xnba|")),
        ("noderes", ("node", "g1"), ("netboot", "xnba+=NEXTRECORD")),
        ("noderes", ("node", "n1"), ("netboot", "NULL")),
        ("nodehm", ("node", "n1"), ("serialspeed", "115200")),
        ("osimage", ("imagename", "i"), ("provmethod", "statelite")),
        ("litetree", ("priority", "1.5"), ("directory", "$noderes.nfsserver:/trees/$node")),
        ("litetree", ("priority", "2"), ("directory", "/trees")),
        ("statelite", ("node", "n1"), ("statemnt", "10.0.0.1:/data")),
        ("linuximage", ("imagename", "i"), ("rootimgdir", "/srv/images/i")),
        ("osimage", ("imagename", "i"), ("profile", "compute-1.0")),
        ("site", ("key", "mine"), ("value", "anything at all")),
        ("site", ("key", "discoverymethods"), ("value", "lldp, switch,mtms")),
        ("site", ("key", "discoveryapproval"), ("value", "all")),
        ("site", ("key", "discoveryrules"), ("value", r"serial=|^SN(\d+)$|cn($1)| mtm*serial=/^8335\*/p9-/")),
        ("switches", ("switch", "sw1"), ("snmpversion", "V2c")),
        ("switches", ("switch", "sw1"), ("auth", "SHA-256")),
        ("switches", ("switch", "sw1"), ("privacy", "AES")),
        ("nodelist", ("node", "n7"), ("comments", "two\nlines")),
        ("policy", ("priority", "4.8"), ("name", "x")),
        ("site", ("key", "master"), ("value", "10.0.0.1")),
        ("site", ("key", "master"), ("value", "n1")),
    ] {
        if let Err(error) = set(&model, table, key, value) {
            panic!("{table} {value:?}: {error}");
        }
    }
}

#[test]
fn nonsense_is_refused_and_nothing_changes() {
    let model = Model::in_memory().unwrap();
    let node = ("node", "n1");
    for (table, key, value, reason) in [
        ("mac", node, ("mac", "52:54:00:zz"), "it is not a MAC"),
        ("mac", node, ("mac", "nonsense"), "it is not a MAC"),
        ("mac", node, ("mac", "52:54:00:00:00:01|"), "it is not a MAC"),
        ("mac", node, ("mac", "52:54:00:00:00:01,52:54:00:00:00:02"), "it is not a MAC"),
        ("hosts", node, ("ip", "10.77.0.999"), "it is not an IP"),
        ("hosts", node, ("ip", "10.1.0.1 10.1.0.2"), "it is not an IP"),
        ("hosts", node, ("ip", r"|n(\d+|10.0.0.($1)|"), "the pattern of the template"),
        ("hosts", node, ("ip", r"|n(\d+)|10.0.0.($1|"), "a parenthesis"),
        ("nodehm", node, ("mgt", r"|n[|ipmi|"), "the pattern of the template"),
        ("nics", node, ("nicips", "eth0!10.1.0.012"), "10.1.0.012 is not an IP address"),
        ("nics", node, ("nicips", "eth0!10.1.0.1|10.1.0,ib0!10.2.0.1"), "10.1.0 is not an IP address"),
        ("hosts", node, ("otherinterfaces", "-ib:10.1.0.300"), "10.1.0.300 is not an IP address"),
        ("ipmi", node, ("bmc", "010.1.0.1"), "010.1.0.1 is not an IP address"),
        ("site", ("key", "installdir"), ("value", "/"), "the whole file system"),
        ("site", ("key", "tftpdir"), ("value", "/etc"), "/etc is the server's own"),
        ("site", ("key", "installdir"), ("value", "/var/lib"), "/var/lib is shared by many"),
        ("networks", ("net", "10.1.0.0"), ("mask", "255.0.255.0"), "it is not a netmask"),
        ("noderes", node, ("netboot", "banana"), "it must be one of xnba, pxe, grub2"),
        ("noderes", node, ("nfsserver", "10.0.0"), "it is neither an address"),
        ("nodehm", node, ("serialport", "ttyS0"), "it is not a number from 0 to 255"),
        ("nodegroup", ("groupname", "g"), ("grouptype", "dynamical"), "it must be one of static, dynamic"),
        ("osimage", ("imagename", "i"), ("provmethod", "stateless"), "it must be one of install, netboot"),
        ("litefile", ("file", "/a"), ("options", "bogus"), "the valid options are"),
        ("litetree", ("priority", "1"), ("directory", "srv:/"), "the whole file system"),
        ("litetree", ("priority", "1"), ("directory", "/etc/x"), "/etc is the server's own"),
        ("statelite", node, ("statemnt", "srv:/usr/$node"), "/usr is the server's own"),
        ("litefile", ("file", "/a"), ("options", "ro,persistent"), "the valid options are"),
        ("litefile", ("file", "a/b"), ("options", "ro"), "not one absolute path"),
        ("litetree", ("priority", "2"), ("directory", "#CMD=hostname#"), "#CMD=...# is not carried out"),
        ("litetree", ("priority", "2"), ("directory", "relative"), "not of the form server:/directory"),
        ("litetree", ("priority", "high"), ("directory", "/trees"), "it is not a number"),
        ("litetree", ("priority", "NaN"), ("directory", "/trees"), "it is not a number"),
        ("statelite", node, ("statemnt", "nohost:relpath"), "not of the form server:/directory"),
        ("statelite", node, ("statemnt", "|n(\\d+)|#CMD=id#:/x|"), "#CMD=...# is not carried out"),
        ("statelite", node, ("statemnt", "srv:/a/../b"), "not of the form server:/directory"),
        ("linuximage", ("imagename", "i"), ("rootimgdir", "relative/dir"), "not one absolute path"),
        ("linuximage", ("imagename", "i"), ("rootimgdir", "/install/../etc"), "not one absolute path"),
        ("osimage", ("imagename", "i"), ("profile", "../../../etc"), "part of paths"),
        ("osimage", ("imagename", "i"), ("osvers", ".."), "part of paths"),
        ("osimage", ("imagename", "i"), ("osarch", "a/b"), "part of paths"),
        ("hosts", ("ip", "1.2.3.4"), ("hostnames", "x"), "give node="),
        ("hosts", ("node", ""), ("ip", "1.2.3.4"), "give node="),
        ("litefile", ("file", "/x2"), ("options", "tmpfs"), "give image="),
        ("litetree", ("image", "i"), ("directory", "/trees"), "give priority="),
        ("site", ("key", "master"), ("value", "banana"), "the table hosts has none"),
        ("site", ("key", "httpport"), ("value", "foo"), "it is not a port"),
        ("site", ("key", "discoverymethods"), ("value", "lldp,swich"), "it must be one of mac, lldp, switch"),
        ("switches", ("switch", "sw1"), ("snmpversion", "4"), "it must be one of 1, 2, 2c, 3"),
        ("switches", ("switch", "sw1"), ("auth", "sha3"), "it must be one of md5, sha"),
        ("switches", ("switch", "sw1"), ("privacy", "3des"), "it must be one of des, aes"),
        ("site", ("key", "discoveryapproval"), ("value", "all,mgmt"), "there is no network 'mgmt'"),
        (
            "site",
            ("key", "discoveryrules"),
            ("value", "serial=cn1"),
            "'serial=cn1' is not attribute=template",
        ),
        ("site", ("key", "discoveryrules"), ("value", "name=/a/b/"), "it must be one of serial, mtm"),
        ("site", ("key", "discoveryrules"), ("value", "serial=|a|($|"), "cannot"),
        ("site", ("key", "timezone"), ("value", "banana"), "it is not a time zone"),
        ("hosts", node, ("hostnames", "a b\n6.6.6.6 evil"), "control characters"),
        ("hosts", ("node", "n1\n1.2.3.4 bank.com"), ("ip", "10.9.9.8"), "control characters"),
        ("nics", node, ("nicaliases", "eth0!a\tb"), "control characters"),
        ("bootparams", node, ("addkcmdline", "quiet\nimgfetch x"), "control characters"),
        ("osimage", ("imagename", "i\nx"), ("provmethod", "netboot"), "control characters"),
        ("osimage", ("imagename", "a;id"), ("provmethod", "netboot"), "the character ';' is not allowed"),
        ("osimage", ("imagename", "a$(id)"), ("provmethod", "netboot"), "the character '$' is not allowed"),
        ("linuximage", ("imagename", "a b"), ("kernelver", "6"), "the character ' ' is not allowed"),
        ("osimage", ("imagename", "i"), ("profile", "a;b"), "part of paths"),
        ("osimage", ("imagename", "i"), ("osvers", "a\\"), "part of paths"),
        ("networks", ("netname", "a;id"), ("net", "10.4.0.0"), "part of paths"),
        ("routes", ("routename", "r'1"), ("net", "10.4.0.0"), "part of paths"),
        ("zone", ("zonename", "../../etc"), ("sshbetweennodes", "yes"), "part of paths"),
        ("kit", ("kitname", "a b"), ("description", "x"), "part of paths"),
        ("kitrepo", ("kitreponame", "a/b"), ("kitname", "x"), "part of paths"),
        ("kitcomponent", ("kitcompname", "$(id)"), ("kitname", "x"), "part of paths"),
        ("osdistro", ("osdistroname", ".."), ("basename", "x"), "part of paths"),
        ("osdistroupdate", ("osupdatename", "a`b"), ("osdistroname", "x"), "part of paths"),
        ("boottarget", ("bprofile", "a&b"), ("kernel", "/k"), "part of paths"),
        ("nodegroup", ("groupname", "a b"), ("grouptype", "static"), "has no ' '"),
        ("nodelist", node, ("groups", "größe"), "has no 'ö'"),
        ("nodehm", ("node", "x=y"), ("mgt", "ipmi"), "has no '='"),
        ("site", ("key", "mine\nx"), ("value", "y"), "control characters"),
        ("site", ("key", "auditskipcmds"), ("value", "a\nb"), "control characters"),
        ("networks", ("net", "10.1.0.0"), ("domain", "a b"), "it is not a domain"),
        ("policy", ("priority", "SECRETBAD"), ("name", "x"), "it is not a number"),
    ] {
        let error = refused(&model, table, key, value);
        let spelled = |text: &str| text.replace('\n', "\\n").replace('\t', "\\t");
        let repeated = |text: &str| error.contains(&spelled(text));
        let named = error.contains("give ") || repeated(value.1) || repeated(key.1);
        assert!(named && error.contains(reason), "{error}");
    }
}

#[test]
fn an_address_belongs_to_one() {
    let model = Model::in_memory().unwrap();
    set(&model, "mac", ("node", "n1"), ("mac", "52:54:00:00:00:01|52:54:00:00:00:02!n1-b")).unwrap();
    set(&model, "hosts", ("node", "n1"), ("ip", "10.0.0.1")).unwrap();
    let error = set(&model, "mac", ("node", "n2"), ("mac", "525400000002")).unwrap_err().to_string();
    assert!(error.contains("52:54:00:00:00:02") && error.contains("n1"), "{error}");
    assert!(set(&model, "hosts", ("node", "n2"), ("ip", "10.0.0.1")).is_err());
    // The port of an InfiniBand card, with and without the prefix before its GUID.
    set(&model, "mac", ("node", "n3"), ("mac", "f4:52:14:03:00:aa:bb:cc!n3-ib")).unwrap();
    let error =
        set(&model, "mac", ("node", "n4"), ("mac", "00:f4:52:14:03:00:aa:bb:cc")).unwrap_err().to_string();
    assert!(error.contains("f4:52:14:03:00:aa:bb:cc") && error.contains("n3"), "{error}");
    // The same again, or on the way from one to the other in one change, is not a conflict.
    set(&model, "hosts", ("node", "n1"), ("ip", "10.0.0.1")).unwrap();
    let edits = vec![
        Edit::set("hosts", &[("node", "n2")], &[("ip", "10.0.0.1")]).unwrap(),
        Edit::set("hosts", &[("node", "n1")], &[("ip", "10.0.0.2")]).unwrap(),
    ];
    model.apply(Change::new("root", "swap", edits)).unwrap();
}

#[test]
fn addresses_that_are_no_nodes() {
    let net: (&str, &[Cell<'_>], Cell<'_>) =
        ("networks", &[("net", "10.0.0.0"), ("mask", "255.255.0.0")], ("netname", "prov"));
    let p2p: (&str, &[Cell<'_>], Cell<'_>) =
        ("networks", &[("net", "10.9.0.0"), ("mask", "255.255.255.254")], ("netname", "p2p"));
    let master: (&str, &[Cell<'_>], Cell<'_>) = ("site", &[("key", "master")], ("value", "10.0.0.1"));
    let node: (&str, &[Cell<'_>], Cell<'_>) = ("nodelist", &[("node", "n1")], ("groups", "all"));
    let ip = |address| ("hosts", &[("node", "n1")] as &[Cell<'_>], ("ip", address));
    last_refused(&[net, node, ip("10.0.255.255")], &["n1", "broadcast address of the network 10.0.0.0/16"]);
    last_refused(&[net, node, ip("10.0.0.0")], &["n1", "address of the network"]);
    last_refused(&[net, master, node, ip("10.0.0.1")], &["n1", "management node"]);
    let group: (&str, &[Cell<'_>], Cell<'_>) = ("hosts", &[("node", "all")], ("ip", "|10.0.0.($1)|"));
    last_refused(&[net, master, node, group], &["n1", "management node"]);
    let model = Model::in_memory().unwrap();
    let edits = [net, p2p, master, ip("10.9.0.0"), ("hosts", &[("node", "mn")], ("ip", "10.0.0.1"))];
    let edits = edits.iter().map(|(table, keys, value)| Edit::set(table, keys, &[*value]).unwrap());
    model.apply(Change::new("root", "test", edits.collect())).unwrap();
}

#[test]
fn directories_are_not_joined() {
    let row: (&str, &[Cell<'_>], Cell<'_>) =
        ("litefile", &[("image", "i"), ("file", "/a/")], ("options", "con"));
    last_refused(&[row], &["con", "is a directory"]);
}

#[test]
fn root_is_not_locked_out() {
    let model = Model::in_memory().unwrap();
    set(&model, "policy", ("priority", "5"), ("name", "root")).unwrap();
    set(&model, "policy", ("priority", "5"), ("rule", "allow")).unwrap();
    for (priority, column, value) in
        [("1", "rule", "deny"), ("5", "rule", "deny"), ("5", "name", "bob"), ("5", "commands", "lsdef")]
    {
        let error = refused(&model, "policy", ("priority", priority), (column, value));
        assert!(error.contains("root could no longer run"), "{priority} {column}={value}: {error}");
    }
    let all = Edit::delete("policy", &[]).unwrap();
    model.apply(Change::new("root", "test", vec![all])).expect_err("the last rule was removed");
    set(&model, "policy", ("priority", "7"), ("rule", "deny")).unwrap();
    set(&model, "policy", ("priority", "5"), ("commands", "chtab,undo,lsdef")).unwrap();
}

/// Edits, in order; the last one is refused with these words.
fn last_refused(rows: &[(&str, &[Cell<'_>], Cell<'_>)], words: &[&str]) {
    let model = Model::in_memory().unwrap();
    let (last, first) = rows.split_last().unwrap();
    let edit =
        |(table, keys, value): &(&str, &[Cell<'_>], Cell<'_>)| Edit::set(table, keys, &[*value]).unwrap();
    model.apply(Change::new("root", "test", first.iter().map(edit).collect())).unwrap();
    let error = model
        .apply(Change::new("root", "test", vec![edit(last)]))
        .expect_err(&format!("{last:?}"))
        .to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{last:?}: {error}");
}

#[test]
fn addresses_by_groups_and_templates_belong_to_one_too() {
    let n = |name| -> [Cell<'_>; 1] { [("node", name)] };
    let base: [(&str, &[Cell<'_>], Cell<'_>); 5] = [
        ("nodelist", &n("n1"), ("groups", "g")),
        ("nodelist", &n("n2"), ("groups", "g")),
        ("nodelist", &n("x2"), ("groups", "other")),
        ("hosts", &n("g"), ("ip", "|10.0.0.($1+100)|")),
        ("mac", &n("g"), ("mac", r"|\D+(\d+)|52:54:00:00:00:0($1)|")),
    ];
    for (last, words) in [
        (("hosts", &n("x2") as &[Cell<'_>], ("ip", "10.0.0.102")), ["10.0.0.102", "x2", "n2"]),
        (("nodelist", &n("x2"), ("groups", "g")), ["x2", "n2", "already belongs"]),
        (("nodelist", &n("y2"), ("groups", "other,g")), ["y2", "n2", "already belongs"]),
        (("hosts", &n("g"), ("ip", "10.0.0.7")), ["10.0.0.7", "n1", "n2"]),
        (("hosts", &n("other"), ("ip", "|10.0.0.($1+100)|")), ["10.0.0.102", "x2", "n2"]),
        (("mac", &n("x2"), ("mac", "52:54:00:00:00:02")), ["52:54:00:00:00:02", "x2", "n2"]),
        (("mac", &n("g"), ("mac", "f4:52:14:03:00:aa:bb:cc")), ["f4:52:14:03:00:aa:bb:cc", "n1", "n2"]),
    ] {
        last_refused(&[base.as_slice(), &[last]].concat(), &words);
    }
}

#[test]
fn a_group_mac_finds_its_node() {
    let snapshot = Snapshot::from_rows([
        ("nodelist", &[("node", "n7"), ("groups", "g")] as &[Cell<'_>]),
        ("mac", &[("node", "g"), ("mac", r"|n(\d+)|52:54:00:00:00:0($1)!*NOIP*|")]),
    ]);
    let owner = snapshot.mac_owner("52:54:00:00:00:07".parse().unwrap()).unwrap();
    assert_eq!((&*owner.node, owner.no_ip), ("n7", true));
    assert_eq!(snapshot.mac_owner("52:54:00:00:00:08".parse().unwrap()), None);
    let port = r"|n(\d+)|f4:52:14:03:00:aa:bb:0($1)!n($1)-ib|";
    let snapshot = Snapshot::from_rows([
        ("nodelist", &[("node", "n7"), ("groups", "g")] as &[Cell<'_>]),
        ("mac", &[("node", "g"), ("mac", port)]),
    ]);
    let owner = snapshot.guid_owner("f4:52:14:03:00:aa:bb:07".parse().unwrap()).unwrap();
    assert_eq!((&*owner.node, owner.host.as_deref()), ("n7", Some("n7-ib")));
}

#[test]
fn networks_that_cannot_work() {
    let net: [Cell<'_>; 2] = [("net", "10.1.0.0"), ("mask", "255.255.0.0")];
    let base: [(&str, &[Cell<'_>], Cell<'_>); 5] = [
        ("networks", &net, ("netname", "boot")),
        ("networks", &[("net", "10.2.0.0"), ("mask", "/16")], ("dynamicrange", "10.2.0.1-10.2.0.9")),
        ("nodelist", &[("node", "n5")], ("groups", "g")),
        ("hosts", &[("node", "g")], ("ip", "|10.1.9.($1)|")),
        ("hosts", &[("node", "n6")], ("ip", "10.1.8.6")),
    ];
    for (last, words) in [
        (
            ("networks", &net as &[Cell<'_>], ("dynamicrange", "10.1.0.9-10.1.0.1")),
            ["10.1.0.9", "lowest address"],
        ),
        (("networks", &net, ("dynamicrange", "10.1.255.0-10.2.0.5")), ["is not inside", "10.1.0.0/16"]),
        (
            ("networks", &net, ("dynamicrange", "10.1.0.1-10.1.0.9;10.1.0.5-10.1.0.7")),
            ["overlap", "10.1.0.5"],
        ),
        (("networks", &net, ("dynamicrange", "some")), ["some", "first-last"]),
        (("networks", &net, ("gateway", "10.9.0.1")), ["Specified gateway 10.9.0.1", "same network"]),
        (("networks", &net, ("dynamicrange", "10.1.8.0/24")), ["Node n6 has IP 10.1.8.6", "range"]),
        (("networks", &net, ("dynamicrange", "10.1.9.1-10.1.9.9")), ["Node n5 has IP 10.1.9.5", "of boot"]),
        (
            ("networks", &[("net", "10.1.0.0"), ("mask", "/16")], ("netname", "again")),
            ["boot", "same network"],
        ),
        (
            ("networks", &[("net", "10.3.0.1"), ("mask", "/16")], ("netname", "x")),
            ["10.3.0.1", "the network is 10.3.0.0"],
        ),
        (
            ("networks", &[("net", "10.0.0.0"), ("mask", "/8")], ("dynamicrange", "10.2.0.9-10.2.0.10")),
            ["overlaps", "10.2.0.0"],
        ),
        (("hosts", &[("node", "n7")], ("ip", "10.2.0.5")), ["Node n7 has IP 10.2.0.5", "10.2.0.0"]),
        (("hosts", &[("node", "g")], ("ip", "|10.2.0.($1)|")), ["Node n5 has IP 10.2.0.5", "dynamic range"]),
    ] {
        last_refused(&[base.as_slice(), &[last]].concat(), &words);
    }
}

#[test]
fn what_was_wrong_before_does_not_stop_other_work() {
    let bad = Snapshot::from_rows([
        ("nodelist", &[("node", "n1"), ("groups", "g")] as &[Cell<'_>]),
        ("nodelist", &[("node", "n2"), ("groups", "g")]),
        ("hosts", &[("node", "g"), ("ip", "10.1.0.5")]),
        ("networks", &[("net", "10.1.0.0"), ("mask", "/16"), ("dynamicrange", "10.1.0.1-10.1.0.9")]),
        ("noderes", &[("node", "n1"), ("netboot", "banana")]),
    ]);
    for edit in [
        Edit::set("nodelist", &[("node", "n1")], &[("groups", "g,more")]),
        Edit::set("nodelist", &[("node", "n3")], &[("groups", "more")]),
        Edit::set("hosts", &[("node", "g")], &[("comments", "x")]),
        Edit::set("networks", &[("net", "10.1.0.0"), ("mask", "/16")], &[("gateway", "10.1.0.1")]),
        Edit::set("noderes", &[("node", "n1")], &[("installnic", "mac")]),
    ] {
        let edit = edit.unwrap();
        let after = bad.with(std::slice::from_ref(&edit));
        assert!(after.is_ok(), "{edit:?}: {:?}", after.err());
    }
}

#[test]
fn networks_inside_of_others_are_named() {
    let row = |net: &'static str, mask: &'static str, nic: &'static str| {
        [("netname", net), ("net", net), ("mask", mask), ("mgtifname", nic)]
    };
    let rows = [
        row("10.0.0.0", "/8", "eth0"),
        row("10.1.0.0", "/16", "eth0"),
        row("10.2.0.0", "/16", "!remote!eth0"),
    ];
    let snapshot = Snapshot::from_rows(rows.iter().map(|cells| ("networks", cells.as_slice())));
    assert_eq!(snapshot.nested_networks(), [("10.1.0.0".into(), "10.0.0.0".into())]);
}
