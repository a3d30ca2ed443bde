//! The C library: the engine over the C ABI. `include/swrcache.h` is made from this room's documentation, which is therefore
//! written for someone who programs in C.
//!
//! Every function converts, calls, converts back. There is one way in and out (`handle`): pointers are checked, a panic
//! becomes `SWRCACHE_EPANIC` and poisons its handle. What is unsafe is the pointers that C gives; each function says what it
//! asks of them.
//!
//! | file | what |
//! |---|---|
//! | `log` | what no return value tells |
//! | `cache` | open, fork, wait, tidy up, close |
//! | `encode`, `encoding` | stored responses compressed once, in threads of the host's |
//! | `statistics` | the figures, in a struct or as text |
//! | `purge` | purges, at once and in pieces |
//! | `watch` | descriptors for event loops |
//! | `policy` | directives by name |
//! | `request`, `lookup` | request -> decision |
//! | `status` | the words for how it was answered, and why |
//! | `peek` | what it would be, without an effect |
//! | `passed` | what the cache learns of requests that it took no part in |
//! | `reply` | head and body of an answer |
//! | `response`, `fetch` | what the origin said, byte by byte |
//! | `warm` | storing what no client has asked for |
//! | `refresher` | threads for servers without an event loop |
//! | `pure` | the rules alone |

mod cache;
mod count;
mod encode;
mod encoding;
mod error;
mod fetch;
mod handle;
mod log;
mod lookup;
mod passed;
mod peek;
mod policy;
mod pure;
mod purge;
mod refresher;
mod reply;
mod request;
mod response;
mod statistics;
mod status;
mod types;
mod wake;
mod warm;
mod watch;

pub use cache::*;
pub use encode::{swrcache_encode, swrcache_encode_pending};
pub use error::{
    SWRCACHE_EAGAIN, SWRCACHE_EBROKEN, SWRCACHE_EBUSY, SWRCACHE_EFULL, SWRCACHE_EINVAL,
    SWRCACHE_ENOMEM, SWRCACHE_ENOSPC, SWRCACHE_ENOTSTORED, SWRCACHE_EOUTGROWN, SWRCACHE_EPANIC,
    SWRCACHE_EPOISONED, SWRCACHE_ERANGE, SWRCACHE_EREGION, SWRCACHE_ESIZE, SWRCACHE_ESTATE,
    SWRCACHE_ESYS, SWRCACHE_ETIMEDOUT, SWRCACHE_ETOOLARGE, SWRCACHE_EUNSUPPORTED, SWRCACHE_OK,
    swrcache_last_error, swrcache_strerror,
};
pub use fetch::*;
pub use log::{Logger, SWRCACHE_LOG_ERROR, SWRCACHE_LOG_NOTICE, swrcache_log};
pub use lookup::*;
pub use passed::swrcache_passed;
pub use peek::swrcache_peek;
pub use policy::*;
pub use pure::*;
pub use purge::*;
pub use refresher::*;
pub use reply::*;
pub use request::{
    Request, SWRCACHE_BYPASS, SWRCACHE_FIRST, SWRCACHE_NO_CACHE, SWRCACHE_NO_REFRESH,
    SWRCACHE_TIMED_OUT, SWRCACHE_WAITED,
};
pub use response::{
    Response, SWRCACHE_FAIL_ABORTED, SWRCACHE_FAIL_ERROR, SWRCACHE_FAIL_INVALID,
    SWRCACHE_FAIL_TIMEOUT,
};
pub use statistics::*;
pub use status::*;
pub use types::{Field, SWRCACHE_NUL};
pub use warm::swrcache_store;
pub use watch::*;

/// The version of the binary interface that this header describes. It changes with the SONAME.
pub const SWRCACHE_ABI_VERSION: u32 = 0;

/// The version of the binary interface of the library that is loaded; compare it with `SWRCACHE_ABI_VERSION`.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn swrcache_abi_version() -> u32 {
    SWRCACHE_ABI_VERSION
}

/// The version of the library, such as "0.1.0".
///
/// Never NULL; static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn swrcache_version() -> *const std::ffi::c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
