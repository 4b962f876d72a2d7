//! Reads of what is held, beside moka, other caches, and a map behind a lock, all with the same keys and values. What a hit cannot do
//! without is measured too: the hash with a secret by which changes name keys, a look-up in the concurrent map, and a count of the value.
//!
//! Reads are measured side by side, as a loop has them, where a processor begins one while it waits for the entries of those before;
//! and one after the other, as a program has them that does something with what it read.
//!
//! Turns are short, and each round gives one to every side, in changing order.

use crate::hit_rate;
use crate::measure::{Rounds, Sides, nanos_per_operation};
use crate::memory::Profile;
use crate::report::{Figure, Report, Target};
use crate::trace::Zipf;
use cache_sync::{Cache, Client, Key};
use cache_sync_kit::{Dice, Result, connect};
use futures_util::FutureExt;
use papaya::ResizeMode::Blocking;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::Duration;

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
/// A side's turn.
const TURN: Duration = Duration::from_millis(50);
/// Reads of each key before it counts.
const WARM_UP: usize = 4;
/// Reads between two looks at the clock.
const STEP: usize = 1000;
/// Reads that are drawn beforehand, and read again and again.
const DRAWN: usize = 1000 * STEP;
/// By how many of them the next turn begins later. Were they the same in each, a slower side would come less far and find what it
/// reads in the processor's caches, where the round before has left it.
const TURN_STEPS: usize = 373;

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let largest = SIZES[SIZES.len() - 1];
    let rows = format!("'name ' || i, 'city ' || i % 100, i % 1000, true FROM generate_series(0, {largest} - 1) i");
    connect(dsn)
        .await?
        .batch_execute(&format!(
            "CREATE TABLE numbered (id bigint PRIMARY KEY, name text, city text, score int, active bool);
             CREATE TABLE named (id text PRIMARY KEY, name text, city text, score int, active bool);
             SELECT cache_sync.attach('numbered'), cache_sync.attach('named');
             INSERT INTO numbered SELECT i, {rows};
             INSERT INTO named SELECT 'key number ' || i, {rows};
             ANALYZE numbered, named"
        ))
        .await?;
    for size in SIZES {
        let keys: Vec<i64> = (0..size as i64).collect();
        Field::open(dsn, "numbered", keys, "i64").await?.run(rounds, report).await?;
        let keys: Vec<String> = (0..size).map(|number| format!("key number {number}")).collect();
        Field::open(dsn, "named", keys, "String").await?.run(rounds, report).await?;
    }
    hit_rate::run(dsn, report).await
}

/// Which keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Zipf,
    Uniform,
    OneHotKey,
}

impl Pattern {
    fn name(self) -> &'static str {
        match self {
            Pattern::Zipf => "Zipf 0.99",
            Pattern::Uniform => "uniform",
            Pattern::OneHotKey => "one hot key",
        }
    }

    /// To be held where reads are spread over many keys.
    fn at_most(self, most: f64) -> Target {
        if self == Pattern::OneHotKey { Target::None } else { Target::AtMost(most) }
    }

    fn draw<K: Clone>(self, keys: &[K]) -> Vec<K> {
        let mut dice = Dice::new(1);
        let size = keys.len() as u64;
        let zipf = Zipf::new(size, 0.99);
        let mut next = || match self {
            // What is read most should not lie side by side.
            Pattern::Zipf => zipf.draw(&mut dice) * 7919 % size,
            Pattern::Uniform => dice.below(size),
            Pattern::OneHotKey => size / 2,
        };
        (0..DRAWN).map(|_| keys[next() as usize].clone()).collect()
    }
}

/// The same entries on every side.
struct Field<K: Key + Hash + Eq> {
    client: Client,
    cache: Cache<K, Profile>,
    keys: Vec<K>,
    moka: moka::sync::Cache<K, Arc<Profile>>,
    quick: quick_cache::sync::Cache<K, Arc<Profile>>,
    foyer: foyer_memory::Cache<K, Arc<Profile>>,
    map: RwLock<HashMap<K, Arc<Profile>>>,
    /// As the cache has it, but nothing is known of an entry besides.
    bare: papaya::HashMap<u64, (K, Arc<Profile>), BuildHasherDefault<AlreadyHashed>>,
    kind: &'static str,
}

/// A hash with a secret needs no other.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl<K: Key + Hash + Eq> Field<K> {
    async fn open(dsn: &str, table: &str, keys: Vec<K>, kind: &'static str) -> Result<Field<K>> {
        let client = Client::connect(dsn).await?;
        let room = 2 * keys.len();
        let cache: Cache<K, Profile> = client.cache(table).max_capacity(room as u64).open().await?;
        let field = Field {
            client,
            cache,
            moka: moka::sync::Cache::new(room as u64),
            quick: quick_cache::sync::Cache::new(room),
            foyer: foyer_memory::CacheBuilder::new(room).build(),
            map: RwLock::default(),
            // Never left between two tables, as the cache does not leave its own.
            bare: papaya::HashMap::builder().hasher(BuildHasherDefault::default()).resize_mode(Blocking).build(),
            keys,
            kind,
        };
        let mut map = HashMap::new();
        for keys in field.keys.chunks(10_000) {
            for (key, profile) in keys.iter().zip(field.cache.get_many(keys).await?) {
                let profile = profile.ok_or("a row that was just inserted is missing")?;
                field.moka.insert(key.clone(), profile.clone());
                field.quick.insert(key.clone(), profile.clone());
                field.foyer.insert(key.clone(), profile.clone());
                field.bare.pin().insert(field.cache.key_hash(key).0, (key.clone(), profile.clone()));
                map.insert(key.clone(), profile);
            }
        }
        *field.map.write().map_err(|_| "a thread panicked")? = map;
        Ok(field)
    }

    async fn run(self, rounds: Rounds, report: &mut Report) -> Result<()> {
        // The first reads of an entry teach the caches something, and fill what they note reads in.
        for _ in 0..WARM_UP {
            for key in &self.keys {
                black_box((self.cache.get(key).now_or_never(), self.moka.get(key), self.quick.get(key)));
                black_box(self.foyer.get(key));
            }
        }
        let loads = self.cache.status().load_statements;
        for pattern in [Pattern::Zipf, Pattern::Uniform, Pattern::OneHotKey] {
            let drawn = pattern.draw(&self.keys);
            for threads in [1, 2] {
                self.read(&drawn, pattern, threads, rounds, report);
            }
            self.read_in_line(&drawn, pattern, rounds, report);
        }
        self.many(rounds, report);
        if self.cache.status().load_statements != loads {
            return Err("a read that should have hit was loaded".into());
        }
        self.client.close(Duration::from_secs(10)).await?;
        Ok(())
    }

    fn read(&self, drawn: &[K], pattern: Pattern, threads: usize, rounds: Rounds, report: &mut Report) {
        let get = |number| turn(drawn, number, threads, |keys| self.get_each(keys));
        let with = |number| turn(drawn, number, threads, |keys| self.look_at_each(keys));
        let moka = |number| turn(drawn, number, threads, |keys| each(keys, |key| self.moka.get(key)));
        let quick = |number| turn(drawn, number, threads, |keys| each(keys, |key| self.quick.get(key)));
        let foyer = |number| turn(drawn, number, threads, |keys| each(keys, |key| self.foyer.get(key)));
        let map =
            |number| turn(drawn, number, threads, |keys| each(keys, |key| self.map.read().ok()?.get(key).cloned()));
        let bare = |number| turn(drawn, number, threads, |keys| each(keys, |key| self.bare_hit(key)));
        let sides: [&dyn Fn(usize) -> f64; 7] = [&get, &with, &moka, &quick, &foyer, &map, &bare];
        let nanos = take_turns(&sides, turns(rounds));
        let row = |ours: &str, other: &str| {
            let (size, kind, pattern) = (self.keys.len(), self.kind, pattern.name());
            format!("{ours} / {other}, {kind}, {size}, {pattern}, {threads} thread(s)")
        };
        let mut add = |ours: usize, theirs: usize, row, target| {
            report.rounds(Figure::new("hit", row, "ns", target), &compared(&nanos, ours, theirs));
        };
        add(0, 2, row("get", "moka"), pattern.at_most(0.35));
        add(0, 3, row("get", "quick_cache"), pattern.at_most(1.7));
        add(0, 4, row("get", "foyer"), Target::None);
        add(0, 5, row("get", "HashMap under RwLock"), Target::None);
        add(0, 6, row("get", "its hash, map and count alone"), Target::None);
        add(1, 2, row("with", "moka"), pattern.at_most(0.35));
    }

    /// Which key is read next depends on what was read before.
    fn read_in_line(&self, drawn: &[K], pattern: Pattern, rounds: Rounds, report: &mut Report) {
        let get = |number| {
            turn_in_line(drawn, number, |mut at| {
                let reads = async {
                    for _ in 0..STEP {
                        at = next(at, self.cache.get(&drawn[at % drawn.len()]).await.ok().flatten());
                    }
                };
                reads.now_or_never().expect("a hit does not wait");
                at
            })
        };
        let moka = |number| turn_in_line(drawn, number, |at| line(drawn, at, |key| self.moka.get(key)));
        let quick = |number| turn_in_line(drawn, number, |at| line(drawn, at, |key| self.quick.get(key)));
        let value = |key: &K| self.foyer.get(key).map(|entry| entry.value().clone());
        let foyer = |number| turn_in_line(drawn, number, |at| line(drawn, at, value));
        let nanos = take_turns(&[&get, &moka, &quick, &foyer], turns(rounds));
        for (theirs, other, target) in
            [(1, "moka", pattern.at_most(0.35)), (2, "quick_cache", pattern.at_most(1.7)), (3, "foyer", Target::None)]
        {
            let (size, kind, pattern) = (self.keys.len(), self.kind, pattern.name());
            let row = format!("get / {other}, {kind}, {size}, {pattern}, one after the other");
            report.rounds(Figure::new("hit", row, "ns", target), &compared(&nanos, 0, theirs));
        }
    }

    /// In a task, as a program reads.
    fn get_each(&self, keys: &[K]) {
        let reads = async {
            for key in keys {
                let found = black_box(self.cache.get(key).await);
                assert!(matches!(found, Ok(Some(_))), "{found:?}");
            }
        };
        reads.now_or_never().expect("a hit does not wait");
    }

    fn look_at_each(&self, keys: &[K]) {
        let reads = async {
            for key in keys {
                let score = self.cache.with(key, |profile: Option<&Profile>| profile.map(|profile| profile.score));
                let score = black_box(score.await);
                assert!(matches!(score, Ok(Some(_))), "{score:?}");
            }
        };
        reads.now_or_never().expect("a hit does not wait");
    }

    fn bare_hit(&self, key: &K) -> Option<Arc<Profile>> {
        let hash = self.cache.key_hash(key).0;
        let guard = self.bare.guard();
        let (of, profile) = self.bare.get(&hash, &guard)?;
        (of == key).then(|| profile.clone())
    }

    /// Many keys in one call.
    fn many(&self, rounds: Rounds, report: &mut Report) {
        let drawn = Pattern::Uniform.draw(&self.keys);
        let many_each = |keys: &[K]| {
            for keys in keys.chunks(100) {
                drop(black_box(self.cache.get_many(keys).now_or_never().expect("hits do not wait")));
            }
        };
        let many = |number| turn(&drawn, number, 1, many_each);
        let get = |number| turn(&drawn, number, 1, |keys| self.get_each(keys));
        let nanos = take_turns(&[&many, &get], turns(rounds));
        let row = format!("get_many of 100 / get, {}, {}, uniform", self.kind, self.keys.len());
        report.rounds(Figure::new("hit", row, "ns", Target::AtMost(1.1)), &compared(&nanos, 0, 1));
    }
}

/// As many as a side takes in a tenth of the time.
fn turns(rounds: Rounds) -> usize {
    let seconds = rounds.seconds * rounds.count as f64 / 10.0;
    ((seconds / TURN.as_secs_f64()) as usize).max(3)
}

/// What each side took, turn by turn.
fn take_turns(sides: &[&dyn Fn(usize) -> f64], turns: usize) -> Vec<Vec<f64>> {
    let mut nanos = vec![Vec::new(); sides.len()];
    for round in 0..turns {
        for place in 0..sides.len() {
            let side = (round + place) % sides.len();
            nanos[side].push(sides[side](round * sides.len() + place));
        }
    }
    nanos
}

fn compared(nanos: &[Vec<f64>], ours: usize, theirs: usize) -> Sides {
    let mut sides = Sides::default();
    nanos[ours].iter().zip(&nanos[theirs]).for_each(|(ours, theirs)| sides.add(*ours, *theirs));
    sides
}

/// Reads each of the keys.
fn each<K, R>(keys: &[K], read: impl Fn(&K) -> R) {
    keys.iter().for_each(|key| drop(black_box(read(key))));
}

/// Reads a step of keys, one after the other, from this place on. Returns the place behind.
fn line<K>(drawn: &[K], at: usize, read: impl Fn(&K) -> Option<Arc<Profile>>) -> usize {
    (0..STEP).fold(at, |at, _| next(at, read(&drawn[at % drawn.len()])))
}

/// The next place, which nobody knows who does not know what was found in this one.
fn next(at: usize, found: Option<Arc<Profile>>) -> usize {
    // Never so many.
    at + 1 + found.map_or(0, |value| Arc::strong_count(&value) >> (usize::BITS - 1))
}

/// One side's turn, of reads of which each has to have ended before the next one is known.
fn turn_in_line<K>(drawn: &[K], number: usize, read_step: impl Fn(usize) -> usize) -> f64 {
    let mut at = number * TURN_STEPS * STEP % drawn.len();
    nanos_per_operation(TURN, || {
        at = read_step(at);
        STEP
    })
}

/// One side's turn: the nanoseconds of its threads' time on a processor that a read takes.
fn turn<K: Sync>(drawn: &[K], number: usize, threads: usize, read_step: impl Fn(&[K]) + Sync) -> f64 {
    let reads = |thread: usize| {
        let steps = drawn.len().div_ceil(STEP);
        let begin = (number * TURN_STEPS + thread * steps / threads) % steps;
        let mut steps = drawn.chunks(STEP).cycle().skip(begin);
        nanos_per_operation(TURN, || {
            let step = steps.next().unwrap_or_default();
            read_step(step);
            step.len()
        })
    };
    if threads == 1 {
        return reads(0);
    }
    let all = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || reads(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum::<f64>()
    });
    all / threads as f64
}
