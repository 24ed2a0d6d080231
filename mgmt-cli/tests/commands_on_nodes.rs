//! Commands on nodes from end to end: the real executable as client and daemon, and real sshds on loopback
//! addresses with host keys that `dawn init` made.
//!
//! Needs root and the Debian packages `openssh-server` and `rsync`; without them the tests fail.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;

use common::{dawn, ready, wait_for};
use dawn_test_ports::free_port;
use expect_test::expect;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A daemon, its users, and hosts.
struct Cluster {
    directory: tempfile::TempDir,
    children: Vec<Child>,
    daemon_port: u16,
    ssh_port: u16,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    /// n1 to n4 are up, n5 shows another host key, no server listens at n6.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster =
            Self { directory, children: Vec::new(), daemon_port: free_port(), ssh_port: free_port() };
        std::fs::create_dir_all(cluster.path("root")).unwrap();
        let data = cluster.path("data").display().to_string();
        let made =
            cluster.dawn("root", &["init", "--master", "127.0.0.1", "--data", &data]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster.serve(&data);
        let own = cluster.path("data/hostkeys/ssh_host_ed25519_key");
        cluster.sshd("own", &own, &["127.78.0.1", "127.78.0.2", "127.78.0.3", "127.78.0.4"]);
        let other = cluster.path("other_key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status();
        assert!(made.unwrap().success());
        cluster.sshd("other", &other, &["127.78.0.5"]);
        // A node's own row takes no address of loopback; a template is not looked at so closely.
        cluster.ok(r"chtab node=all hosts.ip='|n(\d+)|127.78.0.($1)|'");
        for n in 1..=6 {
            cluster.ok(&format!("mkdef n{n} groups=all"));
        }
        let keys = cluster.path("root/.ssh").display().to_string();
        cluster.ok(&format!("tabch zonename=own zone.defaultzone=yes zone.sshkeydir={keys}"));
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dawn(&self, user: &str, words: &[&str]) -> Command {
        let mut command = dawn(&self.path(user));
        command.env("USER", user).env("XCATHOST", format!("127.0.0.1:{}", self.daemon_port));
        command.args(words).current_dir(self.directory.path());
        command
    }

    fn serve(&mut self, data: &str) {
        let (port, status) = (self.daemon_port.to_string(), free_port().to_string());
        let words =
            ["serve", "--services", "xcatd", "--xcatd-port", &port, "--status-port", &status, "--data", data];
        let child = ready(&mut self.dawn("root", &words), Some(&self.path("log")));
        self.children.push(child);
    }

    fn sshd(&mut self, name: &str, key: &Path, addresses: &[&str]) {
        let config = self.configuration(name, key, addresses);
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(config);
        self.start(command, addresses);
    }

    /// A machine with its own root directory, which has a copy of `/etc` and shares all else.
    fn machine(&mut self, name: &str, address: &str) {
        let own = self.path("data/hostkeys/ssh_host_ed25519_key");
        let config = self.configuration(name, &own, &[address]);
        let root = self.path(&format!("root_{name}"));
        std::fs::create_dir(&root).unwrap();
        let script = "root=$1; shift; mount -t tmpfs none $root && \
            for name in bin sbin lib lib32 lib64 usr dev proc run root tmp var; do \
            if [ -L /$name ]; then cp -P /$name $root/$name; \
            elif [ -d /$name ]; then mkdir $root/$name; mount --rbind /$name $root/$name; fi; done; \
            cp -a /etc $root/etc && exec chroot $root \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&root);
        command.args(["/usr/sbin/sshd", "-D", "-e", "-f"]).arg(config);
        self.start(command, &[address]);
    }

    fn configuration(&self, name: &str, key: &Path, addresses: &[&str]) -> PathBuf {
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut text = format!(
            "Port {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             MaxStartups 1000:30:2000\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nSetEnv HOME={}\n",
            self.ssh_port,
            key.display(),
            self.path("root/.ssh/id_rsa.pub").display(),
            self.directory.path().display(),
        );
        addresses.iter().for_each(|address| text.push_str(&format!("ListenAddress {address}\n")));
        let config = self.path(&format!("sshd_{name}"));
        std::fs::write(&config, text).unwrap();
        config
    }

    fn start(&mut self, mut command: Command, addresses: &[&str]) {
        self.children.push(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_for("no sshd", || {
            addresses.iter().all(|address| TcpStream::connect((*address, self.ssh_port)).is_ok())
        });
    }

    /// Runs a line: output with errors marked, lines sorted, and the exit code.
    fn run_as(&self, user: &str, line: &str) -> String {
        let line = line.replace("PORT", &self.ssh_port.to_string());
        let words = split(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.dawn(user, &words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let errors = text(&output.stderr);
        let errors = errors.lines().map(|line| format!("! {line}"));
        let shown: Vec<String> = text(&output.stdout).lines().map(str::to_owned).chain(errors).collect();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = host.split('.').next().unwrap_or_default().to_owned();
        let shown = shown.join("\n").replace(&format!("[{host}]"), "[mn]");
        let shown = shown.replace(&format!("  {host}: Internal"), "  mn: Internal");
        let top = self.directory.path().to_string_lossy();
        let shown = shown.replace(&*top, "TOP").replace(top.trim_start_matches('/'), "TOP");
        let shown = shown.replace(&self.ssh_port.to_string(), "PORT");
        // rsync ends with 12 if it notices before ssh has ended that the connection is gone.
        let shown = shown.replace("error_code=12", "error_code=255");
        // Fingerprints are of keys made for this test.
        let mut parts = shown.split("SHA256:");
        let first = parts.next().unwrap_or_default().to_owned();
        let shown =
            parts.fold(first, |all, part| format!("{all}SHA256:..{}", part.get(43..).unwrap_or_default()));
        let mut lines: Vec<String> = shown.lines().map(without_date).collect();
        lines.sort();
        let code = output.status.code().unwrap_or(-1);
        lines.extend((code != 0).then(|| format!("rc={code}")));
        lines.join("\n") + "\n"
    }

    /// Lines with `$ ` before each and what it printed below.
    fn session(&self, lines: &[&str]) -> String {
        lines.iter().map(|line| format!("$ {line}\n{}", self.run_as("root", line))).collect()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    fn ok(&self, line: &str) {
        let shown = self.run_as("root", line);
        assert!(!shown.contains("rc="), "{line}: {shown}");
    }
}

/// A line of the node's log without the time, whose first word is a day of the week.
fn without_date(line: &str) -> String {
    match line.split_once(": ").zip(line.split_once(" postscript ")) {
        Some(((node, _), (_, what))) if line.ends_with("does NOT exist.") => format!("{node}: DATE {what}"),
        _ => line.to_owned(),
    }
}

/// Words as a shell splits them, with single quotes.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut quoted, mut open) = (vec![String::new()], false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                open = true;
            }
            ' ' if !quoted => {
                if open || words.last().is_some_and(|word| !word.is_empty()) {
                    words.push(String::new());
                }
                open = false;
            }
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn commands_and_their_exit_codes() {
    let cluster = Cluster::new();
    std::fs::write(cluster.path("vars"), "GREETING=hello\n").unwrap();
    std::fs::write(cluster.path("script"), "#!/bin/sh\necho script \"$@\" on $NODE; exit 2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(cluster.path("script"), mode).unwrap();
    let text = cluster.session(&[
        "xdsh n1-n3 -o '-p PORT' echo '$NODE' --version",
        "xdsh n1,n2 -o '-p PORT' -z false",
        "xdsh n1 -o '-p PORT' 'echo out; echo err >&2; exit 3'",
        "xdsh n1 -o '-p PORT' 'exit 0'",
        "xdsh n1 -o '-p PORT' -s 'echo out; echo err >&2; exit 3'",
        "xdsh n4-n6 -o '-p PORT' 'echo it is there;'",
        "xdsh n1,n6 -o '-p PORT' -m --nodestatus -Q true",
        "xdsh n1 -o '-p PORT' -T true",
        "xdsh n1 -o '-p PORT -4' 'printf x'",
        "xdsh n1 -o '-p PORT' -E vars 'echo $GREETING'",
        "xdsh n1,n2 -o '-p PORT' -e script a 'b c'",
        "xdsh n1 -o '-p PORT' -t 1 'sleep 300'",
        "xdsh n1-n3 -o '-p PORT' --collate 'echo same; [ $NODE != n2 ] || echo other'",
        "xdsh n1",
        "xdsh nosuch true",
        "xdsh n1 -f 0 true",
        "xdsh n1 -l 'root;id' true",
        "xdsh n1 -S fish true",
        "xdsh n1 -r /bin/nosuch true",
        "psh -p PORT n1,n2 'echo $((1 + 1)); echo err >&2'",
        "psh -p PORT n1,n6 'exit 3'",
        "psh -p PORT -t 1 n1 sleep 300",
        "pping n1,n2",
        "nodestat n1",
        "makeknownhosts n1 --dry-run",
        "chtab net=127.78.0.0,mask=/16 networks.netname=lo networks.domain=nodes.example",
        "makeknownhosts n1 --dry-run",
    ]);
    let text: String = text
        .lines()
        .filter(|line| !line.contains("Dsh_process_id"))
        .map(|line| format!("{}\n", line.split("AAAA").next().unwrap_or_default()))
        .collect();
    expect![[r#"
        $ xdsh n1-n3 -o '-p PORT' echo '$NODE' --version
        n1: n1 --version
        n2: n2 --version
        n3: n3 --version
        $ xdsh n1,n2 -o '-p PORT' -z false
        n1: Remote_command_rc = 1
        n2: Remote_command_rc = 1
        rc=2
        $ xdsh n1 -o '-p PORT' 'echo out; echo err >&2; exit 3'
        ! [mn]: n1: err
        n1: out
        rc=1
        $ xdsh n1 -o '-p PORT' 'exit 0'

        $ xdsh n1 -o '-p PORT' -s 'echo out; echo err >&2; exit 3'
         n1 remote Command had return code: 3 
        n1: err
        n1: out
        rc=1
        $ xdsh n4-n6 -o '-p PORT' 'echo it is there;'
        ! [mn]: n5: Host key verification failed: n5 shows ssh-ed25519 SHA256:.., which is not its key
        ! [mn]: n6: ssh: connect to host n6 port PORT: Connection refused
        ! n5: Hint: Another machine may answer in its place. If the node was installed again by other means, `makeknownhosts n5 --scan` accepts its new key.
        n4: it is there
        rc=2
        $ xdsh n1,n6 -o '-p PORT' -m --nodestatus -Q true
        dsh>  Dsh_initialization_completed
        dsh>  Dsh_remote_execution_started
        dsh>  Remote_command_execution_completed
        dsh>  Remote_command_failed n6
        dsh>  Remote_command_started n1
        dsh>  Remote_command_started n6
        dsh>  Remote_command_successful n1
        n1: Remote_command_successful
        n6: Remote_command_failed, error_code=255
        rc=1
        $ xdsh n1 -o '-p PORT' -T true
        TRACE: connections of our own
        $ xdsh n1 -o '-p PORT -4' 'printf x'
        n1: x
        $ xdsh n1 -o '-p PORT' -E vars 'echo $GREETING'
        n1: hello
        $ xdsh n1,n2 -o '-p PORT' -e script a 'b c'
        n1: script a b c on n1
        n2: script a b c on n2
        rc=2
        $ xdsh n1 -o '-p PORT' -t 1 'sleep 300'
        ! Error: [mn]:  Timed out waiting for response from child processes for the following nodes. n1
        ! [mn]: n1: no output for 1 s
        rc=1
        $ xdsh n1-n3 -o '-p PORT' --collate 'echo same; [ $NODE != n2 ] || echo other'

        +other
        ------------------------------------
        ------------------------------------
        ------------------------------------
        ------------------------------------
        n2 (1), compared with n[1,3]
        n[1,3] (2)
        same
        $ xdsh n1
        ! Error: [mn]: No command argument provided
        rc=1
        $ xdsh nosuch true
        ! Error: Invalid nodes and/or groups in noderange: nosuch
        rc=1
        $ xdsh n1 -f 0 true
        ! Error: [mn]: -f: '0' is not a number from 1 up
        rc=1
        $ xdsh n1 -l 'root;id' true
        ! Error: [mn]: 'root;id' is not a user name (letters, digits and . _ -, the first not -)
        rc=1
        $ xdsh n1 -S fish true
        ! Error: [mn]: Incorrect argument "fish" specified on -S flag. 
        rc=1
        $ xdsh n1 -r /bin/nosuch true
        ! Error: [mn]: Remote command: /bin/nosuch does not exist or is not executable.
        rc=1
        $ psh -p PORT n1,n2 'echo $((1 + 1)); echo err >&2'
        n1: 2
        n1: err
        n2: 2
        n2: err
        $ psh -p PORT n1,n6 'exit 3'
        ! n1: *** ssh exited with error code 3.
        ! n6: *** ssh exited with error code 255.
        n6: ssh: connect to host n6 port PORT: Connection refused
        rc=2
        $ psh -p PORT -t 1 n1 sleep 300
        ! n1: *** ssh exited with error code 255.
        ! n1: timeout exceeded
        rc=1
        $ pping n1,n2
        n1: ping
        n2: ping
        $ nodestat n1
        n1: ping
        $ makeknownhosts n1 --dry-run
        + n1,127.78.0.1 ecdsa-sha2-nistp256 
        + n1,127.78.0.1 ssh-ed25519 
        + n1,127.78.0.1 ssh-rsa 
        $ chtab net=127.78.0.0,mask=/16 networks.netname=lo networks.domain=nodes.example

        $ makeknownhosts n1 --dry-run
        + n1,n1.nodes.example,127.78.0.1 ecdsa-sha2-nistp256 
        + n1,n1.nodes.example,127.78.0.1 ssh-ed25519 
        + n1,n1.nodes.example,127.78.0.1 ssh-rsa 
    "#]]
    .assert_eq(&text);
    let json = cluster.run_as("root", "xdsh n1 -o '-p PORT' --json 'echo a; exit 4'");
    assert!(json.contains("\"code\": 4") && json.contains("\"stdout\": \"a\\n\""), "{json}");
}

#[test]
fn files_go_there_and_back() {
    let cluster = Cluster::new();
    std::fs::write(cluster.path("a b$(x).txt"), "content").unwrap();
    for name in ["to", "to2", "from"] {
        std::fs::create_dir(cluster.path(name)).unwrap();
    }
    let top = cluster.directory.path().display().to_string();
    let lines = [
        format!("xdcp n1 -o '-o Port=PORT' '{top}/a b$(x).txt' {top}/to/"),
        format!("xdcp n1 -r /usr/bin/rsync -p -o '-o Port=PORT' '{top}/a b$(x).txt' {top}/to2/"),
        format!("xdcp n1,n2 -o '-o Port=PORT' -P '{top}/to/a b$(x).txt' from"),
        "xdcp n1 -o '-o Port=PORT' nosuch /tmp/nosuchplace".to_owned(),
        "xdcp n1 one".to_owned(),
        "xdcp n1".to_owned(),
        "xdcp n1 -r /bin/cp a b".to_owned(),
        format!("pscp -P PORT 'a b$(x).txt' n1,n5:{top}/to/second"),
        format!("prsync -P PORT 'a b$(x).txt' n1:{top}/to2/second"),
        "pscp -P PORT nosuch n1:/tmp".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let text = cluster.session(&lines);
    let text: String = text
        .lines()
        // What ssh says about a wrong key is long and names files of the run.
        .filter(|line| !line.starts_with("n5: ") || line.contains("failed") || line.contains("closed"))
        .map(|line| format!("{}\n", line.replace(&top, "TOP")))
        .collect();
    expect![[r#"
        $ xdcp n1 -o '-o Port=PORT' 'TOP/a b$(x).txt' TOP/to/

        $ xdcp n1 -r /usr/bin/rsync -p -o '-o Port=PORT' 'TOP/a b$(x).txt' TOP/to2/

        $ xdcp n1,n2 -o '-o Port=PORT' -P 'TOP/to/a b$(x).txt' from

        $ xdcp n1 -o '-o Port=PORT' nosuch /tmp/nosuchplace
        ! Error: [mn]: TOP/nosuch: there is no such file
        rc=1
        $ xdcp n1 one
        ! Error: [mn]: Missing target_path
        rc=1
        $ xdcp n1
        ! Error: [mn]: Missing file arguments
        rc=1
        $ xdcp n1 -r /bin/cp a b
        ! Error: [mn]: TOP/a: there is no such file
        rc=1
        $ pscp -P PORT 'a b$(x).txt' n1,n5:TOP/to/second
        n1: done
        n5: /usr/bin/scp: Connection closed
        n5: Host key verification failed.
        rc=1
        $ prsync -P PORT 'a b$(x).txt' n1:TOP/to2/second
        n1: done
        $ pscp -P PORT nosuch n1:/tmp
        ! Error: TOP/nosuch: there is no such file
        rc=1
    "#]]
    .assert_eq(&text);
    for file in ["to/a b$(x).txt", "to2/a b$(x).txt", "to/second", "to2/second", "from/a b$(x).txt._n1"] {
        assert_eq!(std::fs::read_to_string(cluster.path(file)).unwrap(), "content", "{file}");
    }
}

/// Two machines with different files.
fn machines() -> Cluster {
    let mut cluster = Cluster::new();
    for (node, address) in [("n7", "127.78.0.7"), ("n8", "127.78.0.8")] {
        cluster.machine(node, address);
        cluster.ok(&format!("mkdef {node} groups=all"));
    }
    cluster.ok("chtab key=nodesyncfiledir site.value=/syncfiles");
    for (name, text, mode) in [
        ("src/motd", "welcome\n", 0o640),
        ("src/conf/a", "a\n", 0o644),
        ("src/conf/sub/b", "b\n", 0o600),
        ("src/app.conf", "1\n", 0o644),
        ("src/app.conf.post", "#!/bin/sh\necho app of $NODE begins again\n", 0o755),
        ("src/always.sh", "#!/bin/sh\necho always; exit 3\n", 0o755),
        ("src/n7", "for n7\n", 0o644),
        ("src/hosts", "10.9.9.9 extra", 0o644),
        ("src/users", "dawntest:x:4242:4242::/:/bin/false\n", 0o644),
    ] {
        cluster.write(name, text, mode);
    }
    let top = cluster.directory.path().display().to_string();
    let list = "# Files of all nodes\nTOP/src/motd -> /etc/motd.dawn\nTOP/src/conf/* -> /data/conf\n\
        TOP/src/app.conf TOP/src/app.conf.post -> /etc/app/\nTOP/src/$NODE -> (n7) /etc/only\n\
        EXECUTE:\nTOP/src/app.conf.post\nAPPEND:\nTOP/src/hosts -> /etc/hosts\n\
        MERGE:\nTOP/src/users -> /etc/passwd\n";
    cluster.write("list", &list.replace("TOP", &top), 0o644);
    cluster
}

#[test]
fn synclists_bring_what_differs() {
    let cluster = machines();
    let look = "xdsh n7,n8 -o '-p PORT' 'cat /etc/only /etc/motd.dawn; stat -c %a /etc/motd.dawn; \
        find /data -type f; tail -n 1 /etc/hosts; grep dawntest /etc/passwd'";
    let mut text = cluster.session(&[
        "xdcp n7,n8 -o '-o Port=PORT' -F list --dry-run",
        "xdcp n7,n8 -o '-o Port=PORT' -F list",
        look,
        "xdcp n7,n8 -o '-o Port=PORT' -F list",
    ]);
    cluster.write("src/app.conf", "2\n", 0o644);
    cluster.write("src/hosts", "10.9.9.9 changed\n", 0o644);
    text.push_str(&cluster.session(&[
        "xdcp n7 -o '-o Port=PORT' -F list --dry-run",
        "xdcp n7,n6 -o '-o Port=PORT' -F list --nodestatus",
        "xdsh n7 -o '-p PORT' 'tail -n 1 /etc/hosts; head -n -1 /etc/hosts | cmp - /syncfiles/org/etc/hosts'",
    ]));
    let top = cluster.directory.path().display().to_string();
    cluster.write(
        "always",
        &format!("{top}/src/always.sh -> /data/\nEXECUTEALWAYS:\n{top}/src/always.sh\n"),
        0o644,
    );
    cluster.write("wrong", &format!("{top}/src/motd -> /data/\n\n{top}/src/nosuch -> /data/\n"), 0o644);
    cluster.write("range", &format!("{top}/src/motd -> (nosuch) /data/\n"), 0o644);
    std::fs::create_dir_all(cluster.path("rootimg/usr/share")).unwrap();
    std::os::unix::fs::symlink("/usr", cluster.path("rootimg/data")).unwrap();
    text.push_str(&cluster.session(&[
        "xdcp n7,n8 -o '-o Port=PORT' -F always",
        "xdcp n7 -F nosuch",
        "xdcp n7 -F wrong",
        "xdcp n7 -F range",
        "xdcp n7 -F list -r /usr/bin/scp",
        "xdcp n7 -F list -s",
        "xdcp n7 -s a b",
        "xdcp -i rootimg a",
        "xdcp -i nosuch -F list",
        "xdcp -i rootimg -F list --dry-run",
        "xdcp -i rootimg -F list",
        "xdcp n7 -i rootimg -F list",
    ]));
    // What rsync says about a lost connection has its version and lines of its source.
    let text: String =
        text.lines().filter(|line| !line.starts_with("n6: rsync")).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        $ xdcp n7,n8 -o '-o Port=PORT' -F list --dry-run
        n7: would append to /etc/hosts
        n7: would merge into /etc/passwd
        n7: would run TOP/src/app.conf.post
        n7: would update /data/conf/a
        n7: would update /data/conf/sub/b
        n7: would update /etc/app/app.conf
        n7: would update /etc/app/app.conf.post
        n7: would update /etc/motd.dawn
        n7: would update /etc/only
        n7: would update /syncfiles/appendTOP/src/hosts
        n7: would update /syncfiles/merge/mergefilesTOP/src/users
        n8: would append to /etc/hosts
        n8: would merge into /etc/passwd
        n8: would run TOP/src/app.conf.post
        n8: would update /data/conf/a
        n8: would update /data/conf/sub/b
        n8: would update /etc/app/app.conf
        n8: would update /etc/app/app.conf.post
        n8: would update /etc/motd.dawn
        n8: would update /syncfiles/appendTOP/src/hosts
        n8: would update /syncfiles/merge/mergefilesTOP/src/users
        $ xdcp n7,n8 -o '-o Port=PORT' -F list
        n7: TOP/src/app.conf
        n7: TOP/src/app.conf.post
        n7: TOP/src/conf/a
        n7: TOP/src/conf/sub/b
        n7: TOP/src/hosts
        n7: TOP/src/motd
        n7: TOP/src/n7
        n7: TOP/src/users
        n7: app of n7 begins again
        n8: TOP/src/app.conf
        n8: TOP/src/app.conf.post
        n8: TOP/src/conf/a
        n8: TOP/src/conf/sub/b
        n8: TOP/src/hosts
        n8: TOP/src/motd
        n8: TOP/src/users
        n8: app of n8 begins again
        $ xdsh n7,n8 -o '-p PORT' 'cat /etc/only /etc/motd.dawn; stat -c %a /etc/motd.dawn; find /data -type f; tail -n 1 /etc/hosts; grep dawntest /etc/passwd'
        ! [mn]: n8: cat: /etc/only: No such file or directory
        n7: /data/conf/a
        n7: /data/conf/sub/b
        n7: 10.9.9.9 extra
        n7: 640
        n7: dawntest:x:4242:4242::/:/bin/false
        n7: for n7
        n7: welcome
        n8: /data/conf/a
        n8: /data/conf/sub/b
        n8: 10.9.9.9 extra
        n8: 640
        n8: dawntest:x:4242:4242::/:/bin/false
        n8: welcome
        $ xdcp n7,n8 -o '-o Port=PORT' -F list

        $ xdcp n7 -o '-o Port=PORT' -F list --dry-run
        n7: would append to /etc/hosts
        n7: would run TOP/src/app.conf.post
        n7: would update /etc/app/app.conf
        n7: would update /syncfiles/appendTOP/src/hosts
        $ xdcp n7,n6 -o '-o Port=PORT' -F list --nodestatus
        n6: Remote_command_failed, error_code=255
        n6: ssh: connect to host 127.78.0.6 port PORT: Connection refused
        n7: Remote_command_successful
        n7: TOP/src/app.conf
        n7: TOP/src/hosts
        n7: app of n7 begins again
        rc=1
        $ xdsh n7 -o '-p PORT' 'tail -n 1 /etc/hosts; head -n -1 /etc/hosts | cmp - /syncfiles/org/etc/hosts'
        n7: 10.9.9.9 changed
        $ xdcp n7,n8 -o '-o Port=PORT' -F always
        n7: TOP/src/always.sh
        n7: always
        n8: TOP/src/always.sh
        n8: always
        rc=2
        $ xdcp n7 -F nosuch
        ! Error: [mn]: File:TOP/nosuch does not exist.
        rc=1
        $ xdcp n7 -F wrong
        ! Error: [mn]: TOP/wrong, line 3: File:TOP/src/nosuch does not exist.
        rc=1
        $ xdcp n7 -F range
        ! Error: [mn]: TOP/range, line 1: Invalid nodes and/or groups in noderange: nosuch
        rc=1
        $ xdcp n7 -F list -r /usr/bin/scp
        ! Error: [mn]: Remote command: /usr/bin/scp is invalid: the files of synclists are copied by rsync
        rc=1
        $ xdcp n7 -F list -s
        ! Error: [mn]: there are no service nodes: without -s the files go to the nodes
        rc=1
        $ xdcp n7 -s a b
        ! Error: [mn]: If -s option is use, then -F must point to the syncfile.
        rc=1
        $ xdcp -i rootimg a
        ! Error: Invalid nodes and/or groups in noderange: a
        rc=1
        $ xdcp -i nosuch -F list
        ! Error: [mn]: Input image directory TOP/nosuch does not exist.
        rc=1
        $ xdcp -i rootimg -F list --dry-run
        would update /etc/app/app.conf
        would update /etc/app/app.conf.post
        would update /etc/motd.dawn
        would update /usr/conf/a
        would update /usr/conf/sub/b
        $ xdcp -i rootimg -F list

        $ xdcp n7 -i rootimg -F list
        ! Error: [mn]: -i is for the tree of an image: give no noderange with it
        rc=1
    "#]].assert_eq(&text);
    assert_eq!(std::fs::read_to_string(cluster.path("rootimg/usr/conf/sub/b")).unwrap(), "b\n");
    assert!(cluster.path("rootimg/data").is_symlink());
    let json = cluster.run_as("root", "xdcp n7 -o '-o Port=PORT' -F always --json");
    assert!(json.contains("\"code\": 3") && json.contains("\"status\": \"failed\""), "{json}");
}

#[test]
fn updatenode_brings_files_and_runs_scripts() {
    let cluster = machines();
    let top = cluster.directory.path().display().to_string();
    for (name, text) in [
        ("hello", "#!/bin/sh\n./lib/helper \"$1\"; cat; pwd; echo $NODE $UPDATENODE\n"),
        ("lib/helper", "#!/bin/sh\necho helped $1\n"),
        ("bad", "#!/bin/sh\necho bad >&2; exit 3\n"),
        ("ospkgs", "#!/bin/sh\necho packages $OSPKGS\n"),
        ("otherpkgs", "#!/bin/sh\necho others $OTHERPKGS_INDEX\n"),
    ] {
        cluster.write(&format!("install/postscripts/{name}"), text, 0o644);
    }
    cluster.ok(&format!("chtab key=installdir site.value={top}/install"));
    cluster.ok(&format!("chtab imagename=im osimage.provmethod=install osimage.synclists={top}/list"));
    cluster.ok("chtab imagename=net osimage.provmethod=netboot");
    cluster.ok("chtab node=n7 nodetype.provmethod=im postscripts.postscripts='hello a'");
    cluster.ok("chtab node=n8 nodetype.provmethod=net postscripts.postbootscripts='hello b'");
    let status = "nodels n6-n8 nodelist.updatestatus";
    let with = "--node-options '-o Port=PORT'";
    let mut text = String::new();
    for line in [
        format!("updatenode n7,n8 -P 'hello a,bad' {with}"),
        status.to_owned(),
        format!("updatenode n7 hello {with}"),
        format!("updatenode n8 -P postbootscripts-start-here {with}"),
        format!("updatenode n7 -F {with} --dry-run"),
        format!("updatenode n7,n8 -F {with} -V"),
        format!("updatenode n7,n8 {with}"),
        format!("updatenode n6 -P hello {with} -V"),
        status.to_owned(),
        format!("updatenode n7 -S {with}"),
        format!("updatenode n7,n8 -S {with}"),
        format!("updatenode n6 -F {with}"),
        "updatenode n7 -P nosuch".to_owned(),
        "updatenode n7 -P 'hello $(id)'".to_owned(),
        "updatenode n7 -P hello,node-postscripts-start-here".to_owned(),
        "updatenode n7 -F -f".to_owned(),
        "updatenode n7 -f".to_owned(),
        "updatenode n7 -k -S".to_owned(),
        "updatenode n7 -g".to_owned(),
        "updatenode n7 -S --dry-run".to_owned(),
        "updatenode nosuch -F".to_owned(),
    ] {
        text.push_str(&cluster.session(&[line.as_str()]));
    }
    expect![[r#"
        $ updatenode n7,n8 -P 'hello a,bad' --node-options '-o Port=PORT'
        n7: /xcatpost
        n7: =============updatenode ending====================
        n7: =============updatenode starting====================
        n7: Running of postscripts has completed.
        n7: bad
        n7: helped a
        n7: n7 1
        n7: postscript end....: bad exited with code 3
        n7: postscript end....: hello exited with code 0
        n7: postscript start..: bad
        n7: postscript start..: hello
        n8: /xcatpost
        n8: =============updatenode ending====================
        n8: =============updatenode starting====================
        n8: Running of postscripts has completed.
        n8: bad
        n8: helped a
        n8: n8 1
        n8: postscript end....: bad exited with code 3
        n8: postscript end....: hello exited with code 0
        n8: postscript start..: bad
        n8: postscript start..: hello
        rc=1
        $ nodels n6-n8 nodelist.updatestatus
        n6: 
        n7: failed
        n8: failed
        $ updatenode n7 hello --node-options '-o Port=PORT'
        n7: /xcatpost
        n7: =============updatenode ending====================
        n7: =============updatenode starting====================
        n7: Running of postscripts has completed.
        n7: helped
        n7: n7 1
        n7: postscript end....: hello exited with code 0
        n7: postscript start..: hello
        $ updatenode n8 -P postbootscripts-start-here --node-options '-o Port=PORT'
        n8: /xcatpost
        n8: =============updatenode ending====================
        n8: =============updatenode starting====================
        n8: Running of postscripts has completed.
        n8: helped b
        n8: n8 1
        n8: others 0
        n8: postscript end....: hello exited with code 0
        n8: postscript end....: otherpkgs exited with code 0
        n8: postscript start..: hello
        n8: postscript start..: otherpkgs
        $ updatenode n7 -F --node-options '-o Port=PORT' --dry-run
        n7: would append to /etc/hosts
        n7: would merge into /etc/passwd
        n7: would run TOP/src/app.conf.post
        n7: would update /data/conf/a
        n7: would update /data/conf/sub/b
        n7: would update /etc/app/app.conf
        n7: would update /etc/app/app.conf.post
        n7: would update /etc/motd.dawn
        n7: would update /etc/only
        n7: would update /syncfiles/appendTOP/src/hosts
        n7: would update /syncfiles/merge/mergefilesTOP/src/users
        $ updatenode n7,n8 -F --node-options '-o Port=PORT' -V
        [mn]:   mn: Internal call command: xdcp n7 -F TOP/list
        [mn]: File synchronization has completed for nodes: "n7"
        [mn]: n7: TOP/src/conf/a
        n7: TOP/src/app.conf
        n7: TOP/src/app.conf.post
        n7: TOP/src/conf/sub/b
        n7: TOP/src/hosts
        n7: TOP/src/motd
        n7: TOP/src/n7
        n7: TOP/src/users
        n7: app of n7 begins again
        $ updatenode n7,n8 --node-options '-o Port=PORT'
        File synchronization has completed for nodes: "n7"
        Performing software maintenance operations. This could take a while, if there are packages to install.
        n7: /xcatpost
        n7: =============updatenode ending====================
        n7: =============updatenode ending====================
        n7: =============updatenode starting====================
        n7: =============updatenode starting====================
        n7: DATE remoteshell does NOT exist.
        n7: DATE syncfiles does NOT exist.
        n7: DATE syslog does NOT exist.
        n7: Running of Software Maintenance has completed.
        n7: Running of postscripts has completed.
        n7: helped a
        n7: n7 1
        n7: others 0
        n7: others 0
        n7: packages
        n7: postscript end....: hello exited with code 0
        n7: postscript end....: ospkgs exited with code 0
        n7: postscript end....: otherpkgs exited with code 0
        n7: postscript end....: otherpkgs exited with code 0
        n7: postscript start..: hello
        n7: postscript start..: ospkgs
        n7: postscript start..: otherpkgs
        n7: postscript start..: otherpkgs
        n8: /xcatpost
        n8: =============updatenode ending====================
        n8: =============updatenode starting====================
        n8: DATE remoteshell does NOT exist.
        n8: DATE syncfiles does NOT exist.
        n8: DATE syslog does NOT exist.
        n8: Running of postscripts has completed.
        n8: helped b
        n8: n8 1
        n8: others 0
        n8: postscript end....: hello exited with code 0
        n8: postscript end....: otherpkgs exited with code 0
        n8: postscript start..: hello
        n8: postscript start..: otherpkgs
        rc=1
        $ updatenode n6 -P hello --node-options '-o Port=PORT' -V
        ! n6: [mn]: Error: ssh: connect to host n6 port PORT: Connection refused
        [mn]:   mn: Internal call command: xdsh n6 -s -e /install/postscripts
        rc=1
        $ nodels n6-n8 nodelist.updatestatus
        n6: failed
        n7: failed
        n8: failed
        $ updatenode n7 -S --node-options '-o Port=PORT'
        Performing software maintenance operations. This could take a while, if there are packages to install.
        n7: =============updatenode ending====================
        n7: =============updatenode starting====================
        n7: Running of Software Maintenance has completed.
        n7: others 0
        n7: packages
        n7: postscript end....: ospkgs exited with code 0
        n7: postscript end....: otherpkgs exited with code 0
        n7: postscript start..: ospkgs
        n7: postscript start..: otherpkgs
        $ updatenode n7,n8 -S --node-options '-o Port=PORT'
        ! Error: [mn]: updatenode command does not support software maintenance to diskless node.
        ! Hint: A diskless node has the software of its image: `genimage`, `packimage`, and boot it again.
        rc=1
        $ updatenode n6 -F --node-options '-o Port=PORT'
        There were no syncfiles defined to process. File synchronization has completed.
        $ updatenode n7 -P nosuch
        ! Error: [mn]: The postscript /install/postscripts/nosuch does not exist.
        rc=1
        $ updatenode n7 -P 'hello $(id)'
        ! Error: [mn]: 'hello $(id)': the node's shell would run more than the script (; & | < > ( ) ` \); write a script that does it
        rc=1
        $ updatenode n7 -P hello,node-postscripts-start-here
        ! Error: [mn]: Only one internal postscript can be used with -P.
        rc=1
        $ updatenode n7 -F -f
        ! Error: [mn]: You can not specify both the -f and -F flags.
        rc=1
        $ updatenode n7 -f
        ! Error: [mn]: There are no servicenodes to process for the noderange in the updatenode -f command.
        rc=1
        $ updatenode n7 -k -S
        ! Error: [mn]: If you use the -k flag, you cannot specify the -S,-P,-f or -F flags.
        rc=1
        $ updatenode n7 -g
        ! Error: [mn]: This option is only valid if site table precreatemypostscripts attribute is 1 or YES
        rc=1
        $ updatenode n7 -S --dry-run
        ! Error: [mn]: --dry-run is for files: updatenode NODERANGE -F --dry-run
        rc=1
        $ updatenode nosuch -F
        ! Error: Invalid nodes and/or groups in noderange: nosuch
        rc=1
    "#]].assert_eq(&text);
}

#[test]
fn policy_and_the_rights_of_root() {
    let cluster = Cluster::new();
    let data = cluster.path("data");
    let made =
        cluster.dawn("root", &["init", "--data", &data.display().to_string(), "--client", "bob"]).output();
    assert!(made.unwrap().status.success());
    std::fs::create_dir(cluster.path("bob")).unwrap();
    let copied =
        Command::new("cp").arg("-a").arg(data.join("clients/bob")).arg(cluster.path("bob/.xcat")).status();
    assert!(copied.unwrap().success());
    let bob = |line: &str| format!("$ {line}\n{}", cluster.run_as("bob", line));
    let mut text = bob("xdsh n1 -o '-p PORT' true");
    cluster.ok("mkdef -t policy -o 7 name=bob commands=xdsh,sshtargets noderange=n1 rule=allow");
    for line in [
        "xdsh n1 -o '-p PORT' true",
        "xdsh n1,n2 -o '-p PORT' true",
        "xdsh n1 -l root true",
        "xdsh n1 -o '-oProxyCommand=touch mark' true",
        "xdsh n1 -r /bin/sh true",
        "xdsh n1 -e script",
        "xdsh n1 -E /etc/shadow true",
        "xdsh n1 -K",
        "xdcp n1 /etc/shadow /tmp",
        "makeknownhosts n1",
        "psh -p PORT n2 true",
        "psh -p PORT n1 true",
    ] {
        text.push_str(&bob(line));
    }
    expect![[r#"
        $ xdsh n1 -o '-p PORT' true
        ! Error: [mn]: Permission denied for request
        rc=1
        $ xdsh n1 -o '-p PORT' true
        ! [mn]: n1: bob@n1: Permission denied (publickey,password,keyboard-interactive).
        rc=1
        $ xdsh n1,n2 -o '-p PORT' true
        ! Error: [mn]: Permission denied for request
        rc=1
        $ xdsh n1 -l root true
        ! Error: [mn]: only root may run commands as another user: you are bob, not root
        ! Hint: `psh -l root` logs in with your own keys.
        rc=1
        $ xdsh n1 -o '-oProxyCommand=touch mark' true
        ! Error: [mn]: -o with anything but a port or a time is for root: the daemon would use it with root's rights on its own machine
        ! Hint: `psh`, `pscp` and `prsync` run as yourself.
        rc=1
        $ xdsh n1 -r /bin/sh true
        ! Error: [mn]: -r is for root: the daemon would use it with root's rights on its own machine
        ! Hint: `psh`, `pscp` and `prsync` run as yourself.
        rc=1
        $ xdsh n1 -e script
        ! Error: [mn]: -e is for root: the daemon would use it with root's rights on its own machine
        ! Hint: `psh`, `pscp` and `prsync` run as yourself.
        rc=1
        $ xdsh n1 -E /etc/shadow true
        ! Error: [mn]: -E is for root: the daemon would use it with root's rights on its own machine
        ! Hint: `psh`, `pscp` and `prsync` run as yourself.
        rc=1
        $ xdsh n1 -K
        ! Error: [mn]: -K is for root: the daemon would use it with root's rights on its own machine
        ! Hint: `psh`, `pscp` and `prsync` run as yourself.
        rc=1
        $ xdcp n1 /etc/shadow /tmp
        ! Error: [mn]: Permission denied for request
        rc=1
        $ makeknownhosts n1
        ! Error: [mn]: Permission denied for request
        rc=1
        $ psh -p PORT n2 true
        ! Error: Permission denied for request
        rc=1
        $ psh -p PORT n1 true
        ! n1: *** ssh exited with error code 255.
        n1: bob@127.78.0.1: Permission denied (publickey,password,keyboard-interactive).
        rc=1
    "#]].assert_eq(&text);
    assert!(!cluster.path("mark").exists());
}

#[test]
fn an_interrupted_client_ends_the_remote_command() {
    let cluster = Cluster::new();
    let alive = |mark: &str| {
        let id = std::fs::read_to_string(cluster.path(mark)).unwrap();
        Path::new("/proc").join(id.trim()).exists()
    };
    for (name, before) in [("xdsh", "xdsh n1 -o '-p PORT'"), ("psh", "psh -p PORT n1")] {
        let mark = format!("mark_{name}");
        let place = cluster.path(&mark).display().to_string();
        let line = format!("{before} 'echo $$ > {place}.new; mv {place}.new {place}; sleep 3000; true'");
        let line = line.replace("PORT", &cluster.ssh_port.to_string());
        let words = split(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut client =
            cluster.dawn("root", &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the command does not begin", || cluster.path(&mark).exists());
        let id = i32::try_from(client.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        client.wait().unwrap();
        wait_for("the command goes on", || !alive(&mark));
    }
}
