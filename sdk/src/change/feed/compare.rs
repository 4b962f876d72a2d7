//! Keeps knowing what the clock of the server's host says of ours: loads bring it along, and where there are none it is asked for.

use super::Feed;
use crate::common::Common;
use crate::status::FeedKind;
use crate::store::Store;
use std::time::Duration;

/// What is known is this old at most: two clocks may have drifted apart by 30 ms meanwhile.
const AGE_MAX: Duration = Duration::from_secs(60);

impl Feed {
    /// Compares the clocks until its task is ended.
    pub(super) async fn compare_clocks(&self, store: &Store, common: &Common) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(AGE_MAX / 2) => {}
                () = self.comparison_wanted.notified() => {}
            }
            let is_known = common.clock.compared_ago().is_some_and(|ago| ago < AGE_MAX / 2);
            if is_known || self.is_idle() || self.kind() != Some(FeedKind::Stream) {
                continue;
            }
            let asked = common.now();
            match store.clock().await {
                Ok((epoch, time)) if epoch.0 == common.freshness.epoch() => common.clock.compare(asked, time),
                Ok(_) => {}
                Err(error) => tracing::debug!(error = %error.logged(), "the clocks could not be compared"),
            }
        }
    }
}
