//! The post scripts that come with Dawn: `dawn init` writes them to `<installdir>/postscripts`, where nodes
//! fetch them.
//!
//! A script that is there stays: it is a site's own, or one that the site has changed. They are POSIX shell
//! and use only programs that they have looked for first, because images differ; installers of distributions
//! run them as well as the agent of `/init`.

use anyhow::{Context, Result};
use std::path::Path;

/// Below the installation directory.
const FOLDER: &str = "postscripts";
/// Names and texts.
const SCRIPTS: [(&str, &str); 6] = [
    ("otherpkgs", include_str!("../postscripts/otherpkgs")),
    ("remoteshell", include_str!("../postscripts/remoteshell")),
    ("setroute", include_str!("../postscripts/setroute")),
    ("setupntp", include_str!("../postscripts/setupntp")),
    ("syncfiles", include_str!("../postscripts/syncfiles")),
    ("syslog", include_str!("../postscripts/syslog")),
];

/// Writes those that are missing; their names.
///
/// # Errors
/// A directory or file that cannot be written.
pub(crate) fn install(installdir: &Path) -> Result<Vec<&'static str>> {
    let folder = installdir.join(FOLDER);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the directory {}", folder.display()))?;
    let mut written = Vec::new();
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        dawn_serving::whole::write(&path, text.as_bytes(), 0o755)
            .with_context(|| format!("cannot write {}", path.display()))?;
        written.push(name);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Output};

    #[test]
    fn what_is_there_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("postscripts/syslog");
        fs::create_dir_all(own.parent().expect("a parent")).expect("a directory");
        fs::write(&own, "mine").expect("a file");
        let written = install(dir.path()).expect("written");
        assert_eq!(written.len(), SCRIPTS.len() - 1);
        assert_eq!(fs::read_to_string(&own).expect("there"), "mine");
        let mode =
            fs::metadata(dir.path().join("postscripts/remoteshell")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(install(dir.path()).expect("again").is_empty());
    }

    /// Needs the Debian package `shellcheck`.
    #[test]
    fn shellcheck_has_nothing_to_say() {
        let dir = tempfile::tempdir().expect("a directory");
        install(dir.path()).expect("written");
        let files = SCRIPTS.map(|(name, _)| dir.path().join(FOLDER).join(name));
        let output =
            Command::new("shellcheck").args(["--shell", "sh"]).args(files).output().expect("shellcheck");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Shells of nodes, inside of the root.
    const SHELLS: [&[&str]; 2] = [&["/bin/dash"], &["/bin/busybox", "sh"]];

    /// A small root: busybox, dash, and stand-ins for programs of an image, which note how they were called.
    /// Needs the Debian packages `busybox-static`, `dash` and `util-linux`, and root.
    struct Root(tempfile::TempDir);

    impl Root {
        fn new(programs: &[(&str, &str)], files: &[(&str, &str)]) -> Self {
            let root = Self(tempfile::tempdir().expect("a directory"));
            for folder in
                ["bin", "usr/sbin", "tmp", "etc/ssh", "root", "dev", "run/systemd/system", "run/dawn"]
            {
                fs::create_dir_all(root.at(folder)).expect("a directory");
            }
            install(&root.at("")).expect("scripts");
            fs::copy("/bin/busybox", root.at("bin/busybox")).expect("busybox-static");
            let applets = [
                "cat", "chmod", "cmp", "grep", "kill", "mkdir", "mv", "rm", "sed", "sleep", "timeout",
                "touch", "tr",
            ];
            for applet in applets {
                std::os::unix::fs::symlink("busybox", root.at(&format!("bin/{applet}"))).expect("a link");
            }
            std::os::unix::fs::symlink("dash", root.at("bin/sh")).expect("a link");
            fs::write(root.at("dev/null"), "").expect("a stand-in");
            let libraries = ["/bin/dash", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
            for file in libraries {
                let to = root.at(file.trim_start_matches('/'));
                fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
                fs::copy(file, to).expect("a file of this machine");
            }
            for (path, text) in files {
                root.put(path, text, 0o644);
            }
            for (path, text) in programs {
                let name = path.rsplit('/').next().unwrap_or_default();
                root.put(path, &format!("#!/bin/sh\necho \"{name} $*\" >>/calls\n{text}\n"), 0o755);
            }
            root
        }

        fn at(&self, path: &str) -> std::path::PathBuf {
            self.0.path().join(path)
        }

        fn put(&self, path: &str, text: &str, mode: u32) {
            let to = self.at(path);
            fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
            fs::write(&to, text).expect("a file");
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).expect("its mode");
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap_or_default()
        }

        fn run(&self, shell: &[&str], script: &str, variables: &[(&str, &str)]) -> (i32, String) {
            // busybox's shell prefers its own programs to stand-ins, `ip` among them: it finds no network
            // here.
            let mut command = Command::new("unshare");
            command.args(["--net", "chroot"]).arg(self.0.path()).args(shell).args([
                "-c",
                "cd /postscripts && . \"./$0\"",
                script,
            ]);
            command.env_clear().env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").envs(variables.iter().copied());
            let Output { status, stdout, stderr } = command.output().expect("chroot");
            let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            (status.code().unwrap_or(-1), text)
        }
    }

    const SYSTEMCTL: (&str, &str) =
        ("bin/systemctl", "[ \"$1\" != cat ] || [ \"$2\" = \"$(cat /unit).service\" ]");

    #[test]
    fn a_log_goes_to_the_server_once() {
        for shell in SHELLS {
            let root = Root::new(
                &[("usr/sbin/rsyslogd", ""), SYSTEMCTL],
                &[("etc/rsyslog.d/remote.conf", "auth.* @elsewhere\n")],
            );
            let server = [("MASTER_IP", "10.0.0.1"), ("NTYPE", "compute")];
            let expected = "auth.* @elsewhere\n# xCAT settings START\n*.* @10.0.0.1\n# xCAT settings END\n";
            for said in ["the log goes to 10.0.0.1\n", "the log goes to 10.0.0.1 already\n"] {
                assert_eq!(root.run(shell, "syslog", &server), (0, said.into()), "{shell:?}");
                assert_eq!(root.read("etc/rsyslog.d/remote.conf"), expected, "{shell:?}");
            }
            assert_eq!(root.read("calls"), "systemctl restart rsyslog\n", "{shell:?}");
            let moved = root.run(shell, "syslog", &[("MASTER_IP", "10.0.0.2")]);
            assert_eq!(moved, (0, "the log goes to 10.0.0.2\n".into()), "{shell:?}");
            assert_eq!(root.read("etc/rsyslog.d/remote.conf"), expected.replace("0.1", "0.2"), "{shell:?}");
            let (code, _) = root.run(shell, "syslog", &[("MASTER_IP", "10.0.0.3"), ("SYSLOG", "ignore")]);
            assert_eq!(code, 0);
            assert_eq!(root.read("etc/rsyslog.d/remote.conf"), expected.replace("0.1", "0.2"), "{shell:?}");
        }
    }

    /// A program that the image lacks is not an error of the scripts that every node runs.
    #[test]
    fn default_scripts_end_well_in_an_empty_image() {
        let diskless = [("MASTER_IP", "10.0.0.1"), ("NODESETSTATE", "netboot"), ("OTHERPKGS_INDEX", "1")];
        let installed = [("MASTER_IP", "10.0.0.1"), ("NODESETSTATE", "boot"), ("OTHERPKGS_INDEX", "1")];
        for shell in SHELLS {
            let root = Root::new(&[], &[]);
            for script in ["syslog", "remoteshell", "otherpkgs"] {
                let (code, text) = root.run(shell, script, &diskless);
                assert!(code == 0 && !text.is_empty(), "{shell:?} {script}: {code} {text}");
            }
            for (script, code) in [("syncfiles", 1), ("otherpkgs", 1), ("setupntp", 0), ("setroute", 0)] {
                assert_eq!(root.run(shell, script, &installed).0, code, "{shell:?} {script}");
            }
            assert_eq!(root.run(shell, "syncfiles", &[("NOSYNCFILES", "1")]).0, 0, "{shell:?}");
        }
    }

    #[test]
    fn files_are_asked_for() {
        for shell in SHELLS {
            let root = Root::new(&[("run/dawn/init", "echo 'syncfiles failed: no'; exit 1")], &[]);
            assert_eq!(root.run(shell, "syncfiles", &[]), (1, "syncfiles failed: no\n".into()), "{shell:?}");
            assert_eq!(root.run(shell, "syncfiles", &[("NODESETSTATE", "statelite")]).0, 0, "{shell:?}");
            assert_eq!(root.read("calls"), "init syncfiles\n", "{shell:?}");
            let (code, text) = root.run(shell, "syncfiles", &[("NODESETSTATE", "netboot")]);
            assert!(code == 0 && text.contains("syncfiles failed: no\n"), "{shell:?}: {code} {text}");
        }
    }

    #[test]
    fn keys_are_let_in_and_host_keys_are_the_servers() {
        let key = "printf '%s\\n' '<xcatresponse>' '<data><content>' '-----BEGIN OPENSSH PRIVATE KEY-----' \
                   'AAAA' '-----END OPENSSH PRIVATE KEY-----' \
                   '</content><desc>x</desc></data>' '<serverdone/>'";
        let openssl = format!("cat >/request; cat /request >>/requests; grep -q ecdsa /request || {key}");
        let programs = [
            ("bin/openssl", openssl.as_str()),
            ("bin/ssh-keygen", "echo public"),
            ("usr/sbin/sshd", ""),
            ("run/dawn/init", "exec sleep 60"),
            SYSTEMCTL,
        ];
        for shell in SHELLS {
            let files = [
                ("unit", "ssh"),
                ("postscripts/_ssh/authorized_keys", "ssh-rsa A a\nssh-rsa B b\n"),
                ("root/.ssh/authorized_keys", "ssh-rsa B b\n"),
            ];
            let root = Root::new(&programs, &files);
            let variables =
                [("MASTER_IP", "10.0.0.1"), ("XCATDPORT", "3001"), ("ENABLESSHBETWEENNODES", "YES")];
            let (code, text) = root.run(shell, "remoteshell", &variables);
            assert_eq!((code, text.as_str()), (0, "the server gives no ecdsa host key\n"), "{shell:?}");
            assert_eq!(root.read("root/.ssh/authorized_keys"), "ssh-rsa B b\nssh-rsa A a\n", "{shell:?}");
            let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
            for path in ["etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_ed25519_key", "root/.ssh/id_rsa"] {
                let mode = fs::metadata(root.at(path)).expect(path).permissions().mode() & 0o777;
                assert_eq!((root.read(path).as_str(), mode), (private, 0o600), "{shell:?} {path}");
            }
            assert_eq!(root.read("etc/ssh/ssh_host_rsa_key.pub"), "public\n", "{shell:?}");
            assert!(!root.at("etc/ssh/ssh_host_ecdsa_key").exists(), "{shell:?}");
            let calls = root.read("calls");
            assert!(
                calls.contains("init consent\n") && calls.ends_with("systemctl restart ssh.service\n"),
                "{calls}"
            );
            let asked = root.read("requests");
            assert!(asked.starts_with("<xcatrequest>\n<command>getcredentials</command>\n"), "{asked}");
            assert!(
                asked.contains("<callback_port>300</callback_port>\n<arg>ssh_rsa_hostkey</arg>\n"),
                "{asked}"
            );
        }
    }

    #[test]
    fn time_servers_and_routes() {
        for shell in SHELLS {
            let before = "pool 2.debian.pool.ntp.org iburst\ndriftfile /x\n";
            let programs = [SYSTEMCTL, ("bin/ip", "[ \"$3\" != 10.9.0.0/16 ]")];
            let root = Root::new(&programs, &[("etc/chrony/chrony.conf", before), ("unit", "chrony")]);
            let variables = [("MASTER_IP", "10.0.0.1"), ("NTPSERVERS", "<xcatmaster>,ntp.example")];
            for _ in 0..2 {
                assert_eq!(root.run(shell, "setupntp", &variables).0, 0, "{shell:?}");
                let set = |server: &str| format!("server {server} iburst # set by setupntp\n");
                let expected = format!("#{before}{}{}", set("10.0.0.1"), set("ntp.example"));
                assert_eq!(root.read("etc/chrony/chrony.conf"), expected, "{shell:?}");
            }
            let routes = [
                ("NODEROUTENAMES", "a,b,c"),
                ("ROUTE_a", "10.8.0.0,255.255.240.0,10.0.0.254,eth0"),
                ("ROUTE_b", "10.9.0.0,16,10.0.0.254,"),
                ("ROUTE_c", "10.7.0.0,255.0.255.0,10.0.0.254,"),
            ];
            let (code, text) = root.run(shell, "setroute", &routes);
            assert!(code == 1 && text.contains("route c: "), "{shell:?}: {text}");
            let calls = root.read("calls");
            let routes = "ip route replace 10.8.0.0/20 via 10.0.0.254 dev eth0\n\
                          ip route replace 10.9.0.0/16 via 10.0.0.254\n";
            let has_stand_in = shell == SHELLS[0];
            assert!(calls.ends_with(routes) || !has_stand_in, "{shell:?}: {calls}");
            let alone = Root::new(&[], &[]);
            assert_eq!(alone.run(shell, "setupntp", &variables).0, 1, "{shell:?}: no time service");
        }
    }
}
