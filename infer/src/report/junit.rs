//! A certificate as JUnit's XML, which continuous integration reads: a test case for each runtime and model.

use super::certificate::reference_text;
use crate::parity::{Certificate, Runtime, Verdict};

/// What was asked: its name, the verdict, the words about it and the seconds.
struct Case {
    name: String,
    verdict: Verdict,
    said: String,
    seconds: f64,
}

/// One test suite: a case for each runtime, of 8-bit files for its implementation, and one for each such file's compression.
/// Worse is a failure; what is not decided, and a runtime that was not used, is skipped.
pub fn suite(certificate: &Certificate) -> String {
    let class = attribute(&format!("parity.{}", certificate.bundle.network));
    let asked = cases(certificate);
    let cases: Vec<String> = asked.iter().map(|one| case(&class, one)).collect();
    let unused: Vec<String> = certificate
        .skipped
        .iter()
        .map(|skipped| {
            let (name, reason) = (attribute(&skipped.engine), attribute(&skipped.reason));
            format!("  <testcase classname=\"{class}\" name=\"{name}\"><skipped message=\"{reason}\"/></testcase>\n")
        })
        .collect();
    let count = |wanted: fn(Verdict) -> bool| asked.iter().filter(|one| wanted(one.verdict)).count();
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

fn cases(certificate: &Certificate) -> Vec<Case> {
    let runtimes = certificate.runtimes.iter().map(|runtime| {
        let Runtime { engine, version, file, precision, seconds, .. } = runtime;
        let name = format!("{engine} {version} {file} ({precision})");
        // With nothing of floats to compare with, an implementation may not be all that was compared.
        let compressed = certificate.reference_of(runtime).is_some_and(|one| one.compression.is_some());
        let (name, verdict, said) = match runtime.implementation.as_ref().filter(|_| compressed) {
            Some(held) => (format!("implementation: {name}"), held.verdict, held.reason.as_ref()),
            None => (name, runtime.verdict, runtime.reason.as_ref().or(reason(runtime))),
        };
        Case { name, verdict, said: said.map_or_else(|| verdict.to_string(), String::clone), seconds: *seconds }
    });
    let integers = certificate.integers.iter().filter_map(|one| {
        let verdict = one.compression.as_ref()?.verdict;
        Some(Case { name: format!("compression: {}", one.file), verdict, said: verdict.to_string(), seconds: 0.0 })
    });
    runtimes.chain(integers).collect()
}

/// Why a runtime's integers are worse.
fn reason(runtime: &Runtime) -> Option<&String> {
    runtime.implementation.as_ref().and_then(|held| held.reason.as_ref())
}

fn case(class: &str, one: &Case) -> String {
    let (name, said) = (attribute(&one.name), attribute(&one.said));
    let outcome = match one.verdict {
        Verdict::Equivalent => String::new(),
        Verdict::Worse => format!("<failure message=\"{said}\"/>"),
        Verdict::Inconclusive { .. } | Verdict::NumbersOnly => format!("<skipped message=\"{said}\"/>"),
    };
    format!("  <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\">{outcome}</testcase>\n", one.seconds)
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
