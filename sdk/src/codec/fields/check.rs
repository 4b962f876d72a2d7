//! JSON texts that Postgres would refuse: their writer hears so at once, not when the patch is sent.

use super::EncodeError;
use crate::codec::row::is_json_number;

/// Nesting of arrays and objects; what is written must be read again, and serde_json reads no deeper.
const DEPTH_MAX: usize = 127;
/// Numbers up to this length are within what `numeric` can hold if they have no exponent.
const SURE_DIGITS: usize = 300;

/// Whether Postgres can read this valid JSON text as `jsonb`: not nested too deeply, without U+0000 and halves of
/// surrogate pairs, with numbers that `numeric` can hold.
pub(super) fn check(text: &str) -> Result<(), EncodeError> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at + 1)?,
            b'[' | b'{' => {
                depth += 1;
                at += 1;
                if depth > DEPTH_MAX {
                    return Err(EncodeError::new(format_args!("the value is nested more than {DEPTH_MAX} deep")));
                }
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let of_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = bytes[at..].iter().take_while(|byte| of_number(byte)).count();
                let number = &text[at..at + length];
                if (length > SURE_DIGITS || number.contains(['e', 'E'])) && !is_json_number(number) {
                    return Err(EncodeError::new("a number is beyond what Postgres can hold"));
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// Whether a text for a `bytea` is what will be read of it again: of any other, Postgres takes the characters for bytes.
pub(super) fn check_bytes(text: &str) -> Result<(), EncodeError> {
    let Some(text) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return Ok(()) };
    let digits = text.strip_prefix(r"\\x").map(str::as_bytes);
    if digits.is_some_and(|digits| digits.len() % 2 == 0 && digits.iter().all(u8::is_ascii_hexdigit)) {
        return Ok(());
    }
    Err(EncodeError::new(r"bytes are written as bytes, or as `\x` and two hexadecimal digits for each"))
}

/// Where the string that begins at `at` has ended.
fn skip_string(bytes: &[u8], mut at: usize) -> Result<usize, EncodeError> {
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return Ok(at + 1),
            b'\\' => match unicode_escape(bytes, at) {
                None => 2,
                Some(0) => return Err(EncodeError::new("Postgres cannot hold the character U+0000")),
                Some(0xd800..=0xdbff) if matches!(unicode_escape(bytes, at + 6), Some(0xdc00..=0xdfff)) => 12,
                Some(0xd800..=0xdfff) => return Err(EncodeError::new("half of a surrogate pair is no character")),
                Some(_) => 6,
            },
            _ => 1,
        };
    }
    Ok(at)
}

/// The code of an escape like `\u00e9`, if there is one.
fn unicode_escape(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hexadecimal() {
        for (text, is_read) in [
            ("null", true),
            (r#""\\x""#, true),
            (r#""\\x00fF""#, true),
            (r#""\\x0""#, false),
            (r#""\\x0g""#, false),
            (r#""hello""#, false),
            (r#""""#, false),
        ] {
            assert_eq!(check_bytes(text).is_ok(), is_read, "{text}");
        }
    }

    #[test]
    fn what_postgres_reads_passes() {
        for text in [
            "null",
            "-1.5e300",
            "5e-324",
            r#""a\\u0000""#,
            r#"{"a\"":[1,2,{"b":"\ud83d\ude00\u00e9"}]}"#,
            r#""\"""#,
            &"9".repeat(100_000),
        ] {
            assert_eq!(check(text), Ok(()), "{text:.40}");
        }
        let deep = "[".repeat(127) + &"]".repeat(127);
        assert_eq!(check(&deep), Ok(()));
        assert!(serde_json::from_str::<serde_json::Value>(&deep).is_ok());
    }

    #[test]
    fn what_it_does_not_read_is_refused() {
        for text in [
            r#""\u0000""#,
            r#"{"a":["\\\u0000"]}"#,
            r#"{"\u0000":1}"#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            "[1e200000]",
            "1e-20000",
            &"9".repeat(200_000),
            &("[".repeat(128) + &"]".repeat(128)),
        ] {
            assert!(check(text).is_err(), "{text:.40}");
        }
    }
}
