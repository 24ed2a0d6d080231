//! Words that name columns on command lines: `table.column`, `groups`, `tags`, `mgt`, with an operator and
//! a value or without.

use dawn_cluster::{Col, TableId, schema};

/// Short names of the node commands.
const SHORT_NAMES: [(&str, &str); 3] =
    [("groups", "nodelist.groups"), ("tags", "nodelist.groups"), ("mgt", "nodehm.mgt")];

/// What a word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// One column.
    Column(Col),
    /// All columns of a table.
    Table(TableId),
}

/// A column by `table.column` or short name; the error is xCAT's text.
pub fn column(word: &str) -> Result<Col, String> {
    let dotted = SHORT_NAMES.iter().find(|(short, _)| *short == word).map_or(word, |(_, dotted)| dotted);
    schema().find_col(dotted).ok_or_else(|| format!("{word} not a valid table.column description"))
}

/// A column or a whole table.
pub fn item(word: &str) -> Result<Item, String> {
    match schema().find(word) {
        Some(table) => Ok(Item::Table(table.id)),
        None => column(word).map(Item::Column),
    }
}

/// Cuts `name<op>value` at the first of the operators (longer ones first where two begin at one place).
pub fn split_operator<'a>(
    word: &'a str,
    operators: &[&'static str],
) -> Option<(&'a str, &'static str, &'a str)> {
    let found = operators
        .iter()
        .filter_map(|operator| Some((word.find(operator)?, *operator)))
        .min_by_key(|(at, operator)| (*at, std::cmp::Reverse(operator.len())));
    let (at, operator) = found?;
    let (name, rest) = word.split_at(at);
    Some((name, operator, rest.strip_prefix(operator).unwrap_or_default()))
}

/// Adds the elements of `more` to a comma list, present ones left out; at the end of the list.
pub fn list_add(list: &str, more: &str) -> String {
    let mut items: Vec<&str> = Vec::new();
    for item in list.split(',').chain(more.split(',')) {
        if !item.is_empty() && !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(",")
}

/// Adds the elements of `more` one by one at the front of a comma list, present ones left out.
pub fn list_add_front(list: &str, more: &str) -> String {
    let mut items: Vec<&str> = list.split(',').filter(|item| !item.is_empty()).collect();
    for item in more.split(',').filter(|item| !item.is_empty()) {
        if !items.contains(&item) {
            items.insert(0, item);
        }
    }
    items.join(",")
}

/// Removes elements from a comma list.
pub fn list_remove(list: &str, less: &str) -> String {
    let less: Vec<&str> = less.split(',').collect();
    list.split(',').filter(|item| !item.is_empty() && !less.contains(item)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let operators = &["==", "!=", "=~", "!~", "=", ",=", "^="];
        for (word, expected) in [
            ("a.b=c=d", Some(("a.b", "=", "c=d"))),
            ("a.b==c", Some(("a.b", "==", "c"))),
            ("groups,=x", Some(("groups", ",=", "x"))),
            ("groups^=x", Some(("groups", "^=", "x"))),
            ("a.b!~/x/", Some(("a.b", "!~", "/x/"))),
            ("a.b", None),
        ] {
            assert_eq!(split_operator(word, operators), expected, "{word}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(list_add("a,b", "b,c"), "a,b,c");
        assert_eq!(list_add_front("x", "a,b"), "b,a,x");
        assert_eq!(list_remove("a,b,c", "a,c"), "b");
    }
}
