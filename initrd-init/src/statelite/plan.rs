//! Planning the per-node files of a shared root: a list and a look at the places in, actions out.
//!
//! The plan is pure; [`Probe`] answers what exists. Entries below another listed directory are *children*;
//! all *parents* are planned first, then the children, in list order. Content comes from the trees in
//! priority order, else from `/.default`, else from the original file of an image that was never prepared.
//! Such an image also lacks links and mount points; what is missing becomes the [`Skeleton`], a layer that is
//! laid over the image in memory, so that the image itself is never touched.

use std::fmt;

use dawn_wire::list::Entry;
use dawn_wire::{List, LiteOption};

/// Directory of the per-node files, below the root.
pub const STATELITE: &str = "/.statelite";
/// Directory of the local disk, below the root.
pub const LOCAL: &str = "/.sllocal/localmnt";
/// Pristine copies in a prepared image, below the root.
const DEFAULT: &str = "/.default";
/// Places that are mounted over during the hand-over: content there has no effect.
const VOLATILE: [&str; 4] = ["/run", "/dev", "/proc", "/sys"];
/// What the root needs besides the listed paths: directories to move mounts to …
const NEEDED_DIRS: [&str; 5] = ["/proc", "/sys", "/dev", "/run", STATELITE];
/// … and files that are bind mounted because every node has its own.
const NEEDED_FILES: [&str; 3] = ["/etc/hostname", "/etc/resolv.conf", "/etc/machine-id"];

/// A place where content lies.
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
    /// What the server shows of entries that lie below a mount of the node.
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
    /// What must be laid over the image.
    pub skeleton: Vec<Missing>,
    /// What is done, in order.
    pub actions: Vec<Action>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Makes the plan of a list.
pub fn plan(list: &List, probe: &dyn Probe) -> Plan {
    let mut planner = Planner { list, probe, plan: Plan::default() };
    planner.needed();
    let (parents, children): (Vec<&Entry>, Vec<&Entry>) =
        list.entries.iter().partition(|entry| planner.parent_of(entry).is_none());
    for entry in parents.into_iter().chain(children) {
        planner.entry(entry);
    }
    planner.plan
}

struct Planner<'a> {
    list: &'a List,
    probe: &'a dyn Probe,
    plan: Plan,
}

impl Planner<'_> {
    /// Mount points every root needs.
    fn needed(&mut self) {
        for dir in NEEDED_DIRS {
            if self.image(dir) == Kind::Missing {
                self.plan.skeleton.push(Missing::Dir(dir.to_owned()));
            }
        }
        if self.has_disk() && self.image(LOCAL) == Kind::Missing {
            self.plan.skeleton.push(Missing::Dir(LOCAL.to_owned()));
        }
        for file in NEEDED_FILES {
            let listed = self.list.entries.iter().any(|entry| entry.path == file);
            if !listed && self.image(file) == Kind::Missing {
                self.plan.skeleton.push(Missing::File(file.to_owned()));
            }
        }
    }

    fn has_disk(&self) -> bool {
        self.list.local_disk.is_there()
    }

    fn image(&self, path: &str) -> Kind {
        self.probe.kind(&image(path))
    }

    /// The nearest listed directory above an entry.
    fn parent_of(&self, entry: &Entry) -> Option<&Entry> {
        let above = self.list.entries.iter().filter(|other| is_below(&entry.path, &other.path));
        above.max_by_key(|other| other.path.len())
    }

    fn entry(&mut self, entry: &Entry) {
        let real = self.probe.real_path(&entry.path);
        if VOLATILE.iter().any(|dir| real == *dir || is_below(&real, dir)) {
            let note = format!("{} lies in memory anyway ({real}), its entry has no effect", entry.path);
            self.plan.notes.push(note);
            return;
        }
        if entry.path == "/etc/mtab" {
            self.mtab(&real);
            return;
        }
        if entry.served {
            self.served(entry, &real);
            return;
        }
        let parent = self.parent_of(entry).map(|parent| parent.option);
        let subject = self.subject(entry, real, parent);
        match entry.option {
            LiteOption::Tmpfs => self.in_memory(&subject),
            LiteOption::Localdisk => self.local(&subject),
            LiteOption::Link | LiteOption::LinkCon
                if !subject.linked && parent.is_some_and(|option| !option.is_link()) =>
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

    /// The server shows it in its place already, unless a mount of this node covers that place.
    fn served(&mut self, entry: &Entry, real: &str) {
        if self.parent_of(entry).is_none_or(|parent| parent.served) {
            return;
        }
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
    fn subject<'e>(&mut self, entry: &'e Entry, real: String, parent: Option<LiteOption>) -> Subject<'e> {
        let on_image = self.image(&entry.path);
        let linked = matches!(&on_image, Kind::Link(target) if target.contains(".statelite/"));
        let default = At { place: Place::Image, path: format!("{DEFAULT}{}", entry.path) };
        let fallback = match (self.probe.kind(&default), &on_image) {
            (Kind::Missing, Kind::Missing) => None,
            (Kind::Missing, Kind::Link(_)) if linked => None,
            (Kind::Missing, Kind::Link(_)) => self.original_behind_link(&entry.path),
            (Kind::Missing, _) => Some(image(&entry.path)),
            _ => Some(default),
        };
        let is_dir = match fallback.as_ref().map(|at| self.probe.kind(at)) {
            Some(Kind::Dir { .. }) => true,
            Some(Kind::File) => false,
            _ => entry.is_dir,
        };
        let mut subject =
            Subject { entry, real, parent, on_image, linked, fallback, is_dir, hits: Vec::new() };
        subject.hits = self.tree_hits(&subject);
        subject
    }

    fn original_behind_link(&self, path: &str) -> Option<At> {
        let target = self.probe.follow(path)?;
        let volatile = VOLATILE.iter().any(|dir| is_below(&target, dir));
        (!volatile).then(|| image(&target))
    }

    /// Trees that have content for an entry, by the rules for parents, children and concatenation.
    fn tree_hits(&self, subject: &Subject<'_>) -> Vec<At> {
        let entry = subject.entry;
        let parent_dir = subject.is_dir && subject.parent.is_none();
        let joined =
            matches!(entry.option, LiteOption::Con | LiteOption::LinkCon | LiteOption::ConPersistent);
        let all = parent_dir || joined;
        let here = |index| At { place: Place::Tree(index), path: entry.path.clone() };
        let usable = |at: &At| {
            let kind = self.probe.kind(at);
            kind != Kind::Missing && kind != (Kind::Dir { empty: true })
        };
        let skipped = |index: usize| {
            let children =
                self.list.entries.iter().filter(|other| is_directly_below(&other.path, &entry.path));
            let mut children =
                children.map(|child| At { place: Place::Tree(index), path: child.path.clone() });
            parent_dir && children.any(|child| self.probe.kind(&child) != Kind::Missing)
        };
        let hits = (0..self.list.trees.len()).map(here).enumerate();
        let mut hits: Vec<At> =
            hits.filter(|(index, at)| usable(at) && !skipped(*index)).map(|(_, at)| at).collect();
        if !all {
            hits.truncate(1);
        }
        hits
    }

    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    /// Fills a path from the trees, else from the default, else makes it empty.
    fn seed(&mut self, subject: &Subject<'_>, place: Place) {
        let to = subject.at(place);
        let sources = subject.sources();
        if sources.is_empty() {
            let note =
                format!("{} is nowhere, neither in a tree nor in the image: made empty", subject.entry.path);
            self.plan.notes.push(note);
            self.act(Action::Create(to, subject.is_dir));
            return;
        }
        for from in sources {
            self.act(Action::Copy(from, to.clone()));
        }
    }

    fn in_memory(&mut self, subject: &Subject<'_>) {
        // Below a directory on the disk the disk has the content, and what is put into memory would not be
        // seen.
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
            self.act(Action::Create(subject.at(Place::Tmpfs), subject.is_dir));
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
            // Joined elsewhere first: what is on the storage is whole.
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
            self.act(Action::Create(subject.at(Place::Tmpfs), subject.is_dir));
        }
        self.show(subject, Place::Persistent);
    }

    fn linked_persistent(&mut self, subject: &Subject<'_>) {
        self.seed_persistent(subject);
        let (memory, storage) = (subject.at(Place::Tmpfs), subject.at(Place::Persistent));
        match subject.parent {
            Some(LiteOption::LinkPersistent) => {}
            Some(_) => {
                self.act(Action::Create(memory.clone(), subject.is_dir));
                self.act(Action::BindTmpfs(storage, memory));
            }
            None => {
                self.act(Action::Link(memory, format!("{STATELITE}/persistent{}", subject.entry.path)));
                self.link_in_image(subject);
            }
        }
    }

    fn read_only(&mut self, subject: &Subject<'_>) {
        let Some(source) = subject.sources().into_iter().next() else {
            self.plan
                .notes
                .push(format!("{} is neither in a tree nor in the image: left out", subject.entry.path));
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
            self.act(Action::BindRo(source, subject.real.clone()));
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
        if subject.hits.len() < 2 {
            self.seed(subject, Place::Tmpfs);
            return;
        }
        let mut parts = subject.hits.iter().cloned();
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
            Kind::Link(target) => target.contains(".statelite/"),
            _ => false,
        };
        let memory = At { place: Place::Tmpfs, path: "/etc/mtab".to_owned() };
        self.act(Action::Link(memory, "/proc/mounts".to_owned()));
        if !linked {
            self.plan.skeleton.push(Missing::Link(real.to_owned(), relative_link(real, "/etc/mtab")));
        }
    }

    /// Bind mounts an entry's content over its path.
    fn show(&mut self, subject: &Subject<'_>, place: Place) {
        if subject.linked && place == Place::Tmpfs {
            return;
        }
        self.mount_point(subject);
        self.act(Action::Bind(subject.at(place), subject.real.clone()));
    }

    /// The image must have something of the right kind to mount on.
    fn mount_point(&mut self, subject: &Subject<'_>) {
        if let Some(parent) = subject.parent {
            // What covers the image there is the disk, and it may lack the path.
            if parent == LiteOption::Localdisk && self.has_disk() {
                self.act(Action::Create(subject.at(Place::Local), subject.is_dir));
            }
            return;
        }
        let missing = match (&subject.on_image, subject.is_dir) {
            (Kind::Dir { .. }, true) | (Kind::File, false) => return,
            (_, true) => Missing::Dir(subject.real.clone()),
            (_, false) => Missing::File(subject.real.clone()),
        };
        self.plan.skeleton.push(missing);
    }

    /// A prepared image has the link; otherwise the skeleton gets it.
    fn link_in_image(&mut self, subject: &Subject<'_>) {
        if !subject.linked && subject.parent.is_none() {
            let target = relative_link(&subject.real, &subject.entry.path);
            self.plan.skeleton.push(Missing::Link(subject.real.clone(), target));
        }
    }
}

/// An entry with what is known about it.
struct Subject<'e> {
    entry: &'e Entry,
    /// Path in the image with resolved directories: where it is shown.
    real: String,
    /// Option of the listed directory above.
    parent: Option<LiteOption>,
    on_image: Kind,
    /// The image links it to the memory files already.
    linked: bool,
    /// Content when no tree has any.
    fallback: Option<At>,
    is_dir: bool,
    /// Content from trees.
    hits: Vec<At>,
}

impl Subject<'_> {
    fn at(&self, place: Place) -> At {
        At { place, path: self.entry.path.clone() }
    }

    fn sources(&self) -> Vec<At> {
        if self.hits.is_empty() { self.fallback.iter().cloned().collect() } else { self.hits.clone() }
    }
}

fn image(path: &str) -> At {
    At { place: Place::Image, path: path.to_owned() }
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

fn is_directly_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')).is_some_and(|name| !name.contains('/'))
}

/// `/etc/foo/bar` → `../../.statelite/tmpfs/etc/foo/bar`: one step up per directory the link lies in.
fn relative_link(real: &str, path: &str) -> String {
    let ups = real.matches('/').count().saturating_sub(1);
    format!("{}.statelite/tmpfs{path}", "../".repeat(ups))
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
#[path = "plan_tests.rs"]
mod tests;
