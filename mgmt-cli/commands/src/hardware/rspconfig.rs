//! `rspconfig`: settings of service processors.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_hardware::facts::settings::{COMMUNITY_BYTES_MAX, GARP_SECONDS, Key, Setting};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Error, Links, Processor, Secret, Target};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Bytes of a user's name or password.
const LOGIN_BYTES_MAX: usize = 16;
/// Slots of users.
const USERS: std::ops::RangeInclusive<u8> = 1..=63;

/// Show or change settings of the service processors of nodes
///
/// A word KEY shows a setting, KEY=VALUE changes it and shows what the service processor has then; the two
/// are not mixed. Keys: ip (an address, or dhcp), netmask, gateway, backupgateway, vlan (1 to 4094, or
/// off), snmpdest1 to snmpdest4, community, alert (on, off), garp (seconds between ARP announcements), and
/// to set only userid=SLOT, username=NAME, password=WORD. The tables are not changed: enter a new address,
/// name or password with chdef.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Settings
    #[arg(value_name = "KEY[=VALUE]", required = true)]
    words: Vec<String>,
}

/// A setting of a node.
#[derive(serde::Serialize)]
struct Shown<'n> {
    node: &'n str,
    bmc: usize,
    #[serde(flatten)]
    found: Found,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, format!("{}{}", self.found.line, jobs::suffix(self.bmc)))
    }
}

/// What a service processor has, or has taken.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Found {
    /// The word for it on the command line.
    key: String,
    /// Its value; nothing for one that cannot be read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// What was asked for, while the service processor still has another value.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<String>,
    #[serde(skip)]
    line: String,
}

/// What is to be done, in order.
#[derive(Clone, Debug)]
enum Step {
    Show(Key),
    Set(Setting),
}

/// Why words are refused.
#[derive(Debug)]
enum Refusal {
    /// Not known.
    Unsupported(String),
    /// Shows and sets.
    Mixed,
    /// A value is wrong: an error of each node.
    Value(String),
}

impl Command for Args {
    const NAME: &'static str = "rspconfig";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let steps = match steps(&self.words) {
            Ok(steps) => steps,
            Err(refusal) => return refuse(ctx, out, refusal),
        };
        let job = move |links: Arc<Links>, target: Target| {
            let steps = steps.clone();
            jobs::of_all(links, target, move |bmc| Box::pin(carry_out(bmc, steps.clone())))
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, parts| {
            jobs::show_parts(ctx, out, node, parts, |out, bmc, all| {
                all.into_iter().try_for_each(|found| out.report(&Shown { node, bmc, found }))
            })
        })
    }
}

fn refuse(ctx: &Ctx<'_>, out: &mut Out<'_>, refusal: Refusal) -> Done {
    match refusal {
        Refusal::Unsupported(word) => jobs::refuse_words(ctx, out, (Deciding::Mgt, "Error: "), |mgt| {
            format!("Unsupported command: rspconfig {word} when using mgt={mgt}.")
        }),
        Refusal::Mixed => jobs::refuse_words(ctx, out, (Deciding::Mgt, "Usage Error: "), |mgt| {
            format!("Cannot display and change attributes on the same command when using mgt={mgt}.")
        }),
        Refusal::Value(text) => {
            ctx.nodes()
                .iter()
                .try_for_each(|node| out.node_error(node, CommandError::usage(text.clone())))?;
            Err(Stop::Code(1))
        }
    }
}

fn steps(words: &[String]) -> Result<Vec<Step>, Refusal> {
    let sets = words.iter().filter(|word| word.contains('=')).count();
    if sets != 0 && sets != words.len() {
        return Err(Refusal::Mixed);
    }
    if sets == 0 {
        let key = |word: &String| key(word).map(Step::Show).ok_or_else(|| Refusal::Unsupported(word.clone()));
        return words.iter().map(key).collect();
    }
    let (mut steps, mut slot) = (Vec::new(), None);
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if name == "userid" {
            let number = value.parse().ok().filter(|number| USERS.contains(number));
            slot = Some(number.ok_or_else(|| Refusal::Value("The userid is invalid".to_owned()))?);
            continue;
        }
        let setting = setting(name, value, &mut slot)?;
        steps.push(Step::Set(setting));
    }
    Ok(steps)
}

fn key(word: &str) -> Option<Key> {
    Some(match word {
        "ip" => Key::Ip,
        "netmask" => Key::Netmask,
        "gateway" => Key::Gateway,
        "backupgateway" => Key::BackupGateway,
        "vlan" => Key::Vlan,
        "community" => Key::Community,
        "alert" => Key::Alert,
        "garp" => Key::Garp,
        "snmpdest" => Key::SnmpDestination(1),
        _ => {
            let number = word.strip_prefix("snmpdest")?.parse().ok()?;
            (1..=4).contains(&number).then_some(Key::SnmpDestination(number))?
        }
    })
}

fn setting(name: &str, value: &str, slot: &mut Option<u8>) -> Result<Setting, Refusal> {
    let invalid = |what: &str| Refusal::Value(format!("The {what} is invalid"));
    // A value that may be a secret is never repeated.
    match name {
        "username" => {
            let good = !value.is_empty() && value.len() <= LOGIN_BYTES_MAX && value.is_ascii();
            let slot = *slot.get_or_insert(2);
            return good
                .then(|| Setting::UserName(slot, value.to_owned()))
                .ok_or_else(|| invalid("username"));
        }
        "password" => {
            let good = !value.is_empty() && value.len() <= LOGIN_BYTES_MAX;
            let secret = Secret::new(value.as_bytes());
            let slot = slot.unwrap_or(1);
            return good.then_some(Setting::Password(slot, secret)).ok_or_else(|| invalid("new password"));
        }
        _ => {}
    }
    let key = key(name).ok_or_else(|| Refusal::Unsupported(name.to_owned()))?;
    let switch = |value: &str| match value {
        "on" | "en" | "enable" | "enabled" => Some(true),
        "off" | "dis" | "disable" | "disabled" => Some(false),
        _ => None,
    };
    match key {
        Key::Ip if value == "dhcp" => Ok(Setting::Dhcp),
        Key::Vlan => vlan(value),
        Key::Community if value.len() <= COMMUNITY_BYTES_MAX => Ok(Setting::Community(value.to_owned())),
        Key::Community => Err(invalid("community")),
        Key::Alert => switch(value).map(Setting::Alert).ok_or_else(|| invalid("value of alert")),
        Key::Garp => {
            let seconds = value.parse().ok().filter(|seconds| GARP_SECONDS.contains(seconds));
            seconds.map(Setting::GarpSeconds).ok_or_else(|| invalid("number of seconds"))
        }
        Key::Ip | Key::Netmask | Key::Gateway | Key::BackupGateway | Key::SnmpDestination(_) => value
            .parse::<Ipv4Addr>()
            .map(|address| Setting::Address(key, address))
            .map_err(|_| Refusal::Value(format!("'{value}' is not an IPv4 address"))),
    }
}

fn vlan(value: &str) -> Result<Setting, Refusal> {
    if matches!(value, "off" | "disable" | "disabled") {
        return Ok(Setting::Vlan(None));
    }
    let wrong = |reason: &str| Refusal::Value(format!("The input {value} is invalid, {reason}"));
    let number: u16 = value.parse().map_err(|_| wrong("please input an integer or 'off'"))?;
    match number {
        1..=4094 => Ok(Setting::Vlan(Some(number))),
        _ => Err(wrong("valid value [1-4094] or 'off'")),
    }
}

/// Carries the steps out; a change is followed by what the service processor has then.
async fn carry_out(bmc: &dyn Processor, steps: Vec<Step>) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Show(key) => all.push(found(key, &bmc.setting(key).await?)),
            Step::Set(setting) => {
                bmc.set(setting.clone()).await?;
                match (&setting, key_of(&setting)) {
                    (Setting::UserName(..), _) => all.push(taken("username")),
                    (Setting::Password(..), _) => all.push(taken("password")),
                    (_, Some(key)) => all.push(reflected(key, &setting, &bmc.setting(key).await?)),
                    (_, None) => {}
                }
            }
        }
    }
    Ok(all)
}

fn key_of(setting: &Setting) -> Option<Key> {
    Some(match setting {
        Setting::Address(key, _) => *key,
        Setting::Vlan(_) => Key::Vlan,
        Setting::Community(_) => Key::Community,
        Setting::Alert(_) => Key::Alert,
        Setting::GarpSeconds(_) => Key::Garp,
        Setting::Dhcp | Setting::UserName(..) | Setting::Password(..) => return None,
    })
}

/// What cannot be read back.
fn taken(key: &str) -> Found {
    Found { key: key.to_owned(), value: None, requested: None, line: format!("set {key} Done") }
}

/// What a service processor has for a key.
fn found(key: Key, setting: &Setting) -> Found {
    Found { key: word_of(key), value: Some(value(setting)), requested: None, line: text(key, setting) }
}

/// The same after a change.
fn reflected(key: Key, wanted: &Setting, setting: &Setting) -> Found {
    let found = found(key, setting);
    if wanted == setting {
        return found;
    }
    let requested = value(wanted);
    let line = format!("{} (requested {requested}, not yet reflected)", found.line);
    Found { requested: Some(requested), line, ..found }
}

/// The word of the command line for a key.
fn word_of(key: Key) -> String {
    match key {
        Key::Ip => "ip",
        Key::Netmask => "netmask",
        Key::Gateway => "gateway",
        Key::BackupGateway => "backupgateway",
        Key::Vlan => "vlan",
        Key::Community => "community",
        Key::Alert => "alert",
        Key::Garp => "garp",
        Key::SnmpDestination(number) => return format!("snmpdest{number}"),
    }
    .to_owned()
}

fn text(key: Key, setting: &Setting) -> String {
    let label = match key {
        Key::Ip => "BMC IP",
        Key::Netmask => "BMC Netmask",
        Key::Gateway => "BMC Gateway",
        Key::BackupGateway => "BMC Backup Gateway",
        Key::Community => "SP SNMP Community",
        Key::Alert => "SP Alerting",
        Key::Garp => "Gratuitous ARP seconds",
        Key::SnmpDestination(number) => {
            return format!("SP SNMP Destination {number}: {}", value(setting));
        }
        Key::Vlan => {
            return match setting {
                Setting::Vlan(Some(number)) => format!("BMC VLAN ID enabled: {number}"),
                _ => "BMC VLAN disabled".to_owned(),
            };
        }
    };
    format!("{label}: {}", value(setting))
}

fn value(setting: &Setting) -> String {
    match setting {
        Setting::Address(_, address) => address.to_string(),
        Setting::Vlan(vlan) => vlan.map_or_else(|| "off".to_owned(), |vlan| vlan.to_string()),
        Setting::Community(text) | Setting::UserName(_, text) => text.clone(),
        Setting::Alert(on) => if *on { "enabled" } else { "disabled" }.to_owned(),
        Setting::GarpSeconds(seconds) => seconds.to_string(),
        Setting::Dhcp => "dhcp".to_owned(),
        Setting::Password(..) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match steps(&words) {
            Ok(steps) => format!("{steps:?}"),
            Err(Refusal::Unsupported(word)) => format!("unsupported {word}"),
            Err(Refusal::Mixed) => "mixed".to_owned(),
            Err(Refusal::Value(text)) => text,
        }
    }

    #[test]
    fn words() {
        for (line, expected) in [
            ("ip netmask", "[Show(Ip), Show(Netmask)]"),
            ("snmpdest2", "[Show(SnmpDestination(2))]"),
            ("snmpdest5", "unsupported snmpdest5"),
            ("bogus", "unsupported bogus"),
            ("bogus=1", "unsupported bogus"),
            ("ip vlan=1", "mixed"),
            ("ip=10.2.0.5", "[Set(Address(Ip, 10.2.0.5))]"),
            ("ip=dhcp", "[Set(Dhcp)]"),
            ("ip=x", "'x' is not an IPv4 address"),
            ("vlan=12", "[Set(Vlan(Some(12)))]"),
            ("vlan=off", "[Set(Vlan(None))]"),
            ("vlan=x", "The input x is invalid, please input an integer or 'off'"),
            ("vlan=4095", "The input 4095 is invalid, valid value [1-4094] or 'off'"),
            ("alert=en", "[Set(Alert(true))]"),
            ("garp=2", "[Set(GarpSeconds(2))]"),
            ("garp=1", "The number of seconds is invalid"),
            ("username=u password=hush", r#"[Set(UserName(2, "u")), Set(Password(2, ********))]"#),
            ("password=hush", "[Set(Password(1, ********))]"),
            ("userid=3 password=hush", "[Set(Password(3, ********))]"),
            ("password=this-one-is-too-long", "The new password is invalid"),
            ("username=", "The username is invalid"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_shown() {
        let ip = |last| Setting::Address(Key::Ip, Ipv4Addr::new(10, 2, 0, last));
        assert_eq!(reflected(Key::Ip, &ip(5), &ip(5)).line, "BMC IP: 10.2.0.5");
        let late = reflected(Key::Ip, &ip(9), &ip(5));
        assert_eq!(late.line, "BMC IP: 10.2.0.5 (requested 10.2.0.9, not yet reflected)");
        assert_eq!(
            serde_json::to_string(&Shown { node: "cn1", bmc: 1, found: late }).unwrap(),
            r#"{"node":"cn1","bmc":1,"key":"ip","value":"10.2.0.5","requested":"10.2.0.9"}"#
        );
        assert_eq!(text(Key::Vlan, &Setting::Vlan(Some(12))), "BMC VLAN ID enabled: 12");
        assert_eq!(text(Key::Vlan, &Setting::Vlan(None)), "BMC VLAN disabled");
        assert_eq!(text(Key::Alert, &Setting::Alert(false)), "SP Alerting: disabled");
    }
}
