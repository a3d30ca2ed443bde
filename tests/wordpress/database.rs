//! A MariaDB that listens on a socket alone.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Folder, eventually};

pub(crate) struct Database {
    server: Child,
    folder: Folder,
}

impl Database {
    /// With an empty database `wordpress`, whose user is `root`.
    pub(crate) fn start() -> Database {
        let folder = Folder::new();
        let init = "CREATE DATABASE IF NOT EXISTS wordpress CHARACTER SET utf8mb4;\n";
        fs::write(folder.0.join("init.sql"), init).expect("a script");
        let made = command("mariadb-install-db", &folder)
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .output()
            .expect("mariadb-install-db: `make test-wordpress` installs it");
        assert!(
            made.status.success(),
            "{}{}",
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr)
        );
        let database = Database {
            server: serve(&folder),
            folder,
        };
        database.await_socket();
        database
    }

    fn await_socket(&self) {
        eventually("MariaDB listens", || {
            UnixStream::connect(self.socket()).is_ok()
        });
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.0.join("database.sock")
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    pub(crate) fn restart(&mut self) {
        self.server = serve(&self.folder);
        self.await_socket();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One of MariaDB's programs, for a small database that need not survive the machine.
fn command(program: &str, folder: &Folder) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}/data", folder.0.display()))
        .arg(format!("--tmpdir={}/temp", folder.0.display()))
        .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"])
        .args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]);
    // SAFETY: geteuid() cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        command.arg("--user=root");
    }
    command
}

fn serve(folder: &Folder) -> Child {
    let dir = folder.0.display();
    command("mariadbd", folder)
        .args(["--skip-networking", "--skip-log-bin"])
        .arg(format!("--socket={dir}/database.sock"))
        .arg(format!("--pid-file={dir}/database.pid"))
        .arg(format!("--log-error={dir}/database.log"))
        .arg(format!("--init-file={dir}/init.sql"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mariadbd: `make test-wordpress` installs it")
}
