//! `conserver.cf` of an outside conserver: which of its lines are ours, and what they say.
//!
//! Ours are between `#xCAT BEGIN NAME KIND` and `#xCAT END NAME KIND`, as xCAT's do, and replace those in
//! place; every other line stays. A heading (`access *`, `default *`) that somebody else has written is kept,
//! and ours is left out.
//!
//! Every console is `rcons NODE`: the daemon holds the console, and conserver is one of its viewers. So both
//! may run, and no console has two owners.

use dawn_cluster::is_host_name;

/// What conserver runs for a node; the package has the program there.
pub(super) const RCONS: &str = "/usr/bin/dawn rcons";
const BEGIN: &str = "#xCAT BEGIN ";
const END: &str = "#xCAT END ";
/// Kind of a node's lines.
const CONSOLE: &str = "CONS";
/// Name and kind of what all consoles share.
const SHARED: (&str, &str) = ("all", "DEFAULTS");

/// A console that conserver shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Console {
    /// The node.
    pub node: String,
    /// The host that has the console, if it is another one.
    pub master: Option<String>,
    /// Connected only while a caller looks at it, if that differs from all others.
    pub on_demand: Option<bool>,
}

/// What all consoles share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shared {
    /// Hosts that may ask.
    pub trusted: Vec<String>,
    /// Consoles are connected only while a caller looks at them.
    pub on_demand: bool,
}

/// A mark without its other half.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: the mark `{mark}` has no other half; nothing was changed")]
pub(super) struct BadMarks {
    /// Where it is.
    line: usize,
    /// What it says.
    mark: String,
}

/// The file in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A line that is not ours.
    Other(String),
    Ours {
        name: String,
        kind: String,
        text: String,
    },
}

impl File {
    /// Reads a file.
    pub(super) fn read(text: &str) -> Result<Self, BadMarks> {
        let (mut parts, mut open) = (Vec::new(), None::<(usize, String, String)>);
        for (line, number) in text.lines().zip(1..) {
            let bad = |line, mark: &str| BadMarks { line, mark: mark.to_owned() };
            match (&mut open, line.strip_prefix(BEGIN), line.strip_prefix(END)) {
                (None, Some(mark), _) => open = Some((number, mark.to_owned(), String::new())),
                (None, None, None) => parts.push(Part::Other(line.to_owned())),
                (Some((_, mark, inner)), None, Some(end)) if end == mark => {
                    let (name, kind) = mark.split_once(' ').ok_or_else(|| bad(number, line))?;
                    let (name, kind) = (name.to_owned(), kind.trim().to_owned());
                    parts.push(Part::Ours { name, kind, text: std::mem::take(inner) });
                    open = None;
                }
                (Some((_, _, inner)), None, None) => {
                    inner.push_str(line);
                    inner.push('\n');
                }
                (Some((begun, mark, _)), ..) => return Err(bad(*begun, &format!("{BEGIN}{mark}"))),
                (None, None, Some(_)) => return Err(bad(number, line)),
            }
        }
        match open {
            Some((line, mark, _)) => Err(BadMarks { line, mark: format!("{BEGIN}{mark}") }),
            None => Ok(Self(parts)),
        }
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let part = |part: &Part| match part {
            Part::Other(line) => format!("{line}\n"),
            Part::Ours { name, kind, text } => {
                format!("{BEGIN}{name} {kind}\n{text}{END}{name} {kind}\n")
            }
        };
        self.0.iter().map(part).collect()
    }

    /// Nodes that have a console.
    pub(super) fn nodes(&self) -> Vec<&str> {
        let parts = self.0.iter();
        let names = parts.filter_map(|part| match part {
            Part::Ours { name, kind, .. } if kind == CONSOLE => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }

    /// Removes the consoles of nodes.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.0.retain(|part| match part {
            Part::Ours { name, kind, .. } => kind != CONSOLE || !is_gone(name),
            Part::Other(_) => true,
        });
    }

    /// Adds a console, or replaces it in place.
    pub(super) fn set(&mut self, console: &Console) {
        let options = match console.on_demand {
            Some(true) => "  options ondemand;\n",
            Some(false) => "  options !ondemand;\n",
            None => "",
        };
        let way = match &console.master {
            Some(master) => format!("  master {master};\n"),
            None => format!("  exec {RCONS} {};\n", console.node),
        };
        let text = format!("console {} {{\n  type exec;\n{way}{options}}}\n", console.node);
        self.put(&console.node, CONSOLE, text, self.0.len());
    }

    /// Writes what all consoles share, before the first line that depends on it.
    pub(super) fn set_shared(&mut self, shared: &Shared) {
        let has = |heading: &str| {
            self.0
                .iter()
                .any(|part| matches!(part, Part::Other(line) if line.trim_start().starts_with(heading)))
        };
        let mut text = String::new();
        if !has("access *") {
            let trusted = shared.trusted.iter().filter(|host| is_host(host));
            let trusted: String = trusted.map(|host| format!("  trusted {host};\n")).collect();
            text.push_str(&format!("access * {{\n{trusted}}}\n"));
        }
        if !has("default *") {
            let options = if shared.on_demand { "  options ondemand;\n" } else { "" };
            text.push_str(&format!(
                "default * {{\n  logfile /var/log/consoles/&;\n  timestamp 1lab;\n  rw *;\n  master localhost;\n{options}}}\n"
            ));
        }
        let (name, kind) = SHARED;
        match text.is_empty() {
            true => self.0.retain(|part| !matches!(part, Part::Ours { kind: of, .. } if of == kind)),
            false => self.put(name, kind, text, 0),
        }
    }

    fn put(&mut self, name: &str, kind: &str, text: String, place: usize) {
        let (wanted, new) = (name, text);
        for part in &mut self.0 {
            if let Part::Ours { name, kind: of, text } = part
                && name == wanted
                && of == kind
            {
                *text = new;
                return;
            }
        }
        let part = Part::Ours { name: wanted.to_owned(), kind: kind.to_owned(), text: new };
        self.0.insert(place.min(self.0.len()), part);
    }
}

/// Whether a word may be written to the file as a host: no character of it ends a statement.
pub(super) fn is_host(word: &str) -> bool {
    is_host_name(word) || word.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(node: &str) -> Console {
        Console { node: node.to_owned(), master: None, on_demand: None }
    }

    #[test]
    fn ours_are_replaced_and_others_stay() {
        let shared = Shared { trusted: vec!["127.0.0.1".into(), "10.0.0.1; rw x".into()], on_demand: true };
        let mut file = File::read("# mine\nconsole own { type exec; }\n").unwrap();
        file.set_shared(&shared);
        file.set(&console("cn1"));
        file.set(&Console { master: Some("sn1".to_owned()), on_demand: Some(false), ..console("cn2") });
        let text = file.text();
        assert_eq!(
            text,
            "#xCAT BEGIN all DEFAULTS\naccess * {\n  trusted 127.0.0.1;\n}\ndefault * {\n  logfile \
             /var/log/consoles/&;\n  timestamp 1lab;\n  rw *;\n  master localhost;\n  options ondemand;\n}\n\
             #xCAT END all DEFAULTS\n# mine\nconsole own { type exec; }\n#xCAT BEGIN cn1 CONS\nconsole cn1 {\n  \
             type exec;\n  exec /usr/bin/dawn rcons cn1;\n}\n#xCAT END cn1 CONS\n#xCAT BEGIN cn2 CONS\nconsole \
             cn2 {\n  type exec;\n  master sn1;\n  options !ondemand;\n}\n#xCAT END cn2 CONS\n"
        );
        // The same again changes nothing, and a change stays in its place.
        let mut again = File::read(&text).unwrap();
        again.set_shared(&shared);
        again.set(&console("cn1"));
        assert_eq!(again.text(), text);
        assert_eq!(again.nodes(), ["cn1", "cn2"]);
        again.set(&Console { on_demand: Some(true), ..console("cn1") });
        assert!(
            again.text().contains("rcons cn1;\n  options ondemand;\n}\n#xCAT END cn1"),
            "{}",
            again.text()
        );
        again.remove(|node| node == "cn1");
        assert_eq!(again.nodes(), ["cn2"]);
        assert!(again.text().contains("console own"));
    }

    #[test]
    fn headings_of_others_are_theirs() {
        let text = "default * {\n  logfile /x;\n}\naccess * {\n trusted a;\n}\n";
        let mut file = File::read(text).unwrap();
        file.set_shared(&Shared::default());
        assert_eq!(file.text(), text);
    }

    #[test]
    fn marks_without_their_other_half() {
        for (text, line) in [
            ("#xCAT BEGIN cn1 CONS\nconsole cn1 {\n", 1),
            ("x\n#xCAT END cn1 CONS\n", 2),
            ("#xCAT BEGIN cn1 CONS\n#xCAT BEGIN cn2 CONS\n#xCAT END cn2 CONS\n", 1),
            ("#xCAT BEGIN cn1 CONS\n#xCAT END cn2 CONS\n", 1),
            ("#xCAT BEGIN cn1\n#xCAT END cn1\n", 2),
        ] {
            assert_eq!(File::read(text).unwrap_err().line, line, "{text}");
        }
    }
}
