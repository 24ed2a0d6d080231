//! A site's own template of `mypostscript`: its text read, and written with the values of a node.
//!
//! Words of the template are replaced, everything else is text for the node's shell; nothing of it is carried
//! out here. A value becomes one word in single quotes. Where the template itself has opened a quote, it is
//! closed around the value; where it cannot be known how a shell would read the value (in a here document, a
//! command substitution that is not plain, after a backslash or `$`), a value that is more than a plain word
//! is left out. So a cell of a table stays data on the node, however the template uses it.
//!
//! Words: `$NAME` of a variable that the script has, `#TABLE:table:key:column#`, `#TABLEBLANKOKAY:…#`,
//! `#IPADDR#`, `#MASTER_IP_ADDR#`; on separate lines `#SITE_TABLE_ALL_ATTRIBS_EXPORT#`,
//! `#ROUTES_VARS_EXPORT#`, `#OSIMAGE_VARS_EXPORT#`, `#NETWORK_FOR_DISKLESS_EXPORT#`, `tabdump(networks)`,
//! `#INCLUDE_POSTSCRIPTS_LIST#`, `#INCLUDE_POSTBOOTSCRIPTS_LIST#` and `#INCLUDE:file#`. Lines that begin with
//! `##` are dropped. Other words, `#COMMAND:…#` among them, are text.

use super::quoted;
use dawn_wire::text::control_as_blanks;

/// Bytes of the script at most; more is left out.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Files that one template may include, and how deep.
const INCLUDES_MAX: usize = 64;
const INCLUDE_DEPTH_MAX: usize = 4;

/// A place for several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Site,
    Networks,
    Routes,
    Image,
    NetworkOfFirmware,
    Postscripts,
    Postbootscripts,
}

const BLOCKS: [(&str, Block); 7] = [
    ("#SITE_TABLE_ALL_ATTRIBS_EXPORT#", Block::Site),
    ("tabdump(networks)", Block::Networks),
    ("#ROUTES_VARS_EXPORT#", Block::Routes),
    ("#OSIMAGE_VARS_EXPORT#", Block::Image),
    ("#NETWORK_FOR_DISKLESS_EXPORT#", Block::NetworkOfFirmware),
    ("#INCLUDE_POSTSCRIPTS_LIST#", Block::Postscripts),
    ("#INCLUDE_POSTBOOTSCRIPTS_LIST#", Block::Postbootscripts),
];

/// A word within a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word<'t> {
    /// `$NAME`.
    Variable(&'t str),
    /// `#TABLE:table:key:column#`.
    Cell { table: &'t str, key: &'t str, column: &'t str },
    /// `#IPADDR#`.
    Address,
    /// `#MASTER_IP_ADDR#`.
    MasterAddress,
}

/// A line of a block.
#[derive(Debug)]
pub(super) enum Item {
    Export(String, String),
    Line(String),
}

/// Where values come from.
pub(super) trait Source {
    /// The value of a word; `None` for a variable that the script does not have.
    fn value(&mut self, word: &Word<'_>) -> Option<String>;
    /// The lines of a block.
    fn block(&mut self, block: Block) -> Vec<Item>;
    /// The text of an included file; `None` for one that is left out.
    fn include(&mut self, file: &str) -> Option<String>;
}

/// The script of a template.
pub(super) fn render(text: &str, source: &mut dyn Source) -> Vec<String> {
    let mut script = Script { includes: INCLUDES_MAX, ..Script::default() };
    script.text(text, INCLUDE_DEPTH_MAX, !text.contains("ZONENAME"), source);
    script.lines
}

/// How a shell reads what comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Context {
    #[default]
    Plain,
    Single,
    Double,
    /// Until the end of the line.
    Comment,
    /// A here document.
    Document(Delimiter),
    /// It is not known.
    Unknown,
}

/// What ends a here document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Delimiter {
    word: String,
    /// `<<-`: tabs may precede it.
    after_tabs: bool,
}

impl Delimiter {
    fn ends(&self, line: &str) -> bool {
        let line = if self.after_tabs { line.trim_start_matches('\t') } else { line };
        line == self.word
    }
}

#[derive(Debug, Default)]
struct Script {
    lines: Vec<String>,
    /// The line that is being written.
    line: String,
    bytes: usize,
    context: Context,
    /// The delimiter of a here document that begins with the next line.
    document: Option<Delimiter>,
    /// The last character that counts; a line's end at the beginning.
    last: Option<char>,
    includes: usize,
    /// A shell reads the rest of the line a second time.
    is_read_again: bool,
}

impl Script {
    fn text(&mut self, text: &str, depth: usize, adds_zone: bool, source: &mut dyn Source) {
        for line in text.lines() {
            if self.bytes > OUTPUT_BYTES_MAX {
                return;
            }
            let trimmed = line.trim();
            if line.starts_with("##") {
                continue;
            }
            if let Some((_, block)) = BLOCKS.iter().find(|(word, _)| *word == trimmed) {
                source.block(*block).into_iter().for_each(|item| self.item(item));
            } else if let Some(file) = included(trimmed) {
                if depth > 0 && self.includes > 0 {
                    self.includes -= 1;
                    let text = source.include(file).unwrap_or_default();
                    self.text(&text, depth - 1, false, source);
                }
            } else {
                self.words(line, source);
                if adds_zone && trimmed == "export ENABLESSHBETWEENNODES" {
                    let zone = source.value(&Word::Variable("ZONENAME")).unwrap_or_default();
                    self.item(Item::Export("ZONENAME".to_owned(), zone));
                }
            }
        }
    }

    fn words(&mut self, line: &str, source: &mut dyn Source) {
        self.is_read_again = line.contains("eval") || line.contains("sh -c");
        let mut rest = line;
        while let Some(at) = rest.find(['$', '#']) {
            let (before, from) = rest.split_at(at);
            self.literal(before);
            match word(from) {
                // In single quotes `$NAME` is text.
                Some((Word::Variable(_), _)) if self.context == Context::Single => {
                    self.first(&mut rest, from)
                }
                Some((word, after)) => match source.value(&word) {
                    Some(value) => {
                        self.value(&value);
                        rest = after;
                    }
                    None => self.first(&mut rest, from),
                },
                None => self.first(&mut rest, from),
            }
        }
        self.literal(rest);
        self.end_line();
    }

    /// Takes the first character of `from` as it is.
    fn first<'t>(&mut self, rest: &mut &'t str, from: &'t str) {
        // What a shell reads as one is not cut: `$(` and `${` up to their end.
        let length = match expansion(from) {
            Some(length) => length,
            None => from.chars().next().map_or(0, char::len_utf8),
        };
        let (taken, after) = from.split_at(length);
        match length {
            0 | 1 => self.literal(taken),
            _ => {
                self.push(taken);
                self.last = Some('x');
            }
        }
        if length <= 1 && taken == "$" && after.starts_with(['(', '{', '\'', '"']) && self.expands() {
            self.context = Context::Unknown;
        }
        *rest = after;
    }

    fn expands(&self) -> bool {
        matches!(self.context, Context::Plain | Context::Double)
    }

    /// Text of the template: written as it is, and read as a shell would.
    fn literal(&mut self, text: &str) {
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            let rest = text.get(at..).unwrap_or_default();
            let escaped = self.last == Some('\\') && self.expands();
            self.context = match (&self.context, c) {
                _ if escaped => {
                    self.last = Some('x');
                    continue;
                }
                (Context::Plain, '\'') => Context::Single,
                (Context::Single, '\'') => Context::Plain,
                (Context::Plain, '"') => Context::Double,
                (Context::Double, '"') => Context::Plain,
                (Context::Plain, '#') if self.begins_word() => Context::Comment,
                (Context::Plain | Context::Double, '`') => match substitution(rest) {
                    Some(length) => {
                        let inner = rest.get(..length).unwrap_or_default();
                        // The first is taken already.
                        let _ = inner.chars().count().checked_sub(2).and_then(|more| chars.nth(more));
                        self.last = Some('x');
                        continue;
                    }
                    None => Context::Unknown,
                },
                (Context::Plain, '<') if rest.starts_with("<<<") => {
                    let _ = chars.nth(1);
                    self.last = Some('x');
                    continue;
                }
                (Context::Plain, '<') if rest.starts_with("<<") => {
                    let several = self.document.is_some();
                    match delimiter(rest).filter(|_| !several) {
                        Some(word) => {
                            self.document = Some(word);
                            let _ = chars.next();
                            Context::Plain
                        }
                        None => Context::Unknown,
                    }
                }
                (context, _) => context.clone(),
            };
            self.last = Some(c);
        }
        self.push(text);
    }

    /// A `#` here would begin a comment.
    fn begins_word(&self) -> bool {
        self.last.is_none_or(|last| last.is_whitespace() || ";|&()".contains(last))
    }

    fn value(&mut self, value: &str) {
        let is_plain = is_plain(value);
        let is_unsure = self.is_read_again && !is_plain;
        let after = self.last.filter(|last| matches!(last, '\\' | '$') && self.expands());
        let text = match &self.context {
            Context::Comment => control_as_blanks(value),
            _ if after.is_some() || is_unsure => String::new(),
            Context::Plain => quoted(value),
            Context::Single => format!("'{}'", quoted(value)),
            Context::Double => format!("\"{}\"", quoted(value)),
            Context::Document(_) | Context::Unknown if is_plain => value.to_owned(),
            Context::Document(_) | Context::Unknown => String::new(),
        };
        self.push(&text);
        self.last = Some('x');
    }

    fn item(&mut self, item: Item) {
        let is_open = self.context == Context::Plain && self.document.is_none();
        match item {
            Item::Export(name, value) => {
                // Elsewhere the quotes would not be ones.
                let value = if is_open || is_plain(&value) { value } else { String::new() };
                self.push(&format!("{name}={}", quoted(&value)));
                self.end_text();
                self.push(&format!("export {name}"));
            }
            Item::Line(line) => self.push(&line),
        }
        self.end_text();
    }

    fn push(&mut self, text: &str) {
        self.bytes += text.len();
        self.line.push_str(text);
    }

    /// The line ends, and with it what a shell ends there.
    fn end_line(&mut self) {
        let continues = self.last == Some('\\') && self.expands();
        let ends = match &self.context {
            Context::Comment => true,
            Context::Document(delimiter) => delimiter.ends(&self.line),
            _ => false,
        };
        if ends {
            self.context = Context::Plain;
        }
        if let Some(word) = self.document.take_if(|_| self.context == Context::Plain && !continues) {
            self.context = Context::Document(word);
        }
        // A line that continues on the next one does so within its last word, if it has one.
        let before = self.line.chars().rev().nth(1);
        self.last = if continues { before } else { None };
        self.end_text();
    }

    fn end_text(&mut self) {
        self.bytes += 1;
        self.lines.push(std::mem::take(&mut self.line));
    }
}

/// A word that every shell reads literally in any position.
fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "_./:,@%+=-".contains(c))
}

/// The word that a text begins with, and what comes after it.
fn word(text: &str) -> Option<(Word<'_>, &str)> {
    if let Some(rest) = text.strip_prefix('$') {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        return is_name.then_some((Word::Variable(name), after));
    }
    for (spelled, word) in [("#IPADDR#", Word::Address), ("#MASTER_IP_ADDR#", Word::MasterAddress)] {
        if let Some(after) = text.strip_prefix(spelled) {
            return Some((word, after));
        }
    }
    let rest = text.strip_prefix("#TABLE:").or_else(|| text.strip_prefix("#TABLEBLANKOKAY:"))?;
    let (inner, after) = rest.split_once('#')?;
    let mut parts = inner.split(':');
    let (table, key, column) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some((Word::Cell { table, key, column }, after))
}

/// The file of `#INCLUDE:file#`.
fn included(line: &str) -> Option<&str> {
    line.strip_prefix("#INCLUDE:")?.strip_suffix('#')
}

/// The length of `$(…)`, `$((…))` or `${…}` at the start of a text, if nothing in it could end it elsewhere.
fn expansion(text: &str) -> Option<usize> {
    let close = match text.get(..2)? {
        "$(" => ')',
        "${" => '}',
        _ => return None,
    };
    plain_until(text, 2, close)
}

/// The same of a command in backquotes.
fn substitution(text: &str) -> Option<usize> {
    plain_until(text, 1, '`')
}

fn plain_until(text: &str, from: usize, close: char) -> Option<usize> {
    let inner = text.get(from..)?;
    let end = inner.find(close)?;
    let inside = inner.get(..end)?;
    let odd = inside.contains(['\'', '"', '`', '\\', '(', '{', '#', '<', '$']);
    (!odd).then_some(from + end + close.len_utf8())
}

/// The delimiter of a here document, `text` beginning with `<<`; `None` for one that is put together of
/// parts.
fn delimiter(text: &str) -> Option<Delimiter> {
    let rest = text.strip_prefix("<<")?;
    let bare = rest.strip_prefix('-');
    let after_tabs = bare.is_some();
    let rest = bare.unwrap_or(rest).trim_start_matches([' ', '\t']);
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let (word, after) = match quote {
        Some(quote) => rest.get(1..)?.split_once(quote)?,
        None => rest.split_at(rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len())),
    };
    let ends = after.chars().next().is_none_or(|c| c.is_whitespace() || ";&|<>)".contains(c));
    (ends && !word.is_empty() && word.chars().all(is_of_word))
        .then(|| Delimiter { word: word.to_owned(), after_tabs })
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// For fuzzing: any text as a template, with a value that a shell would act on. The script is bounded, and
/// the value follows its own quote or is in a comment.
pub fn fuzz(bytes: &[u8]) {
    /// A text that no template contains.
    const VALUE: &str = "\u{1}Zq$(id)'\"`;\n";
    struct Hostile;
    impl Source for Hostile {
        fn value(&mut self, word: &Word<'_>) -> Option<String> {
            (!matches!(word, Word::Variable(name) if name.starts_with('U'))).then(|| VALUE.to_owned())
        }

        fn block(&mut self, _: Block) -> Vec<Item> {
            vec![Item::Export("BLOCK".to_owned(), VALUE.to_owned()), Item::Line("script".to_owned())]
        }

        fn include(&mut self, file: &str) -> Option<String> {
            Some(format!("A=$NODE\n#INCLUDE:{file}#\n{file}"))
        }
    }
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    while text.contains("Zq") {
        text = text.replace("Zq", "");
    }
    let lines = render(&text, &mut Hostile);
    let length: usize = lines.iter().map(String::len).sum();
    assert!(length <= OUTPUT_BYTES_MAX + (text.len() + VALUE.len()) * 4 * VALUE.len(), "bounded");
    for line in lines {
        // The control character before the mark has become a blank.
        let mut at = line.match_indices(" Zq").map(|(at, _)| line.get(..at).unwrap_or_default());
        assert!(at.all(|before| before.ends_with('\'') || before.contains('#')), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Values that a shell must not act on.
    const EVIL: &str = "a'b\"c`touch pwned`$(touch pwned)\\; touch pwned #\ntouch pwned";

    struct Fixed(&'static str);

    impl Source for Fixed {
        fn value(&mut self, word: &Word<'_>) -> Option<String> {
            match word {
                Word::Variable("NODE") => Some("cn1".to_owned()),
                Word::Variable("EVIL") | Word::Cell { .. } => Some(self.0.to_owned()),
                Word::Variable("ZONENAME") => Some("z".to_owned()),
                Word::Variable(_) => None,
                Word::Address => Some("10.0.0.1".to_owned()),
                Word::MasterAddress => Some("10.0.0.254".to_owned()),
            }
        }

        fn block(&mut self, block: Block) -> Vec<Item> {
            match block {
                Block::Postscripts => vec![Item::Line("syslog".to_owned())],
                _ => vec![Item::Export("BLOCK".to_owned(), self.0.to_owned())],
            }
        }

        fn include(&mut self, file: &str) -> Option<String> {
            (file == "own").then(|| "INCLUDED=$NODE\n#INCLUDE:own#".to_owned())
        }
    }

    #[test]
    fn words_become_values() {
        for (template, script) in [
            ("NODE=$NODE\nexport NODE", "NODE='cn1'\nexport NODE"),
            ("## dropped\n# kept", "# kept"),
            ("OS=#TABLE:nodetype:$NODE:os#", "OS='v'"),
            ("OS=\"x #TABLEBLANKOKAY:nodetype:THISNODE:os# y\"", "OS=\"x \"'v'\" y\""),
            ("OS='x #TABLE:nodetype:$NODE:os#'", "OS='x ''v'''"),
            ("A=#IPADDR#;B=#MASTER_IP_ADDR#", "A='10.0.0.1';B='10.0.0.254'"),
            ("echo $HOME ${NODE} $1 $# '$NODE'", "echo $HOME ${NODE} $1 $# '$NODE'"),
            ("#COMMAND:id# #ENV:PATH# #TABLE:a:b#", "#COMMAND:id# #ENV:PATH# #TABLE:a:b#"),
            ("tabdump(networks)", "BLOCK='v'\nexport BLOCK"),
            ("tabdump(passwd)", "tabdump(passwd)"),
            (
                "# postscripts-start-here\n#INCLUDE_POSTSCRIPTS_LIST#\n# postscripts-end-here",
                "# postscripts-start-here\nsyslog\n# postscripts-end-here",
            ),
            ("export ENABLESSHBETWEENNODES", "export ENABLESSHBETWEENNODES\nZONENAME='z'\nexport ZONENAME"),
            (
                "export ENABLESSHBETWEENNODES\nZONENAME=$ZONENAME",
                "export ENABLESSHBETWEENNODES\nZONENAME='z'",
            ),
            (
                "#INCLUDE:other#\n#INCLUDE:own#",
                "INCLUDED='cn1'\nINCLUDED='cn1'\nINCLUDED='cn1'\nINCLUDED='cn1'",
            ),
            ("cat <<EOF\n#TABLE:a:b:c# $NODE\nEOF\nX=$NODE", "cat <<EOF\nv cn1\nEOF\nX='cn1'"),
            ("D=$(date) N=`uname` X=$NODE", "D=$(date) N=`uname` X='cn1'"),
            ("A=\\$NODE", "A=\\"),
        ] {
            assert_eq!(render(template, &mut Fixed("v")).join("\n"), script, "{template}");
        }
    }

    /// Real shells read the scripts: nothing of a value is carried out.
    #[test]
    fn a_value_is_never_a_command() {
        let templates = [
            "A=$EVIL",
            "A=\"x $EVIL y\"",
            "A='x'$EVIL'y'",
            "A='x #TABLE:a:b:c# y'",
            "A=\"$(echo \"$EVIL\")\"",
            "A=`echo \"$EVIL\"`",
            "A=`echo $EVIL`",
            "A=$(echo $EVIL)",
            "A=${B:-$EVIL}",
            "A=\"${B:-\"$EVIL\"}\"",
            "A=\\$EVIL",
            "A=\"\\#TABLE:a:b:c#\"",
            "A=$#TABLE:a:b:c#",
            "A=$'x#TABLE:a:b:c#'",
            "cat <<EOF >/dev/null\n$EVIL\n#TABLE:a:b:c#\ntabdump(networks)\nEOF\nA=$EVIL",
            "cat <<'EOF' >/dev/null\n$EVIL\nEOF\nA=$EVIL",
            "cat <<-EOF >/dev/null\n\t$EVIL\n\tEOF\nA=$EVIL",
            "cat <<A <<B >/dev/null\n$EVIL\nA\n$EVIL\nB",
            "cat << \"E O\" >/dev/null\n$EVIL\nE O",
            "# it's a comment $EVIL\nA=$EVIL",
            "A=x# \"it\"$EVIL",
            "A=\"two\nlines $EVIL\"\nB=$EVIL",
            "A=\"tab\ntabdump(networks)\n\"",
            "A='tab\ntabdump(networks)\n'",
            "A=x\\\n#' $EVIL '",
            "A=x \\\n#' \nB=$EVIL",
            "echo '\\'$EVIL >/dev/null",
            "echo \"\\\"$EVIL\" >/dev/null",
            "echo \\\\$EVIL >/dev/null",
            "cat <<< $EVIL >/dev/null",
            "case x in x) A=$EVIL;; esac",
            "A=$((1 + 2)) B=$EVIL",
            "eval_not=$NODE$EVIL",
            "A=\"`echo '#TABLE:a:b:c#'`\"",
            "A=$(cat <<X\n$EVIL\nX\n)",
            "cat <<EOF >/dev/null\n\tEOF\n$EVIL\nEOF",
            "cat <<E\"O\"F >/dev/null\nE\n$EVIL\nEOF",
            "cat <<\\EOF >/dev/null\n$EVIL\nEOF",
            "eval A=$EVIL",
            "sh -c \"A=$EVIL\"",
            "# end \\\n# x $EVIL",
        ];
        for shell in ["sh", "bash"] {
            for template in templates {
                for value in
                    [EVIL, "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "\"; touch pwned; \""]
                {
                    let script = match value == EVIL {
                        true => render(template, &mut Fixed(EVIL)),
                        false => render(template, &mut Fixed(Box::leak(value.to_owned().into_boxed_str()))),
                    };
                    let dir = tempfile::tempdir().unwrap();
                    let mut command = Command::new(shell);
                    command.arg("-c").arg(script.join("\n")).current_dir(dir.path());
                    command.output().unwrap();
                    assert!(!dir.path().join("pwned").exists(), "{shell}: {template:?}: {script:#?}");
                }
            }
        }
    }

    #[test]
    fn what_the_fuzzer_asks_holds() {
        for template in
            ["A=$A\n#INCLUDE:x#\n", "tabdump(networks)", "'\n$A\n\"$A\n", "x#$A #$A\\\n$A", "`$A`\n$A"]
        {
            fuzz(template.as_bytes());
        }
    }

    #[test]
    fn a_template_is_bounded() {
        let mut source = Fixed("v");
        assert!(render(&"#INCLUDE:own#\n".repeat(10_000), &mut source).len() <= INCLUDES_MAX);
        let long = format!("{}\n", "x".repeat(1 << 20)).repeat(64);
        let bytes: usize = render(&long, &mut source).iter().map(String::len).sum();
        assert!(bytes <= OUTPUT_BYTES_MAX + (2 << 20), "{bytes}");
    }
}
