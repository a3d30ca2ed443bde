#![no_main]
//! The record of a stored response, which comes from shared memory or a file: read whole, whatever is in it.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    swrcache::engine::fuzzing::read_record(data);
});
