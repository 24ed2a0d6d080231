//! Option numbers this server reads or writes (RFC 2132 and those named at each group), as bytes.
//! They are not an enum, because an unknown option is passed on just as well.

macro_rules! codes {
    ($($name:ident = $value:expr, $doc:literal;)*) => { $(#[doc = $doc] pub const $name: u8 = $value;)* };
}

/// Sub-options of option 43 as PXE 2.1 §2.2 defines them.
pub mod pxe {
    /// PXE_DISCOVERY_CONTROL, one byte.
    pub const DISCOVERY_CONTROL: u8 = 6;
    /// Bit 3 of the discovery control: take the boot file of this message and do not ask further servers.
    pub const USE_BOOT_FILE: u8 = 8;
}

/// Sub-options of option 175 as iPXE defines them (`ipxe.org/howto/dhcpd`).
pub mod ipxe {
    /// One byte, 1: do not wait for a proxyDHCP offer.
    pub const NO_PXEDHCP: u8 = 176;
}

/// Sub-options of option 82 (RFC 3046 and those named).
pub mod relay {
    /// Link selection (RFC 3527): the address says which link the client is on.
    pub const LINK_SELECTION: u8 = 5;
    /// Server identifier override (RFC 5107): the client is to talk to the relay.
    pub const SERVER_ID_OVERRIDE: u8 = 11;
}

codes! {
    PAD = 0, "A single byte without length.";
    SUBNET_MASK = 1, "Subnet mask.";
    ROUTER = 3, "Routers.";
    DNS = 6, "Name servers.";
    LOG_SERVER = 7, "Log servers.";
    HOSTNAME = 12, "Host name.";
    DOMAIN_NAME = 15, "Domain name.";
    ROOT_PATH = 17, "Root path.";
    MTU = 26, "Interface MTU.";
    BROADCAST = 28, "Broadcast address.";
    NTP = 42, "NTP servers.";
    VENDOR = 43, "Vendor specific information.";
    REQUESTED_IP = 50, "Requested address.";
    LEASE_TIME = 51, "Lease time, seconds.";
    OVERLOAD = 52, "`file` and/or `sname` hold options.";
    MESSAGE_TYPE = 53, "DHCP message type.";
    SERVER_ID = 54, "Server identifier.";
    PARAMETER_LIST = 55, "Options the client asks for.";
    MESSAGE = 56, "Reason of a NAK.";
    MAX_SIZE = 57, "Largest DHCP message the client takes, with IP and UDP headers.";
    T1 = 58, "Renewal time, seconds.";
    T2 = 59, "Rebinding time, seconds.";
    VENDOR_CLASS = 60, "Vendor class identifier.";
    CLIENT_ID = 61, "Client identifier.";
    TFTP_SERVER = 66, "TFTP server name.";
    BOOT_FILE = 67, "Boot file name.";
    USER_CLASS = 77, "User class (RFC 3004; firmware sends a bare text).";
    RELAY_INFO = 82, "Relay agent information (RFC 3046).";
    ARCHITECTURE = 93, "Client system architecture (RFC 4578).";
    CLIENT_NDI = 94, "Client network device interface (RFC 4578).";
    CLIENT_UUID = 97, "Client machine identifier (RFC 4578).";
    TIMEZONE = 101, "TZ database name (RFC 4833).";
    WWW_SERVER = 114, "ONIE: URL of the installer.";
    SUBNET_SELECTION = 118, "Subnet selection (RFC 3011).";
    DOMAIN_SEARCH = 119, "Domain search list (RFC 3397).";
    TFTP_ADDRESS = 150, "TFTP server address (RFC 5859).";
    IPXE = 175, "Options of iPXE, encapsulated.";
    CONFIG_FILE = 209, "PXELINUX and petitboot: configuration file (RFC 5071).";
    PROVISION_URL = 239, "Cumulus: URL of the provisioning script.";
    END = 255, "End of options.";
}
