//! Real database servers in a temporary directory, reached by a socket file, gone with the value.

use dawn_cluster::{DatabaseHost, Secret, ServerAddress, StoreAddress};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(180);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Postgres,
    Mysql,
}

/// A running server.
pub(super) struct Server {
    pub engine: Engine,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

/// The program, or a loud failure that names the Debian package.
fn program(name: &str, package: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = versions.map(|v| v.path().join("bin")).collect();
    places.extend(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    let found = places.into_iter().map(|dir| dir.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package {package}"))
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{text}", String::from_utf8_lossy(&output.stdout));
}

impl Server {
    /// Makes a new server and waits until it answers.
    pub(super) fn start(engine: Engine) -> Self {
        let directory = tempfile::Builder::new().prefix("dawn-db").tempdir_in("/tmp").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = Self { engine, directory, child: None };
        server.initialise();
        server.launch();
        server
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initialise(&self) {
        match self.engine {
            Engine::Postgres => {
                fs::create_dir(self.data()).unwrap();
                run(Command::new("chown").arg("postgres:postgres").arg(self.data()));
                let initdb = program("initdb", "postgresql");
                let mut command = as_postgres(&initdb);
                run(command.args(["--auth=trust", "--encoding=UTF8", "--no-sync", "-D"]).arg(self.data()));
            }
            Engine::Mysql => {
                let install = program("mariadb-install-db", "mariadb-server");
                let data = format!("--datadir={}", self.data().display());
                let mut command = Command::new(install);
                command.args([
                    "--no-defaults",
                    "--user=root",
                    "--skip-test-db",
                    "--auth-root-authentication-method=normal",
                ]);
                run(command.arg(data));
            }
        }
    }

    /// Starts the server of this directory.
    pub(super) fn launch(&mut self) {
        let data = self.data();
        let mut command = match self.engine {
            Engine::Postgres => {
                let mut command = as_postgres(&program("postgres", "postgresql"));
                let sockets = format!("unix_socket_directories={}", data.display());
                command.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", &sockets]);
                command
            }
            Engine::Mysql => {
                let mut command = Command::new(program("mariadbd", "mariadb-server"));
                command.args([
                    "--no-defaults",
                    "--user=root",
                    "--skip-networking",
                    "--innodb-buffer-pool-size=32M",
                ]);
                command.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", self.host()));
                command
            }
        };
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|e| panic!("{command:?}: {e}")));
        let deadline = Instant::now() + START_MAX;
        while dawn_cluster::set_up_server(&self.admin(), &self.address("dawn_first"), &["localhost".into()])
            .is_err()
        {
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server does not answer: {}", log());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Ends the server as a power failure would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            // The processes of a killed PostgreSQL server notice it by themselves; its lock file stays.
            std::thread::park_timeout(Duration::from_millis(500));
        }
    }

    /// Stops (`STOP`) or continues (`CONT`) every process of the server, as a disk that hangs would.
    pub(super) fn signal(&self, signal: &str) {
        let main = self.child.as_ref().unwrap().id().to_string();
        let signal = format!("-{signal}");
        run(Command::new("kill").args([&signal, &main]));
        // One that ends by itself meanwhile needs no signal.
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        for child in children.split_whitespace() {
            Command::new("kill").args([&signal, child]).stderr(Stdio::null()).status().unwrap();
        }
    }

    /// Runs a statement as the administrator.
    pub(super) fn sql(&self, statement: &str) {
        let host = format!("--host={}", self.host());
        match self.engine {
            Engine::Postgres => {
                let mut command = as_postgres(&program("psql", "postgresql-client"));
                run(command.args([&host, "--username=postgres", "-c", statement]));
            }
            Engine::Mysql => {
                let mut command = Command::new(program("mariadb", "mariadb-client"));
                let socket = format!("--socket={}", self.host());
                run(command.args(["--no-defaults", "--user=root", &socket, "-e", statement]));
            }
        }
    }

    /// Makes the server one that can only be read, as a standby is, or one that can be written.
    pub(super) fn make_read_only(&self, read_only: bool) {
        match self.engine {
            Engine::Postgres => {
                self.sql(&format!("ALTER SYSTEM SET default_transaction_read_only={read_only}"));
                self.sql("SELECT pg_reload_conf()");
            }
            Engine::Mysql => self.sql(&format!("SET GLOBAL read_only={}", u8::from(read_only))),
        }
    }

    fn host(&self) -> String {
        match self.engine {
            Engine::Postgres => self.data().display().to_string(),
            Engine::Mysql => self.directory.path().join("s").display().to_string(),
        }
    }

    fn wrap(&self, dbname: &str, user: &str, password: &str) -> StoreAddress {
        let host = DatabaseHost { name: self.host(), port: None };
        let address = ServerAddress::on(host, dbname, user, Secret::new(password));
        match self.engine {
            Engine::Postgres => StoreAddress::Postgres(address),
            Engine::Mysql => StoreAddress::Mysql(address),
        }
    }

    /// The account that may make databases.
    pub(super) fn admin(&self) -> StoreAddress {
        match self.engine {
            Engine::Postgres => self.wrap("postgres", "postgres", ""),
            Engine::Mysql => self.wrap("", "root", ""),
        }
    }

    fn address(&self, dbname: &str) -> StoreAddress {
        self.wrap(dbname, "xcatadm", "it's a secret")
    }

    /// A new database with its user.
    pub(super) fn database(&self, dbname: &str) -> StoreAddress {
        let address = self.address(dbname);
        dawn_cluster::set_up_server(&self.admin(), &address, &["localhost".into()]).unwrap();
        address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() && std::thread::panicking() {
            self.signal("CONT");
        }
        self.kill();
    }
}
