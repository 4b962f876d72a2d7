//! The client's numbered line of batches to one table: writes go on with it, and loads tell by it which of them they have seen.

use crate::common::lock::lock;
use cache_sync_core::number::Sequence;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use uuid::Uuid;

/// The client's line of batches to one table. The client's own numbers never start anew, so that what a load saw of an
/// earlier session cannot be taken for a batch of this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    /// The client's number of a batch less the server's.
    offset: i64,
}

impl Session {
    pub(crate) fn to_server(self, number: Sequence) -> Sequence {
        Sequence(number.0 - self.offset)
    }
}

/// The session under which batches are sent now, and how far it has come.
#[derive(Debug)]
pub(crate) struct Numbering {
    line: Mutex<Line>,
    /// The last batch whose outcome is known.
    settled: AtomicI64,
}

#[derive(Debug)]
struct Line {
    id: Uuid,
    /// From which number of the server's on, which offset: a load may show what was so before it changed. Never empty.
    offsets: VecDeque<(i64, i64)>,
}

impl Line {
    /// How many changes of the offset are remembered.
    const OFFSETS_MAX: usize = 64;

    fn new(offset: i64) -> Line {
        Line { id: Uuid::new_v4(), offsets: VecDeque::from([(0, offset)]) }
    }

    fn session(&self) -> Session {
        Session { id: self.id, offset: self.offsets.back().map_or(0, |(_, offset)| *offset) }
    }

    fn change(&mut self, on_server: Sequence, offset: i64) {
        self.offsets.retain(|(from, _)| *from < on_server.0);
        self.offsets.push_back((on_server.0, offset));
        if self.offsets.len() > Line::OFFSETS_MAX {
            self.offsets.pop_front();
        }
    }
}

impl Numbering {
    pub(super) fn new() -> Numbering {
        Numbering { line: Mutex::new(Line::new(0)), settled: AtomicI64::new(0) }
    }

    /// The session under which batches are sent now.
    pub(crate) fn session(&self) -> Session {
        lock(&self.line).session()
    }

    /// The client's number of the batch that is the server's last one of this session; `None` where that is not known any more.
    pub(crate) fn to_client(&self, session: Uuid, on_server: Sequence) -> Option<Sequence> {
        let (line, on_server) = (lock(&self.line), on_server.0.max(0));
        let (_, offset) = line.offsets.iter().rev().find(|(from, _)| *from <= on_server)?;
        (line.id == session).then_some(Sequence(on_server + offset))
    }

    /// The last batch whose outcome is known.
    pub(crate) fn settled(&self) -> Sequence {
        Sequence(self.settled.load(Ordering::Acquire))
    }

    /// The outcome of the batch of this number is known.
    pub(super) fn note_settled(&self, number: Sequence) {
        self.settled.fetch_max(number.0, Ordering::AcqRel);
    }

    /// The batch of this number was not sent after all, or refused without moving the session.
    pub(crate) fn leave_out(&self, number: Sequence) {
        let mut line = lock(&self.line);
        let next = line.session().to_server(number);
        line.change(next, number.0 + 1 - next.0);
    }

    /// The batch of this number, and those after it, continue the session from the server's number.
    pub(crate) fn renumber(&self, number: Sequence, on_server: Sequence) {
        lock(&self.line).change(on_server, number.0 - on_server.0);
    }

    /// The batch of this number will be the first of a new session.
    pub(crate) fn begin_anew(&self, first: Sequence) {
        *lock(&self.line) = Line::new(first.0 - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_load_saw_is_told_by_the_numbers_of_its_time() {
        let numbering = Numbering::new();
        let session = numbering.session().id;
        let seen = |on_server| numbering.to_client(session, Sequence(on_server)).map(|number| number.0);
        assert_eq!((seen(-1), seen(0), seen(3)), (Some(0), Some(0), Some(3)));
        numbering.leave_out(Sequence(4));
        numbering.leave_out(Sequence(5));
        assert_eq!(numbering.session().to_server(Sequence(6)), Sequence(4));
        assert_eq!((seen(3), seen(4), seen(5)), (Some(3), Some(6), Some(7)));
        numbering.renumber(Sequence(8), Sequence(3));
        assert_eq!((seen(2), seen(3)), (Some(2), Some(8)));
        for number in 10..100 {
            numbering.leave_out(Sequence(2 * number));
        }
        assert_eq!(seen(2), None, "too long ago");
        numbering.begin_anew(Sequence(500));
        assert_eq!(seen(1), None, "of another session");
        assert_eq!(numbering.to_client(numbering.session().id, Sequence(1)), Some(Sequence(500)));
    }
}
