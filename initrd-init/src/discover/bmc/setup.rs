//! The steps that set a service processor up, over anything that answers requests.
//!
//! The address is set first, then the user. A value counts when it can be read back; service processors may
//! take a while for that. The new password is verified before any other user is disabled, so a step that
//! fails leaves the way in that there was.

use std::net::Ipv4Addr;
use std::time::Duration;

use dawn_wire::bmc::BmcSetup;

use super::message::{self, Copy, Parameter, Password, Request, UserAccess};

/// Channels that may be a LAN.
const CHANNELS: std::ops::RangeInclusive<u8> = 1..=0x0b;
/// Times that a value is set until it can be read back.
const TRIES_MAX: usize = 15;
/// Pause between them.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// The first slot that is given to a user: the first of all has no name.
const FIRST_SLOT: u8 = 2;

/// What answers requests.
pub(super) trait Bmc {
    /// The answer's data after its completion code.
    fn ask(&mut self, request: &Request) -> Result<Vec<u8>, BmcError>;
    /// Waits.
    fn pause(&mut self, time: Duration);
}

/// Why a service processor is not set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BmcError {
    #[error("this machine has no service processor that the kernel knows (/dev/ipmi0): {0}")]
    NoDevice(std::io::Error),
    #[error("cannot {what}: {cause}")]
    Device { what: &'static str, cause: std::io::Error },
    #[error("cannot {what}: the BMC does not answer")]
    Silent { what: &'static str },
    #[error("cannot {what}: the BMC refuses with code {code:02x}h")]
    Refused { what: &'static str, code: u8 },
    #[error("cannot {what}: the BMC takes the value and does not keep it")]
    NotKept { what: &'static str },
    #[error("cannot {what}: the BMC's answer is too short")]
    Short { what: &'static str },
    #[error("the BMC has no LAN channel")]
    NoLan,
    #[error("the BMC has no free slot for the user {0}")]
    NoSlot(String),
    #[error("the name of the BMC's user is longer than {} bytes", message::NAME_BYTES_MAX)]
    LongName,
    #[error("the password of the BMC's user is longer than {} bytes", message::PASSWORD_BYTES_MAX)]
    LongPassword,
    #[error("it cannot be asked how the BMC is to be set up: {0}")]
    NotAsked(std::io::Error),
    #[error(transparent)]
    NoSetup(#[from] dawn_wire::bmc::NoSetup),
}

/// A service processor on its LAN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lan {
    /// Its address, if that is set by hand: another one may be gone tomorrow.
    pub(crate) address: Option<Ipv4Addr>,
    /// Its MAC.
    pub(crate) mac: Option<[u8; 6]>,
}

/// Where the first LAN of a service processor is.
pub(super) fn read(bmc: &mut dyn Bmc) -> Result<Lan, BmcError> {
    let channel = lan_channel(bmc)?;
    let mut value = |parameter| bmc.ask(&message::get_lan(channel, parameter));
    let is_static =
        message::has_value(Parameter::AddressSource, &value(Parameter::AddressSource)?, &message::STATIC);
    let address: Option<[u8; 4]> =
        value(Parameter::Address)?.get(1..).and_then(|bytes| bytes.try_into().ok());
    let mac: Option<[u8; 6]> = value(Parameter::Mac)?.get(1..).and_then(|bytes| bytes.try_into().ok());
    Ok(Lan {
        address: address.map(Ipv4Addr::from).filter(|address| is_static && !address.is_unspecified()),
        mac: mac.filter(|mac| *mac != [0; 6]),
    })
}

/// Sets it up; `note` is given what is done and what is left out.
pub(super) fn apply(
    bmc: &mut dyn Bmc,
    setup: &BmcSetup,
    note: &mut dyn FnMut(String),
) -> Result<(), BmcError> {
    if setup.user.len() > message::NAME_BYTES_MAX {
        return Err(BmcError::LongName);
    }
    if setup.password.reveal().len() > message::PASSWORD_BYTES_MAX {
        return Err(BmcError::LongPassword);
    }
    let channel = lan_channel(bmc)?;
    note(format!("LAN channel {channel}: {}/{}", setup.address, setup.netmask));
    let mut steps = Steps { bmc, channel, note };
    steps.network(setup)?;
    let slot = steps.user(setup)?;
    steps.extras(slot);
    steps.disable_others(slot)
}

fn lan_channel(bmc: &mut dyn Bmc) -> Result<u8, BmcError> {
    for channel in CHANNELS {
        match bmc.ask(&message::channel_info(channel)) {
            Ok(answer) if message::is_lan(&answer) => return Ok(channel),
            // There is no such channel.
            Ok(_) | Err(BmcError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(BmcError::NoLan)
}

struct Steps<'a> {
    bmc: &'a mut dyn Bmc,
    channel: u8,
    note: &'a mut dyn FnMut(String),
}

impl Steps<'_> {
    fn network(&mut self, setup: &BmcSetup) -> Result<(), BmcError> {
        self.set(Parameter::AddressSource, &message::STATIC)?;
        self.set(Parameter::Address, &setup.address.octets())?;
        self.set(Parameter::Netmask, &setup.netmask.octets())?;
        if let Some(gateway) = setup.gateway {
            self.set(Parameter::Gateway, &gateway.octets())?;
        }
        self.set(Parameter::Vlan, &message::vlan(setup.vlan))
    }

    /// Sets a parameter that has another value.
    fn set(&mut self, parameter: Parameter, value: &[u8]) -> Result<(), BmcError> {
        let what = message::set_lan(self.channel, parameter, value).what;
        let mut last = BmcError::NotKept { what };
        for attempt in 0..=TRIES_MAX {
            let answer = self.bmc.ask(&message::get_lan(self.channel, parameter));
            match answer {
                Ok(answer) if message::has_value(parameter, &answer, value) => return Ok(()),
                Ok(_) => {}
                // A parameter that does not exist is as good as one that is off.
                Err(BmcError::Refused { .. }) if value.iter().all(|byte| *byte == 0) => return Ok(()),
                Err(error) => return Err(error),
            }
            if attempt == TRIES_MAX {
                break;
            }
            if attempt > 0 {
                self.bmc.pause(TRY_PAUSE);
            }
            last = match self.locked(parameter, value) {
                Ok(()) => BmcError::NotKept { what },
                Err(error) => error,
            };
        }
        Err(last)
    }

    /// The lock is optional; it is released before the value is read back, because some take it then only.
    fn locked(&mut self, parameter: Parameter, value: &[u8]) -> Result<(), BmcError> {
        let lock = |on| message::set_lan(self.channel, Parameter::SetInProgress, &[on]);
        let (take, commit, release) = (lock(1), lock(2), lock(0));
        let is_locked = self.bmc.ask(&take).is_ok();
        let set = self.bmc.ask(&message::set_lan(self.channel, parameter, value)).map(drop);
        if is_locked {
            // One that can take values back does so unless it hears this; others refuse it.
            if set.is_ok() {
                let _ = self.bmc.ask(&commit);
            }
            let _ = self.bmc.ask(&release);
        }
        set
    }

    /// The slot of the user, who is an administrator with this password afterwards.
    fn user(&mut self, setup: &BmcSetup) -> Result<u8, BmcError> {
        let (slot, is_named) = self.slot(&setup.user)?;
        (self.note)(format!("administrator {} in slot {slot}", setup.user));
        if !is_named {
            self.bmc.ask(&message::set_user_name(slot, &setup.user))?;
        }
        self.bmc.ask(&message::password(slot, &Password::Set(&setup.password)))?;
        self.bmc.ask(&message::set_user_access(self.channel, slot))?;
        self.bmc.ask(&message::password(slot, &Password::Enable))?;
        self.bmc.ask(&message::password(slot, &Password::Test(&setup.password)))?;
        for copy in [Copy::Kept, Copy::Present] {
            self.bmc.ask(&message::set_channel_access(self.channel, copy))?;
        }
        Ok(slot)
    }

    fn access(&mut self, slot: u8) -> Result<UserAccess, BmcError> {
        let request = message::user_access(self.channel, slot);
        let answer = self.bmc.ask(&request)?;
        UserAccess::read(&answer).ok_or(BmcError::Short { what: request.what })
    }

    /// The slot that has the name, else the first one without a name, and whether it has the name already.
    fn slot(&mut self, name: &str) -> Result<(u8, bool), BmcError> {
        let access = self.access(1)?;
        let mut free = None;
        for slot in 1..=access.users_max {
            let answer = match self.bmc.ask(&message::user_name(slot)) {
                Ok(answer) => answer,
                // That is how some say that it has none.
                Err(BmcError::Refused { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
            match message::name_in(&answer) {
                known if known == name.as_bytes() => return Ok((slot, true)),
                [] if slot >= FIRST_SLOT && slot > access.fixed_names => free = free.or(Some(slot)),
                _ => {}
            }
        }
        free.map(|slot| (slot, false)).ok_or_else(|| BmcError::NoSlot(name.to_owned()))
    }

    /// What a service processor can do without.
    fn extras(&mut self, slot: u8) {
        for request in [
            message::set_lan(self.channel, Parameter::ArpControl, &[0x02]),
            message::enable_sol(self.channel),
            message::let_use_sol(self.channel, slot),
        ] {
            if let Err(error) = self.bmc.ask(&request) {
                (self.note)(format!("{error}; going on"));
            }
        }
    }

    /// As xCAT does: no other user gets in by the network. A slot that cannot be disabled is noted.
    fn disable_others(&mut self, own: u8) -> Result<(), BmcError> {
        let users_max = self.access(own)?.users_max;
        for slot in (1..=users_max).filter(|slot| *slot != own) {
            // A slot that cannot be read is disabled as well.
            let is_disabled = self.access(slot).is_ok_and(|access| access.is_disabled);
            if !is_disabled && let Err(error) = self.bmc.ask(&message::password(slot, &Password::Disable)) {
                (self.note)(format!("slot {slot}: {error}; going on"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_wire::Secret;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    /// A service processor in memory: it keeps what it is told, as far as it is not told to misbehave.
    struct Simulated {
        lan: BTreeMap<u8, Vec<u8>>,
        users: BTreeMap<u8, User>,
        fixed_names: u8,
        /// Values that are set are taken after so many more tries.
        slowness: usize,
        /// Command and parameter or slot that are refused with D4h.
        refuses: Option<(u8, u8)>,
        /// Takes every password and keeps none.
        forgets_passwords: bool,
        channels: Vec<u8>,
        locked: bool,
        /// Takes back what is not committed.
        rolls_back: bool,
        before: BTreeMap<u8, Vec<u8>>,
        pauses: usize,
    }

    #[derive(Clone, Default, PartialEq, Eq)]
    struct User {
        name: Vec<u8>,
        password: Vec<u8>,
        is_enabled: bool,
        access: Vec<u8>,
    }

    impl Simulated {
        fn new() -> Self {
            let user = |name: &str, is_enabled| User { name: name.into(), is_enabled, ..User::default() };
            let users = [user("", true), user("root", true), user("", false), user("", false)];
            Self {
                lan: [
                    (3, vec![0; 4]),
                    (4, vec![2]),
                    (5, vec![2, 0, 0, 0, 0, 9]),
                    (6, vec![0; 4]),
                    (12, vec![0; 4]),
                    (20, vec![0; 2]),
                ]
                .into(),
                users: (1..).zip(users).collect(),
                fixed_names: 1,
                slowness: 0,
                refuses: None,
                forgets_passwords: false,
                channels: vec![8, 2],
                locked: false,
                rolls_back: false,
                before: BTreeMap::new(),
                pauses: 0,
            }
        }

        fn answer(&mut self, netfn: u8, command: u8, data: &[u8]) -> Result<Vec<u8>, u8> {
            if self.refuses == Some((command, data[usize::from(netfn == 0x0c)])) {
                return Err(0xd4);
            }
            let user = |data: &[u8], at: usize| data[at] & 0x3f;
            match (netfn, command) {
                (0x06, 0x42) if self.channels.contains(&data[0]) => Ok(vec![data[0], 4, 1, 0, 0]),
                (0x06, 0x42) if data[0] == 1 => Ok(vec![1, 5, 1, 0, 0]),
                (0x06, 0x42) => Err(0xcc),
                (0x0c, 0x02) => {
                    self.lan.get(&data[1]).map(|value| [&[0x11], &value[..]].concat()).ok_or(0x80)
                }
                (0x0c, 0x01) if data[1] == 0 && data[2] == 2 && !self.rolls_back => Err(0x80),
                (0x0c, 0x01) if data[1] == 0 => {
                    if data[2] == 0 && self.locked && self.rolls_back {
                        self.lan = self.before.clone();
                    }
                    self.locked = data[2] == 1;
                    self.before = self.lan.clone();
                    Ok(Vec::new())
                }
                (0x0c, 0x01) if !self.lan.contains_key(&data[1]) => Err(0x80),
                (0x0c, 0x01) => {
                    assert!(self.locked, "parameter {} is set without the lock", data[1]);
                    match self.slowness.checked_sub(1) {
                        Some(left) => self.slowness = left,
                        None => drop(self.lan.insert(data[1], data[2..].to_vec())),
                    }
                    Ok(Vec::new())
                }
                (0x06, 0x44) => {
                    let known = self.users.get(&user(data, 1)).ok_or(0xcc)?;
                    let count = u8::try_from(self.users.len()).unwrap();
                    Ok(vec![count, if known.is_enabled { 0x41 } else { 0x81 }, self.fixed_names, 0])
                }
                (0x06, 0x46) => match &self.users[&user(data, 0)].name {
                    name if name.is_empty() => Err(0xcc),
                    name => Ok([&name[..], &[0; 16]].concat()[..16].to_vec()),
                },
                (0x06, 0x45) => {
                    let name = data[1..].split(|byte| *byte == 0).next().unwrap().to_vec();
                    self.users.get_mut(&data[0]).unwrap().name = name;
                    Ok(Vec::new())
                }
                (0x06, 0x43) => {
                    self.users.get_mut(&user(data, 1)).unwrap().access = data.to_vec();
                    Ok(Vec::new())
                }
                (0x06, 0x47) => {
                    let forgets = self.forgets_passwords;
                    let known = self.users.get_mut(&user(data, 0)).unwrap();
                    match data[1] {
                        0 | 1 => known.is_enabled = data[1] == 1,
                        2 if !forgets => known.password = data[2..].to_vec(),
                        3 if known.password != data[2..] => return Err(0x80),
                        _ => {}
                    }
                    Ok(Vec::new())
                }
                (0x06, 0x40) => Ok(Vec::new()),
                _ => Err(0xc1),
            }
        }

        fn shown(&self) -> String {
            let lan = self
                .lan
                .iter()
                .filter(|(number, _)| **number != 5)
                .map(|(number, value)| format!("{number}={value:?}"));
            let users = self.users.iter().map(|(slot, user)| {
                let password = String::from_utf8_lossy(&user.password).trim_end_matches('\0').to_owned();
                let name = String::from_utf8_lossy(&user.name).into_owned();
                let on = if user.is_enabled { "on" } else { "off" };
                format!("{slot}:{name}:{password}:{on}:{:02x?}", user.access)
            });
            lan.chain(users).collect::<Vec<_>>().join(" ")
        }
    }

    impl Bmc for Simulated {
        fn ask(&mut self, request: &Request) -> Result<Vec<u8>, BmcError> {
            let answer = self.answer(request.netfn, request.command, &request.data);
            answer.map_err(|code| BmcError::Refused { what: request.what, code })
        }

        fn pause(&mut self, _: Duration) {
            self.pauses += 1;
        }
    }

    fn wanted() -> BmcSetup {
        BmcSetup {
            address: Ipv4Addr::new(10, 2, 0, 1),
            netmask: Ipv4Addr::new(255, 255, 0, 0),
            gateway: Some(Ipv4Addr::new(10, 2, 0, 254)),
            user: "ADMIN".into(),
            password: Secret::new("hush"),
            vlan: Some(12),
            port: String::new(),
        }
    }

    fn set_up(bmc: &mut Simulated, setup: &BmcSetup) -> String {
        let mut notes = Vec::new();
        match apply(bmc, setup, &mut |note| notes.push(note)) {
            Ok(()) => notes.join("\n"),
            Err(error) => format!("failed: {error}"),
        }
    }

    #[test]
    fn what_is_read_of_it() {
        let mut bmc = Simulated::new();
        let mac = Some([2, 0, 0, 0, 0, 9]);
        assert_eq!(read(&mut bmc).unwrap(), Lan { address: None, mac });
        bmc.lan.insert(3, vec![10, 2, 0, 7]);
        assert_eq!(read(&mut bmc).unwrap().address, None, "it is DHCP's");
        bmc.lan.insert(4, vec![1]);
        assert_eq!(read(&mut bmc).unwrap(), Lan { address: Some(Ipv4Addr::new(10, 2, 0, 7)), mac });
        bmc.lan.insert(5, vec![1]);
        assert_eq!(read(&mut bmc).unwrap().mac, None);
    }

    #[test]
    fn from_the_factory_to_the_tables() {
        let mut bmc = Simulated::new();
        assert_eq!(
            set_up(&mut bmc, &wanted()),
            "LAN channel 2: 10.2.0.1/255.255.0.0\nadministrator ADMIN in slot 3\n\
             cannot have the BMC answer ARP: the BMC refuses with code 80h; going on\n\
             cannot enable the BMC's serial console: the BMC refuses with code c1h; going on\n\
             cannot give the BMC's user the serial console: the BMC refuses with code c1h; going on"
        );
        let done = "3=[10, 2, 0, 1] 4=[1] 6=[255, 255, 0, 0] 12=[10, 2, 0, 254] 20=[12, 128] \
                    1:::off:[] 2:root::off:[] 3:ADMIN:hush:on:[b2, 03, 04, 00] 4:::off:[]";
        assert_eq!(bmc.shown(), done);
        // Again, without the VLAN: the slot is the same.
        set_up(&mut bmc, &BmcSetup { vlan: None, gateway: None, ..wanted() });
        assert_eq!(bmc.shown(), done.replace("20=[12, 128]", "20=[0, 0]"));
        assert!(!bmc.locked);
    }

    #[test]
    fn one_that_takes_back_what_is_not_committed() {
        let mut bmc = Simulated { rolls_back: true, ..Simulated::new() };
        assert!(set_up(&mut bmc, &wanted()).starts_with("LAN channel 2"));
        assert_eq!(bmc.lan[&3], [10, 2, 0, 1]);
        assert!(!bmc.locked);
    }

    #[test]
    fn a_slow_one_is_waited_for() {
        let mut bmc = Simulated { slowness: 5, ..Simulated::new() };
        assert!(set_up(&mut bmc, &wanted()).starts_with("LAN channel 2"));
        assert_eq!(bmc.pauses, 5);
        let mut bmc = Simulated { slowness: 1000, ..Simulated::new() };
        assert_eq!(
            set_up(&mut bmc, &wanted()),
            "failed: cannot make the BMC's address a static one: the BMC takes the value and does not keep it"
        );
    }

    #[test]
    fn what_fails_is_named_and_locks_nobody_out() {
        let with = |change: fn(&mut Simulated)| {
            let mut bmc = Simulated::new();
            change(&mut bmc);
            let said = set_up(&mut bmc, &wanted());
            assert!(!bmc.locked);
            assert!(bmc.users[&2].is_enabled, "root still gets in: {said}");
            said
        };
        for (change, said) in [
            ((|bmc| bmc.channels.clear()) as fn(&mut Simulated), "failed: the BMC has no LAN channel"),
            (
                |bmc| bmc.refuses = Some((0x01, 3)),
                "failed: cannot set the BMC's address: the BMC refuses with code d4h",
            ),
            (
                |bmc| bmc.refuses = Some((0x45, 3)),
                "failed: cannot name the BMC's user: the BMC refuses with code d4h",
            ),
            (
                |bmc| bmc.forgets_passwords = true,
                "failed: cannot verify the password of the BMC's user: the BMC refuses with code 80h",
            ),
            (|bmc| bmc.fixed_names = 4, "failed: the BMC has no free slot for the user ADMIN"),
        ] {
            assert_eq!(with(change), said);
        }
        let long = BmcSetup { user: "a-name-that-is-too-long".into(), ..wanted() };
        assert_eq!(
            set_up(&mut Simulated::new(), &long),
            "failed: the name of the BMC's user is longer than 16 bytes"
        );
        let long = BmcSetup { password: Secret::new("x".repeat(21)), ..wanted() };
        let said = set_up(&mut Simulated::new(), &long);
        assert_eq!(said, "failed: the password of the BMC's user is longer than 20 bytes");
    }

    /// One without a VLAN parameter is content with none.
    #[test]
    fn what_does_not_exist_is_off() {
        let mut bmc = Simulated::new();
        bmc.lan.remove(&20);
        assert!(set_up(&mut bmc, &BmcSetup { vlan: None, ..wanted() }).starts_with("LAN channel 2"));
        assert_eq!(
            set_up(&mut bmc, &wanted()),
            "failed: cannot read the BMC's LAN parameters: the BMC refuses with code 80h"
        );
    }
}
