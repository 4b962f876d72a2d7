//! Finds members and elements in valid JSON texts, without taking them apart any further.

use crate::decimal;
use std::borrow::Cow;

/// So deep values are compared; what lies deeper must be the same text. Bounds the stack.
const DEPTH_MAX: u32 = 100;

/// A value in a JSON text, without the space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// The value in a valid JSON text. Of any other text nothing sensible is found, but nothing breaks either.
    pub fn new(text: &'a [u8]) -> Json<'a> {
        Json(text.trim_ascii())
    }

    /// Its text.
    pub fn text(self) -> &'a [u8] {
        self.0
    }

    /// Its text; `None` if that is not UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// Whether both are the same value, however written: numbers exactly, members in any order.
    pub fn is_same(self, other: Json<'_>) -> bool {
        self.0 == other.0 || self.canonical() == other.canonical()
    }

    /// One text for all ways to write this value.
    pub fn canonical(self) -> String {
        let mut out = String::with_capacity(self.0.len());
        self.write_canonical(DEPTH_MAX, &mut out);
        out
    }

    fn write_canonical(self, depth: u32, out: &mut String) {
        let text = String::from_utf8_lossy(self.0);
        match self.0.first() {
            Some(b'"') if text.contains('\\') => match serde_json::from_str(&text) {
                Ok(string) => push_string(out, string),
                Err(_) => out.push_str(&text),
            },
            Some(b'[') if depth > 0 => {
                out.push('[');
                for element in self.elements() {
                    element.write_canonical(depth - 1, out);
                    out.push(',');
                }
                out.push(']');
            }
            Some(b'{') if depth > 0 => {
                let mut members: Vec<_> = self.members().map(|(key, value)| (unescaped(key), value)).collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                out.push('{');
                for (key, value) in members {
                    push_string(out, key);
                    out.push(':');
                    value.write_canonical(depth - 1, out);
                    out.push(',');
                }
                out.push('}');
            }
            Some(b'-' | b'0'..=b'9') => out.push_str(&decimal::canonical(&text)),
            _ => out.push_str(&text),
        }
    }

    /// Where a value that was found in this one is in this one's text.
    pub fn range_of(self, inner: Json<'_>) -> (usize, usize) {
        let start = inner.0.as_ptr().addr() - self.0.as_ptr().addr();
        (start, start + inner.0.len())
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// The elements, if it is an array.
    pub fn elements(self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = Rest { text: self.0, at: 1 };
        std::iter::from_fn(move || rest.next_value())
    }

    /// The members, if it is an object: their keys as they stand between the quotation marks, and their values.
    pub fn members(self) -> impl Iterator<Item = (&'a [u8], Json<'a>)> {
        let mut rest = Rest { text: self.0, at: 1 };
        std::iter::from_fn(move || {
            let key = rest.next_value()?.0;
            rest.skip_space();
            rest.at += 1;
            Some((key.get(1..key.len().checked_sub(1)?)?, rest.next_value()?))
        })
    }

    /// The value as a whole number of 64 bits.
    pub fn int8(self) -> Option<i64> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }
}

/// Whether a text is JSON. Of a text that is nested deeper than 100 levels it says no.
pub fn is_plainly_valid(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok() && depth(text) <= DEPTH_MAX as usize
}

/// How many levels of arrays and objects there are in a valid text.
fn depth(text: &[u8]) -> usize {
    let (mut at, mut depth, mut deepest) = (0, 0usize, 0);
    while let Some(byte) = text.get(at) {
        match MARKS[usize::from(*byte)] {
            Mark::Quote => {
                at = end_of_string(text, at);
                continue;
            }
            Mark::Open => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            Mark::Close => depth = depth.saturating_sub(1),
            Mark::None => {}
        }
        at += 1;
    }
    deepest
}

/// A key as it is, without escapes.
pub fn unescaped(key: &[u8]) -> Cow<'_, str> {
    if key.contains(&b'\\') {
        let quoted = [b"\"", key, b"\""].concat();
        if let Ok(key) = serde_json::from_slice(&quoted) {
            return Cow::Owned(key);
        }
    }
    String::from_utf8_lossy(key)
}

fn push_string(out: &mut String, string: Cow<'_, str>) {
    out.push_str(&serde_json::Value::String(string.into_owned()).to_string());
}

/// What of an array or object has not been looked at.
struct Rest<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b']')
    }

    fn skip_space(&mut self) {
        while self.byte().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    /// The value after the next comma, if there is one; `None` at the end of the array or object.
    fn next_value(&mut self) -> Option<Json<'a>> {
        self.skip_space();
        if self.byte() == b',' {
            self.at += 1;
            self.skip_space();
        }
        let start = self.at;
        match self.byte() {
            b']' | b'}' => return None,
            b'"' => self.skip_string(),
            b'[' | b'{' => self.skip_nested(),
            _ => {
                while !matches!(self.byte(), b',' | b']' | b'}') && !self.byte().is_ascii_whitespace() {
                    self.at += 1;
                }
            }
        }
        self.text.get(start..self.at).map(Json)
    }

    fn skip_string(&mut self) {
        self.at = end_of_string(self.text, self.at);
    }

    fn skip_nested(&mut self) {
        let (text, mut at, mut depth) = (self.text, self.at, 0usize);
        while let Some(byte) = text.get(at) {
            match MARKS[usize::from(*byte)] {
                Mark::None => at += 1,
                Mark::Quote => at = end_of_string(text, at),
                Mark::Open => {
                    depth += 1;
                    at += 1;
                }
                Mark::Close => {
                    depth = depth.saturating_sub(1);
                    at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
        self.at = at;
    }
}

/// Behind the string that begins at `at`.
fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// What a byte outside of strings is to the structure.
#[derive(Clone, Copy)]
enum Mark {
    None,
    Quote,
    Open,
    Close,
}

static MARKS: [Mark; 256] = {
    let mut marks = [Mark::None; 256];
    marks[b'"' as usize] = Mark::Quote;
    (marks[b'[' as usize], marks[b'{' as usize]) = (Mark::Open, Mark::Open);
    (marks[b']' as usize], marks[b'}' as usize]) = (Mark::Close, Mark::Close);
    marks
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Takes a text apart with what is here, and lets serde_json read but the scalars.
    fn read(json: Json<'_>) -> Value {
        if json.is_array() {
            return json.elements().map(read).collect();
        }
        if json.is_object() {
            return json.members().map(|(key, value)| (unescaped(key).into_owned(), read(value))).collect();
        }
        serde_json::from_slice(json.text()).unwrap()
    }

    /// The same value with space wherever JSON allows it.
    fn spaced(value: &Value, space: &str) -> String {
        match value {
            Value::Array(list) => {
                let list: Vec<_> = list.iter().map(|value| spaced(value, space)).collect();
                format!("{space}[{}{space}]{space}", list.join(","))
            }
            Value::Object(map) => {
                let member = |(key, value): (&String, &Value)| {
                    format!("{space}{}{space}:{}", Value::from(key.as_str()), spaced(value, space))
                };
                let members: Vec<_> = map.iter().map(member).collect();
                format!("{space}{{{}{space}}}{space}", members.join(","))
            }
            scalar => format!("{space}{scalar}{space}"),
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
            "[\\[\\]{},:\"\\\\ ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c\"\\\\,:{}]{0,3}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_is_found(document in documents(), space in prop_oneof![Just(""), Just(" \n\t\r ")]) {
            let text = spaced(&document, space);
            prop_assert_eq!(read(Json::new(text.as_bytes())), document);
        }

        #[test]
        fn what_is_found_is_where_it_is_said_to_be(document in documents()) {
            let text = spaced(&document, " ");
            let whole = Json::new(text.as_bytes());
            for element in whole.elements().take_while(|_| whole.is_array()) {
                let (start, end) = whole.range_of(element);
                prop_assert_eq!(&whole.text()[start..end], element.text());
            }
        }

        #[test]
        fn other_texts_break_nothing(text in "[\\[\\]{},:\"\\\\ a0]{0,20}") {
            let json = Json::new(text.as_bytes());
            prop_assert!(json.elements().count() <= text.len());
            prop_assert!(json.members().count() <= text.len());
        }
    }

    #[test]
    fn a_value_is_the_same_however_written() {
        let same = |a: &str, b: &str| Json::new(a.as_bytes()).is_same(Json::new(b.as_bytes()));
        assert!(same(r#"{"a":1,"b":[1.0,"\u0061"]}"#, r#"{ "b" : [1, "a"], "\u0061": 1e0 }"#));
        assert!(same("100", "1e2") && same("0", "-0.0") && same("9007199254740993", "9007199254740993.0"));
        assert!(!same("9007199254740993", "9007199254740992"));
        assert!(!same("[1,2]", "[2,1]") && !same("1", "\"1\"") && !same("{}", "[]") && !same("[[1],2]", "[[1,2]]"));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(same(&deep, &format!(" {deep}")));
    }

    #[test]
    fn what_is_plainly_valid() {
        for text in ["1", " [] ", r#"{"a":["]",{"b":"\\\"["}]}"#, &("[".repeat(100) + &"]".repeat(100))] {
            assert!(is_plainly_valid(text.as_bytes()), "{text}");
        }
        for text in ["", "[", "[1,]", "[1] 2", "01", "\"\n\"", "'a'", &("[".repeat(101) + &"]".repeat(101))] {
            assert!(!is_plainly_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_read() {
        assert_eq!(Json::new(b" -12 ").int8(), Some(-12));
        assert_eq!(Json::new(b"1e3").int8(), None);
        assert_eq!(Json::new(b"9223372036854775808").int8(), None);
    }
}
