//! Completion codes and their texts.

/// A completion code (IPMI 2.0, table 5-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Completion(pub u8);

impl Completion {
    /// The reservation is not valid (any more).
    pub const RESERVATION: Self = Self(0xc5);
    /// The command is not known.
    pub const INVALID_COMMAND: Self = Self(0xc1);
    /// Too many bytes asked for.
    pub const LENGTH: Self = Self(0xc7);
    /// A field is longer than allowed.
    pub const FIELD_LENGTH: Self = Self(0xc8);
    /// A parameter is out of range.
    pub const RANGE: Self = Self(0xc9);
    /// Too many bytes asked for.
    pub const CANNOT_RETURN: Self = Self(0xca);
    /// The sensor, record or device is not there.
    pub const NOT_PRESENT: Self = Self(0xcb);
    /// A field has a value that is not allowed.
    pub const FIELD: Self = Self(0xcc);
    /// A parameter of boot options or LAN that the BMC does not have.
    pub const NO_PARAMETER: Self = Self(0x80);
    /// Of Activate Payload: another session has the console.
    pub const CONSOLE_IN_USE: Self = Self(0x80);
    /// Of Activate Payload: consoles are switched off.
    pub const CONSOLE_DISABLED: Self = Self(0x81);
    /// Anything.
    pub const UNSPECIFIED: Self = Self(0xff);

    /// The BMC cannot return as many bytes as were asked for. BMCs report that with many codes.
    pub fn is_too_much(self) -> bool {
        [Self::LENGTH, Self::FIELD_LENGTH, Self::RANGE, Self::CANNOT_RETURN, Self::UNSPECIFIED]
            .contains(&self)
    }

    /// The text that xCAT prints for it. Codes without one are `None`: each command has its own words for
    /// them.
    pub fn text(self) -> Option<&'static str> {
        Some(match self.0 {
            0xc0 => "Node busy, command could not be processed",
            0xc1 => "Invalid or unsupported command",
            0xc2 => "Command invalid for given LUN",
            0xc3 => "Timeout while processing command, response unavailable",
            0xc4 => "Out of space, could not execute command",
            0xc5 => "Reservation canceled or invalid reservation ID",
            0xc6 => "Request data truncated",
            0xc7 => "Request data length invalid",
            0xc8 => "Request data field length limit exceeded",
            0xc9 => "Parameter out of range",
            0xca => "Cannot return number of requested data bytes",
            0xcb => "Not present",
            0xcc => "Invalid data field in Request",
            0xcd => "Command illegal for specified sensor or record type",
            0xce => "Command response could not be provided",
            0xcf => "Cannot execute duplicated request",
            // The typing error is part of the text that scripts may look for.
            0xd0 => "Command reqponse could not be provided. SDR Repository in update mode",
            0xd1 => "Command response could not be provided. Device in firmware update mode",
            0xd2 => {
                "Command response could not be provided. BMC initialization or initialization agent in progress"
            }
            0xd3 => "Destination unavailable",
            0xd4 => "Insufficient privilege level",
            0xd5 => "Command or request parameter(s) not supported in present state",
            0xff => "Unspecified error",
            _ => return None,
        })
    }
}

impl std::fmt::Display for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "Unknown error code {:02x}h", self.0),
        }
    }
}
