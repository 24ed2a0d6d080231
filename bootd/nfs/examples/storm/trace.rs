//! The NFS calls of a boot as text: made from a capture, turned into calls again.
//!
//! A line is an object or a call. `o ID PARENT KIND SIZE NAME` is an object when it is first seen: PARENT is
//! `-` for what was mounted, KIND is RFC 1813's number of the file type. A call is `PROCEDURE ID` and, for
//! LOOKUP (3) a name, for ACCESS (4) a mask, for READ (6) offset and count, for READDIR and READDIRPLUS (16,
//! 17) the number of the page and its bytes. `e ID COUNT` is the number of entries of a directory that was
//! listed. `s PROCEDURE` is a call that changes something; it is left out of a replay, because all nodes
//! replay in one tree.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dawn_nfs::client::Client;
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3;
use dawn_nfs::xdr::{Reader, Writer, XdrError};

use super::Traced;
use super::capture::Pair;

const MOUNT_PROGRAM: u32 = 100_005;
/// Bytes before the arguments of a call, with its credential; and before the results of a reply.
const CALL_WORDS: usize = 6;
const REPLY_HEAD_BYTES: usize = 24;
const NAME_BYTES_MAX: usize = 1024;

/// Makes a trace of captured calls.
pub(crate) fn of_capture(pairs: &[Pair]) -> String {
    let mut maker = Maker::default();
    for (call, reply) in pairs {
        // A call this cannot read is a call the server did not understand either.
        let _ = maker.pair(call, reply);
    }
    for (id, count) in &maker.entries {
        let _ = writeln!(maker.text, "e {id} {count}");
    }
    maker.text
}

#[derive(Default)]
struct Maker {
    text: String,
    ids: HashMap<Vec<u8>, usize>,
    entries: HashMap<usize, usize>,
    page: HashMap<usize, usize>,
}

impl Maker {
    fn pair(&mut self, call: &[u8], reply: &[u8]) -> Result<(), XdrError> {
        let mut r = Reader::new(call);
        let mut head = [0; CALL_WORDS];
        for word in &mut head {
            *word = r.u32()?;
        }
        let [.., program, _version, procedure] = head;
        for _ in 0..2 {
            r.u32()?;
            r.opaque(400)?;
        }
        let mut results = Reader::new(reply.get(REPLY_HEAD_BYTES..).unwrap_or_default());
        match (program, procedure) {
            (MOUNT_PROGRAM, 1) => {
                let path = r.opaque(NAME_BYTES_MAX)?.to_vec();
                if results.u32()? == 0 {
                    let handle = results.opaque(64)?.to_vec();
                    self.object(&handle, "-", (2, 0), &path);
                }
                Ok(())
            }
            (nfs3::PROGRAM, 1..=21) => self.call(procedure, &mut r, &mut results),
            _ => Ok(()),
        }
    }

    fn object(&mut self, handle: &[u8], parent: &str, (kind, size): (u32, u64), name: &[u8]) {
        let id = self.ids.len();
        if self.ids.contains_key(handle) {
            return;
        }
        self.ids.insert(handle.to_vec(), id);
        let _ = writeln!(self.text, "o {id} {parent} {kind} {size} {}", String::from_utf8_lossy(name));
    }

    fn call(&mut self, procedure: u32, r: &mut Reader<'_>, results: &mut Reader<'_>) -> Result<(), XdrError> {
        let handle = r.opaque(64)?.to_vec();
        let Some(id) = self.ids.get(&handle).copied() else { return Ok(()) };
        let ok = results.u32()? == 0;
        let rest = match procedure {
            3 => {
                let name = r.opaque(NAME_BYTES_MAX)?.to_vec();
                if ok {
                    let child = results.opaque(64)?.to_vec();
                    let kind = post_op(results)?.unwrap_or((1, 0));
                    self.object(&child, &id.to_string(), kind, &name);
                }
                String::from_utf8_lossy(&name).into_owned()
            }
            4 => r.u32()?.to_string(),
            6 => format!("{} {}", r.u64()?, r.u32()?),
            16 | 17 => self.listing(procedure, id, r, results)?,
            2 | 7..=15 | 21 => {
                let _ = writeln!(self.text, "s {procedure}");
                return Ok(());
            }
            _ => String::new(),
        };
        let _ = writeln!(self.text, "{}", format!("{procedure} {id} {rest}").trim_end());
        Ok(())
    }

    fn listing(
        &mut self,
        procedure: u32,
        id: usize,
        r: &mut Reader<'_>,
        results: &mut Reader<'_>,
    ) -> Result<String, XdrError> {
        let (cookie, _verifier, mut bytes) = (r.u64()?, r.u64()?, r.u32()?);
        if procedure == 17 {
            bytes = r.u32()?;
        }
        post_op(results)?;
        results.u64()?;
        let mut count = 0;
        while results.bool()? {
            results.u64()?;
            let name = results.opaque(NAME_BYTES_MAX)?.to_vec();
            results.u64()?;
            count += 1;
            let kind = if procedure == 17 { post_op(results)? } else { None };
            if procedure == 17 && results.bool()? {
                let child = results.opaque(64)?.to_vec();
                if name != b"." && name != b".." {
                    self.object(&child, &id.to_string(), kind.unwrap_or((1, 0)), &name);
                }
            }
        }
        let page = self.page.entry(id).or_default();
        *page = if cookie == 0 { 0 } else { *page + 1 };
        let entries = self.entries.entry(id).or_default();
        *entries = if cookie == 0 { count } else { *entries + count };
        Ok(format!("{page} {bytes}"))
    }
}

/// Type and size, if there are attributes.
fn post_op(r: &mut Reader<'_>) -> Result<Option<(u32, u64)>, XdrError> {
    if !r.bool()? {
        return Ok(None);
    }
    let kind = r.u32()?;
    r.fixed(16)?;
    let size = r.u64()?;
    r.fixed(84 - 28)?;
    Ok(Some((kind, size)))
}

/// A tree like the one the trace was made in: the same names, types and sizes, files full of zeros.
pub(crate) fn plant(trace: &str, top: &Path) {
    let paths = paths(trace, top);
    for (id, line) in objects(trace) {
        let path = &paths[&id];
        let [_, _, parent, kind, size, ..] = words(line)[..] else { continue };
        let done = match kind {
            "2" => std::fs::create_dir_all(path),
            "1" => std::fs::File::create(path).and_then(|f| f.set_len(size.parse().unwrap_or(0))),
            "5" => std::os::unix::fs::symlink("x".repeat(size.parse().unwrap_or(1)), path),
            _ => std::fs::write(path, ""),
        };
        done.unwrap_or_else(|error| panic!("{}, below {parent}: {error}", path.display()));
    }
    for line in trace.lines().filter(|line| line.starts_with("e ")) {
        let [_, id, count] = words(line)[..] else { continue };
        let (dir, count) = (&paths[id], count.parse().unwrap_or(0));
        let have = std::fs::read_dir(dir).unwrap().count() + 2;
        (have..count).for_each(|n| std::fs::write(dir.join(format!(".filler-{n}")), "").unwrap());
    }
}

fn words(line: &str) -> Vec<&str> {
    line.splitn(6, ' ').collect()
}

fn objects(trace: &str) -> impl Iterator<Item = (&str, &str)> {
    trace
        .lines()
        .filter(|line| line.starts_with("o "))
        .filter_map(|line| Some((line.split(' ').nth(1)?, line)))
}

fn paths<'a>(trace: &'a str, top: &Path) -> HashMap<&'a str, PathBuf> {
    let mut paths: HashMap<&str, PathBuf> = HashMap::new();
    for (id, line) in objects(trace) {
        let [_, _, parent, _, _, name] = words(line)[..] else { continue };
        let path = paths.get(parent).map_or_else(|| top.join(format!("mount-{id}")), |dir| dir.join(name));
        paths.insert(id, path);
    }
    paths
}

/// The calls, for the tree that was planted and mounted at `root`.
pub(crate) fn calls(trace: &str, client: &mut Client, root: FileHandle) -> Vec<Traced> {
    let mut handles: HashMap<&str, FileHandle> = HashMap::new();
    let mut cookies: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    let mut all = Vec::new();
    for line in trace.lines() {
        let words = words(line);
        match words[..] {
            ["o", id, "-", ..] => {
                handles.insert(id, client.lookup(&root, &format!("mount-{id}")).unwrap().0);
            }
            ["o", id, parent, _, _, name] => {
                handles.insert(id, client.lookup(&handles[parent], name).unwrap().0);
            }
            ["e" | "s", ..] => (),
            [procedure, id, ..] => {
                let number: u32 = procedure.parse().unwrap();
                // A name may have spaces.
                let rest = line.splitn(3, ' ').nth(2).unwrap_or_default();
                let handle = handles[id];
                if let (16 | 17, Some((page, bytes))) = (number, rest.split_once(' ')) {
                    let bytes: u32 = bytes.parse().unwrap();
                    let known = cookies.entry((id, procedure));
                    let known = known.or_insert_with(|| pages(client, &handle, bytes, number == 17));
                    let cookie = known.get(page.parse::<usize>().unwrap()).copied();
                    all.extend(cookie.map(|cookie| listing(client, number, &handle, cookie, bytes)));
                } else {
                    all.push(simple(client, number, &handle, rest));
                }
            }
            _ => panic!("no line of a trace: {line}"),
        }
    }
    all
}

/// Where the pages of a listing begin.
fn pages(client: &mut Client, dir: &FileHandle, bytes: u32, plus: bool) -> Vec<u64> {
    let mut cookies = vec![0];
    loop {
        let (entries, at_end) = client.readdir_page(dir, cookies[cookies.len() - 1], bytes, plus).unwrap();
        match entries.last() {
            Some(last) if !at_end => cookies.push(last.cookie),
            _ => return cookies,
        }
    }
}

fn listing(client: &mut Client, procedure: u32, dir: &FileHandle, cookie: u64, bytes: u32) -> Traced {
    let mut w = Writer::default();
    w.opaque(dir.as_bytes());
    w.u64(cookie);
    w.u64(0);
    w.u32(bytes);
    if procedure == 17 {
        w.u32(bytes);
    }
    Traced { bytes: client.encode(nfs3::PROGRAM, 3, procedure, w.bytes()).1, reply_bytes: u64::from(bytes) }
}

fn simple(client: &mut Client, procedure: u32, handle: &FileHandle, rest: &str) -> Traced {
    let mut w = Writer::default();
    w.opaque(handle.as_bytes());
    let mut reply_bytes = 0;
    match (procedure, rest.split_once(' ')) {
        (3, _) => w.opaque(rest.as_bytes()),
        (4, _) => w.u32(rest.parse().unwrap()),
        (6, Some((offset, count))) => {
            w.u64(offset.parse().unwrap());
            w.u32(count.parse().unwrap());
            reply_bytes = count.parse().unwrap();
        }
        _ => (),
    }
    Traced { bytes: client.encode(nfs3::PROGRAM, 3, procedure, w.bytes()).1, reply_bytes }
}
