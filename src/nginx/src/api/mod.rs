//! What operators and configurations ask: purges over HTTP, statistics, explanations, variables.

pub(crate) mod answer;
pub(crate) mod explain;
pub(crate) mod purge;
pub(crate) mod purge_method;
pub(crate) mod statistics;
pub(crate) mod variables;
pub(crate) mod warm;
