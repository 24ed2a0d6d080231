//! RMCP headers and ASF presence pings (ASF 2.0, 3.2; IPMI 2.0, 13.2).

/// Version, reserved byte and the sequence number that asks for no acknowledgement.
pub(super) const HEADER: [u8; 3] = [0x06, 0x00, 0xff];
pub(super) const CLASS_ASF: u8 = 0x06;
pub(super) const CLASS_IPMI: u8 = 0x07;
/// The enterprise number of ASF.
pub(super) const ASF_ENTERPRISE: [u8; 4] = 4542_u32.to_be_bytes();
pub(super) const ASF_PING: u8 = 0x80;
pub(super) const ASF_PONG: u8 = 0x40;
/// "IPMI supported" among the entities of a pong.
pub(super) const ENTITIES_IPMI: u8 = 0x80;

/// The first byte after an RMCP header that says RMCP+.
pub(crate) const AUTH_TYPE_RMCP_PLUS: u8 = 0x06;

/// Appends the header of an IPMI datagram.
pub(crate) fn put_ipmi_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&HEADER);
    out.push(CLASS_IPMI);
}

/// Appends a presence ping.
pub fn put_ping(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&HEADER);
    out.push(CLASS_ASF);
    out.extend_from_slice(&ASF_ENTERPRISE);
    out.extend_from_slice(&[ASF_PING, tag, 0, 0]);
}

/// Appends the answer to a ping.
pub fn put_pong(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&HEADER);
    out.push(CLASS_ASF);
    out.extend_from_slice(&ASF_ENTERPRISE);
    out.extend_from_slice(&[ASF_PONG, tag, 0, 16]);
    out.extend_from_slice(&ASF_ENTERPRISE);
    out.extend_from_slice(&[0, 0, 0, 0, ENTITIES_IPMI | 1, 0, 0, 0, 0, 0, 0, 0]);
}
