//! Lines of the statelite commands; nodes parse some of them with shell tools (`node: options  path`).

use dawn_bootd::command::Ctx;
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::Snapshot;
use dawn_statelite::{LiteFile, Tree, each_tree, files, files_of_image, image_of, trees_of_image};
use serde_json::{Value, json};

/// The nodes a request is about: those of the noderange, or the caller itself when it is a node. A peer
/// without certificate speaks for itself only, whatever noderange it names.
pub fn nodes(ctx: &Ctx<'_>, given: bool) -> Result<Vec<String>, Stop> {
    if given && ctx.call.peer_name.is_some() {
        return Ok(ctx.nodes().to_vec());
    }
    let caller = ctx.call.peer.ip.and_then(|ip| ctx.snapshot.node_by_ip(ip));
    match caller {
        Some(node) => Ok(vec![node.to_string()]),
        None => Err(Stop::message("no node given, and the caller is none")),
    }
}

/// `name: options       path`, one line a file.
pub fn file_lines(name: &str, list: &[LiteFile], out: &mut Out<'_>) -> Done {
    list.iter().try_for_each(|file| out.line(format!("{name}: {:<13} {}", file.text, file.path)))
}

/// The same for `--json`; `of` is `node` or `image`.
pub fn file_objects(of: &str, name: &str, list: &[LiteFile]) -> Vec<Value> {
    list.iter().map(|file| json!({ of: name, "options": *file.text, "file": *file.path })).collect()
}

/// The trees of a node. A row that cannot be used is an error line of its own and spoils nothing else.
fn usable_trees(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Result<Vec<Tree>, Stop> {
    let mut usable = Vec::new();
    for tree in each_tree(snapshot, node) {
        match tree {
            Ok(tree) => usable.push(tree),
            Err(error) => out.error(format!("{node}: litetree.directory: {error}"))?,
        }
    }
    Ok(usable)
}

/// Trees of a node for `--json`.
pub fn tree_objects(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Result<Vec<Value>, Stop> {
    let list = usable_trees(node, snapshot, out)?;
    let object = |tree: &Tree| json!({ "node": node, "priority": tree.label, "directory": tree.location.to_string(), "mntopts": tree.options });
    Ok(list.iter().map(object).collect())
}

/// The files of a node.
pub fn files_of(snapshot: &Snapshot, node: &str) -> Vec<LiteFile> {
    files(snapshot, node)
}

/// `node: server:dir[ :options]` by priority.
pub fn tree_lines(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    for tree in usable_trees(node, snapshot, out)? {
        let options = if tree.options.is_empty() { String::new() } else { format!(" :{}", tree.options) };
        out.line(format!("{node}: {}{options}", tree.location))?;
    }
    Ok(())
}

/// The long listing of a node.
pub fn describe_node(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    out.line(format!(">>>Node: {node}"))?;
    out.line("")?;
    let image = image_of(snapshot, node);
    out.line(format!("Osimage: {}", image.as_deref().unwrap_or_default()))?;
    out.line("")?;
    out.line("Persistent directory (statelite table):")?;
    match dawn_statelite::store(snapshot, node) {
        Some(Ok(store)) => out.line(format!("        {store}"))?,
        Some(Err(error)) => out.error(format!("{node}: statelite.statemnt: {error}"))?,
        None => {}
    }
    out.line("")?;
    list_files(&files(snapshot, node), out)?;
    out.line("Litetree path (litetree table):")?;
    for tree in usable_trees(node, snapshot, out)? {
        out.line(format!("        {}, {}", tree.label, tree.location))?;
    }
    out.line("")
}

/// The same as an object; what is not set is left out.
pub fn node_object(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Result<Value, Stop> {
    let mut object = serde_json::Map::new();
    object.insert("node".into(), node.into());
    object.extend(image_of(snapshot, node).map(|image| ("osimage".into(), (*image).into())));
    match dawn_statelite::store(snapshot, node) {
        Some(Ok(store)) => drop(object.insert("statelite".into(), store.to_string().into())),
        Some(Err(error)) => out.error(format!("{node}: statelite.statemnt: {error}"))?,
        None => {}
    }
    object.insert("litefile".into(), file_objects("node", node, &files(snapshot, node)).into());
    object.insert("litetree".into(), tree_objects(node, snapshot, out)?.into());
    Ok(object.into())
}

/// The long listing of an image.
pub fn describe_image(image: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    out.line(format!("Osimage: {image}"))?;
    out.line("")?;
    list_files(&files_of_image(snapshot, image), out)?;
    out.line("Litetree path (litetree table):")?;
    trees_of_image(snapshot, image)
        .into_iter()
        .try_for_each(|(priority, directory)| out.line(format!("        {priority}, {directory}")))?;
    out.line("")
}

/// The same as an object.
pub fn image_object(image: &str, snapshot: &Snapshot) -> Value {
    let tree =
        |(priority, directory)| json!({ "image": image, "priority": priority, "directory": directory });
    json!({
        "image": image,
        "litefile": file_objects("image", image, &files_of_image(snapshot, image)),
        "litetree": trees_of_image(snapshot, image).into_iter().map(tree).collect::<Vec<_>>(),
    })
}

fn list_files(list: &[LiteFile], out: &mut Out<'_>) -> Done {
    out.line("Litefiles (litefile table):")?;
    list.iter().try_for_each(|file| out.line(format!("        {:<13} {}", file.text, file.path)))?;
    out.line("")
}

/// The image exists.
pub fn check_image(snapshot: &Snapshot, image: &str) -> Done {
    match snapshot.osimage(image) {
        Some(_) => Ok(()),
        None => Err(Stop::message(format!("Cannot find the OS image {image} in the osimage table."))),
    }
}
