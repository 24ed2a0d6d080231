//! The servers that are compared: how each is started, and what CPU time it used.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{ADDRESS, Bench, Outcome};

/// The port of HTTP servers.
pub(crate) const HTTP_PORT: u16 = 8080;
/// Time a server gets to start.
const START_TIME: Duration = Duration::from_millis(700);

/// A running server on CPU 0.
pub(crate) struct Server {
    /// Its name in reports.
    pub name: &'static str,
    child: Child,
    group: Group,
}

impl Server {
    fn start(name: &'static str, program: &Path, arguments: &[String]) -> Outcome<Option<Self>> {
        if !program.exists() {
            println!("({name} is not installed)");
            return Ok(None);
        }
        let group = Group::new()?;
        let child = Command::new("sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec taskset -c 0 \"$@\""])
            .arg(&group.dir)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(START_TIME);
        Ok(Some(Self { name, child, group }))
    }

    /// CPU seconds so far, with children living or dead.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.group.cpu_s()
    }
}

/// A control group that counts the CPU time of a server with all its children.
struct Group {
    dir: PathBuf,
}

impl Group {
    /// In the cpuacct tree of version 1, or in the one tree of version 2.
    fn new() -> Outcome<Self> {
        let old = Path::new("/sys/fs/cgroup/cpuacct");
        let base = if old.is_dir() { old } else { Path::new("/sys/fs/cgroup") };
        let dir = base.join(format!("dawn-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    fn cpu_s(&self) -> f64 {
        if let Ok(nanoseconds) = std::fs::read_to_string(self.dir.join("cpuacct.usage")) {
            return nanoseconds.trim().parse::<f64>().unwrap_or(0.0) / 1e9;
        }
        let stat = std::fs::read_to_string(self.dir.join("cpu.stat")).unwrap_or_default();
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        usage.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
    }

    fn kill(&self) {
        let pids = std::fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        for pid in
            pids.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.group.kill();
        // Ended by the signal, as was meant.
        let _ = self.child.wait();
        // The group empties a moment after its processes end; left behind, the next run uses it again.
        std::thread::sleep(Duration::from_millis(100));
        let _ = std::fs::remove_dir(&self.group.dir);
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Starts the TFTP servers in turn.
pub(crate) fn tftp_servers(bench: &Bench) -> Vec<Box<dyn Fn() -> Outcome<Option<Server>> + '_>> {
    let dir = bench.files().display().to_string();
    let (hpa, dnsmasq, atftpd) = (dir.clone(), dir.clone(), dir);
    vec![
        Box::new(|| dawn(bench)),
        Box::new(move || {
            let arguments = words(&format!("-L -a {ADDRESS}:69 -u root -s {hpa}"));
            Server::start("tftpd-hpa", Path::new("/usr/sbin/in.tftpd"), &arguments)
        }),
        Box::new(move || {
            let arguments = words(&format!(
                "-k --conf-file=/dev/null --port=0 --user=root --pid-file= --bind-interfaces \
                 --listen-address={ADDRESS} --enable-tftp --tftp-root={dnsmasq} --tftp-max=5000 --log-facility=/dev/null"
            ));
            Server::start("dnsmasq", Path::new("/usr/sbin/dnsmasq"), &arguments)
        }),
        Box::new(move || {
            let arguments = words(&format!(
                "--daemon --no-fork --bind-address {ADDRESS} --port 69 --maxthread 5000 --user root.root \
                 --verbose=0 {atftpd}"
            ));
            Server::start("atftpd", &bench.atftpd, &arguments)
        }),
    ]
}

/// Starts the HTTP servers in turn.
pub(crate) fn http_servers(bench: &Bench) -> Vec<Box<dyn Fn() -> Outcome<Option<Server>> + '_>> {
    vec![Box::new(|| dawn(bench)), Box::new(|| nginx(bench))]
}

fn dawn(bench: &Bench) -> Outcome<Option<Server>> {
    let dir = bench.files().display();
    let arguments = words(&format!("serve {dir} {ADDRESS}:69 {ADDRESS}:{HTTP_PORT}"));
    Server::start("dawn", &bench.this_program, &arguments)
}

fn nginx(bench: &Bench) -> Outcome<Option<Server>> {
    let dir = bench.files().display();
    let config = bench.files().join("nginx.conf");
    std::fs::write(
        &config,
        format!(
            "daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n\
             server {{ listen {ADDRESS}:{HTTP_PORT}; root {dir}; }} }}\n"
        ),
    )?;
    let arguments = ["-c".to_owned(), config.display().to_string()];
    Server::start("nginx", Path::new("/usr/sbin/nginx"), &arguments)
}
