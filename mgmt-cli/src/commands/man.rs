//! `dawn man`: manual pages, from the same source as help.

use crate::app::{print, print_error, whole};
use crate::edits::{file_line, written};
use crate::environment::Environment;
use crate::frame::LocalCommand;
use std::path::{Path, PathBuf};

/// Write the manual pages into a directory, or print one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory for all pages; made if it is missing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Show which files would be written
    #[arg(long)]
    dry_run: bool,
    /// Command whose page is printed; the program's own without it
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "man";
    const WRITES: bool = true;

    fn run(self, _: &Environment) -> i32 {
        let result = match &self.dir {
            Some(directory) => write_all(directory, self.dry_run),
            None => show(self.command.as_deref()),
        };
        match result {
            Ok(()) => 0,
            Err(error) => {
                print_error(&error.to_string());
                1
            }
        }
    }
}

fn page(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).section("8").render(&mut text)?;
    Ok(with_values(&String::from_utf8_lossy(&text), &command).into_bytes())
}

/// The page with the values of options in its synopsis, where the renderer leaves them out.
fn with_values(page: &str, command: &clap::Command) -> String {
    let Some((head, (synopsis, rest))) = page
        .split_once(".SH SYNOPSIS\n")
        .and_then(|(head, tail)| Some((head, tail.split_once(".SH ")?)))
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

fn show(name: Option<&str>) -> std::io::Result<()> {
    let dawn = whole();
    let command = match name {
        Some(name) => dawn.find_subcommand(name).cloned(),
        None => Some(dawn.clone()),
    };
    let command = command.ok_or_else(|| std::io::Error::other("there is no such command"))?;
    print(&String::from_utf8_lossy(&page(command)?));
    Ok(())
}

fn write_all(directory: &Path, dry_run: bool) -> std::io::Result<()> {
    if !dry_run {
        std::fs::create_dir_all(directory)?;
    }
    let dawn = whole();
    for command in dawn.get_subcommands().chain([&dawn]) {
        let path = directory.join(format!("{}.8", command.get_name()));
        if dry_run {
            print(&format!("{}\n", file_line(written(&path), &path)));
        } else {
            std::fs::write(path, page(command.clone())?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synopses_name_the_values_of_options() {
        for command in whole().get_subcommands() {
            let text = String::from_utf8(page(command.clone()).unwrap()).unwrap();
            let synopsis = text.split(".SH ").find(|part| part.starts_with("SYNOPSIS")).unwrap();
            for option in command.get_opts().filter(|option| !option.is_hide_set() && option.get_action().takes_values()) {
                for value in option.get_value_names().unwrap_or_default() {
                    let value = format!("\\fI{}", value.replace('-', "\\-"));
                    assert!(synopsis.contains(&value), "{}: {value} in {synopsis}", command.get_name());
                }
            }
        }
    }
}
