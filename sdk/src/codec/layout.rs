//! Which columns of a table a type's members are.

mod kind;
mod members;
mod table;

pub(crate) use kind::{DIMENSIONS_MAX, TypeKind};
pub(crate) use members::members_of;
pub(crate) use table::{TableMeta, TagKind};

use cache_sync_core::fields::FieldIndex;
use cache_sync_core::number::FieldId;
use cache_sync_core::rule::Rule;
use postgres_types::Type;
#[cfg(feature = "in-memory")]
pub(crate) use table::FieldMeta;
#[cfg(not(feature = "in-memory"))]
use table::FieldMeta;

/// The column that holds a row's version.
const VERSION_COLUMN: &str = "cs_version";

/// The members of a type, matched to the columns of a table. A member's place here is its [`FieldIndex`].
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) columns: Vec<Column>,
}

/// A member and its column, which bear the same name; or its place in the table's documents.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Other names that the type reads the member by; it may write it by one of them.
    pub(crate) aliases: Vec<String>,
    /// The column of the document that it is a member of.
    pub(crate) document: Option<String>,
    /// `Type::UNKNOWN` for types that Postgres does not bring along, until [`Layout::resolve`].
    pub(crate) ty: Type,
    pub(crate) role: Role,
    /// Whether it is a column that is NOT NULL.
    pub(crate) not_null: bool,
}

/// What a column is to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Part of the primary key, at this place of it.
    Key(usize),
    /// It can be written, and merges by its rule.
    Field { id: FieldId, rule: Rule },
    /// Postgres computes it: a generated column, or the row's version.
    ReadOnly,
}

/// A type that does not go with its table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("the type's member \"{member}\" is no column of the table {table}; its columns are: {columns}")]
    NoSuchColumn { member: String, table: String, columns: String },
    #[error(
        "the type reads one member by the names {names}, and several of them are columns of the table {table}; say which to take with `columns`"
    )]
    SeveralColumns { names: String, table: String },
    #[error("the table {table} has more columns than a cache can name")]
    TooManyColumns { table: String },
}

impl Layout {
    /// Matches the members, each with all its names (all columns of the table, if the type does not tell its members), to the table.
    ///
    /// # Errors
    /// [`LayoutError`] when the table lacks one of them, or has several columns for one.
    pub(crate) fn new(members: Option<&[Vec<&str>]>, table: &TableMeta) -> Result<Layout, LayoutError> {
        let columns = match members {
            None => all_columns(table).collect(),
            Some(members) => {
                let is_member = |name: &str| members.iter().flatten().any(|member| *member == name);
                let documents = documents(table).filter(|documents| !is_member(&documents.name));
                let mut columns = Vec::with_capacity(members.len());
                for names in members {
                    columns.extend(find_columns(names, table, documents)?);
                }
                columns
            }
        };
        if FieldIndex::try_from(columns.len()).is_err() {
            return Err(LayoutError::TooManyColumns { table: display_name(table) });
        }
        Ok(Layout { columns })
    }

    /// The columns of a statement of the user's.
    pub(crate) fn of_statement(columns: &[tokio_postgres::Column]) -> Layout {
        Layout::of_shown(columns.iter().map(|shown| (shown.name(), shown.type_())))
    }

    /// Columns of these names and types, of no table.
    pub(crate) fn of_shown<'a>(columns: impl Iterator<Item = (&'a str, &'a Type)>) -> Layout {
        let column = |(name, ty): (&str, &Type)| Column {
            name: name.to_owned(),
            aliases: Vec::new(),
            document: None,
            ty: ty.clone(),
            role: Role::ReadOnly,
            not_null: false,
        };
        Layout { columns: columns.map(column).collect() }
    }

    /// Whether all columns have a binary form that is read here.
    pub(crate) fn is_binary(&self) -> bool {
        self.columns.iter().all(|column| TypeKind::of(&column.ty).is_binary())
    }

    /// Takes over the types that a statement prepared from [`Layout::probe_list`] shows from its column `first_column`
    /// on. Without it, columns of enums, domains and composites are read as texts.
    pub(crate) fn resolve(&mut self, statement_columns: &[tokio_postgres::Column], first_column: usize) {
        for (column, shown) in self.columns.iter_mut().zip(statement_columns.iter().skip(first_column)) {
            column.ty = shown.type_().clone();
        }
    }

    /// The columns as they are, to be prepared but not to be run: some may have no binary form.
    pub(crate) fn probe_list(&self, alias: &str) -> String {
        self.list(alias, |_| ("", ""))
    }

    /// The columns in layout order, as [`crate::codec::row::decode`] expects them. Types that it does not read in binary are
    /// asked for as texts.
    pub(crate) fn select_list(&self, alias: &str) -> String {
        self.list(alias, |column| match TypeKind::of(&column.ty) {
            kind if kind.is_binary() => ("", ""),
            // As it is printed, of which the cast of a single address to text makes something else.
            TypeKind::Array(_) => ("", "::pg_catalog.text::pg_catalog.text[]"),
            _ if column.ty == Type::INET => ("pg_catalog.abbrev(", ")"),
            _ => ("", "::pg_catalog.text"),
        })
    }

    /// The place of the member with this name.
    pub(crate) fn index_of(&self, name: &str) -> Option<FieldIndex> {
        let is_named = |column: &Column| column.name == name || column.aliases.iter().any(|alias| alias == name);
        self.columns.iter().position(is_named).map(|place| place as FieldIndex)
    }

    /// The member at this place.
    pub(crate) fn column(&self, index: FieldIndex) -> Option<&Column> {
        self.columns.get(usize::from(index))
    }

    /// The first member that is in the same column.
    pub(crate) fn column_of(&self, index: FieldIndex) -> FieldIndex {
        let document = self.column(index).and_then(|column| column.document.as_ref());
        let same = |column: &Column| document.is_some() && column.document.as_ref() == document;
        self.columns.iter().position(same).map_or(index, |place| place as FieldIndex)
    }

    fn list(&self, alias: &str, cast: impl Fn(&Column) -> (&'static str, &'static str)) -> String {
        let one = |column: &Column| match &column.document {
            None => {
                let (before, after) = cast(column);
                format!("{before}{alias}.{}{after}", quote(&column.name))
            }
            Some(document) => {
                format!("({alias}.{} OPERATOR(pg_catalog.->) {})", quote(document), literal(&column.name))
            }
        };
        self.columns.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Column {
    fn new(name: &str, type_oid: u32, role: Role) -> Column {
        let ty = Type::from_oid(type_oid).unwrap_or(Type::UNKNOWN);
        Column { name: name.to_owned(), aliases: Vec::new(), document: None, ty, role, not_null: false }
    }
}

/// A quoted SQL identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The column of a table's documents, if it is as `create_table` makes tables.
fn documents(table: &TableMeta) -> Option<&FieldMeta> {
    let field = |name: &str| table.fields.iter().find(|field| field.name == name);
    let is_made = matches!(&table.key[..], [key] if key.name == "key") && field("expires_at").is_some();
    field("value").filter(|field| is_made && matches!(field.rule, Rule::Json(_)))
}

/// A member of the table's documents.
fn member(name: &str, documents: &FieldMeta) -> Option<Column> {
    let Rule::Json(document) = &documents.rule else { return None };
    Some(Column {
        document: Some(documents.name.clone()),
        ..Column::new(name, Type::JSONB.oid(), Role::Field { id: documents.id, rule: document.member(name) })
    })
}

fn all_columns(table: &TableMeta) -> impl Iterator<Item = Column> {
    let key = table.key.iter().enumerate();
    let key = key.map(|(place, column)| Column::new(&column.name, column.type_oid, Role::Key(place)));
    key.chain(table.fields.iter().map(|field| {
        let role =
            if field.generated { Role::ReadOnly } else { Role::Field { id: field.id, rule: field.rule.clone() } };
        Column { not_null: field.not_null, ..Column::new(&field.name, field.type_oid, role) }
    }))
}

/// The column that a member is, by whichever of its names; of documents, in which each may be there, one for each name.
fn find_columns(names: &[&str], table: &TableMeta, documents: Option<&FieldMeta>) -> Result<Vec<Column>, LayoutError> {
    let is_column = |name: &&&str| find_column(name, table, None).is_ok();
    let found: Vec<_> = names.iter().filter(is_column).collect();
    match (&found[..], documents) {
        ([name], _) => {
            let aliases = names.iter().filter(|alias| alias != name).map(|alias| (*alias).to_owned()).collect();
            Ok(vec![Column { aliases, ..find_column(name, table, None)? }])
        }
        ([], Some(_)) => names.iter().map(|name| find_column(name, table, documents)).collect(),
        ([], None) => find_column(&names.join("\" or \""), table, None).map(|column| vec![column]),
        _ => Err(LayoutError::SeveralColumns { names: names.join(", "), table: display_name(table) }),
    }
}

fn find_column(name: &str, table: &TableMeta, documents: Option<&FieldMeta>) -> Result<Column, LayoutError> {
    if let Some(column) = all_columns(table).find(|column| column.name == name) {
        return Ok(column);
    }
    if let Some(column) = documents.and_then(|documents| member(name, documents)) {
        return Ok(column);
    }
    if table.versioned && name == VERSION_COLUMN {
        return Ok(Column::new(VERSION_COLUMN, Type::INT8.oid(), Role::ReadOnly));
    }
    let columns = all_columns(table).map(|column| column.name).collect::<Vec<_>>().join(", ");
    Err(LayoutError::NoSuchColumn { member: name.to_owned(), table: display_name(table), columns })
}

fn display_name(table: &TableMeta) -> String {
    format!("{}.{}", table.schema, table.name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A layout of columns with these types: the first is the key, the others are fields numbered from 1 with the rule.
    pub(crate) fn layout(columns: &[(&str, Type, Rule)]) -> Layout {
        let columns = columns.iter().enumerate().map(|(place, (name, ty, rule))| Column {
            name: (*name).to_owned(),
            aliases: Vec::new(),
            document: None,
            ty: ty.clone(),
            not_null: false,
            role: if place == 0 { Role::Key(0) } else { Role::Field { id: FieldId(place as i16), rule: rule.clone() } },
        });
        Layout { columns: columns.collect() }
    }

    pub(crate) fn table() -> TableMeta {
        let described = r#"{"table_id": 1, "schema": "public", "name": "users", "versioned": true,
            "hash_key": "000102030405060708090a0b0c0d0eff", "epoch": 9007199254740991, "preloaded": true,
            "key": [{"name": "id", "type": 20, "type_name": "pg_catalog.int8", "kind": "int"}],
            "fields": [
                {"id": 1, "name": "na\"me", "type": 25, "type_name": "pg_catalog.text", "rule": "lww",
                 "generated": false, "not_null": true},
                {"id": 3, "name": "total", "type": 790, "type_name": "pg_catalog.money", "rule": "add",
                 "generated": false, "not_null": true},
                {"id": 4, "name": "half", "type": 1041, "type_name": "pg_catalog.inet[]", "rule": "lww",
                 "generated": true, "not_null": false}]}"#;
        serde_json::from_str(described).unwrap()
    }

    #[test]
    fn a_description_is_read() {
        let table = table();
        assert_eq!(table.hash_key.0[15], 255);
        assert_eq!(table.fields[1].rule, Rule::Add);
    }

    #[test]
    fn members_find_their_columns() {
        let layout =
            Layout::new(Some(&[vec!["half"], vec!["na\"me"], vec!["id"], vec!["cs_version"]]), &table()).unwrap();
        let roles: Vec<_> = layout.columns.iter().map(|column| column.role.clone()).collect();
        let field = Role::Field { id: FieldId(1), rule: Rule::Lww };
        assert_eq!(roles, [Role::ReadOnly, field, Role::Key(0), Role::ReadOnly]);
        assert_eq!(layout.index_of("id"), Some(2));
    }

    /// A column is renamed, and a service that knows both names goes on: one of them is a column at any time.
    #[test]
    fn a_member_is_the_column_of_one_of_its_names() {
        let of = |names: &[&'static str]| Layout::new(Some(&[vec!["id"], names.to_vec()]), &table());
        for names in [["na\"me", "title"], ["title", "na\"me"]] {
            let layout = of(&names).unwrap();
            assert_eq!(layout.columns[1].name, "na\"me");
            assert_eq!((layout.index_of("title"), layout.index_of("na\"me")), (Some(1), Some(1)));
        }
        let error = of(&["title", "titel"]).unwrap_err().to_string();
        assert!(error.starts_with("the type's member \"title\" or \"titel\" is no column"), "{error}");
        assert!(of(&["total", "half"]).unwrap_err().to_string().contains("with `columns`"));
    }

    #[test]
    fn a_type_that_does_not_tell_has_all_columns() {
        let layout = Layout::new(None, &table()).unwrap();
        let names: Vec<_> = layout.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "na\"me", "total", "half"]);
    }

    #[test]
    fn members_of_documents_are_fields_with_their_rules() {
        let described = r#"{"table_id": 1, "schema": "public", "name": "posts", "versioned": true,
            "hash_key": "000102030405060708090a0b0c0d0eff", "epoch": 1, "preloaded": true,
            "key": [{"name": "key", "type": 25, "type_name": "pg_catalog.text", "kind": "text"}],
            "fields": [
                {"id": 1, "name": "value", "type": 3802, "type_name": "pg_catalog.jsonb", "generated": false,
                 "rule": {"rule": "json", "depth": 1, "members": {"likes": "add"}}, "not_null": false},
                {"id": 2, "name": "expires_at", "type": 1184, "type_name": "pg_catalog.timestamptz", "rule": "lww",
                 "generated": false, "not_null": false}]}"#;
        let table: TableMeta = serde_json::from_str(described).unwrap();
        let layout =
            Layout::new(Some(&[vec!["key"], vec!["it's"], vec!["likes"], vec!["expires_at"]]), &table).unwrap();
        let rule = |place: usize| match &layout.columns[place].role {
            Role::Field { rule, .. } => rule.to_string(),
            role => format!("{role:?}"),
        };
        assert_eq!([rule(1), rule(2), rule(3)], ["lww", "add", "lww"]);
        assert_eq!(
            layout.select_list("t"),
            r#"t."key", (t."value" OPERATOR(pg_catalog.->) E'it''s'), (t."value" OPERATOR(pg_catalog.->) E'likes'), t."expires_at""#
        );
        assert!(Layout::new(Some(&[vec!["key"], vec!["value"], vec!["likes"]]), &table).is_err());
    }

    #[test]
    fn a_member_that_the_table_lacks_is_an_error_that_lists_the_columns() {
        let error = Layout::new(Some(&[vec!["id"], vec!["nme"]]), &table()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the type's member \"nme\" is no column of the table public.users; its columns are: id, na\"me, total, half"
        );
        assert!(Layout::new(Some(&[vec!["cs_version"]]), &TableMeta { versioned: false, ..table() }).is_err());
    }

    #[test]
    fn what_is_not_read_in_binary_is_asked_for_as_text() {
        let layout = Layout::new(None, &table()).unwrap();
        assert_eq!(
            layout.select_list("t"),
            r#"t."id", t."na""me", t."total"::pg_catalog.text, t."half"::pg_catalog.text::pg_catalog.text[]"#
        );
        assert_eq!(layout.probe_list("t"), r#"t."id", t."na""me", t."total", t."half""#);
    }
}
