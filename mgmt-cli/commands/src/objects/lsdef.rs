//! `lsdef`: objects and their attributes.

use crate::defs::args::Selection as Names;
use crate::defs::{self, Words, templates};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::list::elements;
use dawn_cluster::stanza;
use dawn_cluster::{Conditions, Text, col};
use dawn_cluster::{NIC_COLUMNS, Object, ObjectType, ObjectValue, Selection};
use serde::Serialize;
use serde::ser::SerializeMap as _;
use std::collections::BTreeMap;

/// List objects (nodes, groups, images, networks ...) and their attributes
///
/// Without names: the names of all objects of the type. With names: all attributes.
#[derive(Debug, clap::Args)]
#[command(override_usage = "lsdef [OPTIONS] [NAME[,NAME...]]")]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    #[command(flatten)]
    selection: Names,
    /// Complete definitions
    #[arg(short = 'l', long)]
    long: bool,
    /// Names only
    #[arg(short = 's', long)]
    short: bool,
    /// All objects of all types
    #[arg(short = 'a', long)]
    all: bool,
    /// Only these attributes, comma separated
    #[arg(short = 'i', value_name = "ATTRIBUTES")]
    attributes: Option<String>,
    /// With -i: one line for each attribute, the object's name in front
    #[arg(short = 'c', long)]
    compress: bool,
    /// Print a stanza file
    #[arg(short = 'z', long)]
    stanza: bool,
    /// Include hidden nodes
    #[arg(short = 'S')]
    hidden: bool,
    /// Only objects whose ATTRIBUTE<op>VALUE holds, op one of == = != =~ !~; repeatable
    #[arg(short = 'w', value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Include the attributes of the node's image
    #[arg(long)]
    osimage: bool,
    /// Attributes of network interfaces only
    #[arg(long)]
    nics: bool,
    /// Show the table that each value comes from
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Templates for mkdef instead of objects; of these names only
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "")]
    template: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "lsdef";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.selection.help {
            return defs::help(Self::NAME, self.selection.kind.as_deref(), ctx, out);
        }
        if let Some(text) = self.conflict() {
            return defs::refuse(Self::NAME, text, ctx, out);
        }
        let named = self.template.as_deref().filter(|names| !names.is_empty());
        let words = match Words::read(&self.selection.words, self.selection.objects.as_deref().or(named)) {
            Err(Stop::Error(error)) => return defs::refuse(Self::NAME, &error.to_string(), ctx, out),
            other => other?,
        };
        if !words.pairs.is_empty() {
            return defs::refuse(Self::NAME, "Invalid option..", ctx, out);
        }
        let view = self.view(&words, ctx, out)?;
        if self.template.is_some() {
            return self.show_templates(&words, &view, ctx, out);
        }
        let (mut shown, mut asked) = (0, false);
        let (mut found, mut gone) = (false, false);
        if self.stanza {
            out.heading(STANZA_FILE)?;
        }
        for kind in &view.types {
            let (names, given) = self.names(kind, &words, ctx)?;
            asked |= given;
            if names.is_empty() && !given && !self.all {
                empty_type(kind, ctx, out)?;
                shown += 1;
            }
            let attributes = view.attributes(kind);
            for name in names {
                out.wanted()?;
                let Some(object) = self.read(&attributes, &name, &view, ctx) else {
                    let kind = kind.name;
                    gone |= kind != "node";
                    out.error(CommandError::not_found(format!(
                        "Could not find an object named '{name}' of type '{kind}'."
                    )))?;
                    continue;
                };
                found = true;
                let Some(object) = object else { continue };
                shown += 1;
                self.show(&object, &view, ctx, out)?;
            }
        }
        if gone && !found {
            return Err(Stop::not_found("Could not get xCAT object definitions."));
        }
        if shown == 0 && (asked || !self.conditions.is_empty()) {
            out.heading("No object definitions have been found")?;
        }
        Ok(())
    }
}

/// What a stanza file begins with.
const STANZA_FILE: &str = "# <xCAT data object stanza file>";

/// What is printed of each object.
struct View {
    types: Vec<&'static ObjectType>,
    conditions: Option<Conditions>,
    /// Attributes asked for; `None` means all that are set.
    only: Option<Vec<String>>,
    names_only: bool,
    /// More than one type: the type is printed with the name.
    with_type: bool,
}

impl View {
    /// The attributes that are read of the objects of a type.
    fn attributes(&self, kind: &'static ObjectType) -> Selection {
        match &self.only {
            _ if self.names_only => Selection::of(kind, &[]),
            Some(only) => Selection::of(kind, &only.iter().map(String::as_str).collect::<Vec<_>>()),
            None => Selection::all(kind),
        }
    }
}

impl Args {
    fn conflict(&self) -> Option<&'static str> {
        let only = self.attributes.is_some();
        [
            (self.selection.xml, "The '-x' (XML format) option is not yet implemented."),
            (self.long && self.short, "The flags '-l' and '-s' cannot be used together."),
            (only && self.short, "The flags '-i' and '-s' cannot be used together."),
            (
                self.all && self.selection.kind.is_some(),
                "Cannot combine '-t' and '-a', '-z', or '-x' options.",
            ),
            (only && self.osimage, "The flags '-i' and '--osimage' cannot be used together."),
            (self.stanza && self.osimage, "The flags '-z' and '--osimage' cannot be used together."),
            (only && self.nics, "The flags '-i' and '--nics' cannot be used together."),
            (self.compress && !only, "The flags '-c' and '-i' must be used together."),
        ]
        .into_iter()
        .find_map(|(wrong, text)| wrong.then_some(text))
    }

    fn view(&self, words: &Words, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Result<View, Stop> {
        let types = match self.selection.kind.as_deref() {
            _ if self.all => defs::all_types(),
            None if self.template.is_some() => templates::all_types(),
            kinds => defs::types(kinds)?,
        };
        let conditions = match self.conditions.as_slice() {
            [] => None,
            list => {
                let malformed = "Incorrect selection string specified with -w flag.";
                Some(defs::conditions(list.iter().map(String::as_str), &types, &ctx.view, malformed)?)
            }
        };
        let mut only = None;
        if let Some(list) = &self.attributes {
            let mut good = Vec::new();
            for attr in elements(list) {
                if types.iter().any(|kind| kind.has_attr(attr)) {
                    good.push(attr.to_owned());
                } else {
                    out.error(CommandError::usage(defs::unknown_attribute(attr, &types)))?;
                }
            }
            only = Some(good);
        } else if self.nics {
            only = Some(NIC_COLUMNS.iter().map(|column| (*column).to_owned()).collect());
        }
        // All attributes are read only for those that see them: ten thousand nodes are named at once.
        let long = self.long || self.stanza || only.is_some() || out.is_json() || words.names.is_some();
        let names_only = self.short || !long && !self.osimage;
        let with_type = types.len() > 1 && self.template.is_none();
        Ok(View { types, conditions, only, names_only, with_type })
    }

    /// Templates instead of objects, in the same forms.
    fn show_templates(&self, words: &Words, view: &View, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let mut list = templates::list(&view.types, ctx.data)?;
        if let Some(names) = &words.names {
            let names: Vec<&str> = elements(names).collect();
            for name in &names {
                if !list.iter().any(|template| &*template.name == *name) {
                    return Err(templates::missing(name));
                }
            }
            list.retain(|template| names.contains(&&*template.name));
        }
        for template in list.iter_mut().filter(|template| template.kind.name == "node" && !self.stanza) {
            add_default_scripts(template, |_| true, ctx);
        }
        if let Some(only) = &view.only {
            for template in &mut list {
                template.attrs.retain(|attr, _| only.iter().any(|wanted| **wanted == **attr));
            }
        }
        if self.stanza {
            out.heading(STANZA_FILE)?;
        }
        list.iter().try_for_each(|template| self.show(template, view, ctx, out))
    }

    /// Names of the objects, sorted, and whether the user gave them.
    fn names(
        &self,
        kind: &'static ObjectType,
        words: &Words,
        ctx: &Ctx<'_>,
    ) -> Result<(Vec<String>, bool), Stop> {
        if let Some(text) = &words.names
            && kind.name != "site"
        {
            let mut names = defs::names(&ctx.snapshot, &ctx.view, kind, text)?;
            names.sort();
            return Ok((names, true));
        }
        let hidden = |name: &Text| {
            kind.name == "node" && (!self.hidden && ctx.snapshot.is_hidden(name) || !ctx.view.covers(name))
        };
        let names = ctx.snapshot.object_names(kind);
        let mut names: Vec<String> =
            names.iter().filter(|name| !hidden(name)).map(|name| name.to_string()).collect();
        names.sort();
        Ok((names, false))
    }

    /// The object; outer `None`: there is none, inner `None`: it does not meet the conditions.
    fn read(&self, attributes: &Selection, name: &str, view: &View, ctx: &Ctx<'_>) -> Option<Option<Object>> {
        let (snapshot, kind) = (&ctx.snapshot, attributes.kind());
        if let Some(conditions) = &view.conditions {
            let object = snapshot.object(kind, name)?;
            let get = |attr: &str| {
                if attr == kind.key { Some(Text::from(name)) } else { object.get(attr).cloned() }
            };
            if !conditions.hold(get) {
                return Some(None);
            }
        }
        let mut object = snapshot.select(attributes, name)?;
        let asks = |attr: &str| attributes.asks_for(attr);
        if kind.name == "group" && asks("members") {
            let members = ctx.view.members(snapshot, name).join(",");
            set(&mut object, "members", members);
        }
        if kind.name == "node" && !self.stanza {
            add_default_scripts(&mut object, asks, ctx);
        }
        Some(Some(object))
    }

    fn show(&self, object: &Object, view: &View, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.stanza && !stanza::is_header(&object.name) {
            let (name, kind) = (&object.name, object.kind.name);
            let hint = "it has '=', ':' at its end, or the like; dumpxCATdb keeps it";
            return out.error(CommandError::conflict(format!(
                "The {kind} '{name}' cannot be written to a stanza file: {hint}."
            )));
        }
        let image = if self.osimage { image_of(object, ctx)? } else { None };
        out.report(&Shown { object, image, args: self, view })
    }
}

/// The image of a node.
fn image_of(object: &Object, ctx: &Ctx<'_>) -> Result<Option<Object>, Stop> {
    let image = ctx.snapshot.attr(&object.name, col::nodetype::PROVMETHOD);
    let kind = defs::kind("osimage")?;
    Ok(image.and_then(|image| ctx.snapshot.object(kind, &image)))
}

/// An object of the list, in the form that the options chose.
struct Shown<'a> {
    object: &'a Object,
    /// With `--osimage`.
    image: Option<Object>,
    args: &'a Args,
    view: &'a View,
}

impl Serialize for Shown<'_> {
    /// The attributes that are set, `name` and `objtype`; those of the image are an object in it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn attrs(object: &Object) -> BTreeMap<&str, &str> {
            object.attrs.iter().map(|(attr, value)| (&**attr, &*value.value)).collect()
        }
        let mut all = attrs(self.object);
        all.insert("objtype", self.object.kind.name);
        all.insert("name", &self.object.name);
        let mut map = serializer.serialize_map(None)?;
        all.iter().try_for_each(|(attr, value)| map.serialize_entry(attr, value))?;
        if let Some(image) = &self.image {
            map.serialize_entry("osimage", &attrs(image))?;
        }
        map.end()
    }
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let (args, view) = (self.args, self.view);
        let (name, kind) = (&self.object.name, self.object.kind.name);
        if view.names_only {
            let blanks = if args.all { " " } else { "  " };
            return lines.line(format!("{name}{blanks}({kind})"));
        }
        if args.compress {
            let all = lines_of(self.object, view, Form::Plain);
            return all.into_iter().try_for_each(|line| lines.line(format!("{name}: {line}")));
        }
        if args.stanza {
            lines.line("")?;
            lines.line(format!("{name}:"))?;
            lines.line(format!("    objtype={kind}"))?;
        } else if view.with_type {
            lines.line(format!("Object name: {name}  ({kind})"))?;
        } else {
            lines.line(format!("Object name: {name}"))?;
        }
        let form = match () {
            () if args.stanza => Form::Stanza,
            () if args.verbose => Form::WithPlace,
            () => Form::Plain,
        };
        for line in lines_of(self.object, view, form) {
            lines.line(format!("    {line}"))?;
        }
        for (attr, value) in self.image.iter().flat_map(|image| &image.attrs) {
            lines.line(format!("    {attr}={}", value.value))?;
        }
        Ok(())
    }
}

/// A node has the scripts of `xcatdefaults` in front of its own.
fn add_default_scripts(object: &mut Object, asks: impl Fn(&str) -> bool, ctx: &Ctx<'_>) {
    for attr in ["postscripts", "postbootscripts"].into_iter().filter(|attr| asks(attr)) {
        let Some(defaults) = defs::default_scripts(ctx, attr) else { continue };
        let own = object.get(attr).map(|text| format!(",{text}")).unwrap_or_default();
        set(object, attr, format!("{defaults}{own}"));
    }
}

fn set(object: &mut Object, attr: &str, value: String) {
    if value.is_empty() {
        object.attrs.remove(attr);
        return;
    }
    let line = object.attrs.get(attr).and_then(|value| value.line);
    object.attrs.insert(attr.into(), ObjectValue { value: value.into(), line });
}

/// How `attr=value` is written.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// `-V`: followed by table, key and column.
    WithPlace,
    /// `-z`: as it is read back.
    Stanza,
}

/// `attr=value` of what is set, sorted; of attributes asked for by name the empty ones too.
fn lines_of(object: &Object, view: &View, form: Form) -> Vec<String> {
    let line = |attr: &str, value: &ObjectValue| match form {
        Form::Plain => format!("{attr}={}", value.value),
        Form::WithPlace => format!("{attr}={}{}", value.value, place(object, attr, value)),
        Form::Stanza => format!("{attr}={}", stanza::write_value(&value.value)),
    };
    let lines = object.attrs.iter().map(|(attr, value)| (attr.to_string(), line(attr, value)));
    let mut lines: Vec<(String, String)> = lines.collect();
    for attr in view.only.iter().flatten() {
        let is_column = NIC_COLUMNS.contains(&attr.as_str());
        if !is_column && object.get(attr).is_none() && object.kind.has_attr(attr) {
            lines.push((attr.clone(), format!("{attr}=")));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Table, key and column.
fn place(object: &Object, attr: &str, value: &ObjectValue) -> String {
    match (object.kind.name, value.line) {
        ("site", _) => format!("\t(Table:site - Key:{attr})"),
        ("monitoring", _) => "\t(Table:monsetting)".to_owned(),
        (kind, Some(line)) => {
            let key = line.lookup.first().map(|(col, _)| col.name()).unwrap_or_default();
            let blank = if kind == "node" { "" } else { " " };
            format!("\t(Table:{} - Key:{blank}{key} - Column:{})", line.col.table, line.col.name())
        }
        (_, None) => String::new(),
    }
}

fn empty_type(kind: &ObjectType, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
    let any = kind.tables().into_iter().any(|table| ctx.snapshot.row_count(table) > 0);
    if any {
        return out.heading(format!("Could not find any objects of type '{}'.", kind.name));
    }
    out.heading("Could not find any object definitions to display.")
}
