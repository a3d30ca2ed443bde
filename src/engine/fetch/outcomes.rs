//! The outcomes of a fetch: what happens to the stored response once the origin has answered, or failed to.
//!
//! "Kept" means that the response stays as it is, and is served within its windows.
//!
//! | the origin's answer | the stored response | then |
//! |---|---|---|
//! | 304 that matches the validators that were sent | freshened | `HIT` |
//! | 304 that does not match, the first time | kept | the same fetch asks again at once, unconditionally |
//! | a response that may be stored | replaced | `HIT` |
//! | none, an incomplete or invalid one (such as a second 304 that does not match), any 5xx, 408, 425, 429, or a status that the location lists in `use_stale` | kept | a pause; stale within the windows |
//! | a response that is not representative of what others get (forced, or sent or denied to credentials) | kept | it answers its own client |
//! | 404, 410, 401, 403, 407 that may not be stored | removed | the next request asks the origin |
//! | any other response that may not be stored, including a 304 | removed | the key is remembered to pass |
//!
//! A failing status may be stored if the stored response is outside all windows; it is then a response like any other.

use super::super::policy::Policy;

/// The origin's answer. Without one, what is stored is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A 304.
    NotModified {
        /// It matches the validators that were sent, for the stored response or another variant that the request named.
        fits: bool,
        /// The stored response, with the new fields, may be stored.
        storable: bool,
    },
    /// A response with any other status.
    Response {
        status: u16,
        /// The response may be stored.
        storable: bool,
    },
}

/// What is known about the fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// A response is stored that the fetch was to validate or replace.
    pub(crate) stored: bool,
    /// The stored response is still inside one of its windows.
    pub(crate) usable: bool,
    /// The fetch has already asked a second time.
    pub(crate) asked_again: bool,
    /// The answer is not representative of what other clients get.
    pub(crate) personal: bool,
}

/// What happens to the stored response, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is fresh again, with the new fields.
    Freshened,
    /// It is kept, and the origin is asked again at once, unconditionally.
    AskedAgain,
    /// The new response replaces it.
    Replaced,
    /// It is kept, and the fetch has failed: a pause follows.
    KeptAfterFailure,
    /// It is kept: the answer is for one client only.
    Kept,
    /// It is removed.
    Removed,
    /// It is removed, and the key is remembered to pass.
    RemovedAndRemembered,
}

/// Returns the outcome according to the table above.
pub(crate) fn fate(came: Came, known: Known, policy: &Policy) -> Fate {
    match came {
        Came::NotModified { fits: false, .. } if !known.asked_again => Fate::AskedAgain,
        Came::NotModified { fits: false, .. } => Fate::KeptAfterFailure,
        Came::NotModified { storable: true, .. } => Fate::Freshened,
        Came::Response { status, storable }
            if is_failure(status, policy) && (known.usable || !storable) =>
        {
            Fate::KeptAfterFailure
        }
        Came::Response { storable: true, .. } => Fate::Replaced,
        _ if known.personal => Fate::Kept,
        Came::Response { status, .. } if known.stored && withdraws(status) => Fate::Removed,
        Came::NotModified { .. } | Came::Response { .. } => Fate::RemovedAndRemembered,
    }
}

/// Whether a status means that the origin can't answer now (RFC 5861 §4; RFC 9110 §15.5.9; RFC 8470 §5.2; RFC 6585 §4),
/// or is one that the location counts as a failure.
fn is_failure(status: u16, policy: &Policy) -> bool {
    matches!(status, 500..=599 | 408 | 425 | 429) || policy.use_stale.covers_status(status)
}

/// Whether a status means that the resource no longer exists, or is no longer public: this is an answer, not a failure.
fn withdraws(status: u16) -> bool {
    matches!(status, 401 | 403 | 404 | 407 | 410)
}

#[cfg(test)]
mod tests {
    use super::super::super::policy::UseStale;
    use super::Fate::*;
    use super::*;

    const USABLE: Known = Known {
        stored: true,
        usable: true,
        asked_again: false,
        personal: false,
    };
    const TOO_OLD: Known = Known {
        usable: false,
        ..USABLE
    };
    const ABSENT: Known = Known {
        stored: false,
        ..TOO_OLD
    };
    const SECOND_TIME: Known = Known {
        asked_again: true,
        ..USABLE
    };
    const PERSONAL: Known = Known {
        personal: true,
        ..USABLE
    };

    fn of(came: Came, known: Known) -> Fate {
        fate(came, known, &Policy::default())
    }

    fn response(status: u16, storable: bool) -> Came {
        Came::Response { status, storable }
    }

    fn not_modified(fits: bool, storable: bool) -> Came {
        Came::NotModified { fits, storable }
    }

    #[test]
    fn a_304() {
        for known in [USABLE, TOO_OLD, SECOND_TIME, PERSONAL] {
            assert_eq!(of(not_modified(true, true), known), Freshened, "{known:?}");
        }
        assert_eq!(of(not_modified(true, false), USABLE), RemovedAndRemembered);
        assert_eq!(of(not_modified(true, false), PERSONAL), Kept);
        for storable in [true, false] {
            for known in [USABLE, TOO_OLD, ABSENT, PERSONAL] {
                assert_eq!(of(not_modified(false, storable), known), AskedAgain);
            }
            // Only once: a 304 to an unconditional request is invalid.
            assert_eq!(
                of(not_modified(false, storable), SECOND_TIME),
                KeptAfterFailure
            );
        }
    }

    #[test]
    fn a_response_that_may_be_stored() {
        for status in [200, 203, 204, 301, 302, 404, 410, 401, 403, 405, 451] {
            for known in [USABLE, TOO_OLD, ABSENT, SECOND_TIME, PERSONAL] {
                assert_eq!(of(response(status, true), known), Replaced, "{status}");
            }
        }
    }

    #[test]
    fn a_failure() {
        for known in [USABLE, TOO_OLD, ABSENT, SECOND_TIME, PERSONAL] {
            for status in [408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 520, 599] {
                assert_eq!(
                    of(response(status, false), known),
                    KeptAfterFailure,
                    "{status} {known:?}"
                );
            }
        }
        for status in [408, 425, 429, 500, 501, 503, 520] {
            assert_eq!(of(response(status, true), USABLE), KeptAfterFailure);
            assert_eq!(of(response(status, true), TOO_OLD), Replaced);
            assert_eq!(of(response(status, true), ABSENT), Replaced);
        }
    }

    #[test]
    fn what_the_location_counts_as_a_failure() {
        let policy = Policy {
            use_stale: UseStale::listed(UseStale::HTTP_403 | UseStale::HTTP_404),
            ..Policy::default()
        };
        for status in [403, 404] {
            for storable in [true, false] {
                let came = response(status, storable);
                assert_eq!(fate(came, USABLE, &policy), KeptAfterFailure, "{status}");
            }
        }
        assert_eq!(fate(response(410, false), USABLE, &policy), Removed);
        assert_eq!(
            fate(response(503, false), USABLE, &policy),
            KeptAfterFailure
        );
    }

    #[test]
    fn an_answer_that_may_not_be_stored() {
        for status in [401, 403, 404, 407, 410] {
            assert_eq!(of(response(status, false), USABLE), Removed, "{status}");
            assert_eq!(of(response(status, false), TOO_OLD), Removed, "{status}");
            assert_eq!(
                of(response(status, false), ABSENT),
                RemovedAndRemembered,
                "{status}"
            );
        }
        for status in [200, 206, 301, 302, 400, 405, 416, 418] {
            for known in [USABLE, TOO_OLD, ABSENT, SECOND_TIME] {
                assert_eq!(
                    of(response(status, false), known),
                    RemovedAndRemembered,
                    "{status}"
                );
            }
            assert_eq!(of(response(status, false), PERSONAL), Kept, "{status}");
        }
    }
}
