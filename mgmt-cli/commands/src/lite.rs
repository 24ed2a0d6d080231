//! Lines of the statelite commands; nodes parse some of them with shell tools (`node: options  path`).

use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::Snapshot;
use dawn_statelite::{LiteFile, Tree, each_tree, files, files_of_image, image_of, trees_of_image};
use serde::Serialize;

/// The nodes a request is about: those of the noderange, or the caller itself when it is a node. A peer
/// without certificate gets answers about itself only, whatever noderange it names.
pub fn nodes(ctx: &Ctx<'_>, given: bool) -> Result<Vec<String>, Stop> {
    if given && ctx.call.peer_name.is_some() {
        return Ok(ctx.nodes().to_vec());
    }
    let caller = ctx.call.peer.ip.and_then(|ip| ctx.snapshot.node_by_ip(ip));
    match caller {
        Some(node) => Ok(vec![node.to_string()]),
        None => Err(Stop::refused("no node given, and the caller is not a node")),
    }
}

/// The files of a node or of an image.
pub struct Files<'f> {
    /// Whether `name` is an image.
    pub of_image: bool,
    /// Node or image.
    pub name: &'f str,
    /// The files.
    pub list: Vec<LiteFile>,
}

/// A file of the list.
#[derive(Serialize)]
struct File<'f> {
    file: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'f str>,
    options: &'f str,
}

impl Serialize for Files<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (image, node) = if self.of_image { (Some(self.name), None) } else { (None, Some(self.name)) };
        let files = self.list.iter();
        serializer.collect_seq(files.map(|file| File { file: &file.path, image, node, options: &file.text }))
    }
}

impl Report for Files<'_> {
    const MANY: bool = true;

    /// `name: options       path`, one line a file.
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let (name, width) = (self.name, self.width());
        self.list
            .iter()
            .try_for_each(|file| lines.line(format!("{name}: {:<width$} {}", file.text, file.path)))
    }
}

/// Width of the options where none is wider, in characters; xCAT's.
const OPTIONS_WIDTH_MIN: usize = 13;

impl Files<'_> {
    /// Width of the column of options, so that paths line up.
    fn width(&self) -> usize {
        self.list
            .iter()
            .map(|file| file.text.chars().count())
            .max()
            .unwrap_or_default()
            .max(OPTIONS_WIDTH_MIN)
    }

    fn describe(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line("Litefiles (litefile table):")?;
        let width = self.width();
        self.list
            .iter()
            .try_for_each(|file| lines.line(format!("        {:<width$} {}", file.text, file.path)))?;
        lines.line("")
    }
}

/// The trees of a node.
pub struct Trees<'t> {
    node: &'t str,
    list: Vec<Tree>,
}

/// A tree of the list.
#[derive(Serialize)]
struct TreeOf<'t> {
    directory: String,
    mntopts: &'t str,
    node: &'t str,
    priority: &'t str,
}

impl<'t> Trees<'t> {
    /// The trees that can be used; every other row is an error line.
    pub fn of(node: &'t str, snapshot: &Snapshot, out: &mut Out<'_>) -> Result<Self, Stop> {
        Ok(Self { node, list: usable_trees(node, snapshot, out)? })
    }
}

impl Serialize for Trees<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.list.iter().map(|tree| TreeOf {
            directory: tree.location.to_string(),
            mntopts: &tree.options,
            node: self.node,
            priority: &tree.label,
        }))
    }
}

impl Report for Trees<'_> {
    const MANY: bool = true;

    /// `node: server:dir[ :options]` by priority.
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.list.iter().try_for_each(|tree| {
            let options = if tree.options.is_empty() { String::new() } else { format!(" :{}", tree.options) };
            lines.line(format!("{}: {}{options}", self.node, tree.location))
        })
    }
}

/// The trees of a node. A row that cannot be used is a separate error line and does not affect the others.
fn usable_trees(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Result<Vec<Tree>, Stop> {
    let mut usable = Vec::new();
    for tree in each_tree(snapshot, node) {
        match tree {
            Ok(tree) => usable.push(tree),
            Err(error) => {
                out.error(CommandError::conflict(format!("{node}: litetree.directory: {error}")))?
            }
        }
    }
    Ok(usable)
}

/// The long listing of a node; what is not set is left out of the object.
#[derive(Serialize)]
pub struct NodeListing<'n> {
    litefile: Files<'n>,
    litetree: Trees<'n>,
    node: &'n str,
    #[serde(skip_serializing_if = "Option::is_none")]
    osimage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statelite: Option<String>,
}

impl<'n> NodeListing<'n> {
    /// What is said of a node; rows that cannot be used are error lines.
    pub fn of(node: &'n str, snapshot: &Snapshot, out: &mut Out<'_>) -> Result<Self, Stop> {
        let statelite = match dawn_statelite::store(snapshot, node).transpose() {
            Ok(store) => store.map(|store| store.to_string()),
            Err(error) => {
                out.error(CommandError::conflict(format!("{node}: statelite.statemnt: {error}")))?;
                None
            }
        };
        Ok(Self {
            litefile: Files { of_image: false, name: node, list: files(snapshot, node) },
            litetree: Trees::of(node, snapshot, out)?,
            node,
            osimage: image_of(snapshot, node).map(|image| image.to_string()),
            statelite,
        })
    }
}

impl Report for NodeListing<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!(">>>Node: {}", self.node))?;
        lines.line("")?;
        lines.line(format!("Osimage: {}", self.osimage.as_deref().unwrap_or_default()))?;
        lines.line("")?;
        lines.line("Persistent directory (statelite table):")?;
        self.statelite.iter().try_for_each(|store| lines.line(format!("        {store}")))?;
        lines.line("")?;
        self.litefile.describe(lines)?;
        lines.line("Litetree path (litetree table):")?;
        for tree in &self.litetree.list {
            lines.line(format!("        {}, {}", tree.label, tree.location))?;
        }
        lines.line("")
    }
}

/// The long listing of an image.
#[derive(Serialize)]
pub struct ImageListing<'i> {
    image: &'i str,
    litefile: Files<'i>,
    litetree: Vec<ImageTree<'i>>,
}

/// A tree of an image.
#[derive(Serialize)]
struct ImageTree<'i> {
    directory: String,
    image: &'i str,
    priority: String,
}

impl<'i> ImageListing<'i> {
    /// What is said of an image.
    pub fn of(image: &'i str, snapshot: &Snapshot) -> Self {
        let tree = |(priority, directory): (String, String)| ImageTree { directory, image, priority };
        Self {
            image,
            litefile: Files { of_image: true, name: image, list: files_of_image(snapshot, image) },
            litetree: trees_of_image(snapshot, image).into_iter().map(tree).collect(),
        }
    }
}

impl Report for ImageListing<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("Osimage: {}", self.image))?;
        lines.line("")?;
        self.litefile.describe(lines)?;
        lines.line("Litetree path (litetree table):")?;
        for ImageTree { priority, directory, .. } in &self.litetree {
            lines.line(format!("        {priority}, {directory}"))?;
        }
        lines.line("")
    }
}

/// The image exists.
pub fn check_image(snapshot: &Snapshot, image: &str) -> Done {
    match snapshot.osimage(image) {
        Some(_) => Ok(()),
        None => Err(Stop::not_found(format!("Cannot find the OS image {image} in the osimage table."))),
    }
}
