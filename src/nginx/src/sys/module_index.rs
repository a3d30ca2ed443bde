//! The module's place among nginx's: in the `ctx` of a request, and in the configuration of a context.

use std::ffi::c_void;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

static INDEX: AtomicUsize = AtomicUsize::new(0);

/// Notes the index, which nginx has assigned before it makes the module's first configuration. It stays the same across reloads
/// (ngx_count_modules).
pub(crate) fn assign(ctx_index: usize) {
    INDEX.store(ctx_index, Relaxed);
}

/// The index.
pub(crate) fn ctx_index() -> usize {
    INDEX.load(Relaxed)
}

/// The tag of this module's zones and buffers: a unique address.
pub(crate) fn tag() -> *mut c_void {
    (&raw const INDEX).cast_mut().cast()
}
