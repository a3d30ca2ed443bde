//! Child processes and what they wait for. The process that forks has a single thread.

/// A child process; killed when dropped.
pub(crate) struct Child(pub(crate) libc::pid_t);

impl Child {
    /// Runs `work` in a child, which exits with 0, or with 101 if `work` panics.
    pub(crate) fn fork(work: impl FnOnce()) -> Child {
        // SAFETY: this process has a single thread.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: the call ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
        }
        Child(pid)
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(self.0, signal) };
    }

    /// Waits for its end. Returns its exit code, or `None` if it was killed.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: the call waits for our own child and writes to the stack.
        unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        self.0 = 0;
        libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.0 != 0 {
            self.signal(libc::SIGKILL);
            // SAFETY: the call waits for our own child, and takes no pointer.
            unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        }
    }
}

/// A pipe by which processes signal each other.
pub(crate) struct Gate([libc::c_int; 2]);

impl Drop for Gate {
    fn drop(&mut self) {
        // SAFETY: the descriptors belong to this process and are not used after this.
        self.0.iter().for_each(|fd| _ = unsafe { libc::close(*fd) });
    }
}

impl Gate {
    pub(crate) fn new() -> Gate {
        let mut fds = [0; 2];
        // SAFETY: the call writes two descriptors into an array of two.
        assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0);
        Gate(fds)
    }
    pub(crate) fn open(&self, byte: u8) {
        // SAFETY: the call writes one byte from the stack.
        let n = unsafe { libc::write(self.0[1], (&raw const byte).cast(), 1) };
        assert_eq!(n, 1);
    }
    pub(crate) fn pass(&self) -> u8 {
        let mut byte = 0u8;
        // SAFETY: the call reads one byte to the stack.
        let n = unsafe { libc::read(self.0[0], (&raw mut byte).cast(), 1) };
        assert_eq!(n, 1);
        byte
    }
}
