//! What users hold of one table: its rows by key.
//!
//! ```text
//! builder  settings, and how a cache is opened        table  what it is to its client
//! lookups  reads of rows by key
//! watch    rows that are shown as they change         one_row  changes that wait for what Postgres says
//! rollout  what a cache does while it is brought in
//! ```

mod builder;
mod lookups;
mod one_row;
mod rollout;
mod table;
mod watch;

pub use builder::CacheBuilder;

use crate::client::{CacheTable, Shared};
use crate::codec::fields;
use crate::codec::key::{Key, LookUp};
use crate::codec::key_check::contradiction;
use crate::codec::layout::Role;
use crate::codec::schema::Schema;
use crate::codec::value::{CacheValue, Row};
use crate::error::{Error, ErrorKind};
use crate::patch::Patch;
use crate::read::{Reads, Request};
use crate::receipt::{Outcome, Receipt};
use crate::status::CacheStatus;
use crate::write::{Outdated, Seen, Write, WriteKind, Writes};
use cache_sync_core::fields::{FieldIndex, Fields};
use cache_sync_core::number::KeyHash;
use cache_sync_core::outcome::Verdict;
use std::fmt;
use std::sync::Arc;

/// A per-key cache of one table that stays in step with it. Cloning it is cheap; all clones are one cache.
///
/// When the last clone is dropped, what it holds is let go, and what was written to it goes to Postgres all the same. After that the
/// client can open the table again.
pub struct Cache<K, V> {
    shared: Arc<Shared>,
    reads: Arc<Reads<K, V>>,
    writes: Arc<Writes<K, V>>,
    handle: Arc<Handle>,
}

/// What all clones of a cache have: the last one that goes takes the cache along.
struct Handle(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Cache<K, V> {
        let Cache { shared, reads, writes, handle } = self;
        Cache { shared: shared.clone(), reads: reads.clone(), writes: writes.clone(), handle: handle.clone() }
    }
}

impl<K: Key, V: CacheValue> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("table", &self.schema().display_name()).finish_non_exhaustive()
    }
}

impl<K: Key, V: CacheValue> Cache<K, V> {
    #[inline]
    fn schema(&self) -> &Schema {
        &self.reads.entries.schema
    }

    #[inline]
    fn hash<Q: ?Sized>(&self, key: &Q) -> KeyHash
    where
        K: LookUp<Q>,
    {
        self.schema().hash::<K, Q>(key)
    }

    /// Writes the whole value: creates the row, or sets the members of `V` in it, leaving columns that `V` does not know
    /// and fields with rule `add` alone. A member that serde skips for its value (`skip_serializing_if`) is written as null; one that is
    /// never written (`skip_serializing`), or that a map or a flattened type lacks, is left alone. If this client had seen the row and it
    /// is gone, the outcome is `missing`; a row that may have expired meanwhile is created anew.
    ///
    /// # Errors
    /// [`Error::is_rule_violation`] when the value's key members contradict `key`; [`Error::is_too_large`] when it would never fit into the
    /// buffer; [`Error::is_full`] when the buffer is full and writes are to be refused, or there has been no room for as long as
    /// [`write_timeout`](crate::ClientBuilder::write_timeout) says. The write was not accepted then. With
    /// [`Durability::Database`](crate::Durability) it was where [`Error::is_unwritten`] says so.
    pub async fn put(&self, key: K, value: V) -> Result<Receipt, Error> {
        let fields = self.encode(&value)?;
        self.check_key(&key, &fields)?;
        let value = Some(Row::new(value, fields.text_len()));
        let fields = self.writable(fields);
        let write = Write { kind: WriteKind::Put, fields, value, seen: None };
        self.writes.accept(&key, write).await?.map_err(|_| Error::closed())
    }

    /// Changes the row: what `change` alters becomes a patch of just those fields, which the fields' rules merge into the
    /// row whatever others did to it meanwhile. `change` may run more than once.
    ///
    /// # Errors
    /// [`Error::is_missing`] when there is no such row; [`Error::is_rule_violation`] when the change cannot be expressed by
    /// a field's rule, or touches the key; [`Error::is_unavailable`] when the row must be loaded and cannot be, or others here who change it, too,
    /// take longer than [`write_timeout`](crate::ClientBuilder::write_timeout); [`Error::is_conflict`] when for so long others here have written
    /// the row whenever it was looked at, while memory did not show what they wrote. Else as [`Cache::put`].
    pub async fn update<Q: ?Sized + Sync>(&self, key: &Q, change: impl FnMut(&mut V)) -> Result<Receipt, Error>
    where
        K: LookUp<Q>,
        V: Clone,
    {
        self.update_with(key, change).await.map(|((), receipt)| receipt)
    }

    /// As [`Cache::update`], and returns what `change` returned the last time.
    ///
    /// # Errors
    /// As [`Cache::update`].
    pub async fn update_with<Q: ?Sized + Sync, R>(
        &self,
        key: &Q,
        mut change: impl FnMut(&mut V) -> R,
    ) -> Result<(R, Receipt), Error>
    where
        K: LookUp<Q>,
        V: Clone,
    {
        let hash = self.hash(key);
        let mut turn = None;
        loop {
            // Where memory does not show that somebody else here has changed it, they take turns, and what others write meanwhile is noted.
            if turn.is_none() && !self.reads.entries.shows_changes(hash) {
                turn = Some(self.writes.turn(hash).await?);
            }
            let look = turn.as_ref().map(|_| self.reads.entries.look(hash));
            // What a change has replaced would be written again.
            let before = self.read(key, Request::ToChange, Option::clone).await;
            let before = before.inspect_err(|error| turn.iter().for_each(|turn| turn.failed(error)))?;
            let Some(before) = before else { return Err(self.missing()) };
            let mut after = V::clone(&before);
            let answer = change(&mut after);
            let written = self.encode(&after)?;
            let fields = fields::diff(&self.schema().layout, &self.encode(&before)?, &written)
                .map_err(|error| Error::new(ErrorKind::RuleViolation, error.to_string()))?;
            if fields.is_empty() {
                let unchanged = Outcome { verdict: Some(Verdict::Unchanged), ..Outcome::unknown() };
                return Ok((answer, Receipt::settled(unchanged)));
            }
            let write = Write {
                kind: WriteKind::Edit,
                fields,
                value: Some(Row::new(after, written.text_len())),
                seen: Some(Seen { value: before, in_turn: turn.is_some() }),
            };
            match self.writes.buffer(&K::key(key), hash, write).await? {
                Ok(receipt) => {
                    // Whoever is next is shown it already.
                    drop((look, turn));
                    return Ok((answer, self.writes.durable(receipt, hash).await?));
                }
                Err(Outdated::Changed) => turn.as_ref().map_or(Ok(()), |turn| self.writes.check_turn(turn))?,
                Err(Outdated::Unseen) => turn = Some(self.writes.turn(hash).await?),
            }
        }
    }

    /// Changes members of `V` without loading the row. If there is no such row, the outcome is `missing`. A member that `V` does not have, and an operation that
    /// does not suit its rule, are errors at once; whether a value fits the column is for Postgres to say, in the outcome.
    ///
    /// To count up, and create the row if it is not there, put the row with a counter of 0 first, and then patch; where the patch is
    /// `missing`, since somebody deleted the row in between, do both again. A put makes the row, or leaves the counter of a row that is
    /// there alone, so it may always come first, and nobody need wait for it. A put of 1 where a patch was `missing` loses counts: of
    /// several who do so at a time only the first one's makes the row.
    ///
    /// # Errors
    /// [`Error::is_rule_violation`] when an operation does not suit its field's rule. Else as [`Cache::put`].
    pub async fn patch<Q: ?Sized + Sync>(&self, key: &Q, patch: Patch<'_>) -> Result<Receipt, Error>
    where
        K: LookUp<Q>,
    {
        let fields = patch.into_fields(&self.schema().layout)?;
        let write = Write { kind: WriteKind::Edit, fields, value: None, seen: None };
        self.writes.accept(&K::key(key), write).await?.map_err(|_| Error::closed())
    }

    /// Deletes the row.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub async fn delete<Q: ?Sized + Sync>(&self, key: &Q) -> Result<Receipt, Error>
    where
        K: LookUp<Q>,
    {
        let write = Write { kind: WriteKind::Delete, fields: Fields::new(), value: None, seen: None };
        self.writes.accept(&K::key(key), write).await?.map_err(|_| Error::closed())
    }

    /// Drops the entry from memory; the row is not touched, and the next read loads it.
    pub fn invalidate<Q: ?Sized>(&self, key: &Q)
    where
        K: LookUp<Q>,
    {
        self.reads.invalidate(self.hash(key));
    }

    /// The hash under which the feed tells of the row with this key: see [`Client::changes`](crate::Client::changes). It is the same in every process
    /// for as long as the table stays attached.
    pub fn key_hash<Q: ?Sized>(&self, key: &Q) -> KeyHash
    where
        K: LookUp<Q>,
    {
        self.hash(key)
    }

    /// Everything that is held and may be served now. For looking inside, not for lists: what is held is chance.
    pub fn entries(&self) -> Vec<(K, Option<Arc<V>>)> {
        self.reads.entries.all()
    }

    /// What this cache is doing.
    pub fn status(&self) -> CacheStatus {
        CacheTable::status(&*self.writes)
    }

    fn encode(&self, value: &V) -> Result<Fields, Error> {
        fields::to_fields(&self.schema().layout, value)
            .map_err(|error| Error::caused(ErrorKind::Value, "the value cannot be written", error))
    }

    fn writable(&self, fields: Fields) -> Fields {
        fields.filter(|field| self.is_writable(field))
    }

    fn is_writable(&self, field: FieldIndex) -> bool {
        matches!(self.schema().layout.columns[usize::from(field)].role, Role::Field { .. })
    }

    fn missing(&self) -> Error {
        let message = format!("there is no row with this key in table {}", self.schema().meta.name);
        Error::new(ErrorKind::Missing, message)
    }

    fn check_versioned(&self) -> Result<(), Error> {
        if self.schema().meta.versioned {
            return Ok(());
        }
        let message = format!(
            "the table {} is not versioned, so there is no version to compare; attach it with versioned => true",
            self.schema().meta.name
        );
        Err(Error::new(ErrorKind::RuleViolation, message))
    }

    fn check_key(&self, key: &K, fields: &Fields) -> Result<(), Error> {
        match contradiction(key, &self.schema().layout, fields) {
            Some(name) => {
                let message = format!("the value's member \"{name}\" is not the key that it is put under");
                Err(Error::new(ErrorKind::RuleViolation, message))
            }
            None => Ok(()),
        }
    }
}
