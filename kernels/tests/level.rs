//! The level that `ATTAR_SIMD` names is the one that runs: other tests at that level would say nothing.

#[test]
fn the_level_that_is_asked_for_is_there() {
    let checked = attar_kernels::check_level();
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}
