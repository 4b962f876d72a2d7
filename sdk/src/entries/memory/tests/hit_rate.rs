//! moka decides as well as if it heard of every read.

use super::*;

const HELD: u64 = 1000;
const READS: u64 = 100_000;
const READS_IN_CALM: u64 = READS * 3 / 5;

/// Random numbers: xorshift64*.
struct Dice(u64);

impl Dice {
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Keys of which the first are read most: in proportion to 1/n or nearly so.
    fn zipf(&mut self, keys: u64) -> u64 {
        const EXPONENT: f64 = 0.99;
        let end = (keys as f64).powf(1.0 - EXPONENT) - 1.0;
        (self.fraction() * end + 1.0).powf(1.0 / (1.0 - EXPONENT)) as u64 - 1
    }
}

/// In percent, of what is read through here.
fn ours(trace: &[u64]) -> f64 {
    let memory = Memory::of(HELD, None);
    for key in trace {
        let number = *key as i64;
        if memory.read(spread(*key), &number, |_| Some(())).is_none() {
            memory.missed(spread(*key));
            if memory.hold(spread(*key), &number, &Some(Row::new((), 1)), Version(1), CONFIRMED) {
                memory.keep_up();
            }
        }
    }
    100.0 * memory.hits() as f64 / trace.len() as f64
}

/// Of moka alone, which weighs what it holds, as it does here: it keeps smaller statistics then. It gets the same hashes: how many reads
/// of a loop hit depends on which of them share a counter, by several percent.
fn mokas(trace: &[u64]) -> f64 {
    const WEIGHT: u32 = 1000;
    let moka = moka::sync::Cache::builder().weigher(|_, ()| WEIGHT).max_capacity(HELD * u64::from(WEIGHT));
    let moka = moka.build_with_hasher(Hashing::default());
    let mut hits = 0;
    for key in trace {
        match moka.get(&spread(*key)) {
            Some(()) => hits += 1,
            None => moka.insert(spread(*key), ()),
        }
    }
    100.0 * f64::from(hits) / trace.len() as f64
}

/// By how much more of them hit through here than through moka alone.
fn compare(name: &str, next: impl FnMut(u64) -> u64) {
    let trace: Vec<u64> = (0..READS).map(next).collect();
    let (ours, mokas) = (ours(&trace), mokas(&trace));
    println!("{name}: {ours:.2} % of the reads hit, {mokas:.2} % with moka alone");
    assert!(ours > mokas - 1.0, "{name}: {ours} % instead of {mokas} %");
    assert!(mokas > 20.0, "{name} says nothing: {mokas} %");
}

#[test]
fn where_some_keys_are_read_more() {
    let mut dice = Dice(1);
    compare("Zipf", |_| dice.zipf(10 * HELD));
    // Few misses, and few hits that are told.
    compare("Zipf with room for most", |_| dice.zipf(2 * HELD));
}

#[test]
fn where_somebody_reads_many_keys_once() {
    let mut dice = Dice(2);
    compare("Zipf with scans", |at| match at % (7 * HELD) < 5 * HELD {
        true => dice.zipf(5 * HELD),
        false => 1_000_000 + at,
    });
}

#[test]
fn where_somebody_goes_round_and_round() {
    compare("a loop", |at| at % (HELD * 3 / 2));
    // One fits, the next does not, and so on.
    compare("loops", |at| match at / (READS / 10) % 2 {
        0 => at % (HELD * 4 / 5),
        _ => 1_000_000 + at % (HELD * 2),
    });
}

#[test]
fn where_what_is_read_most_changes() {
    let mut dice = Dice(3);
    compare("Zipf that moves on", |at| at / (READS / 5) * 1_000_000 + dice.zipf(5 * HELD));
}

/// While nothing misses, moka hears of few hits; what it knows by then has to last for what follows.
#[test]
fn where_all_is_held_for_long() {
    let mut dice = Dice(4);
    compare("Zipf, and others once", |at| match at {
        ..READS_IN_CALM => dice.zipf(HELD * 9 / 10),
        _ if at % 2 == 0 => 1_000_000 + at,
        _ => dice.zipf(HELD * 9 / 10),
    });
    let mut dice = Dice(5);
    compare("Zipf, and others as often", |at| match at {
        ..READS_IN_CALM => dice.zipf(HELD * 9 / 10),
        _ => (at % 2) * 1_000_000 + dice.zipf(HELD * 3 / 2),
    });
}
