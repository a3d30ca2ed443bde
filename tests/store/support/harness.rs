//! A forked child of a multi-threaded test harness must not allocate. Tests that fork therefore have a single-threaded
//! `main` of their own, which implements enough of the harness's interface for `cargo test` and `cargo nextest`.

use std::process::ExitCode;
use std::time::Instant;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// Tests by their functions' names.
macro_rules! tests {
    ($($test:ident),+ $(,)?) => { &[$((stringify!($test), $test as fn())),+] };
}
pub(crate) use tests;

/// Runs the tests that the arguments select.
pub(crate) fn run(tests: &[&[Test]]) -> ExitCode {
    let tests = tests.concat();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    if has("--list") {
        let listed = if has("--ignored") { &[] } else { &tests[..] };
        listed.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let mut passed = 0;
    for (name, test) in &tests {
        let chosen = |f: &&String| {
            if has("--exact") {
                f == name
            } else {
                name.contains(f.as_str())
            }
        };
        if filters.is_empty() || filters.iter().any(chosen) {
            let began = Instant::now();
            test();
            println!("test {name} ... ok ({:.1?})", began.elapsed());
            passed += 1;
        }
    }
    println!("test result: ok. {passed} passed; 0 failed; 0 ignored");
    ExitCode::SUCCESS
}
