//! Dot plots as self-contained SVG files: a row a name, a dot a value, a bar at their mean.

use attar_measures::MeanSd;
use maud::{PreEscaped, html};

use super::chart::{number, tenth, ticks};

/// One row of a plot.
#[derive(Debug, Clone)]
pub struct Dots {
    /// Name at the left.
    pub name: String,
    /// Values; those that are not finite are left out.
    pub values: Vec<f64>,
}

const WIDTH: f64 = 720.0;
const ROW: f64 = 28.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;
const RIGHT: f64 = 16.0;
const STYLE: &str = "svg{color:#1c1b19;background:#fdfcfa;font:13px system-ui,sans-serif}text{fill:currentColor}.grid{stroke:currentColor;opacity:.15}.mark{stroke:#dc2626;stroke-dasharray:4 3}.mean{stroke:#2563eb;stroke-width:3}.dot{fill:#2563eb;opacity:.55}@media(prefers-color-scheme:dark){svg{color:#eceae5;background:#181715}}";

/// Draws `rows` from the top; `mark` is a line across all of them.
pub fn dot_plot(title: &str, rows: &[Dots], mark: Option<f64>) -> String {
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0) as f64;
    let left = (longest * 7.5 + 20.0).clamp(60.0, WIDTH / 2.0);
    let finite = |row: &Dots| row.values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
    let all: Vec<f64> = rows.iter().flat_map(finite).chain(mark).collect();
    let least = all.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let ticks = ticks(least, all.iter().copied().reduce(f64::max).unwrap_or(1.0));
    let (low, high) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
    let x = |value: f64| left + (value - low) / (high - low) * (WIDTH - left - RIGHT);
    let bottom = height - BOTTOM;
    let y = |at: usize| TOP + ROW * (at as f64 + 0.5);
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            style { (PreEscaped(STYLE)) }
            text x="8" y="20" font-weight="600" { (title) }
            @for tick in &ticks {
                @let x = tenth(x(*tick));
                line class="grid" x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
                text x=(x) y=(bottom + 18.0) text-anchor="middle" { (number(*tick)) }
            }
            @if let Some(x) = mark.map(|mark| tenth(x(mark))) {
                line class="mark" x1=(x) x2=(x) y1=(TOP) y2=(bottom) {}
            }
            @for (at, row) in rows.iter().enumerate() {
                text x=(left - 10.0) y=(tenth(y(at) + 4.0)) text-anchor="end" { (row.name) }
                @for value in finite(row) { circle class="dot" cx=(tenth(x(value))) cy=(tenth(y(at))) r="4" {} }
                @if let Some(mean) = MeanSd::of(finite(row)).map(|spread| tenth(x(spread.mean))) {
                    line class="mean" x1=(mean) x2=(mean) y1=(tenth(y(at) - 9.0)) y2=(tenth(y(at) + 9.0)) {}
                }
            }
        }
    };
    svg.into_string() + "\n"
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
