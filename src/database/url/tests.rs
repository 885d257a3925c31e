use rstest::rstest;

use super::*;
use crate::database::tls::TlsMode;

#[test]
fn several_hosts_keep_their_order_and_want_a_writable_one() {
    let url: DatabaseUrl =
        "postgres://u:s3cr%40t@a:5432,b:5433/main?sslmode=disable&connect_timeout=2".parse().unwrap();
    assert_eq!(url.to_string(), "postgres://u@a:5432,b:5433/main");
    assert_eq!(url.attrs(), SessionAttrs::ReadWrite);
    assert_eq!((url.host_timeout(), url.connect_timeout()), (Duration::from_secs(2), Duration::from_secs(4)));
    let other = url.with_database("o/ther").unwrap();
    assert_eq!(other.reveal(), "postgres://u:s3cr%40t@a:5432,b:5433/o%2Fther?sslmode=disable&connect_timeout=2");
    assert_eq!(other.database(), "o/ther");
    assert_eq!(url.for_reading().attrs(), SessionAttrs::Any);
    for attrs in SessionAttrs::ALL {
        let named: DatabaseUrl = format!("postgres://u@a,b/main?target_session_attrs={attrs}").parse().unwrap();
        assert_eq!((named.attrs(), named.for_reading().attrs()), (*attrs, *attrs));
    }
}

#[rstest]
#[case("postgres://u:p?w/x@h:5433/d?sslmode=verify-full", "postgres://u:p?w/x@h:5433/other?sslmode=verify-full")]
#[case("postgres://u@h/?dbname=main&sslmode=require", "postgres://u@h/other?sslmode=require")]
#[case("postgresql://u@[::1]:5433", "postgresql://u@[::1]:5433/other")]
#[case("postgres://u@%2Fvar%2Frun/d", "postgres://u@%2Fvar%2Frun/other")]
fn another_database_of_any_url(#[case] url: &str, #[case] other: &str) {
    let url: DatabaseUrl = url.parse().unwrap();
    let made = url.with_database("other").unwrap();
    assert_eq!((made.reveal(), made.database()), (other, "other"));
    assert_eq!(made.hosts(), url.hosts());
    assert_eq!(made.hosts[0].get_ssl_mode(), url.hosts[0].get_ssl_mode());
}

#[rstest]
#[case("db.example", "p%40x", "db.example:5432")]
#[case("::1", "a@b:c/d?e", "[::1]:5432")]
#[case("/var/run", "", "/var/run:5432")]
fn parts_are_escaped(#[case] host: &str, #[case] password: &str, #[case] hosts: &str) {
    let url = DatabaseUrl::from_parts(host, 5432, "d%/b", "u:%", &password.to_owned().into()).unwrap();
    assert_eq!((url.user(), url.database()), ("u:%", "d%/b"));
    assert_eq!(url.hosts[0].get_password().unwrap_or_default(), password.as_bytes());
    assert_eq!(
        url.hosts().trim_start_matches('[').replace("]:", ":"),
        hosts.trim_start_matches('[').replace("]:", ":")
    );
}

#[rstest]
#[case("sslmode=verify", "option \"sslmode\" has a value that is not allowed: write disable, prefer")]
#[case("sslmode=allow", "write disable, prefer")]
#[case("target_session_attrs=master", "write any, read-write, read-only, primary")]
#[case("connect_timeout=soon", "a number of seconds")]
#[case("pgbouncer=1", "true or false")]
#[case("options=%00", "option \"options\"")]
#[case("sslmode=require&sslrootcert=system", "sslrootcert=system")]
#[case("sslmode=verify-ca", "needs sslrootcert")]
#[case("hostaddr=127.0.0.1", "option \"hostaddr\" stands beside")]
#[case("port=5433", "option \"port\" stands beside")]
// Of other clients, and of libpq.
#[case("schema=public", "option \"schema\" is unknown: write options=-csearch_path%3DNAME")]
#[case("currentSchema=public", "search_path")]
#[case("connection_limit=5", "BEDPLATE_POOL_SIZE")]
#[case("pool_timeout=5", "BEDPLATE_POOL_WAIT_SECONDS")]
#[case("statement_timeout=5", "BEDPLATE_STATEMENT_TIMEOUT_SECONDS")]
#[case("statement-cache-capacity=5", "BEDPLATE_STATEMENT_CACHE")]
#[case("prepareThreshold=0", "BEDPLATE_STATEMENT_CACHE")]
#[case("ssl=true", "sslmode=require")]
#[case("sslcert=x", "certificates of clients")]
#[case("sslMode=require", "write sslmode")]
#[case("ssl-mode=require", "write sslmode")]
#[case("connectTimeout=5", "write connect_timeout")]
#[case("targetServerType=primary", "target_session_attrs=primary")]
#[case("load_balance_hosts=random", "in their order")]
#[case("gssencmode=disable", "Kerberos")]
#[case("service=x", "parts of the service")]
#[case("client_encoding=LATIN1", "UTF-8")]
#[case("no_such_thing=1", "option \"no_such_thing\" is unknown: leave it out")]
fn an_option_that_is_wrong_is_named(#[case] options: &str, #[case] said: &str) {
    let url = format!("postgres://u:pw@h/d?{options}");
    let message = url.parse::<DatabaseUrl>().unwrap_err().to_string();
    assert!(message.contains(said) && !message.contains("pw"), "{message}");
}

#[rstest]
#[case("application_name=x")]
#[case("channel_binding=require&sslmode=require")]
#[case("keepalives_count=3&keepalives_idle=5")]
#[case("pgbouncer=true")]
#[case("sslmode=require&sslnegotiation=direct")]
#[case("sslrootcert=system")]
fn what_is_meant_is_taken(#[case] options: &str) {
    let url: DatabaseUrl = format!("postgres://u:pw@h/d?{options}").parse().unwrap();
    assert_eq!(url.says_pooled(), options == "pgbouncer=true");
    assert_eq!(url.tls().mode() == TlsMode::VerifyFull, options == "sslrootcert=system");
}

/// A password whose special characters are not encoded: no part of it is shown, as a host or as an option.
#[rstest]
#[case("postgres://u:a@pw?h/d?sslmode=require")]
#[case("postgres://u:a@pw@h/d")]
#[case("postgres://u:a@b?pw=c@h/d")]
#[case("postgres://h:5432/d?password=pw@pw")]
#[case("postgres://h/d?password=pw@pw")]
#[case("postgres://u:a@b:pw@h/d")]
#[case("postgres://u:%00pw@h/d")]
#[case("postgres://u:pw@h:x/d")]
#[case("postgres://u:pw@h:70000/d")]
#[case("postgres://u:pw@[::1/d")]
fn no_part_of_a_secret_is_shown(#[case] url: &str) {
    let message = url.parse::<DatabaseUrl>().unwrap_err().to_string();
    assert!(!message.contains("pw"), "{message}");
}

#[rstest]
#[case("postgres:///d?host=a,b&port=1,2&user=u", "a:1,b:2")]
#[case("postgres:///d?host=a,b&port=1&user=u", "a:1,b:1")]
#[case("postgres:///d?host=a,b&user=u", "a:5432,b:5432")]
#[case("postgres:///d?hostaddr=127.0.0.1&user=u", "127.0.0.1:5432")]
#[case("postgres:///d?host=/srv/sockets&user=u", "/srv/sockets:5432")]
#[case("postgres://u@a,b:2,[::1]:3/d", "a:5432,b:2,::1:3")]
#[case("postgres://u@:5433/d?", "of-variable:5433")]
#[case("postgres://u@a/d", "a:6000")]
#[case("postgres://", "of-variable:6000")]
fn hosts_and_ports_are_found(#[case] url: &str, #[case] hosts: &str) {
    let vars: &[_] = if hosts.contains("of-variable") || hosts.contains("6000") {
        &[("PGHOST", "of-variable"), ("PGPORT", "6000"), ("PGUSER", "u")]
    } else {
        &[]
    };
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let url = DatabaseUrl::read(url, &Libpq::of_vars(&vars)).unwrap();
    assert_eq!((url.hosts().as_str(), url.user()), (hosts, "u"));
}

#[rstest]
#[case("postgres://u@h:0/d", "a number from 1 to 65535")]
#[case("postgres:///d?host=a,b&port=1,2,3&user=u", "3 ports and 2 hosts")]
#[case("postgres:///d?host=a,b&hostaddr=127.0.0.1&user=u", "1 addresses and 2 hosts")]
#[case("postgres://u@h,/d", "names no host")]
#[case("postgres:///d", "names no host")]
#[case("postgres:///d?hostaddr=h&user=u", "hostaddr")]
#[case("postgres://u@h/d?channel_binding=require&sslmode=disable", "channel_binding=require needs TLS")]
#[case("postgres://u@h/d?sslnegotiation=direct", "sslmode=require")]
fn what_cannot_work_is_refused_before_it_is_tried(#[case] url: &str, #[case] said: &str) {
    let message = DatabaseUrl::read(url, &Libpq::nothing()).unwrap_err().to_string();
    assert!(message.contains(said), "{message}");
}
