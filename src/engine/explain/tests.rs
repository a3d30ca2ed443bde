//! Compares each explanation with what a real request then gets.

use std::sync::Arc;

use super::*;
use crate::engine::{
    Cache, PurgeMode, Response, Selection, Turn, Unstored, Wants, Window, Withheld,
};
use crate::store::RegionOptions;

const NOW: Millis = 1_700_000_000_000;
const KEY: &[u8] = b"httph.example/a\x04\0\0\0\x09\0\0\0\x02";

struct World {
    cache: Cache,
    policy: Policy,
    now: Millis,
}

impl World {
    fn new() -> World {
        let region = Region::anonymous(1 << 20, &RegionOptions::default()).expect("memory");
        region.enter(None).expect("a slot");
        World {
            cache: Cache::new(Arc::new(region)),
            policy: Policy::default(),
            now: NOW,
        }
    }

    fn with<T>(&self, fields: &[(&str, &str)], f: impl FnOnce(&Request<'_>) -> T) -> T {
        f(&Request::new(&::http::Method::GET, KEY, &fields))
    }

    fn explain_with(&self, fields: &[(&str, &str)]) -> Explanation {
        let tallies = self.cache.region().tallies();
        let explained = self.with(fields, |req| {
            self.cache.explain(req, &self.policy, self.now)
        });
        assert_eq!(self.cache.region().tallies(), tallies, "it counts");
        assert!(self.cache.region().hot().is_empty(), "it is a hit");
        explained.expect("not busy")
    }

    /// The action, the status and the reason that the explanation gives.
    fn explain(&self) -> (Action, Option<&'static str>, &'static str) {
        let verdict = self.explain_with(&[]).verdict;
        (verdict.action, verdict.status, verdict.reason)
    }

    fn fetch(&self, request: &[(&str, &str)], response: &[(&str, &str)], status: u16) {
        let decision = self.with(request, |req| {
            self.cache.decide(req, &self.policy, Turn::First, self.now)
        });
        let mut fetch = match decision {
            Decision::Fetch(fetch) => fetch,
            Decision::Serve(serve) => serve.refresh.expect("a refresh"),
            other => panic!("{other:?}"),
        };
        let resp = Response {
            status,
            store: &response,
            received: &response,
            kept: None,
            origin: b"http://h.example",
            content_length: Some(4),
            own_redirect: false,
            request_time: self.now,
            wall: self.now,
            from_failure: None,
            withheld: None,
        };
        fetch.header(&resp, &request, &self.policy, self.now);
        if fetch.wants() == Wants::Store {
            fetch.write(b"body").expect("room");
            fetch.end(self.now);
        }
    }

    /// Fetches a response that may not be stored, and returns the reason for which the fetch ends.
    fn refuse(&self, refused: &Refused) -> Reason {
        let decision = self.with(refused.request, |req| {
            self.cache.decide(req, &self.policy, Turn::First, self.now)
        });
        let Decision::Fetch(mut fetch) = decision else {
            panic!("{decision:?}")
        };
        let resp = Response {
            status: refused.status,
            store: &refused.fields,
            received: &refused.fields,
            kept: None,
            origin: b"http://h.example",
            content_length: Some(refused.content_length),
            own_redirect: false,
            request_time: self.now,
            wall: self.now,
            from_failure: None,
            withheld: refused.withheld,
        };
        fetch.header(&resp, &refused.request, &self.policy, self.now);
        assert_ne!(fetch.wants(), Wants::Store);
        fetch.reason()
    }

    fn stored(control: &str) -> World {
        let world = World::new();
        world.fetch(&[], &[("Cache-Control", control)], 200);
        world
    }

    fn later(mut self, seconds: u64) -> World {
        self.now += seconds * SECOND;
        self
    }
}

/// Each text is sentences, whose last full stop `says` adds: with a subject and a verb, however the parts are put together.
#[test]
fn each_text_is_whole_sentences() {
    #[rustfmt::skip]
    const VERBS: &[&str] = &[
        "Add", "Purge", "broke", "does", "requires",
        "accepts", "answered", "are", "came", "can", "causes", "could", "did", "exceeds", "failed", "fetches", "found", "gets", "had", "has",
        "holds", "is", "matches", "may", "must", "needs", "refreshes", "says", "sent", "starts", "took", "tries", "waited", "waits", "was",
    ];
    let mut fragments = Vec::new();
    for reason in Reason::ALL {
        let Advice { cause, cure } = advice(*reason);
        for sentence in cause.split(". ").chain(cure.split(". ")) {
            let mut words = sentence.split([' ', ',', ';', ':']);
            let is_whole = words.any(|word| VERBS.contains(&word))
                && sentence.starts_with(char::is_uppercase)
                && !sentence.ends_with('.');
            fragments.extend((!is_whole).then_some(sentence));
        }
    }
    assert!(fragments.is_empty(), "{fragments:#?}");
}

#[test]
fn the_parts_make_a_text() {
    let says = |world: &World| world.explain_with(&[]).says;
    assert_eq!(
        says(&World::stored(ALL)),
        "This request would be answered from the store (HIT). The stored response is fresh. One response is stored for the key. \
         Nothing has to change."
    );
    assert_eq!(
        says(&World::stored(ALL).later(61)),
        "This request would be answered from the store, and the response would be refreshed in the background (UPDATING). The stored \
         response is stale but inside its stale-while-revalidate window; this request starts a refresh in the background. One response is \
         stored for the key. The next request after the refresh gets a `HIT`."
    );
    let world = World::stored("no-store");
    assert_eq!(
        says(&world),
        "This request would be passed to the origin (MISS). The last response for the key could not be stored, so its requests pass the \
         cache: for two minutes at most, and after ten seconds one request at a time tries again. The response has `no-store`. The \
         response has to come without `no-store`; or the location needs `swr_ignore_headers Cache-Control` with `swr_cache_valid`."
    );
}

const ALL: &str = "max-age=60, stale-while-revalidate=60, stale-if-error=600";

#[test]
fn fresh_and_stale_in_each_window() {
    for (after, action, status, reason) in [
        (0, Action::Serve, "HIT", "fresh"),
        (61, Action::ServeAndRefresh, "UPDATING", "swr-refresh"),
        (121, Action::Fetch, "EXPIRED", "sie-window"),
        (661, Action::Fetch, "EXPIRED", "stale"),
    ] {
        let world = World::stored(ALL).later(after);
        assert_eq!(world.explain(), (action, Some(status), reason), "{after}");
        // The second explanation is the same: the first one claimed nothing.
        assert_eq!(world.explain(), (action, Some(status), reason), "{after}");
    }
    let world = World::stored(ALL).later(61);
    let explained = world.explain_with(&[]);
    let variant = &explained.variants[0];
    assert!(variant.selected && !variant.must_revalidate && variant.synthesised);
    assert_eq!((variant.age, variant.ttl), (61.0, -1.0));
    assert_eq!(
        (variant.stale_while_revalidate, variant.stale_if_error),
        (59.0, 599.0)
    );
    assert_eq!((variant.bytes, variant.status), (4, 200));
    assert_eq!(explained.key, "http://h.example/a");
}

#[test]
fn while_another_refreshes() {
    let world = World::stored(ALL).later(61);
    let held = world.with(&[], |req| {
        world
            .cache
            .decide(req, &world.policy, Turn::First, world.now)
    });
    let decision = world.with(&[], |req| {
        world.cache.explain(req, &world.policy, world.now)
    });
    let explained = decision.expect("not busy");
    assert_eq!(explained.verdict.reason, "swr-window");
    assert!(explained.variants[0].being_refreshed);
    drop(held);
}

#[test]
fn what_binds() {
    let world = World::stored("max-age=60, must-revalidate").later(61);
    assert_eq!(
        world.explain(),
        (Action::Fetch, Some("EXPIRED"), "must-revalidate")
    );
    assert!(world.explain_with(&[]).variants[0].must_revalidate);
}

#[test]
fn in_a_pause() {
    let world = World::stored(ALL).later(61);
    world.fetch(&[], &[], 503);
    let region = world.cache.region();
    let explained = world
        .with(&[], |req| {
            world.cache.explain(req, &world.policy, world.now)
        })
        .expect("not busy");
    assert_eq!(explained.verdict.status, Some("STALE"));
    assert_eq!(explained.verdict.reason, "swr-backoff");
    let failing = explained.variants[0].failing.as_ref().expect("it fails");
    assert_eq!((failing.cause.as_str(), failing.failures), ("503", 1));
    assert_eq!(failing.since, seconds(world.now));
    assert!(failing.next_try > failing.since);
    region.validate().expect("valid");
}

/// A response that a fetch does not store.
struct Refused {
    request: &'static [(&'static str, &'static str)],
    status: u16,
    fields: Vec<(&'static str, String)>,
    content_length: u64,
    withheld: Option<Withheld>,
}

impl Refused {
    /// A response that may not be stored for the reason `why`. `None` if no response causes that reason, only what
    /// happens in the meantime.
    fn by(why: Unstored) -> Option<Refused> {
        let with = |fields: &[(&'static str, &str)]| Refused {
            request: &[],
            status: 200,
            fields: fields.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
            content_length: 4,
            withheld: None,
        };
        let fresh = ("Cache-Control", "max-age=60");
        Some(match why {
            Unstored::Authorization => Refused {
                request: &[("Authorization", "x")],
                ..with(&[fresh])
            },
            Unstored::NoCacheCondition => Refused {
                withheld: Some(Withheld::NoCacheCondition),
                ..with(&[fresh])
            },
            Unstored::Redirected => Refused {
                withheld: Some(Withheld::Redirected),
                ..with(&[fresh])
            },
            Unstored::NoStore => with(&[("Cache-Control", "no-store")]),
            Unstored::Private => with(&[("Cache-Control", "private, max-age=60")]),
            Unstored::SetCookie => with(&[fresh, ("Set-Cookie", "a=b")]),
            Unstored::VaryStar => with(&[fresh, ("Vary", "*")]),
            Unstored::UncacheableStatus => Refused {
                status: 299,
                ..with(&[("Cache-Control", "must-understand, max-age=60")])
            },
            Unstored::NoFreshness => Refused {
                status: 201,
                ..with(&[])
            },
            Unstored::AccelExpires => with(&[("X-Accel-Expires", "0")]),
            Unstored::Partial => Refused {
                status: 206,
                ..with(&[fresh, ("Content-Range", "bytes 0-3/9")])
            },
            Unstored::HeaderTooLarge => with(&[fresh, ("X-Large", &"x".repeat(200_000))]),
            Unstored::TooLarge => Refused {
                content_length: 1 << 30,
                ..with(&[fresh])
            },
            // The first two pass without a fetch; the others are states of the zone, for which no key is remembered.
            Unstored::Method | Unstored::ClientNoStore => return None,
            Unstored::NoSpace | Unstored::Superseded => return None,
        })
    }

    /// Whether the response is representative of its own client only: the key is then not remembered.
    fn is_personal(why: Unstored) -> bool {
        why == Unstored::Authorization
    }
}

#[test]
fn never_stored_and_why() {
    let mut caused = 0;
    for why in Unstored::ALL {
        let Some(refused) = Refused::by(*why) else {
            continue;
        };
        caused += 1;
        let world = World::new();
        assert_eq!(world.explain(), (Action::Fetch, Some("MISS"), "absent"));
        assert_eq!(world.refuse(&refused), why.reason(), "{why:?}");
        let explained = world.explain_with(&[]);
        let (verdict, remembered) = (&explained.verdict, &explained.remembered);
        if Refused::is_personal(*why) {
            assert_eq!(
                (verdict.reason, remembered.passes_because),
                ("absent", None)
            );
            continue;
        }
        assert_eq!(
            (verdict.action, verdict.reason),
            (Action::Pass, "hit-for-miss"),
            "{why:?}"
        );
        assert_eq!(remembered.passes_because, Some(why.as_str()));
        assert_eq!(remembered.passes_for, Some(120.0));
        let advice = advice(why.reason());
        assert!(verdict.cause != advice.cause);
        assert!(
            verdict.cure.contains(advice.cause) && verdict.cure.contains(advice.cure),
            "{}",
            verdict.cure
        );
    }
    assert_eq!(caused, Unstored::ALL.len() - 4);
}

#[test]
fn evicted_or_never_there_is_not_known() {
    let explained = World::new().explain_with(&[]);
    assert!(explained.variants.is_empty());
    assert!(
        explained.says.contains("is not known"),
        "{}",
        explained.says
    );
}

#[test]
fn variants() {
    let world = World::new();
    let vary = [
        ("Cache-Control", "max-age=60"),
        ("Vary", "X-Device"),
        ("Cache-Tag", "a,b"),
    ];
    world.fetch(&[("X-Device", "phone")], &vary, 200);
    let explained = world.explain_with(&[("X-Device", "phone")]);
    assert_eq!(explained.verdict.reason, "fresh");
    let variant = &explained.variants[0];
    assert_eq!(
        variant.vary,
        [("x-device".to_owned(), Some("phone".to_owned()))]
    );
    assert_eq!(variant.tags, ["a", "b"]);
    let other = world.explain_with(&[("X-Device", "tv")]);
    assert_eq!(other.verdict.reason, "vary-miss");
    assert!(!other.variants[0].selected);
}

#[test]
fn by_the_client() {
    let mut world = World::stored(ALL);
    let asked = |world: &World, control| {
        world
            .explain_with(&[("Cache-Control", control)])
            .verdict
            .reason
    };
    assert_eq!(asked(&world, "no-cache"), "fresh");
    world.policy.client_control = true;
    assert_eq!(asked(&world, "no-cache"), "client-refused");
    assert_eq!(asked(&world, "min-fresh=600"), "client-refused");
    assert_eq!(
        world.explain_with(&[("Authorization", "x")]).verdict.reason,
        "authorization"
    );
    assert_eq!(
        world.explain_with(&[("If-Match", "\"x\"")]).verdict.reason,
        "precondition"
    );
    let absent = World::new();
    let only = [("Cache-Control", "only-if-cached")];
    let policy = Policy {
        client_control: true,
        ..Policy::default()
    };
    let explained = absent.with(&only, |req| absent.cache.explain(req, &policy, absent.now));
    let verdict = explained.expect("not busy").verdict;
    assert_eq!(
        (verdict.action, verdict.reason),
        (Action::GatewayTimeout, "only-if-cached")
    );
}

#[test]
fn by_the_location() {
    let world = World::stored(ALL);
    let explained = world.with(&[], |req| {
        let req = Request {
            bypass: true,
            ..*req
        };
        world.cache.explain(&req, &world.policy, world.now)
    });
    let verdict = explained.expect("not busy").verdict;
    assert_eq!((verdict.status, verdict.reason), (Some("BYPASS"), "bypass"));
    let mut off = World::stored(ALL).later(61);
    off.policy.swr = Window::Off;
    assert_eq!(off.explain().2, "sie-window");
    off.policy.swr = Window::Origin;
    off.policy.background_update = false;
    assert_eq!(
        off.explain(),
        (Action::Fetch, Some("EXPIRED"), "synchronous")
    );
    let mut rare = World::new();
    rare.policy.min_uses = 3;
    assert_eq!(rare.explain(), (Action::Pass, Some("MISS"), "min-uses"));
    assert_eq!(rare.explain_with(&[]).remembered.uses, 0);
}

#[test]
fn purged() {
    let purge = |world: &World, how| {
        let what = Selection {
            keys: vec![KEY.into()],
            ..Selection::default()
        };
        let mut removal = world.cache.purge(what, how, world.now);
        assert_eq!(removal.step(u32::MAX), Ok(true));
        assert_eq!(removal.removed(), 1);
    };
    let world = World::stored(ALL);
    purge(&world, PurgeMode::Soft);
    assert_eq!(
        world.explain(),
        (Action::ServeAndRefresh, Some("UPDATING"), "swr-refresh")
    );
    assert_eq!(
        world.explain_with(&[]).variants[0].purged,
        Some(seconds(NOW))
    );
    purge(&world, PurgeMode::Hard);
    assert_eq!(world.explain(), (Action::Fetch, Some("MISS"), "absent"));
}

#[test]
fn every_reason_is_told_in_the_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
    let text = std::fs::read_to_string(path).expect("docs/reasons.md");
    for line in table().lines() {
        assert!(text.contains(line), "docs/reasons.md lacks: {line}");
    }
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.count(), Reason::ALL.len());
}
