//! An encoded form of a stored body: an object of its own, found by the response's key and the bytes that it was made of.
//!
//! A form is a function of those bytes alone. So it stays right whatever becomes of the response: after a 304, after a refresh that
//! brings the same bytes, and after a purge and a new fetch of them, it is found again. What is not found any more is evicted in
//! time. Its key is a branch of the response's: whoever purges that drops the forms too.
//!
//! ```text
//! meta: 239 | coding
//! ```

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::coding::Coding;
use crate::engine::key;
use crate::engine::record::attributes;
use crate::store::{Busy, Completeness, Lookup, Millis, Object, Region};

/// The first byte of a form's meta: no version of a response's record.
const FORM: u8 = 239;

/// An encoded form, pinned.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) object: Object,
    pub(crate) coding: Coding,
    /// Its entity tag, once it is known of which response it is served.
    pub(crate) etag: Option<Box<[u8]>>,
}

/// Whether an object with this meta is a form.
pub(crate) fn is_form(meta: &[u8]) -> bool {
    meta.first() == Some(&FORM)
}

/// The meta of a form.
pub(crate) fn meta(coding: Coding) -> [u8; 2] {
    [FORM, coding as u8]
}

/// The key of a form of `original`, whose bytes have this hash.
pub(crate) fn key_of(original: &Object, hash: u64, coding: Coding) -> Vec<u8> {
    key::of_form(original.key(), hash, original.body().len, coding as u8)
}

/// Finds the form of `original`; nothing if it is not there, or the store is busy. It counts as a use.
pub(crate) fn find(
    region: &Region,
    original: &Object,
    coding: Coding,
    now: Millis,
) -> Option<Form> {
    found(original, coding, |key, select| {
        region.lookup(key, now, select)
    })
}

/// As [`find`], but it counts as no use.
pub(crate) fn peek(
    region: &Region,
    original: &Object,
    coding: Coding,
    now: Millis,
) -> Option<Form> {
    found(original, coding, |key, select| {
        region.peek(key, now, select)
    })
}

fn found(
    original: &Object,
    coding: Coding,
    look: impl FnOnce(&[u8], &mut dyn FnMut(&[u8]) -> bool) -> Result<Lookup, Busy>,
) -> Option<Form> {
    let hash = original.attribute(attributes::HASH).load(Relaxed);
    if hash == 0 {
        return None;
    }
    let wanted = meta(coding);
    let key = key_of(original, hash, coding);
    let object = look(&key, &mut |meta| meta == wanted).ok()?.object?;
    let is_whole = object.body().completeness == Completeness::Complete;
    is_whole.then_some(Form {
        object,
        coding,
        etag: None,
    })
}

/// What is known of the forms of a response, in the upper bits of a word of its object ([`attributes::SINCE`]): which are made, which
/// would not be shorter, and when they were last asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownForms(u64);

/// Milliseconds in which forms are asked for once: whoever was to make them may have died, or been too busy.
const ASKED_EVERY: Millis = 32_000;

/// Where the bits begin: of the forms that are made, of those that would be in vain, of the time.
const MADE: u32 = attributes::SINCE_BITS;
const IN_VAIN: u32 = MADE + Coding::ALL.len() as u32;
const ASKED: u32 = IN_VAIN + Coding::ALL.len() as u32;

/// How many times there are before they begin anew; 0 is "never".
const TIMES: u64 = (1 << (u64::BITS - ASKED)) - 1;

impl KnownForms {
    pub(crate) fn of(original: &Object) -> KnownForms {
        KnownForms(original.attribute(attributes::SINCE).load(Relaxed))
    }

    /// It has been made. It may have been evicted since.
    pub(crate) fn is_made(self, coding: Coding) -> bool {
        self.0 & (1 << MADE << coding as u32) != 0
    }

    /// It would not be shorter than the original.
    pub(crate) fn is_in_vain(self, coding: Coding) -> bool {
        self.0 & (1 << IN_VAIN << coding as u32) != 0
    }

    /// Notes that a form has been made.
    pub(crate) fn note_made(original: &Object, coding: Coding) {
        word(original).fetch_or(1 << MADE << coding as u32, Relaxed);
    }

    /// Notes that a form would not be shorter.
    pub(crate) fn note_in_vain(original: &Object, coding: Coding) {
        word(original).fetch_or(1 << IN_VAIN << coding as u32, Relaxed);
    }

    /// Notes that a form is gone.
    pub(crate) fn note_gone(original: &Object, coding: Coding) {
        word(original).fetch_and(!(1 << MADE << coding as u32), Relaxed);
    }

    /// Notes that forms are asked for now; false if they were of late, by any process.
    pub(crate) fn ask(original: &Object, now: Millis) -> bool {
        let time = (now / ASKED_EVERY) % TIMES + 1;
        let asked = word(original).fetch_update(Relaxed, Relaxed, |known| {
            let without = known & ((1 << ASKED) - 1);
            (known >> ASKED != time).then_some(without | time << ASKED)
        });
        asked.is_ok()
    }
}

fn word(original: &Object) -> &AtomicU64 {
    original.attribute(attributes::SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_no_record_of_a_response() {
        for coding in Coding::ALL {
            assert!(is_form(&meta(coding)));
            assert!(crate::engine::record::RecordHead::decode(&meta(coding)).is_none());
        }
        assert!(!is_form(b""));
    }
}
