//! Carrying out the purges of a stream on this server.
//!
//! The position is a file beside the cache whose state it describes, not a consumer group of the server: the server may lose all that it
//! has, and the node still knows what it has carried out; and nothing is left on the server of a node that is gone.
//!
//! Reading begins at the entry that was carried out last. While that one is still there, nothing after it is gone either, since streams
//! are trimmed from their beginning. If it is not (the stream was trimmed too far, lost, or is another one), purges may have been missed:
//! everything is made stale, and what the stream has is carried out from its beginning.
//!
//! | the purge API | the purge |
//! |---|---|
//! | 200 | is acknowledged |
//! | 400, 413 | is acknowledged as refused, and left behind: it would be refused for ever, and those after it wait |
//! | anything else, or nothing | is tried again until it is one of these |

mod batch;
mod position;

use std::io::{Write, stderr, stdout};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::arguments::Follow;
use crate::client::{Location, Response};
use crate::stream::{Ack, Id, Outcome, Stream};
use crate::{End, Ended};

use batch::{Batch, Step, steps};
use position::PositionFile;

/// Entries that are read at once. Every stream keeps more.
const AT_ONCE: usize = 500;
/// How long the server is asked to wait for an entry; also how soon a signal is heeded.
const WAIT: Duration = Duration::from_secs(1);
/// Pauses between tries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How far a node has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Nobody knows.
    Unknown,
    /// The stream was empty, and everything has been made stale since.
    Empty,
    /// All entries to this one have been carried out.
    At(Id),
}

/// Why following a stream came to an end.
enum Over {
    /// By a signal.
    Stopped,
    /// The server of the stream does not answer, or not as it should.
    Lost(String),
}

impl From<String> for Over {
    fn from(why: String) -> Over {
        Over::Lost(why)
    }
}

pub(crate) fn run(follow: &Follow, json: bool) -> Ended {
    let mut node = Node::new(follow, json)?;
    let mut position = node.file.read()?.map_or(Position::Unknown, Position::At);
    while let Err(Over::Lost(why)) = node.follow(follow, &mut position) {
        // A signal may also have ended a call to the server.
        if node.go_on().is_err() {
            break;
        }
        // Whether an empty stream has been so all the time is not known.
        if position == Position::Empty {
            position = Position::Unknown;
        }
        node.complain(&why);
        if node.pause().is_err() {
            break;
        }
    }
    Ok(End::Done)
}

/// This node: its caches, and where it says what.
struct Node {
    name: String,
    /// Each with its URL, for messages.
    locations: Rc<[(String, Location)]>,
    file: PositionFile,
    json: bool,
    stop: Arc<AtomicBool>,
    pause: Duration,
    /// What it has complained of last.
    complaint: Option<String>,
}

impl Node {
    fn new(follow: &Follow, json: bool) -> Result<Node, String> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&stop)).map_err(|e| format!("signals: {e}"))?;
        }
        let nodes = follow.nodes.nodes.iter();
        Ok(Node {
            name: follow.name.clone().map_or_else(host_name, Ok)?,
            locations: nodes.map(|url| (url.clone(), Location::new(url))).collect(),
            file: PositionFile::new(&follow.position)?,
            json,
            stop,
            pause: SHORTEST_PAUSE,
            complaint: None,
        })
    }

    /// Connects with the server and follows the stream, until that comes to an end.
    fn follow(&mut self, follow: &Follow, position: &mut Position) -> Result<(), Over> {
        let stream = Stream::open(&follow.server, &follow.stream.stream)?;
        Following { node: self, stream }.follow(position)
    }

    /// Unless a signal has said otherwise.
    fn go_on(&self) -> Result<(), Over> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Over::Stopped),
            false => Ok(()),
        }
    }

    /// Waits, longer each time.
    fn pause(&mut self) -> Result<(), Over> {
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        while Instant::now() < until {
            self.go_on()?;
            thread::sleep(SHORTEST_PAUSE / 2);
        }
        self.go_on()
    }

    /// All is well again.
    fn well(&mut self) {
        self.pause = SHORTEST_PAUSE;
        self.complaint = None;
    }

    /// Says that something does not work; once as long as it does not for the same reason. Nobody need listen.
    fn complain(&mut self, why: &str) {
        if self.complaint.as_deref() == Some(why) {
            return;
        }
        let _ = match self.json {
            true => writeln!(stdout(), "{}", json!({ "error": why })),
            false => writeln!(stderr(), "swrcachectl: {why}"),
        };
        self.complaint = Some(why.to_owned());
    }

    /// Says what was done.
    fn tell(&self, ack: &Ack) {
        let Ack {
            from, to, outcome, ..
        } = ack;
        let text = match from == to {
            _ if self.json => json!(ack).to_string(),
            true => format!("{from}: {outcome}"),
            false => format!("{from} to {to}: {outcome}"),
        };
        let _ = match outcome {
            Outcome::Refused { .. } if !self.json => writeln!(stderr(), "{text}"),
            _ => writeln!(stdout(), "{text}"),
        };
    }
}

fn host_name() -> Result<String, String> {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = read.map_err(|e| format!("the host's name: {e}; --name gives another"))?;
    Ok(name.trim().to_owned())
}

/// A node that is connected with the server of the stream.
struct Following<'a> {
    node: &'a mut Node,
    stream: Stream,
}

impl Following<'_> {
    /// Carries out purges until that comes to an end.
    fn follow(&mut self, position: &mut Position) -> Result<(), Over> {
        loop {
            self.node.go_on()?;
            self.stream.here(&self.node.name)?;
            self.advance(position)?;
        }
    }

    /// Reads what comes next and carries it out; waits for it for a while.
    fn advance(&mut self, position: &mut Position) -> Result<(), Over> {
        let start = match *position {
            Position::At(id) => id,
            Position::Unknown | Position::Empty => Id::default(),
        };
        // One more: the one that was carried out last.
        let mut entries = self.stream.entries(start, AT_ONCE + 1)?;
        let is_whole = match *position {
            Position::At(id) => entries.first().is_some_and(|entry| entry.id == id),
            // Of more, some may have been trimmed already.
            Position::Empty => entries.len() <= AT_ONCE,
            Position::Unknown => false,
        };
        match (is_whole, *position) {
            (true, Position::At(_)) => drop(entries.remove(0)),
            (true, _) => {}
            (false, _) => {
                // The server's clock may have gone back with its data: ids may be smaller now.
                entries = self.stream.entries(Id::default(), AT_ONCE)?;
                self.make_everything_stale(start)?;
            }
        }
        self.node.well();
        if entries.is_empty() {
            if !is_whole {
                *position = Position::Empty;
            }
            return Ok(self.stream.await_entry(start, WAIT)?);
        }
        for step in steps(entries) {
            let reached = self.carry_out(step)?;
            *position = Position::At(reached);
            if let Err(e) = self.node.file.write(reached) {
                let why = format!("the position can't be kept: {e}");
                self.node.complain(&why);
            }
        }
        Ok(())
    }

    /// Gives the last entry that has been carried out then.
    fn carry_out(&mut self, step: Step) -> Result<Id, Over> {
        match step {
            Step::Purge(batch) => {
                let (_, last) = batch.range();
                self.purge(batch)?;
                Ok(last)
            }
            Step::Refuse(id, refused) => {
                self.acknowledge((id, id), Outcome::Refused { refused })?;
                Ok(id)
            }
        }
    }

    /// Purges have been missed, at some time after this entry.
    fn make_everything_stale(&mut self, after: Id) -> Result<(), Over> {
        let body = json!({ "all": true, "soft": true }).to_string();
        let range = (after, after);
        let outcome = match self.insist(&body, range)? {
            Said::Done { purged, .. } => Outcome::Missed { missed: purged },
            Said::Refused(refused) => Outcome::Refused { refused },
        };
        self.acknowledge(range, outcome)
    }

    fn purge(&mut self, batch: Batch) -> Result<(), Over> {
        let range = batch.range();
        let outcome = match self.insist(&batch.body(), range)? {
            Said::Done { purged, warning } => Outcome::Done {
                purged,
                soft: batch.is_soft(),
                warning,
            },
            Said::Refused(_) if !batch.is_one() => {
                return batch.singly().try_for_each(|one| self.purge(one));
            }
            Said::Refused(refused) => Outcome::Refused { refused },
        };
        self.acknowledge(range, outcome)
    }

    /// Has every location carry out a purge, however long that takes.
    fn insist(&mut self, body: &str, range: (Id, Id)) -> Result<Said, Over> {
        let (mut purged, mut warning, mut refused) = (0, None, None);
        for location in Rc::clone(&self.node.locations).iter() {
            match self.insist_on(location, body, range)? {
                Said::Done {
                    purged: more,
                    warning: also,
                } => {
                    purged += more;
                    warning = warning.or(also);
                }
                Said::Refused(why) => refused = refused.or(Some(why)),
            }
        }
        Ok(refused.map_or(Said::Done { purged, warning }, Said::Refused))
    }

    fn insist_on(
        &mut self,
        (url, location): &(String, Location),
        body: &str,
        range: (Id, Id),
    ) -> Result<Said, Over> {
        loop {
            let why = match location.post(body).and_then(said) {
                Ok(said) => {
                    self.node.well();
                    return Ok(said);
                }
                Err(why) => format!("{url}: {why}"),
            };
            // A signal may have ended it.
            self.node.go_on()?;
            if self.node.complaint.as_ref() != Some(&why) {
                self.node.complain(&why);
                self.acknowledge(range, Outcome::Retrying { retrying: why })?;
            }
            self.stream.here(&self.node.name)?;
            self.node.pause()?;
        }
    }

    /// Tells everybody what has become of some purges.
    fn acknowledge(&mut self, (from, to): (Id, Id), outcome: Outcome) -> Result<(), Over> {
        let ack = Ack {
            node: self.node.name.clone(),
            from,
            to,
            outcome,
        };
        // Why it is tried again has been complained of.
        if !matches!(ack.outcome, Outcome::Retrying { .. }) {
            self.node.tell(&ack);
        }
        let told = self.stream.acknowledge(&ack);
        // A signal may have ended the call; what has been done is told before this ends.
        if told.is_err() && self.node.go_on().is_err() {
            self.stream.reopen()?;
            return Ok(self.stream.acknowledge(&ack)?);
        }
        Ok(told?)
    }
}

/// What the purge API said for good.
enum Said {
    Done {
        purged: u64,
        warning: Option<String>,
    },
    Refused(String),
}

/// What an answer says, or why to ask again.
fn said(answer: Response) -> Result<Said, String> {
    match answer.status {
        400 | 413 => Ok(Said::Refused(answer.refusal())),
        200 => {
            let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            let purged = said["purged"].as_u64();
            let purged = purged.ok_or("the answer is not that of swr_cache_purge")?;
            let warning = said["warning"].as_str().map(str::to_owned);
            Ok(Said::Done { purged, warning })
        }
        _ => Err(answer.refusal()),
    }
}
