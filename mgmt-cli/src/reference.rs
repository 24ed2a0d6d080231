//! `docs/commands.md`: the help of every command as one page, held to the code by a test.

use dawn_bootd::command::{Kind, Registry};

/// The page.
pub fn page(registry: &Registry) -> String {
    let mut text = String::from(
        "# Commands\n\nGenerated from the commands' help; a test keeps it true. Commands marked *here* run \
         in the process of the caller, all others in the daemon.\n",
    );
    let mut entries: Vec<_> = registry.all().iter().collect();
    entries.sort_by_key(|entry| entry.name.to_lowercase());
    for entry in entries {
        let place = if entry.kind == Kind::Local { " *here*" } else { "" };
        let help = (entry.clap)().render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!(
            "\n## {}{place}\n\n```text\n{}\n```\n",
            entry.name,
            help.join("\n").trim_end()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn docs_are_the_help() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
        expect_test::expect_file![path].assert_eq(&super::page(&crate::registry::registry()));
    }
}
