//! The shared-memory region that holds objects: opaque meta bytes, body bytes and ticks.
