//! The node's part: a list and a look at the places in, actions of `/init` out.
//!
//! The plan is pure; [`Probe`] answers what exists. Entries below another listed directory are *children*;
//! all *parents* are planned first, then the children, in list order. Content is what
//! [`content`](super::content) finds in the trees, else it comes from `/.default`, else from the original
//! file of an image that was never prepared. Such an image also lacks links and mount points; what is missing
//! becomes the skeleton, a layer over the image in memory, so that the image itself is never touched.

use std::fmt;

use dawn_wire::list::Entry;
use dawn_wire::{List, LiteOption};

use super::content::{Content, Found, InImage, Look, Shape, content, not_joined, nowhere};
use super::paths::{Paths, Shown, is_below_volatile, is_volatile, link_to_memory};

/// Directory of the per-node files, below the root.
pub const STATELITE: &str = "/.statelite";
/// Directory of the local disk, below the root.
pub const LOCAL: &str = "/.sllocal/localmnt";
/// Pristine copies in a prepared image, below the root.
const DEFAULT: &str = "/.default";

/// A place that has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The shared image, as the server has it.
    Image,
    /// A tree, by its position in the list.
    Tree(usize),
    /// The node's files in memory.
    Tmpfs,
    /// The node's persistent files.
    Persistent,
    /// What the server shows of entries below a mount of the node.
    Live,
    /// Its files on a local disk.
    Local,
}

/// A path in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Where.
    pub place: Place,
    /// Absolute path below it.
    pub path: String,
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing there.
    Missing,
    /// A file or something else that is not a directory.
    File,
    /// A directory.
    Dir {
        /// Nothing in it.
        empty: bool,
    },
    /// A symbolic link with its target.
    Link(String),
}

/// Looks at the places.
pub trait Probe {
    /// What is at a path; the last component is not followed.
    fn kind(&self, at: &At) -> Kind;
    /// A path of the image with the links of its directories resolved; missing directories stay as they are.
    fn real_path(&self, path: &str) -> String;
    /// Where a path of the image leads to in the end, if something is there.
    fn follow(&self, path: &str) -> Option<String>;
}

/// One action; shown as it goes to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Copy with all attributes; directories are merged, files replaced.
    Copy(At, At),
    /// Append a file to a file.
    Append(At, At),
    /// Make an empty file or directory if nothing is there.
    Create(At, bool),
    /// Make a symbolic link with this target.
    Link(At, String),
    /// Show the first at a path of the root.
    Bind(At, String),
    /// The same, read-only.
    BindRo(At, String),
    /// Show a persistent path at a path of the memory files.
    BindTmpfs(At, At),
}

/// A mount point or link the image lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// An empty directory.
    Dir(String),
    /// An empty file.
    File(String),
    /// A symbolic link with its target.
    Link(String, String),
}

/// The whole plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What must be put over the image.
    pub skeleton: Vec<Missing>,
    /// What is done, in order.
    pub actions: Vec<Action>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Drops the server's part: it puts nothing over this root.
pub fn on_plain_root(list: &mut List) {
    list.entries.iter_mut().for_each(|entry| entry.served = false);
    list.trees.iter_mut().for_each(|tree| tree.served = false);
    list.notes.clear();
}

/// Links into the node's files would need a layer over the root, which hides what changes below it: paths
/// that are links in a prepared image are mounts on a root with a live overlay.
pub fn on_live_root(list: &mut List) {
    for entry in &mut list.entries {
        entry.option = match entry.option {
            LiteOption::Link => LiteOption::Tmpfs,
            LiteOption::LinkPersistent => LiteOption::Persistent,
            LiteOption::LinkRo => LiteOption::Ro,
            LiteOption::LinkCon => LiteOption::Con,
            other => other,
        };
    }
}

/// Whether the node needs its persistent storage mounted: not if the server does all entries on it.
#[must_use]
pub fn wants_storage(list: &List) -> bool {
    let persistent = || list.entries.iter().filter(|entry| entry.option.is_persistent());
    persistent().count() == 0 || persistent().any(|entry| !entry.served)
}

/// Whether the node needs the trees as directories: for what it does itself.
#[must_use]
pub fn wants_trees(list: &List) -> bool {
    list.entries.iter().any(|entry| !entry.served)
}

/// Makes the plan of a list.
pub fn plan(list: &List, probe: &dyn Probe) -> Plan {
    let paths = Paths::new(list.entries.clone());
    let mut planner = Planner { list, paths: &paths, probe, plan: Plan::default() };
    planner.lacking();
    for number in paths.order() {
        if let Some(entry) = paths.get(number) {
            planner.entry(number, entry);
        }
    }
    planner.plan
}

/// The node's look at trees and image.
struct Places<'a> {
    probe: &'a dyn Probe,
    trees: usize,
}

impl Look for Places<'_> {
    type At = At;

    fn trees(&self) -> usize {
        self.trees
    }

    fn in_tree(&mut self, tree: usize, path: &str) -> Option<Found<At>> {
        let at = At { place: Place::Tree(tree), path: path.to_owned() };
        let kind = self.probe.kind(&at);
        (kind != Kind::Missing).then(|| found(at, &kind, false))
    }

    fn is_there(&mut self, path: &str) -> bool {
        self.probe.kind(&image(path)) != Kind::Missing
    }

    /// In a prepared image, where the path itself may be a link to the node's files, the content is its
    /// pristine copy.
    fn in_image(&mut self, entry: &Entry) -> InImage<At> {
        let kind = self.probe.kind(&image(&entry.path));
        let default = At { place: Place::Image, path: format!("{DEFAULT}{}", entry.path) };
        let at = match (self.probe.kind(&default), &kind) {
            (Kind::Missing, Kind::Missing) => None,
            (Kind::Missing, Kind::Link(target)) if leads_to_node(target) => None,
            (Kind::Missing, Kind::Link(_)) => self.original_after_link(&entry.path),
            (Kind::Missing, _) => Some(image(&entry.path)),
            _ => Some(default),
        };
        let content = at.map(|at| {
            let kind = self.probe.kind(&at);
            found(at, &kind, entry.is_dir)
        });
        InImage { real: self.probe.real_path(&entry.path), shape: shape(&kind), content }
    }
}

impl Places<'_> {
    fn original_after_link(&self, path: &str) -> Option<At> {
        let target = self.probe.follow(path)?;
        (!is_below_volatile(&target)).then(|| image(&target))
    }
}

/// Of a link it is not known what it leads to; the list says whether it is a directory.
fn found(at: At, kind: &Kind, listed_as_dir: bool) -> Found<At> {
    let is_dir = match kind {
        Kind::Dir { .. } => true,
        Kind::File => false,
        Kind::Link(_) | Kind::Missing => listed_as_dir,
    };
    let is_file = matches!(kind, Kind::File | Kind::Link(_));
    Found { at, is_dir, is_file, is_empty: *kind == Kind::Dir { empty: true } }
}

fn shape(kind: &Kind) -> Shape {
    match kind {
        Kind::Missing => Shape::Missing,
        Kind::File => Shape::File,
        Kind::Dir { .. } => Shape::Dir,
        Kind::Link(_) => Shape::Link,
    }
}

/// Whether a link of an image leads to the files of the node.
fn leads_to_node(target: &str) -> bool {
    target.contains(".statelite/")
}

struct Planner<'a> {
    list: &'a List,
    paths: &'a Paths,
    probe: &'a dyn Probe,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn look(&self) -> Places<'a> {
        Places { probe: self.probe, trees: self.list.trees.len() }
    }

    /// Mount points that the root needs.
    fn lacking(&mut self) {
        let mut look = self.look();
        let lacking = self.paths.lacking(&mut |path| look.is_there(path));
        let has_disk_mount = !self.has_disk() || look.is_there(LOCAL);
        self.plan.skeleton.extend(lacking.into_iter().map(|(path, is_dir)| match is_dir {
            true => Missing::Dir(path.to_owned()),
            false => Missing::File(path.to_owned()),
        }));
        if !has_disk_mount {
            self.plan.skeleton.push(Missing::Dir(LOCAL.to_owned()));
        }
    }

    fn has_disk(&self) -> bool {
        self.list.local_disk.is_there()
    }

    fn image(&self, path: &str) -> Kind {
        self.probe.kind(&image(path))
    }

    fn entry(&mut self, number: usize, entry: &Entry) {
        let real = self.probe.real_path(&entry.path);
        if is_volatile(&real) {
            let note = format!("{} is in memory anyway ({real}), its entry has no effect", entry.path);
            self.plan.notes.push(note);
            return;
        }
        if entry.path == "/etc/mtab" {
            return self.mtab(&real);
        }
        match self.paths.shown(number) {
            Shown::InPlace | Shown::Within(_) => return,
            Shown::Aside => return self.aside(entry, &real),
            Shown::ByNode => {}
        }
        let subject = self.subject(number, entry);
        for part in &subject.found.unfit {
            self.plan.notes.push(not_joined(&part.to_string(), &entry.path));
        }
        match entry.option {
            LiteOption::Tmpfs => self.in_memory(&subject),
            LiteOption::Localdisk => self.local(&subject),
            LiteOption::Link | LiteOption::LinkCon
                if !subject.linked && subject.parent.is_some_and(|option| !option.is_link()) =>
            {
                self.in_memory(&subject);
            }
            LiteOption::Link => self.linked_in_memory(&subject),
            LiteOption::Persistent | LiteOption::ConPersistent => self.persistent(&subject),
            LiteOption::LinkPersistent => self.linked_persistent(&subject),
            LiteOption::Ro | LiteOption::LinkRo => self.read_only(&subject),
            LiteOption::Con => {
                self.concatenate(&subject);
                self.show(&subject, Place::Tmpfs);
            }
            LiteOption::LinkCon => {
                self.concatenate(&subject);
                self.link_in_image(&subject);
            }
        }
    }

    /// The server shows it where no mount of this node covers it, and it is brought into its place.
    fn aside(&mut self, entry: &Entry, real: &str) {
        let live = At { place: Place::Live, path: entry.path.clone() };
        let memory = At { place: Place::Tmpfs, path: entry.path.clone() };
        let is_dir = match self.probe.kind(&live) {
            Kind::Missing => return,
            Kind::Dir { .. } => true,
            _ => false,
        };
        if is_dir || entry.option.is_persistent() {
            self.act(Action::Create(memory, is_dir));
            self.act(Action::Bind(live, real.to_owned()));
        } else {
            // A link finds a replaced file again; a bind mount would hold on to the one that is gone.
            self.act(Action::Link(memory, format!("{STATELITE}/live{}", entry.path)));
        }
    }

    /// Looks at everything that decides about an entry.
    fn subject<'e>(&self, number: usize, entry: &'e Entry) -> Subject<'e> {
        let found = content(self.paths, number, entry, &mut self.look());
        let on_image = self.image(&entry.path);
        let linked = matches!(&on_image, Kind::Link(target) if leads_to_node(target));
        let parent = self.paths.parent(number).map(|parent| parent.option);
        Subject { entry, parent, linked, found }
    }

    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    /// Fills a path from the trees, else from the default, else makes it empty.
    fn seed(&mut self, subject: &Subject<'_>, place: Place) {
        let to = subject.at(place);
        let sources = subject.found.sources();
        if sources.is_empty() {
            self.plan.notes.push(nowhere(subject.entry));
            self.act(Action::Create(to, subject.found.is_dir));
            return;
        }
        for from in sources {
            self.act(Action::Copy(from, to.clone()));
        }
    }

    fn in_memory(&mut self, subject: &Subject<'_>) {
        // Below a directory on the disk the disk has the content, and files in memory would be hidden.
        if subject.parent == Some(LiteOption::Localdisk) && self.has_disk() {
            return self.local(subject);
        }
        self.seed(subject, Place::Tmpfs);
        // The parent's mount shows its children too.
        if !matches!(subject.parent, Some(LiteOption::Tmpfs | LiteOption::Localdisk | LiteOption::Link)) {
            self.show(subject, Place::Tmpfs);
        }
    }

    /// Content goes to the local disk once; afterwards the disk's copy counts. Without a disk it is memory.
    fn local(&mut self, subject: &Subject<'_>) {
        if !self.has_disk() {
            let note = format!("{}: no local disk, kept in memory instead", subject.entry.path);
            self.plan.notes.push(note);
            return self.in_memory(subject);
        }
        if self.probe.kind(&subject.at(Place::Local)) == Kind::Missing {
            self.seed(subject, Place::Local);
        }
        if subject.parent.is_none() {
            self.show(subject, Place::Local);
        } else if subject.parent != Some(LiteOption::Localdisk) {
            self.act(Action::Create(subject.at(Place::Tmpfs), subject.found.is_dir));
            self.show(subject, Place::Local);
        }
    }

    fn linked_in_memory(&mut self, subject: &Subject<'_>) {
        self.seed(subject, Place::Tmpfs);
        self.link_in_image(subject);
    }

    /// Content goes to the persistent storage once; afterwards the storage's copy counts.
    fn seed_persistent(&mut self, subject: &Subject<'_>) {
        if self.probe.kind(&subject.at(Place::Persistent)) != Kind::Missing {
            return;
        }
        match subject.entry.option {
            // Joined elsewhere first, so that the file on the storage is always complete.
            LiteOption::ConPersistent => {
                self.concatenate(subject);
                self.act(Action::Copy(subject.at(Place::Tmpfs), subject.at(Place::Persistent)));
            }
            _ => self.seed(subject, Place::Persistent),
        }
    }

    fn persistent(&mut self, subject: &Subject<'_>) {
        self.seed_persistent(subject);
        if subject.parent == Some(LiteOption::Persistent) {
            return;
        }
        if subject.parent.is_some() {
            self.act(Action::Create(subject.at(Place::Tmpfs), subject.found.is_dir));
        }
        self.show(subject, Place::Persistent);
    }

    fn linked_persistent(&mut self, subject: &Subject<'_>) {
        self.seed_persistent(subject);
        let (memory, storage) = (subject.at(Place::Tmpfs), subject.at(Place::Persistent));
        match subject.parent {
            Some(LiteOption::LinkPersistent) => {}
            Some(_) => {
                self.act(Action::Create(memory.clone(), subject.found.is_dir));
                self.act(Action::BindTmpfs(storage, memory));
            }
            None => {
                self.act(Action::Link(memory, format!("{STATELITE}/persistent{}", subject.entry.path)));
                self.link_in_image(subject);
            }
        }
    }

    fn read_only(&mut self, subject: &Subject<'_>) {
        let Some(source) = subject.found.sources().into_iter().next() else {
            self.plan.notes.push(nowhere(subject.entry));
            return;
        };
        // A link over the only copy there is would lead to itself.
        let apart = matches!(source.place, Place::Tree(_)) && subject.parent.is_none();
        if subject.entry.option == LiteOption::LinkRo && (subject.linked || apart) {
            let target = self.shown_path(&source);
            self.act(Action::Link(subject.at(Place::Tmpfs), target));
            self.link_in_image(subject);
        } else if source != image(&subject.entry.path) {
            self.mount_point(subject);
            self.act(Action::BindRo(source, subject.real()));
        }
    }

    /// Path of a source as programs of the running node see it.
    fn shown_path(&self, at: &At) -> String {
        let tree = match at.place {
            Place::Tree(index) => self.list.trees.get(index),
            _ => None,
        };
        match tree {
            Some(tree) => format!("{STATELITE}/mnt/{}{}{}", tree.remote.host, tree.remote.dir, at.path),
            None => at.path.clone(),
        }
    }

    fn concatenate(&mut self, subject: &Subject<'_>) {
        if subject.found.hits.len() < 2 {
            self.seed(subject, Place::Tmpfs);
            return;
        }
        let mut parts = subject.found.hits.iter().cloned();
        let to = subject.at(Place::Tmpfs);
        if let Some(first) = parts.next() {
            self.act(Action::Copy(first, to.clone()));
        }
        parts.for_each(|part| self.act(Action::Append(part, to.clone())));
    }

    /// `/etc/mtab` of an old image; newer ones link to the kernel's list by themselves.
    fn mtab(&mut self, real: &str) {
        let linked = match self.image("/etc/mtab") {
            Kind::Link(target) if target.contains("/proc/") || target.starts_with("proc/") => return,
            Kind::Link(target) => leads_to_node(&target),
            _ => false,
        };
        let memory = At { place: Place::Tmpfs, path: "/etc/mtab".to_owned() };
        self.act(Action::Link(memory, "/proc/mounts".to_owned()));
        if !linked {
            self.plan.skeleton.push(Missing::Link(real.to_owned(), link_to_memory(real, "/etc/mtab")));
        }
    }

    /// Bind mounts an entry's content over its path.
    fn show(&mut self, subject: &Subject<'_>, place: Place) {
        if subject.linked && place == Place::Tmpfs {
            return;
        }
        self.mount_point(subject);
        self.act(Action::Bind(subject.at(place), subject.real()));
    }

    /// The image must have something of the right kind to mount on.
    fn mount_point(&mut self, subject: &Subject<'_>) {
        if let Some(parent) = subject.parent {
            // What covers the image there is the disk, and it may lack the path.
            if parent == LiteOption::Localdisk && self.has_disk() {
                self.act(Action::Create(subject.at(Place::Local), subject.found.is_dir));
            }
            return;
        }
        if !subject.found.image.fits(subject.found.is_dir) {
            self.plan.skeleton.push(match subject.found.is_dir {
                true => Missing::Dir(subject.real()),
                false => Missing::File(subject.real()),
            });
        }
    }

    /// A prepared image has the link; otherwise the skeleton gets it.
    fn link_in_image(&mut self, subject: &Subject<'_>) {
        if !subject.linked && subject.parent.is_none() {
            let target = link_to_memory(&subject.found.image.real, &subject.entry.path);
            self.plan.skeleton.push(Missing::Link(subject.real(), target));
        }
    }
}

/// An entry with what is known about it.
struct Subject<'e> {
    entry: &'e Entry,
    /// Option of the listed directory above.
    parent: Option<LiteOption>,
    /// The image links it to the memory files already.
    linked: bool,
    found: Content<At>,
}

impl Subject<'_> {
    fn at(&self, place: Place) -> At {
        At { place, path: self.entry.path.clone() }
    }

    /// Where it is shown.
    fn real(&self) -> String {
        self.found.image.real.clone()
    }
}

fn image(path: &str) -> At {
    At { place: Place::Image, path: path.to_owned() }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Image => write!(f, "image:{}", self.path),
            Place::Tree(index) => write!(f, "tree{}:{}", index + 1, self.path),
            Place::Tmpfs => write!(f, "tmpfs:{}", self.path),
            Place::Persistent => write!(f, "persistent:{}", self.path),
            Place::Live => write!(f, "live:{}", self.path),
            Place::Local => write!(f, "local:{}", self.path),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(from, to) => write!(f, "copy {from} {to}"),
            Self::Append(from, to) => write!(f, "append {from} {to}"),
            Self::Create(at, true) => write!(f, "create {at}/"),
            Self::Create(at, false) => write!(f, "create {at}"),
            Self::Link(at, target) => write!(f, "link {at} -> {target}"),
            Self::Bind(from, to) => write!(f, "bind {from} {to}"),
            Self::BindRo(from, to) => write!(f, "bind-ro {from} {to}"),
            Self::BindTmpfs(from, to) => write!(f, "bind {from} {to}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => write!(f, "skeleton {path}/"),
            Self::File(path) => write!(f, "skeleton {path}"),
            Self::Link(path, target) => write!(f, "skeleton {path} -> {target}"),
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
