//! The command line around a script that travels to a host with it.

use dawn_wire::words::quoted;
use std::io;

/// A file that travels on the standard input of a command.
pub struct Carried<'a> {
    /// Its name in messages and the end of its name on the host: letters and dots only.
    pub suffix: &'static str,
    /// Its content.
    pub content: &'a [u8],
}

/// A command that stores carried files under new names in `/tmp`, runs `line`, in which `$dawn_0`,
/// `$dawn_1` … are their paths, and removes them; and what its standard input is. The user's shell on the
/// host need not be one of Bourne's kind.
///
/// # Errors
/// The system has no random numbers.
pub fn carrying(files: &[Carried<'_>], line: &str) -> io::Result<(String, Vec<u8>)> {
    let (mut script, mut input) = ("umask 077; set -C; ".to_owned(), Vec::new());
    let mut names = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let name = format!("/tmp/{}{}", crate::openssh::random_name()?, file.suffix);
        script.push_str(&format!(
            "dawn_{at}={name}; head -c {} > $dawn_{at} && chmod 700 $dawn_{at} || exit 126; ",
            file.content.len()
        ));
        input.extend_from_slice(file.content);
        names.push(format!("$dawn_{at}"));
    }
    let names = names.join(" ");
    script.push_str(&format!("set +C; trap 'rm -f {names}' EXIT; trap 'exit 130' INT TERM HUP; {line}"));
    Ok((format!("exec /bin/sh -c {}", quoted(&script)), input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_quoted_word_is_one_word(words in proptest::collection::vec("[^\\x00]{0,20}", 1..5)) {
            let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            let line = format!("printf '%s\\0' {}", line.join(" "));
            let output = Command::new("/bin/sh").args(["-c", &line]).output().unwrap();
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(output.stdout, expected);
        }
    }
}
