//! The grammar of the directives, the same for every host: parses a name and its arguments into a [`Policy`].
//!
//! A host keeps the directives of each block as written ([`Directives`]), merges blocks as nginx does, and
//! makes the policy in the end. A directive that only a host can interpret (variables, zones, addresses) is
//! not a directive of the engine.

use std::borrow::Cow;

use crate::engine::encode::coding::Coding;
use crate::http::Millis;
use crate::http::syntax::{digits, is_token};

use super::{
    EncodeLevel, IgnoreFields, Invalidate, MethodSet, Policy, StatusMatch, UseStale, Window, units,
};
use crate::engine::key::query::{Names, Parameters, Query, TRACKING};

/// Why a directive is refused: the rest of a sentence that begins with the directive's name.
pub type Refusal = String;

type Parsed<T> = Result<T, Refusal>;

/// The arguments of a directive.
type Words<'a> = &'a [&'a [u8]];

/// A directive: its name without nginx's prefix, what starts a list for one that may be repeated, and what a
/// line of it sets.
struct Directive {
    name: &'static str,
    /// For a directive that may be repeated in a block: removes the default values before the first line.
    begin: Option<fn(&mut Policy)>,
    set: fn(&mut Policy, Words<'_>) -> Parsed<()>,
}

const fn once(name: &'static str, set: fn(&mut Policy, Words<'_>) -> Parsed<()>) -> Directive {
    Directive {
        name,
        begin: None,
        set,
    }
}

const fn several(
    name: &'static str,
    begin: fn(&mut Policy),
    set: fn(&mut Policy, Words<'_>) -> Parsed<()>,
) -> Directive {
    Directive {
        name,
        begin: Some(begin),
        set,
    }
}

/// A directive whose arguments `$read` parses into a field of the policy.
macro_rules! field {
    ($name:literal, $field:ident, $read:expr) => {
        once($name, |policy, words| {
            policy.$field = $read(words)?;
            Ok(())
        })
    };
}

const TABLE: [Directive; 31] = [
    several(
        "methods",
        |p| p.methods = MethodSet::GET.with(MethodSet::HEAD),
        methods,
    ),
    several("valid", |p| p.valid.clear(), valid),
    several("ignore_headers", |p| p.ignore = IgnoreFields::NONE, ignore),
    several(
        "use_stale",
        |p| p.use_stale = UseStale::UNWRITTEN,
        use_stale,
    ),
    field!("convert_head", convert_head, flag),
    field!("max_range_offset", max_range_offset, |words| or_off(
        words,
        SIZE_OR_OFF,
        units::size
    )),
    field!("min_uses", min_uses, |words| number(words, 0, u32::MAX)),
    field!("stale_while_revalidate", swr, window),
    field!("stale_if_error", sie, window),
    field!("background_update", background_update, flag),
    field!("revalidate", revalidate, flag),
    field!("edge_revalidation", edge_revalidation, flag),
    field!("lock", lock, flag),
    field!("lock_timeout", lock_timeout, one_time),
    field!("lock_age", lock_age, one_time),
    field!("control_headers", control_fields, field_names),
    field!("client_control", client_control, flag),
    field!("refresh_max", refresh_max, |words| number(
        words,
        0,
        1 << 20
    )),
    once("refresh_backoff", backoff),
    field!("refresh_ahead", refresh_ahead, |words| or_off(
        words, PERCENT, percent
    )),
    field!("revalidate_timeout", revalidate_timeout, |words| or_off(
        words,
        TIME_OR_OFF,
        units::time
    )),
    field!("inactive", inactive, |words| or_off(
        words,
        TIME_OR_OFF,
        units::time
    )),
    field!("vary_normalize", vary_normalize, field_names),
    field!("max_variants", max_variants, |words| number(
        words,
        1,
        1 << 16
    )),
    field!("query", query, query),
    field!("invalidate", invalidate, invalidate),
    once("tag_headers", tag_fields),
    field!("compress", compress, codings),
    field!("compress_types", compress_types, media_types),
    field!("compress_min_length", compress_min_length, |words| one(
        words, SIZE
    )
    .and_then(size)),
    // Whether clients' dates are evaluated: nginx has a directive of its own, other hosts use this one.
    field!("if_modified_since", if_modified_since, flag),
];

/// The directives of a block as written, in order.
///
/// ```
/// use swrcache::engine::Directives;
///
/// let mut server = Directives::default();
/// server.add("valid", &[b"200", b"10m"])?;
/// let mut location = Directives::default();
/// location.add("lock_timeout", &[b"2s"])?;
/// location.inherit(&server);
/// assert_eq!(location.policy().lock_timeout, 2_000);
/// assert!(location.add("lock", &[b"perhaps"]).is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Directives {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    /// An index in [`TABLE`].
    directive: usize,
    words: Vec<Box<[u8]>>,
}

impl Directives {
    /// Adds a directive, by its name without the prefix `swr_cache_`. A further line adds to the earlier ones
    /// if nginx accepts several (`valid`, `methods`, `ignore_headers`, `use_stale`); otherwise it replaces
    /// the earlier one.
    ///
    /// # Errors
    /// Why the directive is refused, as the rest of a sentence that begins with its name; nothing has been
    /// added then.
    pub fn add(&mut self, name: &str, words: &[&[u8]]) -> Result<(), Refusal> {
        let at = TABLE.iter().position(|d| d.name == name);
        let at = at.ok_or_else(|| Refusal::from("is not a directive of the cache"))?;
        let directive = TABLE.get(at).ok_or_else(Refusal::new)?;
        (directive.set)(&mut Policy::default(), words)?;
        if directive.begin.is_none() {
            self.lines.retain(|line| line.directive != at);
        }
        self.lines.push(Line {
            directive: at,
            words: words.iter().map(|word| Box::from(*word)).collect(),
        });
        Ok(())
    }

    /// Whether the block has the directive, and the directive may not be repeated.
    pub fn is_taken(&self, name: &str) -> bool {
        self.lines.iter().any(|line| {
            let directive = TABLE.get(line.directive);
            directive.is_some_and(|d| d.name == name && d.begin.is_none())
        })
    }

    /// The words of the directive's last line, as written, if it stands here or was inherited.
    pub fn text(&self, name: &str) -> Option<String> {
        let is = |line: &&Line| TABLE.get(line.directive).is_some_and(|d| d.name == name);
        let words = &self.lines.iter().rfind(is)?.words;
        let words: Vec<_> = words.iter().map(|word| text(word)).collect();
        Some(words.join(" "))
    }

    /// Adds the outer block's directives that this block does not have, as nginx merges configurations.
    pub fn inherit(&mut self, outer: &Directives) {
        let is_absent =
            |line: &&Line| !self.lines.iter().any(|own| own.directive == line.directive);
        let inherited: Vec<Line> = outer.lines.iter().filter(is_absent).cloned().collect();
        self.lines.splice(0..0, inherited);
    }

    /// The resulting policy; directives that were not written have their defaults.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        let mut begun = [false; TABLE.len()];
        for line in &self.lines {
            let Some(directive) = TABLE.get(line.directive) else {
                continue;
            };
            if let (Some(begin), Some(begun @ false)) =
                (directive.begin, begun.get_mut(line.directive))
            {
                begin(&mut policy);
                *begun = true;
            }
            let words: Vec<&[u8]> = line.words.iter().map(Box::as_ref).collect();
            // `add` has parsed it, so it parses now.
            let _ = (directive.set)(&mut policy, &words);
        }
        policy
    }
}

fn text(word: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(word)
}

/// Refuses a value; for hosts' own directives too.
///
/// # Errors
/// Always.
pub fn refuse<T>(word: &[u8], expected: &str) -> Result<T, Refusal> {
    let value = text(word);
    Err(format!(
        "has the invalid value \"{value}\", expected {expected}"
    ))
}

/// Returns the only argument of a directive.
///
/// # Errors
/// If there is not exactly one; `expected` names what the directive takes.
pub fn one<'a>(words: &[&'a [u8]], expected: &str) -> Result<&'a [u8], Refusal> {
    match words {
        [word] => Ok(word),
        words => Err(format!(
            "takes one value, {expected}, but has {}",
            words.len()
        )),
    }
}

/// Parses `on` or `off`, in any case (ngx_conf_set_flag_slot).
///
/// # Errors
/// If the argument is anything else.
pub fn flag(words: &[&[u8]]) -> Result<bool, Refusal> {
    const EXPECTED: &str = "\"on\" or \"off\"";
    let word = one(words, EXPECTED)?;
    match word.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => refuse(word, EXPECTED),
    }
}

const TIME: &str = "a time such as 500ms, 5s, 10m or 1d";
const SIZE: &str = "a size such as 512k, 256m or 4g";

/// Parses a time in nginx's grammar ([`units::time`]), in milliseconds.
///
/// # Errors
/// If the argument is not a time.
pub fn time(word: &[u8]) -> Result<Millis, Refusal> {
    units::time(word).map_or_else(|| refuse(word, TIME), Ok)
}

/// Parses a size in nginx's grammar ([`units::size`]), in bytes.
///
/// # Errors
/// If the argument is not a size.
pub fn size(word: &[u8]) -> Result<u64, Refusal> {
    units::size(word).map_or_else(|| refuse(word, SIZE), Ok)
}

fn one_time(words: Words<'_>) -> Parsed<Millis> {
    one(words, TIME).and_then(time)
}

fn number(words: Words<'_>, least: u32, most: u32) -> Parsed<u32> {
    let expected = format!("a number from {least} to {most}");
    let word = one(words, &expected)?;
    let number = digits(word).and_then(|n| u32::try_from(n).ok());
    let number = number.filter(|n| (least..=most).contains(n));
    number.map_or_else(|| refuse(word, &expected), Ok)
}

const TIME_OR_OFF: &str = "a time such as 500ms, 5s, 10m or 1d, or \"off\"";
const SIZE_OR_OFF: &str = "a size such as 512k, 256m or 4g, or \"off\"";
const PERCENT: &str = "a percentage from 1% to 99%, or \"off\"";

fn or_off<T>(words: Words<'_>, expected: &str, read: fn(&[u8]) -> Option<T>) -> Parsed<Option<T>> {
    match one(words, expected)? {
        b"off" => Ok(None),
        word => read(word).map_or_else(|| refuse(word, expected), |value| Ok(Some(value))),
    }
}

fn percent(word: &[u8]) -> Option<u8> {
    let percent = digits(word.strip_suffix(b"%").unwrap_or(word))?;
    u8::try_from(percent).ok().filter(|p| (1..=99).contains(p))
}

/// Parses field names; a single `off` means none.
fn field_names(words: Words<'_>) -> Parsed<Vec<Box<str>>> {
    const EXPECTED: &str = "the name of a header field";
    match words {
        [] => Err("needs the names of header fields, or \"off\"".into()),
        [b"off"] => Ok(Vec::new()),
        words => {
            if let Some(word) = words.iter().find(|word| !is_token(word)) {
                return refuse(word, EXPECTED);
            }
            Ok(words.iter().map(|word| text(word).into()).collect())
        }
    }
}

/// `GET` and `HEAD` are always included, and case is ignored (ngx_http_proxy_cache_methods).
fn methods(policy: &mut Policy, words: Words<'_>) -> Parsed<()> {
    const EXPECTED: &str = "GET, HEAD or POST";
    for word in some(words, EXPECTED)? {
        policy.methods = policy
            .methods
            .with(match word.to_ascii_uppercase().as_slice() {
                b"GET" => MethodSet::GET,
                b"HEAD" => MethodSet::HEAD,
                b"POST" => MethodSet::POST,
                _ => return refuse(word, EXPECTED),
            });
    }
    Ok(())
}

/// Requires at least one argument.
fn some<'a, 'w>(words: &'a [&'w [u8]], expected: &str) -> Parsed<&'a [&'w [u8]]> {
    match words {
        [] => Err(format!("needs {expected}")),
        words => Ok(words),
    }
}

/// `[CODE ... | any] TIME`; without a code it applies to 200, 301 and 302.
fn valid(policy: &mut Policy, words: Words<'_>) -> Parsed<()> {
    let Some((last, codes)) = words.split_last() else {
        return Err("needs a time".into());
    };
    let time = time(last)?;
    if codes.is_empty() {
        policy.valid.push((StatusMatch::Usual, time));
    }
    for word in codes {
        policy.valid.push((status(word)?, time));
    }
    Ok(())
}

fn status(word: &[u8]) -> Parsed<StatusMatch> {
    if word == b"any" {
        return Ok(StatusMatch::Any);
    }
    match digits(word).and_then(|n| u16::try_from(n).ok()) {
        Some(code) if (100..600).contains(&code) => Ok(StatusMatch::Code(code)),
        _ => refuse(word, "a status from 100 to 599 or \"any\""),
    }
}

fn ignore(policy: &mut Policy, words: Words<'_>) -> Parsed<()> {
    for word in some(words, &list_of(&IgnoreFields::NAMES))? {
        match IgnoreFields::of(word) {
            Some(field) => policy.ignore = policy.ignore.with(field),
            None => return refuse(word, &list_of(&IgnoreFields::NAMES)),
        }
    }
    Ok(())
}

const STALE_CONDITIONS: [(&str, u16); 11] = [
    ("error", UseStale::ERROR),
    ("timeout", UseStale::TIMEOUT),
    ("invalid_header", UseStale::INVALID_HEADER),
    ("updating", UseStale::UPDATING),
    ("http_500", UseStale::HTTP_500),
    ("http_502", UseStale::HTTP_502),
    ("http_503", UseStale::HTTP_503),
    ("http_504", UseStale::HTTP_504),
    ("http_403", UseStale::HTTP_403),
    ("http_404", UseStale::HTTP_404),
    ("http_429", UseStale::HTTP_429),
];

/// Once `off` is listed, in any line, no failure is covered (ngx_http_proxy_merge_loc_conf).
fn use_stale(policy: &mut Policy, words: Words<'_>) -> Parsed<()> {
    let expected = || format!("{} or off", list_of(&STALE_CONDITIONS));
    for word in some(words, &expected())? {
        let list = &mut policy.use_stale;
        *list = match find(&STALE_CONDITIONS, word) {
            _ if *list == UseStale::OFF => UseStale::OFF,
            None if word.eq_ignore_ascii_case(b"off") => UseStale::OFF,
            Some(bit) => UseStale::listed(list.conditions | bit),
            None => return refuse(word, &expected()),
        };
    }
    Ok(())
}

fn find<T: Copy>(list: &[(&str, T)], word: &[u8]) -> Option<T> {
    let is = |(name, _): &&(&str, T)| word.eq_ignore_ascii_case(name.as_bytes());
    list.iter().find(is).map(|(_, value)| *value)
}

fn list_of<T>(list: &[(&str, T)]) -> String {
    let names: Vec<_> = list.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn window(words: Words<'_>) -> Parsed<Window> {
    const EXPECTED: &str = "a time, \"origin\" or \"off\"";
    match words {
        [b"origin"] => Ok(Window::Origin),
        [b"off"] => Ok(Window::Off),
        [word] => {
            units::time(word).map_or_else(|| refuse(word, EXPECTED), |t| Ok(Window::Default(t)))
        }
        [word, b"force"] => time(word).map(Window::Force),
        [_, word, ..] => refuse(word, "\"force\" or nothing after the time"),
        [] => Err(format!("needs {EXPECTED}")),
    }
}

fn backoff(policy: &mut Policy, words: Words<'_>) -> Parsed<()> {
    let [least, most] = words else {
        return Err("takes two times, the first pause and the longest, such as 1s 60s".into());
    };
    let (min, max) = (time(least)?, time(most)?);
    if min == 0 {
        return refuse(least, "a first pause longer than 0");
    }
    if min > max {
        return refuse(most, "a longest pause that is not shorter than the first");
    }
    (policy.backoff_min, policy.backoff_max) = (min, max);
    Ok(())
}

/// Names of fields, and `pass` at their end; `off` alone is none.
fn tag_fields(policy: &mut Policy, words: Words<'_>) -> Parsed<()> {
    let (names, pass) = match words {
        [names @ .., b"pass"] => (names, true),
        names => (names, false),
    };
    (policy.tag_fields, policy.pass_tags) = (field_names(names)?, pass);
    Ok(())
}

/// `[sort] [drop NAME ... | keep NAME ...] | as-is`
fn query(words: Words<'_>) -> Parsed<Query> {
    const EXPECTED: &str = "\"as-is\", or \"sort\" and then \"drop\" or \"keep\" with names";
    if words == [b"as-is"] {
        return Ok(Query::default());
    }
    let (sort, rest) = match words {
        [b"sort", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let parameters = match rest {
        [] if sort => Parameters::All,
        [b"drop", names @ ..] => Parameters::Drop(parameter_names(names)?),
        [b"keep", names @ ..] => Parameters::Keep(parameter_names(names)?),
        [] => return Err(format!("needs {EXPECTED}")),
        [word, ..] => return refuse(word, EXPECTED),
    };
    Ok(Query { sort, parameters })
}

fn parameter_names(words: Words<'_>) -> Parsed<Names> {
    const EXPECTED: &str = "the name of a query parameter, of which the last byte may be a \"*\"";
    let mut names = Names::default();
    for word in some(
        words,
        "names of query parameters, such as page, utm_* or tracking",
    )? {
        let stem = word.strip_suffix(b"*").unwrap_or(word);
        let is_good = !word.is_empty() && !stem.iter().any(|b| b"*&=;#".contains(b));
        match *word {
            b"drop" | b"keep" | b"as-is" => {
                return refuse(word, "names, either after \"drop\" or after \"keep\"");
            }
            b"tracking" => TRACKING.iter().for_each(|name| names.add(name.as_bytes())),
            name if is_good => names.add(name),
            _ => return refuse(word, EXPECTED),
        }
    }
    Ok(names)
}

/// `off`, or codings, each with a level or not, in the order of preference.
fn codings(words: Words<'_>) -> Parsed<Vec<EncodeLevel>> {
    const EXPECTED: &str = "\"off\", or gzip, br or zstd, each with =LEVEL or not";
    if words == [b"off"] {
        return Ok(Vec::new());
    }
    let mut codings: Vec<EncodeLevel> = Vec::new();
    for word in some(words, EXPECTED)? {
        let mut parts = word.splitn(2, |b| *b == b'=');
        let name = parts.next().unwrap_or_default();
        let coding = Coding::ALL.iter().find(|c| c.as_str().as_bytes() == name);
        let Some(coding) = coding.copied() else {
            return refuse(word, EXPECTED);
        };
        let (least, most, usual) = coding.levels();
        let level = match parts.next() {
            None => Some(usual),
            Some(level) => digits(level).and_then(|n| u32::try_from(n).ok()),
        };
        let Some(level) = level.filter(|level| (least..=most).contains(level)) else {
            return refuse(word, &format!("a level from {least} to {most}"));
        };
        if codings.iter().any(|other| other.coding == coding) {
            return refuse(word, "each coding once");
        }
        codings.push(EncodeLevel { coding, level });
    }
    if !codings.is_empty() && !cfg!(feature = "encode") {
        return Err("needs encoders, and this build has none".into());
    }
    Ok(codings)
}

/// Media types, or `*` for any.
fn media_types(words: Words<'_>) -> Parsed<Vec<Box<str>>> {
    const EXPECTED: &str = "a media type such as text/css, or \"*\"";
    for word in some(words, EXPECTED)? {
        let mut halves = word.splitn(2, |b| *b == b'/');
        let is_half = |half: Option<&[u8]>| half.is_some_and(is_token);
        if *word != b"*" && !(is_half(halves.next()) && is_half(halves.next())) {
            return refuse(word, EXPECTED);
        }
    }
    Ok(words.iter().map(|word| text(word).into()).collect())
}

fn invalidate(words: Words<'_>) -> Parsed<Invalidate> {
    const EXPECTED: &str = "\"on\", \"target\", \"soft\" or \"off\"";
    let word = one(words, EXPECTED)?;
    match word {
        b"on" => Ok(Invalidate::On),
        b"target" => Ok(Invalidate::Target),
        b"soft" => Ok(Invalidate::Soft),
        b"off" => Ok(Invalidate::Off),
        _ => refuse(word, EXPECTED),
    }
}

#[cfg(test)]
mod tests;
