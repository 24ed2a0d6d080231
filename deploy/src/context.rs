//! What every directive is evaluated with: the node, its image, its servers.

use dawn_cluster::{Col, Installer, OsImage, Snapshot};
use dawn_plan::install::{package_places, package_url};
use dawn_plan::{PlanError, Ports, Servers};

/// The node for which a template is rendered.
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) node: &'a str,
    pub(crate) image: OsImage,
    pub(crate) installer: Installer,
    pub(crate) servers: Servers,
    pub(crate) ports: Ports,
}

/// The text that replaces a directive.
pub(crate) struct Found {
    pub(crate) text: String,
    /// Where it comes from, in words.
    pub(crate) source: String,
    pub(crate) hidden: bool,
}

impl Found {
    pub(crate) fn open(text: impl Into<String>, source: impl Into<String>) -> Self {
        Self { text: text.into(), source: source.into(), hidden: false }
    }
}

impl Context<'_> {
    /// A column of the image, empty for none.
    pub(crate) fn of_image(&self, column: Col) -> String {
        self.image.get(column).map(|text| text.to_string()).unwrap_or_default()
    }

    /// Directories and addresses of the packages.
    pub(crate) fn places(&self) -> Result<Vec<String>, PlanError> {
        package_places(self.snapshot, &self.image)
    }

    /// One of them as the node names it.
    pub(crate) fn url(&self, place: &str) -> Result<String, PlanError> {
        package_url(self.snapshot, place, &self.servers.packages, self.ports.http)
    }

    /// `site.xcatdebugmode`; 0 where it is not set.
    pub(crate) fn debug_mode(&self) -> String {
        let mode = self.snapshot.site("xcatdebugmode").map(|text| text.trim().to_owned());
        mode.filter(|mode| !mode.is_empty()).unwrap_or_else(|| "0".to_owned())
    }
}
