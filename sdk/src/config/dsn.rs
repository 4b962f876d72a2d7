//! Connection strings: what they say of TLS is read here, in libpq's terms, and the rest by the driver, which does not know all of these.
//!
//! An error names the option, and never a value: where a password was written without the escapes that it needs, any value may be a part of it.

use super::tls::{OPTIONS, TlsTerms, invalid, wrong};
use crate::error::{Error, root_cause};
use percent_encoding::percent_decode_str;

/// What is said of TLS: names of [`OPTIONS`], each with its value.
type Said = Vec<(&'static str, String)>;

/// What a connection string of either form says.
pub(super) fn read(dsn: &str) -> Result<(tokio_postgres::Config, TlsTerms), Error> {
    let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| dsn.starts_with(scheme));
    let (rest, said, is_whole) = match scheme {
        Some(scheme) => split_url(dsn, scheme.len()).map(|(rest, said)| (rest, said, true))?,
        None => split_pairs(dsn),
    };
    let postgres = rest.parse().map_err(|error| {
        // The cause itself is left out on purpose: it may quote the DSN, and with it a password.
        wrong(may_be_said(&rest, scheme.is_some(), &root_cause(&error)).as_deref())
    })?;
    if !is_whole {
        // The driver would take that for the end, and whatever is behind it for nothing.
        return Err(wrong(Some("there is an `=` without a name ahead of it; values with blanks need quotes")));
    }
    Ok((postgres, TlsTerms::new(said)?))
}

fn option_named(name: &str) -> Option<&'static str> {
    OPTIONS.into_iter().find(|option| *option == name)
}

/// A URL without what it says of TLS, and that. Its parts are found as the driver finds them.
fn split_url(dsn: &str, scheme: usize) -> Result<(String, Said), Error> {
    let (login, place) = match dsn[scheme..].split_once('@') {
        Some((login, place)) => (login, place),
        None => ("", &dsn[scheme..]),
    };
    let unescaped = login.split(['?', '&']).skip(1).find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        option_in_url(name, value).or_else(|| of_the_driver(name))
    });
    if let Some(option) = unescaped {
        // The driver would take it for a part of the user's name, and connect without it.
        return Err(wrong(Some(&at_sign(option))));
    }
    let Some((_, query)) = place.split_once('?') else { return Ok((dsn.to_owned(), Said::new())) };
    let (mut kept, mut said) = (Vec::new(), Said::new());
    for pair in query.split('&') {
        match pair.split_once('=').and_then(|(name, value)| Some((option_in_url(name, value)?, value))) {
            Some((option, value)) if value.contains('@') => return Err(wrong(Some(&at_sign(option)))),
            // As the drivers of other languages have it.
            Some(("ssl", _)) => said.push(("sslmode", "require".to_owned())),
            Some((option, value)) => {
                let value = percent_decode_str(value).decode_utf8().map_err(|_| invalid(option, "not UTF-8"))?;
                said.push((option, value.into_owned()));
            }
            None => kept.push(pair),
        }
    }
    let before = &dsn[..dsn.len() - query.len()];
    match kept.is_empty() {
        true => Ok((before[..before.len() - 1].to_owned(), said)),
        false => Ok((format!("{before}{}", kept.join("&")), said)),
    }
}

fn option_in_url(name: &str, value: &str) -> Option<&'static str> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    if name == "ssl" && value == "true" { Some("ssl") } else { option_named(&name) }
}

/// What the driver itself reads of TLS.
fn of_the_driver(name: &str) -> Option<&'static str> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    ["channel_binding", "sslnegotiation"].into_iter().find(|option| *option == name)
}

fn at_sign(option: &str) -> String {
    format!("there is an `@` behind option `{option}`; wherever it parts nothing it must be written as %40")
}

/// A string of pairs without what it says of TLS, and that; and whether it was all read. From where it is not understood it is left as it is:
/// mostly the driver says what is wrong.
fn split_pairs(dsn: &str) -> (String, Said, bool) {
    let (mut rest, mut said) = (String::new(), Said::new());
    let mut pairs = Pairs { dsn, at: 0 };
    loop {
        let begun = pairs.at;
        let Some((name, value)) = pairs.next() else {
            rest.push_str(&dsn[begun..]);
            return (rest, said, dsn[begun..].trim().is_empty());
        };
        match option_named(name) {
            Some(option) => {
                said.push((option, value));
                // Behind a quote there need not be a blank: its neighbours must not become one.
                rest.push(' ');
            }
            None => rest.push_str(&dsn[begun..pairs.at]),
        }
    }
}

/// Reads `name = value` pairs, of which values may be quoted and have escapes, as the driver does.
struct Pairs<'a> {
    dsn: &'a str,
    at: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<(&'a str, String)> {
        self.skip_blanks();
        let rest = &self.dsn[self.at..];
        let name = &rest[..rest.find(|c: char| c == '=' || c.is_whitespace())?];
        self.at += name.len();
        self.skip_blanks();
        self.dsn[self.at..].strip_prefix('=')?;
        self.at += 1;
        self.skip_blanks();
        let value = self.value()?;
        (!name.is_empty()).then_some((name, value))
    }
}

impl Pairs<'_> {
    fn skip_blanks(&mut self) {
        self.at = self.dsn.len() - self.dsn[self.at..].trim_start().len();
    }

    fn value(&mut self) -> Option<String> {
        let rest = &self.dsn[self.at..];
        let mut chars = rest.char_indices().peekable();
        let is_quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
        let mut value = String::new();
        let length = loop {
            match chars.next() {
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                Some((place, '\'')) if is_quoted => break place + 1,
                Some((place, c)) if !is_quoted && c.is_whitespace() => break place,
                Some((_, c)) => value.push(c),
                None if is_quoted => return None,
                None => break rest.len(),
            }
        };
        self.at += length;
        (is_quoted || !value.is_empty()).then_some(value)
    }
}

/// Options that libpq knows and nobody here does.
const OF_LIBPQ: &str = "client_encoding fallback_application_name gssdelegation gssencmode gsslib krbsrvname passfile replication \
                        require_auth requirepeer requiressl service servicefile sslcertmode sslcompression sslcrldir \
                        sslpassword";

/// What the driver says of a DSN, unless that may be a part of a password that was written without the escapes that it needs.
fn may_be_said(dsn: &str, is_url: bool, why: &str) -> Option<String> {
    let name = why.split('`').nth(1)?;
    let is_safe = match is_url {
        _ if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => false,
        // The driver's own name for it.
        _ if why.starts_with("invalid value for option") => true,
        _ if OF_LIBPQ.split(' ').any(|known| known == name) => true,
        // Behind the password, if there is one.
        true => dsn.rsplit('@').next().is_some_and(|rest| rest.contains(&format!("{name}="))),
        // Ahead of it: behind, whatever has the form of a pair may be the password's.
        false => {
            let names = Pairs { dsn, at: 0 }.map(|(name, _)| name);
            names.take_while(|other| *other != "password").any(|other| other == name)
        }
    };
    is_safe.then(|| why.to_owned())
}

#[cfg(test)]
mod tests;
