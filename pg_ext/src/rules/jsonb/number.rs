//! Numbers as `numeric` keeps them: digits to the base 10,000, and a word that says where the point is.

/// Digits to the base 10,000 have so many decimal ones.
const GROUP: usize = 4;
/// Longer ones are left to the caller; all of these have the short form.
const LENGTH_MAX: usize = 40;
const IS_SHORT: u16 = 0x8000;
const IS_NEGATIVE: u16 = 0x2000;
const SCALE_SHIFT: u32 = 7;
const WEIGHT: u16 = 0x007f;

/// Writes a JSON number; `None` for one that is long or has an exponent.
pub(super) fn push_number(bytes: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let mut groups = [0u16; LENGTH_MAX / GROUP + 2];
    let whole_groups = whole.len().div_ceil(GROUP);
    let pad = whole_groups * GROUP - whole.len();
    for (place, digit) in (pad..).zip(whole.iter().chain(fraction)) {
        const POWERS: [u16; GROUP] = [1000, 100, 10, 1];
        groups[place / GROUP] += u16::from(digit - b'0') * POWERS[place % GROUP];
    }
    let first = groups.iter().position(|group| *group != 0);
    let (first, last) = (first.unwrap_or(0), groups.iter().rposition(|group| *group != 0));
    let groups = last.map_or(&groups[..0], |last| &groups[first..=last]);
    let weight = if groups.is_empty() { 0 } else { whole_groups as i16 - 1 - first as i16 };
    let sign = if is_negative && !groups.is_empty() { IS_NEGATIVE } else { 0 };
    let header = IS_SHORT | sign | ((fraction.len() as u16) << SCALE_SHIFT) | (weight as u16 & WEIGHT);
    let length = (size_of::<u32>() + size_of::<u16>() * (1 + groups.len())) as u32;
    let varlena = if cfg!(target_endian = "little") { length << 2 } else { length };
    bytes.extend_from_slice(&varlena.to_ne_bytes());
    for word in std::iter::once(&header).chain(groups) {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    Some(())
}
