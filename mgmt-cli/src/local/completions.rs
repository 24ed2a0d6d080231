//! `dawn completions`: what a shell needs to complete commands, options, and names from the daemon.
//!
//! The scripts contain no list of commands: they ask `dawn complete`, so they never lag behind the program.

use super::LocalCommand;
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{Done, Out};

/// Print the completion script of a shell
///
/// bash: source <(dawn completions bash). zsh, after compinit: source <(dawn completions zsh). fish: dawn
/// completions fish | source.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that have a script.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Shell {
    /// GNU bash.
    Bash,
    /// zsh, after compinit.
    Zsh,
    /// fish.
    Fish,
}

impl LocalCommand for Args {
    const NAME: &'static str = "completions";

    const JSON: bool = false;

    fn run(self, _: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        out.lines(&script(self.shell, registry))
    }
}

/// The script: `dawn`, and each command under its own name.
pub(super) fn script(shell: Shell, registry: &Registry) -> String {
    let mut names = vec!["dawn"];
    names.extend(registry.all().iter().map(|entry| entry.name));
    names.retain(|name| !super::links::is_unlinked(name));
    let (text, line) = match shell {
        Shell::Bash => (BASH, "complete -o default -F _dawn_complete"),
        Shell::Zsh => (ZSH, "compdef _dawn_complete"),
        Shell::Fish => return fish(&names),
    };
    format!("{text}{line} {}\n", names.join(" "))
}

/// Readline breaks words at `=` and `:` and replaces what is after the last of them only; so what is before
/// is cut off. Behind an open quote it breaks at nothing, and replaces what follows the quote.
const BASH: &str = r#"# Completion of dawn and its commands for bash.
_dawn_complete() {
    local line=${COMP_LINE:0:COMP_POINT} words current start=""
    read -ra words <<< "$line"
    [[ $line == *[[:blank:]] ]] && words+=("")
    current=${words[-1]}
    if [[ $current == [\'\"]* ]]; then
        words[-1]=${current:1}
    elif [[ $current == *[=:]* ]]; then
        start=${current%"${current##*[=:]}"}
    fi
    mapfile -t COMPREPLY < <(command dawn complete -- "${words[@]}" 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]%%$'\t'*}")
    COMPREPLY=("${COMPREPLY[@]#"$start"}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}
"#;

const ZSH: &str = r#"# Completion of dawn and its commands for zsh.
_dawn_complete() {
    local -a found open shown
    found=("${(@f)$(command dawn complete -- "${(@)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( ! $#found )); then
        _files
        return
    fi
    if [[ ${found[1]} == *$'\t'* ]]; then
        shown=("${(@)found/$'\t'/ -- }")
        found=("${(@)found%%$'\t'*}")
        compadd -V changes -l -d shown -a found
        return
    fi
    open=("${(@M)found:#*[=.]}")
    found=("${(@)found:#*[=.]}")
    (( $#open )) && compadd -S '' -a open
    (( $#found )) && compadd -a found
}
"#;

fn fish(names: &[&str]) -> String {
    let mut text = String::from(
        r#"# Completion of dawn and its commands for fish.
function __dawn_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found (command dawn complete -- $words "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
"#,
    );
    for name in names {
        text.push_str(&format!("complete -c {name} -f -a '(__dawn_complete)'\n"));
    }
    text
}
