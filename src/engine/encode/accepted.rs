//! The codings that a request wants rather than the identity.
//!
//! Clients send few different values of `Accept-Encoding`, and long ones: what the last ones mean is remembered, by thread.

use std::cell::RefCell;

use super::coding::Coding;
use crate::engine::policy::EncodeLevel;
use crate::http::fields::is;
use crate::http::{AcceptEncoding, Fields};

const CODINGS: usize = Coding::ALL.len();

/// Codings in an order: of the offers, or of what is wanted, the most wanted first.
pub(super) type Ordered = [Option<Coding>; CODINGS];

/// The longest value that is remembered, in bytes. That of browsers has 23.
const LONGEST: usize = 64;
/// How many are.
const PLACES: usize = 8;

/// What a value means to those who make these offers.
#[derive(Clone, Copy)]
struct Meaning {
    value: [u8; LONGEST],
    len: usize,
    offers: Ordered,
    wanted: Ordered,
}

impl Meaning {
    const NONE: Meaning = Meaning {
        value: [0; LONGEST],
        len: 0,
        offers: [None; CODINGS],
        wanted: [None; CODINGS],
    };

    fn is_of(&self, value: &[u8], offers: &Ordered) -> bool {
        self.offers == *offers && self.value.get(..self.len) == Some(value)
    }
}

thread_local! {
    static REMEMBERED: RefCell<[Meaning; PLACES]> = const { RefCell::new([Meaning::NONE; PLACES]) };
}

/// The codings that these fields of a request want rather than the identity, of those offered.
pub(super) fn preferred(fields: &dyn Fields, offered: &[EncodeLevel]) -> Ordered {
    let mut offers = [None; CODINGS];
    for (place, offer) in offers.iter_mut().zip(offered) {
        *place = Some(offer.coding);
    }
    let (mut lines, mut known) = (0, None);
    each_line(fields, &mut |value| {
        lines += 1;
        known = recall(value, &offers);
    });
    match known {
        Some(wanted) if lines == 1 => wanted,
        _ => {
            let wanted = read(fields, &offers);
            if lines == 1 {
                each_line(fields, &mut |value| remember(value, &offers, &wanted));
            }
            wanted
        }
    }
}

fn each_line(fields: &dyn Fields, f: &mut dyn FnMut(&[u8])) {
    fields.each(&mut |name, value| {
        if is(name, "accept-encoding") {
            f(value);
        }
    });
}

fn read(fields: &dyn Fields, offers: &Ordered) -> Ordered {
    let accepted = AcceptEncoding::of(
        fields,
        &offers.map(|coding| coding.map_or("", Coding::as_str)),
    );
    let mut wanted = [None; CODINGS];
    for (place, at) in wanted.iter_mut().zip(accepted.preferred()) {
        *place = offers.get(at).copied().flatten();
    }
    wanted
}

fn place_of(value: &[u8]) -> usize {
    value.len() % PLACES
}

fn recall(value: &[u8], offers: &Ordered) -> Option<Ordered> {
    let found = REMEMBERED.try_with(|meanings| {
        let meanings = meanings.try_borrow().ok()?;
        let meaning = meanings.get(place_of(value))?;
        meaning.is_of(value, offers).then_some(meaning.wanted)
    });
    found.ok().flatten()
}

fn remember(value: &[u8], offers: &Ordered, wanted: &Ordered) {
    // A thread that ends remembers nothing.
    _ = REMEMBERED.try_with(|meanings| {
        let mut meanings = meanings.try_borrow_mut().ok()?;
        let meaning = meanings.get_mut(place_of(value))?;
        let place = meaning.value.get_mut(..value.len())?;
        place.copy_from_slice(value);
        (meaning.len, meaning.offers, meaning.wanted) = (value.len(), *offers, *wanted);
        Some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(lines: &[&str], offered: &[Coding]) -> Vec<Coding> {
        let fields: Vec<_> = lines
            .iter()
            .map(|line| ("Accept-Encoding", *line))
            .collect();
        let offered: Vec<_> = offered
            .iter()
            .map(|coding| EncodeLevel {
                coding: *coding,
                level: 5,
            })
            .collect();
        preferred(&fields, &offered).into_iter().flatten().collect()
    }

    #[test]
    fn what_is_remembered_is_of_that_value_and_those_offers_alone() {
        use Coding::{Br, Gzip, Zstd};
        let long = format!("gzip{}, br", " ".repeat(LONGEST));
        // Several of a length, so that they take each other's place, and each twice.
        for (lines, offered, want) in [
            (&["gzip, br"][..], &[Br, Gzip][..], &[Br, Gzip][..]),
            (&["br, gzip"], &[Gzip, Br], &[Gzip, Br]),
            (&["gzip, br"], &[Gzip], &[Gzip]),
            (&["gzip, br"], &[Zstd], &[]),
            (&["gzip", "br"], &[Br, Gzip], &[Br, Gzip]),
            (&["br;q=0.5", "gzip, br"], &[Br, Gzip], &[Gzip, Br]),
            (&["gzip;q=0"], &[Br, Gzip], &[]),
            (&["gzip;q=1"], &[Br, Gzip], &[Gzip]),
            (&[&long], &[Br, Gzip], &[Br, Gzip]),
            (&[""], &[Br, Gzip], &[]),
            (&[], &[Br, Gzip], &[]),
        ] {
            assert_eq!(wanted(lines, offered), want, "{lines:?} of {offered:?}");
            assert_eq!(wanted(lines, offered), want, "again {lines:?}");
        }
    }
}
