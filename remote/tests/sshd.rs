//! The engine against real sshds (Debian's openssh-server) on loopback addresses.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods)]

mod common;

use common::*;
use dawn_remote::event::{End, Event, Stream};
use dawn_remote::failure::Failure;
use dawn_remote::openssh::{Copy, OpenSsh, RSYNC, RunDirectory, SCP, SSH};
use dawn_remote::run::{Job, Settings, Work, run};
use dawn_remote::session::Command;
use dawn_remote::target::Target;
use expect_test::expect;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Addresses of one sshd (its MAX_LISTEN_SOCKS).
const LISTEN_MAX: usize = 16;

/// Addresses of hosts that are there.
fn addresses(count: u8) -> Vec<String> {
    (1..=count).map(|n| format!("127.77.1.{n}")).collect()
}

fn settings() -> Settings {
    Settings { connect: Duration::from_secs(120), ..Settings::default() }
}

#[test]
fn a_few_dozen_hosts_with_all_that_can_go_wrong() {
    let mut hosts = Hosts::new();
    let there = addresses(40);
    for part in there.chunks(LISTEN_MAX) {
        hosts.start("shared", &part.iter().map(String::as_str).collect::<Vec<_>>());
    }
    hosts.start("other", &["127.77.2.1"]);
    // A host that accepts connections but sends nothing.
    let silent = std::net::TcpListener::bind(("127.77.3.1", hosts.port)).expect("a port");
    let mut jobs: Vec<Job> = there
        .iter()
        .enumerate()
        .map(|(n, address)| {
            ssh(hosts.target(&format!("n{n:02}"), address, "shared"), "echo out; echo err >&2")
        })
        .collect();
    let line = "printf 'a\\n\\nb\\033[31m'; exit 3";
    jobs.push(ssh(hosts.target("x1-exit3", &there[0], "shared"), line));
    jobs.push(ssh(hosts.target("x2-killed", &there[0], "shared"), "kill -9 $$"));
    jobs.push(ssh(hosts.target("x3-refused", "127.77.9.9", "shared"), "true"));
    jobs.push(ssh(hosts.target("x4-wrong", "127.77.2.1", "shared"), "true"));
    jobs.push(ssh(hosts.target("x5-unknown", "127.77.2.1", "nokey"), "true"));
    jobs.push(ssh(
        Target { user: "nosuchuser".into(), ..hosts.target("x6-denied", &there[0], "shared") },
        "true",
    ));
    jobs.push(ssh(
        Target {
            address: None,
            host: "nosuchhost.invalid".into(),
            ..hosts.target("x7-noname", &there[0], "shared")
        },
        "true",
    ));
    jobs.push(ssh(hosts.target("x8;rm -rf", &there[0], "shared"), "true"));
    let mut all = run_all(jobs, settings());
    let silent_host = ssh(hosts.target("x9-silent", "127.77.3.1", "shared"), "true");
    all.extend(run_all(vec![silent_host], Settings { connect: Duration::from_secs(1), ..settings() }));
    let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(|ended| ended.node.starts_with('n'));
    assert_eq!(good.len(), there.len());
    for ended in &good {
        assert_eq!(
            (&ended.end, &*ended.kept.out, &*ended.kept.err),
            (&End::Exit(0), "out\n", "err\n"),
            "{}",
            ended.node
        );
    }
    let text = shown(&bad).replace(&hosts.port.to_string(), "PORT");
    // Fingerprints differ from run to run.
    let text: String = text
        .split("SHA256:")
        .enumerate()
        .map(|(n, part)| if n == 0 { part.to_owned() } else { format!("SHA256:..{}", &part[43..]) })
        .collect();
    expect![[r#"
        x1-exit3: Exit(3) out="a\n\nb^[[31m\n" err=""
        x2-killed: Exit(137) out="" err=""
        x3-refused: Failed(Connect { host: "x3-refused", port: PORT, reason: "Connection refused" }) out="" err=""
        x4-wrong: Failed(WrongHost { node: "x4-wrong", offered: "ssh-ed25519 SHA256:.." }) out="" err=""
        x5-unknown: Failed(UnknownHost { node: "x5-unknown", offered: "ssh-ed25519 SHA256:.." }) out="" err=""
        x6-denied: Failed(Denied { user: "nosuchuser", node: "x6-denied", methods: "publickey,keyboard-interactive" }) out="" err=""
        x7-noname: Failed(Resolve { host: "nosuchhost.invalid", reason: "Name or service not known" }) out="" err=""
        x8;rm -rf: Failed(Name(Host("x8;rm -rf"))) out="" err=""
        x9-silent: Failed(ConnectTime { host: "x9-silent", port: PORT }) out="" err=""
    "#]].assert_eq(&text);
    drop(silent);
}

#[test]
fn large_and_binary_output() {
    let mut hosts = Hosts::new();
    hosts.start("shared", &["127.77.1.1"]);
    let target = hosts.target("n1", "127.77.1.1", "shared");
    let all = run_all(
        vec![
            ssh(
                Target { node: "line".into(), ..target.clone() },
                "head -c 1000000 /dev/zero | tr '\\0' x; echo",
            ),
            ssh(Target { node: "binary".into(), ..target.clone() }, "head -c 100000 /dev/urandom"),
            ssh(Target { node: "both".into(), ..target.clone() }, "seq 20000; seq 20000 >&2"),
            ssh(Target { node: "endless".into(), ..target }, "head -c 40000000 /dev/zero | tr '\\0' '\\n'"),
        ],
        settings(),
    );
    assert_eq!(all[0].end, End::Exit(0));
    assert!(all[0].kept.out.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
    assert_eq!((all[1].kept.out.lines().count(), all[1].kept.err.lines().count()), (20_000, 20_000));
    assert_eq!(all[2].end, End::Exit(0));
    assert!(all[2].kept.is_cut && all[2].kept.out.len() <= dawn_remote::KEPT_BYTES_MAX);
    assert_eq!(all[3].kept.out.len(), 1_000_001);
}

#[test]
fn streamed_lines_are_whole() {
    let mut hosts = Hosts::new();
    let there = addresses(4);
    hosts.start("shared", &there.iter().map(String::as_str).collect::<Vec<_>>());
    let jobs = there.iter().map(|address| {
        ssh(
            hosts.target(address, address, "shared"),
            "for i in $(seq 300); do printf \"$i \"; echo half; done; echo last >&2",
        )
    });
    let (mut lines, mut ended) = (Vec::new(), 0);
    run(jobs.collect(), Settings { stream: true, ..settings() }, &mut |event| {
        match event {
            Event::Lines { node, stream, text } => {
                lines.extend(text.lines().map(|line| (node.clone(), stream, line.to_owned())));
            }
            Event::Ended(end) => {
                assert!(end.kept.out.is_empty());
                ended += 1;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .expect("a run");
    assert_eq!(ended, there.len());
    for address in &there {
        let own: Vec<&str> = lines
            .iter()
            .filter(|(node, stream, _)| node == address && *stream == Stream::Out)
            .map(|(.., line)| &**line)
            .collect();
        let expected: Vec<String> = (1..=300).map(|n| format!("{n} half")).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn commands_that_hang_are_ended_on_their_hosts() {
    let mut hosts = Hosts::new();
    hosts.start("shared", &["127.77.1.1"]);
    let target = hosts.target("n1", "127.77.1.1", "shared");
    let mark = |name: &str| hosts.path().join(name);
    // Each leaves its process id, and is not there any more afterwards.
    let sleeper = |name: &str, how: &str| {
        let line = format!(
            "{how} echo $$ > {0}.new; mv {0}.new {0}; echo begun; sleep 3000; true",
            mark(name).display()
        );
        ssh(Target { node: name.into(), ..target.clone() }, &line)
    };
    let is_alive = |name: &str| {
        let id = std::fs::read_to_string(mark(name)).expect("a process id");
        Path::new("/proc").join(id.trim()).exists()
    };
    // The command prints nothing.
    let all =
        run_all(vec![sleeper("silent", "")], Settings { idle: Some(Duration::from_secs(6)), ..settings() });
    assert_eq!(all[0].end, End::Failed(Failure::Silent(Duration::from_secs(6))));
    assert_eq!(all[0].kept.out, "begun\n", "what came before is kept");
    assert!(!is_alive("silent"));
    // The time for a job, and a command that does not care for INT and TERM.
    let all = run_all(
        vec![sleeper("late", "trap '' INT TERM;")],
        Settings { whole: Some(Duration::from_secs(10)), ..settings() },
    );
    assert_eq!(all[0].end, End::TimedOut);
    assert!(!is_alive("late"));
    // The caller stops: some run, some have not begun.
    let mut jobs: Vec<Job> = (0..4).map(|n| sleeper(&format!("stop{n}"), "")).collect();
    jobs.extend((0..4).map(|n| ssh(Target { node: format!("wait{n}"), ..target.clone() }, "true")));
    let mut ends = Vec::new();
    run(jobs, Settings { fanout: 4, ..settings() }, &mut |event| {
        match event {
            Event::Ended(ended) => ends.push((ended.node, ended.end)),
            Event::Progress(_) if (0..4).all(|n| mark(&format!("stop{n}")).exists()) => {
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .expect("a run");
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    for (node, end) in ends {
        let expected = if node.starts_with("stop") { End::Stopped } else { End::NotStarted };
        assert_eq!(end, expected, "{node}");
    }
    assert!((0..4).all(|n| !is_alive(&format!("stop{n}"))));
}

#[test]
fn half_of_the_hosts_die_in_the_middle() {
    let mut hosts = Hosts::new();
    hosts.start("shared", &["127.77.1.1"]);
    let dying = hosts.start("dying", &["127.77.4.1"]);
    let mut jobs = Vec::new();
    let gate = hosts.path().join("gate");
    for n in 0..10 {
        let (address, key) = if n % 2 == 0 { ("127.77.1.1", "shared") } else { ("127.77.4.1", "dying") };
        let line = format!("echo begun; while [ ! -e {} ]; do sleep 0.1; done; echo done", gate.display());
        jobs.push(ssh(hosts.target(&format!("n{n}"), address, key), &line));
    }
    let (mut begun, mut ends, mut died) = (0, Vec::new(), None);
    run(jobs, Settings { stream: true, ..settings() }, &mut |event| {
        match event {
            Event::Lines { text, .. } if text == "begun\n" => begun += 1,
            Event::Ended(ended) => ends.push((ended.node, ended.end.is_success())),
            _ => {}
        }
        if begun == 10 && died.is_none() {
            hosts.kill(dying);
            std::fs::write(&gate, "").expect("a file");
            died = Some(Instant::now());
        }
        ControlFlow::Continue(())
    })
    .expect("a run");
    ends.sort();
    let expected: Vec<(String, bool)> = (0..10).map(|n| (format!("n{n}"), n % 2 == 0)).collect();
    assert_eq!(ends, expected);
}

#[test]
fn input_reaches_the_command() {
    let mut hosts = Hosts::new();
    hosts.start("shared", &["127.77.1.1"]);
    let target = hosts.target("n1", "127.77.1.1", "shared");
    let input = Arc::new(vec![b'y'; 3_000_000]);
    let work = Work::Ssh(Command { line: "wc -c".into(), input, ..Command::default() });
    let all = run_all(vec![Job { target, work }], settings());
    assert_eq!(all[0].kept.out, "3000000\n");
}

#[test]
fn the_programs_of_openssh() {
    let mut hosts = Hosts::new();
    hosts.start("shared", &["127.77.1.1"]);
    let good = hosts.target("n1", "127.77.1.1", "shared");
    hosts.start("other", &["127.77.2.1"]);
    let wrong = hosts.target("n2", "127.77.2.1", "shared");
    let directory = RunDirectory::new(hosts.path()).expect("a directory");
    let targets = [good.clone(), wrong.clone()];
    let openssh = OpenSsh::new(directory, &targets, Vec::new(), Vec::new()).expect("a file");
    let line = "echo \"$0\" 'a  b'; cat; exit 4";
    let job = |target: &Target| {
        let program = openssh.ssh(Path::new(SSH), target, line, Arc::new(b"input".to_vec()));
        Job { target: target.clone(), work: Work::Program(program) }
    };
    let all = run_all(vec![job(&good), job(&wrong)], settings());
    assert_eq!(
        (&all[0].end, all[0].kept.out.ends_with("a  b\ninput\n")),
        (&End::Exit(4), true),
        "{}",
        shown(&all)
    );
    assert_eq!(all[1].end, End::Exit(255));
    assert!(all[1].kept.err.contains("Host key verification failed"), "{}", shown(&all));
    // Copies, with a name that a shell would take apart.
    let from = hosts.path().join("a b$(touch x);'q\".txt");
    std::fs::write(&from, "content").expect("a file");
    let place = hosts.path().join("to");
    std::fs::create_dir(&place).expect("a directory");
    let to = place.display().to_string();
    let copy = Copy::To { from: std::slice::from_ref(&from), to: &to };
    for program in [
        openssh.scp(Path::new(SCP), &good, &["-p"], &copy),
        openssh.rsync(Path::new(RSYNC), &good, &["-az"], &copy),
    ] {
        let all = run_all(vec![Job { target: good.clone(), work: Work::Program(program) }], settings());
        assert_eq!(all[0].end, End::Exit(0), "{}", shown(&all));
        let copied = place.join(from.file_name().expect("a name"));
        assert_eq!(std::fs::read_to_string(&copied).expect("a copy"), "content");
        std::fs::remove_file(copied).expect("it is there");
    }
}

/// Whether the key of a host is known or another one is: it is shown.
#[test]
fn a_scan_shows_known_and_unknown_keys() {
    let mut hosts = Hosts::new();
    hosts.start("shared", &["127.77.4.1"]);
    let targets =
        ["shared", "nokey"].map(|key| hosts.target(&format!("n-{key}"), "127.77.4.1", key)).to_vec();
    let shown: Vec<_> = dawn_remote::scan::scan(&targets, settings().connect)
        .unwrap()
        .into_iter()
        .map(|(node, result)| (node, result.unwrap()))
        .collect();
    assert_eq!(shown[0].1, shown[1].1);
    assert!(shown[0].1.key.starts_with("ssh-ed25519 AAAA"), "{shown:?}");
}
