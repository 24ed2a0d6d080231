//! What a node is to do: the states of `chain.currstate`, the chain, and the edits that move them.
//!
//! Pure functions on a snapshot: `nodeset`, `nextdestiny`, the line `next` on the status port and chain
//! elements all go through here. A time is passed in, as `nodelist.statustime` has it.

use crate::ondiscover;
use crate::state::BootState;
use dawn_cluster::list::steps;
use dawn_cluster::{Col, Edit, EditError, Snapshot, Text, col, nearest_of};
use dawn_wire::run_image::{BadDigest, RunImage};
use dawn_wire::status;
use dawn_wire::text::without_control;
use dawn_wire::words::quoted;

/// Provisioning methods that boot the node's root over the network each time.
const DISKLESS: [&str; 2] = ["netboot", "statelite"];
/// States that are a word alone.
const PLAIN_STATES: [&str; 7] = ["boot", "shell", "standby", "shutdown", "offline", "discover", "reboot"];
/// The state of a node that has nothing to do, and of one that has no state.
pub const STANDBY: &str = "standby";
/// `site` key: whether `nodelist.status` is written.
const STATUS_KEY: &str = "nodestatus";
/// What `nodeset` can be asked for.
const STATES: &str = "the states are osimage=IMAGE, osimage, boot, shell, standby, discover, runcmd=COMMAND, \
                      runimage=URL, ondiscover=COMMANDS, reboot, shutdown, offline, stat, next and enact";
/// States that carry an argument.
const ARGUMENT_STATES: [&str; 3] = ["runcmd=", "runimage=", "ondiscover="];
/// Former words for provisioning.
const DEPRECATED: [&str; 3] = ["install", "netboot", "statelite"];

/// Why a node cannot be brought into a state. The texts are xCAT's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DestinyError {
    /// A word that is not a state.
    #[error("Unknown state {0} requested; {STATES}")]
    Unknown(String),
    /// The archive's digest is not one.
    #[error("{0}: {1}.")]
    Digest(String, BadDigest),
    /// An old form of a state, for which no image fits.
    #[error("{USE_OSIMAGE}")]
    OldForm,
    /// The node is to be provisioned with the image it has, and has none.
    #[error("No osimage name was given, and nodetype.provmethod of the node is not set.")]
    NoImageNamed,
    /// The image does not exist.
    #[error("Cannot find the OS image {name} in the osimage table.{}", did_you_mean(meant.as_deref()))]
    NoSuchImage {
        /// Its name.
        name: String,
        /// The name of one that exists and is like it.
        meant: Option<String>,
    },
    /// The image does not say how it is provisioned.
    #[error("osimage.provmethod for {0} must be set.")]
    NoMethod(String),
    /// The node has neither a chain nor a state.
    #[error("Cannot determine current state for this node")]
    NoChain,
    /// The model refuses the edit.
    #[error(transparent)]
    Edit(#[from] EditError),
}

fn did_you_mean(name: Option<&str>) -> String {
    name.map(|name| format!(" Did you mean '{name}'?")).unwrap_or_default()
}

/// A state as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Provision with this image; `None`: with `nodetype.provmethod`.
    Image {
        /// Image.
        name: Option<String>,
        /// `:reboot4deploy`: the status shows that at once.
        reboot4deploy: bool,
    },
    /// An old form: the image of this method for the node's distribution, architecture and profile.
    Method {
        /// `install`, `netboot` or `statelite`.
        method: String,
        /// What is given after `=`: `OS-ARCH-PROFILE` or an image.
        image: Option<String>,
    },
    /// A word, or a word with its argument, as it is written to `chain.currstate`.
    Word(String),
}

impl State {
    /// Reads a state.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<State, DestinyError> {
        if text == "osimage" {
            return Ok(State::Image { name: None, reboot4deploy: false });
        }
        if let Some(image) = text.strip_prefix("osimage=") {
            let mut parts = image.split(':');
            let name = parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
            return Ok(State::Image { name, reboot4deploy: parts.any(|part| part == "reboot4deploy") });
        }
        if DEPRECATED.contains(&text)
            || text.split_once('=').is_some_and(|(word, _)| DEPRECATED.contains(&word))
        {
            let (method, image) = text.split_once('=').unwrap_or((text, ""));
            let image = Some(image).filter(|image| !image.is_empty()).map(str::to_owned);
            return Ok(State::Method { method: method.to_owned(), image });
        }
        let has_argument = |prefix: &&str| text.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
        if let Some(argument) = text.strip_prefix("runimage=") {
            RunImage::parse(argument).map_err(|wrong| DestinyError::Digest(text.to_owned(), wrong))?;
        }
        if PLAIN_STATES.contains(&text) || ARGUMENT_STATES.iter().any(has_argument) {
            return Ok(State::Word(text.to_owned()));
        }
        Err(DestinyError::Unknown(text.to_owned()))
    }
}

/// The effect of a state on one node.
#[derive(Clone, Debug)]
pub struct Move {
    /// New `chain.currstate`, which is also what commands print.
    pub currstate: String,
    /// Edits.
    pub edits: Vec<Edit>,
}

fn set(node: &str, col: Col, value: &str) -> Result<Edit, DestinyError> {
    Ok(Edit::set_node(node, col, value)?)
}

/// Brings a node into a state. `rest` of a comma list becomes the chain that is left.
pub fn set_state(
    snapshot: &Snapshot,
    node: &str,
    state: &State,
    rest: Option<&str>,
    now: &StatusTime,
) -> Result<Move, DestinyError> {
    let mut moved = match state {
        State::Image { name, reboot4deploy } => {
            set_image(snapshot, node, name.as_deref(), reboot4deploy.then_some(now))?
        }
        State::Method { method, image } => {
            let name =
                image_by_method(snapshot, node, method, image.as_deref()).ok_or(DestinyError::OldForm)?;
            set_image(snapshot, node, Some(&name), None)?
        }
        State::Word(word) => set_word(snapshot, node, word)?,
    };
    if let Some(rest) = rest {
        moved.edits.push(set(node, col::chain::CURRCHAIN, rest)?);
    }
    Ok(moved)
}

/// The error for the old form of a state where no image fits.
const USE_OSIMAGE: &str = "The options \"install\", \"netboot\", and \"statelite\" have been deprecated, use \
                               \"osimage=<osimage_name>\" instead.";

/// The image that an old form of a state means: `netboot` with the node's distribution, architecture and
/// profile, `netboot=OS-ARCH-PROFILE`, or with an image's name.
pub fn image_by_method(snapshot: &Snapshot, node: &str, method: &str, given: Option<&str>) -> Option<String> {
    let attr = |column: Col| snapshot.attr(node, column).map(|text| text.to_string());
    let named = |os: &str, arch: &str, profile: &str| format!("{os}-{arch}-{method}-{profile}");
    let name = match given {
        Some(name) if snapshot.osimage(name).is_some() => name.to_owned(),
        Some(parts) => {
            let (os, rest) = parts.split_once('-')?;
            let (arch, profile) = rest.split_once('-')?;
            named(os, arch, profile)
        }
        None => named(&attr(col::nodetype::OS)?, &attr(col::nodetype::ARCH)?, &attr(col::nodetype::PROFILE)?),
    };
    let image = snapshot.osimage(&name)?;
    image.provmethod().is_some_and(|known| &**known == method).then_some(name)
}

fn set_word(snapshot: &Snapshot, node: &str, word: &str) -> Result<Move, DestinyError> {
    let mut edits = vec![set(node, col::chain::CURRSTATE, word)?];
    if word == "boot"
        && let Some(image) = snapshot.attr(node, col::nodetype::PROVMETHOD)
    {
        let method = snapshot.osimage(&image).and_then(|image| image.provmethod().cloned());
        if !matches!(method.as_deref(), Some("install" | "sysclone")) {
            edits.push(set(node, col::nodetype::PROVMETHOD, "")?);
        }
    }
    Ok(Move { currstate: word.to_owned(), edits })
}

/// `deploys_at`: the status says at once that the node is about to be deployed.
fn set_image(
    snapshot: &Snapshot,
    node: &str,
    name: Option<&str>,
    deploys_at: Option<&StatusTime>,
) -> Result<Move, DestinyError> {
    let stored = snapshot.attr(node, col::nodetype::PROVMETHOD);
    let name = name.or(stored.as_deref()).ok_or(DestinyError::NoImageNamed)?;
    let image = snapshot.osimage(name);
    let image = image.ok_or_else(|| {
        let meant = nearest_of(name, snapshot.osimage_names().map(|known| &**known));
        DestinyError::NoSuchImage { name: name.to_owned(), meant: meant.map(str::to_owned) }
    })?;
    let method = image.provmethod().ok_or_else(|| DestinyError::NoMethod(name.to_owned()))?;
    let text = |column| image.get(column).map(Text::to_string).unwrap_or_default();
    let (os, arch, profile) =
        (text(col::osimage::OSVERS), text(col::osimage::OSARCH), text(col::osimage::PROFILE));
    let currstate = match method.as_ref() {
        "sysclone" => format!("sysclone {os}-{arch}"),
        method => format!("{method} {os}-{arch}-{profile}"),
    };
    let mut edits = vec![
        set(node, col::nodetype::PROVMETHOD, name)?,
        set(node, col::nodetype::OS, &os)?,
        set(node, col::nodetype::ARCH, &arch)?,
        set(node, col::nodetype::PROFILE, &profile)?,
        set(node, col::chain::CURRSTATE, &currstate)?,
    ];
    if !DISKLESS.contains(&method.as_ref()) {
        edits.push(set(node, col::chain::CURRCHAIN, "boot")?);
    }
    if let Some(now) = deploys_at {
        edits.extend(status_edits(snapshot, node, status_for(&currstate), now)?);
    }
    Ok(Move { currstate, edits })
}

/// What is left of the node's chain, or the whole chain if the node has not begun it.
fn chain_left(snapshot: &Snapshot, node: &str) -> Option<String> {
    let value = |col: Col| snapshot.attr(node, col).map(|text| text.to_string());
    let set = |text: &String| !text.is_empty();
    value(col::chain::CURRCHAIN).filter(set).or_else(|| value(col::chain::CHAIN).filter(set))
}

/// What a node gets that asks now: its state, or else the chain that it has not begun.
pub fn due(snapshot: &Snapshot, node: &str) -> String {
    let state = snapshot.attr(node, col::chain::CURRSTATE).map(|text| text.to_string());
    state.or_else(|| chain_left(snapshot, node)).unwrap_or_else(|| STANDBY.to_owned())
}

/// The discovery system goes on with this state, and does not restart or switch the machine off.
pub fn stays(state: &str) -> bool {
    match BootState::parse(state) {
        Some(BootState::Task(task)) => !matches!(task.as_str(), "reboot" | "shutdown"),
        Some(_) => false,
        None => true,
    }
}

/// The step that a node says it is done with is the one that the tables have: not one that an earlier
/// question moved on from, whose answer was lost, and not one that an administrator replaced meanwhile. An
/// empty text is any step.
pub fn is_present(snapshot: &Snapshot, node: &str, step: &str) -> bool {
    let state = snapshot.attr(node, col::chain::CURRSTATE).unwrap_or_default();
    step.is_empty() || without_control(ondiscover::shown(&state)).trim() == step
}

/// Whether the node has a chain whose steps it takes one after the other.
pub fn has_chain(snapshot: &Snapshot, node: &str) -> bool {
    chain_left(snapshot, node).is_some()
}

/// Advances the chain; `None` if the node has none.
pub fn next(snapshot: &Snapshot, node: &str, now: &StatusTime) -> Result<Option<Move>, DestinyError> {
    let Some(mut list) = chain_left(snapshot, node) else { return Ok(None) };
    let currstate =
        snapshot.attr(node, col::chain::CURRSTATE).map(|text| text.to_string()).unwrap_or_default();
    let single = !list.contains([',', ';']);
    if single && !currstate.is_empty() && list.contains(&currstate) && list != "boot" {
        list = STANDBY.into();
    }
    let (first, rest) = match list.find([',', ';']) {
        Some(at) => (list.get(..at).unwrap_or_default(), list.get(at + 1..).unwrap_or_default()),
        None => (list.as_str(), ""),
    };
    // The last element stays: a node that asks again gets the same answer.
    let rest = if rest.is_empty() { first } else { rest };
    let state = State::parse(first.trim())?;
    let mut moved = set_state(snapshot, node, &state, None, now)?;
    let install = matches!(BootState::parse(&moved.currstate), Some(BootState::Install(_)));
    let left = if install && rest == first { "boot" } else { rest };
    moved.edits.retain(|edit| !is_currchain(edit));
    moved.edits.push(set(node, col::chain::CURRCHAIN, left)?);
    Ok(Some(moved))
}

fn is_currchain(edit: &Edit) -> bool {
    let col = col::chain::CURRCHAIN;
    matches!(edit, Edit::Set { values, .. } if values.iter().any(|(c, _)| *c == col))
}

/// What a node's question changes.
#[derive(Debug, Default)]
pub struct Asked {
    /// The edits.
    pub edits: Vec<Edit>,
    /// Why its chain cannot go on. The node stands by then, with what is left of its chain.
    pub stopped: Option<DestinyError>,
}

/// The changes when a node asks what to do. One that is `done` takes the next step of its chain, and one
/// without a state the first; with the state goes a status. A node that is done and has no chain changes
/// nothing.
///
/// # Errors
/// The model refuses the edits.
pub fn asked(snapshot: &Snapshot, node: &str, done: bool, now: &StatusTime) -> Result<Asked, DestinyError> {
    let moves = done || snapshot.attr(node, col::chain::CURRSTATE).is_none();
    let step = match moves.then(|| next(snapshot, node, now)).transpose() {
        Ok(step) => step.flatten(),
        Err(reason) => {
            let mut edits = set_word(snapshot, node, STANDBY)?.edits;
            if snapshot.site_flag(STATUS_KEY, true) {
                edits.extend(status_edits(snapshot, node, status::FAILED, now)?);
            }
            return Ok(Asked { edits, stopped: Some(reason) });
        }
    };
    let step = match step {
        // Without a chain nothing comes after a step of the server.
        None if done && of_server(snapshot, node).is_some() => Some(set_word(snapshot, node, STANDBY)?),
        step => step,
    };
    let is_unchanged = step.is_none() && (done || has_stopped(snapshot, node, now));
    let edits = if is_unchanged { Vec::new() } else { with_status(snapshot, node, step, now)? };
    Ok(Asked { edits, stopped: None })
}

/// The node stands by because its chain cannot go on, and that is still so.
fn has_stopped(snapshot: &Snapshot, node: &str, now: &StatusTime) -> bool {
    let is = |column: Col, word: &str| snapshot.attr(node, column).as_deref() == Some(word);
    is(col::chain::CURRSTATE, STANDBY)
        && is(col::nodelist::STATUS, status::FAILED)
        && next(snapshot, node, now).is_err()
}

/// What the events of a node say of a chain that cannot go on.
#[must_use]
pub fn stopped(node: &str, reason: &DestinyError) -> String {
    // An event has room for a sentence, not for the list of all states.
    let reason = match reason {
        DestinyError::Unknown(step) => format!("Unknown state {step} requested."),
        other => other.to_string(),
    };
    format!("the chain cannot go on: {reason} Run `nodeset {node} next` to continue it after a repair.")
}

/// What the events of a node that failed say of its step, if that is one that the node carries out and does
/// not repeat by itself: how it is repeated.
#[must_use]
pub fn held(snapshot: &Snapshot, node: &str) -> Option<String> {
    let state = snapshot.attr(node, col::chain::CURRSTATE)?;
    let is_held = ["runcmd=", "runimage="].iter().any(|word| state.starts_with(word));
    let step = quoted(&state);
    is_held.then(|| {
        format!(
            "the node does not repeat {state} by itself: `nodeset {node} {step}` repeats it, \
             `nodeset {node} next` continues the chain without it"
        )
    })
}

/// A chain, or a state, has a step that the server carries out.
pub fn has_step_of_server(chain: &str) -> bool {
    steps(chain).any(|step| ondiscover::of_step(step).is_some())
}

/// The commands of the server that the node's present step consists of: they are run when the node leaves it.
pub fn of_server(snapshot: &Snapshot, node: &str) -> Option<String> {
    let state = snapshot.attr(node, col::chain::CURRSTATE)?;
    ondiscover::of_step(&state).map(str::to_owned)
}

/// The edits of a step, if there is one, and the status that goes with the state.
fn with_status(
    snapshot: &Snapshot,
    node: &str,
    step: Option<Move>,
    now: &StatusTime,
) -> Result<Vec<Edit>, DestinyError> {
    let state = |step: &Move| step.currstate.clone();
    let present =
        || snapshot.attr(node, col::chain::CURRSTATE).map(|text| text.to_string()).unwrap_or_default();
    let state = step.as_ref().map_or_else(present, state);
    let mut edits = step.map(|step| step.edits).unwrap_or_default();
    if snapshot.site_flag(STATUS_KEY, true) {
        edits.extend(status_edits(snapshot, node, status_for(&state), now)?);
    }
    Ok(edits)
}

/// `nodelist.status` that goes with a state a node asks for.
fn status_for(currstate: &str) -> &'static str {
    match BootState::parse(currstate) {
        None if currstate.is_empty() => status::STANDING_BY,
        Some(BootState::Install(_)) => status::INSTALLING,
        Some(BootState::Netboot(_) | BootState::Statelite(_)) => status::NETBOOTING,
        Some(BootState::Task(task)) => match task.split('=').next().unwrap_or_default() {
            "standby" => status::STANDING_BY,
            "shell" => status::SHELL,
            "discover" => status::DISCOVERING,
            "runcmd" => status::CONFIGURING,
            _ => status::BOOTING,
        },
        None | Some(BootState::Boot | BootState::Offline) => status::BOOTING,
    }
}

/// A time as `nodelist.statustime` has it: `MM-DD-YYYY HH:MM:SS`, local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusTime(pub String);

/// Edits that store a status word and its time.
pub fn status_edits(
    snapshot: &Snapshot,
    node: &str,
    status: &str,
    now: &StatusTime,
) -> Result<Vec<Edit>, DestinyError> {
    stamped(snapshot, node, [col::nodelist::STATUS, col::nodelist::STATUSTIME], [status, &now.0])
}

/// The same for `nodelist.updatestatus`.
pub fn update_status_edits(
    snapshot: &Snapshot,
    node: &str,
    status: &str,
    now: &StatusTime,
) -> Result<Vec<Edit>, DestinyError> {
    stamped(snapshot, node, [col::nodelist::UPDATESTATUS, col::nodelist::UPDATESTATUSTIME], [status, &now.0])
}

fn stamped(
    snapshot: &Snapshot,
    node: &str,
    columns: [Col; 2],
    values: [&str; 2],
) -> Result<Vec<Edit>, DestinyError> {
    if !snapshot.has_node(node) {
        return Ok(Vec::new());
    }
    columns.into_iter().zip(values).map(|(column, value)| set(node, column, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> StatusTime {
        StatusTime("11-29-2026 22:00:00".to_owned())
    }

    fn snapshot() -> Snapshot {
        let rows: [(&str, &[(&str, &str)]); 6] = [
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            ("nodelist", &[("node", "cn2"), ("groups", "all")]),
            ("chain", &[("node", "all"), ("chain", "runcmd=bmcsetup,osimage=img,standby")]),
            (
                "osimage",
                &[
                    ("imagename", "img"),
                    ("provmethod", "netboot"),
                    ("osvers", "debian12"),
                    ("osarch", "x86_64"),
                    ("profile", "compute"),
                ],
            ),
            ("osimage", &[("imagename", "bad")]),
            (
                "osimage",
                &[
                    ("imagename", "disk"),
                    ("provmethod", "install"),
                    ("osvers", "r9"),
                    ("osarch", "x"),
                    ("profile", "p"),
                ],
            ),
        ];
        Snapshot::from_rows(rows)
    }

    /// The event of a step that failed names the command that repeats it, for a shell.
    #[test]
    fn a_failed_step_can_be_repeated() {
        let at = |state: &str| {
            let edit = Edit::set_node("cn1", col::chain::CURRSTATE, state).unwrap();
            held(&snapshot().with(&[edit]).unwrap(), "cn1")
        };
        let text = at("runcmd=setup -x").unwrap();
        assert!(text.contains("`nodeset cn1 'runcmd=setup -x'`"), "{text}");
        assert!(at("runimage=http://x/y.tgz").unwrap().contains("`nodeset cn1 next`"));
        assert_eq!((at("netboot debian12-x-c"), at("shell"), at("")), (None, None, None));
    }

    #[test]
    fn states() {
        let snapshot = snapshot();
        let go = |text: &str| {
            let state = State::parse(text)?;
            let moved = set_state(&snapshot, "cn1", &state, None, &now())?;
            let after = snapshot.with(&moved.edits)?;
            let cell = |col: &str| after.attr("cn1", col).map(|t| t.to_string()).unwrap_or_default();
            let line = ["chain.currstate", "nodetype.provmethod", "nodetype.os"].map(cell).join("|");
            Ok::<_, DestinyError>(line)
        };
        for (text, expected) in [
            ("osimage=img", "netboot debian12-x86_64-compute|img|debian12"),
            ("osimage=img:reboot4deploy", "netboot debian12-x86_64-compute|img|debian12"),
            ("osimage=disk", "install r9-x-p|disk|r9"),
            ("shell", "shell||"),
            ("boot", "boot||"),
            ("offline", "offline||"),
            ("runcmd=bmcsetup", "runcmd=bmcsetup||"),
        ] {
            assert_eq!(go(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("osimage=nope", "Cannot find the OS image nope in the osimage table."),
            ("osimage=bad", "osimage.provmethod for bad must be set."),
            (
                "bogus",
                "Unknown state bogus requested; the states are osimage=IMAGE, osimage, boot, shell, standby, discover, runcmd=COMMAND, runimage=URL, ondiscover=COMMANDS, reboot, shutdown, offline, stat, next and enact",
            ),
            (
                "runcmd=",
                "Unknown state runcmd= requested; the states are osimage=IMAGE, osimage, boot, shell, standby, discover, runcmd=COMMAND, runimage=URL, ondiscover=COMMANDS, reboot, shutdown, offline, stat, next and enact",
            ),
        ] {
            assert_eq!(go(text).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn steps_of_the_server_are_found_in_a_chain() {
        assert!(has_step_of_server("shell, ondiscover=a;b") && has_step_of_server("ondiscover="));
        assert!(!has_step_of_server("runcmd=ondiscover=a"));
    }

    /// A node leaves a step of the server at once, whatever comes after it.
    #[test]
    fn a_step_of_the_server() {
        let after = |chain: &str| {
            let mut snapshot = Snapshot::from_rows([
                ("nodelist", [("node", "cn1"), ("groups", "all")].as_slice()),
                ("chain", &[("node", "cn1"), ("chain", chain), ("currstate", "ondiscover=a:b|c")]),
            ]);
            let mut seen = Vec::new();
            for _ in 0..2 {
                seen.extend(of_server(&snapshot, "cn1"));
                let edits = asked(&snapshot, "cn1", true, &now()).expect("edits").edits;
                snapshot = snapshot.with(&edits).expect("edits");
                seen.extend(snapshot.attr("cn1", col::chain::CURRSTATE).map(|state| state.to_string()));
            }
            seen.join(" ")
        };
        assert_eq!(after(""), "a:b|c standby standby");
        assert_eq!(after("shell"), "a:b|c shell standby");
        assert_eq!(after("ondiscover=x,boot"), "a:b|c ondiscover=x x boot");
        assert_eq!(after("ondiscover=a:b|c"), "a:b|c standby standby");
    }

    /// The node stands by with the status `failed`, however often it asks, until the chain can go on.
    #[test]
    fn a_chain_that_cannot_go_on() {
        let mut snapshot = Snapshot::from_rows([
            ("nodelist", [("node", "cn1"), ("groups", "all")].as_slice()),
            ("chain", &[("node", "cn1"), ("chain", "runcmd=a,osimage=gone,shell")]),
        ]);
        let mut ask = |done: bool, also: &[Edit]| {
            snapshot = snapshot.with(also).expect("edits");
            let Asked { edits, stopped } = asked(&snapshot, "cn1", done, &now()).expect("edits");
            snapshot = snapshot.with(&edits).expect("edits");
            let value = |column| snapshot.attr("cn1", column).unwrap_or_default().to_string();
            let (state, left) = (value(col::chain::CURRSTATE), value(col::chain::CURRCHAIN));
            let status = value(col::nodelist::STATUS);
            (format!("{state} {status} {left}"), stopped.map(|reason| stopped_text(&reason)))
        };
        fn stopped_text(reason: &DestinyError) -> String {
            super::stopped("cn1", reason)
        }
        assert_eq!(ask(false, &[]), ("runcmd=a configuring osimage=gone,shell".to_owned(), None));
        let text = "the chain cannot go on: Cannot find the OS image gone in the osimage table. Run `nodeset cn1 \
                    next` to continue it after a repair.";
        let stopped = "standby failed osimage=gone,shell".to_owned();
        assert_eq!(ask(true, &[]), (stopped.clone(), Some(text.to_owned())));
        assert_eq!(ask(false, &[]), (stopped, None));
        let repaired = Edit::set_node("cn1", col::chain::CURRCHAIN, "shell").expect("an edit");
        assert_eq!(ask(false, &[repaired]), ("standby standingby shell".to_owned(), None));
    }

    #[test]
    fn a_chain_to_its_end() {
        let mut snapshot = snapshot();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let moved = next(&snapshot, "cn1", &now()).expect("a chain").expect("a move");
            seen.push(moved.currstate);
            snapshot = snapshot.with(&moved.edits).expect("edits");
        }
        assert_eq!(seen, ["runcmd=bmcsetup", "netboot debian12-x86_64-compute", "standby", "standby"]);
    }
}
