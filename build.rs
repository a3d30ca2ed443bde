//! Gives the C library its SONAME, which rustc does not.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=swrcache.map");
    if std::env::var_os("CARGO_FEATURE_FFI").is_some() {
        // The number is that of SWRCACHE_ABI_VERSION.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libswrcache.so.0");
        println!("cargo::rustc-cdylib-link-arg=-Wl,--version-script=swrcache.map");
    }
}
