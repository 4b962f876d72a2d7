//! The demo: unmodified pgbench writes by plain SQL while several processes read and write through the SDK; what they
//! held, wrote and read is then compared with what Postgres says.
//!
//! ```text
//! orchestrator   runs calm, rough and control one after the other
//!   run          one of them, from the first process to the last check
//!   child        the processes beside it     pgbench    the one that knows nothing of us
//!   progress     a line a second             report     the table, the JSON
//!   checks       was anything lost or wrong  ledger     what the nodes' logs say
//!   staleness    how old reads were          figures    sums over the nodes
//! node           a process that uses the SDK      node/ops  what it does   node/log  what it writes down
//!                                                 node/probe  when a change arrives
//! sampler        a process that looks at rows in Postgres
//! message        what the processes tell the orchestrator      options, keys (Zipf), histogram, monotonic
//! ```
#![forbid(unsafe_code)]

mod checks;
mod child;
mod figures;
mod histogram;
mod keys;
mod ledger;
mod message;
mod monotonic;
mod node;
mod options;
mod orchestrator;
mod pgbench;
mod progress;
mod report;
mod run;
mod sampler;
mod staleness;

use std::process::ExitCode;

/// Any failure, as a sentence.
type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of everything here.
type Result<T> = std::result::Result<T, Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((role, rest)) if role == "node" => node::main(rest).await.map(|()| true),
        Some((role, rest)) if role == "sampler" => sampler::main(rest).await.map(|()| true),
        _ => orchestrator::main(&args).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cache-sync-demo: {error}");
            ExitCode::FAILURE
        }
    }
}
