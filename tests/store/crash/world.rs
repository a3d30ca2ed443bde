//! A region with other processes in it, which no death may affect.

use std::sync::Arc;

use swrcache::store::*;

use super::*;

pub(crate) const BYSTANDERS: [&[u8]; 4] = [
    b"one",
    b"two",
    b"three",
    b"a much longer key than the others have",
];

/// A region with other processes in it, which no death may affect.
pub(crate) struct World {
    pub(crate) region: Region,
    pub(crate) wakers: Arc<Wakers>,
    pub(crate) waker: WakerId,
    current: Object,
    lingering: Object,
    growing: Fill,
    claim: Claim,
}

impl World {
    pub(crate) fn new() -> World {
        let region = Region::anonymous(Region::min_len() + 64 * 1024, &RegionOptions::default())
            .expect("region");
        region.set_max_object(64 * 1024);
        let wakers = Arc::new(Wakers::new(4).expect("wakers"));
        let waker = wakers.claim().expect("a waker");
        region
            .enter(Some((Arc::clone(&wakers), waker)))
            .expect("enter");
        for (i, key) in BYSTANDERS.iter().enumerate() {
            put(&region, key, i as u64, 700 * i as u64);
        }
        region.set_marker(b"passing", 0, FAR, FAR, NOW);
        let lingering = put(&region, b"lingers", 77, 3000);
        let current = put(&region, b"current", 78, 5000);
        region.remove(&lingering);
        let mut growing = Fill::begin(
            region.unclaimed(b"growing"),
            new(&meta(79, b"growing"), None, Publish::Now),
        )
        .expect("room");
        growing.write(&body(79, 0..2000)).expect("room");
        let claim = claim(&region, b"claimed by another");
        World {
            region,
            wakers,
            waker,
            current,
            lingering,
            growing,
            claim,
        }
    }

    fn validate(&self, what: &str) -> Summary {
        let summary = self.region.validate();
        summary.unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// What the other processes see before anything is reclaimed.
    pub(crate) fn look_at_once(&self, what: &str) {
        [&self.current, &self.lingering]
            .into_iter()
            .for_each(|o| _ = check(o));
        for key in BYSTANDERS
            .iter()
            .chain([&b"target"[..], b"old", b"growing"].iter())
        {
            if let Ok(found) = self.region.lookup(key, NOW, &mut |_| true) {
                found.object.iter().for_each(|o| _ = check(o));
            }
        }
        assert!(self.claim.is_valid(), "{what}: another's claim is gone");
    }

    fn recover(&self, what: &str) {
        for _ in 0..20 {
            self.region.reap();
            if self.region.stats().processes == 1 && self.validate(what).pins <= 4 {
                return;
            }
        }
        panic!("{what}: never settled: {:?}", self.validate(what));
    }

    pub(crate) fn end(mut self, operation: &Operation, what: &str) {
        self.recover(what);
        let s = self.validate(what);
        // Our own pins: two handles, the fill, the claim's marker.
        assert_eq!(
            (s.pins, s.growing, s.claims, s.held_locks),
            (4, 1, 1, 0),
            "{what}: {s:?}"
        );
        self.look_at_once(what);
        for key in BYSTANDERS {
            let found = get(&self.region, key);
            assert!(
                found.is_some() || operation.evicts,
                "{what}: {key:?} is lost"
            );
        }
        for key in BYSTANDERS
            .iter()
            .chain([&b"target"[..], b"old", b"new"].iter())
        {
            let claim = claim(&self.region, key);
            drop(claim);
            if let Some(object) = get(&self.region, key) {
                check(&object);
                drop(claim_on(&self.region, &object));
            }
        }
        self.growing.write(&body(79, 2000..3000)).expect("room");
        let grown = self.growing.commit(NOW).expect("the other fill goes on");
        assert_eq!(grown.body().len, 3000);
        check(&grown);
        put(&self.region, b"new", 1234, 1000);
        drop((grown, self.claim, self.current, self.lingering));
        for _ in 0..2 {
            self.region.sweep(2 * FAR, u32::MAX);
        }
        let s = self.region.validate().expect("valid");
        assert_eq!(
            (s.objects, s.markers, s.limbo, s.pins, s.used, s.holes),
            (0, 0, 0, 0, 0, 1),
            "{what}: {s:?}"
        );
        assert_eq!(self.region.stats().payload, 0, "{what}");
    }

    pub(crate) fn was_woken(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.wakers.fd(self.waker),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the one pollfd that is passed lives on the stack.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }
}
