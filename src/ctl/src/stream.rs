//! A stream of purges on a Redis or Valkey server, and what stands beside it there.
//!
//! | key | type | what |
//! |---|---|---|
//! | `NAME` | stream | a purge an entry: its field `purge` is a body of the purge API |
//! | `NAME:acks` | stream | an [`Ack`] an entry, in the field `ack` |
//! | `NAME:nodes` | sorted set | the nodes that follow, by when they last said so, in seconds since 1970 |

use std::collections::HashMap;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Client, Cmd, Connection, FromRedisValue, RedisError, cmd};
use serde::{Deserialize, Serialize};
use swrcache::engine::text::one_line;

use crate::purge::done;

/// How long the server may take to connect, and for an answer beyond the time that it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// The acknowledgements that are kept. They are read by who waits for them, and by nobody later.
const ACKS_KEPT: u64 = 10_000;
/// The acknowledgements that are read at once.
const ACKS_AT_ONCE: u64 = 1000;
/// A node that has not been seen for so many seconds is expected no more: a day.
const FORGOTTEN_AFTER: u64 = 86_400;
/// The bytes of a purge. nginx takes 1 MiB unless told otherwise (client_max_body_size).
pub(crate) const LARGEST: usize = 512 * 1024;

const PURGE: &str = "purge";
const ACK: &str = "ack";

/// The id of an entry: `MILLISECONDS-NUMBER`. Later entries of a stream have greater ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Id {
    ms: u64,
    number: u64,
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let wrong = || format!("\"{text}\" is no id of an entry");
        let (ms, number) = text.split_once('-').ok_or_else(wrong)?;
        let number_of = |digits: &str| digits.parse().map_err(|_: ParseIntError| wrong());
        Ok(Id {
            ms: number_of(ms)?,
            number: number_of(number)?,
        })
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Id, String> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// An entry of the stream.
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// A body of the purge API, if it is as it should be; nothing if the entry has none.
    pub(crate) purge: Option<Vec<u8>>,
}

/// What a node says of the purges from one entry to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ack {
    pub(crate) node: String,
    pub(crate) from: Id,
    pub(crate) to: Id,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What has become of purges on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// They were carried out, and have dropped, or made stale, so many responses.
    Done {
        purged: u64,
        soft: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// They can't be carried out, for this reason.
    Refused { refused: String },
    /// They could not be carried out, for this reason, and are tried again.
    Retrying { retrying: String },
    /// Purges after these may have been missed: everything was made stale, so many responses.
    Missed { missed: u64 },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done {
                purged,
                soft,
                warning,
            } => {
                write!(f, "{purged} {}", done(*soft))?;
                match warning {
                    Some(warning) => write!(f, "; {}", one_line(warning)),
                    None => Ok(()),
                }
            }
            Outcome::Refused { refused } => write!(f, "refused: {}", one_line(refused)),
            Outcome::Retrying { retrying } => {
                write!(f, "not yet, tries again: {}", one_line(retrying))
            }
            Outcome::Missed { missed } => {
                write!(
                    f,
                    "purges may have been missed: everything was made stale, {missed} responses"
                )
            }
        }
    }
}

/// Fields of an entry by their names.
type Fields = HashMap<Vec<u8>, Vec<u8>>;
/// Entries as the server sends them.
type Entries = Vec<(String, Fields)>;

/// A connection to the server, for a stream.
pub(crate) struct Stream {
    connection: Connection,
    client: Client,
    name: String,
}

impl Stream {
    pub(crate) fn open(client: &Client, name: &str) -> Result<Stream, String> {
        Ok(Stream {
            connection: connect(client)?,
            client: client.clone(),
            name: name.to_owned(),
        })
    }

    /// Connects anew.
    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.connection = connect(&self.client)?;
        Ok(())
    }

    fn ask<T: FromRedisValue>(&mut self, command: &Cmd, waits: Duration) -> Result<T, String> {
        let ask = |connection: &mut Connection| {
            connection.set_read_timeout(Some(waits + PATIENCE))?;
            command.query(connection)
        };
        ask(&mut self.connection).map_err(|e| failed(&self.client, &e))
    }

    fn acks(&self) -> String {
        format!("{}:acks", self.name)
    }

    fn nodes_key(&self) -> String {
        format!("{}:nodes", self.name)
    }

    /// The entries from this one on, itself included: so many at most.
    pub(crate) fn entries(&mut self, from: Id, count: usize) -> Result<Vec<Entry>, String> {
        let mut command = cmd("XRANGE");
        command
            .arg(&self.name)
            .arg(from.to_string())
            .arg("+")
            .arg("COUNT")
            .arg(count);
        let entries: Entries = self.ask(&command, Duration::ZERO)?;
        let entries = entries.into_iter().map(|(id, mut fields)| {
            Ok(Entry {
                id: id.parse()?,
                purge: fields.remove(PURGE.as_bytes()),
            })
        });
        entries.collect()
    }

    /// Waits until there is an entry after this one, or for so long.
    pub(crate) fn await_entry(&mut self, after: Id, wait: Duration) -> Result<(), String> {
        let name = self.name.clone();
        self.read_after(&name, after, 1, wait).map(|_| ())
    }

    /// The entries of a stream after this one, so many at most; where there is none, waits for so long for some.
    fn read_after(
        &mut self,
        key: &str,
        after: Id,
        count: u64,
        wait: Duration,
    ) -> Result<Entries, String> {
        // 0 would be for ever.
        let ms = wait.as_millis().max(1) as u64;
        let mut command = cmd("XREAD");
        command
            .arg("COUNT")
            .arg(count)
            .arg("BLOCK")
            .arg(ms)
            .arg("STREAMS")
            .arg(key)
            .arg(after.to_string());
        let read: Option<Vec<(String, Entries)>> = self.ask(&command, wait)?;
        let streams = read.unwrap_or_default().into_iter();
        Ok(streams.flat_map(|(_, entries)| entries).collect())
    }

    /// Appends an entry to a stream of which about so many are kept.
    fn add(&mut self, key: &str, keep: u64, field: &str, value: &str) -> Result<Id, String> {
        let mut command = cmd("XADD");
        command
            .arg(key)
            .arg("MAXLEN")
            .arg("~")
            .arg(keep)
            .arg("*")
            .arg(field)
            .arg(value);
        let id: String = self.ask(&command, Duration::ZERO)?;
        id.parse()
    }

    /// Publishes a purge.
    pub(crate) fn publish(&mut self, body: &str, keep: u64) -> Result<Id, String> {
        let name = self.name.clone();
        self.add(&name, keep, PURGE, body)
    }

    /// Says what has become of purges.
    pub(crate) fn acknowledge(&mut self, ack: &Ack) -> Result<(), String> {
        let text = serde_json::to_string(ack).map_err(|e| e.to_string())?;
        let acks = self.acks();
        self.add(&acks, ACKS_KEPT, ACK, &text).map(|_| ())
    }

    /// The id of the last acknowledgement so far.
    pub(crate) fn last_ack(&mut self) -> Result<Id, String> {
        let mut command = cmd("XREVRANGE");
        command.arg(self.acks()).arg("+").arg("-");
        command.arg("COUNT").arg(1);
        let entries: Entries = self.ask(&command, Duration::ZERO)?;
        entries
            .first()
            .map_or(Ok(Id::default()), |(id, _)| id.parse())
    }

    /// The acknowledgements after this one, and the id of the last of them; where there is none, waits for so long for some.
    pub(crate) fn acks_after(
        &mut self,
        after: Id,
        wait: Duration,
    ) -> Result<(Id, Vec<Ack>), String> {
        let acks = self.acks();
        let entries = self.read_after(&acks, after, ACKS_AT_ONCE, wait)?;
        let last = entries.last().map_or(Ok(after), |(id, _)| id.parse())?;
        // What can't be read is of another version, and not for us.
        let read = |(_, fields): &(String, Fields)| {
            serde_json::from_slice(fields.get(ACK.as_bytes())?).ok()
        };
        Ok((last, entries.iter().filter_map(read).collect()))
    }

    /// Says that a node follows the stream.
    pub(crate) fn here(&mut self, node: &str) -> Result<(), String> {
        let mut command = cmd("ZADD");
        command.arg(self.nodes_key()).arg(now()).arg(node);
        self.ask(&command, Duration::ZERO)
    }

    /// The nodes that follow the stream.
    pub(crate) fn nodes(&mut self) -> Result<Vec<String>, String> {
        let mut command = cmd("ZRANGEBYSCORE");
        let since = now().saturating_sub(FORGOTTEN_AFTER);
        command.arg(self.nodes_key()).arg(since).arg("+inf");
        self.ask(&command, Duration::ZERO)
    }
}

fn connect(client: &Client) -> Result<Connection, String> {
    let connect = || {
        let connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    };
    connect().map_err(|e| failed(client, &e))
}

/// Names the server as HOST:PORT: messages never have the password.
fn failed(client: &Client, why: &RedisError) -> String {
    format!("{}: {why}", client.get_connection_info().addr())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_in_order() {
        let id = |text: &str| text.parse::<Id>();
        let (nine, ten) = (id("9-1").expect("an id"), id("10-0").expect("an id"));
        assert!(nine < ten && Id::default() < nine, "by number, not by text");
        assert_eq!(ten.to_string(), "10-0");
        for wrong in ["", "1", "-", "1-", "a-1", "1-1-1", "-1-1"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_of_others_is_a_line() {
        let refused = "unknown member \"\u{1b}[2J\n1-0: 3 purged\"".to_owned();
        let told = Outcome::Refused { refused }.to_string();
        assert_eq!(
            told,
            "refused: unknown member \"\\u{1b}[2J\\n1-0: 3 purged\""
        );
    }

    #[test]
    fn acknowledgements_are_read_as_they_are_written() {
        let outcomes = [
            r#"{"purged":3,"soft":true}"#,
            r#"{"purged":0,"soft":false,"warning":"w"}"#,
            r#"{"refused":"why"}"#,
            r#"{"retrying":"why"}"#,
            r#"{"missed":7}"#,
        ];
        for outcome in outcomes {
            let text = outcome.replacen('{', r#"{"node":"n","from":"1-0","to":"2-0","#, 1);
            let ack: Ack = serde_json::from_str(&text).expect("an acknowledgement");
            assert_eq!(serde_json::to_string(&ack).expect("JSON"), text);
        }
    }
}
