//! The variables of `#ENV:NAME#` and of `$NAME` in the path of an include. They come from the tables; the
//! daemon's own environment is not among them.

use crate::context::Context;
use crate::error::Problem;
use dawn_cluster::{Snapshot, Text, col};
use std::net::Ipv4Addr;

/// Where xCAT's own files are, for templates that include them.
const XCAT_ROOT: &str = "/opt/xcat";

/// One variable.
pub(crate) struct Variable {
    name: String,
    pub(crate) value: String,
    /// Where it comes from, in words.
    pub(crate) source: String,
}

/// All variables.
pub(crate) struct Environment(Vec<Variable>);

impl Environment {
    /// Those of a node; `master` is the address of its server. What `osimage.environvar` sets goes before
    /// all.
    pub(crate) fn of(context: &Context<'_>, master: Ipv4Addr) -> Self {
        let mut all = Self(Vec::new());
        for pair in context.of_image(col::osimage::ENVIRONVAR).split(',') {
            if let Some((name, value)) = pair.split_once('=') {
                all.add(name.trim(), value.trim(), "osimage.environvar");
            }
        }
        all.add("XCATMASTER", &context.servers.master, "the node's server");
        all.add("MASTER_IP", &master.to_string(), "the address of the node's server");
        if let Some(word) = context.snapshot.site("nodestatus") {
            all.add("NODESTATUS", &word, "site.nodestatus");
        }
        let persistent =
            persistent_words(context.snapshot, context.node, &context.of_image(col::linuximage::ADDKCMDLINE));
        all.add("PERSKCMDLINE", &persistent, "words R::… of addkcmdline");
        all.add("INSTALLDIR", "/install", "as HTTP names it");
        all.add("TFTPDIR", "/tftpboot", "as HTTP names it");
        all.add("XCATROOT", XCAT_ROOT, "the directory of xCAT");
        let ports = context.ports;
        for (name, port) in
            [("HTTPPORT", ports.http), ("XCATDPORT", ports.xcatd), ("XCATIPORT", ports.status)]
        {
            all.add(name, &port.to_string(), "a port of this server");
        }
        all
    }

    fn add(&mut self, name: &str, value: &str, source: &str) {
        let (name, value, source) = (name.to_owned(), value.to_owned(), source.to_owned());
        self.0.push(Variable { name, value, source });
    }

    /// The variable of that name; a `$` before it is ignored.
    pub(crate) fn get(&self, name: &str) -> Option<&Variable> {
        let name = name.strip_prefix('$').unwrap_or(name);
        self.0.iter().find(|variable| variable.name == name)
    }

    /// `$NAME` and `${NAME}` in a path replaced by their values.
    ///
    /// # Errors
    /// One that is not set.
    pub(crate) fn expand(&self, path: &str) -> Result<String, Problem> {
        let mut pieces = path.split('$');
        let mut whole = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = match piece.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some(found) => found,
                None => {
                    let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    piece.split_at(end.unwrap_or(piece.len()))
                }
            };
            let found = self.get(name).ok_or_else(|| Problem::NoVariable(name.to_owned()))?;
            whole.push_str(&found.value);
            whole.push_str(rest);
        }
        Ok(whole)
    }
}

/// Kernel words for the installed system: those of `addkcmdline` that begin with `R::`.
fn persistent_words(snapshot: &Snapshot, node: &str, of_image: &str) -> String {
    let of_node: Option<Text> = snapshot.attr(node, col::bootparams::ADDKCMDLINE);
    let cells = [of_node.as_deref().unwrap_or_default(), of_image];
    let words = cells.iter().flat_map(|cell| cell.split(' ')).filter_map(|word| word.strip_prefix("R::"));
    words.collect::<Vec<_>>().join(" ")
}
