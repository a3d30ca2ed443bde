//! The error codes, and the words for them.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};

use crate::store::{NoSpace, StoreError};

/// It worked.
pub const SWRCACHE_OK: c_int = 0;
/// An argument is wrong: a NULL where there must be none, a length that cannot be, an unknown constant.
pub const SWRCACHE_EINVAL: c_int = 1;
/// `struct_size` is no size of this struct in any version: set it to `sizeof` of the struct.
pub const SWRCACHE_ESIZE: c_int = 2;
/// The call does not fit the state of the handle: it has been used up, or this is not its turn yet.
pub const SWRCACHE_ESTATE: c_int = 3;
/// The handle is in use by another thread at this moment.
pub const SWRCACHE_EBUSY: c_int = 4;
/// Nothing yet: wait, then ask again.
pub const SWRCACHE_EAGAIN: c_int = 5;
/// The body broke off: what was read so far is all there will be, and it is not the whole.
pub const SWRCACHE_EBROKEN: c_int = 6;
/// No room in the cache.
pub const SWRCACHE_ENOSPC: c_int = 7;
/// The object is larger than the cache takes, or its body longer than announced.
pub const SWRCACHE_ETOOLARGE: c_int = 8;
/// The queue of the refresher is full, or it is being closed.
pub const SWRCACHE_EFULL: c_int = 9;
/// The memory or file is damaged, or holds something else, or was made with other options; see `swrcache_last_error`.
pub const SWRCACHE_EREGION: c_int = 10;
/// The operating system refused; see `swrcache_last_error`.
pub const SWRCACHE_ESYS: c_int = 11;
/// This version of the library can't do that.
pub const SWRCACHE_EUNSUPPORTED: c_int = 12;
/// An error inside the library; the handle can only be freed after this.
pub const SWRCACHE_EPANIC: c_int = 13;
/// The handle can only be freed: an earlier call on it ended in `SWRCACHE_EPANIC`.
pub const SWRCACHE_EPOISONED: c_int = 14;
/// The buffer is too small; the size that is needed has been told.
pub const SWRCACHE_ERANGE: c_int = 15;
/// The time is over.
pub const SWRCACHE_ETIMEDOUT: c_int = 16;
/// What the cache took of the body has been read; the rest did not fit into it. Go on with the bytes that `swrcache_fetch_write` did
/// not take.
pub const SWRCACHE_EOUTGROWN: c_int = 17;

/// The system has no memory for it.
pub const SWRCACHE_ENOMEM: c_int = 18;
/// The response may not be stored; see `swrcache_last_error`.
pub const SWRCACHE_ENOTSTORED: c_int = 19;

/// A code, and what it is about.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) code: c_int,
    pub(crate) about: Option<String>,
}

impl Error {
    pub(crate) fn new(code: c_int, about: impl Into<String>) -> Error {
        Error {
            code,
            about: Some(about.into()),
        }
    }
}

impl From<c_int> for Error {
    fn from(code: c_int) -> Error {
        Error { code, about: None }
    }
}

impl From<StoreError> for Error {
    fn from(e: StoreError) -> Error {
        let code = match &e {
            StoreError::Os(e) => code_of(e),
            StoreError::TooSmall { .. } | StoreError::TooLarge { .. } => SWRCACHE_EINVAL,
            StoreError::NoSlot | StoreError::NoSlotYet => SWRCACHE_ENOSPC,
            StoreError::Misaligned
            | StoreError::Foreign
            | StoreError::Version { .. }
            | StoreError::Length { .. }
            | StoreError::MaxObject { .. }
            | StoreError::Corrupt(_)
            | StoreError::InUse
            | StoreError::Unsettled => SWRCACHE_EREGION,
        };
        Error::new(code, e.to_string())
    }
}

impl From<NoSpace> for Error {
    fn from(e: NoSpace) -> Error {
        let code = match e {
            NoSpace::TooLarge | NoSpace::BeyondTotal => SWRCACHE_ETOOLARGE,
            NoSpace::Full | NoSpace::Busy => SWRCACHE_ENOSPC,
            NoSpace::Ended => SWRCACHE_ESTATE,
        };
        Error::new(code, e.as_str())
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::new(code_of(&e), e.to_string())
    }
}

fn code_of(e: &std::io::Error) -> c_int {
    match e.kind() {
        std::io::ErrorKind::OutOfMemory => SWRCACHE_ENOMEM,
        _ => SWRCACHE_ESYS,
    }
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::new(CString::default());
}

/// Keeps what a failed call was about, for `swrcache_last_error`.
pub(crate) fn keep(e: &Error) {
    // While a thread ends there is nowhere to keep it.
    let _ = LAST.try_with(|last| {
        let Ok(mut last) = last.try_borrow_mut() else {
            return;
        };
        match &e.about {
            Some(about) => *last = CString::new(about.replace('\0', " ")).unwrap_or_default(),
            // Most answers without a text are no faults, and come often.
            None if last.is_empty() => {}
            None => *last = CString::default(),
        }
    });
}

/// What an error code means, in English.
///
/// Never NULL; an unknown code gives "unknown error". The text is static. May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn swrcache_strerror(code: c_int) -> *const c_char {
    words(code).as_ptr()
}

fn words(code: c_int) -> &'static CStr {
    match code {
        SWRCACHE_OK => c"no error",
        SWRCACHE_EINVAL => c"invalid argument",
        SWRCACHE_ESIZE => c"struct_size is not a size that the struct has had",
        SWRCACHE_ESTATE => c"the call does not fit the state of the handle",
        SWRCACHE_EBUSY => c"the handle is in use by another thread",
        SWRCACHE_EAGAIN => c"nothing yet, wait and ask again",
        SWRCACHE_EBROKEN => c"the body broke off",
        SWRCACHE_ENOSPC => c"no room",
        SWRCACHE_ETOOLARGE => c"too large for the cache",
        SWRCACHE_EFULL => c"the refresher's queue is full",
        SWRCACHE_EREGION => c"the memory does not hold a usable cache",
        SWRCACHE_ESYS => c"the operating system refused",
        SWRCACHE_EUNSUPPORTED => c"not supported by this version",
        SWRCACHE_EPANIC => c"internal error",
        SWRCACHE_EPOISONED => c"the handle had an internal error before",
        SWRCACHE_ERANGE => c"the buffer is too small",
        SWRCACHE_ETIMEDOUT => c"the timeout has expired",
        SWRCACHE_ENOMEM => c"no memory",
        SWRCACHE_ENOTSTORED => c"the response may not be stored",
        SWRCACHE_EOUTGROWN => c"the rest of the body is not in the cache",
        _ => c"unknown error",
    }
}

/// What the last error of this thread was about, such as which value of which directive was wrong.
///
/// Never NULL; empty if the last error has nothing to say: `swrcache_strerror` says what its code means. The text is this thread's own
/// and stays until its next call into the library. A call that succeeds leaves it as it is.
#[unsafe(no_mangle)]
pub extern "C" fn swrcache_last_error() -> *const c_char {
    let text = LAST.try_with(|last| last.try_borrow().map_or(c"".as_ptr(), |last| last.as_ptr()));
    text.unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_memory_has_a_code_of_its_own() {
        let code = |errno| Error::from(std::io::Error::from_raw_os_error(errno)).code;
        assert_eq!(code(libc::ENOMEM), SWRCACHE_ENOMEM);
        assert_eq!(code(libc::EACCES), SWRCACHE_ESYS);
        let os = StoreError::Os(std::io::Error::from_raw_os_error(libc::ENOMEM));
        assert_eq!(Error::from(os).code, SWRCACHE_ENOMEM);
    }
}
