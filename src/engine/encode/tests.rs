//! Which form a request gets, and what becomes of forms.

use std::cell::Cell;
use std::io::Read;
use std::time::Duration;

use super::*;
use crate::engine::stats::Survey;
use crate::engine::{
    Answer, Cache, Decision, Directives, PurgeMode, Response, Selection, Serve, Turn, Wants,
};
use crate::store::{Cursor, RegionOptions};

const NOW: Millis = 1_700_000_000_000;
const KEY: &[u8] = b"httph.example/a\x04\0\0\0\x09\0\0\0\x02";

type Lines<'a> = &'a [(&'a str, &'a str)];

struct World {
    cache: Cache,
    queue: EncodeQueue,
    encoder: Encoder,
    policy: Policy,
    now: Cell<Millis>,
    key: Cell<&'static [u8]>,
}

fn policy(directives: &[&str]) -> Policy {
    let mut block = Directives::default();
    for directive in directives {
        let words: Vec<&[u8]> = directive.split(' ').map(str::as_bytes).collect();
        let (name, words) = words.split_first().expect("a name");
        let name = std::str::from_utf8(name).expect("text");
        block.add(name, words).expect("a directive");
    }
    block.policy()
}

fn get<'a>(key: &'a [u8], fields: &'a Lines<'_>) -> Request<'a> {
    Request::new(&::http::Method::GET, key, fields)
}

impl World {
    fn new(directives: &[&str]) -> World {
        let region = Region::anonymous(8 << 20, &RegionOptions::default()).expect("memory");
        region.enter(None).expect("a slot");
        let (queue, encoder) = EncodeQueue::new(4);
        World {
            cache: {
                let cache = Cache::new(Arc::new(region));
                cache.encode_by(queue.clone());
                cache
            },
            queue,
            encoder,
            policy: policy(directives),
            now: Cell::new(NOW),
            key: Cell::new(KEY),
        }
    }

    fn decide(&self, method: Method, fields: Lines<'_>) -> Decision {
        let req = Request {
            method,
            ..get(self.key.get(), &fields)
        };
        self.cache
            .decide(&req, &self.policy, Turn::First, self.now.get())
    }

    fn store(&self, request: Lines<'_>, response: Lines<'_>, body: &[u8]) {
        let mut fetch = match self.decide(Method::Get, request) {
            Decision::Fetch(fetch) => fetch,
            Decision::Serve(serve) => serve.refresh.expect("a refresh"),
            other => panic!("{other:?}"),
        };
        let now = self.now.get();
        let resp = Response {
            status: 200,
            store: &response,
            received: &response,
            kept: None,
            origin: b"http://h.example",
            content_length: Some(body.len() as u64),
            own_redirect: false,
            request_time: now,
            wall: now,
            from_failure: None,
            withheld: None,
        };
        fetch.header(&resp, &request, &self.policy, now);
        assert_eq!(fetch.wants(), Wants::Store);
        fetch.write(body).expect("room");
        fetch.end(now);
    }

    fn serve_by(&self, method: Method, fields: Lines<'_>) -> Serve {
        match self.decide(method, fields) {
            Decision::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    fn serve(&self, accept: &str) -> Serve {
        self.serve_by(Method::Get, &[("Accept-Encoding", accept)])
    }

    /// Makes all that is asked for; how many responses that were.
    fn encode(&self) -> usize {
        std::iter::from_fn(|| self.encoder.step(Duration::ZERO).then_some(())).count()
    }
}

fn body(serve: &Serve) -> Vec<u8> {
    let (object, mut at, mut bytes) = (serve.object.served(), Cursor::default(), Vec::new());
    loop {
        match object.read(&mut at, usize::MAX) {
            [] => return bytes,
            piece => bytes.extend_from_slice(piece),
        }
    }
}

fn field(serve: &Serve, wanted: &str) -> Option<String> {
    let mut found = Vec::new();
    serve.fields(&mut |name, value| {
        if is(name, wanted) {
            found.push(String::from_utf8_lossy(value).into_owned());
        }
    });
    (!found.is_empty()).then(|| found.join("; "))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    decoder.read_to_end(&mut out).expect("gzip");
    out
}

fn html() -> Vec<u8> {
    "<li>an entry of a list</li>\n".repeat(200).into_bytes()
}

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");
const FRESH: (&str, &str) = ("Cache-Control", "max-age=60");
const TAG: (&str, &str) = ("ETag", "\"x\"");

#[test]
fn a_form_is_made_once_it_is_asked_for_and_then_served() {
    let world = World::new(&["compress br gzip"]);
    world.store(&[], &[HTML, FRESH, TAG], &html());
    let first = world.serve("gzip");
    assert_eq!((first.object.coding(), body(&first)), (None, html()));
    assert_eq!(field(&first, "vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(world.encode(), 1);
    let gzip = world.serve("gzip");
    assert_eq!(gzip.object.coding(), Some(Coding::Gzip));
    assert_eq!(gunzip(&body(&gzip)), html());
    assert_eq!(field(&gzip, "content-encoding").as_deref(), Some("gzip"));
    assert_eq!(field(&gzip, "vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(field(&gzip, "etag").as_deref(), Some("\"x-gzip\""));
    let length = body(&gzip).len() as u64;
    assert_eq!(gzip.object.content_length(), Some(length));
    // All that are configured are made at once: nobody waits for a second round.
    let br = world.serve("gzip, br");
    assert_eq!(br.object.coding(), Some(Coding::Br));
    assert_eq!(world.encode(), 0);
}

#[test]
fn who_gets_which_form() {
    let world = World::new(&["compress zstd br gzip"]);
    world.store(&[], &[HTML, FRESH, TAG], &html());
    world.serve("gzip");
    world.encode();
    for (accept, want) in [
        ("", None),
        ("deflate", None),
        ("gzip", Some(Coding::Gzip)),
        ("gzip, br", Some(Coding::Br)),
        ("gzip, br, zstd", Some(Coding::Zstd)),
        ("gzip;q=1, br;q=0.9", Some(Coding::Gzip)),
        ("*", Some(Coding::Zstd)),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0, gzip", Some(Coding::Gzip)),
    ] {
        let serve = world.serve(accept);
        assert_eq!(serve.object.coding(), want, "{accept}");
        // Whatever it gets: another client may get something else.
        assert_eq!(field(&serve, "vary").as_deref(), Some("Accept-Encoding"));
    }
    assert_eq!(world.serve_by(Method::Get, &[]).object.coding(), None);
}

#[test]
fn a_part_of_another_response_is_the_original() {
    let world = World::new(&["compress gzip"]);
    world.store(&[], &[HTML, FRESH, TAG], &html());
    let fields: Lines<'_> = &[("Accept-Encoding", "gzip")];
    let include = || {
        let req = Request {
            is_part: true,
            ..get(KEY, &fields)
        };
        let decision = world.cache.decide(&req, &world.policy, Turn::First, NOW);
        match decision {
            Decision::Serve(serve) => (serve.object.coding(), body(&serve)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(include(), (None, html()));
    assert_eq!(world.encode(), 0);
    world.serve("gzip");
    world.encode();
    assert_eq!(include(), (None, html()));
}

#[test]
fn each_form_has_a_tag_of_its_own() {
    for (tag, gzip) in [
        (Some("\"x\""), "\"x-gzip\""),
        (Some("W/\"x\""), "W/\"x-gzip\""),
        // An unquoted one stays so.
        (Some("x"), "x-gzip"),
    ] {
        let world = World::new(&["compress gzip"]);
        let mut fields = vec![HTML, FRESH];
        fields.extend(tag.map(|tag| ("ETag", tag)));
        world.store(&[], &fields, &html());
        world.serve("gzip");
        world.encode();
        let asked = |accept: &'static str, condition: &str| {
            let fields = [("Accept-Encoding", accept), ("If-None-Match", condition)];
            world.serve_by(Method::Get, &fields)
        };
        let hit = asked("gzip", gzip);
        assert_eq!(hit.answer, Answer::NotModified, "{gzip}");
        assert_eq!(field(&hit, "etag").as_deref(), Some(gzip));
        assert_eq!(field(&hit, "vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(field(&hit, "content-encoding"), None);
        assert_eq!(asked("", gzip).answer, Answer::Full, "{gzip}");
        let own = tag.unwrap_or_default();
        assert_eq!(asked("", own).answer, Answer::NotModified);
        assert_eq!(asked("gzip", own).answer, Answer::Full);
    }
}

/// RFC 9530 §3: the digest of a representation is of its encoded bytes.
#[test]
fn a_form_has_no_digest_of_the_original() {
    let world = World::new(&["compress gzip"]);
    let digests = ["Repr-Digest", "Content-Digest", "Digest", "Content-MD5"];
    let mut fields = vec![HTML, FRESH, TAG, ("X-Own", "kept")];
    fields.extend(digests.map(|name| (name, "sha-256=:AA==:")));
    world.store(&[], &fields, &html());
    world.serve("gzip");
    world.encode();
    let (plain, gzip) = (world.serve(""), world.serve("gzip"));
    assert_eq!(gzip.object.coding(), Some(Coding::Gzip));
    for name in digests {
        assert!(field(&plain, name).is_some(), "{name}");
        assert_eq!(field(&gzip, name), None, "{name}");
    }
    assert_eq!(field(&gzip, "x-own").as_deref(), Some("kept"));
}

#[test]
fn a_tag_of_the_caches_own_stays_weak() {
    let world = World::new(&["compress gzip"]);
    world.store(&[], &[HTML, FRESH], &html());
    world.serve("gzip");
    world.encode();
    let tag = |serve: &Serve| {
        let tag = serve.object.etag().expect("a tag");
        String::from_utf8_lossy(tag.as_bytes()).into_owned()
    };
    let (plain, gzip) = (tag(&world.serve("")), tag(&world.serve("gzip")));
    assert!(plain.starts_with("W/\""), "{plain}");
    assert_eq!(
        gzip,
        plain
            .replacen("\"", "\u{0}", 1)
            .replace('"', "-gzip\"")
            .replace('\u{0}', "\"")
    );
}

#[test]
fn a_range_is_of_the_form_and_a_head_is_told_of_it() {
    let world = World::new(&["compress gzip"]);
    world.store(&[], &[HTML, FRESH, TAG], &html());
    world.serve("gzip");
    world.encode();
    let whole = body(&world.serve("gzip"));
    let range = [("Accept-Encoding", "gzip"), ("Range", "bytes=-5")];
    let part = world.serve_by(Method::Get, &range);
    let end = whole.len() as u64;
    match &part.answer {
        Answer::Partial(ranges) => {
            assert_eq!((ranges[0].first, ranges[0].last), (end - 5, end - 1))
        }
        other => panic!("{other:?}"),
    }
    let beyond = format!("bytes={end}-");
    let range = [("Accept-Encoding", "gzip"), ("Range", beyond.as_str())];
    assert_eq!(
        world.serve_by(Method::Get, &range).answer,
        Answer::Unsatisfiable
    );
    let head = world.serve_by(Method::Head, &[("Accept-Encoding", "gzip")]);
    assert_eq!(head.object.content_length(), Some(end));
    assert_eq!(field(&head, "content-encoding").as_deref(), Some("gzip"));
}

#[test]
fn what_is_not_encoded() {
    let long = html();
    let noise: Vec<u8> = (0..500u64)
        .flat_map(|n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()).to_le_bytes())
        .collect();
    for (directive, fields, body) in [
        ("compress off", &[HTML, FRESH][..], &long),
        (
            "compress gzip",
            &[("Content-Type", "image/png"), FRESH],
            &long,
        ),
        ("compress gzip", &[FRESH], &long),
        (
            "compress gzip",
            &[HTML, ("Cache-Control", "max-age=60, no-transform")],
            &long,
        ),
        (
            "compress gzip",
            &[HTML, FRESH, ("Content-Encoding", "br")],
            &long,
        ),
        ("compress gzip", &[HTML, FRESH], &b"<p>short</p>".to_vec()),
    ] {
        let world = World::new(&[directive]);
        world.store(&[], fields, body);
        let serve = world.serve("gzip");
        assert_eq!(field(&serve, "vary"), None, "{fields:?}");
        assert_eq!(world.encode(), 0, "{fields:?}");
    }
    // What would not be shorter is tried once.
    let world = World::new(&["compress gzip", "compress_types *"]);
    world.store(&[], &[("Content-Type", "image/png"), FRESH], &noise);
    for tries in [1, 0, 0] {
        assert_eq!(world.serve("gzip").object.coding(), None);
        assert_eq!(world.encode(), tries);
    }
}

#[test]
fn the_origins_vary_stays() {
    for (vary, want) in [
        ("Accept-Encoding", "Accept-Encoding"),
        ("Origin, ACCEPT-encoding", "Origin, ACCEPT-encoding"),
        ("Origin", "Origin; Accept-Encoding"),
    ] {
        let world = World::new(&["compress gzip"]);
        let request = [("Accept-Encoding", "gzip")];
        world.store(&request, &[HTML, FRESH, ("Vary", vary)], &html());
        world.serve("gzip");
        world.encode();
        let serve = world.serve("gzip");
        assert_eq!(serve.object.coding(), Some(Coding::Gzip));
        assert_eq!(field(&serve, "vary").as_deref(), Some(want));
    }
}

#[test]
fn the_same_bytes_keep_their_forms_whatever_becomes_of_the_response() {
    let swr = ("Cache-Control", "max-age=60, stale-while-revalidate=600");
    for validator in [("X-None", ""), TAG] {
        let world = World::new(&["compress gzip"]);
        world.store(&[], &[HTML, swr, validator], &html());
        world.serve("gzip");
        assert_eq!(world.encode(), 1);
        // A refresh brings the same bytes.
        world.now.set(NOW + 61_000);
        world.store(&[], &[HTML, swr, validator], &html());
        world.serve("gzip");
        world.encode();
        assert_eq!(world.serve("gzip").object.coding(), Some(Coding::Gzip));
        assert_eq!(made(&world), 1, "{validator:?}");
        // Other bytes have none.
        world.now.set(NOW + 122_000);
        world.store(
            &[],
            &[HTML, swr, validator],
            b"<p>new</p>".repeat(90).as_slice(),
        );
        assert_eq!(world.serve("gzip").object.coding(), None);
        world.encode();
        assert_eq!(
            gunzip(&body(&world.serve("gzip"))),
            b"<p>new</p>".repeat(90)
        );
        assert_eq!(made(&world), 2);
    }
}

fn made(world: &World) -> u64 {
    let region = world.cache.region();
    crate::engine::stats::counted(region).encoded["gzip"].made
}

#[test]
fn a_purge_drops_the_forms_too_and_counts_responses_alone() {
    let world = World::new(&["compress gzip br"]);
    world.store(&[], &[HTML, FRESH, ("Cache-Tag", "news")], &html());
    world.serve("gzip");
    world.encode();
    let encodings = |world: &World| {
        world.cache.region().sweep(world.now.get(), u32::MAX);
        let mut survey = Survey::new(world.cache.region(), world.now.get());
        while survey.step(u32::MAX) != Ok(true) {}
        let zone = survey.zone();
        (zone.entries.fresh, zone.used.encodings > 0)
    };
    assert_eq!(encodings(&world), (1, true));
    let purge = |what| {
        let mut removal = world.cache.purge(what, PurgeMode::Hard, world.now.get());
        while removal.step(u32::MAX) != Ok(true) {}
        assert_eq!(removal.removed(), 1);
    };
    let what = Selection {
        tags: vec![b"news".as_slice().into()],
        ..Selection::default()
    };
    purge(what);
    assert_eq!(encodings(&world), (0, false));
    world.store(&[], &[HTML, FRESH], &html());
    world.serve("gzip");
    world.encode();
    purge(Selection {
        keys: vec![KEY.into()],
        ..Selection::default()
    });
    assert_eq!(encodings(&world), (0, false));
    world.cache.region().validate().expect("valid");
}

#[test]
fn what_was_evicted_is_made_again() {
    let world = World::new(&["compress gzip"]);
    world.store(&[], &[HTML, FRESH], &html());
    world.serve("gzip");
    world.encode();
    let form = world.serve("gzip").object.served().clone();
    assert!(world.cache.region().remove(&form));
    world.now.set(NOW + 40_000);
    assert_eq!(world.serve("gzip").object.coding(), None);
    assert_eq!(world.encode(), 1);
    assert_eq!(world.serve("gzip").object.coding(), Some(Coding::Gzip));
}

#[test]
fn forms_are_asked_for_once_in_a_while_and_by_the_next_request_where_there_was_no_room() {
    let world = World::new(&["compress gzip"]);
    world.store(&[], &[HTML, FRESH], &html());
    world.serve("gzip");
    // Asked of late: not again, whoever serves.
    world.serve("gzip");
    assert_eq!(world.encode(), 1);
    let world = World::new(&["compress gzip"]);
    let keys: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
    let coding = |key| {
        world.key.set(key);
        world.serve("gzip").object.coding()
    };
    for key in keys {
        world.key.set(key);
        world.store(&[], &[HTML, FRESH], &html());
    }
    // The fifth finds no room.
    assert_eq!(keys.map(coding), [None; 5]);
    assert_eq!((world.encoder.pending(), world.encode()), (4, 4));
    assert_eq!(keys.map(coding)[3..], [Some(Coding::Gzip), None]);
    assert_eq!(world.encode(), 1);
    assert_eq!(coding(keys[4]), Some(Coding::Gzip));
}

#[test]
fn what_is_closed_stores_nothing_more() {
    let world = World::new(&["compress gzip"]);
    world.store(&[], &[HTML, FRESH], &html());
    world.serve("gzip");
    world.queue.close();
    assert_eq!(world.encode(), 1);
    assert_eq!(made(&world), 0);
    assert_eq!(world.serve("gzip").object.coding(), None);
    // Who waits for work ends when nobody is left who could ask.
    let World {
        cache,
        queue,
        encoder,
        ..
    } = world;
    drop((cache, queue));
    assert!(!encoder.next());
}

/// What a client says, and the codings of `br gzip` that it prefers to the identity, the most wanted first (RFC 9110 §12.5.3).
const ACCEPTS: [(Option<&str>, &[Coding]); 14] = [
    (None, &[]),
    (Some(""), &[]),
    (Some("gzip"), &[Coding::Gzip]),
    (Some("GZIP;Q=1.0 , deflate"), &[Coding::Gzip]),
    (Some("gzip, br"), &[Coding::Br, Coding::Gzip]),
    (Some("br;q=0.5, gzip;q=0.9"), &[Coding::Gzip, Coding::Br]),
    (Some("*"), &[Coding::Br, Coding::Gzip]),
    (Some("*;q=0"), &[]),
    (Some("gzip;q=0, *"), &[Coding::Br]),
    (Some("identity"), &[]),
    (Some("identity;q=0, gzip"), &[Coding::Gzip]),
    (Some("identity;q=0.4, gzip;q=0.5"), &[Coding::Gzip]),
    (Some("identity, gzip;q=0.5, br;q=0.5"), &[]),
    (Some("zstd, deflate;q=0.5"), &[]),
];

/// The fields of the response beside the usual ones, and whether it may be encoded.
const KINDS: [(Lines<'_>, bool); 4] = [
    (&[FRESH], true),
    (&[FRESH, ("Vary", "Origin")], true),
    (&[("Cache-Control", "max-age=60, no-transform")], false),
    (&[FRESH, ("Content-Encoding", "gzip")], false),
];

const TAGS: [&str; 7] = [
    "",
    "\"x\"",
    "\"x-gzip\"",
    "W/\"x-br\"",
    "\"y\", \"x-gzip\"",
    "*",
    "\"y\"",
];
const DATE: (&str, &str) = ("Last-Modified", "Mon, 01 Jan 2018 00:00:00 GMT");
const RANGES: [&[(&str, &str)]; 5] = [
    &[],
    &[("Range", "bytes=0-3")],
    &[("Range", "bytes=0-3"), ("If-Range", "\"x\"")],
    &[("Range", "bytes=0-3"), ("If-Range", "\"x-gzip\"")],
    &[("Range", "bytes=0-3"), ("If-Range", DATE.1)],
];

/// Every combination of what a client says with what is stored.
#[test]
fn every_combination_of_request_and_stored_forms() {
    for made in [&[][..], &["compress gzip"], &["compress br gzip"]] {
        for (fields, may_be_encoded) in KINDS {
            let mut world = World::new(made);
            world.store(&[], &[fields, &[HTML, TAG, DATE]].concat(), &html());
            world.serve("gzip");
            assert_eq!(
                world.encode(),
                usize::from(may_be_encoded && !made.is_empty())
            );
            let codings: &[Coding] = match (may_be_encoded, made) {
                (false, _) | (_, []) => &[],
                (_, ["compress gzip"]) => &[Coding::Gzip],
                _ => &[Coding::Gzip, Coding::Br],
            };
            world.policy = policy(&["compress br gzip"]);
            for (accept, preferred) in ACCEPTS {
                let want = preferred.iter().find(|coding| codings.contains(coding));
                for tag in TAGS {
                    for range in RANGES {
                        for method in [Method::Get, Method::Head] {
                            let mut asked = range.to_vec();
                            asked.extend(accept.map(|accept| ("Accept-Encoding", accept)));
                            asked.extend((!tag.is_empty()).then_some(("If-None-Match", tag)));
                            let serve = world.serve_by(method, &asked);
                            let case = Case {
                                may_be_encoded,
                                tag,
                                range,
                                method,
                                about: format!("{method:?} {asked:?} of {fields:?} in {codings:?}"),
                            };
                            assert_eq!(serve.object.coding(), want.copied(), "{}", case.about);
                            case.check(&serve);
                        }
                    }
                }
            }
        }
    }
}

/// One of the combinations.
struct Case<'a> {
    may_be_encoded: bool,
    tag: &'a str,
    range: Lines<'a>,
    method: Method,
    about: String,
}

impl Case<'_> {
    fn check(&self, serve: &Serve) {
        let (about, coding) = (&self.about, serve.object.coding());
        let own = coding.map_or("\"x\"".to_owned(), |c| format!("\"x-{}\"", c.as_str()));
        let kind = format!("{:?}", serve.answer);
        assert!(kind.starts_with(self.expected(&own)), "{kind}: {about}");
        assert_eq!(
            field(serve, "etag").as_deref(),
            Some(own.as_str()),
            "{about}"
        );
        let vary = field(serve, "vary").unwrap_or_default();
        assert_eq!(
            vary.contains("Accept-Encoding"),
            self.may_be_encoded,
            "{vary}: {about}"
        );
        let length = serve.object.content_length();
        assert_eq!(
            length == Some(html().len() as u64),
            coding.is_none(),
            "{about}"
        );
        // RFC 9110 §15.4.5: a 304 does not describe the body.
        let is_304 = serve.answer == Answer::NotModified;
        let told = coding.filter(|_| !is_304).map(Coding::as_str);
        if self.may_be_encoded {
            assert_eq!(field(serve, "content-encoding").as_deref(), told, "{about}");
        }
    }

    /// The answer, where what is selected has the tag `own`.
    fn expected(&self, own: &str) -> &'static str {
        // §13.1.2: weak comparison.
        let names = |tag: &str| tag.trim_start_matches("W/") == own;
        let is_same = self.tag == "*" || self.tag.split(", ").any(names);
        // §13.1.5: strong comparison; and a date does not tell forms apart.
        let is_part = match self.range {
            [] => false,
            [_] => true,
            [_, (_, since), ..] => *since == own || (*since == DATE.1 && !self.may_be_encoded),
        };
        match is_part && self.method == Method::Get {
            _ if is_same => "NotModified",
            true => "Partial",
            false => "Full",
        }
    }
}

#[test]
fn an_explanation_shows_the_forms_and_a_look_has_no_effect() {
    let world = World::new(&["compress br gzip"]);
    world.store(&[], &[HTML, FRESH], &html());
    let fields = [("Accept-Encoding", "gzip")];
    let fields: Lines<'_> = &fields;
    let req = get(KEY, &fields);
    let explained = || {
        let explained = world
            .cache
            .explain(&req, &world.policy, NOW)
            .expect("not busy");
        let encodings = explained.variants[0].encodings.iter();
        let encodings: Vec<_> = encodings.map(|form| (form.coding, form.bytes)).collect();
        (explained.verdict.encoding, encodings)
    };
    assert_eq!(explained(), (None, vec![]));
    assert_eq!(world.encode(), 0);
    world.serve("gzip");
    world.encode();
    let (gzip, br) = (world.serve("gzip"), world.serve("br"));
    let [gzip, br] = [gzip, br].map(|serve| body(&serve).len() as u64);
    let tallies = world.cache.region().tallies();
    assert_eq!(
        explained(),
        (Some("gzip"), vec![("gzip", gzip), ("br", br)])
    );
    assert_eq!(world.cache.region().tallies(), tallies);
}
