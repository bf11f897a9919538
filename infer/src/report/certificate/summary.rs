//! The certificate in one table, every class in another, and accuracy on harder images.

use attar_formats::certificate::{PairedAccuracy, Robustness, SummaryRow};
use maud::{Markup, html};

use super::super::html::{soft, table};
use crate::parity::{Certificate, Paired};

/// Both tables, where images were paired, and accuracy on harder images, where they were asked about.
pub(super) fn section(certificate: &Certificate) -> Markup {
    let rows: Vec<Vec<String>> = certificate.summary().iter().map(|row| row.cells().into()).collect();
    html! {
        @if !rows.is_empty() {
            h3 { "In one table" }
            (table(&SummaryRow::HEAD, &rows))
            (classes(certificate))
        }
        @if let Some(robustness) = &certificate.robustness { (harder(robustness)) }
    }
}

/// Accuracy on every class, of the reference and of every runtime by its number in the first table.
fn classes(certificate: &Certificate) -> Markup {
    let runtimes = certificate.runtimes.iter().enumerate();
    let told: Vec<(usize, &Paired)> = runtimes
        .filter_map(|(at, runtime)| {
            Some((at + 1, runtime.paired.as_ref().filter(|paired| !paired.classes.is_empty())?))
        })
        .collect();
    let Some((_, any)) = told.first() else { return html! {} };
    let percent = |accuracy: f64| format!("{accuracy:.2} %");
    let row = |at: usize| {
        let class = &any.classes[at];
        let own = [class.class.clone(), class.images.to_string(), percent(class.reference_accuracy)];
        // All are over the same images.
        let accuracy =
            |paired: &Paired| paired.classes.get(at).map_or_else(String::new, |of| percent(of.runtime_accuracy));
        own.into_iter().chain(told.iter().map(|(_, paired)| accuracy(paired))).collect()
    };
    let rows: Vec<Vec<String>> = (0..any.classes.len()).map(row).collect();
    let numbers: Vec<String> = told.iter().map(|(number, _)| format!("[{number}]")).collect();
    let head: Vec<&str> =
        ["class", "images", "reference"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    html! {
        details {
            summary { "Every class: " (rows.len()) }
            (soft("Numbers are those of the rows above."))
            (table(&head, &rows))
        }
    }
}

fn harder(robustness: &Robustness) -> Markup {
    let rows = robustness.rows(|paired| {
        let PairedAccuracy { difference, interval, .. } = paired;
        format!("{difference:+.2} [{:+.2}, {:+.2}]", interval.low, interval.high)
    });
    let head = robustness.head();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    html! {
        h3 { "On harder images" }
        (soft(&format!("{}, with its 95 % interval. Told, not judged.", robustness.title())))
        (table(&head, &rows))
    }
}
