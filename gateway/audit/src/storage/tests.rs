use super::{RealStorage, Storage};

#[test]
fn written_bytes_are_read_back_and_allocated_space_is_zero() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    let file = RealStorage.create(&path).expect("created");

    file.allocate(10_000).expect("allocated");
    file.write_at(b"hello", 9_000).expect("written");
    file.sync_data().expect("synced");
    file.sync_all().expect("synced");
    RealStorage.sync_dir(dir.path()).expect("synced");

    let mut bytes = vec![1; 20_000];
    assert_eq!(RealStorage.open(&path).expect("opened").read_at(&mut bytes, 0).expect("read"), 10_000);
    assert_eq!(&bytes[9_000..9_005], b"hello");
    assert!(bytes[..9_000].iter().chain(&bytes[9_005..10_000]).all(|byte| *byte == 0));
}

#[test]
fn lock_excludes_a_second_holder_until_the_first_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lock");

    let first = RealStorage.lock(&path).expect("locks");

    assert!(first.is_some());
    assert!(RealStorage.lock(&path).expect("asks").is_none());
    drop(first);
    assert!(RealStorage.lock(&path).expect("asks").is_some());
}

#[test]
fn existing_file_is_not_created_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");

    RealStorage.create(&path).expect("created");

    assert_eq!(RealStorage.create(&path).expect_err("refused").kind(), std::io::ErrorKind::AlreadyExists);
}
