//! The queue between those who serve and whoever encodes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use super::coding::Coding;
#[cfg(feature = "encode")]
use super::encoders::encode;
use super::form::{self, KnownForms, find, key_of};
use crate::engine::policy::EncodeLevel;
use crate::engine::record::attributes;
use crate::engine::record::stored::Stored;
use crate::engine::stats::{self, Counter};
use crate::store::{ATTRIBUTES, Cursor, Fill, Millis, NewObject, Object, Publish, Region};

/// How long a form is kept, at least, where it is not evicted: it serves whatever response has its bytes.
const KEPT: Millis = 24 * 3_600_000;

/// What is asked for: forms of one response.
struct Job {
    region: Arc<Region>,
    original: Object,
    wanted: Vec<EncodeLevel>,
    now: Millis,
    gate: Arc<Gate>,
}

/// What the two ends share: forms are stored only while it is open.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
}

/// Where those who serve ask for encoded forms. Cheap to clone; of the process that made it.
#[derive(Clone, Debug)]
pub struct EncodeQueue {
    jobs: Sender<Job>,
    gate: Arc<Gate>,
}

/// Makes the forms that are asked for, one after the other. A host has a thread of its own for it ([`Encoder::next`]), or calls it when
/// it is idle ([`Encoder::step`]).
#[derive(Debug)]
pub struct Encoder {
    jobs: Receiver<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

impl EncodeQueue {
    /// A queue for `most` responses, and who empties it.
    pub fn new(most: usize) -> (EncodeQueue, Encoder) {
        let (sender, receiver) = bounded(most);
        let queue = EncodeQueue {
            jobs: sender,
            gate: Arc::default(),
        };
        (queue, Encoder { jobs: receiver })
    }

    /// Ends it, for instance before the process ends: no form is stored after this, and none is being stored. It waits for the one
    /// that is, which takes microseconds, but for no encoder.
    pub fn close(&self) {
        *self.gate.closed.lock() = true;
    }

    /// Whether it takes one more. Where it is full, a later request asks.
    pub(crate) fn has_room(&self) -> bool {
        !self.jobs.is_full()
    }

    /// Asks for the forms of `stored`; nothing happens if the queue is full.
    pub(crate) fn ask(
        &self,
        region: &Arc<Region>,
        stored: &Stored,
        wanted: &[EncodeLevel],
        now: Millis,
    ) {
        let job = Job {
            region: Arc::clone(region),
            original: stored.object().clone(),
            wanted: wanted.to_vec(),
            now,
            gate: Arc::clone(&self.gate),
        };
        let _ = self.jobs.try_send(job);
    }
}

impl Encoder {
    /// Waits until forms of a response are asked for, and makes them; false if no queue is left.
    pub fn next(&self) -> bool {
        self.jobs.recv().map(|job| job.carry_out()).is_ok()
    }

    /// Makes the forms of one response that is asked for, if there is one within `patience`; false if there is none.
    pub fn step(&self, patience: Duration) -> bool {
        let job = self.jobs.recv_timeout(patience);
        job.map(|job| job.carry_out()).is_ok()
    }

    /// How many responses are asked for that it has not begun with.
    pub fn pending(&self) -> usize {
        self.jobs.len()
    }

    /// Forgets what is asked for, and lets go of the responses.
    pub fn clear(&self) {
        while self.jobs.try_recv().is_ok() {}
    }
}

impl Job {
    fn carry_out(&self) {
        let Some(hash) = self.hash() else { return };
        for wanted in &self.wanted {
            let (coding, known) = (wanted.coding, KnownForms::of(&self.original));
            if !self.original.is_current() || *self.gate.closed.lock() {
                return;
            }
            if known.is_made(coding) || known.is_in_vain(coding) {
                continue;
            }
            // The same bytes may have been encoded for another response of the key.
            if find(&self.region, &self.original, coding, self.now).is_some() {
                KnownForms::note_made(&self.original, coding);
                continue;
            }
            self.make(hash, wanted);
        }
    }

    fn make(&self, hash: u64, wanted: &EncodeLevel) {
        let EncodeLevel { coding, level } = *wanted;
        let length = self.original.body().len;
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let mut read = 0;
        let mut pieces = self.pieces().inspect(|piece| read += piece.len() as u64);
        let encoded = encode(coding, level, size, &mut pieces);
        drop(pieces);
        let Some(encoded) = encoded else {
            return KnownForms::note_in_vain(&self.original, coding);
        };
        // A body that turns out to be damaged ends early: nothing is made of what is left.
        if read != length {
            return;
        }
        if self.store(&key_of(&self.original, hash, coding), coding, &encoded) {
            KnownForms::note_made(&self.original, coding);
            stats::add(&self.region, Counter::Encoded(coding), 1);
            let saved = length.saturating_sub(encoded.len() as u64);
            stats::add(&self.region, Counter::EncodedSaved(coding), saved);
        }
    }

    fn store(&self, key: &[u8], coding: Coding, encoded: &[u8]) -> bool {
        let closed = self.gate.closed.lock();
        if *closed {
            return false;
        }
        let new = NewObject {
            meta: &form::meta(coding),
            labels: &self.original.labels(),
            total: Some(encoded.len() as u64),
            attributes: [0; ATTRIBUTES],
            dead_at: self.original.dead_at().max(self.now.saturating_add(KEPT)),
            publish: Publish::AtCommit,
            replaces: None,
            max_variants: 0,
        };
        let Ok(mut fill) = Fill::begin(self.region.unclaimed(key), new) else {
            return false;
        };
        fill.mark_derived();
        fill.write(encoded).is_ok() && fill.commit(self.now).is_ok()
    }

    /// The hash of the original's bytes, which is made now if the fill has not made it; nothing if the body is damaged.
    fn hash(&self) -> Option<u64> {
        let word = self.original.attribute(attributes::HASH);
        match word.load(Relaxed) {
            0 => {
                let (mut hasher, mut read) = (Xxh3::new(), 0);
                self.pieces().for_each(|piece| {
                    hasher.update(piece);
                    read += piece.len() as u64;
                });
                let hash = hasher.digest().max(1);
                let is_whole = read == self.original.body().len;
                is_whole.then(|| {
                    word.store(hash, Relaxed);
                    hash
                })
            }
            hash => Some(hash),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = Cursor::default();
        std::iter::from_fn(move || {
            let piece = self.original.read(&mut at, usize::MAX);
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Without encoders nothing is asked for: the grammar of the directives refuses every coding.
#[cfg(not(feature = "encode"))]
fn encode(_: Coding, _: u32, _: usize, _: &mut dyn Iterator<Item = &[u8]>) -> Option<Vec<u8>> {
    None
}
