//! Sends an answer from the store to a client, for hosts without a server's own ranges and headers: its field
//! lines, and its body piece by piece.

use super::decision::{Answer, Serve};
use crate::engine::policy::Method;
use crate::http::{ByteRange, date};
use crate::store::{Completeness, Cursor};

/// Receives the field lines of an answer, in order.
pub trait HeadLines {
    /// A line in the store, valid as long as the [`Serve`] lives.
    fn stored(&mut self, name: &[u8], value: &[u8]);
    /// A line made for this answer.
    fn made(&mut self, name: &'static str, value: Vec<u8>);
}

/// Skips lines that a header can't contain; the cache stores none.
impl HeadLines for ::http::HeaderMap {
    fn stored(&mut self, name: &[u8], value: &[u8]) {
        let name = ::http::HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, ::http::HeaderValue::from_bytes(value)) {
            self.append(name, value);
        }
    }

    fn made(&mut self, name: &'static str, value: Vec<u8>) {
        self.stored(name.as_bytes(), &value);
    }
}

/// A piece of a body.
#[derive(Debug)]
enum ReplyPiece {
    /// Text between the parts of a multipart body.
    Text(Box<[u8]>),
    /// Stored bytes up to this offset, or to the end of the body.
    Stored(Cursor, Option<u64>),
}

/// The part of an answer's body that has not been read yet.
#[derive(Debug, Default)]
pub struct ReplyBody {
    pieces: Vec<ReplyPiece>,
    at: usize,
    length: Option<u64>,
    boundary: Option<String>,
}

/// The result of reading from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOn<'a> {
    /// The next bytes, in the store.
    Bytes(&'a [u8]),
    /// There are none yet; this process will be woken.
    Later,
    /// The body has been read completely.
    End,
    /// The body broke off.
    Broken,
}

fn range(range: &ByteRange) -> ReplyPiece {
    ReplyPiece::Stored(Cursor::at(range.first), Some(range.last + 1))
}

impl ReplyBody {
    /// Makes the body of `serve` for a request with this method.
    pub fn new(serve: &Serve, method: Method) -> ReplyBody {
        let total = serve.object.content_length();
        let mut body = ReplyBody::default();
        match &serve.answer {
            Answer::Full => {
                body.length = total;
                body.pieces
                    .push(ReplyPiece::Stored(Cursor::default(), None));
            }
            Answer::Partial(ranges) if ranges.len() == 1 => {
                body.length = ranges.first().map(ByteRange::size);
                body.pieces.extend(ranges.iter().map(range));
            }
            Answer::Partial(ranges) => body.multipart(serve, ranges, total.unwrap_or(0)),
            Answer::NotModified => {}
            Answer::PreconditionFailed | Answer::Unsatisfiable => body.length = Some(0),
        }
        if method == Method::Head {
            body.pieces.clear();
        }
        body
    }

    /// RFC 9110 §14.6.
    fn multipart(&mut self, serve: &Serve, ranges: &[ByteRange], total: u64) {
        // The body is not searched for the boundary: it would have to be crafted to contain it.
        let boundary = format!("swrcache-{:016x}-{:x}", serve.object.served().id(), total);
        let mut media_type = Vec::new();
        serve.object.visible(&mut |name, value| {
            if name.eq_ignore_ascii_case(b"content-type") {
                media_type = value.to_vec();
            }
        });
        let mut length = 0u64;
        for (nth, part) in ranges.iter().enumerate() {
            let mut text = Vec::new();
            let before = if nth == 0 { "--" } else { "\r\n--" };
            text.extend_from_slice(before.as_bytes());
            text.extend_from_slice(boundary.as_bytes());
            if !media_type.is_empty() {
                text.extend_from_slice(b"\r\nContent-Type: ");
                text.extend_from_slice(&media_type);
            }
            let range_line = format!(
                "\r\nContent-Range: bytes {}-{}/{total}\r\n\r\n",
                part.first, part.last
            );
            text.extend_from_slice(range_line.as_bytes());
            length = length.saturating_add(text.len() as u64 + part.size());
            self.pieces.push(ReplyPiece::Text(text.into()));
            self.pieces.push(range(part));
        }
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        self.length = Some(length.saturating_add(end.len() as u64));
        self.pieces.push(ReplyPiece::Text(end.into()));
        self.boundary = Some(boundary);
    }

    /// The value of `Content-Length`, if it is known yet; also for a `HEAD`, whose answer has no body.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The total number of bytes to be read, if it is known yet.
    pub fn readable(&self) -> Option<u64> {
        match self.pieces.is_empty() {
            true => Some(0),
            false => self.length,
        }
    }

    /// The next bytes of the body of `serve`, for which this was made.
    pub fn read_on<'a>(&'a mut self, serve: &'a Serve) -> ReadOn<'a> {
        let is_over = |piece: &ReplyPiece| matches!(piece, ReplyPiece::Stored(cursor, Some(end)) if cursor.pos() >= *end);
        while self.pieces.get(self.at).is_some_and(is_over) {
            self.at += 1;
        }
        match self.pieces.get_mut(self.at) {
            None => ReadOn::End,
            Some(ReplyPiece::Text(text)) => {
                self.at += 1;
                ReadOn::Bytes(text)
            }
            Some(ReplyPiece::Stored(cursor, end)) => stored(cursor, *end, serve),
        }
    }

    /// All field lines to send before the body of `serve`, for which this was made: with `Date`, `Age`, the
    /// validators, and `Content-Length` if it is known.
    pub fn head(&self, serve: &Serve, lines: &mut dyn HeadLines) {
        lines.made("Date", date::format(serve.object.date()).into());
        if !matches!(serve.answer, Answer::PreconditionFailed) {
            lines.made("Age", serve.age.to_string().into());
            self.stored_lines(serve, lines);
        }
        self.describe(serve, lines);
    }

    fn stored_lines(&self, serve: &Serve, lines: &mut dyn HeadLines) {
        let multipart = self.boundary.is_some();
        match &serve.answer {
            // The text of an error is not the stored body.
            Answer::Unsatisfiable => {}
            _ => serve.fields(&mut |name, value| {
                if !(multipart && name.eq_ignore_ascii_case(b"content-type")) {
                    lines.stored(name, value);
                }
            }),
        }
        if serve.object.synthesised() {
            if let Some(at) = serve.object.last_modified() {
                lines.made("Last-Modified", date::format(at).into());
            }
            if let Some(etag) = serve.object.etag() {
                lines.made("ETag", etag.as_bytes().into());
            }
        }
    }

    fn describe(&self, serve: &Serve, lines: &mut dyn HeadLines) {
        let total = serve.object.content_length().unwrap_or(0);
        match (&serve.answer, &self.boundary) {
            (Answer::Partial(_), Some(boundary)) => {
                let kind = format!("multipart/byteranges; boundary={boundary}");
                lines.made("Content-Type", kind.into());
            }
            (Answer::Partial(ranges), None) => {
                if let Some(r) = ranges.first() {
                    let range = format!("bytes {}-{}/{total}", r.first, r.last);
                    lines.made("Content-Range", range.into());
                }
            }
            (Answer::Unsatisfiable, _) => {
                lines.made("Content-Range", format!("bytes */{total}").into());
            }
            _ => {}
        }
        if let Some(length) = self.length {
            lines.made("Content-Length", length.to_string().into());
        }
    }
}

/// The next stored bytes, up to `end`, which has not been reached yet.
fn stored<'a>(cursor: &mut Cursor, end: Option<u64>, serve: &'a Serve) -> ReadOn<'a> {
    let object = serve.object.served();
    let left = end.map_or(u64::MAX, |end| end.saturating_sub(cursor.pos()));
    let max = usize::try_from(left).unwrap_or(usize::MAX);
    let mut bytes = object.read(cursor, max);
    if bytes.is_empty() && object.body().completeness == Completeness::Growing {
        // After registering to be woken, check once more.
        object.watch();
        bytes = object.read(cursor, max);
    }
    if !bytes.is_empty() {
        return ReadOn::Bytes(bytes);
    }
    let body = object.body();
    match body.completeness {
        _ if cursor.pos() < body.len => {
            // It was published between reading the bytes and reading the state of the body.
            match object.read(cursor, max) {
                [] => ReadOn::Broken,
                bytes => ReadOn::Bytes(bytes),
            }
        }
        Completeness::Growing => ReadOn::Later,
        Completeness::Complete if end.is_none() => ReadOn::End,
        Completeness::Complete | Completeness::Broken => ReadOn::Broken,
    }
}
