//! Results that are loaded again once they have changed, without waiting for the next reader, as long as there was one since.

use super::depends::Mark;
use super::held::CachedResult;
use super::question::Question;
use crate::common::lock::lock;
use crate::common::time::Moment;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often it is looked what has changed.
pub(crate) const LOOK: Duration = Duration::from_millis(25);
/// Of so many results it is looked; others wait for their readers.
const REFRESHED_MAX: usize = 1000;
/// So many are loaded at a time.
const AT_A_TIME: usize = 2;

/// Loads a result again, and says so to [`Refreshing::refreshed`] or [`Refreshing::not_refreshed`].
pub(crate) type Reload = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What is known of a result that is to be loaded again.
struct Refreshed {
    marks: Arc<[Mark]>,
    until: Moment,
    refreshed_from: Moment,
    is_read: Arc<AtomicBool>,
    reload: Reload,
    is_under_way: bool,
}

impl Refreshed {
    fn is_outdated(&self, now: Moment) -> bool {
        now >= self.until || !self.marks.iter().all(Mark::is_current)
    }
}

/// The results that are to be loaded again.
#[derive(Default)]
pub(crate) struct Refreshing(Mutex<List>);

#[derive(Default)]
struct List {
    refreshed: HashMap<Arc<Question>, Refreshed>,
    /// Somebody looks what is due.
    is_looked_after: bool,
}

impl Refreshing {
    /// This is what was loaded last; by a reader, or before anybody asked. Returns whether somebody has to begin to ask what is [due].
    ///
    /// [due]: Refreshing::due
    pub(crate) fn refreshed(
        &self,
        question: &Arc<Question>,
        answer: &CachedResult,
        by_reader: bool,
        reload: Reload,
    ) -> bool {
        answer.is_read.store(by_reader, Ordering::Relaxed);
        let CachedResult { marks, until, refreshed_from, is_read, .. } = answer.clone();
        let refreshed = Refreshed { marks, until, refreshed_from, is_read, reload, is_under_way: false };
        let mut list = lock(&self.0);
        if list.refreshed.len() >= REFRESHED_MAX {
            // What nobody has read since it was loaded makes room; all others have to be read again to stay.
            list.refreshed.retain(|_, one| one.is_under_way || one.is_read.swap(false, Ordering::Relaxed));
        }
        if list.refreshed.len() < REFRESHED_MAX || list.refreshed.contains_key(question) {
            list.refreshed.insert(question.clone(), refreshed);
        }
        !std::mem::replace(&mut list.is_looked_after, true)
    }

    /// The next reader will load it.
    pub(crate) fn not_refreshed(&self, question: &Question) {
        lock(&self.0).refreshed.remove(question);
    }

    /// What is to be loaded now; `None` when nothing is looked after any more.
    pub(crate) fn due(&self, now: Moment) -> Option<Vec<Reload>> {
        let mut due = Vec::new();
        let mut list = lock(&self.0);
        let is_worth_it = |one: &Refreshed| one.is_under_way || one.is_read.load(Ordering::Relaxed);
        list.refreshed.retain(|_, one| is_worth_it(one) || now < one.refreshed_from || !one.is_outdated(now));
        let under_way = list.refreshed.values().filter(|one| one.is_under_way).count();
        let is_due = |one: &&mut Refreshed| {
            is_worth_it(one) && !one.is_under_way && now >= one.refreshed_from && one.is_outdated(now)
        };
        for one in list.refreshed.values_mut().filter(is_due).take(AT_A_TIME.saturating_sub(under_way)) {
            one.is_under_way = true;
            due.push(one.reload.clone());
        }
        list.is_looked_after = !list.refreshed.is_empty();
        list.is_looked_after.then_some(due)
    }
}
