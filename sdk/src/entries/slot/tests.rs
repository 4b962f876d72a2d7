//! The races of one key, each a story told step by step.

use super::*;
use crate::codec::value::Row;
use crate::entries::ages::Lifetimes;
use crate::error::Error;
use crate::receipt::Settler;
use cache_sync_core::fields::Fields;
use cache_sync_core::number::{KeyHash, Sequence, Stamp, TableId};
use cache_sync_core::outcome::{Record, Verdict};
use cache_sync_core::patch::RowPatch;
use cache_sync_core::rule::Rule;
use cache_sync_core::wire::{Change, ChangeKind};
use tokio::sync::oneshot;

mod given_up;
mod goes_back;
mod replaced;
mod times;

/// A row of one number; field 0 sets it, field 1 adds to it.
struct Numbers;

fn rule(field: u16) -> &'static Rule {
    static RULES: [Rule; 2] = [Rule::Lww, Rule::Add];
    &RULES[usize::from(field)]
}

impl Preview<i64> for Numbers {
    fn is_told(&self, _: &RowPatch) -> bool {
        true
    }

    fn leaves_expiry(&self, _: &RowPatch) -> bool {
        true
    }

    fn preview(&self, patch: &RowPatch, value: &Value<i64>) -> Option<Value<i64>> {
        if patch.kind == PatchKind::Delete {
            return Some(None);
        }
        let Some(mut number) = value.as_deref().copied() else { return Some(None) };
        for (field, incoming) in patch.fields().iter() {
            let incoming: i64 = incoming.parse().unwrap();
            number = if field == 0 { incoming } else { number + incoming };
        }
        Some(row(number))
    }

    fn coalesce(&self, earlier: RowPatch, later: RowPatch) -> Result<RowPatch, Box<(RowPatch, RowPatch)>> {
        earlier.coalesce(later, rule)
    }
}

const GENERATION: u64 = 7;
const NOW: Moment = Moment::from_micros(1_000_000);
const LATER: Moment = Moment::from_micros(2_000_000);
const HELD_UNTIL: Moment = Moment::from_micros(1_250_000);
const HOLD: Hold = Hold { until: HELD_UNTIL, as_of: Moment::NEVER, kept_until: None };

fn row(number: i64) -> Value<i64> {
    Some(Row::new(number, size_of::<i64>()))
}

fn known(number: i64, version: i64) -> Slot<i32, i64> {
    let base = Base::Known {
        value: row(number),
        version: Version(version),
        generation: GENERATION,
        lifetime: Lifetime::ENDLESS,
    };
    Slot::new(1, base, GENERATION)
}

fn unknown() -> Slot<i32, i64> {
    Slot::new(1, Base::Unknown, GENERATION)
}

fn edit(field: u16, number: i64) -> Pending<i64> {
    let fields = Fields::from_iter([(field, number.to_string())]);
    let patch = RowPatch::new(PatchKind::Edit, Stamp(1), fields);
    Pending { size: patch.size(), patch, value: None, determined: false, fate: Settler::default() }
}

fn put(number: i64) -> Pending<i64> {
    let mut put = edit(0, number);
    put.patch.kind = PatchKind::Put { seen: false };
    Pending { value: Some(row(number)), determined: true, ..put }
}

impl Slot<i32, i64> {
    fn write(&mut self, pending: Pending<i64>) {
        let shown = match (&pending.value, self.number()) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(number)) => Numbers.preview(&pending.patch, &row(number)),
            (None, None) => None,
        };
        self.accept(pending, shown, &Numbers);
    }

    fn number(&self) -> Option<i64> {
        self.shown(GENERATION, NOW).flatten().map(|number| *number)
    }

    fn begin_load(&mut self, number: u64) -> oneshot::Receiver<Result<Answer<i64>, Error>> {
        let (sender, receiver) = oneshot::channel();
        assert_eq!(self.join(number, GENERATION, Some(NOW), sender), number, "a load of its own is asked for");
        assert_eq!(self.start(GENERATION, NOW), Some(number));
        receiver
    }

    fn brings(&mut self, flight: u64, number: i64, version: i64, last_seq: i64) -> bool {
        let loaded = Loaded {
            value: row(number),
            version: Version(version),
            lifetime: Lifetime::ENDLESS,
            last_seq: Sequence(last_seq),
            trusted: true,
            as_of: Moment::NEVER,
        };
        self.loaded(flight, &loaded, GENERATION, &Numbers).tell() == Next::Again
    }

    fn hears(&mut self, kind: ChangeKind, version: i64) {
        let change = Change { table: TableId(1), key: KeyHash(1), version: Version(version), kind };
        self.change(&change, GENERATION, HOLD, &Numbers);
    }

    fn learns(&mut self, sequence: i64, verdict: Verdict, replaced: i64, version: i64) {
        let record =
            Record { exact: true, replaced: Version(replaced), version: Version(version), ..Record::of(verdict) };
        self.settle(Sequence(sequence), Some(&record), GENERATION, Lifetimes::ENDLESS, &Numbers);
    }
}

fn answer(mut receiver: oneshot::Receiver<Result<Answer<i64>, Error>>) -> Option<i64> {
    receiver.try_recv().ok()?.unwrap().value.map(|number| *number)
}

#[test]
fn a_load_that_a_change_overtook_answers_who_waited_but_is_not_kept() {
    let mut slot = unknown();
    let before = slot.begin_load(1);
    slot.hears(ChangeKind::Versioned, 6);
    let after = slot.begin_load(2);
    slot.brings(1, 10, 5, 0);
    assert_eq!(answer(before), Some(10));
    assert_eq!(slot.number(), None, "the older state is not kept");
    slot.brings(2, 20, 6, 0);
    assert_eq!(answer(after), Some(20));
    assert_eq!(slot.number(), Some(20));
}

#[test]
fn a_load_that_is_not_older_than_the_change_is_kept() {
    let mut slot = unknown();
    let _waiting = slot.begin_load(1);
    slot.hears(ChangeKind::Versioned, 6);
    slot.brings(1, 20, 6, 0);
    assert_eq!(slot.number(), Some(20));
}

#[test]
fn a_waiting_insert_may_carry_a_lower_version_than_the_row_it_follows() {
    let mut slot = known(10, 104);
    slot.hears(ChangeKind::Unversioned, 0);
    let _waiting = slot.begin_load(1);
    slot.hears(ChangeKind::Unversioned, 102);
    slot.brings(1, 10, 104, 0);
    assert_eq!(slot.number(), None, "the load saw the row that is deleted by now");
}

#[test]
fn an_unversioned_change_always_forbids_keeping_a_load() {
    let mut slot = unknown();
    let _waiting = slot.begin_load(1);
    slot.hears(ChangeKind::Unversioned, 3);
    slot.brings(1, 10, 5, 0);
    assert_eq!(slot.number(), None);
}

#[test]
fn a_later_load_that_answers_first_answers_the_earlier_waiters_too() {
    let mut slot = unknown();
    let first = slot.begin_load(1);
    slot.hears(ChangeKind::Versioned, 6);
    let second = slot.begin_load(2);
    slot.brings(2, 20, 6, 0);
    slot.brings(1, 10, 5, 0);
    assert_eq!((answer(first), answer(second)), (Some(20), Some(20)));
    assert_eq!(slot.number(), Some(20), "the older load is no longer wanted");
}

#[test]
fn a_load_with_the_batch_in_its_snapshot_does_not_get_the_patch_again() {
    for (last_seq, expected) in [(3, 11), (4, 10)] {
        let mut slot = known(10, 5);
        slot.write(edit(1, 1));
        slot.freeze(Sequence(4), GENERATION);
        slot.hears(ChangeKind::Unversioned, 0);
        let waiting = slot.begin_load(1);
        slot.brings(1, 10, 6, last_seq);
        assert_eq!(answer(waiting), Some(expected), "with the session at {last_seq}");
        assert_eq!(slot.number(), Some(expected));
    }
}

#[test]
fn a_load_without_a_batch_that_was_settled_meanwhile_is_asked_again() {
    let mut slot = unknown();
    slot.write(edit(1, 1));
    let waiting = slot.begin_load(1);
    slot.freeze(Sequence(4), GENERATION);
    slot.learns(4, Verdict::Applied, 5, 6);
    assert!(slot.brings(1, 10, 5, 3), "it would take our own write back");
    assert_eq!(slot.start(GENERATION, NOW), Some(1));
    assert!(!slot.brings(1, 11, 6, 4));
    assert_eq!(answer(waiting), Some(11));
}

#[test]
fn pending_patches_are_applied_over_whatever_base_arrives() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.hears(ChangeKind::Versioned, 6);
    assert_eq!(slot.number(), None, "over an unknown base nothing is shown");
    let _waiting = slot.begin_load(1);
    slot.brings(1, 100, 6, 0);
    assert_eq!(slot.number(), Some(101));
}

#[test]
fn a_value_that_does_not_depend_on_the_row_is_shown_at_once() {
    let mut slot = unknown();
    slot.write(put(42));
    assert_eq!(slot.number(), Some(42));
    slot.freeze(Sequence(1), GENERATION);
    slot.hears(ChangeKind::Unversioned, 6);
    assert_eq!(slot.number(), Some(42));
    slot.learns(1, Verdict::Applied, 0, 6);
    assert_eq!(slot.number(), Some(42));
    assert!(slot.is_idle());
}

#[test]
fn an_outcome_clears_only_what_its_batch_carried() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.write(edit(1, 5));
    assert_eq!(slot.number(), Some(16));
    slot.learns(1, Verdict::Applied, 5, 6);
    assert_eq!(slot.number(), Some(16), "the later write is still there");
    let patch = slot.freeze(Sequence(2), GENERATION).unwrap();
    assert_eq!(patch.fields().get(1), Some("5"));
    slot.learns(1, Verdict::Applied, 6, 7);
    assert!(!slot.is_idle(), "an outcome of another number settles nothing");
}

#[test]
fn what_was_undone_waits_again_ahead_of_what_came_later() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.write(edit(1, 5));
    slot.hears(ChangeKind::Versioned, 6);
    slot.thaw(Sequence(2), GENERATION, &Numbers);
    assert!(slot.is_under_way(), "another batch was undone");
    slot.thaw(Sequence(1), GENERATION, &Numbers);
    assert_eq!(slot.number(), None, "the change that was held back was no echo");
    let patch = slot.freeze(Sequence(2), GENERATION).unwrap();
    assert_eq!(patch.fields().get(1), Some("1"));
    slot.learns(2, Verdict::Applied, 6, 7);
    assert_eq!(slot.freeze(Sequence(3), GENERATION).unwrap().fields().get(1), Some("5"));
}

#[test]
fn an_echo_before_its_outcome_is_recognised() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.hears(ChangeKind::Versioned, 6);
    assert_eq!(slot.number(), Some(11), "held until the outcome tells");
    assert!(slot.entry(GENERATION, NOW).is_none(), "but memory may not serve it unasked");
    slot.learns(1, Verdict::Applied, 5, 6);
    assert_eq!(slot.number(), Some(11));
}

#[test]
fn a_foreign_change_between_our_load_and_our_outcome_is_not_skipped() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.learns(1, Verdict::Applied, 6, 7);
    assert_eq!(slot.number(), None, "our patch replaced a version that we never saw");
}

#[test]
fn a_change_after_ours_that_came_before_our_outcome_is_not_forgotten() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.hears(ChangeKind::Versioned, 6);
    slot.hears(ChangeKind::Versioned, 7);
    slot.learns(1, Verdict::Applied, 5, 6);
    assert_eq!(slot.number(), None);
}

#[test]
fn a_held_change_is_not_held_for_ever() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.hears(ChangeKind::Versioned, 6);
    assert!(slot.shown(GENERATION, HELD_UNTIL).is_none());
}

#[test]
fn what_a_trigger_made_of_the_row_has_to_be_loaded() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    let record = Record { replaced: Version(5), version: Version(6), ..Record::of(Verdict::Applied) };
    slot.settle(Sequence(1), Some(&record), GENERATION, Lifetimes::ENDLESS, &Numbers);
    assert_eq!(slot.number(), None);
}

#[test]
fn after_a_generation_nothing_older_is_shown_or_kept() {
    let mut slot = known(10, 5);
    assert!(slot.shown(GENERATION + 1, NOW).is_none());
    let waiting = slot.begin_load(1);
    let loaded = Loaded {
        value: row(10),
        version: Version(5),
        lifetime: Lifetime::ENDLESS,
        last_seq: Sequence(0),
        trusted: true,
        as_of: Moment::NEVER,
    };
    slot.loaded(1, &loaded, GENERATION + 1, &Numbers).tell();
    assert_eq!(answer(waiting), Some(10));
    assert!(slot.shown(GENERATION + 1, NOW).is_none(), "the load began before the generation");
}

#[test]
fn a_load_from_another_server_is_not_kept() {
    let mut slot = unknown();
    let waiting = slot.begin_load(1);
    let loaded = Loaded {
        value: row(10),
        version: Version(5),
        lifetime: Lifetime::ENDLESS,
        last_seq: Sequence(0),
        trusted: false,
        as_of: Moment::NEVER,
    };
    slot.loaded(1, &loaded, GENERATION, &Numbers).tell();
    assert_eq!((answer(waiting), slot.number()), (Some(10), None));
}

#[test]
fn a_rejected_patch_is_taken_back() {
    let mut slot = known(10, 5);
    slot.write(edit(1, 1));
    slot.freeze(Sequence(1), GENERATION);
    slot.learns(1, Verdict::Rejected, 0, 0);
    assert_eq!(slot.number(), None);
    assert!(slot.is_idle());
}

#[test]
fn a_put_after_ones_own_delete_has_not_seen_the_row() {
    let mut slot = known(10, 5);
    assert!(slot.has_seen_row(&Numbers));
    let delete = Pending { value: Some(None), determined: true, ..edit(0, 0) };
    let mut patch = delete.patch.clone();
    patch.kind = PatchKind::Delete;
    slot.write(Pending { patch, ..delete });
    assert!(!slot.has_seen_row(&Numbers));
    assert_eq!(slot.number(), None);
}
