//! The life of stored responses as scripts: at this second, this request, that answer, expect this decision.
//! The language is described in `runner.rs`. Rules cite their source; "seed" is a document of the project's
//! first days, whose tables and status sequences stand here as they were told.

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
