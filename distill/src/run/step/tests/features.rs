//! The losses of features in a whole step: taps, connectors and parameters of their own.

use super::{gradients_tell_slopes, recipe_with};

const FEATURES: &str = r#"
    [[losses]]
    name = "hint"
    weight = 1.0
    loss = { kind = "fitnets" }
    [[losses]]
    name = "at"
    weight = 100.0
    loss = { kind = "at" }
    [[losses]]
    name = "sp"
    weight = 10.0
    loss = { kind = "sp" }
    [[losses]]
    name = "rkd"
    weight = 0.1
    loss = { kind = "rkd" }
    [[losses]]
    name = "pkt"
    weight = 100.0
    loss = { kind = "pkt" }
    [[losses]]
    name = "nst"
    weight = 1.0
    loss = { kind = "nst" }
    [[losses]]
    name = "vid"
    weight = 1.0
    loss = { kind = "vid", variance = 0.5 }
    [[losses]]
    name = "wkd"
    weight = 0.1
    loss = { kind = "wkd-f", grid = 2 }
"#;

#[test]
fn losses_of_features_reach_the_student_their_connectors_and_their_parameters() {
    let mut recipe = recipe_with(FEATURES);
    recipe.losses.retain(|loss| !["ce", "kd", "cd"].contains(&loss.name.as_str()));
    let vid = ["losses.vid.layer1.", "losses.vid.layer3-scale"];
    gradients_tell_slopes(&recipe, &["", "losses.hint.layer2.", vid[0], vid[1], "losses.wkd.layer3.", "layer1"]);
}
