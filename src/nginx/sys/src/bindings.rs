//! Made from nginx's headers.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unknown_lints,
    unnecessary_transmutes,
    unsafe_op_in_unsafe_fn,
    clippy::allow_attributes,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc,
    clippy::all,
    reason = "C's names, and bindgen's code, whose lints the oldest rustc that will do does not know"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
