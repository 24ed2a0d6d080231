//! What the tests of the real executable share: how it is started, its daemon, its client, and waiting.

use dawn_test_ports::free_port;
use dawn_xcatd::Request;
use dawn_xcatd::client::{self, ClientSettings};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `dawn` with nothing of this process's environment, as root with this home.
pub(crate) fn dawn(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dawn"));
    command.env_clear().env("HOME", home).env("USER", "root").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
    command
}

/// Starts a daemon and waits until it is ready. Its log goes to the file.
pub(crate) fn ready(serve: &mut Command, log: Option<&Path>) -> Child {
    let errors = log.map_or_else(Stdio::null, |log| File::create(log).unwrap().into());
    let mut child = serve.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
    let said = || log.map(|log| std::fs::read_to_string(log).unwrap());
    assert_eq!(first_line(&mut child.stdout), "ready\n", "{:?}", said());
    child
}

pub(crate) fn first_line(stream: &mut Option<impl Read>) -> String {
    let mut line = String::new();
    BufReader::new(stream.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

/// Everything a program printed.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a program of the system, which must succeed.
pub(crate) fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}: {status}");
}

pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A data directory with its user's home, made by `dawn init`.
pub(crate) struct Site {
    pub data: PathBuf,
    pub home: PathBuf,
    /// `XCATCFG`: the database server, if it is not SQLite.
    pub database: Option<String>,
}

impl Site {
    pub(crate) fn new(directory: &Path, database: Option<String>) -> Site {
        let site = Site { data: directory.join("data"), home: directory.join("home"), database };
        std::fs::create_dir_all(&site.home).unwrap();
        let mut init = site.command();
        let output = init.args(["init", "--master", "127.0.0.1", "--data"]).arg(&site.data).output().unwrap();
        assert!(output.status.success(), "{}", printed(&output));
        site
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = dawn(&self.home);
        command.envs(self.database.iter().map(|line| ("XCATCFG", line)));
        command
    }

    /// A daemon for commands, and the port where it takes them.
    pub(crate) fn serve(&self) -> (Command, u16) {
        self.serve_with("xcatd", free_port())
    }

    fn serve_with(&self, services: &str, status: u16) -> (Command, u16) {
        let commands = free_port();
        let mut command = self.command();
        command.args(["serve", "--services", services, "--xcatd-port", &commands.to_string()]);
        command.args(["--status-port", &status.to_string(), "--data"]).arg(&self.data);
        (command, commands)
    }

    pub(crate) fn start(&self) -> Daemon {
        self.start_logged(None)
    }

    /// The same; everything that can be logged goes to the file.
    pub(crate) fn start_logged(&self, log: Option<&Path>) -> Daemon {
        self.start_with_services("xcatd", log)
    }

    /// The same with these services.
    pub(crate) fn start_with_services(&self, services: &str, log: Option<&Path>) -> Daemon {
        let status_port = free_port();
        let (mut command, port) = self.serve_with(services, status_port);
        command.env("DAWN_LOG", "debug");
        let settings = ClientSettings {
            host: format!("127.0.0.1:{port}"),
            certificates: self.home.join(".xcat"),
            show_source: false,
            show_xml: false,
            trace: false,
            has_terminal: false,
            bypass: false,
        };
        Daemon { child: ready(&mut command, log), settings, status_port }
    }
}

/// Asks a daemon over TLS: what the command prints and its exit code.
pub(crate) fn ask(settings: &ClientSettings, line: &str, stop: &AtomicBool) -> (String, i32) {
    let mut words = line.split(' ').map(str::to_owned);
    let command = words.next().unwrap();
    let request = Request { command, args: words.collect(), ..Request::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = client::run(settings, &request, stop, &mut out, &mut err);
    out.append(&mut err);
    (String::from_utf8_lossy(&out).into_owned(), code)
}

/// `dawn serve` as a separate process.
pub(crate) struct Daemon {
    child: Child,
    pub settings: ClientSettings,
    /// Where nodes report.
    pub status_port: u16,
}

impl Daemon {
    /// Runs a command over TLS: what it prints and its exit code.
    pub(crate) fn run(&self, line: &str) -> (String, i32) {
        self.run_until(line, &AtomicBool::new(false))
    }

    /// The same; the client stops when the flag is set.
    pub(crate) fn run_until(&self, line: &str, stop: &AtomicBool) -> (String, i32) {
        ask(&self.settings, line, stop)
    }

    pub(crate) fn ok(&self, line: &str) -> String {
        let (text, code) = self.run(line);
        assert_eq!(code, 0, "{line}: {text}");
        text
    }

    pub(crate) fn site(&self, key: &str) -> String {
        self.ok(&format!("gettab key={key} site.value")).trim_end().to_owned()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) {
        run(&format!("kill -TERM {}", self.child.id()));
        self.child.wait().unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
