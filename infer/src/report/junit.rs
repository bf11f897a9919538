//! A certificate as JUnit's XML, which continuous integration reads: a test case for each runtime and model.

use super::certificate::reference_text;
use crate::parity::{Certificate, Runtime, Verdict};

/// One test suite. Worse is a failure; what is not decided, and a runtime that was not used, is skipped.
pub fn suite(certificate: &Certificate) -> String {
    let class = attribute(&format!("parity.{}", certificate.bundle.network));
    let cases: Vec<String> = certificate.runtimes.iter().map(|runtime| case(&class, runtime)).collect();
    let unused: Vec<String> = certificate
        .skipped
        .iter()
        .map(|skipped| {
            let (name, reason) = (attribute(&skipped.engine), attribute(&skipped.reason));
            format!("  <testcase classname=\"{class}\" name=\"{name}\"><skipped message=\"{reason}\"/></testcase>\n")
        })
        .collect();
    let count = |wanted: fn(Verdict) -> bool| certificate.runtimes.iter().filter(|r| wanted(r.verdict)).count();
    let failures = count(|verdict| verdict == Verdict::Worse);
    let properties = certificate.reference.as_ref().map(|reference| {
        let text = attribute(&reference_text(reference));
        format!("  <properties><property name=\"reference\" value=\"{text}\"/></properties>\n")
    });
    let properties = properties.unwrap_or_default();
    let open = count(|verdict| !matches!(verdict, Verdict::Worse | Verdict::Equivalent));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{class}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{}\">\n{properties}{}{}</testsuite>\n",
        cases.len() + unused.len(),
        open + unused.len(),
        cases.concat(),
        unused.concat()
    )
}

fn case(class: &str, runtime: &Runtime) -> String {
    let name = attribute(&format!("{} {} {} ({})", runtime.engine, runtime.version, runtime.file, runtime.precision));
    let said = attribute(runtime.reason.as_deref().unwrap_or(&runtime.verdict.to_string()));
    let outcome = match runtime.verdict {
        Verdict::Equivalent => String::new(),
        Verdict::Worse => format!("<failure message=\"{said}\"/>"),
        Verdict::Inconclusive { .. } | Verdict::NumbersOnly => format!("<skipped message=\"{said}\"/>"),
    };
    format!("  <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\">{outcome}</testcase>\n", runtime.seconds)
}

/// Text made safe in a quoted attribute: what XML cannot hold becomes a space.
fn attribute(text: &str) -> String {
    let held = |c: char| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { ' ' } else { c };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars().map(held) {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::attribute;

    #[test]
    fn attributes_are_safe() {
        assert_eq!(attribute("a<b> & \"c\"\n'\u{0}"), "a&lt;b&gt; &amp; &quot;c&quot; &#39; ");
    }
}
