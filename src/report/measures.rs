//! What the exported weights are worth on the test images: a few lines on a terminal, a table on a page.

use attar_distill::run::{Receipt, TestMeasures};
use attar_infer::report::html;
use maud::{Markup, html};

/// Lines for the end of a run; none of a receipt that was written before measures were.
pub fn lines(receipt: &Receipt) -> Vec<String> {
    let Some(measures) = &receipt.measures else { return Vec::new() };
    let worst = worst(measures).map(|(class, top1)| format!(", worst class {class} {top1:.2} %")).unwrap_or_default();
    let student = &measures.student;
    let mut lines = vec![format!(
        "test images, {} weights: top-1 {:.2} %, top-5 {:.2} %, NLL {:.4}, ECE {:.4}, AURC {:.4}{worst}",
        measures.weights.as_str(),
        student.top1,
        student.top5,
        student.nll,
        student.ece,
        student.aurc
    )];
    lines.extend(measures.teachers.iter().map(|(name, teacher)| {
        format!(
            "teacher {name} ({:.2} %): same decision on {:.2} %, KL(teacher || student) {:.4}",
            teacher.top1, teacher.likeness.agreement, teacher.likeness.kl
        )
    }));
    lines.extend(measures.robustness.iter().map(|(name, top1)| format!("under attack `{name}`: {top1:.2} %")));
    lines
}

/// A section of the report; empty of a receipt that was written before measures were.
pub fn section(receipt: &Receipt) -> Markup {
    let Some(measures) = &receipt.measures else { return html! {} };
    let student = &measures.student;
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let mut rows = vec![
        row("top-1 accuracy", format!("{:.2} %", student.top1)),
        row("top-5 accuracy", format!("{:.2} %", student.top5)),
        row("negative log-likelihood", format!("{:.4}", student.nll)),
        row("expected calibration error (15 bins)", format!("{:.4}", student.ece)),
        row("area under the risk-coverage curve", format!("{:.4}", student.aurc)),
    ];
    if let Some((class, top1)) = worst(measures) {
        rows.push(row(&format!("worst class: {class}"), format!("{top1:.2} %")));
    }
    for (name, teacher) in &measures.teachers {
        rows.push(row(&format!("teacher {name}: its own accuracy"), format!("{:.2} %", teacher.top1)));
        rows.push(row(&format!("teacher {name}: same decision"), format!("{:.2} %", teacher.likeness.agreement)));
        rows.push(row(&format!("teacher {name}: KL(teacher || student)"), format!("{:.4}", teacher.likeness.kl)));
    }
    rows.extend(
        measures.robustness.iter().map(|(name, top1)| row(&format!("under attack {name}"), format!("{top1:.2} %"))),
    );
    let title = format!("The exported weights ({}) on the test images", measures.weights.as_str());
    html! { h2 { (title) } (html::table(&["", ""], &rows)) }
}

/// The class with the lowest accuracy.
fn worst(measures: &TestMeasures) -> Option<(&str, f64)> {
    let top1 = measures.student.per_class.get(measures.student.worst_class).copied().flatten()?;
    Some((&measures.worst_class, top1))
}
