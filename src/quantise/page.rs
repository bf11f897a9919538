//! A quantised network as a page: which layer costs what.

use attar_infer::report::html;
use maud::{Markup, html as markup};

use super::{LayerShare, Report, Shares};

/// The page: what was done, and of each layer its share in what was lost and in the time, the worst first in colour.
pub fn page(title: &str, report: &Report, shares: &Shares, outcome: &str) -> String {
    let facts = [
        ("scales", report.scales.clone()),
        ("bits of a weight", report.weight_bits.to_string()),
        ("ranges", format!("{}, {} images", report.calibrator, report.images)),
        ("batch norms", if report.re_estimated_norms { "estimated anew" } else { "as they were" }.to_owned()),
        ("layers in integers", report.integer_layers.to_string()),
        (
            "layers in floats",
            if report.float_layers.is_empty() { "none".to_owned() } else { report.float_layers.join(", ") },
        ),
        ("KL divergence, all layers in integers", format!("{:.2e} nats, mean of {} images", shares.all, shares.images)),
        ("judged", outcome.to_owned()),
    ];
    let rows: Vec<Vec<String>> = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let body = markup! {
        (html::table(&["", ""], &rows))
        h2 { "Layers" }
        (html::soft("Bars, from the left: what a layer's rounding costs by itself, what giving that layer alone back to floats gains (both as KL divergence of \
            the answers), and its time in integers and in floats. Where the second is about as long as the first, the layer is guilty by itself; where it is not, others undo it."))
        (layers(report, shares))
    };
    html::page(title, &body)
}

fn layers(report: &Report, shares: &Shares) -> Markup {
    let most = |of: &dyn Fn(&LayerShare) -> f64| shares.layers.iter().map(of).fold(1e-12, f64::max);
    let kl = most(&|share| share.alone.max(share.given_back));
    let time = most(&|share| share.int8_us.unwrap_or(0.0).max(share.f32_us.unwrap_or(0.0)));
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    markup! {
        div class="scroll" {
            table {
                tr { th { "layer" } th { "alone" } th { "given back" } th class="number" { "KL alone" } th class="number" { "KL given back" }
                    th { "time" } th class="number" { "\u{b5}s int8" } th class="number" { "\u{b5}s f32" } }
                @for share in &shares.layers {
                    @let kept = report.float_layers.contains(&share.layer);
                    tr {
                        td { (share.layer) @if kept { " " b { "in floats" } } }
                        td { (bar(share.alone / kl, "var(--bad)")) }
                        td { (bar(share.given_back.max(0.0) / kl, "var(--good)")) }
                        td class="number" { (format!("{:.1e}", share.alone)) }
                        td class="number" { (format!("{:+.1e}", share.given_back)) }
                        td {
                            (bar(share.int8_us.unwrap_or(0.0) / time, "var(--ink)"))
                            (bar(share.f32_us.unwrap_or(0.0) / time, "var(--line)"))
                        }
                        td class="number" { (number(share.int8_us)) }
                        td class="number" { (number(share.f32_us)) }
                    }
                }
            }
        }
    }
}

/// A bar of a part of its column.
fn bar(part: f64, colour: &str) -> Markup {
    let width = (part.clamp(0.0, 1.0) * 110.0).round();
    markup! { div style={ "height:7px;margin:4px 0;background:" (colour) ";width:" (width) "px" } {} }
}
