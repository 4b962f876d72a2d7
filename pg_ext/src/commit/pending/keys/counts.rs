//! How many keys of each table there are, in memory of fixed size.

use cache_sync_core::number::TableId;

/// Most tables; those that come later are not counted, and have as many keys as they like until all places are taken.
const TABLES_MAX: usize = 1_024;
/// At most half of the slots are taken, so that few steps find a table.
const SLOTS: usize = 2 * TABLES_MAX;

#[derive(Clone, Copy)]
struct Slot {
    table: Option<TableId>,
    keys: u16,
}

/// The counts.
pub(super) struct Counts {
    tables: u16,
    slots: [Slot; SLOTS],
}

impl Counts {
    /// No tables.
    pub(super) const NONE: Counts = Counts { tables: 0, slots: [Slot { table: None, keys: 0 }; SLOTS] };

    /// How many keys the table has.
    pub(super) fn of(&self, table: TableId) -> u32 {
        let slot = &self.slots[self.place(table)];
        if slot.table.is_some() { u32::from(slot.keys) } else { 0 }
    }

    /// Counts one more key.
    pub(super) fn add(&mut self, table: TableId) {
        let place = self.place(table);
        if self.slots[place].table.is_none() {
            if usize::from(self.tables) == TABLES_MAX {
                return;
            }
            self.tables += 1;
            self.slots[place].table = Some(table);
        }
        self.slots[place].keys += 1;
    }

    /// The table has no keys any more.
    pub(super) fn forget(&mut self, table: TableId) {
        let place = self.place(table);
        self.slots[place].keys = 0;
    }

    /// The table with the most keys, if any has some.
    pub(super) fn largest(&self) -> Option<TableId> {
        self.slots.iter().filter(|slot| slot.keys > 0).max_by_key(|slot| slot.keys).and_then(|slot| slot.table)
    }

    /// Where the table is, or would be.
    fn place(&self, table: TableId) -> usize {
        let first =
            u64::from(table.0.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.ilog2());
        let mut place = first as usize;
        while self.slots[place].table.is_some_and(|taken| taken != table) {
            place = (place + 1) % SLOTS;
        }
        place
    }
}
