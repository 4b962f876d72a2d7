//! What became of a patch, as `cache_sync.apply` packs it.
//!
//! One record of 23 bytes a patch, in the order of the batch: verdict (1), flags (1), SQLSTATE (5 bytes, zeros without
//! one), the version that was replaced (8, big-endian), the version after it (8).

use crate::number::Version;

/// What Postgres decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The patch stands in the row.
    Applied = 0,
    /// Some of its fields stand in the row, others were beaten by later writes.
    Merged = 1,
    /// All of its fields were beaten by later writes.
    Superseded = 2,
    /// The row already says what the patch says.
    Unchanged = 3,
    /// There is no such row, and the patch does not create one.
    Missing = 4,
    /// The row has another version than the compare-and-set expected.
    Conflict = 5,
    /// Postgres refused the patch, with an SQLSTATE; it is kept among the dead letters.
    Rejected = 6,
    /// A trigger of the user cancelled the write, or gave the row another key: it may be there, but not under the patch's.
    Swallowed = 7,
}

impl Verdict {
    const ALL: [Verdict; 8] = [
        Verdict::Applied,
        Verdict::Merged,
        Verdict::Superseded,
        Verdict::Unchanged,
        Verdict::Missing,
        Verdict::Conflict,
        Verdict::Rejected,
        Verdict::Swallowed,
    ];

    /// The word that SQL shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Applied => "applied",
            Verdict::Merged => "merged",
            Verdict::Superseded => "superseded",
            Verdict::Unchanged => "unchanged",
            Verdict::Missing => "missing",
            Verdict::Conflict => "conflict",
            Verdict::Rejected => "rejected",
            Verdict::Swallowed => "swallowed",
        }
    }
}

/// The outcome of one patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was decided.
    pub verdict: Verdict,
    /// The row is exactly what the rules make of the replaced version and the patch: no trigger, generated column or
    /// type coerced anything. Only then may a client go on from its own prediction.
    pub exact: bool,
    /// A stamp was ahead of the server's clock and was lowered to it.
    pub lowered: bool,
    /// Why it was rejected.
    pub sqlstate: Option<[u8; 5]>,
    /// The version that the patch replaced; 0 when it created the row, or changed nothing.
    pub replaced: Version,
    /// The row's version after it; 0 on plain tables and where there is no row.
    pub version: Version,
}

/// Length of one packed record.
pub const RECORD_LEN: usize = 23;

const EXACT: u8 = 1;
const LOWERED: u8 = 2;

/// Bytes that are no packed outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no packed outcomes")]
pub struct NotOutcomes;

impl Record {
    /// An outcome without versions.
    pub fn of(verdict: Verdict) -> Record {
        Record {
            verdict,
            exact: false,
            lowered: false,
            sqlstate: None,
            replaced: Version::NONE,
            version: Version::NONE,
        }
    }
}

/// Packs the outcomes of a batch.
pub fn pack(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * RECORD_LEN);
    for record in records {
        bytes.push(record.verdict as u8);
        bytes.push(if record.exact { EXACT } else { 0 } | if record.lowered { LOWERED } else { 0 });
        bytes.extend_from_slice(&record.sqlstate.unwrap_or_default());
        bytes.extend_from_slice(&record.replaced.0.to_be_bytes());
        bytes.extend_from_slice(&record.version.0.to_be_bytes());
    }
    bytes
}

/// Reads the outcomes of a batch.
///
/// # Errors
/// [`NotOutcomes`] for bytes that [`pack`] did not make.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Record>, NotOutcomes> {
    if !bytes.len().is_multiple_of(RECORD_LEN) {
        return Err(NotOutcomes);
    }
    bytes.chunks_exact(RECORD_LEN).map(unpack_one).collect()
}

fn unpack_one(bytes: &[u8]) -> Result<Record, NotOutcomes> {
    let verdict = *Verdict::ALL.get(usize::from(bytes[0])).ok_or(NotOutcomes)?;
    let sqlstate: [u8; 5] = bytes[2..7].try_into().map_err(|_| NotOutcomes)?;
    let number = |at: usize| bytes[at..at + 8].try_into().map(i64::from_be_bytes).map_err(|_| NotOutcomes);
    Ok(Record {
        verdict,
        exact: bytes[1] & EXACT != 0,
        lowered: bytes[1] & LOWERED != 0,
        sqlstate: (sqlstate != [0; 5]).then_some(sqlstate),
        replaced: Version(number(7)?),
        version: Version(number(15)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_survives_the_way() {
        let records: Vec<_> = Verdict::ALL
            .into_iter()
            .map(|verdict| Record {
                exact: true,
                sqlstate: (verdict == Verdict::Rejected).then_some(*b"23514"),
                replaced: Version(5),
                version: Version(i64::MAX),
                ..Record::of(verdict)
            })
            .collect();
        assert_eq!(unpack(&pack(&records)), Ok(records));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(unpack(&[0; 22]), Err(NotOutcomes));
        assert_eq!(unpack(&[99; 23]), Err(NotOutcomes));
    }
}
