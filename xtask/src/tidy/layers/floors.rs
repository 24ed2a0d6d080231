//! Which crate may use which: those of lower floors, and of its own floor only what is listed here.

use super::Package;

/// The crates from the bottom up. ARCHITECTURE.md says what lives in each.
const FLOORS: [&[&str]; 7] = [
    &["dawn-wire", "dawn-serving", "dawn-tls", "dawn-fanout", "dawn-cluster"],
    &["dawn-statelite", "dawn-plan", "dawn-deploy", "dawn-discovery", "dawn-imagebuilder", "dawn-events"],
    ENGINES,
    &["dawn-roots", "dawn-hardware", "dawn-remote"],
    &["dawn-bootd"],
    &["dawn-commands"],
    &["dawn"],
];

/// Protocol engines. They do not know the model.
const ENGINES: &[&str] = &[
    "dawn-dhcp",
    "dawn-dns",
    "dawn-http",
    "dawn-ipmi",
    "dawn-ndp",
    "dawn-nfs",
    "dawn-snmp",
    "dawn-tftp",
    "dawn-xcatd",
];

/// All that engines use, and all that `/init` uses.
const FOR_ENGINES: &[&str] = &["dawn-wire", "dawn-serving", "dawn-tls", "dawn-fanout"];
const FOR_INIT: &[&str] = &["dawn-wire", "dawn-serving", "dawn-statelite", "dawn-tls"];

/// A crate that uses another one of its floor. Packed images and plans have to agree on the files of a node;
/// answers for installers name what the plan decides; the model and the node spell the same words.
const ON_ONE_FLOOR: [(&str, &str); 4] = [
    ("dawn-cluster", "dawn-wire"),
    ("dawn-plan", "dawn-statelite"),
    ("dawn-imagebuilder", "dawn-statelite"),
    ("dawn-deploy", "dawn-plan"),
];

/// Crates that are there for tests and for work on the sources.
const FOR_WORK: [&str; 4] = ["dawn-test-ports", "dawn-qemu", "dawn-texts", "xtask"];

/// Every use of a crate that its floor does not allow, and every crate without a floor.
pub(super) fn wrong(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Package { name, uses, .. } in packages.iter().filter(|package| !FOR_WORK.contains(&&*package.name)) {
        if name != "initrd-init" && floor(name).is_none() {
            wrong.push(format!("{name} is on no floor (xtask/src/tidy/layers/floors.rs)"));
        }
        let forbidden = uses.iter().filter(|used| !may_use(name, used));
        wrong.extend(forbidden.map(|used| format!("{name} must not use {used}")));
    }
    wrong
}

fn may_use(name: &str, used: &str) -> bool {
    if name == "initrd-init" {
        return FOR_INIT.contains(&used);
    }
    if ENGINES.contains(&name) {
        return FOR_ENGINES.contains(&used);
    }
    floor(used) < floor(name) || ON_ONE_FLOOR.contains(&(name, used))
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::{Package, wrong};

    #[track_caller]
    fn check(name: &str, uses: &str, expect: &[&str]) {
        let uses = uses.split(' ').map(str::to_owned).collect();
        let package = Package { name: name.to_owned(), uses, roots: Vec::new() };
        assert_eq!(wrong(&[package]), expect);
    }

    #[test]
    fn crates_use_what_is_below_them() {
        check("dawn-plan", "dawn-cluster dawn-statelite", &[]);
        check("dawn-plan", "dawn-bootd", &["dawn-plan must not use dawn-bootd"]);
        check("dawn-statelite", "dawn-plan", &["dawn-statelite must not use dawn-plan"]);
        check("dawn-http", "dawn-serving dawn-cluster", &["dawn-http must not use dawn-cluster"]);
        check("initrd-init", "dawn-wire dawn-plan", &["initrd-init must not use dawn-plan"]);
        check(
            "new",
            "dawn-wire",
            &["new is on no floor (xtask/src/tidy/layers/floors.rs)", "new must not use dawn-wire"],
        );
    }
}
