//! What the tests stand on: a real nginx, an origin that does as the test says, a client that sees every byte.
//!
//! A test is written with these three and [`eventually`]; it never sleeps for a fixed time. An entry that must be
//! stale is born stale (the origin sends `Age`), and an origin that must be slow is held at a [`Gate`].

mod apache;
mod browser;
mod client;
mod http3;
mod nginx;
mod origin;
mod php;
mod redis;
mod tls;

use std::time::{Duration, Instant};

pub(crate) use apache::Apache;
pub(crate) use browser::Browser;
pub(crate) use client::{Client, Response, at_once};
pub(crate) use http3::Http3;
pub(crate) use nginx::{Conf, Folder, Nginx, build, free_listener, free_port, module};
pub(crate) use origin::{Gate, Origin, Recorded, Reply, forget_on_close};
pub(crate) use php::PhpFpm;
pub(crate) use redis::{Answer, Redis};
pub(crate) use tls::Identity;

/// How long anything may take that should take a moment: long enough for a busy machine, and then it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// What "without waiting for the origin" means here: far less than any test lets its origin take.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(400);

/// Asks until `holds` does, and fails the test with `what` when it does not in time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
