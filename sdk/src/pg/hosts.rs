//! Each of several hosts by itself: where the first has to be asked twice, the second is not to be asked otherwise than it would be alone.

use std::net::IpAddr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use uuid::Uuid;

/// A host as the driver takes it: its name or its path, its address, and its port.
type Place<'a> = (Option<&'a Host>, Option<IpAddr>, Option<u16>);

/// The hosts in the order in which they are to be tried. What does not fit together stays together: the driver says what is wrong.
pub(super) fn each(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |given: usize| given == 0 || given == count;
    if count < 2 || !fits(hosts.len()) || !fits(addresses.len()) || !(ports.len() == 1 || fits(ports.len())) {
        return vec![config.clone()];
    }
    let port = |place: usize| ports.get(place).or(ports.first()).copied();
    let place = |place: usize| (hosts.get(place), addresses.get(place).copied(), port(place));
    let mut each: Vec<_> = (0..count).map(|number| with(config, [place(number)])).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        each.sort_by_cached_key(|_| Uuid::new_v4());
    }
    each
}

/// The same, each host that is a path called by its address.
pub(super) fn called_by_address(config: &Config) -> Config {
    let names: Vec<_> = config.get_hostaddrs().iter().map(|address| Host::Tcp(address.to_string())).collect();
    let places = config.get_hosts().iter().enumerate().map(|(place, host)| {
        let name = if matches!(host, Host::Tcp(_)) { Some(host) } else { names.get(place) };
        (name, config.get_hostaddrs().get(place).copied(), config.get_ports().get(place).copied())
    });
    // Ports may be fewer than hosts, or more, which the driver refuses.
    let more = config.get_ports().iter().skip(config.get_hosts().len()).map(|port| (None, None, Some(*port)));
    with(config, places.chain(more))
}

/// The same, with these hosts: the driver's own configuration can only be given more.
fn with<'a>(config: &Config, places: impl IntoIterator<Item = Place<'a>>) -> Config {
    let mut with = Config::new();
    config.get_user().map(|user| with.user(user));
    config.get_password().map(|password| with.password(password));
    config.get_dbname().map(|dbname| with.dbname(dbname));
    config.get_options().map(|options| with.options(options));
    config.get_application_name().map(|name| with.application_name(name));
    config.get_connect_timeout().map(|timeout| with.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| with.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| with.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| with.keepalives_retries(retries));
    with.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    for (host, address, port) in places {
        match host {
            Some(Host::Tcp(name)) => drop(with.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(with.host_path(path)),
            None => {}
        }
        address.map(|address| with.hostaddr(address));
        port.map(|port| with.port(port));
    }
    with
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Everything that the driver knows, and nothing as it would be otherwise.
    const ALL: &str = "user=u password=p dbname=d options='-c a=b' application_name=n sslmode=require sslnegotiation=direct connect_timeout=3 \
                       tcp_user_timeout=4 keepalives=0 keepalives_idle=5 keepalives_interval=6 keepalives_retries=7 \
                       target_session_attrs=read-write channel_binding=require load_balance_hosts=random";

    fn config(places: &str) -> Config {
        format!("{ALL} {places}").parse().unwrap()
    }

    #[test]
    fn each_host_is_as_it_would_be_alone() {
        for (places, alone) in [
            ("host=a,/b,c port=1,2,3", &["host=a port=1", "host=/b port=2", "host=c port=3"][..]),
            ("host=a,b port=1", &["host=a port=1", "host=b port=1"]),
            ("host=a,b", &["host=a", "host=b"]),
            ("hostaddr=1.1.1.1,::1", &["hostaddr=1.1.1.1", "hostaddr=::1"]),
            ("host=a,b hostaddr=1.1.1.1,::1", &["host=a hostaddr=1.1.1.1", "host=b hostaddr=::1"]),
            ("host=a port=1", &["host=a port=1"]),
            ("host=a,b port=1,2,3", &["host=a,b port=1,2,3"]),
            ("host=a,b hostaddr=1.1.1.1", &["host=a,b hostaddr=1.1.1.1"]),
        ] {
            let each = each(&config(places));
            assert_eq!(each.len(), alone.len(), "{places}");
            // In any order: it is drawn.
            assert!(alone.iter().all(|alone| each.contains(&config(alone))), "{places}: {each:?}");
        }
        let in_order = each(&"host=a,b,c,d,e,f,g,h".parse().unwrap());
        assert!(in_order.iter().zip('a'..).all(|(config, name)| config.get_hosts() == [Host::Tcp(name.to_string())]));
    }

    #[test]
    fn a_path_beside_an_address_is_no_name() {
        let called = called_by_address(&config("host=/a,b hostaddr=1.1.1.1,::1 port=1"));
        assert_eq!(called, config("host=1.1.1.1,b hostaddr=1.1.1.1,::1 port=1"));
    }

    /// What a later driver knows besides would be lost on the way.
    #[test]
    fn nothing_is_left_out() {
        let debug = format!("{:?}", Config::new());
        let fields: BTreeSet<_> =
            debug.split(['{', ',']).filter_map(|field| field.split_once(':')).map(|f| f.0.trim()).collect();
        let known = "application_name channel_binding connect_timeout dbname host hostaddr keepalives keepalives_idle keepalives_interval \
                     keepalives_retries load_balance_hosts options password port ssl_mode target_session_attrs tcp_user_timeout user";
        assert_eq!(fields, known.split_whitespace().collect());
    }
}
