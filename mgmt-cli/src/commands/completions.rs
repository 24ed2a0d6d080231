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
    if shell == Shell::Bash {
        script.push_str(&bash_links());
    }
    script
}

/// Completion of the symlinks: options from help, nodes and groups from the daemon.
fn bash_links() -> String {
    let names = |kind: Kind| {
        let list: Vec<&str> =
            commands::all().iter().filter(|entry| entry.kind == kind).map(|entry| entry.name).collect();
        list.join(" ")
    };
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
complete -F _dawn_link {} {}
"#,
        names(Kind::Nodes),
        names(Kind::Words)
    )
}
