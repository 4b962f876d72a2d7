//! A result that was loaded, and to whom it is good enough.

use super::depends::Mark;
use super::terms::Terms;
use crate::common::Common;
use crate::common::time::Moment;
use futures_util::future::select_all;
use std::any::Any;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A result with what it depends on.
#[derive(Clone)]
pub(crate) struct CachedResult {
    /// A `Vec` of the rows' type.
    pub(crate) rows: Arc<dyn Any + Send + Sync>,
    /// About how many bytes of memory it takes.
    pub(super) bytes: usize,
    /// Of what its rows say: two results with the same one are the same.
    pub(crate) digest: u64,
    pub(super) marks: Arc<[Mark]>,
    /// Whether it came from the server whose changes are heard, while they were heard.
    pub(super) trusted: bool,
    /// Everything that was committed before is in it.
    pub(super) as_of: Moment,
    /// When the first row expires that may matter to it.
    pub(super) until: Moment,
    /// Until then it is worth something to whoever takes what has changed since.
    pub(super) refreshed_from: Moment,
    /// Whether anybody has read it; kept of those that are loaded again before anybody asks.
    pub(super) is_read: Arc<AtomicBool>,
}

impl CachedResult {
    /// How old it is.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        now.since(self.as_of)
    }

    /// Waits until something has changed it, or what has is old enough to whoever takes that.
    pub(crate) async fn until_outdated(&self, common: &Common) {
        let marks = self.marks.clone();
        let raised: Vec<_> = marks.iter().flat_map(Mark::raised).map(Box::pin).collect();
        let now = common.now();
        if self.was_current(now) {
            let until = async {
                match self.until {
                    Moment::NEVER => pending().await,
                    until => tokio::time::sleep(until.since(now)).await,
                }
            };
            let one_is_raised = async {
                match raised.is_empty() {
                    // It reads no table.
                    true => pending().await,
                    false => drop(select_all(raised).await),
                }
            };
            tokio::select! {
                () = one_is_raised => {}
                () = until => {}
            }
        }
        let left = self.refreshed_from.since(common.now());
        if !left.is_zero() && self.is_of_same_tables() {
            tokio::time::sleep(left).await;
        }
    }

    /// Whether it may be served while changes are heard, and whether as what is current.
    pub(super) fn suits(&self, terms: Terms, now: Moment) -> Option<bool> {
        let age = self.age(now);
        if !self.trusted || now >= self.until || terms.max_age.is_some_and(|max| age > max) {
            return None;
        }
        let is_current = self.was_current(now);
        (is_current || (age < terms.min_refresh && self.is_of_same_tables())).then_some(is_current)
    }

    /// Whether it is good for anybody yet.
    pub(super) fn is_worth_keeping(&self, now: Moment) -> bool {
        self.was_current(now) || (now < self.refreshed_from && now < self.until && self.is_of_same_tables())
    }

    fn is_of_same_tables(&self) -> bool {
        self.marks.iter().all(Mark::is_of_same_table)
    }

    /// Whether nothing is known that has changed it.
    pub(super) fn was_current(&self, now: Moment) -> bool {
        now < self.until && self.marks.iter().all(Mark::is_current)
    }
}
