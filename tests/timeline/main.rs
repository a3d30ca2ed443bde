//! The life of stored responses as scripts: at this second, this request or that answer, expect this decision.
//! `runner.rs` describes the language. Rules cite their source; "seed" is a document that the project was founded on,
//! whose tables and sequences of statuses are reproduced here.

mod runner;

mod cycle;
mod errors;
mod limits;
mod overrides;
mod purge;
mod sharing;
mod stampede;
mod validation;
mod walk;

use runner::Timeline;
use swrcache::engine::Policy;

/// Runs a script under the default policy.
fn script(script: &str) {
    Timeline::new(Policy::default()).run(script);
}

/// Runs a script under a changed policy.
fn script_with(change: impl FnOnce(&mut Policy), script: &str) {
    let mut policy = Policy::default();
    change(&mut policy);
    Timeline::new(policy).run(script);
}
