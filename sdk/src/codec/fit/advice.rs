//! What would hold a column's values, for people whose member does not.

use super::sample::base;
use crate::codec::layout::TypeKind;
use postgres_types::{Kind, Type};

/// What to do about a member of this type, given by its short name, and this column.
pub(super) fn advice(member: &str, ty: &Type) -> String {
    let bare = bare(member);
    let with = |path: &str| {
        let path = if member.starts_with("Option<") && path.starts_with("time::") {
            format!("{path}::option")
        } else {
            path.to_owned()
        };
        format!("give it `#[serde(with = \"{path}\")]`")
    };
    let described = |ty: &str, parts: &str| {
        format!(
            "name its form with `time::serde::format_description!(form, {ty}, \"{parts}\")` and give it `#[serde(with = \"form\")]`"
        )
    };
    const CLOCK: &str = "[hour]:[minute]:[second][optional [.[subsecond]]]";
    match (bare, TypeKind::of(ty)) {
        ("OffsetDateTime", TypeKind::Timestamptz) => with("time::serde::rfc3339"),
        // Two names of one type.
        ("PrimitiveDateTime" | "PlainDateTime", TypeKind::Timestamp) => {
            described("PrimitiveDateTime", &format!("[year]-[month]-[day]T{CLOCK}"))
        }
        ("Time", TypeKind::Time) => described("Time", CLOCK),
        ("Date", TypeKind::Date) => described("Date", "[year]-[month]-[day]"),
        ("Duration" | "TimeDelta" | "SignedDuration", TypeKind::Interval) => with("cache_sync::interval"),
        ("SystemTime", TypeKind::Timestamptz) => format!("make it {}", holders(ty)),
        _ if member.contains("__DeserializeWith") => {
            format!("its `#[serde(with)]` does not read the column's form; {} does", holders(ty))
        }
        _ => match base(ty).kind() {
            Kind::Enum(labels) => format!(
                "its variants must bear the labels {}, by `#[serde(rename_all = \"...\")]` or `#[serde(rename = \"...\")]`",
                labels.join(", ")
            ),
            _ => format!("make it {}, or give it a `#[serde(with = \"...\")]` that reads and writes that", holders(ty)),
        },
    }
}

/// Types of which it is known that they read all values of a column, or none.
pub(super) fn is_known(member: &str) -> bool {
    const KNOWN: [&str; 18] = [
        "OffsetDateTime",
        "PrimitiveDateTime",
        "PlainDateTime",
        "UtcDateTime",
        "Date",
        "Time",
        "NaiveDate",
        "NaiveDateTime",
        "NaiveTime",
        "Timestamp",
        "Zoned",
        "Span",
        "Duration",
        "TimeDelta",
        "SignedDuration",
        "SystemTime",
        "Uuid",
        "IpAddr",
    ];
    let bare = bare(member);
    KNOWN.contains(&bare) || bare.starts_with("DateTime<") || member.contains("__DeserializeWith")
}

/// Whether a member holds whatever text.
pub(super) fn is_text(member: &str) -> bool {
    matches!(bare(member), "String" | "str" | "Cow<str>")
}

/// The types that usually hold a column's values.
fn holders(ty: &Type) -> String {
    let holders = match TypeKind::of(ty) {
        TypeKind::Array(element) => return format!("a `Vec` of what holds {element}: {}", holders(element)),
        TypeKind::Bool => "`bool`",
        TypeKind::Int2 => "`i16`",
        TypeKind::Int4 => "`i32`",
        TypeKind::Int8 => "`i64`",
        TypeKind::Oid => "`u32`",
        TypeKind::Float4 => "`f32`",
        TypeKind::Float8 => "`f64`",
        TypeKind::Numeric => "`String` or a decimal type",
        TypeKind::Bytes => "`Vec<u8>`",
        TypeKind::Uuid => "`uuid::Uuid`",
        TypeKind::Date => "`chrono::NaiveDate`, `time::Date`, `jiff::civil::Date` or `String`",
        TypeKind::Timestamp => "`chrono::NaiveDateTime`, `jiff::civil::DateTime` or `String`",
        TypeKind::Timestamptz => {
            "`chrono::DateTime<Utc>`, `jiff::Timestamp`, `String`, or `time::OffsetDateTime` with `#[serde(with = \"time::serde::rfc3339\")]`"
        }
        TypeKind::Time => "`chrono::NaiveTime`, `jiff::civil::Time` or `String`",
        TypeKind::Interval => {
            "`jiff::Span`, `String`, or a `Duration` with `#[serde(with = \"cache_sync::interval\")]`"
        }
        _ if *base(ty) == Type::INET => "`std::net::IpAddr` or `String`",
        _ => "`String`",
    };
    holders.to_owned()
}

/// A name without what wraps the type.
fn bare(name: &str) -> &str {
    let wrapped = ["Option<", "Box<", "Arc<"].iter().find_map(|wrapper| name.strip_prefix(wrapper)?.strip_suffix('>'));
    wrapped.map_or(name, bare)
}
