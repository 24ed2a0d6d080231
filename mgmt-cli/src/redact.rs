//! Secrets on command lines: which words hold one, and what is written in their place.
//!
//! Decided by the attribute's or column's name, never by the look of the value.

use crate::items::split_operator;

/// Written instead of a secret.
pub const MASK: &str = "xxxxxxxx";

/// Attributes and columns whose values are never written to logs.
const SECRET_NAMES: [&str; 47] = [
    "authkey",
    "bmcpassword",
    "domainadminpassword",
    "iscsipassword",
    "passwd.HMC",
    "passwd.admin",
    "passwd.celogin",
    "passwd.general",
    "passwd.hscroot",
    "password",
    "privkey",
    "snmppassword",
    "snmpc",
    "community",
    "productkey",
    "tokenid",
    "domain.adminpassword",
    "ipmi.password",
    "iscsi.passwd",
    "mpa.password",
    "openbmc.password",
    "passwd.password",
    "pdu.authkey",
    "pdu.community",
    "pdu.password",
    "pdu.privkey",
    "ppcdirect.password",
    "ppchcp.password",
    "prodkey.key",
    "switches.password",
    "switches.sshpassword",
    "switches.snmppassword",
    "token.tokenid",
    "vm.vidpassword",
    "websrv.password",
    "openbmcpassword",
    "vidpassword",
    "sshpassword",
    "hypervisorpassword",
    "authdomainpassword",
    "adminpassword",
    "passwd",
    "switches.authkey",
    "switches.privkey",
    "mpa.community",
    "pdu.snmpuser",
    "token.access",
];

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

/// Parts of names that only secrets have. Site keys are open to all: administrators keep their own in the table.
const SECRET_PARTS: [&str; 6] = ["passw", "secret", "dbpass", "omapikey", "apikey", "bindpw"];
/// What has such a part and is none: the name of a key.
const NAME_OF_KEY: &str = "keyname";

/// The name is one of a secret: an attribute, a column with its table, or a key of `site`.
pub fn is_secret(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    let has_part = SECRET_PARTS.iter().any(|part| last.contains(part)) && !last.ends_with(NAME_OF_KEY);
    has_part || SECRET_NAMES.contains(&name)
}

/// The words of a command line with secrets masked.
pub fn words(command: &str, words: &[String]) -> Vec<String> {
    let options = SECRET_OPTIONS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, list)| list);
    let site_secret = words.iter().any(|word| word.strip_prefix("key=").is_some_and(is_secret));
    let mut mask_next = false;
    let mut masked = Vec::with_capacity(words.len());
    for word in words {
        let hide = std::mem::replace(&mut mask_next, options.contains(&word.as_str()));
        masked.push(if hide { MASK.to_owned() } else { one(word, site_secret) });
    }
    masked
}

fn one(word: &str, site_secret: bool) -> String {
    let Some((name, operator, _)) = split_operator(word, &["+=", ",=", "^=", "-=", "="]) else {
        return word.to_owned();
    };
    let secret = is_secret(name)
        || (site_secret && name == "site.value")
        || name.ends_with("_passwd")
        || name == "USERID";
    if secret { format!("{name}{operator}{MASK}") } else { word.to_owned() }
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
