//! What the tests of the store have in common.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::allow_attributes,
    reason = "each test uses what it needs of this"
)]

pub(crate) use content::*;
pub(crate) use harness::*;
pub(crate) use processes::*;

mod content;
mod harness;
mod processes;
