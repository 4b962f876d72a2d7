//! `requeue_dead_letter` and `discard_dead_letter`: what becomes of refused patches.

use super::kept::Kept;
use super::part::Part;
use super::rounds;
use super::shape::{Shape, Target, target};
use super::single::{apply_alone, record_of, row_after};
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::owner::as_owner;
use crate::pg::rights::{hides_rows, is_readable, may_write};
use crate::pg::{sqlstate, value};
use cache_sync_core::json::{Json, unescaped};
use cache_sync_core::merge;
use cache_sync_core::number::Version;
use cache_sync_core::outcome::{Record, Verdict};
use pgrx::{JsonB, Spi, pg_sys};

const OF: &str = "SELECT a.tbl::pg_catalog.oid \
    FROM cache_sync.dead_letter d JOIN cache_sync.attached a ON a.table_id OPERATOR(pg_catalog.=) d.table_id \
    WHERE d.id OPERATOR(pg_catalog.=) $1";
const READ: &str = "SELECT a.tbl::pg_catalog.oid, d.patch::pg_catalog.text, d.shape, d.hlc \
    FROM cache_sync.dead_letter d JOIN cache_sync.attached a ON a.table_id OPERATOR(pg_catalog.=) d.table_id \
    WHERE d.id OPERATOR(pg_catalog.=) $1 FOR UPDATE OF d";
const FORGET: &str = "DELETE FROM cache_sync.dead_letter WHERE id OPERATOR(pg_catalog.=) $1";

sql_functions! {
    /// `requeue_dead_letter(id bigint, force boolean, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn requeue_dead_letter / pg_finfo_requeue_dead_letter(fcinfo) {
        sqlstate::preserving(|| {
            let _kept = Kept::keep();
            // SAFETY: the install script declares these arguments and results. What goes into the result is copied out
            // of memory that ends with SPI.
            unsafe {
                let id: i64 = argument(fcinfo, 0).ok_or_else(|| argument::null("id"))?;
                let force: bool = argument(fcinfo, 1).ok_or_else(|| argument::null("force"))?;
                let outside = pg_sys::CurrentMemoryContext;
                let (record, row) = Spi::connect_mut(|_| {
                    let letter = Letter::read(id)?.ok_or_else(|| no_letter(id))?;
                    let target = target(letter.table)?;
                    let (record, rows) = letter.apply(&target, force)?;
                    if !matches!(record.verdict, Verdict::Conflict | Verdict::Swallowed) {
                        letter.forget(id)?;
                    }
                    Ok((record, row_after(&target, rows, outside)?))
                })?;
                record_of(fcinfo, &record, row)
            }
        })
    }

    /// `discard_dead_letter(id bigint) -> boolean`
    fn discard_dead_letter / pg_finfo_discard_dead_letter(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares this argument.
            let id: i64 = unsafe { argument(fcinfo, 0) }.ok_or_else(|| argument::null("id"))?;
            let is_there = Spi::connect_mut(|_| {
                let Some(letter) = Letter::read(id)? else { return Ok(false) };
                letter.forget(id)?;
                Ok(true)
            })?;
            Ok(pg_sys::Datum::from(is_there))
        })
    }
}

fn no_letter(id: i64) -> Failure {
    Failure::new(b"P0002", format!("there is no dead letter {id}"))
        .hint("cache_sync.dead_letters shows those of the tables that you may read.")
}

/// A refused patch.
struct Letter {
    table: pg_sys::Oid,
    patch: String,
    shape: Shape,
    /// When it was refused.
    hlc: i64,
}

impl Letter {
    /// Reads and locks it; `None` when it is not there, or not for the caller's eyes. SPI must be connected.
    ///
    /// # Errors
    /// When the extension's tables are not there, or it was kept by an older version.
    fn read(id: i64) -> Result<Option<Letter>, Failure> {
        // Whoever may not see it does not lock it either.
        match as_owner(|| Spi::get_one_with_args::<pg_sys::Oid>(OF, &[id.into()]))? {
            Ok(Some(table)) if is_readable(table) && !hides_rows(table) => {}
            _ => return Ok(None),
        }
        let read = as_owner(|| {
            Spi::connect_mut(|client| {
                let rows = client.update(READ, Some(1), &[id.into()])?;
                if rows.is_empty() {
                    return Ok(None);
                }
                let row = rows.first();
                let columns =
                    (row.get::<pg_sys::Oid>(1)?, row.get::<String>(2)?, row.get::<JsonB>(3)?, row.get::<i64>(4)?);
                Ok::<_, pgrx::spi::Error>(Some(columns))
            })
        })?;
        let read = read.map_err(|error| Failure::new(b"XX000", error.to_string()))?;
        let Some((Some(table), Some(patch), shape, hlc)) = read else { return Ok(None) };
        let (Some(JsonB(shape)), Some(hlc)) = (shape, hlc) else {
            return Err(Failure::new(
                b"0A000",
                format!("dead letter {id} was kept by a version that did not keep enough"),
            )
            .hint("Write what it says by hand, and discard it."));
        };
        let shape = Shape::read(&format!("[{shape}]"))?.pop();
        let shape = shape.ok_or_else(|| Failure::new(b"XX000", "a dead letter has no shape"))?;
        Ok(Some(Letter { table, patch, shape, hlc }))
    }

    /// Deletes it, for those who may write its table: it may be all that is left of a write. SPI must be connected.
    fn forget(&self, id: i64) -> Result<(), Failure> {
        if !may_write(self.table) {
            return Err(Failure::new(b"42501", format!("permission denied for the table of dead letter {id}"))
                .hint("Only who may write the table may discard what was written to it."));
        }
        let forgotten = as_owner(|| Spi::run_with_args(FORGET, &[id.into()]))?;
        forgotten.map_err(|error| Failure::new(b"XX000", error.to_string()))
    }

    /// Applies it, unless its row was, or may have been, written since it was refused; says what became of it, and returns its patch.
    fn apply(&self, target: &Target, force: bool) -> Result<(Record, pg_sys::Datum), Failure> {
        // SAFETY: an array of one patch, as text.
        let now = unsafe { target.stamp_now(value::bytea(format!("[{}]", self.patch).as_bytes()))? };
        let dated = target.compile(&self.shape)?.dated.clone();
        let patch = if force { restamped(&self.patch, &dated, now) } else { self.patch.clone() };
        let rows = value::bytea(format!("[{patch}]").as_bytes());
        // SAFETY: the rows were just made, and are plain.
        let part = unsafe { Part::new(target, &self.shape, rows, now)? };
        match if force { None } else { self.written_since(target, &part, now)? } {
            Some(version) => Ok((Record { version, ..Record::of(Verdict::Conflict) }, rows)),
            None => Ok((apply_alone(target, part, now)?, rows)),
        }
    }

    /// The version of its row, if that was written since the patch was refused. In a plain table nothing tells when it was: there every row
    /// counts from which the patch could take something. What has expired is as good as gone.
    fn written_since(&self, target: &Target, part: &Part, now: i64) -> Result<Option<Version>, Failure> {
        rounds::lock(target, std::slice::from_ref(part), |_| ())?;
        if rounds::has_expired(target, std::slice::from_ref(part))? {
            return Ok(None);
        }
        let (mut since, arguments) = (None, [Some(part.rows), Some(now.into())]);
        // SAFETY: the arguments and columns are those of the compiled statement.
        unsafe {
            part.compiled.look.get()?.run(&arguments, |row| {
                let (is_there, version) = (row.get(1).unwrap_or(false), row.get(4).unwrap_or(0));
                let is_since =
                    if target.layout.versioned { version > self.hlc } else { is_there && part.compiled.overwrites };
                since = is_since.then_some(Version(version));
            })?;
        }
        Ok(since)
    }
}

/// The patch as if it were made now.
fn restamped(patch: &str, dated: &[String], now: i64) -> String {
    let mut out = String::with_capacity(patch.len());
    for (key, value) in Json::new(patch.as_bytes()).members() {
        let (name, value) = (unescaped(key), value.as_str().unwrap_or("null"));
        out.push_str(if out.is_empty() { "{" } else { "," });
        out.push_str(&serde_json::Value::from(&*name).to_string());
        out.push(':');
        if name.starts_with('@') {
            out.push_str(&now.to_string());
        } else if dated.iter().any(|dated| *dated == name) {
            let parts = merge::dated_list(value).unwrap_or_default();
            let parts: Vec<_> = parts.iter().map(|(_, patch)| format!("[{now},{patch}]")).collect();
            out.push_str(&format!("[{}]", parts.join(",")));
        } else {
            out.push_str(value);
        }
    }
    out.push('}');
    out
}
