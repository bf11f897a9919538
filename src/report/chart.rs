//! Line charts as self-contained SVG: a few series over epochs, with axes that a person can read.

use std::fmt::Write as _;

/// One line of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Name in the legend.
    pub(crate) name: String,
    /// `(x, y)` in data units; points whose `y` is not finite are left out.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether the value holds until the next point (weights and learning rates) instead of running straight to it.
    pub(crate) steps: bool,
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

/// Draws `series` over `x_label`; an empty string when there is nothing to draw.
pub(crate) fn line_chart(title: &str, x_label: &str, series: &[Series]) -> String {
    let Some(range) = range(series) else { return String::new() };
    let mut svg = format!(
        "<figure class=\"chart\"><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title),
        escape(title)
    );
    axes(&mut svg, &range, x_label);
    for (at, one) in series.iter().enumerate() {
        line(&mut svg, &range, one, at);
    }
    svg.push_str("</svg>");
    legend(&mut svg, series);
    svg.push_str("</figure>");
    svg
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

fn axes(svg: &mut String, range: &Range, x_label: &str) {
    for tick in ticks(range.y.0, range.y.1).into_iter().filter(|t| (range.y.0..=range.y.1).contains(t)) {
        let y = range.y(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            number(tick)
        );
    }
    // Epochs are whole numbers; a tick between two of them means nothing.
    let whole = |t: &f64| t.fract() == 0.0 && (range.x.0..=range.x.1).contains(t);
    for tick in ticks(range.x.0, range.x.1).into_iter().filter(whole) {
        let x = range.x(tick);
        let _ = write!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM + 16.0,
            number(tick)
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        HEIGHT - 4.0,
        escape(x_label)
    );
}

fn line(svg: &mut String, range: &Range, series: &Series, at: usize) {
    let finite: Vec<(f64, f64)> = series.points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let mut path = String::new();
    for (i, &(x, y)) in finite.iter().enumerate() {
        let (px, py) = (range.x(x), range.y(y));
        let _ = match i {
            0 => write!(path, "M{px:.1} {py:.1}"),
            _ if series.steps => write!(path, "H{px:.1}V{py:.1}"),
            _ => write!(path, "L{px:.1} {py:.1}"),
        };
    }
    let _ = write!(svg, "<path class=\"line s{}\" d=\"{path}\"/>", at % 6);
    if let [(x, y)] = finite.as_slice() {
        let _ = write!(
            svg,
            "<circle class=\"dot s{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
            at % 6,
            range.x(*x),
            range.y(*y)
        );
    }
}

fn legend(svg: &mut String, series: &[Series]) {
    svg.push_str("<div class=\"legend\">");
    for (at, one) in series.iter().enumerate() {
        let _ = write!(svg, "<span><i class=\"s{}\"></i>{}</span>", at % 6, escape(&one.name));
    }
    svg.push_str("</div>");
}

pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v != 0.0 && !(1e-3..1e5).contains(&v) => format!("{value:.0e}"),
        v if v >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

pub(super) fn escape(text: &str) -> String {
    attar_infer::report::html::escape(text)
}

/// Styles that the charts need, beside the page's own.
pub(crate) const CSS: &str = "
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
        let svg = line_chart("loss", "epoch", &[series(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)])]);
        assert!(!svg.contains("NaN"));
        assert!(svg.contains("a &amp; b"));
        assert_eq!(line_chart("nothing", "epoch", &[series(&[(1.0, f64::NAN)])]), "");
    }
}
