//! The xcatd protocol: XML over TLS on 3001, node status on 3002, client.
