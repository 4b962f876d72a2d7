//! The keys that wait for a load, and the load that the reader drives who asked for it.

use crate::common::lock::lock;
use cache_sync_core::number::KeyHash;
use futures_util::future::{BoxFuture, Shared};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::Notify;

/// A load that whoever waits for it may drive.
pub(super) type Led = Shared<BoxFuture<'static, ()>>;

/// A key for each load that nobody has begun, by the load's number: that is the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct WantedKeys {
    wanted: Mutex<Wanted>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    keys: BTreeMap<u64, KeyHash>,
    /// How many loaders are loading.
    busy: usize,
    led: Option<Leading>,
    is_closed: bool,
}

#[derive(Debug)]
struct Leading {
    load: Led,
    help: Help,
}

/// Whether a loader drives a load that a reader leads.
#[derive(Debug, PartialEq, Eq)]
enum Help {
    NotNeeded,
    Needed,
    Given,
}

/// What there is to do for a loader.
pub(super) enum Work<'a> {
    Load(Vec<KeyHash>, Busy<'a>),
    /// Others wait for what a reader leads, or he has left.
    Help(Led),
}

/// A loader that is loading.
pub(super) struct Busy<'a>(&'a WantedKeys);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.0.wanted).busy -= 1;
    }
}

impl WantedKeys {
    /// Asks for a load, which the caller is to drive if all is quiet: that spares the way over a loader's task.
    pub(super) fn push(&self, number: u64, key: KeyHash, lead: impl FnOnce() -> Option<Led>) -> Option<Led> {
        let mut wanted = lock(&self.wanted);
        let is_quiet = wanted.keys.is_empty() && wanted.busy == 0 && wanted.led.is_none() && !wanted.is_closed;
        if is_quiet && let Some(load) = lead() {
            wanted.led = Some(Leading { load: load.clone(), help: Help::NotNeeded });
            return Some(load);
        }
        wanted.keys.insert(number, key);
        drop(wanted);
        // Of two loaders that rest the one that has just come to it, whose connection is the warm one.
        self.arrived.notify_last();
        None
    }

    /// Somebody else waits for a load: if a reader leads it, he may not be looked after any more.
    pub(super) fn help(&self) {
        let mut wanted = lock(&self.wanted);
        if let Some(led) = &mut wanted.led
            && led.help == Help::NotNeeded
        {
            led.help = Help::Needed;
            drop(wanted);
            self.arrived.notify_last();
        }
    }

    /// A load that was led has ended.
    pub(super) fn led_to_its_end(&self, load: &Led) {
        let mut wanted = lock(&self.wanted);
        let over = wanted.led.take_if(|led| led.load.ptr_eq(load));
        drop(wanted);
        drop(over);
    }

    /// Nobody waits for this load any more.
    pub(super) fn remove(&self, number: u64) {
        lock(&self.wanted).keys.remove(&number);
    }

    /// Nobody will want anything any more.
    pub(super) fn close(&self) {
        let mut wanted = lock(&self.wanted);
        wanted.is_closed = true;
        // It holds what it loads for.
        let led = wanted.led.take();
        drop(wanted);
        drop(led);
        self.arrived.notify_waiters();
        // For one that is about to wait.
        self.arrived.notify_one();
    }

    /// Takes up to `max` keys from the front, or a load that needs help, waiting until there is either; none once nobody will want
    /// anything any more.
    pub(super) async fn take(&self, max: usize) -> Option<Work<'_>> {
        loop {
            {
                let mut wanted = lock(&self.wanted);
                if let Some(led) = wanted.led.as_mut().filter(|led| led.help == Help::Needed) {
                    led.help = Help::Given;
                    return Some(Work::Help(led.load.clone()));
                }
                let taken: Vec<_> =
                    std::iter::from_fn(|| wanted.keys.pop_first()).take(max).map(|(_, key)| key).collect();
                if !taken.is_empty() {
                    wanted.busy += 1;
                    return Some(Work::Load(taken, Busy(self)));
                }
                if wanted.is_closed {
                    self.arrived.notify_one();
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }
}

/// A reader who drives the load that he asked for. Who leaves before it has ended leaves it to a loader: others may wait for it, and its
/// connection is good for the next.
pub(super) struct Leader<'a> {
    wanted: &'a WantedKeys,
    load: Option<Led>,
}

impl<'a> Leader<'a> {
    pub(super) fn new(wanted: &'a WantedKeys, load: Option<Led>) -> Leader<'a> {
        Leader { wanted, load }
    }

    /// Brings it to its end, and then waits for `answer`: whoever looks for that earlier is woken by what he does himself.
    pub(super) async fn drive<T>(mut self, answer: impl Future<Output = T>) -> T {
        if let Some(load) = &mut self.load {
            (&mut *load).await;
            self.wanted.led_to_its_end(load);
            self.load = None;
        }
        answer.await
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if self.load.is_some() {
            self.wanted.help();
        }
    }
}
