//! What the services that scripts of `infra/native` keep have in common.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};
use tally_testkit::eventually;
use uuid::Uuid;

/// How long a process may take to die.
const DEATH: Duration = Duration::from_secs(20);
/// How long a shared service stays when nobody uses it any more.
pub(crate) const WIPE_IDLE: Duration = Duration::from_mins(1);

/// A service kept by a script in a state folder, and our claim on it: the lock goes when this or its process does.
pub(crate) struct Service {
    script: Script,
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
    _claim: File,
}

/// A script of `infra/native` and the settings of a developer's own that are kept from it.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) cleared: &'static [&'static str],
}

impl Service {
    /// Starts it unless it is up. Panics with what the script says, which names what to install.
    pub(crate) fn start(
        script: Script,
        folder: PathBuf,
        settings: Vec<(&'static str, String)>,
    ) -> Self {
        let claim = claim(&folder);
        let service = Self { script, folder, settings, _claim: claim };
        service.run(&["start"]);
        service
    }

    /// Runs a verb of the script and returns what it prints; panics with what it says.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let Self { script, .. } = self;
        let output = self
            .command(args)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("bash and {}: {error}", script.name));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {} failed\n{said}", script.name, args.join(" "));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// The script as a command.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(root().join("infra/native").join(self.script.name));
        for name in self.script.cleared {
            command.env_remove(name);
        }
        command.args(args).env("INFRA_STATE", &self.folder);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the script has noted in a file of the folder.
    pub(crate) fn note(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
            .trim()
            .to_owned()
    }

    /// The process that the script has noted in a file of the folder.
    pub(crate) fn pid(&self, file: &str) -> Pid {
        let note = self.note(file);
        let pid = note.split(' ').next().and_then(|pid| pid.parse().ok());
        Pid::from_raw(pid.expect("a pid"))
    }

    /// SIGKILL for that process; returns when it is dead.
    pub(crate) async fn kill9(&self, file: &str) {
        let pid = self.pid(file);
        kill(pid, Signal::SIGKILL).expect("the service lives");
        eventually(DEATH, async || !lives(pid)).await;
    }

    /// Wipes it; for a drop. A failed wipe is left to the watch: a panic here would hide the test's own.
    pub(crate) fn wipe(&self) {
        let wiped = self.command(&["wipe"]).stdin(Stdio::null()).output();
        if wiped.is_ok_and(|output| output.status.success()) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The folder of a service that all test processes of this user in this checkout share.
pub(crate) fn shared_folder(name: &str) -> PathBuf {
    let checkout =
        Uuid::new_v5(&Uuid::NAMESPACE_URL, root().as_os_str().as_encoded_bytes()).simple();
    let checkout = checkout.to_string();
    env::temp_dir().join(format!("tally-{name}-{}-{}", getuid(), &checkout[..12]))
}

/// The folder of a service that one test has for itself.
pub(crate) fn own_folder() -> PathBuf {
    env::temp_dir().join(format!("tally-own-{}", Uuid::now_v7().simple()))
}

/// The top of the checkout.
pub(crate) fn root() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    fs::canonicalize(root).unwrap_or_else(|error| panic!("{root}: {error}"))
}

/// The parent of a process.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    let fields = stat(pid)?;
    Some(Pid::from_raw(fields.get(1)?.parse().ok()?))
}

/// A dead process that nobody has reaped yet does not; one that was killed does until its last thread has ended, which
/// holds its ports.
pub(crate) fn lives(pid: Pid) -> bool {
    let dead = |fields: Vec<String>| matches!(&*fields[0], "Z" | "X") && fields[17] == "1";
    stat(pid).is_some_and(|fields| !dead(fields))
}

/// What the kernel says of a process, from its state on (`proc_pid_stat(5)`, field 3).
fn stat(pid: Pid) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(") ")?;
    Some(after_name.split(' ').map(str::to_owned).collect())
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
