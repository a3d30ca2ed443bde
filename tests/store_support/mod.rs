//! What the tests of the store with several processes stand on.
//!
//! A forked child of a threaded test harness must not allocate, so these files have a main of their own,
//! single-threaded, that speaks enough of the harness's language for `cargo test` and `cargo nextest`.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses what it needs of this"
)]

use std::process::ExitCode;
use std::time::Instant;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// Runs the tests that the arguments choose.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    if has("--list") {
        let listed = if has("--ignored") { &[] } else { tests };
        listed.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let mut passed = 0;
    for (name, test) in tests {
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

/// A child process; killed when dropped.
pub(crate) struct Child(pub(crate) libc::pid_t);

impl Child {
    /// Runs `work` in a child; it ends with 0, or with 101 if `work` panics.
    pub(crate) fn fork(work: impl FnOnce()) -> Child {
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends the child without running what the parent has registered.
            unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
        }
        Child(pid)
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child has not been waited for, so the pid is its.
        unsafe { libc::kill(self.0, signal) };
    }

    /// Waits for its end; its exit code, or None if it was killed.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: waits for our own child and writes to the stack.
        unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        self.0 = 0;
        libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.0 != 0 {
            self.signal(libc::SIGKILL);
            // SAFETY: waits for our own child.
            unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        }
    }
}

/// Splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// The byte that a body of that nonce has there.
pub(crate) fn byte(nonce: u64, at: u64) -> u8 {
    (nonce
        .wrapping_mul(31)
        .wrapping_add(at)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        >> 56) as u8
}

/// A pipe by which processes tell each other that they are there.
pub(crate) struct Gate([libc::c_int; 2]);

impl Drop for Gate {
    fn drop(&mut self) {
        // SAFETY: the descriptors are this process's own, and used by nobody after this.
        self.0.iter().for_each(|fd| _ = unsafe { libc::close(*fd) });
    }
}

impl Gate {
    pub(crate) fn new() -> Gate {
        let mut fds = [0; 2];
        // SAFETY: pipe writes two descriptors.
        assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
        Gate(fds)
    }
    pub(crate) fn open(&self, byte: u8) {
        // SAFETY: writes one byte from the stack.
        let n = unsafe { libc::write(self.0[1], (&raw const byte).cast(), 1) };
        assert_eq!(n, 1);
    }
    pub(crate) fn pass(&self) -> u8 {
        let mut byte = 0u8;
        // SAFETY: reads one byte to the stack.
        let n = unsafe { libc::read(self.0[0], (&raw mut byte).cast(), 1) };
        assert_eq!(n, 1);
        byte
    }
}
