//! `dawn completions`: what a shell needs to complete commands, options, and names from the daemon.

use crate::app::{print, whole};
use crate::commands;
use crate::environment::Environment;
use crate::frame::{Kind, LocalCommand};
use clap_complete::{Shell, generate};

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

impl LocalCommand for Args {
    const NAME: &'static str = "completions";

    fn run(self, _: &Environment) -> i32 {
        print(&script(self.shell));
        0
    }
}

/// The script: `dawn` with all its commands, and each command under its own name.
pub fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut whole(), "dawn", &mut text);
    let mut script = String::from_utf8_lossy(&text).into_owned();
    match shell {
        Shell::Bash => script.push_str(&bash_links()),
        Shell::Zsh => script.push_str(&zsh_links()),
        Shell::Fish => script.push_str(&fish_links()),
        _ => {}
    }
    script
}

fn daemon_commands() -> impl Iterator<Item = &'static str> {
    commands::all().iter().filter(|entry| entry.kind != Kind::Local).map(|entry| entry.name)
}

/// zsh: nodes and groups from the daemon, the part behind the last comma.
fn zsh_links() -> String {
    let names: Vec<&str> = daemon_commands().collect();
    format!(
        r#"
# Commands under their own names: names from the daemon.
_dawn_link() {{
    local -a names
    names=(${{(f)"$(nodels 2>/dev/null; lsdef -t group -s 2>/dev/null | cut -d' ' -f1)"}})
    compset -P '*,'
    compadd -S '' -a names
}}
compdef _dawn_link {}
"#,
        names.join(" ")
    )
}

/// fish: options from the commands' arguments, nodes and groups from the daemon.
fn fish_links() -> String {
    let mut text = String::from(
        "\nfunction __dawn_names\n    nodels 2>/dev/null\n    lsdef -t group -s 2>/dev/null | string split -f1 ' '\nend\n",
    );
    for name in daemon_commands() {
        text.push_str(&format!("complete -c {name} -f -a '(__dawn_names)'\n"));
    }
    text
}

/// Completion of the symlinks: options from help, nodes and groups from the daemon.
fn bash_links() -> String {
    let names: Vec<&str> = daemon_commands().collect();
    format!(
        r#"
# Commands under their own names: options from their help, names from the daemon.
_dawn_link() {{
    local current=${{COMP_WORDS[COMP_CWORD]}}
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$("${{COMP_WORDS[0]}}" --help 2>/dev/null | grep -oE -- '--?[A-Za-z][A-Za-z-]*')" -- "$current"))
    else
        local before=${{current%"${{current##*,}}"}}
        COMPREPLY=($(compgen -P "$before" -W "$(nodels 2>/dev/null; lsdef -t group -s 2>/dev/null | cut -d' ' -f1)" -- "${{current##*,}}"))
    fi
}}
complete -F _dawn_link {}
"#,
        names.join(" ")
    )
}
