//! The check of nginx's structs (src/nginx/sys) detects a field, or a single bit, that the bindings place elsewhere
//! than C does.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use headers::Headers;
use layout::Layout;

#[path = "../../src/nginx/sys/build/headers.rs"]
mod headers;
#[path = "../../src/nginx/sys/build/layout.rs"]
#[expect(dead_code, reason = "the build asks for more")]
mod layout;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// As in nginx 1.29.3: bit fields that begin in the word of the preceding field.
const HEADER: &str = "
#include <stdint.h>

typedef struct ngx_request_s ngx_request_t;

typedef union {
    void *p;
    struct { uint32_t len; unsigned valid:1; } text;
} ngx_value_t;

struct ngx_request_s {
    void *cleanup;
    uint16_t port;
    unsigned count:16;
    unsigned subrequests:8;
    unsigned internal:1;
    unsigned http_state:4;
    int type;
    ngx_value_t value;
};
";

/// The inputs of the check for that header.
struct Made {
    folder: tempfile::TempDir,
    bindings: String,
    places: String,
}

fn make() -> Result<Made> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("all.h"), HEADER)?;
    fs::write(
        path("Makefile"),
        "CC =\tcc\nCFLAGS =  -pipe -O \\\n\t-Wall\nALL_INCS = -I . \\\n\t-I src\n",
    )?;
    let headers = Headers::read(folder.path(), &path("Makefile"), &path("all.h"))?;
    let bindings = bindgen::Builder::default()
        .header(path("all.h").display().to_string())
        .clang_args(headers.flags())
        .allowlist_item("ngx_.*")
        .layout_tests(false)
        .generate()?;
    let mut bindings = syn::parse_file(&bindings.to_string())?;
    let layout = Layout::of(&mut bindings);
    let program = layout.program(&headers.preprocess()?)?;
    Ok(Made {
        bindings: prettyplease::unparse(&bindings),
        places: headers.run(&program, &path("layout"))?,
        folder,
    })
}

/// What the compiler reports about the check with these bindings.
fn check(made: &Made, bindings: &str) -> Result<String> {
    let folder = made.folder.path();
    let sys = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nginx/sys/src/check.rs");
    let library = format!(
        "#![allow(warnings)]\nmod bindings {{ include!(\"bindings.rs\"); }}\n#[path = {sys:?}]\nmod check;\n"
    );
    fs::write(folder.join("bindings.rs"), bindings)?;
    fs::write(folder.join("layout.rs"), &made.places)?;
    fs::write(folder.join("lib.rs"), library)?;
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let output = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "lib.rs",
        ])
        .current_dir(folder)
        .env("OUT_DIR", folder)
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    Ok(said)
}

#[test]
fn a_wrong_bit_is_seen() -> Result<()> {
    let made = make()?;
    // Every field is checked, including those of the anonymous struct.
    for line in [
        "size_is!(ngx_request_s, ",
        "field_is!(ngx_request_s, port, 8, 2)",
        "bits_are!(ngx_request_s, count, set_count, 10: 255, 11: 255)",
        "bits_are!(ngx_request_s, internal, set_internal, 13: 1)",
        "field_is!(ngx_request_s, type_, 16, 4)",
        "field_is!(ngx_value_t, p, 0, 8)",
        "bits_are!(ngx_value_t__bindgen_ty_1, valid, set_valid, 4: 1)",
    ] {
        assert!(made.places.contains(line), "{line} {}", made.places);
    }
    assert_eq!(made.places.lines().count(), 3 + 4 + 4 + 2 + 2);
    assert_eq!(check(&made, &made.bindings)?, "");

    let internal = "get_const::<24usize, 1u8>";
    let set_internal = "set_const::<24usize, 1u8>";
    for (right, wrong, says) in [
        (
            internal,
            "get_const::<25usize, 1u8>",
            "ngx_request_s.internal has other bits",
        ),
        (
            internal,
            "get_const::<24usize, 2u8>",
            "ngx_request_s.internal has other bits",
        ),
        (
            set_internal,
            "set_const::<23usize, 1u8>",
            "ngx_request_s.internal has other bits",
        ),
        // As bindgen generated it until 0.73.
        (
            "pub port: u16,",
            "pub port: u16,\npub __bindgen_padding_1: u16,",
            "ngx_request_s.count has other bits",
        ),
        (
            "pub port: u16,",
            "pub port: u8,",
            "ngx_request_s.port is elsewhere",
        ),
        (
            "pub type_: ::std",
            "pub late: u32, pub type_: ::std",
            "ngx_request_s.type_ is elsewhere",
        ),
    ] {
        let planted = made.bindings.replacen(right, wrong, 1);
        assert_ne!(planted, made.bindings, "{right} {}", made.bindings);
        let said = check(&made, &planted)?;
        assert!(said.contains(says), "{wrong}: {says}: {said}");
    }
    Ok(())
}
