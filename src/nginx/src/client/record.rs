//! The record of a client's request that has met the cache, or of a subrequest of one.
//!
//! It is only ever shared: nginx's filters and variables ask for it in the middle of what is done with it. So what changes in it is a
//! `Cell`, and what it gives out is a copy, or set once.

use std::cell::{Cell, OnceCell};

use nginx_sys::NGX_HTTP_RANGE_NOT_SATISFIABLE;
use swrcache::engine::{Cache, Invalidation, Method, Part, Request, Serve, key};
use swrcache::http::Fields;

use crate::client::facts::Facts;
use crate::client::header::{origin_status, push_status};
use crate::config::location::LocConf;
use crate::config::value::any_true_yet;
use crate::fetch::exchange::FromOrigin;
use crate::fetch::origin_header::OriginHeader;
use crate::fetch::origin_response;
use crate::fetch::own_request;
use crate::sys::clock::now;
use crate::sys::header_list::{List, delete};
use crate::sys::record::{self, RecordKind};
use crate::sys::request::{Req, is_exiting};
use crate::sys::response_header::drop_encoding;
use crate::worker::background_job;

/// The record.
pub(crate) struct Client {
    pub(crate) r: Req,
    pub(crate) conf: &'static LocConf,
    pub(crate) cache: &'static Cache,
    /// In the request's pool.
    pub(crate) key: &'static [u8],
    pub(crate) facts: Facts,
    /// It could not be answered at once: there is a note with what it needs to wait.
    pub(crate) is_suspended: Cell<bool>,
    /// What it is answered with: pinned until the request's pool is destroyed, since buffers point into it.
    pub(crate) served: OnceCell<Serve>,
    /// The header that the origin sent, for nginx's variables; made on demand if the answer comes from the store.
    origin: Cell<Option<OriginHeader>>,
    /// The header of the origin that redirected the request here: nginx shows it until there is another.
    before: Option<OriginHeader>,
    /// The method of a write (RFC 9111 §4.4), until the origin has answered.
    writes: Cell<Option<&'static [u8]>>,
}

impl RecordKind for Client {
    const FOLLOWS: bool = false;
}

impl Client {
    pub(crate) fn new(
        r: Req,
        conf: &'static LocConf,
        cache: &'static Cache,
        key: &'static [u8],
    ) -> Client {
        let earlier = record::of::<Client>(r);
        Client {
            r,
            conf,
            cache,
            key,
            facts: Facts::default(),
            is_suspended: Cell::new(false),
            served: OnceCell::new(),
            origin: Cell::new(None),
            before: earlier.and_then(|earlier| earlier.origin.get().or(earlier.before)),
            writes: Cell::new(None),
        }
    }

    /// For a request of a method that is not cached.
    pub(crate) fn of_write(
        r: Req,
        conf: &'static LocConf,
        cache: &'static Cache,
        key: &'static [u8],
    ) -> Client {
        let client = Client::new(r, conf, cache, key);
        // An origin may lead it on as a GET.
        client.writes.set(Some(r.text(|raw| &raw.method_name)));
        client
    }

    /// Shows `f` the request as the engine reads it.
    pub(crate) fn with_request<T>(&self, f: impl FnOnce(&Request<'_>) -> T) -> T {
        let raw = self.r.raw();
        let fields = List::of(&raw.headers_in.headers);
        // Conditions may look at the response (`$upstream_http_*`), which has not come yet: they are evaluated again when it has.
        f(&Request {
            method: self.r.method(),
            key: self.key,
            fields: &fields,
            bypass: own_request::of(self.r).is_some_and(|own| own.anew)
                || any_true_yet(self.conf.bypass(), self.r),
            no_cache: any_true_yet(self.conf.no_cache(), self.r),
            may_refresh: !self.conf.is_at_refresh_max() && !is_exiting(),
            is_part: !self.r.is_main(),
        })
    }

    /// The response is over.
    pub(crate) fn count(&self) {
        self.cache
            .count(&self.facts.answered(self.r.body_bytes_sent()));
    }

    /// The header filter: a response is on its way to the client.
    pub(crate) fn on_header(&self) {
        self.origin_answered();
        // nginx's range filter has refused the response after its header was made: this is the header of nginx's own page.
        if self.r.raw().err_status == NGX_HTTP_RANGE_NOT_SATISFIABLE as usize {
            drop_encoding(self.r);
        }
        if !self.facts.from_store.get() {
            // What an origin tells this cache alone is not for clients, whether the response is stored or goes by.
            delete(&mut self.r.raw().headers_out.headers, |name| {
                self.conf.policy.keeps_to_itself(name)
            });
        }
        if self.facts.passed.get().is_some() {
            self.tell_of_pass();
        }
    }

    /// Adds `Cache-Status` to the response to a request that passed.
    fn tell_of_pass(&self) -> Option<()> {
        let (r, facts) = (self.r, &self.facts);
        if !r.is_main() || !LocConf::of(r).tells_status(r) {
            return None;
        }
        let fwd_status = origin_status(r);
        let part = match (facts.passed_for.get(), facts.asked.get()) {
            (Some(reason), _) => Part::Passed { reason, fwd_status },
            (None, Some(fetch)) => Part::Relayed {
                fetch,
                reason: facts.reason.get().unwrap_or(fetch.reason()),
                fwd_status,
            },
            (None, None) => return None,
        };
        push_status(r, &part)
    }

    /// Tells the engine of a response that came straight from the origin.
    fn origin_answered(&self) {
        if let (Some(passed), Method::Head, true) =
            (self.facts.passed.get(), self.r.method(), self.r.is_main())
        {
            origin_response::read(self.r, passed, None, |response| {
                self.with_request(|req| {
                    let policy = &self.conf.policy;
                    self.cache.head_answered(req, response, policy, now());
                });
            });
        }
        if let Some(method) = self.writes.take() {
            let out = &self.r.raw().headers_out;
            self.wrote(method, out.status, &List::of(&out.headers));
        }
    }

    /// nginx redirects the request because of the origin's answer (`X-Accel-Redirect`, `error_page`).
    pub(crate) fn led_on(&self) {
        // SAFETY: NULL or the upstream of this request.
        let upstream = unsafe { self.r.raw().upstream.as_ref() };
        if let Some((upstream, method)) = upstream.zip(self.writes.get()) {
            self.writes.set(None);
            let header = &upstream.headers_in;
            self.wrote(method, header.status_n, &List::of(&header.headers));
        }
    }

    /// Invalidates what a write has changed, by the origin's answer to it (RFC 9111 §4.4).
    fn wrote(&self, method: &[u8], status: usize, fields: &dyn Fields) {
        let origin = self.r.origin();
        let raw = self.r.raw();
        let asked = List::of(&raw.headers_in.headers);
        let zone = self.conf.zone(self.r);
        let recipes = zone.map(|zone| self.conf.recipes(zone)).unwrap_or_default();
        let invalidation = Invalidation {
            method,
            status: u16::try_from(status).unwrap_or(0),
            key: self.key,
            recipes: &recipes,
            origin: &origin,
            target: self.r.unparsed_uri(),
            asked: &asked,
            fields,
        };
        let policy = &self.conf.policy;
        let mut removal = self.cache.invalidate(&invalidation, policy, now());
        if removal.step(background_job::PLACES) != Ok(true) {
            let zone = zone.map(|zone| zone.name()).unwrap_or_default();
            let zone = String::from_utf8_lossy(zone);
            let key = key::display(self.key);
            let about = format!("\"{key}\", which was written to, in zone \"{zone}\"");
            background_job::start([removal], None, about);
        }
    }

    /// The header that the origin sent with the response to this client, if there is one yet.
    pub(crate) fn origin_header(&self) -> Option<OriginHeader> {
        if self.origin.get().is_none() {
            let stored = self.served.get().map(|serve| &serve.object);
            let header = stored.and_then(|stored| OriginHeader::of_stored(self.r, stored));
            self.origin.set(header);
        }
        self.origin.get().or(self.before)
    }

    /// Forgets an origin's header that was noted: the answer comes from the store.
    pub(crate) fn forget_origin(&self) {
        self.origin.set(None);
    }

    /// Notes the origin's answer to the fetch that this client leads.
    pub(crate) fn note_origin(&self, from: FromOrigin) {
        self.origin.set(from.header);
        self.facts.cache_below.set(from.cache_below);
    }
}
