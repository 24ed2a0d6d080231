//! `import`: the tables of another management system, and a report of what became of them.
//!
//! Everything is one change. Files that cannot be read as tables are errors, and nothing is taken; a value
//! that Dawn refuses is left out and reported, and the rest of its row is taken ([`adapt`]).

mod adapt;
mod dump;
mod points;

use crate::edits::{Edits, transact};
use adapt::Adapted;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dump::Dump;
use points::Point;

/// Exit code of an import that leaves something for the administrator to do.
const OPEN_POINTS: i32 = 3;

/// Take over the tables of an xCAT server, and report what is different here
///
/// Run dumpxCATdb -p DIR on the xCAT server and copy the directory. On the xCAT server itself, /etc/xcat
/// takes its place: its database of any kind is read. All tables of the dump replace those of this
/// server in one change, which `dawn undo` takes back. Nothing is changed on the xCAT server. The exit code
/// is 0 if nothing is left to do, 3 if the report names values that were left out or nodes that Dawn cannot
/// boot yet.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the tables come from
    #[arg(value_name = "SYSTEM", value_enum, required = true)]
    system: System,
    /// The directory that dumpxCATdb wrote, or /etc/xcat
    #[arg(value_name = "DIR", required = true)]
    directory: String,
    /// Report without changing anything
    #[arg(long)]
    dry_run: bool,
}

/// Systems whose tables can be taken over.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum System {
    /// xCAT 2.
    Xcat,
}

impl Command for Args {
    const NAME: &'static str = "import";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("read files and replace all tables")?;
        let System::Xcat = self.system;
        let directory = ctx.path_of_caller(&self.directory);
        let mut dump = match Dump::read(&directory) {
            Ok(dump) => dump,
            Err(errors) => {
                errors.into_iter().try_for_each(|error| out.error(error))?;
                return Err(Stop::conflict("nothing was imported"));
            }
        };
        let Adapted { mut points, edits, after } = adapt::adapt(&ctx.snapshot, &mut dump.tables)?;
        points.extend(points::taken(&dump));
        points.extend(points::of_tables(&dump));
        points.extend(points::of_nodes(&after));
        points.extend(points::next_steps(&after));
        points.sort_by_key(|point| point.group);
        if !self.dry_run {
            let mut list = Edits::new();
            list.extend(edits);
            transact(ctx, out, false, |_, _| Ok(list))?;
        }
        show(&points, out)?;
        if self.dry_run {
            out.notice("Nothing was changed: this was a dry run.")?;
        } else {
            let imported = Deed::new("imported", "tables", directory.display().to_string());
            out.report(&imported.line("Imported as one change."))?;
        }
        match points.iter().any(Point::is_open) {
            true => Err(Stop::Code(OPEN_POINTS)),
            false => Ok(()),
        }
    }
}

fn show(points: &[Point], out: &mut Out<'_>) -> Done {
    let mut group = None;
    for point in points {
        if group != Some(point.group) {
            out.heading(format!("{}:", point.group.title()))?;
            group = Some(point.group);
        }
        out.report(point)?;
    }
    Ok(())
}
