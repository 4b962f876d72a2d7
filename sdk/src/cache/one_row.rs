//! Changes of one row that hold whatever others do at the same time, on however many nodes: they wait for what Postgres says.

use super::Cache;
use crate::codec::key::{Key, LookUp};
use crate::codec::value::{CacheValue, Row, Value};
use crate::common::jittered;
use crate::entries::Written;
use crate::error::{Error, ErrorKind};
use crate::patch::Patch;
use crate::receipt::Outcome;
use crate::write::{Write, WriteKind};
use cache_sync_core::fields::Fields;
use cache_sync_core::number::Version;
use cache_sync_core::outcome::Verdict;
use cache_sync_core::patch::Expected;
use std::sync::Arc;
use std::time::Duration;

/// How often a change is tried before it is given up.
const TRIES_MAX: u32 = 100;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

impl<K: Key, V: CacheValue> Cache<K, V> {
    /// Creates the row if there is none, and waits for what Postgres says: [`Verdict::Applied`], or [`Verdict::Conflict`] where there is a row
    /// with this key. Of several who insert the same key, on however many nodes, one does. On plain tables, too.
    ///
    /// Until its outcome is known it does not show in what this client reads.
    ///
    /// # Errors
    /// As [`Cache::put`] and [`Receipt::written`](crate::Receipt::written).
    pub async fn insert(&self, key: K, value: V) -> Result<Outcome, Error> {
        self.set(&key, value, Expected::Absence).await
    }

    /// Sets all members of `V` in the row, whatever their rules, if it still has this version, as [`Lookup::version`](crate::Lookup::version) shows it, and waits for
    /// what Postgres says: [`Verdict::Applied`], [`Verdict::Conflict`] where it has another one, or [`Verdict::Missing`]. [`Version::NONE`] means
    /// a row that has none yet, or no row: that is created.
    ///
    /// Until its outcome is known it does not show in what this client reads. Writes of this client that wait in the buffer go first, and change the
    /// version.
    ///
    /// # Errors
    /// [`Error::is_rule_violation`] on plain tables, which have no versions. Else as [`Cache::insert`].
    pub async fn compare_and_set<Q: ?Sized + Sync>(&self, key: &Q, value: V, version: Version) -> Result<Outcome, Error>
    where
        K: LookUp<Q>,
    {
        self.check_versioned()?;
        self.set(&K::key(key), value, expected(version)).await
    }

    /// Changes the row in whatever way, if need be by looking at all of it: `change` is shown the row as Postgres has it, and what it makes of that is
    /// written if nobody has changed the row meanwhile; else it is called again, with the row as it is then. Returns what `change`
    /// returned the last time, once Postgres has the change. Where `change` fails, or changes nothing, nothing is written.
    ///
    /// ```no_run
    /// # use cache_sync::{Cache, Error};
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct Room { places: i32, members: Vec<i64> }
    /// #[derive(Debug)]
    /// enum NotJoined { IsFull, Failed(Error) }
    ///
    /// impl From<Error> for NotJoined {
    ///     fn from(error: Error) -> NotJoined { NotJoined::Failed(error) }
    /// }
    ///
    /// # async fn join(rooms: Cache<i64, Room>, me: i64) -> Result<(), NotJoined> {
    /// let place = rooms
    ///     .modify(&7, |room| {
    ///         if room.members.len() >= room.places as usize {
    ///             return Err(NotJoined::IsFull);
    ///         }
    ///         room.members.push(me);
    ///         Ok(room.members.len())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    /// Where a field's rule can say the change ([`Cache::update`], [`Cache::patch`]), that is cheaper, and never in vain. A call that is given up while
    /// it waits for Postgres may be written all the same.
    ///
    /// # Errors
    /// Those of `change`. [`Error::is_missing`] when there is no such row; [`Error::is_conflict`] when others were quicker 100 times, with pauses that
    /// grow to 64 ms, or this client itself goes on writing the row; [`Error::is_rejected`] when Postgres refuses what was made; [`Error::is_rule_violation`] on plain tables, which have no
    /// versions, and when the key is touched; [`Error::is_unavailable`] when the row cannot be loaded, or others here who change it, too, take
    /// longer than [`write_timeout`](crate::ClientBuilder::write_timeout). Else as [`Cache::insert`].
    pub async fn modify<Q, R, E>(&self, key: &Q, mut change: impl FnMut(&mut V) -> Result<R, E>) -> Result<R, E>
    where
        Q: ?Sized + Sync,
        K: LookUp<Q>,
        V: Clone,
        E: From<Error>,
    {
        self.check_versioned()?;
        let key = K::key(key);
        // Here they take turns: none of them is in the others' way.
        let turn = self.writes.turn(self.hash::<K>(&key)).await?;
        let mut pause = PAUSE_MIN;
        for _ in 0..TRIES_MAX {
            let (before, version) = self.written_row(&key).await.inspect_err(|error| turn.failed(error))?;
            let mut after = V::clone(&before);
            let answer = change(&mut after)?;
            let (fields, size) = self.differences(&before, &after)?;
            if fields.is_empty() {
                return Ok(answer);
            }
            let outcome =
                self.compare_fields_and_set(&key, fields, Some(Row::new(after, size)), expected(version)).await?;
            match outcome.verdict {
                Some(Verdict::Applied | Verdict::Merged | Verdict::Unchanged) => return Ok(answer),
                Some(Verdict::Conflict | Verdict::Missing | Verdict::Superseded) => {}
                Some(Verdict::Rejected | Verdict::Swallowed) | None => return Err(self.not_written(&outcome).into()),
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err(self.conflict("others were quicker").into())
    }

    /// Changes fields of the row as [`Cache::patch`] does, or creates it with this value where there is none, and waits for what Postgres says. Of
    /// several who do so at a time, on however many nodes, one creates the row and the others patch it: each counts once.
    ///
    /// `initial` may be called more than once. It is the row as it is after the change: `patch_or_put(&key, Patch::new().add("visits", 1), || Page { visits: 1 })`.
    ///
    /// # Errors
    /// [`Error::is_conflict`] when the row came and went 100 times. Else as [`Cache::patch`] and [`Cache::insert`].
    pub async fn patch_or_put<Q: ?Sized + Sync>(
        &self,
        key: &Q,
        patch: Patch<'_>,
        mut initial: impl FnMut() -> V,
    ) -> Result<Outcome, Error>
    where
        K: LookUp<Q>,
    {
        let fields = patch.into_fields(&self.schema().layout)?;
        let key = K::key(key);
        for _ in 0..TRIES_MAX {
            let write = Write { kind: WriteKind::Edit, fields: fields.clone(), value: None, seen: None };
            let patched = self.write_now(&key, write).await?;
            if patched.verdict != Some(Verdict::Missing) {
                return Ok(patched);
            }
            let created = self.set(&key, initial(), Expected::Absence).await?;
            if created.verdict != Some(Verdict::Conflict) {
                return Ok(created);
            }
        }
        Err(self.conflict("the row came and went"))
    }

    async fn set(&self, key: &K, value: V, expected: Expected) -> Result<Outcome, Error> {
        let fields = self.encode(&value)?;
        self.check_key(key, &fields)?;
        // What a type never writes has a default, or what it had.
        let value = self.schema().has_every_field(&fields).then(|| Row::new(value, fields.text_len()));
        self.compare_fields_and_set(key, self.writable(fields), value, expected).await
    }

    async fn compare_fields_and_set(
        &self,
        key: &K,
        fields: Fields,
        value: Value<V>,
        expected: Expected,
    ) -> Result<Outcome, Error> {
        self.write_now(key, Write { kind: WriteKind::CompareAndSet(expected), fields, value, seen: None }).await
    }

    /// Has it written without waiting for more, and waits for it.
    async fn write_now(&self, key: &K, write: Write<V>) -> Result<Outcome, Error> {
        let receipt = self.writes.accept(key, write).await?.map_err(|_| Error::closed())?;
        self.writes.request_flush();
        receipt.written().await
    }

    /// The row as Postgres has it, with its version: without writes of this client that wait, which are written first.
    async fn written_row(&self, key: &K) -> Result<(Arc<V>, Version), Error> {
        let hash = self.hash(key);
        for _ in 0..TRIES_MAX {
            let (value, version) = match self.reads.entries.written(key, hash) {
                Written::Held(answer) => (answer.value.map(|row| row.value), answer.version),
                Written::Unknown => {
                    let read = self.reads.load_past_cache(key).await?;
                    (read.value, read.version)
                }
                Written::Waits(receipts) => {
                    self.writes.request_flush();
                    for receipt in receipts {
                        let _ = receipt.written().await?;
                    }
                    continue;
                }
            };
            return Ok((value.ok_or_else(|| self.missing())?, version));
        }
        Err(self.conflict("this client writes the row without a break"))
    }

    fn conflict(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Conflict,
            format!("table {}: {why}; it was tried {TRIES_MAX} times", self.schema().meta.name),
        )
    }

    /// The fields that are others than before, as they are now; and how large the whole is.
    fn differences(&self, before: &V, after: &V) -> Result<(Fields, usize), Error> {
        let (before, after) = (self.encode(before)?, self.encode(after)?);
        let changed: Vec<_> = after.indexes().filter(|field| before.get(*field) != after.get(*field)).collect();
        if changed.iter().any(|field| !self.is_writable(*field)) {
            let message = "the change touches the key, or a column that cannot be written";
            return Err(Error::new(ErrorKind::RuleViolation, message));
        }
        let size = after.text_len();
        Ok((after.filter(|field| changed.binary_search(&field).is_ok()), size))
    }

    fn not_written(&self, outcome: &Outcome) -> Error {
        let table = &self.schema().meta.name;
        match (outcome.verdict, &outcome.sqlstate) {
            (None, _) => {
                let message = format!("nobody can tell any more whether the change of table {table} was applied");
                Error::new(ErrorKind::Database, message)
            }
            (_, Some(sqlstate)) => {
                let why = outcome.message.as_deref().unwrap_or("see the dead letters");
                Error::new(
                    ErrorKind::Rejected,
                    format!("Postgres refused the change of table {table}: {sqlstate}: {why}"),
                )
            }
            (_, None) => {
                Error::new(ErrorKind::Rejected, format!("a trigger of table {table} has cancelled the change"))
            }
        }
    }
}

/// A row that was seen with this version.
fn expected(version: Version) -> Expected {
    if version == Version::NONE { Expected::Nothing } else { Expected::Version(version) }
}
