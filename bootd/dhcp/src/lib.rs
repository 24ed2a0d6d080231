//! DHCP for machines that boot: engine, leases, sockets.
