//! Batches of patches: each is applied once.

use super::merge::{Field, Incoming, merged};
use super::rows::{self, Key, Members, Row};
use super::state::{DeadLetter, Session, State, Stored};
use super::table::Defined;
use super::types::Misfit;
use crate::codec::caught::caught;
use crate::error::{Error, ErrorKind, Step};
use crate::store::{Applied, OpenedSession, Sending};
use cache_sync_core::hlc;
use cache_sync_core::number::{Fence, Sequence, Stamp, Version};
use cache_sync_core::outcome::{self, Record, Verdict};
use cache_sync_core::patch::{Expected, PatchKind};
use cache_sync_core::rule::Rule;
use serde::Deserialize;
use uuid::Uuid;

const STEP: Step = "writing a batch";

/// What patches have in common, as it travels.
#[derive(Deserialize)]
struct Shape {
    op: String,
    #[serde(default)]
    seen: bool,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    stamps: String,
}

impl Shape {
    fn kind(&self) -> Option<PatchKind> {
        Some(match self.op.as_str() {
            "edit" => PatchKind::Edit,
            "put" => PatchKind::Put { seen: self.seen },
            "replace" => PatchKind::Replace,
            "delete" => PatchKind::Delete,
            "compare_and_set" => PatchKind::CompareAndSet,
            _ => return None,
        })
    }
}

impl State {
    /// Opens a session, or opens it again: who has it open cannot write by it any more.
    pub(super) fn open_session(&mut self, table: u32, session: Uuid) -> OpenedSession {
        self.fences += 1;
        let fence = Fence(self.fences);
        let session =
            self.sessions.entry((table, session)).or_insert(Session { fence, last: Sequence(0), answered: None });
        session.fence = fence;
        OpenedSession { fence, last: session.last }
    }

    /// Applies a batch, or answers one again that has been applied.
    pub(super) fn apply(&mut self, batch: &Sending<'_>) -> Result<Applied, Error> {
        let said = |code, message: &str| Error::saying(STEP, code, message);
        let Some(table) = self.of_relation(batch.table) else { return Err(said("42P01", "there is no such table")) };
        let id = (batch.table, batch.session);
        let Some(session) = self.sessions.get(&id) else { return Err(said("CS001", "there is no such session")) };
        if session.fence != batch.fence {
            return Err(said("CS002", "the session was opened again"));
        }
        let bytes: Vec<String> = std::iter::once(batch.shapes.to_owned()).chain(batch.rows.iter().cloned()).collect();
        if batch.sequence == session.last {
            return match &session.answered {
                Some((sent, outcomes)) if *sent == bytes => {
                    Ok(Applied { epoch: self.epoch, outcomes: outcomes.clone() })
                }
                _ => Err(said("CS004", "another batch was applied under this number")),
            };
        }
        if batch.sequence.0 != session.last.0 + 1 {
            return Err(said("CS003", &format!("the next batch is {}", session.last.0 + 1)));
        }
        let mut outcomes = Vec::new();
        for patch in read(batch, &self.tables[table].table)? {
            outcomes.push((patch.place, self.one(table, &patch, batch)));
        }
        outcomes.sort_by_key(|(place, _)| *place);
        let outcomes = outcome::pack(&outcomes.into_iter().map(|(_, record)| record).collect::<Vec<_>>());
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last = batch.sequence;
            session.answered = Some((bytes, outcomes.clone()));
        }
        Ok(Applied { epoch: self.epoch, outcomes })
    }

    fn one(&mut self, table: usize, patch: &Patch, batch: &Sending<'_>) -> Record {
        let now = self.hlc().0;
        let believed = |stamp: Stamp| Stamp(hlc::believed(stamp.0, now));
        match patch.checked().and_then(|(key, incoming)| self.write(table, &key, incoming.map(believed))) {
            Ok(record) => record,
            Err(refused) => {
                let id = self.letters.len() as i64 + 1;
                let name = self.tables[table].table.meta.name.clone();
                let Refused { misfit: Misfit { sqlstate, message }, constraint } = refused;
                let (session, sequence, place) = (batch.session, batch.sequence.0, patch.place);
                let sqlstate_bytes = sqlstate.as_bytes().try_into().ok();
                let sqlstate = sqlstate.to_owned();
                self.letters.push(DeadLetter {
                    id,
                    table: name,
                    sqlstate,
                    message,
                    constraint,
                    session,
                    sequence,
                    place,
                });
                Record { sqlstate: sqlstate_bytes, ..Record::of(Verdict::Rejected) }
            }
        }
    }

    /// Merges a patch into the row of this key.
    pub(super) fn write(&mut self, table: usize, key: &Key, mut patch: Incoming) -> Result<Record, Refused> {
        if patch.kind == PatchKind::CompareAndSet {
            // It comes now, whenever it was made.
            patch.stamp = Stamp(self.tick());
            patch.fields.iter_mut().for_each(|field| field.stamp = patch.stamp);
        }
        let before = self.row(table, key).cloned();
        let stored = &self.tables[table];
        let merged = merged(&patch, before.as_ref(), &stored.table)?;
        let after = match merged.after {
            Some(Some(mut row)) => {
                row.set_key(key, &stored.table);
                check(&row, key, stored)?;
                Some(Some(row))
            }
            after => after,
        };
        let of = Record::of(merged.verdict);
        let version = before.as_ref().map_or(0, |row| row.version);
        let Some(after) = after else { return Ok(Record { exact: merged.exact, version: Version(version), ..of }) };
        let is_there = after.is_some();
        let put = self.put(table, key, after);
        let now = Version(if is_there { put } else { 0 });
        Ok(Record { exact: merged.exact, replaced: Version(version), version: now, ..of })
    }
}

impl Row {
    fn set_key(&mut self, key: &Key, table: &Defined) {
        let columns = table.numbered().filter(|(_, column)| column.is_key);
        for ((id, _), text) in columns.zip(key) {
            self.values.insert(id, text.clone());
        }
    }
}

/// Why a write is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) misfit: Misfit,
    pub(super) constraint: Option<String>,
}

impl From<Misfit> for Refused {
    fn from(misfit: Misfit) -> Refused {
        Refused { misfit, constraint: None }
    }
}

/// Whether the constraints let the row be.
pub(super) fn check(row: &Row, key: &Key, stored: &Stored) -> Result<(), Refused> {
    let table = &stored.table;
    let name = &table.meta.name;
    let refused = |sqlstate, message, constraint: Option<&String>| {
        Err(Refused { misfit: Misfit { sqlstate, message }, constraint: constraint.cloned() })
    };
    let null = table.numbered().find(|(id, column)| column.not_null && row.value(*id) == "null");
    if let Some((_, column)) = null {
        let message =
            format!("null value in column \"{}\" of relation \"{name}\" violates not-null constraint", column.name);
        return refused("23502", message, None);
    }
    let shown = row.to_json(table);
    if let Some(check) = table.checks.iter().find(|check| !caught(|| (check.is_allowed)(&shown)).unwrap_or(false)) {
        let message = format!("new row for relation \"{name}\" violates check constraint \"{}\"", check.name);
        return refused("23514", message, Some(&check.name));
    }
    for unique in &table.uniques {
        let of = |row: &Row| -> Option<Vec<String>> {
            let value = |column: &String| Some(row.value(table.id(column)?).to_owned()).filter(|value| value != "null");
            unique.columns.iter().map(value).collect()
        };
        let own = of(row);
        if own.is_some() && stored.rows().any(|(other, row)| other != key && of(row) == own) {
            let message = format!("duplicate key value violates unique constraint \"{}\"", unique.name);
            return refused("23505", message, Some(&unique.name));
        }
    }
    Ok(())
}

/// A patch as it is read; its values may not fit.
struct Patch {
    place: usize,
    kind: PatchKind,
    expected: Expected,
    stamp: Stamp,
    key: Result<Key, String>,
    fields: Vec<Field>,
}

impl Patch {
    fn checked(&self) -> Result<(Key, Reading<'_>), Refused> {
        match &self.key {
            Ok(key) => Ok((key.clone(), Reading(self))),
            Err(message) => Err(Misfit { sqlstate: "22023", message: message.clone() }.into()),
        }
    }
}

struct Reading<'a>(&'a Patch);

impl Reading<'_> {
    /// The patch with its stamps as they are believed.
    fn map(&self, believed: impl Fn(Stamp) -> Stamp) -> Incoming {
        let Patch { kind, expected, stamp, fields, .. } = self.0;
        let field = |field: &Field| Field { text: field.text.clone(), stamp: believed(field.stamp), ..*field };
        Incoming {
            kind: *kind,
            expected: *expected,
            stamp: believed(*stamp),
            fields: fields.iter().map(field).collect(),
        }
    }
}

fn read(batch: &Sending<'_>, table: &Defined) -> Result<Vec<Patch>, Error> {
    let unknown = |error: serde_json::Error| {
        Error::caused(ErrorKind::Mismatch, "a batch is of a form that is unknown here", error)
    };
    let shapes: Vec<Shape> = serde_json::from_str(batch.shapes).map_err(unknown)?;
    let wrong = |message: &str| Error::saying(STEP, "22023", message);
    if shapes.len() != batch.rows.len() {
        return Err(wrong("there are not as many shapes as rows"));
    }
    let mut patches = Vec::new();
    for (shape, rows) in shapes.iter().zip(batch.rows) {
        let rows: Vec<Members> = serde_json::from_str(rows).map_err(unknown)?;
        for row in rows {
            patches.push(patch(shape, &row, table).ok_or_else(|| wrong("a patch lacks a member"))?);
        }
    }
    Ok(patches)
}

fn patch(shape: &Shape, row: &Members, table: &Defined) -> Option<Patch> {
    let number = |name: &str| row.get(name).and_then(|number| number.get().parse::<i64>().ok());
    let stamp = Stamp(number("@")?);
    let kind = shape.kind()?;
    let expected = match row.get("=").map(|expected| expected.get()) {
        Some("0") => Expected::Absence,
        Some("null") | None => Expected::Nothing,
        Some(version) => Expected::Version(Version(version.parse().ok()?)),
    };
    let is_each = shape.stamps == "each";
    let fields = shape.fields.iter().map(|name| {
        let (id, text) = (table.id(name)?, row.get(name)?.get().to_owned());
        let is_json = matches!(table.rule(id), Some(Rule::Json(_)));
        let is_dated = is_each && is_json && !matches!(kind, PatchKind::Replace | PatchKind::CompareAndSet);
        let own = number(&format!("@{id}")).map_or(stamp, Stamp);
        Some(Field { id, text, stamp: own, is_dated })
    });
    let fields = fields.collect::<Option<_>>()?;
    let key = rows::key_of(row, table).map_err(|misfit| misfit.message);
    Some(Patch { place: number("#")?.try_into().ok()?, kind, expected, stamp, key, fields })
}
