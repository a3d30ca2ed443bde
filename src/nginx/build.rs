//! Tells the code which nginx it is built against.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(header_lists)");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_VERSION_NUMBER");
    // Since 1.23.0 equal header fields hang together by `next`; before, some were arrays (CHANGES 1.23.0).
    let version = std::env::var("DEP_NGINX_VERSION_NUMBER").unwrap_or_default();
    let version: u32 = version.trim_end_matches(['L', 'U']).parse().unwrap_or(0);
    if version >= 1_023_000 {
        println!("cargo::rustc-cfg=header_lists");
    }
    for feature in std::env::var("DEP_NGINX_FEATURES")
        .unwrap_or_default()
        .split(',')
    {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values(any()))");
    println!("cargo::rustc-link-arg=-Wl,-soname,ngx_http_swr_cache_module.so");
}
