//! The border: every function that nginx calls goes through here, so that no panic reaches C.
//!
//! A panic that unwinds into an `extern "C"` edge aborts the worker, so it is caught inside and becomes the value that
//! makes nginx go on without the cache.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nginx_sys::{NGX_LOG_CRIT, log_line, ngx_cycle};

/// Runs `inner`; if it panics, logs one line and gives `fallback`.
///
/// State that a panic left half-changed belongs to one request; the shared region defends itself by its own locks
/// and leases.
pub(crate) fn guard<R>(what: &str, fallback: R, inner: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(inner)) {
        Ok(value) => value,
        Err(_) => {
            let message = format!(
                "swr_cache: internal error in {what}; nginx goes on with the request without the cache"
            );
            // SAFETY: nginx sets `ngx_cycle` and its log before it loads a module and keeps both until the process ends.
            unsafe { log_line(NGX_LOG_CRIT as usize, (*ngx_cycle).log, &message) }
            fallback
        }
    }
}
