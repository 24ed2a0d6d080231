//! TFTP for machines that boot: engine and sockets.
