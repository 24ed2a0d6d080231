//! The words that name an image: its name, or its release, architecture and profile.

/// An image on a command line.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedImage {
    /// Distribution and release, with -a and -p, instead of the name of the image
    #[arg(short = 'o', value_name = "OSVERS", requires_all = ["arch", "profile"], conflicts_with = "image")]
    pub os: Option<String>,
    /// Architecture
    #[arg(short = 'a', value_name = "ARCH", requires = "os")]
    pub arch: Option<String>,
    /// Profile
    #[arg(short = 'p', value_name = "PROFILE", requires = "os")]
    pub profile: Option<String>,
    /// Image
    #[arg(value_name = "IMAGE", required_unless_present = "os")]
    pub image: Option<String>,
}
