use super::*;

fn labels(of: &[&str]) -> Vec<String> {
    of.iter().map(|label| (*label).to_owned()).collect()
}

#[test]
fn a_list_of_labels_is_short_and_holds_each_name_once() {
    let many = |count: usize| (0..count).map(|number| format!("l{number}")).collect::<Vec<_>>();
    assert_eq!(check(&labels(&["eu"])), Ok(()));
    assert_eq!(check(&labels(&["eu", "0", "a_b-c", "null"])), Ok(()));
    assert_eq!(check(&many(LABELS_MAX)), Ok(()));
    assert_eq!(check(&["x".repeat(63)]), Ok(()));
    for (bad, words) in [
        (labels(&[]), "empty"),
        (many(LABELS_MAX + 1), "at most 32"),
        (labels(&["eu", "us", "eu"]), "once"),
        (labels(&["EU"]), "a label is"),
        (labels(&[""]), "a label is"),
        (labels(&["eu", "-eu"]), "a label is"),
        (labels(&["e u"]), "a label is"),
        (labels(&["eu,us"]), "a label is"),
        (labels(&["\u{0}"]), "a label is"),
        (vec!["x".repeat(64)], "a label is"),
    ] {
        assert!(check(&bad).unwrap_err().contains(words), "{bad:?}");
    }
}

#[test]
fn a_consumers_region_has_one_of_its_labels_and_an_unknown_region_has_none() {
    let (document, _): (crate::document::Document, _) = crate::source::read(
        "version: 1\nregions: [ { name: eu-west, residency: [ eu, hipaa ] }, { name: us-east, residency: [ us ] }, { name: bare } ]\n",
    )
    .unwrap();
    let regions = RegionLabels::of(&document.regions);
    let allows = |asks: Option<&Labels>| {
        let within = Within::new(asks.map(Labels::names), &regions);
        ["eu-west", "us-east", "bare", "nowhere"].map(|region| within.allows(region))
    };

    assert_eq!(allows(None), [true; 4]);
    assert_eq!(allows(Some(&Labels::new(labels(&["eu"])))), [true, false, false, false]);
    assert_eq!(allows(Some(&Labels::new(labels(&["us", "hipaa"])))), [true, true, false, false], "one of them is enough");
    assert_eq!(allows(Some(&Labels::new(labels(&["gone"])))), [false; 4], "a label that no region has is nowhere");
    assert_eq!(allows(Some(&Labels::new(labels(&[])))), [false; 4], "and so is none");
}

#[test]
fn lists_of_the_same_labels_have_one_number_and_others_another() {
    let number = |of: &[&str]| Labels::new(labels(of)).number();
    assert_eq!(number(&["eu", "us"]), number(&["us", "eu"]));
    assert_ne!(number(&["eu"]), number(&["us"]));
    assert_ne!(number(&["ab", "c"]), number(&["a", "bc"]));
    assert_ne!(number(&["eu"]), number(&["eu", "us"]));
    assert_eq!(Labels::new(labels(&["us", "eu"])).to_texts(), ["us", "eu"], "the order is kept");
}

#[test]
fn a_document_whose_consumers_ask_for_what_no_region_has_is_refused_with_the_label_that_is_near() {
    let of = |asked: &str| {
        let text = format!(
            "version: 1\nregions: [ {{ name: eu-west, residency: [ eu, hipaa ] }}, {{ name: us-east, residency: [ us ] }} ]\n\
             tenants: [ {{ name: acme, hosts: [ api.example ] }} ]\nconsumers: [ {{ name: shop{asked} }} ]\n"
        );
        let (document, _) = crate::source::read(&text).unwrap();
        let words = |error: crate::compile::ConfigError| format!("{}: {} {}", error.path, error.message, error.help.unwrap_or_default());
        crate::compile::compile(&document).map(drop).map_err(|errors| errors.into_iter().map(words).collect::<Vec<_>>().join("\n"))
    };

    for good in ["", ", residency: [ eu ]", ", residency: [ us, hipaa ]"] {
        assert_eq!(of(good), Ok(()), "{good}");
    }
    let many = format!(", residency: [ {} ]", vec!["eu"; LABELS_MAX + 1].join(", "));
    for (bad, words) in [
        (", residency: []", "consumers[0].residency: an empty list lets no region serve"),
        (", residency: [ eu, hippa ]", "consumers[0].residency[1]: there is no label of a region named `hippa` did you mean `hipaa`?"),
        (", residency: [ eu, eu ]", "consumers[0].residency: each label stands there once"),
        (", residency: [ EU ]", "consumers[0].residency: a label is 1 to 63"),
        (&*many, "consumers[0].residency: at most 32 labels"),
    ] {
        let errors = of(bad).unwrap_err();
        assert!(errors.contains(words), "{bad}: {errors}");
    }
}
