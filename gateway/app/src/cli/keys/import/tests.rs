use super::*;

#[test]
fn a_long_list_goes_in_batches_that_one_call_takes() {
    let key = |size: usize| json!({ "hash": "a".repeat(size) });
    let sizes = |keys: Vec<Value>| batches(keys).iter().map(Vec::len).collect::<Vec<_>>();

    assert_eq!(sizes((0..2_001).map(|_| key(64)).collect()), [1_000, 1_000, 1]);
    assert_eq!(sizes((0..3).map(|_| key(BATCH_BYTES_MAX / 2)).collect()), [1, 1, 1]);
    assert_eq!(sizes((0..4).map(|_| key(BATCH_BYTES_MAX / 3)).collect()), [2, 2]);
    assert!(batches((0..2_001).map(|_| key(64)).collect()).iter().all(|batch| json!(batch).to_string().len() < 1 << 20));
}
