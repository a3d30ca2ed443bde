//! The one way in and out of the library: handles that know whether they may be used, and a guard around every call.
//!
//! | state of a handle | what moves it on |
//! |---|---|
//! | idle | a call that needs it alone: -> in use; one that shares it: -> shared |
//! | in use | the end of that call: -> idle; a panic in it: -> poisoned |
//! | shared | a panic: -> poisoned; no call can have it alone any more |
//! | poisoned | nothing; it can only be freed |
//!
//! Consumption is a state of the value inside (a fetch that has been answered is over), so that a call on a handle that
//! is used up has an answer, and only `_free` gives memory back.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::error::{self, Error, Result};
use super::error::{
    SWRCACHE_EBUSY, SWRCACHE_EINVAL, SWRCACHE_EPANIC, SWRCACHE_EPOISONED, SWRCACHE_ESTATE,
    SWRCACHE_OK,
};

const IDLE: u32 = 0;
const IN_USE: u32 = 1;
const SHARED: u32 = 2;
const POISONED: u32 = 3;

/// Runs one call: a panic ends here, an error becomes its code.
#[inline]
pub(crate) fn call(f: impl FnOnce() -> Result<()>) -> c_int {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => SWRCACHE_OK,
        Ok(Err(e)) => {
            error::keep(&e);
            e.code
        }
        Err(payload) => {
            let said = payload.downcast_ref::<&str>().copied();
            let said = said.or(payload.downcast_ref::<String>().map(String::as_str));
            error::keep(&Error::new(SWRCACHE_EPANIC, said.unwrap_or_default()));
            // What was thrown might throw again when it is dropped.
            mem::forget(payload);
            SWRCACHE_EPANIC
        }
    }
}

/// What a C program holds of ours. The number tells kinds of handles apart, and live ones from freed memory as well as
/// can be done.
pub struct Handle<T: HandleKind> {
    magic: AtomicU32,
    state: AtomicU32,
    value: UnsafeCell<T>,
}

/// A kind of handle.
pub trait HandleKind {
    /// Its number.
    const MAGIC: u32;
}

/// Poisons a handle when it is dropped, which only a panic does.
struct Poison<'a>(&'a AtomicU32);

impl Drop for Poison<'_> {
    #[cold]
    fn drop(&mut self) {
        self.0.store(POISONED, Release);
    }
}

impl<T: HandleKind> Handle<T> {
    /// A handle for C, to be given back to [`Handle::free`].
    pub(crate) fn give(value: T) -> *mut Handle<T> {
        // SAFETY: the value is written, whole.
        unsafe { Handle::give_in_place(|place: *mut T| place.write(value)) }
    }

    /// As [`Handle::give`], for a value that is put together where it stays: moves are a large part of what a hit costs.
    ///
    /// # Safety
    /// `write` writes the whole value to the place that it is told.
    #[inline]
    pub(crate) unsafe fn give_in_place(write: impl FnOnce(*mut T)) -> *mut Handle<T> {
        let handle = Box::into_raw(Box::<Handle<T>>::new_uninit()).cast::<Handle<T>>();
        // SAFETY: room for a handle, of which every field is written, `value` by the caller's promise. (Should `write` panic,
        // the room is lost, and nothing else.)
        unsafe {
            (&raw mut (*handle).magic).write(AtomicU32::new(T::MAGIC));
            (&raw mut (*handle).state).write(AtomicU32::new(IDLE));
            write(UnsafeCell::raw_get(&raw const (*handle).value));
        }
        handle
    }

    /// # Safety
    /// NULL, or a pointer of [`Handle::give`] that has not been freed.
    unsafe fn check<'a>(handle: *const Handle<T>) -> Result<&'a Handle<T>> {
        // SAFETY: the caller's promise.
        let handle = unsafe { handle.as_ref() }.ok_or(SWRCACHE_EINVAL)?;
        if handle.magic.load(Relaxed) != T::MAGIC {
            return Err(Error::new(
                SWRCACHE_EINVAL,
                "the pointer is no handle of this kind",
            ));
        }
        Ok(handle)
    }

    /// Uses the value alone.
    ///
    /// # Safety
    /// As the contract of every function in the header: `handle` is NULL or a live handle.
    pub(crate) unsafe fn with_mut<R>(
        handle: *const Handle<T>,
        f: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: the caller's promise.
        let handle = unsafe { Handle::check(handle) }?;
        match handle.state.compare_exchange(IDLE, IN_USE, AcqRel, Relaxed) {
            Ok(_) => {}
            Err(state) => return Err(refusal(state)),
        }
        let poison = Poison(&handle.state);
        // SAFETY: the state says that nobody else uses the value until it is set back.
        let result = f(unsafe { &mut *handle.value.get() });
        mem::forget(poison);
        handle.state.store(IDLE, Release);
        result
    }

    /// Uses the value together with other threads. From the first such use on nobody can have it alone.
    ///
    /// # Safety
    /// As [`Handle::with_mut`].
    #[inline]
    pub(crate) unsafe fn with_ref<R>(
        handle: *const Handle<T>,
        f: impl FnOnce(&T) -> Result<R>,
    ) -> Result<R>
    where
        T: Sync,
    {
        // SAFETY: the caller's promise.
        let handle = unsafe { Handle::check(handle) }?;
        if handle.state.load(Acquire) != SHARED {
            let shared = handle.state.compare_exchange(IDLE, SHARED, AcqRel, Acquire);
            if let Err(state @ (IN_USE | POISONED)) = shared {
                return Err(refusal(state));
            }
        }
        let poison = Poison(&handle.state);
        // SAFETY: the handle is shared and never leaves that state but to be refused to all, so there are shared
        // references only.
        let result = f(unsafe { &*handle.value.get() });
        mem::forget(poison);
        result
    }

    /// Takes the value back and frees the handle. Nothing of a handle that is in use by another thread.
    ///
    /// # Safety
    /// As [`Handle::with_mut`]; the handle is not used again.
    pub(crate) unsafe fn free(handle: *mut Handle<T>) {
        let code = call(|| {
            // SAFETY: the caller's promise.
            let checked = unsafe { Handle::check(handle) }?;
            // Who frees is the last user: this finds out one who is not, if it comes to that.
            if checked.state.load(Acquire) == IN_USE {
                return Err(SWRCACHE_EBUSY.into());
            }
            checked.magic.store(0, Relaxed);
            // SAFETY: made by `give`, and ours alone, says the caller.
            drop(unsafe { Box::from_raw(handle) });
            Ok(())
        });
        let _ = code;
    }
}

/// Why a handle in this state cannot be used.
fn refusal(state: u32) -> Error {
    match state {
        POISONED => SWRCACHE_EPOISONED.into(),
        SHARED => Error::new(
            SWRCACHE_ESTATE,
            "it has been used and can't be changed any more",
        ),
        _ => SWRCACHE_EBUSY.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(u32);
    impl HandleKind for Thing {
        const MAGIC: u32 = 1;
    }
    struct Other;
    impl HandleKind for Other {
        const MAGIC: u32 = 2;
    }

    fn change(thing: *mut Handle<Thing>, f: impl FnOnce(&mut Thing)) -> c_int {
        call(|| {
            // SAFETY: the tests pass live handles.
            unsafe {
                Handle::with_mut(thing, |thing| {
                    f(thing);
                    Ok(())
                })
            }
        })
    }

    #[test]
    fn a_panic_becomes_a_code_and_poisons() {
        let thing = Handle::give(Thing(0));
        assert_eq!(change(thing, |t| t.0 = 1), SWRCACHE_OK);
        assert_eq!(change(thing, |_| panic!("on purpose")), SWRCACHE_EPANIC);
        assert_eq!(change(thing, |t| t.0 = 2), SWRCACHE_EPOISONED);
        // SAFETY: live, and not used again.
        unsafe { Handle::free(thing) };
    }

    #[test]
    fn a_panic_poisons_a_shared_handle() {
        let thing = Handle::give(Thing(7));
        let read = |f: fn(&Thing)| {
            call(|| {
                // SAFETY: a live handle.
                unsafe {
                    Handle::with_ref(thing, |t| {
                        f(t);
                        Ok(())
                    })
                }
            })
        };
        assert_eq!(read(|t| assert_eq!(t.0, 7)), SWRCACHE_OK);
        assert_eq!(read(|_| panic!("on purpose")), SWRCACHE_EPANIC);
        assert_eq!(read(|_| {}), SWRCACHE_EPOISONED);
        // SAFETY: live, and not used again.
        unsafe { Handle::free(thing) };
    }

    #[test]
    fn a_handle_in_use_refuses_another_and_is_not_freed() {
        let thing = Handle::give(Thing(0));
        let inner = change(thing, |_| {
            assert_eq!(change(thing, |_| {}), SWRCACHE_EBUSY);
            // SAFETY: live; in use, so that nothing is freed.
            unsafe { Handle::free(thing) };
        });
        assert_eq!(inner, SWRCACHE_OK);
        assert_eq!(change(thing, |_| {}), SWRCACHE_OK);
        // SAFETY: live, and not used again.
        unsafe { Handle::free(thing) };
    }

    #[test]
    fn what_is_shared_is_not_changed() {
        let thing = Handle::give(Thing(0));
        // SAFETY: a live handle.
        let read = unsafe { Handle::with_ref(thing, |t| Ok(t.0)) };
        assert_eq!(read.expect("shared"), 0);
        assert_eq!(change(thing, |t| t.0 = 1), SWRCACHE_ESTATE);
        // SAFETY: live, and not used again.
        unsafe { Handle::free(thing) };
    }

    #[test]
    fn another_kind_is_refused() {
        let other = Handle::give(Other);
        assert_eq!(change(other.cast(), |_| {}), SWRCACHE_EINVAL);
        assert_eq!(change(std::ptr::null_mut(), |_| {}), SWRCACHE_EINVAL);
        // SAFETY: live, and not used again.
        unsafe { Handle::free(other) };
    }
}
