//! Package lists (`linuximage.pkglist`, `otherpkglist`): what is installed in which pass.
//!
//! `name …` installs, `@group` installs a group (on Debian a task), `-name` removes before and `--name` after
//! installing, `#NEW_INSTALL_LIST#` begins another pass, `#ENV:NAME=value …#` sets the environment of a pass;
//! `#INCLUDE:file#` has been replaced by [`crate::listfile`] already. In other lists `dir/name` names a
//! package of a sub-directory of `otherpkgdir`.
//!
//! Names go to apt as arguments, so anything that could be read as an option or a shell word is refused.

/// One install pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Packages to install; `dir/name` keeps its directory.
    pub install: Vec<String>,
    /// Groups or tasks to install.
    pub groups: Vec<String>,
    /// Packages to remove before installing.
    pub remove_before: Vec<String>,
    /// Packages to remove after installing.
    pub remove_after: Vec<String>,
    /// Environment of the pass.
    pub env: Vec<(String, String)>,
}

impl Pass {
    fn is_empty(&self) -> bool {
        self.install.is_empty()
            && self.groups.is_empty()
            && self.remove_before.is_empty()
            && self.remove_after.is_empty()
    }
}

/// A line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("package list: '{word}' is not {expected}")]
pub struct PkglistError {
    /// The word.
    pub word: String,
    /// What it should be.
    pub expected: &'static str,
}

/// The passes of a list, in order; passes that do nothing are left out.
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<Pass>, PkglistError> {
    let mut passes = vec![Pass::default()];
    for line in lines {
        let line = line.trim();
        if line == "#NEW_INSTALL_LIST#" {
            passes.push(Pass::default());
            continue;
        }
        if let Some(pass) = passes.last_mut() {
            add(pass, line)?;
        }
    }
    passes.retain(|pass| !pass.is_empty());
    Ok(passes)
}

fn add(pass: &mut Pass, line: &str) -> Result<(), PkglistError> {
    if let Some(env) = line.strip_prefix("#ENV:").and_then(|rest| rest.strip_suffix('#')) {
        for word in env.split_whitespace() {
            pass.env.push(assignment(word)?);
        }
        return Ok(());
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(group) = line.strip_prefix('@') {
        pass.groups.push(package(group.trim(), "a group name")?);
        return Ok(());
    }
    for word in line.split_whitespace() {
        if let Some(name) = word.strip_prefix("--") {
            pass.remove_after.push(package(name, "a package name")?);
        } else if let Some(name) = word.strip_prefix('-') {
            pass.remove_before.push(package(name, "a package name")?);
        } else {
            pass.install.push(package(word, "a package name")?);
        }
    }
    Ok(())
}

fn assignment(word: &str) -> Result<(String, String), PkglistError> {
    let error = || PkglistError { word: word.to_owned(), expected: "NAME=value" };
    let (name, value) = word.split_once('=').ok_or_else(error)?;
    let first = name.chars().next().ok_or_else(error)?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if first.is_ascii_digit() || !name.chars().all(good) || value.contains('\0') {
        return Err(error());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A name as apt takes it: `name`, `name:arch`, `name=version`, `dir/name`.
fn package(name: &str, expected: &'static str) -> Result<String, PkglistError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "+-._:=~/".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || !name.chars().all(good) || name.contains("..") {
        return Err(PkglistError { word: name.to_owned(), expected });
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_lines() {
        let text = "# comment\n\nbash  vim-tiny\n@ssh-server\n-nano\n--perl gcc\n#ENV:A=b C=d=e#\n\
                    #NEW_INSTALL_LIST#\n#NEW_INSTALL_LIST#\nsub/slurm=1.0~rc1\n";
        let passes = parse(text.lines()).unwrap();
        assert_eq!(passes.len(), 2);
        assert_eq!(passes[0].install, ["bash", "vim-tiny", "gcc"]);
        assert_eq!(passes[0].groups, ["ssh-server"]);
        assert_eq!(passes[0].remove_before, ["nano"]);
        assert_eq!(passes[0].remove_after, ["perl"]);
        assert_eq!(passes[0].env, [("A".into(), "b".into()), ("C".into(), "d=e".into())]);
        assert_eq!(passes[1].install, ["sub/slurm=1.0~rc1"]);
    }

    #[test]
    fn words_for_a_shell_are_refused() {
        for line in ["$(reboot)", "a;b", "a`b", "---x", "-", "@", "../x", "#ENV:1A=b#", "#ENV:A;B=c#", "a'b"]
        {
            assert!(parse([line]).is_err(), "{line}");
        }
    }
}
