//! Runs a script of "at this second, this happens, expect that" against a cache in an anonymous region.
//!
//! One event per line; blank lines and `#` comments are ignored:
//!
//! ```text
//! SECONDS  EVENT  PATH  [name: value | name: value]  "body"  ->  EXPECTATION ...
//! ```
//!
//! Events:
//!
//! - `GET`, `HEAD`, `POST`, `PUT`: a client's request. Flags before the arrow: `bypass`, `no-cache`, `full` (no room to refresh)
//! - `woken`, `timeout`: the oldest waiter of the path is woken, or has waited long enough, and asks again
//! - `STATUS` such as `200`: the origin answers the oldest fetch of the path, header and body
//! - `head STATUS`, then `body`, `end`, `cut`, `large`: the same in steps
//! - `made STATUS error|timeout|invalid`: the host made that answer itself
//! - `refused STATUS`: the host's no-cache condition holds for that answer
//! - `passed STATUS`: the origin answers the HEAD that passed last
//! - `elsewhere STATUS`: that answer continues elsewhere inside the host
//! - `fail error|timeout|invalid|aborted`: the fetch fails
//! - `drop`: the fetch is given up
//! - `patience`, `gone`: the leading client of the oldest fetch (with `fill` after the path: of the oldest fill) has waited long enough, or has gone away
//! - `purge`: removes a path, as after a write
//! - `hard`, `soft`, then `tag`, `prefix`, `key` or `all`, and its value: a purge
//!
//! Expectations:
//!
//! - a status (`HIT` ...): a delivery, with `age N`, `ttl N`, `(reason)`, `"body"`, `304`, `412`, `416`, `206 0-4,6-9`, `collapsed`, `lm N` (`Last-Modified` at that second), `length N` (of the body), `weak` (a synthesised tag), `shows name: value`, `hides name`
//! - `refresh`: the request starts a refresh; without the word it must not
//! - `fetch`, with `asks name` / `unconditional`, `sends name: value`, `withholds name`, `names TAG`, `tags N`, `as-head`, `as-get`, `patience N`
//! - `wait`, with `until N`; `pass`; `504`
//! - of answers: `again` (the same fetch asks the origin once more), `stored`, `same`, `renewed`, `superseded`, `dropped`, `relay`, `rest` (of a body that has outgrown the store), `elsewhere`, `fails`, `streams`, `beside`, `broken`
//! - of purges: `purged N`

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use swrcache::engine::*;
use swrcache::http::{Fields, date, etag};
use swrcache::store::{Cursor, NoSpace, Region, RegionOptions};

/// The time of second 0 of every script.
pub(crate) const EPOCH: u64 = 1_700_000_000_000;

type Lines = Vec<(String, String)>;

/// A cache with its clients and the fetches in progress.
pub(crate) struct Timeline {
    policy: Policy,
    cache: Cache,
    fetches: HashMap<String, VecDeque<Led>>,
    fills: HashMap<String, VecDeque<Led>>,
    waiters: HashMap<String, VecDeque<Client>>,
    passed: HashMap<String, Client>,
}

/// A fetch in progress, and the client that leads it.
struct Led {
    fetch: Box<Fetch>,
    client: Client,
    /// What its client has received, if that grows.
    follows: Option<Delivery>,
}

/// A client of the script.
#[derive(Clone, Debug)]
struct Client {
    method: Method,
    path: String,
    fields: Lines,
    flags: Vec<String>,
    asked: u64,
}

/// A line of a script.
struct Event {
    now: u64,
    words: Vec<String>,
    fields: Lines,
    body: Option<String>,
    expect: Vec<String>,
    text: String,
}

/// The result of a line, in the words of the expectations.
#[derive(Debug, Default)]
struct Got {
    words: Vec<String>,
}

impl Timeline {
    pub(crate) fn new(policy: Policy) -> Timeline {
        let region = Region::anonymous(8 << 20, &RegionOptions::default()).expect("a region");
        region.enter(None).expect("a slot");
        Timeline {
            policy,
            cache: Cache::new(Arc::new(region)),
            fetches: HashMap::new(),
            fills: HashMap::new(),
            waiters: HashMap::new(),
            passed: HashMap::new(),
        }
    }

    /// Runs every line of `script`, then checks the region.
    pub(crate) fn run(&mut self, script: &str) -> &mut Timeline {
        for line in script.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let event = Event::parse(line);
            let got = self.step(&event);
            event.check(&got);
        }
        self.cache.region().validate().expect("a sound region");
        self
    }

    fn step(&mut self, event: &Event) -> Got {
        let path = event.word(1).to_string();
        match event.word(0) {
            "GET" => self.asks(event.client(Method::Get), Turn::First, event),
            "HEAD" => self.asks(event.client(Method::Head), Turn::First, event),
            "POST" => self.asks(event.client(Method::Post), Turn::First, event),
            "PUT" => self.asks(event.client(Method::Other), Turn::First, event),
            "woken" => self.asks_again(&path, Turn::Waited, event),
            "timeout" => self.asks_again(&path, Turn::TimedOut, event),
            "made" => self.answered(event, event.word(3), Some(failure(event.word(2)))),
            "head" | "refused" | "elsewhere" => self.answered(event, event.word(2), None),
            "patience" => self.patience(event),
            "gone" => self.gone(event),
            "fail" => self.failed(event),
            "drop" => self.dropped(&path),
            "passed" => self.passed(event),
            "body" => self.body(event),
            "end" => self.end(event),
            "cut" => self.cut(event),
            "large" => self.large(event),
            "purge" => {
                self.cache.region().remove_key(path.as_bytes());
                Got::default()
            }
            "hard" => self.purged(event, PurgeMode::Hard),
            "soft" => self.purged(event, PurgeMode::Soft),
            status => self.answered(event, status, None),
        }
    }

    fn purged(&mut self, event: &Event, how: PurgeMode) -> Got {
        let mut what = Selection::default();
        let of_what = || vec![event.word(2).as_bytes().into()];
        match event.word(1) {
            "tag" => what.tags = of_what(),
            "prefix" => what.prefixes = of_what(),
            "key" => what.keys = of_what(),
            "all" => what.all = true,
            other => panic!("purge what? {other}"),
        }
        let mut purge = self.cache.purge(what, how, event.now);
        while !purge.step(100).expect("not busy") {}
        Got {
            words: vec![format!("purged {}", purge.removed())],
        }
    }

    fn asks_again(&mut self, path: &str, turn: Turn, event: &Event) -> Got {
        let client = self.waiters.get_mut(path).and_then(VecDeque::pop_front);
        self.asks(client.expect("somebody waits"), turn, event)
    }

    fn asks(&mut self, client: Client, turn: Turn, event: &Event) -> Got {
        let request = client.request();
        let decision = self.cache.decide(&request, &self.policy, turn, event.now);
        let mut got = Got::default();
        let path = client.path.clone();
        match decision {
            Decision::Serve(serve) => {
                got.serve(&serve);
                if let Some(fetch) = serve.refresh {
                    got.fetch(&fetch, &client);
                    self.begins(fetch, client);
                }
            }
            Decision::Fetch(fetch) => {
                got.say("fetch");
                got.reason(fetch.asked());
                got.fetch(&fetch, &client);
                if let Some(at) = fetch.patience() {
                    got.say(&format!("patience {}", seconds(at)));
                }
                self.begins(fetch, client);
            }
            Decision::Wait(wait) => {
                got.say("wait");
                got.reason(wait.reason);
                got.say(&format!("until {}", seconds(wait.until)));
                self.waiters.entry(path).or_default().push_back(client);
            }
            Decision::Pass(pass) => {
                self.passed.insert(path, client.clone());
                got.say("pass");
                got.say(pass.status.map_or("-", Status::as_str));
                got.reason(pass.reason);
            }
            Decision::GatewayTimeout(reason) => {
                got.say("504");
                got.reason(reason);
            }
        }
        got
    }

    fn begins(&mut self, fetch: Box<Fetch>, client: Client) {
        let fetches = self.fetches.entry(client.path.clone()).or_default();
        fetches.push_back(Led {
            fetch,
            client,
            follows: None,
        });
    }

    fn next_fetch(&mut self, path: &str) -> Led {
        let fetch = self.fetches.get_mut(path).and_then(VecDeque::pop_front);
        fetch.unwrap_or_else(|| panic!("no fetch of {path} is under way"))
    }

    fn answered(&mut self, event: &Event, status: &str, from_failure: Option<Failure>) -> Got {
        let mut led = self.next_fetch(event.word(1));
        let announced = event
            .fields
            .iter()
            .find(|(name, _)| name == "content-length");
        let response = Response {
            status: status.parse().expect("a status"),
            store: &event.fields,
            received: &event.fields,
            content_length: announced.map(|(_, value)| value.parse().expect("a length")),
            request_time: event.now,
            wall: event.now,
            origin: b"",
            from_failure,
            withheld: match event.word(0) {
                "refused" => Some(Withheld::NoCacheCondition),
                "elsewhere" => Some(Withheld::Redirected),
                _ => None,
            },
            own_redirect: false,
            kept: None,
        };
        let sent = &led.client.fields;
        let order = led.fetch.header(&response, sent, &self.policy, event.now);
        if led.fetch.wants() != Wants::Store {
            return self.ended(order, led, event.now);
        }
        let mut got = Got::default();
        match order {
            Order::Deliver(follows) => {
                got.say("streams");
                led.follows = Some(follows);
            }
            order => {
                assert!(matches!(order, Order::Nothing), "{order:?}");
                got.say("beside");
            }
        }
        if event.word(0) != "head" {
            let body = event.body.as_deref().unwrap_or("body");
            led.fetch.write(body.as_bytes()).expect("room");
            return self.finished(led, event.now);
        }
        let fills = self.fills.entry(led.client.path.clone()).or_default();
        fills.push_back(led);
        got
    }

    fn passed(&mut self, event: &Event) -> Got {
        let client = &self.passed[event.word(1)];
        let response = Response {
            status: event.word(2).parse().expect("a status"),
            store: &event.fields,
            received: &event.fields,
            content_length: None,
            request_time: client.asked,
            wall: event.now,
            origin: b"",
            from_failure: None,
            withheld: None,
            own_redirect: false,
            kept: None,
        };
        self.cache
            .head_answered(&client.request(), &response, &self.policy, event.now);
        Got::default()
    }

    fn delivered(&self, got: &mut Got, brought: &Delivery, client: &Client, now: u64) {
        let request = client.request();
        let served = self.cache.deliver(brought, &request, &self.policy, now);
        got.serve(&served.expect("a delivery at once"));
    }

    fn finished(&mut self, mut led: Led, now: u64) -> Got {
        let order = led.fetch.end(now);
        let mut got = Got::default();
        got.say(match led.fetch.reason() {
            Reason::Fetched => "stored",
            Reason::SameBytes => "same",
            Reason::Superseded => "superseded",
            Reason::BodyBroken => "broken",
            other => panic!("finished: {}", other.as_str()),
        });
        match (order, led.follows) {
            (Order::Deliver(brought), _) | (Order::Nothing, Some(brought)) => {
                self.delivered(&mut got, &brought, &led.client, now);
            }
            (Order::Fail(_), None) => got.say("fails"),
            (order, _) => {
                assert!(matches!(order, Order::Nothing), "{order:?}");
                self.refreshed(&mut got, &led.client, now);
            }
        }
        got
    }

    /// The result of a refresh for the client that caused it.
    fn refreshed(&self, got: &mut Got, client: &Client, now: u64) {
        let request = client.request();
        let decision = self.cache.decide(&request, &self.policy, Turn::First, now);
        if let Decision::Serve(serve) = decision {
            got.times(&serve);
            got.stored(&serve.object);
        }
    }

    /// The result of a fetch that stores nothing.
    fn ended(&mut self, order: Order, led: Led, now: u64) -> Got {
        let mut got = Got::default();
        if led.fetch.reason() == Reason::NotModified {
            got.say("renewed");
        }
        let mut aside = |word: &str, aside: Aside| {
            got.say(word);
            got.say(aside.status.as_str());
            got.reason(aside.reason);
        };
        match order {
            Order::Deliver(brought) => self.delivered(&mut got, &brought, &led.client, now),
            Order::RelayRest(taken) => {
                got.say("rest");
                if let Some(brought) = taken.or(led.follows) {
                    self.delivered(&mut got, &brought, &led.client, now);
                }
            }
            Order::AskAgain => {
                got.say("again");
                got.fetch(&led.fetch, &led.client);
                let fetches = self.fetches.entry(led.client.path.clone()).or_default();
                fetches.push_front(led);
            }
            Order::Relay(told) => aside("relay", told),
            Order::HandOver(told) => aside("elsewhere", told),
            Order::GatewayTimeout(told) => aside("504", told),
            Order::Fail(told) => aside("fails", told),
            Order::Nothing if led.fetch.reason() == Reason::NotModified => {
                self.refreshed(&mut got, &led.client, now);
            }
            Order::Nothing => {
                got.say("dropped");
                got.reason(led.fetch.reason());
            }
        }
        got
    }

    fn failed(&mut self, event: &Event) -> Got {
        let mut led = self.next_fetch(event.word(1));
        let failure = failure(event.word(2));
        let order = led.fetch.failed(failure, None, &self.policy, event.now);
        self.ended(order, led, event.now)
    }

    /// The oldest fetch of the path, or its oldest fill.
    fn oldest(&mut self, event: &Event) -> &mut Led {
        let of = match event.word(2) {
            "fill" => &mut self.fills,
            _ => &mut self.fetches,
        };
        let led = of.get_mut(event.word(1)).and_then(VecDeque::front_mut);
        led.expect("a fetch under way")
    }

    fn patience(&mut self, event: &Event) -> Got {
        let led = self.oldest(event);
        let mut got = Got::default();
        let Some(brought) = led.fetch.patience_over(event.now) else {
            got.say("waits");
            return got;
        };
        led.fetch.leader_gone();
        let client = led.client.clone();
        self.delivered(&mut got, &brought, &client, event.now);
        got
    }

    fn gone(&mut self, event: &Event) -> Got {
        self.oldest(event).fetch.leader_gone();
        Got::default()
    }

    fn dropped(&mut self, path: &str) -> Got {
        drop(self.next_fetch(path));
        Got::default()
    }

    fn body(&mut self, event: &Event) -> Got {
        let fills = self.fills.get_mut(event.word(1)).expect("a fill");
        let led = fills.front_mut().expect("a fill");
        let body = event.body.as_deref().expect("a body");
        led.fetch.write(body.as_bytes()).expect("room");
        Got::default()
    }

    fn next_fill(&mut self, event: &Event) -> Led {
        let fill = self
            .fills
            .get_mut(event.word(1))
            .and_then(VecDeque::pop_front);
        fill.expect("a fill")
    }

    fn end(&mut self, event: &Event) -> Got {
        let led = self.next_fill(event);
        self.finished(led, event.now)
    }

    fn cut(&mut self, event: &Event) -> Got {
        let mut led = self.next_fill(event);
        let order = led
            .fetch
            .failed(Failure::Error, None, &self.policy, event.now);
        let mut got = self.ended(order, led, event.now);
        got.say("broken");
        got
    }

    fn large(&mut self, event: &Event) -> Got {
        let mut led = self.next_fill(event);
        let order = led.fetch.outgrew(NoSpace::TooLarge, event.now);
        self.ended(order, led, event.now)
    }
}

impl Client {
    fn request(&self) -> Request<'_> {
        let flag = |name: &str| self.flags.iter().any(|flag| flag == name);
        Request {
            method: self.method,
            key: self.path.as_bytes(),
            fields: &self.fields,
            bypass: flag("bypass"),
            no_cache: flag("no-cache"),
            may_refresh: !flag("full"),
            is_part: false,
        }
    }
}

impl Got {
    fn say(&mut self, word: &str) {
        self.words.push(word.to_string());
    }

    fn reason(&mut self, reason: impl Into<Reason>) {
        self.say(&format!("({})", reason.into().as_str()));
    }

    /// The fields that a fetch sends for a client.
    fn fetch(&mut self, fetch: &Fetch, client: &Client) {
        if fetch.is_refresh() {
            self.say("refresh");
        }
        self.say(match fetch.is_head() {
            true => "as-head",
            false => "as-get",
        });
        let mut asked = false;
        fetch.fields(&client.fields, &mut |name, value| {
            let (name, line) = (text(name).to_lowercase(), text(value));
            if name != "if-none-match" && name != "if-modified-since" {
                self.words.push(format!("sends {name}: {line}"));
                self.words.push(format!("sends {name}"));
                return;
            }
            asked = true;
            self.words.push(format!("asks {name}: {line}"));
            self.words.push(format!("asks {name}"));
            if name == "if-none-match" {
                let tags = etag::list(value).map(|tag| format!("names {}", text(tag.opaque)));
                self.words.extend(tags);
                self.say(&format!("tags {}", etag::list(value).count()));
            }
        });
        if !asked {
            self.say("unconditional");
        }
    }

    fn serve(&mut self, serve: &Serve) {
        self.say(serve.status.as_str());
        self.reason(serve.reason);
        self.times(serve);
        self.say(&match &serve.answer {
            Answer::Full => "full".to_string(),
            Answer::NotModified => "304".to_string(),
            Answer::PreconditionFailed => "412".to_string(),
            Answer::Unsatisfiable => "416".to_string(),
            Answer::Partial(ranges) => {
                let ranges = ranges
                    .iter()
                    .map(|range| format!("{}-{}", range.first, range.last));
                format!("206 {}", ranges.collect::<Vec<_>>().join(","))
            }
        });
        if serve.collapsed {
            self.say("collapsed");
        }
        self.stored(&serve.object);
    }

    fn times(&mut self, serve: &Serve) {
        self.say(&format!("age {}", serve.age));
        self.say(&format!("ttl {}", serve.ttl));
    }

    fn stored(&mut self, stored: &Stored) {
        self.say(&format!("{:?}", read(stored)));
        self.say(&format!("status {}", stored.status()));
        if let Some(length) = stored.content_length() {
            self.say(&format!("length {length}"));
        }
        if let Some(at) = stored.last_modified() {
            self.say(&format!("lm {}", seconds(at)));
        }
        if let Some(tag) = stored.etag() {
            self.say(&format!("etag {}", text(tag.as_bytes())));
            if matches!(tag, EntityTag::Synthesised(_)) {
                self.say("weak");
            }
        }
        stored.visible(&mut |name, value| {
            self.words.push(format!(
                "shows {}: {}",
                text(name).to_lowercase(),
                text(value)
            ));
            self.words
                .push(format!("shows {}", text(name).to_lowercase()));
        });
    }
}

impl Event {
    fn parse(line: &str) -> Event {
        let (left, right) = line.split_once("->").unwrap_or((line, ""));
        let (left, fields) = cut_fields(left);
        let mut words = tokens(&left);
        let at: f64 = words
            .remove(0)
            .parse()
            .unwrap_or_else(|_| panic!("no time: {line}"));
        let body = words
            .iter()
            .position(|word| word.starts_with('"'))
            .map(|at| words.remove(at));
        let answer = words[0].parse::<u16>().is_ok();
        // `made 502 error /a`, `head 200 /a` and `fail error /a` are easier to read; internally the path comes second.
        if matches!(
            words[0].as_str(),
            "made" | "head" | "fail" | "refused" | "elsewhere" | "passed"
        ) {
            words[1..].reverse();
        }
        assert!(answer || words.len() > 1, "no path: {line}");
        Event {
            now: EPOCH.saturating_add_signed((at * 1000.0).round() as i64),
            words,
            fields,
            body: body.map(|body| body.trim_matches('"').to_string()),
            expect: phrases(&tokens(right)),
            text: line.to_string(),
        }
    }

    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word)
    }

    fn client(&self, method: Method) -> Client {
        Client {
            method,
            path: self.word(1).to_string(),
            fields: self.fields.clone(),
            flags: self.words[2..].to_vec(),
            asked: self.now,
        }
    }

    fn check(&self, got: &Got) {
        let has = |word: &str| got.words.iter().any(|other| other == word);
        for word in &self.expect {
            let holds = match word.split_once(' ') {
                Some(("hides", name)) => !has(&format!("shows {name}")),
                Some(("withholds", name)) => !has(&format!("sends {name}")),
                _ => has(word),
            };
            assert!(
                holds,
                "\n  {}\n  wants {word}\n  got   {:?}\n",
                self.text, got.words
            );
        }
        let unasked = |word: &str| has(word) && !self.expect.iter().any(|wanted| wanted == word);
        for word in ["refresh", "again", "304", "412", "416", "504"] {
            assert!(
                !unasked(word),
                "\n  {}\n  did not want {word}\n  got {:?}\n",
                self.text,
                got.words
            );
        }
        assert!(
            !self.expect.is_empty() || got.words.is_empty(),
            "{}: got {:?}",
            self.text,
            got.words
        );
    }
}

/// Removes the `[...]` of field lines from a line.
fn cut_fields(line: &str) -> (String, Lines) {
    let Some((before, rest)) = line.split_once('[') else {
        return (line.to_string(), Lines::new());
    };
    let (inside, after) = rest.rsplit_once(']').expect("a closed bracket");
    let lines = inside.split(" | ").map(|line| {
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("no field: {line}"));
        (name.trim().to_string(), dates(value.trim()))
    });
    (format!("{before} {after}"), lines.collect())
}

/// Replaces `{N}` by the date at second N of the script.
fn dates(value: &str) -> String {
    let Some((before, rest)) = value.split_once('{') else {
        return value.to_string();
    };
    let (second, after) = rest.split_once('}').expect("a closed brace");
    let at = EPOCH as i64 + second.parse::<i64>().expect("a second") * 1000;
    format!("{before}{}{after}", text(&date::format(at as u64)))
}

/// Splits into words; quoted text is one word.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut quoted = false;
    for (index, part) in text.split('"').enumerate() {
        quoted = index % 2 == 1;
        if quoted {
            tokens.push(format!("{part:?}"));
        } else {
            tokens.extend(part.split_whitespace().map(str::to_string));
        }
    }
    assert!(!quoted || text.ends_with('"'), "open quotes: {text}");
    tokens
}

/// Joins words that form one expectation: `age 61`, `shows name: value`.
fn phrases(tokens: &[String]) -> Vec<String> {
    let mut phrases: Vec<String> = Vec::new();
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        let phrase = match token.as_str() {
            "age" | "purged" | "ttl" | "lm" | "until" | "patience" | "206" | "hides" | "status"
            | "names" | "tags" | "length" | "withholds" => {
                format!("{token} {}", tokens.next().expect("a value"))
            }
            "shows" | "asks" | "sends" => {
                let name = tokens.next().expect("a name");
                match name.ends_with(':') {
                    true => {
                        let value = tokens.next().expect("a value");
                        format!("{token} {name} {}", value.trim_matches('"'))
                    }
                    false => format!("{token} {name}"),
                }
            }
            other => other.to_string(),
        };
        phrases.push(phrase);
    }
    phrases
}

fn failure(word: &str) -> Failure {
    match word {
        "error" => Failure::Error,
        "timeout" => Failure::Timeout,
        "invalid" => Failure::InvalidHeader,
        "aborted" => Failure::Aborted,
        other => panic!("no failure: {other}"),
    }
}

fn seconds(at: u64) -> f64 {
    (at as f64 - EPOCH as f64) / 1000.0
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads the body as far as it is published.
fn read(stored: &Stored) -> String {
    let mut cursor = Cursor::default();
    let mut body = Vec::new();
    loop {
        let bytes = stored.served().read(&mut cursor, usize::MAX);
        if bytes.is_empty() {
            return text(&body);
        }
        body.extend_from_slice(bytes);
    }
}

/// The runner's field lists implement `Fields`.
const _: fn(&Lines) -> &dyn Fields = |lines| lines;
