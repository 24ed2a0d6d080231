//! A daemon without sockets for command tests: words in, what the client would print out.

use crate::environment::Environment;
use crate::registry::registry;
use crate::requests::request_for;
use crate::{init, local, serve};
use dawn_bootd::answers;
use dawn_bootd::boot_services::{BootServices, Destiny, Lease, RenderedFile};
use dawn_bootd::command::Registry;
use dawn_bootd::daemon::{Daemon, Settings};
use dawn_bootd::database::Place;
use dawn_bootd::dhcp::{self, Answers};
use dawn_bootd::discovery::Discovery;
use dawn_bootd::first_stage::Missing;
use dawn_bootd::output::Out;
use dawn_bootd::unready::{Advice, Unready};
use dawn_bootd::watch::Watcher;
use dawn_cluster::{Change, Edit, Model, Snapshot, col};
use dawn_events::{Bus, Event, WaveReport};
use dawn_hardware::console::Hub;
use dawn_plan::destiny::STANDBY;
use dawn_plan::{self as plan, LocalAddresses, PackedRoots, Plan, PlanError, Ports, Surroundings};
use dawn_xcatd::dispatch::handle;
use dawn_xcatd::node_status::NodeReport;
use dawn_xcatd::render::{Stream, render};
use dawn_xcatd::{Peer, Response};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A daemon on an empty model in memory.
pub(crate) struct Bed {
    pub(crate) daemon: Daemon,
    pub(crate) model: Arc<Model>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) discovery: Arc<Discovery>,
    /// What nodes did.
    pub(crate) bus: Arc<Bus>,
    pub(crate) directory: tempfile::TempDir,
}

/// One edit as `table key=value… column=value…`; keys are known from the schema.
fn edit(line: &str) -> Edit {
    let mut words = words(line).into_iter();
    let table = words.next().expect("a table");
    let info = dawn_cluster::schema().find(&table).expect("a known table");
    let pairs: Vec<(String, String)> = words
        .map(|word| word.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("column=value"))
        .collect();
    let is_key = |name: &str| info.key_names().any(|key| key == name);
    let pick = |keys: bool| -> Vec<(&str, &str)> {
        pairs.iter().filter(|(n, _)| is_key(n) == keys).map(|(n, v)| (n.as_str(), v.as_str())).collect()
    };
    Edit::set(&table, &pick(true), &pick(false)).expect("an edit")
}

/// Words as a shell splits them, with single quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut list, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    list.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        list.push(word);
    }
    list
}

impl Bed {
    /// A model with these rows, each as `table column=value…`.
    pub(crate) fn new(rows: &str) -> Bed {
        Self::with(
            Model::in_memory().expect("a model"),
            tempfile::tempdir().expect("a directory"),
            None,
            rows,
        )
    }

    /// The same with `commands.log` in the bed's directory.
    pub(crate) fn logged(rows: &str) -> Bed {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("commands.log");
        Self::with(Model::in_memory().expect("a model"), directory, Some(log), rows)
    }

    /// The same with a database in the bed's directory.
    pub(crate) fn on_disk(rows: &str) -> Bed {
        let directory = tempfile::tempdir().expect("a directory");
        Self::with(Model::open(directory.path()).expect("a model"), directory, None, rows)
    }

    fn with(model: Model, directory: tempfile::TempDir, commands_log: Option<PathBuf>, rows: &str) -> Bed {
        let model = Arc::new(model);
        let edits: Vec<Edit> =
            rows.lines().map(str::trim).filter(|line| !line.is_empty()).map(edit).collect();
        model.apply(Change::new("test", "rows", edits)).expect("rows");
        let hosts = directory.path().join("hosts").to_string_lossy().into_owned();
        let settings = Settings {
            host: "mn1".into(),
            commands_log,
            hosts_file: hosts,
            database: Place { engine: "SQLite".into(), ..Place::default() },
            data: Some(directory.path().to_owned()),
        };
        let registry = Arc::new(registry());
        let bus = Arc::<Bus>::default();
        let watcher = Arc::new(Watcher::new(Arc::clone(&model), Arc::clone(&bus)));
        let discovery = Arc::new(Discovery::new(Arc::clone(&model), watcher));
        let boot = NoBoot { discovery: Arc::clone(&discovery) };
        let daemon = Daemon::new(Arc::clone(&model), Arc::new(boot), Arc::clone(&registry), settings);
        Bed { daemon, model, registry, discovery, bus, directory }
    }

    /// Runs a command line: standard output, then lines of standard error with `! ` in front, then the
    /// exit code if it is not 0.
    pub(crate) fn run(&self, line: &str) -> String {
        self.run_with(line, None)
    }

    /// The same with piped text.
    pub(crate) fn run_with(&self, line: &str, stdin: Option<&str>) -> String {
        self.run_as(line, stdin, Some("root"), None)
    }

    /// The same as another user, or a node's address without certificate.
    pub(crate) fn run_as(
        &self,
        line: &str,
        stdin: Option<&str>,
        user: Option<&str>,
        ip: Option<&str>,
    ) -> String {
        let mut words = words(line);
        let name = words.remove(0);
        let directory = self.directory.path();
        // A command in the process of its caller finds no daemon.
        let variables = [("XCATHOST", "127.0.0.1:1".to_owned()), ("HOME", directory.display().to_string())];
        let environment = Environment {
            directory: directory.to_owned(),
            variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            piped: stdin.map(str::to_owned),
            ..Environment::default()
        };
        if name == "serve" {
            let Err(said) = serve::read(&words) else { panic!("a session starts no daemon: {words:?}") };
            let responses = [
                Response { info: vec![said.text.trim_end().to_owned()], ..Response::default() },
                said.error.map_or_else(Response::default, |error| Response::error(error, Some(said.code))),
            ];
            return show(&responses);
        }
        let init = (name == "init").then_some(&init::LOCAL);
        if let Some(local) = local::find(&name).or(init) {
            let mut responses: Vec<Response> = Vec::new();
            let words = local.entry.in_full(&words);
            local.run_into(&words, &environment, &self.registry, &mut Out::new(&mut responses));
            return show(&responses);
        }
        let entry = self.registry.find_request(&name).expect("a command");
        let mut request = request_for(entry, &words, &environment);
        request.stdin = stdin.map(str::to_owned);
        self.send(request, user, ip)
    }

    /// The elements of a request as another client sends them, by root.
    pub(crate) fn run_xml(&self, elements: &str) -> String {
        let text = format!("<xcatrequest>{elements}</xcatrequest>");
        self.send(dawn_xcatd::Request::parse(&text).expect("a request"), Some("root"), None)
    }

    /// The same from a user or from a node's address; what comes back is the XML between `<xcatresponse>` and
    /// its end.
    pub(crate) fn xml_for(&self, elements: &str, user: Option<&str>, ip: Option<&str>) -> String {
        let text = format!("<xcatrequest>{elements}</xcatrequest>");
        let mut out = String::new();
        for response in self.answer(dawn_xcatd::Request::parse(&text).expect("a request"), user, ip) {
            response.write(&mut out);
        }
        let frame = |line: &&str| !line.contains("xcatresponse>") && !line.contains("<xcatdsource>");
        out.lines().filter(frame).map(|line| format!("{line}\n")).collect()
    }

    fn send(&self, request: dawn_xcatd::Request, user: Option<&str>, ip: Option<&str>) -> String {
        show(&self.answer(request, user, ip))
    }

    fn answer(&self, request: dawn_xcatd::Request, user: Option<&str>, ip: Option<&str>) -> Vec<Response> {
        let ip = ip.map(|ip| ip.parse().expect("an address"));
        let peer = Peer { ip, certificate_name: user.map(str::to_owned), ..Peer::default() };
        let mut responses: Vec<Response> = Vec::new();
        handle(&self.daemon, request, peer, &mut responses);
        responses
    }
}

fn show(responses: &[Response]) -> String {
    let (mut out, mut err) = (String::new(), String::new());
    let mut code = 0;
    for response in responses {
        // What the wire does to a response is part of the test.
        let mut text = String::new();
        response.write(&mut text);
        let response = Response::parse(&text).expect("our own response");
        code |= response.exit_code();
        for piece in render(&response, false) {
            match piece.stream {
                Stream::Out => out.push_str(&piece.text),
                Stream::Err => err.push_str(&piece.text),
            }
        }
    }
    for line in err.lines() {
        out.push_str(&format!("! {line}\n"));
    }
    if code != 0 {
        out.push_str(&format!("rc={code}\n"));
    }
    out
}

/// Runs lines on one bed and joins what they print, each below its line.
pub(crate) fn session(rows: &str, lines: &str) -> String {
    let bed = Bed::new(rows);
    let mut text = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // `bob$ …` runs as bob, `@10.0.0.1$ …` from that address without certificate, and
        // `… <<< text` pipes the text (`\n` is a line end).
        let caller = line.split_once("$ ").filter(|(who, _)| !who.contains(' '));
        let output = match caller {
            Some((who, line)) => match who.strip_prefix('@') {
                Some(ip) => bed.run_as(line, None, None, Some(ip)),
                None => bed.run_as(line, None, Some(who), None),
            },
            None => match line.split_once(" <<< ") {
                Some((line, text)) => bed.run_with(line, Some(&text.replace("\\n", "\n"))),
                None => bed.run(line),
            },
        };
        let shown = if caller.is_some() { line.to_owned() } else { format!("$ {line}") };
        text.push_str(&format!("{shown}\n{output}"));
    }
    text.replace(&*bed.directory.path().to_string_lossy(), "TOP")
}

/// A daemon without boot services: every node would boot, and nothing has happened.
struct NoBoot {
    discovery: Arc<Discovery>,
}

impl BootServices for NoBoot {
    fn check_plan(&self, _: &Snapshot, _: &str) -> Result<(), Unready> {
        Ok(())
    }

    fn plan(&self, snapshot: &Snapshot, node: &str) -> Result<Plan, PlanError> {
        let (addresses, packed) = (LocalAddresses::default(), PackedRoots::default());
        let ports = Ports::default();
        plan::plan(
            snapshot,
            node,
            Surroundings { addresses: &addresses, ports, packed: &packed, proof: None },
        )
    }

    fn rendered(&self, snapshot: &Snapshot, node: &str, file: Option<&str>) -> Result<RenderedFile, Unready> {
        let (addresses, packed) = (LocalAddresses::default(), PackedRoots::default());
        let ports = Ports::default();
        let here = Surroundings { addresses: &addresses, ports, packed: &packed, proof: None };
        answers::preview(snapshot, here, node, file)
    }

    fn destiny(&self, snapshot: &Snapshot, node: &str) -> Destiny {
        let state = snapshot.attr(node, col::chain::CURRSTATE);
        Destiny { destiny: state.as_deref().unwrap_or(STANDBY).to_owned(), ..Destiny::default() }
    }

    fn leases(&self) -> Vec<Lease> {
        Vec::new()
    }

    fn events(&self, _: Option<&str>, _: usize) -> Vec<Event> {
        Vec::new()
    }

    fn waves(&self, _: u64, _: &dyn Fn(&str) -> bool) -> Vec<WaveReport> {
        Vec::new()
    }

    fn dhcp_answers<'a>(&self, snapshot: &'a Snapshot) -> Answers<'a> {
        Answers::new(snapshot, &LocalAddresses::default())
    }

    fn missing_loaders(&self, _: &Snapshot, _: &str) -> Option<Missing> {
        None
    }

    fn dhcp_problems(&self, snapshot: &Snapshot) -> Vec<String> {
        dhcp::problems(snapshot, &LocalAddresses::default())
    }

    fn name_servers(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn tree_users(&self, _: &Path) -> Vec<String> {
        Vec::new()
    }

    fn advice(&self, _: &Snapshot, _: &str) -> Option<Advice> {
        None
    }

    fn reported(&self, _: &Snapshot, _: &str, _: &NodeReport) {}

    fn is_own_address(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }

    fn trouble(&self, _: &str, _: &str) {}

    fn denied(&self, _: IpAddr, _: &str) {}

    fn asked(&self, _: IpAddr, _: &str) {}

    fn stranger(&self, _: IpAddr) {}
    fn discovery(&self) -> Option<&Discovery> {
        Some(&self.discovery)
    }

    fn consoles(&self) -> Option<&Hub> {
        None
    }
}
