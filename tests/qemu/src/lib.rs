//! Real clusters for tests: QEMU machines on a bridge in a network namespace.
