//! Conversations of two nodes with a real NFS server over tables and trees that change while they run.
//!
//! Calls must come from privileged ports, and seeds keep owners: the tests run as root.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::exports::TableExports;
use crate::generations::Generations;
use crate::testing::model;
use dawn_cluster::{Change, Edit};
use dawn_events::Step;
use dawn_nfs::client::{CallError, Client};
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3::{SetAttributes, Status};
use dawn_nfs::{LogObserver, Server, ServerConfig};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

pub(super) struct Site {
    dir: tempfile::TempDir,
    model: Arc<Model>,
    pub live: Arc<LiveRoots>,
    bus: Arc<Bus>,
    server: Server,
}

impl Site {
    /// Nodes cn1 (127.0.0.1) and cn2 (127.0.0.2) on one image, two trees, a store, and these `litefile` rows.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().canonicalize().unwrap().join(name).to_string_lossy().into_owned();
        for name in ["state", "img/rootimg/etc", "img/rootimg/srv", "own/cn1/etc", "shared/etc", "store"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("img/rootimg/etc/motd"), "image\n").unwrap();
        fs::write(at("img/rootimg/srv/seed"), "seed").unwrap();
        let model = Arc::new(model(&[
            ("osimage", &[("imagename", "img")], &[("provmethod", "statelite")]),
            ("linuximage", &[("imagename", "img")], &[("rootimgdir", &at("img"))]),
            ("litetree", &[("priority", "1"), ("image", "img")], &[("directory", &at("own/$node"))]),
            ("litetree", &[("priority", "2"), ("image", "img")], &[("directory", &at("shared"))]),
            ("statelite", &[("node", "all")], &[("statemnt", &at("store"))]),
            ("nodelist", &[("node", "cn1")], &[("groups", "all")]),
            ("nodelist", &[("node", "cn2")], &[("groups", "all")]),
            ("hosts", &[("node", "all")], &[("ip", "|cn(\\d+)|127.0.0.($1+0)|")]),
            ("nodetype", &[("node", "all")], &[("provmethod", "img")]),
            ("chain", &[("node", "all")], &[("currstate", "statelite a-b-c")]),
        ]));
        let files = files.iter().map(|(file, options)| row(file, options)).collect();
        model.apply(Change::new("test", "rows", files)).unwrap();
        let bus = Arc::<Bus>::default();
        let (live, server) = Self::serve(dir.path(), &model, &bus);
        Self { dir, model, live, bus, server }
    }

    fn serve(dir: &Path, model: &Arc<Model>, bus: &Arc<Bus>) -> (Arc<LiveRoots>, Server) {
        let live = LiveRoots::new(model.clone(), Arc::default(), bus.clone(), &dir.join("state"));
        let live = Arc::new(live);
        let generations = Arc::new(Generations::open(dir.join("generations")));
        let exports = Arc::new(TableExports::new(model.clone(), generations, live.clone()));
        let config = ServerConfig::loopback(dir.join("state"));
        let server = Server::start(&config, exports, Arc::new(LogObserver)).unwrap();
        (live, server)
    }

    /// Stops and starts: a new port, nothing remembered but tables and data directory.
    pub(super) fn restart(&mut self) {
        self.server.stop();
        (self.live, self.server) = Self::serve(self.dir.path(), &self.model, &self.bus);
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn apply(&self, edit: Edit) {
        self.model.apply(Change::new("test", "edit", vec![edit])).unwrap();
        self.live.sweep();
    }

    /// Replaces all rows of `litefile`.
    pub(super) fn rows(&self, rows: &[(&str, &str)]) {
        let gone = vec![Edit::delete("litefile", &[("image", "img")]).unwrap()];
        self.model.apply(Change::new("test", "rows", gone)).unwrap();
        let rows = rows.iter().map(|(file, options)| row(file, options)).collect();
        self.model.apply(Change::new("test", "rows", rows)).unwrap();
        self.live.sweep();
    }

    /// The list of a node that boots now.
    pub(super) fn list(&self, number: u8) -> String {
        self.live.list(&self.model.snapshot(), &format!("cn{number}")).unwrap().to_string()
    }

    /// A connection of a node's kernel.
    pub(super) fn client(&self, number: u8) -> Client {
        let server = ([127, 0, 0, 1], self.server.ports().nfs).into();
        Client::over(privileged(Ipv4Addr::new(127, 0, 0, number), server)).unwrap()
    }

    /// A node's kernel, its root mounted.
    pub(super) fn node(&self, number: u8) -> Node {
        let mut client = self.client(number);
        let root = client.mount(&self.path("img/rootimg").to_string_lossy()).unwrap();
        Node { client, root }
    }

    fn events(&self, node: &str) -> String {
        self.bus.of(node).iter().map(|event| format!("{}\n", event.detail)).collect()
    }
}

pub(super) fn row(file: &str, options: &str) -> Edit {
    Edit::set("litefile", &[("image", "img"), ("file", file)], &[("options", options)]).unwrap()
}

/// A connection from a port that only root can call from.
fn privileged(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    for port in 600..1024 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        match socket.bind(&SocketAddr::from((from, port)).into()) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                panic!("this test calls from a port below 1024 and needs to run as root: {error}")
            }
            Ok(()) if socket.connect(&to.into()).is_ok() => return socket.into(),
            _ => {}
        }
    }
    panic!("no privileged port is free")
}

pub(super) struct Node {
    pub client: Client,
    pub root: FileHandle,
}

impl Node {
    pub(super) fn text(&mut self, path: &str) -> Result<String, CallError> {
        let file = self.client.walk(&self.root, path)?;
        Ok(String::from_utf8(self.client.read(&file, 0, 4096)?.0).unwrap())
    }

    fn is(&mut self, path: &str, text: &str) {
        assert_eq!(self.text(path).unwrap(), text, "{path}");
    }

    fn fails(&mut self, path: &str, status: Status) {
        match self.text(path) {
            Err(CallError::Status(got)) if got == status as u32 => {}
            other => panic!("{path}: {other:?} instead of {status:?}"),
        }
    }

    pub(super) fn put(&mut self, dir: &str, name: &str, text: &str) -> Result<(), CallError> {
        let dir = self.client.walk(&self.root, dir)?;
        let mode = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
        let file = self.client.create(&dir, name, &mode, false)?;
        let mut done = 0;
        while let Some(rest) = text.as_bytes().get(done..).filter(|rest| !rest.is_empty()) {
            let (count, _) = self.client.write(&file, done as u64, rest, 2)?;
            done += count as usize;
        }
        Ok(())
    }

    fn times(&mut self, dir: &str) -> (Time, Time) {
        let dir = self.client.walk(&self.root, dir).unwrap();
        let stat = self.client.getattr(&dir).unwrap();
        (stat.mtime, stat.ctime)
    }
}

#[test]
fn the_first_tree_that_has_a_file_wins_and_changes_show_at_once() {
    let site = Site::new(&[("/etc/motd", "ro"), ("/etc/gone", "ro")]);
    let (mut cn1, mut cn2) = (site.node(1), site.node(2));
    cn1.is("etc/motd", "image\n");
    cn1.fails("etc/gone", Status::NoEnt);
    assert!(site.events("cn1").contains("/etc/gone is neither in a tree nor in the image: left out"));

    let before = cn1.times("etc");
    site.write("shared/etc/motd", "shared\n");
    site.live.sweep();
    cn1.is("etc/motd", "shared\n");
    cn2.is("etc/motd", "shared\n");
    assert!(cn1.times("etc") > before, "clients learn of it by the directory's times");

    site.write("own/cn1/etc/motd", "cn1\n");
    site.live.sweep();
    cn1.is("etc/motd", "cn1\n");
    cn2.is("etc/motd", "shared\n");

    // Content is read live: no sweep needed.
    site.write("own/cn1/etc/motd", "cn1 again\n");
    cn1.is("etc/motd", "cn1 again\n");
    fs::write(site.path("new"), "replaced\n").unwrap();
    fs::rename(site.path("new"), site.path("own/cn1/etc/motd")).unwrap();
    cn1.is("etc/motd", "replaced\n");

    // A link in a tree stays in the tree.
    fs::remove_file(site.path("own/cn1/etc/motd")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", site.path("own/cn1/etc/motd")).unwrap();
    site.live.sweep();
    cn1.is("etc/motd", "shared\n");
    assert!(
        matches!(cn1.put("etc", "x", ""), Err(CallError::Status(status)) if status == Status::RoFs as u32)
    );
    assert_eq!(site.read("img/rootimg/etc/motd"), "image\n");
}

#[test]
fn table_rows_come_at_once_and_go_at_the_next_boot() {
    let mut site = Site::new(&[]);
    let mut cn1 = site.node(1);
    cn1.is("etc/motd", "image\n");
    site.write("shared/etc/motd", "shared\n");
    site.apply(row("/etc/motd", "ro"));
    cn1.is("etc/motd", "shared\n");
    site.apply(
        Edit::set("litetree", &[("priority", "2"), ("image", "img")], &[("directory", "/nowhere")]).unwrap(),
    );
    // The row of the tree now names another node; what this node was shown of the tree stays.
    cn1.is("etc/motd", "shared\n");
    site.apply(row("/srv/", "persistent"));
    cn1.is("srv/seed", "seed");
    cn1.put("srv", "mine", "1").unwrap();
    assert_eq!(site.read("store/cn1/srv/mine"), "1");
    site.apply(Edit::delete("litefile", &[("file", "/srv/")]).unwrap());
    site.apply(row("/etc/motd", "persistent"));
    cn1.is("srv/mine", "1");
    site.restart();
    cn1.client = site.client(1);
    cn1.is("srv/mine", "1");
    cn1.is("etc/motd", "shared\n");
    // A tree elsewhere leaves everything to the node, at its next boot.
    let far = Edit::set("litetree", &[("priority", "3"), ("image", "img")], &[("directory", "far:/t")]);
    site.apply(far.unwrap());
    cn1.is("srv/mine", "1");
    site.apply(Edit::delete("litetree", &[("priority", "3")]).unwrap());
    // A root that is mounted a second time on the running node is unchanged.
    site.bus.publish(Subject::Node("cn1"), Step::Booted, 1, Amount::default(), "");
    site.node(1).is("srv/mine", "1");
    site.bus.publish(Subject::Node("cn1"), Step::Init, 2, Amount::default(), "");
    let mut cn1 = site.node(1);
    cn1.fails("srv/mine", Status::NoEnt);
    cn1.is("etc/motd", "image\n");
    assert_eq!(site.read("store/cn1/srv/mine"), "1");
}

#[test]
fn persistent_paths_are_seeded_once_and_apart() {
    let site = Site::new(&[
        ("/etc/app", "persistent"),
        ("/etc/joined", "con,persistent"),
        ("/srv/", "persistent"),
        ("/srv/sub/", "persistent"),
        ("/var/lib/new/", "persistent"),
    ]);
    site.write("own/cn1/etc/app", "for cn1");
    site.write("shared/etc/app", "for all");
    site.write("own/cn1/etc/joined", "1\n");
    site.write("shared/etc/joined", "2\n");
    site.write("shared/srv/sub/deep", "deep");
    let (mut cn1, mut cn2) = (site.node(1), site.node(2));
    cn1.is("etc/app", "for cn1");
    cn2.is("etc/app", "for all");
    cn1.is("etc/joined", "1\n2\n");
    cn1.is("srv/seed", "seed");
    cn1.is("srv/sub/deep", "deep");
    cn1.put("var/lib/new", "x", "x").unwrap();
    assert!(site.events("cn1").contains("/var/lib/new is neither in a tree nor in the image: made empty"));
    // What the node has written counts from now on.
    site.write("shared/etc/joined", "3\n");
    site.live.sweep();
    let file = cn1.client.walk(&cn1.root, "etc/joined").unwrap();
    cn1.client.write(&file, 0, b"cn1", 2).unwrap();
    site.live.sweep();
    cn1.is("etc/joined", "cn1\n");
    cn2.is("etc/joined", "3\n");
    assert_eq!(site.read("store/cn1/etc/joined"), "cn1\n");
    let count = |name: &str| fs::read_dir(site.path(name)).unwrap().count();
    let work = format!("store/{}/{}", seed::WORKSHOP, seed::run());
    assert_eq!((count("store"), count(&work)), (3, 0), "no work is left behind");
}

#[test]
fn links_that_a_node_left_in_its_store_lead_nowhere() {
    let site = Site::new(&[("/srv/", "persistent"), ("/etc/app", "persistent")]);
    site.write("outside/secret", "secret");
    fs::create_dir_all(site.path("store/cn1")).unwrap();
    for name in ["srv", "etc"] {
        std::os::unix::fs::symlink(site.path("outside"), site.path("store/cn1").join(name)).unwrap();
    }
    let mut cn1 = site.node(1);
    // Nothing replaces what the node keeps.
    cn1.fails("srv/seed", Status::Io);
    cn1.fails("srv/secret", Status::Io);
    assert!(cn1.put("srv", "x", "").is_err());
    assert!(cn1.text("etc/app").is_err());
    assert_eq!(fs::read_dir(site.path("outside")).unwrap().count(), 1);
}

#[test]
fn a_joined_file_is_the_nodes_own_copy() {
    let site = Site::new(&[("/etc/hosts", "con"), ("/etc/new", "con")]);
    site.write("img/rootimg/etc/hosts", "image\n");
    site.write("own/cn1/etc/hosts", "1\n");
    site.write("shared/etc/hosts", "2\n");
    let mut cn1 = site.node(1);
    // A place to mount the copy at, and the parts to make it of.
    cn1.is("etc/hosts", "image\n");
    cn1.is("etc/new", "");
    cn1.is(".statelite/trees/0/etc/hosts", "1\n");
    cn1.is(".statelite/trees/1/etc/hosts", "2\n");
    let list = site.live.list(&site.model.snapshot(), "cn1").unwrap().to_string();
    assert!(list.starts_with("file\tcon\t/etc/hosts\nfile\tcon\t/etc/new\n"), "{list}");
}

#[test]
fn what_the_store_has_is_not_called_missing() {
    let site = Site::new(&[("/var/lib/app/", "persistent"), ("/etc/app.conf", "persistent")]);
    site.write("store/cn1/var/lib/app/data", "data");
    site.write("store/cn1/etc/app.conf", "x");
    let (mut cn1, _cn2) = (site.node(1), site.node(2));
    cn1.is("var/lib/app/data", "data");
    assert_eq!(site.events("cn1"), "");
    assert!(site.events("cn2").contains("/var/lib/app is neither in a tree nor in the image: made empty"));
    let list = site.live.list(&site.model.snapshot(), "cn1").unwrap().to_string();
    assert!(!list.contains("note"), "{list}");
}

#[test]
fn what_is_no_regular_file_is_not_joined() {
    let fifo = |path: &Path| {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o644));
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    };
    let site =
        Site::new(&[("/etc/a", "con"), ("/etc/b", "con,persistent"), ("/etc/c", "con"), ("/etc/d", "ro")]);
    for name in ["a", "b"] {
        fifo(&site.path("own/cn1/etc").join(name));
    }
    site.write("shared/etc/a", "a\n");
    fifo(&site.path("shared/etc/b"));
    std::os::unix::fs::symlink("/etc/shadow", site.path("own/cn1/etc/c")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", site.path("own/cn1/etc/d")).unwrap();
    site.write("shared/etc/c", "c\n");
    let mut cn1 = site.node(1);
    cn1.is("etc/b", "");
    cn1.fails("etc/d", Status::NoEnt);
    let told = site.events("cn1");
    for (what, text) in [
        ("own/cn1/etc/a", "is not a regular file: /etc/a is joined without it"),
        ("shared/etc/b", "is not a regular file: /etc/b is joined without it"),
        ("own/cn1/etc/c", "is a link to nothing in its tree: /etc/c is joined without it"),
        ("own/cn1/etc/d", "is a link to nothing in its tree: left out"),
    ] {
        assert!(told.contains(&format!("{} {text}", site.path(what).display())), "{what}: {told}");
    }
}

#[test]
fn nobody_else_can_write_what_the_server_makes() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new(&[("/etc/a", "con,persistent"), ("/etc/b", "persistent"), ("/srv/", "persistent")]);
    site.write("own/cn1/etc/a", "1\n");
    site.write("shared/etc/a", "2\n");
    let mut cn1 = site.node(1);
    cn1.is("etc/a", "1\n2\n");
    cn1.is("etc/b", "");
    cn1.is("srv/seed", "seed");
    let mut todo: Vec<PathBuf> = ["state", "generations", "store"].map(|name| site.path(name)).into();
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o022, 0, "{}", path.display());
        todo.extend(fs::read_dir(&path).into_iter().flatten().map(|entry| entry.unwrap().path()));
        seen += 1;
    }
    assert!(seen > 8, "{seen}");
    let private = ["generations/cn1", "state/nfs-replies", "state/nfs-handle.key"];
    for file in private {
        assert_eq!(fs::metadata(site.path(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_store_that_is_not_there_is_told_and_not_made() {
    let site = Site::new(&[("/srv/", "persistent")]);
    fs::remove_dir(site.path("store")).unwrap();
    let mut cn1 = site.node(1);
    assert!(cn1.put("srv", "x", "").is_err());
    assert!(!site.path("store").exists());
    let told = format!("the store {} does not exist", site.path("store").display());
    assert!(site.events("cn1").contains(&told), "{}", site.events("cn1"));
}

#[test]
fn the_data_directory_is_no_tree() {
    let site = Site::new(&[("/etc/motd", "ro")]);
    site.write("state/etc/motd", "the server's own");
    let tree = site.path("state").to_string_lossy().into_owned();
    site.apply(
        Edit::set("litetree", &[("priority", "1"), ("image", "img")], &[("directory", &tree)]).unwrap(),
    );
    let mut cn1 = site.node(1);
    cn1.is("etc/motd", "image\n");
    cn1.fails(".statelite/trees/0/etc/motd", Status::NoEnt);
    assert!(cn1.client.mount(&tree).is_err());
}

#[test]
fn what_the_node_mounts_over_has_a_place_and_its_content() {
    let site = Site::new(&[
        ("/etc/ram", "tmpfs"),
        ("/etc/linked", "link"),
        ("/var/cache/", "tmpfs"),
        ("/var/cache/fixed", "ro"),
        ("/var/cache/kept/", "persistent"),
    ]);
    std::os::unix::fs::symlink("motd", site.path("img/rootimg/etc/linked")).unwrap();
    site.write("shared/var/cache/fixed", "fixed");
    site.write("shared/etc/ram", "ram");
    let mut cn1 = site.node(1);
    for dir in ["proc", "dev", "run", ".statelite/live", "var/cache"] {
        let dir = cn1.client.walk(&cn1.root, dir).unwrap();
        cn1.client.readdir(&dir, 4096, true).unwrap();
    }
    cn1.is("etc/ram", "");
    cn1.is("etc/hostname", "");
    cn1.is("etc/linked", "image\n");
    cn1.is(".statelite/trees/1/etc/ram", "ram");
    // Below a mount of the node they would be out of its sight.
    cn1.is(".statelite/live/var/cache/fixed", "fixed");
    cn1.put(".statelite/live/var/cache/kept", "x", "x").unwrap();
    assert_eq!(site.read("store/cn1/var/cache/kept/x"), "x");
    let list = site.live.list(&site.model.snapshot(), "cn1").unwrap().to_string();
    let expected = "file\tlink\t/etc/linked\nfile\ttmpfs\t/etc/ram\nfile\ttmpfs\t/var/cache/\n\
                    file\tro\t/var/cache/fixed\tserved\nfile\tpersistent\t/var/cache/kept/\tserved\n";
    assert_eq!(list.split("tree").next(), Some(expected), "{list}");
}

#[test]
fn prepared_images_and_other_nodes_get_the_plain_tree() {
    let site = Site::new(&[("/etc/motd", "ro")]);
    site.write("shared/etc/motd", "shared\n");
    site.apply(Edit::set("chain", &[("node", "cn2")], &[("currstate", "netboot a-b-c")]).unwrap());
    site.node(1).is("etc/motd", "shared\n");
    let mut cn2 = site.node(2);
    cn2.is("etc/motd", "image\n");
    cn2.fails(".statelite/live/x", Status::NoEnt);
    // A running node keeps what it has; the next boot finds a prepared image.
    let mut running = site.node(1);
    site.write("img/rootimg/.statelite/litefile.save", "");
    site.live.sweep();
    running.is("etc/motd", "shared\n");
    site.node(1).is("etc/motd", "image\n");
    assert!(!site.live.list(&site.model.snapshot(), "cn1").unwrap().to_string().contains("served"));
}

#[test]
fn a_full_store_is_its_nodes_trouble_alone() {
    use rustix::mount::{MountFlags, mount, unmount};
    let site = Site::new(&[("/srv/", "persistent")]);
    let small = site.path("store/cn1");
    fs::create_dir_all(&small).unwrap();
    mount("tmpfs", &small, "tmpfs", MountFlags::empty(), Some(c"size=64k")).unwrap();
    struct Unmount(PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }
    let _unmount = Unmount(small);
    let (mut cn1, mut cn2) = (site.node(1), site.node(2));
    cn1.is("srv/seed", "seed");
    let big = "x".repeat(100_000);
    let full = cn1.put("srv", "big", &big);
    assert!(matches!(full, Err(CallError::Status(status)) if status == Status::NoSpc as u32), "{full:?}");
    cn2.put("srv", "big", &big).unwrap();
    cn1.is("srv/seed", "seed");
}

/// A daemon that is killed while it copies leaves what it was copying, which may be a node's shadow file.
#[test]
fn what_a_killed_daemon_was_copying_is_closed_and_goes_at_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let mut site = Site::new(&[("/srv/seed", "persistent")]);
    for left in ["store/.dawn-seeds/1-2/00ff/shadow", "store/.dawn-seed-00ff", "store/cn1/.dawn-seeds/1-2/x"]
    {
        site.write(left, "secret");
    }
    fs::set_permissions(site.path("store/.dawn-seeds"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut node = site.node(1);
    node.is("srv/seed", "seed");
    let mode = |name: &str| fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("store/.dawn-seeds"), 0o700);
    site.restart();
    site.live.sweep();
    let mut left: Vec<_> = fs::read_dir(site.path("store/.dawn-seeds")).unwrap().flatten().collect();
    left.retain(|entry| !entry.path().ends_with(super::seed::run()));
    assert!(left.is_empty(), "{left:?}");
    assert!(!site.path("store/.dawn-seed-00ff").exists());
    assert!(!site.path("store/cn1/.dawn-seeds").exists());
    assert_eq!(site.read("store/cn1/srv/seed"), "seed");
}

/// The first look after a start has no earlier one to keep to.
#[test]
fn a_root_that_cannot_be_looked_at_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let model = Arc::new(model(&[("nodelist", &[("node", "cn1")], &[("groups", "all")])]));
    let mut live = LiveRoots::new(model, Arc::default(), Arc::default(), dir.path());
    live.reach = Reach::probing(Arc::new(|_, path| match path {
        "/short" => reach::Answer::Unsure,
        _ => reach::Answer::Found(None),
    }));
    let mounts = "1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /far rw - nfs4 s:/x rw";
    let images = || {
        let mut images = Images::default();
        images.mounts = dawn_serving::mounts::Mounts::parse(mounts);
        images
    };
    let wish = |path: &str| Wish {
        root: dir.path().to_owned(),
        entries: wish::sorted(
            dawn_wire::list::Entry::new(dawn_wire::LiteOption::Ro, path, true).into_iter().collect(),
        ),
        trees: vec!["/far/tree".into()],
        duties: Duties { trees: true, store: true },
        image: None,
        store: None,
    };
    assert!(live.lay(&wish("/absent"), &mut images()).is_ok());
    assert_eq!(live.lay(&wish("/short"), &mut images()).err(), Some(Unsure));
    let mut short = images();
    short.unsure = true;
    assert_eq!(live.lay(&wish("/absent"), &mut short).err(), Some(Unsure), "the image, too");
    assert!(live.lay(&wish("/absent"), &mut short).is_ok(), "it passes");
}
