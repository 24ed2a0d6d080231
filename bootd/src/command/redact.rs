//! Secrets on command lines: which words hold one, and what is written in their place.
//!
//! What is a secret is declared in the model; here is where on a command line it may stand.

use crate::items::column;
use dawn_cluster::condition::split_operator;
use dawn_cluster::secrets::{self, MASK, Sensitivity};

/// Commands whose `name=value` words are written to tables: a name that nobody has declared may be a slip of
/// the finger in the name of a secret, or a setting of the administrator's own.
const ASSIGNING: [&str; 7] = ["chdef", "mkdef", "chtab", "tabch", "nodech", "nodeadd", "nodegrpch"];
/// Its `name=value` words are the settings of a service processor, passwords among them.
const SETTING: &str = "rspconfig";

/// Options followed by a secret, by command.
const SECRET_OPTIONS: [(&str, &[&str]); 7] = [
    ("bmcdiscover", &["-p", "-n"]),
    ("switchdiscover", &["-c"]),
    ("mkhwconn", &["-P"]),
    ("mkvm", &["-w", "--password"]),
    ("createcluster", &["--password"]),
    ("lscluster", &["--password"]),
    ("rmvcluster", &["--password"]),
];

/// The words of a command line with secrets masked.
pub fn words(command: &str, words: &[String]) -> Vec<String> {
    let options = SECRET_OPTIONS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, list)| list);
    let assigns = ASSIGNING.contains(&command);
    let site_key = words.iter().find_map(|word| word.strip_prefix("key="));
    let site_hidden = site_key.is_some_and(|key| secrets::of_site_key(key) != Sensitivity::Open);
    let hidden = |name: &str| {
        let declared = secrets::of_name(name) == Sensitivity::Secret;
        let undeclared =
            || assigns && secrets::of_name(name) == Sensitivity::Unknown && column(name).is_err();
        declared || undeclared() || site_hidden && name == "site.value" || command == SETTING
    };
    let mut mask_next = false;
    let mut masked = Vec::with_capacity(words.len());
    for word in words {
        let hide = std::mem::replace(&mut mask_next, options.contains(&word.as_str()));
        masked.push(if hide { MASK.to_owned() } else { one(word, hidden) });
    }
    masked
}

fn one(word: &str, hidden: impl Fn(&str) -> bool) -> String {
    match split_operator(word, &["+=", ",=", "^=", "-=", "="]) {
        Some((name, operator, _)) if hidden(name) => format!("{name}{operator}{MASK}"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        for (line, expected) in [
            ("chdef cn1 bmcpassword=pw bmc=10.0.0.1", "cn1 bmcpassword=xxxxxxxx bmc=10.0.0.1"),
            ("chtab key=system passwd.password=pw", "key=system passwd.password=xxxxxxxx"),
            ("chtab key=snmpc site.value=pw", "key=snmpc site.value=xxxxxxxx"),
            (
                "chdef -t site clustersite dhcpomapikey=pw dhcpomapikeyname=k domain=d",
                "-t site clustersite dhcpomapikey=xxxxxxxx dhcpomapikeyname=k domain=d",
            ),
            ("chtab key=dhcpomapikey site.value=pw", "key=dhcpomapikey site.value=xxxxxxxx"),
            ("chtab key=ldapPassword site.value=pw", "key=ldapPassword site.value=xxxxxxxx"),
            ("chtab key=omapi passwd.username=u", "key=omapi passwd.username=u"),
            ("chdef cn1 bmcpasword=pw nicips.eth0=10.0.0.1", "cn1 bmcpasword=xxxxxxxx nicips.eth0=10.0.0.1"),
            ("nodech cn1 tags=a mgt=ipmi", "cn1 tags=a mgt=ipmi"),
            ("gettab tokenid=abc token.username", "tokenid=xxxxxxxx token.username"),
            ("nodeset cn1 osimage=img", "cn1 osimage=img"),
            ("rspconfig cn1 admin_passwd=a,b", "cn1 admin_passwd=xxxxxxxx"),
            ("bmcdiscover -p pw --range x", "-p xxxxxxxx --range x"),
            ("nodech cn1 ipmi.password,=pw", "cn1 ipmi.password,=xxxxxxxx"),
        ] {
            let mut all = line.split(' ').map(str::to_owned);
            let command = all.next().expect("a command");
            let rest: Vec<String> = all.collect();
            assert_eq!(words(&command, &rest).join(" "), expected);
        }
    }
}
