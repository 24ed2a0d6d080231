//! What is done on a node when its files are there: parts appended and merged, scripts run.
//!
//! It is one shell script that travels on the standard input of one command, along with the scripts.
//! Paths are words in single quotes. Files are replaced whole, with owner and mode kept, and only if their
//! content changes. A step that fails does not keep the next from running; the last failure is the result.

use super::plan::{Join, Plan};
use crate::quote::{Carried, carrying};
use dawn_wire::words::quoted;
use std::collections::BTreeSet;
use std::io;

/// `append TO ORIGINAL PART...`: the first original is kept, and the file becomes original and parts.
/// `merge TO ORIGINAL PART...`: lines that begin with a name of the part go, and those of the part come. A
/// link is followed, as an editor would.
const FUNCTIONS: &str = r#"
joined() {
    for part; do
        cat -- "$part" || return
        [ -z "$(tail -c 1 -- "$part")" ] || echo
    done
}
begin() {
    to=$(readlink -f -- "$1" || printf %s "$1")
    mkdir -p -- "${2%/*}" "${to%/*}" || return
    new=$to.dawn.$$
    if [ -e "$to" ]; then cp -p -- "$to" "$new"; else : > "$new" && chmod 644 "$new"; fi
}
finish() {
    if [ -e "$to" ] && cmp -s -- "$new" "$to"; then rm -f -- "$new"; else mv -f -- "$new" "$to"; fi
}
give_up() {
    echo "$1: $2" >&2
    rm -f -- "$new"
    return 1
}
append() {
    begin "$1" "$2" || return
    target=$1 original=$2
    shift 2
    if [ ! -e "$original" ]; then
        if [ -e "$to" ]; then cp -p -- "$to" "$original"; else : > "$original"; fi
    fi || give_up "$target" 'the original cannot be kept' || return
    joined "$original" "$@" > "$new" || give_up "$target" 'nothing was appended' || return
    finish
}
merge() {
    begin "$1" "$2" || return
    target=$1 original=$2
    shift 2
    for part; do
        joined "$part" | awk -F: 'part { gone[$1] = 1; next } !($1 in gone)' part=1 - part=0 "$new" \
            > "$new.rest" && joined "$part" >> "$new.rest" && cat -- "$new.rest" > "$new"
        merged=$?
        rm -f -- "$new.rest"
        [ $merged = 0 ] || give_up "$target" 'nothing was merged' || return
    done
    if [ -e "$to" ] && ! cmp -s -- "$new" "$to"; then
        cp -p -- "$to" "$original" || give_up "$target" 'the original cannot be kept' || return
    fi
    finish
}
"#;

/// The command for a node whose files in `changed` (places) are new, and its standard input. `None`: there
/// is nothing to do. `content` gives scripts of this machine.
///
/// # Errors
/// A script cannot be read, or the system has no random numbers.
pub fn follow_up<'c, E: From<io::Error>>(
    plan: &Plan,
    node: &str,
    changed: &BTreeSet<String>,
    content: &dyn Fn(&str) -> Result<&'c [u8], E>,
) -> Result<Option<(String, Vec<u8>)>, E> {
    let mut steps = String::new();
    for append in plan.appends.iter().filter(|append| is_new(append, changed)) {
        step(&mut steps, &format!("append{}", words(append)));
    }
    for merge in &plan.merges {
        step(&mut steps, &format!("merge{}", words(merge)));
    }
    let scripts = due(plan, changed);
    for at in 1..=scripts.len() {
        step(&mut steps, &format!("$dawn_{at}"));
    }
    if steps.is_empty() {
        return Ok(None);
    }
    let node = quoted(node);
    let own = format!("export NODE={node}\n{FUNCTIONS}\ncode=0\n{steps}exit $code\n");
    let mut files = vec![Carried { suffix: ".sh", content: own.as_bytes() }];
    for script in scripts {
        files.push(Carried { suffix: ".post", content: content(script)? });
    }
    Ok(Some(carrying(&files, ". $dawn_0")?))
}

/// The scripts that run when these places are new, in order.
#[must_use]
pub fn due<'p>(plan: &'p Plan, changed: &BTreeSet<String>) -> Vec<&'p str> {
    let sources: BTreeSet<String> = changed.iter().filter_map(|place| plan.source_of(place)).collect();
    let is_due = |after: &Option<String>| after.as_ref().is_none_or(|after| sources.contains(after));
    plan.scripts.iter().filter(|script| is_due(&script.after)).map(|script| script.path.as_str()).collect()
}

/// Whether something of it was copied.
#[must_use]
pub fn is_new(join: &Join, changed: &BTreeSet<String>) -> bool {
    join.parts.iter().chain([&join.original]).any(|part| changed.contains(part))
}

fn step(steps: &mut String, command: &str) {
    steps.push_str(command);
    steps.push_str(" || code=$?\n");
}

fn words(join: &Join) -> String {
    let paths = [&join.destination, &join.original].into_iter().chain(&join.parts);
    paths.map(|path| format!(" {}", quoted(path))).collect()
}
