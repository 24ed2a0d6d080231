//! One executable: the services, the commands and the client.

fn main() {}
