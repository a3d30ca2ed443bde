//! What the fuzz targets and the tests run over arbitrary bytes.

use super::phase::Windows;
use super::policy::Policy;
use super::record::RecordHead;
use crate::http::age;

/// Reads everything in a record, which may be damaged: the tests require that this does not panic.
pub fn read_record(record: &[u8]) {
    let Some(head) = RecordHead::decode(record) else {
        return;
    };
    head.etag(record);
    assert!(head.lines(record).count() <= record.len());
    assert!(head.nominated(record).count() <= record.len());
    for now in [0, head.stored_at, u64::MAX] {
        Windows::of(&head, &Policy::default()).phase(now);
        age::current(head.initial_age, head.stored_at, now);
    }
}
