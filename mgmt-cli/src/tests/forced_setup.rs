//! `xcatconfig -f` with other directories.

use crate::testbed::Bed;

/// Another name or other directories: rows as at first, other certificates, the old ones next to them.
#[test]
fn force_with_directories() {
    let bed = Bed::new(
        "
        policy priority=1 name=root rule=allow
        site key=master value=10.0.0.1
        site key=domain value=cluster
        site key=maxssh value=888
        site key=own value=kept",
    );
    let top = bed.directory.path();
    let site = |key: &str| bed.run(&format!("gettab key={key} site.value")).trim().to_owned();
    let (install, tftp) = (top.join("lib/xcat"), top.join("lib/tftpboot"));
    let line = format!("xcatconfig -f --installdir='{}' --tftpdir='{}'", install.display(), tftp.display());
    let shown = bed.run(&format!("{line} --dry-run"));
    assert!(shown.contains("maxssh") && !install.exists() && !top.join("ca").exists(), "{shown}");
    for round in 1..=2 {
        let said = bed.run(&line);
        assert!(
            said.contains("dawn undo") && said.contains("Hint: Restart it; then `dawn init --data"),
            "{said}"
        );
        assert!(install.is_dir() && tftp.is_dir() && top.join("cert/server-cred.pem").exists());
        assert_eq!(top.join("ca.1").exists(), round == 2, "what was not there is not put aside");
    }
    assert_eq!((site("maxssh"), site("own"), site("domain")), ("8".into(), "kept".into(), "cluster".into()));
    assert_eq!(site("installdir"), install.to_string_lossy());
    assert_ne!(
        std::fs::read(top.join("ca/ca-cert.pem")).expect("new"),
        std::fs::read(top.join("ca.1/ca-cert.pem")).expect("old")
    );
    assert!(bed.run_as("xcatconfig -c", None, Some("bob"), None).contains("rc=1"));
}
