//! Plain text tables: the first column to the left, numbers to the right.

/// Lays out `rows` under `header`, every column as wide as its widest cell.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let pad = |(at, cell): (usize, &&str)| match at {
            0 => format!("{cell:<w$}", w = widths[at]),
            _ => format!("{cell:>w$}", w = widths[at]),
        };
        cells.iter().enumerate().map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec()), widths.iter().map(|w| "─".repeat(*w)).collect::<Vec<_>>().join("  ")];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n") + "\n"
}

/// `1234567` as `1.23 M`, with the SI letter that fits.
pub fn si(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2} G", v / 1e9),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e3 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text =
            render(&["name", "n"], &[vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "5".to_owned()]]);
        assert_eq!(text, "name   n\n────  ──\na     10\nlong   5\n");
    }

    #[test]
    fn large_numbers_get_their_letter() {
        assert_eq!([si(999.0), si(78_042.0), si(12_500_000.0)], ["999", "78.0 k", "12.50 M"]);
    }
}
