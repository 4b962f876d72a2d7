//! Every order of steps, as far as loom can tell them apart: no change is torn, none is missed, no wake-up is lost.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use cache_sync_ring::{Memory, Read, Word, arm, leave, publish, publish_gap, read, woken};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, fence};
use loom::sync::{Arc, Notify, RwLock};
use loom::thread;
use std::sync::atomic::Ordering;

/// So many times a thread is interrupted where it need not be: the number of orders grows with it.
const PREEMPTIONS: usize = 2;

struct LoomWord(AtomicU64);

impl Word for LoomWord {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.0.fetch_or(bits, order)
    }

    fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.0.fetch_and(bits, order)
    }
}

/// A ring in which an entry says its position, so that a wrong one shows.
struct LoomMemory {
    head: LoomWord,
    armed: [LoomWord; 1],
    positions: Vec<LoomWord>,
    lock: RwLock<()>,
    cells: Vec<UnsafeCell<u64>>,
    latches: Vec<Notify>,
}

impl Memory for LoomMemory {
    type Word = LoomWord;
    type Entry = u64;

    fn head(&self) -> &LoomWord {
        &self.head
    }

    fn size(&self) -> u64 {
        self.cells.len() as u64
    }

    fn armed(&self) -> &[LoomWord] {
        &self.armed
    }

    fn position(&self, listener: usize) -> &LoomWord {
        &self.positions[listener]
    }

    fn exclusive<T>(&self, body: impl FnOnce() -> T) -> T {
        let _guard = self.lock.write().unwrap();
        body()
    }

    fn shared<T>(&self, body: impl FnOnce() -> T) -> T {
        let _guard = self.lock.read().unwrap();
        body()
    }

    fn copy_in(&self, place: usize, entries: &[u64]) {
        for (cell, entry) in self.cells[place..].iter().zip(entries) {
            // SAFETY: loom checks that nobody else has it.
            cell.with_mut(|cell| unsafe { *cell = *entry });
        }
    }

    fn copy_out(&self, place: usize, into: &mut [u64]) {
        for (cell, entry) in self.cells[place..].iter().zip(into) {
            // SAFETY: loom checks that nobody writes it.
            *entry = cell.with(|cell| unsafe { *cell });
        }
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn set_latch(&self, listener: usize) {
        self.latches[listener].notify();
    }
}

fn ring(size: usize, listeners: usize) -> Arc<LoomMemory> {
    Arc::new(LoomMemory {
        head: LoomWord(AtomicU64::new(0)),
        armed: [LoomWord(AtomicU64::new(0))],
        positions: (0..listeners).map(|_| LoomWord(AtomicU64::new(0))).collect(),
        lock: RwLock::new(()),
        cells: (0..size).map(|_| UnsafeCell::new(u64::MAX)).collect(),
        latches: (0..listeners).map(|_| Notify::new()).collect(),
    })
}

/// A listener that hears everything up to `end`, and waits where there is nothing new.
fn listen(ring: &LoomMemory, listener: usize, end: u64) {
    let mut position = 0;
    while position < end {
        let mut entries = [0; 4];
        match read(ring, position, &mut entries) {
            Read::Copied(0) => {
                if arm(ring, listener, position) {
                    ring.latches[listener].wait();
                    woken(ring, listener);
                }
            }
            Read::Copied(count) => {
                let expected: Vec<_> = (position..position + count as u64).collect();
                assert_eq!(entries[..count], expected);
                position += count as u64;
            }
            Read::Lapped => position = end,
        }
    }
    // It goes away, as backends do.
    leave(ring, listener);
}

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(body);
}

/// Runs two listeners while `publish` publishes, until both have heard enough.
fn with_listeners(listen: fn(&LoomMemory, usize), publish: impl FnOnce(&LoomMemory)) {
    let ring = ring(4, 2);
    let listeners = [0, 1].map(|listener| {
        let ring = ring.clone();
        thread::spawn(move || listen(&ring, listener))
    });
    publish(&ring);
    listeners.into_iter().for_each(|listener| listener.join().unwrap());
}

#[test]
fn every_listener_hears_every_change() {
    model(|| {
        with_listeners(
            |ring, listener| listen(ring, listener, 2),
            |ring| {
                publish(ring, &[0]);
                publish(ring, &[1]);
            },
        );
    });
}

#[test]
fn a_listener_that_dies_takes_no_wake_up_along() {
    model(|| {
        let ring = ring(4, 2);
        let survivor = {
            let ring = ring.clone();
            thread::spawn(move || listen(&ring, 1, 1))
        };
        let dying = {
            let ring = ring.clone();
            thread::spawn(move || {
                arm(&*ring, 0, 0);
                leave(&*ring, 0);
            })
        };
        publish(&*ring, &[0]);
        dying.join().unwrap();
        survivor.join().unwrap();
    });
}

#[test]
fn what_is_read_is_whole_or_lapped() {
    model(|| {
        let ring = ring(2, 0);
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut entries = [0; 4];
                match read(&*ring, 0, &mut entries) {
                    Read::Copied(count) => assert!(entries[..count].iter().copied().eq(0..count as u64)),
                    Read::Lapped => assert!(ring.head.load(Ordering::Acquire) > 2),
                }
            })
        };
        publish(&*ring, &[0]);
        publish(&*ring, &[1, 2]);
        reader.join().unwrap();
    });
}

#[test]
fn two_writers_share_the_positions() {
    model(|| {
        let ring = ring(4, 0);
        let other = {
            let ring = ring.clone();
            thread::spawn(move || publish(&*ring, &[7]))
        };
        publish(&*ring, &[8]);
        other.join().unwrap();
        let mut entries = [0; 4];
        assert_eq!(read(&*ring, 0, &mut entries), Read::Copied(2));
        entries[..2].sort_unstable();
        assert_eq!(entries[..2], [7, 8]);
        publish_gap(&*ring);
        assert_eq!(read(&*ring, 0, &mut entries), Read::Lapped);
        assert_eq!(read(&*ring, 2, &mut entries), Read::Lapped);
        assert_eq!(read(&*ring, ring.head.load(Ordering::Acquire), &mut entries), Read::Copied(0));
        assert_eq!(read(&*ring, 100, &mut entries), Read::Lapped);
    });
}

/// The rig finds a lost wake-up: a listener that keeps the one that it was handed leaves the other one asleep. loom ends the
/// process then.
#[test]
fn a_wake_up_that_is_not_handed_on_is_noticed() {
    const LOSES: &str = "CACHE_SYNC_LOSES_A_WAKE_UP";
    if std::env::var_os(LOSES).is_some() {
        return keep_the_wake_up();
    }
    let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
    itself.args(["--nocapture", "--exact", "a_wake_up_that_is_not_handed_on_is_noticed"]).env(LOSES, "1");
    let ended = itself.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("deadlock"), "{said}");
}

fn keep_the_wake_up() {
    let keep = |ring: &LoomMemory, listener: usize| {
        while ring.head.load(Ordering::Acquire) == 0 {
            if arm(ring, listener, 0) {
                ring.latches[listener].wait();
            }
        }
    };
    model(move || with_listeners(keep, |ring| publish(ring, &[0])));
}
