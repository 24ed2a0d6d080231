//! `server:/directory`.

use std::fmt;

/// A directory of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Host name or address; empty for the server that the node boots from.
    pub host: String,
    /// Absolute directory.
    pub dir: String,
}

impl Remote {
    /// Reads `server:/dir`; the server must be named and the directory absolute.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, dir) = text.split_once(':')?;
        if host.is_empty() || !dir.starts_with('/') {
            return None;
        }
        Some(Self { host: host.to_owned(), dir: squeeze(dir) })
    }

    /// Reads `server:/dir`, or `/dir` of the server that the node boots from.
    #[must_use]
    pub fn parse_any(text: &str) -> Option<Self> {
        match text.starts_with('/') {
            true => Some(Self { host: String::new(), dir: squeeze(text) }),
            false => Self::parse(text),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_str() {
            "" => f.write_str(&self.dir),
            host => write!(f, "{host}:{}", self.dir),
        }
    }
}

/// Collapses `//` and drops a trailing `/`.
#[must_use]
pub fn squeeze(path: &str) -> String {
    let joined = path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    format!("/{joined}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_directories() {
        for (text, strict, any) in [
            ("s:/a//b/", Some("s:/a/b"), Some("s:/a/b")),
            ("/a/", None, Some("/a")),
            (":/a", None, None),
            ("s:a", None, None),
            ("s", None, None),
        ] {
            let shown = |remote: Option<Remote>| remote.map(|remote| remote.to_string());
            assert_eq!(shown(Remote::parse(text)).as_deref(), strict, "{text}");
            assert_eq!(shown(Remote::parse_any(text)).as_deref(), any, "{text}");
        }
    }
}
