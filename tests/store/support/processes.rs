//! Child processes and what they wait for. The process that forks has one thread.

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
