//! `setup-local-client.sh`: a certificate for another user, made by the daemon in its data directory.

use dawn_bootd::certificates::client_certificate;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Deed, Done, Out, Stop};

/// Create a client certificate for a user in the data directory of the daemon
///
/// It becomes the user's ~/.xcat when it is copied there. `dawn init --client` does the same without a
/// daemon.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the user
    #[arg(value_name = "USER", required = true)]
    user: String,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "setup-local-client.sh";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("make certificates")?;
        let Some(data) = ctx.data else { return Err(Stop::conflict("the daemon has no data directory")) };
        if self.dry_run {
            let path = data.join("clients").join(&self.user).display().to_string();
            return out.report(
                &Deed::new("would make", "certificate", path.as_str()).line(format!("+ certificate {path}")),
            );
        }
        let lines = client_certificate(data, &self.user);
        let lines = lines.map_err(|error| Stop::unavailable(format!("{error:#}")))?;
        let made = Deed::new("made", "certificate", self.user.as_str());
        out.report(&lines.into_iter().fold(made, Deed::line))
    }
}
