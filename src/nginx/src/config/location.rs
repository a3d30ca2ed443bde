//! The configuration of a location: its directives, merged as nginx merges, and the policy that they make.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{
    NGX_HTTP_IMS_OFF, NGX_LOG_EMERG, NGX_LOG_WARN, ngx_array_t, ngx_conf_log_error, ngx_conf_t,
    ngx_str_t,
};
use swrcache::engine::key::recipe::Recipe;
use swrcache::engine::{Directives, Policy, PurgeMode};

use crate::config::rewriting;
use crate::config::value::{Value, any_true};
use crate::config::zone::Zone;
use crate::sys::boundary::guard;
use crate::sys::conf::{self, FAILED};
use crate::sys::log::log_error;
use crate::sys::pool::{Pool, bytes_of};
use crate::sys::request::Req;

/// The configuration of the `http` block: the zones.
#[derive(Default)]
pub(crate) struct MainConf {
    /// Every `swr_cache_zone`, in order. Boxed, since nginx and locations hold pointers to them.
    #[expect(clippy::vec_box, reason = "their addresses are kept")]
    pub(crate) zones: Vec<Box<Zone>>,
    /// The locations that have encoded forms made (`swr_cache_compress`), each with what all modules are configured to do there.
    encoding: Vec<(*mut LocConf, *mut *mut c_void)>,
    /// How keys are made, wherever the cache is used.
    keyed_locations: Vec<KeyedLocation>,
}

/// How keys are made in a location, in which zone they are, and whose location it is.
struct KeyedLocation {
    recipe: Recipe,
    zone: ZoneChosen,
    /// The server's configuration, as its requests have it.
    server: *mut *mut c_void,
}

/// Where a location stores.
#[derive(Clone, Copy, PartialEq)]
enum ZoneChosen {
    Zone(*const Zone),
    /// In one that its requests name.
    Computed(Value),
}

impl MainConf {
    /// The configuration being read.
    pub(crate) fn of<'a>(cf: *mut ngx_conf_t) -> &'a mut MainConf {
        // SAFETY: the main configuration is what `create_main` made; nginx reads its configuration on one thread, and no caller keeps
        // the reference while another directive is read.
        unsafe { &mut *conf::main_of(cf) }
    }

    /// Whether some location has encoded forms made.
    pub(crate) fn encodes(&self) -> bool {
        !self.encoding.is_empty()
    }

    /// Takes out the locations whose bodies nginx rewrites on their way out, with a warning: they need the originals. Called when all
    /// of the configuration is read and merged.
    pub(crate) fn settle_encoding(&mut self, cf: *mut ngx_conf_t) {
        self.encoding.retain(|(location, modules)| {
            // SAFETY: both were noted when the location was merged, and live as long as the cycle; nothing else refers to the location
            // while the configuration is read.
            let (rewriter, policy) =
                unsafe { (rewriting::rewriter(cf, *modules), &mut (**location).policy) };
            if let Some(directive) = rewriter {
                policy.compress.clear();
                let text = format!(
                    "\"swr_cache_compress\" has no effect where \"{directive}\" rewrites the body: such responses are served as they were stored"
                );
                log_conf(cf, NGX_LOG_WARN, &text);
            }
            rewriter.is_none()
        });
    }

    pub(crate) fn zone(&self, name: &[u8]) -> Option<&Zone> {
        self.zones
            .iter()
            .map(Box::as_ref)
            .find(|z| z.name() == name)
    }
}

/// `swr_cache`.
#[derive(Clone, Copy)]
pub(crate) enum Choice {
    Off,
    Named(ngx_str_t),
    Computed(Value),
}

/// `swr_cache_purge_method`: methods, and who may use them.
#[derive(Clone)]
pub(crate) struct PurgeMethod {
    pub(crate) methods: Box<[Box<[u8]>]>,
    pub(crate) mode: PurgeMode,
    /// Of `ngx_cidr_t`, in the pool of the cycle.
    pub(crate) from: *mut ngx_array_t,
}

/// Which responses have a `Cache-Status`.
#[derive(Clone)]
pub(crate) enum StatusHeader {
    Always,
    Never,
    /// Where one of the conditions holds.
    If(Vec<Value>),
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// The directives that only nginx has, as written here or, after merging, above; `None` where nobody wrote it.
        #[derive(Default)]
        pub(crate) struct Settings { $($(#[$doc])* pub(crate) $name: Option<$type>,)* }

        impl Settings {
            fn inherit(&mut self, above: &Settings) {
                $(if self.$name.is_none() { self.$name.clone_from(&above.$name); })*
            }
        }
    };
}

settings! {
    zone: Choice,
    /// `swr_cache_key`, cut where a variable begins or ends if it has several; without it `$scheme$host$request_uri`.
    key: Vec<Value>,
    bypass: Vec<Value>,
    no_cache: Vec<Value>,
    status_header: StatusHeader,
    purge_method: PurgeMethod,
}

/// The configuration of a location.
pub(crate) struct LocConf {
    /// As written, then merged.
    pub(crate) settings: Settings,
    /// The directives that the engine knows, likewise.
    pub(crate) directives: Directives,
    /// What they make for the engine.
    pub(crate) policy: Policy,
    /// The zone, where its name has no variables.
    zone: *const Zone,
    /// The zone of `swr_cache_purge`, not inherited: a content handler is of one location.
    pub(crate) purges: Option<ngx_str_t>,
    /// All zones of the configuration, for names with variables.
    main: *const MainConf,
    /// Background refreshes of this location in flight in this worker.
    pub(crate) refreshing: Cell<u32>,
    /// Whether keys are made of more than the URL.
    is_keyed_beyond_urls: bool,
    /// The parameter of the location's `proxy_pass`.
    pub(crate) proxied: Option<Value>,
}

impl LocConf {
    /// The configuration of the request's location.
    pub(crate) fn of(r: Req) -> &'static LocConf {
        // SAFETY: nginx made a location configuration for every location by `create_location`; it lives as long as the cycle, which
        // outlives its requests, and is not changed once it has been read.
        unsafe { &*r.location_conf() }
    }

    /// The zone that this request's location names, if the cache is on.
    pub(crate) fn zone(&self, r: Req) -> Option<&'static Zone> {
        match self.settings.zone {
            // SAFETY: zones are boxed in the MainConf of the cycle, which outlives its requests.
            Some(Choice::Named(_)) => unsafe { self.zone.as_ref() },
            Some(Choice::Computed(value)) => self.zone_named(value, r),
            Some(Choice::Off) | None => None,
        }
    }

    fn zone_named(&self, value: Value, r: Req) -> Option<&'static Zone> {
        let name = computed(value, r)?;
        // SAFETY: set when the configuration was merged, to what lives as long as the cycle.
        let found = unsafe { self.main.as_ref()? }.zone(name);
        if found.is_none() {
            let name = String::from_utf8_lossy(name);
            let text =
                format!("swr_cache: no zone \"{name}\" is declared; the request is not cached");
            log_error(r, &text);
        }
        found
    }

    /// The name that this request computes for its zone where no such zone is declared.
    pub(crate) fn undeclared_zone(&self, r: Req) -> Option<&'static [u8]> {
        let Some(Choice::Computed(value)) = self.settings.zone else {
            return None;
        };
        let is_known = |name: &[u8]| self.zones().iter().any(|zone| zone.name() == name);
        computed(value, r).filter(|name| !is_known(name))
    }

    /// All zones of the configuration.
    pub(crate) fn zones(&self) -> &'static [Box<Zone>] {
        // SAFETY: set when the configuration was merged, to what lives as long as the cycle.
        unsafe { self.main.as_ref() }.map_or(&[], |main| &main.zones)
    }

    fn keyed_locations(&self) -> &'static [KeyedLocation] {
        // SAFETY: set when the configuration was merged, to what lives as long as the cycle.
        unsafe { self.main.as_ref() }.map_or(&[], |main| &main.keyed_locations)
    }

    /// How keys are made in the locations that use the zone, or may use it.
    pub(crate) fn recipes(&self, zone: &Zone) -> Vec<&'static Recipe> {
        let is_of = |location: &&KeyedLocation| match location.zone {
            ZoneChosen::Zone(own) => ptr::eq(own, zone),
            ZoneChosen::Computed(_) => true,
        };
        let in_zone = self.keyed_locations().iter().filter(is_of);
        in_zone.map(|location| &location.recipe).collect()
    }

    /// The zones that the locations of the request's server use.
    pub(crate) fn zones_of_server(&self, r: Req) -> Vec<&'static Zone> {
        let mut found: Vec<&'static Zone> = Vec::new();
        for location in self
            .keyed_locations()
            .iter()
            .filter(|location| location.server == r.raw().srv_conf)
        {
            let zone = match location.zone {
                // SAFETY: zones are boxed in the MainConf of the cycle, which outlives its requests.
                ZoneChosen::Zone(zone) => unsafe { zone.as_ref() },
                ZoneChosen::Computed(name) => self.zone_named(name, r),
            };
            found.extend(zone.filter(|zone| !found.iter().any(|known| ptr::eq(*known, *zone))));
        }
        found
    }

    /// Whether `swr_cache_refresh_max` refreshes are in flight.
    pub(crate) fn is_at_refresh_max(&self) -> bool {
        self.refreshing.get() >= self.policy.refresh_max
    }

    /// What keys are made of, if that is more than the URL.
    pub(crate) fn key_beyond_urls(&self) -> Option<&[Value]> {
        let key = self.settings.key.as_deref();
        key.filter(|_| self.is_keyed_beyond_urls)
    }

    /// The text of `swr_cache_key`.
    pub(crate) fn key_text(&self) -> String {
        let Some(values) = &self.settings.key else {
            return "$scheme$host$request_uri".to_owned();
        };
        let texts = values.iter().map(|value| value.source());
        texts.map(String::from_utf8_lossy).collect()
    }

    /// The zone that `swr_cache_purge` purges here.
    pub(crate) fn purged_zone(&self) -> Option<&'static Zone> {
        // SAFETY: as in `zone`.
        unsafe { self.main.as_ref()? }.zone(bytes_of(self.purges.as_ref()?))
    }

    pub(crate) fn is_on(&self) -> bool {
        matches!(
            self.settings.zone,
            Some(Choice::Named(_) | Choice::Computed(_))
        )
    }

    /// Whether this request's response is to tell what the cache did with it.
    pub(crate) fn tells_status(&self, r: Req) -> bool {
        match &self.settings.status_header {
            Some(StatusHeader::Always) => true,
            Some(StatusHeader::If(conditions)) => any_true(conditions, r),
            Some(StatusHeader::Never) | None => false,
        }
    }

    pub(crate) fn bypass(&self) -> &[Value] {
        self.settings.bypass.as_deref().unwrap_or_default()
    }

    pub(crate) fn no_cache(&self) -> &[Value] {
        self.settings.no_cache.as_deref().unwrap_or_default()
    }

    fn merge(&mut self, above: &LocConf, cf: *mut ngx_conf_t) -> Result<(), String> {
        let main = MainConf::of(cf);
        self.settings.inherit(&above.settings);
        self.directives.inherit(&above.directives);
        self.policy = self.directives.policy();
        self.policy.if_modified_since = counts_dates(cf);
        self.main = main;
        if self.is_on() && !self.policy.compress.is_empty() {
            main.encoding.push((self, conf::locations(cf)));
        }
        if let Some(Choice::Named(name)) = &self.settings.zone {
            let name = bytes_of(name);
            let zone = main
                .zone(name)
                .ok_or_else(|| undeclared("swr_cache", name))?;
            self.policy.inactive = zone.inactive();
            self.zone = zone;
        }
        self.note_keyed_location(main, cf);
        match self.purges.as_ref().map(bytes_of) {
            Some(name) if main.zone(name).is_none() => Err(undeclared("swr_cache_purge", name)),
            _ => Ok(()),
        }
    }

    /// Has purges know of how keys are made here.
    fn note_keyed_location(&mut self, main: &mut MainConf, cf: *mut ngx_conf_t) {
        let zone = match self.settings.zone {
            Some(Choice::Named(_)) => ZoneChosen::Zone(self.zone),
            Some(Choice::Computed(name)) => ZoneChosen::Computed(name),
            Some(Choice::Off) | None => return,
        };
        let text = self.settings.key.is_some().then(|| self.key_text());
        let recipe = Recipe::new(text.as_deref(), &self.policy.query);
        self.is_keyed_beyond_urls = !recipe.is_of_urls();
        let server = conf::server(cf);
        let is_same = |location: &KeyedLocation| {
            location.server == server && location.zone == zone && location.recipe == recipe
        };
        if !main.keyed_locations.iter().any(is_same) {
            main.keyed_locations.push(KeyedLocation {
                recipe,
                zone,
                server,
            });
        }
    }
}

/// Whether nginx's `if_modified_since` is not `off`. `exact`, nginx's default, is treated as `before`: a client with a date later than the
/// response's has the response (RFC 9110 §13.1.3).
fn counts_dates(cf: *mut ngx_conf_t) -> bool {
    conf::core_location(cf).if_modified_since != NGX_HTTP_IMS_OFF as usize
}

/// The name of a zone by variables; none where that is nothing or `off`.
fn computed(value: Value, r: Req) -> Option<&'static [u8]> {
    value
        .of(r)
        .filter(|name| !name.is_empty() && *name != b"off")
}

fn undeclared(directive: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    format!(
        "\"{directive}\" names the zone \"{name}\", which no \"swr_cache_zone zone={name}:SIZE\" declares"
    )
}

/// Whether this is a block within a location (`if`, `limit_except`), which inherits the location's `proxy_pass`
/// (ngx_http_proxy_merge_loc_conf).
fn is_nameless(cf: *mut ngx_conf_t) -> bool {
    conf::core_location(cf).noname() != 0
}

/// Logs an error with the file and line being read.
pub(crate) fn report(cf: *mut ngx_conf_t, message: &str) {
    log_conf(cf, NGX_LOG_EMERG, message);
}

fn log_conf(cf: *mut ngx_conf_t, level: u32, message: &str) {
    // SAFETY: "%*s" takes a length and that many bytes.
    unsafe {
        ngx_conf_log_error(
            level as usize,
            cf,
            0,
            c"%*s".as_ptr(),
            message.len(),
            message.as_ptr(),
        )
    };
}

fn keep<T>(cf: *mut ngx_conf_t, value: T) -> *mut c_void {
    // SAFETY: the pool of the cycle being read outlives the configuration.
    let pool = unsafe { Pool::new((*cf).pool) };
    guard("configuration", ptr::null_mut(), || {
        pool.keep(value).map_or(ptr::null_mut(), |p| p.cast())
    })
}

/// Makes the configuration of the `http` block, before any directive is read.
///
/// # Safety
/// `cf` is what nginx reads the configuration with, and has a pool.
pub(crate) unsafe extern "C" fn create_main(cf: *mut ngx_conf_t) -> *mut c_void {
    keep(cf, MainConf::default())
}

/// Makes that of a location, before any directive is read.
///
/// # Safety
/// As [`create_main`].
pub(crate) unsafe extern "C" fn create_location(cf: *mut ngx_conf_t) -> *mut c_void {
    keep(
        cf,
        LocConf {
            settings: Settings::default(),
            directives: Directives::default(),
            policy: Policy::default(),
            zone: ptr::null(),
            purges: None,
            main: ptr::null(),
            refreshing: Cell::new(0),
            is_keyed_beyond_urls: false,
            proxied: None,
        },
    )
}

/// Merges the configuration of a location with that of the one around it.
///
/// # Safety
/// `cf` as for [`create_main`]; `above` and `here` are what [`create_location`] made for the two contexts.
pub(crate) unsafe extern "C" fn merge_location(
    cf: *mut ngx_conf_t,
    above: *mut c_void,
    here: *mut c_void,
) -> *mut c_char {
    guard("merging the configuration", FAILED, || {
        // SAFETY: nginx passes what `create_location` made for the two contexts.
        let (above, here) = unsafe { (&*above.cast::<LocConf>(), &mut *here.cast::<LocConf>()) };
        if is_nameless(cf) {
            here.proxied = here.proxied.or(above.proxied);
        }
        match here.merge(above, cf) {
            Ok(()) => ptr::null_mut(),
            Err(message) => {
                report(cf, &message);
                FAILED
            }
        }
    })
}
