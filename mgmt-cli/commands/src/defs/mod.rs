//! What the object commands `lsdef`, `mkdef`, `chdef` and `rmdef` have in common: words, types, names.

pub mod args;
pub mod complete;
pub mod templates;
pub mod write;

use dawn_bootd::caller::View;
use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::condition::assignment;
use dawn_cluster::list::elements;
use dawn_cluster::nearest_of;
use dawn_cluster::secrets::{Sensitivity, of_site_key};
use dawn_cluster::stanza;
use dawn_cluster::{Assign, ConditionError, Conditions, Snapshot, Text, col};
use dawn_cluster::{ObjectType, SITE_OBJECT, object_type, object_types};
use std::net::IpAddr;

/// `attr=value` in one of its forms.
pub type Pairs = Vec<(String, Assign)>;

/// An object asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Type.
    pub kind: &'static ObjectType,
    /// Name.
    pub name: String,
    /// Attributes.
    pub pairs: Pairs,
    /// From a stanza file: NIC attributes replace whole columns.
    pub from_stanza: bool,
}

/// Words of a command line after its options: names and `attr=value`.
#[derive(Debug, Default)]
pub struct Words {
    /// Names or noderange.
    pub names: Option<String>,
    /// Attributes.
    pub pairs: Vec<(String, String)>,
}

/// How `attr=value` changes the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Replaces.
    Set,
    /// `-p`.
    Plus,
    /// `-m`.
    Minus,
}

impl Words {
    /// Sorts the words; `names` of `-o` count like a word without `=`.
    pub fn read(words: &[String], objects: Option<&str>) -> Result<Words, Stop> {
        let mut read = Words { names: objects.map(str::to_owned), pairs: Vec::new() };
        for word in words {
            match assignment(word) {
                Some((attr, value)) => {
                    let attr = attr.trim();
                    if attr.is_empty() {
                        return Err(Stop::usage(format!("Incorrect 'attr=val' pair - {word}.")));
                    }
                    read.pairs.push((attr.to_owned(), value.trim().to_owned()));
                }
                _ if read.names.is_none() => read.names = Some(word.clone()),
                _ => return Err(Stop::usage("noderange can not contain spaces.")),
            }
        }
        Ok(read)
    }

    /// The attributes as assignments.
    pub fn assigns(&self, mode: Mode) -> Pairs {
        let assign = |value: &String| match mode {
            Mode::Set => Assign::Set(value.clone()),
            Mode::Plus => Assign::Add(value.clone()),
            Mode::Minus => Assign::Remove(value.clone()),
        };
        self.pairs.iter().map(|(attr, value)| (attr.clone(), assign(value))).collect()
    }
}

/// The types of `-t`; `node` without it.
pub fn types(list: Option<&str>) -> Result<Vec<&'static ObjectType>, Stop> {
    let list = list.unwrap_or("node");
    list.split(',').map(|name| kind(name.trim())).collect()
}

/// One type.
pub fn kind(name: &str) -> Result<&'static ObjectType, Stop> {
    let unknown = || {
        let known: Vec<&str> = object_types().iter().map(|kind| kind.name).collect();
        let known = known.join(", ");
        Stop::not_found(format!("\nType '{name}' is not a valid xCAT object type.\nThe types are {known}."))
    };
    object_type(name).ok_or_else(unknown)
}

/// `attr` is not an attribute of these types: xCAT's line, and the name that was meant.
pub fn unknown_attribute(attr: &str, kinds: &[&'static ObjectType]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let names = names.join(",");
    let hint = match nearest_of(attr, kinds.iter().flat_map(|kind| kind.attr_names())) {
        Some(meant) => format!("Did you mean '{meant}'?"),
        None => format!("`dawn lsdef -t {names} -h` lists them."),
    };
    format!("'{attr}' is not a valid attribute name for an object type of '{names}'. {hint}")
}

/// Conditions of `-w` on attributes of these types; `malformed` is what is said of one without operator.
pub fn conditions<'a>(
    list: impl IntoIterator<Item = &'a str>,
    kinds: &[&'static ObjectType],
    view: &View,
    malformed: &str,
) -> Result<Conditions, Stop> {
    let list: Vec<&str> = list.into_iter().collect();
    view.may_ask(0, list.len())?;
    let conditions = Conditions::parse(list).map_err(|error| match error {
        ConditionError::Malformed => Stop::usage(malformed),
        other => Stop::usage(other.to_string()),
    })?;
    let known = |attr: &str| kinds.iter().any(|kind| attr == kind.key || kind.has_attr(attr));
    if let Some(attr) = conditions.attrs().find(|attr| !known(attr)) {
        return Err(Stop::not_found(unknown_attribute(attr, kinds)));
    }
    for line in kinds.iter().flat_map(|kind| &kind.attrs) {
        if conditions.attrs().any(|attr| attr == line.name) {
            view.may_compare(line.col)?;
        }
    }
    if kinds.iter().any(|kind| kind.name == "site") {
        // Any key is an attribute there. One that is meant for objects of other types is open to all.
        let others = || kinds.iter().filter(|kind| !kind.takes_any_attr());
        let of_others = |key: &str| others().any(|kind| key == kind.key || kind.has_attr(key));
        let mut keys =
            conditions.attrs().filter(|key| of_site_key(key) == Sensitivity::Secret || !of_others(key));
        keys.try_for_each(|key| view.may_use_setting(key))?;
    }
    Ok(conditions)
}

/// All types that `-a` means.
pub fn all_types() -> Vec<&'static ObjectType> {
    object_types().iter().filter(|kind| !matches!(kind.name, "eventlog" | "auditlog")).collect()
}

/// The objects that a text names: a noderange (names need not exist) for nodes, else a comma list.
pub fn names(snapshot: &Snapshot, view: &View, kind: &ObjectType, text: &str) -> Result<Vec<String>, Stop> {
    match kind.name {
        "site" => Ok(vec![SITE_OBJECT.to_owned()]),
        "node" => {
            let nodes = crate::names::expand_new(snapshot, view, text)?;
            if nodes.is_empty() {
                return Err(Stop::not_found(format!("No node in '{text}', check the noderange syntax.")));
            }
            Ok(nodes)
        }
        _ => {
            let mut list: Vec<String> = Vec::new();
            for name in elements(text) {
                if !list.iter().any(|known| known == name) {
                    list.push(name.to_owned());
                }
            }
            Ok(list)
        }
    }
}

/// The objects of a stanza text.
pub fn from_stanzas(text: Option<&str>) -> Result<Vec<Wanted>, Stop> {
    let text = text.unwrap_or_default();
    let list = stanza::read(text).map_err(|error| Stop::usage(error.to_string()))?;
    let wanted = |stanza: stanza::Stanza| -> Result<Wanted, Stop> {
        let kind = kind(&stanza.kind)?;
        let name = if kind.name == "site" { SITE_OBJECT.to_owned() } else { stanza.name };
        let pairs = stanza.attrs.into_iter().map(|(attr, value)| (attr, Assign::Set(value))).collect();
        Ok(Wanted { kind, name, pairs, from_stanza: true })
    };
    let mut objects: Vec<Wanted> = Vec::new();
    for object in list.into_iter().map(wanted) {
        let object: Wanted = object?;
        // An object that is listed twice is one object; the last value counts.
        match objects
            .iter_mut()
            .find(|known| known.kind.name == object.kind.name && known.name == object.name)
        {
            Some(known) => {
                known.pairs.retain(|(attr, _)| !object.pairs.iter().any(|(other, _)| other == attr));
                known.pairs.extend(object.pairs);
            }
            None => objects.push(object),
        }
    }
    Ok(objects)
}

/// The rules for names of new objects; the error is xCAT's text.
pub fn check_new_name(kind: &ObjectType, name: &str, snapshot: &Snapshot) -> Result<(), CommandError> {
    let invalid = || {
        CommandError::usage(format!(
            "The object name '{name}' is invalid: names begin with a letter or digit and have letters, digits, \
             - and _ only"
        ))
    };
    match kind.name {
        "node" if name.parse::<IpAddr>().is_ok() => Ok(()),
        "node" if name.contains('.') => Err(CommandError::usage(format!(
            "The object name '{name}' is invalid, Cannot use '.' in node name."
        ))),
        "node" => {
            let good = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            if good && !name.is_empty() && !name.starts_with('-') { Ok(()) } else { Err(invalid()) }
        }
        "group" => {
            let invalid = format!("The object name '{name}' is invalid");
            dawn_cluster::check_group_name(snapshot, name)
                .map_err(|reason| CommandError::usage(invalid).cause(reason))
        }
        _ if name.is_empty() || name.contains('/') && kind.name == "osimage" => Err(invalid()),
        _ => Ok(()),
    }
}

/// Members of a group given by `members=` or `-w`.
pub fn members(snapshot: &Snapshot, view: &View, noderange: &str) -> Result<Vec<Text>, Stop> {
    let expanded = view.expand(snapshot, noderange);
    if let Some(fatal) = expanded.fatal {
        return Err(Stop::usage(fatal));
    }
    if !expanded.unknown.is_empty() {
        return Err(CommandError::unknown_nodes(&expanded.unknown).into());
    }
    Ok(expanded.nodes.iter().map(|node| Text::from(node.as_str())).collect())
}

/// `-h -t type`: the attributes of a type.
pub fn attribute_help(kind: &ObjectType, out: &mut Out<'_>) -> Done {
    out.heading(format!("The valid attribute names for object type '{}' are:", kind.name))?;
    out.heading("Attribute          Description")?;
    out.heading("")?;
    if kind.name == "site" {
        // Any key is an attribute of the one object; those that are known have a text.
        return dawn_cluster::site_keys().iter().try_for_each(|key| {
            out.report(&Attribute { attribute: key.name, description: crate::descriptions::site_key(key) })
        });
    }
    for name in kind.attr_names() {
        let places: Vec<String> = kind
            .lines(name)
            .map(|line| match line.only_if {
                Some((attr, word)) => format!("{} (if {attr} is {word})", line.col),
                None => line.col.to_string(),
            })
            .collect();
        let places = places.join(", ");
        // Attributes in several places are described by the first that has a text.
        let text = match kind.lines(name).find_map(|line| crate::descriptions::purpose(line.col)) {
            Some(text) => format!("{text} ({places})"),
            None => places,
        };
        out.report(&Attribute { attribute: name, description: text })?;
    }
    Ok(())
}

/// An attribute of a type.
#[derive(serde::Serialize)]
struct Attribute<'a> {
    attribute: &'a str,
    description: String,
}

impl Report for Attribute<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let tabs = if self.attribute.len() < 7 { "\t\t" } else { "\t" };
        lines.line(format!("{}:{tabs}{}", self.attribute, self.description))?;
        lines.line("")
    }
}

/// Help of a command that takes `-h` itself.
pub fn help(command: &str, kind: Option<&str>, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    if let Some(name) = kind {
        return types(Some(name))?.into_iter().try_for_each(|kind| attribute_help(kind, out));
    }
    match ctx.registry.find(command) {
        Some(entry) => out.lines(&(entry.clap)().render_long_help().to_string()),
        None => Ok(()),
    }
}

/// The usage lines; exit code 1 if an error was reported.
pub fn usage(command: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    match ctx.registry.find(command) {
        Some(entry) => out.usage(&(entry.clap)().render_usage().to_string()),
        None => Ok(()),
    }
}

/// An error followed by the usage lines.
pub fn refuse(command: &str, text: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    out.error(CommandError::usage(text))?;
    usage(command, ctx, out)
}

/// `xcatdefaults` values in front of a node's own scripts.
pub fn default_scripts(ctx: &Ctx<'_>, attr: &str) -> Option<Text> {
    default_scripts_of(&ctx.snapshot, attr)
}

/// The same on a snapshot.
pub fn default_scripts_of(snapshot: &Snapshot, attr: &str) -> Option<Text> {
    let col = match attr {
        "postscripts" => col::postscripts::POSTSCRIPTS,
        "postbootscripts" => col::postscripts::POSTBOOTSCRIPTS,
        _ => return None,
    };
    let row = snapshot.find_row(&[(col::postscripts::NODE, "xcatdefaults")])?;
    row.get(col).cloned()
}
