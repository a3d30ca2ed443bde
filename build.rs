//! Gives the C library its SONAME, which rustc does not. What it exports is rustc's work: a version script of our own beside rustc's is
//! refused by newer linkers (binutils 2.44).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_FFI").is_some() {
        // The number is that of SWRCACHE_ABI_VERSION.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libswrcache.so.0");
    }
}
