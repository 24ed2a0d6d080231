//! Directives about where packages come from: `linuximage.pkgdir` in the words of each installer.

use crate::context::{Context, Found};
use crate::error::Problem;
use dawn_cluster::{Installer, col, os_major};
use dawn_plan::install::{is_url, mirror_host};
use dawn_plan::public_path;

/// Where values of this page come from.
const PKGDIR: &str = "linuximage.pkgdir";
/// Ubuntu's packages, where `site.ubuntu_apt_mirror` is not set.
const UBUNTU_MIRROR: &str = "http://archive.ubuntu.com/ubuntu";
/// The parts of media of Enterprise Linux from 8 on that have packages.
const EL_PARTS: [&str; 2] = ["BaseOS", "AppStream"];

/// `#INSTALL_SOURCES#`.
pub(crate) fn sources(context: &Context<'_>) -> Result<Found, Problem> {
    let mut lines = Vec::new();
    for (number, place) in context.places()?.iter().enumerate() {
        let url = context.url(place)?;
        lines.push(match (context.installer, number) {
            (Installer::AutoYast, _) => {
                let url = crate::list::escaped(&url);
                format!("<listentry>\n  <media_url>{url}</media_url>\n</listentry>")
            }
            (_, 0) => format!("url --url {url}"),
            _ => format!("repo --name=pkg{number} --baseurl={url}"),
        });
    }
    Ok(Found::open(lines.join("\n"), PKGDIR))
}

/// `#INSTALL_SOURCES_IN_PRE#`: the same as commands of a shell, with the server that is in `$nextserver`.
pub(crate) fn sources_in_script(context: &Context<'_>) -> Result<Found, Problem> {
    let mut lines = Vec::new();
    for (number, place) in context.places()?.iter().enumerate() {
        // An error for a directory that is not served, and for a quote.
        let url = quotable(context.url(place)?)?;
        let begin =
            if number == 0 { "url --url ".to_owned() } else { format!("repo --name=pkg{number} --baseurl=") };
        lines.push(match is_url(place) {
            true => format!("echo '{begin}{url}' >> /tmp/repos"),
            false => {
                let path = public_path(context.snapshot, place);
                format!("echo '{begin}http://'$nextserver':{}{path}' >> /tmp/repos", context.ports.http)
            }
        });
    }
    Ok(Found::open(lines.join("\n"), PKGDIR))
}

/// `#WRITEREPO#`: commands of a shell that name the same packages to the installed system.
pub(crate) fn repositories(context: &Context<'_>) -> Result<Found, Problem> {
    let in_parts = os_major(&context.of_image(col::osimage::OSVERS)) >= 8;
    let mut text = String::new();
    for (number, place) in context.places()?.iter().enumerate() {
        let url = quotable(context.url(place)?)?;
        let urls: Vec<String> = match in_parts && number == 0 && !is_url(place) {
            true => EL_PARTS.iter().map(|part| format!("{url}/{part}")).collect(),
            false => vec![url],
        };
        text.push_str(&format!("cat >/etc/yum.repos.d/local-repository-{number}.repo <<'EOF'\n"));
        for (part, url) in urls.iter().enumerate() {
            let name = format!("local-repository-{number}-{part}");
            text.push_str(&format!("[{name}]\nname={name}\nbaseurl={url}\nenabled=1\ngpgcheck=0\n\n"));
        }
        text.push_str("EOF\n");
    }
    Ok(Found::open(text.trim_end(), PKGDIR))
}

/// `#MIRRORSPEC#`.
pub(crate) fn mirror(context: &Context<'_>) -> Result<Found, Problem> {
    let places = context.places()?;
    let own = format!("{}:{}", context.servers.packages, context.ports.http);
    let split = |place: &str| -> Result<(String, String), Problem> {
        let url = context.url(place)?;
        let host = mirror_host(&url).unwrap_or(&own).to_owned();
        let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
        Ok((host, path.unwrap_or("/").to_owned()))
    };
    let mut lines = Vec::new();
    if let Some(first) = places.first() {
        let (host, path) = split(first)?;
        lines.push("d-i mirror/country string manual".to_owned());
        lines.push("d-i mirror/protocol string http".to_owned());
        lines.push(format!("d-i mirror/http/directory string {path}"));
        lines.push(format!("d-i apt-setup/security_host string {host}"));
        lines.push(format!("d-i apt-setup/security_path string {path}"));
        lines.push("d-i mirror/http/proxy string".to_owned());
    }
    for (number, place) in places.iter().skip(1).enumerate() {
        let url = context.url(place)?;
        let flat = if is_url(place) { "" } else { " ./" };
        lines.push(format!("d-i apt-setup/local{number}/repository string deb {url}{flat}"));
        lines.push(format!("d-i apt-setup/local{number}/comment string pkgdir {}", number + 1));
    }
    Ok(Found::open(lines.join("\n"), PKGDIR))
}

/// `#UBUNTU_SUBIQUITY_APT_CONFIG#`.
pub(crate) fn apt(context: &Context<'_>) -> Result<Found, Problem> {
    let mirror = context.snapshot.site("ubuntu_apt_mirror").filter(|url| !url.is_empty());
    let mirror = quotable(mirror.map_or_else(|| UBUNTU_MIRROR.to_owned(), |url| url.to_string()))?;
    let text =
        format!("  apt:\n    geoip: false\n    primary:\n      - arches: [default]\n        uri: '{mirror}'");
    Ok(Found::open(text, "site.ubuntu_apt_mirror"))
}

/// `#SLES_SDK_MEDIA#`.
pub(crate) fn suse_sdk(context: &Context<'_>) -> Result<Found, Problem> {
    let places = context.places()?;
    let first = places.first().map(String::as_str).unwrap_or_default();
    Ok(Found::open(format!("{}/sdk1", context.url(first)?), PKGDIR))
}

/// A word that stays one between single quotes.
fn quotable(word: String) -> Result<String, Problem> {
    match word.contains(['\'', '"', '\\', '`', '$', ' ']) {
        true => Err(Problem::Quote(word)),
        false => Ok(word),
    }
}
