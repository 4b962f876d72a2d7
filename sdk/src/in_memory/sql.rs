//! What another program writes by plain SQL: values as they are given, whatever the rules, and always a new version and a change.

use super::batch::{Refused, check};
use super::merge::note_change;
use super::rows::{self, Key, Members, Row};
use super::state::State;
use super::table::Defined;
use super::types::kept;
use crate::error::{Error, ErrorKind, Step};
use cache_sync_core::number::Stamp;
use cache_sync_core::paths::Paths;
use serde_json::Value;

const WRITING: Step = "writing to the database in memory";

/// The members of an object.
pub(super) fn members(value: &Value) -> Result<Members, Error> {
    let object = value.is_object().then(|| serde_json::from_str(&value.to_string()).ok()).flatten();
    object.ok_or_else(|| Error::new(ErrorKind::Value, "a row, a key and changes are JSON objects by columns' names"))
}

fn refused(refused: Refused) -> Error {
    Error::saying_of(WRITING, refused.misfit.sqlstate, refused.misfit.message, refused.constraint)
}

impl State {
    /// The place of the table of this name.
    pub(super) fn table(&self, name: &str) -> Result<usize, Error> {
        let missing = || Error::saying(WRITING, "42P01", format!("relation \"{name}\" does not exist"));
        self.named(name).ok_or_else(missing)
    }

    pub(super) fn key(&self, table: usize, members: &Members) -> Result<Key, Error> {
        let table = &self.tables[table].table;
        if let Some(name) = members.keys().find(|name| table.id(name).is_none()) {
            return Err(no_column(name, table));
        }
        rows::key_of(members, table).map_err(|misfit| refused(misfit.into()))
    }

    /// INSERT.
    pub(super) fn insert(&mut self, table: usize, members: &Members) -> Result<(), Error> {
        let key = self.key(table, members)?;
        let stored = &self.tables[table];
        if stored.row(&key).is_some() {
            let constraint = format!("{}_pkey", stored.table.meta.name);
            let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
            return Err(Error::saying_of(WRITING, "23505", message, Some(constraint)));
        }
        let mut row = Row::default();
        for (id, column) in stored.table.numbered() {
            let given = members.get(&column.name).map(|value| kept(&column.ty, value.get())).transpose();
            let given = given.map_err(|misfit| refused(misfit.into()))?;
            let default = || stored.table.defaults.get(&id).cloned().unwrap_or_else(|| "null".to_owned());
            row.values.insert(id, given.map_or_else(default, |value| value.into_owned()));
        }
        check(&row, &key, stored).map_err(refused)?;
        let now = Stamp(self.tick());
        row.stamps = self.tables[table].table.numbered().map(|(id, _)| (id, Paths::all(now))).collect();
        self.put(table, &key, Some(row));
        Ok(())
    }

    /// UPDATE; `false`: there is no such row.
    pub(super) fn update(&mut self, table: usize, key: &Key, changes: &Members) -> Result<bool, Error> {
        let now = Stamp(self.tick());
        let stored = &self.tables[table];
        let Some(mut row) = stored.row(key).cloned() else { return Ok(false) };
        for (name, value) in changes {
            let id = stored.table.id(name).ok_or_else(|| no_column(name, &stored.table))?;
            let Some(rule) = stored.table.rule(id) else {
                let message = format!("the key's column \"{name}\" cannot be changed in memory");
                return Err(Error::saying(WRITING, "0A000", message));
            };
            let column = &stored.table.columns[usize::from(id.0.unsigned_abs()) - 1];
            let after = kept(&column.ty, value.get()).map_err(|misfit| refused(misfit.into()))?;
            let mut paths = row.paths(id);
            note_change(rule, row.value(id), &after, now, &mut paths);
            row.stamps.insert(id, paths);
            row.values.insert(id, after.into_owned());
        }
        check(&row, key, stored).map_err(refused)?;
        self.put(table, key, Some(row));
        Ok(true)
    }

    /// DELETE; `false`: there was no such row.
    pub(super) fn delete(&mut self, table: usize, key: &Key) -> bool {
        let was_there = self.row(table, key).is_some();
        if was_there {
            self.put(table, key, None);
        }
        was_there
    }
}

fn no_column(name: &str, table: &Defined) -> Error {
    let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.meta.name);
    Error::saying(WRITING, "42703", message)
}
