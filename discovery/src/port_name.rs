//! Whether the port of a `switch` row is the one that a switch names so (xCAT's rules of port names).
//!
//! Rule 2 of xCAT also takes a part of the number (`1` for `RMON Port 12 on unit`), and a port is a regular
//! expression there; both are slips that give wrong nodes, and a port is a plain text here.

/// How a configured port fits a name; the lesser one fits better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is the name.
    Equal,
    /// `RMON Port 07 on unit 1`.
    Rmon,
    /// `Unit 1 Port 7`.
    Unit,
    /// The name ends with it: `GigabitEthernet1/0/7`.
    End,
}

/// How the port fits the name, if it does.
pub fn fit(port: &str, name: &str) -> Option<Fit> {
    if port.is_empty() {
        return None;
    }
    if port == name {
        Some(Fit::Equal)
    } else if is_rmon(port, name) {
        Some(Fit::Rmon)
    } else if is_unit(port, name) {
        Some(Fit::Unit)
    } else if is_end(port, name) {
        Some(Fit::End)
    } else {
        None
    }
}

fn is_rmon(port: &str, name: &str) -> bool {
    let Some((_, rest)) = name.split_once("RMON Port ") else { return false };
    let Some((number, _)) = rest.split_once(" on unit") else { return false };
    number == port || number.strip_prefix('0') == Some(port)
}

fn is_unit(port: &str, name: &str) -> bool {
    let rest = name.strip_prefix("Unit ").and_then(|rest| rest.strip_prefix(|c: char| c.is_ascii_digit()));
    rest.and_then(|rest| rest.strip_prefix(" Port ")) == Some(port)
}

fn is_end(port: &str, name: &str) -> bool {
    let before = name.strip_suffix(port).or_else(|| name.strip_suffix(".0")?.strip_suffix(port));
    let is_whole = before.and_then(|before| before.chars().last()).is_some_and(|c| !c.is_ascii_digit());
    is_whole && !is_other_than_a_port(name)
}

/// VLANs, aggregations, consoles and what else a switch lists among its interfaces.
fn is_other_than_a_port(name: &str) -> bool {
    const WORDS: [&str; 9] = ["Nu", "onsole", "Stack", "Trunk", "XGE", "LAG", "CPU", "Management", "Trk"];
    let is_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let is_aggregate = |at: usize, word: &str| {
        let rest = name.get(at + word.len()..).unwrap_or_default();
        match word {
            "po" => is_digit(rest),
            _ => !rest.strip_prefix("rt").is_some_and(|rest| rest.starts_with(" #") || is_digit(rest)),
        }
    };
    WORDS.iter().any(|word| name.contains(word))
        || name.to_ascii_lowercase().contains("vl")
        || ["Po", "po"]
            .into_iter()
            .any(|word| name.match_indices(word).any(|(at, word)| is_aggregate(at, word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_names() {
        for (port, name, expect) in [
            ("swp7", "swp7", Some(Fit::Equal)),
            ("Vlan7", "Vlan7", Some(Fit::Equal)),
            ("7", "RMON Port 07 on unit 1", Some(Fit::Rmon)),
            ("12", "RMON Port 12 on unit 1", Some(Fit::Rmon)),
            ("1", "RMON Port 12 on unit 1", None),
            ("7", "Unit 1 Port 7", Some(Fit::Unit)),
            ("7", "Unit 1 Port 17", None),
            ("7", "swp7", Some(Fit::End)),
            ("7", "swp17", None),
            ("7", "GigabitEthernet1/0/7", Some(Fit::End)),
            ("1/0/7", "GigabitEthernet1/0/7", Some(Fit::End)),
            ("0/7", "ge-0/0/7.0", Some(Fit::End)),
            ("7", "ge-0/0/7.0", Some(Fit::End)),
            ("7", "Port7", Some(Fit::End)),
            ("7", "Port #7", Some(Fit::End)),
            ("7", "Port 7", None),
            ("7", "Po7", None),
            ("7", "port-channel po7", None),
            ("7", "Vlan-7", None),
            ("7", "VL7", None),
            ("7", "Null-7", None),
            ("7", "Console7", None),
            ("7", "StackPort7", None),
            ("7", "Trk7", None),
            ("7", "XGE7", None),
            ("7", "CPU7", None),
            ("7", "Management7", None),
            (".", "swp7", None),
            (".*", "swp7", None),
            ("", "swp7", None),
            ("7", "", None),
            ("é7", "portéé7", Some(Fit::End)),
        ] {
            assert_eq!(fit(port, name), expect, "{port} and {name}");
        }
    }
}
