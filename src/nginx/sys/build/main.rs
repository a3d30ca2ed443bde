//! Bindings to one nginx, from its headers as it was configured, and what the C compiler makes of the same headers.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::headers::Headers;
use crate::layout::Layout;

mod headers;
mod layout;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HEADER: &str = "build/headers.h";

/// Fields that only some nginxes have. Where this one has them, `cfg(nginx_has = "struct.field")` is set, here and, by
/// DEP_NGINX_HAS, in the module.
const SOMETIMES: [&str; 9] = [
    // Not with --without-http_gzip_module, unless another module makes use of them.
    "ngx_http_request_s.set_gzip_ok",
    "ngx_http_request_s.set_gzip_vary",
    // Not with --without-pcre.
    "ngx_http_request_s.captures",
    // Only with --with-http_ssl_module.
    TLS,
    // 1.23.0: equal header fields hang together; before, some were arrays.
    "ngx_table_elt_s.next",
    // 1.29.0: `103 Early Hints` is known.
    "ngx_http_core_loc_conf_s.early_hints",
    // 1.29.3: the port of the request's target or Host field.
    "ngx_http_request_s.port",
    // Angie: modules bear its name, and log lines that of a source file.
    "ngx_module_s.angie_sign",
    // Angie: a bit field, which elsewhere is a number.
    "ngx_shm_zone_s.set_noreuse",
];

/// What nginx knows of a connection with TLS, if it has that.
const TLS: &str = "ngx_ssl_connection_s.connection";

fn main() {
    if let Err(e) = generate() {
        println!("cargo::error={}", e.to_string().replace('\n', "; "));
        std::process::exit(1);
    }
}

fn generate() -> Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let (source, build) = nginx(&out)?;
    rerun_on(&[
        "build/main.rs",
        "build/headers.rs",
        "build/layout.rs",
        HEADER,
    ]);
    for file in ["Makefile", "ngx_auto_config.h"] {
        println!("cargo::rerun-if-changed={}", build.join(file).display());
    }

    let headers = Headers::read(&source, &build.join("Makefile"), Path::new(HEADER))?;
    let mut bindings = syn::parse_file(&bindings(&headers)?)?;
    let layout = Layout::of(&mut bindings);
    // A connection has a place for it in any nginx that was made --with-compat, and so may have TLS.
    if layout.has("ngx_connection_s.ssl") && !layout.has(TLS) {
        return Err("nginx is configured --with-compat, so that the module could be loaded into one with TLS, but without \
                    TLS itself; add --with-http_ssl_module to the arguments of its configure"
            .into());
    }
    fs::write(out.join("bindings.rs"), prettyplease::unparse(&bindings))?;
    let program = layout.program(&headers.preprocess()?)?;
    let places = headers.run(&program, &out.join("layout"))?;
    fs::write(out.join("layout.rs"), places)?;
    say_what_it_has(&layout);
    Ok(())
}

fn rerun_on(files: &[&str]) {
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
}

/// The folders of nginx's sources and of its build.
fn nginx(out: &Path) -> Result<(PathBuf, PathBuf)> {
    for name in ["NGINX_SOURCE_DIR", "NGINX_BUILD_DIR"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    match (env::var("NGINX_SOURCE_DIR"), env::var("NGINX_BUILD_DIR")) {
        (Ok(source), Ok(build)) => Ok((source.into(), build.into())),
        _ => vendored(out),
    }
}

#[cfg(feature = "vendored")]
fn vendored(out: &Path) -> Result<(PathBuf, PathBuf)> {
    nginx_src::print_cargo_metadata();
    Ok(nginx_src::build(out.join("objs"))?)
}

#[cfg(not(feature = "vendored"))]
fn vendored(_: &Path) -> Result<(PathBuf, PathBuf)> {
    Err("set NGINX_SOURCE_DIR and NGINX_BUILD_DIR to an nginx that is configured, or take the feature \"vendored\"".into())
}

fn bindings(headers: &Headers) -> Result<String> {
    let bindings = bindgen::Builder::default()
        .header(HEADER)
        .clang_args(headers.flags())
        .allowlist_item("(ngx|NGX|nginx|NGINX)_.*")
        .layout_tests(false)
        .generate_cstr(true)
        .use_core()
        .rust_target(env::var("CARGO_PKG_RUST_VERSION")?.parse()?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()?;
    Ok(bindings.to_string())
}

fn say_what_it_has(layout: &Layout) {
    println!("cargo::rustc-check-cfg=cfg(nginx_has, values(any()))");
    let has = SOMETIMES.iter().filter(|field| layout.has(field));
    let has: Vec<&str> = has.copied().collect();
    for field in &has {
        println!("cargo::rustc-cfg=nginx_has=\"{field}\"");
    }
    println!("cargo::metadata=has={}", has.join(","));
    let request: Vec<&str> = layout.fields("ngx_http_request_s").collect();
    println!("cargo::metadata=request={}", request.join(","));
}
