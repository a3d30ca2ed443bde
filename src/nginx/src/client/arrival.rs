//! How a request has come to its location: by its target, by a redirect inside nginx, or by an error.
//!
//! The target that a client sent does not determine the response: `try_files`, an index, `rewrite`, a named location or an origin's
//! `X-Accel-Redirect` lead the same target to different places. The place is then a branch of the key, so that a response from there is
//! never given to a request that was not led there.
//!
//! | where the target as sent is read from | whose it is |
//! |---|---|
//! | `$request_uri` | a client's request, whose target nginx took over as it stood |
//! | the note that [`note`] left | a client's request whose target nginx had to decode; a subrequest |

use nginx_sys::NGX_HTTP_MAX_URI_CHANGES;

use crate::sys::record;
use crate::sys::request::Req;

/// A path, decoded, and the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) uri: &'a [u8],
    pub(crate) args: &'a [u8],
}

impl Target<'_> {
    fn of<'a>(r: Req) -> Target<'a> {
        Target {
            uri: r.text(|raw| &raw.uri),
            args: r.text(|raw| &raw.args),
        }
    }
}

/// Where a request was led to.
pub(crate) struct Place<'a> {
    /// The named location; empty if it is none.
    pub(crate) named: &'a [u8],
    pub(crate) target: Target<'a>,
}

/// A note: the target of a request as it was when nginx began with it; in the request's pool or in a buffer of its header, which both
/// live as long as it.
struct Sent(Target<'static>);

/// A note: the request looks at what an earlier origin said to it.
struct LooksBack;

/// Notes the target of a request at its start, where it can't be read later.
pub(crate) fn note(r: Req) {
    let is_plain = r.is_main() && is_as_sent(r);
    if !is_plain && !is_moved(r) {
        record::note(r, Sent(Target::of(r)));
    }
}

/// Notes that a redirected request looks at the response of the origin that redirected it (`$upstream_http_*`): its own response then
/// depends on more than its place.
pub(crate) fn note_look_back(r: Req) {
    if is_moved(r) && r.raw().header_sent() == 0 && !looks_back(r) {
        record::note(r, LooksBack);
    }
}

/// Whether it does so.
pub(crate) fn looks_back(r: Req) -> bool {
    record::noted::<LooksBack>(r).is_some()
}

/// Whether the path is the very bytes that the client sent.
fn is_as_sent(r: Req) -> bool {
    std::ptr::eq(r.raw().uri.data, r.raw().unparsed_uri.data)
}

/// Whether nginx has redirected the request. `try_files` also changes a target without marking the request.
fn is_moved(r: Req) -> bool {
    match r.is_main() {
        true => r.raw().internal() != 0,
        // A subrequest is internal from the start.
        false => r.raw().uri_changes() != NGX_HTTP_MAX_URI_CHANGES + 1,
    }
}

/// The target as the client sent it; of a subrequest, its first one.
pub(crate) fn sent<'a>(r: Req) -> Option<Target<'a>> {
    if !r.is_main() || !is_as_sent(r) {
        let noted = record::noted(r).map(|Sent(target)| *target);
        if noted.is_some() || !r.is_main() {
            return noted;
        }
    }
    let sent = r.unparsed_uri();
    let (uri, args) = match sent.iter().position(|b| *b == b'?') {
        Some(at) => (&sent[..at], &sent[at + 1..]),
        None => (sent, &b""[..]),
    };
    Some(Target { uri, args })
}

/// Whether the path and the arguments are the very bytes of the target that the client sent: what most requests show at once.
fn is_where_sent(r: Req) -> bool {
    let raw = r.raw();
    let (sent, uri, args) = (&raw.unparsed_uri, &raw.uri, &raw.args);
    let behind = uri.data.wrapping_add(uri.len + 1);
    let is_all_path = uri.len == sent.len && args.len == 0;
    let is_whole = is_all_path || args.data == behind && uri.len + 1 + args.len == sent.len;
    r.is_main() && is_as_sent(r) && is_whole
}

/// Where the request was led to; nothing if it is where its target leads by itself.
pub(crate) fn place<'a>(r: Req) -> Option<Place<'a>> {
    if is_where_sent(r) && !is_moved(r) && r.named_location().is_empty() {
        return None;
    }
    let place = Place {
        named: r.named_location(),
        target: Target::of(r),
    };
    let is_led = !place.named.is_empty() || is_moved(r) || sent(r) != Some(place.target);
    is_led.then_some(place)
}

/// Whether an error has led the request here: it must not share a response with others.
///
/// `error_page CODE = ...` with `recursive_error_pages` leaves no trace; such a request has been redirected all the same, and shares with
/// requests alone that came from the same target to the same place.
pub(crate) fn is_by_error(r: Req) -> bool {
    r.raw().err_status != 0 || r.raw().error_page() != 0
}
