//! The library as a package: installed, found by pkg-config and CMake from an empty directory; and the document's proxy.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cycle::proxies;
use crate::host::{folder, run};
use crate::support::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn install(arguments: &[&str]) {
    install_with(arguments, &[]);
}

fn install_with(arguments: &[&str], variables: &[(&str, &str)]) {
    let script = Path::new(ROOT).join("scripts/clib.sh");
    let mut command = Command::new(script);
    command.arg("install").args(arguments);
    run(command.env_remove("LIBDIR").envs(variables.iter().copied()));
}

fn path(folder: &Folder, name: &str) -> String {
    folder.0.join(name).display().to_string()
}

const PROGRAM: &str = "#include <stdio.h>\n#include <swrcache.h>\n\
    int main(void) { puts(swrcache_version()); return swrcache_abi_version() != SWRCACHE_ABI_VERSION; }\n";

#[test]
fn pkg_config_and_cmake_find_it_from_an_empty_directory() {
    let folder = Folder::new();
    let prefix = path(&folder, "usr");
    install(&[&prefix]);
    let work = path(&folder, "empty");
    fs::create_dir(&work).expect("a folder");
    fs::write(format!("{work}/a.c"), PROGRAM).expect("written");
    let shell = |text: &str| {
        run(Command::new("sh")
            .args(["-ec", text])
            .current_dir(&work)
            .env("PKG_CONFIG_PATH", format!("{prefix}/lib/pkgconfig"))
            .env("CMAKE_PREFIX_PATH", &prefix)
            .env("LD_LIBRARY_PATH", format!("{prefix}/lib")));
    };
    shell("gcc a.c $(pkg-config --cflags --libs swrcache) -o shared && ./shared");
    shell("readelf -d shared | grep -q 'NEEDED.*\\[libswrcache.so.0\\]'");
    shell(
        "gcc a.c $(pkg-config --cflags swrcache) -L$(pkg-config --variable=libdir swrcache) \
           -l:libswrcache.a -lpthread -ldl -lm -o static && ./static",
    );
    fs::write(
        format!("{work}/CMakeLists.txt"),
        "cmake_minimum_required(VERSION 3.13)\nproject(a C)\nfind_package(swrcache 0.1 REQUIRED)\n\
         add_executable(a a.c)\ntarget_link_libraries(a swrcache::swrcache)\n\
         add_executable(b a.c)\ntarget_link_libraries(b swrcache::swrcache_static)\n",
    )
    .expect("written");
    shell(
        "cmake -S . -B build >cmake.log && cmake --build build >>cmake.log && build/a && build/b",
    );
}

#[test]
fn destdir_is_not_in_what_is_installed() {
    let folder = Folder::new();
    let root = path(&folder, "root");
    install(&["/opt/swr", &root]);
    for file in [
        "include/swrcache.h",
        "include/swrcache.hpp",
        "lib/libswrcache.a",
        "lib/libswrcache.so",
        "lib/libswrcache.so.0",
        "lib/pkgconfig/swrcache.pc",
        "lib/cmake/swrcache/swrcacheConfig.cmake",
    ] {
        assert!(
            Path::new(&format!("{root}/opt/swr/{file}")).exists(),
            "{file}"
        );
    }
    let pc = fs::read_to_string(format!("{root}/opt/swr/lib/pkgconfig/swrcache.pc"));
    assert!(pc.expect("swrcache.pc").starts_with("prefix=/opt/swr\n"));
}

/// A folder of the distribution's for libraries; what is installed there is found, and has nothing in it that only we need.
#[test]
fn libdir_is_where_libraries_go() {
    let folder = Folder::new();
    let (prefix, libdir) = (path(&folder, "usr"), path(&folder, "usr/lib/triplet"));
    install_with(&[&prefix], &[("LIBDIR", &libdir)]);
    fs::write(path(&folder, "a.c"), PROGRAM).expect("written");
    let shell = |text: &str| {
        run(Command::new("sh")
            .args(["-ec", text])
            .current_dir(&folder.0)
            .env("PKG_CONFIG_PATH", format!("{libdir}/pkgconfig"))
            .env("LD_LIBRARY_PATH", &libdir));
    };
    shell("gcc a.c $(pkg-config --cflags --libs swrcache) -o a && ./a");
    shell(
        "file=usr/lib/triplet/libswrcache.so.0; ! readelf -S $file | grep -q '[.]debug_\\|[.]symtab'",
    );
    shell("test -s usr/share/doc/swrcache/LICENSE && ! test -e usr/lib/libswrcache.a");
}

/// CMake's version check follows the SONAME, whose number the major version is.
#[test]
fn cmake_takes_versions_of_one_soname() {
    let version = env!("CARGO_PKG_VERSION");
    let major = version.split('.').next().expect("a version");
    assert_eq!(major, swrcache::ffi::SWRCACHE_ABI_VERSION.to_string());
    let folder = Folder::new();
    let prefix = path(&folder, "usr");
    install(&[&prefix]);
    for (wanted, found) in [
        ("0.1", true),
        (version, true),
        ("0.99", false),
        ("1.0", false),
    ] {
        let text = format!(
            "cmake_minimum_required(VERSION 3.13)\nproject(a NONE)\nfind_package(swrcache {wanted} REQUIRED)\n"
        );
        fs::write(path(&folder, "CMakeLists.txt"), text).expect("written");
        let done = Command::new("cmake")
            .args(["-S", ".", "-B", &format!("build-{wanted}")])
            .current_dir(&folder.0)
            .env("CMAKE_PREFIX_PATH", &prefix)
            .output()
            .expect("cmake");
        assert_eq!(done.status.success(), found, "{wanted}");
    }
    // What a later library says to a program that wants this one.
    let file = format!("{prefix}/lib/cmake/swrcache/swrcacheConfigVersion.cmake");
    let text = fs::read_to_string(file).expect("the file");
    assert!(text.contains(&format!("PACKAGE_FIND_VERSION_MAJOR EQUAL {major}")));
}

/// The proxy of docs/c-library.md, as it stands there.
#[test]
fn the_documents_proxy_works() {
    let text = fs::read_to_string(format!("{ROOT}/docs/c-library.md")).expect("the document");
    let code = text
        .split("```c\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let code = code.expect("a program in C");
    assert!(
        code.lines().count() <= 120,
        "{} lines",
        code.lines().count()
    );
    assert!(code.lines().all(|line| line.chars().count() <= 100));
    let folder = Folder::new();
    let source = path(&folder, "proxy.c");
    fs::write(&source, code).expect("written");
    let program = path(&folder, "proxy");
    let library = self::folder().join("lib/libswrcache.a");
    run(Command::new("gcc")
        .args([
            "-std=c11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
        ])
        .arg(format!("{ROOT}/include"))
        .args([&source, "-o", &program])
        .arg(library)
        .args(["-lcurl", "-lpthread", "-ldl", "-lm"]));
    proxies(&program);
}

/// What a binding prints for two requests: a page that is stored, one that is not, and one that outgrows the cache.
fn binding(fetch: impl Fn(&str) -> Command) {
    let origin = Origin::start();
    let fetch = |path: &str| {
        let out = fetch(&format!("http://{}{path}", origin.addr))
            .output()
            .expect("a binding");
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{errors}");
        String::from_utf8(out.stdout).expect("text")
    };
    origin.on("/page", Reply::cached("max-age=60", "page"));
    assert_eq!(fetch("/page"), "200 MISS 4 page\n200 HIT 4 page\n");
    origin.on("/private", Reply::cached("private", "mine"));
    assert_eq!(fetch("/private"), "200  4 mine\n200  4 mine\n");
    let huge = "x".repeat(9_000_000);
    origin.on("/huge", Reply::cached("max-age=60", huge).chunked());
    let answers = fetch("/huge");
    assert_eq!(answers.matches(" 9000000 xxx").count(), 2, "{answers}");
}

/// The binding from Python, by cffi.
#[test]
fn python_fetches_through_it() {
    let library = folder().join("lib/libswrcache.so");
    binding(|url| {
        let mut python = Command::new("python3");
        python
            .arg(format!("{ROOT}/examples/python/fetch.py"))
            .arg(&library)
            .args([&format!("{ROOT}/include/swrcache.h"), url]);
        python
    });
}

/// The binding from Go, by cgo, with the library where pkg-config finds it.
#[test]
fn go_fetches_through_it() {
    let folder = Folder::new();
    let prefix = path(&folder, "usr");
    install(&[&prefix]);
    let program = path(&folder, "fetch");
    run(Command::new("go")
        .args(["build", "-o", &program, "."])
        .current_dir(format!("{ROOT}/examples/go"))
        .env("PKG_CONFIG_PATH", format!("{prefix}/lib/pkgconfig"))
        .env("GOCACHE", path(&folder, "cache"))
        .env("GOFLAGS", "-mod=mod -buildvcs=false"));
    binding(|url| {
        let mut fetch = Command::new(&program);
        fetch.arg(url);
        fetch.env("LD_LIBRARY_PATH", format!("{prefix}/lib"));
        fetch
    });
}

/// A `switch` over an enum that lacks a case is noticed.
#[test]
fn the_compiler_knows_the_constants_of_a_switch() {
    let folder = Folder::new();
    let source = path(&folder, "a.c");
    let compiles = |cases: &[&str]| {
        let cases: String = cases
            .iter()
            .map(|case| format!("case SWRCACHE_{case}: "))
            .collect();
        let text = format!(
            "#include <swrcache.h>\nint f(const swrcache_decision *d);\nint f(const swrcache_decision *d) {{ \
             switch ((enum swrcache_action)d->action) {{ {cases} return 1; }} return 0; }}\n"
        );
        fs::write(&source, text).expect("written");
        let done = Command::new("gcc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"])
            .args(["-I", &format!("{ROOT}/include"), &source])
            .output();
        done.expect("gcc").status.success()
    };
    assert!(compiles(&[
        "PASS",
        "SERVE",
        "WAIT",
        "FETCH",
        "GATEWAY_TIMEOUT"
    ]));
    assert!(!compiles(&["PASS", "SERVE", "WAIT", "FETCH"]));
}

#[test]
fn the_cpp_header_says_what_the_library_says() {
    let folder = Folder::new();
    let program = path(&folder, "wrapper");
    run(Command::new("g++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .args(["-I", &format!("{ROOT}/include"), "-o", &program])
        .arg(format!("{ROOT}/tests/hosts/wrapper.cpp"))
        .arg(self::folder().join("lib/libswrcache.a"))
        .args(["-lpthread", "-ldl", "-lm"]));
    run(&mut Command::new(program));
}

/// Everything that a C program can do wrong: tests/c.
#[test]
fn misuse_has_an_answer() {
    for build in ["gcc-shared", "gcc-static", "clang-shared", "clang-static"] {
        run(&mut Command::new(folder().join(build).join("soundness")));
    }
}
