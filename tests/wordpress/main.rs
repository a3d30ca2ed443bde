//! A real WordPress behind nginx-conf/wordpress-fastcgi.conf, as it stands there: Debian's WordPress, php-fpm and MariaDB, each
//! started by the test in a folder of its own. `make test-wordpress` installs what it needs.

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the nginx module")]
#[expect(unused_imports, reason = "shared with the tests of the nginx module")]
mod support;

mod database;
mod leaks;
mod outages;
mod page;
mod publish;
mod session;
mod site;
