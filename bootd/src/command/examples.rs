//! Examples of all commands: `examples.tsv` holds command, tab, command line, tab, what the line does.

const EXAMPLES: &str = include_str!("examples.tsv");

/// An example: command, command line, what the line does.
pub type Example = (&'static str, &'static str, &'static str);

/// All examples, by command.
pub fn all() -> impl Iterator<Item = Example> {
    EXAMPLES.lines().filter_map(|line| {
        let mut fields = line.splitn(3, '\t');
        Some((fields.next()?, fields.next()?, fields.next()?))
    })
}

/// Command lines of a command, and what they do.
pub fn examples(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    all().filter(move |(of, ..)| *of == name).map(|(_, line, text)| (line, text))
}

/// The last section of a command's help; `None` without examples.
pub(super) fn section(name: &str) -> Option<String> {
    let items: String =
        examples(name).map(|(line, text)| format!("\n  {line}\n          {text}\n")).collect();
    (!items.is_empty()).then(|| format!("Examples:{items}").trim_end().to_owned())
}
