//! What fails and is tried again: since when, what is said of it, and that it is over.

use super::lock::lock;
use crate::error::Error;
use serde::{Serialize, Serializer};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// The log hears of something that goes on failing after so long again, each time twice as long.
const SAY_MIN: Duration = Duration::from_secs(2);
const SAY_MAX: Duration = Duration::from_secs(300);

/// Something that does not succeed at present and is tried again, for [`Status`](crate::Status).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Trouble {
    /// What was said the last time; serialized as text.
    #[serde(serialize_with = "as_text")]
    pub error: Error,
    /// For how long nothing has succeeded; serialized in seconds.
    #[serde(serialize_with = "as_seconds")]
    pub lasting: Duration,
    /// How often it was tried meanwhile.
    pub tries: u64,
}

fn as_text<S: Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Since when something fails.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    error: Error,
    since: Instant,
    /// Since when it fails in a way that does not pass by itself.
    for_good_since: Option<Instant>,
    tries: u64,
    say_at: Instant,
    say_pause: Duration,
}

impl Failing {
    pub(crate) fn new(error: &Error) -> Failing {
        let now = Instant::now();
        let for_good_since = error.is_for_good().then_some(now);
        Failing {
            error: error.clone(),
            since: now,
            for_good_since,
            tries: 1,
            say_at: now + SAY_MIN,
            say_pause: SAY_MIN,
        }
    }

    pub(crate) fn again(&mut self, error: &Error) {
        self.error = error.clone();
        self.for_good_since = error.is_for_good().then(|| self.for_good_since.unwrap_or_else(Instant::now));
        self.tries += 1;
    }

    pub(crate) fn error(&self) -> &Error {
        &self.error
    }

    /// Since when it fails in a way that does not pass by itself.
    pub(crate) fn for_good_since(&self) -> Option<Instant> {
        self.for_good_since
    }

    fn is_to_be_said(&mut self) -> bool {
        let now = Instant::now();
        if now < self.say_at {
            return false;
        }
        self.say_pause = (2 * self.say_pause).min(SAY_MAX);
        self.say_at = now + self.say_pause;
        true
    }
}

/// Something that is tried until it succeeds. The log hears of it when it begins to fail, at growing distances, and when it is over.
#[derive(Debug)]
pub(crate) struct Retried {
    what: &'static str,
    /// Of which table, if of one.
    table: Option<String>,
    failing: Mutex<Option<Failing>>,
}

impl Retried {
    pub(crate) fn new(what: &'static str, table: Option<String>) -> Retried {
        Retried { what, table, failing: Mutex::default() }
    }

    /// It failed, and is tried again. Says whether that is new.
    pub(crate) fn failed(&self, error: &Error) -> bool {
        let Retried { what, table, failing } = self;
        let mut failing = lock(failing);
        let Some(known) = &mut *failing else {
            *failing = Some(Failing::new(error));
            tracing::warn!(table = table.as_deref(), error = %error.logged(), sqlstate = error.sqlstate(), "{what} failed; it is tried again");
            return true;
        };
        let was_for_good = known.for_good_since.is_some();
        known.again(error);
        if known.is_to_be_said() {
            let (since, tries) = (known.since.elapsed(), known.tries);
            let (table, sqlstate) = (table.as_deref(), error.sqlstate());
            let error = error.logged();
            tracing::warn!(table, %error, sqlstate, ?since, tries, "{what} still fails; it is tried again");
        }
        was_for_good != known.for_good_since.is_some()
    }

    /// It succeeded. Says whether it had failed before.
    pub(crate) fn succeeded(&self) -> bool {
        let Retried { what, table, failing } = self;
        let Some(over) = lock(failing).take() else { return false };
        let (lasted, tries) = (over.since.elapsed(), over.tries);
        tracing::info!(table = table.as_deref(), ?lasted, tries, "{what} succeeds again");
        true
    }

    /// It is another's from now on.
    pub(crate) fn hand_over(&self) -> Option<Failing> {
        lock(&self.failing).take()
    }

    pub(crate) fn failing(&self) -> Option<Failing> {
        lock(&self.failing).clone()
    }

    /// What is known of it, for people.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        lock(&self.failing).as_ref().map(|failing| Trouble {
            error: failing.error.clone(),
            lasting: failing.since.elapsed(),
            tries: failing.tries,
        })
    }
}

/// Lets through what is to be said at most once in a while, with how much was kept back meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<(Instant, u64)>>);

impl Seldom {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Whether it may be said now; then with how many were kept back since.
    pub(crate) fn kept_back(&self) -> Option<u64> {
        let mut last = lock(&self.0);
        let now = Instant::now();
        match &mut *last {
            Some((at, kept_back)) if now.duration_since(*at) < Self::PAUSE => {
                *kept_back += 1;
                None
            }
            last => Some(last.replace((now, 0)).map_or(0, |(_, kept_back)| kept_back)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_said_at_growing_distances() {
        let error = Error::new(ErrorKind::Unavailable, "away");
        let mut failing = Failing::new(&error);
        let mut said = Vec::new();
        let began = Instant::now();
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            failing.again(&error);
            if failing.is_to_be_said() {
                said.push(began.elapsed().as_secs());
            }
        }
        assert_eq!(said, [2, 6, 14, 30, 62, 126, 254, 510]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_in_between_begins_anew_to_be_for_good() {
        let (away, wrong) = (Error::new(ErrorKind::Unavailable, "away"), Error::new(ErrorKind::Mismatch, "wrong"));
        let mut failing = Failing::new(&wrong);
        let first = failing.for_good_since().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        failing.again(&wrong);
        assert_eq!(failing.for_good_since(), Some(first));
        failing.again(&away);
        assert_eq!(failing.for_good_since(), None);
        failing.again(&wrong);
        assert_eq!(failing.for_good_since(), Some(first + Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_often_is_said_seldom_and_counted() {
        let seldom = Seldom::default();
        assert_eq!(seldom.kept_back(), Some(0));
        assert_eq!((seldom.kept_back(), seldom.kept_back()), (None, None));
        tokio::time::advance(Seldom::PAUSE).await;
        assert_eq!(seldom.kept_back(), Some(2));
    }
}
