use model::position::Lsn;

use super::{HISTORY_BYTES_MAX, Sample, choose_primary, parse_history};

const fn primary(cluster: u64, timeline: u32) -> Sample {
    Sample {
        in_recovery: false,
        lsn: Some(1),
        timeline: Some(timeline),
        followed_timeline: None,
        system_identifier: cluster,
        started_at: 1,
        rtt_us: 1,
        connection: 1,
    }
}

const fn standby(cluster: u64) -> Sample {
    Sample { in_recovery: true, timeline: None, ..primary(cluster, 1) }
}

fn check(samples: &[Option<Sample>], current: Option<usize>, expected: Option<usize>) {
    assert_eq!(choose_primary(samples, current), expected, "{samples:?}, so far {current:?}");
}

#[test]
fn the_newest_timeline_of_the_cluster_that_most_servers_have_takes_the_writes() {
    check(&[], None, None);
    check(&[None, None], Some(0), None);
    check(&[Some(standby(1)), Some(primary(1, 1))], None, Some(1));
    check(&[Some(standby(1)), Some(standby(1))], Some(1), None);
    // An old primary that still runs after a promotion.
    check(&[Some(primary(1, 1)), Some(primary(1, 2)), Some(standby(1))], Some(0), Some(1));
    // Nothing tells them apart: whoever was it stays, a newcomer is not believed.
    check(&[Some(primary(1, 2)), Some(primary(1, 2))], Some(0), Some(0));
    check(&[Some(primary(1, 2)), Some(primary(1, 2))], None, None);
    // A server of another cluster at a wrong address.
    check(&[Some(primary(1, 1)), Some(standby(1)), Some(primary(2, 9))], None, Some(0));
    check(&[Some(primary(1, 1)), Some(primary(2, 9))], Some(0), Some(0));
}

fn check_history(text: &str, expected: Option<&[(u32, u64)]>) {
    let expected = expected.map(|earlier| earlier.iter().map(|(timeline, at)| (*timeline, Lsn(*at))).collect::<Vec<_>>());
    assert_eq!(parse_history(text, 7), expected, "{text:?}");
}

#[test]
fn a_history_is_read_as_a_server_writes_it_and_nothing_else_is() {
    check_history("1\t0/3000148\tno recovery target specified\n", Some(&[(1, 0x300_0148)]));
    check_history("1\t0/3000148\tbefore 2026-01-01\n\n2\t1/40\tat restore point \"x\"\n", Some(&[(1, 0x300_0148), (2, 0x1_0000_0040)]));
    check_history("# a comment\r\n1\t0/10\r\n \t\r\n4\t0/8", Some(&[(1, 0x10), (4, 8)]));
    for hostile in [
        "",
        "\n\n",
        "# 1\t0/10\tonly a comment\n",
        "1\n",
        "1 0/10 spaces\n",
        " 1\t0/10\n",
        "+1\t0/10\n",
        "-1\t0/10\n",
        "0\t0/10\n",
        "1.5\t0/10\n",
        "4294967297\t0/10\n",
        "1\t0/10/20\n",
        "1\t10\n",
        "1\t0/G\n",
        "1\t0/123456789\n",
        "1\t80000000/0\n",
        "1\tFFFFFFFF/FFFFFFFF\n",
        "7\t0/10\tits own\n",
        "8\t0/10\ta later one\n",
        "1\t0/10\n1\t0/20\n",
        "2\t0/10\n1\t0/20\n",
        "1\t0/10\tgood\nand a second line of a reason\n",
        "1\t0/10\u{0}\n",
        "\u{feff}1\t0/10\n",
        "\u{661}\t0/10\n",
    ] {
        check_history(hostile, None);
    }
    let long = |bytes: usize| format!("1\t0/10\t{}", "x".repeat(bytes - 7));
    check_history(&long(HISTORY_BYTES_MAX), Some(&[(1, 0x10)]));
    check_history(&long(HISTORY_BYTES_MAX + 1), None);
}
