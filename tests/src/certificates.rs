//! Certificates that a test makes for itself, and a server that shows them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use cache_sync_cluster::Cluster;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::{SOON, psql_in, wait_blocking};

/// Who signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
    /// Its dates are over.
    pub has_expired: bool,
}

impl Authority {
    /// One of this name.
    pub fn new(name: &str) -> Authority {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's identity, for hosts and addresses.
    pub fn server(&self, hosts: &[&str]) -> Identity {
        self.sign(named("server", hosts))
    }

    /// The same, with dates that are over.
    pub fn expired_server(&self, hosts: &[&str]) -> Identity {
        let mut params = named("server", hosts);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        Identity { has_expired: true, ..self.sign(params) }
    }

    /// The same, with a number by which it can be revoked.
    pub fn numbered_server(&self, hosts: &[&str], serial: u64) -> Identity {
        self.numbered("server", hosts, serial)
    }

    /// A client's identity, for a role.
    pub fn client(&self, role: &str, serial: u64) -> Identity {
        self.numbered(role, &[], serial)
    }

    fn numbered(&self, name: &str, hosts: &[&str], serial: u64) -> Identity {
        let mut params = named(name, hosts);
        params.serial_number = Some(SerialNumber::from(serial));
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity { cert: cert.pem(), key: key.serialize_pem(), has_expired: false }
    }

    /// The list of its certificates that count no more, as PEM.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(3000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// A server that has signed its own certificate, as `openssl req -x509` makes them: it could sign others as well.
pub fn self_signed(hosts: &[&str], has_expired: bool) -> Identity {
    let mut params = named("server", hosts);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if has_expired {
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    Identity { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem(), has_expired }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

/// Writes a file for clients of the cluster, which is gone with it, and hands back its path. Others may not read it.
pub fn write(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.socket_dir().join(name);
    // As those do who renew certificates: nobody reads half of one.
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Has the server show this identity from here on (soon, if it has expired), which `root` has signed, and trust clients that `clients`
/// has signed.
pub fn serve(cluster: &Cluster, identity: &Identity, root: &str, clients: &str) {
    let data = cluster.data_dir();
    for (name, text) in [("server.crt", &*identity.cert), ("server.key", &identity.key), ("clients.crt", clients)] {
        write_for_server(&data, name, text);
    }
    psql_in(cluster, "postgres", "ALTER SYSTEM SET ssl_ca_file = 'clients.crt'");
    psql_in(cluster, "postgres", "ALTER SYSTEM SET ssl = on");
    psql_in(cluster, "postgres", "SELECT pg_reload_conf()");
    let root = write(cluster, "served.crt", root);
    let dsn = format!("host=127.0.0.1 port={} user=postgres sslmode=verify-ca sslrootcert={root}", cluster.port());
    // What nobody trusts cannot be waited for so.
    let is_shown = || identity.has_expired || libpq(cluster, &dsn).is_ok();
    wait_blocking(SOON, || format!("the server shows its certificate: {:?}", libpq(cluster, &dsn)), is_shown);
}

fn write_for_server(data: &Path, name: &str, text: &str) {
    let (path, server) = (data.join(name), fs::metadata(data).unwrap());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(server.uid()), Some(server.gid())).unwrap();
}

/// Puts rules before those that say who is let in how, once the server knows of them.
pub fn let_in(cluster: &Cluster, rules: &str) {
    let file = cluster.data_dir().join("pg_hba.conf");
    let others = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{rules}\n{others}")).unwrap();
    psql_in(cluster, "postgres", "SELECT pg_reload_conf()");
}

/// Connects as libpq does, and hands back whether with TLS.
///
/// # Errors
/// What psql says.
pub fn libpq(cluster: &Cluster, dsn: &str) -> Result<bool, String> {
    ask(cluster.client("psql", "postgres"), dsn)
}

/// The same for somebody who is at home there.
///
/// # Errors
/// What psql says.
pub fn libpq_of(cluster: &Cluster, dsn: &str, home: &Path) -> Result<bool, String> {
    let mut psql = cluster.client("psql", "postgres");
    psql.env("HOME", home);
    ask(psql, dsn)
}

fn ask(mut psql: Command, dsn: &str) -> Result<bool, String> {
    psql.env_remove("PGHOST").env_remove("PGDATABASE").env_remove("PGUSER").env_remove("PGPORT");
    psql.args(["-X", "-A", "-t", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "-d", dsn]);
    let answer = psql.output().unwrap();
    match answer.status.success() {
        true => Ok(String::from_utf8_lossy(&answer.stdout).trim() == "t"),
        false => Err(String::from_utf8_lossy(&answer.stderr).into_owned()),
    }
}
