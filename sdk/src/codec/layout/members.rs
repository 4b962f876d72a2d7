//! The names of a type's members, as its `Deserialize` asks for them.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// The names that the type passes to `deserialize_struct` (with `#[serde(rename)]` and aliases); `None` for maps and
/// flattened types, which do not tell.
pub(crate) fn members_of<V: DeserializeOwned>() -> Option<&'static [&'static str]> {
    match V::deserialize(Probe) {
        Err(Told(members)) => members,
        Ok(_) => None,
    }
}

struct Probe;

/// The probe ends with this error, whatever it was asked.
#[derive(Debug)]
struct Told(Option<&'static [&'static str]>);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only asked for its members")
    }
}

impl std::error::Error for Told {}

impl serde::de::Error for Told {
    fn custom<T: fmt::Display>(_: T) -> Told {
        Told(None)
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        members: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(Some(members)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Told> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Told> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::HashMap;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its names are of interest")]
    struct User {
        id: i64,
        #[serde(rename = "full name")]
        name: String,
        #[serde(skip)]
        hidden: u8,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its names are of interest")]
    struct Wrapped(Box<User>);

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its names are of interest")]
    struct Flat {
        id: i64,
        #[serde(flatten)]
        user: User,
    }

    #[test]
    fn structs_tell_and_maps_do_not() {
        assert_eq!(members_of::<User>(), Some(&["id", "full name"][..]));
        assert_eq!(members_of::<Wrapped>(), Some(&["id", "full name"][..]));
        assert_eq!(members_of::<std::sync::Arc<User>>(), Some(&["id", "full name"][..]));
        assert_eq!(members_of::<Flat>(), None);
        assert_eq!(members_of::<HashMap<String, i64>>(), None);
        assert_eq!(members_of::<serde_json::Value>(), None);
    }
}
