//! Dates and times as texts.

/// Microseconds since 1970 of a date, or a date and time as ISO 8601 writes it, with or without an offset; the two infinities are the ends
/// of the range. `None`: it is none.
pub(super) fn micros(text: &str) -> Option<i64> {
    match text.trim() {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (date, rest) = text.trim().split_at_checked(10)?;
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let days = days(year, month, day)?;
    if rest.is_empty() {
        return Some(days * DAY);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let offset_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at(offset_at);
    Some(days * DAY + time_of_day(time)? - offset_of(offset)?)
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Days since 1970 in the proleptic Gregorian calendar, counted in years that begin with March: so a leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let in_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    // 1970-01-01 is so many days after the first of March of the year 0.
    Some(era * 146_097 + in_era - 719_468)
}

/// Microseconds of a time of day; `None`: it is none.
pub(super) fn time_of_day(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let is_time = (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0..=60).contains(&seconds);
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros: i64 = digits.parse().ok()?;
    let time = ((hours * 60 + minutes) * 60 + seconds) * SECOND + micros;
    (is_time && parts.next().is_none() && time <= DAY).then_some(time)
}

fn offset_of(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first() {
        None | Some(b'Z' | b'z') => return (text.len() <= 1).then_some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let digits: String = text[1..].chars().filter(|one| *one != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes: i64 = if minutes.is_empty() { 0 } else { minutes.get(..2)?.parse().ok()? };
    Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes) * 60 * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("1970-01-02"), Some(DAY));
        assert_eq!(micros("2024-02-29 12:34:56.5+02:00"), Some(1_709_202_896_500_000));
        assert_eq!(micros("2024-02-29 12:34:56.5+02"), micros("2024-02-29T10:34:56.500Z"));
        assert_eq!(micros("1969-12-31T23:59:59.999999-00:30"), Some(-1 + 1800 * SECOND));
        assert_eq!(micros("2000-03-01"), Some(951_868_800 * SECOND));
        assert_eq!(micros("infinity"), Some(i64::MAX));
        for bad in [
            "",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "yesterday",
            "2024-01-01T25:00",
            "2024-01-01X00:00:00",
            "2024-01-01T00:00:00+x",
        ] {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }
}
