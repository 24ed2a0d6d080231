//! Random work by two clients against a model file system, with restarts in between: what the server shows
//! must be what the model says.
//!
//! The model is a tree of plain values that follows the rules of the protocol; every call is made on both
//! sides and the outcomes compared, and at the end the whole tree is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;

use common::Fixture;
use dawn_nfs::client::{CallError, Called, Client};
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3::{SetAttributes, Status};
use proptest::prelude::*;

/// Names come from a small set, so that calls meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Objects that calls pick from; most of the time the pick exists.
const PICKS: usize = 12;

#[derive(Debug, Clone)]
enum Op {
    Create { dir: usize, name: usize, guarded: bool },
    Mkdir { dir: usize, name: usize },
    Symlink { dir: usize, name: usize, text: u8 },
    Remove { dir: usize, name: usize },
    Rmdir { dir: usize, name: usize },
    Rename { from: usize, name: usize, to: usize, new: usize },
    Link { file: usize, dir: usize, name: usize },
    Write { file: usize, offset: u16, len: u16, byte: u8 },
    Truncate { file: usize, size: u16 },
    Chmod { file: usize, mode: u16 },
    Read { file: usize },
    List { dir: usize },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let (pick, name) = (0..PICKS, 0..NAMES.len());
    prop_oneof![
        4 => (pick.clone(), name.clone(), any::<bool>()).prop_map(|(dir, name, guarded)| Op::Create { dir, name, guarded }),
        4 => (pick.clone(), name.clone()).prop_map(|(dir, name)| Op::Mkdir { dir, name }),
        1 => (pick.clone(), name.clone(), any::<u8>()).prop_map(|(dir, name, text)| Op::Symlink { dir, name, text }),
        2 => (pick.clone(), name.clone()).prop_map(|(dir, name)| Op::Remove { dir, name }),
        2 => (pick.clone(), name.clone()).prop_map(|(dir, name)| Op::Rmdir { dir, name }),
        4 => (pick.clone(), name.clone(), pick.clone(), name.clone())
            .prop_map(|(from, name, to, new)| Op::Rename { from, name, to, new }),
        2 => (pick.clone(), pick.clone(), name.clone()).prop_map(|(file, dir, name)| Op::Link { file, dir, name }),
        4 => (pick.clone(), 0..5000u16, 0..3000u16, any::<u8>())
            .prop_map(|(file, offset, len, byte)| Op::Write { file, offset, len, byte }),
        1 => (pick.clone(), 0..6000u16).prop_map(|(file, size)| Op::Truncate { file, size }),
        1 => (pick.clone(), 0..0o10000u16).prop_map(|(file, mode)| Op::Chmod { file, mode }),
        2 => pick.clone().prop_map(|file| Op::Read { file }),
        1 => pick.prop_map(|dir| Op::List { dir }),
        1 => Just(Op::Restart),
    ]
}

/// An object of the model: nodes are never forgotten, links count.
#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    links: u32,
    parent: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Dir(BTreeMap<String, usize>),
    Link(String),
}

type Outcome = Result<(), u32>;

struct Model {
    nodes: Vec<Node>,
}

fn fail<T>(status: Status) -> Result<T, u32> {
    Err(status.code())
}

impl Model {
    fn new() -> Self {
        Self { nodes: vec![Node { kind: Kind::Dir(BTreeMap::new()), mode: 0o755, links: 2, parent: 0 }] }
    }

    fn dir(&self, at: usize) -> Result<&BTreeMap<String, usize>, u32> {
        match &self.nodes[at].kind {
            _ if self.nodes[at].links == 0 => fail(Status::Stale),
            Kind::Dir(names) => Ok(names),
            _ => fail(Status::NotDir),
        }
    }

    fn names(&mut self, at: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.nodes[at].kind {
            Kind::Dir(names) => names,
            _ => unreachable!("checked to be a directory"),
        }
    }

    fn file(&mut self, at: usize) -> Result<&mut Vec<u8>, u32> {
        let links = self.nodes[at].links;
        match &mut self.nodes[at].kind {
            _ if links == 0 => fail(Status::Stale),
            Kind::File(data) => Ok(data),
            Kind::Dir(_) => fail(Status::IsDir),
            Kind::Link(_) => fail(Status::Inval),
        }
    }

    fn add(&mut self, dir: usize, name: &str, kind: Kind, mode: u32) -> Outcome {
        if self.dir(dir)?.contains_key(name) {
            return fail(Status::Exist);
        }
        let links = if matches!(kind, Kind::Dir(_)) { 2 } else { 1 };
        self.nodes.push(Node { kind, mode, links, parent: dir });
        let new = self.nodes.len() - 1;
        self.names(dir).insert(name.to_owned(), new);
        Ok(())
    }

    fn is_dir(&self, at: usize) -> bool {
        matches!(self.nodes[at].kind, Kind::Dir(_))
    }

    fn drop_name(&mut self, dir: usize, name: &str) {
        if let Some(gone) = self.names(dir).remove(name) {
            let node = &mut self.nodes[gone];
            node.links = if matches!(node.kind, Kind::Dir(_)) { 0 } else { node.links - 1 };
        }
    }

    fn unlink(&mut self, dir: usize, name: &str, as_dir: bool) -> Outcome {
        let Some(at) = self.dir(dir)?.get(name).copied() else { return fail(Status::NoEnt) };
        match (self.is_dir(at), as_dir) {
            (true, false) => fail(Status::IsDir),
            (false, true) => fail(Status::NotDir),
            (true, true) if !self.dir(at)?.is_empty() => fail(Status::NotEmpty),
            _ => {
                self.drop_name(dir, name);
                Ok(())
            }
        }
    }

    fn is_below(&self, mut at: usize, above: usize) -> bool {
        loop {
            match at {
                _ if at == above => return true,
                0 => return false,
                _ => at = self.nodes[at].parent,
            }
        }
    }

    fn rename(&mut self, from: usize, name: &str, to: usize, new: &str) -> Outcome {
        let moved = self.dir(from)?.get(name).copied();
        let target = self.dir(to)?.get(new).copied();
        let Some(moved) = moved else { return fail(Status::NoEnt) };
        if self.is_dir(moved) && self.is_below(to, moved) {
            return fail(Status::Inval);
        }
        match target {
            Some(target) if target == moved => return Ok(()),
            // The kernel refuses to replace a parent of the moved object before it looks at kinds.
            Some(target) if self.is_below(from, target) => return fail(Status::NotEmpty),
            Some(target) => match (self.is_dir(moved), self.is_dir(target)) {
                (true, false) => return fail(Status::NotDir),
                (false, true) => return fail(Status::IsDir),
                (true, true) if !self.dir(target)?.is_empty() => return fail(Status::NotEmpty),
                _ => self.drop_name(to, new),
            },
            None => (),
        }
        self.names(from).remove(name);
        self.names(to).insert(new.to_owned(), moved);
        if self.is_dir(moved) {
            self.nodes[moved].parent = to;
        }
        Ok(())
    }

    fn link(&mut self, file: usize, dir: usize, name: &str) -> Outcome {
        let taken = self.dir(dir)?.contains_key(name);
        match () {
            () if self.nodes[file].links == 0 => fail(Status::Stale),
            () if self.is_dir(file) => fail(Status::IsDir),
            () if taken => fail(Status::Exist),
            () => {
                self.nodes[file].links += 1;
                self.names(dir).insert(name.to_owned(), file);
                Ok(())
            }
        }
    }
}

/// The server with two clients, and the model to compare with.
struct World {
    fixture: Fixture,
    clients: Vec<Client>,
    model: Model,
    /// The handle of each node of the model, as first seen.
    handles: Vec<FileHandle>,
}

fn outcome<T>(called: Called<T>) -> Outcome {
    match called {
        Ok(_) => Ok(()),
        Err(CallError::Status(status)) => Err(status),
        Err(other) => panic!("{other}"),
    }
}

fn mode(mode: u32) -> SetAttributes {
    SetAttributes { mode: Some(mode), ..SetAttributes::default() }
}

impl World {
    fn new() -> Self {
        let fixture = Fixture::new();
        let (client, root) = fixture.area();
        let clients = vec![client, fixture.client()];
        Self { fixture, clients, model: Model::new(), handles: vec![root] }
    }

    fn pick(&self, n: usize) -> usize {
        n % self.handles.len()
    }

    fn made(&mut self, called: Called<FileHandle>) -> Outcome {
        if let Ok(handle) = called {
            self.handles.push(handle);
        }
        outcome(called)
    }

    /// Makes one call on both sides and compares.
    fn step(&mut self, turn: usize, op: &Op) {
        let turn = turn % self.clients.len();
        let (want, got) = match *op {
            Op::Create { dir, name, guarded } => {
                let at = self.pick(dir);
                let exists = self.model.dir(at).ok().and_then(|names| names.get(NAMES[name]).copied());
                if exists.is_some() && !guarded {
                    return;
                }
                let want = self.model.add(at, NAMES[name], Kind::File(Vec::new()), 0o640);
                let made = self.clients[turn].create(&self.handles[at], NAMES[name], &mode(0o640), guarded);
                (want, self.made(made))
            }
            Op::Mkdir { dir, name } => {
                let at = self.pick(dir);
                let want = self.model.add(at, NAMES[name], Kind::Dir(BTreeMap::new()), 0o750);
                let made = self.clients[turn].mkdir(&self.handles[at], NAMES[name], &mode(0o750));
                (want, self.made(made))
            }
            Op::Symlink { dir, name, text } => {
                let (at, text) = (self.pick(dir), format!("to/{text}"));
                let want = self.model.add(at, NAMES[name], Kind::Link(text.clone()), 0o777);
                let made = self.clients[turn].symlink(&self.handles[at], NAMES[name], &text);
                (want, self.made(made))
            }
            Op::Remove { dir, name } => {
                let at = self.pick(dir);
                let want = self.model.unlink(at, NAMES[name], false);
                (want, outcome(self.clients[turn].remove(&self.handles[at], NAMES[name])))
            }
            Op::Rmdir { dir, name } => {
                let at = self.pick(dir);
                let want = self.model.unlink(at, NAMES[name], true);
                (want, outcome(self.clients[turn].rmdir(&self.handles[at], NAMES[name])))
            }
            Op::Rename { from, name, to, new } => {
                let (from, to) = (self.pick(from), self.pick(to));
                let want = self.model.rename(from, NAMES[name], to, NAMES[new]);
                let (a, b) = (self.handles[from], self.handles[to]);
                (want, outcome(self.clients[turn].rename((&a, NAMES[name]), (&b, NAMES[new]))))
            }
            Op::Link { file, dir, name } => {
                let (file, dir) = (self.pick(file), self.pick(dir));
                let want = self.model.link(file, dir, NAMES[name]);
                let (file, dir) = (self.handles[file], self.handles[dir]);
                (want, outcome(self.clients[turn].link(&file, &dir, NAMES[name])))
            }
            Op::Write { file, offset, len, byte } => {
                let at = self.pick(file);
                let (offset, data) = (usize::from(offset), vec![byte; usize::from(len)]);
                let want = self.model.file(at).map(|have| {
                    if !data.is_empty() {
                        have.resize(have.len().max(offset + data.len()), 0);
                        have[offset..offset + data.len()].copy_from_slice(&data);
                    }
                });
                let stable = u32::from(byte % 3);
                (want, outcome(self.clients[turn].write(&self.handles[at], offset as u64, &data, stable)))
            }
            Op::Truncate { file, size } => {
                let at = self.pick(file);
                let want = self.model.file(at).map(|have| have.resize(usize::from(size), 0));
                let set = SetAttributes { size: Some(size.into()), ..SetAttributes::default() };
                (want, outcome(self.clients[turn].setattr(&self.handles[at], &set, None)))
            }
            Op::Chmod { file, mode: bits } => {
                let at = self.pick(file);
                let node = &mut self.model.nodes[at];
                let want = if node.links == 0 { fail(Status::Stale) } else { Ok(()) };
                if want.is_ok() && !matches!(node.kind, Kind::Link(_)) {
                    node.mode = bits.into();
                }
                (want, outcome(self.clients[turn].setattr(&self.handles[at], &mode(bits.into()), None)))
            }
            Op::Read { file } => {
                let at = self.pick(file);
                let want = self.model.file(at).cloned();
                let got = self.clients[turn].read(&self.handles[at], 0, 1 << 20);
                if let (Ok(want), Ok((got, eof))) = (&want, &got) {
                    assert!(want == got && *eof, "data differ");
                }
                (want.map(drop), outcome(got))
            }
            Op::List { dir } => {
                let at = self.pick(dir);
                let want = self.model.dir(at).map(|names| names.keys().cloned().collect::<Vec<_>>());
                let got = list(&mut self.clients[turn], &self.handles[at]);
                if let (Ok(want), Ok(got)) = (&want, &got) {
                    assert_eq!(want, got);
                }
                (want.map(drop), outcome(got))
            }
            Op::Restart => {
                self.fixture.restart();
                self.clients = vec![self.fixture.client(), self.fixture.client()];
                return;
            }
        };
        // Calls on two objects may find either of two faults first.
        let either = matches!(op, Op::Rename { .. } | Op::Link { .. }) && got.is_err() && want.is_err();
        assert!(either || got == want, "{op:?}: {got:?}, not {want:?}");
    }

    /// Compares every object that was ever made, by its first handle.
    fn compare(&mut self) {
        let client = &mut self.clients[0];
        for (node, handle) in self.model.nodes.iter().zip(&self.handles) {
            let attributes = client.getattr(handle);
            if node.links == 0 {
                assert_eq!(outcome(attributes), fail(Status::Stale));
                continue;
            }
            let attributes = attributes.unwrap();
            match &node.kind {
                Kind::File(data) => {
                    assert_eq!((attributes.nlink, attributes.mode), (node.links, node.mode));
                    assert_eq!(&client.read(handle, 0, 1 << 20).unwrap().0, data);
                }
                Kind::Link(text) => assert_eq!(client.readlink(handle).unwrap(), text.as_bytes()),
                Kind::Dir(names) => {
                    assert_eq!(list(client, handle).unwrap(), names.keys().cloned().collect::<Vec<_>>());
                    for (name, at) in names {
                        assert_eq!(client.lookup(handle, name).unwrap().0, self.handles[*at]);
                    }
                }
            }
        }
    }
}

fn list(client: &mut Client, dir: &FileHandle) -> Called<Vec<String>> {
    let entries = client.readdir(dir, 1024, true)?;
    let names = entries.into_iter().map(|e| String::from_utf8(e.name).unwrap());
    let mut names: Vec<_> = names.filter(|n| n != "." && n != "..").collect();
    names.sort();
    Ok(names)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_server_shows_what_the_model_says(ops in proptest::collection::vec((0..2usize, op()), 1..120)) {
        let mut world = World::new();
        for (turn, op) in &ops {
            world.step(*turn, op);
        }
        world.compare();
    }
}
