//! Dot plots as self-contained SVG files: a row a name, a dot a value, a bar at their mean.

use std::fmt::Write as _;

use super::chart::{escape, number, ticks};

/// One row of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Dots {
    /// Name at the left.
    pub(crate) name: String,
    /// Values; those that are not finite are left out.
    pub(crate) values: Vec<f64>,
}

const WIDTH: f64 = 720.0;
const ROW: f64 = 28.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;
const RIGHT: f64 = 16.0;
const STYLE: &str = "svg{color:#1c1b19;background:#fdfcfa;font:13px system-ui,sans-serif}text{fill:currentColor}.grid{stroke:currentColor;opacity:.15}.mark{stroke:#dc2626;stroke-dasharray:4 3}.mean{stroke:#2563eb;stroke-width:3}.dot{fill:#2563eb;opacity:.55}@media(prefers-color-scheme:dark){svg{color:#eceae5;background:#181715}}";

/// Draws `rows` from the top; `mark` is a line across all of them.
pub(crate) fn dot_plot(title: &str, rows: &[Dots], mark: Option<f64>) -> String {
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0) as f64;
    let left = (longest * 7.5 + 20.0).clamp(60.0, WIDTH / 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\"><style>{STYLE}</style><text x=\"8\" y=\"20\" font-weight=\"600\">{0}</text>",
        escape(title)
    );
    let finite = |row: &Dots| row.values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
    let all: Vec<f64> = rows.iter().flat_map(finite).chain(mark).collect();
    let least = all.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let ticks = ticks(least, all.iter().copied().reduce(f64::max).unwrap_or(1.0));
    let (low, high) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
    let x = |value: f64| left + (value - low) / (high - low) * (WIDTH - left - RIGHT);
    let bottom = height - BOTTOM;
    for tick in &ticks {
        let (x, label) = (x(*tick), number(*tick));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 18.0
        );
    }
    if let Some(x) = mark.map(x) {
        let _ = write!(svg, "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
    }
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (at as f64 + 0.5);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 10.0,
            y + 4.0,
            escape(&row.name)
        );
        let values = finite(row);
        for value in &values {
            let _ = write!(svg, "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"/>", x(*value));
        }
        if !values.is_empty() {
            let mean = x(values.iter().sum::<f64>() / values.len() as f64);
            let (from, to) = (y - 9.0, y + 9.0);
            let _ =
                write!(svg, "<line class=\"mean\" x1=\"{mean:.1}\" x2=\"{mean:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>");
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_values_is_named_and_names_are_escaped() {
        let row = |name: &str, values: &[f64]| Dots { name: name.to_owned(), values: values.to_vec() };
        let svg = dot_plot("top-1", &[row("a<b", &[88.0, 90.0, f64::NAN]), row("none", &[])], Some(88.5));
        assert_eq!((svg.matches("<circle").count(), svg.matches("class=\"mean\"").count()), (2, 1));
        assert!(svg.contains("a&lt;b") && svg.contains(">none<") && !svg.contains("NaN"));
        assert!(dot_plot("nothing", &[row("x", &[])], None).ends_with("</svg>\n"));
        assert!(!dot_plot("one", &[row("x", &[3.0])], None).contains("NaN"));
    }
}
