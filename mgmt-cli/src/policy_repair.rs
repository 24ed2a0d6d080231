//! Root locked out by the policy table lets himself in again: `dawn init` on the data directory, which only
//! root of this machine can write.
//!
//! The default rule for root comes back as it was, and rules that still precede it are disabled one by one.
//! They stay in the table for the administrator to look at, and `dawn undo` knows the change.

use dawn_cluster::{Edit, EditError, PolicyRequest, Reason, Snapshot};

/// Priority of the default rule that lets root do everything.
const ROOT_RULE: &str = "1";
/// Commands that root needs to repair everything else.
const REPAIRING: [&str; 3] = ["chtab", "tabdump", "undo"];
/// Rules that are disabled at most.
const DISABLED_MAX: usize = 1000;

/// Edits after which root may repair the tables from this machine (`host`, its short name), and what they do
/// in words. None of either if root may already.
///
/// # Errors
/// [`EditError`] if a rule cannot be changed.
pub(crate) fn edits(snapshot: &Snapshot, host: &str) -> Result<(Vec<Edit>, Vec<String>), EditError> {
    let (mut edits, mut said) = (Vec::new(), Vec::new());
    let mut restored = false;
    for _ in 0..=DISABLED_MAX {
        let now = snapshot.with(&edits)?;
        let Some(reason) = REPAIRING.iter().find_map(|command| denial(&now, host, command)) else { break };
        match reason {
            Reason::Row(priority) if restored && *priority != *ROOT_RULE => {
                edits.push(Edit::set("policy", &[("priority", &priority)], &[("disable", "yes")])?);
                said.push(format!("disabled policy rule {priority}, which kept root out"));
            }
            _ if restored => break,
            _ => {
                restored = true;
                edits.push(Edit::delete("policy", &[("priority", ROOT_RULE)])?);
                edits.push(Edit::set(
                    "policy",
                    &[("priority", ROOT_RULE)],
                    &[("name", "root"), ("rule", "allow")],
                )?);
                said.push(format!("put back policy rule {ROOT_RULE}: root may do everything"));
            }
        }
    }
    Ok((edits, said))
}

/// Why root on this machine may not run the command.
fn denial(snapshot: &Snapshot, host: &str, command: &str) -> Option<Reason> {
    let request =
        PolicyRequest { peer_name: Some("root"), peer_host: host, command, ..PolicyRequest::default() };
    let verdict = snapshot.policy(&request);
    (!verdict.allowed).then_some(verdict.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_gets_in_again() {
        let root: &[(&str, &str)] = &[("priority", "1"), ("name", "root"), ("rule", "allow")];
        let changed: &[(&str, &str)] =
            &[("priority", "1"), ("name", "root"), ("commands", "lsdef"), ("rule", "deny")];
        let host: &[(&str, &str)] = &[("priority", "0.5"), ("host", "mn1"), ("rule", "deny")];
        let all: &[(&str, &str)] =
            &[("priority", "0.7"), ("name", "*"), ("commands", "chtab"), ("rule", "no")];
        for (rows, lines) in [
            (vec![root], 0),
            (vec![], 1),
            (vec![changed], 1),
            (vec![root, host], 2),
            (vec![changed, all, host], 3),
        ] {
            let locked = Snapshot::from_rows(rows.iter().map(|row| ("policy", *row)));
            let (edits, said) = edits(&locked, "mn1").unwrap();
            assert_eq!(said.len(), lines, "{said:?}");
            let fixed = locked.with(&edits).unwrap();
            assert_eq!(REPAIRING.iter().find_map(|command| denial(&fixed, "mn1", command)), None, "{rows:?}");
        }
    }
}
