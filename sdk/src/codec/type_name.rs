//! Names of Rust types, for people.

use std::any::type_name;

/// The type's name without the paths: `Option<OffsetDateTime>`.
pub(crate) fn of<T: ?Sized>() -> String {
    short(type_name::<T>())
}

/// The same of a name with paths.
pub(crate) fn short(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for part in name.split_inclusive(['<', '>', ',', ' ', '(', ')', '[', ']', '&', ';']) {
        out.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn names_lose_their_paths() {
        assert_eq!(of::<Option<String>>(), "Option<String>");
        assert_eq!(of::<HashMap<String, (uuid::Uuid, [u8; 4])>>(), "HashMap<String, (Uuid, [u8; 4])>");
        assert_eq!(of::<str>(), "str");
    }
}
