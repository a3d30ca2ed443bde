//! The process table of a region, and whether its processes are alive.
//!
//! A slot is one word, so that it is taken in a single step:
//!
//! | bits | content |
//! |---|---|
//! | 0..22 | pid (Linux: below 2^22) |
//! | 22..46 | start time in clock ticks since boot, low bits; 0 if /proc could not be read |
//! | 46..62 | generation: how often the slot has been taken |
//! | 62..64 | state |
//!
//! | state | transitions | invariant |
//! |---|---|---|
//! | Free | `take`: -> Live, generation + 1 | the slot has no pin, lease, fill or lock |
//! | Live | `mark_dying`: -> Dying, by any process that finds this one dead; `free`: -> Free, by the process itself when it holds nothing | the process may hold anything |
//! | Dying | `free`: -> Free, by the reaper after a complete walk over the entries; `take_from_dead`: -> Live, generation + 1, to reclaim it if no slot is free | the process no longer runs; its leases and fills are void |
//!
//! A *token* names a process while it is in the region: slot and generation, never 0. Locks and leases carry it.

use std::fs;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::store::memory::layout::{Header, SLOTS, Slot};
use crate::store::memory::platform::{has_ended, pid};

const PID_BITS: u32 = 22;
const START_BITS: u32 = 24;
const GENERATION_BITS: u32 = 16;
const GENERATION_AT: u32 = PID_BITS + START_BITS;
const STATE_AT: u32 = GENERATION_AT + GENERATION_BITS;

/// Names a process in the region: its slot in the low 8 bits, its generation above; never 0.
pub(crate) type Token = u32;
pub(crate) const TOKEN_BITS: u32 = 8 + GENERATION_BITS;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlotState {
    Free,
    Live,
    Dying,
}

/// The fields of a slot's word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotWord(u64);

impl SlotWord {
    fn new(life: ProcessId, generation: u64, state: SlotState) -> SlotWord {
        let pid = u64::from(life.pid) & ((1 << PID_BITS) - 1);
        let start = life.start & ((1 << START_BITS) - 1);
        SlotWord(pid | start << PID_BITS | generation << GENERATION_AT | (state as u64) << STATE_AT)
    }
    fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }
    fn start(self) -> u64 {
        self.0 >> PID_BITS & ((1 << START_BITS) - 1)
    }
    fn generation(self) -> u64 {
        self.0 >> GENERATION_AT & ((1 << GENERATION_BITS) - 1)
    }
    pub(crate) fn state(self) -> SlotState {
        match self.0 >> STATE_AT {
            1 => SlotState::Live,
            2 => SlotState::Dying,
            _ => SlotState::Free,
        }
    }
    fn with_state(self, state: SlotState) -> SlotWord {
        SlotWord(self.0 & ((1 << STATE_AT) - 1) | (state as u64) << STATE_AT)
    }
    fn life(self) -> ProcessId {
        ProcessId {
            pid: self.pid(),
            start: self.start(),
        }
    }
}

/// A process, distinguished from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// The start time in clock ticks, low 24 bits; 0 if unknown.
    pub(crate) start: u64,
}

impl ProcessId {
    /// The calling process.
    pub(crate) fn own() -> ProcessId {
        let pid = pid();
        let start = match read_stat(pid) {
            Stat::Runs(start) => start,
            Stat::Ended | Stat::Unknown => 0,
        };
        ProcessId { pid, start }
    }

    /// Whether the process has certainly ended. Reads `/proc`, which takes about ten microseconds.
    pub(crate) fn has_ended(self) -> bool {
        if let Some(ended) = has_ended(self.pid) {
            return ended;
        }
        match read_stat(self.pid) {
            Stat::Ended => true,
            Stat::Runs(start) => self.start != 0 && start != 0 && start != self.start,
            // /proc has no entry: the process is gone, or hidden from us (hidepid).
            Stat::Unknown => no_such_process(self.pid),
        }
    }

    pub(crate) fn to_word(self) -> u64 {
        SlotWord::new(self, 0, SlotState::Live).0
    }

    pub(crate) fn from_word(word: u64) -> ProcessId {
        SlotWord(word).life()
    }
}

enum Stat {
    Runs(u64),
    Ended,
    Unknown,
}

/// Reads the state, the number of threads and the start time: fields 3, 20 and 22 of `/proc/PID/stat`, proc(5).
fn read_stat(pid: u32) -> Stat {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Stat::Unknown;
    };
    // The second field, the name in parentheses, may contain anything; the last ')' ends it.
    let Some((_, rest)) = text.rsplit_once(')') else {
        return Stat::Unknown;
    };
    let mut fields = rest.split_ascii_whitespace();
    let (state, threads, start) = (fields.next(), fields.nth(16), fields.nth(1));
    let number = |s: Option<&str>| s.and_then(|s| s.parse::<u64>().ok());
    match (state, number(threads), number(start)) {
        // A zombie whose other threads still run is not dead.
        (Some("Z" | "X" | "x"), Some(0 | 1), _) => Stat::Ended,
        (Some(_), _, Some(start)) => Stat::Runs(start & ((1 << START_BITS) - 1)),
        _ => Stat::Unknown,
    }
}

fn no_such_process(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return true;
    };
    // SAFETY: signal 0 only checks whether the process exists.
    let answer = unsafe { libc::kill(pid, 0) };
    answer != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

fn token_of(slot: usize, id: SlotWord) -> Token {
    (id.generation() as u32) << 8 | slot as u32
}

pub(crate) fn slot_of(token: Token) -> usize {
    (token & 0xff) as usize
}

/// The pin word and the bit in it that belong to a slot.
pub(crate) fn pin_of(slot: usize) -> (usize, u64) {
    ((slot / 63) & 1, 1 << (slot % 63))
}

/// The waker of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WakerRef {
    /// The number plus one; 0 for none.
    pub(crate) number: u32,
    /// The set that the waker belongs to.
    pub(crate) set: u32,
}

/// The process table of a region.
#[derive(Clone, Copy)]
pub(crate) struct Processes<'a> {
    pub(crate) header: &'a Header,
}

impl<'a> Processes<'a> {
    fn slot(self, token: Token) -> Option<&'a Slot> {
        self.header.slots.get(slot_of(token))
    }

    pub(crate) fn identity(self, slot: usize) -> SlotWord {
        match self.header.slots.get(slot) {
            Some(s) => SlotWord(s.identity.load(Acquire)),
            None => SlotWord(0),
        }
    }

    /// Takes a free slot for this process.
    pub(crate) fn take(self, waker: WakerRef) -> Option<Token> {
        let life = ProcessId::own();
        let take = |i| Some(self.take_slot(i, SlotState::Free, life, waker)?.0);
        (0..SLOTS).find_map(take)
    }

    /// Takes the slot of a dead process that has not been reclaimed, to do just that. It continues where others
    /// stopped, and others can continue where it stops: it leaves no traces of its own.
    pub(crate) fn take_from_dead(self, waker: WakerRef) -> Option<Token> {
        let life = ProcessId::own();
        let (token, dead) =
            (0..SLOTS).find_map(|i| self.take_slot(i, SlotState::Dying, life, waker))?;
        self.set_reap_cursor(token, self.reap_cursor(dead));
        Some(token)
    }

    fn take_slot(
        self,
        i: usize,
        from: SlotState,
        life: ProcessId,
        waker: WakerRef,
    ) -> Option<(Token, Token)> {
        let slot = &self.header.slots[i];
        let old = self.identity(i);
        if old.state() != from {
            return None;
        }
        // Generation 0 is skipped, so that no token is 0.
        let generation = match (old.generation() + 1) & ((1 << GENERATION_BITS) - 1) {
            0 => 1,
            g => g,
        };
        let new = SlotWord::new(life, generation, SlotState::Live);
        slot.identity
            .compare_exchange(old.0, new.0, AcqRel, Relaxed)
            .ok()?;
        slot.waker.store(waker.number, Release);
        slot.wakers.store(waker.set, Release);
        Some((token_of(i, new), token_of(i, old)))
    }

    /// Marks a slot for the reaper.
    pub(crate) fn give_up(self, token: Token) {
        let id = self.identity(slot_of(token));
        if token_of(slot_of(token), id) == token && id.state() == SlotState::Live {
            self.mark_dying(slot_of(token), id);
        }
    }

    /// Does the same with a slot of this process; a slot that a forked child inherited belongs to its parent.
    pub(crate) fn give_up_own(self, token: Token) {
        if self.identity(slot_of(token)).pid() == pid() {
            self.give_up(token);
        }
    }

    /// Whether the process that the token names is known to be dead. Reads the table only, which takes a few
    /// nanoseconds.
    #[inline]
    pub(crate) fn is_gone(self, token: Token) -> bool {
        let id = self.identity(slot_of(token));
        id.state() != SlotState::Live || token_of(slot_of(token), id) != token
    }

    /// Asks the system whether the process that the token names has ended, and marks it if so. Returns true if it is
    /// dead.
    pub(crate) fn check(self, token: Token) -> bool {
        if self.is_gone(token) {
            return true;
        }
        let id = self.identity(slot_of(token));
        id.life().has_ended() && (self.mark_dying(slot_of(token), id) || self.is_gone(token))
    }

    /// Checks every live process; returns the number newly found dead.
    pub(crate) fn find_dead(self) -> u32 {
        let dead = |i: &usize| {
            let id = self.identity(*i);
            id.state() == SlotState::Live && id.life().has_ended() && self.mark_dying(*i, id)
        };
        (0..SLOTS).filter(dead).count() as u32
    }

    fn mark_dying(self, i: usize, id: SlotWord) -> bool {
        let Some(slot) = self.header.slots.get(i) else {
            return true;
        };
        let dying = id.with_state(SlotState::Dying);
        slot.identity
            .compare_exchange(id.0, dying.0, AcqRel, Relaxed)
            .is_ok()
    }

    /// The slots to be reclaimed.
    pub(crate) fn dying(self) -> impl Iterator<Item = usize> + 'a {
        (0..SLOTS).filter(move |i| self.identity(*i).state() == SlotState::Dying)
    }

    /// The members of a pin set whose processes are dead. The slot's word decides, so that a pin becomes void in the
    /// very step that marks its process, and counts again only for the next process that takes the slot.
    pub(crate) fn dying_among(self, w: usize, set: u64) -> u64 {
        let (mut left, mut dying) = (set, 0);
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.identity(w * 63 + bit).state() == SlotState::Dying {
                dying |= 1 << bit;
            }
        }
        dying
    }

    /// Where reclaiming what a dead process left continues: a bucket, or beyond those a position in limbo (see
    /// `upkeep/clean.rs`). For a token other than the slot's last, it is the beginning.
    pub(crate) fn reap_cursor(self, token: Token) -> usize {
        let word = self.slot(token).map_or(0, |s| s.reap_cursor.load(Relaxed));
        if word >> 32 == u64::from(token) {
            word as u32 as usize
        } else {
            0
        }
    }

    /// Whether reclaiming what a dead process left has begun.
    pub(crate) fn has_reap_cursor(self, token: Token) -> bool {
        self.slot(token)
            .is_some_and(|s| s.reap_cursor.load(Relaxed) >> 32 == u64::from(token))
    }

    pub(crate) fn set_reap_cursor(self, token: Token, place: usize) {
        if let Some(slot) = self.slot(token) {
            slot.reap_cursor
                .store(u64::from(token) << 32 | place as u64, Relaxed);
        }
    }

    /// The order of limbo has changed: how much of it was cleaned is no longer known.
    pub(crate) fn clean_limbo_anew(self, buckets: usize) {
        for slot in &self.header.slots {
            let word = slot.reap_cursor.load(Relaxed);
            if word as u32 as usize > buckets {
                slot.reap_cursor
                    .store(word >> 32 << 32 | buckets as u64, Relaxed);
            }
        }
    }

    pub(crate) fn token_in(self, slot: usize) -> Token {
        token_of(slot, self.identity(slot))
    }

    /// Frees a slot whose process holds nothing.
    pub(crate) fn free(self, token: Token) {
        let Some(slot) = self.slot(token) else { return };
        let id = self.identity(slot_of(token));
        if token_of(slot_of(token), id) != token {
            return;
        }
        // In one step, as another process may be taking the slot over. The waker remains: the next process sets its
        // own.
        let free = id.with_state(SlotState::Free).0;
        let _ = slot.identity.compare_exchange(id.0, free, AcqRel, Relaxed);
    }

    /// Removes every process: none of them is alive.
    pub(crate) fn clear(self) {
        for (i, slot) in self.header.slots.iter().enumerate() {
            let free = self.identity(i).with_state(SlotState::Free);
            slot.identity.store(free.0, Release);
            slot.waker.store(0, Relaxed);
            slot.wakers.store(0, Relaxed);
        }
    }

    /// Whether this set of wakers can't wake some live process other than `own`.
    pub(crate) fn has_strangers(self, own: usize, set: u32) -> bool {
        let slots = self.header.slots.iter().enumerate();
        slots
            .filter(|(i, _)| *i != own && self.identity(*i).state() == SlotState::Live)
            .any(|(_, slot)| slot.wakers.load(Relaxed) != set)
    }

    pub(crate) fn live(self) -> u32 {
        (0..SLOTS)
            .filter(|i| self.identity(*i).state() == SlotState::Live)
            .count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_of_another_start_time_does_not() {
        let own = ProcessId::own();
        assert!(!own.has_ended());
        assert_ne!(own.start, 0);
        assert!(
            ProcessId {
                start: own.start ^ 1,
                ..own
            }
            .has_ended()
        );
        assert!(
            ProcessId {
                pid: (1 << 22) - 1,
                start: 1
            }
            .has_ended()
        );
        assert_eq!(ProcessId::from_word(own.to_word()), own);
    }

    #[test]
    fn an_unreaped_child_counts_as_ended() {
        let mut child = std::process::Command::new("true").spawn().expect("spawn");
        let pid = child.id();
        while !(ProcessId { pid, start: 0 }).has_ended() {
            std::thread::yield_now();
        }
        child.wait().expect("wait");
        assert!(ProcessId { pid, start: 0 }.has_ended());
    }

    #[test]
    fn an_identity_keeps_its_parts_apart() {
        let life = ProcessId {
            pid: (1 << 22) - 1,
            start: (1 << 24) - 1,
        };
        let id = SlotWord::new(life, (1 << 16) - 1, SlotState::Dying);
        assert_eq!(
            (id.life(), id.generation(), id.state()),
            (life, (1 << 16) - 1, SlotState::Dying)
        );
        assert_eq!(id.with_state(SlotState::Free).life(), life);
    }
}
