//! Publishing a purge to all servers that follow a stream.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use swrcache::engine::read_purge;
use swrcache::engine::text::one_line;

use crate::arguments::Publish;
use crate::purge::body;
use crate::stream::{Ack, Id, LARGEST, Outcome, Stream};
use crate::{End, Ended};

/// How often it is asked which nodes there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What each node has said last.
type Answers = BTreeMap<String, Option<Outcome>>;

pub(crate) fn run(publish: &Publish, json: bool) -> Ended {
    let body = body(&publish.what);
    // What no node would take is not sent to any.
    read_purge(body.as_bytes())?;
    if body.len() > LARGEST {
        return Err(format!("larger than {LARGEST} bytes: it takes several"));
    }
    let mut stream = Stream::open(&publish.to, &publish.stream.stream)?;
    let before = stream.last_ack()?;
    let id = stream.publish(&body, publish.keep)?;
    let Some(seconds) = publish.wait else {
        match json {
            true => println!("{}", json!({ "id": id })),
            false => println!("published as {id}"),
        }
        return Ok(End::Done);
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let answers = await_answers(&mut stream, id, before, until)
        .map_err(|why| format!("published as {id}, but what the nodes say is not known: {why}"))?;
    match json {
        true => println!("{}", json!({ "id": id, "nodes": listed(&answers) })),
        false => tell(id, &answers),
    }
    let well = |answer: &Option<Outcome>| matches!(answer, Some(Outcome::Done { .. }));
    match !answers.is_empty() && answers.values().all(well) {
        true => Ok(End::Done),
        false => Ok(End::Partly),
    }
}

/// Reads acknowledgements until every node has said what became of the purge, or until the time is over.
fn await_answers(
    stream: &mut Stream,
    id: Id,
    mut last: Id,
    until: Instant,
) -> Result<Answers, String> {
    let mut answers = Answers::new();
    loop {
        for node in stream.nodes()? {
            answers.entry(node).or_default();
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !answers.is_empty() && answers.values().all(is_final) {
            return Ok(answers);
        }
        let (read, acks) = stream.acks_after(last, left.min(LOOK_EVERY))?;
        last = read;
        for ack in acks.into_iter().filter(|ack| is_about(ack, id)) {
            answers.insert(ack.node, Some(ack.outcome));
        }
    }
}

fn is_about(ack: &Ack, id: Id) -> bool {
    let missed = matches!(ack.outcome, Outcome::Missed { .. });
    !missed && ack.from <= id && id <= ack.to
}

fn is_final(answer: &Option<Outcome>) -> bool {
    matches!(answer, Some(Outcome::Done { .. } | Outcome::Refused { .. }))
}

fn listed(answers: &Answers) -> Vec<serde_json::Value> {
    let list = answers.iter().map(|(node, answer)| {
        let mut said = json!(answer);
        if answer.is_none() {
            said = json!({ "error": "no answer yet" });
        }
        said["node"] = json!(node);
        said
    });
    list.collect()
}

fn tell(id: Id, answers: &Answers) {
    println!("published as {id}");
    if answers.is_empty() {
        eprintln!("no node follows the stream");
    }
    for (node, answer) in answers {
        let node = one_line(node);
        match answer {
            Some(outcome @ Outcome::Done { .. }) => println!("{node}: {outcome}"),
            Some(outcome) => eprintln!("{node}: {outcome}"),
            None => eprintln!("{node}: no answer yet"),
        }
    }
}
