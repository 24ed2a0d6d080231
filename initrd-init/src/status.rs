//! Status reports to the management node: one line on a cleartext TCP connection (port 3002).
//!
//! The server greets with `ready`, takes one line, answers `done`. A report is repeated every
//! [`PAUSE_SECONDS`] seconds, [`TRIES`] times; a node that cannot report still boots.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use dawn_wire::Secret;
use dawn_wire::script::ScriptResult;
use dawn_wire::status::{
    ASK, ASK_HELD, ASK_NEXT, BOOT_ARGS, BOOT_INITRD, BOOT_KERNEL, DONE, FAILED, GET_BMC, GET_SCRIPT, PROBLEM,
    READY, SCRIPT_END, STATUS, SYNC_FILES, TASK_DONE,
};

use crate::log;
use crate::sys;
use crate::url::Url;

/// Tries before a report is given up.
const TRIES: u32 = 11;
/// Pause between tries, in seconds.
const PAUSE_SECONDS: u64 = 10;
/// Wait for the connection or for a line of the server, in seconds.
const ANSWER_SECONDS_MAX: u64 = 10;
/// Longest answer, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// Longest description of an image, in bytes.
const BOOT_BYTES_MAX: u64 = 16 << 10;
/// Longest step that is named when it is done, in bytes: the server reads lines of 4096.
const STEP_BYTES_MAX: usize = 4000;
/// Largest `mypostscript`, in bytes.
const SCRIPT_BYTES_MAX: u64 = 4 << 20;
/// Largest answer about service processors, in bytes.
const BMC_BYTES_MAX: u64 = 16 << 10;
/// Tries to report the result of a post script: the next script does not wait long for it.
const RESULT_TRIES: u32 = 3;
/// Pause between them, in seconds.
const RESULT_PAUSE_SECONDS: u64 = 2;
/// Time the server has to copy the node's files, in seconds.
const SYNC_SECONDS_MAX: u64 = 600;

/// Sends `installstatus <status>` until the server has confirmed it. Gives whether it has.
pub(crate) fn report(server: Ipv4Addr, port: u16, status: &str) -> bool {
    for attempt in 1..=TRIES {
        match exchange(server, port, &format!("{STATUS} {status}\n")) {
            Ok(()) => {
                log::step(&format!("status `{status}` reported to {server}:{port}"));
                return true;
            }
            Err(cause) => log::problem(&format!(
                "status `{status}` to {server}:{port} failed (try {attempt} of {TRIES}): {cause}"
            )),
        }
        if attempt < TRIES {
            sys::pause(Duration::from_secs(PAUSE_SECONDS));
        }
    }
    false
}

/// Sends a status once, for a node that is about to restart anyway.
pub(crate) fn report_once(server: Ipv4Addr, port: u16, status: &str) {
    if let Err(cause) = exchange(server, port, &format!("{STATUS} {status}\n")) {
        log::problem(&format!("status `{status}` to {server}:{port} failed: {cause}"));
    }
}

/// Reports to the server what went wrong so far, one event each. Reports that cannot be sent have been on the
/// console.
pub(crate) fn report_troubles(server: Ipv4Addr, port: u16) {
    for text in log::troubles() {
        if !report_trouble(server, port, &text) {
            return;
        }
    }
}

/// Reports to the server what went wrong. Returns whether the server acknowledged it.
pub(crate) fn report_trouble(server: Ipv4Addr, port: u16, text: &str) -> bool {
    let heard = exchange(server, port, &format!("{PROBLEM} {}\n", text.replace('\n', " ")));
    if let Err(cause) = &heard {
        log::problem(&format!("events to {server}:{port} failed: {cause}"));
    }
    heard.is_ok()
}

/// Reports that a step of the chain is done and what it printed. A report that is lost is on the console.
pub(crate) fn report_done(server: Ipv4Addr, port: u16, text: &str) {
    let line = format!("{TASK_DONE} {}\n", text.replace('\n', " "));
    if let Err(cause) = exchange(server, port, &line) {
        log::problem(&format!("the output of a task to {server}:{port} failed: {cause}"));
    }
}

/// Reports that a step of the chain failed: an event, and the status. Returns whether the server acknowledged
/// both.
pub(crate) fn report_failure(server: Ipv4Addr, port: u16, text: &str) -> bool {
    let status = || exchange(server, port, &format!("{STATUS} {FAILED}\n"));
    report_trouble(server, port, text) && status().is_ok()
}

/// Reports what became of a post script. Reports that cannot be sent are in the node's log.
pub(crate) fn report_script(server: Ipv4Addr, port: u16, result: &ScriptResult) {
    for attempt in 1..=RESULT_TRIES {
        match exchange(server, port, &format!("{result}\n")) {
            Ok(()) => return,
            Err(cause) => log::problem(&format!("`{result}` to {server}:{port} failed: {cause}")),
        }
        if attempt < RESULT_TRIES {
            sys::pause(Duration::from_secs(RESULT_PAUSE_SECONDS));
        }
    }
}

/// The node's `mypostscript`, asked for until the server has answered, as often as a status is reported.
pub(crate) fn post_script(server: Ipv4Addr, port: u16) -> Option<String> {
    for attempt in 1..=TRIES {
        match ask_for_script(server, port) {
            Ok(text) => return Some(text),
            Err(cause) => log::problem(&format!(
                "`{GET_SCRIPT}` from {server}:{port} failed (try {attempt} of {TRIES}): {cause}"
            )),
        }
        if attempt < TRIES {
            sys::pause(Duration::from_secs(PAUSE_SECONDS));
        }
    }
    None
}

/// How the service processor is to be set up, as [`dawn_wire::bmc`] reads it. The server asks back for
/// consent meanwhile.
pub(crate) fn bmc_setup(server: Ipv4Addr, port: u16) -> io::Result<Secret> {
    let (stream, mut reader) = connect(server, port)?;
    expect(&mut reader, READY)?;
    (&stream).write_all(format!("{GET_BMC}\n").as_bytes())?;
    expect(&mut reader, DONE)?;
    let mut answer = String::new();
    reader.take(BMC_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(Secret::new(answer))
}

/// An answer without its last line was cut off.
fn ask_for_script(server: Ipv4Addr, port: u16) -> io::Result<String> {
    let (stream, mut reader) = connect(server, port)?;
    expect(&mut reader, READY)?;
    (&stream).write_all(format!("{GET_SCRIPT}\n").as_bytes())?;
    expect(&mut reader, DONE)?;
    let mut bytes = Vec::new();
    reader.take(SCRIPT_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.trim_end().strip_suffix(SCRIPT_END) {
        Some(script) => Ok(script.to_owned()),
        None => Err(io::Error::other("the script is cut off, or larger than this node takes")),
    }
}

/// Asks the server to copy the files of the node's synclists. Gives its answer, one line.
pub(crate) fn sync_files(server: Ipv4Addr, port: u16) -> io::Result<String> {
    let (stream, mut reader) = connect(server, port)?;
    stream.set_read_timeout(Some(Duration::from_secs(SYNC_SECONDS_MAX)))?;
    expect(&mut reader, READY)?;
    (&stream).write_all(format!("{SYNC_FILES}\n").as_bytes())?;
    expect(&mut reader, DONE)?;
    let mut line = String::new();
    reader.take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// What the server wants of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destiny {
    /// Its address is not a node's.
    Unknown,
    /// What it is to do; and the image that it may start for that.
    Task(String, Option<Boot>),
}

/// An image that the machine may start itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    /// The kernel.
    pub kernel: Url,
    /// The initramfs.
    pub initrd: Url,
    /// The kernel's command line.
    pub args: String,
}

impl Boot {
    /// From the lines after the answer; none if one is missing or is not an address.
    pub(crate) fn read(lines: &str) -> Option<Self> {
        let of = |word: &str| {
            let mut found = lines.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
            found.next().map(str::trim)
        };
        let (kernel, initrd) = (Url::parse(of(BOOT_KERNEL)?)?, Url::parse(of(BOOT_INITRD)?)?);
        Some(Self { kernel, initrd, args: of(BOOT_ARGS)?.to_owned() })
    }
}

/// How a machine asks what it is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    /// It has nothing else to say.
    Plain,
    /// It does not do again what failed, and waits for something else.
    Held,
    /// It is done with this step of its chain.
    Done(&'a str),
}

/// Asks what this machine is to do. A server that closes without an answer does not know the address.
pub(crate) fn destiny(server: Ipv4Addr, port: u16, question: Question<'_>) -> io::Result<Destiny> {
    let (stream, mut reader) = connect(server, port)?;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.trim() {
        "" => return Ok(Destiny::Unknown),
        READY => {}
        got => return Err(io::Error::other(format!("expected `{READY}`, got `{got}`"))),
    }
    let question = match question {
        Question::Plain => ASK.to_owned(),
        Question::Held => ASK_HELD.to_owned(),
        Question::Done(step) if step.len() <= STEP_BYTES_MAX => format!("{ASK_NEXT} {step}"),
        Question::Done(_) => ASK_NEXT.to_owned(),
    };
    (&stream).write_all(format!("{question}\n").as_bytes())?;
    expect(&mut reader, DONE)?;
    let mut answer = String::new();
    (&mut reader).take(LINE_BYTES_MAX).read_line(&mut answer)?;
    match answer.trim_end().strip_prefix(ASK) {
        Some(task) => {
            let mut lines = String::new();
            reader.take(BOOT_BYTES_MAX).read_to_string(&mut lines)?;
            Ok(Destiny::Task(task.trim().to_owned(), Boot::read(&lines)))
        }
        None => Err(io::Error::other("the server does not say what to do; is it older than this system?")),
    }
}

fn connect(server: Ipv4Addr, port: u16) -> io::Result<(TcpStream, BufReader<TcpStream>)> {
    let patience = Duration::from_secs(ANSWER_SECONDS_MAX);
    let stream = TcpStream::connect_timeout(&SocketAddr::from((server, port)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let reader = BufReader::new(stream.try_clone()?);
    Ok((stream, reader))
}

fn exchange(server: Ipv4Addr, port: u16, line: &str) -> io::Result<()> {
    let (stream, mut reader) = connect(server, port)?;
    expect(&mut reader, READY)?;
    (&stream).write_all(line.as_bytes())?;
    expect(&mut reader, DONE)
}

fn expect(reader: &mut impl BufRead, word: &str) -> io::Result<()> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.trim() {
        "" => Err(io::Error::other("closed without a word; does the server know this node's address?")),
        got if got == word => Ok(()),
        got => Err(io::Error::other(format!("expected `{word}`, got `{got}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn report_is_confirmed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"ready\n").unwrap();
            let mut line = [0; 21];
            stream.read_exact(&mut line).unwrap();
            stream.write_all(b"done\n").unwrap();
            String::from_utf8(line.to_vec()).unwrap()
        });
        assert!(report(Ipv4Addr::LOCALHOST, port, "booted"));
        assert_eq!(thread.join().unwrap(), "installstatus booted\n");
    }

    #[test]
    fn an_image_that_may_be_started() {
        let lines = "kernel http://10.0.0.1:80/k\ninitrd http://10.0.0.1:80/i\nargs imgurl=x console=tty0\n";
        let boot = Boot::read(lines).unwrap();
        assert_eq!((boot.kernel.path.as_str(), boot.args.as_str()), ("/k", "imgurl=x console=tty0"));
        for word in ["kernel ", "initrd ", "args "] {
            assert_eq!(Boot::read(&lines.replace(word, "other ")), None, "{word}");
        }
        assert_eq!(Boot::read(&lines.replace("http://10.0.0.1:80/k", "file:///etc/passwd")), None);
    }

    #[test]
    fn silence_is_an_error() {
        assert!(expect(&mut "".as_bytes(), "ready").is_err());
        assert!(expect(&mut "nope\n".as_bytes(), "ready").is_err());
    }
}
