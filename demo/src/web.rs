//! A page to look at: two nodes with the SDK and two with Redis as cache-aside do the same work on the same rows, which pgbench and the
//! visitor change, too. The page shows what that costs, how old reads are, and what happens when something breaks.
//!
//! ```text
//! server      what the page asks for          guard       who may ask           page/       the page itself
//! actions     what breaks on purpose          sql         edits by SQL          calculator  what caching saves elsewhere
//! live        what the page shows, four times a second
//! nodes       the processes                   watcher     what Postgres has, and has done
//! board       their reports, and how old their reads were
//! shelf       a few rows, as everybody has them          timeline  what happened, and when it was repaired
//! node        a process that reads and writes     node/work  at its pace     node/tally  what it did
//! side/       by one of the two ways: ours, redis
//! stage       servers, table, roles           words       what all of them say to each other
//! ```

mod actions;
mod arguments;
mod board;
mod calculator;
mod guard;
mod live;
pub(crate) mod node;
mod nodes;
mod server;
mod shelf;
mod side;
mod sql;
mod stage;
mod timeline;
mod watcher;
mod words;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_sync_kit::Result;
use cache_sync_kit::clock::now_ns;
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};

use crate::run::BOUND;
use arguments::Arguments;
use board::{Board, NODES};
use live::Live;
use nodes::{Lost, Nodes};
use shelf::Shelf;
use stage::Stage;
use timeline::Timeline;
use watcher::Counted;

/// What all parts of the orchestrator know.
struct Shared {
    arguments: Arguments,
    start_ns: i64,
    stage: Stage,
    nodes: Nodes,
    board: Board,
    shelf: Shelf,
    counted: Counted,
    timeline: Mutex<Timeline>,
    /// Whoever breaks something holds it.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Whoever runs a statement from the page holds a place.
    statements: Semaphore,
    /// For how long Redis keeps a row.
    time_to_live: Mutex<Duration>,
    live: Live,
}

impl Shared {
    /// A node has ended or was stopped: it serves nobody.
    fn forget(&self, node: usize) {
        self.board.forget(node);
        self.shelf.forget(node);
    }
}

/// Shows the page until it has lasted long enough, or somebody interrupts it.
pub(crate) async fn main(args: &[String]) -> Result<bool> {
    let arguments = Arguments::parse(args)?;
    let listener =
        TcpListener::bind(arguments.listen).await.map_err(|error| format!("{}: {error}", arguments.listen))?;
    println!("Starting throw-away servers of Postgres and Redis.");
    let (nodes, lost) = Nodes::new();
    let shared = Arc::new(Shared {
        stage: Stage::build().await?,
        start_ns: now_ns(),
        nodes,
        board: Board::new(BOUND),
        shelf: Shelf::default(),
        counted: Counted::default(),
        timeline: Mutex::default(),
        turn: Arc::default(),
        statements: Semaphore::new(sql::STATEMENTS_MAX),
        // As long as the feed may be silent: both ways are to be as fresh.
        time_to_live: Mutex::new(BOUND),
        live: Live::new(),
        arguments,
    });
    try_join_all((0..NODES).map(|node| nodes::start(&shared, node))).await?;
    println!("The page is at {}; Ctrl-C ends it.", guard::address(listener.local_addr()?));
    let ended = tokio::select! {
        () = over(shared.arguments.seconds) => Ok(true),
        failed = run(&shared, listener, lost) => failed.map(|()| false),
    };
    // Before the servers, or they would tell of their loss.
    for node in 0..NODES {
        nodes::kill(&shared, node).await?;
    }
    ended
}

/// Everything that goes on until it fails.
async fn run(shared: &Arc<Shared>, listener: TcpListener, lost: mpsc::Receiver<Lost>) -> Result<()> {
    tokio::try_join!(
        shared.stage.keep_writing(&shared.counted),
        nodes::keep_alive(shared, lost),
        watcher::look(shared),
        watcher::beat(shared),
        watcher::count(shared),
        live::publish(shared),
        server::serve(shared, listener),
    )?;
    Ok(())
}

/// The time is over, or somebody wants an end.
async fn over(seconds: Option<u64>) {
    let time = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => terminated.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
