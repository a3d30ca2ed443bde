//! What happens that no return value tells: handed to the host, for its log.

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic;
use std::sync::Once;

use parking_lot::RwLock;

use super::error::SWRCACHE_OK;
use super::handle::call;

/// A defect or damage: something has failed that should not.
pub const SWRCACHE_LOG_ERROR: c_int = 1;
/// Something worth knowing, such as a process that has died.
pub const SWRCACHE_LOG_NOTICE: c_int = 2;

/// Takes a message, one line without its end, which lives as long as the call. Called from any thread that calls the library and from
/// threads of refreshers, several at a time; must not call the library, nor throw or longjmp out.
pub type Logger =
    Option<unsafe extern "C" fn(user: *mut c_void, level: c_int, message: *const c_char)>;

/// The host's function with its argument.
#[derive(Clone, Copy)]
struct Host {
    logger: unsafe extern "C" fn(*mut c_void, c_int, *const c_char),
    user: *mut c_void,
}

// SAFETY: the header asks for a function that may be called from any thread with this argument.
unsafe impl Send for Host {}
// SAFETY: as for Send.
unsafe impl Sync for Host {}

static HOST: RwLock<Option<Host>> = RwLock::new(None);
static HOOK: Once = Once::new();

/// Tells the host, if it wants to know; whether it does.
pub(crate) fn log(level: c_int, message: &str) -> bool {
    let Some(host) = *HOST.read() else {
        return false;
    };
    let text = CString::new(message.replace(['\0', '\n'], " ")).unwrap_or_default();
    // SAFETY: the host's function with the host's argument, as promised to `swrcache_log`.
    unsafe { (host.logger)(host.user, level, text.as_ptr()) };
    true
}

/// Has the library hand what it has to say to `logger`: defects of its own, damaged memory, a file that had to be made anew, processes
/// that were found dead. Without one defects are written to stderr, and the rest is not said.
///
/// One for the whole process; NULL ends it. `user` is handed to it. Any thread; when no other thread is in the library.
///
/// Returns 0.
///
/// # Safety
/// `logger` is NULL or a function that may be called with `user` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn swrcache_log(logger: Logger, user: *mut c_void) -> c_int {
    call(|| {
        *HOST.write() = logger.map(|logger| Host { logger, user });
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |defect| {
                if !log(SWRCACHE_LOG_ERROR, &format!("swrcache: {defect}")) {
                    before(defect);
                }
            }));
        });
        Ok(())
    });
    SWRCACHE_OK
}
