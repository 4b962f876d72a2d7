//! The buttons: what goes wrong in real life, on purpose. One at a time, and each meets both ways.

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
use rustix::process::Signal;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep, timeout};

use super::board::nodes_of;
use super::words::Way;
use super::{Shared, nodes};
use crate::run::BOUND;

/// How long a killed node is gone.
const GONE: Duration = Duration::from_millis(500);
/// How long a node is stopped, and a lock is held.
const HELD: Duration = Duration::from_secs(3);
/// For longer than the bound, so that what is held may not be served any more.
const CUT_BEYOND_BOUND: Duration = Duration::from_secs(2);
/// How long something may take, without what it takes to undo it. Postgres is waited for as long when it starts again.
const ACTION_DEADLINE: Duration = Duration::from_secs(60);
/// How long an attempt to allow the feed may take.
const ALLOW_DEADLINE: Duration = Duration::from_secs(5);
/// Between two attempts to undo it.
const UNDO_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks for feeds that came back.
const CUT_EVERY: Duration = Duration::from_millis(50);

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Kill,
    RestartPostgres,
    CutFeed,
    HoldLock,
    Suspend,
}

impl Action {
    const ALL: [Action; 5] =
        [Action::Kill, Action::RestartPostgres, Action::CutFeed, Action::HoldLock, Action::Suspend];

    /// By its name in an address.
    pub(crate) fn named(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Action::Kill => "kill",
            Action::RestartPostgres => "restart-postgres",
            Action::CutFeed => "cut-feed",
            Action::HoldLock => "hold-lock",
            Action::Suspend => "suspend",
        }
    }

    /// What the time line says.
    fn said(self) -> String {
        let (held, cut) = (HELD.as_secs(), (BOUND + CUT_BEYOND_BOUND).as_secs());
        match self {
            Action::Kill => "Node 2 of each side killed (SIGKILL) and started again".into(),
            Action::RestartPostgres => "Postgres crashed (immediate shutdown) and started again".into(),
            Action::CutFeed => format!("Feed of cache_sync cut, and no new one allowed, for {cut} s (Redis has none)"),
            Action::HoldLock => format!("All rows locked against writes for {held} s"),
            Action::Suspend => format!("Node 2 of each side suspended for {held} s (SIGSTOP, SIGCONT)"),
        }
    }
}

/// Begins it. False: something else is under way.
pub(crate) fn begin(shared: &Arc<Shared>, action: Action) -> bool {
    let Ok(turn) = Arc::clone(&shared.turn).try_lock_owned() else { return false };
    let number = locked(&shared.timeline).begin(shared.start_ns, now_ns(), &action.said());
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let turn = Arc::new(turn);
        let done = timeout(ACTION_DEADLINE, run(&shared, action, &turn)).await;
        let done = done.unwrap_or_else(|_| Err(format!("it takes longer than {ACTION_DEADLINE:?}").into()));
        undo(&shared, action).await;
        locked(&shared.timeline).end(number, now_ns(), done.err().map(|error| error.to_string()));
        drop(turn);
    });
    true
}

type Turn = Arc<OwnedMutexGuard<()>>;

async fn run(shared: &Arc<Shared>, action: Action, turn: &Turn) -> Result<()> {
    match action {
        Action::Kill => kill(shared).await,
        Action::RestartPostgres => {
            let (shared, turn) = (Arc::clone(shared), Arc::clone(turn));
            let restart = move || {
                // Nothing else begins before its end, though nobody may wait for it any more.
                let _turn = turn;
                shared.stage.restart_postgres()
            };
            tokio::task::spawn_blocking(restart).await?
        }
        Action::CutFeed => cut_feed(shared).await,
        Action::HoldLock => hold_lock(shared).await,
        Action::Suspend => suspend(shared).await,
    }
}

/// All goes on as before, however far it came: this is tried until it is so.
async fn undo(shared: &Arc<Shared>, action: Action) {
    match action {
        Action::Kill => {
            let [ours, theirs] = victims().map(|node| nodes::start_until_it_works(shared, node));
            tokio::join!(ours, theirs);
        }
        Action::Suspend => {
            for node in victims() {
                shared.shelf.excuse(node);
                // One that does not run any more is not suspended either.
                if let Err(error) = nodes::signal(shared, node, Signal::CONT).await {
                    eprintln!("{error}");
                }
            }
        }
        Action::CutFeed => {
            while let Err(error) = allow_feed(shared).await {
                eprintln!("the feed is not allowed again yet: {error}");
                sleep(UNDO_PAUSE).await;
            }
        }
        // Both are over with what did them.
        Action::RestartPostgres | Action::HoldLock => {}
    }
}

/// The last node of each way.
fn victims() -> [usize; 2] {
    Way::BOTH.map(|way| nodes_of(way).end - 1)
}

async fn kill(shared: &Shared) -> Result<()> {
    for node in victims() {
        nodes::kill(shared, node).await?;
    }
    sleep(GONE).await;
    Ok(())
}

async fn suspend(shared: &Shared) -> Result<()> {
    for node in victims() {
        nodes::signal(shared, node, Signal::STOP).await?;
        shared.board.forget(node);
        shared.shelf.excuse(node);
    }
    sleep(HELD).await;
    Ok(())
}

/// Ends the feed's connections and lets the role make no new ones; those that are there for loads and batches go on.
async fn cut_feed(shared: &Shared) -> Result<()> {
    let postgres = shared.stage.connect().await?;
    let role = Way::CacheSync.role();
    postgres.batch_execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 0")).await?;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE usename = $1::text AND query LIKE 'CALL cache\\_sync.stream%'";
    let until = Instant::now() + BOUND + CUT_BEYOND_BOUND;
    while Instant::now() < until {
        postgres.execute(end, &[&role]).await?;
        sleep(CUT_EVERY).await;
    }
    Ok(())
}

async fn allow_feed(shared: &Shared) -> Result<()> {
    let allow = async {
        let postgres = shared.stage.connect().await?;
        Ok(postgres.batch_execute(&format!("ALTER ROLE {} CONNECTION LIMIT -1", Way::CacheSync.role())).await?)
    };
    timeout(ALLOW_DEADLINE, allow).await.unwrap_or_else(|_| Err("Postgres does not answer".into()))
}

async fn hold_lock(shared: &Shared) -> Result<()> {
    let mut postgres = shared.stage.connect().await?;
    let transaction = postgres.transaction().await?;
    transaction.batch_execute("LOCK TABLE record IN EXCLUSIVE MODE").await?;
    sleep(HELD).await;
    Ok(transaction.commit().await?)
}
