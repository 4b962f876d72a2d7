//! Who may ask: pages of other origins, and names that somebody else's server points here, may not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method};

/// Only this program's own files run and are shown; nothing is asked of any other host.
pub(crate) const HEADERS: [(HeaderName, &str); 5] = [
    (
        axum::http::header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (axum::http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (axum::http::header::REFERRER_POLICY, "no-referrer"),
    (axum::http::header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const HTTP_PORT: u16 = 80;

/// Where a browser on this machine finds it.
pub(crate) fn address(listen: SocketAddr) -> String {
    let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// Why a request is refused, if it is.
pub(crate) fn refusal(listen: SocketAddr, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(HOST) else { return Some("the request names no host") };
    if !is_own(listen, host) {
        return Some("that is not a name of this server");
    }
    // Browsers say with each POST which page it comes from.
    let is_from_own_page = || text(ORIGIN).and_then(|origin| origin.strip_prefix("http://")) == Some(host);
    if *method != Method::GET && !is_from_own_page() {
        return Some("that may only be asked for by this server's own page");
    }
    None
}

/// Whether this server is called so. One that listens to other machines, too, cannot know by which address and port they reach it; but no
/// name but `localhost` is its own, since whoever owns a name may let it point here.
fn is_own(listen: SocketAddr, host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let ip: Option<IpAddr> =
        name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse().ok();
    if host.contains('@') || (ip.is_none() && name != "localhost") {
        return false;
    }
    // Browsers leave out the port that all know.
    let is_own_port = authority.port_u16().unwrap_or(HTTP_PORT) == listen.port();
    !listen.ip().is_loopback() || (is_own_port && ip.is_none_or(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(listen: &str, method: Method, host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            headers.extend(value.map(|value| (name, value.parse().unwrap())));
        }
        refusal(listen.parse().unwrap(), &method, &headers).is_some()
    }

    #[test]
    fn only_its_own_page_may_change_anything() {
        let post = |host, origin| is_refused("127.0.0.1:80", Method::POST, Some(host), origin);
        assert!(!post("127.0.0.1:80", Some("http://127.0.0.1:80")));
        assert!(!post("localhost:80", Some("http://localhost:80")));
        assert!(post("127.0.0.1:80", Some("http://evil.example")), "another page");
        assert!(post("127.0.0.1:80", Some("null")) && post("127.0.0.1:80", None), "nobody knows which page");
        assert!(post("127.0.0.1:80", Some("http://127.0.0.1:81")), "another port");
        assert!(post("evil.example", Some("http://evil.example")), "a name that points here");
    }

    #[test]
    fn looking_needs_a_name_of_the_server() {
        let get = |listen, host| is_refused(listen, Method::GET, host, None);
        assert!(!get("127.0.0.1:80", Some("localhost:80")));
        assert!(get("127.0.0.1:80", Some("evil.example:80")) && get("127.0.0.1:80", None));
        assert!(get("127.0.0.1:80", Some("x@127.0.0.1:80")) && get("127.0.0.1:80", Some("192.168.1.2:80")));
        assert!(
            !get("0.0.0.0:8080", Some("192.168.1.2:8081")),
            "it was told to listen to others, who may go through a gate"
        );
        assert!(!get("0.0.0.0:80", Some("[fd00::2]")) && !get("0.0.0.0:80", Some("localhost")));
        assert!(get("0.0.0.0:80", Some("evil.example")), "whoever owns the name may let it point here");
        assert!(is_refused("0.0.0.0:80", Method::POST, Some("192.168.1.2"), Some("http://evil.example")));
    }

    #[test]
    fn the_port_that_all_know_is_not_said() {
        for host in ["localhost", "127.0.0.1", "127.0.0.1:80"] {
            assert!(!is_refused("127.0.0.1:80", Method::GET, Some(host), None), "{host}");
            assert!(is_refused("127.0.0.1:8080", Method::GET, Some(host), None), "{host}");
        }
        let origin = Some("http://localhost");
        assert!(!is_refused("127.0.0.1:80", Method::POST, Some("localhost"), origin));
        assert!(!is_refused("[::1]:80", Method::GET, Some("[::1]"), None));
    }

    #[test]
    fn the_address_is_one_that_a_browser_can_open() {
        assert_eq!(address("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(address("[::1]:80".parse().unwrap()), "http://[::1]:80");
    }
}
