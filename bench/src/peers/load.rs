//! Two nodes that read and write for a while, and what came of it.

use super::confirmed::Confirmed;
use super::outside;
use super::shape::{Op, Shape};
use super::tally::{Tally, Turn};
use crate::trace::Zipf;
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Error, Result};
use cache_sync_peers::{Change, FIELD_BYTES, FIELDS, Peer, Record, Write, Written};
use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Requests that a node works on at a time.
const TASKS: usize = 16;
/// Between the places of rows that are read one more often than the other: a prime, so that all have one.
pub(super) const PLACES: u64 = 7919;
/// Keys that are drawn beforehand, and taken again and again.
const DRAWN: usize = 1 << 20;
/// Buffered writes of a request that nobody has begun to wait for yet.
const UNHEARD_MAX: usize = 1024;
/// Rows that may be inserted by a turn's end.
const INSERTS_MAX: u64 = 1_000_000;
/// Different texts that are written.
const TEXTS: usize = 64;

/// The rows, and what is done with them.
pub(super) struct Field {
    shape: Shape,
    rows: u64,
    pub(super) confirmed: Confirmed,
    /// What the most frequent reads have in common is a low number.
    drawn: Vec<u32>,
    texts: Vec<String>,
}

impl Field {
    pub(super) fn new(shape: Shape, rows: u64) -> Field {
        let (mut dice, zipf) = (Dice::new(1), Zipf::new(rows, 0.99));
        let inserts_max = if shape == Shape::D { INSERTS_MAX } else { 0 };
        let letter = |dice: &mut Dice| (b'a' + dice.below(26) as u8) as char;
        Field {
            shape,
            rows,
            confirmed: Confirmed::new(rows, inserts_max),
            drawn: (0..DRAWN).map(|_| zipf.draw(&mut dice) as u32).collect(),
            texts: (0..TEXTS).map(|_| (0..FIELD_BYTES).map(|_| letter(&mut dice)).collect()).collect(),
        }
    }

    /// Which key it is by how often it is read.
    fn key(&self, rank: u32) -> i64 {
        match self.shape {
            Shape::D => self.confirmed.newest_key() - i64::from(rank),
            // What is read most should not lie side by side.
            _ => (u64::from(rank) * PLACES % self.rows) as i64,
        }
    }

    /// Some field becomes some text.
    fn change(&self, dice: &mut Dice) -> Change<'_> {
        let (number, text) = (dice.below(FIELDS as u64) as usize, dice.one_of::<String>(&self.texts));
        Change::Field { number, text }
    }

    /// A write of some field of some row.
    pub(super) fn some_write(&self, dice: &mut Dice) -> Write<'_> {
        let key = self.key(*dice.one_of(&self.drawn));
        Write { key, version: self.confirmed.next_version(key), change: self.change(dice) }
    }

    /// Reads every row once on every node, one node after the other: what one puts into Redis would drop what the other has got from there.
    pub(super) async fn warm<P: Peer>(self: &Arc<Field>, nodes: &[Arc<P>]) -> Result<()> {
        for node in nodes {
            let reads = (0..TASKS).map(|first| {
                let (node, rows) = (Arc::clone(node), self.rows as i64);
                tokio::spawn(async move {
                    for key in (first as i64..rows).step_by(TASKS) {
                        node.read(key).await?.ok_or("a row is missing")?;
                    }
                    Ok::<_, Error>(())
                })
            });
            try_join_all(reads).await?.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    }

    /// Has the nodes read and write for some time, and the other program where there is one, until all is in Postgres.
    pub(super) async fn turn<P: Peer>(self: &Arc<Field>, nodes: &[Arc<P>], dsn: &str, time: Duration) -> Result<Turn> {
        let start = Instant::now();
        let end_ns = now_ns() + time.as_nanos() as i64;
        let (nodes_at_work, tasks) = if self.shape == Shape::One { (1, 1) } else { (nodes.len(), TASKS) };
        let at_work = nodes.iter().take(nodes_at_work).flat_map(|node| (0..tasks).map(move |_| node));
        let tasks = at_work.enumerate().map(|(number, node)| {
            let (peer, field) = (Arc::clone(node), Arc::clone(self));
            // Everybody somewhere else, and in each turn.
            let dice = Dice::new(end_ns as u64 ^ number as u64);
            tokio::spawn(async move {
                let (sender, buffered) = mpsc::channel(UNHEARD_MAX);
                let work = Worker::new(&*peer, &field, dice, sender).run(end_ns);
                let noting = tokio::spawn(note_commits(Arc::clone(&field), buffered));
                let done = work.await;
                // What failed there is why nobody takes buffered writes any more.
                noting.await??;
                done
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let other = (self.shape == Shape::Sql).then(|| {
            let (field, dsn) = (Arc::clone(self), dsn.to_owned());
            tokio::task::spawn_blocking(move || outside::write(&field, &dsn, time))
        });
        let mut tally = Tally::default();
        for done in try_join_all(tasks).await? {
            tally.merge(&done?);
        }
        for node in nodes {
            node.settle().await?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let other = match other {
            Some(other) => other.await??,
            None => outside::Written::default(),
        };
        Ok(tally.turn(seconds, other))
    }
}

/// Works on one request after another.
struct Worker<'w, P> {
    peer: &'w P,
    field: &'w Field,
    dice: Dice,
    place: usize,
    bound: Option<Duration>,
    buffered: mpsc::Sender<Buffered>,
    /// When the last request was done.
    now_ns: i64,
    tally: Tally,
}

/// A write that is in a buffer.
struct Buffered {
    key: i64,
    version: i64,
    outcome: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
}

/// Notes commits of buffered writes as they happen, in whichever order, until all have.
async fn note_commits(field: Arc<Field>, mut buffered: mpsc::Receiver<Buffered>) -> Result<()> {
    let (mut waiting, mut is_more) = (FuturesUnordered::new(), true);
    while is_more || !waiting.is_empty() {
        tokio::select! {
            biased;
            Some(done) = waiting.next(), if !waiting.is_empty() => done?,
            next = buffered.recv(), if is_more => match next {
                Some(Buffered { key, version, outcome }) => {
                    let field = &field;
                    waiting.push(async move {
                        outcome.await?;
                        field.confirmed.commit(key, version);
                        Ok::<_, Error>(())
                    });
                }
                None => is_more = false,
            },
        }
    }
    Ok(())
}

impl<'w, P: Peer> Worker<'w, P> {
    fn new(peer: &'w P, field: &'w Field, mut dice: Dice, buffered: mpsc::Sender<Buffered>) -> Worker<'w, P> {
        let place = dice.below(DRAWN as u64) as usize;
        let (bound, tally) = (peer.stale_at_most(), Tally::default());
        Worker { peer, field, dice, place, bound, buffered, now_ns: now_ns(), tally }
    }

    async fn run(mut self, end_ns: i64) -> Result<Tally> {
        while self.now_ns < end_ns {
            self.place = (self.place + 1) % DRAWN;
            let field = self.field;
            let key = field.key(field.drawn[self.place]);
            match field.shape.draw(&mut self.dice) {
                Op::Read => drop(self.read(key).await?),
                Op::Field => {
                    let change = field.change(&mut self.dice);
                    self.write(key, change).await?;
                }
                Op::Insert => {
                    let key = field.confirmed.new_key().ok_or("more rows are inserted than there is room for")?;
                    self.write(key, Change::Insert(&field.texts[0])).await?;
                }
                Op::Count => self.write(key, Change::Count).await?,
                Op::CountFrom => {
                    let read = self.read(key).await?.ok_or("a row is missing")?;
                    self.write(key, Change::CountFrom(&read)).await?;
                }
            }
            // What is in memory takes no wait, and others want the processor, too.
            tokio::task::consume_budget().await;
        }
        Ok(self.tally)
    }

    /// Reads, and looks whether what was confirmed before is there.
    async fn read(&mut self, key: i64) -> Result<Option<Arc<Record>>> {
        let confirmed = &self.field.confirmed;
        let begun = confirmed.begin(key);
        let record = self.peer.read(key).await?;
        self.now_ns = now_ns();
        self.tally.reads.add(self.now_ns - begun.at_ns);
        let version = record.as_ref().map_or(0, |record| record.version);
        if let Some(age) = confirmed.age(key, begun, version) {
            self.tally.stale(age, self.bound);
        }
        Ok(record)
    }

    async fn write(&mut self, key: i64, change: Change<'_>) -> Result<()> {
        let confirmed = &self.field.confirmed;
        let (begun_ns, version) = (now_ns(), confirmed.next_version(key));
        let written = self.peer.write(Write { key, version, change }).await?;
        self.now_ns = now_ns();
        self.tally.writes.add(self.now_ns - begun_ns);
        match written {
            Written::Committed => confirmed.commit(key, version),
            Written::Buffered(outcome) => {
                let buffered = Buffered { key, version, outcome };
                self.buffered.send(buffered).await.map_err(|_| "nobody notes commits any more")?;
            }
        }
        let counts = u64::from(matches!(change, Change::Count | Change::CountFrom(_)));
        confirmed.confirm(key, version, counts);
        Ok(())
    }
}
