//! The machine's power, its identify light, and what it boots from next (IPMI 2.0, chapter 28).

use super::{Command, CommandError, Completion, Transport, code, silent_answer};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// Get Chassis Status.
#[derive(Clone, Copy, Debug)]
pub struct GetStatus;

/// What the machine does when mains power returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePolicy {
    /// It stays off.
    AlwaysOff,
    /// As it was.
    LastState,
    /// It starts.
    AlwaysOn,
    /// The BMC does not say.
    Unknown,
}

/// The identify light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifyLight {
    /// Off.
    Off,
    /// On for some seconds.
    Temporary,
    /// On until it is switched off.
    On,
    /// Reserved value.
    Unknown,
}

/// The machine's state. Bytes are kept raw where each bit has its own meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Byte 1 (table 28-3): bit 0 power, 1 overload, 2 interlock, 3 fault, 4 control fault, 5 and 6 policy.
    pub power: u8,
    /// Byte 2: bit 0 mains failed, 1 overload, 2 interlock, 3 fault, 4 "on" by IPMI.
    pub last_event: u8,
    /// Byte 3: bit 0 intrusion, 1 front panel locked, 2 drive fault, 3 cooling fault, 4 and 5 identify.
    pub misc: u8,
}

impl Status {
    /// Whether the machine runs.
    pub fn is_on(self) -> bool {
        self.power & 1 != 0
    }

    /// What happens after the mains failed.
    pub fn restore_policy(self) -> RestorePolicy {
        match self.power >> 5 & 3 {
            0 => RestorePolicy::AlwaysOff,
            1 => RestorePolicy::LastState,
            2 => RestorePolicy::AlwaysOn,
            _ => RestorePolicy::Unknown,
        }
    }

    /// The light, if the BMC reports it.
    pub fn identify(self) -> Option<IdentifyLight> {
        (self.misc & 0x40 != 0).then_some(match self.misc >> 4 & 3 {
            0 => IdentifyLight::Off,
            1 => IdentifyLight::Temporary,
            2 => IdentifyLight::On,
            _ => IdentifyLight::Unknown,
        })
    }
}

impl Command for GetStatus {
    type Answer = Status;
    const CODE: Code = code(0x00, 0x01);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<Status, Malformed> {
        let [power, last_event, misc] = Reader::new(data).array()?;
        Ok(Status { power, last_event, misc })
    }
}

/// Chassis Control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Control {
    /// Power off, at once.
    Off = 0,
    /// Power on.
    On = 1,
    /// Off, at least a second of pause, on.
    Cycle = 2,
    /// Hard reset.
    Reset = 3,
    /// A diagnostic interrupt (NMI).
    Diagnostic = 4,
    /// Asks the operating system to shut down, by ACPI.
    SoftOff = 5,
}

impl Command for Control {
    silent_answer!();
    const CODE: Code = code(0x00, 0x02);

    fn data(&self) -> Vec<u8> {
        vec![*self as u8]
    }
}

/// Chassis Identify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identify {
    /// For so many seconds; 0 switches the light off.
    Seconds(u8),
    /// Until it is switched off. BMCs without IPMI 2.0 refuse this.
    On,
}

impl Command for Identify {
    silent_answer!();
    const CODE: Code = code(0x00, 0x04);

    fn data(&self) -> Vec<u8> {
        match self {
            Self::Seconds(seconds) => vec![*seconds],
            Self::On => vec![0, 1],
        }
    }
}

/// Set System Boot Options: one parameter.
#[derive(Clone, Debug)]
pub struct SetBootOption {
    /// Its number, 0 to 127.
    pub number: u8,
    /// Its value.
    pub value: Vec<u8>,
}

impl Command for SetBootOption {
    silent_answer!();
    const CODE: Code = code(0x00, 0x08);

    fn data(&self) -> Vec<u8> {
        [&[self.number & 0x7f], &self.value[..]].concat()
    }
}

/// Get System Boot Options: one parameter. The answer is its value.
#[derive(Clone, Copy, Debug)]
pub struct GetBootOption {
    /// Its number, 0 to 127.
    pub number: u8,
}

impl Command for GetBootOption {
    type Answer = Vec<u8>;
    const CODE: Code = code(0x00, 0x09);

    fn data(&self) -> Vec<u8> {
        vec![self.number & 0x7f, 0, 0]
    }

    fn read(&self, data: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut reader = Reader::new(data);
        let [_version, _number] = reader.array()?;
        Ok(reader.rest().to_vec())
    }
}

/// Set Power Restore Policy. The answer is a byte of policies that the BMC has.
#[derive(Clone, Copy, Debug)]
pub struct SetRestorePolicy(pub RestorePolicy);

impl Command for SetRestorePolicy {
    type Answer = u8;
    const CODE: Code = code(0x00, 0x06);

    fn data(&self) -> Vec<u8> {
        vec![match self.0 {
            RestorePolicy::AlwaysOff => 0,
            RestorePolicy::LastState => 1,
            RestorePolicy::AlwaysOn => 2,
            RestorePolicy::Unknown => 3,
        }]
    }

    fn read(&self, data: &[u8]) -> Result<u8, Malformed> {
        Reader::new(data).u8()
    }
}

const SET_IN_PROGRESS: u8 = 0;
const EXPIRY: u8 = 3;
const BOOT_FLAGS: u8 = 5;
const FLAGS_VALID: u8 = 0x80;
const FLAGS_PERSISTENT: u8 = 0x40;
const FLAGS_UEFI: u8 = 0x20;
/// Bits of parameter 3 that keep flags valid over all kinds of resets and beyond 60 s.
const EXPIRE_NEVER: u8 = 0x1f;

/// What a machine boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The device of its set-up.
    Default,
    /// The network.
    Network,
    /// The first disk.
    Disk,
    /// An optical drive.
    Optical,
    /// The firmware's set-up.
    Setup,
    /// A floppy, or another removable medium.
    Floppy,
    /// Another selector of the table, 1 to 15.
    Other(u8),
}

impl Device {
    const KNOWN: [(Self, u8); 6] = [
        (Self::Default, 0),
        (Self::Network, 1),
        (Self::Disk, 2),
        (Self::Optical, 5),
        (Self::Setup, 6),
        (Self::Floppy, 15),
    ];

    fn number(self) -> u8 {
        match self {
            Self::Other(number) => number & 0x0f,
            known => Self::KNOWN.iter().find(|(device, _)| *device == known).map_or(0, |(_, number)| *number),
        }
    }

    fn from_number(number: u8) -> Self {
        let known = Self::KNOWN.iter().find(|(_, known)| *known == number);
        known.map_or(Self::Other(number), |(device, _)| *device)
    }
}

/// What a machine boots from, instead of what its set-up says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootOverride {
    /// The device.
    pub device: Device,
    /// At every boot, not only the next one.
    pub persistent: bool,
    /// By UEFI.
    pub uefi: bool,
}

impl BootOverride {
    /// The value of boot option 5.
    fn flags(self) -> [u8; 5] {
        let persistent = if self.persistent { FLAGS_PERSISTENT } else { 0 };
        let uefi = if self.uefi { FLAGS_UEFI } else { 0 };
        [FLAGS_VALID | persistent | uefi, self.device.number() << 2, 0, 0, 0]
    }

    /// Reads boot option 5; `None` if nothing is set.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(value: &[u8]) -> Result<Option<Self>, Malformed> {
        let [first, second] = Reader::new(value).array()?;
        Ok((first & FLAGS_VALID != 0).then_some(Self {
            device: Device::from_number(second >> 2 & 0x0f),
            persistent: first & FLAGS_PERSISTENT != 0,
            uefi: first & FLAGS_UEFI != 0,
        }))
    }
}

/// What is set now; `None` if the machine boots as its set-up says.
///
/// # Errors
/// The command's.
pub async fn boot_override(bmc: &impl Transport) -> Result<Option<BootOverride>, CommandError> {
    let value = bmc.run(GetBootOption { number: BOOT_FLAGS }).await?;
    Ok(BootOverride::parse(&value)?)
}

/// Sets what the machine boots from (`None`: as its set-up says) and returns what the BMC says afterwards.
///
/// Flags of a machine that is not started within 60 s would expire, so that is switched off first; BMCs
/// without this feature answer 80h, which counts as success.
///
/// # Errors
/// The commands'.
pub async fn set_boot_override(
    bmc: &impl Transport,
    wanted: Option<BootOverride>,
) -> Result<Option<BootOverride>, CommandError> {
    let set = |number, value: &[u8]| SetBootOption { number, value: value.to_vec() };
    tolerate_missing(bmc.run(set(EXPIRY, &[EXPIRE_NEVER])).await)?;
    // Not every BMC has the lock; without it the flags are still set.
    let locked = bmc.run(set(SET_IN_PROGRESS, &[1])).await.is_ok();
    let result = bmc.run(set(BOOT_FLAGS, &wanted.map_or([0; 5], BootOverride::flags))).await;
    if locked {
        tolerate_missing(bmc.run(set(SET_IN_PROGRESS, &[0])).await)?;
    }
    result?;
    boot_override(bmc).await
}

fn tolerate_missing(result: Result<(), CommandError>) -> Result<(), CommandError> {
    match result {
        Err(CommandError::Completion(Completion::NO_PARAMETER)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status() {
        let status = GetStatus.read(&[0x21, 0x10, 0x60]).unwrap();
        assert!(status.is_on());
        assert_eq!(status.restore_policy(), RestorePolicy::LastState);
        assert_eq!(status.identify(), Some(IdentifyLight::On));
        assert_eq!(GetStatus.read(&[0x00, 0, 0x20]).unwrap().identify(), None);
        assert!(GetStatus.read(&[0]).is_err());
    }

    #[test]
    fn boot_flags() {
        let with = |device, persistent, uefi| BootOverride { device, persistent, uefi };
        for (wanted, first, second) in [
            (with(Device::Network, false, false), 0x80, 0x04),
            (with(Device::Disk, true, false), 0xc0, 0x08),
            (with(Device::Optical, false, true), 0xa0, 0x14),
            (with(Device::Setup, true, true), 0xe0, 0x18),
            (with(Device::Floppy, false, false), 0x80, 0x3c),
            (with(Device::Other(7), false, false), 0x80, 0x1c),
        ] {
            assert_eq!(wanted.flags(), [first, second, 0, 0, 0], "{wanted:?}");
            assert_eq!(BootOverride::parse(&wanted.flags()), Ok(Some(wanted)));
        }
        assert_eq!(BootOverride::parse(&[0x40, 4]), Ok(None));
        assert!(BootOverride::parse(&[0x80]).is_err());
    }
}
