//! Line charts as self-contained SVG: a few series over epochs, with axes that a person can read.

use maud::{Markup, html};

/// One line of a chart.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Name in the legend.
    pub(super) name: String,
    /// `(x, y)` in data units; points whose `y` is not finite are left out.
    pub(super) points: Vec<(f64, f64)>,
    /// Whether the value holds until the next point (weights and learning rates) instead of running straight to it.
    pub(super) steps: bool,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// The extent of the data on both axes.
struct Range {
    x: (f64, f64),
    y: (f64, f64),
}

impl Range {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Draws `series` over `x_label`; nothing when there is nothing to draw.
pub(super) fn line_chart(title: &str, x_label: &str, series: &[Series]) -> Markup {
    let Some(range) = range(series) else { return html! {} };
    html! {
        figure class="chart" {
            figcaption { (title) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
                (axes(&range, x_label))
                @for (at, one) in series.iter().enumerate() { (line(&range, one, at)) }
            }
            div class="legend" {
                @for (at, one) in series.iter().enumerate() { span { i class={ "s" (at % 6) } {} (one.name) } }
            }
        }
    }
}

fn range(series: &[Series]) -> Option<Range> {
    let mut points = series.iter().flat_map(|s| &s.points).filter(|p| p.1.is_finite());
    let first = points.next()?;
    let mut range = Range { x: (first.0, first.0), y: (first.1, first.1) };
    for point in points {
        range.x = (range.x.0.min(point.0), range.x.1.max(point.0));
        range.y = (range.y.0.min(point.1), range.y.1.max(point.1));
    }
    if range.x.0 == range.x.1 {
        range.x = (range.x.0 - 0.5, range.x.1 + 0.5);
    }
    let ticks = ticks(range.y.0, range.y.1);
    range.y = (ticks.first()?.min(range.y.0), ticks.last()?.max(range.y.1));
    Some(range)
}

/// About five round numbers that cover `low..high`.
pub(super) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let (low, high) =
        if low == high { (low - 0.5 * low.abs().max(1e-3), high + 0.5 * high.abs().max(1e-3)) } else { (low, high) };
    let rough = (high - low) / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let first = (low / step).floor() as i64;
    let last = (high / step).ceil() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

fn axes(range: &Range, x_label: &str) -> Markup {
    let across = |tick: &f64| (range.y.0..=range.y.1).contains(tick);
    // Epochs are whole numbers; a tick between two of them means nothing.
    let whole = |tick: &f64| tick.fract() == 0.0 && (range.x.0..=range.x.1).contains(tick);
    html! {
        @for tick in ticks(range.y.0, range.y.1).into_iter().filter(across) {
            @let y = range.y(tick);
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(tenth(y)) y2=(tenth(y)) {}
            text x=(LEFT - 6.0) y=(tenth(y + 4.0)) text-anchor="end" { (number(tick)) }
        }
        @for tick in ticks(range.x.0, range.x.1).into_iter().filter(whole) {
            text x=(tenth(range.x(tick))) y=(HEIGHT - BOTTOM + 16.0) text-anchor="middle" { (number(tick)) }
        }
        text x=(WIDTH - RIGHT) y=(HEIGHT - 4.0) text-anchor="end" { (x_label) }
    }
}

fn line(range: &Range, series: &Series, at: usize) -> Markup {
    let finite: Vec<(f64, f64)> = series.points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let mut path = String::new();
    for (i, &(x, y)) in finite.iter().enumerate() {
        let (px, py) = (range.x(x), range.y(y));
        path += &match i {
            0 => format!("M{px:.1} {py:.1}"),
            _ if series.steps => format!("H{px:.1}V{py:.1}"),
            _ => format!("L{px:.1} {py:.1}"),
        };
    }
    html! {
        path class={ "line s" (at % 6) } d=(path) {}
        @if let [(x, y)] = finite.as_slice() {
            circle class={ "dot s" (at % 6) } cx=(tenth(range.x(*x))) cy=(tenth(range.y(*y))) r="3" {}
        }
    }
}

/// A length to a tenth of a pixel.
pub(super) fn tenth(length: f64) -> String {
    format!("{length:.1}")
}

pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v != 0.0 && !(1e-3..1e5).contains(&v) => format!("{value:.0e}"),
        v if v >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

/// Styles that the charts need, beside the page's own.
pub(super) const CSS: &str = "
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
.chart{margin:0}.chart figcaption{font-weight:600;margin-bottom:.25rem}.chart svg{width:100%;height:auto}
.chart text{font-size:13px;fill:currentColor;opacity:.75}.chart .grid{stroke:currentColor;opacity:.15}
.chart .line{fill:none;stroke-width:2;stroke-linejoin:round}.legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;font-size:.85rem}
.legend i{display:inline-block;width:.9rem;height:.25rem;margin-right:.35rem;vertical-align:middle}
.line.s0{stroke:#2563eb}.line.s1{stroke:#dc2626}.line.s2{stroke:#059669}.line.s3{stroke:#d97706}.line.s4{stroke:#7c3aed}.line.s5{stroke:#0891b2}
.dot.s0,.legend .s0{fill:#2563eb;background:#2563eb}.dot.s1,.legend .s1{fill:#dc2626;background:#dc2626}.dot.s2,.legend .s2{fill:#059669;background:#059669}
.dot.s3,.legend .s3{fill:#d97706;background:#d97706}.dot.s4,.legend .s4{fill:#7c3aed;background:#7c3aed}.dot.s5,.legend .s5{fill:#0891b2;background:#0891b2}
";

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(f64, f64)]) -> Series {
        Series { name: "a & b".to_owned(), points: points.to_vec(), steps: false }
    }

    #[test]
    fn ticks_are_round_and_cover_the_data() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        let t = ticks(88.3, 93.9);
        assert!(t[0] <= 88.3 && *t.last().unwrap() >= 93.9 && t.len() <= 7, "{t:?}");
        assert!(ticks(3.0, 3.0).len() >= 2, "a flat line still has an axis");
    }

    #[test]
    fn points_that_are_not_numbers_are_left_out_and_names_escaped() {
        let svg = line_chart("loss", "epoch", &[series(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)])]).into_string();
        assert!(!svg.contains("NaN"));
        assert!(svg.contains("a &amp; b"));
        assert_eq!(line_chart("nothing", "epoch", &[series(&[(1.0, f64::NAN)])]).into_string(), "");
    }
}
