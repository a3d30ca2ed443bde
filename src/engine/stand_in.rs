//! Stand-ins for what the rooms `http` and `store` will give, until they are merged.
#![allow(missing_docs, missing_debug_implementations, clippy::allow_attributes)]

pub type Millis = u64;
pub struct Region;
#[derive(Clone, Debug)]
pub struct Object;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSpace;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub first: u64,
    pub last: u64,
}
pub trait Fields {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8]));
}
