//! The entry for fuzzers: rows of `litefile` may be anything. What is shown for them is in the image, in the
//! trees or made by us, what is seeded goes into the store, and no name among them leads upwards.

use super::lay::{Images, lay};
use super::seed::Seed;
use super::trees::{LocalTree, TreeLook};
use super::wish::Wish;
use dawn_cluster::Snapshot;
use dawn_nfs::OverlayKind;
use dawn_plan::LocalAddresses;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

pub(crate) use super::kept::fuzz as fuzz_kept;

/// Most rows looked at.
const ROWS_MAX: usize = 32;

/// Rows of `litefile`, one a line: options, a blank, the path.
///
/// # Panics
/// When something else would be shown or seeded than image and trees hold.
pub fn fuzz_live_list(data: &[u8]) {
    static GROUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let (Ok(text), Some(ground)) = (std::str::from_utf8(data), GROUND.get_or_init(|| ground().ok())) else {
        return;
    };
    let at = |name: &str| ground.join(name).to_string_lossy().into_owned();
    let (image, own, shared, store) = (at("img"), at("own/$node"), at("shared"), at("store"));
    let fixed = [
        ("nodelist", vec![("node", "cn1"), ("groups", "all")]),
        ("nodetype", vec![("node", "cn1"), ("provmethod", "img")]),
        ("osimage", vec![("imagename", "img"), ("provmethod", "statelite")]),
        ("linuximage", vec![("imagename", "img"), ("rootimgdir", &image)]),
        ("litetree", vec![("priority", "1"), ("image", "img"), ("directory", &own)]),
        ("litetree", vec![("priority", "2"), ("image", "img"), ("directory", &shared)]),
        ("statelite", vec![("node", "all"), ("statemnt", &store)]),
    ];
    let row = |(options, file)| ("litefile", vec![("image", "img"), ("file", file), ("options", options)]);
    let rows = text.lines().filter_map(|line| line.split_once(' ')).take(ROWS_MAX).map(row);
    let rows: Vec<_> = fixed.into_iter().chain(rows).collect();
    let snapshot = Snapshot::from_rows(rows.iter().map(|(table, cells)| (*table, cells.as_slice())));
    let wish = Wish::of(&snapshot, "cn1", &LocalAddresses::default(), ground.join("img/rootimg"));
    let look = |tree: &PathBuf| Box::new(LocalTree::open(tree)) as Box<dyn TreeLook>;
    let trees: Vec<_> = wish.trees.iter().map(look).collect();
    let laid = lay(&wish, &trees, &mut Images::now());
    for entry in &laid.entries {
        assert!(is_plain(&entry.path), "{entry:?} of {text:?}");
        if let OverlayKind::Substitute { source, .. } = &entry.what {
            is_ours(ground, source, text);
        }
    }
    laid.seeds.values().for_each(|seed| seed_is_ours(ground, seed, text));
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn is_ours(ground: &Path, source: &Path, text: &str) {
    let Ok(real) = source.canonicalize() else { return };
    let places = ["img/rootimg", "own/cn1", "shared", "cache"];
    let ours = places.iter().any(|place| real.starts_with(ground.join(place)));
    assert!(ours, "{} leads to {} with {text:?}", source.display(), real.display());
}

fn seed_is_ours(ground: &Path, seed: &Seed, text: &str) {
    assert!(is_plain(Path::new(seed.path.trim_start_matches('/'))), "{seed:?} of {text:?}");
    seed.sources.iter().for_each(|source| is_ours(ground, source, text));
    seed.children.iter().for_each(|child| seed_is_ours(ground, child, text));
}

/// An image and trees with links of all kinds, and a secret next to them.
fn ground() -> io::Result<PathBuf> {
    let ground = std::env::temp_dir().canonicalize()?.join(format!("dawn-live-fuzz-{}", std::process::id()));
    for dir in
        ["img/rootimg/etc/sub", "img/rootimg/usr/lib", "own/cn1/etc", "shared/etc/sub", "store", "secret"]
    {
        fs::create_dir_all(ground.join(dir))?;
    }
    for file in
        ["img/rootimg/etc/a", "img/rootimg/usr/lib/b", "own/cn1/etc/a", "shared/etc/sub/b", "secret/a"]
    {
        fs::write(ground.join(file), file)?;
    }
    let links = [
        ("usr/lib", "lib"),
        ("/etc", "abs"),
        ("../../../secret", "up"),
        ("loop", "loop"),
        ("../../secret/a", "etc/out"),
    ];
    for (text, name) in links {
        for tree in ["img/rootimg", "own/cn1", "shared"] {
            symlink(text, ground.join(tree).join(name))?;
        }
    }
    Ok(ground)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn any_rows(rows in proptest::collection::vec(row(), 0..4)) {
            fuzz_live_list(rows.join("\n").as_bytes());
        }
    }

    fn row() -> impl Strategy<Value = String> {
        let option = prop_oneof![9 => "ro|con|link|rw|tmpfs|persistent|con,persistent|link,ro|localdisk", 1 => "[a-z,]{0,9}"];
        let name = prop_oneof![18 => "etc|lib|abs|up|loop|sub|a|b|out|usr|run|dev", 1 => "[.]{1,2}", 1 => "[ -~]{0,3}"];
        let path = proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
        (option, path, any::<bool>())
            .prop_map(|(option, path, dir)| format!("{option} /{path}{}", if dir { "/" } else { "" }))
    }
}
