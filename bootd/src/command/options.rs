//! Option words in the spellings that administrators are used to.
//!
//! xCAT reads its command lines with Getopt::Long: a long option may be cut short as long as it stays
//! unique (`--verb`), many type it after a single dash (`-version`), and `-?` asks for help. Both ends put
//! such words into the one spelling that `clap` knows before anything else looks at them, so that policy,
//! audit and the commands all read the same words. What is deliberately missing: long options in other
//! letter cases.

use clap::{Arg, Command};

/// Puts `--` before the words of another program's command line (`xdsh cn1 tar --version`), so that
/// nothing takes them for options. Such a command declares that with clap's `trailing_var_arg`.
/// `nodes_apart`: the noderange, its first operand, is not among the words.
pub fn guarded(command: &Command, words: &[String], nodes_apart: bool) -> Vec<String> {
    let foreign = command.get_positionals().position(Arg::is_trailing_var_arg_set);
    let Some(mut left) = foreign.map(|at| at.saturating_sub(usize::from(nodes_apart))) else {
        return words.to_vec();
    };
    let mut value_expected = false;
    for (at, word) in words.iter().enumerate() {
        if std::mem::take(&mut value_expected) {
            continue;
        }
        if word == "--" {
            break;
        }
        if word.starts_with('-') && word != "-" {
            let full = spell(command, word).unwrap_or_else(|| word.clone());
            value_expected = takes_next_word(command, &full);
        } else if left == 0 {
            let mut guarded = words.to_vec();
            guarded.insert(at, "--".to_owned());
            return guarded;
        } else {
            left -= 1;
        }
    }
    words.to_vec()
}

/// The words with every option spelled in full. Values of options and words after `--` stay as they are.
pub fn in_full(command: &Command, words: &[String]) -> Vec<String> {
    let (mut value_expected, mut ended) = (false, false);
    let full = |word: &String| {
        if ended || std::mem::take(&mut value_expected) {
            return word.clone();
        }
        ended = word == "--";
        let full = spell(command, word).unwrap_or_else(|| word.clone());
        value_expected = full.starts_with('-') && takes_next_word(command, &full);
        full
    };
    words.iter().map(full).collect()
}

/// Whether one of the words, spelled in full, asks for the version. It is answered before operands are
/// demanded.
pub fn ask_for_version(command: &Command, words: &[String]) -> bool {
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--version" || is_cluster_with_version(command, word) {
            return true;
        }
        if word.starts_with('-') && takes_next_word(command, word) {
            words.next();
        }
    }
    false
}

/// The option's value is the next word: `--name` or `-n`, not `--name=value` or `-nvalue`.
pub fn takes_next_word(command: &Command, word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        return takes_value(command.get_arguments().find(|arg| arg.get_long() == Some(long)));
    }
    let mut letters = word.chars().skip(1).peekable();
    while let Some(letter) = letters.next() {
        if takes_value(short(command, letter)) {
            return letters.peek().is_none();
        }
    }
    false
}

fn takes_value(arg: Option<&Arg>) -> bool {
    arg.is_some_and(|arg| arg.get_action().takes_values())
}

fn short(command: &Command, letter: char) -> Option<&Arg> {
    command.get_arguments().find(|arg| arg.get_short() == Some(letter))
}

/// `-v`, `-Vv`: the letter of the version among flags.
fn is_cluster_with_version(command: &Command, word: &str) -> bool {
    let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else { return false };
    let args = letters.chars().map(|letter| short(command, letter));
    let mut flags = args.take_while(|arg| arg.is_some() && !takes_value(*arg));
    flags.any(|arg| arg.is_some_and(|arg| arg.get_id() == "version"))
}

/// The full spelling of an option word that has another one.
fn spell(command: &Command, word: &str) -> Option<String> {
    if word == "-?" {
        return Some("--help".to_owned());
    }
    let rest = word.strip_prefix('-')?;
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, format!("={value}")),
        None => (rest, String::new()),
    };
    let long = match name.strip_prefix('-') {
        Some(start) => of_start(command, start)?,
        None if is_cluster(command, name) => return None,
        None => longs(command).find(|long| *long == name)?.to_owned(),
    };
    Some(format!("--{long}{value}"))
}

/// Long options, `--help` among them where `clap` brings it.
fn longs(command: &Command) -> impl Iterator<Item = &str> {
    let own = command.get_arguments().filter_map(Arg::get_long);
    own.filter(|long| *long != "help").chain(std::iter::once("help"))
}

/// The one long option that begins so. `--ver` is the version, although `--verbose` begins so too.
fn of_start(command: &Command, start: &str) -> Option<String> {
    if start.is_empty() || longs(command).any(|long| long == start) {
        return None;
    }
    let found: Vec<&str> = longs(command).filter(|long| long.starts_with(start)).collect();
    match found.as_slice() {
        [one] => Some((*one).to_owned()),
        [a, b] if [*a, *b].contains(&"version") && [*a, *b].contains(&"verbose") => {
            Some("version".to_owned())
        }
        _ => None,
    }
}

/// `-abc`, three flags, or `-nvalue`: what the letters of a word after one dash are when the command knows
/// them.
fn is_cluster(command: &Command, letters: &str) -> bool {
    for letter in letters.chars() {
        match short(command, letter) {
            Some(arg) if arg.get_action().takes_values() => return true,
            Some(_) => {}
            None => return letters.chars().count() == 1,
        }
    }
    true
}
