//! Random statements over the tables `t1` to `t3`, each with the columns `id`, `a`, `b` and `c`, and views of them. Every query has two
//! columns, `x` and `y`.

use cache_sync_kit::Dice;
use std::collections::BTreeMap;

/// What the statements are made of.
pub(super) const KINDS: &[&str] = &[
    "pinned by a parameter",
    "pinned by a constant",
    "any of an array",
    "in a list",
    "null",
    "not distinct",
    "equal columns",
    "or",
    "inner join",
    "left join",
    "right join",
    "full join",
    "lateral",
    "anti join",
    "subquery",
    "view",
    "with",
    "with twice",
    "recursive",
    "exists",
    "not exists",
    "in a query",
    "not in a query",
    "scalar",
    "union",
    "except",
    "intersect",
    "group",
    "distinct",
    "distinct on",
    "window",
    "limit",
];

/// Columns that are in sight, as they are written.
type InSight = Vec<String>;

/// How deep queries are inside each other at most.
const DEPTH_MAX: u32 = 2;

pub(super) struct Grammar<'d> {
    dice: &'d mut Dice,
    met: &'d mut BTreeMap<&'static str, u32>,
    names: u32,
    depth: u32,
    /// Queries of WITH that are in sight.
    with: Vec<String>,
}

impl<'d> Grammar<'d> {
    pub(super) fn new(dice: &'d mut Dice, met: &'d mut BTreeMap<&'static str, u32>) -> Grammar<'d> {
        Grammar { dice, met, names: 0, depth: 0, with: Vec::new() }
    }

    pub(super) fn statement(&mut self) -> String {
        let with = match self.dice.below(8) {
            0 => self.with_one("with"),
            1 => self.with_one("with twice"),
            2 => self.recursive(),
            3 => return self.competing(),
            _ => return self.query(&Vec::new()),
        };
        format!("{with} {}", self.query(&Vec::new()))
    }

    /// Rows that do not matter by themselves, but keep others out.
    fn competing(&mut self) -> String {
        let (table, x, y) = (self.table(), *self.dice.one_of(&["a", "b"]), *self.dice.one_of(&["a", "b", "c", "id"]));
        let (kind, rows) = match self.dice.below(4) {
            0 => ("limit", format!("SELECT {x}, {y} FROM {table} ORDER BY {y}, {x} LIMIT 2")),
            1 => ("distinct on", format!("SELECT DISTINCT ON ({y}) {x}, {y} FROM {table} ORDER BY {y}, id")),
            2 => {
                self.meet("anti join");
                let other = self.table();
                let join = format!("{other} l LEFT JOIN {table} r ON r.{y} = l.{y}");
                return format!("SELECT l.a AS x, l.c AS y FROM {join} WHERE r.{x} IS NULL");
            }
            _ => ("window", format!("SELECT {x}, (count(*) OVER (PARTITION BY {y}))::int FROM {table}")),
        };
        self.meet(kind);
        let condition = self.conditions(&vec!["s.x".into()], &Vec::new());
        format!("SELECT s.x, s.y FROM ({rows}) s (x, y) WHERE {condition}")
    }

    fn meet(&mut self, kind: &'static str) {
        debug_assert!(KINDS.contains(&kind), "{kind}");
        *self.met.entry(kind).or_default() += 1;
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    fn with_one(&mut self, kind: &'static str) -> String {
        self.meet(kind);
        let (name, query) = (self.name(), self.query(&Vec::new()));
        let times = if kind == "with" { 1 } else { 2 };
        (0..times).for_each(|_| self.with.push(name.clone()));
        format!("WITH {name} (x, y) AS ({query})")
    }

    fn recursive(&mut self) -> String {
        self.meet("recursive");
        let (name, first) = (self.name(), self.select(&Vec::new()));
        let (table, condition) = (self.table(), self.condition(&vec!["r.a".into(), "r.b".into()], &Vec::new()));
        self.with.push(name.clone());
        format!(
            "WITH RECURSIVE {name} (x, y) AS ({first} UNION SELECT r.b, r.c FROM {table} r JOIN {name} ON r.a = {name}.x WHERE {condition})"
        )
    }

    fn table(&mut self) -> &'static str {
        self.dice.one_of::<&str>(&super::TABLES)
    }

    /// A query that may use the columns of those around it.
    fn query(&mut self, outer: &InSight) -> String {
        self.depth += 1;
        let operation = match self.dice.below(12) {
            0 => Some(("union", "UNION ALL")),
            1 => Some(("union", "UNION")),
            2 => Some(("except", "EXCEPT")),
            3 => Some(("intersect", "INTERSECT")),
            _ => None,
        };
        let mut query = self.select(outer);
        if let Some((kind, word)) = operation {
            self.meet(kind);
            query = format!("{query} {word} {}", self.select(outer));
        }
        if self.dice.once_in(5) {
            self.meet("limit");
            let order = self.dice.one_of(&["1, 2", "1 DESC, 2", "2, 1", "2 DESC, 1"]);
            query = format!("{query} ORDER BY {order} LIMIT {}", 1 + self.dice.below(3));
        }
        self.depth -= 1;
        query
    }

    fn select(&mut self, outer: &InSight) -> String {
        let (from, columns) = self.from(outer);
        let condition = if self.dice.once_in(3) { "true".into() } else { self.conditions(&columns, outer) };
        let (x, y) = (self.dice.one_of(&columns).clone(), self.dice.one_of(&columns).clone());
        let inside = [columns, outer.clone()].concat();
        match self.dice.below(14) {
            0 => {
                self.meet("group");
                format!("SELECT {x} AS x, max({y}) AS y FROM {from} WHERE {condition} GROUP BY {x}")
            }
            1 => {
                self.meet("group");
                format!("SELECT {x} AS x, {y} AS y FROM {from} WHERE {condition} GROUP BY ROLLUP ({x}, {y})")
            }
            2 => {
                self.meet("distinct");
                format!("SELECT DISTINCT {x} AS x, {y} AS y FROM {from} WHERE {condition}")
            }
            3 => {
                self.meet("distinct on");
                let query = format!(
                    "SELECT DISTINCT ON ({x}) {x} AS x, {y} AS y FROM {from} WHERE {condition} ORDER BY {x}, {y}"
                );
                format!("SELECT d.x, d.y FROM ({query}) d")
            }
            4 => {
                self.meet("window");
                let by = if self.dice.once_in(2) { &x } else { &y };
                format!("SELECT {x} AS x, (count(*) OVER (PARTITION BY {by}))::int AS y FROM {from} WHERE {condition}")
            }
            5 if self.depth < DEPTH_MAX => {
                self.meet("scalar");
                let scalar = self.query(&inside);
                format!("SELECT {x} AS x, (SELECT max(s.y) FROM ({scalar}) s) AS y FROM {from} WHERE {condition}")
            }
            _ => format!("SELECT {x} AS x, {y} AS y FROM {from} WHERE {condition}"),
        }
    }

    fn from(&mut self, outer: &InSight) -> (String, InSight) {
        let (left, mut columns) = self.item();
        let (kind, word) = match self.dice.below(7) {
            0 => ("inner join", "JOIN"),
            1 => ("left join", "LEFT JOIN"),
            2 => ("right join", "RIGHT JOIN"),
            3 => ("full join", "FULL JOIN"),
            4 if self.depth < DEPTH_MAX => return self.lateral(&left, columns, outer),
            _ => return (left, columns),
        };
        self.meet(kind);
        let (right, of_right) = self.item();
        let equal = format!("{} = {}", self.dice.one_of(&columns), self.dice.one_of(&of_right));
        columns.extend(of_right);
        // Postgres joins FULL only by what it can merge or hash.
        let on = if kind == "full join" || self.dice.once_in(2) {
            equal
        } else {
            format!("{equal} AND {}", self.condition(&columns, outer))
        };
        (format!("{left} {word} {right} ON {on}"), columns)
    }

    fn lateral(&mut self, left: &str, mut columns: InSight, outer: &InSight) -> (String, InSight) {
        self.meet("lateral");
        let (inside, name) = ([columns.clone(), outer.clone()].concat(), self.name());
        let query = self.query(&inside);
        columns.extend([format!("{name}.x"), format!("{name}.y")]);
        let on = if self.dice.once_in(2) { "true".into() } else { self.condition(&columns, outer) };
        let word = if self.dice.once_in(2) { "JOIN" } else { "LEFT JOIN" };
        (format!("{left} {word} LATERAL ({query}) {name} (x, y) ON {on}"), columns)
    }

    fn item(&mut self) -> (String, InSight) {
        let name = self.name();
        let two = vec![format!("{name}.x"), format!("{name}.y")];
        if !self.with.is_empty() && self.dice.once_in(2) {
            let with = self.with.pop().expect("there is one");
            return (format!("{with} {name}"), two);
        }
        match self.dice.below(8) {
            0 => {
                self.meet("view");
                (format!("{} {name}", self.dice.one_of(&["v1", "v2", "v3"])), two)
            }
            1..4 if self.depth < DEPTH_MAX => {
                self.meet("subquery");
                let query = self.query(&Vec::new());
                (format!("({query}) {name} (x, y)"), two)
            }
            _ => {
                let columns = ["a", "b", "c", "id"].map(|column| format!("{name}.{column}"));
                (format!("{} {name}", self.table()), columns.to_vec())
            }
        }
    }

    fn conditions(&mut self, columns: &InSight, outer: &InSight) -> String {
        let count = 1 + self.dice.below(2);
        let all: Vec<_> = (0..count).map(|_| self.condition(columns, outer)).collect();
        all.join(" AND ")
    }

    fn condition(&mut self, columns: &InSight, outer: &InSight) -> String {
        let column = self.dice.one_of(columns).clone();
        match self.dice.below(17) {
            0..4 => {
                self.meet("pinned by a parameter");
                format!("{column} = ${}", 1 + self.dice.below(2))
            }
            4 | 5 => {
                self.meet("pinned by a constant");
                format!("{column} = {}", self.dice.below(super::VALUES))
            }
            6 => {
                self.meet("any of an array");
                format!("{column} = ANY ($3)")
            }
            7 => {
                self.meet("in a list");
                format!("{column} IN (0, $1)")
            }
            8 => {
                self.meet("null");
                format!("{column} IS NULL")
            }
            9 => {
                self.meet("not distinct");
                format!("{column} IS NOT DISTINCT FROM $2")
            }
            10..13 => {
                self.meet("equal columns");
                let others = if outer.is_empty() || self.dice.once_in(3) { columns } else { outer };
                format!("{column} = {}", self.dice.one_of(others))
            }
            13 => {
                self.meet("or");
                let (one, other) = (self.plain(&column), self.plain(&column));
                format!("({one} OR {other})")
            }
            _ if self.depth < DEPTH_MAX => self.sublink(&column, &[columns.clone(), outer.clone()].concat()),
            _ => format!("{column} > 0"),
        }
    }

    fn plain(&mut self, column: &str) -> String {
        let number = self.dice.below(super::VALUES);
        (*self.dice.one_of(&[format!("{column} = $1"), format!("{column} = {number}"), format!("{column} IS NULL")]))
            .clone()
    }

    fn sublink(&mut self, column: &str, inside: &InSight) -> String {
        let (kind, query) = (self.dice.below(4), self.query(inside));
        let (kind, condition) = match kind {
            0 => ("exists", format!("EXISTS ({query})")),
            1 => ("not exists", format!("NOT EXISTS ({query})")),
            2 => ("in a query", format!("{column} IN (SELECT s.x FROM ({query}) s)")),
            _ => ("not in a query", format!("{column} NOT IN (SELECT s.x FROM ({query}) s)")),
        };
        self.meet(kind);
        condition
    }
}
