//! What numbers of sensors and events mean (IPMI 2.0, tables 42-2 and 42-3).

/// Reading types that have their own texts, from 01h on, each by offset (table 42-2).
const GENERIC: [&[&str]; 12] = [
    &[
        "Lower Non-critical - going low",
        "Lower Non-critical - going high",
        "Lower Critical - going low",
        "Lower Critical - going high",
        "Lower Non-recoverable - going low",
        "Lower Non-recoverable - going high",
        "Upper Non-critical - going low",
        "Upper Non-critical - going high",
        "Upper Critical - going low",
        "Upper Critical - going high",
        "Upper Non-recoverable - going low",
        "Upper Non-recoverable - going high",
    ],
    &["Transition to Idle", "Transition to Active", "Transition to Busy"],
    &["State Deasserted", "State Asserted"],
    &["Predictive Failure deasserted", "Predictive Failure asserted"],
    &["Limit Not Exceeded", "Limit Exceeded"],
    &["Performance Met", "Performance Lags"],
    &[
        "transition to OK",
        "transition to Non-Critical from OK",
        "transition to Critical from Less Severe",
        "transition to Non-recoverable from Less Severe",
        "transition to Non-Critical from More Severe",
        "transition to Critical from Non-recoverable",
        "transition to Non-recoverable",
        "Monitor",
        "Informational",
    ],
    &["Device Removed / Device Absent", "Device Inserted / Device Present"],
    &["Device Disabled", "Device Enabled"],
    &[
        "transition to Running",
        "transition to In Test",
        "transition to Power Off",
        "transition to On Line",
        "transition to Off Line",
        "transition to Off Duty",
        "transition to Degraded",
        "transition to Power Save",
        "Install Error",
    ],
    &[
        "Fully Redundant",
        "Redundancy Lost",
        "Redundancy Degraded",
        "Non-redundant: Sufficient Resources from Redundant",
        "Non-redundant: Sufficient Resources from Insufficient Resources",
        "Non-redundant: Insufficient Resources",
        "Redundancy Degraded from Fully Redundant",
        "Redundancy Degraded from Non-redundant",
    ],
    &["D0 Power State", "D1 Power State", "D2 Power State", "D3 Power State"],
];

/// A kind of sensor: its name, and its states by offset (table 42-3).
type Kind = (&'static str, &'static [&'static str]);

/// Kinds from 01h on.
#[rustfmt::skip]
const KINDS: [Kind; 44] = [
    ("Temperature", &["Temperature"]),
    ("Voltage", &["Voltage"]),
    ("Current", &["Current"]),
    ("Fan", &["Fan"]),
    ("Physical Security", &["General Chassis Intrusion", "Drive Bay Intrusion", "I/O Card Area Intrusion", "Processor Area Intrusion", "LAN Leash Lost", "Unauthorized Dock", "FAN Area Intrusion"]),
    ("Platform Security Violation Attempt", &["Secure Mode Violation Attempt", "Pre-boot Password Violation - User Password", "Pre-boot Password Violation - Setup Password", "Pre-boot Password Violation - Network Boot Password", "Other Pre-boot Password Violation", "Out-of-band Access Password Violation"]),
    ("Processor", &["IERR", "Thermal Trip", "FRB1/BIST failure", "FRB2/Hang in POST failure", "FRB3/Processor Startup/Initialization failure", "Configuration Error", "SM BIOS Uncorrectable CPU-complex Error", "Processor Presence Detected", "Processor Disabled", "Terminator Presence Detected", "Processor Automatically Throttled", "Machine Check Exception", "Correctable Machine Check Error"]),
    ("Power Supply", &["Presence Detected", "Power Supply Failure Detected", "Predictive Failure", "Power Supply Input Lost (AC/DC)", "Power Supply Input Lost or Out-of-Range", "Power Supply Input Out-of-Range, but Present", "Configuration Error", "Power Supply Inactive"]),
    ("Power Unit", &["Power Off / Power Down", "Power Cycle", "240VA Power Down", "Interlock Power Down", "AC Lost / Power Input Lost", "Soft Power Control Failure", "Power Unit Failure Detected", "Predictive Failure"]),
    ("Cooling Device", &[]),
    ("Other Units-based Sensor", &[]),
    ("Memory", &["Correctable ECC", "Uncorrectable ECC", "Parity", "Memory Scrub Failed", "Memory Device Disabled", "Correctable ECC Logging Limit Reached", "Presence Detected", "Configuration Error", "Spare", "Memory Automatically Throttled", "Critical Overtemperature"]),
    ("Drive Bay", &["Presence", "Fault", "Predictive Failure", "Hot Spare", "Consistency Check / Parity Check in Progress", "In Critical Array", "In Failed Array", "Rebuild/Remap in Progress", "Rebuild/Remap Aborted"]),
    ("POST Memory Resize", &[]),
    ("System Firmware Progress", &["System Firmware Error", "System Firmware Hang", "System Firmware Progress"]),
    ("Event Logging Disabled", &["Correctable Memory Error Logging Disabled", "Event Type Logging Disabled", "Log Area Reset/Cleared", "All Event Logging Disabled", "SEL Full", "SEL Almost Full", "Correctable Machine Check Error Logging Disabled"]),
    ("Watchdog 1", &["BIOS Watchdog Reset", "OS Watchdog Reset", "OS Watchdog Shut Down", "OS Watchdog Power Down", "OS Watchdog Power Cycle", "OS Watchdog NMI / Diagnostic Interrupt", "OS Watchdog Expired, Status Only", "OS Watchdog Pre-timeout Interrupt, non-NMI"]),
    ("System Event", &["System Reconfigured", "OEM System Boot Event", "Undetermined System Hardware Failure", "Entry Added to Auxiliary Log", "PEF Action", "Timestamp Clock Synch"]),
    ("Critical Interrupt", &["Front Panel NMI / Diagnostic Interrupt", "Bus Timeout", "I/O Channel Check NMI", "Software NMI", "PCI PERR", "PCI SERR", "EISA Fail Safe Timeout", "Bus Correctable Error", "Bus Uncorrectable Error", "Fatal NMI", "Bus Fatal Error", "Bus Degraded"]),
    ("Button", &["Power Button pressed", "Sleep Button pressed", "Reset Button pressed", "FRU latch open", "FRU service request button"]),
    ("Module / Board", &[]),
    ("Microcontroller / Coprocessor", &[]),
    ("Add-in Card", &[]),
    ("Chassis", &[]),
    ("Chip Set", &["Soft Power Control Failure", "Thermal Trip"]),
    ("Other FRU", &[]),
    ("Cable / Interconnect", &["Cable/Interconnect is connected", "Configuration Error - Incorrect cable connected"]),
    ("Terminator", &[]),
    ("System Boot Initiated", &["Initiated by power up", "Initiated by hard reset", "Initiated by warm reset", "User requested PXE boot", "Automatic boot to diagnostic", "OS initiated hard reset", "OS initiated warm reset", "System Restart"]),
    ("Boot Error", &["No bootable media", "Non-bootable diskette left in drive", "PXE Server not found", "Invalid boot sector", "Timeout waiting for user selection of boot source"]),
    ("OS Boot", &["A: boot completed", "C: boot completed", "PXE boot completed", "Diagnostic boot completed", "CD-ROM boot completed", "ROM boot completed", "boot completed - boot device not specified"]),
    ("OS Stop / Shutdown", &["Critical stop during OS load", "Run-time Critical Stop", "OS Graceful Stop", "OS Graceful Shutdown", "Soft Shutdown initiated by PEF", "Agent Not Responding"]),
    ("Slot / Connector", &["Fault Status asserted", "Identify Status asserted", "Slot/Connector Device installed/attached", "Slot/Connector Ready for Device Installation", "Slot/Connector Ready for Device Removal", "Slot Power is Off", "Slot/Connector Device Removal Request", "Interlock asserted", "Slot is Disabled", "Slot holds spare device"]),
    ("System ACPI Power State", &["S0/G0: working", "S1: sleeping with system hardware and processor context maintained", "S2: sleeping, processor context lost", "S3: sleeping, processor and hardware context lost, memory retained", "S4: non-volatile sleep / suspend-to-disk", "S5/G2: soft-off", "S4/S5 soft-off", "G3: mechanical off", "Sleeping in an S1, S2 or S3 state", "G1: sleeping", "S5: entered by override", "Legacy ON state", "Legacy OFF state"]),
    ("Watchdog 2", &["Timer expired, status only", "Hard Reset", "Power Down", "Power Cycle", "reserved", "reserved", "reserved", "reserved", "Timer interrupt"]),
    ("Platform Alert", &["platform generated page", "platform generated LAN alert", "Platform Event Trap generated", "platform generated SNMP trap"]),
    ("Entity Presence", &["Entity Present", "Entity Absent", "Entity Disabled"]),
    ("Monitor ASIC / IC", &[]),
    ("LAN", &["LAN Heartbeat Lost", "LAN Heartbeat"]),
    ("Management Subsystem Health", &["sensor access degraded or unavailable", "controller access degraded or unavailable", "management controller off-line", "management controller unavailable", "Sensor failure", "FRU failure"]),
    ("Battery", &["battery low", "battery failed", "battery presence detected"]),
    ("Session Audit", &["Session Activated", "Session Deactivated", "Invalid Username or Password", "Invalid password disable"]),
    ("Version Change", &["Hardware change detected", "Firmware or software change detected", "Hardware incompatibility detected", "Firmware or software incompatibility detected", "Entity is of an invalid or unsupported hardware version", "Entity contains an invalid or unsupported firmware or software version", "Hardware Change was successful", "Software or F/W Change was successful"]),
    ("FRU State", &["FRU Not Installed", "FRU Inactive", "FRU Activation Requested", "FRU Activation In Progress", "FRU Active", "FRU Deactivation Requested", "FRU Deactivation In Progress", "FRU Communication Lost"]),
];

/// States of sensors that are named otherwise than events: kind, offset, name.
const STATES: [(u8, u8, &str); 25] = [
    (0x07, 1, "Thermal trip"),
    (0x07, 5, "Configuration error"),
    (0x07, 7, "Present"),
    (0x07, 8, "Processor disabled"),
    (0x07, 9, "Terminator present"),
    (0x07, 10, "Processor throttled"),
    (0x08, 0, "Present"),
    (0x08, 1, "Failed"),
    (0x08, 2, "Failure predicted"),
    (0x08, 3, "AC lost"),
    (0x08, 4, "AC lost or out of range"),
    (0x08, 5, "AC out of range, but present"),
    (0x08, 6, "Configuration error"),
    (0x08, 7, "Inactive"),
    (0x0c, 6, "Present"),
    (0x0c, 7, "Configuration error"),
    (0x0d, 0, "Present"),
    (0x0d, 2, "Failure predicted"),
    (0x10, 4, "SEL full"),
    (0x10, 5, "SEL almost full"),
    (0x1b, 0, "Cable connected"),
    (0x1b, 1, "Incorrect cable connected"),
    (0x25, 0, "Present"),
    (0x25, 1, "Absent"),
    (0x25, 2, "Disabled"),
];

/// Reading type of sensors whose states are those of their kind.
const SENSOR_SPECIFIC: u8 = 0x6f;
/// Kinds from here on are the makers' own.
const OEM_FROM: u8 = 0xc0;

fn kind_of(kind: u8) -> Option<Kind> {
    KINDS.get(usize::from(kind.checked_sub(1)?)).copied()
}

fn generic(reading: u8, offset: u8) -> Option<&'static str> {
    GENERIC.get(usize::from(reading.checked_sub(1)?))?.get(usize::from(offset)).copied()
}

/// What an event is about, and what happened; the latter is empty if it is the same.
pub(super) fn event(kind: u8, reading: u8, offset: u8) -> (String, String) {
    let unknown = |number: u8| format!("No Mappings found ({number:02x}h)");
    if kind >= OEM_FROM {
        let text = generic(reading, offset).map(str::to_owned);
        let text = text.unwrap_or_else(|| format!("OEM Sensor Event {offset:02x}"));
        return (format!("OEM Sensor Type {kind:02x}"), text);
    }
    let known = kind_of(kind);
    let name = known.map_or_else(|| unknown(kind), |(name, _)| name.to_owned());
    let specific = || known.and_then(|(_, states)| states.get(usize::from(offset)).copied());
    let text = if reading == SENSOR_SPECIFIC { specific() } else { generic(reading, offset) };
    match text {
        Some(text) if text == name => (name, String::new()),
        Some(text) => (name, text.to_owned()),
        None => (name, unknown(offset)),
    }
}

/// A state of a sensor.
pub(super) fn state(kind: u8, reading: u8, offset: u8) -> String {
    if let Some(text) = generic(reading, offset) {
        return text.to_owned();
    }
    if kind >= OEM_FROM || reading != SENSOR_SPECIFIC {
        return format!("OEM Reserved {kind:02x}");
    }
    if let Some((_, _, text)) = STATES.iter().find(|(of, at, _)| (*of, *at) == (kind, offset)) {
        return (*text).to_owned();
    }
    let text = kind_of(kind).and_then(|(_, states)| states.get(usize::from(offset)).copied());
    text.map_or_else(|| format!("xCAT needs to add support for {kind:02x}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        for (kind, reading, offset, expected) in [
            (0x09, 0x6f, 0, "Power Unit, Power Off / Power Down"),
            (0x0c, 0x6f, 0, "Memory, Correctable ECC"),
            (0x08, 0x6f, 0, "Power Supply, Presence Detected"),
            (0x10, 0x6f, 2, "Event Logging Disabled, Log Area Reset/Cleared"),
            (0x07, 0x6f, 0, "Processor, IERR"),
            (0x0d, 0x6f, 1, "Drive Bay, Fault"),
            (0x14, 0x6f, 0, "Button, Power Button pressed"),
            (0x01, 0x01, 9, "Temperature, Upper Critical - going high"),
            (0x04, 0x07, 2, "Fan, transition to Critical from Less Severe"),
            (0x01, 0x6f, 0, "Temperature, "),
            (0x2c, 0x6f, 4, "FRU State, FRU Active"),
            (0xc5, 0x6f, 3, "OEM Sensor Type c5, OEM Sensor Event 03"),
            (0x50, 0x20, 9, "No Mappings found (50h), No Mappings found (09h)"),
        ] {
            let (name, text) = event(kind, reading, offset);
            assert_eq!(format!("{name}, {text}"), expected, "{kind:02x} {reading:02x} {offset}");
        }
    }
}
