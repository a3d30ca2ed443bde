//! What nginx or what it has loaded may have, by name: the module links none of it.

use std::ffi::{CStr, c_void};

/// The address of a function or variable of nginx or of what it has loaded; NULL if there is none.
pub(crate) fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: dlsym with RTLD_DEFAULT only reads the name.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}
