//! Whether the nginx that reads the configuration has its structs as the one that the module was built for.
//!
//! nginx compares its version and its signature with the module's before it calls the module (ngx_add_module). Neither tells of a field
//! that a fork, a patch or an option of configure has put into a struct, and a module that finds every field a few bytes off crashes with
//! the first request. But nginx's own tables say where it has some fields: the one of header fields, those of directives, and the
//! variables that it copies from a request; and its arrays and lists say how large their elements are.

use std::ffi::CStr;
use std::mem::{offset_of, size_of};

use nginx_sys::{
    ngx_conf_t, ngx_hash_key_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_header_t, ngx_http_headers_in, ngx_http_headers_in_t, ngx_http_request_t,
    ngx_http_upstream_conf_t, ngx_http_variable_t, ngx_listening_t, ngx_module_t, ngx_shm_zone_t,
};

use crate::sys::conf;
use crate::sys::pool::bytes_of;
use crate::sys::symbol::symbol;

/// A field by its name in one of nginx's tables.
struct Field {
    name: &'static str,
    is: &'static str,
    offset: usize,
}

macro_rules! fields {
    ($of:ident, $($name:literal => $($field:ident).+),+) => {
        [$(Field {
            name: $name,
            is: concat!(stringify!($of), ".", stringify!($($field).+)),
            offset: offset_of!($of, $($field).+),
        }),+]
    };
}

/// Among the header fields of a request (ngx_http_headers_in).
const HEADER_FIELDS: [Field; 5] = fields!(ngx_http_headers_in_t,
    "Host" => host,
    "Connection" => connection,
    "Content-Length" => content_length,
    "Range" => range,
    "Authorization" => authorization);

/// Among the directives of the core module.
const MAIN_DIRECTIVES: [Field; 1] = fields!(ngx_http_core_main_conf_t,
    "variables_hash_max_size" => variables_hash_max_size);
const LOCATION_DIRECTIVES: [Field; 1] = fields!(ngx_http_core_loc_conf_t,
    "if_modified_since" => if_modified_since);

/// Among the directives of the proxy module, whose configuration begins with that of the upstream.
const PROXY_DIRECTIVES: [Field; 1] = fields!(ngx_http_upstream_conf_t,
    "proxy_ignore_headers" => ignore_headers);

/// Among the variables (ngx_http_core_variables); nginx lets no other module replace these.
const VARIABLES: [Field; 6] = fields!(ngx_http_request_t,
    "server_protocol" => http_protocol,
    "request_uri" => unparsed_uri,
    "uri" => uri,
    "query_string" => args,
    "http_host" => headers_in.host,
    "sent_http_cache_control" => headers_out.cache_control);

/// What is different, in words; nothing if all that can be seen is as the module was built for.
pub(crate) fn difference(cf: *mut ngx_conf_t) -> Option<String> {
    // What is read here stands in structs that an earlier line has compared.
    in_header_fields()
        .or_else(|| in_directives(c"ngx_http_core_module", &MAIN_DIRECTIVES))
        .or_else(|| in_directives(c"ngx_http_core_module", &LOCATION_DIRECTIVES))
        .or_else(|| in_directives(c"ngx_http_proxy_module", &PROXY_DIRECTIVES))
        .or_else(|| in_sizes(cf))
        .or_else(|| in_variables(cf))
}

/// Compares the field of that name, if it is among the known ones.
fn compare(known: &[Field], name: &[u8], found: usize) -> Option<String> {
    let field = known.iter().find(|field| field.name.as_bytes() == name)?;
    (field.offset != found).then(|| {
        let Field { is, offset, .. } = field;
        format!("{is} is at byte {found}, not at {offset}")
    })
}

fn in_header_fields() -> Option<String> {
    let mut header: *const ngx_http_header_t = (&raw const ngx_http_headers_in).cast();
    // SAFETY: nginx's table ends with an entry without a name (ngx_http_init_headers_in_hash).
    unsafe {
        while (*header).name.len > 0 {
            let different = compare(&HEADER_FIELDS, bytes_of(&(*header).name), (*header).offset);
            if different.is_some() {
                return different;
            }
            header = header.add(1);
        }
    }
    None
}

fn in_directives(module: &CStr, known: &[Field]) -> Option<String> {
    let module: *const ngx_module_t = symbol(module).cast();
    // SAFETY: NULL, or a module of nginx, whose directives end with one without a name (ngx_conf_handler).
    unsafe {
        let mut command = module.as_ref()?.commands;
        while (*command).name.len > 0 {
            let different = compare(known, bytes_of(&(*command).name), (*command).offset);
            if different.is_some() {
                return different;
            }
            command = command.add(1);
        }
    }
    None
}

fn in_sizes(cf: *mut ngx_conf_t) -> Option<String> {
    // SAFETY: nginx has made the array and the list of the cycle before it reads the configuration (ngx_init_cycle).
    let (listening, zones) = unsafe {
        let cycle = &*(*cf).cycle;
        (cycle.listening.size, cycle.shared_memory.size)
    };
    let sizes = [
        ("ngx_listening_t", size_of::<ngx_listening_t>(), listening),
        ("ngx_shm_zone_t", size_of::<ngx_shm_zone_t>(), zones),
    ];
    let different = sizes.into_iter().find(|(_, size, found)| size != found);
    different.map(|(of, size, found)| format!("{of} has {found} bytes, not {size}"))
}

fn in_variables(cf: *mut ngx_conf_t) -> Option<String> {
    // SAFETY: the core module has listed its variables before it calls another's preconfiguration; the list has a variable to each name.
    unsafe {
        let keys = &conf::core_main(cf).variables_keys.as_ref()?.keys;
        let keys: &[ngx_hash_key_t] = keys.as_slice();
        keys.iter().find_map(|key| {
            let variable = key.value.cast::<ngx_http_variable_t>().as_ref()?;
            compare(&VARIABLES, bytes_of(&variable.name), variable.data)
        })
    }
}
