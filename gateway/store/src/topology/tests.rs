use futures_util::FutureExt;
use model::secret::SecretText;

use super::{DatabaseConfig, Server, Topology};
use crate::{pool::Tls, sample::Sample};

fn topology() -> Topology {
    let server = |number: u16, region: &str| Server { address: format!("127.0.0.1:{number}"), region: region.to_owned() };
    let config = DatabaseConfig {
        name: "causeway".to_owned(),
        user: "causeway".to_owned(),
        password: SecretText::new("none".to_owned()),
        tls: Tls::Plain,
        servers: vec![server(1, "eu"), server(2, "us"), server(3, "ap")],
        pool_max: 1,
    };
    Topology::new(&config, "ap").expect("the addresses are good")
}

fn sample(timeline: Option<u32>) -> Sample {
    let in_recovery = timeline.is_none();
    Sample { in_recovery, lsn: Some(1), timeline, followed_timeline: None, system_identifier: 7, started_at: 1, rtt_us: 1, connection: 1 }
}

/// What is opened to the primary of far regions takes seconds to open again, and leases are over by then.
#[tokio::test]
async fn a_standby_that_goes_ends_nothing_that_was_opened_to_the_primary() {
    let topology = topology();
    let record = |index: usize, sample| topology.record(index, &topology.0.servers[index].server, sample);
    record(0, Some(sample(Some(1))));
    record(1, Some(sample(None)));
    let mut replaced = Box::pin(topology.primary_replaced());
    assert_eq!(replaced.as_mut().now_or_never(), None);
    record(1, None);
    assert_eq!(replaced.as_mut().now_or_never(), None, "a standby is gone");
    record(2, Some(sample(None)));
    assert_eq!(replaced.as_mut().now_or_never(), None, "another one is there");
    record(0, None);
    assert_eq!(replaced.as_mut().now_or_never(), None, "one poll was missed");
    record(0, Some(sample(Some(1))));
    assert_eq!(replaced.as_mut().now_or_never(), None, "it is the same");
    record(2, Some(sample(Some(2))));
    assert_eq!(replaced.as_mut().now_or_never(), Some(()), "it was replaced");
}
