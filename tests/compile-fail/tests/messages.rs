//! Wrong uses do not compile, and the compiler says what to do instead.

#[test]
fn wrong_uses_are_refused_with_readable_messages() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
