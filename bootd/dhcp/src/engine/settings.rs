//! The engine's settings: each with unit, default, least and most.

use crate::boot::Loaders;

/// The settings; [`Settings::clamped`] brings every number into its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Port clients listen on. Default 68.
    pub client_port: u16,
    /// Port relays and clients send to. Default 67.
    pub server_port: u16,
    /// HTTP port for URLs. Default 80.
    pub http_port: u16,
    /// Names of loader files.
    pub loaders: Loaders,
    /// Whether a dynamic address is probed before it is offered. Default yes.
    pub probe: bool,
    /// How long the link has to answer a probe, in milliseconds: default 250, least 50, most 900 (iPXE
    /// sends its second DISCOVER after one second).
    pub probe_wait_ms: u64,
    /// How long an offered address is held, in seconds: default 60, least 5, most 600.
    pub offer_hold_seconds: u32,
    /// Dynamic lease of firmware and loaders, and of every machine in no table while more than half of a
    /// range is in use, in seconds: default 600, least 60, most 86,400. What boots next asks again and gets
    /// the network's lease time.
    pub firmware_lease_seconds: u32,
    /// How long a declined or conflicting address is left alone, in seconds: default 3,600, least 60,
    /// most 604,800.
    pub decline_hold_seconds: u32,
    /// Delay of proxyDHCP answers, in milliseconds: default 300, least 0, most 2,000. Firmware that gets
    /// the boot file before its address forgets the boot file.
    pub proxy_delay_ms: u64,
    /// Packets a client may send at once: default 20, least 4, most 1,000.
    pub client_burst: u32,
    /// Packets a client may send each second in the long run: default 5, least 1, most 1,000.
    pub client_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_port: 68,
            server_port: 67,
            http_port: 80,
            loaders: Loaders::default(),
            probe: true,
            probe_wait_ms: 250,
            offer_hold_seconds: 60,
            firmware_lease_seconds: 600,
            decline_hold_seconds: 3600,
            proxy_delay_ms: 300,
            client_burst: 20,
            client_per_second: 5,
        }
    }
}

impl Settings {
    /// The settings with every number inside its limits.
    pub fn clamped(self) -> Self {
        Self {
            probe_wait_ms: self.probe_wait_ms.clamp(50, 900),
            offer_hold_seconds: self.offer_hold_seconds.clamp(5, 600),
            firmware_lease_seconds: self.firmware_lease_seconds.clamp(60, 86_400),
            decline_hold_seconds: self.decline_hold_seconds.clamp(60, 604_800),
            proxy_delay_ms: self.proxy_delay_ms.min(2000),
            client_burst: self.client_burst.clamp(4, 1000),
            client_per_second: self.client_per_second.clamp(1, 1000),
            ..self
        }
    }
}
