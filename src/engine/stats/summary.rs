//! A zone in one sentence, which answers an operator's first questions.

use super::tree::{Failing, Zone};

/// The number of failing entries that are named; others are only counted.
const NAMED: usize = 2;
/// The maximum number of characters of a key that are shown.
const LONGEST: usize = 60;

/// Says how much was served from memory, whether clients waited, and what fails.
pub fn summary(zone: &Zone) -> String {
    of_all([zone].into_iter())
}

/// Says the same about several zones together.
pub fn of_all<'a>(zones: impl Iterator<Item = &'a Zone> + Clone) -> String {
    let sum = |count: fn(&Zone) -> u64| zones.clone().map(count).sum::<u64>();
    let memory = sum(|z| z.hit.responses + z.stale.responses + z.updating.responses);
    let forwarded = sum(|z| {
        z.revalidated.responses + z.expired.responses + z.miss.responses + z.bypass.responses
    });
    let said = match memory + forwarded {
        0 => "No requests yet".to_owned(),
        all => {
            let waited = waited(sum(|z| z.waited.responses));
            format!("{} from memory, {waited}", percent(memory, all))
        }
    };
    let failing: Vec<_> = zones.clone().flat_map(|z| &z.failing).collect();
    if failing.is_empty() {
        return said;
    }
    let count = sum(|z| z.failures);
    let noun = if count == 1 { "refresh" } else { "refreshes" };
    let more = if count > NAMED as u64 { " ..." } else { "" };
    format!("{said}; {count} {noun} failing: {}{more}", named(&failing))
}

fn waited(responses: u64) -> String {
    match responses {
        0 => "nobody waited".to_owned(),
        1 => "1 visitor waited for a revalidation".to_owned(),
        n => format!("{n} visitors waited for a revalidation"),
    }
}

fn named(failing: &[&Failing]) -> String {
    let named = failing.iter().take(NAMED);
    let named = named.map(|entry| format!("{} {}", shortened(&entry.key), entry.cause));
    named.collect::<Vec<_>>().join(", ")
}

/// Shortens a key so that it does not dominate the sentence.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &key[..end]),
        None => key.to_owned(),
    }
}

/// Rounds down, so that 100 % means all.
fn percent(part: u64, all: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(all.max(1));
    match tenths {
        1_000 => "100 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(hits: u64, misses: u64) -> Zone {
        let mut zone = Zone::default();
        zone.hit.responses = hits;
        zone.miss.responses = misses;
        zone
    }

    fn failing(key: &str) -> Failing {
        Failing {
            key: key.to_owned(),
            cause: "503".to_owned(),
            ..Failing::default()
        }
    }

    #[test]
    fn the_sentence_says_what_matters_first() {
        assert_eq!(summary(&zone(0, 0)), "No requests yet");
        assert_eq!(summary(&zone(993, 7)), "99.3 % from memory, nobody waited");
        assert_eq!(
            summary(&zone(9_999, 1)),
            "99.9 % from memory, nobody waited"
        );
        assert_eq!(summary(&zone(5, 0)), "100 % from memory, nobody waited");
        let mut busy = zone(993, 7);
        busy.waited.responses = 3;
        busy.failing = ["/prices", "/a", "/b"].map(failing).to_vec();
        busy.failures = 1_000;
        assert_eq!(
            summary(&busy),
            "99.3 % from memory, 3 visitors waited for a revalidation; \
             1000 refreshes failing: /prices 503, /a 503 ..."
        );
    }
}
