//! A certificate as HTML.

use std::collections::BTreeSet;

use super::html::{escape, png, table};
use crate::parity::{Certificate, LeftOut, Paired, Runtime, Verdict};

/// The certificate as a section of a page: verdict, numbers a runtime, flipped images (`images`: with their pixels, where
/// the certificate has them; otherwise by name).
pub fn certificate_section(certificate: &Certificate, images: bool) -> String {
    let mut html = format!(
        "<section>\n<h2>Parity</h2>\n<p>{} at a margin of {} points of accuracy.</p>\n",
        badge(certificate.verdict),
        certificate.margin_points
    );
    html += &match &certificate.data {
        Some(data) => format!(
            "<p class=\"soft\">{} labelled images; the reference knows {} of them ({} test, {} validation).</p>\n",
            data.images, data.paired, data.paired_test, data.paired_validation
        ),
        None => "<p class=\"soft\">No labelled images were given: numbers were compared, decisions were not.</p>\n"
            .to_owned(),
    };
    if let Some(data) = &certificate.data {
        data.notes.iter().for_each(|note| html += &soft(&format!("Note: {note}.")));
        html += &left_out(&data.left_out);
    }
    for runtime in &certificate.runtimes {
        let reason = runtime.reason.as_ref().map(|reason| soft(&format!("{} is worse: {reason}.", name(runtime))));
        html += &reason.unwrap_or_default();
        if !runtime.answers.are_logits() {
            html += &soft(&format!("{} gives {}.", runtime.file, runtime.answers));
        }
    }
    if certificate.runtimes.iter().any(|r| r.paired.is_some()) {
        html += &decisions(&certificate.runtimes);
    }
    if certificate.runtimes.iter().any(|r| r.goldens.is_some()) {
        html += &goldens(&certificate.runtimes);
    }
    for runtime in &certificate.runtimes {
        if let Some(paired) = runtime.paired.as_ref().filter(|paired| paired.flips > 0) {
            html += &flips(runtime, paired, images);
        }
    }
    let files: BTreeSet<_> = certificate.runtimes.iter().map(|r| (&r.file, &r.file_sha256)).collect();
    for (file, sha256) in files {
        html += &format!("<p class=\"soft\">{} has sha256 {}</p>\n", escape(file), escape(sha256));
    }
    for skipped in &certificate.skipped {
        let reason = skipped.reason.lines().next().unwrap_or_default();
        html += &format!("<p class=\"soft\">{} was not used: {}</p>\n", escape(&skipped.engine), escape(reason));
    }
    html + "</section>\n"
}

fn soft(text: &str) -> String {
    format!("<p class=\"soft\">{}</p>\n", escape(text))
}

fn left_out(left_out: &[LeftOut]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = left_out.iter().map(|one| vec![one.name.clone(), one.problem.clone()]).collect();
    let title = format!("Left out: {} images that cannot be read", left_out.len());
    format!("<details><summary>{title}</summary>\n{}</details>\n", table(&["image", "why"], &rows))
}

/// A verdict as a coloured badge.
fn badge(verdict: Verdict) -> String {
    let class = match verdict {
        Verdict::Equivalent => "good",
        Verdict::Worse => "bad",
        Verdict::Inconclusive { .. } | Verdict::NumbersOnly => "open",
    };
    format!("<span class=\"verdict {class}\">{}</span>", escape(&verdict.to_string()))
}

fn decisions(runtimes: &[Runtime]) -> String {
    let row = |(runtime, p): (&Runtime, &Paired)| {
        let or_none = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.4}"));
        vec![
            name(runtime),
            runtime.verdict.word().to_owned(),
            format!("{:.3} %", p.agreement),
            format!("{:.2} %", p.reference_accuracy),
            format!("{:.2} %", p.runtime_accuracy),
            format!("{:+.3}", p.difference),
            format!("[{:+.3}, {:+.3}]", p.interval.low, p.interval.high),
            format!("{}", p.flips),
            format!(
                "{} ({:.1} % → {:.1} %)",
                p.worst_class.class, p.worst_class.reference_accuracy, p.worst_class.runtime_accuracy
            ),
            format!("{:.1e}", p.logits.max_diff),
            format!("{:.2}", p.logits.median_margin),
            format!("{} → {:.4}", or_none(p.calibration_error.reference), p.calibration_error.runtime),
            format!("{} → {:.4}", or_none(p.negative_log_likelihood.reference), p.negative_log_likelihood.runtime),
            format!("{:.3}", p.mcnemar_p),
        ]
    };
    let rows: Vec<_> = runtimes.iter().filter_map(|r| Some((r, r.paired.as_ref()?))).map(row).collect();
    let head = [
        "runtime",
        "verdict",
        "agreement",
        "reference",
        "here",
        "difference",
        "95 % interval",
        "flips",
        "worst class",
        "max |Δ logit|",
        "median margin",
        "ECE",
        "NLL",
        "McNemar p",
    ];
    format!("<h3>Decisions</h3>\n{}", table(&head, &rows))
}

fn goldens(runtimes: &[Runtime]) -> String {
    let rows: Vec<_> = runtimes
        .iter()
        .filter_map(|r| Some((r, r.goldens.as_ref()?)))
        .map(|(r, g)| {
            vec![
                name(r),
                format!("{} {}", g.count, g.kind),
                format!("{:.2e}", g.logit_max_diff),
                format!("{:.1e}", g.share_of_spread()),
                format!("{:.2e}", g.logit_max_diff_from_files),
                format!("{:.2e}", g.input_max_diff),
                format!("{}", g.flips),
                match (g.within_rounding, g.tolerance) {
                    (true, _) => "rounding",
                    (false, Some(_)) => "more than rounding",
                    (false, None) => "not judged",
                }
                .to_owned(),
            ]
        })
        .collect();
    let head =
        ["runtime", "goldens", "max |Δ logit|", "in their sd", "from the files", "preprocessing", "flips", "that is"];
    format!("<h3>Numbers</h3>\n{}", table(&head, &rows))
}

fn flips(runtime: &Runtime, paired: &Paired, images: bool) -> String {
    let mut html =
        format!("<h3>Flipped by {}: {} images</h3>\n<div class=\"grid\">\n", escape(&name(runtime)), paired.flips);
    for flip in &paired.flipped {
        let picture = flip.png.as_ref().filter(|_| images).map(|bytes| png(bytes, &flip.name)).unwrap_or_default();
        html += &format!(
            "<figure>{picture}<figcaption>{}<br>is {}<br>{} → {}<br><span class=\"soft\">margin {:.2e} → {:.2e}</span>\
             </figcaption></figure>\n",
            escape(&flip.name),
            escape(&flip.label),
            escape(&flip.reference),
            escape(&flip.runtime),
            flip.reference_margin,
            flip.runtime_margin
        );
    }
    html += "</div>\n";
    if paired.flips > paired.flipped.len() {
        html += &format!("<p class=\"soft\">and {} more</p>\n", paired.flips - paired.flipped.len());
    }
    html
}

fn name(runtime: &Runtime) -> String {
    format!("{} {}, {} ({})", runtime.engine, runtime.version, runtime.file, runtime.precision)
}
