use super::*;

#[test]
fn failures_are_forgotten_one_by_one_and_subjects_do_not_share_them() {
    let throttle = Throttle::new(3, 100);
    for _ in 0..3 {
        assert_eq!(throttle.wait(1, BootNanos(1_000)), None);
        throttle.charge(1, BootNanos(1_000));
    }

    assert_eq!(throttle.wait(1, BootNanos(1_000)), Some(100));
    assert_eq!(throttle.wait(2, BootNanos(1_000)), None);
    assert_eq!(throttle.wait(1, BootNanos(1_100)), None);
}

#[test]
fn more_subjects_than_are_remembered_wait_until_one_is_forgotten() {
    let throttle = Throttle::new(1, 100);
    for subject in 0..SUBJECTS_MAX {
        throttle.charge(subject, BootNanos(1_000));
    }

    assert_eq!(throttle.wait(SUBJECTS_MAX, BootNanos(1_050)), Some(100));
    assert_eq!(throttle.wait(SUBJECTS_MAX, BootNanos(1_100)), None);
    assert_eq!(throttle.cells.lock().len(), 0);
}
