//! The evaluator: a template, its includes, and the values of its directives.
//!
//! A directive is replaced in place; its value is not scanned again. Directives in its argument come
//! first. Includes are relative to the directory of the template (of the list, inside of package lists), and
//! may use the variables of `#ENV:`. Lines of an included file lose their trailing blanks, but for blank
//! lines and those that begin with `#`. A directive in a comment counts as everywhere.

use crate::base64;
use crate::builtin;
use crate::context::{Context, Found};
use crate::directive::{self, Directive, Word};
use crate::environment::Environment;
use crate::error::{DeployError, Problem, RenderError};
use crate::files::{self, FileError, Files};
use crate::layout::{self, Element, XML_END, XML_START};
use crate::list::{self, Part};
use crate::network;
use crate::packages;
use crate::rendered::{Rendered, Value};
use crate::search::Wanted;
use crate::table::{self, Cell, LOCKED};
use dawn_cluster::list::elements;
use dawn_cluster::{Installer, Secret, Snapshot, col};
use dawn_plan::install::installer_of;
use dawn_plan::view::AnswerPart;
use dawn_plan::{Surroundings, image_of, servers};

/// How deep files include each other.
const DEPTH_MAX: usize = 16;
/// Files that a template includes, with those of the included ones.
const INCLUDES_MAX: usize = 256;
/// Longest text that is rendered (bytes).
const TEXT_BYTES_MAX: usize = 1 << 20;

/// What answers are rendered from.
pub struct Job<'a> {
    /// The tables.
    pub snapshot: &'a Snapshot,
    /// The node.
    pub node: &'a str,
    /// What its plan depends on besides the tables.
    pub here: Surroundings<'a>,
    /// Who reads templates.
    pub files: &'a dyn Files,
    /// Makes a hash for crypt(3) of a password, or of a hash that hash.
    pub hash: &'a dyn Fn(&str) -> Option<Secret>,
}

/// Answers for an installer.
#[derive(Debug, Clone)]
pub struct Answers {
    /// Path of the template.
    pub template: String,
    /// The text.
    pub text: Rendered,
}

/// Renders a file of answers for a node, by the image that `nodetype.provmethod` names.
///
/// # Errors
/// [`DeployError`] names file, line and directive.
pub fn render(job: &Job<'_>, part: AnswerPart) -> Result<Answers, DeployError> {
    let image = image_of(job.snapshot, job.node)?;
    let installer = installer_of(&image)?;
    let servers = servers(job.snapshot, job.node, job.here)?;
    let no_address =
        || DeployError::NoMasterAddress { master: servers.master.clone(), node: job.node.to_owned() };
    let master = servers.master_address.ok_or_else(no_address)?;
    let (snapshot, node, ports) = (job.snapshot, job.node, job.here.ports);
    let context = Context { snapshot, node, image, installer, servers, ports };
    match part {
        AnswerPart::Whole | AnswerPart::UserData => {}
        AnswerPart::MetaData => return Ok(fixed("")),
        AnswerPart::VendorData => return Ok(fixed("{}\n")),
    }
    let environment = Environment::of(&context, master);
    let (template, text) = template(&context, job.files)?;
    let mut run =
        Run { job, context, environment, template, out: Rendered::default(), depth: 0, includes: 0 };
    let path = run.template.clone();
    run.expand(&text, &path, Style::Plain)?;
    Ok(Answers { template: run.template, text: run.out })
}

/// A file that is the same for all nodes.
fn fixed(text: &str) -> Answers {
    let mut rendered = Rendered::default();
    rendered.push(text);
    Answers { template: "(none)".to_owned(), text: rendered }
}

/// The template of an image: what it names, else what is found by its name, else ours.
fn template(context: &Context<'_>, files: &dyn Files) -> Result<(String, String), DeployError> {
    let named = context.of_image(col::linuximage::TEMPLATE);
    if !named.is_empty() {
        return match files::read(files, &named) {
            Ok(text) => Ok((named, text)),
            Err(reason) => Err(DeployError::NoTemplate { path: named, reason }),
        };
    }
    let no_template = |(path, reason)| DeployError::NoTemplate { path, reason };
    find(context, files, "tmpl").map_err(no_template)
}

/// The first file that is there, of those that an image without a name for it may mean.
fn find(
    context: &Context<'_>,
    files: &dyn Files,
    ending: &str,
) -> Result<(String, String), (String, FileError)> {
    let (osvers, arch, profile) = (
        context.of_image(col::osimage::OSVERS),
        context.of_image(col::osimage::OSARCH),
        context.of_image(col::osimage::PROFILE),
    );
    let wanted =
        Wanted { osvers: &osvers, arch: &arch, profile: &profile, installer: context.installer, ending };
    let own = builtin::path(context.installer, ending);
    for path in wanted.candidates().into_iter().chain([own]) {
        match files::read(files, &path) {
            Ok(text) => return Ok((path, text)),
            Err(FileError::Absent | FileError::Outside(_)) => {}
            // Another one is not taken silently.
            Err(reason) => return Err((path, reason)),
        }
    }
    Err((builtin::path(context.installer, ending), FileError::Absent))
}

/// How the text of a file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    /// For a here-document: `$` and backquotes escaped, no includes.
    Escaped,
}

/// One rendering.
struct Run<'j> {
    job: &'j Job<'j>,
    context: Context<'j>,
    environment: Environment,
    template: String,
    out: Rendered,
    depth: usize,
    includes: usize,
}

/// A directive, and its place.
#[derive(Clone, Copy)]
struct Place<'t> {
    file: &'t str,
    line: usize,
    text: &'t str,
}

impl Place<'_> {
    fn error(self, problem: Problem) -> RenderError {
        let (file, directive) = (self.file.to_owned(), self.text.to_owned());
        RenderError { file, line: self.line, directive, problem: Box::new(problem) }
    }
}

impl Run<'_> {
    /// Appends a text with its directives replaced.
    fn expand(&mut self, text: &str, file: &str, style: Style) -> Result<(), RenderError> {
        let mut rest = text;
        let mut line = 1;
        while let Some((plain, from)) = next_mark(rest) {
            line += line_breaks(plain);
            self.literal(plain, style, Place { file, line, text: "" })?;
            if from.starts_with(XML_START) {
                rest = self.xml_layout(from, file, line)?;
            } else if let Some(found) = directive::at(from).filter(|found| style.takes(found.word)) {
                let place = Place { file, line, text: found.text };
                rest = from.get(found.text.len()..).unwrap_or_default();
                if found.word == Word::LayoutStart {
                    rest = self.layout(rest, place)?;
                } else {
                    self.directive(found, place)?;
                }
            } else {
                if let Some(unknown) = directive::unknown_at(from) {
                    self.out.note_unknown(format!("{file}:{line}: {unknown}"));
                }
                let (mark, after) = from.split_at(1);
                self.literal(mark, style, Place { file, line, text: "" })?;
                rest = after;
            }
            let consumed = from.get(..from.len() - rest.len()).unwrap_or_default();
            line += line_breaks(consumed);
        }
        self.literal(rest, style, Place { file, line, text: "" })
    }

    fn literal(&mut self, text: &str, style: Style, place: Place<'_>) -> Result<(), RenderError> {
        match style {
            Style::Plain => self.out.push(text),
            Style::Escaped => self.out.push(&text.replace('$', "\\$").replace('`', "\\`")),
        }
        self.check_length(place)
    }

    fn check_length(&self, place: Place<'_>) -> Result<(), RenderError> {
        match self.out.bytes() > TEXT_BYTES_MAX {
            true => Err(place.error(Problem::Long(TEXT_BYTES_MAX))),
            false => Ok(()),
        }
    }

    /// What `work` appends, apart from the text.
    fn captured(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), RenderError>,
    ) -> Result<Rendered, RenderError> {
        let before = std::mem::take(&mut self.out);
        let done = work(self);
        let mut captured = std::mem::replace(&mut self.out, before);
        done?;
        self.out.take_notes(&mut captured);
        Ok(captured)
    }

    /// The argument of a directive, with the directives in it replaced.
    fn argument(&mut self, found: Directive<'_>, place: Place<'_>) -> Result<Rendered, RenderError> {
        let Place { file, line, .. } = place;
        let mut rest = found.argument;
        self.captured(|run| {
            while let Some(at) = rest.find('#') {
                let (plain, from) = rest.split_at(at);
                run.out.push(plain);
                match directive::at(from).filter(|_| found.word != Word::Variable) {
                    Some(inner) => {
                        run.directive(inner, Place { file, line, text: inner.text })?;
                        rest = from.get(inner.text.len()..).unwrap_or_default();
                    }
                    None => {
                        run.out.push("#");
                        rest = from.get(1..).unwrap_or_default();
                    }
                }
            }
            run.out.push(rest);
            Ok(())
        })
    }

    fn directive(&mut self, found: Directive<'_>, place: Place<'_>) -> Result<(), RenderError> {
        let argument = self.argument(found, place)?;
        let has_secret = argument.has_secret();
        let argument = argument.reveal();
        if found.word.includes() {
            return self.include(found.word, &argument, place);
        }
        let context = &self.context;
        let error = |problem: Problem| place.error(problem);
        let value = match found.word {
            Word::Table | Word::TableBlankOkay | Word::Crypt | Word::CryptOrLocked => {
                let mut value = self.cell(found.word, &argument).map_err(error)?;
                value.hidden |= has_secret;
                value
            }
            Word::Variable => match self.environment.get(&argument) {
                Some(variable) => Found::open(&*variable.value, &*variable.source),
                None => Found::open("", "not set"),
            },
            Word::HostName => Found::open(context.node, "the node's name"),
            Word::ShortName => Found::open(network::short_name(context.node), "the node's name"),
            Word::NodeDomain => network::domain(context),
            Word::NodeMac => network::mac(context).map_err(error)?,
            Word::ColonHttpPort => Found::open(format!(":{}", context.ports.http), "a port of this server"),
            Word::AddressMode => {
                let mode = context.snapshot.site("managedaddressmode").unwrap_or_default();
                Found::open(&*mode, "site.managedaddressmode")
            }
            Word::LastPackagePlace => {
                let places = context.places().map_err(Problem::from).map_err(error)?;
                Found::open(places.last().cloned().unwrap_or_default(), "linuximage.pkgdir")
            }
            Word::Command => return Err(error(Problem::Command)),
            Word::NotImplemented => return Err(error(Problem::NotImplemented)),
            _ => return self.text_directive(found.word, place),
        };
        self.value(&value, place)
    }

    /// Directives whose value has several lines, written by us.
    fn text_directive(&mut self, word: Word, place: Place<'_>) -> Result<(), RenderError> {
        let context = &self.context;
        let error = |problem: Problem| place.error(problem);
        let value = match word {
            Word::KickstartNetwork => network::kickstart(context).map_err(error)?,
            Word::YastNetwork => network::yast(context),
            Word::KickstartBootLoader => self.boot_loader().map_err(error)?,
            Word::MirrorLines => packages::mirror(context).map_err(error)?,
            Word::AptSection => packages::apt(context).map_err(error)?,
            Word::InstallSources => packages::sources(context).map_err(error)?,
            Word::InstallSourcesInScript => packages::sources_in_script(context).map_err(error)?,
            Word::WriteRepositories => packages::repositories(context).map_err(error)?,
            Word::SuseSdk => packages::suse_sdk(context).map_err(error)?,
            Word::DebugPort => match context.debug_mode().as_str() {
                "1" | "2" => Found::open("", "site.xcatdebugmode"),
                _ => Found::open(place.text, "site.xcatdebugmode"),
            },
            Word::DebugLogin => match context.debug_mode().as_str() {
                "2" => Found::open(" ", "site.xcatdebugmode"),
                _ => Found::open(place.text, "site.xcatdebugmode"),
            },
            Word::DefaultPackages => return self.default_packages(place),
            Word::DefaultPackageElements => return self.default_elements(Part::Packages, place),
            Word::DefaultPatternElements => return self.default_elements(Part::Patterns, place),
            Word::DefaultRemovalElements => return self.default_elements(Part::Removals, place),
            Word::DefaultPackageNames => {
                let lines = self.default_lines(place)?;
                Found::open(list::names(&lines), "linuximage.pkglist")
            }
            Word::LayoutScript => return self.layout_scripts(place),
            Word::LayoutMore if !context.of_image(col::linuximage::PARTITIONFILE).is_empty() => {
                let element = context.of_image(col::linuximage::PARTITIONFILE);
                return Err(error(Problem::Layout { element }));
            }
            // The end of a layout that stays, and placeholders for values that the image does not have.
            _ => return Ok(()),
        };
        self.lines(&value, place)
    }

    fn cell(&self, word: Word, argument: &str) -> Result<Found, Problem> {
        let cell = Cell::parse(argument, self.context.node)?;
        let found = cell.find(&self.context)?;
        let empty = || Found::open("", "not set");
        match word {
            Word::Table => found.ok_or_else(|| cell.missing(self.context.node)),
            Word::TableBlankOkay => Ok(found.unwrap_or_else(empty)),
            Word::Crypt => Ok(table::hashed(&self.context, found, self.job.hash)?.unwrap_or_else(empty)),
            _ => {
                let locked = || Found::open(LOCKED, "not set: locked");
                Ok(table::hashed(&self.context, found, self.job.hash)?.unwrap_or_else(locked))
            }
        }
    }

    /// Appends a value of the tables, which is part of a line.
    fn value(&mut self, value: &Found, place: Place<'_>) -> Result<(), RenderError> {
        if value.text.chars().any(char::is_control) {
            return Err(place.error(Problem::ControlCharacter));
        }
        self.lines(value, place)
    }

    /// Appends a text and notes where it comes from.
    fn lines(&mut self, value: &Found, place: Place<'_>) -> Result<(), RenderError> {
        match value.hidden {
            true => self.out.push_secret(&value.text),
            false => self.out.push(&value.text),
        }
        let shown = if value.hidden { dawn_cluster::secrets::MASK } else { &value.text };
        self.note(place, &value.source, shown);
        self.check_length(place)
    }

    fn note(&mut self, place: Place<'_>, source: &str, shown: &str) {
        self.out.note(Value {
            file: place.file.to_owned(),
            line: place.line,
            directive: place.text.to_owned(),
            source: source.to_owned(),
            shown: shown.to_owned(),
        });
    }

    /// `bootloader`, with the words of the kernel line that stay.
    fn boot_loader(&self) -> Result<Found, Problem> {
        let words = self.environment.get("PERSKCMDLINE").map(|found| found.value.clone()).unwrap_or_default();
        if words.contains(['"', '\\', '`', '$']) || words.chars().any(char::is_control) {
            return Err(Problem::Quote(words));
        }
        let line = match words.is_empty() {
            true => "bootloader".to_owned(),
            false => format!("bootloader --append=\"{words}\""),
        };
        Ok(Found::open(line, "words R::… of addkcmdline"))
    }
}

/// Files.
impl Run<'_> {
    fn include(&mut self, word: Word, name: &str, place: Place<'_>) -> Result<(), RenderError> {
        let path = self.path(name, &self.template, place)?;
        let list = match word {
            Word::PackageElements => Some(Part::Packages),
            Word::PatternElements => Some(Part::Patterns),
            Word::RemovalElements => Some(Part::Removals),
            _ => None,
        };
        if let Some(part) = list {
            let lines = self.list_lines(&path, place)?;
            return self.lines(&Found::open(part.elements(&lines), path), place);
        }
        match word {
            Word::IncludeEscaped => self.file(&path, Style::Escaped, place),
            Word::IncludeBase64 => {
                let text = self.captured(|run| run.file(&path, Style::Plain, place))?;
                let hidden = text.has_secret();
                // A script ends with a line break.
                let text = base64::encode(&format!("{}\n", text.reveal()));
                self.lines(&Found { text, source: path, hidden }, place)
            }
            _ => self.file(&path, Style::Plain, place),
        }
    }

    /// The path of an include, relative to `above`.
    fn path(&self, name: &str, above: &str, place: Place<'_>) -> Result<String, RenderError> {
        let name = self.environment.expand(name).map_err(|problem| place.error(problem))?;
        Ok(files::beside(above, &name))
    }

    fn read(&mut self, path: &str, place: Place<'_>) -> Result<String, RenderError> {
        self.includes += 1;
        if self.includes > INCLUDES_MAX {
            return Err(place.error(Problem::Many(INCLUDES_MAX)));
        }
        let unreadable = |reason| place.error(Problem::Unreadable { path: path.to_owned(), reason });
        files::read(self.job.files, path).map_err(unreadable)
    }

    /// Appends an included file.
    fn file(&mut self, path: &str, style: Style, place: Place<'_>) -> Result<(), RenderError> {
        let text = self.read(path, place)?;
        self.deeper(place, |run| run.expand(&tidied(&text), path, style))
    }

    fn deeper<T>(
        &mut self,
        place: Place<'_>,
        work: impl FnOnce(&mut Self) -> Result<T, RenderError>,
    ) -> Result<T, RenderError> {
        if self.depth >= DEPTH_MAX {
            return Err(place.error(Problem::Deep(DEPTH_MAX)));
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    /// Lines of a package list and of the lists that it includes.
    fn list_lines(&mut self, path: &str, place: Place<'_>) -> Result<Vec<String>, RenderError> {
        let text = self.read(path, place)?;
        let mut lines = Vec::new();
        let mut bytes = 0;
        for (number, line) in (1..).zip(text.lines()) {
            match list::included(line) {
                Some(name) => {
                    let inner = Place { file: path, line: number, text: line.trim() };
                    let target = self.path(name, path, inner)?;
                    lines.extend(self.deeper(inner, |run| run.list_lines(&target, inner))?);
                }
                None => lines.push(line.to_owned()),
            }
            bytes += line.len();
        }
        match bytes > TEXT_BYTES_MAX {
            true => Err(place.error(Problem::Long(TEXT_BYTES_MAX))),
            false => Ok(lines),
        }
    }

    /// The package lists of the image.
    fn default_lists(&self, place: Place<'_>) -> Result<Vec<String>, RenderError> {
        let named = self.context.of_image(col::linuximage::PKGLIST);
        let lists: Vec<String> = elements(&named).map(str::to_owned).collect();
        if !lists.is_empty() {
            return Ok(lists);
        }
        let found = find(&self.context, self.job.files, "pkglist");
        let unreadable = |(path, reason)| place.error(Problem::Unreadable { path, reason });
        found.map(|(path, _)| vec![path]).map_err(unreadable)
    }

    fn default_lines(&mut self, place: Place<'_>) -> Result<Vec<String>, RenderError> {
        let mut lines = Vec::new();
        for path in self.default_lists(place)? {
            lines.extend(self.list_lines(&path, place)?);
        }
        Ok(lines)
    }

    fn default_packages(&mut self, place: Place<'_>) -> Result<(), RenderError> {
        for (number, path) in self.default_lists(place)?.iter().enumerate() {
            if number > 0 {
                self.out.push("\n");
            }
            self.note(place, "linuximage.pkglist", path);
            self.file(path, Style::Plain, place)?;
        }
        Ok(())
    }

    fn default_elements(&mut self, part: Part, place: Place<'_>) -> Result<(), RenderError> {
        let lines = self.default_lines(place)?;
        self.lines(&Found::open(part.elements(&lines), "linuximage.pkglist"), place)
    }
}

/// The layout of the disk.
impl Run<'_> {
    fn elements(&self, place: Place<'_>) -> Result<Vec<Element>, RenderError> {
        let cell = self.context.of_image(col::linuximage::PARTITIONFILE);
        layout::parse(&cell, self.context.installer).map_err(|problem| place.error(problem))
    }

    /// A file of the layout, with its directives replaced.
    fn element(&mut self, element: &Element, place: Place<'_>) -> Result<Rendered, RenderError> {
        let path = element.path.clone();
        self.captured(|run| run.file(&path, Style::Plain, place))
    }

    /// Puts the layout of the image in the place of the template's own, which follows in `rest` up to its
    /// end; without a layout that one stays. What is left of `rest`.
    fn layout<'t>(&mut self, rest: &'t str, place: Place<'_>) -> Result<&'t str, RenderError> {
        if self.elements(place)?.is_empty() {
            return Ok(rest);
        }
        let at = rest.find(layout::END).ok_or_else(|| place.error(Problem::NotEnded(layout::END)))?;
        self.in_place(place)?;
        Ok(rest.get(at + layout::END.len()..).unwrap_or_default())
    }

    fn xml_layout<'t>(&mut self, from: &'t str, file: &str, line: usize) -> Result<&'t str, RenderError> {
        let place = Place { file, line, text: XML_START };
        if self.context.installer != Installer::AutoYast || self.elements(place)?.is_empty() {
            self.literal(XML_START, Style::Plain, place)?;
            return Ok(from.get(XML_START.len()..).unwrap_or_default());
        }
        let at = from.find(XML_END).ok_or_else(|| place.error(Problem::NotEnded(XML_END)))?;
        self.in_place(place)?;
        Ok(from.get(at + XML_END.len()..).unwrap_or_default())
    }

    fn in_place(&mut self, place: Place<'_>) -> Result<(), RenderError> {
        for element in self.elements(place)? {
            // Kickstart gets them by a script, in the place of another directive.
            let is_named = self.context.installer == Installer::Kickstart;
            let file = if is_named { Rendered::default() } else { self.element(&element, place)? };
            let hidden = file.has_secret();
            let text = layout::in_place(self.context.installer, &file.reveal());
            self.lines(&Found { text, source: format!("partitionfile {}", element.path), hidden }, place)?;
            if is_named {
                break;
            }
        }
        Ok(())
    }

    fn layout_scripts(&mut self, place: Place<'_>) -> Result<(), RenderError> {
        if self.context.installer != Installer::Kickstart {
            return Ok(());
        }
        for (number, element) in self.elements(place)?.iter().enumerate() {
            if number > 0 {
                self.out.push("\n");
            }
            let file = self.element(element, place)?;
            let hidden = file.has_secret();
            let text = layout::script(element, &format!("{}\n", file.reveal()));
            self.lines(&Found { text, source: format!("partitionfile {}", element.path), hidden }, place)?;
        }
        Ok(())
    }
}

impl Style {
    fn takes(self, word: Word) -> bool {
        self == Self::Plain || !word.includes()
    }
}

/// The text before the next `#` or the next mark of a layout in XML, and the rest from it on.
fn next_mark(text: &str) -> Option<(&str, &str)> {
    let sign = text.find('#');
    let before = sign.map_or(text, |at| text.split_at(at).0);
    before.find(XML_START).or(sign).map(|at| text.split_at(at))
}

fn line_breaks(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// An included text without its last line break, and without blanks at the ends of lines that say something.
fn tidied(text: &str) -> String {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let keeps = |line: &str| line.starts_with('#') || line.trim().is_empty();
    let lines = text.split('\n').map(|line| if keeps(line) { line } else { line.trim_end() });
    lines.collect::<Vec<_>>().join("\n")
}
