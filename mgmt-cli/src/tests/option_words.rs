//! Option words in all spellings, as the commands that take them read them.

use clap::Command;
use dawn_bootd::command::options::{ask_for_version, in_full};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn command(name: &str) -> Command {
    (crate::registry::registry().find(name).expect("a command").clap)()
}

#[test]
fn options_are_spelled_in_full() {
    for (name, line, full) in [
        ("tabdump", "-version", "--version"),
        ("tabdump", "-help", "--help"),
        ("tabdump", "-?", "--help"),
        ("tabdump", "--ver", "--version"),
        ("tabdump", "--he --js site", "--help --json site"),
        ("tabdump", "-json site", "--json site"),
        ("tabdump", "-f --js site", "-f --js site"),
        ("tabdump", "-- --js", "-- --js"),
        ("tabdump", "--nope -n5 -w key==a", "--nope -n5 -w key==a"),
        ("lsdef", "-lsS --verb --temp=x", "-lsS --verbose --template=x"),
        // A letter that takes a value gets the rest of the word, even if a long option is spelled the same.
        ("lsdef", "-template", "-template"),
        ("lsdef", "-osimage", "-osimage"),
        ("mkdef", "cn1 --temp cn2 --dry", "cn1 --template cn2 --dry-run"),
        ("nodels", "--with", "--with-fieldname"),
        ("imgexport", "--version", "--version"),
        // -v, then -e with its value.
        ("imgexport", "-version", "-version"),
    ] {
        assert_eq!(in_full(&command(name), &words(line)), words(full), "{name} {line}");
    }
}

#[test]
fn the_version_is_asked_for_in_many_ways() {
    for (name, line, asked) in [
        ("nodeset", "-v", true),
        ("nodeset", "cn1 --version", true),
        ("nodels", "-Vv", true),
        ("tabdump", "-f -v", false),
        ("tabdump", "-- -v", false),
        ("imgexport", "-v", false),
        ("imgexport", "--version", true),
        ("lsxcatd", "-v", false),
        ("lsdef", "-tv", false),
    ] {
        assert_eq!(ask_for_version(&command(name), &words(line)), asked, "{name} {line}");
    }
}
