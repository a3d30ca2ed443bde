//! What the nginx module knows of the nginx that it is built for.
//!
//! `build/main.rs` has bindgen read nginx's headers as nginx was configured, and a C program print where the C compiler
//! puts every field; [`check`] does not compile where the two differ. Beside that stand the few macros and inline
//! functions of nginx that the module uses, which bindgen does not translate.

#[rustfmt::skip]
mod bindings;
mod check;
mod event;
mod queue;
mod values;

pub use bindings::*;
pub use event::*;
pub use queue::*;
pub use values::*;
