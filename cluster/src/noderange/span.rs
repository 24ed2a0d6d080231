//! Ranges of names: `n1-n10`, `rack01u1-rack03u1`, `f[1-2]n[1-3]`, `n1+4`.
//!
//! Both ends are cut into runs of digits and of other characters; one run of digits may differ. A left number
//! with leading zeros keeps its width. What does not have the form of a range is `None` and is an ordinary
//! (unknown) name.

use super::NoderangeError;

/// Brackets in one name at most; each multiplies the names.
const BRACKETS_MAX: usize = 16;

/// A range of names: text, numbers from first to last at least `width` digits wide, text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span<'a> {
    before: &'a str,
    /// `None`: both ends are the same name.
    numbers: Option<(u64, u64, usize)>,
    after: &'a str,
}

impl Span<'_> {
    pub(super) fn len(&self) -> usize {
        let count = self.numbers.map_or(0, |(first, last, _)| last - first);
        usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        let (first, last, width) = self.numbers.unwrap_or((0, 0, 0));
        let fixed = self.numbers.is_none();
        (first..=last).map(move |n| match fixed {
            true => self.before.to_owned(),
            false => format!("{}{n:0width$}{}", self.before, self.after),
        })
    }
}

/// Reads `left-right` or `left:right`.
pub(super) fn parse_span(atom: &str) -> Result<Option<Span<'_>>, NoderangeError> {
    let Some((left, right)) = split_ends(atom) else { return Ok(None) };
    between(left, right).map_err(|Descends| NoderangeError::Descending(atom.to_owned()))
}

/// The two ends: the middle one of an odd number of `-`, or the only `:`.
fn split_ends(atom: &str) -> Option<(&str, &str)> {
    let dashes: Vec<usize> = atom.match_indices('-').map(|(at, _)| at).collect();
    if dashes.len() % 2 == 1 {
        let middle = *dashes.get(dashes.len() / 2)?;
        return Some((atom.get(..middle)?, atom.get(middle + 1..)?));
    }
    let (left, right) =
        atom.split_once(':').filter(|(_, right)| dashes.is_empty() && !right.contains(':'))?;
    Some((left, right))
}

struct Descends;

/// Cuts into runs of digits and of other characters, as byte ranges.
fn runs(text: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut last = None;
    for (at, byte) in text.bytes().enumerate() {
        let is_digit = byte.is_ascii_digit();
        match found.last_mut().filter(|_| last == Some(is_digit)) {
            Some(run) => run.1 = at + 1,
            None => found.push((at, at + 1)),
        }
        last = Some(is_digit);
    }
    found
}

fn between<'a>(left: &'a str, right: &'a str) -> Result<Option<Span<'a>>, Descends> {
    let (a, b) = (runs(left), runs(right));
    if left.is_empty() || a.len() != b.len() {
        return Ok(None);
    }
    let text = |of: &'a str, run: &(usize, usize)| of.get(run.0..run.1).unwrap_or("");
    let mut differing = None;
    for (x, y) in a.iter().zip(&b) {
        let (from, to) = (text(left, x), text(right, y));
        if from == to {
            continue;
        }
        let digits =
            from.starts_with(|c: char| c.is_ascii_digit()) && to.starts_with(|c: char| c.is_ascii_digit());
        if !digits || differing.is_some() {
            return Ok(None);
        }
        differing = Some((*x, from, to));
    }
    let Some(((start, end), from, to)) = differing else {
        return Ok(Some(Span { before: left, numbers: None, after: "" }));
    };
    let Some(numbers) = numbers(from, to)? else { return Ok(None) };
    let (before, after) = (left.get(..start).unwrap_or(""), left.get(end..).unwrap_or(""));
    Ok(Some(Span { before, numbers: Some(numbers), after }))
}

/// First, last and width of a range of numbers; `None` if one does not fit 64 bits.
fn numbers(from: &str, to: &str) -> Result<Option<(u64, u64, usize)>, Descends> {
    let (Ok(first), Ok(last)) = (from.parse::<u64>(), to.parse::<u64>()) else { return Ok(None) };
    let padded = from.len() > 1 && from.starts_with('0');
    if first > last || (padded && from.len() > to.len()) {
        return Err(Descends);
    }
    Ok(Some((first, last, if padded { from.len() } else { 0 })))
}

/// Reads `name+N`: from the number at the end of the name (a `.domain` may follow it) to N more.
pub(super) fn parse_increment(atom: &str) -> Option<Span<'_>> {
    let (name, count) = atom.split_once('+')?;
    let count: u64 = count.parse().ok().filter(|_| is_number(count))?;
    let host_end = runs(name).iter().rev().map(|(_, end)| *end).find(|end| ends_number(name, *end))?;
    let digits = name.get(..host_end)?.bytes().rev().take_while(u8::is_ascii_digit).count();
    let number = name.get(host_end - digits..host_end)?;
    let first: u64 = number.parse().ok()?;
    let width = if number.starts_with('0') { digits } else { 0 };
    let (before, after) = (name.get(..host_end - digits)?, name.get(host_end..)?);
    Some(Span { before, numbers: Some((first, first.checked_add(count)?, width)), after })
}

/// A number ends there, and what follows is nothing or a domain.
fn ends_number(name: &str, end: usize) -> bool {
    let rest = name.get(end..).unwrap_or("");
    let number = name.get(..end).is_some_and(|head| head.ends_with(|c: char| c.is_ascii_digit()));
    number && (rest.is_empty() || (rest.starts_with('.') && rest.len() > 1))
}

/// Only digits, at least one.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The pieces of `name[1-3,7]x[a,b]`: texts and lists in turn. `None` if it is not such a name.
pub(super) fn parse_brackets(atom: &str) -> Result<Option<Brackets<'_>>, NoderangeError> {
    let mut pieces = Brackets { head: "", lists: Vec::new() };
    let Some((head, mut rest)) = atom.split_once('[').filter(|(head, _)| !head.is_empty()) else {
        return Ok(None);
    };
    pieces.head = head;
    loop {
        let (list, after) = rest.split_once(']').ok_or(NoderangeError::Bracket)?;
        let (text, next) = after.split_once('[').map_or((after, None), |(text, next)| (text, Some(next)));
        let items = list.split(',').filter(|i| !i.is_empty()).map(|item| parse_item(atom, item));
        pieces.lists.push((items.collect::<Result<_, _>>()?, text));
        match next {
            None => return Ok(Some(pieces)),
            Some(_) if pieces.lists.len() >= BRACKETS_MAX => {
                return Err(NoderangeError::TooDeep(atom.to_owned()));
            }
            Some(next) => rest = next,
        }
    }
}

fn parse_item<'a>(atom: &str, item: &'a str) -> Result<Item<'a>, NoderangeError> {
    let ends = item.split_once('-').or_else(|| item.split_once(':'));
    let Some((from, to)) = ends.filter(|(a, b)| is_number(a) && is_number(b)) else {
        return Ok(Item::Text(item));
    };
    let numbers = numbers(from, to).map_err(|Descends| NoderangeError::Descending(atom.to_owned()))?;
    Ok(numbers.map_or(Item::Text(item), |(first, last, width)| Item::Numbers(first, last, width)))
}

enum Item<'a> {
    Text(&'a str),
    Numbers(u64, u64, usize),
}

/// A name with lists in brackets.
pub(super) struct Brackets<'a> {
    head: &'a str,
    lists: Vec<(Vec<Item<'a>>, &'a str)>,
}

impl Brackets<'_> {
    /// How many names it expands to.
    pub(super) fn len(&self) -> usize {
        let count = |item: &Item<'_>| match item {
            Item::Text(_) => 1,
            Item::Numbers(first, last, _) => {
                usize::try_from(last - first).unwrap_or(usize::MAX).saturating_add(1)
            }
        };
        let list = |items: &[Item<'_>]| items.iter().map(count).fold(0usize, usize::saturating_add);
        self.lists.iter().map(|(items, _)| list(items)).fold(1, usize::saturating_mul)
    }

    /// The names; the caller has looked at [`len`](Self::len).
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = vec![self.head.to_owned()];
        for (items, text) in &self.lists {
            names =
                names.iter().flat_map(|name| items.iter().flat_map(move |i| i.texts(name, text))).collect();
        }
        names
    }
}

impl Item<'_> {
    fn texts(&self, before: &str, after: &str) -> Vec<String> {
        match self {
            Item::Text(text) => vec![format!("{before}{text}{after}")],
            Item::Numbers(first, last, width) => {
                (*first..=*last).map(|n| format!("{before}{n:0width$}{after}", width = *width)).collect()
            }
        }
    }
}
