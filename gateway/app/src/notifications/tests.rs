use super::wait_seconds;

#[test]
fn waits_double_up_to_an_hour_and_vary_by_half() {
    let steps: Vec<f64> = (1..=4).map(|attempt| wait_seconds(attempt, 0.5)).collect();

    assert_eq!(steps, [2.0, 4.0, 8.0, 16.0]);
    for attempt in [12, 30, i32::MAX] {
        let (least, most) = (wait_seconds(attempt, 0.0), wait_seconds(attempt, 1.0));
        assert!((1_800.0..=5_400.0).contains(&least) && (1_800.0..=5_400.0).contains(&most), "{attempt}: {least} to {most}");
    }
    assert!(wait_seconds(i32::MIN, 0.0) > 0.0);
}
