//! The life of stored responses as scripts: at this second, this request, that answer, expect this decision.
//! The language is described in `timeline/runner.rs`. Rules cite their source; "seed" is a document of the project's
//! first days, whose tables and status sequences stand here as they were told.

#[path = "timeline/runner.rs"]
mod runner;

#[path = "timeline/cycle.rs"]
mod cycle;
#[path = "timeline/errors.rs"]
mod errors;
#[path = "timeline/limits.rs"]
mod limits;
#[path = "timeline/overrides.rs"]
mod overrides;
#[path = "timeline/purge.rs"]
mod purge;
#[path = "timeline/sharing.rs"]
mod sharing;
#[path = "timeline/stampede.rs"]
mod stampede;
#[path = "timeline/validation.rs"]
mod validation;
#[path = "timeline/walk.rs"]
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
