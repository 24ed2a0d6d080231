//! Template values: a cell that says how to compute itself from the node's name.
//!
//! ```text
//! /re/text/     the first match of re in the name is replaced by text, unchanged
//! |re|text|     the same, but each outermost ( … ) of text is an expression over $1, $2, …
//! |text|        the same with a pattern that captures the numbers in the name
//! ```
//!
//! Everything else is literal. Expressions are evaluated by [`expr`], a calculator of ours: no cell is ever
//! executed, no input makes it loop, and an invalid expression gives an empty piece. A
//! pattern that is not a valid regular expression makes the attribute "not set" ([`check`] says why). Regular
//! expressions run in linear time; there are no look-arounds and back references.

use crate::names::excerpt;
use crate::row::Text;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

mod expr;
mod sprintf;
mod value;

use expr::Expr;
use value::ExprError;

/// Compiled templates remembered at most. A cluster has dozens.
const CACHE_MAX: usize = 4096;
/// Memory of one compiled pattern at most, bytes.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;
/// Regular expressions remembered at most: a request has few, and each has [`REGEX_BYTES_MAX`] at most.
const REGEXES_KEPT_MAX: usize = 16;
/// Length of a regular expression that is remembered, bytes.
const REGEX_KEPT_BYTES_MAX: usize = 4096;
/// Length of a value that is considered a template, bytes.
const TEMPLATE_BYTES_MAX: usize = 16 << 10;
/// Captures that a check of an expression has values for.
const CAPTURES_TRIED: usize = 9;
/// Length of a result, bytes.
pub(crate) const RESULT_BYTES_MAX: usize = 64 << 10;

/// Why a template cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The pattern does not compile.
    #[error("the pattern of the template is not valid: {0}")]
    Pattern(PatternError),
    /// An expression cannot be read.
    #[error("the expression ({}) of the template cannot be read: {reason}", excerpt(expression))]
    Expression {
        /// The expression.
        expression: Box<str>,
        /// What is wrong.
        reason: ExprError,
    },
    /// A parenthesis is opened and not closed.
    #[error("a parenthesis of the template is not closed")]
    Parenthesis,
    /// A value longer than [`TEMPLATE_BYTES_MAX`].
    #[error("a template may have {TEMPLATE_BYTES_MAX} bytes at most, this one has {0}")]
    TooLong(usize),
}

/// The three forms.
enum Form<'a> {
    Literal,
    Substitute { re: &'a str, text: &'a str },
    Compute { re: Option<&'a str>, text: &'a str },
}

fn form(value: &str) -> Form<'_> {
    let between = |c: char| value.strip_prefix(c).and_then(|v| v.strip_suffix(c));
    if let Some(inner) = between('/') {
        return match inner.split_once('/') {
            Some((re, text)) if !text.contains('/') => Form::Substitute { re, text },
            _ => Form::Literal,
        };
    }
    match between('|') {
        None => Form::Literal,
        Some(inner) => match inner.split_once('|') {
            Some((re, text)) => Form::Compute { re: Some(re), text },
            None => Form::Compute { re: None, text: inner },
        },
    }
}

/// The value is one of the template forms.
pub fn is_template(value: &str) -> bool {
    !matches!(form(value), Form::Literal)
}

/// What the value is for the node of that name. An empty result means "not set".
pub fn expand<'a>(value: &'a str, name: &str) -> Result<Cow<'a, str>, TemplateError> {
    match Template::compile(value)? {
        None => Ok(Cow::Borrowed(value)),
        Some(template) => Ok(Cow::Owned(template.apply(name))),
    }
}

/// The value of a single expression, for its fuzz target.
pub(crate) fn evaluate(text: &str, captures: &[&str]) -> Result<String, ExprError> {
    Expr::parse(text)?.value(captures).map(|value| value.text())
}

/// Says why a value that looks like a template cannot work for any name.
pub fn check(value: &str) -> Result<(), TemplateError> {
    match Template::compile(value)? {
        Some(template) => template.replacement.check(),
        None => Ok(()),
    }
}

/// A compiled template.
#[derive(Debug)]
struct Template {
    /// `None`: the generated pattern, which always covers the whole name.
    re: Option<Regex>,
    replacement: Replacement,
}

/// What takes the place of the match.
#[derive(Debug)]
struct Replacement {
    pieces: Vec<Piece>,
    /// What follows the last expression.
    end: Box<str>,
    /// The end has a parenthesis that is not closed.
    open: bool,
}

/// A text and the expression whose value follows it.
#[derive(Debug)]
struct Piece {
    before: Box<str>,
    expression: Box<str>,
    /// One that cannot be read gives nothing.
    read: Result<Expr, ExprError>,
}

impl Template {
    /// `None` for a literal.
    fn compile(value: &str) -> Result<Option<Self>, TemplateError> {
        let (re, text, computes) = match form(value) {
            Form::Literal => return Ok(None),
            Form::Substitute { re, text } => (Some(re), text, false),
            Form::Compute { re, text } => (re, text, true),
        };
        if value.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong(value.len()));
        }
        let compile = |re: &str| linear_regex(re).map_err(TemplateError::Pattern);
        let replacement = if computes { Replacement::read(text) } else { Replacement::literal(text) };
        Ok(Some(Self { re: re.map(compile).transpose()?, replacement }))
    }

    fn apply(&self, name: &str) -> String {
        let mut text = String::new();
        let Some(re) = &self.re else {
            self.replacement.write_to(&mut text, &numbers_of(name));
            return text;
        };
        let Some(found) = re.captures(name) else { return name.to_owned() };
        let captures: Vec<&str> = found.iter().skip(1).map(|c| c.map_or("", |m| m.as_str())).collect();
        let (start, end) = found.get(0).map_or((0, 0), |whole| (whole.start(), whole.end()));
        text.push_str(name.get(..start).unwrap_or(""));
        self.replacement.write_to(&mut text, &captures);
        text.push_str(name.get(end..).unwrap_or(""));
        text
    }
}

impl Replacement {
    fn literal(text: &str) -> Self {
        Self { pieces: Vec::new(), end: text.into(), open: false }
    }

    /// Reads every outermost parenthesis as an expression.
    fn read(text: &str) -> Self {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, inside, after)) = first_group(rest) {
            pieces.push(Piece {
                before: before.into(),
                expression: inside.into(),
                read: Expr::parse(inside),
            });
            rest = after;
        }
        Self { pieces, end: rest.into(), open: rest.contains('(') }
    }

    /// Evaluates every expression once. What depends on the captures (a division by zero) is left to the
    /// name.
    fn check(&self) -> Result<(), TemplateError> {
        for Piece { expression, read, .. } in &self.pieces {
            let value =
                read.as_ref().map_err(Clone::clone).and_then(|expr| expr.value(&["1"; CAPTURES_TRIED]));
            match value {
                Ok(_) | Err(ExprError::DivisionByZero | ExprError::Overflow) => {}
                Err(reason) => {
                    return Err(TemplateError::Expression { expression: expression.clone(), reason });
                }
            }
        }
        if self.open { Err(TemplateError::Parenthesis) } else { Ok(()) }
    }

    fn write_to(&self, text: &mut String, captures: &[&str]) {
        for piece in &self.pieces {
            text.push_str(&piece.before);
            if let Some(value) = piece.read.as_ref().ok().and_then(|expr| expr.value(captures).ok()) {
                value.write_to(text);
            }
            if text.len() > RESULT_BYTES_MAX {
                return;
            }
        }
        text.push_str(&self.end);
    }
}

/// Why a regular expression does not compile: the compiler's reason, without the pattern.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", without_pattern(.0))]
pub struct PatternError(regex::Error);

/// The compiler's error is a text or a number.
impl Eq for PatternError {}

/// The last line of what the compiler says: those before it repeat the pattern.
fn without_pattern(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The expressions that were compiled last, newest at the end, with what came of each. To compile one takes
/// up to a tenth of a second, and a request may have the same one for each of its items.
static NEWEST: Mutex<VecDeque<(Box<str>, Compiled)>> = Mutex::new(VecDeque::new());

type Compiled = Result<Regex, PatternError>;

/// A pattern compiled with this program's memory limit.
pub(crate) fn linear_regex(re: &str) -> Compiled {
    let newest = || NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = newest().iter().find(|(text, _)| **text == *re) {
        return known.clone();
    }
    let compiled = compile(re);
    if re.len() <= REGEX_KEPT_BYTES_MAX {
        let mut newest = newest();
        if newest.len() >= REGEXES_KEPT_MAX {
            newest.pop_front();
        }
        newest.push_back((re.into(), compiled.clone()));
    }
    compiled
}

fn compile(re: &str) -> Compiled {
    let mut builder = RegexBuilder::new(re);
    let compiled =
        builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).nest_limit(100).build();
    compiled.map_err(PatternError)
}

/// Splits at the first outermost balanced parenthesis: before, inside, after.
fn first_group(text: &str) -> Option<(&str, &str, &str)> {
    let open = text.find('(')?;
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((text.get(..open)?, text.get(open + 1..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// The numbers in a name without their leading zeros: what the generated pattern captures.
///
/// It is `[\D0]*(\d+)` once per number: zeros count as text before a number, so a zero run is a separate
/// number (`0`) only if no other number follows it.
fn numbers_of(name: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = name;
    while let Some(start) = rest.find(|c: char| matches!(c, '1'..='9')) {
        let (_, tail) = rest.split_at(start);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, after) = tail.split_at(end);
        found.push(number);
        rest = after;
    }
    if rest.contains('0') {
        found.push("0");
    }
    found
}

/// Compiled templates by their text, shared by all snapshots of a model.
#[derive(Debug, Default)]
pub(crate) struct TemplateCache {
    known: RwLock<HashMap<Text, Option<Arc<Template>>>>,
}

impl TemplateCache {
    /// Like [`expand`]; a template that cannot work gives an empty text.
    pub(crate) fn expand(&self, value: &Text, name: &str) -> Text {
        if !is_template(value) {
            return value.clone();
        }
        match self.compiled(value) {
            Some(template) => template.apply(name).into(),
            None => "".into(),
        }
    }

    fn compiled(&self, value: &Text) -> Option<Arc<Template>> {
        if let Some(known) = self.known.read().ok().and_then(|k| k.get(value).cloned()) {
            return known;
        }
        let compiled = Template::compile(value).ok().flatten().map(Arc::new);
        if let Ok(mut known) = self.known.write() {
            if known.len() >= CACHE_MAX {
                known.clear();
            }
            known.insert(value.clone(), compiled.clone());
        }
        compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_names() {
        for (value, name, expect) in [
            (r"/\z/-bmc/", "n12", "n12-bmc"),
            (r"|n(\d+)|10.0.0.($1+100)|", "n12", "10.0.0.112"),
            ("|10.0.0.($1+1)|", "n12", "10.0.0.13"),
            (r"|n(\d+)|mpa(($1-1)/14+1)|", "n12", "mpa1"),
            (r"|n(\d+)|mpa(($1-1)/14+1)|", "n15", "mpa2"),
            (r"|\D+(\d+)\D+(\d+)|10.0.0.(($1-1)*20+$2)|", "rack03unit14", "10.0.0.54"),
            ("|10.($1).0.($2)|", "rack3unit14", "10.3.0.14"),
            ("|10.0.0.($1)-ib|", "n1a", "10.0.0.1-ib"),
            (r"|a(\d+)b(\d+)|($2)($1)|", "a1b2", "21"),
            ("|^.*$||", "n12", ""),
            // Without a parenthesis nothing is interpolated.
            (r"|n(\d+)|10.0.0.$1|", "n12", "10.0.0.$1"),
            (r"/n(\d+)/x$1/", "n12", "x$1"),
            // Ordinary paths; the two-slash one is a template.
            ("/x/y", "n12", "/x/y"),
            ("/x/y/z/", "n12", "/x/y/z/"),
            ("/a/b/", "cat", "cbt"),
            ("/a/b/", "n12", "n12"),
            // The captured text keeps its zeros, the generated pattern drops them.
            (r"|n(\d+)|($1)|", "n012", "012"),
            (r"|n(\d+)|($1+0)|", "n012", "12"),
            ("|($1)|", "n012", "12"),
            ("|($1)|", "a0b2", "2"),
            ("|($1)|", "n00", "0"),
            ("|($1)|", "n0x", "0"),
            ("|x($1)($2)|", "none", "x"),
            // Parts outside the match stay and are not read as code.
            (r"|n(\d+)|m($1)|", "n12-x", "m12-x"),
            ("|nomatch|x($1)|", "n12", "n12"),
            // Broken ones.
            ("|n(\\d+|($1)|", "n12", "!"),
            (r"|n(\d+)|x(1/0)y|", "n12", "xy"),
            (r"|n(\d+)|x(|", "n12", "x("),
            (r"|n(\d+)|(sprintf('%03d',$1))|", "n7", "007"),
            ("|", "n1", "|"),
            ("||", "n1", ""),
            ("/", "n1", "/"),
            ("", "n1", ""),
        ] {
            let got = expand(value, name).map_or("!".into(), Cow::into_owned);
            assert_eq!(got, expect, "{value} of {name}");
        }
    }

    #[test]
    fn what_cannot_work_for_any_name() {
        for (value, reason) in [
            (r"|n(\d+|10.0.0.($1)|", Some("unclosed group")),
            (r"|n(\d+)|10.0.0.($1|", Some("a parenthesis")),
            (r"|n(\d+)|10.0.0.($1+)|", Some("($1+)")),
            (r"|n(\d+)|(system('x'))|", Some("cannot be read")),
            (r"/n[/x/", Some("not valid")),
            (r"|n(\d+)|x(1/($1-1))|", None),
            (r"|n(\d+)|10.0.0.($1+100)|", None),
            ("|^.*$||", None),
            ("plain(", None),
            ("/a/b/", None),
        ] {
            let found = check(value).map_err(|error| error.to_string());
            match reason {
                Some(reason) => {
                    assert!(found.as_ref().is_err_and(|text| text.contains(reason)), "{value}: {found:?}")
                }
                None => assert_eq!(found, Ok(()), "{value}"),
            }
        }
    }

    /// The same expression is not compiled again; the cache is bounded.
    #[test]
    fn an_expression_is_compiled_once() {
        let costly = r"(\w{100}){10}";
        let first = linear_regex(costly).expect_err("too large");
        for _ in 0..1000 {
            assert_eq!(linear_regex(costly).as_ref().err(), Some(&first));
        }
        let kept = NEWEST.lock().unwrap().iter().filter(|(text, _)| **text == *costly).count();
        assert!(kept <= 1, "{kept} times");
        for number in 0..100 {
            assert!(
                linear_regex(&format!("kept{number}")).is_ok_and(|re| re.is_match(&format!("kept{number}")))
            );
        }
        assert!(NEWEST.lock().unwrap().len() <= REGEXES_KEPT_MAX);
    }

    #[test]
    fn the_cache_says_the_same() {
        let cache = TemplateCache::default();
        let value: Text = "|10.0.0.($1+1)|".into();
        for n in 1..200 {
            assert_eq!(&*cache.expand(&value, &format!("n{n}")), format!("10.0.0.{}", n + 1));
        }
        assert_eq!(&*cache.expand(&"|n(|x|".into(), "n1"), "");
    }

    proptest! {
        #[test]
        fn never_panics(value in r"[|/]?[a-z0-9$()+*/%|.\\'-]{0,60}[|/]?", name in ".{0,20}") {
            let _ = expand(&value, &name);
        }

        /// The numbers are those that the pattern of the specification captures.
        #[test]
        fn numbers_as_the_pattern_says(name in "[a-c0-3]{0,12}") {
            let found = numbers_of(&name);
            let k = found.len();
            let re = Regex::new(&format!("^{}.*$", r"[\D0]*(\d+)".repeat(k))).unwrap();
            let captures = re.captures(&name).unwrap();
            let expect: Vec<&str> = captures.iter().skip(1).map(|c| c.unwrap().as_str()).collect();
            prop_assert_eq!(found, expect);
        }
    }
}
