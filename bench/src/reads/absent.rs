//! Many tasks that want the same key at the same time, which has no row.

use super::{HELD, ROWS};
use crate::report::{Figure, Report, Target};
use cache_sync_kit::Result;
use futures_util::future::try_join_all;
use std::sync::Arc;
use tokio::sync::Barrier;

const TASKS: usize = 10_000;

pub(super) async fn run(dsn: &str, report: &mut Report) -> Result<()> {
    let (client, cache) = super::open(dsn, HELD).await?;
    let all_are_there = Arc::new(Barrier::new(TASKS));
    let tasks = (0..TASKS).map(|_| {
        let (cache, all_are_there) = (cache.clone(), all_are_there.clone());
        tokio::spawn(async move {
            all_are_there.wait().await;
            cache.get(&ROWS).await
        })
    });
    for found in try_join_all(tasks).await? {
        if found?.is_some() {
            return Err("a row that nobody inserted was found".into());
        }
    }
    let row = format!("loads of one absent key, {TASKS} tasks at once / 1");
    report.difference(Figure::new("reads", row, "loads", Target::AtMost(0.0)), cache.status().loaded_keys as f64, 1.0);
    super::close(client).await
}
