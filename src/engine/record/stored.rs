//! A stored response: a pinned object with its decoded head.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::engine::backoff::{Fault, Trouble};
use crate::engine::encode::coding::Coding;
use crate::engine::encode::form::Form;
use crate::engine::policy::{Policy, SECOND};
use crate::engine::record::attributes;
use crate::engine::record::{Flags, LineUse, LinesFor, RecordHead};
use crate::http::fields::{first, is};
use crate::http::syntax::{digits, members};
use crate::http::{cache_groups, etag};
use crate::store::{ATTRIBUTES, Completeness, Millis, Object};

/// A stored response. Its object is pinned as long as the value lives; a clone pins it again.
#[derive(Clone, Debug)]
pub struct Stored {
    object: Object,
    head: RecordHead,
    /// Whether Smart Edge Revalidation is on in the location that uses it.
    edge: bool,
    /// The form in which it is served suits the client's `Accept-Encoding`, and another client may get another.
    negotiated: bool,
    /// The cache says so by a `Vary` of its own.
    adds_vary: bool,
    /// The encoded form in which it is served; nothing is the original. Clones share it: a host may refer to its bytes as it does to those
    /// of the object, as long as it keeps a clone.
    form: Option<Arc<Form>>,
}

/// The rate of the delivery to a client, in bytes per second.
pub(crate) const LIMIT_RATE: &str = "x-accel-limit-rate";
/// The charset to send in place of the response's.
pub(crate) const CHARSET: &str = "x-accel-charset";

/// The status line as received. HTTP attaches no meaning to it, so the host adds it to its fields
/// ([`crate::engine::Response::kept`]) under a name that no field can have.
pub(crate) const STATUS_LINE: &str = ":status";

/// Instructions of the origin to its host for each delivery (nginx's `X-Accel-*`), as field values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostFields<'a> {
    /// `X-Accel-Limit-Rate`.
    pub limit_rate: Option<&'a [u8]>,
    /// `X-Accel-Charset`.
    pub charset: Option<&'a [u8]>,
    /// The status code and reason phrase, if the host kept them as `:status`.
    pub status_line: Option<&'a [u8]>,
}

/// An entity tag as a field value, including quotes and `W/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityTag<'a> {
    /// The tag that the origin sent.
    Own(&'a [u8]),
    /// A weak tag made of the body's hash.
    Synthesised([u8; etag::HASH_LEN]),
    /// That of an encoded form, made of one of these.
    OfForm(&'a [u8]),
}

impl EntityTag<'_> {
    /// The field value.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            EntityTag::Own(bytes) => bytes,
            EntityTag::Synthesised(bytes) => bytes,
            EntityTag::OfForm(bytes) => bytes,
        }
    }
}

/// What the field lines of a response say of the coding of its body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CodingFields<'a> {
    /// The origin has encoded it itself.
    pub(crate) is_encoded: bool,
    /// `Content-Type`, with its parameters.
    pub(crate) content_type: Option<&'a [u8]>,
    /// Its `Vary` names `Accept-Encoding`, or everything.
    pub(crate) is_varied: bool,
}

impl Stored {
    /// Decodes the object's head. Returns the object as the error if its record is damaged or of another version.
    #[inline]
    pub(crate) fn new(object: Object, policy: &Policy) -> Result<Stored, Object> {
        match head_of(&object) {
            None => Err(object),
            Some(head) => Ok(Stored {
                object,
                head,
                edge: policy.edge_revalidation,
                negotiated: false,
                adds_vary: false,
                form: None,
            }),
        }
    }

    /// Makes a stored response of another object, such as the renewed one, with the same settings.
    pub(crate) fn with_object(&self, object: Object) -> Option<Stored> {
        let head = head_of(&object)?;
        Some(Stored {
            object,
            head,
            edge: self.edge,
            negotiated: false,
            adds_vary: false,
            form: None,
        })
    }

    /// The same, served in a form that was chosen by the client's `Accept-Encoding`; `is_varied` if the origin's `Vary` says so.
    pub(crate) fn negotiated(self, form: Option<Form>, is_varied: bool) -> Stored {
        let form = form.map(|form| {
            let etag = self.original_etag();
            let etag = etag.map(|tag| tag_of_form(tag.as_bytes(), form.coding));
            Arc::new(Form { etag, ..form })
        });
        Stored {
            negotiated: true,
            adds_vary: !is_varied,
            form,
            ..self
        }
    }

    /// Whether other clients may get it in another form.
    pub(crate) fn is_negotiated(&self) -> bool {
        self.negotiated
    }

    fn form(&self) -> Option<&Form> {
        self.form.as_deref()
    }

    /// The coding in which the cache itself has encoded the body that is served.
    pub fn coding(&self) -> Option<Coding> {
        self.form().map(|form| form.coding)
    }

    /// What the body that is served is read from: the response as it was stored, or its encoded form.
    pub fn served(&self) -> &Object {
        self.form().map_or(&self.object, |form| &form.object)
    }

    pub(crate) fn is_of_head(&self) -> bool {
        self.head.flags.has(Flags::OF_HEAD)
    }

    pub(crate) fn head(&self) -> &RecordHead {
        &self.head
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Calls `each` with the field lines to deliver, in the origin's order, including duplicates. `Content-Type` and
    /// the `ETag` and `Last-Modified` that the origin sent are among them. Not among them are `Date`
    /// ([`Stored::date`]), `Age` (`Serve::age`), `Content-Length` ([`Stored::content_length`]), tags, and synthesised
    /// validators ([`Stored::synthesised`]).
    pub fn visible(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let of_head = self.is_of_head();
        let lines = self.head.lines(self.object.meta());
        for line in lines.filter(|line| line.uses.has(LineUse::SHOWN)) {
            match () {
                () if of_head && is(line.name, "content-length") => {}
                // The form's own tag is written below.
                () if self.form().is_some() && is_of_these_bytes(line.name) => {}
                () => each(line.name, line.value),
            }
        }
        if let Some(form) = self.form() {
            each(b"Content-Encoding", form.coding.as_str().as_bytes());
            if let (false, Some(etag)) = (self.synthesised(), &form.etag) {
                each(b"ETag", etag);
            }
        }
        if self.adds_vary() {
            each(b"Vary", b"Accept-Encoding");
        }
    }

    /// Whether [`Stored::visible`] ends with a `Vary: Accept-Encoding` of the cache's own: it may be served in encoded forms, and the
    /// origin's `Vary` does not say so.
    pub fn adds_vary(&self) -> bool {
        self.adds_vary
    }

    /// What the field lines say of the coding of the body.
    pub(crate) fn coding_fields(&self) -> CodingFields<'_> {
        let mut found = CodingFields::default();
        let lines = self.head.lines(self.object.meta());
        for line in lines.filter(|line| line.uses.has(LineUse::SHOWN)) {
            match line.name {
                name if is(name, "content-type") => found.content_type = Some(line.value),
                name if is(name, "content-encoding") => found.is_encoded = true,
                name if is(name, "vary") => {
                    let names = |name: &[u8]| is(name, "accept-encoding") || name == b"*";
                    found.is_varied |= members(line.value).any(names);
                }
                _ => {}
            }
        }
        found
    }

    /// Calls `each` with the origin's own fields that the host kept ([`crate::engine::Response::kept`]), including those that
    /// it hides from clients or rewrites. Fields that [`Stored::visible`] omits for all clients are missing: `Date`,
    /// `Age`, `Content-Length`, `Set-Cookie`.
    pub fn origin_fields(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let lines = self.head.lines(self.object.meta());
        for line in lines.filter(|line| line.uses.has(LineUse::KEPT)) {
            if !is(line.name, STATUS_LINE) {
                each(line.name, line.value);
            }
        }
    }

    /// Returns the origin's instructions for deliveries to clients; if there are none, no line is read.
    pub fn host_fields(&self) -> HostFields<'_> {
        let mut told = HostFields::default();
        if self.head.flags.has(Flags::TELLS_HOST) {
            let lines = self.head.lines(self.object.meta());
            for line in lines.filter(|line| line.uses.has(LineUse::KEPT)) {
                match line.name {
                    name if is(name, LIMIT_RATE) => told.limit_rate = Some(line.value),
                    name if is(name, CHARSET) => told.charset = Some(line.value),
                    name if is(name, STATUS_LINE) => told.status_line = Some(line.value),
                    _ => {}
                }
            }
        }
        told
    }

    /// Calls `each` with the lines of [`Stored::visible`] that a 304 carries (RFC 9110 §15.4.5): without those that
    /// only describe the body.
    pub(crate) fn fields_of_304(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.visible(&mut |name, value| {
            if !describes_body(name) {
                each(name, value);
            }
        });
    }

    /// The cache groups of the response (RFC 9875 §2).
    pub fn groups(&self) -> Vec<String> {
        let lines = LinesFor {
            lines: self.head.lines(self.object.meta()),
            uses: LineUse::TAGS,
        };
        cache_groups::parse(&lines, cache_groups::GROUPS)
    }

    /// Whether the origin forbids transforming the body (`no-transform`, RFC 9111 §5.2.2.6).
    pub fn no_transform(&self) -> bool {
        self.head.flags.has(Flags::NO_TRANSFORM)
    }

    /// The origin's `Date`, or without one the time at which the response was received (RFC 9110 §6.6.1), in Unix time
    /// in ms.
    pub fn date(&self) -> Millis {
        self.head.date
    }

    /// The `Last-Modified` to send: the origin's, or a synthesised one (Smart Edge Revalidation). The latter equals
    /// [`Stored::date`], so that a browser's heuristic, a tenth of the time between the two (RFC 9111 §4.2.2), yields
    /// no lifetime that the origin did not give. Unix time in ms, whole seconds.
    pub fn last_modified(&self) -> Option<Millis> {
        match self.synthesised() {
            true => Some(self.head.date - self.head.date % SECOND),
            false => self.head.last_modified,
        }
    }

    /// The time that `If-Modified-Since` is compared with: the origin's `Last-Modified`, or the time since which the
    /// bytes have been the same. A client that received the response with any `Date` since then has these bytes.
    pub(crate) fn modified(&self) -> Option<Millis> {
        match self.synthesised() {
            true => Some(self.since()),
            false => self.head.last_modified,
        }
    }

    /// The `ETag` to send: the origin's, or the synthesised weak one once the body is complete.
    pub fn etag(&self) -> Option<EntityTag<'_>> {
        match self.form() {
            None => self.original_etag(),
            Some(form) => form.etag.as_deref().map(EntityTag::OfForm),
        }
    }

    fn original_etag(&self) -> Option<EntityTag<'_>> {
        if !self.synthesised() {
            return self.head.etag(self.object.meta()).map(EntityTag::Own);
        }
        match self.word(attributes::HASH) {
            0 => None,
            hash => Some(EntityTag::Synthesised(etag::of_hash(hash))),
        }
    }

    /// Whether the cache synthesises the validators, because the origin sent none.
    pub fn synthesised(&self) -> bool {
        self.edge && self.head.lacks_validators() && !self.head.flags.has(Flags::OF_HEAD)
    }

    /// Whether the host completes a relative `Location` (see [`Response`](crate::engine::Response)).
    pub fn own_redirect(&self) -> bool {
        self.head.flags.has(Flags::OWN_REDIRECT)
    }

    /// The `Content-Length` to send, once it is known: the length of the body, or what the response to a `HEAD`
    /// announced.
    pub fn content_length(&self) -> Option<u64> {
        if !self.head.flags.has(Flags::OF_HEAD) {
            return self.served().body().total;
        }
        let lines = LinesFor {
            lines: self.head.lines(self.object.meta()),
            uses: LineUse::SHOWN,
        };
        first(&lines, "content-length", digits)
    }

    /// The object as the origin's response was stored.
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// Its key, in the engine's form.
    pub fn key(&self) -> &[u8] {
        self.object.key()
    }

    /// The `Age` at `now` in seconds (RFC 9111 §4.2.3).
    pub fn age(&self, now: Millis) -> u64 {
        self.age_millis(now) / SECOND
    }

    /// How the refresh of the response fails; `None` if it does not.
    pub fn trouble(&self) -> Option<Trouble> {
        let fault = Fault::decode(self.word(attributes::BACKOFF), self.word(attributes::FAULT))?;
        Some(Trouble {
            cause: fault.cause.to_string(),
            since: fault.since,
            next_try: fault.next_try,
            failures: fault.failures,
        })
    }

    pub(crate) fn age_millis(&self, now: Millis) -> Millis {
        crate::http::age::current(self.head.initial_age, self.head.stored_at, now)
    }

    /// The remaining freshness lifetime at `now` in seconds, rounded down; 0 or negative when stale.
    pub fn ttl(&self, now: Millis) -> i64 {
        let (end, now) = (self.head.fresh_until as i64, now as i64);
        end.saturating_sub(now).div_euclid(SECOND as i64)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.object.body().completeness == Completeness::Complete
    }

    pub(crate) fn word(&self, index: usize) -> u64 {
        self.object.attribute(index).load(Relaxed)
    }

    /// The attributes after a renewal: the bytes, their hash and the time since which they have been the same stay; the
    /// pause is over.
    pub(crate) fn renewed_attributes(&self) -> [u64; ATTRIBUTES] {
        let mut words = [0; ATTRIBUTES];
        for index in [attributes::ACCESS, attributes::HASH, attributes::SINCE] {
            words[index] = self.word(index);
        }
        words
    }

    /// The time since which the bytes have been the same, in whole seconds (Unix time in ms).
    pub(crate) fn since(&self) -> Millis {
        let since = attributes::since(self.word(attributes::SINCE));
        since - since % SECOND
    }
}

/// Decodes the head of an object. After a soft purge, freshness ends at the time of the purge, and the windows are
/// counted from there.
#[inline]
fn head_of(object: &Object) -> Option<RecordHead> {
    let mut head = RecordHead::decode(object.meta())?;
    match object.aged() {
        0 => {}
        aged => head.fresh_until = head.fresh_until.min(aged),
    }
    Some(head)
}

/// The entity tag of an encoded form: the original's with the name of the coding appended, weak if the original's is (RFC 9110
/// §8.8.3.3).
fn tag_of_form(tag: &[u8], coding: Coding) -> Box<[u8]> {
    let name = coding.as_str().as_bytes();
    match tag.strip_suffix(b"\"") {
        Some(inner) => [inner, b"-", name, b"\""].concat().into(),
        None => [tag, b"-", name].concat().into(),
    }
}

/// Whether a field tells the bytes of the body from others, those of an encoded form among them: `ETag`, and digests (RFC 9530, RFC 3230,
/// RFC 1864).
fn is_of_these_bytes(name: &[u8]) -> bool {
    [
        "etag",
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
    ]
    .iter()
    .any(|wanted| is(name, wanted))
}

/// Whether a field describes the body only, and is omitted from a 304: `Content-Type`, `Content-Encoding`,
/// `Content-Language`, `Content-Range`, `Accept-Ranges`.
fn describes_body(name: &[u8]) -> bool {
    [
        "content-type",
        "content-encoding",
        "content-language",
        "content-range",
        "accept-ranges",
    ]
    .iter()
    .any(|wanted| is(name, wanted))
}
