//! The names of a type's members, as its `Deserialize` asks for them.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::cell::Cell;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

/// The members of a type, each with all names that it is read by: those that the type passes to `deserialize_struct` (with
/// `#[serde(rename)]` and aliases); `None` for maps and flattened types, which do not tell.
pub(crate) fn members_of<V: DeserializeOwned>() -> Option<Vec<Vec<&'static str>>> {
    let Err(Told(Some(names))) = V::deserialize(Probe { asked: None }) else { return None };
    let mut members: Vec<(Option<u64>, Vec<&'static str>)> = Vec::with_capacity(names.len());
    // A `Deserialize` written by hand may take the name itself, of which nothing tells whose it is: as with one that no member has.
    let of_none = member_of::<V>(NO_MEMBER);
    for name in names {
        let member = member_of::<V>(name).filter(|member| Some(*member) != of_none);
        match members.iter_mut().find(|(known, _)| member.is_some() && *known == member) {
            Some((_, names)) => names.push(name),
            None => members.push((member, vec![name])),
        }
    }
    Some(members.into_iter().map(|(_, names)| names).collect())
}

const NO_MEMBER: &str = "\u{1}no member";

/// What tells the member of this name from the type's other members: what the type makes of the name before it reads the value. That is
/// an enum with a variant for each member.
fn member_of<V: DeserializeOwned>(name: &str) -> Option<u64> {
    let asked = Asked { name, member: Cell::new(None) };
    let _ = V::deserialize(Probe { asked: Some(&asked) });
    asked.member.get()
}

/// Asks for the names of all members, or shows one and sees what becomes of it.
struct Probe<'a> {
    asked: Option<&'a Asked<'a>>,
}

struct Asked<'a> {
    name: &'a str,
    member: Cell<Option<u64>>,
}

impl<'de> MapAccess<'de> for &Asked<'_> {
    type Error = Told;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Told> {
        let key = seed.deserialize(StrDeserializer::new(self.name))?;
        let mut hasher = DefaultHasher::new();
        discriminant(&key).hash(&mut hasher);
        self.member.set(Some(hasher.finish()));
        Err(Told(None))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, _: S) -> Result<S::Value, Told> {
        Err(Told(None))
    }
}

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

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        members: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Told> {
        match self.asked {
            Some(asked) => visitor.visit_map(asked),
            None => Err(Told(Some(members))),
        }
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

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its names are of interest")]
    struct Renamed {
        #[serde(alias = "number", alias = "no")]
        id: i64,
        #[serde(rename = "full name", alias = "name")]
        name: Option<User>,
        other: i64,
    }

    struct ByHand;

    impl<'de> Deserialize<'de> for ByHand {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByHand, D::Error> {
            struct Names;

            impl<'de> Visitor<'de> for Names {
                type Value = ByHand;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("members")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByHand, A::Error> {
                    while let Some(_name) = map.next_key::<String>()? {
                        map.next_value::<i64>()?;
                    }
                    Ok(ByHand)
                }
            }

            deserializer.deserialize_struct("ByHand", &["id", "balance"], Names)
        }
    }

    #[test]
    fn names_that_a_type_takes_as_they_are_are_members_of_their_own() {
        assert_eq!(members_of::<ByHand>(), Some(vec![vec!["id"], vec!["balance"]]));
    }

    #[test]
    fn structs_tell_and_maps_do_not() {
        let user = || Some(vec![vec!["id"], vec!["full name"]]);
        assert_eq!(members_of::<User>(), user());
        assert_eq!(members_of::<Wrapped>(), user());
        assert_eq!(members_of::<std::sync::Arc<User>>(), user());
        let renamed = vec![vec!["id", "no", "number"], vec!["full name", "name"], vec!["other"]];
        assert_eq!(members_of::<Renamed>(), Some(renamed));
        assert_eq!(members_of::<Flat>(), None);
        assert_eq!(members_of::<HashMap<String, i64>>(), None);
        assert_eq!(members_of::<serde_json::Value>(), None);
    }
}
