//! For how long what nobody waits for is left alone after it has failed. Who waits for rows knows nothing of it.

use crate::common::lock::lock;
use crate::common::time::Moment;
use std::sync::Mutex;
use std::time::Duration;

/// Each time in a row it is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Option<Failed>>);

#[derive(Clone, Copy, Debug)]
struct Failed {
    pause: Duration,
    until: Moment,
}

impl Pause {
    /// It has failed just now.
    pub(super) fn failed(&self, now: Moment) {
        let mut failed = lock(&self.0);
        let pause = failed.map_or(PAUSE_MIN, |last| (2 * last.pause).min(PAUSE_MAX));
        *failed = Some(Failed { pause, until: now + pause });
    }

    /// It was answered.
    pub(super) fn answered(&self) {
        *lock(&self.0) = None;
    }

    pub(super) fn lasts(&self, now: Moment) -> bool {
        lock(&self.0).is_some_and(|failed| now < failed.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_nothing_is_answered() {
        let (pause, mut now) = (Pause::default(), Moment::from_nanos(1));
        assert!(!pause.lasts(now));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            pause.failed(now);
            let whole = Duration::from_secs(seconds);
            assert!(pause.lasts(now) && pause.lasts(now + (whole - Duration::from_millis(1))), "{seconds}");
            now = now + whole;
            assert!(!pause.lasts(now), "{seconds}");
        }
        pause.failed(now);
        pause.answered();
        assert!(!pause.lasts(now));
        pause.failed(now);
        assert!(!pause.lasts(now + PAUSE_MIN), "it begins anew");
    }
}
