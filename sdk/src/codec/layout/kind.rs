//! How a value of a Postgres type is read.

use postgres_types::{Field, Type};

/// How many dimensions an array can have: Postgres' MAXDIM.
pub(crate) const DIMENSIONS_MAX: u8 = 6;

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TypeKind<'t> {
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

impl<'t> TypeKind<'t> {
    pub(crate) fn of(ty: &'t Type) -> TypeKind<'t> {
        match ty.oid() {
            16 => TypeKind::Bool,
            17 => TypeKind::Bytes,
            20 => TypeKind::Int8,
            21 => TypeKind::Int2,
            23 => TypeKind::Int4,
            // name, text, bpchar, varchar
            19 | 25 | 1042 | 1043 => TypeKind::Text,
            26 => TypeKind::Oid,
            114 => TypeKind::Json,
            700 => TypeKind::Float4,
            701 => TypeKind::Float8,
            1082 => TypeKind::Date,
            1083 => TypeKind::Time,
            1114 => TypeKind::Timestamp,
            1184 => TypeKind::Timestamptz,
            1186 => TypeKind::Interval,
            1266 => TypeKind::Timetz,
            1700 => TypeKind::Numeric,
            2950 => TypeKind::Uuid,
            3802 => TypeKind::Jsonb,
            _ => TypeKind::of_rarer(ty),
        }
    }

    fn of_rarer(ty: &'t Type) -> TypeKind<'t> {
        match ty.kind() {
            postgres_types::Kind::Enum(_) => TypeKind::Text,
            postgres_types::Kind::Domain(base) => TypeKind::of(base),
            postgres_types::Kind::Array(element) => TypeKind::Array(element),
            postgres_types::Kind::Composite(fields) => TypeKind::Composite(fields),
            postgres_types::Kind::Simple if ty.name() == "citext" => TypeKind::Text,
            _ => TypeKind::Other,
        }
    }

    /// Whether everything in the value is read in binary.
    pub(crate) fn is_binary(self) -> bool {
        match self {
            TypeKind::Other => false,
            TypeKind::Array(element) => TypeKind::of(element).is_binary(),
            TypeKind::Composite(fields) => fields.iter().all(|field| TypeKind::of(field.type_()).is_binary()),
            _ => true,
        }
    }

    /// Whether Postgres computes with it as a number.
    pub(crate) fn is_number(self) -> bool {
        self.is_integer() || matches!(self, TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric)
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 | TypeKind::Oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_types() {
        type Is = fn(&TypeKind<'_>) -> bool;
        let pairs: [(Type, Is); 19] = [
            (Type::BOOL, |kind| matches!(kind, TypeKind::Bool)),
            (Type::BYTEA, |kind| matches!(kind, TypeKind::Bytes)),
            (Type::INT8, |kind| matches!(kind, TypeKind::Int8)),
            (Type::INT2, |kind| matches!(kind, TypeKind::Int2)),
            (Type::INT4, |kind| matches!(kind, TypeKind::Int4)),
            (Type::NAME, |kind| matches!(kind, TypeKind::Text)),
            (Type::BPCHAR, |kind| matches!(kind, TypeKind::Text)),
            (Type::VARCHAR, |kind| matches!(kind, TypeKind::Text)),
            (Type::JSON, |kind| matches!(kind, TypeKind::Json)),
            (Type::JSONB, |kind| matches!(kind, TypeKind::Jsonb)),
            (Type::FLOAT4, |kind| matches!(kind, TypeKind::Float4)),
            (Type::FLOAT8, |kind| matches!(kind, TypeKind::Float8)),
            (Type::DATE, |kind| matches!(kind, TypeKind::Date)),
            (Type::TIMESTAMP, |kind| matches!(kind, TypeKind::Timestamp)),
            (Type::TIMESTAMPTZ, |kind| matches!(kind, TypeKind::Timestamptz)),
            (Type::TIMETZ, |kind| matches!(kind, TypeKind::Timetz)),
            (Type::INTERVAL, |kind| matches!(kind, TypeKind::Interval)),
            (Type::NUMERIC, |kind| matches!(kind, TypeKind::Numeric)),
            (Type::UUID, |kind| matches!(kind, TypeKind::Uuid)),
        ];
        for (ty, is) in pairs {
            assert!(is(&TypeKind::of(&ty)), "{ty}");
        }
        assert!(matches!(TypeKind::of(&Type::INT4_ARRAY), TypeKind::Array(element) if *element == Type::INT4));
        assert!(!TypeKind::of(&Type::INET_ARRAY).is_binary());
        assert!(!TypeKind::of(&Type::MONEY).is_binary());
    }
}
