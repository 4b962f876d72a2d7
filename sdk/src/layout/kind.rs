//! How a value of a Postgres type is read.

use postgres_types::{Field, Type};

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'t> {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytes,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Timetz,
    Interval,
    Json,
    Jsonb,
    Array(&'t Type),
    Composite(&'t [Field]),
    /// Not read in binary: the server is asked for the text.
    Other,
}

impl<'t> Kind<'t> {
    pub(crate) fn of(ty: &'t Type) -> Kind<'t> {
        match ty.oid() {
            16 => Kind::Bool,
            17 => Kind::Bytes,
            20 => Kind::Int8,
            21 => Kind::Int2,
            23 => Kind::Int4,
            // name, text, bpchar, varchar
            19 | 25 | 1042 | 1043 => Kind::Text,
            26 => Kind::Oid,
            114 => Kind::Json,
            700 => Kind::Float4,
            701 => Kind::Float8,
            1082 => Kind::Date,
            1083 => Kind::Time,
            1114 => Kind::Timestamp,
            1184 => Kind::Timestamptz,
            1186 => Kind::Interval,
            1266 => Kind::Timetz,
            1700 => Kind::Numeric,
            2950 => Kind::Uuid,
            3802 => Kind::Jsonb,
            _ => Kind::of_rarer(ty),
        }
    }

    fn of_rarer(ty: &'t Type) -> Kind<'t> {
        match ty.kind() {
            postgres_types::Kind::Enum(_) => Kind::Text,
            postgres_types::Kind::Domain(base) => Kind::of(base),
            postgres_types::Kind::Array(element) => Kind::Array(element),
            postgres_types::Kind::Composite(fields) => Kind::Composite(fields),
            postgres_types::Kind::Simple if ty.name() == "citext" => Kind::Text,
            _ => Kind::Other,
        }
    }

    /// Whether everything in the value is read in binary.
    pub(crate) fn is_binary(self) -> bool {
        match self {
            Kind::Other => false,
            Kind::Array(element) => Kind::of(element).is_binary(),
            Kind::Composite(fields) => fields.iter().all(|field| Kind::of(field.type_()).is_binary()),
            _ => true,
        }
    }

    /// Whether Postgres computes with it as a number.
    pub(crate) fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Kind::Float4 | Kind::Float8 | Kind::Numeric)
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_types() {
        type Is = fn(&Kind<'_>) -> bool;
        let pairs: [(Type, Is); 19] = [
            (Type::BOOL, |kind| matches!(kind, Kind::Bool)),
            (Type::BYTEA, |kind| matches!(kind, Kind::Bytes)),
            (Type::INT8, |kind| matches!(kind, Kind::Int8)),
            (Type::INT2, |kind| matches!(kind, Kind::Int2)),
            (Type::INT4, |kind| matches!(kind, Kind::Int4)),
            (Type::NAME, |kind| matches!(kind, Kind::Text)),
            (Type::BPCHAR, |kind| matches!(kind, Kind::Text)),
            (Type::VARCHAR, |kind| matches!(kind, Kind::Text)),
            (Type::JSON, |kind| matches!(kind, Kind::Json)),
            (Type::JSONB, |kind| matches!(kind, Kind::Jsonb)),
            (Type::FLOAT4, |kind| matches!(kind, Kind::Float4)),
            (Type::FLOAT8, |kind| matches!(kind, Kind::Float8)),
            (Type::DATE, |kind| matches!(kind, Kind::Date)),
            (Type::TIMESTAMP, |kind| matches!(kind, Kind::Timestamp)),
            (Type::TIMESTAMPTZ, |kind| matches!(kind, Kind::Timestamptz)),
            (Type::TIMETZ, |kind| matches!(kind, Kind::Timetz)),
            (Type::INTERVAL, |kind| matches!(kind, Kind::Interval)),
            (Type::NUMERIC, |kind| matches!(kind, Kind::Numeric)),
            (Type::UUID, |kind| matches!(kind, Kind::Uuid)),
        ];
        for (ty, is) in pairs {
            assert!(is(&Kind::of(&ty)), "{ty}");
        }
        assert!(matches!(Kind::of(&Type::INT4_ARRAY), Kind::Array(element) if *element == Type::INT4));
        assert!(!Kind::of(&Type::INET_ARRAY).is_binary());
        assert!(!Kind::of(&Type::MONEY).is_binary());
    }
}
