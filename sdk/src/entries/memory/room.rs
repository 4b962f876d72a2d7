//! Room in the map, made before it is needed.
//!
//! The map grows by itself, but late: once a new entry finds no place near its own, which is when seven of eight are taken. By then
//! reads look at place after place. And it grows by and by, as long as entries come that find none; if no more come, reads look
//! in the table that was and in the one that is to be, from then on. Asked for room it makes a table that is three quarters full at most,
//! which is more than is needed: up to thirteen of sixteen, reads hardly look further.
//!
//! Of entries that come and go the map keeps marks until it copies itself, which it does by and by as said, whatever room it has.

use std::sync::atomic::{AtomicUsize, Ordering};

/// More new entries than come between two looks.
const LOOK_EVERY: usize = 64;
/// By this part of what it holds the map is ahead.
const AHEAD_SHARE: usize = 16;
/// With more entries than that, growing takes longer than a read should have to wait.
const AT_ONCE_MAX: usize = 10_000;

/// What the map is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    /// For so many more it has to have room.
    pub(super) more: usize,
    /// Whoever notices may do it.
    pub(super) at_once: bool,
}

/// How much room was made.
#[derive(Debug, Default)]
pub(super) struct Room {
    places: AtomicUsize,
}

impl Room {
    /// What a map with so many entries is to do, if anything.
    pub(super) fn growth(&self, len: usize) -> Option<Growth> {
        let (wanted, made) = (places(len + LOOK_EVERY + len / AHEAD_SHARE), self.places.load(Ordering::Relaxed));
        // With few entries left it may have become smaller.
        if wanted <= made && wanted >= made / 2 {
            return None;
        }
        self.places.store(wanted, Ordering::Relaxed);
        // Not up to three quarters: of what comes before it is asked it would make twice as many.
        let more = (wanted * 5 / 8).checked_sub(len)?;
        Some(Growth { more, at_once: len <= AT_ONCE_MAX })
    }
}

/// As many as so many entries need.
fn places(entries: usize) -> usize {
    (entries * 16 / 13).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_ahead_of_each_entry_and_not_much_more() {
        let (room, mut made) = (Room::default(), 0);
        let mut growths = 0;
        for len in (0..2_000_000).step_by(LOOK_EVERY) {
            if let Some(growth) = room.growth(len) {
                assert_eq!(growth.at_once, len <= AT_ONCE_MAX);
                // As the map reckons, also of some that have come meanwhile.
                made = ((len + growth.more) * 8 / 6).next_power_of_two();
                assert_eq!(((len + len / 10 + growth.more) * 8 / 6).next_power_of_two(), made);
                growths += 1;
            }
            assert!(len + LOOK_EVERY <= made * 13 / 16, "{len} entries, {made} places");
            assert!(made <= 4096.max(3 * len), "{len} entries, {made} places");
        }
        assert_eq!(growths, 16, "each one doubles it, from 128 places to four million");
    }

    #[test]
    fn a_map_that_has_lost_most_of_its_entries_is_made_room_in_anew() {
        let room = Room::default();
        assert!(room.growth(60_000).is_some());
        assert_eq!(room.growth(55_000), None);
        // With an eighth left the map may have half as many places.
        assert!(room.growth(16_384).is_some());
        assert!(room.growth(60_000).is_some());
        assert!(room.growth(1_000).is_some());
        assert!(room.growth(2_000).is_some());
        assert_eq!(room.growth(2_000), None);
    }
}
