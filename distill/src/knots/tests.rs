//! Knots: the tables of early-decay distillation, joins, units, round trips, and what a bad table is told.

use serde::{Deserialize, Serialize};

use super::{Join, Knots, Unit};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    weight: Knots,
}

fn knots(text: &str) -> Knots {
    toml::from_str::<Holder>(&format!("weight = {text}")).unwrap().weight
}

fn refusal(text: &str) -> String {
    toml::from_str::<Holder>(&format!("weight = {text}")).unwrap_err().message().to_owned()
}

#[test]
fn early_decay_on_cifar100_is_the_authors_table() {
    let cd = knots("{ at = [[1, 6.0], [60, 5.4], [160, 4.86]], join = \"hold\" }");
    let ce = knots("{ at = [[1, 0.0], [61, 1.0]] }");
    for epoch in 1..=200_u32 {
        let e = f64::from(epoch);
        let power = if epoch < 60 {
            0
        } else if epoch < 160 {
            1
        } else {
            2
        };
        let expected = 6.0 * 0.9_f64.powi(power);
        // Anywhere inside the epoch, its last step included.
        for moment in [e, e + 0.5, e + 0.999] {
            assert!((cd.value(moment, 200.0) - expected).abs() < 1e-12, "epoch {epoch}");
            assert_eq!(ce.value(moment, 200.0), if epoch <= 60 { 0.0 } else { 1.0 }, "epoch {epoch}");
        }
    }
}

#[test]
fn early_decay_on_imagenet_is_the_authors_table() {
    let cd = knots("{ at = [[1, 6], [30, 5.4], [60, 4.86], [90, 4.374]] }");
    let off_until_31 = knots("{ at = [[1, 0], [31, 1]] }");
    for epoch in 1..=100_u32 {
        let e = f64::from(epoch);
        let expected = 6.0 * 0.9_f64.powi((epoch / 30) as i32);
        assert!((cd.value(e, 100.0) - expected).abs() < 1e-12, "epoch {epoch}");
        assert_eq!(off_until_31.value(e + 0.99, 100.0), f64::from(u8::from(epoch > 30)), "epoch {epoch}");
    }
}

#[test]
fn warm_up_then_cosine() {
    let lr = knots("{ at = [[1, 0.0], [6, 0.1], [201, 0.0]], join = [\"linear\", \"cosine\"] }");
    assert_eq!(lr.value(1.0, 200.0), 0.0);
    assert!((lr.value(3.5, 200.0) - 0.05).abs() < 1e-15);
    assert_eq!(lr.value(6.0, 200.0), 0.1);
    for epoch in [6.0, 20.0, 103.5, 170.25, 200.9] {
        let expected = 0.1 * 0.5 * (1.0 + (std::f64::consts::PI * (epoch - 6.0) / 195.0).cos());
        assert!((lr.value(epoch, 200.0) - expected).abs() < 1e-15, "epoch {epoch}");
    }
    assert_eq!(lr.value(201.0, 200.0), 0.0);
    assert_eq!(lr.value(500.0, 200.0), 0.0);
}

#[test]
fn fractions_follow_the_length_of_the_run_and_switch_exactly_on_the_epoch() {
    let gate = knots("{ at = [[0, 0], [0.3, 1]], unit = \"fraction\" }");
    for total in [10_u32, 20, 30, 60, 90, 100, 150, 200, 240] {
        let last_off = total * 3 / 10;
        let (off, on) = (f64::from(last_off) + 0.999, f64::from(last_off) + 1.0);
        assert_eq!(gate.value(off, f64::from(total)), 0.0, "{total} epochs");
        assert_eq!(gate.value(on, f64::from(total)), 1.0, "{total} epochs");
    }
    assert_eq!(gate.value(1.0, 0.0), 0.0, "a run of no epochs divides nothing by zero");
}

#[test]
fn a_number_is_constant_and_times_outside_hold_the_ends() {
    assert_eq!(knots("3").value(77.7, 200.0), 3.0);
    let late = knots("{ at = [[5, 2.0], [9, 4.0]], join = \"linear\" }");
    assert_eq!((late.value(1.0, 10.0), late.value(10.5, 10.0)), (2.0, 4.0));
    assert_eq!(late.values().collect::<Vec<_>>(), [2.0, 4.0]);
}

#[test]
fn a_resolved_recipe_reads_back_equal() {
    for text in [
        "0.1",
        "{ at = [[1, 6.0], [60, 5.4]] }",
        "{ at = [[0, 0.0], [0.05, 1.0], [1, 0.0]], join = [\"linear\", \"cosine\"], unit = \"fraction\" }",
        "{ at = [[1, 0.1], [2.5, 0.3]], join = \"cosine\" }",
    ] {
        let holder = Holder { weight: knots(text) };
        let written = toml::to_string(&holder).unwrap();
        assert_eq!(toml::from_str::<Holder>(&written).unwrap(), holder, "{written}");
        let json = serde_json::to_string(&holder).unwrap();
        assert_eq!(serde_json::from_str::<Holder>(&json).unwrap(), holder, "{json}");
    }
    let all = toml::to_string(&Holder { weight: knots("{ at = [[1, 6.0], [60, 5.4]] }") }).unwrap();
    assert!(all.contains("join = \"hold\"") && all.contains("unit = \"epochs\""), "defaults are spelled out: {all}");
}

#[test]
fn a_bad_table_is_told_what_is_wrong() {
    let cases = [
        ("\"six\"", "a number, or a table such as { at ="),
        ("{ at = [] }", "`at` is empty"),
        ("{ join = \"hold\" }", "`at` is missing"),
        ("{ at = [[1, 2, 3]] }", "[1.0, 2.0, 3.0] is not a knot, expected two numbers [time, value]"),
        ("{ at = [6.0, 5.4] }", "expected a knot [time, value]"),
        ("{ at = [[1, 6], [60, 5], [60, 4]] }", "knot 3 ([60, 4]): times must increase"),
        ("{ at = [[1, 6], [60, nan]] }", "knot 2 ([60, NaN]) is not finite"),
        ("inf", "inf is not finite"),
        ("{ at = [[0, 6], [60, 5]] }", "epochs are counted from 1"),
        ("{ at = [[0, 6], [60, 5]], unit = \"fraction\" }", "knot 2 ([60, 5]): a fraction of the run lies between"),
        ("{ at = [[1, 6], [60, 5]], join = \"smooth\" }", "unknown variant `smooth`, expected one of `hold`"),
        ("{ at = [[1, 6], [60, 5]], join = [\"hold\", \"linear\"] }", "`join` lists 2, but 2 knots have 1 gaps"),
        ("{ at = [[1, 6]], joint = \"hold\" }", "unknown field `joint`, expected one of `at`, `join`, `unit`"),
        ("{ at = [[1, 6]], unit = \"steps\" }", "unknown variant `steps`, expected `epochs` or `fraction`"),
        ("{ at = [[1, 6]], join = 3 }", "one of them for each gap"),
    ];
    for (text, expected) in cases {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
    assert!(Knots::new(vec![(1.0, 0.0), (f64::INFINITY, 1.0)], Join::Linear, Unit::Epochs).is_err());
}
