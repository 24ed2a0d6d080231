//! Which program is asking: firmware, a second-stage loader, an installer environment, or an operating
//! system.
//!
//! One machine asks several times during a boot, each time as another client. What tells them apart is
//! the user class (77), the vendor class (60), the architecture (93) and iPXE's own option (175).

use std::fmt;

use crate::wire::{Packet, code};

/// Processor and firmware family (RFC 5970 §3.3 and the IANA registry of architecture types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// PC BIOS (0), or no option 93 at all.
    Bios,
    /// UEFI on 32-bit x86 (6, HTTP 15).
    UefiIa32,
    /// UEFI on x86-64 (7, and 9, which firmware uses for the same; HTTP 16, 17).
    UefiX64,
    /// UEFI on 32-bit ARM (10, HTTP 18).
    UefiArm32,
    /// UEFI on 64-bit ARM (11, HTTP 19).
    UefiArm64,
    /// UEFI on Itanium (2).
    Itanium,
    /// Open Firmware and ePAPR on PowerPC (12, 13).
    Power,
    /// OPAL on POWER (14): petitboot.
    OpalV3,
    /// Any other number.
    Other(u16),
}

/// Architecture with the way the firmware loads files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ArchInfo {
    arch: Arch,
    http: bool,
}

impl ArchInfo {
    fn from_number(number: u16) -> Self {
        let (arch, http) = match number {
            0 => (Arch::Bios, false),
            2 => (Arch::Itanium, false),
            6 => (Arch::UefiIa32, false),
            7 | 9 => (Arch::UefiX64, false),
            10 => (Arch::UefiArm32, false),
            11 => (Arch::UefiArm64, false),
            12 | 13 => (Arch::Power, false),
            14 => (Arch::OpalV3, false),
            15 => (Arch::UefiIa32, true),
            16 | 17 => (Arch::UefiX64, true),
            18 => (Arch::UefiArm32, true),
            19 => (Arch::UefiArm64, true),
            20 => (Arch::Bios, true),
            n => (Arch::Other(n), false),
        };
        Self { arch, http }
    }
}

impl Arch {
    /// Whether the firmware is UEFI.
    pub fn is_uefi(self) -> bool {
        matches!(self, Self::UefiIa32 | Self::UefiX64 | Self::UefiArm32 | Self::UefiArm64)
    }
}

/// The program that sent the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// PXE firmware: vendor class `PXEClient`.
    Pxe(Arch),
    /// UEFI HTTP Boot: vendor class `HTTPClient`, or an HTTP architecture.
    Http(Arch),
    /// iPXE, gPXE or xNBA: the second stage.
    Ipxe(Arch),
    /// GRUB with its own network stack.
    Grub(Arch),
    /// ONIE on a switch.
    Onie,
    /// Petitboot on POWER.
    Petitboot,
    /// Etherboot 5.4, the ancestor of iPXE.
    Etherboot,
    /// Any other DHCP client: an operating system, an agent.
    System,
    /// Plain BOOTP.
    Bootp,
}

impl Client {
    /// Recognises the program by the packet.
    pub fn of(packet: &Packet<'_>) -> Self {
        let number = packet.architecture();
        let info = ArchInfo::from_number(number.unwrap_or(0));
        let vendor = packet.options.get(code::VENDOR_CLASS).unwrap_or(&[]);
        let class = packet.options.get(code::USER_CLASS);
        let user = UserClass::of(class.unwrap_or(&[]));
        // A user class is the client's own word: iPXE in a network card that was configured with another
        // class wants to be treated as firmware. iPXE's option decides only if there is no class.
        let unnamed_ipxe = class.is_none() && packet.options.has(code::IPXE);
        if user == UserClass::Ipxe || unnamed_ipxe {
            Self::Ipxe(info.arch)
        } else if user == UserClass::Grub || vendor.starts_with(b"GRUB") {
            Self::Grub(info.arch)
        } else if vendor.starts_with(b"onie_vendor") {
            Self::Onie
        } else if info.arch == Arch::OpalV3 {
            Self::Petitboot
        } else if vendor.starts_with(b"HTTPClient") || info.http {
            Self::Http(info.arch)
        } else if vendor.starts_with(b"PXEClient") || number.is_some() {
            Self::Pxe(info.arch)
        } else if vendor.starts_with(b"Etherboot-5.4") {
            Self::Etherboot
        } else if packet.kind == crate::wire::packet::Kind::Bootp {
            Self::Bootp
        } else {
            Self::System
        }
    }

    /// The architecture, where the program states it.
    pub fn arch(self) -> Option<Arch> {
        match self {
            Self::Pxe(arch) | Self::Http(arch) | Self::Ipxe(arch) | Self::Grub(arch) => Some(arch),
            Self::Petitboot => Some(Arch::OpalV3),
            Self::Etherboot => Some(Arch::Bios),
            Self::Onie | Self::System | Self::Bootp => None,
        }
    }

    /// Whether it asks in order to load a file now.
    pub fn boots(self) -> bool {
        !matches!(self, Self::System | Self::Grub(_))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bios => f.write_str("bios"),
            Self::UefiIa32 => f.write_str("uefi-ia32"),
            Self::UefiX64 => f.write_str("uefi-x64"),
            Self::UefiArm32 => f.write_str("uefi-arm32"),
            Self::UefiArm64 => f.write_str("uefi-arm64"),
            Self::Itanium => f.write_str("itanium"),
            Self::Power => f.write_str("power"),
            Self::OpalV3 => f.write_str("opal"),
            Self::Other(n) => write!(f, "arch{n}"),
        }
    }
}

impl fmt::Display for Client {
    /// `pxe/bios`, `ipxe/uefi-x64`, `http/uefi-x64`, `onie`, `system` …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pxe(arch) => write!(f, "pxe/{arch}"),
            Self::Http(arch) => write!(f, "http/{arch}"),
            Self::Ipxe(arch) => write!(f, "ipxe/{arch}"),
            Self::Grub(arch) => write!(f, "grub/{arch}"),
            Self::Onie => f.write_str("onie"),
            Self::Petitboot => f.write_str("petitboot"),
            Self::Etherboot => f.write_str("etherboot"),
            Self::System => f.write_str("system"),
            Self::Bootp => f.write_str("bootp"),
        }
    }
}

/// What option 77 says. Loaders send a bare text; RFC 3004 puts a length before each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserClass {
    Ipxe,
    Grub,
    Other,
}

impl UserClass {
    fn of(value: &[u8]) -> Self {
        let counted = value.split_first().map(|(_, text)| text).unwrap_or(&[]);
        [value, counted]
            .into_iter()
            .map(Self::of_text)
            .find(|class| *class != Self::Other)
            .unwrap_or(Self::Other)
    }

    fn of_text(text: &[u8]) -> Self {
        if [&b"iPXE"[..], b"xNBA", b"gPXE"].iter().any(|name| text.starts_with(name)) {
            Self::Ipxe
        } else if text.starts_with(b"GRUB") {
            Self::Grub
        } else {
            Self::Other
        }
    }
}
