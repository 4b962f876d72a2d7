//! Fields of every rule, and values for them.

use super::Dice;
use serde_json::{Map, Value, json};

/// Values that look random and are the same each time.
pub(super) struct Values(pub(super) Dice);

impl Values {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    fn number(&mut self) -> Value {
        json!(self.below(9) as i64 - 4)
    }

    fn or_null(&mut self, value: Value) -> Value {
        if self.below(6) == 0 { Value::Null } else { value }
    }

    fn list(&mut self) -> Value {
        (0..self.below(4)).map(|_| self.number()).collect()
    }

    fn words(&mut self) -> Value {
        (0..self.below(3)).map(|_| json!(["a", "b", "ä\"c", "d d"][self.below(4) as usize])).collect()
    }

    fn change(&mut self, list: fn(&mut Values) -> Value) -> Value {
        json!({"add": list(self), "remove": list(self)})
    }

    fn document(&mut self, depth: u32) -> Value {
        let mut members = Map::new();
        for _ in 0..self.below(4) {
            let name = ["x", "y", "z"][self.below(3) as usize];
            let value = match self.below(if depth == 0 { 3 } else { 5 }) {
                0 => Value::Null,
                1 => self.list(),
                2 => self.number(),
                _ => self.document(depth - 1),
            };
            members.insert(name.to_owned(), value);
        }
        Value::Object(members)
    }

    fn ruled_document(&mut self, is_edit: bool) -> Value {
        let Value::Object(mut members) = self.document(1) else { unreachable!() };
        for name in ["n", "tags", "log", "by"] {
            if self.below(2) == 0 {
                let value = match name {
                    "tags" if is_edit => self.change(Values::list),
                    "tags" | "log" => self.list(),
                    _ => self.number(),
                };
                members.insert(name.to_owned(), value);
            }
        }
        Value::Object(members)
    }
}

/// A field: its column's type, its rule, and what a patch says of it.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) ty: &'static str,
    pub(super) rule: Value,
    pub(super) incoming: fn(&mut Values, bool) -> Value,
}

pub(super) fn fields() -> Vec<Field> {
    let field = |name, ty, rule, incoming| Field { name, ty, rule, incoming };
    vec![
        field("lww", "int", json!("lww"), |dice, _| {
            let v = dice.number();
            dice.or_null(v)
        }),
        field("lww2", "text", json!("lww"), |dice, _| json!(dice.words().to_string())),
        field("arrival", "int", json!("arrival"), |dice, _| dice.number()),
        field("first", "int", json!("first"), |dice, _| {
            let v = dice.number();
            dice.or_null(v)
        }),
        field("added", "int", json!("add"), |dice, _| dice.number()),
        field("price", "numeric", json!("add"), |dice, _| json!(dice.below(9) as f64 / 4.0)),
        field("top", "int", json!("max"), |dice, _| {
            let v = dice.number();
            dice.or_null(v)
        }),
        field("low", "int", json!("min"), |dice, _| dice.number()),
        field("list", "int[]", json!("append"), |dice, _| dice.list()),
        field("capped", "int[]", json!({"rule": "append", "cap": 3}), |dice, _| dice.list()),
        field("jlist", "jsonb", json!("append"), |dice, _| dice.list()),
        field("jcapped", "jsonb", json!({"rule": "append", "cap": 3}), |dice, _| dice.list()),
        field(
            "set",
            "text[]",
            json!("union"),
            |dice, edit| if edit { dice.change(Values::words) } else { dice.words() },
        ),
        field("jset", "jsonb", json!("union"), |dice, edit| if edit { dice.change(Values::list) } else { dice.list() }),
        field("doc", "jsonb", json!("json"), |dice, _| {
            let v = dice.document(2);
            dice.or_null(v)
        }),
        field("flat", "jsonb", json!({"rule": "json", "depth": 1}), |dice, _| dice.document(2)),
        field(
            "ruled",
            "jsonb",
            json!({"rule": "json", "members": {
            "n": "add", "tags": "union", "log": {"rule": "append", "cap": 2}, "by": "first"}}),
            Values::ruled_document,
        ),
        field("fun", "int", json!({"rule": "function", "name": "both_bits(integer,integer)"}), |dice, _| {
            let v = dice.number();
            dice.or_null(v)
        }),
    ]
}
