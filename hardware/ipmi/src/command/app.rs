//! Commands about the BMC itself: identity, GUID, reset (IPMI 2.0, chapter 20).

use super::{Command, code, silent_answer};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// Get Device ID.
#[derive(Clone, Copy, Debug)]
pub struct GetDeviceId;

/// Who made the BMC, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// The device.
    pub device: u8,
    /// Its revision, 0 to 15.
    pub revision: u8,
    /// Major revision of the firmware, 0 to 127.
    pub firmware_major: u8,
    /// Minor revision of the firmware, two decimal digits (from BCD).
    pub firmware_minor: u8,
    /// Version of IPMI: major, minor.
    pub ipmi: (u8, u8),
    /// Whether it has device SDRs.
    pub has_device_sdrs: bool,
    /// Bits of what it supports besides: sensors, repository, log, FRU, … (table 20-2, byte 7).
    pub support: u8,
    /// The maker's number with IANA, 20 bits.
    pub manufacturer: u32,
    /// The maker's number of the product.
    pub product: u16,
    /// More of the firmware's revision, if the BMC has it.
    pub auxiliary: Option<[u8; 4]>,
}

impl Command for GetDeviceId {
    type Answer = DeviceId;
    const CODE: Code = code(0x06, 0x01);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<DeviceId, Malformed> {
        let mut reader = Reader::new(data);
        let [device, revision, major, minor, version, support] = reader.array()?;
        let manufacturer = reader.u24()? & 0x000f_ffff;
        let product = reader.u16()?;
        Ok(DeviceId {
            device,
            revision: revision & 0x0f,
            firmware_major: major & 0x7f,
            firmware_minor: (minor >> 4).saturating_mul(10).saturating_add(minor & 0x0f),
            ipmi: (version & 0x0f, version >> 4),
            has_device_sdrs: revision & 0x80 != 0,
            support,
            manufacturer,
            product,
            auxiliary: reader.array().ok(),
        })
    }
}

/// Get Device GUID. Sixteen bytes in the order of the wire; how they are to be read differs between BMCs.
#[derive(Clone, Copy, Debug)]
pub struct GetDeviceGuid;

impl Command for GetDeviceGuid {
    type Answer = [u8; 16];
    const CODE: Code = code(0x06, 0x08);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<[u8; 16], Malformed> {
        Reader::new(data).array()
    }
}

/// Get System GUID, of the machine. Without a session every BMC answers it.
#[derive(Clone, Copy, Debug)]
pub struct GetSystemGuid;

impl Command for GetSystemGuid {
    type Answer = [u8; 16];
    const CODE: Code = code(0x06, 0x37);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<[u8; 16], Malformed> {
        Reader::new(data).array()
    }
}

/// Resets the BMC. The session is gone afterwards, often before the answer.
#[derive(Clone, Copy, Debug)]
pub struct ColdReset;

impl Command for ColdReset {
    silent_answer!();
    const CODE: Code = code(0x06, 0x02);

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }
}
