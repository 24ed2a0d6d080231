//! `explain`: why a node boots what it boots, and which row decides it.

use super::entry_origins::{EntryOf, entries};
use crate::addresses::{code_of, needs_network, unanswered};
use crate::conflicts::{Contradiction, conflicts, needs};
use crate::sources;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::dhcp::{Answers, Silence};
use dawn_bootd::first_stage::Missing;
use dawn_bootd::output::{Done, Lines, Out, Problem, Report};
use dawn_bootd::unready::{Advice, Unready};
use dawn_cluster::{Advised, Col, Netboot, Snapshot, col};
use dawn_plan::{Action, BootState, Plan, System};
use serde::Serialize;

/// Columns that decide how a node boots, in the order in which they are shown.
const COLUMNS: [Col; 32] = [
    col::nodelist::GROUPS,
    col::chain::CURRSTATE,
    col::chain::CURRCHAIN,
    col::nodetype::PROVMETHOD,
    col::nodetype::OS,
    col::nodetype::ARCH,
    col::nodetype::PROFILE,
    col::mac::MAC,
    col::mac::INTERFACE,
    col::hosts::IP,
    col::noderes::NETBOOT,
    col::noderes::INSTALLNIC,
    col::noderes::PRIMARYNIC,
    col::noderes::XCATMASTER,
    col::noderes::SERVICENODE,
    col::noderes::TFTPSERVER,
    col::noderes::TFTPDIR,
    col::noderes::NFSSERVER,
    col::noderes::NFSDIR,
    col::noderes::NAMESERVERS,
    col::noderes::PROXYDHCP,
    col::bootparams::KERNEL,
    col::bootparams::INITRD,
    col::bootparams::KCMDLINE,
    col::bootparams::ADDKCMDLINE,
    col::nodehm::MGT,
    col::nodehm::SERIALPORT,
    col::nodehm::SERIALSPEED,
    col::nodehm::SERIALFLOW,
    col::statelite::IMAGE,
    col::statelite::STATEMNT,
    col::statelite::MNTOPTS,
];

/// Show what nodes will boot, where each value comes from, and which settings contradict each other
///
/// Each value is followed by its table and the row that sets it, the node's own or a group's. Each entry of
/// litefile is followed by the directory of litetree, the store or the image that has its content.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

/// What is said about one node.
#[derive(Serialize)]
struct Explained<'n> {
    advice: Option<Problem>,
    conflicts: Vec<Problem>,
    node: &'n str,
    notes: Vec<Problem>,
    plan: Option<Planned>,
    problems: Vec<Problem>,
    state: Option<String>,
    #[serde(rename = "statelite")]
    files: Vec<EntryOf>,
    values: Vec<SetValue>,
}

/// What a node boots; paths are relative to the TFTP root.
#[derive(Default, Serialize)]
struct Planned {
    boots: Boots,
    image: Option<String>,
    initrd: Option<String>,
    /// The file that a switch fetches and runs.
    installer: Option<String>,
    kcmdline: Option<String>,
    kernel: Option<String>,
    server: String,
    task: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "snake_case")]
enum Boots {
    #[default]
    LocalDisk,
    Image,
    /// The installer of an image's distribution.
    Installation,
    Discovery,
    /// The installer of a switch.
    SwitchInstaller,
}

impl From<Plan> for Planned {
    fn from(plan: Plan) -> Self {
        let server = plan.server.to_string();
        let task = match &plan.state {
            BootState::Task(task) => Some(task.to_string()),
            _ => None,
        };
        let planned = match plan.action {
            Action::LocalDisk => Self::default(),
            Action::Installer(file) => {
                Self { boots: Boots::SwitchInstaller, installer: Some(file), ..Self::default() }
            }
            Action::Kernel(boot) => {
                let (boots, image) = match &boot.system {
                    System::Image { name, .. } => (Boots::Image, Some(name.to_string())),
                    System::Installer { name, .. } => (Boots::Installation, Some(name.to_string())),
                    System::Discovery => (Boots::Discovery, None),
                };
                let kcmdline = Some(boot.args.render(&server));
                let (kernel, initrd) = (Some(boot.kernel()), Some(boot.initrd()));
                Self { boots, image, initrd, kcmdline, kernel, ..Self::default() }
            }
        };
        Self { server, task, ..planned }
    }
}

impl Planned {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("server: {}", self.server)];
        let mut say =
            |name: &str, text: Option<&str>| lines.extend(text.map(|text| format!("{name}: {text}")));
        match self.boots {
            Boots::LocalDisk => say("boots", Some("local disk")),
            Boots::Discovery => say("boots", Some("discovery system")),
            Boots::Image => say("image", self.image.as_deref()),
            Boots::Installation => say("installs", self.image.as_deref()),
            Boots::SwitchInstaller => say("installer", self.installer.as_deref()),
        }
        say("kernel", self.kernel.as_deref());
        say("initrd", self.initrd.as_deref());
        say("kcmdline", self.kcmdline.as_deref());
        say("task", self.task.as_deref());
        lines
    }
}

/// A column that is set, and whose row sets it.
#[derive(Serialize)]
struct SetValue {
    column: String,
    row: String,
    value: String,
}

impl Command for Args {
    const NAME: &'static str = "explain";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let answers = ctx.boot.dhcp_answers(&ctx.snapshot);
        ctx.nodes().iter().try_for_each(|node| out.report(&explain(ctx, &answers, node)))
    }
}

fn explain<'n>(ctx: &Ctx<'_>, answers: &Answers<'_>, node: &'n str) -> Explained<'n> {
    let snapshot: &Snapshot = &ctx.snapshot;
    let state = snapshot.attr(node, col::chain::CURRSTATE).map(|text| text.to_string());
    let unready = ctx.boot.check_plan(snapshot, node).err();
    let unready = unready.into_iter().chain(Netboot::check(snapshot, node).err().map(Unready::from));
    let mut problems: Vec<Problem> = unready.map(|reason| reason.problem(node)).collect();
    let plan = ctx.boot.plan(snapshot, node);
    let unplanned = plan.as_ref().err();
    let unplanned =
        unplanned.map(|error| Problem::new("no_plan", format!("no boot plan: {error}")).hint(error.hint()));
    let mut notes: Vec<Problem> = unplanned.into_iter().collect();
    if state.as_deref().is_none_or(needs_network) {
        let silence = unanswered(answers, node);
        problems.extend(silence.map(|silence| Problem::new(code_of(&silence), silence)));
        let missing = ctx.boot.missing_loaders(snapshot, node);
        let (fatal, other): (Vec<Missing>, _) = missing.into_iter().partition(|missing| missing.all);
        let loader =
            |before: &str, missing: Missing| Problem::new("no_loader", format!("{before} {}", missing.text));
        problems.extend(fatal.into_iter().map(|missing| loader("its loader is", missing)));
        notes.extend(other.into_iter().map(|missing| loader("loader", missing)));
    }
    let other = answers.of_node(node).into_iter().filter(|interface| interface.hostname != node);
    let silent = other.filter_map(|interface| Some((interface.mac, interface.answer.err()?)));
    let silent = silent.filter(|(_, silence)| !matches!(silence, Silence::NoIp(_) | Silence::Proxied(_)));
    notes.extend(silent.map(|(mac, silence)| {
        Problem::new(code_of(&silence), format!("interface {mac} gets no address: {silence}"))
    }));
    let value = |col: &Col| {
        let found = snapshot.attr_with_source(node, *col)?;
        let row = sources::row_of(&found.source, node);
        Some(SetValue { column: col.to_string(), value: found.value.to_string(), row })
    };
    let has_files = state.as_deref().is_some_and(is_statelite);
    let files = if has_files { entries(ctx, node) } else { Vec::new() };
    let image = dawn_statelite::image_of(snapshot, node).filter(|_| has_files);
    let unmet = image.map(|image| needs(snapshot, &image)).unwrap_or_default();
    Explained {
        node,
        state,
        problems,
        plan: plan.ok().map(Planned::from),
        notes,
        advice: ctx.boot.advice(snapshot, node).as_ref().map(Advice::problem),
        values: COLUMNS.iter().filter_map(value).collect(),
        files,
        conflicts: conflicts(snapshot, node).iter().chain(&unmet).map(Contradiction::problem).collect(),
    }
}

/// The state is one in which nodes have their own files.
pub fn is_statelite(state: &str) -> bool {
    matches!(BootState::parse(state), Some(BootState::Statelite(_)))
}

impl Report for Explained<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let node = self.node;
        lines.node(node, format!("state {}", self.state.as_deref().unwrap_or("(none)")))?;
        self.problems.iter().try_for_each(|problem| problem.print(node, "would not boot: ", lines))?;
        self.plan.iter().flat_map(Planned::lines).try_for_each(|line| lines.node(node, line))?;
        self.notes.iter().try_for_each(|note| note.print(node, "", lines))?;
        self.advice.iter().try_for_each(|advice| advice.print(node, "advice: ", lines))?;
        self.values.iter().try_for_each(|SetValue { column, value, row }| {
            lines.node(node, format!("{column}={value} ({row})"))
        })?;
        self.files.iter().try_for_each(|entry| lines.node(node, format!("statelite: {entry}")))?;
        self.conflicts.iter().try_for_each(|conflict| conflict.print(node, "conflict: ", lines))
    }
}
