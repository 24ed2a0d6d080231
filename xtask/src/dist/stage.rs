//! The trees that packages are made of: each file with its mode, made here and nowhere else.
//!
//! Manual pages, completions and the names of the commands come from the executable itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use dawn_qemu::paths;
use dawn_qemu::process::{output, run};

/// Texts that are made for the packages.
pub(super) struct Texts<'t> {
    /// The list of components.
    pub sbom: &'t str,
    /// The licenses of components.
    pub licenses: &'t str,
}

/// The staged trees.
pub(super) struct Trees {
    /// The package `dawn`.
    pub main: Tree,
    /// The package `dawn-xcat-names`: a link for each command.
    pub names: Tree,
}

impl Trees {
    /// Stages both below `dir`.
    pub(super) fn make(executable: &Path, dir: &Path, texts: &Texts<'_>) -> Result<Self> {
        let trees = Self { main: Tree::new(dir.join("main"))?, names: Tree::new(dir.join("names"))? };
        let dist = paths::workspace().join("dist");
        let main = &trees.main;
        main.file("usr/bin/dawn", 0o755, &read(executable)?)?;
        main.file("usr/lib/systemd/system/dawn.service", 0o644, &read(&dist.join("dawn.service"))?)?;
        main.file("etc/default/dawn", 0o644, &read(&dist.join("dawn.default"))?)?;
        main.file("usr/share/dawn/sbom.cdx.json", 0o644, texts.sbom.as_bytes())?;
        let doc = "usr/share/doc/dawn";
        main.file(&format!("{doc}/copyright"), 0o644, &read(&dist.join("copyright"))?)?;
        main.packed(&format!("{doc}/changelog.gz"), &read(&paths::workspace().join("CHANGELOG.md"))?)?;
        main.packed(&format!("{doc}/third-party-licenses.txt.gz"), texts.licenses.as_bytes())?;
        manual(executable, dir, main)?;
        completions(executable, main)?;
        names(executable, dir, &trees.names)?;
        Ok(trees)
    }
}

fn manual(executable: &Path, dir: &Path, tree: &Tree) -> Result<()> {
    let pages = dir.join("man8");
    run(Command::new(executable).args(["man", "--dir"]).arg(&pages))?;
    for name in super::files(&pages)? {
        tree.packed(&format!("usr/share/man/man8/{name}.gz"), &read(&pages.join(&name))?)?;
    }
    Ok(())
}

fn completions(executable: &Path, tree: &Tree) -> Result<()> {
    let script = |shell: &str| run(Command::new(executable).args(["completions", shell]));
    tree.file("usr/share/bash-completion/completions/dawn", 0o644, script("bash")?.as_bytes())?;
    tree.file("usr/share/fish/vendor_completions.d/dawn.fish", 0o644, script("fish")?.as_bytes())?;
    // zsh reads the file as the body of a function, at the first Tab.
    let zsh = format!("#compdef dawn\n{}_dawn_complete \"$@\"\n", script("zsh")?);
    tree.file("usr/share/zsh/vendor-completions/_dawn", 0o644, zsh.as_bytes())
}

/// A link to `dawn` for each command, and one to its completion, which shells find by the command's name.
fn names(executable: &Path, dir: &Path, tree: &Tree) -> Result<()> {
    let links = dir.join("links");
    run(Command::new(executable).arg("links").arg(&links))?;
    for name in super::files(&links)? {
        tree.link(&format!("usr/bin/{name}"), "dawn")?;
        tree.link(&format!("usr/share/bash-completion/completions/{name}"), "dawn")?;
        tree.link(&format!("usr/share/fish/vendor_completions.d/{name}.fish"), "dawn.fish")?;
        tree.link(&format!("usr/share/man/man8/{name}.8.gz"), &format!("dawn-{name}.8.gz"))?;
    }
    tree.file(
        "usr/share/doc/dawn-xcat-names/copyright",
        0o644,
        &read(&paths::workspace().join("dist/copyright"))?,
    )
}

/// A tree of files to be installed at `/`.
pub(super) struct Tree {
    /// Where it is.
    pub root: PathBuf,
}

impl Tree {
    /// An empty tree.
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        directory(&root)?;
        Ok(Self { root })
    }

    /// A copy of it, to be changed for one kind of package.
    pub(super) fn copy(&self, root: PathBuf) -> Result<Self> {
        let _ = fs::remove_dir_all(&root);
        run(Command::new("cp").arg("-a").arg(&self.root).arg(&root))?;
        Ok(Self { root })
    }

    /// A regular file; directories on its way are made with mode 0755.
    pub(super) fn file(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = self.place(path)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(&path, permissions)
            .with_context(|| format!("cannot set the mode of {}", path.display()))
    }

    /// A file that is packed with gzip, without name and time.
    pub(super) fn packed(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let plain = self.root.with_extension("plain");
        fs::write(&plain, bytes).with_context(|| format!("cannot write {}", plain.display()))?;
        let gzip = output(Command::new("gzip").args(["-9nc"]).arg(&plain).stderr(Stdio::inherit()))?;
        ensure!(gzip.status.success(), "gzip failed on {path}");
        let _ = fs::remove_file(&plain);
        self.file(path, 0o644, &gzip.stdout)
    }

    /// A symbolic link.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<()> {
        let path = self.place(path)?;
        symlink(target, &path).with_context(|| format!("cannot make the link {}", path.display()))
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let path = self.root.join(path);
        if let Some(parent) = path.parent() {
            let missing = parent.ancestors().take_while(|dir| !dir.exists()).collect::<Vec<_>>();
            missing.into_iter().rev().try_for_each(directory)?;
        }
        Ok(path)
    }

    /// Paths of files and links from `/`, sorted.
    pub(super) fn paths(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut waiting = vec![self.root.clone()];
        while let Some(dir) = waiting.pop() {
            for name in super::files(&dir)? {
                let path = dir.join(name);
                if path.is_dir() && !path.is_symlink() {
                    waiting.push(path);
                } else {
                    let inside = path.strip_prefix(&self.root).unwrap_or(&path);
                    found.push(format!("/{}", inside.display()));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

fn directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    let permissions = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, permissions)
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// A file's bytes, with its name in the error.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
