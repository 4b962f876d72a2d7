//! Values that a column may hold, to be shown to its member.

use crate::codec::layout::{DIMENSIONS_MAX, TypeKind};
use postgres_types::{Kind, Type};

/// Some values of a type.
pub(super) struct Samples {
    /// As JSON texts; none where members may take what they like.
    pub(super) texts: Vec<String>,
    /// A member that takes none of these values takes no other one either, whatever its reason.
    pub(super) are_typical: bool,
}

impl Samples {
    /// Values of this type.
    pub(super) fn of(ty: &Type) -> Samples {
        match base(ty).kind() {
            Kind::Enum(labels) => {
                Samples { texts: labels.iter().map(|label| quoted(label)).collect(), are_typical: true }
            }
            Kind::Array(element) => Samples { texts: lists(element), are_typical: false },
            _ => Samples::of_kind(ty),
        }
    }

    fn of_kind(ty: &Type) -> Samples {
        let typical =
            |texts: &[&str]| Samples { texts: texts.iter().map(|text| quoted(text)).collect(), are_typical: true };
        let some = |text: &str| Samples { texts: vec![text.to_owned()], are_typical: false };
        match TypeKind::of(ty) {
            TypeKind::Bool => some("false"),
            kind if kind.is_number() => {
                Samples { texts: ["0", "1", "100"].map(str::to_owned).to_vec(), are_typical: true }
            }
            TypeKind::Json | TypeKind::Jsonb | TypeKind::Composite(_) | TypeKind::Array(_) => {
                Samples { texts: Vec::new(), are_typical: false }
            }
            TypeKind::Bytes => typical(&["\\x", "\\x00", "\\x67e5504410b1426f9247bb680e5fe0c8"]),
            TypeKind::Uuid => {
                typical(&["00000000-0000-0000-0000-000000000000", "67e55044-10b1-426f-9247-bb680e5fe0c8"])
            }
            // Whole seconds, which every column of times may hold; on both sides of now, for members that want one.
            TypeKind::Date => typical(&["2000-01-01", "1969-07-20", "2024-02-29", "2999-12-31"]),
            TypeKind::Timestamp => typical(&["2000-01-01T00:00:00", "1969-07-20T20:17:40", "2999-12-31T23:59:59"]),
            TypeKind::Timestamptz => {
                typical(&["2000-01-01T00:00:00+00:00", "1969-07-20T20:17:40+00:00", "2999-12-31T23:59:59+00:00"])
            }
            TypeKind::Time => typical(&["00:00:00", "12:34:56", "23:59:59"]),
            TypeKind::Timetz => typical(&["00:00:00+00:00", "12:34:56+02:00"]),
            TypeKind::Interval => typical(&["PT0S", "PT1H30M", "P1D", "P1Y2M3DT4H5M6S"]),
            _ if *base(ty) == Type::INET => typical(&["10.0.0.1", "::1", "10.0.0.0/8"]),
            _ if *base(ty) == Type::CIDR => typical(&["10.0.0.0/8", "fd00::/8"]),
            _ => some("\"\""),
        }
    }
}

/// What is below all domains.
pub(super) fn base(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(of) => base(of),
        _ => ty,
    }
}

/// Lists of one element, in lists as deep as an array may be: its type does not tell how many dimensions it has.
fn lists(element: &Type) -> Vec<String> {
    let mut texts = Samples::of(element).texts;
    let mut lists = Vec::new();
    for _ in 0..DIMENSIONS_MAX {
        texts.iter_mut().for_each(|text| *text = format!("[{text}]"));
        lists.extend_from_slice(&texts);
    }
    lists
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
