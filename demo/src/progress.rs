//! A line a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::child::Board;
use crate::message::Counts;
use crate::report::thousands;

/// Prints a line a second until it is dropped.
pub(crate) struct Progress(tokio::task::JoinHandle<()>);

impl Progress {
    pub(crate) fn start(name: &'static str, board: &Arc<Board>) -> Progress {
        let board = Arc::clone(board);
        Progress(tokio::spawn(async move {
            let begun = Instant::now();
            let mut before = board.counts();
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let now = board.counts();
                println!("{}", line(name, begun.elapsed(), &before, &now, board.last_commit_to_drop_ns()));
                before = now;
            }
        }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn line(name: &str, elapsed: Duration, before: &Counts, now: &Counts, drop_ns: Option<i64>) -> String {
    // A node that was started again begins at 0 under another name, so sums only grow.
    let since = |of: fn(&Counts) -> u64| of(now).saturating_sub(of(before));
    let (hits, misses) = (since(|counts| counts.hits), since(|counts| counts.misses));
    format!(
        "{name} {:>3} s  reads/s {:>8}  hits {:>5.1} %  statements/s {:>7}  changes/s {:>7}  buffered {:>6}  \
         staleness {}",
        elapsed.as_secs(),
        thousands(since(|counts| counts.reads)),
        hits as f64 * 100.0 / (hits + misses).max(1) as f64,
        thousands(since(|counts| counts.statements)),
        thousands(since(|counts| counts.changes)),
        thousands(now.buffered),
        drop_ns.map_or_else(|| "-".to_owned(), |nanos| format!("{:.2} ms", nanos as f64 / 1e6)),
    )
}
