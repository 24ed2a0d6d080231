//! A caller other than root can neither learn nor change anything beyond the nodes that policy allows.

use super::CLUSTER;
use crate::testbed::Bed;
use dawn_bootd::command::{Entry, Kind};
use dawn_bootd::requests::REQUESTS;
use dawn_cluster::schema;
use dawn_commands::{COMMANDS, PROGRAMS};
use std::sync::LazyLock;

/// A cluster in which alice may use every command for cn1, and carol for cn1 and cn3, with further rows.
fn limited(rows: &str) -> Bed {
    Bed::new(&format!(
        "{CLUSTER}
        policy priority=6 name=alice noderange=cn1 rule=allow
        policy priority=6.5 name=carol noderange=cn1,cn3 rule=allow
        nodelist node=cn3 groups=compute,pair
        {rows}"
    ))
}

/// What two clusters differ in that alice may not read.
const HIDDEN: [&str; 2] = [
    "ipmi node=cn2 password=Calvin9x
    nodegroup groupname=dyn grouptype=dynamic wherevals=bmcpassword=~^C",
    "nodelist node=cn2 groups=special,all
    nodelist node=cn7 groups=compute,pair
    ipmi node=cn2 password=x bmc=10.1.0.9
    mac node=cn2 mac=52:54:00:00:00:07
    nodehm node=cn2 mgt=blade
    passwd key=system username=root password=y
    site key=dhcpomapikey value=hush
    nodegroup groupname=dyn grouptype=dynamic wherevals=bmcpassword=~^C",
];

/// What a caller may not read changes no answer: two models that differ in other nodes and in secrets alone,
/// every command that only reads, and words of every form that a noderange has.
#[test]
fn answers_do_not_depend_on_what_a_caller_may_not_read() {
    let [one, other] = HIDDEN.map(limited);
    let repeated = "ipmi.password=~^C,".repeat(7000);
    let named = [
        "",
        "cn1",
        "cn2",
        "cn1,cn2",
        "cn7",
        "cn[1-9]",
        "compute",
        "special",
        "all,-special",
        "all,-compute",
        "/cn.*",
        "mgt==blade",
        "cn1,mgt==blade",
        "ipmi.password=~^C",
        "cn2@ipmi.password=~^C",
        "mac.mac=~07$",
        "cn1,@special",
        "(cn1,cn2)",
        "cn1+6",
        "^/etc/passwd",
        "^/root/.bashrc",
        "nodelist.groups=~special",
        "nosuch",
        "-cn2",
        repeated.as_str(),
    ];
    let requests = ["extnoderange", "NodeRange", "gennr", "rnoderange", "getcredentials", "getpostscript"];
    let reading = COMMANDS.iter().filter(|entry| entry.kind != Kind::Local && !entry.writes);
    for name in reading.map(|entry| entry.name).chain(requests) {
        for words in named {
            for (user, ip) in [
                (Some("alice"), None),
                (Some("carol"), None),
                (None, Some("10.0.0.1")),
                (None, Some("10.9.9.9")),
            ] {
                if user.is_some() && [OPEN, ASK_MACHINES].iter().any(|names| names.contains(&name)) {
                    continue;
                }
                let line = format!("{name} {words}");
                let ask = |bed: &Bed| {
                    let directory = bed.directory.path().to_string_lossy().into_owned();
                    without_clock(&bed.run_as(&line, None, user, ip).replace(&directory, "DIR"))
                };
                let shown: String = line.chars().take(80).collect();
                assert_eq!(ask(&one), ask(&other), "{user:?} {ip:?}: {shown}");
            }
        }
    }
}

static COLUMNS: LazyLock<Vec<String>> = LazyLock::new(|| {
    schema().tables().iter().flat_map(|table| table.cols()).map(|col| col.to_string()).collect()
});

/// SplitMix64: numbers that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap_or(0)
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list.get(self.below(list.len())).copied().unwrap_or_default()
    }

    /// A noderange of up to four elements, joined by what may join them.
    fn noderange(&mut self) -> String {
        const ATOMS: &[&str] = &[
            "cn1",
            "cn2",
            "cn7",
            "cn[1-9]",
            "cn1-cn3",
            "cn1+6",
            "compute",
            "all",
            "special",
            "dyn",
            "nosuch",
            "/cn.*",
            "mgt==blade",
            "mgt!=ipmi",
            "groups=~special",
            "ipmi.password=~^C",
            "ipmi.bmc!=x",
            "mac.mac=~07$",
            "hosts.ip=~10",
            "^/etc/passwd",
            "^/nosuch",
            "site.value=~h",
            "7",
            "",
            "(",
            "[",
        ];
        let mut text = String::new();
        for _ in 0..=self.below(4) {
            text.push_str(self.of(&["", ",", ",-", "@", ",@", "-", ","]));
            let atom = self.of(ATOMS);
            if self.below(6) == 0 { text.push_str(&format!("({atom})")) } else { text.push_str(atom) }
        }
        text
    }

    /// A word of any of the forms that commands take; options of the command itself among them.
    fn word(&mut self, options: &[String]) -> String {
        let column = COLUMNS.get(self.below(COLUMNS.len())).map_or("", String::as_str);
        let known =
            self.of(&["ipmi.password", "bmcpassword", "mgt", "groups", "hosts.comments", "nodehm.mgt"]);
        let name = if self.below(3) == 0 { column } else { known };
        let value = self.of(&["C", "^C", "x", "cn2", "blade", "", "Calvin9x", "special"]);
        match self.below(9) {
            0 | 1 => self.noderange(),
            2 => format!("{name}{}{value}", self.of(&["==", "!=", "=~", "!~"])),
            3 => format!("{name}{}{value}", self.of(&["=", "+=", ",=", "^="])),
            4 => format!("{}={value}", self.of(&["node", "key", "name", "members", "ip", "priority"])),
            5 => self.of(&["node", "group", "site", "osimage", "policy", "passwd", "ipmi", "mac"]).to_owned(),
            6 => name.to_owned(),
            _ => options.get(self.below(options.len())).cloned().unwrap_or_default(),
        }
    }

    /// What requests of programs carry along with their command: a noderange, tables, keys and attributes.
    fn elements(&mut self) -> String {
        const TABLES: &[&str] =
            &["ipmi", "nodelist", "nodehm", "mac", "passwd", "site", "policy", "nics", "nosuch"];
        let mut text = String::new();
        if self.below(4) != 0 {
            text.push_str(&format!("<noderange>{}</noderange>", self.noderange()));
        }
        for _ in 0..=self.below(2) {
            let table = self.of(TABLES);
            let mut pair = || {
                let name =
                    self.of(&["node", "password", "key", "value", "mgt", "groups", "mac", "comments", "bmc"]);
                format!("<{name}>{}</{name}>", self.of(&["cn1", "cn2", "cn7", "Calvin9x", "x", "C", "hush"]))
            };
            let (keys, values) = (pair(), pair());
            let wanted = self.of(&["ALL", "node", "password", "groups", "value", "mac"]);
            let attr = format!("<attr>{}{wanted}</attr>", self.of(&["", &values]));
            text.push_str(&match self.below(4) {
                0 => format!("<table>{table}</table><keys>{keys}</keys>{attr}"),
                1 => format!("<table><tablename>{table}</tablename>{attr}</table>"),
                2 => format!("<table><name>{table}</name>{attr}</table>"),
                _ => format!("<arg><table><name>{table}</name>{attr}</table></arg>"),
            });
        }
        text
    }
}

fn options_of(entry: &Entry) -> Vec<String> {
    let command = (entry.clap)();
    let words = |arg: &clap::Arg| {
        let short = arg.get_short().map(|letter| format!("-{letter}"));
        short.into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect::<Vec<_>>()
    };
    command.get_arguments().flat_map(words).collect()
}

fn daemon_entries() -> impl Iterator<Item = &'static Entry> {
    COMMANDS.iter().chain(REQUESTS).chain(PROGRAMS).filter(|entry| entry.kind != Kind::Local)
}

/// Requests that the rows of a new cluster open to everybody, for every node.
const OPEN: &[&str] = &["getdestiny", "nextdestiny", "litefile", "litetree"];

/// Commands whose answers are those of machines, or that follow a log: a random line would wait for ever.
const ASK_MACHINES: &[&str] = &[
    "console",
    "getmacs",
    "makeknownhosts",
    "nodestat",
    "pping",
    "rbeacon",
    "rcons",
    "renergy",
    "reventlog",
    "rinstall",
    "rinv",
    "ripmi",
    "rnetboot",
    "rpower",
    "rsetboot",
    "rspconfig",
    "rspreset",
    "rvitals",
    "sshtargets",
    "updatenode",
    "xdcp",
    "xdsh",
];

/// The same for random words and elements, and for commands that write: what alice and carol write is in both
/// clusters, and nothing of the difference comes out.
#[test]
#[allow(clippy::disallowed_methods, reason = "seeds for a long search come from outside")]
fn random_answers_do_not_depend_on_what_a_caller_may_not_read() {
    const LINES: usize = 2500;
    let entries: Vec<(&Entry, Vec<String>)> =
        daemon_entries().map(|entry| (entry, options_of(entry))).collect();
    // `DAWN_SEEDS=3-100` tries others.
    let seeds = std::env::var("DAWN_SEEDS").unwrap_or_default();
    let seeds =
        seeds.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    for seed in seeds.unwrap_or(1..=2) {
        let mut random = Random(seed);
        let [one, other] = HIDDEN.map(limited);
        for at in 0..LINES {
            let Some((entry, options)) = entries.get(random.below(entries.len())) else { continue };
            let words: Vec<String> = (0..random.below(6)).map(|_| random.word(options)).collect();
            let quoted: String = words.iter().map(|word| format!(" '{word}'")).collect();
            let line = format!("{}{quoted}", entry.name);
            let stanza = format!("{}:\n  objtype=node\n  {}\n", random.noderange(), random.word(options));
            let stdin = (random.below(4) == 0).then_some(stanza.as_str());
            let elements = random.elements();
            let elements = format!("<command>{}</command>{elements}", entry.name);
            let as_elements =
                random.below(if COMMANDS.iter().any(|one| one.name == entry.name) { 8 } else { 2 }) == 0;
            const CALLERS: [(Option<&str>, Option<&str>); 6] = [
                (Some("alice"), None),
                (Some("alice"), None),
                (Some("carol"), None),
                (Some("carol"), None),
                (None, Some("10.0.0.1")),
                (None, Some("10.9.9.9")),
            ];
            let (user, ip) = CALLERS.get(random.below(CALLERS.len())).copied().unwrap_or_default();
            if user.is_some() && [OPEN, ASK_MACHINES].iter().any(|names| names.contains(&entry.name)) {
                continue;
            }
            let ask = |bed: &Bed| {
                let directory = bed.directory.path().to_string_lossy().into_owned();
                let answer = match as_elements {
                    true => bed.xml_for(&elements, user, ip),
                    false => bed.run_as(&line, stdin, user, ip),
                };
                without_clock(&answer.replace(&directory, "DIR"))
            };
            let asked = if as_elements { &elements } else { &line };
            assert_eq!(
                ask(&one),
                ask(&other),
                "seed {seed}, line {at}, {user:?} {ip:?}: {asked} <<< {stdin:?}"
            );
        }
    }
}

/// Where a caller may use a command for every node, it still selects nothing by a secret, and a dry run does
/// not say whether a value is already there.
#[test]
fn only_root_selects_by_secrets() {
    let bed = Bed::new(&format!(
        "{CLUSTER}\n policy priority=6 name=bob2 rule=allow
        nodegroup groupname=dyn grouptype=dynamic wherevals=bmcpassword=~^h"
    ));
    for line in [
        "nodels all ipmi.password=~^h",
        "nodels -S all ipmi.password==hush",
        "nodels all@ipmi.password=~^h",
        "nodech all ipmi.password=~^h nodehm.power=x",
        "lsdef -w bmcpassword=~^h",
        "lsdef -t node -w bmcpassword!=x -i groups",
        "mkdef -t group -o g -w bmcpassword=~^h",
        "mkdef -t group -d -o g -w bmcpassword=~^h",
        "chdef -t group -p -o compute -w bmcpassword=~^h",
        "gettab password=hush ipmi.node",
        "tabdump -w password=~h% ipmi",
        "tabdump -w value=~h% site",
        "chtab password=hush ipmi.comments=x",
        "tabch -d password=hush ipmi",
        "chtab --dry-run node=cn1 ipmi.password=hush",
        "nodech --dry-run cn1 ipmi.password=hush",
        "chdef --dry-run cn1 bmcpassword=hush",
        "chdef --dry-run -t site dhcpomapikey=hush",
    ] {
        let before = bed.run("tabdump ipmi");
        let answer = bed.run_as(line, None, Some("bob2"), None);
        assert!(answer.contains("holds secrets: only root may select"), "{line}: {answer}");
        assert!(!bed.run(line).contains("holds secrets"), "{line}");
        bed.run("undo");
        assert_eq!(bed.run("tabdump ipmi"), before, "{line}");
    }
    // Settings that are not declared open, and the variables of directories, which show their values.
    bed.run("chtab key=LDAPBINDPW site.value=hush2");
    for line in [
        "lsdef -t site -w dhcpomapikey=~^h",
        "lsdef -t site -w LDAPBINDPW=~^h -i domain",
        "nodech cn1 statelite.statemnt=/x/$site.LDAPBINDPW",
        "chtab priority=1 litetree.directory=/x/$site.dhcpomapikey/$node",
        "chtab node=cn1 statelite.statemnt=$site.LDAPBINDPW:/x",
    ] {
        let answer = bed.run_as(line, None, Some("bob2"), None);
        assert!(answer.contains("may hold a secret: only root"), "{line}: {answer}");
        assert!(!bed.run(line).contains("only root"), "{line}");
        bed.run("undo");
    }
    assert!(!bed.run_as("lsdef -a -w mgt==ipmi -i mgt", None, Some("bob2"), None).contains("only root"));
    assert_eq!(
        bed.run_as("chtab node=cn1 statelite.statemnt=/x/$ipmi.password", None, Some("bob2"), None),
        ""
    );
    assert!(!bed.run("lslite cn1").contains("hush"));
    for elements in [
        "<command>getAttribs</command><table>ipmi</table><keys><password>hush</password></keys><attr>node</attr>",
        "<command>setAttribs</command><table>ipmi</table><keys><password>hush</password></keys><attr><bmc>x</bmc></attr>",
        "<command>delEntries</command><table><name>ipmi</name><attr><password>hush</password></attr></table>",
    ] {
        let answer = bed.xml_for(elements, Some("bob2"), None);
        assert!(answer.contains("holds secrets"), "{elements}: {answer}");
    }
    assert_eq!(bed.run("lsdef -t group dyn -c -i members"), "dyn: members=cn1\n");
    assert_eq!(bed.run_as("lsdef -t group dyn -c -i members", None, Some("bob2"), None), "dyn: members=\n");
    assert_eq!(
        bed.run_as("chdef --dry-run -t site nodestatus=n", None, Some("bob2"), None)
            .matches("secrets")
            .count(),
        0
    );
}

/// A caller who may change a secret but not read it learns nothing of it by adding to it or taking away, by
/// what the log then holds, or by a discovery of the nodes that a secret selects.
#[test]
fn changes_say_nothing_of_a_secret_that_is_there() {
    let cluster = |secret: &str| {
        let bed = Bed::new(&format!(
            "{CLUSTER}\n policy priority=6 name=bob2 rule=allow
            ipmi node=cn1 password={secret}
            passwd key=system username=root password={secret}
            site key=dhcpomapikey value={secret}
            site key=MYKEY value={secret}"
        ));
        bed.run("chdef -t site domain=cluster.example");
        bed
    };
    let lines = [
        "chdef -m cn1 bmcpassword=guess",
        "chdef -m --dry-run cn1 bmcpassword=guess",
        "chdef -m -t node -o cn1,cn2 bmcpassword=guess",
        "chdef -p cn1 bmcpassword=guess",
        "chdef -p --dry-run cn1 bmcpassword=guess",
        "chdef -m -t group -o compute bmcpassword=guess",
        "chdef -m -t site dhcpomapikey=guess",
        "chdef -m --dry-run -t site dhcpomapikey=guess",
        "chdef -p -t site MYKEY=guess",
        "chdef -m -t site MYKEY=guess",
        "chdef -m -z",
        "nodech cn1 ipmi.password^=guess",
        "nodech cn1 ipmi.password,=guess",
        "nodeadd cn9 groups=all ipmi.password^=guess",
        "chtab node=cn1 ipmi.password+=guess",
        "chtab key=MYKEY site.value+=guess",
        "chtab key=system,username=root passwd.password+=guess",
        "rmdef --dry-run -t site -o MYKEY",
        "chdef cn1 bmcpassword=guess",
        "chdef -t site MYKEY=guess",
        "nodech cn1 ipmi.password=guess",
        "chtab key=system,username=root passwd.password=guess passwd.comments=x",
        "log",
        "log cn1",
        "log -s",
        "undo",
        "log",
        "nodediscoverstart noderange=cn2,cn1@ipmi.password==guess",
        "nodediscoverstart noderange=cn1,ipmi.password==guess",
        "nodediscoverstart noderange=cn2,-ipmi.password==guess",
        "nodediscoverstatus",
        "nodediscoverstop",
        "chdef -t site __SEQDiscover=noderange=ipmi.password==guess",
        "nodediscoverstatus",
        "nodediscoverls",
    ];
    let stdin = "cn1:\n  objtype=node\n  bmcpassword=guess\n";
    let [right, wrong] = ["guess", "other"].map(cluster);
    for line in lines {
        let ask = |bed: &Bed| {
            let answer = bed.run_as(line, Some(stdin), Some("bob2"), None);
            answer.lines().map(|line| without_time(line) + "\n").collect::<String>()
        };
        assert_eq!(ask(&right), ask(&wrong), "{line}");
    }
    // Root reads secrets, and lists that are none are every caller's.
    assert!(right.run("chdef -m -t site MYKEY=guess").contains("modified"));
    let open = right.run_as("chdef -p cn1 groups=x", None, Some("bob2"), None);
    assert!(open.contains("modified"), "{open}");
    assert_eq!(right.run_as("chtab key=nameservers site.value+=10.0.0.9", None, Some("bob2"), None), "");
}

/// An answer without the times of status reports: the clock moves on between one model and the other.
fn without_clock(answer: &str) -> String {
    const TIME: &[u8] = b"00-00-0000 00:00:00";
    let is_time = |text: &str| {
        let same =
            |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
        text.len() >= TIME.len() && text.bytes().zip(TIME).all(same)
    };
    let (mut text, mut rest) = (String::new(), answer);
    while let Some(c) = rest.chars().next() {
        let length = if is_time(rest) { TIME.len() } else { c.len_utf8() };
        text.push_str(if length == TIME.len() { "TIME" } else { &rest[..length] });
        rest = &rest[length..];
    }
    text
}

/// A line of the log without its date and time.
fn without_time(line: &str) -> String {
    match line.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
        [id, date, time, rest] if date.len() == 10 && time.len() == 8 => format!("{id} {rest}"),
        _ => line.to_owned(),
    }
}

/// A discovery writes rows of its nodes later, in the daemon's name.
#[test]
fn a_discovery_takes_the_nodes_of_its_caller() {
    let bed = Bed::new(&format!(
        "{CLUSTER}
        policy priority=6 name=dave noderange=cn2 rule=deny
        policy priority=7 name=dave rule=allow"
    ));
    for line in [
        "nodediscoverstart noderange=cn2",
        "nodediscoverstart noderange=cn[1-2]",
        "chdef -t site __SEQDiscover=noderange=cn2",
        "chdef -t site __SEQDiscover=noderange=cn[1-9]",
        "chdef -t site __SEQDiscover=noderange=compute,hostiprange=10.0.0.1-10.0.0.9",
        "chtab key=__SEQDiscover site.value=noderange=cn1,cn2",
    ] {
        let answer = bed.run_as(line, None, Some("dave"), None);
        assert!(answer.contains("Permission denied") || answer.contains("none of your"), "{line}: {answer}");
        assert!(!bed.run("nodediscoverstatus").contains("is running"), "{line}");
    }
    let answer = bed.run_as("nodediscoverstart noderange=cn[1,3-4]", None, Some("dave"), None);
    assert!(bed.run("nodediscoverstatus").contains("noderange=cn1,cn3,cn4"), "{answer}");
}

/// A user who may use every command still does not take the tables to another server.
#[test]
fn only_root_moves_the_tables() {
    let bed = Bed::new(&format!("{CLUSTER}\n policy priority=6 name=bob2 rule=allow"));
    for command in ["pgsqlsetup", "mysqlsetup"] {
        for options in ["", "--dry-run", "--back", "--host=10.9.9.9 --no-create"] {
            let line = format!("{command} {options}");
            let answer = bed.run_as(&line, Some("hush\n\n"), Some("bob2"), None);
            assert!(answer.contains("only root may let the daemon take the tables"), "{line}: {answer}");
        }
    }
}

/// Ways to name cn2, from where cn1 is allowed.
const WAYS: [&str; 16] = [
    "cn2",
    "cn1,cn2",
    "cn[1-2]",
    "cn1-cn2",
    "cn1+1",
    "cn1:cn2",
    "compute",
    "all",
    "/cn.*",
    "(cn1,cn2)",
    "all,-cn1",
    "cn2@all",
    "mgt==ipmi",
    "cn3",
    "|cn2|",
    "*",
];

/// What each command and request that writes is called with; `%` is replaced by each way to name cn2. A
/// writer that has no line here fails the test.
const WRITERS: &[(&str, &[&str])] = &[
    ("backup", &["%"]),
    ("rinstall", &["% boot"]),
    ("import", &["xcat ."]),
    ("makeconservercf", &["%", "-d %", "-C"]),
    ("makegocons", &["%", "-d %", "-q %", "-C"]),
    ("discover", &["approve u-1 %"]),
    ("mknb", &["--image %"]),
    ("nbcreate", &["--image %"]),
    ("nodediscoverdef", &["-u u-1 -n %", "-r -t all"]),
    ("nodediscoverstart", &["noderange=%"]),
    ("nodediscoverstop", &[""]),
    (
        "chdef",
        &[
            "% usercomment=x",
            "-t node -o % mgt=blade",
            "cn1 -n %",
            "-t node,group % mgt=blade",
            "-t group -o % mgt=blade",
            "-t group -o compute members=%",
            "-t group -p -o new members=%",
            "-t group -o new -w mgt==ipmi",
            "-t group -o compute -n %",
            "-p cn1 groups=%",
            "-z",
            "-u %",
            "-t policy -o 6 noderange=%",
            "-t network -o prov gateway=%",
        ],
    ),
    (
        "chtab",
        &[
            "node=% nodehm.mgt=blade",
            "node=cn1 nodehm.node=%",
            "node=cn1 nodehm.mgt=blade node=%",
            "nodehm.node=% nodehm.mgt=blade",
            "mgt=ipmi nodehm.power=x",
            "-d node=% nodelist nodehm mac hosts",
            "-d mgt=ipmi nodehm",
            "priority=6 policy.noderange=%",
        ],
    ),
    ("imgexport", &["img -p %", "-n img /nosuch/%"]),
    ("imgimport", &["-p % /nosuch.tgz"]),
    ("liteimg", &["%", "img"]),
    ("makedns", &["%", "-n %", "-d %", ""]),
    ("makehosts", &["%", "-d %", ""]),
    ("makenetworks", &["%", ""]),
    ("makeknownhosts", &["%"]),
    (
        "mkdef",
        &[
            "% groups=all",
            "-f % groups=all",
            "-f -t node -o cn1,% groups=all",
            "-t group -o new members=%",
            "-t group -d -o new -w node==cn2",
            "--template % cn1 groups=all",
            "-f cn1 --template % groups=all",
            "-z",
        ],
    ),
    ("mysqlsetup", &["-i %", "-u"]),
    ("nextdestiny", &["%", ""]),
    ("getdestiny", &["%", ""]),
    ("nodeadd", &["% groups=all", "cn1,% groups=all nodehm.mgt=blade"]),
    (
        "nodech",
        &[
            "% nodehm.mgt=blade",
            "cn1 nodehm.node=%",
            "cn1 nodelist.node=%",
            "cn1 groups=%",
            "-d % nodehm mac",
            "cn1,% mac.mac=52:54:00:00:00:99",
        ],
    ),
    ("nodegrpch", &["% mgt=blade", "compute,% nodehm.mgt=blade"]),
    ("nodepurge", &["%"]),
    ("noderm", &["%", "cn1,%"]),
    ("nodeset", &["% offline", "% osimage=img", "cn1,% boot"]),
    ("pgsqlsetup", &["-i %", "-u"]),
    ("regnotif", &["/bin/true %"]),
    ("rmdef", &["%", "-t node -o %", "-t group -o %", "-a -f", "-t node,group %"]),
    ("rmimage", &["%", "img"]),
    ("setup-local-client.sh", &["%", "cn2"]),
    ("tabch", &["node=% nodehm.mgt=blade", "-d node=% nodelist nodehm"]),
    ("tabprune", &["-a auditlog", "-a eventlog"]),
    ("tabrestore", &["nodehm.csv", "-a nodehm.csv", "--for=restorexCATdb nodehm.csv"]),
    ("undo", &["", "1", "%"]),
    ("unregnotif", &["/bin/true", "%"]),
    ("xcatconfig", &["-i", "-d", "-c", "-f %"]),
    ("setNodesAttribs", &["%"]),
    ("delEntries", &["%"]),
    ("setAttribs", &["%"]),
    ("getadapter", &["%"]),
    ("getbmcconfig", &["%"]),
];

/// Requests that write nothing.
const READERS: [&str; 16] = [
    "getcredentials",
    "getpartition",
    "getpostscript",
    "help",
    "extnoderange",
    "NodeRange",
    "gennr",
    "rnoderange",
    "syncfiles",
    "sshtargets",
    "getAllEntries",
    "getNodesAttribs",
    "getTablesAllNodeAttribs",
    "getTablesNodesAttribs",
    "getTablesAllRowAttribs",
    "getAttribs",
];

/// All rows but those of cn1, and the file of hosts without cn1.
fn rows_of_others(bed: &Bed) -> Vec<String> {
    let mut lines = Vec::new();
    for table in schema().tables().iter().filter(|table| !matches!(table.name, "auditlog" | "x_teal")) {
        let rows = bed.run(&format!("tabdump {}", table.name));
        lines.extend(rows.lines().filter(|row| !row.starts_with("\"cn1\",")).map(str::to_owned));
    }
    let hosts = std::fs::read_to_string(bed.directory.path().join("hosts")).unwrap_or_default();
    lines.extend(hosts.lines().filter(|line| !line.contains("cn1")).map(str::to_owned));
    lines
}

/// A cluster that is used again as long as nothing has been written there: what is refused leaves it as new.
struct Kept<F> {
    make: F,
    bed: Bed,
    /// The last change of the tables, and the file of hosts.
    state: (u64, Option<Vec<u8>>),
}

impl<F: Fn() -> Bed> Kept<F> {
    fn new(make: F) -> Self {
        let bed = make();
        Self { state: Self::state(&bed), make, bed }
    }

    fn state(bed: &Bed) -> (u64, Option<Vec<u8>>) {
        (bed.model.snapshot().seq(), std::fs::read(bed.directory.path().join("hosts")).ok())
    }

    /// Looks at what has been written, if anything was.
    fn look(&mut self, check: impl FnOnce(&Bed)) {
        if Self::state(&self.bed) == self.state {
            return;
        }
        check(&self.bed);
        self.bed = (self.make)();
        self.state = Self::state(&self.bed);
    }
}

/// What requests of programs carry besides their noderange: every element that could name another node.
fn elements(way: &str) -> String {
    let attr = format!("<attr><node>{way}</node><mgt>blade</mgt><nicsadapter>x</nicsadapter></attr>");
    let tables = ["nodehm", "nics", "ipmi"].map(|name| {
        format!("<arg><table><name>{name}</name>{attr}</table></arg><table><name>{name}</name>{attr}</table>")
    });
    let table = format!("<table>nodehm</table><keys><node>{way}</node></keys><attr><mgt>blade</mgt></attr>");
    let nic = format!("<action>update</action><node>{way}</node><nic><interface>eth0</interface></nic>");
    format!("{}{table}{nic}<name>{way}</name>", tables.join(""))
}

/// Every command and request that can write, from the registry, by a caller with rights to cn1 and by cn1
/// itself: the rows of the other nodes, and of what is not a node's, stay as they were.
#[test]
fn no_writer_reaches_another_node() {
    let writers = daemon_entries().filter(|entry| {
        let is_request = REQUESTS.iter().chain(PROGRAMS).any(|request| request.name == entry.name);
        let writes = is_request && !READERS.contains(&entry.name);
        entry.writes || writes || matches!(entry.name, "getdestiny" | "nextdestiny")
    });
    let cluster = || {
        let bed = limited(
            "policy priority=7 commands=nextdestiny,getdestiny,getadapter,getbmcconfig rule=allow
            nodehm node=cn2 mgt=ipmi
            mac node=cn2 mac=52:54:00:00:00:02
            discoverydata uuid=u-1 nichwaddr=eno1!52:54:00:00:00:09
            chain node=cn1 chain=shell,standby
            chain node=cn2 chain=shell,standby
            site key=genpasswords value=yes",
        );
        bed.run("makehosts all");
        bed
    };
    let mut kept = Kept::new(cluster);
    let before = rows_of_others(&kept.bed);
    for entry in writers {
        let case = WRITERS.iter().find(|(name, _)| *name == entry.name);
        let (_, lines) = case.unwrap_or_else(|| panic!("{} writes and has no line in WRITERS", entry.name));
        for line in *lines {
            let ways = if line.contains('%') { &WAYS[..] } else { &["cn2", "compute"] };
            let ask = |way: &&str| try_all(&kept.bed, entry, line, way);
            let answers: Vec<String> = ways.iter().flat_map(ask).collect();
            kept.look(|bed| {
                assert_eq!(rows_of_others(bed), before, "{} {line}: {answers:#?}", entry.name);
            });
        }
    }
    // The test reaches what it is about: a command and a report of cn1's own write.
    let bed = cluster();
    let report = REQUESTS.iter().find(|entry| entry.name == "getadapter").expect("a request");
    try_all(&bed, report, "%", "cn2");
    assert!(bed.run("tabdump nics").contains("\"cn1\","));
    bed.run_as("chdef cn1 usercomment=own", None, Some("alice"), None);
    assert!(bed.run("lsdef cn1 -i usercomment").contains("own"));
    bed.run_as("nextdestiny", None, None, Some("10.0.0.1"));
    assert!(bed.run("nodels cn1 chain.currstate").contains("shell"));
}

/// A row that denies some nodes to a user who may use everything for the others: no writer writes rows of
/// those, and no list of all nodes has them.
#[test]
fn no_writer_reaches_a_denied_node() {
    let cluster = || {
        let bed = Bed::new(&format!(
            "{CLUSTER}
            policy priority=6 name=dave noderange=cn2 rule=deny
            policy priority=7 name=dave rule=allow
            nodehm node=cn2 mgt=ipmi
            mac node=cn2 mac=52:54:00:00:00:02"
        ));
        bed.run("makehosts all");
        bed.run("chdef cn2 usercomment=one");
        bed
    };
    let of_cn2 = |bed: &Bed| {
        let mut lines = Vec::new();
        for table in schema().tables().iter().filter(|table| table.is_node_table) {
            let rows = bed.run(&format!("tabdump {}", table.name));
            lines.extend(rows.lines().filter(|row| row.starts_with("\"cn2\",")).map(str::to_owned));
        }
        let hosts = std::fs::read_to_string(bed.directory.path().join("hosts")).unwrap_or_default();
        lines.extend(hosts.lines().filter(|line| line.contains("cn2")).map(str::to_owned));
        lines
    };
    let mut kept = Kept::new(cluster);
    let before = of_cn2(&kept.bed);
    let mut others: Vec<(&str, &[&str])> = WRITERS.to_vec();
    others.extend([("undo", &["", "2", "3"] as &[&str]), ("makehosts", &["-n", "-n -d"])]);
    for (name, lines) in others {
        for line in lines {
            // Settings of the policy and of the whole installation are open to dave.
            if line.contains("policy") || ["xcatconfig", "restorexCATdb"].contains(&name) {
                continue;
            }
            let ways = if line.contains('%') { &WAYS[..] } else { &["cn2"] };
            let ask = |way: &&str| {
                let bed = &kept.bed;
                let line = format!("{name} {}", line.replace('%', way));
                let table = format!("#node,mgt\n\"{way}\",\"blade\"\n");
                let stanza = format!("{way}:\n  objtype=node\n  groups=all\n  mgt=blade\n");
                let piped = if name == "tabrestore" { &table } else { &stanza };
                let body = elements(&way.replace('|', ""));
                let request = format!("<command>{name}</command><noderange>cn1</noderange>{body}");
                bed.run_as(&line, Some(piped), Some("dave"), None)
                    + &bed.xml_for(&request, Some("dave"), None)
            };
            let answers: Vec<String> = ways.iter().map(ask).collect();
            kept.look(|bed| assert_eq!(of_cn2(bed), before, "{name} {line}: {answers:#?}"));
        }
    }
    let bed = cluster();
    for line in ["nodels", "lsdef", "nodels all", "lsdef -t node"] {
        let answer = bed.run_as(line, None, Some("dave"), None);
        assert!(answer.contains("cn1") && !answer.contains("cn2"), "{line}: {answer}");
    }
}

/// What alice, cn1 and a stranger are answered to a command line and to a request that name another node.
fn try_all(bed: &Bed, entry: &Entry, line: &str, way: &str) -> Vec<String> {
    let name = entry.name;
    let line = format!("{name} {}", line.replace('%', way));
    let stanza = format!("{way}:\n  objtype=node\n  groups=all\n  mgt=blade\n");
    let table = format!("#node,mgt\n\"{way}\",\"blade\"\n");
    let piped = if name == "tabrestore" { &table } else { &stanza };
    let body = elements(&way.replace('|', ""));
    let request =
        |noderange: &str| format!("<command>{name}</command><noderange>{noderange}</noderange>{body}");
    let mut answers = Vec::new();
    for (user, ip) in [(Some("alice"), None), (None, Some("10.0.0.1")), (None, Some("10.9.9.9"))] {
        answers.push(bed.run_as(&line, Some(piped), user, ip));
        answers.push(bed.xml_for(&request(way), user, ip));
        answers.push(bed.xml_for(&request("cn1"), user, ip));
    }
    answers
}

/// Names and addresses that something else in the cluster has, in any column; what is free may be taken,
/// and an administrator without limits may do all of it.
#[test]
fn names_and_addresses_in_use_are_not_taken() {
    let bed = limited(
        "
        nodelist node=cn2-web groups=far
        hosts node=cn2-web otherinterfaces=-ib:10.9.3.2 hostnames=shop
        hosts node=sw9 ip=10.9.4.9
        ipmi node=cn3 bmc=cn3-bmc
        ipmi node=cn2-web bmc=10.9.5.9
        switch node=cn2-web switch=rack-switch port=3 vlan=1
        networks net=10.9.0.0 mask=255.255.0.0 netname=far gateway=10.9.0.250 ntpservers=10.9.0.251",
    );
    std::fs::write(
        bed.directory.path().join("hosts"),
        "127.0.0.1 localhost\n10.9.6.1 licence.example licence\n10.0.0.1 cn1 cn1.cluster\n",
    )
    .unwrap();
    let lines = [
        "nodech cn1 hosts.ip=10.9.3.2",
        "nodech cn1 hosts.ip=10.9.0.250",
        "nodech cn1 hosts.ip=10.9.0.251",
        "nodech cn1 hosts.ip=10.9.5.9",
        "nodech cn1 hosts.ip=10.9.4.9",
        "nodech cn1 hosts.ip=10.9.6.1",
        "nodech cn1 hosts.otherinterfaces=-a:10.9.3.2",
        "nodech cn1 hosts.otherinterfaces=cn2-web-ib:10.9.7.1",
        "nodech cn1 hosts.otherinterfaces=cn3-bmc:10.9.7.1",
        "nodech cn1 hosts.otherinterfaces=-a:127.0.0.2",
        "nodech cn1 hosts.otherinterfaces=sw9:10.9.7.1",
        "nodech cn1 hosts.otherinterfaces=rack-switch:10.9.7.1",
        "chdef cn1 nicips.eth9=10.9.255.255",
        "chdef cn1 nicips.eth9=10.9.0.250",
        "chdef cn1 nicips.eth9=10.9.7.1 nicaliases.eth9=shop",
        "nodech cn1 hosts.hostnames=mn1",
        "nodech cn1 hosts.hostnames=xcatmaster",
        "nodech cn1 hosts.hostnames=cluster",
        "nodech cn1 hosts.hostnames=ip6-loopback",
        "nodech cn1 hosts.hostnames=Licence",
        "nodech cn1 hosts.hostnames=shop.cluster",
        "nodech cn1 mac.mac=52:54:00:00:00:01!cn2-web",
    ];
    for line in lines {
        for line in [line, &format!("{line} --dry-run")] {
            let answer = bed.run_as(line, None, Some("alice"), None);
            let refused =
                ["Permission denied: ", "already belongs to"].iter().any(|text| answer.contains(text));
            assert!(refused, "{line}: {answer}");
        }
    }
    for line in [
        "nodech cn1 hosts.ip=10.9.7.2 hosts.otherinterfaces=-ib:10.9.7.3 hosts.hostnames=mine",
        "chdef cn1 nicips.eth9=10.9.7.4 nicaliases.eth9=fast",
    ] {
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(!answer.contains("Permission denied"), "{line}: {answer}");
    }
    // An administrator without limits is warned, as always.
    for line in ["nodech cn1 hosts.hostnames=shop", "nodech cn1 hosts.otherinterfaces=cn3-bmc:10.9.7.1"] {
        let answer = bed.run(line);
        assert!(!answer.contains("Error"), "{line}: {answer}");
    }
}

/// What `makehosts` wrote for a node goes with the names of the node; lines of others stay.
#[test]
fn lines_of_former_names_go() {
    let bed = Bed::on_disk(CLUSTER);
    let path = bed.directory.path().join("hosts");
    std::fs::write(&path, "127.0.0.1 localhost\n10.9.5.2 other\n").unwrap();
    let hosts = || std::fs::read_to_string(&path).unwrap();
    bed.run("nodech cn1 hosts.otherinterfaces=cn7-bmc:10.9.5.1");
    assert_eq!(bed.run("makehosts"), "");
    assert!(hosts().contains("10.9.5.1 cn7-bmc"), "{}", hosts());
    bed.run("nodech cn1 hosts.otherinterfaces=");
    assert!(bed.run("makehosts --dry-run cn1").contains("- 10.9.5.1 cn7-bmc"));
    assert_eq!(bed.run("makehosts cn1"), "");
    assert_eq!(
        hosts(),
        "127.0.0.1 localhost\n10.9.5.2 other\n10.0.0.1 cn1 cn1.cluster \n10.0.0.102 cn2 cn2.cluster \n"
    );
    bed.run("nodech cn1 hosts.ip=10.0.0.9");
    assert_eq!(bed.run("makehosts -d cn1"), "");
    assert!(!hosts().contains("cn1"), "{}", hosts());
}

/// The node of a row is not a value that a request may set, and no command writes a row of a node out of
/// reach.
#[test]
fn rows_of_nodes_out_of_reach_stay() {
    let bed = limited("");
    let tables = || ["nodelist", "nodehm", "mac", "hosts"].map(|table| bed.run(&format!("tabdump {table}")));
    let before = tables();
    for (table, attr) in [
        ("nodehm", "<mgt>ipmi</mgt><node>cn2</node>"),
        ("nodelist", "<node>cnY</node>"),
        ("mac", "<node>cn2</node>"),
    ] {
        let arg = format!("<arg><table><name>{table}</name><attr>{attr}</attr></table></arg>");
        for user in ["alice", "root"] {
            let elements = format!("<command>setNodesAttribs</command><noderange>cn1</noderange>{arg}");
            let answer = bed.xml_for(&elements, Some(user), None);
            assert!(answer.contains("names the node and cannot be set as a value"), "{answer}");
        }
    }
    let keyed = "<command>setAttribs</command><table>nodelist</table><keys><node>cn1</node></keys>\
                 <attr><node>cn9</node></attr>";
    assert!(bed.xml_for(keyed, Some("root"), None).contains("cannot be set as a value"));
    for line in [
        "chdef -t node cn1 -n cn2",
        "chdef -t group -o compute mgt=blade",
        "nodegrpch compute mgt=blade",
        "chtab node=cn2 nodehm.mgt=blade",
        "nodech cn2 mgt=blade",
        "noderm cn2",
        "rmdef -t node cn2",
        "nodeadd cn3 groups=all",
        "mkdef -t node -o cn3 groups=all",
    ] {
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(answer.contains("Permission denied"), "{line}: {answer}");
    }
    let stanza = "cn2:\n    objtype=node\n    mgt=blade\n";
    assert!(bed.run_as("chdef -z", Some(stanza), Some("alice"), None).contains("Permission denied"));
    assert_eq!(tables(), before);
    // A condition does not select what is changed.
    let answer = bed.run("chdef -t node -o cn1,cn2 -w mgt==none usercomment=hit");
    assert!(answer.contains("it selects no objects") && tables() == before, "{answer}");
    // What other nodes are called, where they are, and the management node's place.
    bed.run("chdef cn2 ip=10.0.0.2");
    bed.run("mkdef -t node -o cn7 groups=all ip=fd00::9");
    for line in [
        "chdef cn1 hostnames=vm,cn2",
        "chdef cn1 hostnames=cn2.example.org",
        "chdef cn1 hostnames=CN2",
        "chdef cn1 otherinterfaces=CN2:10.0.0.99",
        "chdef cn1 hostnames=LocalHost",
        "chdef cn1 bmc=10.0.0.2 mgt=ipmi",
        "nodech cn1 statelite.statemnt=10.0.0.1:/home",
        "chdef cn1 hostnames=localhost",
        "chdef cn1 otherinterfaces=cn1-ib:10.0.0.2",
        "chdef cn1 nicips.eth9=10.0.0.2",
        "chdef cn1 otherinterfaces=cn1-ib:fd00::9",
        "chdef cn1 nicips.eth9=fd00::9",
        "chdef cn1 groups=all,__mgmtnode",
    ] {
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(answer.contains("Permission denied"), "{line}: {answer}");
    }
    // A name that an interface's suffix makes is a name, too.
    bed.run("mkdef -t node -o cn1-a7 groups=all");
    let suffix = "chdef cn1 nicips.eth9=10.0.0.77 nichostnamesuffixes.eth9=-a7";
    let answer = bed.run_as(suffix, None, Some("alice"), None);
    assert!(answer.contains("cn1 may not be called cn1-a7"), "{answer}");
    assert_eq!(
        bed.run_as("chdef cn1 hostnames=cn1-a", None, Some("alice"), None),
        "1 object definitions have been created or modified.\n"
    );
    // Requests that the policy opens to every node give a user no other nodes.
    for line in [
        "litefile all",
        "litetree cn2",
        "litefile cn1,cn2@hosts.ip==10.0.0.2",
        "litefile cn1,cn2@hosts.ip==x",
    ] {
        let answer = bed.run_as(line, None, Some("frank"), None);
        assert!(!answer.contains("cn2:") && !answer.contains("cn1:"), "{line}: {answer}");
    }
    let guess = |value: &str| {
        let noderange = format!("<noderange>cn2@hosts.ip=={value}</noderange>");
        bed.xml_for(&format!("<command>getdestiny</command>{noderange}"), Some("frank"), None)
    };
    assert_eq!(guess("10.0.0.2"), guess("10.0.0.3").replace("10.0.0.3", "10.0.0.2"));
    // For the caller's own nodes it works, and a group means the caller's part of it.
    assert_eq!(bed.run_as("nodels compute", None, Some("alice"), None), "cn1\n");
    assert_eq!(bed.run_as("nodech compute nodelist.comments=mine", None, Some("alice"), None), "");
    assert!(!bed.run("nodels cn2 nodelist.comments").contains("mine"));
}

/// A noderange with a condition in it has `=`, and is not an assignment: policy looks at its nodes, and the
/// command names no others.
#[test]
fn a_noderange_with_a_condition_is_looked_at() {
    let bed = limited(HIDDEN[0]);
    for noderange in
        ["cn1+6,mac.mac=~07$", ",-^/etc/passwd,cn1+6,-(all),mac.mac=~07$", "cn2,mgt==x", "cn1,cn2@mgt=~i"]
    {
        for command in ["lsdef", "nodels", "chdef", "rmdef", "mkdef"] {
            let elements = format!("<command>{command}</command><noderange>{noderange}</noderange>");
            let answer = bed.xml_for(&elements, Some("carol"), None)
                + &bed.run_as(&format!("{command} '{noderange}'"), None, Some("carol"), None);
            assert!(!answer.contains("Calvin9x") && !answer.contains("cn2"), "{elements}: {answer}");
        }
    }
}
