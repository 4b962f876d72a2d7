//! Whether a value is that of the key under which it is put.

use crate::codec::key::{Key, KeyPart, KeyVisitor};
use crate::codec::layout::{Layout, Role};
use crate::codec::text;
use cache_sync_core::fields::Fields;

/// The name of a member that stands for a part of the key but says something else.
pub(crate) fn contradiction<'a, K: Key>(key: &K, layout: &'a Layout, fields: &'a Fields) -> Option<&'a str> {
    let mut check = KeyCheck { layout, fields, part: 0, contradiction: None };
    key.parts(&mut check);
    check.contradiction
}

/// Whether the member may be the time of this text, which is one of UTC. Only the usual form can be told: four digits of the year, and of UTC.
fn may_be_same_time(member: &str, text: &str) -> bool {
    fn usual(text: &str) -> Option<&str> {
        let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")).unwrap_or(text);
        let has_offset = text.get(10..).is_some_and(|time| time.contains(['+', '-', ' ']));
        let is_usual = text.as_bytes().get(..4).is_some_and(|year| year.iter().all(u8::is_ascii_digit)) && !has_offset;
        let fraction =
            |text: &'_ str| text.contains('.').then(|| text.trim_end_matches('0').trim_end_matches('.').len());
        is_usual.then(|| &text[..fraction(text).unwrap_or(text.len())])
    }
    let Ok(member) = serde_json::from_str::<String>(member) else { return true };
    match (usual(&member), usual(text)) {
        (Some(member), Some(text)) => member == text,
        _ => true,
    }
}

/// Compares the key's parts with the members of the value that stand for them.
struct KeyCheck<'a> {
    layout: &'a Layout,
    fields: &'a Fields,
    part: usize,
    contradiction: Option<&'a str>,
}

impl KeyVisitor for KeyCheck<'_> {
    fn part(&mut self, part: KeyPart<'_>) {
        let place = self.part;
        self.part += 1;
        let is_this = |role: &Role| matches!(role, Role::Key(of) if *of == place);
        let Some(index) = self.layout.columns.iter().position(|column| is_this(&column.role)) else { return };
        let Some(member) = u16::try_from(index).ok().and_then(|index| self.fields.get(index)) else { return };
        let same = match part {
            KeyPart::Int(int) => member.trim_matches('"').parse() == Ok(int),
            KeyPart::Bool(bool) => member.parse() == Ok(bool),
            KeyPart::Text(text) => serde_json::from_str::<String>(member).is_ok_and(|member| member == text),
            KeyPart::Uuid(uuid) => {
                serde_json::from_str::<uuid::Uuid>(member).is_ok_and(|member| *member.as_bytes() == uuid)
            }
            KeyPart::Bytes(bytes) => serde_json::from_str::<String>(member)
                .is_ok_and(|member| text::unhex(&member).as_deref() == Some(bytes)),
            KeyPart::Date(days) => may_be_same_time(member, &text::date(days)),
            KeyPart::Timestamp(micros) => may_be_same_time(member, &text::timestamp(micros)),
            KeyPart::Outside(_) => true,
        };
        if !same {
            self.contradiction = Some(&self.layout.columns[index].name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_where_their_form_is_the_usual_one() {
        let time = text::timestamp(762_523_200_500_000);
        for (member, may_be) in [
            ("\"2024-02-29T12:00:00.5Z\"", true),
            ("\"2024-02-29T12:00:00.500000+00:00\"", true),
            ("\"2024-02-29T12:00:00.5\"", true),
            ("\"2024-02-29T12:00:01Z\"", false),
            ("\"2024-03-29T12:00:00.5Z\"", false),
            ("\"2024-02-29T13:00:00.5+01:00\"", true),
            ("762523200", true),
            ("\"infinity\"", true),
        ] {
            assert_eq!(may_be_same_time(member, &time), may_be, "{member} and {time}");
        }
        assert!(may_be_same_time("\"2000-01-10\"", &text::date(9)));
        assert!(!may_be_same_time("\"2000-01-01\"", &text::date(9)));
        assert!(may_be_same_time("\"1999-12-31\"", &text::date(i32::MAX)));
    }
}
