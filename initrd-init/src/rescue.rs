//! When the boot cannot continue: a shell on the console, or a restart after a bounded wait.
//!
//! The shell is the one of the initramfs (`/bin/sh`, from busybox if the image builder found it), else of the
//! root, else a small command loop of our own. Process 1 never ends here: every way out is a restart or a
//! return to the boot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::system::{RebootCommand, reboot};

use crate::log;
use crate::sys;

/// How long the console waits for a key before the node restarts, in seconds.
const KEY_SECONDS: u64 = 60;
/// Lines of the kernel's log shown by `dmesg`.
const LOG_LINES: usize = 200;

/// Reports why the boot stopped, offers a shell, then restarts the node.
pub(crate) fn give_up(reason: &str, want_shell: bool, root: &str) -> ! {
    log::problem(&format!("BOOT FAILED: {reason}"));
    if want_shell || key_pressed() {
        shell(root);
    }
    restart();
}

/// Restarts the machine.
pub(crate) fn restart() -> ! {
    log::problem("restarting the node");
    rustix::fs::sync();
    loop {
        let _ = reboot(RebootCommand::Restart);
        sys::pause(Duration::from_secs(1));
    }
}

/// A panic in process 1 would silently halt the node: report it, wait, restart.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        log::problem(&format!("BOOT FAILED: defect in /init: {info}; restart in {KEY_SECONDS} s"));
        sys::pause(Duration::from_secs(KEY_SECONDS));
        restart();
    }));
}

fn key_pressed() -> bool {
    log::problem(&format!("press Enter for a shell; the node restarts in {KEY_SECONDS} s"));
    let Ok(console) = File::open(console_path()) else {
        sys::pause(Duration::from_secs(KEY_SECONDS));
        return false;
    };
    let mut watched = [PollFd::new(&console, PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: i64::try_from(KEY_SECONDS).unwrap_or(60), tv_nsec: 0 };
    let pressed = poll(&mut watched, Some(&patience)).is_ok_and(|count| count > 0);
    let mut line = [0; 64];
    pressed && (&console).read(&mut line).is_ok_and(|count| count > 0)
}

/// The terminal behind `/dev/console`: only a real one can be a controlling terminal.
fn console_path() -> String {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let last = active.split_whitespace().last().map(|name| format!("/dev/{name}"));
    last.filter(|path| Path::new(path).exists()).unwrap_or_else(|| "/dev/console".to_owned())
}

/// An interactive shell until it is left.
pub(crate) fn shell(root: &str) {
    let path = console_path();
    let Ok(console) = OpenOptions::new().read(true).write(true).open(&path) else {
        log::problem(&format!("no shell: cannot open the console {path}"));
        return;
    };
    let candidates = [("/bin/sh", None), ("/bin/sh", Some(root))];
    for (program, inside) in candidates {
        let full = format!("{}{program}", inside.unwrap_or_default());
        if fs::metadata(&full).is_err() {
            continue;
        }
        log::step(&format!("shell {full} on {path}; leave it with `exit`"));
        show_kernel_filesystems(inside);
        let result = run_shell(program, inside, &console);
        hide_kernel_filesystems(inside);
        if result.is_ok() {
            return;
        }
    }
    log::step(&format!("no shell program found; small commands on {path}, `help` lists them"));
    let _ = command_loop(&console);
}

/// File systems of the kernel that a shell inside the root wants to see.
const KERNEL_FILESYSTEMS: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

pub(crate) fn show_kernel_filesystems(inside: Option<&str>) {
    for dir in inside.iter().flat_map(|_| KERNEL_FILESYSTEMS) {
        let target = format!("{}{dir}", inside.unwrap_or_default());
        if let Err(error) = sys::bind(dir, &target) {
            log::debug(&error.to_string());
        }
    }
}

pub(crate) fn hide_kernel_filesystems(inside: Option<&str>) {
    for dir in inside.iter().flat_map(|_| KERNEL_FILESYSTEMS) {
        sys::detach(&format!("{}{dir}", inside.unwrap_or_default()));
    }
}

fn run_shell(program: &str, inside: Option<&str>, console: &File) -> io::Result<()> {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .env("TERM", "linux")
        .env("PS1", "dawn# ");
    command.stdin(Stdio::from(console.try_clone()?)).stdout(Stdio::from(console.try_clone()?));
    command.stderr(Stdio::from(console.try_clone()?));
    let inside = inside.map(str::to_owned);
    // SAFETY: only system calls are made between fork and exec; nothing is allocated or locked.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            let _ = rustix::process::ioctl_tiocsctty(rustix::stdio::stdin());
            if let Some(root) = &inside {
                rustix::process::chroot(root.as_str())?;
                rustix::process::chdir("/")?;
            }
            Ok(())
        });
    }
    command.spawn()?.wait().map(drop)
}

fn command_loop(console: &File) -> io::Result<()> {
    let mut input = BufReader::new(console.try_clone()?);
    let mut output = console.try_clone()?;
    loop {
        output.write_all(b"dawn> ")?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (verb, argument) = (words.next().unwrap_or_default(), words.next());
        if verb == "exit" {
            return Ok(());
        }
        let text = answer(verb, argument);
        output.write_all(text.replace('\n', "\r\n").as_bytes())?;
    }
}

fn answer(verb: &str, argument: Option<&str>) -> String {
    match verb {
        "" => String::new(),
        "ls" => list(argument.unwrap_or("/")),
        "cat" => read(argument.unwrap_or("/proc/cmdline")),
        "mounts" => read("/proc/mounts"),
        "modules" => read("/proc/modules"),
        "net" => format!(
            "{}\n{}{}",
            crate::nic::describe(&crate::nic::present()),
            read("/proc/net/route"),
            read("/proc/net/fib_trie")
        ),
        "cmdline" => read("/proc/cmdline"),
        "mem" => read("/proc/meminfo"),
        "dmesg" => kernel_log(),
        "reboot" => restart(),
        _ => "ls [dir], cat FILE, mounts, modules, net, cmdline, mem, dmesg, reboot, exit\n".to_owned(),
    }
}

fn list(dir: &str) -> String {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(cause) => return format!("{dir}: {cause}\n"),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let slash = entry.file_type().is_ok_and(|kind| kind.is_dir());
            format!("{}{}\n", entry.file_name().to_string_lossy(), if slash { "/" } else { "" })
        })
        .collect();
    names.sort();
    names.concat()
}

fn read(path: &str) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(cause) => format!("{path}: {cause}\n"),
    }
}

/// `/dev/kmsg` gives one record per read and would wait at the end.
fn kernel_log() -> String {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut file) = file else { return "no kernel log\n".to_owned() };
    let mut lines = Vec::new();
    let mut record = [0; 8192];
    while let Ok(length) = file.read(&mut record) {
        let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
        let line =
            text.split_once(';').map_or("", |(_, rest)| rest).lines().next().unwrap_or_default().to_owned();
        lines.push(format!("{line}\n"));
    }
    let skip = lines.len().saturating_sub(LOG_LINES);
    let _ = file.as_fd();
    lines.into_iter().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_answer_in_words() {
        assert!(answer("help", None).contains("reboot"));
        assert!(answer("cat", Some("/no/such")).contains("No such file"));
        assert!(answer("ls", Some("/proc/self")).contains("fd/"));
    }
}
