//! A request that asks for a decision, and what is stored for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::engine::decide::client_control::ClientControl;
use crate::engine::decide::presence::Presence;
use crate::engine::encode::EncodeQueue;
use crate::engine::fetch::Keep;
use crate::engine::key;
use crate::engine::phase::Windows;
use crate::engine::policy::{CLOCKS_DIFFER, Method, Policy, SECOND};
use crate::engine::record::RecordHead;
use crate::engine::record::stored::Stored;
use crate::engine::record::{attributes, variant};
use crate::engine::request::{Request, Turn};
use crate::engine::stats::{self, Counter};
use crate::http::range;
use crate::store::{Busy, Lookup, MarkerView, Millis, Object, Region};

/// How long a fetch holds its lease if it neither ends nor dies: longer than any sensible origin timeout. The lease of
/// a fetch that ends, or whose process dies, is free at once.
pub(super) const LEASE: Millis = 120 * SECOND;

/// One request for a decision, with everything the decision depends on.
pub(crate) struct Asking<'a> {
    pub(super) region: &'a Arc<Region>,
    pub(super) req: &'a Request<'a>,
    pub(super) policy: &'a Policy,
    pub(super) turn: Turn,
    pub(super) now: Millis,
    pub(super) presence: Presence,
    pub(super) client: ClientControl,
    /// The request's key; a `HEAD` that is not converted to `GET` has a key of its own.
    pub(super) key: Cow<'a, [u8]>,
    pub(super) mode: Mode,
    pub(super) encoders: Option<&'a EncodeQueue>,
}

/// Whether the decision will be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It will.
    Act,
    /// It is only explained: nothing is claimed, counted, remembered or removed.
    Explain,
}

/// A stored response that the request selects.
pub(super) struct SelectedResponse {
    pub(super) stored: Stored,
    pub(super) windows: Windows,
    pub(super) other_variants: bool,
}

/// What is known about a key under which no usable response is stored for the request.
pub(super) struct Unstored {
    pub(super) marker: MarkerView,
    /// The most recent of its variants.
    pub(super) newest: Option<Object>,
}

impl<'a> Asking<'a> {
    #[inline]
    pub(crate) fn new(
        region: &'a Arc<Region>,
        req: &'a Request<'a>,
        policy: &'a Policy,
        turn: Turn,
        now: Millis,
    ) -> Asking<'a> {
        let presence = Presence::of(req.fields);
        Asking {
            client: ClientControl::of(req, policy, presence),
            key: match req.method {
                Method::Head if !policy.convert_head => key::of_head(req.key).into(),
                _ => req.key.into(),
            },
            region,
            req,
            policy,
            turn,
            now,
            presence,
            mode: Mode::Act,
            encoders: None,
        }
    }

    /// The same; forms of a response that are not there are asked for by `queue`.
    #[inline]
    pub(crate) fn encoding_by(self, queue: Option<&'a EncodeQueue>) -> Asking<'a> {
        Asking {
            encoders: queue,
            ..self
        }
    }

    /// The same request, for an explanation only.
    pub(crate) fn explaining(self) -> Asking<'a> {
        Asking {
            mode: Mode::Explain,
            ..self
        }
    }

    #[inline]
    pub(super) fn acts(&self) -> bool {
        self.mode == Mode::Act
    }

    #[inline]
    fn look(&self, select: &mut dyn FnMut(&[u8]) -> bool) -> Result<Lookup, Busy> {
        match self.mode {
            Mode::Act => self.region.lookup(&self.key, self.now, select),
            Mode::Explain => self.region.peek(&self.key, self.now, select),
        }
    }

    /// Whether the request's range begins so far into the response that the origin is asked for the range alone.
    pub(super) fn is_far_in(&self) -> bool {
        let begins_at = |most| range::begins_at_or_beyond(self.req.fields, most);
        self.presence.has(Presence::RANGE) && self.policy.max_range_offset.is_some_and(begins_at)
    }

    #[inline]
    pub(super) fn lookup(&self) -> Result<Lookup, Busy> {
        let (fields, policy) = (self.req.fields, self.policy);
        let mut select = |meta: &[u8]| variant::selects(meta, fields, policy);
        let mut looked = self.look(&mut select)?;
        // RFC 9111 §4: if several match (the origin has changed its `Vary`), the most recent by `Date` is used, which
        // is not necessarily the one stored last.
        while let Some(object) = looked.object.as_ref().filter(|_| looked.others > 0) {
            let Some(newer) = self.newer_than(object)? else {
                break;
            };
            looked = newer;
        }
        Ok(looked)
    }

    /// What is stored for the request; `None` also if the store is busy.
    pub(super) fn selected(&self) -> Option<SelectedResponse> {
        let looked = self.lookup().ok()?;
        let other_variants = looked.others > 0;
        self.usable(looked.object?, other_variants)
    }

    pub(super) fn newer_than(&self, object: &Object) -> Result<Option<Lookup>, Busy> {
        let date = |meta: &[u8]| RecordHead::decode(meta).map(|head| head.date);
        let than = date(object.meta());
        let mut select =
            |meta: &[u8]| date(meta) > than && variant::selects(meta, self.req.fields, self.policy);
        let looked = self.look(&mut select)?;
        Ok(Some(looked).filter(|looked| looked.object.is_some()))
    }

    /// Returns the entry as usable, unless it is damaged, will never be complete, or has not been requested for longer
    /// than `inactive`.
    #[inline]
    pub(super) fn usable(&self, object: Object, other_variants: bool) -> Option<SelectedResponse> {
        let mut stored = match Stored::new(object, self.policy) {
            Ok(stored) => stored,
            Err(damaged) => {
                if self.acts() {
                    self.region.drop_damaged(&damaged);
                }
                return None;
            }
        };
        if stored.object().filler_has_died() {
            if self.acts() {
                self.region.reap();
            }
            return None;
        }
        if let Some(inactive) = self.policy.inactive {
            let last = stored.object().attribute(attributes::ACCESS);
            if last.load(Relaxed).saturating_add(inactive) < self.now {
                if self.acts() && self.region.remove(stored.object()) {
                    stats::add(self.region, Counter::EvictedInactive, 1);
                }
                return None;
            }
            if self.acts() {
                last.store(self.now, Relaxed);
            }
        }
        let windows = self.as_of_now(&mut stored)?;
        Some(SelectedResponse {
            windows,
            stored,
            other_variants,
        })
    }

    /// Returns the entry with its windows. If it seems to have been stored in the future, the clock was set back and
    /// its age is unknown: it is stale from now on.
    #[inline]
    pub(super) fn as_of_now(&self, stored: &mut Stored) -> Option<Windows> {
        let latest = self.now.saturating_add(CLOCKS_DIFFER);
        if stored.head().stored_at <= latest && stored.object().aged() <= latest {
            return Some(Windows::of(stored.head(), self.policy));
        }
        stored.object().age_from(self.now);
        *stored = stored.with_object(stored.object().clone())?;
        Some(match stored.object().aged() <= latest {
            true => Windows::of(stored.head(), self.policy),
            // It was purged softly at an unknown time.
            false => Windows::NONE,
        })
    }

    #[inline]
    pub(super) fn authorised(&self) -> bool {
        self.presence.has(Presence::AUTHORIZATION)
    }

    #[inline]
    pub(super) fn keep(&self) -> Keep {
        match self.req.no_cache || self.client.no_store() {
            true => Keep::Discard,
            false => Keep::Store,
        }
    }
}
