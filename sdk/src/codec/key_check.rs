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
            KeyPart::Bytes(bytes) => {
                serde_json::from_str::<String>(member).is_ok_and(|member| member == text::hex(bytes))
            }
            KeyPart::Date(_) | KeyPart::Timestamp(_) | KeyPart::Outside(_) => true,
        };
        if !same {
            self.contradiction = Some(&self.layout.columns[index].name);
        }
    }
}
