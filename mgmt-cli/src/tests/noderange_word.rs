//! Which word of a command line is the noderange.

use dawn_bootd::command::split_noderange;

#[test]
fn noderange_is_the_first_word_without_dash() {
    let command = (crate::registry::registry().find("log").expect("log").clap)();
    let split = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let (noderange, rest) = split_noderange(&command, &words);
        format!("{} | {}", noderange.unwrap_or_default(), rest.join(" "))
    };
    for (line, expected) in [
        ("-V cn1 stat", "cn1 | -V stat"),
        ("-a", " | -a"),
        ("", " | "),
        ("-n 5 cn1", "cn1 | -n 5"),
        ("-n5 cn1", "cn1 | -n5"),
        ("-sn 5", " | -sn 5"),
        ("--count 5 cn1", "cn1 | --count 5"),
        ("--count=5 cn1", "cn1 | --count=5"),
    ] {
        assert_eq!(split(line), expected, "{line}");
    }
}
