//! Post scripts on running nodes: the script that a node's shell reads, and the archive that it unpacks.
//!
//! Nothing has to be on the node but a shell and `tar`, and the node fetches nothing: the scripts of
//! `postscripts` below the install directory travel on the standard input of one command, after the node's
//! own variables. A script runs as xCAT's contract has it: in `/xcatpost`, as `./NAME ARGUMENTS`, with all
//! variables exported and without input. The exit code is that of the last script that failed.

use dawn_bootd::output::Stop;
use dawn_remote::quote::{Carried, carrying};
use dawn_serving::disks::within;
use dawn_wire::script::Half;
use std::io;
use std::path::Path;

/// Where scripts of nodes are, below the install directory.
pub(crate) const SCRIPTS: &str = "/install/postscripts";
/// Bytes of all scripts together.
const ARCHIVE_BYTES_MAX: usize = 64 << 20;
/// Directories in each other below the scripts' one.
const DEPTH_MAX: usize = 16;
/// Exit code for a script that is not there, as xCAT has it.
const ABSENT: &str = "255";

/// What comes before the node's variables.
const BEGIN: &str = r#"umask 022
mkdir -p /xcatpost && tar -xof - -C /xcatpost && cd /xcatpost || {
    echo 'the scripts cannot be unpacked in /xcatpost' >&2
    exit 1
}
exec < /dev/null
code=0
run_ps() {
    kind=$1 name=$2
    shift 2
    if [ ! -f "./$name" ]; then
        echo "$(date) $kind $name does NOT exist."
        code=ABSENT
        return
    fi
    echo "$kind start..: $name"
    "./$name" "$@"
    ended=$?
    echo "$kind end....: $name exited with code $ended"
    [ $ended = 0 ] || code=$ended
}
echo '=============updatenode starting===================='
"#;
const END: &str = "echo '=============updatenode ending===================='\nexit $code\n";

/// Which scripts run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Both lists of the node.
    All,
    /// The part of them that begins with this mark.
    Part(String),
    /// These, with their arguments.
    Named(Vec<String>),
}

/// The parts of a list: all of it, and the rows that it comes from.
const GROUPS: [&str; 4] = ["", "defaults-", "osimage-", "node-"];

/// Whether a word is the mark of a part.
pub(super) fn is_mark(word: &str) -> bool {
    let of = |half: Half| GROUPS.iter().map(move |group| format!("{group}{}-start-here", half.list()));
    let mut marks = Half::ALL.into_iter().flat_map(of);
    marks.any(|mark| mark == word)
}

/// What the node's shell reads: `lines` are its `mypostscript`.
pub(super) fn script(lines: &[String], which: &Which, security: bool) -> String {
    let mut text = BEGIN.replace("ABSENT", ABSENT);
    let mark = match which {
        Which::Part(mark) => Some((format!("# {mark}"), format!("# {}", mark.replace("-start-", "-end-")))),
        _ => None,
    };
    let (mut half, mut is_in_part) = (None, mark.is_none());
    let run = |text: &mut String, script: &str| text.push_str(&format!("run_ps postscript {script}\n"));
    for line in lines {
        let is_at = |mark: fn(Half) -> String| Half::ALL.into_iter().find(|half| *line == mark(*half));
        if let Some(begun) = is_at(Half::start) {
            half = Some(begun);
        }
        if let Some((start, end)) = &mark {
            is_in_part = (is_in_part || line == start) && line != end;
        }
        match half {
            // A customised template may end with further commands.
            None if line == "UPDATENODE='0'" => text.push_str("UPDATENODE='1'\n"),
            None => {
                text.push_str(line);
                text.push('\n');
            }
            Some(_) if !line.starts_with('#') && is_in_part && !matches!(which, Which::Named(_)) => {
                run(&mut text, line);
            }
            Some(_) => {}
        }
        if is_at(Half::end).is_some() {
            half = None;
        }
    }
    if security {
        text.push_str("UPDATESECURITY='1'\nexport UPDATESECURITY\n");
    }
    if let Which::Named(scripts) = which {
        scripts.iter().for_each(|script| run(&mut text, script));
    }
    text.push_str(END);
    text
}

/// The command for a node, and the part of its input that is the node's own.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn command(script: &str) -> io::Result<(String, Vec<u8>)> {
    carrying(&[Carried { suffix: ".post", content: script.as_bytes() }], ". $dawn_0")
}

/// All scripts, as `tar` reads them. Files that are not readable for all users are not for nodes and are left
/// out.
///
/// # Errors
/// The directory cannot be read, or holds too much.
pub(super) fn archive(directory: &Path) -> Result<Vec<u8>, Stop> {
    let failed = |why: String| Stop::unavailable(format!("{}: {why}", directory.display()));
    let packed = within(directory, |directory| {
        let mut archive = tar::Builder::new(Vec::new());
        pack(&mut archive, directory, Path::new(""), 0)?;
        archive.into_inner()
    });
    packed.map_err(|late| failed(late.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn pack(
    archive: &mut tar::Builder<Vec<u8>>,
    directory: &Path,
    inside: &Path,
    depth: usize,
) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("more than {DEPTH_MAX} directories in each other")));
    }
    let mut names: Vec<_> =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let (path, inside) = (directory.join(&name), inside.join(&name));
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.is_dir() && !path.is_symlink() {
            pack(archive, &path, &inside, depth + 1)?;
        } else if meta.is_file() && meta.permissions().mode() & 0o4 != 0 {
            let bytes = std::fs::read(&path)?;
            if archive.get_ref().len() + bytes.len() > ARCHIVE_BYTES_MAX {
                return Err(io::Error::other(format!(
                    "the scripts have more than {ARCHIVE_BYTES_MAX} bytes"
                )));
            }
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(bytes.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            archive.append_data(&mut header, &inside, bytes.as_slice())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<String> {
        let text = "NODE='n1'\nexport NODE\nUPDATENODE='0'\nexport UPDATENODE\n# postscripts-start-here\n\
            # defaults-postscripts-start-here\nsyslog\n# defaults-postscripts-end-here\n\
            # node-postscripts-start-here\nmine a b\n# node-postscripts-end-here\n# postscripts-end-here\n\
            # postbootscripts-start-here\n# defaults-postbootscripts-start-here\notherpkgs\n\
            # defaults-postbootscripts-end-here\n# postbootscripts-end-here\nAFTER='1'\n";
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn which_scripts_run() {
        let runs = |which: Which| -> Vec<String> {
            let script = script(&lines(), &which, false);
            assert!(
                script.contains("NODE='n1'\nexport NODE\nUPDATENODE='1'\n") && script.contains("AFTER='1'\n")
            );
            let runs = script.lines().filter_map(|line| line.strip_prefix("run_ps postscript "));
            runs.map(str::to_owned).collect()
        };
        assert_eq!(runs(Which::All), ["syslog", "mine a b", "otherpkgs"]);
        assert_eq!(runs(Which::Named(vec!["x 1".into(), "y".into()])), ["x 1", "y"]);
        assert_eq!(runs(Which::Part("postscripts-start-here".into())), ["syslog", "mine a b"]);
        assert_eq!(runs(Which::Part("node-postscripts-start-here".into())), ["mine a b"]);
        assert_eq!(runs(Which::Part("postbootscripts-start-here".into())), ["otherpkgs"]);
        assert_eq!(runs(Which::Part("osimage-postscripts-start-here".into())), [""; 0]);
        assert!(is_mark("node-postbootscripts-start-here") && !is_mark("node-postbootscripts"));
    }

    #[test]
    fn the_archive_has_what_everybody_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, mode: u32| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        write("syslog", 0o644);
        write("custom/mine", 0o755);
        write("secret", 0o600);
        std::os::unix::fs::symlink("..", directory.path().join("custom/up")).unwrap();
        let archive = archive(directory.path()).unwrap();
        let mut names: Vec<String> = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o755);
            names.push(entry.path().unwrap().display().to_string());
        }
        assert_eq!(names, ["custom/mine", "syslog"]);
    }
}
