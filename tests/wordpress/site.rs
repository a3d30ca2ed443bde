//! The site: nginx, php-fpm and MariaDB, and WordPress installed in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::database::Database;
use crate::session::Session;
use crate::support::{Conf, Folder, Nginx, PhpFpm, Response};

/// Where the site lives, for its visitors.
pub(crate) const HOST: &str = "wp.example";

pub(crate) struct Site {
    pub(crate) nginx: Nginx,
    pub(crate) php: PhpFpm,
    pub(crate) database: Database,
    /// The number of the draft.
    pub(crate) draft: u64,
    /// The number of the category that all articles are in.
    pub(crate) news: u64,
    folder: Folder,
}

impl Site {
    pub(crate) fn start() -> Site {
        Site::start_with(&[])
    }

    /// With these changes to the configuration, too.
    pub(crate) fn start_with(changes: &[(&str, &str)]) -> Site {
        let (folder, php, database) = (Folder::new(), PhpFpm::with_processes(4), Database::start());
        let root = folder.0.join("wordpress");
        let places = [
            ("/var/www/wordpress", root.to_str().expect("a path")),
            ("/run/php/php-fpm.sock", &php.socket().display().to_string()),
        ];
        let nginx = Conf::example("wordpress-fastcgi.conf", &[&places, changes].concat())
            .allow("connect() to unix:")
            .start();
        copy(&root);
        configure(&root, &database, &nginx);
        let said = install(&root);
        let number = |name: &str| said[name].as_u64().expect("a number");
        Site {
            draft: number("draft"),
            news: number("news"),
            nginx,
            php,
            database,
            folder,
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.0.join("wordpress")
    }

    /// From now on WordPress purges by `PURGE`, or by `GET` below /purge/.
    pub(crate) fn purge_by(&self, method: &str) {
        fs::write(self.root().join("wp-content/purge-by"), method).expect("a file");
    }

    pub(crate) fn visitor(&self) -> Session {
        Session::new(self.nginx.addr)
    }

    /// GET, by a visitor of no one in particular.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.visitor().get(path)
    }

    /// Asks until it is stored: from then on it is a HIT.
    #[track_caller]
    pub(crate) fn fill(&self, path: &str) -> Response {
        let first = self.get(path);
        assert!(matches!(first.cache(), "MISS" | "HIT"), "{path}: {first:?}");
        let second = self.get(path);
        assert_eq!(second.cache(), "HIT", "{path}: {second:?}");
        second
    }

    /// Makes all pages stale.
    #[track_caller]
    pub(crate) fn expire_all(&self) {
        let fields = [("X-Purge-Mode", "soft")];
        let answer = self.visitor().request("PURGE", "/*", &fields, "");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn here(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wordpress");
    folder.join(name)
}

/// Copies Debian's WordPress, whose own configuration looks into /etc.
fn copy(root: &Path) {
    let copied = Command::new("cp")
        .args(["--recursive", "--dereference", "/usr/share/wordpress/."])
        .arg(root)
        .output()
        .expect("cp");
    let said = String::from_utf8_lossy(&copied.stderr);
    assert!(
        root.join("wp-load.php").is_file(),
        "no WordPress, `make test-wordpress` installs it: {said}"
    );
}

fn configure(root: &Path, database: &Database, nginx: &Nginx) {
    let config = fs::read_to_string(here("wp-config.php")).expect("the configuration");
    let config = config
        .replace("@database@", &database.socket().display().to_string())
        .replace("@nginx@", &nginx.addr.to_string());
    fs::write(root.join("wp-config.php"), config).expect("the configuration");
    let plugins = root.join("wp-content/mu-plugins");
    fs::create_dir_all(&plugins).expect("a folder");
    for name in ["purge.php", "site.php"] {
        fs::copy(here(name), plugins.join(name)).expect("a plugin");
    }
    fs::write(root.join("wp-content/purge-by"), "PURGE").expect("a file");
}

fn install(root: &Path) -> Value {
    let output = Command::new("php")
        .arg(here("install.php"))
        .arg(root)
        .output()
        .expect("php: `make test-wordpress` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{errors}"))
}
