//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use redis::Client;

/// Looks at swrcache's statistics, explains, purges and warms.
///
/// A server is given by the URL of a location: that of swr_cache_stats for status, top and explain, that of swr_cache_purge for
/// purge and follow. unix:/run/nginx.sock:/swr is a location behind a socket in the file system.
///
/// Ends with 0; with 1 where a server refused, or part of what was asked for did not come about; with 2 where the command
/// line was wrong.
#[derive(Parser)]
#[command(name = "swrcachectl", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Answer with JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say in a few lines how the zones are
    Status(Server),
    /// Show the zones live in the terminal; q ends
    Top(Top),
    /// Say what a GET of a URL would get, why, and what would have to change for a HIT
    Explain(Explain),
    /// Drop what is stored, or make it stale
    Purge(Purge),
    /// Purge on every server that follows a stream of purges
    Publish(Publish),
    /// Carry out the purges of a stream on this server, until SIGTERM
    Follow(Follow),
    /// Request the URLs of a sitemap or of a file, so that they are stored
    Warm(Warm),
    /// Look into the file of a zone (file=), without nginx, and without disturbing it
    Zone(Zone),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Where the statistics are.
#[derive(Args)]
pub(crate) struct Node {
    /// The location of swr_cache_stats
    #[arg(
        long,
        value_name = "URL",
        env = "SWRCACHE_STATS",
        default_value = "http://127.0.0.1/swr",
        value_parser = node
    )]
    pub(crate) node: String,
}

/// Which of the zones.
#[derive(Args)]
pub(crate) struct Server {
    #[command(flatten)]
    pub(crate) node: Node,
    /// One zone alone
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
}

#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) every: u64,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// The URL
    pub(crate) url: String,
    /// A header field of the request; several times
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header)]
    pub(crate) headers: Vec<String>,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// What is to be purged, and how.
#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true)
    .args(["urls", "tags", "prefixes", "hosts", "keys", "all"]))]
pub(crate) struct What {
    /// URLs, all variants of each
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// What bears this tag; several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// What begins so: a URL, or a key; several times
    #[arg(long = "prefix", value_name = "PREFIX")]
    pub(crate) prefixes: Vec<String>,
    /// A host's; several times
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// A key of swr_cache_key; several times
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Everything
    #[arg(long)]
    pub(crate) all: bool,
    /// Make it stale instead of dropping it
    #[arg(long)]
    pub(crate) soft: bool,
    /// Fetch the URLs anew at once
    #[arg(long, requires = "urls")]
    pub(crate) refresh: bool,
}

/// Where purges are carried out.
#[derive(Args)]
pub(crate) struct Nodes {
    /// The location of swr_cache_purge; several times, for several servers, in this order
    #[arg(
        long = "node",
        value_name = "URL",
        env = "SWRCACHE_PURGE",
        default_value = "http://127.0.0.1/purge",
        value_parser = node
    )]
    pub(crate) nodes: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

/// Which stream of the server.
#[derive(Args)]
pub(crate) struct StreamName {
    /// The key of the stream; what belongs to it has keys that begin so
    #[arg(
        long,
        value_name = "KEY",
        env = "SWRCACHE_STREAM",
        default_value = "swrcache:purges"
    )]
    pub(crate) stream: String,
}

#[derive(Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) what: What,
    /// The Redis or Valkey server: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], or unix:///SOCKET
    #[arg(long, value_name = "SERVER", env = "SWRCACHE_REDIS", hide_env_values = true, value_parser = server)]
    pub(crate) to: Client,
    #[command(flatten)]
    pub(crate) stream: StreamName,
    /// Wait so long at most for the nodes that follow, and print what each says
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) wait: Option<u64>,
    /// How many purges the stream keeps, for nodes that are away
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) keep: u64,
}

#[derive(Args)]
pub(crate) struct Follow {
    /// The Redis or Valkey server: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], or unix:///SOCKET
    #[arg(value_name = "SERVER", env = "SWRCACHE_REDIS", hide_env_values = true, value_parser = server)]
    pub(crate) server: Client,
    #[command(flatten)]
    pub(crate) stream: StreamName,
    /// The file with the last purge that was carried out; made where it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) position: PathBuf,
    /// What acknowledgements call this server, unlike every other one; the host's name unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

#[derive(Args)]
pub(crate) struct Warm {
    /// A sitemap (.xml, or an index of sitemaps), or a file with a URL a line; a file, or a URL of a sitemap
    pub(crate) source: String,
    /// Requests a second at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// Connect there, whatever host the URLs name: HOST:PORT, or unix:PATH
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) connect: Option<String>,
    /// A header field of each request; several times
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header)]
    pub(crate) headers: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Zone {
    /// The file
    pub(crate) file: PathBuf,
    /// Read every body, and say what is damaged
    #[arg(long)]
    pub(crate) check: bool,
    /// Entries to list, the largest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) entries: usize,
}

/// A location: `http://HOST/PATH`, `https://HOST/PATH`, or `unix:SOCKET:/PATH`.
fn node(text: &str) -> Result<String, String> {
    let known = ["http://", "https://", "unix:/"];
    let names_more = |start: &&str| {
        text.strip_prefix(start)
            .is_some_and(|rest| !rest.is_empty())
    };
    match known.iter().any(names_more) {
        true => Ok(text.to_owned()),
        false => {
            Err("http://HOST/PATH, https://HOST/PATH or unix:/SOCKET:/PATH was expected".into())
        }
    }
}

/// A Redis or Valkey server.
fn server(text: &str) -> Result<Client, String> {
    Client::open(text).map_err(|e| e.to_string())
}

/// A header field.
fn header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("NAME:VALUE was expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_word_is_refused() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for line in [
            "ctl status",
            "ctl status --node unix:/run/nginx.sock:/swr",
            "ctl --json purge --tag a --tag b --soft",
            "ctl purge http://h/a --refresh",
            "ctl explain http://h/ -H Accept:x",
            "ctl publish --to redis://h --all --soft --wait 5",
            "ctl follow redis://:secret@h:6379/1 --position /p --node http://h/purge",
            "ctl follow unix:///run/redis.sock --position /p",
        ] {
            assert!(parse(line), "{line}");
        }
        for line in [
            "ctl",
            "ctl status --node h",
            "ctl status --node http://",
            "ctl purge",
            "ctl purge --tag a --refresh",
            "ctl explain http://h/ -H x",
            "ctl top --every 0",
            "ctl warm a --rate 0",
            "ctl publish --to redis://h",
            "ctl publish --all",
            "ctl publish --to redis://h --all --wait 0",
            "ctl publish --to redis://h --all --keep 10",
            "ctl follow redis://h",
            "ctl follow http://h --position /p",
            "ctl follow rediss://h --position /p",
        ] {
            assert!(!parse(line), "{line}");
        }
    }
}
