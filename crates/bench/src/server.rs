//! The Postgres of the benchmark, started by `infra/native/postgres.sh`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;
use tokio_postgres::{Client, NoTls};

/// A server that waits for the disk at each COMMIT, as one in earnest does; wiped with this value, and by the
/// script's own watch when this process is killed.
pub struct Server {
    state: PathBuf,
    url: String,
    _claim: File,
}

impl Server {
    /// Starts it, with its data in `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let state = folder.join("server");
        std::fs::create_dir(&state)?;
        let claim = File::create(state.join("users"))?;
        claim.lock_shared()?;
        let mut server = Self { state, url: String::new(), _claim: claim };
        server.script("start")?;
        let url = server.script("url")?;
        url.trim_end().trim_end_matches("tally").clone_into(&mut server.url);
        Ok(server)
    }

    /// For clients of `database`.
    pub fn url(&self, database: &str) -> String {
        format!("{}{database}", self.url)
    }

    /// A session in `database`.
    pub async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// An empty `database` instead of the one that has the name; and nothing left to write to the disk for anyone.
    pub async fn recreate(&self, database: &str) -> anyhow::Result<()> {
        let client = self.connect("tally").await?;
        client.execute(&format!("drop database if exists {database} with (force)"), &[]).await?;
        client.execute(&format!("create database {database} template template0"), &[]).await?;
        self.settle().await
    }

    /// Nothing is left to write to the disk for anyone.
    pub async fn settle(&self) -> anyhow::Result<()> {
        self.connect("tally").await?.execute("checkpoint", &[]).await?;
        nix::unistd::sync();
        Ok(())
    }

    /// Its version and how it treats the disk.
    pub async fn describe(&self) -> anyhow::Result<String> {
        let client = self.connect("tally").await?;
        let show = async |setting: &str| -> anyhow::Result<String> {
            Ok(client.query_one(&format!("show {setting}"), &[]).await?.get(0))
        };
        let (version, fsync) = (show("server_version").await?, show("fsync").await?);
        let synchronous_commit = show("synchronous_commit").await?;
        Ok(format!("Postgres {version}, fsync {fsync}, synchronous_commit {synchronous_commit}"))
    }

    fn script(&self, verb: &str) -> anyhow::Result<String> {
        let output =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/native/postgres.sh"))
                .arg(verb)
                .envs([("PG_PORT", "0"), ("PG_FSYNC", "on"), ("PG_WIPE_IDLE", "0")])
                .env("INFRA_STATE", &self.state)
                .env_remove("PG_DIR")
                .env_remove("PG_DB")
                .env_remove("PG_SUPERUSER")
                .env_remove("PG_PASSWORD")
                .stdin(Stdio::null())
                .output()?;
        if !output.status.success() {
            bail!("postgres.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.script("wipe") {
            eprintln!("the server is left to its watch: {error}");
        }
    }
}
