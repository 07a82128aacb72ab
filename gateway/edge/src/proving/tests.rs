use futures_util::future::join_all;
use model::key::foreign::ForeignHash;

use super::*;

/// crypt(3) made them.
const ONE: &str = "$2b$04$abcdefghijklmnopqrstuuAvXbM3lRU0WSd06sImgSGGoWvjlOFvm";
const TWO: &str = "$2b$04$abcdefghijklmnopqrstuuvrSkr5usKX/SyndeR5ynZxpE7dxf9Sy";
const DEAR: &str = "$2b$12$abcdefghijklmnopqrstuuJ9qJRG1oVDHZBDlITzX.791msDouER6";

fn id(n: usize) -> KeyId {
    KeyId::parse(&format!("key{n:09}")).unwrap()
}

fn candidate(n: usize, hash: &str) -> Candidate {
    Candidate { id: id(n), hash: BcryptHash::parse(hash).unwrap() }
}

/// An address of its own for each number.
fn from(n: usize) -> IpAddr {
    IpAddr::from([10, 0, u8::try_from(n).unwrap(), 1])
}

/// Asks about a text. Its mark is its hash, where a node puts a pepper around that.
async fn asked(proving: &Proving, text: &str, candidates: &[Candidate], address: IpAddr) -> Result<Option<KeyId>, Busy> {
    let text = Foreign::parse(text).unwrap();
    let mark = Digest(model::key::fingerprint_plain(text.to_secret().expose_secret().as_bytes()));
    proving.ask(Question { text: &text, mark, candidates: candidates.to_vec(), address, clock: Clock }).await
}

fn verified(proving: &Proving) -> (u64, u64) {
    let [(_, right), (_, wrong), _] = proving.counts();
    (right, wrong)
}

fn proved(n: usize) -> Proved {
    let peppers = model::key::Peppers::new([(1, model::secret::SecretKey::new([1; 32]))]).unwrap();
    peppers.proved(1, &id(n), &ForeignHash::parse(&"ab".repeat(32)).unwrap()).unwrap()
}

#[tokio::test]
async fn a_text_finds_its_key_among_those_that_begin_alike_and_is_verified_once() {
    let (proving, both) = (Proving::default(), [candidate(1, ONE), candidate(2, TWO)]);

    assert_eq!(asked(&proving, "text-two", &both, from(1)).await, Ok(Some(id(2))));
    assert_eq!(verified(&proving), (1, 1));
    for _ in 0..3 {
        assert_eq!(asked(&proving, "text-two", &both, from(1)).await, Ok(Some(id(2))));
        assert_eq!(asked(&proving, "text-three", &both[..1], from(1)).await, Ok(None));
    }
    assert_eq!(verified(&proving), (1, 2), "the same text again costs nothing, right or wrong");
    assert_eq!(asked(&proving, "text-three", &both, from(1)).await, Ok(None));
    assert_eq!(verified(&proving), (1, 3), "another key is another question");
    assert_eq!(
        asked(&proving, "text-two", &both[..1], from(1)).await,
        Ok(None),
        "what is known of a text lets nobody in as a key that was not asked about"
    );
    assert_eq!(asked(&proving, "text-one", &both, from(1)).await, Ok(Some(id(1))));
}

/// A program that comes back from a pause sends many requests at once, all with one key.
#[tokio::test]
async fn many_requests_with_one_text_are_one_verification() {
    let (proving, dear) = (Proving::default(), [candidate(1, DEAR)]);

    let answers = join_all((0..200).map(|n| asked(&proving, "dear-text", &dear, from(n % 9)))).await;

    assert!(answers.iter().all(|answer| *answer == Ok(Some(id(1)))), "{answers:?}");
    assert_eq!(verified(&proving), (1, 0));
}

/// Whoever knows what keys begin with gets so much of the node, and no more: those whose turn it is not are told at once.
#[tokio::test]
async fn a_flood_of_texts_finds_a_short_queue() {
    let proving = Proving::default();
    let texts: Vec<String> = (0..100).map(|n| format!("wrong-{n}")).collect();
    let keys: Vec<[Candidate; 1]> = (0..100).map(|n| [candidate(n, DEAR)]).collect();

    let began = Clock.boot();
    let answers = join_all(texts.iter().zip(&keys).enumerate().map(|(n, (text, key))| asked(&proving, text, key, from(n)))).await;
    let took = Duration::from_nanos(Clock.boot().nanos_since(began));

    let (right, wrong) = verified(&proving);
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(right == 0 && usize::try_from(wrong).unwrap() <= QUEUE_MAX + 1, "{wrong} were verified");
    assert!(refused >= 100 - (QUEUE_MAX + 1) && answers.iter().all(|answer| matches!(answer, Ok(None) | Err(Busy::SOON))), "{refused}");
    assert!(took < WITHIN * 3, "{took:?}");
    // On a machine that is busy some may have given up, and the thread is still at what it has begun.
    let is_over = async {
        while !proving.desk.get().unwrap().flights.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(WITHIN * 3, is_over).await.is_ok(), "what is refused leaves nothing behind");
}

#[tokio::test]
async fn wrong_texts_use_up_what_their_key_and_their_address_have_and_nobody_elses() {
    let (proving, one, two) = (Proving::default(), [candidate(1, ONE)], [candidate(2, TWO)]);

    for n in 0..10 {
        assert_eq!(asked(&proving, &format!("wrong-{n}"), &one, from(n)).await, Ok(None));
    }
    let refused = asked(&proving, "wrong-x", &one, from(20)).await;
    assert!(matches!(refused, Err(Busy { retry_after_seconds: 1 | 2 })), "{refused:?}");
    assert_eq!(asked(&proving, "wrong-3", &one, from(20)).await, Ok(None), "what is known needs no turn");
    assert_eq!(asked(&proving, "text-two", &two, from(20)).await, Ok(Some(id(2))), "another key");
    for n in 0..20 {
        assert_eq!(asked(&proving, &format!("wrong-{n}"), &[candidate(100 + n, ONE)], from(30)).await, Ok(None));
    }
    let refused = asked(&proving, "text-one", &[candidate(3, ONE)], from(30)).await;
    assert!(matches!(refused, Err(Busy { retry_after_seconds: 3..=5 })), "{refused:?}");
    assert_eq!(asked(&proving, "text-one", &[candidate(3, ONE)], from(31)).await, Ok(Some(id(3))), "another address");
    assert_eq!(verified(&proving), (2, 30));
}

/// One key's guesses, and one network's, leave places to others.
#[tokio::test]
async fn nobody_has_all_places() {
    let proving = Proving::default();
    let mut of_key: Vec<_> = ["wrong-0", "wrong-1", "wrong-2"].into_iter().enumerate().map(|(n, text)| (text, candidate(1, DEAR), from(n))).collect();
    of_key.extend(["other-0", "other-1", "other-2", "other-3"].into_iter().enumerate().map(|(n, text)| (text, candidate(10 + n, DEAR), from(9))));
    let answers = join_all(of_key.iter().map(|(text, key, address)| asked(&proving, text, std::slice::from_ref(key), *address))).await;

    let is_busy: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(is_busy, [false, false, true, false, false, false, true]);
}

/// A text whose key stands behind others gets to it, and its sender has not guessed.
#[tokio::test]
async fn keys_that_begin_alike_do_not_use_up_their_owners_turns() {
    let proving = Proving::default();
    for n in 0..40 {
        let both = [candidate(100 + n, ONE), candidate(200 + n, ONE), candidate(300 + n, TWO)];
        proving.desk.get_or_init(Arc::default).right.clear();
        assert_eq!(asked(&proving, "text-two", &both, from(1)).await, Ok(Some(id(300 + n))), "{n}");
    }
    let some = [candidate(1, ONE), candidate(2, TWO)];
    for n in 0..10 {
        assert_eq!(asked(&proving, &format!("wrong-{n}"), &some[..1], from(n)).await, Ok(None));
    }
    assert_eq!(asked(&proving, "text-two", &some, from(50)).await, Ok(Some(id(2))), "the first of them got too many, and not this one");
    let busy = asked(&proving, "wrong-x", &some, from(51)).await;
    assert!(busy.is_err(), "{busy:?}");
    let known = proving.desk.get().unwrap().wrong.get(&model::key::fingerprint_plain(b"wrong-x"));
    assert_eq!(known.as_deref(), Some(&[id(2)][..]), "what was tried is remembered");
}

/// Requests that hang up must not keep the thread busy for those that wait.
#[tokio::test]
async fn a_text_that_nobody_waits_for_any_more_is_not_verified() {
    let (proving, dear) = (Proving::default(), [candidate(1, DEAR)]);
    let first = asked(&proving, "wrong-0", &dear, from(0));
    let others: Vec<(String, [Candidate; 1])> = (1..6).map(|n| (format!("wrong-{n}"), [candidate(n + 1, DEAR)])).collect();
    let mut given_up: Vec<_> = others.iter().enumerate().map(|(n, (text, key))| Box::pin(asked(&proving, text, key, from(n + 1)))).collect();

    let mut first = Box::pin(first);
    assert!(futures_util::poll!(&mut first).is_pending());
    for question in &mut given_up {
        assert!(futures_util::poll!(question).is_pending());
    }
    drop(given_up);
    assert_eq!(first.await, Ok(None));
    assert_eq!(asked(&proving, "dear-text", &dear, from(0)).await, Ok(Some(id(1))));

    assert_eq!(verified(&proving), (1, 1));
}

#[tokio::test]
async fn what_is_to_be_told_stays_until_it_is_settled_and_is_told_once() {
    let proving = Proving::default();

    proving.tell(id(1), BootNanos(1), || Some(proved(1)));
    proving.news().await;
    assert_eq!(proving.next().map(|proved| proved.id), Some(id(1)));
    assert_eq!(proving.next().map(|proved| proved.id), Some(id(1)), "it was not told yet");
    proving.settled(id(1), BootNanos(1));
    proving.tell(id(1), BootNanos(1), || panic!("it is settled"));
    assert!(proving.next().is_none());
    proving.tell(id(1), BootNanos(1 + TOLD_NANOS), || Some(proved(1)));
    assert_eq!(proving.next().map(|proved| proved.id), Some(id(1)), "a primary may have forgotten it");
    proving.settled(id(1), BootNanos(1));

    for n in 2..=TOLD_MAX + 5 {
        proving.tell(id(n), BootNanos(1), || Some(proved(n)));
    }
    assert_eq!(proving.told.lock().len(), TOLD_MAX, "what was settled makes room, and more wait for their next use");
}
