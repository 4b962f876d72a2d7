//! A table as its user describes it, and as a client is told of it.

use super::types::{self, kept};
use crate::codec::layout::{TableMeta, TypeKind};
use crate::error::{Error, ErrorKind};
use cache_sync_core::key::HashKey;
use cache_sync_core::number::{FieldId, TableId};
use cache_sync_core::rule::Rule;
use postgres_types::Type;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A table of a database in memory: its columns, as `CREATE TABLE` would have them, and its rules, as `cache_sync.attach`.
///
/// ```
/// use cache_sync::in_memory::Table;
/// use serde_json::json;
///
/// Table::new("player")
///     .key("id", "bigint")
///     .column("name", "text").not_null()
///     .column("gold", "bigint").not_null().default(json!(0)).rule(json!("add"))
///     .check("gold_is_not_owed", |player| player["gold"].as_i64() >= Some(0));
/// ```
///
/// What is wrong with it, [`Builder::start`](super::Builder::start) says.
#[derive(Clone)]
#[must_use]
pub struct Table {
    pub(super) name: String,
    pub(super) versioned: bool,
    pub(super) expires: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) checks: Vec<Check>,
    pub(super) uniques: Vec<Unique>,
    mistake: Option<String>,
}

/// A column of it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) is_key: bool,
    pub(super) not_null: bool,
    default: Option<Value>,
    rule: Option<Value>,
}

/// Whether a row, given as JSON, may be.
type IsAllowed = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) is_allowed: IsAllowed,
}

#[derive(Clone, Debug)]
pub(super) struct Unique {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Table {
    /// A versioned table of this name in the schema `public`, still without columns.
    pub fn new(name: &str) -> Table {
        Table {
            name: name.to_owned(),
            versioned: true,
            expires: None,
            columns: Vec::new(),
            checks: Vec::new(),
            uniques: Vec::new(),
            mistake: None,
        }
    }

    /// The next column of the primary key. Its type is one that SQL has a name for: integers, `text`, `varchar`, `uuid`, `boolean` or `bytea`.
    pub fn key(self, name: &str, sql_type: &str) -> Table {
        self.add(name, sql_type, true)
    }

    /// Another column. Its type is one that SQL has a name for: numbers, texts, `bytea`, `uuid`, dates and times, `json` and `jsonb`, and arrays of most of
    /// these.
    pub fn column(self, name: &str, sql_type: &str) -> Table {
        self.add(name, sql_type, false)
    }

    /// The last column is NOT NULL.
    pub fn not_null(self) -> Table {
        self.last("not_null", |column| column.not_null = true)
    }

    /// The last column's DEFAULT; null without one.
    pub fn default(self, value: Value) -> Table {
        self.last("default", |column| column.default = Some(value))
    }

    /// How the last column merges, as `attach` takes it: `json!("add")`, `json!({"rule": "append", "cap": 100})`. Default `lww` in versioned tables, `arrival`
    /// in plain ones. Functions of the user's run in Postgres alone.
    pub fn rule(self, rule: Value) -> Table {
        self.last("rule", |column| column.rule = Some(rule))
    }

    /// Without versions and stamps: `versioned => false`.
    pub fn plain(self) -> Table {
        Table { versioned: false, ..self }
    }

    /// The column that says when a row expires: `expires => ...`. Add it as a `timestamptz` beforehand.
    pub fn expires(self, column: &str) -> Table {
        Table { expires: Some(column.to_owned()), ..self }
    }

    /// A CHECK constraint: `is_allowed` is shown the row as JSON. Rows that are not, or where it
    /// panics, are refused with SQLSTATE 23514. It must not ask the database, which is being written.
    pub fn check(mut self, name: &str, is_allowed: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Table {
        self.checks.push(Check { name: name.to_owned(), is_allowed: Arc::new(is_allowed) });
        self
    }

    /// A UNIQUE constraint over these columns. Rows that violate it are refused with SQLSTATE 23505; null is like no other null.
    pub fn unique(mut self, name: &str, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self.uniques.push(Unique { name: name.to_owned(), columns });
        self
    }

    fn add(mut self, name: &str, sql_type: &str, is_key: bool) -> Table {
        let ty = types::named(sql_type).unwrap_or_else(|| {
            let why = format!(
                "the column \"{name}\" cannot be of type {sql_type} in memory; the types are {}",
                types::names()
            );
            self.mistake.get_or_insert(why);
            Type::TEXT
        });
        if self.columns.iter().any(|column| column.name == name) {
            self.mistake.get_or_insert(format!("there are two columns \"{name}\""));
        }
        self.columns.push(Column { name: name.to_owned(), ty, is_key, not_null: is_key, default: None, rule: None });
        self
    }

    fn last(mut self, what: &str, change: impl FnOnce(&mut Column)) -> Table {
        match self.columns.last_mut() {
            Some(column) => change(column),
            None => drop(self.mistake.get_or_insert(format!("{what} is said of a column; add one first"))),
        }
        self
    }

    /// What is wrong with its names, if anything is.
    fn check_names(&self) -> Result<(), String> {
        if self.name.is_empty() || self.name.contains(['.', '"']) {
            return Err("its name is taken as it is, without a schema and without quotes".to_owned());
        }
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone());
        }
        let of_table = |name: &String| self.columns.iter().any(|column| column.name == *name);
        let missing =
            self.uniques.iter().flat_map(|unique| &unique.columns).chain(&self.expires).find(|name| !of_table(name));
        if let Some(name) = missing {
            return Err(format!("there is no column \"{name}\""));
        }
        let is_moment =
            |name: &&String| self.columns.iter().any(|column| column.name == **name && column.ty == Type::TIMESTAMPTZ);
        if let Some(name) = self.expires.as_ref().filter(|name| !is_moment(name)) {
            return Err(format!("the column \"{name}\" says when rows expire, so it must be a timestamptz"));
        }
        Ok(())
    }

    /// What it is made of, for who keeps its rows.
    pub(super) fn defined(mut self, number: u32) -> Result<Defined, Error> {
        // The numbers of fields begin with 1, those of the key's columns come behind.
        self.columns.sort_by_key(|column| column.is_key);
        let wrong = |why: String| Error::new(ErrorKind::Config, format!("the table {} in memory: {why}", self.name));
        self.check_names().map_err(wrong)?;
        let kind = |column: &Column| match column.ty {
            Type::INT2 | Type::INT4 | Type::INT8 => Ok("int"),
            Type::TEXT | Type::VARCHAR => Ok("text"),
            Type::UUID => Ok("uuid"),
            Type::BOOL => Ok("bool"),
            Type::BYTEA => Ok("bytes"),
            _ => Err(wrong(format!("the key's column \"{}\" cannot be of type {} in memory", column.name, column.ty))),
        };
        let (mut key, mut fields, mut defaults) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (id, column) in (1..).zip(&self.columns) {
            let Column { name, ty, is_key, not_null, default, rule } = column;
            let type_name = format!("pg_catalog.{ty}");
            if let Some(default) = default {
                let text = default.to_string();
                let kept = kept(ty, &text)
                    .map_err(|misfit| wrong(format!("the default of \"{name}\": {}", misfit.message)))?;
                defaults.insert(FieldId(id), kept.into_owned());
            }
            if *is_key && rule.is_some() {
                return Err(wrong(format!("the key's column \"{name}\" has no rule")));
            }
            if *is_key {
                key.push(json!({"name": name, "type": ty.oid(), "type_name": type_name, "kind": kind(column)?}));
                continue;
            }
            let rule = rule.clone().unwrap_or_else(|| json!(if self.versioned { "lww" } else { "arrival" }));
            let known: Rule =
                serde_json::from_value(rule.clone()).map_err(|why| wrong(format!("the rule of \"{name}\": {why}")))?;
            check_rule(&known, ty, self.versioned).map_err(|why| wrong(format!("the rule of \"{name}\": {why}")))?;
            fields.push(json!({"id": id, "name": name, "type": ty.oid(), "type_name": type_name, "rule": rule,
                               "generated": false, "not_null": not_null}));
        }
        if key.is_empty() {
            return Err(wrong("it has no column of a primary key; name one with `key`".to_owned()));
        }
        let hash_key = HashKey(*uuid::Uuid::new_v4().as_bytes());
        let described = json!({"table_id": number, "schema": "public", "name": self.name, "versioned": self.versioned,
            "hash_key": hex(&hash_key), "key": key, "fields": fields, "expires": self.expires.as_ref().map(|name| crate::codec::layout::quote(name))});
        let meta: TableMeta = serde_json::from_value(described).map_err(|error| wrong(error.to_string()))?;
        let meta = TableMeta { relation: FIRST_RELATION + number, table_id: TableId(number as i32), ..meta };
        let Table { columns, checks, uniques, expires, .. } = self;
        Ok(Defined { meta, columns, checks, uniques, defaults, expires })
    }
}

/// User's relations have numbers from here on.
const FIRST_RELATION: u32 = 16_384;

fn check_rule(rule: &Rule, ty: &Type, versioned: bool) -> Result<(), String> {
    let kind = TypeKind::of(ty);
    let is_list = matches!(kind, TypeKind::Jsonb | TypeKind::Array(_));
    let fits = match rule {
        Rule::Add => kind.is_integer() || matches!(kind, TypeKind::Numeric),
        Rule::Append { .. } => is_list,
        Rule::Union => is_list,
        Rule::Json(_) => matches!(kind, TypeKind::Jsonb),
        Rule::Max | Rule::Min => {
            !matches!(kind, TypeKind::Json | TypeKind::Jsonb | TypeKind::Bool | TypeKind::Array(_))
        }
        _ => true,
    };
    match rule {
        _ if !fits => Err(format!("{rule} does not go with the type {ty}, in memory at least")),
        Rule::Function(name) => Err(format!("only Postgres can merge with the function {name}")),
        Rule::Lww | Rule::First | Rule::Json(_) if !versioned => {
            Err(format!("the rule {rule} needs a versioned table"))
        }
        _ => Ok(()),
    }
}

fn hex(key: &HashKey) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A table that is in order.
pub(super) struct Defined {
    pub(super) meta: TableMeta,
    /// In the order in which they are numbered, from 1.
    pub(super) columns: Vec<Column>,
    pub(super) checks: Vec<Check>,
    pub(super) uniques: Vec<Unique>,
    pub(super) defaults: BTreeMap<FieldId, String>,
    pub(super) expires: Option<String>,
}

impl Defined {
    /// The number of a column.
    pub(super) fn id(&self, name: &str) -> Option<FieldId> {
        self.columns.iter().position(|column| column.name == name).map(|place| FieldId(place as i16 + 1))
    }

    /// The columns with their numbers.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (FieldId, &Column)> {
        (1..).map(FieldId).zip(&self.columns)
    }

    /// The rule of a column.
    pub(super) fn rule(&self, id: FieldId) -> Option<&Rule> {
        self.meta.fields.iter().find(|field| field.id == id).map(|field| &field.rule)
    }
}
