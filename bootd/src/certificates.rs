//! Certificates in the data directory: the server's own, and those of users that are made for them.

use anyhow::{Context, Result, bail};
use dawn_xcatd::certificates::Authority;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// By what clients on this machine may call the daemon; Perl's TLS client compares it with the certificate.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Makes the authority and the server certificate if they are missing; true if something was made.
pub fn server_certificate(data: &Path, host: &str, master: Option<IpAddr>) -> Result<bool> {
    let short = host.split('.').next().unwrap_or(host);
    let names = [host.to_owned(), short.to_owned(), "localhost".to_owned()];
    let addresses: Vec<IpAddr> = master.into_iter().chain(LOOPBACK).collect();
    let made = Authority::new(data).ensure_server(host, &names, &addresses);
    made.context("cannot make the server certificate")
}

/// A client certificate for a user in `clients/USER` of a data directory; what to say about it.
///
/// # Errors
/// A name that cannot be one of a user, no authority, or a file that cannot be written.
pub fn client_certificate(data: &Path, user: &str) -> Result<Vec<String>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !user.bytes().all(plain)
        || !user.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
    {
        bail!("'{user}' is not a user name (letters, digits and . _ -, the first a letter, digit or _)");
    }
    let authority = Authority::new(data);
    if !authority.ca_certificate().exists() {
        bail!("{} has no certificate authority; run dawn init --data {0} first", data.display());
    }
    let all = data.join("clients");
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&all);
    made.with_context(|| format!("cannot make the directory {}", all.display()))?;
    let place = all.join(user);
    let first = match authority.ensure_client(&place, user).context("cannot make the client certificate")? {
        true => format!("made a client certificate for {user} in {}", place.display()),
        false => format!("{} is there", place.display()),
    };
    let next = format!(
        "copy it to {user}'s ~/.xcat; what {user} may do: dawn mkdef -t policy -o PRIORITY name={user} rule=allow"
    );
    Ok(vec![first, next])
}
