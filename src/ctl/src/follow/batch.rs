//! Purges that are carried out by one request to the purge API: entries in a row that say `soft` and `refresh` alike, their lists
//! put together.

use serde_json::{Map, Value};
use swrcache::engine::read_purge;

use crate::stream::{Entry, Id, LARGEST};

/// The bytes of entries that are put together. nginx writes a larger body to a file, unless told otherwise (client_body_buffer_size).
const TOGETHER: usize = 8 * 1024;

/// What is to be done about some entries.
#[derive(Debug)]
pub(crate) enum Step {
    Purge(Batch),
    /// This entry is no purge, for this reason.
    Refuse(Id, String),
}

/// Purges in a row.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Never empty.
    purges: Vec<(Id, Members)>,
    bytes: usize,
}

type Members = Map<String, Value>;

impl Batch {
    fn new(id: Id, members: Members, bytes: usize) -> Batch {
        Batch {
            purges: vec![(id, members)],
            bytes,
        }
    }

    fn takes(&self, members: &Members, bytes: usize) -> bool {
        let alike = |(_, own): &(Id, Members)| ways(own) == ways(members);
        self.bytes + bytes <= TOGETHER && self.purges.first().is_some_and(alike)
    }

    /// The first of its entries, and the last.
    pub(crate) fn range(&self) -> (Id, Id) {
        let id = |purge: Option<&(Id, Members)>| purge.map_or(Id::default(), |(id, _)| *id);
        (id(self.purges.first()), id(self.purges.last()))
    }

    pub(crate) fn is_soft(&self) -> bool {
        self.purges
            .first()
            .is_some_and(|(_, members)| ways(members)[0])
    }

    pub(crate) fn is_one(&self) -> bool {
        self.purges.len() == 1
    }

    /// Each of its purges by itself.
    pub(crate) fn singly(self) -> impl Iterator<Item = Batch> {
        let purges = self.purges.into_iter();
        purges.map(|(id, members)| Batch::new(id, members, 0))
    }

    /// A body of the purge API.
    pub(crate) fn body(&self) -> String {
        let mut whole = Members::new();
        for (name, value) in self.purges.iter().flat_map(|(_, members)| members) {
            match (whole.get_mut(name), value) {
                (Some(Value::Array(list)), Value::Array(more)) => list.extend_from_slice(more),
                // What one of them purges all of them do.
                (Some(Value::Bool(is)), Value::Bool(also)) => *is |= also,
                _ => drop(whole.insert(name.clone(), value.clone())),
            }
        }
        Value::Object(whole).to_string()
    }
}

/// Whether a purge is soft, and whether it fetches anew.
fn ways(members: &Members) -> [bool; 2] {
    ["soft", "refresh"].map(|name| members.get(name) == Some(&Value::Bool(true)))
}

/// What is to be done about these entries, in their order.
pub(crate) fn steps(entries: Vec<Entry>) -> Vec<Step> {
    let mut steps = Vec::new();
    for entry in entries {
        let body = entry.purge.unwrap_or_default();
        match (read(&body), steps.last_mut()) {
            (Err(why), _) => steps.push(Step::Refuse(entry.id, why)),
            (Ok(members), Some(Step::Purge(batch))) if batch.takes(&members, body.len()) => {
                batch.purges.push((entry.id, members));
                batch.bytes += body.len();
            }
            (Ok(members), _) => {
                let batch = Batch::new(entry.id, members, body.len());
                steps.push(Step::Purge(batch));
            }
        }
    }
    steps
}

/// The members of a purge, which the purge API would take.
fn read(body: &[u8]) -> Result<Members, String> {
    if body.is_empty() {
        return Err("no field \"purge\"".into());
    }
    if body.len() > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    read_purge(body)?;
    serde_json::from_slice(body).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(bodies: &[&str]) -> Vec<Entry> {
        let numbered = bodies.iter().zip(1..);
        let entry = |(body, n): (&&str, u64)| Entry {
            id: format!("{n}-0").parse().expect("an id"),
            purge: Some(body.as_bytes().to_vec()),
        };
        numbered.map(entry).collect()
    }

    /// Each step in a line.
    fn told(bodies: &[&str]) -> Vec<String> {
        let tell = |step| match step {
            Step::Purge(batch) => {
                let (from, to) = batch.range();
                format!("{from} {to} {}", batch.body())
            }
            Step::Refuse(id, why) => format!("{id} {why}"),
        };
        steps(entries(bodies)).into_iter().map(tell).collect()
    }

    #[test]
    fn purges_in_a_row_become_one() {
        let bodies = [
            r#"{"tags": ["a"]}"#,
            r#"{"tags": ["b"], "urls": ["http://h/"], "soft": false}"#,
            r#"{"all": true}"#,
        ];
        let whole = r#"1-0 3-0 {"all":true,"soft":false,"tags":["a","b"],"urls":["http://h/"]}"#;
        assert_eq!(told(&bodies), [whole]);
    }

    #[test]
    fn hard_ones_stay_apart_from_soft_ones_and_keep_their_order() {
        let bodies = [
            r#"{"tags": ["a"]}"#,
            r#"{"tags": ["b"], "soft": true}"#,
            r#"{"urls": ["http://h/"], "refresh": true}"#,
            r#"{"tags": ["c"]}"#,
        ];
        let steps = told(&bodies);
        let starts: Vec<_> = steps.iter().map(|step| &step[..7]).collect();
        assert_eq!(starts, ["1-0 1-0", "2-0 2-0", "3-0 3-0", "4-0 4-0"]);
    }

    #[test]
    fn what_is_no_purge_is_refused_alone() {
        let bodies = [
            r#"{"tags": ["a"]}"#,
            "nonsense",
            r#"{"node": "http://elsewhere/"}"#,
            "",
            r#"{"tags": ["b"]}"#,
        ];
        let steps = told(&bodies);
        assert!(steps[0].starts_with("1-0 1-0"), "{steps:?}");
        assert!(steps[1].starts_with("2-0 no JSON"), "{steps:?}");
        assert_eq!(steps[2], r#"3-0 unknown member "node""#);
        assert_eq!(steps[3], r#"4-0 no field "purge""#);
        assert!(steps[4].starts_with("5-0 5-0"), "{steps:?}");
        let large = format!(r#"{{"tags": ["{}"]}}"#, "x".repeat(LARGEST));
        assert!(told(&[&large])[0].contains("larger"), "it would not pass");
    }

    #[test]
    fn a_batch_is_bounded_and_can_be_taken_apart() {
        let body = format!(r#"{{"tags": ["{}"]}}"#, "x".repeat(TOGETHER / 3));
        assert_eq!(told(&[body.as_str(); 5]).len(), 3, "two fit into one");
        let Some(Step::Purge(batch)) = steps(entries(&[body.as_str(); 2])).pop() else {
            panic!("a purge");
        };
        let ranges: Vec<_> = batch
            .singly()
            .map(|one| one.range().0.to_string())
            .collect();
        assert_eq!(ranges, ["1-0", "2-0"]);
    }
}
