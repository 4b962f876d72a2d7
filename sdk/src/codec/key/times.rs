//! Dates and times as keys.

use super::{Key, KeyColumnType, KeyPart, KeyVisitor, one_column};

const DATE: KeyPart<'static> = KeyPart::Date(0);
const TIMESTAMP: KeyPart<'static> = KeyPart::Timestamp(0);

/// A time that is so many nanoseconds after 1970.
fn timestamp(nanos: i128) -> KeyPart<'static> {
    const NANOS_TO_EPOCH: i128 = 946_684_800_000_000_000;
    let nanos = nanos - NANOS_TO_EPOCH;
    match i64::try_from(nanos.div_euclid(1000)) {
        Ok(micros) if nanos.rem_euclid(1000) == 0 => KeyPart::Timestamp(micros),
        _ => KeyPart::Outside(nanos),
    }
}

one_column! {
    #[cfg(feature = "chrono")]
    chrono::NaiveDate: |date| KeyPart::Date(chrono::Datelike::num_days_from_ce(date) - 730_120), as DATE;
    #[cfg(feature = "chrono")]
    chrono::DateTime<chrono::Utc>: |time| chrono_time(time), as TIMESTAMP;
    #[cfg(feature = "time")]
    time::Date: |date| KeyPart::Date(date.to_julian_day() - 2_451_545), as DATE;
    #[cfg(feature = "time")]
    time::OffsetDateTime: |time| timestamp(time.unix_timestamp_nanos()), as TIMESTAMP;
    #[cfg(feature = "jiff")]
    jiff::civil::Date: |date| jiff_date(*date), as DATE;
    #[cfg(feature = "jiff")]
    jiff::Timestamp: |time| timestamp(time.as_nanosecond()), as TIMESTAMP;
}

#[cfg(feature = "chrono")]
fn chrono_time(time: &chrono::DateTime<chrono::Utc>) -> KeyPart<'static> {
    let nanos = i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
    // Within a leap second, which is the next one to Postgres.
    if time.timestamp_subsec_nanos() >= 1_000_000_000 { KeyPart::Outside(nanos) } else { timestamp(nanos) }
}

#[cfg(feature = "jiff")]
fn jiff_date(date: jiff::civil::Date) -> KeyPart<'static> {
    let since = date.duration_since(jiff::civil::date(2000, 1, 1));
    KeyPart::Date((since.as_secs() / 86_400) as i32)
}

#[cfg(all(test, feature = "chrono", feature = "jiff", feature = "time"))]
mod tests {
    use super::*;

    fn part<K: Key>(key: &K) -> KeyPart<'static> {
        struct Last(Option<KeyPart<'static>>);

        impl KeyVisitor for Last {
            fn part(&mut self, part: KeyPart<'_>) {
                self.0 = match part {
                    KeyPart::Date(days) => Some(KeyPart::Date(days)),
                    KeyPart::Timestamp(micros) => Some(KeyPart::Timestamp(micros)),
                    KeyPart::Outside(number) => Some(KeyPart::Outside(number)),
                    _ => None,
                };
            }
        }

        let mut last = Last(None);
        key.parts(&mut last);
        last.0.expect("a date or a time")
    }

    #[test]
    fn dates_count_from_2000() {
        for (date, days) in [("2000-01-01", 0), ("1999-12-31", -1), ("2024-02-29", 8825), ("0001-01-01", -730_119)] {
            assert_eq!(part(&date.parse::<chrono::NaiveDate>().unwrap()), KeyPart::Date(days), "{date}");
            assert_eq!(part(&date.parse::<jiff::civil::Date>().unwrap()), KeyPart::Date(days), "{date}");
            let iso = time::macros::format_description!("[year]-[month]-[day]");
            assert_eq!(part(&time::Date::parse(date, iso).unwrap()), KeyPart::Date(days), "{date}");
        }
        assert_eq!(part(&jiff::civil::Date::MIN), part(&chrono::NaiveDate::from_ymd_opt(-9999, 1, 1).unwrap()));
    }

    #[test]
    fn times_count_microseconds_or_are_of_no_row() {
        for (time, expected) in [
            ("2000-01-01T00:00:00Z", KeyPart::Timestamp(0)),
            ("2000-01-01T01:00:00.000001+01:00", KeyPart::Timestamp(1)),
            ("1999-12-31T23:59:59.999999Z", KeyPart::Timestamp(-1)),
            ("2000-01-01T00:00:00.000000001Z", KeyPart::Outside(1)),
            ("1999-12-31T23:59:59.999999999Z", KeyPart::Outside(-1)),
        ] {
            assert_eq!(part(&time.parse::<chrono::DateTime<chrono::Utc>>().unwrap()), expected, "{time}");
            assert_eq!(part(&time.parse::<jiff::Timestamp>().unwrap()), expected, "{time}");
            let rfc3339 = &time::format_description::well_known::Rfc3339;
            assert_eq!(part(&time::OffsetDateTime::parse(time, rfc3339).unwrap()), expected, "{time}");
        }
    }
}
