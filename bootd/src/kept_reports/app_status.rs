//! `nodelist.appstatus`: what the programs of a node say about themselves, `app=state,app=state`.
//!
//! Any process of a node may report, so everything about it has a limit: the number of programs, the length
//! of a name and of a state, and so the cell. Entries that are too long are left out and named; of too many
//! programs those with the oldest reports are dropped, because a program that runs reports again.

/// Programs kept for one node.
pub(super) const APPS_PER_NODE_MAX: usize = 32;
/// Bytes of a program's name.
pub(super) const APP_NAME_BYTES_MAX: usize = 64;
/// Bytes of a program's state.
pub(super) const APP_STATE_BYTES_MAX: usize = 128;
/// Bytes of the cell; less than [`APPS_PER_NODE_MAX`] programs with the longest names and states have.
pub(super) const CELL_BYTES_MAX: usize = 4096;

/// How many of a report's pairs are left out.
pub(crate) fn left_out(report: &[(String, String)]) -> usize {
    report.iter().filter(|pair| !is_kept(pair)).count()
}

fn is_kept((app, state): &(String, String)) -> bool {
    !app.is_empty() && fits(app, APP_NAME_BYTES_MAX) && fits(state, APP_STATE_BYTES_MAX)
}

/// The pairs of a cell.
pub(super) fn pairs(cell: &str) -> Vec<(String, String)> {
    let pairs = cell.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(app, state)| (app.to_owned(), state.to_owned())).collect()
}

/// The cell after a report.
pub(super) fn merged(cell: &str, report: &[(String, String)]) -> String {
    let mut list: Vec<(&str, &str)> = cell.split(',').filter_map(|pair| pair.split_once('=')).collect();
    for (app, state) in report.iter().filter(|pair| is_kept(pair)) {
        list.retain(|(known, _)| known != app);
        list.push((app, state));
    }
    let mut kept: Vec<String> = Vec::new();
    let mut bytes = 0;
    for (app, state) in list.iter().rev().take(APPS_PER_NODE_MAX) {
        let pair = format!("{app}={state}");
        bytes += pair.len() + 1;
        if bytes > CELL_BYTES_MAX {
            break;
        }
        kept.push(pair);
    }
    kept.reverse();
    kept.join(",")
}

/// Short enough, and without what would part pairs or go to a terminal.
fn fits(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(|c| c.is_control() || matches!(c, ',' | '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let long = "x".repeat(APP_NAME_BYTES_MAX + 1);
        for (cell, report, expected, without) in [
            ("", "gpfs=up,ll=down", "gpfs=up,ll=down", 0),
            ("gpfs=up,ll=down", "gpfs=down", "ll=down,gpfs=down", 0),
            ("gpfs=up", "=x", "gpfs=up", 1),
            ("gpfs=up", &format!("{long}=up,ll=up"), "gpfs=up,ll=up", 1),
            ("gpfs=up", &format!("ll={}", "x".repeat(APP_STATE_BYTES_MAX + 1)), "gpfs=up", 1),
            ("gpfs=up", "a\u{1b}=up", "gpfs=up", 1),
        ] {
            assert_eq!(merged(cell, &pairs(report)), expected, "{report}");
            assert_eq!(left_out(&pairs(report)), without, "{report}");
        }
    }

    #[test]
    fn thousands_of_names_end_in_a_small_cell() {
        let mut cell = "old=up".to_owned();
        for round in 0..5000 {
            let name = format!("{round:0>60}");
            cell = merged(&cell, &[(name.clone(), "u".repeat(100)), (format!("b{round}"), "u".into())]);
            assert!(cell.len() <= CELL_BYTES_MAX && cell.split(',').count() <= APPS_PER_NODE_MAX);
            assert!(cell.contains(&name));
        }
        assert!(!cell.contains("old="));
        // A cell that is too large already becomes small with the next report.
        let large = (0..5000).map(|n| format!("a{n}=u")).collect::<Vec<_>>().join(",");
        assert!(merged(&large, &pairs("gpfs=up")).split(',').count() <= APPS_PER_NODE_MAX);
    }
}
