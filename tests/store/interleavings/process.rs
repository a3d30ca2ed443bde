//! Threads that stand for processes, and what must hold when they have ended.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use swrcache::store::*;

use crate::support::FAR;
use crate::threads::*;
use crate::world::{self, Death};

const LEN: usize = 64 << 10;

/// Memory that all threads share.
struct Shared(NonNull<u8>);

// SAFETY: the memory is accessed through regions only, which are made for concurrent access.
unsafe impl Send for Shared {}
// SAFETY: as for Send.
unsafe impl Sync for Shared {}

fn layout() -> Layout {
    Layout::from_size_align(LEN, 64).expect("a layout")
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout, and every region in it holds a clone of its Arc.
        unsafe { dealloc(self.0.as_ptr(), layout()) };
    }
}

/// A run: the memory, the wakers, and the first process's handle.
pub(crate) struct Run {
    pub(crate) region: Region,
    pub(crate) wakers: Arc<Wakers>,
    left: Arc<AtomicUsize>,
    memory: Arc<Shared>,
}

/// The handle of a process and its waker.
pub(crate) struct Process {
    pub(crate) region: Region,
    pub(crate) wakers: Arc<Wakers>,
    pub(crate) waker: WakerId,
    _memory: Arc<Shared>,
}

impl Run {
    pub(crate) fn new() -> Run {
        world::begin();
        // SAFETY: the layout has a non-zero size.
        let memory = unsafe { alloc_zeroed(layout()) };
        let memory = Shared(NonNull::new(memory).expect("memory"));
        // SAFETY: the memory has this length and alignment, as long as `memory` lives.
        let region = unsafe { Region::create(memory.0, LEN, &RegionOptions::default()) };
        let run = Run {
            region: region.expect("a region"),
            wakers: Arc::new(Wakers::new(6).expect("wakers")),
            left: Arc::default(),
            memory: Arc::new(memory),
        };
        let waker = run.wakers.claim().expect("a waker");
        let wakers = Some((Arc::clone(&run.wakers), waker));
        run.region.enter(wakers).expect("a place");
        run
    }

    /// Starts a process, which may die.
    pub(crate) fn process(
        &self,
        pid: u32,
        work: impl FnOnce(&Process) + Send + 'static,
    ) -> JoinHandle<()> {
        let (memory, wakers) = (Arc::clone(&self.memory), Arc::clone(&self.wakers));
        let left = Arc::clone(&self.left);
        left.fetch_add(1, SeqCst);
        spawn(move || {
            world::live_as(pid);
            let life = AssertUnwindSafe(|| {
                // SAFETY: as in `new`; the process holds the memory.
                let region = unsafe { Region::attach(memory.0, LEN) }.expect("a region");
                let waker = wakers.claim().expect("a waker");
                region
                    .enter(Some((Arc::clone(&wakers), waker)))
                    .expect("a place");
                let process = Process {
                    region,
                    wakers,
                    waker,
                    _memory: memory,
                };
                work(&process);
                world::immortal();
                process.region.leave();
            });
            if let Err(payload) = catch_unwind(life)
                && !payload.is::<Death>()
            {
                resume_unwind(payload);
            }
            bury(pid);
            left.fetch_sub(1, SeqCst);
        })
    }

    /// Reclaims until all dead processes are gone; then everything must be consistent, and all memory can be used
    /// again. Returns the counters.
    pub(crate) fn end(self, processes: impl IntoIterator<Item = JoinHandle<()>>) -> Stats {
        while self.left.load(SeqCst) > 0 {
            self.region.reap();
            pause();
        }
        for process in processes {
            process.join().expect("a process");
        }
        let settled = || {
            self.region.reap();
            let whole = self.region.maintain(Duration::from_secs(1)) == Ok(true);
            let alone = self.region.stats().processes == 1;
            let found = (whole && alone).then(|| self.region.validate().ok())?;
            found.filter(|s| s.pins == 0)
        };
        let s = (0..200).find_map(|_| settled());
        let s = s.unwrap_or_else(|| panic!("never settled: {:?}", self.region.validate()));
        assert_eq!(
            (s.pins, s.limbo, s.growing, s.claims, s.held_locks),
            (0, 0, 0, 0, 0),
            "{s:?}"
        );
        (0..2).for_each(|_| _ = self.region.sweep(FAR, u32::MAX));
        let s = self.region.validate().expect("valid");
        assert_eq!(
            (s.objects, s.markers, s.used, s.holes),
            (0, 0, 0, 1),
            "{s:?}"
        );
        let stats = self.region.stats();
        assert_eq!(stats.payload, 0);
        stats
    }
}

impl Process {
    /// Waits until this process is woken. If it never is, the run never ends, which the scheduler detects.
    pub(crate) fn await_wakeup(&self) {
        let (fd, mut count) = (self.wakers.fd(self.waker), 0u64);
        // SAFETY: the call reads into eight bytes on the stack, from a descriptor that does not block.
        while unsafe { libc::read(fd, (&raw mut count).cast(), 8) } != 8 {
            yield_now();
        }
    }
}
