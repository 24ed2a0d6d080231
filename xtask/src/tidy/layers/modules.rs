//! Which modules of a crate import which, read from the sources.
//!
//! A module is a file; a module written inside a file belongs to it. Each module counts with all modules
//! below it, and imports count between modules of one folder: what a folder's own file and the files in it
//! share is one subject. A path that begins with `crate`, `self`, `super` or the name of a child module is an
//! import of the module that *defines* its item: a name that another module only passes on (`pub use`) is
//! followed to its source, and passing on is not an import itself. Items under `#[cfg(test)]` do not count.
//! Paths inside of macros are read as well, as far as they are written out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

use super::graph::Graph;

/// Longest chain of names passed on that is followed.
const PASSED_ON_MAX: usize = 16;

/// Names of a path, the first of them `crate` once it is resolved.
type Names = Vec<String>;

/// What one file says.
#[derive(Default)]
struct Module {
    children: Vec<String>,
    /// Paths as written, that are imports.
    paths: Vec<Names>,
    /// Names that other modules see here although they are defined elsewhere; `*` for all of a module.
    passed_on: Vec<(String, Names)>,
}

/// The import graph of a crate whose root is this file.
pub(super) fn imports(root: &Path) -> Result<Graph> {
    let mut modules = BTreeMap::new();
    let dir = root.parent().context("a crate's root has no directory")?;
    read(&mut modules, vec!["crate".to_owned()], root, dir)?;
    let mut graph = Graph::default();
    for (name, module) in &modules {
        for path in &module.paths {
            let target = target(&modules, name, path, 0);
            if let Some((from, to)) = target.as_deref().and_then(|target| siblings(name, target)) {
                graph.add(&from.join("::"), &to.join("::"));
            }
        }
    }
    Ok(graph)
}

/// The two modules of one folder that hold these two; `None` if one holds the other.
fn siblings<'a>(from: &'a [String], to: &'a [String]) -> Option<(&'a [String], &'a [String])> {
    let differ = from.iter().zip(to).position(|(from, to)| from != to)?;
    from.get(..=differ).zip(to.get(..=differ))
}

/// Reads a module's file and those of its children. `dir` is where the files of its children are.
fn read(modules: &mut BTreeMap<Names, Module>, name: Names, file: &Path, dir: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
    let mut module = Module::default();
    let children = read_items(&mut module, parsed.items);
    for child in &children {
        let (file, dir) = place(dir, child).with_context(|| format!("no file for {name:?}::{child}"))?;
        read(modules, [name.clone(), vec![child.clone()]].concat(), &file, &dir)?;
    }
    module.children = children;
    modules.insert(name, module);
    Ok(())
}

fn place(dir: &Path, child: &str) -> Option<(PathBuf, PathBuf)> {
    let below = dir.join(child);
    let files = [dir.join(format!("{child}.rs")), below.join("mod.rs")];
    files.into_iter().find(|file| file.is_file()).map(|file| (file, below))
}

/// Takes the relevant parts out of items; the names of modules that have separate files.
fn read_items(module: &mut Module, items: Vec<Item>) -> Vec<String> {
    let mut children = Vec::new();
    for item in items.into_iter().filter(|item| !is_test(attributes(item))) {
        match item {
            Item::Mod(inner) => match inner.content {
                // What is inside of the file is the file's; its `super` would be the file itself, which is no
                // import.
                Some((_, items)) => children.extend(read_items(module, items)),
                None => children.push(inner.ident.to_string()),
            },
            Item::Use(item) => read_use(module, &item),
            other => read_tokens(module, other.to_token_stream()),
        }
    }
    children
}

fn read_use(module: &mut Module, item: &ItemUse) {
    let mut leaves = Vec::new();
    unfold(&item.tree, &mut Vec::new(), &mut leaves);
    let passes_on = !matches!(item.vis, Visibility::Inherited);
    for (path, alias) in leaves {
        if passes_on {
            module.passed_on.push((alias, path));
        } else {
            module.paths.push(path);
        }
    }
}

/// Every path of a `use`, with the name it gets.
fn unfold(tree: &UseTree, before: &mut Names, leaves: &mut Vec<(Names, String)>) {
    let whole = |last: String, before: &Names| [before.clone(), vec![last]].concat();
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            unfold(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaves.push((before.clone(), before.last().cloned().unwrap_or_default()));
        }
        UseTree::Name(name) => leaves.push((whole(name.ident.to_string(), before), name.ident.to_string())),
        UseTree::Rename(name) => {
            leaves.push((whole(name.ident.to_string(), before), name.rename.to_string()))
        }
        UseTree::Glob(_) => leaves.push((before.clone(), "*".to_owned())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| unfold(tree, before, leaves)),
    }
}

/// Finds paths (`a::b::c`) in the text of an item.
fn read_tokens(module: &mut Module, tokens: TokenStream) {
    let mut path: Names = Vec::new();
    let mut colons = 0;
    let mut end = |path: &mut Names| {
        if path.len() > 1 {
            module.paths.push(std::mem::take(path));
        }
        path.clear();
    };
    let mut inner = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    end(&mut path);
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                end(&mut path);
                colons = 0;
                inner.push(group.stream());
            }
            _ => {
                end(&mut path);
                colons = 0;
            }
        }
    }
    end(&mut path);
    inner.into_iter().for_each(|tokens| read_tokens(module, tokens));
}

/// The module that defines what a path in the module `from` names; `None` for a path to another crate.
fn target(modules: &BTreeMap<Names, Module>, from: &Names, path: &Names, depth: usize) -> Option<Names> {
    let mut at = match path.first().map(String::as_str)? {
        "crate" => vec!["crate".to_owned()],
        "self" => from.clone(),
        "super" => from.split_last().map(|(_, parent)| parent.to_vec())?,
        first => {
            let module = modules.get(from)?;
            if !module.children.iter().any(|child| child == first) {
                return None;
            }
            [from.clone(), vec![first.to_owned()]].concat()
        }
    };
    for name in path.iter().skip(1) {
        if name == "super" {
            at.pop();
            continue;
        }
        let module = modules.get(&at)?;
        if module.children.contains(name) {
            at.push(name.clone());
            continue;
        }
        return Some(source(modules, &at, name, depth).unwrap_or(at));
    }
    Some(at)
}

/// The module from which `at` passes the name on.
fn source(modules: &BTreeMap<Names, Module>, at: &Names, name: &str, depth: usize) -> Option<Names> {
    if depth > PASSED_ON_MAX {
        return None;
    }
    let passed_on = &modules.get(at)?.passed_on;
    let (_, path) = passed_on.iter().find(|(alias, _)| alias == name)?;
    target(modules, at, path, depth + 1)
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.path().is_ident("cfg").then(|| attribute.parse_args::<syn::Path>());
        condition.is_some_and(|path| path.is_ok_and(|path| path.is_ident("test")))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
