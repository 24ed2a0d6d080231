//! Random work of two nodes on their live roots, while rows of `litefile` and files of the trees change and
//! the server is started again: what the nodes see must be what the model says, and the image stays as it
//! was.
//!
//! The model knows contents only: those of the image, of three trees, and of the nodes' stores, and which row
//! counts. It follows the rules of the documentation, not the code: the first tree wins, `con` joins,
//! persistent paths are seeded when they are first looked at, and what a node was shown stays until it boots.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::tests::{Node, Site, row};
use dawn_cluster::Edit;
use dawn_nfs::client::CallError;
use dawn_nfs::nfs3::{SetAttributes, Status};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Special files; the image has all but the last.
const FILES: [&str; 3] = ["etc/a", "etc/b", "etc/new"];
/// A special directory, and the names in it; the image has the first.
const DIR: &str = "srv/d";
const NAMES: [&str; 2] = ["x", "y"];
/// Options of a file and of a directory; the first is not a row.
const FILE_OPTIONS: [&str; 6] = ["", "ro", "link,persistent", "persistent", "con,persistent", "link,ro"];
const DIR_OPTIONS: [&str; 3] = ["", "ro", "persistent"];
/// The trees of both nodes, in order of priority; the last is common to them.
const TREES: [[&str; 2]; 2] = [["own/cn1", "shared"], ["own/cn2", "shared"]];

#[derive(Debug, Clone)]
enum Op {
    Row { path: usize, option: usize },
    Source { node: usize, tree: usize, path: usize, text: Option<u8>, replace: bool },
    Read { node: usize, path: usize },
    Write { node: usize, path: usize, text: u8 },
    Remove { node: usize, path: usize },
    List { node: usize, etc: bool },
    Boot { node: usize },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let (node, path) = (0..2usize, 0..FILES.len() + NAMES.len());
    let text = prop_oneof![2 => any::<u8>().prop_map(Some), 1 => Just(None)];
    prop_oneof![
        3 => (0..=FILES.len(), 0..6usize).prop_map(|(path, option)| Op::Row { path, option }),
        4 => (node.clone(), 0..2usize, path.clone(), text, any::<bool>())
            .prop_map(|(node, tree, path, text, replace)| Op::Source { node, tree, path, text, replace }),
        4 => (node.clone(), path.clone()).prop_map(|(node, path)| Op::Read { node, path }),
        4 => (node.clone(), path.clone(), any::<u8>()).prop_map(|(node, path, text)| Op::Write { node, path, text }),
        2 => (node.clone(), path).prop_map(|(node, path)| Op::Remove { node, path }),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, etc)| Op::List { node, etc }),
        2 => node.prop_map(|node| Op::Boot { node }),
        1 => Just(Op::Restart),
    ]
}

/// The path of number `n`: a special file, or a file of the special directory.
fn path(n: usize) -> String {
    FILES.get(n).map_or_else(|| format!("{DIR}/{}", NAMES[n - FILES.len()]), |file| (*file).to_owned())
}

/// Different texts are of different lengths, mostly.
fn text(n: u8) -> String {
    format!("{n}\n").repeat(usize::from(n % 7) + 1)
}

type Contents = BTreeMap<String, String>;

#[derive(Default)]
struct Model {
    image: Contents,
    trees: BTreeMap<&'static str, Contents>,
    /// What each node's store holds: files by their paths, the directory by the names in it.
    files: [Contents; 2],
    dirs: [Option<Contents>; 2],
    /// Options by path, and those that each node is shown.
    rows: BTreeMap<&'static str, &'static str>,
    shown: [BTreeMap<&'static str, &'static str>; 2],
}

fn below_dir(contents: &Contents) -> Contents {
    let name = |path: &str| path.strip_prefix(DIR)?.strip_prefix('/').map(str::to_owned);
    contents.iter().filter_map(|(path, text)| Some((name(path)?, text.clone()))).collect()
}

impl Model {
    fn option(&self, node: usize, path: &str) -> &'static str {
        self.shown[node].get(path).copied().unwrap_or_default()
    }

    fn hits<T>(&self, node: usize, of: impl Fn(&Contents) -> Option<T>) -> Vec<T> {
        TREES[node].iter().filter_map(|tree| of(self.trees.get(tree)?)).collect()
    }

    /// What the node sees at a special file; a persistent one is seeded by looking.
    fn file(&mut self, node: usize, path: &str) -> Option<String> {
        let option = self.option(node, path);
        let hits = self.hits(node, |tree| tree.get(path).cloned());
        let hits = if option.is_empty() { Vec::new() } else { hits };
        let found = match (hits.as_slice(), option.contains("con")) {
            ([], _) => self.image.get(path).cloned(),
            (hits, true) => Some(hits.concat()),
            ([first, ..], false) => Some(first.clone()),
        };
        match option.contains("persistent") {
            true => {
                Some(self.files[node].entry(path.to_owned()).or_insert(found.unwrap_or_default()).clone())
            }
            false => found,
        }
    }

    /// What the node sees in the special directory, seeded likewise.
    fn dir(&mut self, node: usize) -> Contents {
        let image = below_dir(&self.image);
        // An empty directory counts for nothing.
        let hits = self.hits(node, |tree| Some(below_dir(tree)).filter(|dir| !dir.is_empty()));
        match (self.option(node, DIR), hits.as_slice()) {
            ("ro", [first, ..]) => first.clone(),
            ("persistent", hits) => {
                // Of two files of one name the later tree's stays.
                let owned = |(name, text): (&String, &String)| (name.clone(), text.clone());
                let merged =
                    || if hits.is_empty() { image } else { hits.iter().flatten().map(owned).collect() };
                self.dirs[node].get_or_insert_with(merged).clone()
            }
            _ => image,
        }
    }

    fn seen(&mut self, node: usize, path: &str) -> Option<String> {
        match path.strip_prefix(DIR) {
            Some(name) => self.dir(node).get(name.trim_start_matches('/')).cloned(),
            None => self.file(node, path),
        }
    }
}

struct World {
    site: Site,
    nodes: Vec<Node>,
    model: Model,
    before: BTreeMap<String, (u32, i64, Vec<u8>)>,
}

fn status<T>(called: Result<T, CallError>) -> Result<T, u32> {
    called.map_err(|error| match error {
        CallError::Status(status) => status,
        other => panic!("{other}"),
    })
}

/// Modes, times of change and contents of everything below `dir`.
fn state_of(dir: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let state = (meta.mode(), meta.ctime() * 1_000_000_000 + meta.ctime_nsec(), content);
        all.insert(path.to_string_lossy().into_owned(), state);
        if meta.is_dir() {
            all.extend(state_of(&path));
        }
    }
    all
}

impl World {
    fn new() -> Self {
        let site = Site::new(&[]);
        let mut model = Model::default();
        for path in [FILES[0], FILES[1], "srv/d/x"] {
            site.write(&format!("img/rootimg/{path}"), path);
            model.image.insert(path.to_owned(), path.to_owned());
        }
        let before = state_of(&site.path("img/rootimg"));
        let nodes = vec![site.node(1), site.node(2)];
        Self { site, nodes, model, before }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Row { path, option } => self.row(path, option),
            Op::Source { node, tree, path: n, text: to, replace } => {
                self.source(TREES[node][tree], &path(n), to, replace);
            }
            Op::Read { node, path: n } => self.read(node, &path(n)),
            Op::Write { node, path: n, text: to } => self.write(node, &path(n), &text(to)),
            Op::Remove { node, path: n } => self.remove(node, &path(n)),
            Op::List { node, etc } => self.list(node, etc),
            Op::Boot { node } => {
                self.nodes[node] = self.site.node(node as u8 + 1);
                self.model.shown[node] = self.model.rows.clone();
            }
            Op::Restart => {
                self.site.restart();
                for (node, number) in self.nodes.iter_mut().zip(1..) {
                    // The handle of the root is that of before; the server knows of a node by its calls.
                    node.client = self.site.client(number);
                    node.client.getattr(&node.root).unwrap();
                }
            }
        }
    }

    fn row(&mut self, path: usize, option: usize) {
        let (file, option) = match FILES.get(path) {
            Some(file) => (*file, FILE_OPTIONS[option]),
            None => (DIR, DIR_OPTIONS[option % DIR_OPTIONS.len()]),
        };
        let cell = if file == DIR { format!("/{file}/") } else { format!("/{file}") };
        let known = self.model.rows.contains_key(file);
        match option {
            "" if known => self.site.apply(Edit::delete("litefile", &[("file", &cell)]).unwrap()),
            "" => {}
            _ => self.site.apply(row(&cell, option)),
        }
        match option {
            "" => drop(self.model.rows.remove(file)),
            _ => {
                self.model.rows.insert(file, option);
                // What a running node has stays; what is new is shown.
                self.model.shown.iter_mut().for_each(|shown| {
                    shown.entry(file).or_insert(option);
                });
            }
        }
    }

    fn source(&mut self, tree: &'static str, path: &str, to: Option<u8>, replace: bool) {
        let (real, contents) = (format!("{tree}/{path}"), self.model.trees.entry(tree).or_default());
        match to.map(text) {
            None => {
                let _ = fs::remove_file(self.site.path(&real));
                contents.remove(path);
            }
            Some(text) => {
                if replace {
                    let _ = fs::remove_file(self.site.path(&real));
                }
                self.site.write(&real, &text);
                contents.insert(path.to_owned(), text);
            }
        }
        self.site.live.sweep();
    }

    fn read(&mut self, node: usize, path: &str) {
        let want = self.model.seen(node, path);
        let got = status(self.nodes[node].text(path));
        assert_eq!(got, want.ok_or(Status::NoEnt as u32), "{path} of cn{}", node + 1);
    }

    /// Overwrites the file, or makes it.
    fn write(&mut self, node: usize, path: &str, text: &str) {
        let seen = self.model.seen(node, path);
        let inside = path.strip_prefix(DIR).map(|name| name.trim_start_matches('/').to_owned());
        let row = if inside.is_some() { self.model.option(node, DIR) } else { self.model.option(node, path) };
        let (dir, name) = path.rsplit_once('/').unwrap();
        let done = match seen {
            Some(_) => self.overwrite(node, path, text),
            None => status(self.nodes[node].put(dir, name, text)),
        };
        if !row.contains("persistent") {
            return assert_eq!(done, Err(Status::RoFs as u32), "{path}");
        }
        assert_eq!(done, Ok(()), "{path}");
        match inside {
            Some(name) => drop(self.model.dirs[node].as_mut().unwrap().insert(name, text.to_owned())),
            None => drop(self.model.files[node].insert(path.to_owned(), text.to_owned())),
        }
    }

    fn overwrite(&mut self, node: usize, path: &str, text: &str) -> Result<(), u32> {
        let Node { client, root } = &mut self.nodes[node];
        let file = status(client.walk(root, path))?;
        let empty = SetAttributes { size: Some(0), ..SetAttributes::default() };
        status(client.setattr(&file, &empty, None))?;
        status(client.write(&file, 0, text.as_bytes(), 2)).map(drop)
    }

    fn remove(&mut self, node: usize, path: &str) {
        // A special file is refused without a look at it.
        let there = path.starts_with(DIR) && self.model.seen(node, path).is_some();
        let (dir, name) = path.rsplit_once('/').unwrap();
        let Node { client, root } = &mut self.nodes[node];
        let dir = client.walk(root, dir).unwrap();
        let done = status(client.remove(&dir, name));
        match (path.strip_prefix(DIR), self.model.option(node, DIR), there) {
            (Some(name), "persistent", true) => {
                assert_eq!(done, Ok(()));
                self.model.dirs[node].as_mut().unwrap().remove(name.trim_start_matches('/'));
            }
            (Some(_), "persistent", false) => assert_eq!(done, Err(Status::NoEnt as u32)),
            _ => assert_eq!(done, Err(Status::RoFs as u32), "{path}"),
        }
    }

    fn list(&mut self, node: usize, etc: bool) {
        let want: Vec<String> = match etc {
            // Listing seeds nothing; a name that would be seeded is there.
            true => {
                let ours = FILES.iter().filter(|path| {
                    let hit = |tree: &Contents| tree.get(**path).cloned();
                    let option = self.model.option(node, path);
                    let hit = !option.is_empty() && !self.model.hits(node, hit).is_empty();
                    hit || option.contains("persistent") || self.model.image.contains_key(**path)
                });
                ours.map(|path| path.trim_start_matches("etc/").to_owned()).collect()
            }
            false => self.model.dir(node).into_keys().collect(),
        };
        let Node { client, root } = &mut self.nodes[node];
        let dir = client.walk(root, if etc { "etc" } else { DIR }).unwrap();
        let entries = client.readdir(&dir, 1024, true).unwrap();
        let names = entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap());
        // The files that every root has are not looked at.
        let others = [".", "..", "motd", "hostname", "resolv.conf", "machine-id"];
        let mut names: Vec<String> = names.filter(|name| !others.contains(&name.as_str())).collect();
        names.sort();
        assert_eq!(names, want, "of cn{}", node + 1);
    }

    /// Everything, as both nodes see it, and what is on the disk.
    fn compare(&mut self) {
        for node in 0..2 {
            (0..FILES.len() + NAMES.len()).for_each(|n| self.read(node, &path(n)));
            self.list(node, true);
            self.list(node, false);
            let store = format!("store/cn{}", node + 1);
            for (path, text) in &self.model.files[node] {
                assert_eq!(&self.site.read(&format!("{store}/{path}")), text);
            }
            for (name, text) in self.model.dirs[node].iter().flatten() {
                assert_eq!(&self.site.read(&format!("{store}/{DIR}/{name}")), text);
            }
        }
        assert_eq!(state_of(&self.site.path("img/rootimg")), self.before, "the image is not what it was");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn nodes_see_what_the_model_says(ops in proptest::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        ops.iter().for_each(|op| world.step(op));
        world.compare();
    }
}

/// What a row may say of a directory; the first is not a row.
const ANY_OPTION: [&str; 9] =
    ["", "tmpfs", "link", "persistent", "link,persistent", "localdisk", "ro", "link,ro", "con,persistent"];
const PARENT: &str = "/srv/p/";
const CHILDREN: [&str; 2] = ["/srv/p/c/", "/srv/p/f"];

/// The rows of one state of the tables; one that the tables do not take is left out.
fn states() -> Vec<Vec<(&'static str, &'static str)>> {
    let mut all = Vec::new();
    for (parent, child, option) in ANY_OPTION
        .iter()
        .flat_map(|parent| CHILDREN.map(|child| (parent, child)))
        .flat_map(|(parent, child)| ANY_OPTION.map(|option| (*parent, child, option)))
    {
        let rows = [(PARENT, parent), (child, option)].into_iter().filter(|(_, option)| !option.is_empty());
        let rows: Vec<_> =
            rows.filter(|(path, option)| !(path.ends_with('/') && option.contains("con"))).collect();
        let cells: Vec<_> = rows
            .iter()
            .map(|(file, options)| [("image", "x"), ("file", *file), ("options", *options)])
            .collect();
        let snapshot =
            dawn_cluster::Snapshot::from_rows(cells.iter().map(|row| ("litefile", row.as_slice())));
        if dawn_statelite::check(&dawn_statelite::files_of_image(&snapshot, "x")).is_empty()
            && !all.contains(&rows)
        {
            all.push(rows);
        }
    }
    all
}

/// What a node has of the server: paths of its root with open files in them, the text of each, and whether it
/// may write.
fn opened(site: &Site, node: &mut Node) -> Vec<(String, dawn_nfs::handle::FileHandle, bool)> {
    let list = site.list(1);
    let marked = list.lines().filter(|line| line.starts_with("file\t") && line.ends_with("\tserved"));
    let mut found = Vec::new();
    for line in marked {
        let fields: Vec<&str> = line.split('\t').collect();
        let path = fields[2].trim_matches('/');
        // Below a mount of the node its own bind mount leads there.
        let covered = list.lines().any(|line| {
            let parent = line.split('\t').nth(2).unwrap_or_default();
            fields[2].len() > parent.len()
                && fields[2].starts_with(parent)
                && line.starts_with("file\t")
                && !line.ends_with("served")
        });
        let shown = if covered { format!(".statelite/live/{path}") } else { path.to_owned() };
        let file = if fields[2].ends_with('/') { format!("{shown}/text") } else { shown };
        let writable = fields[1].contains("persistent");
        let handle =
            node.client.walk(&node.root, &file).unwrap_or_else(|error| panic!("{list}{file}: {error}"));
        found.push((file, handle, writable));
    }
    found
}

/// For any rows that a running node booted with and any change of them, its paths and open files stay.
#[test]
fn no_change_of_rows_takes_a_path_from_a_running_node() {
    let site = Site::new(&[]);
    for name in ["p/text", "p/c/text", "p/f"] {
        site.write(&format!("shared/srv/{name}"), name);
        site.write(&format!("img/rootimg/srv/{name}"), "image");
    }
    let states = states();
    assert!(states.len() > 40, "{}", states.len());
    for before in &states {
        let mut node = None;
        for after in &states {
            let _ = fs::remove_dir_all(site.path("store/cn1/srv"));
            site.rows(before);
            // The rows of before are back, but only a boot brings them to the node.
            let node = node.insert(site.node(1));
            let mut all = opened(&site, node);
            let texts: Vec<_> = all.iter().map(|(file, ..)| node.text(file).unwrap()).collect();
            site.rows(after);
            for ((file, handle, writable), text) in all.iter_mut().zip(&texts) {
                let case = format!("{before:?} -> {after:?}: {file}");
                let now = node.text(file).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(&now, text, "{case}");
                let open =
                    node.client.read(handle, 0, 4096).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(open.0, text.as_bytes(), "{case}");
                let written = node.client.write(handle, 0, b"x", 2).is_ok();
                assert_eq!(written, *writable, "{case}");
            }
        }
    }
}
