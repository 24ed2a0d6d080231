//! What TFTP and HTTP serve: views of the boot plan in front of the static trees.
//!
//! TFTP's root is the TFTP directory. HTTP serves it below `/tftpboot/` and the install directory below
//! `/install/`. The trees are opened once at start, or later where a disk does not answer then; a changed
//! `site.tftpdir` or `site.installdir` counts after a restart.

use crate::answers::InstallAnswers;
use crate::audience::{self, Audience};
use crate::image_index::ImageIndex;
use crate::loaders::{GRUB_OF_IMAGES, SIGNED_LOADERS_FROM};
use crate::localdisk;
use crate::stores::StorePlaces;
use dawn_cluster::{Advised, Model, Snapshot};
use dawn_http::fat::FatImage;
use dawn_plan::CurrentAddresses;
use dawn_plan::view;
use dawn_plan::{Ports, Surroundings};
use dawn_roots::live::{LiveRoots, image_dir};
use dawn_serving::disks::WAIT_TIME_MAX;
use dawn_serving::{
    Answer, Content, DiskPool, Mount, NamedFiles, Rendered, Request, RequestPath, Roots, Service, Source,
    Tree, TreeError,
};
use dawn_wire::image::is_in_tree;
use dawn_wire::loader::SHIM;
use dawn_xcatd::node_status::{NodeReport, NodeReports};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where HTTP and TFTP serve the install directory.
const INSTALL: &str = "install";
/// Where HTTP serves the TFTP directory.
const TFTPBOOT: &str = "tftpboot";

/// Where a path of a request is.
struct Place {
    /// Where it leads on this machine, links followed.
    real: Option<PathBuf>,
    /// The same relative to the install directory: as the request names it, and as it leads there.
    in_install: Vec<PathBuf>,
}

impl Place {
    /// Whether it is in the tree of an image: such directories are not listed, but their files are given out
    /// by name.
    fn is_unlisted(&self) -> bool {
        self.in_install.iter().any(|inside| is_in_tree(inside))
    }
}

/// Answers requests for files.
pub struct Files {
    model: Arc<Model>,
    addresses: Arc<CurrentAddresses>,
    ports: Ports,
    /// `/tftpboot/…` and `/install/…`.
    roots: Roots,
    /// Files of images, wherever they are.
    named: NamedFiles,
    stores: StorePlaces,
    live: Arc<LiveRoots>,
    images: ImageIndex,
    /// The answers of installers; without them there are none.
    answers: Option<Arc<InstallAnswers>>,
    /// Who renders the script that a node runs after its boot; without one there is none.
    reports: Option<Arc<dyn NodeReports>>,
}

/// What a request is for.
enum Wanted {
    /// A view, as rendered.
    View(view::Answer),
    /// A path below the roots.
    Static(RequestPath),
    /// GRUB's first configuration, unless an administrator has put another one there.
    GrubFirst(RequestPath),
}

impl Files {
    /// Opens the directories that `site.tftpdir` and `site.installdir` name. One that does not exist, or
    /// whose disk does not answer, does not hold up the start.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(
        model: Arc<Model>,
        addresses: Arc<CurrentAddresses>,
        live: Arc<LiveRoots>,
        images: ImageIndex,
        ports: Ports,
    ) -> Result<Self, FilesError> {
        let snapshot = model.snapshot();
        let tftp = open_root(&snapshot, TFTPBOOT, "tftpdir", "/tftpboot")?.listed();
        let install = open_root(&snapshot, INSTALL, "installdir", "/install")?.listed();
        Ok(Self {
            model,
            addresses,
            ports,
            roots: Roots::new().with(tftp).with(install),
            named: NamedFiles::default(),
            stores: StorePlaces::default(),
            live,
            images,
            answers: None,
            reports: None,
        })
    }

    /// Serves installers their answers.
    #[must_use]
    pub fn with_answers(self, answers: Arc<InstallAnswers>) -> Self {
        Self { answers: Some(answers), ..self }
    }

    /// Serves nodes their `mypostscript`, as `reports` gives it to them on the status port.
    #[must_use]
    pub fn with_post_scripts(self, reports: Arc<dyn NodeReports>) -> Self {
        Self { reports: Some(reports), ..self }
    }

    fn post_script(&self, node: &str) -> Answer {
        // Where nodes show certificates, an address proves nothing.
        let certificates = self.model.snapshot().site("nodeauthentication");
        let certificates = certificates.is_some_and(|value| !value.trim().is_empty());
        match self.reports.as_ref().filter(|_| !certificates) {
            None => Answer::NotFound,
            Some(reports) => {
                let lines = reports.report(node, NodeReport::GetPostscript);
                Answer::Bytes(Rendered::text(
                    lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
                ))
            }
        }
    }

    /// A file or directory below one of the roots, for `client`.
    fn find(&self, path: &RequestPath, client: IpAddr) -> Answer {
        let place = match lead(path, self.roots.root(INSTALL), |path| self.roots.real_path(path)) {
            Ok(place) => place,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        if let Some(refusal) = self.refusal(path, &place, client) {
            return refusal;
        }
        match self.roots.find(path) {
            Answer::File(_) | Answer::Directory(_) if place.real.is_none() => {
                Answer::Refused("it changed while it was looked at; try again".into())
            }
            Answer::Directory(_) if place.is_unlisted() || !self.may_list(path, client) => {
                Answer::Refused("its names are not shown; ask for a file".into())
            }
            answer => answer,
        }
    }

    /// Names in the TFTP directory, which show what machines a cluster has, are for this machine.
    fn may_list(&self, path: &RequestPath, client: IpAddr) -> bool {
        let rest = path.as_str().strip_prefix(TFTPBOOT);
        let in_tftp = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        !in_tftp || self.addresses.now().are_of(client)
    }

    /// What [`Files::find`] would say, if that can be said without asking a disk.
    fn find_at_once(&self, path: &RequestPath, client: IpAddr) -> Option<Answer> {
        let file = self.roots.find_at_once(path)?;
        // A path that cannot be resolved at once may still lead to a file.
        let at_once = |path: &RequestPath| self.roots.real_path_at_once(path).map(Some).ok_or(());
        let place = lead(path, self.roots.root(INSTALL), at_once).ok()?;
        if !self.stores.are_known(&self.model.snapshot()) {
            return None;
        }
        Some(self.refusal(path, &place, client).unwrap_or(file))
    }

    /// Why the client gets nothing from there, if so.
    fn refusal(&self, path: &RequestPath, place: &Place, client: IpAddr) -> Option<Answer> {
        let snapshot = self.model.snapshot();
        if self.stores.contain(&snapshot, &format!("/{path}"), || place.real.clone()) {
            return Some(Answer::Refused(STORE.into()));
        }
        self.reserved(&snapshot, place, client).map(Answer::Hidden)
    }

    /// The machine that the file is for, if that is not the client.
    fn reserved(&self, snapshot: &Snapshot, place: &Place, client: IpAddr) -> Option<String> {
        let audiences = place.in_install.iter().map(|inside| audience::of(snapshot, inside));
        for audience in audiences.filter(|_| !self.addresses.now().are_of(client)) {
            match audience {
                Audience::Everybody => {}
                Audience::Node(node) => {
                    let asks = snapshot.node_by_ip(client.to_canonical());
                    if asks.is_none_or(|asking| *asking != *node) {
                        return Some(format!("it is for {node} alone, and {client} is not its address"));
                    }
                }
                Audience::ThisMachine => return Some("it is for the server itself".into()),
            }
        }
        None
    }

    /// Reads a request; none if it is a path that nothing has.
    fn wanted(&self, request: &Request<'_>) -> Option<Wanted> {
        let path = request.path.as_str().trim_start_matches('/');
        let in_tftp_root = match path.strip_prefix("tftpboot/") {
            Some(inner) => Some(inner),
            // By TFTP, every other path is relative to the TFTP root.
            None if request.service == Service::Tftp && !path.starts_with("install/") => Some(path),
            None => None,
        };
        let Some(inner) = in_tftp_root else {
            let answers = self.answers(path, request);
            return Some(answers.map_or_else(|| Wanted::Static(request.path.clone()), Wanted::View));
        };
        if let Some(view) = self.render(inner, request.peer.ip().to_canonical()) {
            return Some(match view {
                view::Answer::TftpFile(path) => Wanted::Static(in_tftp(&path)?),
                view => Wanted::View(view),
            });
        }
        let path = in_tftp(inner)?;
        Some(if inner == "grub/grub.cfg" { Wanted::GrubFirst(path) } else { Wanted::Static(path) })
    }

    fn render(&self, path: &str, peer: IpAddr) -> Option<view::Answer> {
        self.here(|here| view::render(&self.model.snapshot(), here, path, peer))
    }

    /// What plans depend on besides the tables, at this moment.
    fn here<T>(&self, look: impl FnOnce(Surroundings<'_>) -> T) -> T {
        let (addresses, packed) = (self.addresses.now(), self.images.packed());
        let proof = self.answers.as_ref().map(|answers| answers.proof());
        look(Surroundings { addresses: &addresses, ports: self.ports, packed: &packed, proof })
    }

    /// The answers of an installer, which it asks for by HTTP; none if the path is that of a file.
    fn answers(&self, path: &str, request: &Request<'_>) -> Option<view::Answer> {
        let inside = path.strip_prefix(INSTALL)?.strip_prefix('/')?;
        if request.service == Service::Tftp || self.answers.is_none() {
            return None;
        }
        let peer = request.peer.ip().to_canonical();
        self.here(|here| view::answer_file(&self.model.snapshot(), here, inside, request.query, peer))
    }

    fn answer_file(&self, file: &view::AnswerFile) -> Answer {
        match &self.answers {
            Some(answers) => self.here(|here| answers.give(&self.model.snapshot(), here, file)),
            None => Answer::NotFound,
        }
    }

    /// An event for a node whose answers another machine asks for.
    fn note_other(&self, request: &Request<'_>, view: &view::Answer) {
        let path = request.path.as_str().strip_prefix("install/autoinst/");
        if let (view::Answer::Hidden(_), Some(path), Some(answers)) = (view, path, &self.answers) {
            answers.asked_from_elsewhere(path.split('/').next().unwrap_or_default(), request.peer.ip());
        }
    }

    /// The answer to a view, on a thread that may wait for disks.
    fn view(&self, view: view::Answer) -> Answer {
        match view {
            view::Answer::File(path) => match self.named.open(&path) {
                Ok(file) => Answer::File(file),
                Err(TreeError::NotFound) => Answer::NotFound,
                Err(error) => Answer::Refused(error.to_string()),
            },
            view::Answer::StateliteList(node) => self.statelite_list(&node),
            view::Answer::BootImage(parts) => self.boot_image(&parts),
            view::Answer::PostScript(node) => self.post_script(&node),
            view::Answer::AnswerFile(file) => self.answer_file(&file),
            view::Answer::OfMedia { pairs, which } => {
                let there = pairs.into_iter().find(|pair| pair.kernel.is_file() && pair.initrd.is_file());
                match (there, which) {
                    (None, _) => Answer::NotFound,
                    (Some(pair), view::OfMedia::Kernel) => self.view(view::Answer::File(pair.kernel)),
                    (Some(pair), view::OfMedia::Initrd) => self.view(view::Answer::File(pair.initrd)),
                }
            }
            view => text_of(view).unwrap_or(Answer::NotFound),
        }
    }

    fn view_at_once(&self, view: view::Answer) -> Option<Answer> {
        match view {
            view::Answer::File(path) => self.named.open_at_once(&path).map(Answer::File),
            view => text_of(view),
        }
    }

    fn statelite_list(&self, node: &str) -> Answer {
        let snapshot = self.model.snapshot();
        match self.live.list(&snapshot, node) {
            Ok(mut list) => {
                list.local_disk = localdisk::of_node(&snapshot, node);
                Answer::Bytes(Rendered::text(list.to_string()))
            }
            Err(error) => Answer::Refused(error.in_one_line()),
        }
    }

    /// What a view looks at on disk.
    fn place_of_view(&self, view: &view::Answer) -> PathBuf {
        match view {
            view::Answer::File(path) | view::Answer::BootImage(view::BootImage { kernel: path, .. }) => {
                path.clone()
            }
            view::Answer::StateliteList(node) | view::Answer::PostScript(node) => {
                image_dir(&self.model.snapshot(), node).unwrap_or_default()
            }
            view::Answer::AnswerFile(file) => InstallAnswers::place(&self.model.snapshot(), &file.node),
            view::Answer::OfMedia { pairs, .. } => {
                pairs.first().map(|pair| pair.kernel.clone()).unwrap_or_default()
            }
            _ => PathBuf::new(),
        }
    }
}

/// Where a path leads, as `real` says for a path; `top` is the install directory. Fails if that is not known:
/// a link may lead from an open directory into one that is not for everybody.
fn lead<E>(
    path: &RequestPath,
    top: Option<PathBuf>,
    real: impl Fn(&RequestPath) -> Result<Option<PathBuf>, E>,
) -> Result<Place, E> {
    let real = real(path)?;
    let named = path.as_str().strip_prefix(INSTALL).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let led_to = real.as_ref().zip(top).and_then(|(real, top)| Some(real.strip_prefix(top).ok()?.to_owned()));
    Ok(Place { in_install: named.map(PathBuf::from).into_iter().chain(led_to).collect(), real })
}

/// Why nothing of a store is given out.
const STORE: &str = "it is in the persistent store or the tree of a node, which only the node itself mounts";

fn in_tftp(path: &str) -> Option<RequestPath> {
    RequestPath::parse(&format!("tftpboot/{path}")).ok()
}

/// The views that are not files.
fn text_of(view: view::Answer) -> Option<Answer> {
    match view {
        view::Answer::Text(text) => Some(Answer::Bytes(Rendered::text(text))),
        view::Answer::Missing(_) => Some(Answer::NotFound),
        view::Answer::Hidden(reason) => Some(Answer::Hidden(reason)),
        view::Answer::Refused(reason) => Some(Answer::Refused(reason)),
        view::Answer::Explained { reason, shown } => Some(Answer::Explained { reason, shown }),
        view::Answer::File(_)
        | view::Answer::TftpFile(_)
        | view::Answer::OfMedia { .. }
        | view::Answer::AnswerFile(_)
        | view::Answer::BootImage(_)
        | view::Answer::StateliteList(_)
        | view::Answer::PostScript(_) => None,
    }
}

impl Files {
    /// Puts a boot image together; nothing of it is stored.
    fn boot_image(&self, parts: &view::BootImage) -> Answer {
        let loader = |name: &str| match RequestPath::parse(&format!("tftpboot/{name}"))
            .map(|path| self.roots.find(&path))
        {
            Ok(Answer::File(file)) => Ok(Content::File(file)),
            _ => Err(format!(
                "{name} is not in the TFTP directory; install {SIGNED_LOADERS_FROM} and run dawn init again"
            )),
        };
        let named = |path: &Path| {
            self.named.open(path).map(Content::File).map_err(|error| format!("{}: {error}", path.display()))
        };
        let config = Content::Bytes(parts.config.clone().into_bytes().into());
        let image = (|| {
            let files = vec![
                ("EFI/BOOT/BOOTX64.EFI".to_owned(), loader(SHIM)?),
                ("EFI/BOOT/grubx64.efi".to_owned(), loader(GRUB_OF_IMAGES)?),
                // Debian's GRUB looks in its own folder, others look in the folder they were loaded from.
                ("EFI/debian/grub.cfg".to_owned(), config.clone()),
                ("EFI/BOOT/grub.cfg".to_owned(), config),
                ("kernel".to_owned(), named(&parts.kernel)?),
                ("initrd".to_owned(), named(&parts.initrd)?),
            ];
            FatImage::new("DAWNBOOT", files).map_err(|error| error.to_string())
        })();
        match image {
            Ok(image) => Answer::Image(Content::Image(Arc::new(image)), "application/vnd.efi-img"),
            Err(reason) => Answer::Refused(reason),
        }
    }
}

/// A directory to be served cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path} (site.{key}): {source}")]
pub struct FilesError {
    key: &'static str,
    path: String,
    source: std::io::Error,
}

fn open_root(
    snapshot: &Snapshot,
    prefix: &str,
    key: &'static str,
    default: &str,
) -> Result<Mount, FilesError> {
    let path = snapshot.site(key).map_or_else(|| default.to_owned(), |text| text.to_string());
    let root = PathBuf::from(&path);
    let opened = DiskPool::default().call(Path::new(&path), WAIT_TIME_MAX, {
        let root = root.clone();
        move || Tree::open_root(&root)
    });
    match opened {
        Ok(Ok(tree)) => Ok(Mount::new(prefix, tree)),
        // The command that corrects the tables needs the daemon.
        Ok(Err(source)) if source.kind() == std::io::ErrorKind::NotFound => {
            tracing::error!(
                path,
                "site.{key} does not exist: make it, and it is served, or set the key and restart"
            );
            Ok(Mount::later(prefix, &root))
        }
        Ok(Err(source)) => Err(FilesError { key, path, source }),
        Err(error) => {
            tracing::error!(path, %error, "site.{key} is served as soon as its disk answers");
            Ok(Mount::later(prefix, &root))
        }
    }
}

impl Source for Files {
    fn at_once(&self, request: &Request<'_>) -> Option<Answer> {
        match self.wanted(request) {
            None => Some(Answer::NotFound),
            Some(Wanted::View(view)) => {
                self.note_other(request, &view);
                self.view_at_once(view)
            }
            Some(Wanted::Static(path) | Wanted::GrubFirst(path)) => {
                self.find_at_once(&path, request.peer.ip())
            }
        }
    }

    fn place(&self, request: &Request<'_>) -> PathBuf {
        match self.wanted(request) {
            None => PathBuf::new(),
            Some(Wanted::View(view)) => self.place_of_view(&view),
            Some(Wanted::Static(path) | Wanted::GrubFirst(path)) => self.roots.place(&path),
        }
    }

    fn resolve(&self, request: &Request<'_>) -> Answer {
        match self.wanted(request) {
            None => Answer::NotFound,
            Some(Wanted::View(view)) => self.view(view),
            Some(Wanted::Static(path)) => self.find(&path, request.peer.ip()),
            // An administrator's own file goes before ours.
            Some(Wanted::GrubFirst(path)) => match self.find(&path, request.peer.ip()) {
                Answer::NotFound => Answer::Bytes(Rendered::text(view::GRUB_FIRST_CONFIG)),
                answer => answer,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::{Change, Edit};
    use dawn_plan::{CurrentAddresses, LocalAddresses};
    use std::fs;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::unix::fs::PermissionsExt;

    /// Table, key columns and other columns of one row.
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

    fn model(rows: &[Row<'_>]) -> Model {
        let model = Model::in_memory().unwrap();
        let edits = rows.iter().map(|(table, keys, values)| Edit::set(table, keys, values).unwrap());
        model.apply(Change::new("root", "test", edits.collect())).unwrap();
        model
    }

    /// What one request gets, as text.
    fn ask(files: &Files, service: Service, path: &str) -> String {
        let peer = SocketAddr::from(([10, 1, 0, 1], 1000));
        let path = RequestPath::parse(path).unwrap();
        let local = Ipv4Addr::new(10, 1, 0, 254).into();
        match files.resolve(&Request { path: &path, query: "", peer, local, service }) {
            Answer::File(file) => {
                let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
                Content::File(file).read_full_at(0, &mut bytes).unwrap();
                String::from_utf8(bytes).unwrap()
            }
            Answer::Bytes(rendered) => String::from_utf8_lossy(&rendered.bytes).into_owned(),
            Answer::Directory(dir) => format!("{} names", dir.list().unwrap().0.len()),
            Answer::Refused(reason) => format!("refused: {reason}"),
            Answer::Hidden(reason) => format!("none: {reason}"),
            Answer::NotFound | Answer::Elsewhere => "none".to_owned(),
            _ => "another answer".to_owned(),
        }
    }

    #[test]
    fn both_services_find_the_same_files_and_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [
            ("tftp/boot/grub2/grub2.x86_64", "GRUB"),
            ("tftp/loader", "loader"),
            ("install/repo/list", "list"),
            ("install/store/cn1/secret", "secret"),
            ("install/closed/key", "key"),
            ("install/tree/cn1/etc/key", "key"),
            ("install/tree/all/etc/key", "shared"),
            ("install/os/rootimg/etc/motd", "motd"),
            ("install/os/custom/list", "list"),
            ("install/autoinst/cn1", "answers"),
            ("install/autoinst/cn2/user-data", "other answers"),
            ("install/custom/netboot/list", "list"),
        ] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        }
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::set_permissions(at("install/closed"), PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("store", at("install/alias")).unwrap();
        std::os::unix::fs::symlink("autoinst", at("install/answers")).unwrap();
        let model = Arc::new(model(&[
            ("litetree", &[("priority", "1"), ("image", "")], &[("directory", "/install/tree/$node")]),
            ("site", &[("key", "tftpdir")], &[("value", &at("tftp").to_string_lossy())]),
            ("site", &[("key", "installdir")], &[("value", &at("install").to_string_lossy())]),
            ("nodelist", &[("node", "cn1")], &[("groups", "all")]),
            ("nodelist", &[("node", "cn2")], &[("groups", "all")]),
            ("hosts", &[("node", "cn1")], &[("ip", "10.1.0.1")]),
            ("statelite", &[("node", "all")], &[("statemnt", "/install/store")]),
        ]));
        let live = LiveRoots::new(model.clone(), Arc::default(), Arc::default(), &at("data"));
        let files =
            Files::open(model, Arc::default(), Arc::new(live), ImageIndex::default(), Ports::default())
                .unwrap();
        let store =
            "refused: it is in the persistent store or the tree of a node, which only the node itself mounts";
        let unlisted = "refused: its names are not shown; ask for a file";
        let server = "none: it is for the server itself";
        let other = "none: it is for cn2 alone, and 10.1.0.1 is not its address";
        let closed = "refused: it is not readable for everybody on the server";
        for (path, by_tftp, by_http) in [
            ("loader", "loader", "none"),
            ("tftpboot/loader", "loader", "loader"),
            ("boot/grub2/grub2-cn1", "GRUB", "none"),
            ("tftpboot/boot/grub2/grub2-cn1", "GRUB", "GRUB"),
            ("install/repo/list", "list", "list"),
            ("install/repo", "1 names", "1 names"),
            ("install/store/cn1/secret", store, store),
            ("install/store/cn1", store, store),
            ("install/alias/cn1/secret", store, store),
            ("install/tree/cn1/etc/key", store, store),
            ("install/tree/cn1", store, store),
            ("install/tree/all/etc/key", "shared", "shared"),
            ("install/os/rootimg/etc", unlisted, unlisted),
            ("install/autoinst", server, server),
            ("install/autoinst/cn1", "answers", "answers"),
            ("install/autoinst/cn2", other, other),
            ("install/autoinst/cn2/user-data", other, other),
            ("install/answers/cn2/user-data", other, other),
            ("install/answers/cn1", "answers", "answers"),
            ("install/custom/netboot/list", server, server),
            ("install/custom/none", server, server),
            ("install/os/custom", "1 names", "1 names"),
            ("install/os/rootimg/etc/motd", "motd", "motd"),
            ("install/closed/key", closed, closed),
            ("install/closed", closed, closed),
            ("grub/grub.cfg", view::GRUB_FIRST_CONFIG, "none"),
        ] {
            assert_eq!(ask(&files, Service::Tftp, path), by_tftp, "TFTP {path}");
            assert_eq!(ask(&files, Service::Http, path), by_http, "HTTP {path}");
        }
    }

    /// If the path cannot be looked at now, nothing is concluded.
    #[test]
    fn a_passing_error_is_not_an_answer() {
        let path = RequestPath::parse("install/answers/cn2").unwrap();
        let at = |asked: &RequestPath| PathBuf::from("/srv").join(asked.as_str());
        for fails in ["install/answers/cn2", "none"] {
            let real = |asked: &RequestPath| match asked.as_str() == fails {
                true => Err("too many open files"),
                false => Ok(Some(at(asked))),
            };
            assert_eq!(lead(&path, Some("/srv/install".into()), real).is_ok(), fails == "none", "{fails}");
        }
    }

    #[test]
    fn names_of_the_tftp_directory_are_for_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().to_string_lossy().into_owned();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("boot")).unwrap();
        let keys = ["tftpdir", "installdir"].map(|key| [("key", key)]);
        let value = [("value", text.as_str())];
        let model = Arc::new(model(&keys.each_ref().map(|key| ("site", &key[..], &value[..]))));
        let here = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
        for (addresses, expected) in [
            (here, "1 names"),
            (LocalAddresses::default(), "refused: its names are not shown; ask for a file"),
        ] {
            let addresses = Arc::new(CurrentAddresses::from(addresses));
            let live =
                LiveRoots::new(model.clone(), Arc::default(), Arc::default(), &dir.path().join("data"));
            let files = Files::open(
                model.clone(),
                addresses,
                Arc::new(live),
                ImageIndex::default(),
                Ports::default(),
            );
            assert_eq!(ask(&files.unwrap(), Service::Http, "tftpboot"), expected);
        }
    }

    /// From the boot file to the answers: by the token in the kernel line, for the node alone, and while it
    /// installs.
    #[test]
    fn an_installer_gets_its_answers_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [
            (
                "install/custom/t.tmpl",
                "rootpw #CRYPT:passwd:key=system,username=root:password# of #HOSTNAME#\n",
            ),
            ("install/el/images/pxeboot/vmlinuz", "kernel"),
            ("install/el/images/pxeboot/initrd.img", "initrd"),
            ("install/autoinst/cn1", "an old file"),
            ("install/autoinst/cn1.post", "a script of the administrator"),
        ] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        }
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = at("install").to_string_lossy().into_owned();
        let media = format!("{root}/el");
        let model = Arc::new(model(&[
            ("site", &[("key", "tftpdir")], &[("value", &at("install").to_string_lossy())]),
            ("site", &[("key", "installdir")], &[("value", &root)]),
            ("site", &[("key", "master")], &[("value", "10.1.0.254")]),
            ("passwd", &[("key", "system"), ("username", "root")], &[("password", "$6$salt$hash")]),
            ("nodelist", &[("node", "cn1")], &[("groups", "all")]),
            ("nodelist", &[("node", "cn2")], &[("groups", "all")]),
            ("hosts", &[("node", "cn1")], &[("ip", "10.1.0.1")]),
            ("hosts", &[("node", "cn2")], &[("ip", "10.1.0.2")]),
            ("nodetype", &[("node", "cn1")], &[("provmethod", "disk")]),
            (
                "chain",
                &[("node", "cn1")],
                &[("currstate", "install rhels9.4-x86_64-compute"), ("currchain", "boot")],
            ),
            (
                "osimage",
                &[("imagename", "disk")],
                &[
                    ("provmethod", "install"),
                    ("osvers", "rhels9.4"),
                    ("osarch", "x86_64"),
                    ("profile", "compute"),
                ],
            ),
            (
                "linuximage",
                &[("imagename", "disk")],
                &[("template", "/install/custom/t.tmpl"), ("pkgdir", &media)],
            ),
        ]));
        let watcher = Arc::new(crate::watch::Watcher::new(model.clone(), Arc::default()));
        let answers = Arc::new(InstallAnswers::open(dir.path(), watcher));
        let live = LiveRoots::new(model.clone(), Arc::default(), Arc::default(), &at("data"));
        let files = Files::open(
            model.clone(),
            Arc::default(),
            Arc::new(live),
            ImageIndex::default(),
            Ports::default(),
        );
        let files = files.unwrap().with_answers(answers);
        let get = |target: &str, peer: [u8; 4], service| {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let path = RequestPath::parse(path).unwrap();
            let local = Ipv4Addr::new(10, 1, 0, 254).into();
            let request =
                Request { path: &path, query, peer: SocketAddr::from((peer, 1000)), local, service };
            match files.at_once(&request).unwrap_or_else(|| files.resolve(&request)) {
                Answer::File(file) => {
                    let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
                    Content::File(file).read_full_at(0, &mut bytes).unwrap();
                    String::from_utf8(bytes).unwrap()
                }
                Answer::Bytes(rendered) => String::from_utf8_lossy(&rendered.bytes).into_owned(),
                Answer::Refused(reason) => format!("refused: {reason}"),
                Answer::Hidden(reason) => format!("hidden: {reason}"),
                Answer::Explained { reason, .. } => format!("explained: {reason}"),
                _ => "none".to_owned(),
            }
        };
        let (node, other) = ([10, 1, 0, 1], [10, 1, 0, 2]);
        let script = get("tftpboot/xcat/xnba/nodes/cn1", node, Service::Http);
        let line = script.lines().find(|line| line.starts_with("imgargs")).unwrap();
        let word = line.split(' ').find_map(|word| word.strip_prefix("inst.ks=")).unwrap();
        let target = word.split_once(":80/").unwrap().1;
        assert!(line.contains(" inst.repo=http://${next-server}:80/install/el "), "{line}");
        assert_eq!(get("tftpboot/xcat/osimage/disk/vmlinuz", node, Service::Http), "kernel");
        assert_eq!(get("xcat/osimage/disk/initrd.img", node, Service::Tftp), "initrd");
        assert_eq!(get("xcat/osimage/disk/kernel", node, Service::Tftp), "none");
        let text = "rootpw $6$salt$hash of cn1\n";
        assert_eq!(
            get(target, other, Service::Http),
            "hidden: it is for cn1 alone, and 10.1.0.2 is not its address"
        );
        assert_eq!(get(target, node, Service::Http), text);
        assert_eq!(get(target, node, Service::Https), text, "an installer may read twice");
        let without = get("install/autoinst/cn1", node, Service::Http);
        assert!(without.starts_with("refused: the request has no token"), "{without}");
        assert_eq!(get("install/autoinst/cn1.post", node, Service::Http), "a script of the administrator");
        let edit = Edit::set("chain", &[("node", "cn1")], &[("currstate", "boot")]).unwrap();
        model.apply(Change::new("cn1", "next", vec![edit])).unwrap();
        assert_eq!(get(target, node, Service::Http), "an old file");
        assert_eq!(
            get(target, other, Service::Http),
            "hidden: it is for cn1 alone, and 10.1.0.2 is not its address"
        );
    }

    struct Scripts;

    impl NodeReports for Scripts {
        fn node_at(&self, _: IpAddr) -> Option<String> {
            None
        }
        fn keep(&self, _: &str, _: &NodeReport) {}
        fn report(&self, node: &str, _: NodeReport) -> Vec<String> {
            vec![format!("NODE='{node}'"), "export NODE".to_owned()]
        }
        fn bmc_config(&self, _: IpAddr) -> Vec<String> {
            Vec::new()
        }
        fn stranger(&self, _: IpAddr) {}
        fn discovery_packet(&self, _: SocketAddr, _: &[u8]) {}
    }

    /// The script of a node goes to the node's address, and to none where nodes show certificates.
    #[test]
    fn post_scripts_are_their_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().to_string_lossy().into_owned();
        let rows = |authentication: &str| {
            Arc::new(model(&[
                ("site", &[("key", "tftpdir")], &[("value", &text)]),
                ("site", &[("key", "installdir")], &[("value", &text)]),
                ("site", &[("key", "nodeauthentication")], &[("value", authentication)]),
                ("nodelist", &[("node", "cn1")], &[("groups", "all")]),
                ("nodelist", &[("node", "cn2")], &[("groups", "all")]),
                ("hosts", &[("node", "cn1")], &[("ip", "10.1.0.1")]),
            ]))
        };
        let files = |model: Arc<Model>| {
            let live =
                LiveRoots::new(model.clone(), Arc::default(), Arc::default(), &dir.path().join("data"));
            Files::open(model, Arc::default(), Arc::new(live), ImageIndex::default(), Ports::default())
                .unwrap()
        };
        let script = "NODE='cn1'\nexport NODE\n";
        let other = "none: this file is for cn2; 10.1.0.1 is cn1";
        let path = "tftpboot/mypostscripts/mypostscript";
        let with = files(rows("")).with_post_scripts(Arc::new(Scripts));
        for (name, expected) in [("cn1", script), ("cn1.tmp", script), ("cn2", other), ("cn9", "none")] {
            assert_eq!(ask(&with, Service::Http, &format!("{path}.{name}")), expected, "{name}");
        }
        assert_eq!(ask(&files(rows("")), Service::Http, &format!("{path}.cn1")), "none");
        let certified = files(rows("1")).with_post_scripts(Arc::new(Scripts));
        assert_eq!(ask(&certified, Service::Http, &format!("{path}.cn1")), "none");
    }
}
