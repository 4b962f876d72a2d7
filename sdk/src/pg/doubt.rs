//! Doubts of the server: another may be the primary by now.

use crate::common::lock::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a doubt lets the next one wait; each time in a row twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often the server was doubted.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    number: watch::Sender<u64>,
    /// When the last one was, and how long the next one waits after it.
    last: Mutex<Option<(Instant, Duration)>>,
}

impl Doubt {
    /// Doubts it, unless that was only just done.
    pub(super) fn raise(&self) -> bool {
        let now = Instant::now();
        let mut last = lock(&self.last);
        let pause = match *last {
            Some((at, pause)) if now < at + pause => return false,
            Some((at, pause)) if now < at + 4 * pause => (2 * pause).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
        *last = Some((now, pause));
        self.number.send_modify(|number| *number += 1);
        true
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.number.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_the_only_one_is_doubted_less_and_less() {
        let (doubt, began) = (Doubt::default(), Instant::now());
        let mut raised = Vec::new();
        for _ in 0..200 {
            if doubt.raise() {
                raised.push(began.elapsed().as_millis());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(raised, [0, 500, 1500, 3500, 7500, 15500]);
        assert_eq!(*doubt.subscribe().borrow(), 6);
        tokio::time::advance(4 * PAUSE_MAX).await;
        assert!(doubt.raise());
        tokio::time::advance(PAUSE_MIN).await;
        assert!(doubt.raise());
    }
}
