//! The keys that wait for a load, and the load that the reader drives who asked for it.

use crate::common::lock::lock;
use cache_sync_core::number::KeyHash;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// A load that one drives, and another may go on with. There is one at a time: whoever drives it takes it out, and puts it back while it
/// waits.
pub(super) type Load = BoxFuture<'static, ()>;

/// A key for each load that nobody has begun, by the load's number: that is the order in which they were asked for.
#[derive(Default)]
pub(super) struct WantedKeys {
    wanted: Mutex<Wanted>,
    arrived: Notify,
}

#[derive(Default)]
struct Wanted {
    keys: BTreeMap<u64, KeyHash>,
    /// How many loaders are loading.
    busy: usize,
    led: Option<Led>,
    is_closed: bool,
}

/// The load that is led.
struct Led {
    /// That of its flight.
    number: u64,
    /// None while it is being driven.
    load: Option<Load>,
    help: Help,
    /// Wakes who leads, when it is no longer his.
    leader: Option<Waker>,
}

impl Led {
    /// It is no longer his who led it.
    fn leave(&mut self) {
        self.leader.take().into_iter().for_each(Waker::wake);
    }
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
    Help(Load, Helping<'a>),
}

/// A loader that goes on with what a reader led.
pub(super) struct Helping<'a>(&'a WantedKeys, u64);

impl Drop for Helping<'_> {
    fn drop(&mut self) {
        self.0.led_to_its_end(self.1);
    }
}

/// A loader that is loading.
pub(super) struct Busy<'a>(&'a WantedKeys);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.0.wanted).busy -= 1;
    }
}

impl WantedKeys {
    /// Asks for a load. The caller is to drive it if all is quiet, which spares the way over a loader's task: then this is who leads.
    pub(super) fn push(&self, number: u64, key: KeyHash, lead: impl FnOnce() -> Option<Load>) -> Option<Leader<'_>> {
        let mut wanted = lock(&self.wanted);
        let is_quiet = wanted.keys.is_empty() && wanted.busy == 0 && wanted.led.is_none() && !wanted.is_closed;
        if is_quiet && let Some(load) = lead() {
            wanted.led = Some(Led { number, load: Some(load), help: Help::NotNeeded, leader: None });
            return Some(Leader { wanted: self, number });
        }
        wanted.keys.insert(number, key);
        drop(wanted);
        // Of two loaders that rest the one that has just come to it, whose connection is the warm one.
        self.arrived.notify_last();
        None
    }

    /// Whether so many keys wait, or more.
    pub(super) fn is_full(&self, max: usize) -> bool {
        max != usize::MAX && lock(&self.wanted).keys.len() >= max
    }

    /// Whether any key waits for somebody to begin its load.
    pub(super) fn has_waiting(&self) -> bool {
        !lock(&self.wanted).keys.is_empty()
    }

    /// Somebody else waits for a load: if a reader leads it, he may not be looked after any more.
    pub(super) fn help(&self) {
        self.help_with(|_| true);
    }

    fn help_with(&self, is_it: impl Fn(u64) -> bool) {
        let mut wanted = lock(&self.wanted);
        if let Some(led) = wanted.led.as_mut().filter(|led| led.help == Help::NotNeeded && is_it(led.number)) {
            led.help = Help::Needed;
            drop(wanted);
            self.arrived.notify_last();
        }
    }

    /// Takes the load that is led, to drive it a step further; `None`: somebody else has it now.
    fn take_led(&self, number: u64) -> Option<Load> {
        let mut wanted = lock(&self.wanted);
        wanted.led.as_mut().filter(|led| led.number == number && led.help != Help::Given)?.load.take()
    }

    /// Puts it back where it waits.
    fn put_back(&self, number: u64, load: Load, leader: Waker) {
        let mut wanted = lock(&self.wanted);
        let Some(led) = wanted.led.as_mut().filter(|led| led.number == number) else {
            // The cache has been closed meanwhile.
            drop(wanted);
            return drop(load);
        };
        led.load = Some(load);
        led.leader = Some(leader);
        if led.help == Help::Needed {
            drop(wanted);
            // Whoever came to help did not find it.
            self.arrived.notify_last();
        }
    }

    /// A load that was led has ended.
    fn led_to_its_end(&self, number: u64) {
        let over = lock(&self.wanted).led.take_if(|led| led.number == number);
        // What it holds is let go without the lock.
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
        led.into_iter().for_each(|mut led| led.leave());
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
                if let Some(led) = wanted.led.as_mut().filter(|led| led.help == Help::Needed)
                    && let Some(load) = led.load.take()
                {
                    led.help = Help::Given;
                    led.leave();
                    return Some(Work::Help(load, Helping(self, led.number)));
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
            let others_load = lock(&self.wanted).busy > 0;
            if others_load {
                // What they have brought lets readers go on, who ask for more.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A reader who drives the load that he asked for. Who leaves before it has ended leaves it to a loader: others may wait for it, and its
/// connection is good for the next.
pub(super) struct Leader<'a> {
    wanted: &'a WantedKeys,
    number: u64,
}

impl Leader<'_> {
    /// Brings it to its end, or as far as it is his.
    pub(super) async fn drive(self) {
        poll_fn(|context| self.step(context)).await;
    }

    fn step(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(mut load) = self.wanted.take_led(self.number) else { return Poll::Ready(()) };
        match load.as_mut().poll(context) {
            Poll::Pending => {
                self.wanted.put_back(self.number, load, context.waker().clone());
                Poll::Pending
            }
            Poll::Ready(()) => {
                // It holds what it loads for.
                drop(load);
                self.wanted.led_to_its_end(self.number);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.wanted.help_with(|number| number == self.number);
    }
}
