use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A server kept by the script in a folder, and our claim on it: the lock goes when this or its process does.
pub(super) struct Server {
    folder: PathBuf,
    wipe_idle: Duration,
    port: u16,
    _claim: File,
}

impl Server {
    /// Starts it unless it is up.
    pub(super) fn start(folder: PathBuf, wipe_idle: Duration) -> Self {
        let claim = claim(&folder);
        let mut server = Self { folder, wipe_idle, port: 0, _claim: claim };
        server.run("start");
        let port = fs::read_to_string(server.folder.join("postgres/port"))
            .expect("the script notes the port");
        server.port = port.trim().parse().expect("a port");
        server
    }

    /// Runs a verb of the script; panics with what the script says.
    pub(super) fn run(&self, verb: &str) {
        let output = Command::new(root().join("infra/native/postgres.sh"))
            .arg(verb)
            .envs([
                ("PG_PORT", "0"),
                ("PG_TLS", "1"),
                ("PG_FSYNC", "off"),
                ("PG_MAX_CONNECTIONS", "200"),
            ])
            .env("PG_WIPE_IDLE", self.wipe_idle.as_secs().to_string())
            .env("INFRA_STATE", &self.folder)
            .env_remove("PG_DIR")
            .env_remove("PG_DB")
            .env_remove("PG_SUPERUSER")
            .env_remove("PG_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .expect("bash and infra/native/postgres.sh");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "postgres.sh {verb} failed\n{said}");
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(super) fn url(&self, user: &str, password: &str, database: &str) -> String {
        let (user, password) = (
            utf8_percent_encode(user, NON_ALPHANUMERIC),
            utf8_percent_encode(password, NON_ALPHANUMERIC),
        );
        format!("postgres://{user}:{password}@{}/{database}", self.addr())
    }

    pub(super) fn superuser_url(&self, database: &str) -> String {
        self.url("postgres", "postgres", database)
    }

    pub(super) fn tls_url(&self, database: &str) -> String {
        let (port, ca) = (self.port, self.folder.join("postgres/tls/ca.crt"));
        format!(
            "postgres://postgres:postgres@localhost:{port}/{database}?sslmode=verify-full&sslrootcert={}",
            ca.display()
        )
    }
}

/// The top of the checkout.
pub(super) fn root() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    fs::canonicalize(root).unwrap_or_else(|error| panic!("{root}: {error}"))
}

/// A shared lock on the folder's users file. The watch takes it exclusively to wipe the server and removes the file
/// while it has it: who then gets the lock looks whether the file is still the one with that name.
fn claim(folder: &Path) -> File {
    loop {
        fs::create_dir_all(folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let path = folder.join("users");
        let file = match File::options().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => panic!("cannot open {}: {error}", path.display()),
        };
        file.lock_shared().expect("a lock");
        let inode = file.metadata().expect("metadata").ino();
        if fs::metadata(&path).is_ok_and(|named| named.ino() == inode) {
            file.set_modified(SystemTime::now()).expect("a new time");
            return file;
        }
    }
}
