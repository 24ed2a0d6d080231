//! Lines of nodes: each is found again with its node, and the difference of two texts leads from one to the
//! other.
#![no_main]

use dawn_remote::collate::{Separator, by_node, diff::diff, fold, gathered, groups};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let nodes = by_node(&text, Separator::Colon);
    let lines: usize = nodes.values().map(|text| text.lines().count()).sum();
    assert_eq!(lines, text.lines().count());
    let strict = by_node(&text, Separator::ColonBlank);
    assert!(strict.values().all(|text| text.ends_with('\n')));
    let outputs = || nodes.iter().map(|(node, text)| (*node, text.as_str()));
    let groups = groups(outputs());
    assert_eq!(groups.iter().map(|group| group.nodes.len()).sum::<usize>(), nodes.len());
    groups.iter().for_each(|group| drop(fold(&group.nodes)));
    gathered(outputs());
    if let [a, b, ..] = groups.as_slice()
        && let Some(lines) = diff(a.text, b.text)
    {
        let count = |sign| lines.iter().filter(|line| line.starts_with(sign)).count();
        assert_eq!(a.text.lines().count() + count('+'), b.text.lines().count() + count('-'));
    }
});
