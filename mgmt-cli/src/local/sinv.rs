//! `sinv`: nodes whose inventory differs from a template.

use super::LocalCommand;
use crate::builder::not_answered;
use crate::environment::Environment;
use crate::requests::request_for;
use dawn_bootd::command::{Registry, number, split_noderange};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_remote::collate::{Separator, by_node, groups};
use dawn_remote::sinv::{Found, Template, compare, template_text};
use dawn_xcatd::client::fetch;
use dawn_xcatd::render::{Stream, render};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Find nodes whose inventory differs
///
/// The command runs on all nodes, and the output of each is compared with templates. The first template is
/// the file TEMPLATE; if it does not exist, the output of the seed node becomes it. Output that matches none
/// becomes the template TEMPLATE_1, TEMPLATE_2, ..., as long as -t allows.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Template file
    #[arg(short = 'p', value_name = "TEMPLATE")]
    template: Option<PathBuf>,
    /// Write the report to a file
    #[arg(short = 'o', value_name = "REPORT")]
    output: Option<PathBuf>,
    /// Templates that may be made besides the first [default: 0]
    #[arg(short = 't', value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true,
        value_parser = number::at_least::<usize>(0))]
    count: usize,
    /// Remove the templates that were made
    #[arg(short = 'r')]
    remove: bool,
    /// Node whose output becomes the template [default: the first]
    #[arg(short = 's', value_name = "SEED")]
    seed: Option<String>,
    /// Output must be equal line for line, not only have all lines of the template
    #[arg(short = 'e')]
    exact: bool,
    /// Do not list the nodes that match the first template
    #[arg(short = 'i')]
    ignore_first: bool,
    /// Show the settings and the report on the terminal, too
    #[arg(short = 'V', id = "verbose")]
    verbose: bool,
    /// User on the nodes
    #[arg(short = 'l', value_name = "USER")]
    user: Option<String>,
    /// The command: xdsh or rinv with noderange and words
    #[arg(short = 'c', value_name = "COMMAND")]
    command: Option<String>,
    /// File with the command
    #[arg(short = 'f', value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// Show which files would be written without asking the nodes
    #[arg(long)]
    dry_run: bool,
}

impl LocalCommand for Args {
    const NAME: &'static str = "sinv";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        self.carry_out(environment, registry, out)
    }
}

impl Args {
    fn carry_out(&self, environment: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        let path =
            self.template.as_ref().ok_or_else(|| Stop::usage("Missing template path on the command."))?;
        let path = environment.directory.join(path);
        let line = self.line(environment)?;
        let words = words(&line)?;
        let [name, rest @ ..] = words.as_slice() else { return Err(Stop::usage("the command is empty")) };
        if !matches!(name.as_str(), "xdsh" | "rinv") {
            return Err(Stop::usage("Only commands xdsh and rinv are currently supported."));
        }
        let entry = registry.find(name).ok_or_else(|| registry.unknown(name))?;
        // Options are the command's, and its own words come after the nodes.
        let (noderange, _) = split_noderange(&(entry.clap)(), &entry.in_full(rest));
        if noderange.is_none_or(|noderange| noderange.is_empty()) {
            return Err(Stop::usage(format!("Invalid or missing noderange:{line}")));
        }
        if self.dry_run {
            let change = if path.exists() { '~' } else { '+' };
            return out.report(&Planned { change, template: path.display().to_string() });
        }
        out.heading(format!("Running {name} command."))?;
        let mut rest = rest.to_vec();
        if let Some(user) = self.user.as_ref().filter(|_| name == "xdsh") {
            rest.splice(1.min(rest.len())..1.min(rest.len()), ["-l".to_owned(), user.clone()]);
        }
        let request = request_for(entry, &entry.in_full(&rest), environment);
        let answers = fetch(&environment.client(false), &request).map_err(not_answered)?;
        let pieces = answers.iter().flat_map(|answer| render(answer, false));
        let (stdout, stderr): (Vec<_>, Vec<_>) = pieces.partition(|piece| piece.stream == Stream::Out);
        let text = |pieces: Vec<dawn_xcatd::render::Piece>| {
            pieces.into_iter().map(|piece| piece.text).collect::<String>()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), stderr.as_bytes());
        let nodes = by_node(&stdout, Separator::ColonBlank);
        if nodes.is_empty() {
            return Err(Stop::unavailable(format!("No output from {name}.")));
        }
        out.heading("Building Report.")?;
        self.report(&path, &line, &nodes, environment, out)?;
        out.heading("Command Complete.")?;
        match &self.output {
            Some(output) => out.heading(format!("Check report in {}.", output.display())),
            None => Ok(()),
        }
    }

    fn line(&self, environment: &Environment) -> Result<String, Stop> {
        match (&self.command, &self.file) {
            (Some(line), _) => Ok(line.clone()),
            (None, Some(file)) => {
                let path = environment.directory.join(file);
                let text = std::fs::read_to_string(&path);
                text.map(|text| text.trim().to_owned()).map_err(|_| {
                    Stop::not_found(format!("Input command file: {} does not exist.", file.display()))
                })
            }
            (None, None) => {
                Err(Stop::usage("Neither the sinv command, nor the sinv command file have been supplied."))
            }
        }
    }

    fn report(
        &self,
        path: &Path,
        line: &str,
        nodes: &BTreeMap<&str, String>,
        environment: &Environment,
        out: &mut Out<'_>,
    ) -> Done {
        let is_given = path.exists();
        let first = nodes.keys().next().copied().unwrap_or_default();
        let seed = self.seed.as_deref().unwrap_or(first);
        if !is_given {
            let text = nodes
                .get(seed)
                .ok_or_else(|| Stop::not_found(format!("there is no output of the seed node {seed}")))?;
            std::fs::write(path, template_text(&[seed], text)).map_err(|error| shown(path, &error))?;
        }
        let text = std::fs::read(path).map_err(|error| shown(path, &error))?;
        let mut templates = vec![Template::read(path.display().to_string(), &String::from_utf8_lossy(&text))];
        let name = |number: usize| format!("{}_{number}", path.display());
        let groups = groups(nodes.iter().map(|(node, text)| (*node, text.as_str())));
        let found = compare(&mut templates, &groups, self.count, self.exact, name);
        for (number, text) in &found.made {
            let file = PathBuf::from(name(*number));
            std::fs::write(&file, text).map_err(|error| shown(&file, &error))?;
        }
        let lines = self.lines(line, seed, &templates, &found);
        if let Some(output) = &self.output {
            let path = environment.directory.join(output);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(&path, text).map_err(|error| shown(&path, &error))?;
        }
        let lines = if self.output.is_none() || self.verbose { lines } else { Vec::new() };
        out.report(&Compared { list: self.matches(&templates, &found), lines })?;
        if self.remove {
            let made = found.made.iter().map(|(number, _)| PathBuf::from(name(*number)));
            let first = (!is_given).then(|| path.to_owned());
            for file in made.chain(first) {
                std::fs::remove_file(&file).map_err(|error| shown(&file, &error))?;
            }
        }
        Ok(())
    }

    /// The report in xCAT's words.
    fn lines(&self, line: &str, seed: &str, templates: &[Template], found: &Found) -> Vec<String> {
        let yes = |flag: bool| if flag { "YES" } else { "NO" };
        let mut lines = Vec::new();
        if self.verbose || self.output.is_some() {
            let first = templates.first().map(|template| template.name.as_str()).unwrap_or_default();
            let file = |path: &Option<PathBuf>| {
                path.as_ref().map_or("None".to_owned(), |path| path.display().to_string())
            };
            lines.extend([
                "Command started with following input.".to_owned(),
                format!("xdsh cmd:{line}."),
                format!("Template path:{first}."),
                format!("Template cnt:{}.", self.count),
                format!("Remove template:{}.", yes(self.remove)),
                format!("Output file:{}.", file(&self.output)),
                format!("Exactmatch:{}.", yes(self.exact)),
                format!("Ignorefirst:{}.", yes(self.ignore_first)),
                format!("Seed node:{seed}."),
                format!("file:{}.", file(&self.file)),
                String::new(),
            ]);
        }
        for (at, (template, nodes)) in templates.iter().zip(&found.nodes).enumerate() {
            if at == 0 && self.ignore_first {
                lines.push("Not reporting matches on first template.".to_owned());
            } else if !nodes.is_empty() {
                lines.push(format!("The following nodes match {}:", template.name));
                lines.push(nodes.join(","));
            }
        }
        if !found.none.is_empty() {
            lines.push("The following nodes match no template:".to_owned());
            lines.push(found.none.join(","));
        }
        lines
    }

    /// The nodes of each template, and those that match none.
    fn matches<'f>(&self, templates: &'f [Template], found: &'f Found) -> Vec<Match<'f>> {
        let nodes_of = |(template, nodes): (&'f Template, &'f Vec<String>)| Match {
            template: Some(template.name.as_str()),
            nodes,
        };
        let matching = templates.iter().zip(&found.nodes).skip(usize::from(self.ignore_first)).map(nodes_of);
        let none = Match { template: None, nodes: &found.none };
        matching.chain([none]).filter(|some| !some.nodes.is_empty()).collect()
    }
}

/// The template file that would be written.
#[derive(serde::Serialize)]
struct Planned {
    change: char,
    template: String,
}

impl Report for Planned {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("{} template {}", self.change, self.template))
    }
}

/// Nodes whose output matches a template; without one, those that match none.
#[derive(serde::Serialize)]
struct Match<'f> {
    template: Option<&'f str>,
    nodes: &'f [String],
}

/// What the comparison found.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Compared<'f> {
    list: Vec<Match<'f>>,
    /// The report for the terminal, in xCAT's words.
    #[serde(skip)]
    lines: Vec<String>,
}

impl Report for Compared<'_> {
    const MANY: bool = true;

    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.lines.iter().try_for_each(|line| lines.line(format!("{line}\n")))
    }
}

fn shown(path: &Path, error: &std::io::Error) -> Stop {
    Stop::conflict(format!("{}: {error}", path.display()))
}

/// Words of a command line with quotes. No shell is involved.
fn words(line: &str) -> Result<Vec<String>, Stop> {
    dawn_wire::words::split(line).ok_or_else(|| Stop::usage(format!("a quote is not closed in: {line}")))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_of_a_command_line() {
        for (line, expected) in [
            ("xdsh n1 ls -l /", "xdsh|n1|ls|-l|/"),
            ("xdsh n1 'a  b' \"c 'd\"", "xdsh|n1|a  b|c 'd"),
            ("xdsh n1 ''", "xdsh|n1|"),
        ] {
            assert_eq!(words(line).expect("words").join("|"), expected);
        }
        assert!(words("xdsh 'n1").is_err());
    }
}
