use super::*;

const MIB: u64 = 1 << 20;

/// What is held counts until the last of its bytes is gone, wherever they went.
#[test]
fn held_bytes_count_until_they_are_dropped() {
    let memory = Arc::new(BodyMemory::new(MIB));
    let mut body = HeldBody::new(&memory, 5, MIB).unwrap();
    assert_eq!(memory.bytes(), 5);
    body.push(b"hello", MIB).unwrap();
    let whole = body.freeze();
    let slice = whole.slice(1..3);
    drop(whole);

    assert_eq!((&*slice, memory.bytes()), (&b"el"[..], 5));
    drop(slice);
    assert_eq!(memory.bytes(), 0);
}

/// An announced length takes no more than the first piece of it, and none of what its route refuses.
#[test]
fn announced_length_takes_little() {
    let memory = Arc::new(BodyMemory::new(MIB));
    let announced = HeldBody::new(&memory, 1 << 40, u64::MAX).unwrap();
    let small = HeldBody::new(&memory, 1 << 40, 100).unwrap();

    assert_eq!(memory.bytes(), FIRST_BYTES + 100);
    drop((announced, small));
    assert_eq!(memory.bytes(), 0);
}

/// Bodies that grow together never take more than the budget, and one that finds no room gives its own back.
#[test]
fn bodies_together_stay_within_the_budget() {
    let memory = Arc::new(BodyMemory::new(MIB));
    let piece = [7; 1000];
    let mut full = 0;
    let mut bodies: Vec<_> = (0..64).map(|_| HeldBody::new(&memory, 0, MIB).unwrap()).map(Some).collect();
    for _ in 0..100 {
        for place in &mut bodies {
            if place.as_mut().is_some_and(|body| body.push(&piece, MIB) == Err(Full)) {
                full += 1;
                *place = None;
            }
            assert!(memory.bytes() <= MIB);
        }
    }

    let left: Vec<_> = bodies.into_iter().flatten().collect();
    assert!(full > 40 && !left.is_empty(), "{full} full, {} left", left.len());
    assert_eq!(memory.refused(), full);
    assert!(left.iter().all(|body| body.received() == 100_000 && body.as_ref().iter().all(|byte| *byte == 7)));
    drop(left);
    assert_eq!(memory.bytes(), 0);
}

/// Room is not taken beyond what the route allows, however it was doubled before.
#[test]
fn room_ends_at_the_routes_cap() {
    let memory = Arc::new(BodyMemory::new(MIB));
    let mut body = HeldBody::new(&memory, 0, 3_000).unwrap();
    for _ in 0..3 {
        body.push(&[1; 1000], 3_000).unwrap();
    }
    assert_eq!((body.received(), memory.bytes()), (3_000, 3_000));
}
