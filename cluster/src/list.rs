//! Cells that are lists: elements between delimiters, nearly always commas. Empty elements count for nothing.

/// The elements of a comma list, without blanks around them.
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

/// The steps of a chain (`chain.chain`, `chain.currchain`): between commas or semicolons.
pub fn steps(chain: &str) -> impl Iterator<Item = &str> {
    chain.split([',', ';']).map(str::trim).filter(|step| !step.is_empty())
}

/// Adds the elements of `more`, present ones left out, at the end.
pub fn add(list: &str, more: &str, delimiter: &str) -> String {
    let mut items: Vec<&str> = Vec::new();
    for item in list.split(delimiter).chain(more.split(delimiter)) {
        if !item.is_empty() && !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(delimiter)
}

/// Adds the elements of `more` to a comma list one by one at the front, present ones left out.
pub fn add_front(list: &str, more: &str) -> String {
    let mut items: Vec<&str> = list.split(',').filter(|item| !item.is_empty()).collect();
    for item in more.split(',').filter(|item| !item.is_empty()) {
        if !items.contains(&item) {
            items.insert(0, item);
        }
    }
    items.join(",")
}

/// The list without the elements of `less`.
pub fn remove(list: &str, less: &str, delimiter: &str) -> String {
    let gone: Vec<&str> = less.split(delimiter).collect();
    let kept = list.split(delimiter).filter(|item| !item.is_empty() && !gone.contains(item));
    kept.collect::<Vec<_>>().join(delimiter)
}

/// The elements of `wanted` that are not in the list.
pub fn missing<'a>(list: &str, wanted: &'a str, delimiter: &str) -> Vec<&'a str> {
    let known: Vec<&str> = list.split(delimiter).collect();
    wanted.split(delimiter).filter(|item| !item.is_empty() && !known.contains(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(elements(" a, ,b,").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(steps(" a=1 ;b,, c").collect::<Vec<_>>(), ["a=1", "b", "c"]);
        assert_eq!(add("a,b", "b,c", ","), "a,b,c");
        assert_eq!(add("a==1::b", "b::c", "::"), "a==1::b::c");
        assert_eq!(add_front("x", "a,b"), "b,a,x");
        assert_eq!(remove("a,b,c", "a,c", ","), "b");
        assert_eq!(missing("a,b", "b,,c", ","), ["c"]);
    }
}
