//! No input makes a parser panic, and the properties that the parsers promise hold for any input.

use super::*;
use ::http::Method;

/// xorshift64*, seeded, so that every run generates the same input.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or(0)
    }

    /// Mixes pieces of real fields with random bytes, so that the input passes the parsers' first checks.
    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        for _ in 0..self.below(12) {
            match self.below(3) {
                0 => value.push(self.next() as u8),
                _ => value.extend_from_slice(PIECES[self.below(PIECES.len())]),
            }
        }
        value
    }
}

const PIECES: [&[u8]; 54] = [
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b" ",
    b"\t",
    b"*",
    b"-",
    b"/",
    b"?",
    b"#",
    b"..",
    b"W/",
    b"\r\n",
    b"0",
    b"1",
    b"99999999999999999999",
    b"-1",
    b"1.5",
    b"q=0",
    b"q=0.",
    b"q=1.000",
    b"max-age=",
    b"s-maxage=",
    b"no-store",
    b"no-cache=\"",
    b"private=",
    b"public",
    b"stale-while-revalidate",
    b"stale-if-error=",
    b"max-stale",
    b"min-fresh=",
    b"bytes=",
    b"bytes=0-",
    b"0-499",
    b"-500",
    b"\"etag\"",
    b"W/\"etag\"",
    b"etag",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"GMT",
    b"gzip",
    b"br",
    b"identity",
    b"en-GB",
    b"de",
    b"close",
    b"accept",
    b"http://h/",
    b"(",
    b":aGk=:",
];

const NAMES: [&str; 24] = [
    "Cache-Control",
    "CDN-Cache-Control",
    "Surrogate-Control",
    "Pragma",
    "Date",
    "Expires",
    "Last-Modified",
    "Age",
    "ETag",
    "Vary",
    "Accept-Encoding",
    "Accept-Language",
    "Foo",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
    "Connection",
    "Retry-After",
    "Content-Length",
    "Content-Type",
    "Transfer-Encoding",
];

fn message(random: &mut Random) -> Vec<(&'static str, Vec<u8>)> {
    (0..random.below(20))
        .map(|_| (NAMES[random.below(NAMES.len())], random.value()))
        .collect()
}

fn read_response(fields: &dyn Fields, random: &mut Random) {
    let control = Control::of(fields, &["CDN-Cache-Control", "Surrogate-Control"]);
    let times = Times::read(fields);
    let basis = Basis {
        control: &control,
        times: &times,
        status: random.next() as u16,
        response_time: random.next(),
    };
    let lifetime = freshness::lifetime(&basis).map_or(0, |l| l.value);
    let _ = Staleness::of(&control.directives, lifetime);
    let _ = age::initial(&AgeInput {
        date: times.date,
        age: times.age,
        request_time: random.next(),
        response_time: random.next(),
    });
    let _ = storable::storable(&Candidate {
        method: &Method::GET,
        status: basis.status,
        control: &control.directives,
        traits: Traits::default(),
    });
    let _ = retry_after::parse(fields, random.next());
    let _ = limits::check(fields);
}

/// The normal forms of a request must match that same request.
fn vary_is_reflexive(response: &dyn Fields, request: &dyn Fields) {
    let Vary::Fields(names) = Vary::of(response) else {
        return;
    };
    let mut reduce = Reduce::default();
    for name in names
        .iter()
        .chain(["accept-encoding", "accept-language", "foo"])
    {
        let mut form = Vec::new();
        let present = vary::normalize(name, request, reduce, &mut form);
        let stored = present.then_some(&*form);
        assert!(vary::matches(name, stored, request, reduce));
        let _ = reduce.add(name);
    }
}

fn judge_request(request: &dyn Fields, response: &dyn Fields, random: &mut Random) {
    let control = CacheControl::response(response);
    let _ = RequestControl::request(request).judge(&StoredFacts {
        age: random.next(),
        fresh_for: random.next(),
        stale_for: random.next(),
        immutable: control.immutable,
        bind: Bind::of(&control),
    });
    let tag = random.value();
    let selected = Selected {
        status: 200,
        etag: Some(&tag),
        last_modified: Times::read(response).last_modified,
        date: random.next(),
        synthesised: false,
    };
    for role in [Role::Cache, Role::Origin] {
        conditional::evaluate(&Method::GET, request, &selected, role);
    }
    conditional::if_range(request, &selected);
    let length = random.next() % 1000;
    if let RangeVerdict::Satisfiable(ranges) = range::evaluate(request, length) {
        assert!(!ranges.is_empty());
        assert!(ranges.iter().all(|r| r.first <= r.last && r.last < length));
    }
}

/// Freshening adds no hop-by-hop field of the new response, and keeps all pinned fields.
fn update_holds(stored: &dyn Fields, new: &dyn Fields) {
    let control = CacheControl::response(new);
    let excluded = Exclusions::of(new, &control);
    let mut own = Vec::new();
    Exclusions::of(stored, &control).kept(stored, &mut |n, v| own.push((n.to_vec(), v.to_vec())));
    let mut merged = Vec::new();
    freshen::merge(&own, new, &excluded, &mut |n, v| {
        merged.push((n.to_vec(), v.to_vec()))
    });
    assert!(
        !merged
            .iter()
            .any(|(name, _)| hop_by_hop::is_hop_by_hop(name))
    );
    let pinned =
        |list: &[(Vec<u8>, Vec<u8>)]| list.iter().filter(|(n, _)| freshen::is_pinned(n)).count();
    assert_eq!(pinned(&own), pinned(&merged));
    let validators = StoredValidators {
        etag: Some(b"\"etag\""),
        ..StoredValidators::default()
    };
    freshen::freshens(&validators, new);
    freshen::head_freshens(&validators, Some(1), new);
}

#[test]
fn any_input_gets_an_answer() {
    let mut random = Random(0x5eed_0f5e_ed5e_edff);
    for _ in 0..20_000 {
        let (request, response) = (message(&mut random), message(&mut random));
        read_response(&response, &mut random);
        vary_is_reflexive(&response, &request);
        judge_request(&request, &response, &mut random);
        update_holds(&request, &response);
        let (a, b) = (random.value(), random.value());
        let (a, b) = (String::from_utf8_lossy(&a), String::from_utf8_lossy(&b));
        if let Some(uri) = invalidation::same_origin("http://h/a/b", &a) {
            assert!(uri.starts_with("http://h/"), "{uri}");
        }
        let member = Member {
            cache: &a,
            handling: Handling::Hit,
            ttl: None,
            key: Some(&b),
            detail: Some(&a),
        };
        let mut ignored = sfv::visitor::Ignored;
        let text = member.to_string();
        assert!(
            sfv::Parser::new(&text)
                .parse_list_with_visitor(&mut ignored)
                .is_ok()
        );
    }
}

#[test]
fn any_date_written_is_read_back() {
    let mut random = Random(7);
    for _ in 0..5_000 {
        let at = random.next() % 253_402_300_800_000;
        assert_eq!(date::parse(&date::format(at)), Some(at / 1000 * 1000));
    }
}
