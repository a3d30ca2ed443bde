//! A stored response: a pinned object with its decoded head.

use std::sync::atomic::Ordering::Relaxed;

use crate::engine::backoff::{Fault, Trouble};
use crate::engine::policy::{Policy, SECOND};
use crate::engine::record::attributes;
use crate::engine::record::{Flags, Head, LineUse, LinesFor};
use crate::http::fields::{first, is};
use crate::http::syntax::digits;
use crate::http::{cache_groups, etag};
use crate::store::{ATTRIBUTES, Completeness, Millis, Object};

/// A stored response. Cloning pins once more; dropping unpins.
#[derive(Clone, Debug)]
pub struct Stored {
    object: Object,
    head: Head,
    /// Smart Edge Revalidation is on where this is used.
    edge: bool,
}

/// Bytes a second to a client.
pub(crate) const LIMIT_RATE: &str = "x-accel-limit-rate";
/// In place of the charset that the response names.
pub(crate) const CHARSET: &str = "x-accel-charset";

/// The status line as it came, of which HTTP asks nothing: in the host's fields ([`super::Response::kept`]), under a name that no field
/// has.
pub(crate) const STATUS_LINE: &str = ":status";

/// What an origin tells its host about each delivery (nginx's `X-Accel-*`), as it stood in the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostFields<'a> {
    /// `X-Accel-Limit-Rate`.
    pub limit_rate: Option<&'a [u8]>,
    /// `X-Accel-Charset`.
    pub charset: Option<&'a [u8]>,
    /// The status and the reason phrase, if the host kept them as `:status`.
    pub status_line: Option<&'a [u8]>,
}

/// An entity tag as it is sent, quotes and `W/` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityTag<'a> {
    /// The origin's.
    Own(&'a [u8]),
    /// Made of the body's hash, weak.
    Synthesised([u8; etag::HASH_LEN]),
}

impl EntityTag<'_> {
    /// The bytes of the field value.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            EntityTag::Own(bytes) => bytes,
            EntityTag::Synthesised(bytes) => bytes,
        }
    }
}

impl Stored {
    /// Reads the head; gives the object back if its meta is none of ours.
    #[inline]
    pub(crate) fn new(object: Object, policy: &Policy) -> Result<Stored, Object> {
        match head_of(&object) {
            None => Err(object),
            Some(head) => Ok(Stored {
                object,
                head,
                edge: policy.edge_revalidation,
            }),
        }
    }

    /// Another object with the same use, such as the renewed one.
    pub(crate) fn with_object(&self, object: Object) -> Option<Stored> {
        let head = head_of(&object)?;
        Some(Stored {
            object,
            head,
            edge: self.edge,
        })
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The field lines to deliver, in the origin's order, duplicates kept: with `Content-Type`, the origin's own `ETag` and
    /// `Last-Modified`; without `Date` ([`Stored::date`]), `Age` (`Serve::age`), `Content-Length`
    /// ([`Stored::content_length`]), tags, and the synthesised validators ([`Stored::synthesised`]).
    pub fn visible(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let of_head = self.head.flags.has(Flags::OF_HEAD);
        let lines = self.head.lines(self.object.meta());
        for line in lines.filter(|line| line.uses.has(LineUse::SHOWN)) {
            if !(of_head && is(line.name, "content-length")) {
                each(line.name, line.value);
            }
        }
    }

    /// The origin's own fields, as far as the host kept them ([`super::Response::kept`]): also those that it hides from clients or
    /// rewrites. Without what [`Stored::visible`] lacks for all clients: `Date`, `Age`, `Content-Length`, `Set-Cookie`.
    pub fn origin_fields(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let lines = self.head.lines(self.object.meta());
        for line in lines.filter(|line| line.uses.has(LineUse::KEPT)) {
            if !is(line.name, STATUS_LINE) {
                each(line.name, line.value);
            }
        }
    }

    /// What the origin told its host about the delivery to clients; nothing, at once, if it told nothing.
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

    /// Those of [`Stored::visible`] that a 304 carries (RFC 9110 §15.4.5): what describes the body alone stays out.
    pub(crate) fn fields_of_304(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.visible(&mut |name, value| {
            if !describes_body(name) {
                each(name, value);
            }
        });
    }

    /// The cache groups that the response belongs to (RFC 9875 §2).
    pub fn groups(&self) -> Vec<String> {
        let lines = LinesFor {
            lines: self.head.lines(self.object.meta()),
            uses: LineUse::TAGS,
        };
        cache_groups::parse(&lines, cache_groups::GROUPS)
    }

    /// Whether the origin forbids to change the body on its way (`no-transform`, RFC 9111 §5.2.2.6).
    pub fn no_transform(&self) -> bool {
        self.head.flags.has(Flags::NO_TRANSFORM)
    }

    /// The origin's `Date`, or when the response came if it had none (RFC 9110 §6.6.1). Unix time in ms.
    pub fn date(&self) -> Millis {
        self.head.date
    }

    /// The `Last-Modified` to send: the origin's, or a synthesised one (Smart Edge Revalidation), which is the [`Stored::date`]: a
    /// browser that takes a tenth of the time between the two for a lifetime (RFC 9111 §4.2.2) gets none that the origin did
    /// not give. Unix time in ms, whole seconds.
    pub fn last_modified(&self) -> Option<Millis> {
        match self.synthesised() {
            true => Some(self.head.date - self.head.date % SECOND),
            false => self.head.last_modified,
        }
    }

    /// What `If-Modified-Since` is compared with: the origin's `Last-Modified`, or since when these bytes are known: who has got them
    /// with any `Date` since then has the same.
    pub(crate) fn modified(&self) -> Option<Millis> {
        match self.synthesised() {
            true => Some(self.since()),
            false => self.head.last_modified,
        }
    }

    /// The origin's `ETag`; or the synthesised weak one, once the body is complete.
    pub fn etag(&self) -> Option<EntityTag<'_>> {
        if !self.synthesised() {
            return self.head.etag(self.object.meta()).map(EntityTag::Own);
        }
        match self.word(attributes::HASH) {
            0 => None,
            hash => Some(EntityTag::Synthesised(etag::of_hash(hash))),
        }
    }

    /// Whether the validators are the cache's own: the origin sent neither.
    pub fn synthesised(&self) -> bool {
        self.edge && self.head.lacks_validators() && !self.head.flags.has(Flags::OF_HEAD)
    }

    /// Whether the host completes a relative `Location` (see [`Response`](super::Response)).
    pub fn own_redirect(&self) -> bool {
        self.head.flags.has(Flags::OWN_REDIRECT)
    }

    /// The `Content-Length` to send, once it is known: the length of the body, or what the response to a `HEAD` announced.
    pub fn content_length(&self) -> Option<u64> {
        if !self.head.flags.has(Flags::OF_HEAD) {
            return self.object.body().total;
        }
        let lines = LinesFor {
            lines: self.head.lines(self.object.meta()),
            uses: LineUse::SHOWN,
        };
        first(&lines, "content-length", digits)
    }

    /// The object: its body is read from here.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The `Age` at `now`, in seconds (RFC 9111 §4.2.3).
    pub fn age(&self, now: Millis) -> u64 {
        self.age_millis(now) / SECOND
    }

    /// How its refresh fails; nothing if it does not.
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

    /// Seconds of freshness left at `now`, negative when stale. Rounded down, so that 0 and less is stale.
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

    /// The words of its renewal: bytes and hash stay, and since when they are known; the pause is over.
    pub(crate) fn renewed_words(&self) -> [u64; ATTRIBUTES] {
        let mut words = [0; ATTRIBUTES];
        for index in [attributes::ACCESS, attributes::HASH, attributes::SINCE] {
            words[index] = self.word(index);
        }
        words
    }

    /// Since when these bytes are known, in whole seconds.
    pub(crate) fn since(&self) -> Millis {
        let since = self.word(attributes::SINCE);
        since - since % SECOND
    }
}

/// The head of an object. Freshness ends when a soft purge says so, and the windows are counted from there.
#[inline]
fn head_of(object: &Object) -> Option<Head> {
    let mut head = Head::decode(object.meta())?;
    match object.aged() {
        0 => {}
        aged => head.fresh_until = head.fresh_until.min(aged),
    }
    Some(head)
}

/// `Content-Type`, `Content-Encoding`, `Content-Language`, `Content-Range` and `Accept-Ranges` say nothing in a 304.
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
