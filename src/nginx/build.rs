//! Tells the code what the nginx has that it is built for.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(nginx_has, values(any()))");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_HAS");
    let has = std::env::var("DEP_NGINX_HAS").unwrap_or_default();
    for field in has.split_terminator(',') {
        println!("cargo::rustc-cfg=nginx_has=\"{field}\"");
    }
    println!("cargo::rustc-link-arg=-Wl,-soname,ngx_http_swr_cache_module.so");
}
