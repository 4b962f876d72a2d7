//! Whose fault an error is, as far as its SQLSTATE says: the one table that SDK and extension go by.
//!
//! A code says nothing certain where types, triggers and languages choose it; then what else succeeds has to show it.

/// The server has no feed in shared memory: older than PostgreSQL 17, and it has not preloaded the extension's library.
pub const NOT_PRELOADED: &str = "CS006";

/// Whose fault an error is, as far as its SQLSTATE says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The server that was asked is not the one to ask: it takes no writes, or has no feed.
    WrongServer,
    /// The server is away, or lacks for a while what it needs.
    Away,
    /// It does not let in who asks: role, password or database are not what it knows.
    Login,
    /// The line of batches is not where it was thought to be.
    Session,
    /// What is installed on the server does not fit.
    Setup,
    /// The transaction was undone in favour of others, or took too long: the same may succeed later.
    Batch,
    /// The table may not be used so, whatever is in it.
    Table,
    /// A row's values, or a key's.
    Row,
    /// A code of the user's own making: what his code says about a row.
    UsersCode,
    /// The server calls it an error of its own. It may pass; but types say so of malformed values, too.
    Internal,
    /// Anybody's: a row's, a trigger's that met it, or the table's.
    Unclear,
}

/// Classes that Postgres, the SQL standard or we define and that say no more; all that are not named here are users' own.
const UNCLEAR: [&str; 26] = [
    "00", "01", "02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "24", "25", "26", "2B", "2D", "2F", "34", "38",
    "39", "3B", "3F", "42", "55", "F0", "HV",
];

impl Fault {
    /// What the code says.
    pub fn of(sqlstate: &str) -> Fault {
        match sqlstate {
            // A transaction that may not write; a standby that is asked for its feed.
            "25006" | "CS008" => return Fault::WrongServer,
            // Sessions that the server ended because of their time-outs.
            "25P03" | "25P04" => return Fault::Away,
            // A lock that did not come in time; a statement that took too long.
            "55P03" | "57014" => return Fault::Batch,
            "42501" | "CS005" => return Fault::Table,
            "CS006" | "CS007" => return Fault::Setup,
            _ => {}
        }
        match sqlstate.get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" | "72" => Fault::Away,
            "28" | "3D" => Fault::Login,
            "40" => Fault::Batch,
            "CS" => Fault::Session,
            // Data exceptions, violated constraints and views' checks, limits of what a row may be, what users' functions raise; and
            // what statements in users' triggers run into because of the row.
            "20" | "21" | "22" | "23" | "27" | "44" | "54" | "P0" => Fault::Row,
            "XX" => Fault::Internal,
            class if UNCLEAR.contains(&class) => Fault::Unclear,
            _ => Fault::UsersCode,
        }
    }

    /// Whether the same statement may succeed later though nobody does anything about it.
    pub fn passes(self) -> bool {
        matches!(self, Fault::Away | Fault::Batch | Fault::Internal)
    }

    /// Whether a row's values, or its key, are to blame wherever it was raised.
    pub fn is_of_a_row(self) -> bool {
        matches!(self, Fault::Row | Fault::UsersCode)
    }

    /// Whether a row may be to blame: what else succeeds shows it.
    pub fn may_be_of_a_row(self) -> bool {
        self.is_of_a_row() || matches!(self, Fault::Internal | Fault::Unclear)
    }
}

/// Whether a statement, or a wait for a lock, took too long, so that the server rolled it back.
pub fn took_too_long(sqlstate: &str) -> bool {
    matches!(sqlstate, "55P03" | "57014")
}

/// Whether nothing has the name that was asked for.
pub fn is_no_such_table(sqlstate: &str) -> bool {
    matches!(sqlstate, "42P01" | "3F000")
}

/// Whether a statement that fitted its table once no longer does: other columns, other types, no such table.
pub fn is_misfit(sqlstate: &str) -> bool {
    is_no_such_table(sqlstate) || (sqlstate.starts_with("42") && Fault::of(sqlstate) != Fault::Table)
}

/// Whether it is of what a table or its triggers are made of, which no value can bring about.
pub fn is_of_definitions(sqlstate: &str) -> bool {
    ["42", "0A", "55", "3F"].iter().any(|class| sqlstate.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line for each kind of code that is told from others: what it is, whether it passes, is a row's, may be a row's.
    const TABLE: &[(&str, Fault, [bool; 3])] = &[
        ("25006", Fault::WrongServer, [false, false, false]),
        ("CS008", Fault::WrongServer, [false, false, false]),
        ("08006", Fault::Away, [true, false, false]),
        ("53100", Fault::Away, [true, false, false]),
        ("53300", Fault::Away, [true, false, false]),
        ("57P01", Fault::Away, [true, false, false]),
        ("57P03", Fault::Away, [true, false, false]),
        ("57P05", Fault::Away, [true, false, false]),
        ("58030", Fault::Away, [true, false, false]),
        ("72000", Fault::Away, [true, false, false]),
        ("25P03", Fault::Away, [true, false, false]),
        ("25P04", Fault::Away, [true, false, false]),
        ("28P01", Fault::Login, [false, false, false]),
        ("28000", Fault::Login, [false, false, false]),
        ("3D000", Fault::Login, [false, false, false]),
        ("CS001", Fault::Session, [false, false, false]),
        ("CS002", Fault::Session, [false, false, false]),
        ("CS003", Fault::Session, [false, false, false]),
        ("CS004", Fault::Session, [false, false, false]),
        ("CS006", Fault::Setup, [false, false, false]),
        ("CS007", Fault::Setup, [false, false, false]),
        ("40001", Fault::Batch, [true, false, false]),
        ("40P01", Fault::Batch, [true, false, false]),
        ("55P03", Fault::Batch, [true, false, false]),
        ("57014", Fault::Batch, [true, false, false]),
        ("42501", Fault::Table, [false, false, false]),
        ("CS005", Fault::Table, [false, false, false]),
        ("20000", Fault::Row, [false, true, true]),
        ("21000", Fault::Row, [false, true, true]),
        ("22003", Fault::Row, [false, true, true]),
        ("22P02", Fault::Row, [false, true, true]),
        ("23514", Fault::Row, [false, true, true]),
        ("27000", Fault::Row, [false, true, true]),
        ("44000", Fault::Row, [false, true, true]),
        ("54000", Fault::Row, [false, true, true]),
        ("P0001", Fault::Row, [false, true, true]),
        ("MYERR", Fault::UsersCode, [false, true, true]),
        ("45000", Fault::UsersCode, [false, true, true]),
        ("XX000", Fault::Internal, [true, false, true]),
        ("XX001", Fault::Internal, [true, false, true]),
        ("0A000", Fault::Unclear, [false, false, true]),
        ("25001", Fault::Unclear, [false, false, true]),
        ("26000", Fault::Unclear, [false, false, true]),
        ("38000", Fault::Unclear, [false, false, true]),
        ("3F000", Fault::Unclear, [false, false, true]),
        ("42703", Fault::Unclear, [false, false, true]),
        ("42P01", Fault::Unclear, [false, false, true]),
        ("55000", Fault::Unclear, [false, false, true]),
        ("HV000", Fault::Unclear, [false, false, true]),
        ("F0000", Fault::Unclear, [false, false, true]),
    ];

    #[test]
    fn each_line_of_the_table_says_what_it_says() {
        for (sqlstate, fault, [passes, is_of_a_row, may_be_of_a_row]) in TABLE {
            let of = Fault::of(sqlstate);
            assert_eq!(of, *fault, "{sqlstate}");
            assert_eq!(of.passes(), *passes, "{sqlstate} passes");
            assert_eq!(of.is_of_a_row(), *is_of_a_row, "{sqlstate} is a row's");
            assert_eq!(of.may_be_of_a_row(), *may_be_of_a_row, "{sqlstate} may be a row's");
        }
    }

    #[test]
    fn what_is_asked_of_single_codes_agrees_with_the_table() {
        for (sqlstate, fault, _) in TABLE {
            assert!(!took_too_long(sqlstate) || *fault == Fault::Batch, "{sqlstate}");
            assert!(!is_of_definitions(sqlstate) || !fault.is_of_a_row(), "{sqlstate}");
            assert!(!is_misfit(sqlstate) || *fault == Fault::Unclear, "{sqlstate}");
        }
        assert!(is_misfit("42703") && is_misfit("3F000") && !is_misfit("42501"));
        assert_eq!(Fault::of(NOT_PRELOADED), Fault::Setup);
    }
}
