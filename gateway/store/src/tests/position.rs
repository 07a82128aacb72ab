//! Epochs of fronted databases, and what their servers say of themselves.

use futures_util::future::join_all;
use model::{
    change::Revisions,
    position::{Epochs, Found, Lsn, Position, Writer},
    secret::SecretText,
};
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::time::timeout;
use uuid::Uuid;

use super::fixture::{Database, OWNER_PASSWORD, SOON, Server, as_superuser, owner, superuser};
use crate::{
    bootstrap::{Which, create_if_missing},
    epoch::Heard,
    error::StoreError,
    migrate,
    pool::{self, Credentials, Primary},
    position::{epochs, settle},
    sample::{Probe, Sample, probe_of},
};

fn found(timeline: u32, server: &str) -> Found {
    let writer = Writer { system_identifier: u64::MAX - 6, timeline, server: server.into() };
    Found { writer, history: None, followed: None, set_back_from: None }
}

fn numbers(epochs: &Epochs) -> Vec<u32> {
    assert!(epochs.iter().is_sorted_by(|before, after| before.number < after.number), "{epochs:?}");
    (1..).zip(epochs.iter()).map(|(number, _)| number).collect()
}

/// The how manyth epoch it is that one left, and where. Numbers follow the time, so that no test knows them.
fn forks(epochs: &Epochs) -> Vec<Option<(usize, Lsn)>> {
    let place = |number| epochs.iter().position(|epoch| epoch.number == number).expect("it is known") + 1;
    epochs.iter().map(|epoch| epoch.fork.map(|fork| (place(fork.parent), fork.at))).collect()
}

fn number_of(epochs: &Epochs, place: usize) -> u32 {
    epochs.iter().nth(place - 1).expect("it is there").number
}

/// What eight nodes get that ask at once; they must agree. Nobody gets the lock before several wait for it.
async fn settle_at_once(database: &Database, found: &Found) -> Epochs {
    let mut before = database.pool().begin().await.expect("it begins");
    raw_sql("select from control_head for update").execute(&mut *before).await.expect("it is locked");
    let names: Vec<String> = (0..8).map(|node| format!("node-{node}")).collect();
    let asked = join_all(names.iter().map(|name| settle(&database.primary, "shop", found, name)));
    let unlocked = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while database.number(waiting).await < 3 {}
        before.rollback().await.expect("it is given back");
    };
    let (asked, ()) = tokio::join!(asked, unlocked);
    let settled: Vec<Epochs> = asked.into_iter().map(|settled| settled.expect("it is settled")).collect();
    assert!(settled.iter().all(|epochs| *epochs == settled[0]), "{settled:?}");
    settled[0].clone()
}

#[tokio::test]
async fn of_nodes_that_find_a_primary_at_once_one_begins_an_epoch() {
    let database = Database::new().await;
    assert!(epochs(&database.primary).await.expect("an answer").is_empty());

    assert_eq!(numbers(&settle_at_once(&database, &found(1, "a:5432")).await), [1]);
    let promoted = Found { history: Some(vec![(1, Lsn(900))]), ..found(2, "b:5432") };
    let settled = settle_at_once(&database, &promoted).await;
    assert_eq!(numbers(&settled), [1, 2]);
    assert_eq!(forks(&settled), [None, Some((1, Lsn(900)))]);
    assert_eq!(settled.newest().map(|epoch| epoch.writer.clone()), Some(promoted.writer.clone()), "an identifier above 2^63 comes back");

    // Another server on the same timeline was promoted apart from it, and an old primary writes what it wrote.
    let apart = Found { followed: Some(Position { epoch: number_of(&settled, 1), lsn: Lsn(700) }), ..found(2, "c:5432") };
    let settled = settle_at_once(&database, &apart).await;
    assert_eq!(forks(&settled), [None, Some((1, Lsn(900))), Some((1, Lsn(700)))]);
    assert_eq!(numbers(&settle_at_once(&database, &found(1, "a:5432")).await), [1, 2, 3]);

    // Other domains count for themselves.
    settle(&database.primary, "mail", &found(1, "a:5432"), "node-1").await.expect("it is settled");
    let all = epochs(&database.primary).await.expect("an answer");
    assert_eq!((all.len(), numbers(&all["shop"]), numbers(&all["mail"])), (2, vec![1, 2, 3], vec![1]));
    assert_eq!(all["shop"], settled);
    assert_eq!(database.texts("select begun_by from domain_epoch where domain = 'mail'").await, ["node-1"]);
    assert_eq!(database.number("select sum(rev)::bigint from control_head").await, 0, "it is no revision");
}

#[tokio::test]
async fn a_primary_that_was_set_back_begins_one_epoch_whoever_saw_it() {
    let database = Database::new().await;
    let begun = settle_at_once(&database, &found(1, "a:5432")).await;
    let first = number_of(&begun, 1);

    let set_back = |from| Found { history: Some(vec![(1, Lsn(900))]), set_back_from: Some(from), ..found(1, "a:5432") };
    let settled = settle_at_once(&database, &set_back(first)).await;
    assert_eq!(forks(&settled), [None, None]);
    assert_eq!(numbers(&settle_at_once(&database, &set_back(first)).await), [1, 2], "who saw it later finds it");
    assert_eq!(numbers(&settle_at_once(&database, &set_back(number_of(&settled, 2))).await), [1, 2, 3], "once more");
}

#[tokio::test]
async fn what_has_no_place_is_refused_and_nothing_is_written() {
    let database = Database::new().await;
    let good = found(1, "a:5432");
    let long = "x".repeat(301);
    for (domain, found, node) in [
        ("", good.clone(), "n"),
        ("Shop", good.clone(), "n"),
        ("a b", good.clone(), "n"),
        ("a\n", good.clone(), "n"),
        ("a\0", good.clone(), "n"),
        (&long[..64], good.clone(), "n"),
        ("shop", good.clone(), ""),
        ("shop", good.clone(), &long[..64]),
        ("shop", found(1, ""), "n"),
        ("shop", found(1, &long), "n"),
        ("shop", found(0, "a:5432"), "n"),
        ("shop", found(1 << 31, "a:5432"), "n"),
    ] {
        let refused = settle(&database.primary, domain, &found, node).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{domain:?} {found:?} {node:?}: {refused:?}");
    }
    assert_eq!(database.number("select count(*) from domain_epoch").await, 0);
    settle(&database.primary, &long[..63], &found(1, &long[..300]), &long[..63]).await.expect("it is settled");

    // A place behind every place is no fork.
    let settled = settle(&database.primary, "shop", &good, "n").await.expect("it is settled");
    let nowhere = Found { followed: Some(Position { epoch: number_of(&settled, 1), lsn: Lsn::END }), ..found(2, "b:5432") };
    let refused = settle(&database.primary, "shop", &nowhere, "n").await;
    assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_domain_whose_primary_flaps_gets_no_epochs_without_end() {
    let database = Database::new().await;
    let rows = "insert into domain_epoch (domain, number, system_identifier, timeline, server, begun_by)
        select 'shop', number, -7, number, 'a:5432', 'n' from generate_series(1, 9999) as number";
    database.run(rows).await;

    let last = settle(&database.primary, "shop", &found(20_000, "a:5432"), "n").await.expect("it is the last");
    assert_eq!(last.iter().count(), 10_000);
    let refused = settle(&database.primary, "shop", &found(20_001, "a:5432"), "n").await;
    assert!(matches!(&refused, Err(StoreError::Conflict { constraint, .. }) if constraint == "domain_epoch_count"), "{refused:?}");
    settle(&database.primary, "shop", &found(20_000, "a:5432"), "n").await.expect("it is known");
    settle(&database.primary, "mail", &found(1, "a:5432"), "n").await.expect("another domain has room");
}

#[tokio::test]
async fn rows_that_cannot_be_are_refused() {
    let database = Database::new().await;
    let insert = async |values: &str| {
        let columns = "domain, number, parent, fork_lsn, system_identifier, timeline, server, begun_by";
        let statement = format!("insert into domain_epoch ({columns}) values ({values})");
        raw_sql(AssertSqlSafe(statement)).execute(database.pool()).await.map_err(StoreError::from)
    };
    insert("'shop', 1, null, null, -1, 1, 'a:1', 'n'").await.expect("a good row");
    insert("'shop', 2, 1, 0, -1, 2, 'a:1', 'n'").await.expect("a good row");
    for (values, constraint) in [
        ("'shop', 1, null, null, 1, 9, 'b:1', 'n'", "domain_epoch_pk"),
        ("'mail', 2, 1, 5, 1, 1, 'a:1', 'n'", "domain_epoch_parent_fk"),
        ("'shop', 9, 8, 5, 1, 1, 'a:1', 'n'", "domain_epoch_parent_fk"),
        ("'Shop', 3, null, null, 1, 1, 'a:1', 'n'", "domain_epoch_domain_check"),
        ("E'shop\\n', 3, null, null, 1, 1, 'a:1', 'n'", "domain_epoch_domain_check"),
        ("'shop', 0, null, null, 1, 1, 'a:1', 'n'", "domain_epoch_number_check"),
        ("'shop', 3, 2, null, 1, 1, 'a:1', 'n'", "domain_epoch_fork_check"),
        ("'shop', 3, null, 5, 1, 1, 'a:1', 'n'", "domain_epoch_fork_check"),
        ("'shop', 3, 3, 5, 1, 1, 'a:1', 'n'", "domain_epoch_fork_check"),
        ("'shop', 3, 2, -1, 1, 1, 'a:1', 'n'", "domain_epoch_fork_check"),
        ("'shop', 3, null, null, 1, 0, 'a:1', 'n'", "domain_epoch_timeline_check"),
        ("'shop', 3, null, null, 1, 1, '', 'n'", "domain_epoch_server_check"),
        ("'shop', 3, null, null, 1, 1, 'a:1', ''", "domain_epoch_begun_by_check"),
    ] {
        let refused = insert(values).await.expect_err(values).to_string();
        assert!(refused.contains(constraint), "{values}: {refused}");
    }
}

/// A control database that was replaced gives no numbers: another one would give them again.
#[tokio::test]
async fn a_control_database_that_was_replaced_begins_no_epochs() {
    let database = Database::new().await;
    settle(&database.primary, "shop", &found(1, "a:5432"), "n").await.expect("it is settled");
    database.primary.heard().hear(&Revisions { epoch: 7, epoch_id: Uuid::from_u128(7), ..Revisions::default() });

    let refused = settle(&database.primary, "shop", &found(2, "b:5432"), "n").await;

    assert!(matches!(refused, Err(StoreError::Superseded { .. })), "{refused:?}");
    assert_eq!(database.number("select count(*) from domain_epoch").await, 1);
}

async fn reload(server: &Server, setting: &str) {
    as_superuser(&server.address, "postgres", format!("alter system {setting}")).await;
    as_superuser(&server.address, "postgres", "select pg_reload_conf()").await;
}

/// Cancels every wait for a standby, again and again.
async fn cancel_waits(server: &Server) {
    loop {
        let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
        as_superuser(&server.address, "postgres", cancel).await;
    }
}

/// T6: an epoch that is on one server alone may be lost with it, and its number given to another.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_no_standby_of_the_control_database_has_is_not_settled() {
    let server = Server::start(&["primary"]);
    let password = SecretText::new(OWNER_PASSWORD.to_owned());
    create_if_missing(&server.address, &superuser("postgres"), Which::Causeway, &password).await.expect("the database is made");
    let options = pool::options(&server.address, &owner("causeway")).expect("an address");
    let primary = Primary::new(pool::lazy(options, 4), Heard::default());
    migrate::migrate(&primary).await.expect("the schema is made");
    reload(&server, "set synchronous_standby_names = 'nobody'").await;
    // The server takes a moment from its settings to the first wait.
    let waits = async { while timeout(SOON / 40, crate::commit::barrier(&primary)).await.is_ok() {} };
    timeout(SOON, waits).await.expect("the settings are loaded");

    let endless = settle(&primary, "shop", &found(1, "a:5432"), "n").await;
    assert!(matches!(endless, Err(StoreError::Unavailable { .. })), "{endless:?}");
    let cut = async {
        // The one before holds the lock until its wait is cut short; then it is found.
        let found_one = timeout(SOON, settle(&primary, "shop", &found(1, "a:5432"), "n")).await.expect("it ends");
        assert!(matches!(found_one, Err(StoreError::Unavailable { .. })), "{found_one:?}");
        let begun = timeout(SOON, settle(&primary, "shop", &found(2, "b:5432"), "n")).await.expect("it ends");
        assert!(matches!(begun, Err(StoreError::CommitUnconfirmed)), "{begun:?}");
        let again = timeout(SOON, settle(&primary, "shop", &found(2, "b:5432"), "n")).await.expect("it ends");
        assert!(matches!(again, Err(StoreError::Unavailable { .. })), "it stands here, and must not be believed: {again:?}");
    };
    tokio::select! {
        () = cut => {}
        () = cancel_waits(&server) => unreachable!("it cancels for ever"),
    }

    reload(&server, "reset synchronous_standby_names").await;
    let again = timeout(SOON, settle(&primary, "shop", &found(2, "b:5432"), "n")).await.expect("nobody is waited for");
    assert_eq!(numbers(&again.expect("it is settled")), [1, 2]);
}

/// That the place is read before the timeline is a matter of how the server runs the statement (see there).
#[tokio::test]
async fn what_is_received_is_asked_with_the_place_that_was_replayed() {
    let database = Database::new().await;
    let plan = database.texts(format!("explain verbose {}", include_str!("../../queries/server/probe.sql"))).await.join("\n");
    let (outer, receiver) = plan.rsplit_once("SubPlan").expect("the receiver is asked for each row");
    assert!(receiver.contains("seen.lsn IS NOT NULL") && receiver.contains("pg_stat_get_wal_receiver()"), "{plan}");
    assert!(outer.contains("Subquery Scan on seen") && outer.contains("pg_last_wal_replay_lsn()"), "{plan}");
    assert!(outer.contains("Subquery Scan on server") && !receiver.contains("pg_last_wal_replay_lsn()"), "{plan}");
}

/// Three ways to see a server: as a role that may connect, as a member of `pg_monitor`, and as one that may read files.
struct Watched {
    plain: Probe,
    monitor: Probe,
    reader: Probe,
}

impl Watched {
    fn new(server: &Server) -> Self {
        let as_role = |user: &str| {
            let password = SecretText::new(OWNER_PASSWORD.to_owned());
            let credentials = Credentials { name: "demo".to_owned(), user: user.to_owned(), password, tls: pool::Tls::Plain };
            probe_of(&server.address, &credentials).expect("an address")
        };
        Self { plain: as_role("plain"), monitor: as_role("demo"), reader: as_role("reader") }
    }

    /// Asks until it is so.
    async fn until(&mut self, is_so: impl Fn(&Sample) -> bool) -> Sample {
        let asked = async {
            loop {
                if let Some(sample) = self.monitor.sample().await.filter(&is_so) {
                    return sample;
                }
            }
        };
        timeout(SOON, asked).await.expect("it comes true")
    }

    async fn promoted(&mut self, server: &Server) -> Found {
        as_superuser(&server.address, "postgres", "select pg_promote()").await;
        let seen = self.until(|sample| !sample.in_recovery).await;
        self.reader.sample().await.expect("it answers");
        let timeline = seen.timeline.expect("a primary has one");
        let writer = Writer { system_identifier: seen.system_identifier, timeline, server: server.address.as_str().into() };
        Found { writer, history: self.reader.history(timeline).await, followed: None, set_back_from: None }
    }
}

async fn make_roles(server: &Server) {
    let password = SecretText::new(OWNER_PASSWORD.to_owned());
    create_if_missing(&server.address, &superuser("postgres"), Which::Demo, &password).await.expect("the database is made");
    // A deployment from before has a role without the right, and gets it at its next start.
    as_superuser(&server.address, "postgres", "revoke pg_monitor from demo").await;
    create_if_missing(&server.address, &superuser("postgres"), Which::Demo, &password).await.expect("it is there");
    let roles =
        format!("create role plain login password '{OWNER_PASSWORD}'; create role reader login password '{OWNER_PASSWORD}' in role pg_monitor");
    as_superuser(&server.address, "postgres", roles).await;
    as_superuser(&server.address, "demo", "grant execute on function pg_read_file(text) to reader").await;
}

async fn write(server: &Server, watched: &mut Watched) -> u64 {
    as_superuser(&server.address, "demo", "create table if not exists w (n int); insert into w select generate_series(1, 1000)").await;
    watched.monitor.sample().await.and_then(|sample| sample.lsn).expect("it answers")
}

/// One test for what needs four servers: making them is most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn servers_say_what_they_follow_and_positions_survive_promotions_as_far_as_their_histories_say() {
    let control = Database::new().await;
    let old = Server::start(&["primary"]);
    make_roles(&old).await;
    let standby = || Server::start(&["standby", &old.port.to_string()]);
    let (mut first, second, apart) = (standby(), standby(), standby());
    let [mut at_old, mut at_first, mut at_second, mut at_apart] = [&old, &first, &second, &apart].map(Watched::new);

    // What each role sees of a primary and of a standby.
    let writer = at_old.until(|sample| !sample.in_recovery).await;
    assert_eq!((writer.timeline, writer.followed_timeline), (Some(1), None));
    let written = write(&old, &mut at_old).await;
    let seen = at_first.until(|sample| sample.followed_timeline.is_some() && sample.lsn >= Some(written)).await;
    assert_eq!((seen.in_recovery, seen.timeline, seen.followed_timeline), (true, None, Some(1)));
    assert!(seen.system_identifier == writer.system_identifier && seen.connection != writer.connection && seen.started_at > writer.started_at);
    let plain = at_first.plain.sample().await.expect("it may connect");
    assert_eq!((plain.followed_timeline, plain.started_at), (None, seen.started_at));
    assert!(plain.lsn >= Some(written) && plain.connection != seen.connection);

    // T11: after a restart what was seen is worth nothing, and another connection says so.
    let again = at_first.monitor.sample().await.expect("it answers");
    assert_eq!((again.connection, again.started_at), (seen.connection, seen.started_at));
    first.restart();
    let restarted = at_first.until(|_| true).await;
    assert!(restarted.connection > again.connection && restarted.started_at > again.started_at, "{restarted:?}");

    // The first epoch, whose timeline has nothing before it.
    let of_old = Writer { system_identifier: writer.system_identifier, timeline: 1, server: old.address.as_str().into() };
    let found = Found { writer: of_old, history: at_old.monitor.history(1).await, followed: None, set_back_from: None };
    assert_eq!(found.history, Some(Vec::new()));
    settle(&control.primary, "demo", &found, "n").await.expect("it is settled");

    // The second standby follows the first one, and goes with it to its timeline.
    reload(&second, &format!("set primary_conninfo = 'host=127.0.0.1 port={} user=postgres password=store-tests'", first.port)).await;
    let written = write(&old, &mut at_old).await;
    for standby in [&mut at_first, &mut at_second, &mut at_apart] {
        standby.until(|sample| sample.followed_timeline == Some(1) && sample.lsn >= Some(written)).await;
    }
    let promoted = at_first.promoted(&first).await;
    let fork = promoted.history.as_deref().and_then(|history| history.first()).expect("it may be read").1;
    assert_eq!(promoted.history, Some(vec![(1, fork)]));
    assert!(fork >= Lsn(written));
    let behind = write(&first, &mut at_first).await;
    assert!(Lsn(behind) > fork);
    let goes_on = async {
        loop {
            let sample = at_second.monitor.sample().await.expect("it answers");
            let is_beyond = sample.lsn > Some(fork.0);
            assert!(!(is_beyond && sample.followed_timeline == Some(1)), "the place of another history: {sample:?}");
            if sample.lsn >= Some(behind) && sample.followed_timeline == Some(2) {
                break;
            }
        }
    };
    timeout(SOON, goes_on).await.expect("it follows");

    // Without the right, or without the file, there is no history; and the connection is as before.
    // The restart has ended this one's connection too.
    assert_eq!(at_first.plain.sample().await, None);
    for (probe, timelines) in [(&mut at_first.plain, [1, 2, 2]), (&mut at_first.monitor, [2, 2, 2]), (&mut at_first.reader, [0, 9, u32::MAX])] {
        let before = probe.sample().await.expect("it answers").connection;
        for timeline in timelines {
            assert_eq!(probe.history(timeline).await, (timeline == 1).then(Vec::new), "{timeline}");
        }
        assert_eq!(probe.sample().await.expect("it answers").connection, before);
    }
    assert_eq!(Watched::new(&first).reader.history(2).await, None, "it was not asked for what it is");

    // Epochs that follow each other, and one that was promoted apart, with the same timeline.
    settle(&control.primary, "demo", &promoted, "n").await.expect("it is settled");
    let chained = at_second.promoted(&second).await;
    assert_eq!(chained.history.as_ref().map(Vec::len), Some(2));
    let lost = write(&old, &mut at_old).await;
    at_apart.until(|sample| sample.lsn >= Some(lost)).await;
    let diverged = at_apart.promoted(&apart).await;
    assert_eq!((chained.writer.timeline, diverged.writer.timeline), (3, 2));
    let epochs = settle(&control.primary, "demo", &chained, "n").await.expect("it is settled");
    let late = settle(&control.primary, "demo", &diverged, "n").await;
    assert!(matches!(&late, Err(StoreError::Conflict { constraint, .. }) if constraint == "domain_epoch_replaced"), "{late:?}");
    let parents: Vec<_> = forks(&epochs).into_iter().map(|fork| fork.map(|(parent, _)| parent)).collect();
    assert_eq!(parents, [None, Some(1), Some(2)]);
    let survives = |place, lsn| {
        let position = Position { epoch: number_of(&epochs, place), lsn: Lsn(lsn) };
        [2, 3].map(|later| epochs.survives(position, number_of(&epochs, later)))
    };
    assert_eq!(survives(1, written), [true, true]);
    assert_eq!(survives(1, lost), [false, false]);
    assert_eq!(survives(2, behind), [true, true]);
    assert_eq!(survives(3, behind), [false, true]);

    // Had the one that was promoted apart been seen first, nobody could say which of the two the newest one left.
    let twins = settle(&control.primary, "apart", &Found { history: None, ..promoted.clone() }, "n").await.expect("it is settled");
    assert_eq!(numbers(&twins), [1]);
    settle(&control.primary, "apart", &diverged, "n").await.expect("it is settled");
    let epochs = settle(&control.primary, "apart", &chained, "n").await.expect("it is settled");
    assert_eq!(forks(&epochs).last(), Some(&None));
}
