//! What of the nginx module (src/nginx) needs no nginx. The package itself can't be tested: its functions of nginx are there in nginx alone.
//! `make miri` runs this under Miri too.

mod config;
mod letters;
