//! What a host has to do with a request: [`Decision`] and its parts.

use crate::engine::fetch::Fetch;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::{Passed, Reason, Status};
use crate::http::ByteRange;
use crate::http::fields::is;
use crate::store::Millis;

/// The decision on a request. A host carries it out and decides nothing itself.
#[derive(Debug)]
pub enum Decision {
    /// Answer from the store, now. If it comes with a refresh, run that in the background.
    Serve(Serve),
    /// Park the request. Ask again with `Turn::Waited` when it is woken, or with `Turn::TimedOut` at `until`.
    Wait(Wait),
    /// Run this fetch; the client leads it and waits for its result. Boxed, since most decisions are others.
    Fetch(Box<Fetch>),
    /// Pass the request to the content handler, untouched; nothing is stored.
    Pass(Pass),
    /// Answer 504: the request has `only-if-cached` (RFC 9111 §5.2.1.7).
    GatewayTimeout(Reason),
}

/// A stored response to deliver.
#[derive(Debug)]
pub struct Serve {
    /// The response to deliver; it is pinned as long as this value lives.
    pub object: Stored,
    /// The value of `$swr_cache_status`.
    pub status: Status,
    /// The value of `$swr_cache_reason`.
    pub reason: Reason,
    /// The form of the answer; the client's preconditions and ranges have been evaluated.
    pub answer: Answer,
    /// The value of `Age` in seconds.
    pub age: u64,
    /// The remaining freshness lifetime in seconds, negative when stale.
    pub ttl: i64,
    /// Whether the request shared the fetch of another one.
    pub collapsed: bool,
    /// The entry is to be refreshed, and [`Request::may_refresh`](crate::engine::Request) left it to a later request.
    pub deferred: bool,
    /// The refresh of the entry, to be run in the background. Boxed, since most answers have none and all of them are
    /// moved.
    pub refresh: Option<Box<Fetch>>,
}

impl Serve {
    /// The status to send.
    pub fn status_code(&self) -> u16 {
        match &self.answer {
            Answer::Full => self.object.status(),
            Answer::Partial(_) => 206,
            Answer::NotModified => 304,
            Answer::PreconditionFailed => 412,
            Answer::Unsatisfiable => 416,
        }
    }

    /// Calls `each` with the field lines for this form of answer: [`Stored::visible`], or for a 304 those that it may
    /// carry. A partial response has its own `Content-Range`; a stored `Content-Range` is left out, as it has no
    /// meaning on a complete response (RFC 9110 §14.4).
    pub fn fields(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        match self.answer {
            Answer::NotModified => self.object.fields_of_304(each),
            Answer::Partial(_) | Answer::Unsatisfiable => {
                self.object.visible(&mut |name, value| {
                    if !is(name, "content-range") {
                        each(name, value);
                    }
                })
            }
            Answer::Full | Answer::PreconditionFailed => self.object.visible(each),
        }
    }
}

/// The form in which a stored response is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stored status with the whole body (without a body for `HEAD`).
    Full,
    /// 304 (Not Modified).
    NotModified,
    /// 412 (Precondition Failed).
    PreconditionFailed,
    /// 206 with these ranges, as `multipart/byteranges` if there are several; each lies within the body.
    Partial(Vec<ByteRange>),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// A request that waits for the fetch of another one. Its process is already registered to be woken.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// The time at which to stop waiting (Unix time in ms).
    pub until: Millis,
    /// Why it waits.
    pub reason: Reason,
}

/// A request that the cache does not handle.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The value of `$swr_cache_status`; `None` for an empty one.
    pub status: Option<Status>,
    /// Why the cache does not handle it.
    pub reason: Passed,
}
