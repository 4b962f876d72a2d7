//! Writes, whose receipts are waited for aside.

use super::super::table::Table;
use super::{Answer, Item, Row, Work};
use crate::history::{Add, COLUMNS, Event, Fate, ItemWrite, Nanos, Span, Written};
use crate::tables::{CREATED, GROUPS, ITEMS};
use cache_sync::{CacheValue, Error, Outcome, Patch, Receipt};
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result, locked};
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;

/// What is added is 1 and, higher up, the write's own number: so a sum tells which are in it.
const OWN_NUMBER_BIT: u32 = 24;
/// By the number of the process that adds to it; none adds to the first.
const COLUMN_NAMES: [&str; COLUMNS] = ["n", "w1", "w2", "w3", "w4"];
/// States are numbered by process.
pub(crate) const PROCESS_BIT: u32 = 40;

/// What a write's line in the history is made of.
type Line = Box<dyn Fn(Written) -> Event + Send>;

impl Work {
    pub(super) async fn add(&self, table: &Table<Row>, dice: &mut Dice) -> Result<()> {
        self.add_to(table, self.row_key(table, dice), dice).await.map(drop)
    }

    /// Hands back what waits for the outcome.
    pub(super) async fn add_to(&self, table: &Table<Row>, id: i32, dice: &mut Dice) -> Result<Option<JoinHandle<()>>> {
        let opened = table.now();
        // Until a row was read it is not known which table this is.
        let Some(home) = opened.home.get().copied().filter(|_| !self.only_reads) else { return Ok(None) };
        if std::ptr::eq(table, &self.kept) {
            self.note_changed(id);
        }
        let amount = 1 + (self.next_serial() << OWN_NUMBER_BIT);
        let column = self.number as usize;
        let line: Line = Box::new(move |written| Event::Added(Add { home, id, column, amount, after: None, written }));
        let begun = now_ns();
        let number = self.number;
        let change = |row: &mut Row| *row.column(number) += amount;
        let accepted = match dice.below(8) {
            0..4 => {
                let patch = Patch::new().add(COLUMN_NAMES[column], amount);
                self.call(dice, opened.cache.patch(&id, patch)).await
            }
            4..7 => self.call(dice, opened.cache.update(&id, change)).await,
            _ => {
                let looking = opened.cache.modify(&id, |row| {
                    change(row);
                    Ok::<_, Error>(Fate::Written)
                });
                let looked = self.call(dice, looking).await;
                return self.decided(table, opened.number, begun, looked, line).await.map(|()| None);
            }
        };
        match accepted {
            Some(Ok(receipt)) => Ok(Some(self.wait_for(receipt, begun, opened.number, line))),
            Some(Err(error)) => {
                self.not_accepted(begun, opened.number, Fate::Refused, &line)?;
                self.failed(table, opened.number, error).await.map(|()| None)
            }
            None => self.not_accepted(begun, opened.number, Fate::Unknown, &line).map(|()| None),
        }
    }

    /// Counts in a row that may not be there yet.
    pub(super) async fn count_or_create(&self, dice: &mut Dice) -> Result<()> {
        let (table, opened) = (&self.kept, self.kept.now());
        let Some(home) = opened.home.get().copied().filter(|_| !self.only_reads) else { return Ok(()) };
        let id = -1 - dice.below(CREATED as u64) as i32;
        let (number, column) = (self.number, self.number as usize);
        let amount = 1 + (self.next_serial() << OWN_NUMBER_BIT);
        let line: Line = Box::new(move |written| Event::Added(Add { home, id, column, amount, after: None, written }));
        let initial = || {
            let mut row = Row { id, grp: id, home, n: 0, w1: 0, w2: 0, w3: 0, w4: 0 };
            *row.column(number) += amount;
            row
        };
        let begun = now_ns();
        let counting = opened.cache.patch_or_put(&id, Patch::new().add(COLUMN_NAMES[column], amount), initial);
        let counted = self.call(dice, counting).await;
        let decided = counted.map(|counted| counted.as_ref().map(fate).map_err(Clone::clone));
        self.decided(table, opened.number, begun, decided, line).await
    }

    pub(super) async fn write_item(&self, dice: &mut Dice) -> Result<()> {
        if self.only_reads {
            return Ok(());
        }
        let (id, opened) = (dice.below(ITEMS as u64) as i32, self.items.now());
        let _turn = self.item_turns[id as usize].lock().await;
        let s = (i64::from(self.number) << PROCESS_BIT) + self.next_serial();
        let state = (!dice.once_in(4)).then_some(s);
        let line: Line = Box::new(move |written| Event::Wrote(ItemWrite { id, state, name: None, written }));
        let begun = now_ns();
        let item = |s| Item { id, grp: id % GROUPS, s };
        let accepted = match state {
            Some(s) if dice.once_in(4) => {
                let inserted = self.call(dice, opened.cache.insert(id, item(s))).await;
                let decided = inserted.map(|inserted| inserted.as_ref().map(fate).map_err(Clone::clone));
                return self.decided(&self.items, opened.number, begun, decided, line).await;
            }
            Some(s) => self.call(dice, opened.cache.put(id, item(s))).await,
            None => self.call(dice, opened.cache.delete(&id)).await,
        };
        match accepted {
            Some(Ok(receipt)) => {
                drop(self.wait_for(receipt, begun, opened.number, line));
                Ok(())
            }
            Some(Err(error)) => {
                self.not_accepted(begun, opened.number, Fate::Refused, &line)?;
                self.failed(&self.items, opened.number, error).await
            }
            None => self.not_accepted(begun, opened.number, Fate::Unknown, &line),
        }
    }

    /// Writes down what Postgres has decided already.
    async fn decided<V: CacheValue>(
        &self,
        table: &Table<V>,
        opening: u32,
        begun: Nanos,
        decided: Option<Answer<Fate>>,
        line: Line,
    ) -> Result<()> {
        let (fate, error) = match decided {
            Some(Ok(fate)) => (fate, None),
            Some(Err(error)) if error.is_conflict() || error.is_missing() || error.is_rejected() => {
                (Fate::Refused, Some(error))
            }
            Some(Err(error)) => (Fate::Unknown, Some(error)),
            None => (Fate::Unknown, None),
        };
        let ended = now_ns();
        let accepted = matches!(fate, Fate::Written).then_some(ended);
        self.log.write(&line(Written { span: Span { begun, ended }, accepted, fate, opening }))?;
        drop(line);
        locked(&self.counts).decided += 1;
        match error {
            Some(error) => self.failed(table, opening, error).await,
            None => Ok(()),
        }
    }

    fn next_serial(&self) -> i64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn not_accepted(&self, begun: Nanos, opening: u32, fate: Fate, line: &Line) -> Result<()> {
        let span = Span { begun, ended: now_ns() };
        self.log.write(&line(Written { span, accepted: None, fate, opening }))
    }

    /// Writes it down once its outcome is known, or nobody waits for that any more.
    fn wait_for(&self, receipt: Receipt, begun: Nanos, opening: u32, line: Line) -> JoinHandle<()> {
        let accepted = Some(now_ns());
        locked(&self.counts).writes += 1;
        let (log, unheard, mut no_more) = (self.log.clone(), self.unheard.clone(), self.no_more.subscribe());
        unheard.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            let fate = tokio::select! {
                outcome = receipt.written() => outcome.as_ref().map_or(Fate::Unknown, fate),
                _ = no_more.wait_for(|is_over| *is_over) => Fate::Unheard,
            };
            let span = Span { begun, ended: now_ns() };
            // A line that is missing shows: the sums do not add up.
            if log.write(&line(Written { span, accepted, fate, opening })).is_ok() {
                unheard.fetch_sub(1, Ordering::AcqRel);
            }
        })
    }
}

fn fate(outcome: &Outcome) -> Fate {
    match outcome.verdict {
        None => Fate::Unknown,
        Some(_) if outcome.is_written() => Fate::Written,
        Some(_) => Fate::Refused,
    }
}
