//! The end of a growing body, and the waking of its readers.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};
use std::sync::atomic::fence;

use crate::store::index::arena_guard::ArenaGuard;
use crate::store::index::core::Core;
use crate::store::memory::block::{BROKEN, Body, EntryAt, GROWING};
use crate::store::process::local::Local;
use crate::store::process::wakeups::{Wakeups, take_waiters};

/// The bodies that one process fills.
#[derive(Clone, Copy)]
pub(crate) struct Bodies<'a> {
    core: &'a Core,
    local: &'a Local,
}

impl<'a> Bodies<'a> {
    pub(crate) fn of(core: &'a Core, local: &'a Local) -> Bodies<'a> {
        Bodies { core, local }
    }

    /// Breaks a growing body of this process, and wakes its readers.
    pub(crate) fn break_off(self, body: &Body) {
        let phase = &body.phase;
        if phase
            .compare_exchange(GROWING, BROKEN, AcqRel, Relaxed)
            .is_ok()
        {
            self.wake_readers(body);
        }
    }

    /// Removes an object from the index. If the locks can't be taken or a repair is due, a later sweep removes it as
    /// dead.
    pub(crate) fn abandon(self, at: &EntryAt<'_>) {
        if !at.is_linked() {
            return;
        }
        at.e.dead_at.store(0, Relaxed);
        self.core.sweep_soon();
        let Ok(mut guard) = ArenaGuard::take(self.core, self.local) else {
            return;
        };
        if let Some(_shard) = guard.lock_shard(at.e.hash.load(Relaxed)) {
            guard.unlink(at);
        }
    }

    /// Wakes the processes that watch the body. Call it after its length or phase was stored.
    pub(crate) fn wake_readers(self, body: &Body) {
        // Pairs with the fence in `Object::watch`: either we see the watcher's bit, or it sees what we stored.
        fence(SeqCst);
        if body.waiters.iter().any(|w| w.load(Relaxed) != 0) {
            let waiters = take_waiters(&body.waiters);
            Wakeups::now(self.core.processes(), self.local, waiters);
        }
    }
}
