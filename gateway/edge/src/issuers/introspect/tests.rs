use model::secret::SecretText;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn introspection(cache_seconds: u64) -> Arc<Introspection> {
    let endpoint = "https://id.example/introspect".parse().unwrap();
    Arc::new(Introspection { endpoint, client: "gateway".into(), cache: Duration::from_secs(cache_seconds), ca: None, allows_private: false })
}

fn desk(cache_seconds: u64) -> Desk {
    Desk::new(introspection(cache_seconds), None)
}

fn answer(text: &str) -> Arc<Answer> {
    Arc::new(Answer::read(text.as_bytes()).unwrap())
}

#[test]
fn a_yes_is_good_for_as_long_as_the_document_says_and_a_no_for_five_seconds_at_most() {
    for (cache, yes_until, no_until) in [(30, 30, 5), (2, 2, 2)] {
        let desk = desk(cache);
        let at = |seconds: u64| BootNanos((100 + seconds) * SECOND);
        let yes = |seconds| desk.kept(&[1; 32], at(seconds)).is_some();
        let no = |seconds| desk.kept(&[2; 32], at(seconds)).is_some();
        desk.keep([1; 32], answer(r#"{"active":true}"#), at(0));
        desk.keep([2; 32], answer(r#"{"active":false}"#), at(0));

        assert!(yes(yes_until - 1) && !yes(yes_until), "{cache}");
        assert!(no(no_until - 1) && !no(no_until), "{cache}");
        assert!(desk.kept(&[3; 32], at(0)).is_none());
    }
}

#[test]
fn whoever_invents_tokens_pushes_out_no_good_one_and_there_is_an_end_to_both() {
    let desk = desk(30);
    desk.keep([255; 32], answer(r#"{"active":true}"#), BootNanos(0));
    let name = |number: u32| {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&number.to_be_bytes());
        name
    };
    for number in 0..30_000 {
        desk.keep(name(number), answer(r#"{"active":false}"#), BootNanos(0));
    }
    assert!(desk.no.len() <= NOES_MAX && desk.kept(&[255; 32], BootNanos(1)).is_some(), "{}", desk.no.len());
    let long = answer(&format!(r#"{{"active":true,"x":"{}"}}"#, "a".repeat(30_000)));
    for number in 0..1_000 {
        desk.keep(name(number), Arc::clone(&long), BootNanos(0));
    }
    assert!(desk.yes.weight() <= BYTES_MAX, "{}", desk.yes.weight());
}

#[tokio::test]
async fn a_question_that_is_given_up_is_asked_by_the_next_who_waits_for_it() {
    let desk = desk(30);
    let (Turn::Ask(first), Turn::Wait(mut waits)) = (desk.turn([1; 32]), desk.turn([1; 32])) else { panic!("one asks, and one waits") };
    assert!(matches!(desk.turn([2; 32]), Turn::Ask(_)), "another token");

    drop(first);
    assert!(waits.wait_for(Option::is_some).await.is_err(), "nothing came of it");
    let Turn::Ask(second) = desk.turn([1; 32]) else { panic!("nobody asks") };
    let Turn::Wait(mut waits) = desk.turn([1; 32]) else { panic!("two ask") };
    second.done.send_replace(Some(Ok(answer(r#"{"active":true}"#))));
    drop(second);
    assert!(matches!(*waits.wait_for(Option::is_some).await.unwrap(), Some(Ok(_))), "what came of it is everybody's");
    assert!(desk.flights.lock().is_empty());
}

#[tokio::test]
async fn a_question_without_an_answer_is_no_answer_and_is_counted() {
    let desk = desk(30);
    assert_eq!(desk.ask("token", Clock).await.map(drop), Err(Unreachable), "there is nothing to prove the node with");
    assert_eq!((desk.failed.load(Ordering::Relaxed), desk.answered.load(Ordering::Relaxed)), (1, 0));
    let _all = desk.places.acquire_many(AT_ONCE_MAX.try_into().unwrap()).await.unwrap();
    desk.waiting.store(WAITING_MAX, Ordering::Relaxed);
    assert_eq!(desk.question("token", Clock).await.map(drop), Err(Unreachable), "where too many wait already, at once");
    assert_eq!(desk.waiting.load(Ordering::Relaxed), WAITING_MAX);
}

#[test]
fn what_is_remembered_goes_when_the_document_says_anything_else() {
    let introspections = Introspections::default();
    let name: Arc<str> = "id".into();
    let first = introspections.desk(&name, &introspection(30));
    assert!(Arc::ptr_eq(&first, &introspections.desk(&name, &introspection(30))), "a document that says the same");
    assert!(!Arc::ptr_eq(&first, &introspections.desk(&name, &introspection(20))));
    introspections.keep(|name| name != "id");
    assert!(introspections.counts().is_empty());
}

#[test]
fn a_client_is_encoded_as_a_form_and_its_secret_is_printed_nowhere() {
    let client = Client::new("the gateway", &SecretText::new("s:%é".to_owned())).unwrap();
    let question = client.question("a+b/c=");
    assert_eq!(question.authorization, format!("Basic {}", data_encoding::BASE64.encode(b"the+gateway:s%3A%25%C3%A9")));
    assert_eq!(question.body, "token=a%2Bb%2Fc%3D&token_type_hint=access_token");
    let printed = format!("{client:?} {question:?}");
    assert!(!printed.contains("Basic") && !printed.contains("a%2Bb"), "{printed}");
    assert!(Client::new("", &SecretText::new("x".to_owned())).is_none() && Client::new("x", &SecretText::new(String::new())).is_none());
}
