//! Secrets on command lines: which words hold one, and what is written in their place.
//!
//! The model declares what is a secret; this module knows where on a command line it may appear.

use crate::items::column;
use dawn_cluster::condition::split_operator;
use dawn_cluster::secrets::{self, MASK, Sensitivity};
use dawn_cluster::{Col, Table, col, schema};
use dawn_plan::ondiscover;
use dawn_xcatd::Response;
use std::borrow::Cow;

/// Commands whose `name=value` words are written to tables: an undeclared name may be a slip of
/// the finger in the name of a secret, or a setting of the administrator's own.
const ASSIGNING: [&str; 7] = ["chdef", "mkdef", "chtab", "tabch", "nodech", "nodeadd", "nodegrpch"];
/// Its `name=value` words are the settings of a service processor, passwords among them.
const SETTING: &str = "rspconfig";
/// Its words are the bytes of a request, which may set a password.
const RAW: &str = "ripmi";

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

/// What stands before commands of the server, in a word and in a chain.
const ONDISCOVER: &str = "ondiscover=";

/// Characters of which operators are made; one of [`ENDS`] is among them.
const OPERATORS: [char; 10] = ['=', '~', '<', '>', '!', '+', ',', '^', '-', ':'];
/// Characters that make a comparison or an assignment.
const ENDS: [char; 4] = ['=', '~', '<', '>'];
/// Characters in front of an operator in which its name is looked for.
const NAME_CHARS_MAX: usize = 128;
/// Secrets that are looked for in an answer; of a command line with more of them no answer is shown.
const SECRETS_MAX: usize = 64;
/// Bytes of a raw request that say what is asked: network function and command.
const SHOWN_BYTES: usize = 2;

/// A command line for logs.
#[derive(Debug, Default)]
pub struct Redacted {
    /// Its words with secrets masked.
    pub words: Vec<String>,
    /// What was masked.
    secrets: Vec<String>,
}

/// The words of a command line with secrets masked.
pub fn words(command: &str, words: &[String]) -> Redacted {
    let masking = Masking::of(command, words);
    let options = SECRET_OPTIONS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, list)| list);
    let mut redacted = Redacted::default();
    let (mut mask_next, mut bytes) = (false, 0);
    for word in words {
        let is_secret = std::mem::replace(&mut mask_next, options.contains(&word.as_str()));
        bytes += usize::from(command == RAW && is_byte(word));
        let attached = options.iter().find_map(|option| word.strip_prefix(option));
        let shown = match attached.filter(|value| !value.is_empty()) {
            _ if is_secret || bytes > SHOWN_BYTES && is_byte(word) => Some(""),
            Some(value) => word.strip_suffix(value.trim_start_matches('=')),
            None => shown_before_commands(word).or_else(|| masking.shown(word)),
        };
        redacted.push(word, shown);
    }
    redacted.finish()
}

/// Columns of `chain` in which [commands of the server](dawn_plan::ondiscover) may stand.
pub fn has_server_commands(column: Col) -> bool {
    let chain = [col::chain::CURRSTATE, col::chain::CURRCHAIN, col::chain::CHAIN, col::chain::ONDISCOVER];
    chain.contains(&column)
}

/// A cell of such a column, with the secrets of its commands masked.
pub fn server_commands(column: Col, cell: &str) -> String {
    if column == col::chain::ONDISCOVER {
        return commands_of(cell);
    }
    let part = |part: &str| {
        let step = part.strip_suffix([',', ';']).unwrap_or(part);
        let Some(commands) = ondiscover::of_step(step) else { return part.to_owned() };
        let (before, after) = (step.strip_suffix(commands), part.strip_prefix(step));
        [before.unwrap_or(ONDISCOVER), &commands_of(commands), after.unwrap_or_default()].concat()
    };
    cell.split_inclusive([',', ';']).map(part).collect()
}

fn commands_of(text: &str) -> String {
    let one = |part: &str| {
        let Some((name, rest)) = part.split_once(':') else { return part.to_owned() };
        let typed: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        let shown = words(name.trim(), &typed);
        if shown.words == typed { part.to_owned() } else { format!("{name}:{}", shown.words.join(" ")) }
    };
    text.split('|').map(one).collect::<Vec<_>>().join("|")
}

/// The beginning of a word whose rest holds a secret of the server's commands.
fn shown_before_commands(word: &str) -> Option<&str> {
    let (at, found) = word.match_indices(ONDISCOVER).next()?;
    let (shown, commands) = word.split_at_checked(at + found.len())?;
    (server_commands(col::chain::ONDISCOVER, commands) != commands).then_some(shown)
}

impl Redacted {
    /// A word of which only the beginning is shown; `None`: all of it.
    fn push(&mut self, word: &str, shown: Option<&str>) {
        let Some(shown) = shown else { return self.words.push(word.to_owned()) };
        self.words.push(format!("{shown}{MASK}"));
        let secret = word.strip_prefix(shown).unwrap_or(word);
        self.secrets.extend(std::iter::once(secret).chain(secret.split(',')).map(str::to_owned));
    }

    /// Longer secrets first, so that no part of one is left. A part of the mask itself stays: masking it
    /// again and again would make the text ever longer.
    fn finish(mut self) -> Self {
        self.secrets.retain(|secret| !MASK.contains(secret.as_str()));
        self.secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.secrets.dedup();
        self
    }

    /// The words as one line.
    pub fn line(&self, command: &str) -> String {
        std::iter::once(command).chain(self.words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// An answer without what was masked in the words: errors repeat what was typed.
    pub fn answer<'r>(&self, response: &'r Response) -> Cow<'r, Response> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(response);
        }
        let mut masked = response.clone();
        masked.each_text(&mut |text| {
            if self.secrets.len() > SECRETS_MAX {
                return MASK.clone_into(text);
            }
            for secret in &self.secrets {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), MASK);
                }
            }
        });
        Cow::Owned(masked)
    }
}

/// Which names on one command line belong to secrets.
struct Masking<'w> {
    command: &'w str,
    /// Tables that words name: bare names are columns of theirs.
    tables: Vec<&'static Table>,
    /// Words are about a key of `site` that is a secret, or not known.
    of_hidden_key: bool,
}

impl<'w> Masking<'w> {
    fn of(command: &'w str, words: &[String]) -> Self {
        let table = |word: &String| schema().find(word.split(['.', '=']).next()?);
        let key = words.iter().find_map(|word| word.strip_prefix("key=")?.split(',').next());
        let mut tables: Vec<&Table> = words.iter().filter_map(table).collect();
        tables.sort_by_key(|table| table.id);
        tables.dedup_by_key(|table| table.id);
        Self {
            command,
            tables,
            of_hidden_key: key.is_some_and(|key| secrets::of_site_key(key) != Sensitivity::Open),
        }
    }

    /// The beginning of a word that may be shown, up to the value of a secret; `None`: all of it.
    fn shown<'a>(&self, word: &'a str) -> Option<&'a str> {
        let assigned = split_operator(word, &["+=", ",=", "^=", "-=", "="]);
        let undeclared = assigned.filter(|(name, ..)| self.is_undeclared(name) || self.command == SETTING);
        let whole = undeclared.and_then(|(.., value)| word.strip_suffix(value));
        whole.or_else(|| word.match_indices(ENDS).find_map(|(at, _)| self.shown_before(word, at)))
    }

    /// The same for the operator of which a character is at `at`.
    fn shown_before<'a>(&self, word: &'a str, at: usize) -> Option<&'a str> {
        let (before, after) = word.split_at_checked(at)?;
        let from = before.char_indices().rev().nth(NAME_CHARS_MAX).map_or(0, |(from, _)| from);
        let (_, before) = before.split_at_checked(from)?;
        let before = before.trim_end_matches(|c: char| c.is_whitespace() || OPERATORS.contains(&c));
        let start = before.rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.'));
        let name = match start.and_then(|start| before.split_at_checked(start)) {
            Some((_, rest)) => rest.trim_start_matches(|c: char| !c.is_alphanumeric()),
            None => before,
        };
        let value = after.trim_start_matches(|c: char| c.is_whitespace() || ENDS.contains(&c));
        self.is_declared(name).then(|| word.strip_suffix(value)).flatten()
    }

    fn is_declared(&self, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        let is_secret = |name: &str| secrets::of_name(name) == Sensitivity::Secret;
        let in_table = |table: &&Table| table.col(&lower).is_some_and(secrets::is_secret);
        is_secret(name)
            || is_secret(&lower)
            || self.of_hidden_key && matches!(&*lower, "site.value" | "value")
            || self.tables.iter().any(in_table)
    }

    fn is_undeclared(&self, name: &str) -> bool {
        ASSIGNING.contains(&self.command)
            && secrets::of_name(name) == Sensitivity::Unknown
            && column(name).is_err()
    }
}

/// The word is a byte of a raw request, or could be one.
fn is_byte(word: &str) -> bool {
    !word.is_empty() && word.strip_prefix("0x").unwrap_or(word).bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_the_server_in_cells() {
        for (column, cell, expected) in [
            (
                col::chain::ONDISCOVER,
                "rpower:on | rspconfig:USERID=a b",
                "rpower:on | rspconfig:USERID=xxxxxxxx b",
            ),
            (col::chain::ONDISCOVER, "rpower:on|rvitals", "rpower:on|rvitals"),
            (
                col::chain::CHAIN,
                "shell,ondiscover=rspconfig:a=b;boot",
                "shell,ondiscover=rspconfig:a=xxxxxxxx;boot",
            ),
            (col::chain::CHAIN, "runcmd=a b=c,osimage=i", "runcmd=a b=c,osimage=i"),
        ] {
            assert_eq!(server_commands(column, cell), expected);
        }
    }

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
            // Commands of the server.
            ("chdef cn1 ondiscover=rspconfig:admin_passwd=a,b|rpower:on", "cn1 ondiscover=xxxxxxxx"),
            ("nodeset cn1 ondiscover=rspconfig:admin_passwd=a,shell", "cn1 ondiscover=xxxxxxxx"),
            ("chdef cn1 ondiscover=rpower:on", "cn1 ondiscover=rpower:on"),
            ("rspconfig cn1 admin_passwd=a,b", "cn1 admin_passwd=xxxxxxxx"),
            ("bmcdiscover -p pw --range x", "-p xxxxxxxx --range x"),
            ("nodech cn1 ipmi.password,=pw", "cn1 ipmi.password,=xxxxxxxx"),
            ("bmcdiscover -ppw --range x", "-pxxxxxxxx --range x"),
            ("mkvm cn1 --password=pw", "cn1 --password=xxxxxxxx"),
            // Keys in a list.
            (
                "chtab key=y,username=u,password=a,b passwd.comments=1",
                "key=y,username=u,password=xxxxxxxx passwd.comments=1",
            ),
            ("tabch key=w,password=pw passwd.comments=1", "key=w,password=xxxxxxxx passwd.comments=1"),
            ("chtab -d key=w,password=pw passwd", "-d key=w,password=xxxxxxxx passwd"),
            ("gettab key=w,password=pw passwd.username", "key=w,password=xxxxxxxx passwd.username"),
            (
                "chtab switch=s,sshpassword=pw switches.username=u",
                "switch=s,sshpassword=xxxxxxxx switches.username=u",
            ),
            ("chtab node=n,passwd=pw iscsi.file=u", "node=n,passwd=xxxxxxxx iscsi.file=u"),
            ("chtab node=n,key=pw prodkey.product=u", "node=n,key=xxxxxxxx prodkey.product=u"),
            ("chtab key=OTHER,value=pw site.comments=x", "key=OTHER,value=xxxxxxxx site.comments=x"),
            ("chtab key=domain,value=d site.comments=x", "key=domain,value=d site.comments=x"),
            ("nodech cn2 ipmi.comments=a,ipmi.password=pw", "cn2 ipmi.comments=a,ipmi.password=xxxxxxxx"),
            // Criteria and conditions.
            ("noderange all@ipmi.password==pw,cn2", "all@ipmi.password==xxxxxxxx"),
            ("nodels all ipmi.password!=pw", "all ipmi.password!=xxxxxxxx"),
            ("nodels all ipmi.password=~/pw/", "all ipmi.password=~xxxxxxxx"),
            ("nodels all ipmi.password!~pw", "all ipmi.password!~xxxxxxxx"),
            ("lsdef -w bmcpassword==pw", "-w bmcpassword==xxxxxxxx"),
            ("tabdump -w passwd.password<pw passwd", "-w passwd.password<xxxxxxxx passwd"),
            ("rpower all@ipmi.password=~pw stat", "all@ipmi.password=~xxxxxxxx stat"),
            ("chdef cn2 -m bmcpassword=pw", "cn2 -m bmcpassword=xxxxxxxx"),
            ("chdef cn2 BMCPASSWORD=pw", "cn2 BMCPASSWORD=xxxxxxxx"),
            ("lsdef -w BMCPASSWORD==pw", "-w BMCPASSWORD==xxxxxxxx"),
            // Raw requests.
            ("ripmi cn2 0x06 0x3C 0x01 0x70", "cn2 0x06 0x3C xxxxxxxx xxxxxxxx"),
            ("ripmi cn2 06", "cn2 06"),
            ("nodels all nodetype.os==rhels9", "all nodetype.os==rhels9"),
            ("chdef cn1 addkcmdline=console=tty0,a=b", "cn1 addkcmdline=console=tty0,a=b"),
        ] {
            let mut all = line.split(' ').map(str::to_owned);
            let command = all.next().expect("a command");
            let rest: Vec<String> = all.collect();
            assert_eq!(words(&command, &rest).words.join(" "), expected);
        }
    }

    #[test]
    fn answers_do_not_repeat_what_is_masked() {
        let typed = ["cn2", "-m", "bmcpassword=pw1,pw2"].map(str::to_owned);
        let redacted = words("chdef", &typed);
        let answer = redacted.answer(&Response::error("pw2 is not in cn2 (pw1,pw2)", Some(1))).into_owned();
        assert_eq!(answer.error, ["xxxxxxxx is not in cn2 (xxxxxxxx)"]);
        assert_eq!(answer.errorcode, [1]);
        let many = words("chdef", &[format!("bmcpassword={}", "x,".repeat(100)), "bmcpassword=xx".into()]);
        assert_eq!(many.answer(&Response::error("xx x", None)).error, ["xx x"]);
        let many: Vec<String> = (0..100).map(|number| format!("bmcpassword=p{number}")).collect();
        assert_eq!(words("chdef", &many).answer(&Response::error("any", None)).error, [MASK]);
    }
}
