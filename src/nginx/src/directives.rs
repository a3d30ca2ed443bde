//! The `swr_cache_*` directives: words to settings.
//!
//! A bad value fails with the directive's name, the value and what was expected.

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_DONE, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET, NGX_HTTP_SRV_CONF, NGX_OK, ngx_array_create,
    ngx_array_push, ngx_cidr_t, ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_int_t, ngx_parse_offset, ngx_ptocidr,
    ngx_str_t,
};
use swrcache::engine::{IgnoreFields, Invalidate, MethodSet, StatusMatch, UseStale, Window, units};

use crate::conf::{Choice, LocConf, MainConf, PurgeMethod, Value, report};
use crate::guard::guard;
use crate::pool::{Pool, bytes_of};
use crate::zone::{Zone, ZoneOptions, file_path};

/// NGX_CONF_ERROR.
pub(crate) const FAILED: *mut c_char = ptr::without_provenance_mut(usize::MAX);

type Parsed<T> = Result<T, String>;

/// One directive being read: its words, without its name.
struct Line<'a> {
    cf: *mut ngx_conf_t,
    words: Vec<&'a [u8]>,
}

/// Wraps a parser of location settings into the callback that nginx wants.
macro_rules! location {
    ($name:literal, $parser:expr) => {
        command!(
            $name,
            NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
            NGX_HTTP_LOC_CONF_OFFSET,
            LocConf,
            $parser
        )
    };
}

macro_rules! command {
    ($name:literal, $contexts:expr, $offset:expr, $conf:ty, $parser:expr) => {{
        /// # Safety
        /// `cf` is what nginx reads the configuration with, with the directive's arguments; `conf` is what our create
        /// function made for this context.
        unsafe extern "C" fn set(cf: *mut ngx_conf_t, _: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
            guard(concat!("the directive ", $name), FAILED, || {
                // SAFETY: nginx passes the configuration that our create function made for this context.
                let conf = unsafe { &mut *conf.cast::<$conf>() };
                let parser: fn(&Line<'_>, &mut $conf) -> Parsed<()> = $parser;
                read(cf, $name, |line| parser(line, conf))
            })
        }
        ngx_command_t {
            // nginx compares up to a NUL (ngx_conf_handler).
            name: ngx_str_t { len: $name.len(), data: concat!($name, "\0").as_ptr().cast_mut() },
            type_: $contexts as usize,
            set: Some(set),
            conf: $offset as usize,
            offset: 0,
            post: ptr::null_mut(),
        }
    }};
}

/// The table of directives, ended by an empty one.
pub(crate) struct Commands(pub(crate) [ngx_command_t; 35]);

// SAFETY: nginx only reads the table, on its one thread.
unsafe impl Sync for Commands {}

pub(crate) static COMMANDS: Commands = Commands([
    command!(
        "swr_cache_zone",
        NGX_HTTP_MAIN_CONF | NGX_CONF_1MORE,
        NGX_HTTP_MAIN_CONF_OFFSET,
        MainConf,
        zone
    ),
    location!("swr_cache", |l, c| once(&mut c.settings.zone, choice(l))),
    location!("swr_cache_key", |l, c| once(&mut c.settings.key, key(l))),
    location!("swr_cache_methods", methods),
    location!("swr_cache_convert_head", |l, c| once(
        &mut c.settings.convert_head,
        l.flag()
    )),
    location!("swr_cache_max_range_offset", |l, c| once(
        &mut c.settings.max_range_offset,
        l.one("a size such as 10m").and_then(size)
    )),
    location!("swr_cache_valid", valid),
    location!("swr_cache_min_uses", |l, c| once(
        &mut c.settings.min_uses,
        l.number(0, u32::MAX)
    )),
    location!("swr_cache_bypass", |l, c| more(
        &mut c.settings.bypass,
        l.values()
    )),
    location!("swr_no_cache", |l, c| more(
        &mut c.settings.no_cache,
        l.values()
    )),
    location!("swr_ignore_headers", ignore),
    location!("swr_cache_use_stale", use_stale),
    location!("swr_cache_stale_while_revalidate", |l, c| once(
        &mut c.settings.swr,
        window(l)
    )),
    location!("swr_cache_stale_if_error", |l, c| once(
        &mut c.settings.sie,
        window(l)
    )),
    location!("swr_cache_background_update", |l, c| once(
        &mut c.settings.background_update,
        l.flag()
    )),
    location!("swr_cache_revalidate", |l, c| once(
        &mut c.settings.revalidate,
        l.flag()
    )),
    location!("swr_cache_edge_revalidation", |l, c| once(
        &mut c.settings.edge_revalidation,
        l.flag()
    )),
    location!("swr_cache_lock", |l, c| once(
        &mut c.settings.lock,
        l.flag()
    )),
    location!("swr_cache_lock_timeout", |l, c| once(
        &mut c.settings.lock_timeout,
        l.one_time()
    )),
    location!("swr_cache_lock_age", |l, c| once(
        &mut c.settings.lock_age,
        l.one_time()
    )),
    location!("swr_cache_control_headers", |l, c| once(
        &mut c.settings.control_fields,
        l.field_names()
    )),
    location!("swr_cache_client_control", |l, c| once(
        &mut c.settings.client_control,
        l.flag()
    )),
    location!("swr_cache_refresh_max", |l, c| once(
        &mut c.settings.refresh_max,
        l.number(0, 1 << 20)
    )),
    location!("swr_cache_refresh_backoff", |l, c| once(
        &mut c.settings.backoff,
        backoff(l)
    )),
    location!("swr_cache_refresh_ahead", |l, c| once(
        &mut c.settings.refresh_ahead,
        refresh_ahead(l)
    )),
    location!("swr_cache_revalidate_timeout", |l, c| once(
        &mut c.settings.revalidate_timeout,
        l.one_time()
    )),
    location!("swr_cache_vary_normalize", |l, c| once(
        &mut c.settings.vary_normalize,
        l.field_names()
    )),
    location!("swr_cache_max_variants", |l, c| once(
        &mut c.settings.max_variants,
        l.number(1, 1 << 16)
    )),
    location!("swr_cache_invalidate", |l, c| once(
        &mut c.settings.invalidate,
        invalidate(l)
    )),
    location!("swr_cache_status_header", |l, c| once(
        &mut c.settings.status_header,
        l.flag()
    )),
    location!("swr_cache_tag_headers", |l, c| once(
        &mut c.settings.tag_fields,
        l.field_names()
    )),
    location!("swr_cache_purge_method", |l, c| once(
        &mut c.settings.purge_method,
        purge_method(l)
    )),
    command!(
        "swr_cache_stats",
        NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS,
        NGX_HTTP_LOC_CONF_OFFSET,
        LocConf,
        stats
    ),
    command!(
        "swr_cache_purge",
        NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
        NGX_HTTP_LOC_CONF_OFFSET,
        LocConf,
        purge
    ),
    ngx_command_t::empty(),
]);

fn read(
    cf: *mut ngx_conf_t,
    name: &str,
    parser: impl FnOnce(&Line<'_>) -> Parsed<()>,
) -> *mut c_char {
    // SAFETY: `cf.args` holds the words of the directive, its name first, for as long as it is being read.
    let words: &[ngx_str_t] = unsafe { (*(*cf).args).as_slice() };
    let line = Line {
        cf,
        words: words.iter().skip(1).map(bytes_of).collect(),
    };
    match parser(&line) {
        Ok(()) => ptr::null_mut(),
        Err(message) => {
            report(cf, &format!("\"{name}\" {message}"));
            FAILED
        }
    }
}

fn once<T>(place: &mut Option<T>, value: Parsed<T>) -> Parsed<()> {
    if place.is_some() {
        return Err("is given twice in the same block".into());
    }
    *place = Some(value?);
    Ok(())
}

/// What nginx takes several times in a block adds up.
fn more<T>(place: &mut Option<Vec<T>>, values: Parsed<Vec<T>>) -> Parsed<()> {
    place.get_or_insert_default().extend(values?);
    Ok(())
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn bad<T>(word: &[u8], expected: &str) -> Parsed<T> {
    Err(format!(
        "has the invalid value \"{}\", expected {expected}",
        text(word)
    ))
}

impl Line<'_> {
    fn one(&self, expected: &str) -> Parsed<&[u8]> {
        match self.words.as_slice() {
            [word] => Ok(word),
            words => Err(format!(
                "takes one value, {expected}, and has {}",
                words.len()
            )),
        }
    }

    fn flag(&self) -> Parsed<bool> {
        let word = self.one("\"on\" or \"off\"")?;
        match word.to_ascii_lowercase().as_slice() {
            b"on" => Ok(true),
            b"off" => Ok(false),
            _ => bad(word, "\"on\" or \"off\""),
        }
    }

    fn number(&self, least: u32, most: u32) -> Parsed<u32> {
        let expected = format!("a number from {least} to {most}");
        let word = self.one(&expected)?;
        text(word)
            .parse()
            .ok()
            .filter(|n| (least..=most).contains(n))
            .map_or_else(|| bad(word, &expected), Ok)
    }

    fn one_time(&self) -> Parsed<u64> {
        self.one("a time such as 5s").and_then(time)
    }

    fn field_names(&self) -> Parsed<Vec<Box<str>>> {
        if let [b"off"] = self.words.as_slice() {
            return Ok(Vec::new());
        }
        self.words.iter().map(|word| field_name(word)).collect()
    }

    fn value(&self, word: &[u8]) -> Parsed<Value> {
        match Value::compile(self.cf, word) {
            Some(value) => Ok(value),
            None => bad(word, "a string with known variables"),
        }
    }

    fn values(&self) -> Parsed<Vec<Value>> {
        self.words.iter().map(|word| self.value(word)).collect()
    }
}

/// The parts of a key: each variable, and what stands between. Of a key with one variable nothing can move elsewhere.
fn key(line: &Line<'_>) -> Parsed<Vec<Value>> {
    let word = line.one("a string")?;
    let whole = line.value(word)?;
    let parts = parts(word);
    if word.iter().filter(|b| **b == b'$').count() < 2 || parts.len() > 250 {
        return Ok(vec![whole]);
    }
    parts.into_iter().map(|part| line.value(part)).collect()
}

/// Cuts a string at the ends of its variables, `$name` or `${name}`.
fn parts(mut word: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !word.is_empty() {
        let end = match word {
            [b'$', b'{', ..] => word.iter().position(|b| *b == b'}').map(|at| at + 1),
            [b'$', name @ ..] => name
                .iter()
                .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
                .map(|at| at + 1),
            _ => word.iter().position(|b| *b == b'$'),
        };
        let (part, rest) = word.split_at(end.unwrap_or(word.len()));
        parts.push(part);
        word = rest;
    }
    parts
}

fn time(word: &[u8]) -> Parsed<u64> {
    units::time(word).map_or_else(|| bad(word, "a time such as 500ms, 5s, 10m or 1d"), Ok)
}

fn size(word: &[u8]) -> Parsed<usize> {
    let mut s = crate::pool::borrow(word);
    // SAFETY: reads the `len` bytes only.
    let bytes = unsafe { ngx_parse_offset(&mut s) };
    usize::try_from(bytes).or_else(|_| bad(word, "a size such as 512k, 256m or 4g"))
}

fn field_name(word: &[u8]) -> Parsed<Box<str>> {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    if word.is_empty() || !word.iter().all(is_token) {
        return bad(word, "the name of a header field");
    }
    Ok(text(word).into_boxed_str())
}

fn zone(line: &Line<'_>, main: &mut MainConf) -> Parsed<()> {
    let mut place = None;
    let mut options = ZoneOptions::default();
    for word in &line.words {
        let (name, value) = split(word, b'=')
            .ok_or_else(|| format!("has the invalid parameter \"{}\"", text(word)))?;
        match name {
            b"zone" => place = Some(zone_place(word, value)?),
            b"max_object" => options.max_object = Some(size(value)?),
            b"inactive" => options.inactive = Some(time(value)?),
            b"file" if !value.is_empty() => options.file = Some(file_path(line.cf, value)?),
            _ => {
                return bad(
                    word,
                    "zone=NAME:SIZE, max_object=SIZE, inactive=TIME or file=PATH",
                );
            }
        }
    }
    let (name, size) = place.ok_or("needs zone=NAME:SIZE")?;
    if main.zone(name).is_some() {
        return Err(format!("declares the zone \"{}\" twice", text(name)));
    }
    let same_file = |z: &Zone| z.file().is_some() && z.file() == options.file.as_deref();
    if let Some(other) = main.zones.iter().find(|z| same_file(z.as_ref())) {
        return Err(format!(
            "gives the zone \"{}\" the file of the zone \"{}\"",
            text(name),
            text(other.name())
        ));
    }
    let zone = Zone::declare(line.cf, name, size, options)?;
    main.zones.push(zone);
    Ok(())
}

fn zone_place<'a>(word: &[u8], value: &'a [u8]) -> Parsed<(&'a [u8], usize)> {
    match split(value, b':') {
        Some((name, bytes)) if !name.is_empty() => Ok((name, size(bytes)?)),
        _ => bad(word, "zone=NAME:SIZE, such as zone=main:256m"),
    }
}

/// The core module's part of the location that is being read.
fn core_of<'a>(line: &Line<'_>) -> &'a mut ngx_http_core_loc_conf_t {
    // SAFETY: in a location, `cf.ctx` is the http context with its configuration.
    unsafe {
        let ctx: *mut ngx_http_conf_ctx_t = (*line.cf).ctx.cast();
        let index = (*ptr::addr_of!(ngx_http_core_module)).ctx_index;
        &mut *(*(*ctx).loc_conf.add(index)).cast()
    }
}

fn stats(line: &Line<'_>, _: &mut LocConf) -> Parsed<()> {
    core_of(line).handler = Some(crate::statistics::handler);
    Ok(())
}

fn purge(line: &Line<'_>, conf: &mut LocConf) -> Parsed<()> {
    let expected = "zone=NAME";
    let word = line.one(expected)?;
    let name = word.strip_prefix(b"zone=").filter(|name| !name.is_empty());
    let name = name.map_or_else(|| bad(word, expected), Ok)?;
    // SAFETY: the pool of the cycle being read.
    let pool = unsafe { Pool::new((*line.cf).pool) };
    core_of(line).handler = Some(crate::purge::handler);
    once(
        &mut conf.purges,
        pool.copy(name).ok_or("ran out of memory".into()),
    )
}

fn purge_method(line: &Line<'_>) -> Parsed<PurgeMethod> {
    let expected = "METHOD from ADDRESS or CIDR ..., such as PURGE from 127.0.0.1";
    let [method, b"from", addresses @ ..] = line.words.as_slice() else {
        return Err(format!("takes {expected}"));
    };
    if addresses.is_empty() {
        return Err(format!("takes {expected}"));
    }
    let is_known = [&b"GET"[..], b"HEAD", b"POST"].contains(method);
    if is_known
        || !method
            .iter()
            .all(|b| b.is_ascii_uppercase() || b"-_".contains(b))
    {
        return bad(method, "a method in capitals of its own, such as PURGE");
    }
    // SAFETY: the pool of the cycle being read.
    let from =
        unsafe { ngx_array_create((*line.cf).pool, addresses.len(), size_of::<ngx_cidr_t>()) };
    if from.is_null() {
        return Err("ran out of memory".into());
    }
    for address in addresses {
        let mut text = crate::pool::borrow(address);
        // SAFETY: the array was made for elements of this type; all-zero is a valid value of it. nginx reads the text only.
        let rc = unsafe {
            let place: *mut ngx_cidr_t = ngx_array_push(from).cast();
            let place = place.as_mut().ok_or("ran out of memory")?;
            *place = std::mem::zeroed();
            if *address == b"unix:" {
                place.family = libc::AF_UNIX as usize;
                continue;
            }
            ngx_ptocidr(&mut text, place)
        };
        // NGX_DONE: bits beyond the mask are set, and ignored as by `allow`.
        if rc != NGX_OK as ngx_int_t && rc != NGX_DONE as ngx_int_t {
            return bad(
                address,
                "an address or a CIDR block, such as 127.0.0.1 or 10.0.0.0/8",
            );
        }
    }
    Ok(PurgeMethod {
        method: (*method).into(),
        from,
    })
}

fn split(word: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let i = word.iter().position(|b| *b == at)?;
    Some((&word[..i], &word[i + 1..]))
}

fn choice(line: &Line<'_>) -> Parsed<Choice> {
    let word = line.one("the name of a zone or \"off\"")?;
    if word == b"off" {
        return Ok(Choice::Off);
    }
    if word.contains(&b'$') {
        return line.value(word).map(Choice::Computed);
    }
    // SAFETY: the pool of the cycle being read.
    let pool = unsafe { Pool::new((*line.cf).pool) };
    Ok(Choice::Named(pool.copy(word).ok_or("ran out of memory")?))
}

fn methods(line: &Line<'_>, conf: &mut LocConf) -> Parsed<()> {
    // As nginx: GET and HEAD are always among them, and case does not count.
    let place = &mut conf.settings.methods;
    for word in &line.words {
        let set = place.get_or_insert(MethodSet::GET.with(MethodSet::HEAD));
        *set = match word.to_ascii_uppercase().as_slice() {
            b"GET" | b"HEAD" => *set,
            b"POST" => set.with(MethodSet::POST),
            _ => return bad(word, "GET, HEAD or POST"),
        };
    }
    Ok(())
}

fn valid(line: &Line<'_>, conf: &mut LocConf) -> Parsed<()> {
    let Some((last, codes)) = line.words.split_last() else {
        return Err("needs a time".into());
    };
    let time = time(last)?;
    let list = conf.settings.valid.get_or_insert_default();
    if codes.is_empty() {
        list.push((StatusMatch::Usual, time));
    }
    for word in codes {
        list.push((status(word)?, time));
    }
    Ok(())
}

fn status(word: &[u8]) -> Parsed<StatusMatch> {
    if word == b"any" {
        return Ok(StatusMatch::Any);
    }
    match text(word).parse() {
        Ok(code @ 100..=599) => Ok(StatusMatch::Code(code)),
        _ => bad(word, "a status from 100 to 599 or \"any\""),
    }
}

const IGNORABLE: &str = "X-Accel-Expires, Expires, Cache-Control, Set-Cookie, Vary, CDN-Cache-Control or Surrogate-Control";

fn ignore(line: &Line<'_>, conf: &mut LocConf) -> Parsed<()> {
    let place = conf.settings.ignore.get_or_insert_default();
    for word in &line.words {
        *place = place.with(match word.to_ascii_lowercase().as_slice() {
            b"x-accel-expires" => IgnoreFields::X_ACCEL_EXPIRES,
            b"expires" => IgnoreFields::EXPIRES,
            b"cache-control" => IgnoreFields::CACHE_CONTROL,
            b"set-cookie" => IgnoreFields::SET_COOKIE,
            b"vary" => IgnoreFields::VARY,
            b"cdn-cache-control" => IgnoreFields::CDN_CACHE_CONTROL,
            b"surrogate-control" => IgnoreFields::SURROGATE_CONTROL,
            b"x-accel-limit-rate" => IgnoreFields::X_ACCEL_LIMIT_RATE,
            b"x-accel-charset" => IgnoreFields::X_ACCEL_CHARSET,
            // nginx knows these two here; the cache has no use for them.
            b"x-accel-redirect" | b"x-accel-buffering" => IgnoreFields::NONE,
            _ => return bad(word, IGNORABLE),
        });
    }
    Ok(())
}

const STALE_CONDITIONS: [(&[u8], u16); 11] = [
    (b"error", UseStale::ERROR),
    (b"timeout", UseStale::TIMEOUT),
    (b"invalid_header", UseStale::INVALID_HEADER),
    (b"updating", UseStale::UPDATING),
    (b"http_500", UseStale::HTTP_500),
    (b"http_502", UseStale::HTTP_502),
    (b"http_503", UseStale::HTTP_503),
    (b"http_504", UseStale::HTTP_504),
    (b"http_403", UseStale::HTTP_403),
    (b"http_404", UseStale::HTTP_404),
    (b"http_429", UseStale::HTTP_429),
];

/// Once `off` is among them, in whichever line, nothing is covered (ngx_http_proxy_merge_loc_conf).
fn use_stale(line: &Line<'_>, conf: &mut LocConf) -> Parsed<()> {
    let known = |word: &[u8]| {
        let is = |(name, _): &&(&[u8], u16)| word.eq_ignore_ascii_case(name);
        STALE_CONDITIONS.iter().find(is).map(|(_, bit)| *bit)
    };
    let place = &mut conf.settings.use_stale;
    for word in &line.words {
        let before = place.unwrap_or(UseStale::listed(0)).conditions;
        *place = Some(match known(word) {
            _ if *place == Some(UseStale::OFF) => UseStale::OFF,
            None if word.eq_ignore_ascii_case(b"off") => UseStale::OFF,
            Some(bit) => UseStale::listed(before | bit),
            None => {
                return bad(
                    word,
                    "error, timeout, invalid_header, updating, http_500, http_502, http_503, http_504, http_403, http_404, http_429 or off",
                );
            }
        });
    }
    Ok(())
}

fn window(line: &Line<'_>) -> Parsed<Window> {
    match line.words.as_slice() {
        [b"origin"] => Ok(Window::Origin),
        [b"off"] => Ok(Window::Off),
        [word] => time(word)
            .map(Window::Default)
            .or_else(|_| bad(word, "a time, \"origin\" or \"off\"")),
        [word, b"force"] => time(word).map(Window::Force),
        [_, word, ..] => bad(word, "\"force\" or nothing after the time"),
        [] => Err("needs a time, \"origin\" or \"off\"".into()),
    }
}

fn invalidate(line: &Line<'_>) -> Parsed<Invalidate> {
    const EXPECTED: &str = "\"on\", \"target\", \"soft\" or \"off\"";
    let word = line.one(EXPECTED)?;
    Invalidate::parse(&text(word)).map_or_else(|| bad(word, EXPECTED), Ok)
}

fn backoff(line: &Line<'_>) -> Parsed<(u64, u64)> {
    let [least, most] = line.words.as_slice() else {
        return Err("takes two times, the first pause and the longest, such as 1s 60s".into());
    };
    let (min, max) = (time(least)?, time(most)?);
    if min == 0 || min > max {
        return bad(
            most,
            "a longest pause that is not shorter than the first, and the first above 0",
        );
    }
    Ok((min, max))
}

fn refresh_ahead(line: &Line<'_>) -> Parsed<Option<u8>> {
    let expected = "a percentage from 1% to 99%, or \"off\"";
    let word = line.one(expected)?;
    if word == b"off" {
        return Ok(None);
    }
    let digits = word.strip_suffix(b"%").unwrap_or(word);
    match text(digits).parse() {
        Ok(percent @ 1..=99) => Ok(Some(percent)),
        _ => bad(word, expected),
    }
}
