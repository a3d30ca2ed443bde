//! Parsers of directives: their words become settings.
//!
//! A bad value fails with the directive's name, the value and what was expected.

use std::ffi::c_char;
use std::mem;
use std::ptr;

use nginx_sys::{
    NGX_DONE, NGX_OK, ngx_array_create, ngx_array_push, ngx_cidr_t, ngx_conf_t,
    ngx_http_handler_pt, ngx_int_t, ngx_ptocidr, ngx_str_t,
};
use swrcache::engine::PurgeMode;
use swrcache::engine::key::recipe::parts_of;
use swrcache::engine::policy::set::{self, Refusal, flag, one, refuse, time};

use crate::config::location::{Choice, LocConf, MainConf, PurgeMethod, StatusHeader, report};
use crate::config::value::Value;
use crate::config::zone::{Zone, ZoneOptions, file_path};
use crate::sys::conf::{self, FAILED};
use crate::sys::pool::{Pool, borrow, bytes_of};

pub(crate) type Parsed<T> = Result<T, Refusal>;

/// A directive that is being read: its words, without its name.
pub(crate) struct Line<'a> {
    cf: *mut ngx_conf_t,
    pub(crate) words: Vec<&'a [u8]>,
}

pub(crate) fn read(
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

pub(crate) const TWICE: &str = "is given twice in the same block";

pub(crate) fn once<T>(place: &mut Option<T>, value: Parsed<T>) -> Parsed<()> {
    if place.is_some() {
        return Err(TWICE.into());
    }
    *place = Some(value?);
    Ok(())
}

/// Adds the values of a directive that may be given several times in a block.
pub(crate) fn more<T>(place: &mut Option<Vec<T>>, values: Parsed<Vec<T>>) -> Parsed<()> {
    place.get_or_insert_default().extend(values?);
    Ok(())
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

impl Line<'_> {
    /// Makes `handler` the content handler of the location.
    pub(crate) fn set_handler(&self, handler: ngx_http_handler_pt) {
        conf::core_location(self.cf).handler = handler;
    }

    fn value(&self, word: &[u8]) -> Parsed<Value> {
        match Value::compile(self.cf, word) {
            Some(value) => Ok(value),
            None => refuse(word, "a string with known variables"),
        }
    }

    pub(crate) fn values(&self) -> Parsed<Vec<Value>> {
        self.words.iter().map(|word| self.value(word)).collect()
    }
}

/// The parts of a key.
pub(crate) fn key(line: &Line<'_>) -> Parsed<Vec<Value>> {
    let word = one(&line.words, "a string")?;
    // Whole first: nginx then names a variable that is wrong as it stands.
    line.value(word)?;
    let parts = parts_of(word).into_iter();
    parts.map(|part| line.value(part)).collect()
}

/// Which responses have a `Cache-Status`. A condition has a variable: a word without one would be a misspelt `on`.
pub(crate) fn status_header(line: &Line<'_>) -> Parsed<StatusHeader> {
    const EXPECTED: &str = "\"on\", \"off\" or strings with variables";
    if let Some(word) = line.words.iter().find(|word| !word.contains(&b'$')) {
        return match flag(&line.words) {
            Ok(true) => Ok(StatusHeader::Always),
            Ok(false) => Ok(StatusHeader::Never),
            Err(_) => refuse(word, EXPECTED),
        };
    }
    line.values().map(StatusHeader::If)
}

fn size(word: &[u8]) -> Parsed<usize> {
    set::size(word).and_then(|bytes| usize::try_from(bytes).map_err(|e| e.to_string()))
}

pub(crate) fn zone(line: &Line<'_>, main: &mut MainConf) -> Parsed<()> {
    let mut place = None;
    let mut options = ZoneOptions::default();
    for word in &line.words {
        let (name, value) = split(word, b'=')
            .ok_or_else(|| format!("has the invalid parameter \"{}\"", text(word)))?;
        match name {
            b"zone" => parameter(&mut place, name, zone_place(word, value))?,
            b"max_object" => parameter(&mut options.max_object, name, size(value))?,
            b"inactive" => parameter(&mut options.inactive, name, time(value))?,
            b"file" if !value.is_empty() => {
                parameter(&mut options.file, name, file_path(line.cf, value))?;
            }
            _ => {
                return refuse(
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

/// Sets a parameter that may come once.
fn parameter<T>(place: &mut Option<T>, name: &[u8], value: Parsed<T>) -> Parsed<()> {
    if place.is_some() {
        return Err(format!("has the parameter {}= twice", text(name)));
    }
    *place = Some(value?);
    Ok(())
}

fn zone_place<'a>(word: &[u8], value: &'a [u8]) -> Parsed<(&'a [u8], usize)> {
    match split(value, b':') {
        Some((name, bytes)) if !name.is_empty() => Ok((name, size(bytes)?)),
        _ => refuse(word, "zone=NAME:SIZE, such as zone=main:256m"),
    }
}

pub(crate) fn purge(line: &Line<'_>, conf: &mut LocConf) -> Parsed<()> {
    let expected = "zone=NAME";
    let word = one(&line.words, expected)?;
    let name = word.strip_prefix(b"zone=").filter(|name| !name.is_empty());
    let name = name.map_or_else(|| refuse(word, expected), Ok)?;
    // SAFETY: the pool of the cycle being read.
    let pool = unsafe { Pool::new((*line.cf).pool) };
    once(
        &mut conf.purges,
        pool.copy(name).ok_or("ran out of memory".into()),
    )
}

pub(crate) fn purge_method(line: &Line<'_>) -> Parsed<PurgeMethod> {
    const EXPECTED: &str =
        "takes METHOD ... from ADDRESS or CIDR ... [soft], such as PURGE from 127.0.0.1";
    let (words, mode) = match line.words.as_slice() {
        [words @ .., b"soft"] => (words, PurgeMode::Soft),
        words => (words, PurgeMode::Hard),
    };
    let at = words.iter().position(|word| *word == b"from");
    let (methods, addresses) = words.split_at(at.ok_or(EXPECTED)?);
    let addresses = addresses.get(1..).unwrap_or_default();
    if methods.is_empty() || addresses.is_empty() {
        return Err(EXPECTED.into());
    }
    for method in methods {
        let is_known = [&b"GET"[..], b"HEAD", b"POST"].contains(method);
        let is_capital = |b: &u8| b.is_ascii_uppercase() || b"-_".contains(b);
        if is_known || !method.iter().all(is_capital) {
            return refuse(method, "a method in capitals of its own, such as PURGE");
        }
    }
    // SAFETY: the pool of the cycle being read.
    let from =
        unsafe { ngx_array_create((*line.cf).pool, addresses.len(), size_of::<ngx_cidr_t>()) };
    if from.is_null() {
        return Err("ran out of memory".into());
    }
    for address in addresses {
        let mut text = borrow(address);
        // SAFETY: the array was made for elements of this type; all-zero is a valid value of it. nginx reads the text only.
        let rc = unsafe {
            let place: *mut ngx_cidr_t = ngx_array_push(from).cast();
            let place = place.as_mut().ok_or("ran out of memory")?;
            *place = mem::zeroed();
            if *address == b"unix:" {
                place.family = libc::AF_UNIX as usize;
                continue;
            }
            ngx_ptocidr(&mut text, place)
        };
        // NGX_DONE: bits beyond the mask are set, and ignored as by `allow`.
        if rc != NGX_OK as ngx_int_t && rc != NGX_DONE as ngx_int_t {
            return refuse(
                address,
                "an address or a CIDR block, such as 127.0.0.1 or 10.0.0.0/8",
            );
        }
    }
    Ok(PurgeMethod {
        methods: methods.iter().map(|method| Box::from(*method)).collect(),
        mode,
        from,
    })
}

fn split(word: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let i = word.iter().position(|b| *b == at)?;
    Some((&word[..i], &word[i + 1..]))
}

pub(crate) fn choice(line: &Line<'_>) -> Parsed<Choice> {
    let word = one(&line.words, "the name of a zone or \"off\"")?;
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
