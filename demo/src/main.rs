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
//! message        what the processes tell the orchestrator      arguments, keys (Zipf)
//! web            a page to look at, beside Redis; its rooms are named in web.rs
//! lines          logs of processes that may have been killed
//! ```
#![forbid(unsafe_code)]

mod arguments;
mod checks;
mod child;
mod figures;
mod keys;
mod ledger;
mod lines;
mod message;
mod node;
mod orchestrator;
mod pgbench;
mod progress;
mod report;
mod run;
mod sampler;
mod staleness;
mod web;

use cache_sync_kit::{Result, exit};
use std::process::ExitCode;
use tokio::runtime::Builder;

const NAME: &str = "cache-sync-demo";
/// As what it starts itself, to be told by lines what to do.
const ROLES: [&str; 3] = ["node", "sampler", "web-node"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::code(NAME, Err(error.into())),
    };
    let ended = exit::code(NAME, runtime.block_on(run(&args)));
    if args.first().is_some_and(|role| ROLES.contains(&role.as_str())) {
        // Somebody reads its input on a thread, and might wait for ever though this process has failed. What others have started ends with them.
        runtime.shutdown_background();
    }
    ended
}

async fn run(args: &[String]) -> Result<bool> {
    match args.split_first() {
        Some((role, rest)) if role == "node" => node::main(rest).await.map(|()| true),
        Some((role, rest)) if role == "sampler" => sampler::main(rest).await.map(|()| true),
        Some((role, rest)) if role == "web-node" => web::node::main(rest).await.map(|()| true),
        _ if args.iter().any(|arg| arg == "--web") => web::main(args).await,
        _ => orchestrator::main(args).await,
    }
}
