#![no_main]
//! `Vary`, and what of a request is compared: what a request is stored by must match that same request.

use libfuzzer_sys::fuzz_target;
use swrcache::http::vary::{self, Reduce, Vary};
use swrcache_fuzz::two;

fuzz_target!(|data: &[u8]| {
    let (response, request) = two(data);
    let Vary::Fields(names) = Vary::of(&response) else {
        return;
    };
    let mut reduce = Reduce::default();
    let _ = reduce.add("Accept-Encoding");
    let _ = reduce.add("Accept-Language");
    let known = ["accept-encoding", "accept-language"];
    for name in names.iter().chain(known) {
        for reduce in [Reduce::default(), reduce] {
            let mut form = Vec::new();
            let present = vary::normalize(name, &request, reduce, &mut form);
            let stored = present.then_some(&*form);
            assert!(vary::matches(name, stored, &request, reduce));
            assert!(present || !vary::matches(name, Some(b"x"), &request, reduce));
        }
    }
});
