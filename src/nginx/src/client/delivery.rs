//! Sends a stored response to a client.

use nginx_sys::{NGX_ERROR, NGX_HTTP_PRECONDITION_FAILED, NGX_OK, ngx_int_t};
use swrcache::engine::{Answer, Serve};
use swrcache::store::Completeness;

use crate::client::body::Reader;
use crate::client::facts::Facts;
use crate::client::header;
use crate::config::location::LocConf;
use crate::fetch::relay::end_of_cut;
use crate::sys::request::{Req, is_ok};

/// How far [`start`] got.
pub(crate) enum Started {
    /// The answer has been passed to nginx, which sends the rest by itself; with nginx's return code.
    Done(ngx_int_t),
    /// The body is still growing.
    Reading(Reader),
}

/// Answers the request as `serve` says; `serve` must stay where it is until the pool of the request is destroyed.
pub(crate) fn start(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> Started {
    let rc = r.discard_body();
    if !is_ok(rc) && r.is_main() {
        return Started::Done(rc);
    }
    match serve.answer {
        Answer::PreconditionFailed => Started::Done(NGX_HTTP_PRECONDITION_FAILED as ngx_int_t),
        Answer::NotModified => Started::Done(header::send_not_modified(r, conf, serve, facts)),
        Answer::Full | Answer::Partial(_) | Answer::Unsatisfiable => whole(r, conf, serve, facts),
    }
}

fn whole(r: Req, conf: &LocConf, serve: &Serve, facts: &Facts) -> Started {
    r.set_action(c"sending a cached response");
    // Read before the header is made: a body that is complete then has its length in the header.
    let body = serve.object.served().body();
    let rc = header::send_stored(r, conf, serve, facts);
    if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t || r.raw().header_only() != 0 {
        return Started::Done(rc);
    }
    let end = match &serve.answer {
        Answer::Partial(ranges) => end_of_cut(r, ranges),
        Answer::Full | Answer::NotModified | Answer::PreconditionFailed | Answer::Unsatisfiable => {
            None
        }
    };
    let mut reader = Reader::up_to(end);
    if body.completeness == Completeness::Complete {
        let done = reader.send_whole(r, &serve.object, body.len);
        return Started::Done(done.unwrap_or(NGX_ERROR as ngx_int_t));
    }
    Started::Reading(reader)
}
