//! Manual pages: what `clap` knows of a command, and the sections that it does not know.
//!
//! Pages are called `dawn-COMMAND.8`, as names like `log` or `init` belong to other programs. A test reads
//! the command line of each example with the command's own arguments.

use dawn_bootd::command::examples::examples;

/// Commands that are read about together: SEE ALSO names the others of each family.
const FAMILIES: &[&[&str]] = &[
    &[
        "init",
        "serve",
        "doctor",
        "links",
        "man",
        "completions",
        "complete",
        "xcatconfig",
        "setup-local-client.sh",
        "lsxcatd",
        "mysqlsetup",
        "pgsqlsetup",
    ],
    &[
        "xdsh",
        "psh",
        "xdcp",
        "updatenode",
        "pscp",
        "prsync",
        "xdshbak",
        "xdshcoll",
        "xcoll",
        "sinv",
        "pping",
        "ppping",
        "nodestat",
        "makeknownhosts",
    ],
    &["lsdef", "mkdef", "chdef", "rmdef", "explain"],
    &["nodels", "nodeadd", "nodech", "noderm", "nodepurge", "nodegrpch", "noderange"],
    &[
        "tabdump",
        "tabedit",
        "tabrestore",
        "tabgrep",
        "tabprune",
        "chtab",
        "tabch",
        "gettab",
        "dumpxCATdb",
        "restorexCATdb",
        "backup",
        "restore",
        "import",
    ],
    &["log", "undo", "regnotif", "unregnotif"],
    &["copycds", "genimage", "packimage", "rmimage", "imgexport", "imgimport", "imagedef"],
    &["litefile", "litetree", "ilitefile", "lslite", "liteimg"],
    &["nodeset", "explain", "render", "events", "wave", "leases", "makedhcp", "getdestiny", "nextdestiny"],
    &["makedhcp", "makehosts", "makedns", "makenetworks"],
    &[
        "mknb",
        "nbcreate",
        "discover",
        "nodediscoverstart",
        "nodediscoverstop",
        "nodediscoverstatus",
        "nodediscoverls",
        "nodediscoverdef",
        "inventory",
        "nodeset",
    ],
];

/// What an exit code says.
const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Everything was done."),
    (
        "1",
        "An error was reported; a command for many nodes or objects has done what it could for the others.",
    ),
    (
        "2 and more",
        "Errors that xCAT's commands have their own codes for; codes of several errors are joined bit by bit.",
    ),
];

/// Files of the client, then those of the daemon's data directory.
const FILES: &[(&str, &str)] = &[
    (
        "~/.xcat/client-cred.pem, ~/.xcat/ca.pem",
        "The user's certificate and key, and the authority of the cluster; made by dawn init.",
    ),
    ("DIR/dawn.sqlite", "The tables, in the data directory DIR of dawn init and dawn serve."),
    (
        "DIR/install, DIR/tftpboot",
        "Images and boot files, unless site.installdir and site.tftpdir name other directories.",
    ),
];

/// The file name of a command's page; the program's own without a command.
pub(crate) fn file_name(command: Option<&str>) -> String {
    command.map_or_else(|| "dawn.8".to_owned(), |name| format!("dawn-{name}.8"))
}

/// The page of a command, or the program's own, in roff(7); `None` if there is no such command.
///
/// # Errors
/// The renderer's, which writes to memory.
pub(crate) fn page(program: &clap::Command, name: Option<&str>) -> std::io::Result<Option<String>> {
    let Some(name) = name else { return render(program.clone(), "dawn").map(Some) };
    let Some(command) = program.find_subcommand(name).cloned() else { return Ok(None) };
    let command = command.bin_name(format!("dawn {name}")).display_name(format!("dawn-{name}"));
    Ok(Some(render(command, name)?))
}

fn render(command: clap::Command, name: &str) -> std::io::Result<String> {
    let title = command.get_display_name().unwrap_or(name).to_uppercase();
    let mut text = Vec::new();
    // Examples have a section here.
    let command = command.after_long_help(clap::builder::Resettable::Reset);
    clap_mangen::Man::new(command.clone()).title(title).section("8").render(&mut text)?;
    let mut page = with_values(&String::from_utf8_lossy(&text), &command);
    section(&mut page, "EXAMPLES", examples(name));
    section(&mut page, "EXIT STATUS", EXIT_STATUS.iter().copied());
    section(&mut page, "FILES", FILES.iter().copied());
    page.push_str(&format!(".SH \"SEE ALSO\"\n{}\n", see_also(name).join(", ")));
    Ok(page)
}

fn section<'a>(page: &mut String, title: &str, items: impl Iterator<Item = (&'a str, &'a str)>) {
    page.push_str(&format!(".SH \"{title}\"\n"));
    for (term, text) in items {
        page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(text)));
    }
}

/// The program's page first, then those of the command's families.
fn see_also(name: &str) -> Vec<String> {
    let mut names: Vec<&str> = FAMILIES
        .iter()
        .filter(|family| family.contains(&name))
        .flat_map(|family| family.iter().copied())
        .collect();
    if name == "dawn" {
        names = vec!["init", "serve", "mkdef", "nodeset", "genimage", "explain", "events"];
    }
    names.retain(|other| *other != name);
    let mut told: Vec<&str> = Vec::new();
    names.retain(|other| {
        let first = !told.contains(other);
        told.push(other);
        first
    });
    let pages = names.iter().map(|other| format!("\\fBdawn\\-{}\\fR(8)", escaped(other)));
    let own = (name != "dawn").then(|| "\\fBdawn\\fR(8)".to_owned());
    own.into_iter().chain(pages).collect()
}

/// Text that roff(7) prints as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The page with the values of options in its synopsis, where the renderer leaves them out.
fn with_values(page: &str, command: &clap::Command) -> String {
    let Some((head, (synopsis, rest))) =
        page.split_once(".SH SYNOPSIS\n").and_then(|(head, tail)| Some((head, tail.split_once(".SH ")?)))
    else {
        return page.to_owned();
    };
    let mut synopsis = synopsis.to_owned();
    for option in command.get_opts() {
        let values = option.get_value_names().filter(|_| option.get_action().takes_values());
        let Some(values) = values else { continue };
        let value = format!("\\fI{}\\fR", values.join(" ").replace('-', "\\-"));
        let (from, to) = match (option.get_short(), option.get_long()) {
            (_, Some(long)) => {
                let name = format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-"));
                (name.clone(), format!("{name} {value}"))
            }
            (Some(short), None) => (format!("\\fB\\-{short} \\fR"), format!("\\fB\\-{short}\\fR {value}")),
            (None, None) => continue,
        };
        synopsis = synopsis.replacen(&from, &to, 1);
    }
    format!("{head}.SH SYNOPSIS\n{synopsis}.SH {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> clap::Command {
        crate::registry::registry().program()
    }

    #[test]
    fn synopses_name_the_values_of_options() {
        let dawn = whole();
        for command in dawn.get_subcommands() {
            let text = page(&dawn, Some(command.get_name())).unwrap().unwrap();
            let synopsis = text.split(".SH ").find(|part| part.starts_with("SYNOPSIS")).unwrap();
            let options = command.get_opts().filter(|option| !option.is_hide_set());
            for option in options.filter(|option| option.get_action().takes_values()) {
                for value in option.get_value_names().unwrap_or_default() {
                    let value = format!("\\fI{}", value.replace('-', "\\-"));
                    assert!(synopsis.contains(&value), "{}: {value} in {synopsis}", command.get_name());
                }
            }
        }
    }

    #[test]
    fn every_page_has_all_sections_and_refers_to_pages_that_exist() {
        let dawn = whole();
        let names = dawn.get_subcommands().map(|command| Some(command.get_name()));
        for name in names.chain([None]) {
            let text = page(&dawn, name).unwrap().unwrap();
            for title in ["EXAMPLES", "EXIT STATUS", "FILES", "SEE ALSO"] {
                let (_, rest) = text.split_once(&format!(".SH \"{title}\"\n")).expect(title);
                let body = rest.split(".SH").next().unwrap();
                assert!(!body.trim().is_empty(), "{name:?}: {title}");
            }
            let (_, related) = text.split_once(".SH \"SEE ALSO\"\n").unwrap();
            for other in related.split("\\fBdawn\\-").skip(1) {
                let other = other.split("\\fR").next().unwrap().replace("\\-", "-");
                assert!(dawn.find_subcommand(&other).is_some(), "{name:?}: {other}");
            }
        }
        assert!(page(&dawn, Some("nosuch")).unwrap().is_none());
        let text = page(&dawn, Some("log")).unwrap().unwrap();
        assert!(text.contains(".TH DAWN\\-LOG 8") || text.contains(".TH DAWN-LOG 8"), "{text}");
    }

    /// An example that the command does not understand is worse than none.
    #[test]
    fn examples_are_command_lines() {
        let dawn = whole();
        for (name, line, text) in dawn_bootd::command::examples::all() {
            assert!(!text.is_empty() && !text.contains('\t'), "{line}");
            let line = line.split(['|', '<', '>']).next().unwrap();
            let words = crate::testbed::words(line);
            let words: Vec<&str> =
                words.iter().map(String::as_str).take_while(|word| *word != "&&").collect();
            assert_eq!(words.first(), Some(&"dawn"), "{line}");
            if name == "dawn" {
                continue;
            }
            assert_eq!(words.get(1), Some(&name), "{line}");
            let command = dawn.find_subcommand(name).expect(name).clone();
            let read = command.try_get_matches_from(words.iter().skip(1));
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
        }
    }
}
