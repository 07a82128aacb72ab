//! One private server for the whole test process, and a fresh database for each test.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use model::{
    document::Document,
    id::{ApplicationId, ConsumerId},
    key::{Issued, Peppers, Purpose, issue},
    secret::{SecretKey, SecretText},
    time::UtcMicros,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool, query_scalar, raw_sql};
use tokio::sync::OnceCell;

use crate::{
    actor::{Actor, ActorKind},
    application::{self, NewApplication},
    apply::{ApplyReport, Mode, apply},
    bootstrap::{Which, create_if_missing},
    consumer::{self, NewConsumer},
    epoch::Heard,
    migrate,
    pool::{self, Credentials, Primary, Tls},
};

const SUPERUSER_PASSWORD: &str = "store-tests";
pub(crate) const OWNER_PASSWORD: &str = "owner of the tests";

/// A server process; the script ends it when this process ends and its input closes.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) port: u16,
    script: Child,
    says: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/postgres.sh");
        let mut child = Command::new("bash").arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
        let mut says = BufReader::new(child.stdout.take().expect("it is piped"));
        let port = port(&mut says);
        Self { address: format!("127.0.0.1:{port}"), port, script: child, says }
    }

    /// Stops it and starts it again; it answers then.
    pub(crate) fn restart(&mut self) {
        self.script.stdin.as_mut().expect("it is piped").write_all(b"restart\n").expect("the script listens");
        assert_eq!(port(&mut self.says), self.port);
    }
}

fn port(says: &mut BufReader<ChildStdout>) -> u16 {
    let mut line = String::new();
    says.read_line(&mut line).expect("the script speaks");
    line.trim().parse().expect("PostgreSQL starts; see the message above")
}

pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["primary"]))
}

pub(crate) fn superuser(database: &str) -> Credentials {
    Credentials { name: database.to_owned(), user: "postgres".to_owned(), password: SecretText::new(SUPERUSER_PASSWORD.to_owned()), tls: Tls::Plain }
}

pub(crate) fn owner(database: &str) -> Credentials {
    Credentials { name: database.to_owned(), user: "causeway".to_owned(), password: SecretText::new(OWNER_PASSWORD.to_owned()), tls: Tls::Plain }
}

/// A database of its own: a copy of the migrated one, used as the unprivileged owner.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) primary: Primary,
}

impl Database {
    pub(crate) async fn new() -> Self {
        static TEMPLATE: OnceCell<()> = OnceCell::const_new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        TEMPLATE.get_or_init(make_template).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        as_superuser(&server().address, "postgres", format!("create database {name} template causeway owner causeway")).await;
        let options = pool::options(&server().address, &owner(&name)).expect("an address");
        Self { primary: Primary::new(pool::lazy(options, 20), Heard::default()) }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.primary.pool()
    }

    /// Runs statements as they stand.
    pub(crate) async fn run(&self, statements: impl Into<String>) {
        raw_sql(AssertSqlSafe(statements.into())).execute(self.pool()).await.expect("the statements run");
    }

    /// One number.
    pub(crate) async fn number(&self, statement: impl Into<String>) -> i64 {
        query_scalar(AssertSqlSafe(statement.into())).fetch_one(self.pool()).await.expect("the statement gives a number")
    }

    pub(crate) async fn texts(&self, statement: impl Into<String>) -> Vec<String> {
        query_scalar(AssertSqlSafe(statement.into())).fetch_all(self.pool()).await.expect("the statement gives texts")
    }

    pub(crate) async fn apply(&self, document: &Document) -> ApplyReport {
        apply(&self.primary, document, Mode::Commit, &file()).await.expect("the document applies")
    }

    /// A tenant, and a consumer and an application of the API.
    pub(crate) async fn with_application(&self) -> (ConsumerId, ApplicationId) {
        self.apply(&document("tenants: [{ name: acme, hosts: [api.example.com] }]")).await;
        let new = NewConsumer { name: "made", tenant: None, residency: None };
        let consumer = consumer::create(&self.primary, new, &operator()).await.expect("a consumer is made").item.id;
        let scopes = ["read".to_owned()];
        let new = NewApplication { name: "made-app", consumer, plan: None, scopes: &scopes, at_most: None };
        let application = application::create(&self.primary, new, &operator()).await.expect("an application is made").item.id;
        (consumer, application)
    }
}

/// What `dev` does: role and database by the superuser, tables by their owner.
async fn make_template() {
    let password = SecretText::new(OWNER_PASSWORD.to_owned());
    for _ in 0..2 {
        create_if_missing(&server().address, &superuser("postgres"), Which::Causeway, &password).await.expect("the database is made");
    }
    let options = pool::options(&server().address, &owner("causeway")).expect("an address");
    let pool = pool::lazy(options, 2);
    let primary = Primary::new(pool.clone(), Heard::default());
    let before = migrate::pending(&primary).await.expect("what is missing is known");
    assert_eq!(
        before,
        [
            "0001_control",
            "0002_audit",
            "0003_key_life",
            "0004_usage",
            "0005_issuers",
            "0006_token_denials",
            "0007_certificate_authorities",
            "0008_accounts",
            "0009_second_factor",
            "0010_imported_keys",
            "0011_personal_tokens",
            "0012_notifications",
            "0013_signers",
            "0014_secret_numbers",
            "0015_bcrypt_keys",
            "0016_bcrypt_keys_valid",
            "0017_key_decisions",
            "0018_epochs",
            "0019_heartbeats",
            "0020_domain_epochs",
            "0021_consumer_residency"
        ]
    );
    let applied = migrate::migrate(&primary).await.expect("the schema is made");
    assert_eq!((applied.now, applied.version), (before, 21));
    assert!(migrate::migrate(&primary).await.expect("nothing is left to do").now.is_empty());
    // A database in use cannot be copied.
    pool.close().await;
}

pub(crate) async fn as_superuser(address: &str, database: &str, statement: impl Into<String>) {
    let options = pool::options(address, &superuser(database)).expect("an address");
    let mut connection = options.options([("statement_timeout", "60s")]).connect().await.expect("the superuser connects");
    raw_sql(AssertSqlSafe(statement.into())).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("the connection closes");
}

pub(crate) fn operator() -> Actor {
    Actor { kind: ActorKind::Operator, name: "ann".to_owned() }
}

pub(crate) fn file() -> Actor {
    Actor { kind: ActorKind::Cli, name: "apply".to_owned() }
}

/// A document in YAML; `version` is added.
pub(crate) fn document(yaml: &str) -> Document {
    model::source::read(&format!("version: 1\n{yaml}\n")).expect("the document parses").0
}

/// The only pepper that the tests hash with.
pub(crate) fn peppers() -> Peppers {
    Peppers::new([(1, SecretKey::new([3; 32]))]).expect("there is one")
}

/// Credentials from a counter: no two are alike, and a run repeats.
pub(crate) fn issued(purpose: Purpose) -> Issued {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut random = [7_u8; 32];
    for (slot, unit) in random[8..12].iter_mut().zip([62 * 62 * 62, 62 * 62, 62, 1]) {
        *slot = u8::try_from(number / unit % 62).expect("below 62");
    }
    issue(purpose, &peppers(), &random, &random).expect("the bytes are usable")
}

/// 2100-01-01.
pub(crate) const LATER: UtcMicros = UtcMicros(4_102_444_800_000_000);

/// How long a condition may take to come true.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Bytes as the database shows them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).expect("below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
