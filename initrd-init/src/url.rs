//! `http://host[:port]/path`, the only addresses a booting node fetches.

/// A parsed HTTP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host name or IPv4 address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Absolute path with query, as sent to the server.
    pub path: String,
}

impl Url {
    /// Reads an `http://` address. No value for other schemes, blanks, control characters or an empty host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        if rest.contains(|c: char| c.is_control() || c == ' ') {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (authority, 80),
        };
        let path = if path.is_empty() { "/" } else { path };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Last component of the path without query.
    pub(crate) fn file_name(&self) -> &str {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = Url::parse("http://a.b:81/c/d.sfs?x=1").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("a.b", 81, "/c/d.sfs?x=1"));
        assert_eq!(url.file_name(), "d.sfs");
        assert_eq!(Url::parse("http://a").unwrap().to_string(), "http://a:80/");
        for bad in ["https://a/", "http:///x", "http://a:0/", "http://a:x/", "http://a/b c", "x"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }
}
