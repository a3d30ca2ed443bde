//! The meta record of a stored response: how the engine encodes its data for the store, to which it is opaque bytes.
//!
//! The record begins with a fixed head, so that a hit needs no parsing; the `ETag`, the request fields that `Vary`
//! names, and the field lines follow. All integers are little-endian. The bytes come from shared memory and possibly
//! from a file, so decoding checks every bound and never panics; a record that does not decode is treated as damaged.
//!
//! ```text
//! head (HEAD bytes) | etag | nominated: name, as sent, as matched ... | lines: flags, name, value ...
//! ```

pub(crate) mod attributes;
pub(crate) mod compose;
pub(crate) mod stored;
pub(crate) mod variant;

use crate::http::Fields;
use crate::store::Millis;

/// The version of this layout; records of other versions are not decoded.
const VERSION: u8 = 1;
/// The length of the fixed head in bytes.
const HEAD: usize = 88;
/// The encoding of an absent time.
const NO_TIME: u64 = u64::MAX;
/// The encoding of an absent window, which is in seconds.
const NO_WINDOW: u32 = u32::MAX;
/// The maximum length of a record in bytes. A response with a longer header is not stored; the limit is far above what
/// servers send.
pub(crate) const MAX_RECORD: usize = 128 * 1024;

/// A set of properties of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    /// An explicit `must-revalidate` or `proxy-revalidate`.
    pub(crate) const MUST_REVALIDATE: Flags = Flags(1);
    /// An unqualified `no-cache`.
    pub(crate) const NO_CACHE: Flags = Flags(1 << 1);
    /// `s-maxage`, which implies `proxy-revalidate` unless the origin states a stale window too (RFC 9111 §5.2.2.10).
    pub(crate) const S_MAXAGE: Flags = Flags(1 << 2);
    /// May answer requests with `Authorization` (RFC 9111 §3.5).
    pub(crate) const FOR_AUTHORISED: Flags = Flags(1 << 3);
    /// Answered a request with `Authorization`.
    pub(crate) const BY_AUTHORISED: Flags = Flags(1 << 4);
    /// `immutable` (RFC 8246).
    pub(crate) const IMMUTABLE: Flags = Flags(1 << 5);
    /// `no-transform` (RFC 9111 §5.2.2.6).
    pub(crate) const NO_TRANSFORM: Flags = Flags(1 << 6);
    /// The host completes a relative `Location` with its own scheme and authority.
    pub(crate) const OWN_REDIRECT: Flags = Flags(1 << 7);
    /// Answered a `HEAD` that was not converted to `GET`: it has no body, and states the length that the body of a
    /// `GET` would have.
    pub(crate) const OF_HEAD: Flags = Flags(1 << 8);
    /// Some of the kept lines tell the host how to deliver the response.
    pub(crate) const TELLS_HOST: Flags = Flags(1 << 9);

    pub(crate) const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub(crate) const fn when(self, condition: bool) -> Flags {
        if condition { self } else { Flags(0) }
    }

    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The fixed head: everything that a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    /// The time at which the response was received or last validated.
    pub(crate) stored_at: Millis,
    /// The origin's `Date`, or `stored_at` without one.
    pub(crate) date: Millis,
    /// The end of freshness: `stored_at` + lifetime - initial age.
    pub(crate) fresh_until: Millis,
    /// The corrected initial age (RFC 9111 §4.2.3).
    pub(crate) initial_age: Millis,
    pub(crate) lifetime: Millis,
    /// The `Last-Modified` that the origin sent.
    pub(crate) last_modified: Option<Millis>,
    /// The origin's stale-while-revalidate window in seconds.
    pub(crate) swr: Option<u32>,
    /// The origin's stale-if-error window in seconds.
    pub(crate) sie: Option<u32>,
    etag: Span,
    nominated: Span,
    lines: Span,
}

/// A section of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Span {
    at: u32,
    len: u32,
}

impl Span {
    fn of(self, record: &[u8]) -> &[u8] {
        let at = self.at as usize;
        at.checked_add(self.len as usize)
            .and_then(|end| record.get(at..end))
            .unwrap_or_default()
    }
}

impl RecordHead {
    /// Decodes the head of `record`; `None` if it is damaged or of another version.
    #[inline]
    pub(crate) fn decode(record: &[u8]) -> Option<RecordHead> {
        let head: &[u8; HEAD] = record.first_chunk()?;
        if head[0] != VERSION {
            return None;
        }
        let [etag, nominated, lines] = [span_at(head, 64), span_at(head, 72), span_at(head, 80)];
        let fits = |span: Span| u64::from(span.at) + u64::from(span.len) <= record.len() as u64;
        if !(fits(etag) && fits(nominated) && fits(lines)) {
            return None;
        }
        Some(RecordHead {
            status: u16::from_le_bytes([head[2], head[3]]),
            flags: Flags(u32_at(head, 4)),
            stored_at: u64_at(head, 8),
            date: u64_at(head, 16),
            fresh_until: u64_at(head, 24),
            initial_age: u64_at(head, 32),
            lifetime: u64_at(head, 40),
            last_modified: Some(u64_at(head, 48)).filter(|time| *time != NO_TIME),
            swr: Some(u32_at(head, 56)).filter(|window| *window != NO_WINDOW),
            sie: Some(u32_at(head, 60)).filter(|window| *window != NO_WINDOW),
            etag,
            nominated,
            lines,
        })
    }

    fn encode(&self, out: &mut [u8]) {
        out[0] = VERSION;
        out[2..4].copy_from_slice(&self.status.to_le_bytes());
        out[4..8].copy_from_slice(&self.flags.0.to_le_bytes());
        let times = [
            self.stored_at,
            self.date,
            self.fresh_until,
            self.initial_age,
            self.lifetime,
            self.last_modified.unwrap_or(NO_TIME),
        ];
        for (slot, time) in out[8..56].chunks_exact_mut(8).zip(times) {
            slot.copy_from_slice(&time.to_le_bytes());
        }
        let words = [
            self.swr.unwrap_or(NO_WINDOW),
            self.sie.unwrap_or(NO_WINDOW),
            self.etag.at,
            self.etag.len,
            self.nominated.at,
            self.nominated.len,
            self.lines.at,
            self.lines.len,
        ];
        for (slot, word) in out[56..HEAD].chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// The `ETag` that the origin sent, as a field value.
    pub(crate) fn etag<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        Some(self.etag.of(record)).filter(|etag| !etag.is_empty())
    }

    /// Whether the origin sent no validator.
    pub(crate) fn lacks_validators(&self) -> bool {
        self.etag.len == 0 && self.last_modified.is_none()
    }

    /// Whether the response has a `Vary` to match.
    pub(crate) fn varies(&self) -> bool {
        self.nominated.len != 0
    }

    /// Iterates over the request fields that `Vary` names.
    pub(crate) fn nominated<'a>(&self, record: &'a [u8]) -> NominatedIter<'a> {
        NominatedIter(self.nominated.of(record))
    }

    /// Iterates over the field lines.
    pub(crate) fn lines<'a>(&self, record: &'a [u8]) -> LineIter<'a> {
        LineIter(self.lines.of(record))
    }
}

// Each of these is a single load if `at` is a constant, as it is where they are inlined.

#[inline(always)]
fn bytes_at<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    let found = head.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or([0; N])
}

#[inline(always)]
fn u32_at(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(head, at))
}

#[inline(always)]
fn u64_at(head: &[u8; HEAD], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(head, at))
}

#[inline(always)]
fn span_at(head: &[u8; HEAD], at: usize) -> Span {
    Span {
        at: u32_at(head, at),
        len: u32_at(head, at + 4),
    }
}

/// The uses of a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct LineUse(pub(crate) u8);

impl LineUse {
    /// Clients get it.
    pub(crate) const SHOWN: LineUse = LineUse(1);
    /// Needed when the response is freshened: freshness, validators, `Vary`.
    pub(crate) const JUDGED: LineUse = LineUse(2);
    /// It holds tags.
    pub(crate) const TAGS: LineUse = LineUse(4);
    /// The origin's own line, which the host wants to read later.
    pub(crate) const KEPT: LineUse = LineUse(8);

    pub(crate) const fn with(self, other: LineUse) -> LineUse {
        LineUse(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: LineUse) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A field line of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldLine<'a> {
    pub(crate) uses: LineUse,
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Iterates over field lines; ends at the first one that is damaged.
#[derive(Clone)]
pub(crate) struct LineIter<'a>(&'a [u8]);

impl<'a> Iterator for LineIter<'a> {
    type Item = FieldLine<'a>;

    fn next(&mut self) -> Option<FieldLine<'a>> {
        let (uses, rest) = self.0.split_first()?;
        let (name, rest) = take(rest)?;
        let (value, rest) = take(rest)?;
        self.0 = rest;
        Some(FieldLine {
            uses: LineUse(*uses),
            name,
            value,
        })
    }
}

/// A request field that `Vary` names, with its value as it was sent and as it is compared. `None` means absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NominatedField<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) sent: Option<&'a [u8]>,
    pub(crate) matched: &'a [u8],
}

/// Iterates over nominated fields; ends at the first one that is damaged.
#[derive(Clone)]
pub(crate) struct NominatedIter<'a>(&'a [u8]);

impl<'a> Iterator for NominatedIter<'a> {
    type Item = NominatedField<'a>;

    fn next(&mut self) -> Option<NominatedField<'a>> {
        let (present, rest) = self.0.split_first()?;
        let (name, rest) = take(rest)?;
        let (sent, rest) = take(rest)?;
        let (matched, rest) = take(rest)?;
        self.0 = rest;
        Some(NominatedField {
            name,
            sent: (*present != 0).then_some(sent),
            matched,
        })
    }
}

/// Splits off a string that is preceded by its length.
fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

fn put(out: &mut Vec<u8>, string: &[u8]) {
    // A length beyond u32 can't occur: `finish` rejects records over MAX_RECORD.
    out.extend_from_slice(&(string.len() as u32).to_le_bytes());
    out.extend_from_slice(string);
}

/// The field lines of a record for one use, as a list of fields.
pub(crate) struct LinesFor<'a> {
    pub(crate) lines: LineIter<'a>,
    pub(crate) uses: LineUse,
}

impl Fields for LinesFor<'_> {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for line in self.lines.clone().filter(|line| line.uses.has(self.uses)) {
            f(line.name, line.value);
        }
    }
}

/// The data for the head of a new record; [`Writer`] computes the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadFacts {
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    pub(crate) stored_at: Millis,
    pub(crate) date: Millis,
    pub(crate) initial_age: Millis,
    pub(crate) lifetime: Millis,
    pub(crate) last_modified: Option<Millis>,
    pub(crate) swr: Option<u32>,
    pub(crate) sie: Option<u32>,
}

/// Writes a record: the `ETag`, then the nominated fields, then the lines.
pub(crate) struct Writer {
    out: Vec<u8>,
    etag: Span,
    nominated: usize,
}

impl Writer {
    /// Begins a record with the origin's `ETag`, empty for none.
    pub(crate) fn new(etag: &[u8]) -> Writer {
        let mut out = Vec::with_capacity(1024);
        out.resize(HEAD, 0);
        out.extend_from_slice(etag);
        Writer {
            etag: span(HEAD, out.len()),
            nominated: out.len(),
            out,
        }
    }

    /// Adds a field that `Vary` names.
    pub(crate) fn nominated(&mut self, name: &[u8], sent: Option<&[u8]>, matched: &[u8]) {
        self.out.push(u8::from(sent.is_some()));
        put(&mut self.out, name);
        put(&mut self.out, sent.unwrap_or_default());
        put(&mut self.out, matched);
    }

    /// Ends the nominated fields, and begins the field lines.
    pub(crate) fn lines(self) -> LineWriter {
        LineWriter {
            lines: self.out.len(),
            writer: self,
        }
    }
}

/// Writes the field lines of a record, the second part of [`Writer`].
pub(crate) struct LineWriter {
    writer: Writer,
    lines: usize,
}

impl LineWriter {
    /// Adds a field line.
    pub(crate) fn line(&mut self, uses: LineUse, name: &[u8], value: &[u8]) {
        let out = &mut self.writer.out;
        if out.len() <= MAX_RECORD {
            out.push(uses.0);
            put(out, name);
            put(out, value);
        }
    }

    /// Returns the record, or `None` if it is longer than [`MAX_RECORD`].
    pub(crate) fn finish(self, facts: &HeadFacts) -> Option<Vec<u8>> {
        let mut out = self.writer.out;
        if out.len() > MAX_RECORD {
            return None;
        }
        let head = RecordHead {
            status: facts.status,
            flags: facts.flags,
            stored_at: facts.stored_at,
            date: facts.date,
            fresh_until: facts
                .stored_at
                .saturating_add(facts.lifetime)
                .saturating_sub(facts.initial_age),
            initial_age: facts.initial_age,
            lifetime: facts.lifetime,
            last_modified: facts.last_modified,
            swr: facts.swr,
            sie: facts.sie,
            etag: self.writer.etag,
            nominated: span(self.writer.nominated, self.lines),
            lines: span(self.lines, out.len()),
        };
        head.encode(&mut out[..HEAD]);
        Some(out)
    }
}

fn span(from: usize, to: usize) -> Span {
    Span {
        at: from as u32,
        len: (to - from) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fuzzing::read_record;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(b"\"v1\"");
        writer.nominated(b"accept-encoding", Some(b"br, gzip"), b"br,gzip");
        writer.nominated(b"x-absent", None, b"");
        let mut lines = writer.lines();
        lines.line(LineUse::SHOWN, b"Content-Type", b"text/html");
        lines.line(LineUse::JUDGED, b"Cache-Control", b"max-age=60");
        lines
            .finish(&HeadFacts {
                status: 200,
                flags: Flags::IMMUTABLE,
                stored_at: 100_000,
                date: 99_000,
                initial_age: 1_000,
                lifetime: 60_000,
                last_modified: Some(5_000),
                swr: Some(300),
                sie: None,
            })
            .unwrap()
    }

    #[test]
    fn a_record_reads_back_as_written() {
        let record = sample();
        let head = RecordHead::decode(&record).unwrap();
        assert_eq!((head.status, head.flags), (200, Flags::IMMUTABLE));
        assert_eq!((head.stored_at, head.date), (100_000, 99_000));
        assert_eq!(head.fresh_until, 159_000);
        assert_eq!(head.last_modified, Some(5_000));
        assert_eq!((head.swr, head.sie), (Some(300), None));
        assert_eq!(head.etag(&record), Some(&b"\"v1\""[..]));
        let nominated: Vec<_> = head.nominated(&record).collect();
        assert_eq!(nominated.len(), 2);
        assert_eq!(nominated[0].matched, b"br,gzip");
        assert_eq!(nominated[1].sent, None);
        let names: Vec<_> = head.lines(&record).map(|line| line.name).collect();
        assert_eq!(names, [&b"Content-Type"[..], b"Cache-Control"]);
    }

    #[test]
    fn each_flag_has_a_bit_of_its_own() {
        let flags = [
            Flags::MUST_REVALIDATE,
            Flags::NO_CACHE,
            Flags::S_MAXAGE,
            Flags::FOR_AUTHORISED,
            Flags::BY_AUTHORISED,
            Flags::IMMUTABLE,
            Flags::NO_TRANSFORM,
            Flags::OWN_REDIRECT,
            Flags::OF_HEAD,
            Flags::TELLS_HOST,
        ];
        let all = flags
            .iter()
            .fold(Flags::default(), |all, flag| all.with(*flag));
        assert_eq!(all.0.count_ones() as usize, flags.len());
    }

    #[test]
    fn no_cut_or_flip_panics() {
        let record = sample();
        for cut in 0..record.len() {
            read_record(&record[..cut]);
        }
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut flipped = record.clone();
                flipped[at] ^= 1 << bit;
                read_record(&flipped);
            }
        }
    }

    #[test]
    fn an_oversize_record_is_refused() {
        let mut lines = Writer::new(b"").lines();
        lines.line(LineUse::SHOWN, b"X", &vec![b'x'; MAX_RECORD]);
        assert!(lines.finish(&HeadFacts::default()).is_none());
    }
}
