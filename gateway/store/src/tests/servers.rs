use std::time::Duration;

use model::secret::SecretText;
use tokio::time::timeout;

use super::fixture::{OWNER_PASSWORD, SOON, Server, as_superuser, operator, owner, superuser};
use crate::{
    bootstrap::{Which, create_if_missing},
    consumer::{self, NewConsumer},
    demo::{DemoDatabase, DemoError},
    error::StoreError,
    migrate, node, revision,
    sample::{Probe, choose_primary, probe_of},
    topology::{DatabaseConfig, Server as ConfiguredServer, ServerState, Topology},
};

fn configured(servers: [(&Server, &str); 2]) -> Vec<ConfiguredServer> {
    servers.map(|(server, region)| ConfiguredServer { address: server.address.clone(), region: region.to_owned() }).to_vec()
}

/// Which of the servers of another database is its primary.
async fn primary_of(probes: &mut [Probe]) -> Option<usize> {
    let mut samples = Vec::new();
    for probe in probes {
        samples.push(probe.sample().await);
    }
    choose_primary(&samples, None)
}

/// One test for what needs two servers: making them is most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_found_before_and_after_a_promotion_and_a_standby_takes_no_write() {
    let old = Server::start(&["primary"]);
    let password = SecretText::new(OWNER_PASSWORD.to_owned());
    for which in [Which::Causeway, Which::Demo] {
        create_if_missing(&old.address, &superuser("postgres"), which, &password).await.expect("the database is made");
    }
    let new = Server::start(&["standby", &old.port.to_string()]);
    let servers = configured([(&old, "eu"), (&new, "us")]);
    let config = DatabaseConfig {
        name: "causeway".to_owned(),
        user: "causeway".to_owned(),
        password: password.clone(),
        servers,
        tls: crate::pool::Tls::Plain,
        pool_max: 4,
    };
    let topology = Topology::new(&config, "us").expect("the addresses are good");
    assert!(matches!(topology.primary(), Err(StoreError::Unavailable { .. })));
    let mut demo = owner("demo");
    "demo".clone_into(&mut demo.user);
    let mut probes = [&old, &new].map(|server| probe_of(&server.address, &demo).expect("the address is good"));

    let promises = async {
        let primary = topology.wait_primary(SOON).await.expect("the primary is found");
        migrate::migrate(&primary).await.expect("the schema is made");
        let both = |view: &std::sync::Arc<crate::topology::View>| view.servers.iter().all(|server| server.state != ServerState::Unreachable);
        timeout(SOON, topology.changed().wait_for(both)).await.expect("both answer").expect("it is polled");
        let states: Vec<ServerState> = topology.view().servers.iter().map(|server| server.state).collect();
        assert_eq!(states, [ServerState::Primary, ServerState::Standby]);
        assert_eq!(primary_of(&mut probes).await, Some(0));

        let items = DemoDatabase::connect(&old.address, &demo, 2).expect("an address");
        items.migrate().await.expect("the table is made");
        let item = items.create("chair", 3).await.expect("the primary takes it");
        assert_eq!(items.list(10).await.expect("a list"), std::slice::from_ref(&item));
        assert!(matches!(items.create("", 3).await, Err(DemoError::Store(StoreError::Invalid { .. }))));
        let copies = DemoDatabase::connect(&new.address, &demo, 2).expect("an address");
        timeout(SOON, async { while copies.get(item.id).await.ok().flatten().as_ref() != Some(&item) {} }).await.expect("it arrives");
        assert!(matches!(copies.create("table", 1).await, Err(DemoError::ReadOnly)));

        // Reads of this region go to its standby, which takes no listeners and no writes.
        let replica = topology.replica().expect("this region's standby");
        let heads = timeout(SOON, async {
            loop {
                if let Ok(heads) = revision::heads(&replica).await {
                    break heads;
                }
            }
        })
        .await
        .expect("it arrives");
        assert_eq!((heads.authority, node::list(&replica).await.expect("a list").len()), (0, 0));
        assert!(migrate::pending(&replica).await.expect("it can be asked").is_empty());

        as_superuser(&new.address, "postgres", "select pg_promote()").await;
        let promoted = |view: &std::sync::Arc<crate::topology::View>| view.primary == Some(1);
        timeout(SOON, topology.changed().wait_for(promoted)).await.expect("the newer timeline wins").expect("it is polled");
        assert_eq!(primary_of(&mut probes).await, Some(1));
        let primary = topology.primary().expect("the promoted one");
        let made = consumer::create(&primary, NewConsumer { name: "c", tenant: None, residency: None }, &operator()).await;
        assert!(matches!(made, Err(StoreError::Invalid { .. })), "it writes, but there is no tenant: {made:?}");
    };
    tokio::select! {
        () = topology.watch() => unreachable!("it polls for ever"),
        () = promises => {}
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_within_the_deadline() {
    // Port 1: nothing listens there.
    let servers = vec![ConfiguredServer { address: "127.0.0.1:1".to_owned(), region: "eu".to_owned() }];
    let password = SecretText::new("x".to_owned());
    let config =
        DatabaseConfig { name: "causeway".to_owned(), user: "causeway".to_owned(), password, servers, tls: crate::pool::Tls::Plain, pool_max: 1 };
    let topology = Topology::new(&config, "eu").expect("the address is good");
    let mut probes = [probe_of("127.0.0.1:1", &owner("demo")).expect("the address is good")];

    let (found, primary) = tokio::select! {
        () = topology.watch() => unreachable!("it polls for ever"),
        answer = async { (topology.wait_primary(Duration::from_millis(600)).await, primary_of(&mut probes).await) } => answer,
    };

    assert!(matches!(found, Err(StoreError::Unavailable { .. })), "{found:?}");
    assert!(matches!(topology.replica(), Err(StoreError::Unavailable { .. })));
    assert_eq!(primary, None);
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for wrong in ["", "host", "host:", ":5432", "host:99999", "postgres://host"] {
        assert!(crate::pool::options(wrong, &owner("x")).is_err(), "{wrong}");
    }
    for right in ["127.0.0.1:5432", "db.example:1", "[::1]:5432"] {
        assert!(crate::pool::options(right, &owner("x")).is_ok(), "{right}");
    }
}
