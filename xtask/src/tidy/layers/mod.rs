//! The import graph has no cycle, neither between crates nor between the modules of a crate, and crates use
//! only those of lower floors ([`floors`]).
//!
//! Crates come from `cargo metadata`, modules from the sources ([`modules`]). What counts as an import is
//! said there; [`graph`] finds the cycles.

mod floors;
mod graph;
mod modules;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::outcome;
use crate::metadata::{self, list, text};
use crate::suite::Count;
use graph::Graph;

/// A crate of the workspace.
struct Package {
    name: String,
    /// Names of workspace crates that its library or program uses.
    uses: Vec<String>,
    /// `src/lib.rs`, `src/main.rs`.
    roots: Vec<PathBuf>,
}

/// Two checks for the crates, and one for the modules of each.
pub(super) fn check() -> Result<Count> {
    let packages = packages()?;
    let mut crates = Graph::default();
    for package in &packages {
        for used in &package.uses {
            crates.add(&package.name, used);
        }
    }
    let floors = outcome("floors", &floors::wrong(&packages));
    let mut count = report("the crates", &crates).plus(floors);
    for package in &packages {
        for root in &package.roots {
            let graph = modules::imports(root)?;
            count = count.plus(report(&format!("the modules of {}", package.name), &graph));
        }
    }
    Ok(count)
}

/// Prints the cycles of a graph, if there are any.
fn report(what: &str, graph: &Graph) -> Count {
    let knots = graph.knots();
    for knot in &knots {
        let (size, cycle) = (knot.size, knot.cycle.join(" -> "));
        println!("FAILED: {what} import each other in a circle ({size} of them): {cycle}");
    }
    Count::one(knots.is_empty())
}

fn packages() -> Result<Vec<Package>> {
    let metadata = metadata::read(&["--no-deps"])?;
    metadata::packages(&metadata)?.into_iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let name = text(value, "name").context("a package has no name")?.to_owned();
    // Tests may use crates above; dependencies without a path come from a registry.
    let is_import =
        |dependency: &&Value| text(dependency, "kind").is_none() && text(dependency, "path").is_some();
    let dependencies = list(value, "dependencies").filter(is_import);
    let uses = dependencies.filter_map(|dependency| Some(text(dependency, "name")?.to_owned())).collect();
    let is_root = |target: &&Value| {
        list(target, "kind").filter_map(Value::as_str).any(|kind| matches!(kind, "lib" | "bin"))
    };
    let targets = list(value, "targets").filter(is_root);
    let roots = targets.filter_map(|target| Some(PathBuf::from(text(target, "src_path")?))).collect();
    Ok(Package { name, uses, roots })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn imports_of(files: &[(&str, &str)]) -> Graph {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            std::fs::write(path, text).expect("a file");
        }
        modules::imports(Path::new(&dir.path().join("lib.rs"))).expect("sources that can be read")
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], cycles: &[&str]) {
        let knots = imports_of(files).knots();
        let found: Vec<String> = knots.into_iter().map(|knot| knot.cycle.join(" -> ")).collect();
        assert_eq!(found, cycles);
    }

    #[test]
    fn a_circle_of_three_is_found() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c; mod d; pub use a::A;"),
                ("a.rs", "use crate::b::{B, other}; pub struct A(B); use crate::d::D;"),
                ("b.rs", "pub struct B; fn f() { crate::c::run() }"),
                ("c.rs", "pub fn run() { println!(\"{}\", crate::A::new()) }"),
                ("d.rs", "pub struct D;"),
            ],
            &["crate::a -> crate::b -> crate::c -> crate::a"],
        );
    }

    #[test]
    fn imports_downwards_are_no_circle() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::A; pub use b::{B as Bee, deep::*};"),
                ("a.rs", "use crate::b::deep::Deep; use super::b; use crate::Bee;"),
                ("b/mod.rs", "pub mod deep; pub use deep::Deep; pub struct B;"),
                ("b/deep.rs", "pub struct Deep; #[cfg(test)] mod tests { use crate::a::A; }"),
            ],
            &[],
        );
    }

    #[test]
    fn a_folder_counts_with_all_that_is_below() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a/mod.rs", "mod child; pub struct Ground; fn roof() { child::run() }"),
                ("a/child.rs", "use super::Ground; pub fn run() { crate::b::run() }"),
                ("b.rs", "pub fn run() -> crate::a::Ground { crate::a::Ground }"),
            ],
            &["crate::a -> crate::b -> crate::a"],
        );
    }
}
