//! A real Apache that serves the files of a folder of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Folder, eventually, free_port};

const MODULES: &str = "/usr/lib/apache2/modules";

pub(crate) struct Apache {
    master: Child,
    folder: Folder,
    pub(crate) addr: SocketAddr,
}

impl Apache {
    /// With these modules beside the least (by their names in `LoadModule`) and these lines.
    pub(crate) fn start(modules: &[&str], lines: &str) -> Apache {
        let (folder, port) = (Folder::new(), free_port());
        let dir = folder.0.display().to_string();
        fs::create_dir(folder.0.join("www")).expect("a folder");
        let loaded: String = ["mpm_event", "authz_core"]
            .iter()
            .chain(modules)
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
            .collect();
        let conf = format!(
            "{loaded}ServerRoot {dir}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {dir}/pid\n\
             ErrorLog {dir}/error.log\nDefaultRuntimeDir {dir}\nUser nobody\nGroup nogroup\nDocumentRoot {dir}/www\n\
             <Directory {dir}/www>\nRequire all granted\n</Directory>\n{lines}\n"
        );
        fs::write(folder.0.join("apache.conf"), conf).expect("its configuration");
        let master = Command::new("/usr/sbin/apache2")
            .args(["-D", "FOREGROUND", "-f", &format!("{dir}/apache.conf")])
            .stdin(Stdio::null())
            .spawn();
        let apache = Apache {
            master: master.expect("apache2 is installed: `make deps`"),
            folder,
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        eventually("apache2 listens", || {
            TcpStream::connect(apache.addr).is_ok()
        });
        apache
    }

    /// What it serves.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.0.join("www")
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // SAFETY: kill() touches no memory; the process is our own child. SIGTERM: it takes its children along.
        unsafe { libc::kill(self.master.id() as libc::pid_t, libc::SIGTERM) };
        let _ = self.master.wait();
    }
}
