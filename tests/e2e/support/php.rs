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
        let php = PhpFpm::with_processes(2);
        fs::write(php.folder.0.join("index.php"), script).expect("the script");
        php
    }

    /// Runs whatever scripts it is asked for, so many at a time.
    pub(crate) fn with_processes(count: usize) -> PhpFpm {
        let folder = Folder::new();
        let dir = folder.0.display().to_string();
        // Ignored when the master is not root, and needed when it is.
        let user = "user = nobody\ngroup = nogroup\nlisten.mode = 0666\n";
        let pool = format!("{user}pm = static\npm.max_children = {count}\n");
        let conf =
            format!("[global]\nerror_log = {dir}/fpm.log\n[www]\nlisten = {dir}/php.sock\n{pool}");
        fs::write(folder.0.join("fpm.conf"), conf).expect("its configuration");
        let php = PhpFpm {
            master: spawn(&folder),
            folder,
        };
        php.await_socket();
        php
    }

    fn await_socket(&self) {
        eventually("php-fpm listens", || {
            std::os::unix::net::UnixStream::connect(self.socket()).is_ok()
        });
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.0.join("php.sock")
    }

    /// The folder with `index.php`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.0.clone()
    }

    /// Sends a signal to the master, which would replace others of them, and then to the processes that run scripts.
    pub(crate) fn signal(&self, signal: i32) {
        let master = self.master.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.unwrap_or_default();
        let all = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        for pid in [master as libc::pid_t].into_iter().chain(all) {
            // SAFETY: kill() touches no memory; the processes are our own child, not yet waited for, and its children.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Ends at once, as if it had crashed, and leaves its socket behind.
    pub(crate) fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        let _ = self.master.wait();
    }

    /// Starts again on the same socket.
    pub(crate) fn restart(&mut self) {
        self.master = spawn(&self.folder);
        self.await_socket();
    }
}

impl Drop for PhpFpm {
    fn drop(&mut self) {
        // It may be stopped, when nothing milder would reach it.
        if matches!(self.master.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

fn spawn(folder: &Folder) -> Child {
    let conf = folder.0.join("fpm.conf");
    Command::new(binary())
        .args(["--nodaemonize", "--fpm-config"])
        .arg(conf)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("php-fpm starts")
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
