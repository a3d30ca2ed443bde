//! The C library in real servers: the same black-box script for each of the hosts in examples/c, between a scripted origin and
//! a client that looks at every byte. It is the cycle that tests/e2e asks of the nginx module.
//!
//! `make hosts` builds what they need and runs them. By hand: `SWR_C` names the folder of the hosts (default: build/c).

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the nginx module")]
#[expect(unused_imports, reason = "shared with the tests of the nginx module")]
mod support;

mod cycle;
mod host;
mod package;
mod prefork;
mod structs;
