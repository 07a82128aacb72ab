use askama::Template;
use model::{document::PlanLimitDoc, limit::Rate, time::UtcMicros};
use store::usage::{Point, Step, Total};

use super::{
    Figures, Series, Usage,
    bar::{Bars, bar},
    chart,
};

fn limit(rate: &str) -> PlanLimitDoc {
    PlanLimitDoc { rate: Rate::parse(rate).unwrap(), burst: None }
}

#[test]
fn a_quota_is_a_bar_with_its_use_its_limit_and_how_room_comes_back() {
    let html = Bars { bars: vec![bar("daily", &limit("1000/d"), "for each key", Some(250)), bar("burst", &limit("200/s"), "for each key", None)] }
        .render()
        .unwrap();

    for part in [
        "<meter min=\"0\" max=\"1000\" low=\"800\" high=\"950\" optimum=\"0\" value=\"250\" aria-label=\"daily: 250 of 1000 requests\">",
        "250 of 1000 requests in the last day",
        "room for one comes back every 87 seconds",
        "200/s, for each key",
    ] {
        assert!(html.contains(part), "no {part:?} in\n{html}");
    }
    assert_eq!(html.matches("<meter").count(), 1, "a short limit is no quota:\n{html}");
    assert_eq!(Bars { bars: Vec::new() }.render().unwrap().trim(), "", "no plan, no heading");
}

#[test]
fn times_are_told_in_units_that_fit() {
    let words = |rate: &str| bar("x", &limit(rate), "", Some(0)).used.map(|used| (used.period, used.reset)).unwrap();
    assert_eq!(words("1/d"), ("day".to_owned(), "room for one comes back every day".to_owned()));
    assert_eq!(words("100/7d"), ("7 days".to_owned(), "room for one comes back every 101 minutes".to_owned()));
    assert_eq!(words("60/h"), ("hour".to_owned(), "room for one comes back every minute".to_owned()));
    assert_eq!(words("100000/h"), ("hour".to_owned(), "room for one comes back every 36 milliseconds".to_owned()));
}

fn point(at: i64, requests: u64) -> Point {
    Point {
        at: UtcMicros(at),
        requests,
        denied: 1,
        client_errors: 2,
        server_errors: 3,
        old_secret: 0,
        request_bytes: 0,
        response_bytes: 0,
        p50_us: Some(1_240),
        p95_us: None,
    }
}

#[test]
fn the_chart_the_table_and_the_figures_tell_the_same() {
    let hour = 3_600_000_000;
    let total = Total { requests: 90, errors: 6, p50_us: Some(1_240), p95_us: Some(9_960) };
    let series = Series { step: Step::Hour, since: UtcMicros(0), until: UtcMicros(48 * hour), points: vec![point(2 * hour, 90)], total };

    let drawn = serde_json::to_value(chart(&series)).unwrap();
    let usage = Usage {
        path: "/portal/keys/x".to_owned(),
        total: Figures::of(90, 6, (Some(1_240), Some(9_960))),
        rows: vec![("1970-01-01 02:00 UTC".to_owned(), Figures::of(90, 6, (Some(1_240), None)))],
    };
    let html = usage.render().unwrap();

    assert_eq!((drawn["at"].as_array().unwrap().len(), &drawn["requests"][2], &drawn["requests"][3]), (48, &90.into(), &0.into()));
    assert_eq!((&drawn["errors"][2], &drawn["p50_ms"][2], &drawn["p95_ms"][2]), (&5.into(), &1.2.into(), &serde_json::Value::Null));
    assert_eq!((&drawn["total"]["p95_ms"], &drawn["total"]["errors"]), (&10.0.into(), &6.into()));
    for part in [
        "<dd data-total=\"p50_ms\">1.2</dd>",
        "<dd data-total=\"p95_ms\">10</dd>",
        "<td>1970-01-01 02:00 UTC</td><td>90</td><td>6</td><td>1.2</td><td>–</td>",
        "data-usage=\"/portal/keys/x/usage.json\"",
    ] {
        assert!(html.contains(part), "no {part:?} in\n{html}");
    }
}
