//! Every limit of the protocol, in one place. A number that is not here does not limit anything.

use std::time::Duration;

/// Time a peer has for the TLS handshake (xCAT's alarm).
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time without a request after which a connection ends.
pub const REQUEST_IDLE_MAX: Duration = Duration::from_secs(15);
/// Time in which a started request must be complete.
pub const REQUEST_READ_MAX: Duration = Duration::from_secs(120);
/// The same for a peer that showed no certificate: its requests are small.
pub const REQUEST_ANONYMOUS_READ_MAX: Duration = Duration::from_secs(15);
/// Time for which a peer whose request was refused may keep sending it.
pub const REFUSED_DRAIN_MAX: Duration = Duration::from_secs(10);
/// Idle time of a connection after which its peer is probed.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between two probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Probes without an answer that end a connection.
pub const KEEPALIVE_PROBES: u32 = 3;
/// Time without any progress of a client that should read our answer.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// Bytes of one request of a peer that showed a certificate: a stanza file of 100,000 nodes fits.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Bytes of one request of a peer without certificate (nodes): adapters of a large machine fit.
pub const REQUEST_ANONYMOUS_BYTES_MAX: usize = 256 << 10;
/// Bytes of unanswered requests that every connection may hold.
pub const REQUEST_SMALL_BYTES_MAX: usize = REQUEST_ANONYMOUS_BYTES_MAX;
/// Connections that may hold more than [`REQUEST_SMALL_BYTES_MAX`] at once; further ones wait before more of
/// them is read.
pub const LARGE_REQUESTS_MAX: usize = 3;
/// Bytes after which a connection that has not said `<xcatrequest>` is dropped.
pub const REQUEST_PREAMBLE_BYTES_MAX: usize = 15;
/// Bytes of white space skipped between two requests of one connection.
pub const REQUEST_GAP_BYTES_MAX: usize = 1024;
/// Nesting of elements in a request or response.
pub const XML_DEPTH_MAX: usize = 16;
/// Elements in one request or response: the lines of a table or the names of 100,000 nodes, and as much
/// again.
pub const XML_ELEMENTS_MAX: usize = 500_000;
/// Elements in one request of a peer without certificate: those of a machine with all adapters that
/// `getadapter` takes.
pub const XML_ELEMENTS_ANONYMOUS_MAX: usize = 4096;
/// Connections at once, handshakes included: default and most. The daemon lowers it to fit its descriptors.
pub const CONNECTIONS_MAX: usize = 4096;
/// Connections at once: fewest.
pub const CONNECTIONS_MIN: usize = 32;
/// One part in so many of the connections is for TLS handshakes; the oldest of them is closed for a new one.
pub const HANDSHAKES_PART: usize = 4;
/// One part in so many of the connections is for one other machine; further ones are closed at once.
pub const CONNECTIONS_PER_ADDRESS_PART: usize = 16;
/// One part in so many of the connections is for this machine; further ones are closed at once.
pub const CONNECTIONS_LOOPBACK_PART: usize = 4;
/// Bytes of requests without certificate that arrive or wait, for all connections: default.
pub const REQUESTS_ANONYMOUS_BYTES: usize = 512 << 20;
/// Bytes of requests of one address without certificate that arrive or wait.
pub const REQUESTS_PER_ADDRESS_BYTES_MAX: usize = 16 * REQUEST_ANONYMOUS_BYTES_MAX;
/// Commands running at once (`site.xcatmaxconnections`): default.
pub const COMMANDS_DEFAULT: usize = 64;
/// Commands running at once: smallest accepted setting.
pub const COMMANDS_MIN: usize = 1;
/// Commands running at once: largest accepted setting.
pub const COMMANDS_MAX: usize = 400;
/// One part in so many of the commands is for peers with a certificate alone.
pub const COMMANDS_RESERVED_PART: usize = 4;
/// Length of the listen queue.
pub const LISTEN_BACKLOG: i32 = 8192;
/// Responses waiting for a slow client before the command waits too.
pub const RESPONSE_QUEUE_MAX: usize = 16;
/// Bytes of rendered responses collected before they are sent.
pub const RESPONSE_BATCH_BYTES: usize = 32 << 10;
/// Bytes of one response a client accepts.
pub const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// Nodes connected to 3002 at once: default and most; the oldest that has not sent its line is closed for a
/// new one.
pub const NODE_SESSIONS_MAX: usize = 1024;
/// Sessions of one address on 3002; further ones are closed at once.
pub const NODE_SESSIONS_PER_ADDRESS_MAX: usize = 16;
/// Time in which a line on 3002 must be complete.
pub const NODE_LINE_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of one line on 3002.
pub const NODE_LINE_BYTES_MAX: usize = 4096;
/// Idle time that ends a session on 3002.
pub const NODE_SILENCE_MAX: Duration = Duration::from_secs(2);
/// Nodes that may wait for a place at once; further ones are not answered and ask again.
pub const FLOW_WAITING_MAX: usize = 4096;
/// Bytes of a datagram that are read: more than the packet of a machine with as many interfaces as are looked
/// at. A longer datagram is cut, and then not read as a packet.
pub const FLOW_DATAGRAM_BYTES_MAX: usize = 16 << 10;
/// Nodes admitted within one period (`site.xcatmaxbatchconnections`): default.
pub const FLOW_GRANTS_DEFAULT: usize = 50;
/// The same: largest accepted setting.
pub const FLOW_GRANTS_MAX: usize = 1000;
/// Time a client waits for a TCP connection to the daemon.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// Characters of a command's name that an error repeats.
pub const COMMAND_SHOWN_MAX: usize = 64;
