//! Scenarios that single operations do not cover: several descriptors, threads, users.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock};

type Scene = fn(&Path) -> Result<()>;

const ALL: [(&str, Scene); 13] = [
    ("exclusive creation by four at once", exclusive_race),
    ("rename over an open file", rename_over_open),
    ("an open file is removed", unlink_open),
    ("four append at once", append_together),
    ("a hole", sparse),
    ("a list while others come and go", list_while_changing),
    ("locks", locks),
    ("FIFO and socket at work", fifo_and_socket),
    ("directories", directories),
    ("names", names),
    ("set-id and sticky bits", special_bits),
    ("another user", another_user),
    ("replaced as editors do", replace_by_rename),
];

/// Number of scenarios in a round.
pub(crate) const SCENES: u64 = ALL.len() as u64;

/// How long a removed file that was open may be seen: the longest pause of a client whose server was dead.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// Threads of a race.
const RACERS: usize = 4;
/// The user that is not root.
const USER: u32 = 1000;

/// Every scenario in a new directory, which must be removable afterwards.
pub(crate) fn all(top: &Path, round: u64) -> Result<()> {
    for (number, (name, scene)) in ALL.iter().enumerate() {
        let dir = top.join(format!("{round}-{number}"));
        fs::create_dir(&dir).context("mkdir")?;
        scene(&dir).with_context(|| (*name).to_owned())?;
        settle(&dir).with_context(|| (*name).to_owned())?;
        fs::remove_dir_all(&dir).with_context(|| format!("{name}: cleaning up"))?;
    }
    Ok(())
}

/// Waits until the kernel has removed what it renamed to `.nfs…` because it was open: it does so after the
/// last close, by a call that no program waits for, and that may be sent to a dead server.
fn settle(dir: &Path) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < SETTLE_LIMIT {
        let hidden = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(b".nfs"))
        };
        if !fs::read_dir(dir)?.any(hidden) {
            return Ok(());
        }
        #[expect(clippy::disallowed_methods, reason = "the kernel sends no notification")]
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("a removed file is still there after {SETTLE_LIMIT:?}")
}

fn exclusive_race(dir: &Path) -> Result<()> {
    const NAMES: usize = 20;
    let race = || {
        let create = |n: &usize| {
            let made = OpenOptions::new().write(true).create_new(true).open(dir.join(n.to_string()));
            match made {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        };
        (0..NAMES).map(|n| create(&n)).collect::<std::io::Result<Vec<bool>>>()
    };
    let won: Result<Vec<_>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(race)).collect();
        racers
            .into_iter()
            .map(|racer| racer.join().map_err(|_| anyhow::anyhow!("a thread panicked")))
            .collect()
    });
    let won: Vec<Vec<bool>> = won?.into_iter().collect::<std::io::Result<_>>()?;
    for n in 0..NAMES {
        let winners = won.iter().filter(|w| w.get(n) == Some(&true)).count();
        ensure!(winners == 1, "{winners} made the same file");
    }
    Ok(())
}

fn rename_over_open(dir: &Path) -> Result<()> {
    let (old, new) = (dir.join("name"), dir.join("new"));
    fs::write(&old, "old")?;
    fs::write(&new, "newer")?;
    let mut open = File::open(&old)?;
    fs::rename(&new, &old)?;
    let mut text = String::new();
    open.read_to_string(&mut text)?;
    ensure!(text == "old", "the open file became {text:?}");
    ensure!(fs::read_to_string(&old)? == "newer", "the name does not show the new file");
    Ok(())
}

fn unlink_open(dir: &Path) -> Result<()> {
    let path = dir.join("gone");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    file.write_all_at(b"before", 0)?;
    fs::remove_file(&path)?;
    ensure!(!path.try_exists()?, "the name is still there");
    file.write_all_at(b" and after", 6)?;
    file.sync_all()?;
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, 0)?;
    ensure!(&bytes == b"before and after", "the removed file lost bytes");
    drop(file);
    settle(dir)?;
    ensure!(fs::read_dir(dir)?.next().is_none(), "something is left of it");
    Ok(())
}

fn append_together(dir: &Path) -> Result<()> {
    const LINES: usize = 20;
    let path = dir.join("log");
    let writer = |who: usize| -> std::io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        (0..LINES).try_for_each(|n| file.write_all(format!("{who} {n:03}\n").as_bytes()))
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..RACERS).map(|who| scope.spawn(move || writer(who))).collect();
        writers.into_iter().try_for_each(|w| match w.join() {
            Ok(result) => result.context("append"),
            Err(_) => bail!("a thread panicked"),
        })
    })?;
    let text = fs::read_to_string(&path)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let want: Vec<String> =
        (0..RACERS).flat_map(|who| (0..LINES).map(move |n| format!("{who} {n:03}"))).collect();
    ensure!(lines == want, "lines were lost or torn: {text:?}");
    Ok(())
}

fn sparse(dir: &Path) -> Result<()> {
    const FAR: u64 = 4 << 20;
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(dir.join("sparse"))?;
    file.write_all_at(b"far", FAR)?;
    file.sync_data()?;
    let mut bytes = vec![1; 64 << 10];
    file.read_exact_at(&mut bytes, FAR - (64 << 10))?;
    ensure!(bytes.iter().all(|byte| *byte == 0), "the hole is not empty");
    let meta = file.metadata()?;
    ensure!(meta.size() == FAR + 3 && meta.blocks() * 512 < FAR, "it takes {} blocks", meta.blocks());
    file.set_len(2 * FAR)?;
    ensure!(file.metadata()?.size() == 2 * FAR, "not extended");
    Ok(())
}

/// Names that stay are listed once each, whatever happens to others.
fn list_while_changing(dir: &Path) -> Result<()> {
    const STAYING: usize = 100;
    for n in 0..STAYING {
        fs::write(dir.join(format!("stays-{n:03}")), "")?;
    }
    let stop = AtomicBool::new(false);
    let change = || -> std::io::Result<()> {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            let path = dir.join(format!("passes-{n}"));
            fs::write(&path, "")?;
            fs::remove_file(&path)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let changer = scope.spawn(change);
        let listed = (0..3).try_for_each(|_| list_once(dir, STAYING));
        stop.store(true, Ordering::Relaxed);
        changer.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?.context("changing")?;
        listed
    })
}

fn list_once(dir: &Path, staying: usize) -> Result<()> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        *seen.entry(entry?.file_name().to_string_lossy().into_owned()).or_default() += 1;
    }
    let missing = (0..staying).find(|n| seen.get(&format!("stays-{n:03}")) != Some(&1));
    ensure!(missing.is_none(), "number {missing:?} was not listed just once");
    Ok(())
}

fn locks(dir: &Path) -> Result<()> {
    let path = dir.join("lock");
    let (one, two) = (File::create(&path)?, OpenOptions::new().write(true).open(&path)?);
    flock(&one, FlockOperation::LockExclusive).context("flock")?;
    let second = flock(&two, FlockOperation::NonBlockingLockExclusive);
    ensure!(second == Err(rustix::io::Errno::WOULDBLOCK), "two have the same lock: {second:?}");
    flock(&one, FlockOperation::Unlock)?;
    flock(&two, FlockOperation::NonBlockingLockExclusive).context("after unlocking")?;
    Ok(())
}

fn fifo_and_socket(dir: &Path) -> Result<()> {
    let fifo = dir.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let mut end = OpenOptions::new().read(true).write(true).open(&fifo)?;
    end.write_all(b"through")?;
    let mut bytes = [0; 7];
    end.read_exact(&mut bytes)?;
    ensure!(&bytes == b"through", "the FIFO gave {bytes:?}");
    let path = dir.join("socket");
    let listener = UnixListener::bind(&path).context("bind")?;
    let mut client = UnixStream::connect(&path).context("connect")?;
    client.write_all(b"hello")?;
    drop(client);
    let mut text = String::new();
    listener.accept()?.0.read_to_string(&mut text)?;
    ensure!(text == "hello", "the socket gave {text:?}");
    Ok(())
}

fn directories(dir: &Path) -> Result<()> {
    let deep = (0..16).fold(dir.join("deep"), |path, n| path.join(n.to_string()));
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("file"), "deep")?;
    let full = fs::remove_dir(dir.join("deep"));
    ensure!(full.is_err_and(|e| e.kind() == ErrorKind::DirectoryNotEmpty), "a full directory was removed");
    let into_itself = rustix::fs::rename(dir.join("deep"), dir.join("deep/0/below"));
    ensure!(into_itself == Err(rustix::io::Errno::INVAL), "moved into itself: {into_itself:?}");
    fs::rename(dir.join("deep"), dir.join("moved"))?;
    let file = (0..16).fold(dir.join("moved"), |path, n| path.join(n.to_string())).join("file");
    ensure!(fs::read_to_string(&file)? == "deep", "lost on the way");
    let links = fs::metadata(dir)?.nlink();
    ensure!(links == 3, "{links} links of a directory with one below it");
    File::open(dir)?.sync_all().context("fsync of a directory")
}

fn names(dir: &Path) -> Result<()> {
    let longest = "n".repeat(255);
    for name in ["with space", "tab\tand\nnewline", "ünïcödé", "*?[a]", "-rf", &longest] {
        fs::write(dir.join(name), name)?;
        ensure!(fs::read_to_string(dir.join(name))? == name, "{name:?}");
    }
    let too_long = rustix::fs::stat(dir.join("n".repeat(256))).err();
    ensure!(too_long == Some(rustix::io::Errno::NAMETOOLONG), "256 bytes: {too_long:?}");
    Ok(())
}

fn special_bits(dir: &Path) -> Result<()> {
    let mode = |path: &Path| Ok::<_, std::io::Error>(fs::metadata(path)?.mode() & 0o7777);
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let file = dir.join("program");
    fs::write(&file, "x")?;
    set(&file, 0o6755)?;
    ensure!(mode(&file)? == 0o6755, "set-id bits are {:o}", mode(&file)?);
    std::os::unix::fs::chown(&file, Some(USER), Some(USER))?;
    ensure!(mode(&file)? & 0o4000 == 0, "a new owner inherits the set-user-id bit");
    let group = dir.join("group");
    fs::create_dir(&group)?;
    std::os::unix::fs::chown(&group, None, Some(USER))?;
    set(&group, 0o2775)?;
    fs::write(group.join("file"), "")?;
    fs::create_dir(group.join("dir"))?;
    ensure!(fs::metadata(group.join("file"))?.gid() == USER, "the group is not inherited");
    ensure!(mode(&group.join("dir"))? & 0o2000 != 0, "the set-group-id bit is not inherited");
    Ok(())
}

/// A child process of a user tries what that user may do ([`crate::user`]).
fn another_user(dir: &Path) -> Result<()> {
    crate::user::prepare(dir, USER)?;
    let program = std::env::current_exe().context("own path")?;
    let mut command = Command::new(program);
    std::os::unix::process::CommandExt::uid(&mut command, USER);
    std::os::unix::process::CommandExt::gid(&mut command, USER);
    let output = command.arg("user").arg(dir).output().context("starting a child")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn replace_by_rename(dir: &Path) -> Result<()> {
    let (path, next) = (dir.join("config"), dir.join(".config.new"));
    for version in 0..10 {
        let text = format!("version {version}\n").repeat(200);
        let mut file = File::create(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&next, &path)?;
        File::open(dir)?.sync_all()?;
        ensure!(fs::read_to_string(&path)? == text, "version {version} is not what was written");
    }
    Ok(())
}
