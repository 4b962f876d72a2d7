//! A container from a valid JSON text, as `jsonb_in` makes it, in one pass. What is rare is left to the caller, who has
//! `jsonb_in`.

use super::form::{
    CONTAINER, FALSE, Head, IS_LIST, IS_OBJECT, IS_SCALAR, LENGTH, NULL, NUMBER, TRUE, WORD, align, push,
};
use super::number::push_number;
use cache_sync_core::json::Json;
use std::borrow::Cow;

/// So deep it goes; each level is looked at once more.
const DEPTH_MAX: u32 = 16;
/// Of longer texts Postgres knows whether they are too large.
const LENGTH_MAX: usize = 16 << 20;

/// The container; `None` for long texts, those with `\u`, with a key twice, with numbers that are long or have exponents, and
/// those that are deeper than 16 levels.
pub(crate) fn of_text(text: Json<'_>) -> Option<Vec<u8>> {
    if text.text().len() > LENGTH_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(2 * text.text().len() + 2 * WORD);
    if text.is_array() || text.is_object() {
        push_value(&mut bytes, text, DEPTH_MAX)?;
    } else {
        push(&mut bytes, IS_LIST | IS_SCALAR | 1);
        push_list(&mut bytes, 0, &[text], DEPTH_MAX)?;
    }
    Some(bytes)
}

/// The text of a JSON string, without its escapes; `None` if there is a `\u` in it.
pub(crate) fn string(quoted: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    let Some(first) = inner.iter().position(|byte| *byte == b'\\') else { return Some(Cow::Borrowed(inner)) };
    let (head, mut rest) = inner.split_at(first);
    let mut out = Vec::with_capacity(inner.len());
    out.extend_from_slice(head);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        out.push(match escape {
            b'"' | b'\\' | b'/' => *escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return None,
        });
    }
    Some(Cow::Owned(out))
}

/// Whether a JSON text has an escape that stands for no character that a text may have: U+0000, or half of a surrogate pair.
pub(crate) fn has_bad_escapes(text: &[u8]) -> bool {
    let unit = |text: &[u8]| -> Option<u16> {
        let digits = text.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match unit(&text[at..]) {
            None => 2,
            Some(0 | 0xdc00..=0xdfff) => return true,
            Some(0xd800..=0xdbff) => match text.get(at + 6..).and_then(unit) {
                Some(0xdc00..=0xdfff) => 12,
                _ => return true,
            },
            Some(_) => 6,
        };
        if at >= text.len() {
            return false;
        }
    }
    false
}

/// Writes a value and says its kind.
fn push_value(bytes: &mut Vec<u8>, value: Json<'_>, depth: u32) -> Option<u32> {
    let text = value.text();
    match text.first()? {
        b'{' => {
            align(bytes);
            push_object(bytes, value, depth.checked_sub(1)?)?;
            Some(CONTAINER)
        }
        b'[' => {
            align(bytes);
            let (start, elements): (_, Vec<_>) = (bytes.len(), value.elements().collect());
            push(bytes, IS_LIST | count(elements.len())?);
            push_list(bytes, start, &elements, depth.checked_sub(1)?)?;
            Some(CONTAINER)
        }
        b'"' => {
            bytes.extend_from_slice(&string(text)?);
            Some(0)
        }
        b't' => Some(TRUE),
        b'f' => Some(FALSE),
        b'n' => Some(NULL),
        _ => {
            align(bytes);
            push_number(bytes, text)?;
            Some(NUMBER)
        }
    }
}

/// Writes what follows the first word of a list that begins at `start`.
fn push_list(bytes: &mut Vec<u8>, start: usize, elements: &[Json<'_>], depth: u32) -> Option<()> {
    bytes.resize(start + (1 + elements.len()) * WORD, 0);
    let head = Head { start, data: bytes.len() };
    for (place, element) in elements.iter().enumerate() {
        let from = bytes.len();
        let kind = push_value(bytes, *element, depth)?;
        head.note(bytes, place, kind, from)?;
    }
    Some(())
}

fn push_object(bytes: &mut Vec<u8>, object: Json<'_>, depth: u32) -> Option<()> {
    let mut members = Vec::with_capacity(16);
    for (key, value) in object.members() {
        let key = match key.contains(&b'\\') {
            false => Cow::Borrowed(key),
            true => Cow::Owned(string(&[b"\"", key, b"\""].concat())?.into_owned()),
        };
        members.push((key, value));
    }
    members.sort_by(|(one, _), (other, _)| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
    if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let start = bytes.len();
    push(bytes, IS_OBJECT | count(members.len())?);
    bytes.resize(start + (1 + 2 * members.len()) * WORD, 0);
    let head = Head { start, data: bytes.len() };
    for (place, (key, _)) in members.iter().enumerate() {
        let from = bytes.len();
        bytes.extend_from_slice(key);
        head.note(bytes, place, 0, from)?;
    }
    for (place, (_, value)) in (members.len()..).zip(&members) {
        let from = bytes.len();
        let kind = push_value(bytes, *value, depth)?;
        head.note(bytes, place, kind, from)?;
    }
    Some(())
}

fn count(members: usize) -> Option<u32> {
    u32::try_from(members).ok().filter(|count| *count <= LENGTH)
}
