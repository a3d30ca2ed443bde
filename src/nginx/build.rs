//! Tells the code what the nginx has that it is built for, and looks whether its requests have fields that the code does not know.

use std::env;

use request::FIELDS;

#[path = "build/request.rs"]
mod request;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(nginx_has, values(any()))");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_HAS");
    let has = env::var("DEP_NGINX_HAS").unwrap_or_default();
    for field in has.split_terminator(',') {
        println!("cargo::rustc-cfg=nginx_has=\"{field}\"");
    }
    println!("cargo::rustc-link-arg=-Wl,-soname,ngx_http_swr_cache_module.so");
    look_for_new_fields();
}

/// A fetch is a copy of its client's request, field by field: one that is new to nginx may have to be copied too. That is for us to see,
/// where a server that is tested is built for (scripts/module.sh); others build with a warning.
fn look_for_new_fields() {
    println!("cargo::rerun-if-changed=build/request.rs");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_REQUEST");
    println!("cargo::rerun-if-env-changed=SWR_CACHE_KNOWS_NGINX");
    let level = match env::var_os("SWR_CACHE_KNOWS_NGINX") {
        Some(_) => "error",
        None => "warning",
    };
    let request = env::var("DEP_NGINX_REQUEST").unwrap_or_default();
    let known = |field: &&str| FIELDS.iter().any(|(names, _)| names.contains(field));
    for field in request.split_terminator(',').filter(|field| !known(field)) {
        println!(
            "cargo::{level}=ngx_http_request_t has a field that a fetch does not treat: {field}"
        );
    }
}
