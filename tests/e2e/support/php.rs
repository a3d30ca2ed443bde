//! A real php-fpm on a socket in a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Folder, eventually};

pub(crate) struct PhpFpm {
    master: Child,
    folder: Folder,
}

impl PhpFpm {
    /// Serves `script` as `index.php`.
    pub(crate) fn start(script: &str) -> PhpFpm {
        let folder = Folder::new();
        let dir = folder.0.display().to_string();
        // Ignored when the master is not root, and needed when it is.
        let pool = "user = nobody\ngroup = nogroup\nlisten.mode = 0666\npm = static\npm.max_children = 2\n";
        let conf =
            format!("[global]\nerror_log = {dir}/fpm.log\n[www]\nlisten = {dir}/php.sock\n{pool}");
        fs::write(folder.0.join("fpm.conf"), conf).expect("its configuration");
        fs::write(folder.0.join("index.php"), script).expect("the script");
        let master = Command::new(binary())
            .args(["--nodaemonize", "--fpm-config", &format!("{dir}/fpm.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let php = PhpFpm {
            master: master.expect("php-fpm starts"),
            folder,
        };
        eventually("php-fpm listens", || {
            std::os::unix::net::UnixStream::connect(php.socket()).is_ok()
        });
        php
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.0.join("php.sock")
    }

    /// The folder with `index.php`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.0.clone()
    }
}

impl Drop for PhpFpm {
    fn drop(&mut self) {
        // SAFETY: kill() touches no memory; the process is our own child. SIGTERM: it takes its children along.
        unsafe { libc::kill(self.master.id() as libc::pid_t, libc::SIGTERM) };
        let _ = self.master.wait();
    }
}

/// Debian's binary carries its version in its name.
fn binary() -> PathBuf {
    let is_fpm = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
    };
    let found = fs::read_dir("/usr/sbin")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(is_fpm);
    found.expect("php-fpm is installed: `make deps`")
}
