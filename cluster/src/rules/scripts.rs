//! Post scripts of nodes, and variables for them, as they are written in table cells.
//!
//! A script is the name of a file below `<installdir>/postscripts` and words for it; several are separated by
//! commas (xCAT's table `postscripts`). A shell of the node reads each as a separate line, as root, so
//! anything that would begin another command is refused.

/// Characters that a shell reads as more than words of one command.
const OF_SHELLS: [char; 9] = [';', '&', '|', '<', '>', '(', ')', '`', '\\'];

/// Why one script with its words would be more to a node's shell, if so. An empty element is accepted like a
/// script.
#[must_use]
pub fn script_problem(script: &str) -> Option<&'static str> {
    let mut words = script.split_whitespace();
    let name = words.next()?;
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+');
    let is_below = !name.starts_with(['/', '-']) && name.split('/').all(|part| part != "..");
    if !is_below || !name.chars().all(of_a_name) {
        return Some(
            "a post script is a file below <installdir>/postscripts: letters, digits, '/', '-', '_', '.' and '+'",
        );
    }
    if script.contains(OF_SHELLS) || script.contains(char::is_control) {
        return Some(
            "the node's shell would run more than the script (; & | < > ( ) ` \\); write a script that does it",
        );
    }
    let is_closed = |quote: char| script.matches(quote).count().is_multiple_of(2);
    (!is_closed('\'') || !is_closed('"')).then_some("a quote is not closed")
}

/// `NAME=VALUE` with a name that a shell takes.
pub(super) fn is_variable(pair: &str) -> bool {
    let Some((name, _)) = pair.trim().split_once('=') else { return false };
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !pair.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_what_is_more() {
        for good in
            ["", "syslog", "confignetwork -s", "custom/mine.sh a b", "x 'a b' \"c\" $NODE ${IP} *.txt k=v"]
        {
            assert_eq!(script_problem(good), None, "{good}");
        }
        for bad in [
            "a;id",
            "a && id",
            "a | sh",
            "a > /etc/passwd",
            "a $(id)",
            "a `id`",
            "a (id)",
            "a\\",
            "a 'b",
            "/bin/sh -c id",
            "../../bin/sh",
            "a/../b",
            "#node-postscripts-end-here",
            "-x",
            "A=1",
            "a\nid",
        ] {
            assert!(script_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn variables() {
        for (pair, good) in [
            ("A=1", true),
            (" a_b=x y ", true),
            ("A=", true),
            ("A", false),
            ("1A=2", false),
            ("A-B=1", false),
        ] {
            assert_eq!(is_variable(pair), good, "{pair}");
        }
    }
}
