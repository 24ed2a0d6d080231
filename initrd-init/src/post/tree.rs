//! Fetches the server's `/install/postscripts` with everything in it: scripts call each other and read files
//! next to them.
//!
//! Names come from the server's pages, one link a line (`<a href="NAME">`, directories with a slash at the
//! end), and are taken only if they are plain names. A file that the server does not give out is left out
//! with a line in the log. Every file can be run, except in the directories that hold keys.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::script::is_below;
use crate::error::{Error, Result};
use crate::http::{self, Patience, Sink};
use crate::log;
use crate::url::Url;

/// Where the server has the scripts.
const SOURCE: &str = "/install/postscripts/";
/// Files of one tree.
const FILES_MAX: usize = 2000;
/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// All files together, in bytes: they are kept in the node's memory.
const TREE_BYTES_MAX: u64 = 128 << 20;
/// Largest page of names, in bytes.
const PAGE_BYTES_MAX: u64 = 1 << 20;
/// Directories below each other.
const DEPTH_MAX: usize = 8;
/// Time for the whole tree, in seconds.
const TREE_SECONDS_MAX: u64 = 900;
/// A server that sends nothing for longer is given up, in seconds.
const PATIENCE: Patience = Patience { stall_seconds_max: 120, refusals_are_final: true };
/// Directories whose files are not programs, as with xCAT.
const KEYS: [&str; 4] = ["_xcat", "_ssh", "ca", "hostkeys"];

/// A name on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// One component of a path.
    pub name: String,
    /// Its link ends with a slash.
    pub is_dir: bool,
}

/// The names on a page of the server.
pub(crate) fn entries(page: &str) -> Vec<Entry> {
    let link = |line: &str| -> Option<Entry> {
        let (_, rest) = line.split_once("<a href=\"")?;
        let (target, _) = rest.split_once('"')?;
        let (name, is_dir) = target.strip_suffix('/').map_or((target, false), |name| (name, true));
        let name = decoded(name)?;
        (is_below(&name) && !name.contains('/')).then_some(Entry { name, is_dir })
    };
    page.lines().filter_map(link).take(FILES_MAX).collect()
}

/// `%20` and relatives (RFC 3986 section 2.1); none if that is not text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit =
                    || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit()? * 16 + digit()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What was fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// Number of files.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Fetches all below `dir`, which is empty.
pub(crate) fn fetch(server: Ipv4Addr, port: u16, dir: &Path) -> Result<Fetched> {
    let end = Instant::now() + Duration::from_secs(TREE_SECONDS_MAX);
    let mut fetched = Fetched::default();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let page = match get_page(server, port, &folder) {
            Err(error @ Error::Refused { .. }) if !folder.is_empty() => {
                log::problem(&format!("{error}; left out"));
                continue;
            }
            page => page?,
        };
        for Entry { name, is_dir } in entries(&page) {
            let path = format!("{folder}{name}");
            if Instant::now() >= end {
                return Err(too_much(&format!("was not fetched within {TREE_SECONDS_MAX} s")));
            }
            if !is_dir {
                one(server, port, dir, &path, &mut fetched)?;
            } else if path.matches('/').count() + 1 < DEPTH_MAX {
                make_dir(&dir.join(&path))?;
                folders.push(format!("{path}/"));
            } else {
                log::problem(&format!("{SOURCE}{path}: deeper than {DEPTH_MAX} directories; left out"));
            }
        }
    }
    Ok(fetched)
}

fn get_page(server: Ipv4Addr, port: u16, folder: &str) -> Result<String> {
    let mut page = Limited { file: io::Cursor::new(Vec::new()), got: 0, limit: PAGE_BYTES_MAX };
    get(server, port, folder, &mut page)?;
    Ok(String::from_utf8_lossy(page.file.get_ref()).into_owned())
}

fn one(server: Ipv4Addr, port: u16, dir: &Path, path: &str, fetched: &mut Fetched) -> Result<()> {
    if fetched.files >= FILES_MAX {
        return Err(too_much(&format!("has more than {FILES_MAX} files")));
    }
    let target = dir.join(path);
    let shown = target.display().to_string();
    let top = path.split('/').next().unwrap_or_default();
    let mode = if KEYS.contains(&top) && path.contains('/') { 0o600 } else { 0o755 };
    let file = OpenOptions::new().write(true).create_new(true).open(&target);
    let file = file.map_err(|cause| Error::file("create", shown.as_str(), cause))?;
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(|cause| Error::file("change", shown.as_str(), cause))?;
    let limit = FILE_BYTES_MAX.min(TREE_BYTES_MAX - fetched.bytes);
    match get(server, port, path, &mut Limited { file, got: 0, limit }) {
        Ok(bytes) => {
            fetched.files += 1;
            fetched.bytes += bytes.min(limit);
            Ok(())
        }
        Err(error @ Error::Refused { status: 400..500, .. }) => {
            log::problem(&format!("{error}; left out"));
            fs::remove_file(&target).map_err(|cause| Error::file("remove", shown, cause))
        }
        Err(error) => Err(error),
    }
}

fn get(server: Ipv4Addr, port: u16, path: &str, sink: &mut dyn Sink) -> Result<u64> {
    let url = Url { host: server.to_string(), port, path: format!("{SOURCE}{}", encoded(path)) };
    http::fetch_with(&url, &|_| Ok(server), sink, PATIENCE)
}

/// Everything unusual as `%XX`; slashes stay.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/+".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|cause| Error::file("create directory", dir.display().to_string(), cause))
}

fn too_much(why: &str) -> Error {
    Error::Image(format!("{SOURCE} of the server {why}"))
}

/// A writer that accepts at most its limit.
struct Limited<F> {
    file: F,
    got: u64,
    limit: u64,
}

/// A target that can be emptied.
trait Empty {
    fn empty(&mut self) -> io::Result<()>;
}

impl Empty for File {
    fn empty(&mut self) -> io::Result<()> {
        self.rewind()?;
        self.set_len(0)
    }
}

impl Empty for io::Cursor<Vec<u8>> {
    fn empty(&mut self) -> io::Result<()> {
        *self = io::Cursor::default();
        Ok(())
    }
}

impl<F: Write + Empty> Sink for Limited<F> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.got += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self.got > self.limit {
            true => {
                Err(io::Error::other(format!("it is larger than the {} bytes that are left", self.limit)))
            }
            false => self.file.write_all(bytes),
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        self.got = 0;
        self.file.empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    #[test]
    fn only_plain_names_are_taken() {
        let page = "<a href=\"../\">../</a>\n<a href=\"/install/\">Parent Directory</a>\n\
                    <a href=\"?C=N;O=D\">Name</a>\n<a href=\"syslog\">syslog</a>  5\n\
                    <a href=\"a%20b\">a b</a>\n<a href=\"custom/\">custom/</a>\n\
                    <a href=\"..%2Fx\">x</a>\n<a href=\"%2e%2e/\">x</a>\n\
                    <a href=\"%zz\">x</a>\n<a href=\"a%00\">x</a>\n";
        let names: Vec<_> = entries(page).into_iter().map(|entry| (entry.name, entry.is_dir)).collect();
        let expected = [("?C=N;O=D", false), ("syslog", false), ("a b", false), ("custom", true)];
        assert_eq!(names, expected.map(|(name, is_dir)| (name.to_owned(), is_dir)));
    }

    /// A server with these pages; everything else is not there.
    fn server(pages: &[(&str, &str)], requests: usize) -> (u16, std::thread::JoinHandle<()>) {
        let pages: HashMap<String, String> =
            pages.iter().map(|(path, text)| (format!("{SOURCE}{path}"), (*text).to_owned())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for _ in 0..requests {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines =
                    BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::result::Result::ok);
                let first = lines.next().unwrap();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let answer = match pages.get(first.split(' ').nth(1).unwrap()) {
                    Some(text) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()),
                    None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                };
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (port, thread)
    }

    #[test]
    fn a_tree_comes_over_and_a_file_that_is_not_given_out_does_not() {
        let top = "<a href=\"one\">one</a>\n<a href=\"secret\">secret</a>\n<a href=\"_ssh/\">_ssh/</a>\n";
        let pages =
            [("", top), ("one", "#!/bin/sh\n"), ("_ssh/", "<a href=\"keys\">keys</a>\n"), ("_ssh/keys", "k")];
        let (port, thread) = server(&pages, 5);
        let dir = tempfile::tempdir().unwrap();
        let fetched = fetch(Ipv4Addr::LOCALHOST, port, dir.path()).unwrap();
        thread.join().unwrap();
        assert_eq!((fetched.files, fetched.bytes), (2, 11));
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("one"), mode("_ssh/keys")), (0o755, 0o600));
        assert!(!dir.path().join("secret").exists());
    }

    #[test]
    fn a_server_without_scripts_is_an_error() {
        let (port, thread) = server(&[], 1);
        let dir = tempfile::tempdir().unwrap();
        assert!(fetch(Ipv4Addr::LOCALHOST, port, dir.path()).is_err());
        thread.join().unwrap();
    }
}
