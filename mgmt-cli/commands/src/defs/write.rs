//! What `mkdef` and `chdef` have in common: objects asked for become edits.
//!
//! Groups come after all other objects, because their members may be nodes of the same request; they see
//! a snapshot that already holds the others.

use super::{Mode, Pairs, Wanted, Words, check_new_name, members};
use dawn_bootd::caller::View;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::{Assign, Conditions, Edit, GroupKind, Snapshot, Text};
use dawn_cluster::{ObjectError, ObjectType};

/// Options of both commands that the writing depends on.
pub struct Options<'a> {
    /// `mkdef`, not `chdef`.
    pub make: bool,
    /// `-f`: replace what exists.
    pub force: bool,
    /// `-d`: dynamic groups.
    pub dynamic: bool,
    /// `-w`: members or condition of groups.
    pub conditions: &'a [String],
    /// What the caller may name.
    pub view: &'a View,
    /// `-p`, `-m`.
    pub mode: Mode,
}

/// What came of a request.
#[derive(Default)]
pub struct Outcome {
    /// Edits of what can be written.
    pub edits: Vec<Edit>,
    /// Objects that are written, in order.
    pub done: Vec<Written>,
}

/// An object that a command has written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// It was not there before.
    pub is_new: bool,
}

/// All that a command has done to objects, with the lines that xCAT has for it.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub struct Objects {
    all: Vec<Object>,
    #[serde(skip)]
    lines: Vec<String>,
}

#[derive(serde::Serialize)]
struct Object {
    action: &'static str,
    kind: &'static str,
    name: String,
}

impl Objects {
    /// Objects that were written.
    pub fn written(done: &[Written], lines: Vec<String>) -> Self {
        let object = |written: &Written| Object {
            action: if written.is_new { "created" } else { "modified" },
            kind: written.kind,
            name: written.name.clone(),
        };
        Self { all: done.iter().map(object).collect(), lines }
    }

    /// Objects that were removed.
    pub fn removed(gone: &[(&'static str, String)], lines: Vec<String>) -> Self {
        let object =
            |(kind, name): &(&'static str, String)| Object { action: "removed", kind, name: name.clone() };
        Self { all: gone.iter().map(object).collect(), lines }
    }
}

impl Report for Objects {
    const MANY: bool = true;

    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.lines.iter().try_for_each(|line| lines.line(line))
    }
}

/// Computes the edits of all objects; errors and warnings go out as they are found.
pub fn plan(
    wanted: &[Wanted],
    options: &Options<'_>,
    base: &Snapshot,
    out: &mut Out<'_>,
) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::default();
    wanted.iter().try_for_each(|object| keep_secrets(object, options.view))?;
    if !check_all(wanted, options, base, out)? {
        return Ok(outcome);
    }
    let is_group = |object: &&Wanted| object.kind.name == "group";
    let others = || wanted.iter().filter(|object| !is_group(object));
    if !options.conditions.is_empty()
        && let Some(object) = others().next()
    {
        let error = CommandError::usage(format!(
            "-w gives the members or the condition of groups; it selects no objects, and {} is not a group.",
            object.name
        ));
        return Err(error.hint("`lsdef -t node -w CONDITION` lists the nodes that it selects.").into());
    }
    let replaced = others().filter(|object| options.replaces(object, base));
    // Replaced values do not matter: conditions are checked on the object as it will be.
    let cleared = base.without_objects(replaced.map(|object| (object.kind, object.name.as_str())))?;
    for object in others() {
        one(object, options, base, &cleared, &mut outcome, out)?;
    }
    let mut done = 0;
    let mut now = None;
    for object in wanted.iter().filter(is_group) {
        let fresh = outcome.edits.get(done..).unwrap_or_default();
        let next = now.as_ref().unwrap_or(base).with(fresh)?;
        done = outcome.edits.len();
        one_group(object, options, now.insert(next), &mut outcome, out)?;
    }
    Ok(outcome)
}

/// The result of adding to a value or removing from it depends on the value.
fn keep_secrets(object: &Wanted, view: &View) -> Done {
    let extended = object.pairs.iter().filter(|(_, assign)| !matches!(assign, Assign::Set(_)));
    for (attr, _) in extended {
        match object.kind.name {
            "site" => view.may_extend_setting(attr)?,
            _ => object.kind.lines(attr).try_for_each(|line| view.may_extend(line.col))?,
        }
    }
    Ok(())
}

/// Values of `provmethod` that only images of Linux have.
const LINUX_METHODS: [&str; 3] = ["install", "netboot", "statelite"];

/// Names and attribute names; any bad one means that nothing is written.
fn check_all(
    wanted: &[Wanted],
    options: &Options<'_>,
    base: &Snapshot,
    out: &mut Out<'_>,
) -> Result<bool, Stop> {
    let mut good = true;
    let mut told: Vec<(&str, &str)> = Vec::new();
    for object in wanted {
        let is_new = options.make || !base.has_object(object.kind, &object.name);
        if is_new && let Err(error) = check_new_name(object.kind, &object.name, base) {
            out.error(error)?;
            good = false;
        }
        if let Some(other) = other_name(object) {
            good = false;
            let (key, kind, name) = (object.kind.key, object.kind.name, &object.name);
            let error =
                CommandError::usage(format!("'{key}' is the name of the object, and this one is '{name}'."));
            out.error(match options.make {
                true => error,
                false => error.hint(format!("Another name for it: `chdef -t {kind} -o {name} -n {other}`")),
            })?;
        }
        for (attr, _) in &object.pairs {
            if object.kind.has_attr(attr) || is_computed(object.kind, attr) {
                continue;
            }
            good = false;
            if !told.contains(&(object.kind.name, attr)) {
                told.push((object.kind.name, attr));
                out.error(CommandError::usage(super::unknown_attribute(attr, &[object.kind])))?;
                if options.make {
                    out.error(CommandError::usage("Skipping to the next attribute."))?;
                }
            }
        }
    }
    Ok(good)
}

/// The name that a request gives to an object as a value, if it is not the object's.
fn other_name(object: &Wanted) -> Option<&str> {
    let is_key = |attr: &str| object.kind.name != "site" && attr == object.kind.key;
    object.pairs.iter().find_map(|(attr, assign)| match assign {
        Assign::Set(value) | Assign::Add(value) | Assign::Remove(value) => {
            (is_key(attr) && *value != object.name).then_some(value.as_str())
        }
    })
}

/// `members` and `wherevals` of groups are not separate columns.
fn is_computed(kind: &ObjectType, attr: &str) -> bool {
    attr == kind.key || kind.name == "group" && matches!(attr, "members" | "wherevals" | "grouptype")
}

fn one(
    object: &Wanted,
    options: &Options<'_>,
    base: &Snapshot,
    cleared: &Snapshot,
    outcome: &mut Outcome,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    let exists = base.has_object(object.kind, &object.name);
    if !may_go_on(object, exists, options, base, out)? {
        return Ok(());
    }
    // The one `site` object has no key among its attributes: `master` is a value like every other.
    let is_site = object.kind.name == "site";
    let is_key = |attr: &str| !is_site && attr == object.kind.key;
    let mut pairs: Pairs = object.pairs.iter().filter(|(attr, _)| !is_key(attr)).cloned().collect();
    if object.kind.name == "osimage"
        && !exists
        && !options.make
        && !pairs.iter().any(|(a, _)| a == "imagetype")
    {
        let of_linux = |(attr, to): &(String, Assign)| {
            let method = matches!(to, Assign::Set(to) if LINUX_METHODS.contains(&to.as_str()));
            attr == "provmethod" && method
        };
        let kind = if pairs.iter().any(of_linux) { "linux" } else { "NIM" };
        pairs.push(("imagetype".into(), Assign::Set(kind.into())));
    }
    if object.kind.name == "node" && !options.make {
        drop_default_scripts(&object.name, &mut pairs, base, out)?;
    }
    let plan = cleared.set_object(object.kind, &object.name, &pairs, object.from_stanza);
    let refused = options.make || plan.errors.iter().any(|error| matches!(error, ObjectError::OnlyIf { .. }));
    for error in &plan.errors {
        out.error(CommandError::usage(error.to_string()))?;
    }
    if !plan.errors.is_empty() && (refused || plan.edits.is_empty()) {
        return Ok(());
    }
    if options.replaces(object, base) {
        outcome.edits.extend(base.delete_object(object.kind, &object.name));
    }
    outcome.edits.extend(plan.edits);
    outcome.note(object, exists);
    Ok(())
}

impl Options<'_> {
    /// The object takes the place of one that exists. Replacing `site` would take every setting of the
    /// installation away for the few that were named.
    fn replaces(&self, object: &Wanted, base: &Snapshot) -> bool {
        self.make && object.kind.name != "site" && base.has_object(object.kind, &object.name)
    }
}

impl Outcome {
    fn note(&mut self, object: &Wanted, existed: bool) {
        self.done.push(Written { name: object.name.clone(), kind: object.kind.name, is_new: !existed });
    }
}

/// The checks that skip one object and leave the others.
fn may_go_on(
    object: &Wanted,
    exists: bool,
    options: &Options<'_>,
    base: &Snapshot,
    out: &mut Out<'_>,
) -> Result<bool, Stop> {
    let name = &object.name;
    if options.make && exists && !options.force && object.kind.name != "site" {
        out.warning(format!(
            "A definition for '{name}' already exists. No changes will be made.  \
             Run again with '-f' option to force replace."
        ))?;
        return Ok(false);
    }
    if !exists && options.mode == Mode::Minus {
        out.error(CommandError::not_found(format!(
            "The '-m' option is not valid since the '{name}' definition does not exist."
        )))?;
        return Ok(false);
    }
    let given = |attr: &str| value_of(&object.pairs, attr).is_some_and(|value| !value.is_empty());
    if object.kind.name == "node" && (!exists || options.make) && !given("groups") {
        out.error(CommandError::usage(format!(
            "Attribute 'groups' is not specified for node '{name}', skipping to the next node."
        )))?;
        return Ok(false);
    }
    let net_needed = object.kind.name == "network" && (!exists || options.make);
    if net_needed && (!given("net") || !given("mask")) {
        out.error(CommandError::usage(format!(
            "Net or mask value should not be empty for xCAT network object '{name}'."
        )))?;
        return Ok(false);
    }
    if object.kind.name == "network"
        && let Some(other) = same_network(object, base)
    {
        let verb = if exists && !options.make { "change the" } else { "create a" };
        out.error(CommandError::usage(format!(
            "A network definition called '{other}' already exists that contains the same net and mask \
             values. Cannot {verb} definition for '{name}'."
        )))?;
        return Ok(false);
    }
    Ok(true)
}

fn value_of<'a>(pairs: &'a Pairs, attr: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(name, _)| name == attr).map(|(_, assign)| match assign {
        Assign::Set(value) | Assign::Add(value) | Assign::Remove(value) => value.as_str(),
    })
}

fn same_network(object: &Wanted, base: &Snapshot) -> Option<String> {
    let kind = object.kind;
    // Attributes that are not given are unchanged.
    let text = |attr: &str| match value_of(&object.pairs, attr) {
        Some(given) => given.to_owned(),
        None => base.object_attr(kind, &object.name, attr).map(|text| text.to_string()).unwrap_or_default(),
    };
    if text("net").is_empty() || text("mask").is_empty() {
        return None;
    }
    base.object_names(kind).into_iter().map(|name| name.to_string()).find(|name| {
        let has = |attr: &str| base.object_attr(kind, name, attr).as_deref() == Some(&*text(attr));
        *name != object.name && has("net") && has("mask")
    })
}

/// Scripts that `xcatdefaults` runs for every node are not stored again.
fn drop_default_scripts(
    name: &str,
    pairs: &mut Pairs,
    base: &Snapshot,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    for (attr, assign) in pairs {
        let Some(defaults) = super::default_scripts_of(base, attr) else { continue };
        let (Assign::Set(value) | Assign::Add(value)) = assign else { continue };
        let defaults: Vec<&str> = defaults.split(',').collect();
        let (known, rest): (Vec<&str>, Vec<&str>) = value.split(',').partition(|s| defaults.contains(s));
        for script in known {
            out.warning(format!("{name}: {attr} '{script}' is already included in the 'xcatdefaults'."))?;
        }
        *value = rest.join(",");
    }
    Ok(())
}

fn one_group(
    object: &Wanted,
    options: &Options<'_>,
    now: &Snapshot,
    outcome: &mut Outcome,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    let name = &object.name;
    let kind = now.group_kind(name);
    if !may_go_on(object, kind.is_some(), options, now, out)? {
        return Ok(());
    }
    let text = |attr: &str| value_of(&object.pairs, attr);
    let is_dynamic = options.dynamic
        || text("grouptype") == Some("dynamic")
        || matches!(kind, Some(GroupKind::Dynamic(_))) && !options.make;
    let own = |(attr, _): &&(String, Assign)| {
        !matches!(attr.as_str(), "members" | "wherevals" | "grouptype" | "groupname" | "membergroups")
    };
    let pairs: Pairs = object.pairs.iter().filter(own).cloned().collect();
    if is_dynamic {
        return dynamic_group(object, &pairs, options, kind, now, outcome, out);
    }
    let mut edits = Vec::new();
    if options.make && kind.is_some() {
        // The list of members below and the nodes of the same request decide who is a member.
        edits.extend(now.delete_rows(object.kind, name));
    }
    // A group that exists only in the lists of its members needs no row to match its stanza.
    let is_listed_only = object.from_stanza
        && kind.is_some()
        && text("grouptype").is_none()
        && text("members").is_some_and(|list| !list.is_empty())
        && now.object_attr(object.kind, name, "grouptype").is_none();
    if !is_listed_only {
        edits.push(now.define_group(name, &GroupKind::Static));
    }
    let replaced = Some((object.kind, name.as_str())).filter(|_| options.make && kind.is_some());
    let plan = now.without_objects(replaced)?.set_object(object.kind, name, &pairs, object.from_stanza);
    for error in &plan.errors {
        out.error(CommandError::usage(error.to_string()))?;
    }
    if !plan.errors.is_empty() {
        return Ok(());
    }
    edits.extend(plan.edits);
    edits.extend(member_edits(object, options, now, out)?);
    outcome.edits.extend(edits);
    outcome.note(object, kind.is_some());
    Ok(())
}

fn member_edits(
    object: &Wanted,
    options: &Options<'_>,
    now: &Snapshot,
    out: &mut Out<'_>,
) -> Result<Vec<Edit>, Stop> {
    let name = &object.name;
    let mut nodes: Option<Vec<Text>> = None;
    if let Some(list) = value_of(&object.pairs, "members").filter(|list| *list != "static") {
        nodes = Some(members(now, options.view, list)?);
    } else if !options.conditions.is_empty() {
        nodes = Some(
            now.nodes_where(&read_conditions(options.conditions.iter().map(String::as_str), options.view)?),
        );
    }
    let Some(nodes) = nodes else {
        if options.make {
            out.warning(format!("Cannot determine a member list for group '{name}'."))?;
        }
        return Ok(Vec::new());
    };
    match options.mode {
        Mode::Plus => Ok(now.join_group(name, &nodes)),
        Mode::Minus => {
            let present = now.nodes_listing_group(name);
            for node in nodes.iter().filter(|node| !present.contains(node)) {
                out.error(CommandError::not_found(format!("{name} is not a member of '{node}'.")))?;
            }
            Ok(now.leave_group(name, &nodes))
        }
        Mode::Set => Ok(now.set_members(name, &nodes)),
    }
}

fn dynamic_group(
    object: &Wanted,
    pairs: &Pairs,
    options: &Options<'_>,
    kind: Option<GroupKind>,
    now: &Snapshot,
    outcome: &mut Outcome,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    let name = &object.name;
    // In stanzas they are what `lsdef -z` found by the condition.
    let has_members =
        !object.from_stanza && value_of(&object.pairs, "members").is_some_and(|list| list != "dynamic");
    if !pairs.is_empty() || has_members {
        return out.error(CommandError::refused(format!(
            "Can not assign attributes to dynamic node group '{name}'."
        )));
    }
    let given = match value_of(&object.pairs, "wherevals") {
        Some(text) => text.to_owned(),
        None => options.conditions.join("::"),
    };
    if given.is_empty() {
        return out.error(CommandError::usage(
            "The 'where' attributes and values were not provided for dynamic group, use the '-w' option.",
        ));
    }
    let parts: Vec<String> = given.split("::").map(str::to_owned).collect();
    // Removed values need not be valid.
    if options.mode != Mode::Minus {
        read_conditions(parts.iter().map(String::as_str), options.view)?;
    }
    let wherevals = match (&kind, options.mode) {
        (Some(GroupKind::Dynamic(old)), Mode::Plus) => merged(old, &parts, true),
        (Some(GroupKind::Dynamic(old)), Mode::Minus) => merged(old, &parts, false),
        _ => given,
    };
    if options.make && kind.is_some() {
        outcome.edits.extend(now.delete_object(object.kind, name));
    }
    outcome.edits.push(now.define_group(name, &GroupKind::Dynamic(wherevals.into())));
    outcome.note(object, kind.is_some());
    Ok(())
}

fn merged(old: &str, parts: &[String], add: bool) -> String {
    let mut list: Vec<&str> = old.split("::").filter(|part| !parts.iter().any(|p| p == part)).collect();
    if add {
        list.extend(parts.iter().map(String::as_str));
    }
    list.join("::")
}

/// Conditions on nodes.
fn read_conditions<'a>(list: impl IntoIterator<Item = &'a str>, view: &View) -> Result<Conditions, Stop> {
    super::conditions(list, &[super::kind("node")?], view, "The '-w' option has an incorrect attr*val pair.")
}

/// The objects of a command line: every name of every type with the same attributes.
pub fn from_words(
    words: &Words,
    kinds: &[&'static ObjectType],
    mode: Mode,
    base: &Snapshot,
    view: &View,
) -> Result<Vec<Wanted>, Stop> {
    if kinds.len() > 1 && !words.pairs.is_empty() {
        return Err(Stop::usage("Cannot combine multiple types with 'att=val' pairs on the command line."));
    }
    let mut wanted = Vec::new();
    for kind in kinds {
        let text = match (&words.names, kind.name) {
            (_, "site") => "clustersite",
            (Some(text), _) => text,
            (None, _) => return Err(Stop::usage("No object names were provided.")),
        };
        for name in super::names(base, view, kind, text)? {
            wanted.push(Wanted { kind, name, pairs: words.assigns(mode), from_stanza: false });
        }
    }
    Ok(wanted)
}
