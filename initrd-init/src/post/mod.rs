//! Post scripts in the running system, and the report that the node has booted.
//!
//! The agent asks the server for the node's `mypostscript` on the status port, fetches the scripts by HTTP,
//! runs them one after the other as root, and reports each: no TLS and nothing of the image is needed but a
//! shell. Without scripts it only says `booted`. The other scripts run even if one fails, and the node's
//! status becomes `failed`, as it does when the scripts cannot be fetched.
//!
//! The same program runs scripts again by hand ([`run`] with names).

mod exec;
mod script;
mod tree;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dawn_wire::script::{Half, Outcome, ScriptResult};
use dawn_wire::status as word;

use crate::clock;
use crate::error::{Error, Result};
use crate::handover::RUN_DIR;
use crate::log;
use crate::running::{Facts, facts};
use crate::status;
use crate::sys;
use exec::{Limits, Place};
use script::{MyPostScript, Script};

/// Where xCAT's scripts expect themselves and their helpers.
const XCATPOST: &str = "/xcatpost";
/// Where xCAT's scripts log.
const LOG: &str = "/var/log/xcat/xcat.log";
/// A log of earlier boots that is larger makes room, in bytes.
const OLD_LOG_BYTES_MAX: u64 = 16 << 20;
/// How long a system without systemd is waited for, in seconds.
const SYSTEM_SECONDS_MAX: u64 = 120;
/// Pause between two looks for it, in milliseconds.
const LOOK_PAUSE_MS: u64 = 500;
/// Programs that ask for a login: an init starts them after its scripts of the boot.
const LOGIN_PROGRAMS: [&str; 7] = ["agetty", "getty", "mingetty", "fgetty", "login", "sulogin", "xdm"];

/// The server, and which reports it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manager {
    address: Ipv4Addr,
    http_port: u16,
    status_port: u16,
    wants_reports: bool,
}

impl Manager {
    /// From the facts of the boot; none if the kernel line names no server.
    fn of(facts: &Facts) -> Option<Self> {
        let status = facts.get("MANAGER")?.parse::<SocketAddrV4>().ok()?;
        Some(Self {
            address: *status.ip(),
            http_port: facts.get("HTTPPORT")?.parse().ok()?,
            status_port: status.port(),
            wants_reports: facts.contains_key("STATUS"),
        })
    }

    fn status(self, words: &str) {
        if self.wants_reports {
            status::report(self.address, self.status_port, words);
        }
    }

    fn trouble(self, text: &str) {
        log::problem(text);
        if self.wants_reports {
            status::report_trouble(self.address, self.status_port, text);
        }
    }

    fn script(self, result: &ScriptResult) {
        let ScriptResult { script, outcome, duration_ms, .. } = result;
        log::step(&format!("{} {script}: {outcome}, {duration_ms} ms", result.half.script()));
        if self.wants_reports {
            status::report_script(self.address, self.status_port, result);
        }
    }
}

/// After the boot: runs all scripts of the node and reports how that ended. `waits`: this process was started
/// before the system, which it waits for.
pub(crate) fn boot(waits: bool) -> ExitCode {
    let Some((manager, _lock)) = begin() else { return ExitCode::FAILURE };
    if waits {
        log::open();
        wait_for_system();
    }
    let Some(manager) = manager else {
        log::step("the kernel line names no server: there are no post scripts, and no report of the boot");
        return ExitCode::SUCCESS;
    };
    let Some(text) = status::post_script(manager.address, manager.status_port) else {
        manager.trouble("the post scripts could not be asked for");
        return end(manager, false);
    };
    let wanted = MyPostScript::parse(&text);
    if wanted.scripts.is_empty() && wanted.refused.is_empty() {
        manager.status(word::BOOTED);
        return ExitCode::SUCCESS;
    }
    manager.status(&format!("{} {}", word::POSTBOOTING, word::SYNCING));
    let is_good = carry_out(manager, &wanted, &wanted.scripts);
    end(manager, is_good)
}

/// By hand: runs these scripts, or without names all of the node's. The node's status stays what it is.
pub(crate) fn run(lines: &[&str]) -> ExitCode {
    let Some((manager, _lock)) = begin() else { return ExitCode::FAILURE };
    let named: Vec<Script> = lines.iter().filter_map(|line| Script::parse(Half::Post, line)).collect();
    if named.len() < lines.len() {
        log::problem("a script is named by its path below postscripts, with its words: 'custom/x.sh a b'");
        return ExitCode::from(2);
    }
    let text = manager.and_then(|manager| status::post_script(manager.address, manager.status_port));
    let (Some(manager), Some(text)) = (manager, text) else {
        log::problem("no server answers, so there are no post scripts");
        return ExitCode::FAILURE;
    };
    let wanted = MyPostScript::parse(&text);
    let scripts = if lines.is_empty() { &wanted.scripts } else { &named };
    match carry_out(manager, &wanted, scripts) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// By hand, and for the script `syncfiles`: has the server copy the node's files.
pub(crate) fn sync_files() -> ExitCode {
    let Some(manager) = facts().as_ref().and_then(Manager::of) else { return ExitCode::FAILURE };
    match status::sync_files(manager.address, manager.status_port) {
        Ok(answer) => {
            println!("{answer}");
            if answer.ends_with(word::DONE) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(cause) => {
            println!("the server does not answer: {cause}");
            ExitCode::FAILURE
        }
    }
}

/// What the boot has left, and the lock that only one runner of scripts can hold.
fn begin() -> Option<(Option<Manager>, File)> {
    // The clock may be a time service's by now.
    clock::leave_alone();
    let facts = facts()?;
    let path = format!("{RUN_DIR}/post.lock");
    let lock = File::create(&path).and_then(|lock| lock.try_lock().map_err(io::Error::from).map(|()| lock));
    match lock {
        Ok(lock) => Some((Manager::of(&facts), lock)),
        Err(cause) => {
            log::problem(&format!("post scripts run already, or {path} cannot be locked: {cause}"));
            None
        }
    }
}

fn end(manager: Manager, is_good: bool) -> ExitCode {
    if is_good {
        manager.status(&format!("{} {}", word::BOOTED, word::SYNCED));
        return ExitCode::SUCCESS;
    }
    manager.status(&format!("{} {}", word::FAILED, word::OUT_OF_SYNC));
    ExitCode::FAILURE
}

/// Fetches what is needed and runs `scripts`; whether all of them ended well.
fn carry_out(manager: Manager, wanted: &MyPostScript, scripts: &[Script]) -> bool {
    let place = match prepare(manager, &wanted.variables) {
        Ok(place) => place,
        Err(error) => {
            manager.trouble(&format!("post scripts do not run: {error}"));
            return false;
        }
    };
    for line in &wanted.refused {
        manager.trouble(&format!("not a post script, or one too many: {line}"));
    }
    let mut is_good = wanted.refused.is_empty();
    for script in scripts {
        let result = exec::run(script, &place, Limits::NODE, &mut |slow| manager.script(slow));
        manager.script(&result);
        is_good &= result.outcome == Outcome::Exit(0);
    }
    is_good
}

fn prepare(manager: Manager, variables: &str) -> Result<Place> {
    let place = Place {
        scripts: PathBuf::from(format!("{RUN_DIR}/post")),
        variables: PathBuf::from(format!("{RUN_DIR}/mypostscript")),
        log: log_file(),
    };
    sys::write_file(&place.variables.to_string_lossy(), variables)?;
    empty(&place.scripts)?;
    let fetched = tree::fetch(manager.address, manager.http_port, &place.scripts)?;
    let (files, bytes) = (fetched.files, fetched.bytes);
    log::step(&format!(
        "{files} files, {bytes} bytes fetched for the post scripts; log: {}",
        place.log.display()
    ));
    show_at_xcatpost(&place.scripts);
    Ok(place)
}

/// The directory stays: it may be mounted at [`XCATPOST`].
fn empty(dir: &Path) -> Result<()> {
    let shown = dir.display().to_string();
    sys::make_dirs(&shown)?;
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    };
    remove().map_err(|cause| Error::file("empty", shown, cause))
}

/// The log, where it can be written; with a shared root perhaps only in memory.
fn log_file() -> PathBuf {
    let log = Path::new(LOG);
    if fs::metadata(log).is_ok_and(|meta| meta.len() > OLD_LOG_BYTES_MAX) {
        let _ = fs::rename(log, log.with_extension("log.1"));
    }
    let open = || {
        fs::create_dir_all(log.parent().unwrap_or(log))?;
        File::options().create(true).append(true).open(log)
    };
    match open() {
        Ok(_) => log.to_owned(),
        Err(_) => PathBuf::from(format!("{RUN_DIR}/post.log")),
    }
}

/// Shows the scripts where those of xCAT's users look for their helpers: by a link where the root can be
/// written, by a mount where the image has the directory, which may hold the scripts as `packimage` found
/// them. Scripts that do not name the path need neither.
fn show_at_xcatpost(scripts: &Path) {
    let id = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    if id(Path::new(XCATPOST)) == id(scripts) {
        // The link or the mount of an earlier run.
        return;
    }
    let scripts = scripts.to_string_lossy();
    let shown = match fs::symlink_metadata(XCATPOST) {
        Err(_) => symlink(&*scripts, XCATPOST).map_err(|cause| Error::file("create", XCATPOST, cause)),
        Ok(meta) if meta.is_dir() => sys::bind(&scripts, XCATPOST),
        Ok(_) => Err(Error::Image(format!("{XCATPOST} of the image is not a directory"))),
    };
    if let Err(error) = shown {
        log::step(&format!("{error}; scripts have PATH and their directory for each other"));
    }
}

/// Waits until the system asks for a login, or [`SYSTEM_SECONDS_MAX`].
fn wait_for_system() {
    let end = Instant::now() + Duration::from_secs(SYSTEM_SECONDS_MAX);
    while Instant::now() < end && !asks_for_login() {
        sys::pause(Duration::from_millis(LOOK_PAUSE_MS));
    }
}

fn asks_for_login() -> bool {
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        LOGIN_PROGRAMS.contains(&name.trim())
    })
}

/// Any text as a script of the server and as a page of names: what is taken stays below its directory.
pub(crate) fn fuzz(text: &str) {
    let taken = MyPostScript::parse(text);
    assert!(taken.scripts.len() <= script::SCRIPTS_MAX);
    assert!(taken.scripts.iter().all(|script| script::is_below(&script.name)));
    for entry in tree::entries(text) {
        assert!(script::is_below(&entry.name) && !entry.name.contains('/'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_comes_from_the_facts() {
        let facts = |pairs: &[(&str, &str)]| -> Facts {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(Manager::of(&facts(&[("HTTPPORT", "80")])), None);
        let known = [("MANAGER", "10.0.0.1:3002"), ("HTTPPORT", "80"), ("STATUS", "10.0.0.1:3002")];
        let manager = Manager::of(&facts(&known)).unwrap();
        let expected =
            Manager { address: [10, 0, 0, 1].into(), http_port: 80, status_port: 3002, wants_reports: true };
        assert_eq!(manager, expected);
        assert!(!Manager::of(&facts(&known[..2])).unwrap().wants_reports);
    }

    #[test]
    fn a_directory_is_emptied_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let post = dir.path().join("post");
        fs::create_dir_all(post.join("custom")).unwrap();
        fs::write(post.join("custom/x"), "").unwrap();
        fs::write(dir.path().join("kept"), "").unwrap();
        symlink(dir.path(), post.join("link")).unwrap();
        let before = fs::metadata(&post).unwrap().ino();
        empty(&post).unwrap();
        assert!(fs::read_dir(&post).unwrap().next().is_none() && dir.path().join("kept").exists());
        assert_eq!(fs::metadata(&post).unwrap().ino(), before);
    }
}
