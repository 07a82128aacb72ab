use super::*;

#[test]
fn each_problem_has_a_section_of_its_own() {
    for kind in ProblemKind::ALL {
        let about = markdown(section(kind.code()).unwrap());
        assert!(about.contains("Acts:") && !about.contains("<h2>"), "{}", kind.code());
    }
}
