//! What a host is told to do with a request: [`Decision`] and its parts.

use crate::engine::fetch::Fetch;
use crate::engine::record::stored::Stored;
use crate::engine::verdict::{Passed, Reason, Status};
use crate::http::ByteRange;
use crate::http::fields::is;
use crate::store::Millis;

/// The verdict on a request. A host carries it out and decides nothing itself.
#[derive(Debug)]
pub enum Decision {
    /// Answer from the store, now. If there is a refresh, carry it out beside.
    Serve(Serve),
    /// Park the request; ask again with `Turn::Waited` when rung, with `Turn::TimedOut` at `until`.
    Wait(Wait),
    /// Carry this fetch out; the client leads it, and waits for what comes of it. Boxed: most verdicts are none.
    Fetch(Box<Fetch>),
    /// Send the request through the content handler, untouched; nothing is stored.
    Pass(Pass),
    /// Answer 504: the client wanted `only-if-cached` (RFC 9111 §5.2.1.7).
    GatewayTimeout(Reason),
}

/// A stored response to deliver.
#[derive(Debug)]
pub struct Serve {
    /// What to deliver; pinned while this lives.
    pub object: Stored,
    /// For `$swr_cache_status`.
    pub status: Status,
    /// For `$swr_cache_reason`.
    pub reason: Reason,
    /// In which form: the client's conditionals and ranges are evaluated already.
    pub answer: Answer,
    /// The `Age` to send, in seconds.
    pub age: u64,
    /// Seconds of freshness left, negative when stale.
    pub ttl: i64,
    /// The request shared the fetch of another.
    pub collapsed: bool,
    /// The refresh of the entry, to be carried out in the background. Boxed: most deliveries have none, and all are moved.
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

    /// The field lines to send with this form of answer: [`Stored::visible`], or those of them that a 304 carries. A part has a
    /// `Content-Range` of its own, and one that a whole response had meant nothing (RFC 9110 §14.4).
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

/// The form of an answer from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stored status with the whole body (no body for `HEAD`).
    Full,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 206 with these ranges, `multipart/byteranges` if more than one; each lies inside the body.
    Partial(Vec<ByteRange>),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// A request that another one's fetch will serve. The process is registered to be rung already.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// When to stop waiting (Unix time in ms).
    pub until: Millis,
    /// Why it waits.
    pub reason: Reason,
}

/// A request that the cache takes no part in.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// For `$swr_cache_status`; `None` is empty.
    pub status: Option<Status>,
    /// Why.
    pub reason: Passed,
}
