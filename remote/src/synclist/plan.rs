//! What one node gets: each file with its place, what is appended and merged, which scripts may run.

use super::Synclist;
use super::error::{LineError, SynclistError};
use super::limits::PLACES_MAX;
use super::line::{Line, clean, expanded, is_pattern};
use super::read::POST;
use dawn_serving::glob;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;

/// What a path is, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, pipe or socket.
    Other,
}

/// The files of this machine.
pub trait Files {
    /// What is at a path; `None` for nothing.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn kind(&self, path: &str) -> io::Result<Option<FileKind>>;

    /// The names in a directory.
    ///
    /// # Errors
    /// It cannot be read.
    fn names(&self, directory: &str) -> io::Result<Vec<String>>;
}

/// The node for which a list is read.
pub struct Wanted<'a> {
    /// Whether the node is in a noderange.
    pub is_in: &'a dyn Fn(&str) -> bool,
    /// The value of a variable.
    pub value: &'a dyn Fn(&str) -> Option<String>,
    /// Where parts and originals are kept on the node (`site.nodesyncfiledir`).
    pub directory: &'a str,
}

/// A file or directory of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path.
    pub path: String,
    /// With all that is in it.
    pub is_directory: bool,
}

/// Content that is added to a file of the node. All paths are the node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The file.
    pub destination: String,
    /// Where the original is kept.
    pub original: String,
    /// What is added, in this order.
    pub parts: Vec<String>,
}

/// A script of this machine that is run on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its path.
    pub path: String,
    /// The source that must have changed; none for scripts that always run.
    pub after: Option<String>,
}

/// What one node gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By place on the node. No place is below another one.
    pub places: BTreeMap<String, Source>,
    /// Files that get content at their end.
    pub appends: Vec<Join>,
    /// Files of users and groups that get lines.
    pub merges: Vec<Join>,
    /// Scripts, in order.
    pub scripts: Vec<Script>,
}

impl Synclist {
    /// What a node gets. A place that two lines name is the later one's.
    ///
    /// # Errors
    /// A file is missing, or cannot be what the list wants it to be.
    pub fn plan(&self, wanted: &Wanted<'_>, files: &dyn Files) -> Result<Plan, SynclistError> {
        let applies = |line: &&Line| line.nodes.as_deref().is_none_or(wanted.is_in);
        let look = Look { wanted, files };
        let mut plan = Plan::default();
        for line in self.copies.iter().filter(applies) {
            let placed = look.placed(line).map_err(|why| SynclistError::of(&line.at, why))?;
            for (place, source) in placed {
                plan.put(place, source)?;
            }
        }
        let mut parts = Vec::new();
        for (lines, kind) in [(&self.appends, Joined::Append), (&self.merges, Joined::Merge)] {
            for line in lines.iter().filter(applies) {
                let joined = look.parts(line).map_err(|why| SynclistError::of(&line.at, why))?;
                parts.extend(joined.into_iter().map(|(destination, source)| (kind, destination, source)));
            }
        }
        let appended = parts.iter().filter(|(kind, ..)| *kind == Joined::Append);
        let explicit: BTreeSet<String> = appended.map(|(_, destination, _)| destination.clone()).collect();
        plan.settle(&explicit, &look)?;
        for (kind, destination, source) in parts {
            plan.join(kind, destination, source, wanted.directory)?;
        }
        plan.settle(&BTreeSet::new(), &look)?;
        for script in &self.scripts {
            let is_copied = || plan.places.values().any(|source| source.holds(&script.path));
            let after = script.path.strip_suffix(POST).filter(|_| !script.is_always);
            if after.is_some() || is_copied() {
                plan.scripts.push(Script { path: script.path.clone(), after: after.map(str::to_owned) });
            }
        }
        Ok(plan)
    }

    /// Whether two nodes may get different things: values of all that differs.
    pub fn key(&self, wanted: &Wanted<'_>) -> Vec<String> {
        let lines = self.lines();
        let mut key: Vec<String> = lines
            .filter_map(|line| line.nodes.as_deref())
            .map(|nodes| u8::from((wanted.is_in)(nodes)).to_string())
            .collect();
        if self.lines().any(Line::names_node) {
            key.extend(super::VARIABLES.iter().map(|name| (wanted.value)(name).unwrap_or_default()));
        }
        key
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joined {
    Append,
    Merge,
}

impl Source {
    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&self.path);
        rest.is_some_and(|rest| rest.is_empty() || self.is_directory && rest.starts_with('/'))
    }
}

impl Plan {
    /// The source of a place, or of a path below one.
    #[must_use]
    pub fn source_of(&self, place: &str) -> Option<String> {
        let mut above = place;
        loop {
            if let Some(source) = self.places.get(above) {
                return Some(format!("{}{}", source.path, place.strip_prefix(above).unwrap_or_default()));
            }
            above = above.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())?;
        }
    }

    /// Whether there is something to do when the files are there.
    #[must_use]
    pub fn has_clauses(&self) -> bool {
        !(self.appends.is_empty() && self.merges.is_empty() && self.scripts.is_empty())
    }

    fn put(&mut self, place: String, source: Source) -> Result<(), SynclistError> {
        self.places.insert(place, source);
        match self.places.len() > PLACES_MAX {
            true => Err(SynclistError::Places),
            false => Ok(()),
        }
    }

    /// A part is copied below the directory for parts. A file that is copied whole and gets parts as well is
    /// copied to where the original is kept: it would come and go otherwise.
    fn join(
        &mut self,
        kind: Joined,
        destination: String,
        source: Source,
        directory: &str,
    ) -> Result<(), SynclistError> {
        let below = if kind == Joined::Append { "append" } else { "merge/mergefiles" };
        let part = format!("{directory}/{below}{}", source.path);
        let original = format!("{directory}/org{destination}");
        if kind == Joined::Append
            && let Some(whole) = self.places.remove(&destination)
        {
            self.put(original.clone(), whole)?;
        }
        self.put(part.clone(), source)?;
        let joins = if kind == Joined::Append { &mut self.appends } else { &mut self.merges };
        match joins.iter_mut().find(|join| join.destination == destination) {
            Some(join) => join.parts.push(part),
            None => joins.push(Join { destination, original, parts: vec![part] }),
        }
        Ok(())
    }

    /// Splits directories with a place, or with one of the `explicit` paths, below them into what they hold.
    /// A place that names the file wins over the directory's file of that name.
    fn settle(&mut self, explicit: &BTreeSet<String>, look: &Look<'_>) -> Result<(), SynclistError> {
        let mut todo: Vec<String> = self.places.keys().cloned().collect();
        while let Some(place) = todo.pop() {
            let below = format!("{place}/");
            let from = (Bound::Included(below.as_str()), Bound::Unbounded);
            let mut after = self.places.range::<str, _>(from);
            let is_above = after.next().is_some_and(|(path, _)| path.starts_with(&below));
            let is_wanted =
                explicit.range::<str, _>(from).next().is_some_and(|path| path.starts_with(&below));
            if !is_above && !is_wanted {
                continue;
            }
            match self.places.remove(&place) {
                Some(source) if source.is_directory => {
                    let inside = look.inside(&source.path).map_err(|why| look.unplaced(&place, why))?;
                    for (name, source) in inside {
                        let child = format!("{below}{name}");
                        if !self.places.contains_key(&child) {
                            self.put(child.clone(), source)?;
                            todo.push(child);
                        }
                    }
                }
                Some(_) => return Err(SynclistError::Both(place)),
                None => {}
            }
        }
        Ok(())
    }
}

/// Looks files up for one node.
struct Look<'a> {
    wanted: &'a Wanted<'a>,
    files: &'a dyn Files,
}

impl Look<'_> {
    /// Places and sources of a line.
    fn placed(&self, line: &Line) -> Result<Vec<(String, Source)>, LineError> {
        let destination = clean(&expanded(&line.destination, self.wanted.value)?)?;
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for pattern in &line.sources {
            let pattern = expanded(pattern, self.wanted.value)?;
            for source in self.matched(&pattern)? {
                base(&source.path)?;
                let inside = match pattern.ends_with('/') && source.is_directory {
                    true => self.inside(&source.path)?,
                    false => vec![(base(&source.path)?.to_owned(), source)],
                };
                let keeps_names = line.is_into() || pattern.ends_with('/');
                for (name, source) in inside {
                    let place =
                        if keeps_names { format!("{destination}/{name}") } else { destination.clone() };
                    if place.is_empty() {
                        return Err(LineError::Root(line.destination.clone()));
                    }
                    if !seen.insert(place.clone()) {
                        return Err(LineError::Twice(place));
                    }
                    all.push((place, source));
                }
            }
        }
        Ok(all)
    }

    /// Files to append, and the file that they are added to.
    fn parts(&self, line: &Line) -> Result<Vec<(String, Source)>, LineError> {
        let destination = expanded(&line.destination, self.wanted.value)?;
        let mut all = Vec::new();
        for pattern in &line.sources {
            for source in self.matched(&expanded(pattern, self.wanted.value)?)? {
                if source.is_directory {
                    return Err(LineError::Directory(source.path));
                }
                let name = base(&source.path)?;
                let own = if destination.ends_with('/') {
                    format!("{destination}{name}")
                } else {
                    destination.to_string()
                };
                let place = clean(&own)?;
                base(&place)?;
                all.push((place, source));
            }
        }
        Ok(all)
    }

    /// The files that a path or pattern matches.
    fn matched(&self, pattern: &str) -> Result<Vec<Source>, LineError> {
        let mut found = vec![String::new()];
        for part in clean(pattern)?.split('/').skip(1) {
            if !is_pattern(part) {
                found.iter_mut().for_each(|path| path.extend(["/", part]));
                continue;
            }
            let mut next = Vec::new();
            for above in &found {
                let mut names = self.names(above)?;
                names.retain(|name| {
                    (!name.starts_with('.') || part.starts_with('.'))
                        && glob::matches(part.as_bytes(), name.as_bytes())
                });
                names.sort();
                next.extend(names.into_iter().map(|name| format!("{above}/{name}")));
            }
            found = next;
        }
        let mut sources = Vec::new();
        for path in found {
            match self.kind(&path)? {
                Some(is_directory) => sources.push(Source { path, is_directory }),
                None if is_pattern(pattern) => {}
                None => return Err(LineError::Missing(path)),
            }
        }
        match sources.is_empty() {
            true => Err(LineError::Missing(pattern.to_owned())),
            false => Ok(sources),
        }
    }

    /// Whether it is a directory.
    fn kind(&self, path: &str) -> Result<Option<bool>, LineError> {
        let path = if path.is_empty() { "/" } else { path };
        match self.files.kind(path).map_err(|why| unread(path, why))? {
            Some(FileKind::File) => Ok(Some(false)),
            Some(FileKind::Directory) => Ok(Some(true)),
            Some(FileKind::Other) => Err(LineError::Special(path.to_owned())),
            None => Ok(None),
        }
    }

    /// The names in a directory; none where there is no directory.
    fn names(&self, directory: &str) -> Result<Vec<String>, LineError> {
        let directory = if directory.is_empty() { "/" } else { directory };
        match self.files.kind(directory).map_err(|why| unread(directory, why))? {
            Some(FileKind::Directory) => {}
            _ => return Ok(Vec::new()),
        }
        let names = self.files.names(directory).map_err(|why| unread(directory, why))?;
        match names.len() > PLACES_MAX {
            true => Err(unread(directory, io::Error::other("it holds too many files"))),
            false => Ok(names),
        }
    }

    fn inside(&self, directory: &str) -> Result<Vec<(String, Source)>, LineError> {
        let mut all = Vec::new();
        for name in self.names(directory)? {
            let path = format!("{directory}/{name}");
            if let Some(is_directory) = self.kind(&path)? {
                all.push((name, Source { path, is_directory }));
            }
        }
        Ok(all)
    }

    /// An error below a directory that several lines put together.
    fn unplaced(&self, place: &str, why: LineError) -> SynclistError {
        SynclistError::Unread { path: place.into(), why: io::Error::other(why.to_string()) }
    }
}

fn unread(path: &str, why: io::Error) -> LineError {
    LineError::Names { directory: path.to_owned(), why }
}

/// The last name of a clean path.
fn base(path: &str) -> Result<&str, LineError> {
    match path.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => Ok(name),
        _ => Err(LineError::Root(if path.is_empty() { "/" } else { path }.to_owned())),
    }
}
