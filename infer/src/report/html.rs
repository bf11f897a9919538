//! The shell of every HTML page: one file, nothing loaded from elsewhere, light and dark, good on a phone.
//!
//! Pages are made by `maud`, which escapes all text: a name or a label cannot become markup.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1b19; --paper: #fdfcfa; --soft: #6b6862; --line: #dedad2; --card: #f5f2ec;
  --good: #23744a; --bad: #b3261e; --open: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceae5; --paper: #181715; --soft: #a29e95; --line: #3a3733;
  --card: #22201d; --good: #6fcf97; --bad: #ff8a80; --open: #f2c14e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; overflow-wrap: normal; }
th { font-weight: 600; color: var(--soft); } td.number, th.number { text-align: right; }
.verdict { display: inline-block; padding: .15rem .6rem; border: 1.5px solid; border-radius: 1rem; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem; }
figure { margin: 0; padding: .5rem; background: var(--card); border-radius: .5rem; }
figure img { width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated; display: block; }
figcaption { font-size: .8rem; line-height: 1.35; margin-top: .3rem; }
svg { max-width: 100%; height: auto; }
";

/// A whole page.
pub fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (body)
            }
        }
    };
    page.into_string()
}

/// A table of text cells; cells that are numbers stand right. On a narrow screen it scrolls by itself.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Markup {
    let numeric = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|cell| starts_like_a_number(cell))
    };
    let class: Vec<Option<&str>> = (0..head.len()).map(|column| numeric(column).then_some("number")).collect();
    let class = |column: usize| class.get(column).copied().flatten();
    html! {
        div class="scroll" {
            table {
                tr { @for (column, text) in head.iter().enumerate() { th class=[class(column)] { (text) } } }
                @for row in rows {
                    tr { @for (column, text) in row.iter().enumerate() { td class=[class(column)] { (text) } } }
                }
            }
        }
    }
}

/// A remark in small print.
pub fn soft(text: &str) -> Markup {
    html! { p class="soft" { (text) } }
}

fn starts_like_a_number(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['+', '-', '\u{2212}', '[', ' ']);
    cell == "-" || digits.starts_with(|c: char| c.is_ascii_digit())
}

/// An image that lies in the page itself.
pub fn png(bytes: &[u8], alt: &str) -> Markup {
    html! { img src={ "data:image/png;base64," (base64(bytes)) } alt=(alt); }
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]);
            text.push(if i <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[255, 254, 253]), "//79");
    }

    #[test]
    fn a_page_holds_its_text_and_loads_nothing() {
        let page = page("<b> & \"c\"", &table(&["name", "x"], &[vec!["<script>".into(), "+1.5".into()]]));
        assert!(page.contains("<title>&lt;b&gt; &amp; &quot;c&quot;</title>"));
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(page.contains("<td class=\"number\">+1.5</td>") && page.contains("<td>&lt;script"));
        assert!(!page.contains("http") && !page.contains("src=") && !page.contains("url("));
    }

    #[test]
    fn a_hostile_label_stays_text() {
        let label = "\" onerror=\"alert(1)\"><script>'&amp;</style>";
        let image = png(&[1], label).into_string();
        let quoted = "&quot; onerror=&quot;alert(1)&quot;&gt;&lt;script&gt;'&amp;amp;&lt;/style&gt;";
        assert_eq!(image, format!("<img src=\"data:image/png;base64,AQ==\" alt=\"{quoted}\">"));
        assert_eq!(soft(label).into_string(), format!("<p class=\"soft\">{quoted}</p>"));
    }
}
