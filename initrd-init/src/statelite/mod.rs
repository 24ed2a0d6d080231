//! A shared read-only NFS root with per-node files on top (statelite).
//!
//! Order: image, list, trees and persistent storage are mounted; the plan is made ([`node`]); the root is the
//! image itself or, where the image lacks mount points or links, a read-only overlay of a skeleton in memory
//! over it; then the actions fill and mount the per-node files. The server's image is never written to.
//!
//! A server with a live overlay has already put its part of the list, and all mount points, over the image;
//! the root shows this by the directory [`image::LIVE`]. What the list marks as served is left alone then,
//! trees are directories of the root, and the root is the NFS mount itself, so that what changes on the
//! server is seen here.

mod exec;
mod localdisk;
mod parttable;

use std::cell::RefCell;
use std::fs;
use std::net::Ipv4Addr;

use rustix::mount::MountFlags;

use crate::cmdline::{Cmdline, NfsPorts};
use crate::error::{Error, Result};
use crate::handover::{self, Facts};
use crate::http;
use crate::log;
use crate::modules::Loader;
use crate::nfs::{self, NfsMount, Patience};
use crate::resolve::resolve;
use crate::stateless::{self, Writable};
use crate::sys;
use crate::url::Url;
use dawn_statelite::resolve::node::{self, LOCAL, Plan, STATELITE};
use dawn_wire::list::Mount;
use dawn_wire::{List, Remote, image};
use exec::Places;

const IMAGE: &str = "/image";
const LITE: &str = "/lite";
const SKELETON: &str = "/skel";
/// Units that write into a root they take for writable. The kernel takes a live root for that, the server
/// does not.
const WRITERS: [&str; 6] = [
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-machine-id-commit.service",
    "systemd-sysusers.service",
    "systemd-update-done.service",
];
/// How long the kernel trusts its cache of directories, in seconds, unless the kernel line says
/// otherwise: the bound within which changes on the server are seen.
const ATTRIBUTES_OPTIONS: &str = "acdirmin=3,acdirmax=10";
const LOCAL_DISK: &str = "/local";

/// Options of persistent storage when neither list nor kernel line has any: a storage server that is away
/// must not lose data, so requests are repeated for ever.
const PERSISTENT_OPTIONS: &str = "hard";

/// Options of a tree that is only copied from, in the words of mount.nfs, before those of the list: a server
/// that stops answering is an error after half a minute.
const TREE_OPTIONS: &str = "soft,timeo=50,retrans=2";

/// What the kernel line asks for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    /// The kernel line.
    pub line: &'a Cmdline,
    /// Node, interface, lease.
    pub facts: &'a Facts,
    /// Server for lists.
    pub server: Option<Ipv4Addr>,
    /// Where the image comes from.
    pub image: Image<'a>,
}

/// Where the image comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Image<'a> {
    /// A shared root, with its mount options.
    Shared(&'a Remote, &'a str),
    /// An archive that is unpacked into memory (`rootfstype=ramdisk`).
    Archive(&'a Url, Writable<'a>),
}

/// Builds the root at `root`.
pub(crate) fn build(wish: &Wish<'_>, loader: &mut Loader, root: &str) -> Result<()> {
    nfs::load_client(loader)?;
    let live = mount_image(wish)?;
    sys::tmpfs(LITE, "mode=755")?;
    sys::make_dirs(&format!("{LITE}/tmpfs"))?;
    let mut list = fetch_list(wish)?;
    if live {
        let shown = format!("{LITE}/live");
        sys::make_dirs(&shown)?;
        sys::bind(&live_mark(), &shown)?;
        node::on_live_root(&mut list);
        handover::mask(&WRITERS);
    } else {
        node::on_plain_root(&mut list);
    }
    list.notes.iter().for_each(|note| log::problem(&format!("statelite: {note}")));
    complete(&mut list, wish);
    localdisk::set_up(&mut list, IMAGE, &wish.line.blacklist, LOCAL_DISK);
    let mut places = Places {
        image: IMAGE.to_owned(),
        lite: LITE.to_owned(),
        local: LOCAL_DISK.to_owned(),
        trees: list.trees.clone(),
        lost: RefCell::default(),
    };
    if node::wants_trees(&list) {
        let in_place = list.entries.iter().any(|entry| entry.option.is_ro() && !entry.served);
        mount_trees(wish, &places, in_place);
    }
    if node::wants_storage(&list) {
        mount_persistent(wish, &list)?;
    }
    let plan = node::plan(&list, &places);
    tell_lost_trees(&places);
    plan.notes.iter().for_each(|note| log::step(&format!("statelite: {note}")));
    build_root(&plan, loader, root)?;
    let lite = format!("{root}{STATELITE}");
    sys::move_mount(LITE, &lite)?;
    places.lite = lite;
    if list.local_disk.is_there() {
        places.local = format!("{root}{LOCAL}");
        sys::move_mount(LOCAL_DISK, &places.local)?;
    }
    let lines = exec::run(&plan.actions, &places, root)?;
    let served = list.entries.iter().filter(|entry| entry.served).count();
    log::step(&format!(
        "statelite: {} paths, {served} of them served, {} actions",
        list.entries.len(),
        lines.len()
    ));
    keep_records(&list, &plan, &lines, &places.lite);
    sys::detach(IMAGE);
    sys::detach(SKELETON);
    Ok(())
}

/// The directory by which a root with a live overlay is known.
fn live_mark() -> String {
    format!("{IMAGE}/{}", image::LIVE)
}

/// Mounts the image; returns whether the server puts files over it. Such a root is not read-only as a whole,
/// because persistent files are in it: the server alone says what may be written.
fn mount_image(wish: &Wish<'_>) -> Result<bool> {
    let (remote, options) = match wish.image {
        Image::Shared(remote, options) => (remote, root_options(options)),
        Image::Archive(url, writable) => {
            stateless::unpack(url, &|host| resolve(host, &wish.facts.lease), writable, IMAGE)?;
            return Ok(false);
        }
    };
    mount(wish, remote, &options, true)?.mount(IMAGE, Patience::ROOT)?;
    let live = fs::symlink_metadata(live_mark()).is_ok_and(|meta| meta.is_dir());
    if live {
        sys::detach(IMAGE);
        let options: Vec<&str> = options.split(',').filter(|option| *option != "ro").collect();
        mount(wish, remote, &options.join(","), false)?.mount(IMAGE, Patience::ROOT)?;
    }
    let kind = if live { "with this node's files laid over it by the server" } else { "read-only" };
    log::step(&format!("root: {remote} mounted {kind}"));
    Ok(live)
}

fn root_options(given: &str) -> String {
    let decided = |option: &str| option == "noac" || option.starts_with("ac");
    match given {
        "" => ATTRIBUTES_OPTIONS.to_owned(),
        given if given.split(',').any(decided) => given.to_owned(),
        given => format!("{given},{ATTRIBUTES_OPTIONS}"),
    }
}

fn mount<'a>(wish: &Wish<'_>, remote: &'a Remote, options: &'a str, read_only: bool) -> Result<NfsMount<'a>> {
    let root_host = match wish.image {
        Image::Shared(root, _) => &root.host,
        Image::Archive(url, _) => &url.host,
    };
    let host = if remote.host.is_empty() { root_host } else { &remote.host };
    let address = resolve(host, &wish.facts.lease)?;
    // The ports of the kernel line are those of the server that has the root.
    let same = host == root_host;
    let ports = if same { wish.line.nfs_ports } else { NfsPorts::default() };
    Ok(NfsMount { remote, address, ports, options, read_only })
}

fn fetch_list(wish: &Wish<'_>) -> Result<List> {
    let Some(server) = wish.server else {
        log::problem(
            "statelite: XCAT= names no server that can be asked for the list of files; none are special",
        );
        return Ok(List::default());
    };
    let path = format!("/tftpboot/xcat/statelite/{}", wish.facts.node);
    let url = Url { host: server.to_string(), port: wish.line.http_port, path };
    let mut text = Vec::new();
    http::fetch(&url, &|host| resolve(host, &wish.facts.lease), &mut text)?;
    let list = List::parse(&String::from_utf8_lossy(&text));
    for complaint in &list.complaints {
        log::problem(&format!("statelite: {complaint}"));
    }
    log::step(&format!("statelite: list has {} paths and {} trees", list.entries.len(), list.trees.len()));
    Ok(list)
}

/// The kernel line's persistent storage counts when the list names none.
fn complete(list: &mut List, wish: &Wish<'_>) {
    if list.persistent.is_none()
        && let Some(base) = &wish.line.state_mount
    {
        let remote = Remote { host: base.host.clone(), dir: format!("{}/{}", base.dir, wish.facts.node) };
        list.persistent = Some(Mount { remote, options: wish.line.state_options.clone(), served: false });
    }
    let wanted = list.entries.iter().find(|entry| entry.option.is_persistent() && !entry.served);
    if let (Some(entry), None) = (wanted, &list.persistent) {
        log::problem(&format!(
            "statelite: {} and others are persistent, but this node has no persistent storage (statelite table); \
             they will be lost at the next boot",
            entry.path
        ));
    }
}

/// A tree that cannot be mounted is left empty: its content then comes from the next one or from the image.
/// `in_place`: the running node reads from the trees.
fn mount_trees(wish: &Wish<'_>, places: &Places, in_place: bool) {
    for (index, tree) in places.trees.iter().enumerate() {
        let target = places.tree(index);
        if tree.served {
            // One that does not exist, or hangs, is not shown.
            let shown = format!("{IMAGE}/{}/{index}", image::TREES);
            let bound = fs::metadata(&shown)
                .map(|_| sys::make_dirs(&target).and_then(|()| sys::bind(&shown, &target)));
            match bound {
                Ok(Ok(())) => log::step(&format!("statelite: tree {} is served", tree.remote)),
                Ok(Err(error)) => log::trouble(&error.to_string()),
                Err(_) => log::problem(&format!("statelite: the server does not show tree {}", tree.remote)),
            }
            continue;
        }
        let options = tree_options(tree, in_place);
        let result =
            mount(wish, &tree.remote, &options, true).and_then(|mount| mount.mount(&target, Patience::TREE));
        match result {
            Ok(()) => log::step(&format!("statelite: tree {} mounted", tree.remote)),
            Err(error) => log::trouble(&format!("statelite: tree {} is left out: {error}", tree.remote)),
        }
    }
}

/// A tree that is only copied from may fail when its server stops answering; one that programs of the node
/// read may not.
fn tree_options(tree: &Mount, in_place: bool) -> String {
    match (in_place, tree.options.as_str()) {
        (true, given) => given.to_owned(),
        (false, "") => TREE_OPTIONS.to_owned(),
        (false, given) => format!("{TREE_OPTIONS},{given}"),
    }
}

/// Mounts the node's own directory. Where it does not exist yet it is made through its parent.
fn mount_persistent(wish: &Wish<'_>, list: &List) -> Result<()> {
    let target = format!("{LITE}/persistent");
    sys::make_dirs(&target)?;
    let Some(storage) = &list.persistent else { return Ok(()) };
    let options = if storage.options.is_empty() { PERSISTENT_OPTIONS } else { &storage.options };
    let own = mount(wish, &storage.remote, options, false)?;
    if let Err(error) = own.mount(&target, Patience::STORE) {
        log::step(&format!("{error}; making the node's directory"));
        make_directory(wish, &storage.remote, options, &target)?;
        own.mount(&target, Patience::MADE_STORE)?;
    }
    let test = format!("{target}/.dawn-write-test");
    let written = fs::write(&test, "").and_then(|()| fs::remove_file(&test));
    written.map_err(|cause| {
        Error::Image(format!("persistent storage {} cannot be written: {cause}", storage.remote))
    })?;
    log::step(&format!("statelite: persistent storage {} mounted", storage.remote));
    Ok(())
}

fn make_directory(wish: &Wish<'_>, remote: &Remote, options: &str, target: &str) -> Result<()> {
    let (parent, name) = remote.dir.rsplit_once('/').unwrap_or(("", &remote.dir));
    let parent = if parent.is_empty() { "/" } else { parent };
    let base = Remote { host: remote.host.clone(), dir: parent.to_owned() };
    mount(wish, &base, options, false)?.mount(target, Patience::STORE)?;
    let made = sys::make_dirs(&format!("{target}/{name}"));
    sys::detach(target);
    made
}

/// Trees that stopped answering while their files were looked for count as empty.
fn tell_lost_trees(places: &Places) {
    for index in places.lost.borrow().iter() {
        if let Some(tree) = places.trees.get(*index) {
            log::trouble(&format!(
                "statelite: tree {} does not answer any more and is left out",
                tree.remote
            ));
            sys::detach(&places.tree(*index));
        }
    }
}

fn build_root(plan: &Plan, loader: &mut Loader, root: &str) -> Result<()> {
    sys::make_dirs(root)?;
    if plan.skeleton.is_empty() {
        return sys::bind(IMAGE, root);
    }
    log::debug(&format!("{} mount points and links are laid over the image", plan.skeleton.len()));
    loader.load("overlay")?;
    sys::tmpfs(SKELETON, "mode=755")?;
    exec::lay_skeleton(&plan.skeleton, SKELETON, IMAGE)?;
    let options = format!("lowerdir={SKELETON}:{IMAGE}");
    sys::mount("dawn-root", root, "overlay", MountFlags::RDONLY, &options)
}

/// What the node would do with the text of its list, its image at `image` and its own files below `lite`: the
/// lines of `statelite.log`. On a `live` root the server does its part. Nothing is touched.
pub fn rehearse(text: &str, image: &str, lite: &str, live: bool) -> Vec<String> {
    let mut list = List::parse(text);
    if live {
        node::on_live_root(&mut list);
    } else {
        node::on_plain_root(&mut list);
    }
    let places = Places {
        image: image.to_owned(),
        lite: lite.to_owned(),
        local: format!("{lite}/local"),
        trees: list.trees.clone(),
        lost: RefCell::default(),
    };
    let plan = node::plan(&list, &places);
    let actions: Vec<String> = plan.actions.iter().map(ToString::to_string).collect();
    list.complaints.into_iter().chain(record(&plan, &actions).lines().map(str::to_owned)).collect()
}

/// Reads a list of any text and plans it for an image that has nothing.
pub(crate) fn fuzz_list(text: &str) {
    struct Nothing;
    impl node::Probe for Nothing {
        fn kind(&self, _at: &node::At) -> node::Kind {
            node::Kind::Missing
        }

        fn real_path(&self, path: &str) -> String {
            path.to_owned()
        }

        fn follow(&self, _path: &str) -> Option<String> {
            None
        }
    }
    let list = List::parse(text);
    assert!(list.entries.iter().all(|entry| entry.path.starts_with('/') && !entry.path.contains("/../")));
    let _ = node::plan(&list, &Nothing);
}

/// What was requested and done, for later reading.
fn keep_records(list: &List, plan: &Plan, lines: &[String], lite: &str) {
    let trees: String = list.trees.iter().map(|tree| format!("{}\n", tree.remote)).collect();
    let files: String = list
        .entries
        .iter()
        .map(|entry| {
            let slash = if entry.is_dir { "/" } else { "" };
            format!("{} {}{slash}\n", entry.option.as_str(), entry.path)
        })
        .collect();
    let disk = fs::read_to_string(localdisk::LOG).unwrap_or_default();
    let log = record(plan, lines);
    for (name, text) in
        [("statelite.log", log), ("litefile", files), ("litetree", trees), ("localdisk.log", disk)]
    {
        if let Err(error) = sys::write_file(&format!("{lite}/{name}"), &text) {
            log::problem(&error.to_string());
        }
    }
}

fn record(plan: &Plan, actions: &[String]) -> String {
    let skeleton = plan.skeleton.iter().map(|missing| format!("{missing}\n"));
    let actions = actions.iter().map(|line| format!("{line}\n"));
    let notes = plan.notes.iter().map(|note| format!("note {note}\n"));
    skeleton.chain(actions).chain(notes).collect()
}
