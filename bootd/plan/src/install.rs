//! What is known of an image that is installed on a disk: its installer, and where its packages are.
//!
//! The kernel line of an installer is not here yet: the plan refuses the state.

use crate::error::PlanError;
use crate::lookup::public_path;
use dawn_cluster::{Installer, OsImage, Snapshot};

/// A file of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerPart {
    /// The one file of most installers.
    Whole,
    /// cloud-init's `user-data`.
    UserData,
    /// cloud-init's `meta-data`.
    MetaData,
    /// cloud-init's `vendor-data`.
    VendorData,
}

impl AnswerPart {
    /// Whether an installer asks for it.
    #[must_use]
    pub fn is_of(self, installer: Installer) -> bool {
        (installer == Installer::Autoinstall) == (self != Self::Whole)
    }
}

/// The installer of an image.
///
/// # Errors
/// [`PlanError::NoInstaller`] names what is not known.
pub fn installer_of(image: &OsImage) -> Result<Installer, PlanError> {
    let osvers = image.get("osvers").map(|text| text.to_string()).unwrap_or_default();
    let template = image.get("template").map(|text| text.to_string());
    Installer::of(&osvers, template.as_deref())
        .ok_or_else(|| PlanError::NoInstaller { image: image.name.to_string(), osvers })
}

/// The directories and addresses of the packages, in order: `linuximage.pkgdir`, else
/// `<installdir>/<os>/<arch>`.
///
/// # Errors
/// [`PlanError::ImageIncomplete`].
pub fn package_places(snapshot: &Snapshot, image: &OsImage) -> Result<Vec<String>, PlanError> {
    if let Some(list) = image.get("pkgdir") {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        let places: Vec<String> = words.map(|word| word.trim_end_matches('/').to_owned()).collect();
        if !places.is_empty() {
            return Ok(places);
        }
    }
    let incomplete = |column| PlanError::ImageIncomplete { image: image.name.to_string(), column };
    let os = image.get("osvers").ok_or_else(|| incomplete("osvers"))?;
    let arch = image.get("osarch").ok_or_else(|| incomplete("osarch"))?;
    let installdir = snapshot.site("installdir").unwrap_or_else(|| "/install".into());
    Ok(vec![format!("{}/{os}/{arch}", installdir.trim_end_matches('/'))])
}

/// An address or a directory of packages as the node names it, on `server`.
///
/// # Errors
/// [`PlanError::NotServed`]: a directory that HTTP does not serve.
pub fn package_url(snapshot: &Snapshot, place: &str, server: &str, port: u16) -> Result<String, PlanError> {
    if is_url(place) {
        return Ok(place.to_owned());
    }
    let public = public_path(snapshot, place);
    let is_served = ["/install/", "/tftpboot/"].iter().any(|root| public.starts_with(root));
    if !is_served || public.split('/').any(|part| part == "..") {
        return Err(PlanError::NotServed { path: place.to_owned() });
    }
    Ok(format!("http://{server}:{port}{public}"))
}

/// The place is not on this machine.
#[must_use]
pub fn is_url(place: &str) -> bool {
    ["http://", "https://", "ftp://"].iter().any(|scheme| place.starts_with(scheme))
}

/// Host and port of a mirror that is not on this machine.
#[must_use]
pub fn mirror_host(place: &str) -> Option<&str> {
    let (_, rest) = place.split_once("://").filter(|_| is_url(place))?;
    rest.split('/').next().filter(|host| !host.is_empty())
}
