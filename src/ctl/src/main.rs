//! `swrcachectl`: looks at swrcache's statistics, explains, purges and warms.
//!
//! | file | what it is |
//! |---|---|
//! | `arguments` | the command line |
//! | `client`, `unix` | HTTP, over TCP, TLS or a socket in the file system |
//! | `status`, `top` | the statistics: once, and live in a terminal |
//! | `explain`, `purge`, `warm` | the other requests to a server |
//! | `stream` | purges that travel over a Redis or Valkey server, and what becomes of them |
//! | `publish`, `follow` | a purge put there; those there carried out on a server |
//! | `manual` | the manual page |
//! | `zone` | a zone's file, without a server |
//!
//! It ends with 0; with 1 where a server refused, or part of what was asked for did not come about; with 2 where the command
//! line was wrong.

mod arguments;
mod client;
mod explain;
mod follow;
mod manual;
mod publish;
mod purge;
mod status;
mod stream;
mod top;
mod unix;
mod warm;
mod zone;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};

/// How a command ended.
pub(crate) enum End {
    /// All went well.
    Done,
    /// Something was refused, or done in part.
    Partly,
}

pub(crate) type Ended = Result<End, String>;

fn main() -> ExitCode {
    // Clap ends with 2 where the command line is wrong, and with 0 for --help.
    let arguments = Arguments::parse();
    let ended = match &arguments.command {
        Command::Status(server) => status::run(server, arguments.json),
        Command::Top(top) => top::run(top, arguments.json),
        Command::Explain(explain) => explain::run(explain, arguments.json),
        Command::Purge(purge) => purge::run(purge, arguments.json),
        Command::Publish(publish) => publish::run(publish, arguments.json),
        Command::Follow(follow) => follow::run(follow, arguments.json),
        Command::Warm(warm) => warm::run(warm, arguments.json),
        Command::Zone(zone) => zone::run(zone, arguments.json),
        Command::Completions { shell } => {
            let name = "swrcachectl";
            clap_complete::generate(
                *shell,
                &mut Arguments::command(),
                name,
                &mut std::io::stdout(),
            );
            Ok(End::Done)
        }
        Command::Man => manual::run(),
    };
    match ended {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Partly) => ExitCode::from(1),
        Err(why) => {
            match arguments.json {
                true => println!("{}", serde_json::json!({ "error": why })),
                false => eprintln!("swrcachectl: {}", swrcache::engine::text::one_line(&why)),
            }
            ExitCode::from(1)
        }
    }
}
