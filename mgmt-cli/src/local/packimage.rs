//! `packimage`: pack the root tree of an image for stateless nodes.

use super::LocalCommand;
use crate::builder::{definition, fail};
use crate::environment::Environment;
use crate::synclist;
use crate::terminal::print;
use dawn_bootd::command::Registry;
use dawn_commands::edits::{file_line, written};
use dawn_commands::imagedef::Definition;
use dawn_imagebuilder::packimage::{self, Method, Options};
use dawn_imagebuilder::password::RootPassword;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Pack the root tree of a netboot image into the file that stateless nodes load
///
/// squashfs without --method. Runs in the process of the caller, as root.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// cpio, tar or squashfs
    #[arg(short = 'm', long, value_name = "METHOD")]
    method: Option<String>,
    /// gzip, pigz or xz, for cpio and tar
    #[arg(short = 'c', long, value_name = "PROGRAM")]
    compress: Option<String>,
    /// Leave out the files of the image's synclists
    #[arg(long)]
    nosyncfiles: bool,
    /// Do nothing if the file was packed from the same tree with the same options
    #[arg(long)]
    unless_changed: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// File with the output of `imagedef`, to use instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    #[arg(short = 'o', hide = true)]
    os: Option<String>,
    #[arg(short = 'p', hide = true)]
    profile: Option<String>,
    #[arg(short = 'a', hide = true)]
    arch: Option<String>,
    /// Image
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "packimage";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, _: &Registry) -> i32 {
        match self.pack(environment) {
            Ok(()) => 0,
            Err(text) => fail(&text),
        }
    }
}

impl Args {
    fn pack(&self, environment: &Environment) -> Result<(), String> {
        if self.os.is_some() || self.profile.is_some() || self.arch.is_some() {
            return Err(
                "-o, -p and -a options are obsoleted, please use 'packimage <osimage name>' instead.".into(),
            );
        }
        let image = self.image.as_ref().ok_or("Name an image: packimage [-m METHOD] [-c PROGRAM] IMAGE")?;
        let method = Method::parse(self.method.as_deref(), self.compress.as_deref());
        let method = method.map_err(|error| error.to_string())?;
        let definition = definition(environment, image, self.definition.as_deref())?;
        if self.dry_run {
            let output = definition.image.paths().dir.join(method.file());
            print(&format!("{}\n", file_line(written(&output), &output)));
            return Ok(());
        }
        let options = self.options(method, &definition)?;
        let mut percent = progress();
        let mut line = |line: &str| print(&format!("{line}\n"));
        let outcome = packimage::run(&definition.image, &options, &mut line, &mut percent);
        let outcome = outcome.map_err(|error| error.to_string())?;
        if outcome.packed {
            print(&format!("{}: {} MiB\n", outcome.file.display(), outcome.bytes >> 20));
        }
        Ok(())
    }

    fn options(&self, method: Method, definition: &Definition) -> Result<Options, String> {
        let postscripts = definition.image.installdir.join("postscripts");
        let root_password = match &definition.image.root_hash {
            _ if definition.secureroot => RootPassword::Locked,
            Some(hash) => RootPassword::Hash(hash.clone()),
            None => {
                print(
                    "root has no password in this image: set one with 'chtab key=system passwd.username=root \
                     passwd.password=...'\n",
                );
                RootPassword::Locked
            }
        };
        Ok(Options {
            method,
            root_password,
            timezone: definition.timezone.clone(),
            postscripts: postscripts.is_dir().then_some(postscripts),
            sync_files: if self.nosyncfiles {
                Vec::new()
            } else {
                synclist::read_all(&definition.synclists)?
            },
            unless_changed: self.unless_changed,
            ..Options::default()
        })
    }
}

/// Percentages, on a terminal only.
fn progress() -> impl FnMut(u8) {
    let shown = std::io::stdout().is_terminal();
    move |percent| {
        if shown {
            print(&format!("{percent:3} %\r"));
        }
    }
}
