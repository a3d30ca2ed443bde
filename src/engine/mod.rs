//! Policy: a request, what is stored, and the time make a decision that the host carries out.
#![forbid(unsafe_code)]
