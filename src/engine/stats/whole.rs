//! The tree of all zones.

use std::collections::BTreeMap;

use super::counter::PLACES;
use super::read::{Gauges, seconds, zone};
use super::summary::of_all;
use super::tree::{Tree, Zone};
use crate::store::Millis;

/// Makes the tree of these zones, read at `now`.
pub fn tree(zones: BTreeMap<String, Zone>, now: Millis) -> Tree {
    Tree {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: of_all(zones.values()),
        time: seconds(now),
        zones,
    }
}

/// Makes the tree with one of its zones.
pub fn pick(tree: &Tree, name: &str) -> Tree {
    let zone = tree.zones.get_key_value(name);
    let zones: BTreeMap<_, _> = zone
        .map(|(name, zone)| (name.clone(), zone.clone()))
        .into_iter()
        .collect();
    Tree {
        version: tree.version.clone(),
        summary: of_all(zones.values()),
        time: tree.time,
        zones,
    }
}

/// The tree of a zone that can't be read: its memory was found damaged, or there was no free process slot in it.
pub fn unknown() -> Zone {
    Zone {
        summary: "This zone can't be read here; requests are proxied".to_owned(),
        ..zone(&[0; PLACES], Gauges::default())
    }
}
