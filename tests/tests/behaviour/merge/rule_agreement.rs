//! What a rule means is said once, in core: compiled statements and `merge()` must do the same, for every rule, kind of
//! patch and order of stamps.

mod fields;

use fields::{Field, Values, fields};

use cache_sync_core::clock::Clock;
use cache_sync_core::document::{self, Way};
use cache_sync_core::json::Json;
use cache_sync_core::merge;
use cache_sync_core::number::{FieldId, Stamp, Version};
use cache_sync_core::paths::Paths;
use cache_sync_core::rule::Rule;
use cache_sync_kit::Dice;
use cache_sync_tests::Database;
use cache_sync_tests::batches::{Batches, verdict};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tokio_postgres::{Client, Row};

const ROWS: usize = 2_000;
const ROUNDS: usize = 10;

/// What core says that a field is.
#[derive(Clone)]
struct State {
    value: String,
    paths: Paths,
}

/// What became of a field.
#[derive(Default)]
struct Fate {
    applied: bool,
    lost: bool,
}

fn same(a: &str, b: &str) -> bool {
    Json::new(a.as_bytes()).is_same(Json::new(b.as_bytes()))
}

/// A value as jsonb writes it: by that text Postgres decides when stamps are equal.
fn as_jsonb(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(as_jsonb).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort_by_key(|name| (name.len(), name.as_bytes()));
            let member = |name: &&String| format!("{}: {}", json!(name), as_jsonb(&members[*name]));
            format!("{{{}}}", names.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

impl State {
    fn take(&mut self, rule: &Rule, op: &str, incoming: &str, stamp: i64) -> Fate {
        let replaces = op == "replace";
        let stamp = Stamp(stamp);
        match rule {
            _ if op == "put" && rule.is_left_by_put() => Fate::default(),
            _ if rule.is_stamped() && (replaces || *rule == Rule::Lww) => {
                let fresh = merge::fresh(rule, incoming).into_owned();
                let newest = self.paths.newest();
                let larger = fresh != "null" && (self.value == "null" || text(&fresh) > text(&self.value));
                let wins = stamp > newest || (stamp == newest && larger);
                if wins {
                    *self = State { value: fresh.clone(), paths: Paths::all(stamp) };
                }
                if stamp == newest {
                    // Whichever stays counts as written then as a whole.
                    self.paths = Paths::all(stamp);
                }
                let lost = stamp < newest || (stamp == newest && !same(&self.value, &fresh));
                Fate { applied: wins, lost }
            }
            Rule::First => {
                let stored = self.paths.newest();
                let larger = text(incoming) > text(&self.value);
                let wins =
                    incoming != "null" && (self.value == "null" || stamp < stored || (stamp == stored && larger));
                if wins {
                    *self = State { value: incoming.to_owned(), paths: Paths::all(stamp) };
                }
                Fate { applied: wins, lost: incoming != "null" && !same(&self.value, incoming) }
            }
            Rule::Json(document) if !replaces => {
                let way = if op == "edit" { Way::Edit } else { Way::Put };
                let current = (self.value != "null").then(|| self.value.clone());
                let merged =
                    document::merge(document, current.as_deref(), incoming, way, stamp, &mut self.paths).unwrap();
                self.value = merged.text.unwrap_or("null".into());
                Fate { applied: merged.is_applied, lost: merged.is_lost }
            }
            _ => self.take_unstamped(rule, replaces, incoming),
        }
    }

    /// Where no stamp decides.
    fn take_unstamped(&mut self, rule: &Rule, replaces: bool, incoming: &str) -> Fate {
        let before = self.value.clone();
        let function = |a: &str, b: &str| match (a, b) {
            ("null", _) => b.to_owned(),
            (_, "null") => a.to_owned(),
            _ => (a.parse::<i64>().unwrap() | b.parse::<i64>().unwrap()).to_string(),
        };
        self.value = match rule {
            Rule::Append { .. } if replaces => merge::merge(rule, None, incoming).unwrap().into_owned(),
            _ if replaces => incoming.to_owned(),
            Rule::Function(_) => function(&before, incoming),
            _ => merge::merge(rule, Some(&before), incoming).unwrap().into_owned(),
        };
        let applied = match rule {
            Rule::Append { .. } if !replaces => incoming != "[]",
            _ => !same(&before, &self.value),
        };
        let compares = matches!(rule, Rule::Max | Rule::Min) && !replaces;
        Fate { applied, lost: compares && !same(&self.value, incoming) }
    }
}

fn text(value: &str) -> Vec<u8> {
    as_jsonb(&serde_json::from_str(value).unwrap()).into_bytes()
}

fn make(db: &Database<'_>, fields: &[Field]) {
    let columns: Vec<_> = fields.iter().map(|field| format!("{} {}", field.name, field.ty)).collect();
    let rules: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), field.rule.clone())).collect();
    db.psql(&format!(
        "CREATE FUNCTION both_bits(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
             AS 'SELECT $1 | $2';
         CREATE TABLE t (id int PRIMARY KEY, {});
         SELECT cache_sync.attach('t', versioned => true, rules => '{}');
         INSERT INTO t SELECT n FROM generate_series(0, {}) n;",
        columns.join(", "),
        Value::from(rules).to_string().replace('\'', "''"),
        ROWS - 1
    ));
}

/// Each field of each row: its value as JSON, and the stamps of its paths.
async fn stored(client: &Client, fields: &[Field], ids: &BTreeMap<String, i16>) -> Vec<Vec<(String, Paths)>> {
    let rows = client.query("SELECT to_jsonb(t)::text, cs_clock, cs_version FROM t ORDER BY id", &[]).await.unwrap();
    let state = |row: &Row| {
        let values: Value = serde_json::from_str(row.get(0)).unwrap();
        let clock = Clock::decode(row.get(1), Version(row.get(2))).unwrap();
        let of_field = |field: &Field| (values[field.name].to_string(), clock.paths(FieldId(ids[field.name])));
        fields.iter().map(of_field).collect()
    };
    rows.iter().map(state).collect()
}

/// `merge()` does the same with values that were met.
async fn agrees_too(client: &Client, fields: &[Field], parsed: &[Rule], merges: &[(usize, String, String)]) {
    let (mut rules, mut currents, mut incomings, mut expected) = (vec![], vec![], vec![], vec![]);
    for (place, current, incoming) in merges {
        rules.push(fields[*place].rule.to_string());
        expected.push(merge::merge(&parsed[*place], Some(current), incoming).unwrap().into_owned());
        currents.push(current.clone());
        incomings.push(incoming.clone());
    }
    let sql = "SELECT coalesce(cache_sync.merge(r::jsonb, c::jsonb, i::jsonb), 'null')::text
               FROM unnest($1::text[], $2::text[], $3::text[]) AS m(r, c, i)";
    let merged = client.query(sql, &[&rules, &currents, &incomings]).await.unwrap();
    assert!(merged.len() > 5_000);
    for (place, row) in merged.iter().enumerate() {
        let found: &str = row.get(0);
        let (rule, current, incoming) = (&rules[place], &currents[place], &incomings[place]);
        assert!(
            same(found, &expected[place]),
            "{rule}: {current} and {incoming} made {found}, not {}",
            expected[place]
        );
    }
}

/// The rows as core has them, and what was thrown at them.
struct Model<'f> {
    fields: &'f [Field],
    rules: Vec<Rule>,
    ids: BTreeMap<String, i16>,
    /// The version that each row had at first.
    base: Vec<i64>,
    rows: Vec<Vec<State>>,
}

/// A batch, with what must become of each patch.
struct Thrown {
    subsets: Vec<Vec<usize>>,
    shapes: BTreeMap<(usize, &'static str), Vec<Value>>,
    expected: Vec<&'static str>,
}

impl<'f> Model<'f> {
    async fn of(client: &Client, fields: &'f [Field]) -> Model<'f> {
        let names = client.query("SELECT name::text, field_id FROM cache_sync.field", &[]).await.unwrap();
        let versions = client.query("SELECT cs_version FROM t ORDER BY id", &[]).await.unwrap();
        let base: Vec<i64> = versions.iter().map(|row| row.get(0)).collect();
        let fresh = |version: &i64| State { value: "null".into(), paths: Paths::all(Stamp(*version)) };
        Model {
            fields,
            rules: fields.iter().map(|field| serde_json::from_value(field.rule.clone()).unwrap()).collect(),
            ids: names.iter().map(|row| (row.get(0), row.get(1))).collect(),
            rows: base.iter().map(|version| vec![fresh(version); fields.len()]).collect(),
            base,
        }
    }

    /// Throws a patch at every row. Edits are added to `merges`, if it is there, as they were before.
    fn throw(&mut self, dice: &mut Values, mut merges: Option<&mut Vec<(usize, String, String)>>) -> Thrown {
        let subsets: Vec<Vec<usize>> = (0..8)
            .map(|_| (0..self.fields.len()).filter(|_| dice.below(3) > 0).collect::<Vec<_>>())
            .filter(|subset: &Vec<usize>| !subset.is_empty())
            .collect();
        let mut thrown = Thrown { subsets, shapes: BTreeMap::new(), expected: Vec::new() };
        for id in 0..ROWS {
            let subset = dice.below(thrown.subsets.len() as u64) as usize;
            let op = ["edit", "edit", "edit", "put", "replace"][dice.below(5) as usize];
            let stamp = self.base[id] + dice.below(60) as i64 - 20;
            let mut patch = json!({"#": id, "@": stamp, "id": id});
            let (mut applied, mut lost) = (false, false);
            for place in &thrown.subsets[subset] {
                let (field, rule) = (&self.fields[*place], &self.rules[*place]);
                let incoming = (field.incoming)(dice, op == "edit");
                let text = as_jsonb(&incoming);
                let state = &mut self.rows[id][*place];
                if let Some(merges) = merges.as_mut().filter(|_| op == "edit" && !matches!(rule, Rule::Function(_))) {
                    merges.push((*place, state.value.clone(), text.clone()));
                }
                let fate = state.take(rule, op, &text, stamp);
                applied |= fate.applied;
                lost |= fate.lost;
                patch[field.name] = incoming;
            }
            thrown.expected.push(match (applied, lost) {
                (true, false) => "applied",
                (true, true) => "merged",
                (false, true) => "superseded",
                (false, false) => "unchanged",
            });
            thrown.shapes.entry((subset, op)).or_default().push(patch);
        }
        thrown
    }

    /// Sends what was thrown, and compares verdicts, values and stamps.
    async fn compare(&self, batches: &mut Batches, thrown: &Thrown) {
        let shape = |(subset, op): &(usize, &str)| {
            let names: Vec<_> = thrown.subsets[*subset].iter().map(|place| self.fields[*place].name).collect();
            json!({"op": op, "seen": true, "fields": names})
        };
        let rows: Vec<_> = thrown.shapes.values().map(|rows| Value::from(rows.clone())).collect();
        let patches: BTreeMap<u64, &Value> =
            thrown.shapes.values().flatten().map(|patch| (patch["#"].as_u64().unwrap(), patch)).collect();
        let records = batches.send(thrown.shapes.keys().map(shape).collect(), &rows).await.unwrap();
        for (id, record) in records.iter().enumerate() {
            assert_eq!(verdict(record), thrown.expected[id], "{}", patches[&(id as u64)]);
        }
        for (id, row) in stored(batches.client(), self.fields, &self.ids).await.iter().enumerate() {
            for (place, field) in self.fields.iter().enumerate() {
                let (state, (now, paths), patch) = (&self.rows[id][place], &row[place], patches[&(id as u64)]);
                assert!(same(now, &state.value), "{now}, not {}: {} of {patch}", state.value, field.name);
                if self.rules[place].is_stamped() {
                    assert_eq!(*paths, state.paths, "{} of {patch}", field.name);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn core_and_compiled_statements_do_the_same() {
    let db = Database::with_extension();
    let fields = fields();
    make(&db, &fields);
    let mut batches = Batches::open(&db, "t").await;
    let mut model = Model::of(batches.client(), &fields).await;
    let mut dice = Values(Dice::new(0x5eed_cafe_f00d_0001));
    let (mut cases, mut merges) = (0, Vec::new());
    for round in 0..ROUNDS {
        let thrown = model.throw(&mut dice, (round == ROUNDS - 1).then_some(&mut merges));
        model.compare(&mut batches, &thrown).await;
        cases += thrown.expected.len();
    }
    assert!(cases >= 20_000);
    agrees_too(batches.client(), &fields, &model.rules, &merges).await;
}
